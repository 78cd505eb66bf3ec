// secrets_test.go: with everything logged that Caddy can log, the log of a whole
// account's life has nothing that signs anybody in.

package guarded_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/token"
)

// loudSite logs every request, and the proxy's at DEBUG too.
var loudSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
	log {
		level DEBUG
	}
}
http://127.0.0.1:[[port]] {
	log
	` + served.Accounts("http://127.0.0.1:[[port]]", `secret {env.REGISTRATION_SECRET}
		login {
			token on
		}`) + `
	require_login /members/* {
		copy_headers
		basic
	}
	reverse_proxy [[backend]]
}
`

func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	const signingKey = "signing key of this test, long enough"
	b := newBackend(t)
	s := served.NewServer(t)
	// By a variable, as the README says: what stands in a configuration itself
	// is logged by Caddy, at DEBUG, with the rest of the configuration.
	s.Env = []string{"REGISTRATION_SECRET=" + signingKey}
	s.Values["backend"] = b.Listener.Addr().String()
	s.Configure(loudSite)
	s.Start()
	secrets := map[string]string{"the signing key": signingKey, "the first password": served.TestPassword}
	note := func(name, value string) {
		require.NotEmpty(t, value, name)
		secrets[name] = value
	}
	// open asks for the mailed link as a browser does, and posts it.
	c := s.Client()
	act := func(name string, m *served.Message, endpoint string, more data) {
		link := m.Link(t)
		note("the signature of "+name, link["signature"].(string))
		c.Header.Set("Accept", served.BrowserAccept)
		opened := m.URL(t).RequestURI()
		require.Equal(t, http.StatusOK, c.Get(opened).StatusCode)
		require.Equal(t, http.StatusOK, c.Get(strings.Replace(opened, "signature=", "%73ignature=", 1)).StatusCode)
		// In another browser a page may lead to the sign-in, with the link or without.
		for _, next := range []string{opened, strings.Replace(opened, "signature=", "sig%6Eature=", 1)} {
			other := s.Client()
			other.Header.Set("Accept", served.BrowserAccept)
			other.Get(opened)
			other.Get("/accounts/login/?next=" + url.QueryEscape(next))
			other.Do(http.MethodPost, "/accounts/login/", url.Values{"login": {"ada"}, "password": {served.TestPassword}, "next": {next}})
		}
		c.Header.Del("Accept")
		maps.Copy(link, more)
		c.Post(http.StatusOK, endpoint, link)
		refused := c.Do(http.MethodPost, "/accounts/"+endpoint, link) // used up
		require.Equal(t, http.StatusBadRequest, refused.StatusCode)
	}
	signIn := func(name, pass string) {
		res := c.Post(http.StatusOK, "login", data{"login": "ada", "password": pass})
		note(name+"'s token", res.JSON(t)["token"].(string))
		note(name+"'s cookie", c.Cookie())
	}

	c.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	act("the confirmation", s.Mail("ada@example.org", 1), "verify-registration", nil)
	const wrong, second, third = "my other passphrase, mistyped", "the second passphrase", "the third passphrase"
	note("a wrong password", wrong)
	note("the second password", second)
	note("the third password", third)
	c.Post(http.StatusBadRequest, "login", data{"login": "ada", "password": wrong})
	c.Post(http.StatusBadRequest, "login", url.Values{"login": {"ada"}, "password": {wrong}})
	c.Post(http.StatusBadRequest, "register", data{"username": "ada", "password": wrong})
	signIn("the first sign-in", served.TestPassword)
	c.RequireMember()
	script := s.Client()
	script.Header.Set("Authorization", "Bearer "+secrets["the first sign-in's token"])
	script.RequireMember()
	script.Header.Set("Authorization", "Token "+secrets["the first sign-in's token"])
	require.Equal(t, http.StatusOK, script.Get("/accounts/profile").StatusCode)
	c.Post(http.StatusOK, "change-password", data{"old_password": served.TestPassword, "password": second, "password_confirm": second})
	note("the cookie after the change", c.Cookie())
	require.NotEqual(t, secrets["the first sign-in's cookie"], c.Cookie())
	c.RequireMember()
	useTokens(s, c, note)
	c.Post(http.StatusOK, "register-email", data{"email": "lovelace@example.org"})
	act("the new address", s.Mail("lovelace@example.org", 1), "verify-email", nil)
	c.Post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	act("the reset", served.WaitMails(s, "lovelace@example.org", 2)[resetOf(t, s)], "reset-password", data{"password": third})
	signIn("the second sign-in", third)
	c.RequireMember()
	c.Post(http.StatusOK, "logout", data{"revoke_token": true})
	c.RequireStopped()
	// An invitation: opened in several spellings, used, opened again.
	invited := s.AdminRequest(http.MethodPost, "/registration/default/invitations", "application/json", `{"email": "zoe@example.org", "groups": ["members"]}`)
	require.Equal(t, http.StatusOK, invited.StatusCode, invited.Text)
	_, invitation, _ := strings.Cut(invited.JSON(t)["link"].(string), "invitation=")
	note("the invitation", invitation)
	require.NotContains(t, s.AdminRequest(http.MethodGet, "/registration/default/invitations", "", "").Text, invitation)
	guest := s.Client()
	guest.Header.Set("Accept", served.BrowserAccept)
	for _, address := range []string{"/accounts/register/?invitation=", "/accounts/register?invitation=", "/accounts/register/?in%76itation="} {
		guest.Get(address + invitation)
	}
	guest.Header.Del("Accept")
	zoe := served.Newcomer("zoe")
	zoe["invitation"] = invitation
	guest.Post(http.StatusCreated, "register", zoe)
	guest.Post(http.StatusForbidden, "register", zoe)
	guest.Header.Set("Accept", served.BrowserAccept)
	require.Equal(t, http.StatusForbidden, guest.Get("/accounts/register/?invitation="+invitation).StatusCode)
	require.Equal(t, http.StatusOK, s.Load(loudSite).StatusCode)
	s.Stop()

	log := s.Log.Since(0)
	// The log does tell the story …
	for _, part := range []string{`"msg":"handled request"`, `"act":"change-password"`, `"level":"debug"`, `"msg":"mail sent"`, "login_invalid", "/members/"} {
		require.Contains(t, log, part)
	}
	// … but without these.
	require.NotRegexp(t, token.Pattern, log)
	for name, secret := range secrets {
		require.NotContains(t, log, secret, name)
		require.NotContains(t, log, url.QueryEscape(secret), name)
	}
}

// useTokens makes tokens for programs and brings them in every way, right and wrong.
func useTokens(s *served.Server, c *served.Client, note func(name, value string)) {
	t := c.T
	made := func(body data) (token, id string) {
		answer := c.Post(http.StatusCreated, "create-token", body).JSON(t)
		token, id = answer["token"].(string), answer["id"].(string)
		note("a token for programs, "+id, token)
		note("the header of HTTP Basic, "+id, strings.TrimPrefix(basicOf("ada", token), "Basic "))
		return token, id
	}
	good, id := made(data{"name": "Calendar"})
	limited, _ := made(data{"name": "Files", "path": "/members/dav"})
	c.Header.Set("Accept", served.BrowserAccept)
	require.Equal(t, http.StatusOK, c.Do(http.MethodPost, "/accounts/create-token/", url.Values{"name": {"By the page"}}).StatusCode)
	require.Equal(t, http.StatusOK, c.Get("/accounts/tokens/").StatusCode)
	c.Header.Del("Accept")
	bring := func(want int, token string) {
		program := s.Client()
		for _, authorization := range []string{"Bearer " + token, "Token " + token, basicOf("ada", token)} {
			program.Header.Set("Authorization", authorization)
			require.Equal(t, want, program.Get("/members/").StatusCode)
		}
		for _, authorization := range []string{basicOf("eve", token), "Digest " + token, token} {
			program.Header.Set("Authorization", authorization)
			require.NotEqual(t, http.StatusOK, program.Get("/members/").StatusCode)
		}
		program.Header.Del("Authorization")
		for _, target := range []string{"/members/?access_token=" + token, "/members/" + token + "/feed", "/members/?next=%2Fx%3Ft%3D" + token} {
			require.Equal(t, http.StatusUnauthorized, program.Get(target).StatusCode)
			program.Header.Set("Accept", served.BrowserAccept)
			require.Equal(t, http.StatusFound, program.Get(target).StatusCode)
			require.Equal(t, http.StatusOK, program.Get("/accounts/login/?next="+url.QueryEscape(target)).StatusCode)
			program.Header.Del("Accept")
		}
		program.Get("/accounts/profile?access_token=" + token)
		program.Do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": token})
		program.Do(http.MethodPost, "/accounts/revoke-token", data{"id": token})
	}
	bring(http.StatusOK, good)
	bring(http.StatusForbidden, limited)
	c.Do(http.MethodPost, "/accounts/revoke-token", data{"id": good})
	c.Post(http.StatusOK, "revoke-token", data{"id": id})
	bring(http.StatusUnauthorized, good)
}

// resetOf is the place of the reset among the mails to the new address.
func resetOf(t *testing.T, s *served.Server) int {
	for i, m := range s.Mails("lovelace@example.org") {
		if m.URL(t).Path == "/accounts/reset-password/" {
			return i
		}
	}
	require.FailNow(t, "no reset among the mails")
	return -1
}
