// set_password_test.go: the pages of members on sites that have less than all.

package self_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func withoutReset(s *registration.Settings) { s.ResetPassword.Enabled = sitetest.Off() }

// Where nobody resets his password by mail, the owner's link sets one, once.
func TestSetPasswordByTheOwnersLink(t *testing.T) {
	s := sitetest.New(t, withoutReset)
	u, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Email: "ada@example.org"})
	require.NoError(t, err)
	link, err := s.Accounts.ResetLink(t.Context(), u)
	require.NoError(t, err)
	at, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, "/accounts/set-password/", at.Path)
	b := s.Browser().LikeBrowser()
	page := b.Get(at.RequestURI())
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, `value="ada"`, "for the password manager")
	form := at.Query()
	form.Set("password", "short")
	require.Equal(t, http.StatusBadRequest, b.Post("/accounts/set-password/", form).StatusCode)
	form.Set("password", sitetest.NewPassword)
	done := b.Post("/accounts/set-password/", form)
	require.Equal(t, "/accounts/login/", done.Header.Get("Location"), done.Text)
	require.Contains(t, b.Cookie, sitetest.DeviceCookie, "he has shown who he is here")
	require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.NewPassword}).StatusCode)
	form.Set("password", "another long passphrase")
	require.Contains(t, b.Follow(b.Post("/accounts/set-password/", form)).Text, "already been set with this link", "once")
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": "another long passphrase"}).StatusCode)
	require.Equal(t, 404, s.Browser().Post("/accounts/reset-password", sitetest.Data{}).StatusCode)
	require.Equal(t, 404, sitetest.New(t).Browser().Post("/accounts/set-password", sitetest.Data{}).StatusCode, "where the mail does it")
}

// A profile in which nothing can be changed has no button, and says all the same.
func TestProfileWithNothingToChange(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.User.PublicFields, s.User.HiddenFields = []string{"id", "email"}, []string{"language"}
	})
	s.Member("ada")
	page := s.SignedIn("ada").LikeBrowser().Get("/accounts/profile/").Text
	require.Contains(t, page, "ada@example.org")
	require.NotContains(t, page, `action="/accounts/profile/"`)
}

// The way back to an address leads on by what the site has.
func TestUndoLeadsOn(t *testing.T) {
	for name, c := range map[string]struct {
		configure func(*registration.Settings)
		used      string
	}{
		"with a reset":    {func(*registration.Settings) {}, "/accounts/send-reset-password-link/"},
		"without a reset": {withoutReset, "/accounts/login/"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, c.configure)
			s.Member("ada")
			undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
			b := s.Browser().LikeBrowser()
			form := sitetest.FormOf(undo)
			require.Equal(t, http.StatusSeeOther, b.Post("/accounts/undo-email/", form).StatusCode)
			again := b.Get("/accounts/undo-email/?" + form.Encode())
			require.Equal(t, http.StatusOK, again.StatusCode)
			require.Contains(t, again.Text, c.used)
			if s.Realm.Options.ResetPassword.Enabled { // the password was the thief's, perhaps
				reset := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.Password})
				require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", reset).StatusCode)
			}
			// Changed once more since, the link has nothing to say of the address.
			member := s.SignedIn("ada")
			require.Equal(t, 200, member.Post("/accounts/register-email", sitetest.Data{"email": "third@example.org"}).StatusCode)
			for m := s.Mail(); ; m = s.Mail() {
				if m.To == "third@example.org" {
					require.Equal(t, 200, member.Post("/accounts/verify-email", sitetest.LinkOf(m, t)).StatusCode)
					break
				}
			}
			require.Equal(t, http.StatusOK, b.Get("/accounts/undo-email/?"+form.Encode()).StatusCode)
		})
	}
}
