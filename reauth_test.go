// reauth_test.go: an open browser is not enough to take an account over: the
// e-mail address needs a recent sign-in or the password.

package registration

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

func TestReauthentication(t *testing.T) {
	register := func(b *browser, more data) *answer {
		return b.problems().post("/accounts/register-email", with(data{"email": "new@example.org"}, more))
	}
	t.Run("the e-mail address", func(t *testing.T) {
		s := newSite(t)
		s.member("ada")
		b := s.signedIn("ada")
		require.NotContains(t, b.likeBrowser().get("/accounts/register-email/").body, `name="password"`)
		s.travel(10*time.Minute - time.Second)
		require.Equal(t, 200, register(b, nil).StatusCode)
		s.travel(time.Second)
		require.Contains(t, b.likeBrowser().get("/accounts/register-email/").body, `autocomplete="current-password"`)
		s.mail()
		requireError(t, register(b, nil), 400, "password:reauthentication_required")
		requireError(t, register(b, data{"password": ""}), 400, "password:blank")
		requireError(t, register(b, data{"password": "not the password"}), 400, "password:password_incorrect")
		requireError(t, register(b, data{"email": "x"}), 400, "email:invalid password:reauthentication_required")
		require.Equal(t, 200, register(b, data{"password": testPassword}).StatusCode)
		require.Equal(t, "new@example.org", s.mail().To, "the refused ones mailed nobody")
		require.Equal(t, 200, register(s.signedIn("ada"), nil).StatusCode, "a new sign-in is as good")
	})
	t.Run("by the profile, where it is edited there", func(t *testing.T) {
		s := newSite(t, func(s *Settings) {
			s.RegisterEmail.Verification, s.Register.Verification = off(), off()
			s.User.EditableFields = []string{"first_name", "email"}
		})
		s.member("ada")
		b := s.signedIn("ada").problems()
		s.travel(time.Hour)
		change := func(d data) *answer { return b.do("PATCH", "/accounts/profile", d) }
		require.Equal(t, 200, change(data{"first_name": "Ada", "email": "ada@example.org"}).StatusCode, "the address stays")
		requireError(t, change(data{"email": "new@example.org"}), 400, "password:reauthentication_required")
		require.Contains(t, b.get("/accounts/profile").body, "ada@example.org")
		require.Equal(t, 200, change(data{"email": "new@example.org", "password": testPassword}).StatusCode)
		require.Contains(t, b.get("/accounts/profile").body, "new@example.org")
	})
	t.Run("a login field", func(t *testing.T) {
		s := newSite(t)
		s.member("ada")
		b := s.signedIn("ada").problems()
		require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"username": "ada2"}).StatusCode, "soon after the sign-in")
		s.travel(10 * time.Minute)
		require.Equal(t, 200, b.do("PUT", "/accounts/profile", data{"username": "ada2", "first_name": "Ada"}).StatusCode, "the name stays")
		requireError(t, b.do("PATCH", "/accounts/profile", data{"username": "ada3"}), 400, "password:reauthentication_required")
		requireError(t, b.do("PATCH", "/accounts/profile", data{"username": "ADA2"}), 400, "password:reauthentication_required")
		requireError(t, b.do("PATCH", "/accounts/profile", data{"username": "ada3", "password": "not the password"}), 400, "password:password_incorrect")
		requireError(t, b.do("PATCH", "/accounts/profile", data{"username": "a b", "first_name": strings.Repeat("x", 200)}), 400, "username:invalid first_name:max_length password:reauthentication_required")
		require.Contains(t, b.likeBrowser().get("/accounts/profile/").body, `autocomplete="current-password"`)
		b.header.Del("Accept")
		require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"username": "ada3", "password": testPassword}).StatusCode)
		s.signedIn("ada3")
	})
	t.Run("max_age", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.RegisterEmail.MaxAge = age(time.Hour) })
		s.member("ada")
		b := s.signedIn("ada")
		s.travel(time.Hour - time.Second)
		require.Equal(t, 200, register(b, nil).StatusCode)
		s.travel(time.Second)
		requireError(t, register(b, nil), 400, "password:reauthentication_required")
	})
	t.Run("off", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.RegisterEmail.MaxAge = age(0) })
		s.member("ada")
		b := s.signedIn("ada")
		s.travel(13 * day)
		require.Equal(t, 200, register(b, nil).StatusCode)
		require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"username": "ada2"}).StatusCode)
		require.NotContains(t, b.likeBrowser().get("/accounts/profile/").body, "current-password")
	})
	t.Run("guesses are as dear as at the sign-in", func(t *testing.T) {
		s := newSite(t, func(s *Settings) {
			s.Throttle = ThrottleSettings{Login: &ThrottleLimit{Events: 3, Window: 60e9}, Email: &ThrottleLimit{Events: 100, Window: 60e9}}
		})
		s.member("ada")
		b := s.signedIn("ada")
		s.travel(time.Hour)
		for range 3 {
			requireError(t, register(b, data{"password": "not the password"}), 400, "password:password_incorrect")
		}
		requireError(t, register(b, data{"password": testPassword}), 429, "throttled")
	})
}

// The owner hears of every change of how one signs in, at the address he had
// before it.
func TestNoticesOfChanges(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada")
	told := func(what string) {
		t.Helper()
		m := s.notice()
		require.Equal(t, "ada@example.org", m.To)
		require.Contains(t, m.Subject, what)
		require.NotRegexp(t, linkInMail, m.Text+m.HTML, "nothing to click on, so nothing to phish with")
	}
	const fresh = "an even longer passphrase"
	require.Equal(t, 200, b.post("/accounts/change-password", data{"old_password": testPassword, "password": fresh, "password_confirm": fresh}).StatusCode)
	told("Your password")
	require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"username": "lovelace"}).StatusCode)
	told("Your sign-in name")
	require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"username": "lovelace", "first_name": "Ada"}).StatusCode)
	s.noMail()
	require.Empty(t, s.mailer.told)
	b.post("/accounts/send-reset-password-link", data{"login": "lovelace"})
	require.Equal(t, 200, s.browser().post("/accounts/reset-password", with(linkOf(s.mail(), t), data{"password": testPassword})).StatusCode)
	told("Your password")
	require.Equal(t, 400, b.post("/accounts/login", data{"login": "lovelace", "password": fresh}).StatusCode)
	s.noMail()
	require.Empty(t, s.mailer.told)
}

// age is a register_email.max_age.
func age(d time.Duration) *caddy.Duration { return (*caddy.Duration)(&d) }
