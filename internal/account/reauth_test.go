// reauth_test.go: an open browser is not enough to take an account over: the
// e-mail address needs a recent sign-in or the password.

package account_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestReauthentication(t *testing.T) {
	register := func(b *sitetest.Browser, more sitetest.Data) *sitetest.Answer {
		return b.Problems().Post("/accounts/register-email", sitetest.With(sitetest.Data{"email": "new@example.org"}, more))
	}
	t.Run("the e-mail address", func(t *testing.T) {
		s := sitetest.New(t)
		s.Member("ada")
		b := s.SignedIn("ada")
		require.NotContains(t, b.LikeBrowser().Get("/accounts/register-email/").Text, `name="password"`)
		s.Travel(10*time.Minute - time.Second)
		require.Equal(t, 200, register(b, nil).StatusCode)
		s.Travel(time.Second)
		require.Contains(t, b.LikeBrowser().Get("/accounts/register-email/").Text, `autocomplete="current-password"`)
		s.Mail()
		sitetest.RequireError(t, register(b, nil), 400, "password:reauthentication_required")
		sitetest.RequireError(t, register(b, sitetest.Data{"password": ""}), 400, "password:blank")
		sitetest.RequireError(t, register(b, sitetest.Data{"password": "not the password"}), 400, "password:password_incorrect")
		sitetest.RequireError(t, register(b, sitetest.Data{"email": "x"}), 400, "email:invalid password:reauthentication_required")
		require.Equal(t, 200, register(b, sitetest.Data{"password": sitetest.Password}).StatusCode)
		require.Equal(t, "new@example.org", s.Mail().To, "the refused ones mailed nobody")
		require.Equal(t, 200, register(s.SignedIn("ada"), nil).StatusCode, "a new sign-in is as good")
	})
	t.Run("by the profile, where it is edited there", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.RegisterEmail.Verification, s.Register.Verification = sitetest.Off(), sitetest.Off()
			s.User.EditableFields = []string{"first_name", "email"}
		})
		s.Member("ada")
		b := s.SignedIn("ada").Problems()
		s.Travel(time.Hour)
		change := func(d sitetest.Data) *sitetest.Answer { return b.Do("PATCH", "/accounts/profile", d) }
		require.Equal(t, 200, change(sitetest.Data{"first_name": "Ada", "email": "ada@example.org"}).StatusCode, "the address stays")
		sitetest.RequireError(t, change(sitetest.Data{"email": "new@example.org"}), 400, "password:reauthentication_required")
		require.Contains(t, b.Get("/accounts/profile").Text, "ada@example.org")
		require.Equal(t, 200, change(sitetest.Data{"email": "new@example.org", "password": sitetest.Password}).StatusCode)
		require.Contains(t, b.Get("/accounts/profile").Text, "new@example.org")
	})
	t.Run("a login field", func(t *testing.T) {
		s := sitetest.New(t)
		s.Member("ada")
		b := s.SignedIn("ada").Problems()
		require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ada2"}).StatusCode, "soon after the sign-in")
		s.Travel(10 * time.Minute)
		require.Equal(t, 200, b.Do("PUT", "/accounts/profile", sitetest.Data{"username": "ada2", "first_name": "Ada"}).StatusCode, "the name stays")
		sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ada3"}), 400, "password:reauthentication_required")
		sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ADA2"}), 400, "password:reauthentication_required")
		sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ada3", "password": "not the password"}), 400, "password:password_incorrect")
		sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "a b", "first_name": strings.Repeat("x", 200)}), 400, "username:invalid first_name:max_length password:reauthentication_required")
		require.Contains(t, b.LikeBrowser().Get("/accounts/profile/").Text, `autocomplete="current-password"`)
		b.Header.Del("Accept")
		require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ada3", "password": sitetest.Password}).StatusCode)
		s.SignedIn("ada3")
	})
	t.Run("what is wrong besides is told in the same round", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.RegisterEmail.Verification, s.Register.Verification = sitetest.Off(), sitetest.Off()
			s.User.EditableFields = []string{"username", "first_name", "email"}
		})
		s.Member("ada")
		s.Member("bob")
		b := s.SignedIn("ada").Problems()
		s.Travel(time.Hour)
		change := func(d sitetest.Data) *sitetest.Answer { return b.Do("PATCH", "/accounts/profile", d) }
		for password, code := range map[any]string{nil: "reauthentication_required", "": "blank", "not the password": "password_incorrect"} {
			with := func(d sitetest.Data) sitetest.Data { return sitetest.With(d, sitetest.Data{"password": password}) }
			sitetest.RequireError(t, change(with(sitetest.Data{"username": "Bob"})), 400, "username:unique password:"+code)
			sitetest.RequireError(t, change(with(sitetest.Data{"username": "BOB", "email": "Bob@example.org", "first_name": strings.Repeat("x", 200)})), 400,
				"username:unique email:unique first_name:max_length password:"+code)
		}
		sitetest.RequireError(t, change(sitetest.Data{"username": "bob", "password": sitetest.Password}), 400, "username:unique")

		page := s.SignedIn("ada").LikeBrowser()
		s.Travel(time.Hour)
		refused := page.Post("/accounts/profile/", url.Values{"username": {"bob"}, "email": {"ada@example.org"}, "password": {"not the password"}})
		require.Equal(t, 400, refused.StatusCode)
		for _, input := range []string{"username", "password"} {
			require.Contains(t, refused.Text, `href="#`+input+`"`, "the summary leads to the field")
		}
		refused = page.Post("/accounts/register-email/", url.Values{"email": {"BOB@example.org"}, "password": {"not the password"}})
		require.Equal(t, 400, refused.StatusCode)
		for _, input := range []string{"email", "password"} {
			require.Contains(t, refused.Text, `href="#`+input+`"`)
		}
		refused = page.Post("/accounts/register-email/", url.Values{"email": {"free@example.org"}, "password": {"not the password"}})
		require.NotContains(t, refused.Text, `href="#email"`)
		sitetest.RequireError(t, register(b, sitetest.Data{"email": "bob@example.org", "password": "not the password"}), 400, "password:password_incorrect")
		sitetest.RequireError(t, register(b, sitetest.Data{"email": "bob@example.org", "password": sitetest.Password}), 400, "email_already_registered")
	})
	t.Run("an account that has gone meanwhile is signed in nowhere", func(t *testing.T) {
		s := sitetest.New(t)
		s.Member("ada")
		b := s.SignedIn("ada")
		who, err := s.Accounts.Sessions.Lookup(t.Context(), b.Cookie[sitetest.SessionCookie], store.KindSession, s.Realm.Now(), time.Hour)
		require.NoError(t, err)
		s.Travel(time.Hour)
		require.NoError(t, s.Accounts.Delete(t.Context(), who.User.ID))
		_, err = s.Accounts.UpdateProfile(t.Context(), who, field.Input{field.Username: {Kind: field.ValueText, Text: "eve"}}, true, account.Client{})
		require.ErrorContains(t, err, string(refusal.CodeNotAuthenticated))
	})
	t.Run("max_age", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.RegisterEmail.MaxAge = age(time.Hour) })
		s.Member("ada")
		b := s.SignedIn("ada")
		s.Travel(time.Hour - time.Second)
		require.Equal(t, 200, register(b, nil).StatusCode)
		s.Travel(time.Second)
		sitetest.RequireError(t, register(b, nil), 400, "password:reauthentication_required")
	})
	t.Run("off", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.RegisterEmail.MaxAge = age(0) })
		s.Member("ada")
		b := s.SignedIn("ada")
		s.Travel(13 * sitetest.Day)
		require.Equal(t, 200, register(b, nil).StatusCode)
		require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ada2"}).StatusCode)
		require.NotContains(t, b.LikeBrowser().Get("/accounts/profile/").Text, "current-password")
	})
	t.Run("guesses are as dear as at the sign-in", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 3, Window: 60e9}, Email: &registration.ThrottleLimit{Events: 100, Window: 60e9}}
		})
		s.Member("ada")
		b := s.SignedIn("ada")
		s.Travel(time.Hour)
		for range 3 {
			sitetest.RequireError(t, register(b, sitetest.Data{"password": "not the password"}), 400, "password:password_incorrect")
		}
		sitetest.RequireError(t, register(b, sitetest.Data{"password": sitetest.Password}), 429, "throttled")
	})
}

// The owner hears of every change of how one signs in, at the address he had
// before it.
func TestNoticesOfChanges(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	told := func(what string) {
		t.Helper()
		m := s.Notice()
		require.Equal(t, "ada@example.org", m.To)
		require.Contains(t, m.Subject, what)
		for _, link := range sitetest.LinkInMail.FindAllString(m.Text+m.HTML, -1) {
			require.NotContains(t, link, "signature", "a notice opens nothing by itself")
			require.Contains(t, link, "/accounts/send-reset-password-link/")
		}
	}
	const fresh = "an even longer passphrase"
	require.Equal(t, 200, b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": fresh, "password_confirm": fresh}).StatusCode)
	told("Your password")
	require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "lovelace"}).StatusCode)
	told("Your username")
	require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "lovelace", "first_name": "Ada"}).StatusCode)
	s.NoMail()
	require.Empty(t, s.Mailer.Told)
	b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "lovelace"})
	require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.Password})).StatusCode)
	told("Your password")
	require.Equal(t, 400, b.Post("/accounts/login", sitetest.Data{"login": "lovelace", "password": fresh}).StatusCode)
	s.NoMail()
	require.Empty(t, s.Mailer.Told)
}

// age is a register_email.max_age.
func age(d time.Duration) *caddy.Duration { return (*caddy.Duration)(&d) }
