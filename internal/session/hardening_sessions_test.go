// hardening_sessions_test.go: attacks on sessions: fixation, replay of what has
// ended, tossed cookies, signatures used where they were not made for.

package session_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestSessionFixation(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("eve")
	planted := s.SignedIn("eve").Cookie[sitetest.SessionCookie]
	unknown, _ := session.NewToken()
	for name, before := range map[string]string{"of nobody": unknown, "of the attacker": planted, "no token": "x"} {
		t.Run(name, func(t *testing.T) {
			victim := s.Browser()
			victim.Cookie[sitetest.SessionCookie] = before
			res := victim.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.NotEqual(t, before, victim.Cookie[sitetest.SessionCookie])
			require.Equal(t, "ada", victim.Get("/accounts/profile").JSON(t)["username"])
			attacker := s.Browser()
			attacker.Cookie[sitetest.SessionCookie] = before
			require.Equal(t, http.StatusUnauthorized, attacker.Get("/accounts/profile").StatusCode)
		})
	}
}

// Every way in which a session ends, and each kind of credential after it.
func TestReplayAfterTheEnd(t *testing.T) {
	const fresh = "an even longer passphrase"
	for name, c := range map[string]struct {
		end func(*sitetest.Site, *sitetest.Browser)
		// only: the act ends no other session than the asking one.
		only bool
	}{
		"logout": {func(s *sitetest.Site, b *sitetest.Browser) {
			require.Equal(s.T, 200, b.Post("/accounts/logout", sitetest.Data{"revoke_token": true}).StatusCode)
		}, true},
		"password change": {func(s *sitetest.Site, b *sitetest.Browser) {
			require.Equal(s.T, 200, b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": fresh, "password_confirm": fresh}).StatusCode)
		}, false},
		"reset": {func(s *sitetest.Site, _ *sitetest.Browser) {
			s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
			require.Equal(s.T, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), s.T), sitetest.Data{"password": fresh})).StatusCode)
		}, false},
		"disable": {func(s *sitetest.Site, _ *sitetest.Browser) {
			_, err := s.Accounts.Administer(s.T.Context(), sitetest.UUIDOf(s.T, s, "ada"), account.AdminChange{IsActive: sitetest.Off()})
			require.NoError(s.T, err)
		}, false},
		"delete": {func(s *sitetest.Site, _ *sitetest.Browser) {
			require.NoError(s.T, s.Accounts.Delete(s.T.Context(), sitetest.UUIDOf(s.T, s, "ada")))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
			s.Member("ada")
			s.Member("bystander")
			b, other, bystander := s.Browser(), s.SignedIn("ada"), s.SignedIn("bystander")
			token, ok := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
			require.True(t, ok)
			cookie, api := s.Browser(), s.Browser()
			cookie.Cookie[sitetest.SessionCookie] = b.Cookie[sitetest.SessionCookie]
			api.Header.Set("Authorization", "Bearer "+token)
			for _, who := range []*sitetest.Browser{cookie, api, other} { // and all are in memory now
				require.Equal(t, 200, who.Get("/accounts/profile").StatusCode)
			}
			c.end(s, b)
			ended := []*sitetest.Browser{cookie, api}
			if !c.only {
				ended = append(ended, other)
			}
			for _, who := range ended {
				require.Equal(t, 401, who.Get("/accounts/profile").StatusCode)
				require.Equal(t, 401, who.Get("/members/").StatusCode)
				require.Equal(t, 401, who.Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": "Eve"}).StatusCode)
			}
			require.Equal(t, 200, bystander.Get("/accounts/profile").StatusCode, "another's session goes on")
		})
	}
}

// A sibling host or a path below can add cookies, which arrive beside the real
// one: who is signed in is then nobody, and never the attacker. Rubbish is no rival
// (TestTwoCookiesOfOneName).
func TestCookieTossing(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("eve")
	ada, eve := s.SignedIn("ada").Cookie[sitetest.SessionCookie], s.SignedIn("eve").Cookie[sitetest.SessionCookie]
	for name, header := range map[string]string{
		"evil first":  sitetest.SessionCookie + "=" + eve + "; " + sitetest.SessionCookie + "=" + ada,
		"evil last":   sitetest.SessionCookie + "=" + ada + "; " + sitetest.SessionCookie + "=" + eve,
		"evil quoted": sitetest.SessionCookie + "=" + ada + `; ` + sitetest.SessionCookie + `="` + eve + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser()
			b.Header.Set("Cookie", header)
			require.Equal(t, 401, b.Get("/accounts/profile").StatusCode)
			require.Equal(t, 401, b.Get("/members/").StatusCode)
			require.NotEqual(t, 200, b.Post("/accounts/change-password", sitetest.Data{"password": "x"}).StatusCode)
		})
	}
	t.Run("a name without the prefix over HTTPS", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.BaseURL = "https://example.com" })
		s.Member("ada")
		b := s.SignedIn("ada")
		tossed := s.Browser()
		tossed.Cookie[sitetest.SessionCookie] = b.Cookie["__Host-"+sitetest.SessionCookie]
		require.NotEmpty(t, tossed.Cookie[sitetest.SessionCookie])
		require.Equal(t, 401, tossed.Get("/accounts/profile").StatusCode, "what a sibling host can set does not count")
	})
}

// TestSignaturesAreBound has the same of the signer alone, with realm and key.
func TestSignatureReuse(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	eve := s.Member("eve")
	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	reset := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})
	require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
	change := sitetest.LinkOf(s.Mail(), t)
	s.Browser().Post("/accounts/register", sitetest.Newcomer("waiting"))
	confirm := sitetest.LinkOf(s.Mail(), t)
	elsewhere := sitetest.New(t) // the same accounts' names, another key
	elsewhere.Member("ada")
	for name, c := range map[string]struct {
		site *sitetest.Site
		path string
		body sitetest.Data
	}{
		"reset as confirmation":  {s, "verify-registration", reset},
		"reset as change":        {s, "verify-email", sitetest.With(reset, sitetest.Data{"email": "new@example.org"})},
		"change as reset":        {s, "reset-password", sitetest.With(change, sitetest.Data{"password": "an even longer passphrase"})},
		"confirmation as reset":  {s, "reset-password", sitetest.With(confirm, sitetest.Data{"password": "an even longer passphrase"})},
		"another's reset":        {s, "reset-password", sitetest.With(reset, sitetest.Data{"user_id": eve})},
		"change to another":      {s, "verify-email", sitetest.With(change, sitetest.Data{"email": "eve2@example.org"})},
		"another's change":       {s, "verify-email", sitetest.With(change, sitetest.Data{"user_id": eve})},
		"another key's reset":    {elsewhere, "reset-password", sitetest.With(reset, sitetest.Data{"user_id": sitetest.UUIDOf(t, elsewhere, "ada").String()})},
		"another key's own user": {elsewhere, "reset-password", reset},
	} {
		t.Run(name, func(t *testing.T) {
			sitetest.RequireError(t, c.site.Browser().Problems().Post("/accounts/"+c.path, c.body), 400, "signature_invalid")
		})
	}
	require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", reset).StatusCode, "the signature was good for its own act")
}
