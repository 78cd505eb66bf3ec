// hardening_sessions_test.go: attacks on sessions: fixation, replay of what has
// ended, tossed cookies, signatures used where they were not made for.

package registration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
)

// sessionCookie is the session's cookie over plain HTTP.
const sessionCookie = "registration"

func TestSessionFixation(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	s.member("eve")
	planted := s.signedIn("eve").cookie[sessionCookie]
	unknown, _ := session.NewToken()
	for name, before := range map[string]string{"of nobody": unknown, "of the attacker": planted, "no token": "x"} {
		t.Run(name, func(t *testing.T) {
			victim := s.browser()
			victim.cookie[sessionCookie] = before
			res := victim.post("/accounts/login", data{"login": "ada", "password": testPassword})
			require.Equal(t, http.StatusOK, res.StatusCode, res.body)
			require.NotEqual(t, before, victim.cookie[sessionCookie])
			require.Equal(t, "ada", victim.get("/accounts/profile").json(t)["username"])
			attacker := s.browser()
			attacker.cookie[sessionCookie] = before
			require.Equal(t, http.StatusUnauthorized, attacker.get("/accounts/profile").StatusCode)
		})
	}
}

// Every way in which a session ends, and each kind of credential after it.
func TestReplayAfterTheEnd(t *testing.T) {
	const fresh = "an even longer passphrase"
	for name, c := range map[string]struct {
		end func(*site, *browser)
		// only: the act ends no other session than the asking one.
		only bool
	}{
		"logout": {func(s *site, b *browser) {
			require.Equal(s.t, 200, b.post("/accounts/logout", data{"revoke_token": true}).StatusCode)
		}, true},
		"password change": {func(s *site, b *browser) {
			require.Equal(s.t, 200, b.post("/accounts/change-password", data{"old_password": testPassword, "password": fresh, "password_confirm": fresh}).StatusCode)
		}, false},
		"reset": {func(s *site, _ *browser) {
			s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
			require.Equal(s.t, 200, s.browser().post("/accounts/reset-password", with(linkOf(s.mail(), s.t), data{"password": fresh})).StatusCode)
		}, false},
		"disable": {func(s *site, _ *browser) {
			_, err := s.accounts.Administer(s.t.Context(), uuidOf(s.t, s, "ada"), account.AdminChange{IsActive: off()})
			require.NoError(s.t, err)
		}, false},
		"delete": {func(s *site, _ *browser) {
			require.NoError(s.t, s.accounts.Delete(s.t.Context(), uuidOf(s.t, s, "ada")))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *Settings) { s.Login.Token = on() })
			s.member("ada")
			s.member("bystander")
			b, other, bystander := s.browser(), s.signedIn("ada"), s.signedIn("bystander")
			token, ok := b.post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)["token"].(string)
			require.True(t, ok)
			cookie, api := s.browser(), s.browser()
			cookie.cookie[sessionCookie] = b.cookie[sessionCookie]
			api.header.Set("Authorization", "Bearer "+token)
			for _, who := range []*browser{cookie, api, other} { // and all are in memory now
				require.Equal(t, 200, who.get("/accounts/profile").StatusCode)
			}
			c.end(s, b)
			ended := []*browser{cookie, api}
			if !c.only {
				ended = append(ended, other)
			}
			for _, who := range ended {
				require.Equal(t, 401, who.get("/accounts/profile").StatusCode)
				require.Equal(t, 401, who.get("/members/").StatusCode)
				require.Equal(t, 401, who.do("PATCH", "/accounts/profile", data{"first_name": "Eve"}).StatusCode)
			}
			require.Equal(t, 200, bystander.get("/accounts/profile").StatusCode, "another's session goes on")
		})
	}
}

// A sibling host or a path below can add cookies, which arrive beside the real
// one: who is signed in is then nobody, and never the attacker.
func TestCookieTossing(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	s.member("eve")
	ada, eve := s.signedIn("ada").cookie[sessionCookie], s.signedIn("eve").cookie[sessionCookie]
	for name, header := range map[string]string{
		"evil first":  sessionCookie + "=" + eve + "; " + sessionCookie + "=" + ada,
		"evil last":   sessionCookie + "=" + ada + "; " + sessionCookie + "=" + eve,
		"evil quoted": sessionCookie + "=" + ada + `; ` + sessionCookie + `="` + eve + `"`,
		"rubbish too": sessionCookie + "=" + ada + "; " + sessionCookie + "=x",
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			b.header.Set("Cookie", header)
			require.Equal(t, 401, b.get("/accounts/profile").StatusCode)
			require.Equal(t, 401, b.get("/members/").StatusCode)
			require.NotEqual(t, 200, b.post("/accounts/change-password", data{"password": "x"}).StatusCode)
		})
	}
	t.Run("a name without the prefix over HTTPS", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.BaseURL = "https://example.com" })
		s.member("ada")
		b := s.signedIn("ada")
		tossed := s.browser()
		tossed.cookie[sessionCookie] = b.cookie["__Host-"+sessionCookie]
		require.NotEmpty(t, tossed.cookie[sessionCookie])
		require.Equal(t, 401, tossed.get("/accounts/profile").StatusCode, "what a sibling host can set does not count")
	})
}

// TestSignaturesAreBound has the same of the signer alone, with realm and key.
func TestSignatureReuse(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	eve := s.member("eve")
	s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
	reset := with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})
	require.Equal(t, 200, s.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org"}).StatusCode)
	change := linkOf(s.mail(), t)
	s.browser().post("/accounts/register", newcomer("waiting"))
	confirm := linkOf(s.mail(), t)
	elsewhere := newSite(t) // the same accounts' names, another key
	elsewhere.member("ada")
	for name, c := range map[string]struct {
		site *site
		path string
		body data
	}{
		"reset as confirmation":  {s, "verify-registration", reset},
		"reset as change":        {s, "verify-email", with(reset, data{"email": "new@example.org"})},
		"change as reset":        {s, "reset-password", with(change, data{"password": "an even longer passphrase"})},
		"confirmation as reset":  {s, "reset-password", with(confirm, data{"password": "an even longer passphrase"})},
		"another's reset":        {s, "reset-password", with(reset, data{"user_id": eve})},
		"change to another":      {s, "verify-email", with(change, data{"email": "eve2@example.org"})},
		"another's change":       {s, "verify-email", with(change, data{"user_id": eve})},
		"another key's reset":    {elsewhere, "reset-password", with(reset, data{"user_id": uuidOf(t, elsewhere, "ada").String()})},
		"another key's own user": {elsewhere, "reset-password", reset},
	} {
		t.Run(name, func(t *testing.T) {
			requireError(t, c.site.browser().problems().post("/accounts/"+c.path, c.body), 400, "signature_invalid")
		})
	}
	require.Equal(t, 200, s.browser().post("/accounts/reset-password", reset).StatusCode, "the signature was good for its own act")
}
