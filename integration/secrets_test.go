// secrets_test.go: with everything logged that Caddy can log, the log of a whole
// account's life has nothing that signs anybody in.

package integration

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// loudSite logs every request, and the proxy's at DEBUG too.
const loudSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
	log {
		level DEBUG
	}
}
http://127.0.0.1:[[port]] {
	log
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		secret {env.REGISTRATION_SECRET}
		password {
			argon2id 8KiB 1 1
		}
		login {
			token on
		}
	}
	require_login /members/* {
		copy_headers
	}
	reverse_proxy [[backend]]
}
`

func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	const signingKey = "signing key of this test, long enough"
	b := newBackend(t)
	s := newServer(t)
	// By a variable, as the README says: what stands in a configuration itself
	// is logged by Caddy, at DEBUG, with the rest of the configuration.
	s.env = []string{"REGISTRATION_SECRET=" + signingKey}
	s.values["backend"] = b.Listener.Addr().String()
	s.configure(loudSite)
	s.start()
	secrets := map[string]string{"the signing key": signingKey, "the first password": testPassword}
	note := func(name, value string) {
		require.NotEmpty(t, value, name)
		secrets[name] = value
	}
	// open asks for the mailed link as a browser does, and posts it.
	c := s.client()
	act := func(name string, m *message, endpoint string, more data) {
		link := m.link(t)
		note("the signature of "+name, link["signature"].(string))
		c.header.Set("Accept", browserAccept)
		opened := m.url(t).RequestURI()
		require.Equal(t, http.StatusOK, c.get(opened).StatusCode)
		require.Equal(t, http.StatusOK, c.get(strings.Replace(opened, "signature=", "%73ignature=", 1)).StatusCode)
		// In another browser a page may lead to the sign-in, with the link or without.
		for _, next := range []string{opened, strings.Replace(opened, "signature=", "sig%6Eature=", 1)} {
			other := s.client()
			other.header.Set("Accept", browserAccept)
			other.get(opened)
			other.get("/accounts/login/?next=" + url.QueryEscape(next))
			other.do(http.MethodPost, "/accounts/login/", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {next}})
		}
		c.header.Del("Accept")
		maps.Copy(link, more)
		c.post(http.StatusOK, endpoint, link)
		refused := c.do(http.MethodPost, "/accounts/"+endpoint, link) // used up
		require.Equal(t, http.StatusBadRequest, refused.StatusCode)
	}
	signIn := func(name, pass string) {
		res := c.post(http.StatusOK, "login", data{"login": "ada", "password": pass})
		note(name+"'s token", res.json(t)["token"].(string))
		note(name+"'s cookie", c.cookie())
	}

	c.post(http.StatusCreated, "register", newcomer("ada"))
	act("the confirmation", s.mail("ada@example.org", 1), "verify-registration", nil)
	const wrong, second, third = "my other passphrase, mistyped", "the second passphrase", "the third passphrase"
	note("a wrong password", wrong)
	note("the second password", second)
	note("the third password", third)
	c.post(http.StatusBadRequest, "login", data{"login": "ada", "password": wrong})
	c.post(http.StatusBadRequest, "login", url.Values{"login": {"ada"}, "password": {wrong}})
	c.post(http.StatusBadRequest, "register", data{"username": "ada", "password": wrong})
	signIn("the first sign-in", testPassword)
	c.requireMember()
	script := s.client()
	script.header.Set("Authorization", "Bearer "+secrets["the first sign-in's token"])
	script.requireMember()
	script.header.Set("Authorization", "Token "+secrets["the first sign-in's token"])
	require.Equal(t, http.StatusOK, script.get("/accounts/profile").StatusCode)
	c.post(http.StatusOK, "change-password", data{"old_password": testPassword, "password": second, "password_confirm": second})
	note("the cookie after the change", c.cookie())
	require.NotEqual(t, secrets["the first sign-in's cookie"], c.cookie())
	c.requireMember()
	c.post(http.StatusOK, "register-email", data{"email": "lovelace@example.org"})
	act("the new address", s.mail("lovelace@example.org", 1), "verify-email", nil)
	c.post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	act("the reset", waitMails(s, "lovelace@example.org", 2)[resetOf(t, s)], "reset-password", data{"password": third})
	signIn("the second sign-in", third)
	c.requireMember()
	c.post(http.StatusOK, "logout", data{"revoke_token": true})
	c.requireStopped()
	require.Equal(t, http.StatusOK, s.load(loudSite).StatusCode)
	s.stop()

	log := s.log.since(0)
	// The log does tell the story …
	for _, part := range []string{`"msg":"handled request"`, `"act":"change-password"`, `"level":"debug"`, `"msg":"mail sent"`, "login_invalid", "/members/"} {
		require.Contains(t, log, part)
	}
	// … but without these.
	for name, secret := range secrets {
		require.NotContains(t, log, secret, name)
		require.NotContains(t, log, url.QueryEscape(secret), name)
	}
}

// resetOf is the place of the reset among the mails to the new address.
func resetOf(t *testing.T, s *server) int {
	for i, m := range s.mails("lovelace@example.org") {
		if m.url(t).Path == "/accounts/reset-password/" {
			return i
		}
	}
	require.FailNow(t, "no reset among the mails")
	return -1
}
