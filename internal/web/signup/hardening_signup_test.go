// hardening_signup_test.go: what somebody tries with forms that come twice and links
// that were used.

package signup_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// With auto_login a used link opens nothing: whoever finds it in a mailbox or in a
// browser's history is led to the sign-in.
func TestHardeningUsedLinkSignsNobodyIn(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.AutoLogin, s.Login.Token = sitetest.On(), sitetest.On() })
	b := s.Browser().LikeBrowser()
	require.Equal(t, http.StatusSeeOther, b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada"))).StatusCode)
	link, form := s.Mailed()
	require.Equal(t, http.StatusSeeOther, b.Post("/accounts/verify-registration/", form).StatusCode)
	require.Contains(t, b.Cookie, sitetest.SessionCookie)
	for name, thief := range map[string]*sitetest.Browser{"the same browser, signed out": b, "another": s.Browser().LikeBrowser(), "a program": s.Browser()} {
		t.Run(name, func(t *testing.T) {
			delete(thief.Cookie, sitetest.SessionCookie)
			for _, res := range []*sitetest.Answer{thief.Post("/accounts/verify-registration/", form), thief.Get(link), thief.Post("/accounts/verify-registration/", url.Values{"user_id": form["user_id"], "timestamp": form["timestamp"], "signature": form["signature"], "password": {sitetest.Password}})} {
				for _, cookie := range res.Cookies() {
					require.NotContains(t, []string{sitetest.SessionCookie, sitetest.DeviceCookie}, cookie.Name)
				}
				require.NotContains(t, res.Text, `"token"`)
			}
			require.NotContains(t, thief.Cookie, sitetest.SessionCookie)
		})
	}
	_, sessions := s.Census()
	require.Equal(t, 1, sessions, "the session of the one confirmation, whose page shows no token")
}

// A confirmation pressed many times at once signs in once.
func TestHardeningConfirmedManyTimesAtOnce(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() })
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	_, form := s.Mailed()
	form.Set("password", sitetest.Password)
	signedIn := sitetest.RaceOf(sitetest.Hashers, func(int) int {
		b := s.Browser().LikeBrowser()
		res := b.Post("/accounts/verify-registration/", form)
		require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
		return len(b.Cookie[sitetest.SessionCookie])
	})
	require.Len(t, signedIn, 2)
	require.Equal(t, sitetest.Hashers-1, signedIn[0], "all but one are led to the sign-in")
}

// A form that comes twice is one sign-up where an invitation, a code or an owner's word
// is needed, too; and no second one comes of an invitation that is good once.
func TestHardeningSentTwiceInEveryMode(t *testing.T) {
	for name, c := range map[string]struct {
		configure func(*registration.Settings)
		invited   bool
		more      sitetest.Data
	}{
		"code":       {func(s *registration.Settings) { s.Register.Code = "sesame" }, false, sitetest.Data{"code": "sesame"}},
		"approve":    {func(s *registration.Settings) { s.Register.Mode = account.ModeApprove }, false, nil},
		"reason":     {func(s *registration.Settings) { s.Register.Reason = account.ReasonRequired }, false, sitetest.Data{"reason": "because"}},
		"invitation": {func(s *registration.Settings) { s.Register.Mode = account.ModeInvite }, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, c.configure)
			form := sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), c.more))
			other := sitetest.FormOf(sitetest.With(sitetest.Newcomer("eve"), c.more))
			if c.invited {
				_, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
				require.NoError(t, err)
				u, err := url.Parse(link)
				require.NoError(t, err)
				form.Set("invitation", u.Query().Get("invitation"))
				other.Set("invitation", u.Query().Get("invitation"))
			}
			places := make(chan string, 6)
			var all sync.WaitGroup
			for range cap(places) {
				all.Go(func() {
					res := s.Browser().LikeBrowser().Post("/accounts/register/", form)
					places <- http.StatusText(res.StatusCode) + res.Header.Get("Location")
				})
			}
			all.Wait()
			first := <-places
			require.Contains(t, first, http.StatusText(http.StatusSeeOther))
			for range cap(places) - 1 {
				require.Equal(t, first, <-places)
			}
			require.Equal(t, http.StatusSeeOther, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode)
			if c.invited {
				require.Equal(t, http.StatusForbidden, s.Browser().LikeBrowser().Post("/accounts/register/", other).StatusCode, "it is good once")
			}
			users, _ := s.Census()
			require.Equal(t, 1, users)
			s.Mail()
			s.NoMail()
		})
	}
}

// Confirmed and reset at one moment, an account has one password: the reset's, if that
// was done.
func TestHardeningConfirmedAndResetAtOnce(t *testing.T) {
	for range 10 {
		s := sitetest.New(t)
		require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
		confirm := sitetest.LinkOf(s.Mail(), t)
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
		reset := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.NewPassword})
		var all sync.WaitGroup
		confirmed, set := 0, 0
		all.Go(func() { confirmed = s.Browser().Post("/accounts/verify-registration", confirm).StatusCode })
		all.Go(func() { set = s.Browser().Post("/accounts/reset-password", reset).StatusCode })
		all.Wait()
		require.True(t, confirmed == http.StatusOK || set == http.StatusOK, "%d, %d", confirmed, set)
		good := sitetest.Password
		if set == http.StatusOK {
			good = sitetest.NewPassword
		}
		for _, password := range []string{sitetest.Password, sitetest.NewPassword} {
			want := http.StatusBadRequest
			if password == good {
				want = http.StatusOK
			}
			require.Equal(t, want, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": password}).StatusCode)
		}
	}
}

// A missing address is told as the contract says, whichever domains are let in.
func TestRegisterWithoutAnAddressWhereDomainsAreChosen(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.AllowDomains = []string{"example.org"} })
	for _, email := range []any{nil, "", " "} {
		body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": email})
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", body), 400, "email_required")
	}
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": "a@example.net"})), 400, "email:domain_not_allowed")
	open := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) { s.Register.AllowDomains = []string{"example.org"} })
	sitetest.RequireError(t, open.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": nil})), 400, "email:email_required")
}
