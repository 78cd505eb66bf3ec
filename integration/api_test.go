// api_test.go: the whole way of an account over JSON, forms and multipart, and
// over a restart.

package integration

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainSite is a site behind a login, over plain HTTP, with a cheap hash.
const plainSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		password {
			argon2id 8KiB 1 1
		}
	}
	require_login /members/*
	respond "for members: {http.auth.user.username}"
}
`

func TestWholeFlowAsJSON(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.client()

	stopped := c.get("/members/?a=b")
	require.Equal(t, http.StatusUnauthorized, stopped.StatusCode)
	require.Contains(t, stopped.Header.Get("WWW-Authenticate"), "Bearer")
	c.header.Set("Accept", browserAccept)
	sent := c.get("/members/?a=b")
	require.Equal(t, http.StatusFound, sent.StatusCode)
	require.Equal(t, "/accounts/login/?next="+url.QueryEscape("/members/?a=b"), sent.Header.Get("Location"))
	c.header.Del("Accept")

	registered := c.post(http.StatusCreated, "register", newcomer("ada"))
	profile := registered.json(t)
	require.Equal(t, "ada", profile["username"])
	require.Equal(t, "ada@example.org", profile["email"])
	require.NotContains(t, registered.body, testPassword)
	require.Equal(t, "no-store", registered.Header.Get("Cache-Control"))
	taken := c.post(http.StatusBadRequest, "register", newcomer("ADA")).json(t)
	require.Contains(t, taken, "username")
	require.NotContains(t, taken, "email", "whose it is, is nobody's business")

	require.Equal(t, "not_verified", c.code("POST", loginPath, data{"login": "ada", "password": testPassword}))
	refused := c.post(http.StatusBadRequest, "login", data{"login": "nobody", "password": testPassword})
	require.Contains(t, refused.json(t), "detail")
	require.Empty(t, c.cookie(), "an unconfirmed account was signed in")

	link := s.mail("ada@example.org", 1).link(t)
	c.post(http.StatusOK, "verify-registration", link)
	c.post(http.StatusBadRequest, "verify-registration", link)
	wrong := c.post(http.StatusBadRequest, "login", data{"login": "ada", "password": "not the passphrase"})
	require.Equal(t, refused.body, wrong.body, "the reason of a refused sign-in shows")
	c.signIn("ada")
	c.requireMember()

	require.Equal(t, profile, c.get("/accounts/profile").json(t))
	changed := c.do(http.MethodPatch, "/accounts/profile", data{"first_name": "Ada", "id": "x", "is_staff": true})
	require.Equal(t, http.StatusOK, changed.StatusCode, changed.body)
	require.Equal(t, "Ada", changed.json(t)["first_name"])
	require.Equal(t, profile["id"], changed.json(t)["id"])

	before := c.cookie()
	c.post(http.StatusOK, "logout", nil)
	require.Empty(t, c.cookie())
	c.requireStopped()
	c.header.Set("Cookie", "registration="+before)
	c.requireStopped()
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	asText := func(in data) map[string]string {
		out := map[string]string{}
		for name, value := range in {
			out[name] = value.(string)
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		encode func(data) any
	}{
		{"json", func(in data) any { return in }},
		{"form", func(in data) any {
			out := url.Values{}
			for name, value := range asText(in) {
				out.Set(name, value)
			}
			return out
		}},
		{"multipart", func(in data) any { return multipartForm(asText(in)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			c := s.client()
			name := "user-" + tt.name
			c.post(http.StatusCreated, "register", tt.encode(newcomer(name)))
			c.post(http.StatusOK, "verify-registration", tt.encode(s.mail(name+"@example.org", 1).link(t)))
			c.post(http.StatusBadRequest, "login", tt.encode(data{"login": name}))
			c.post(http.StatusOK, "login", tt.encode(data{"login": name, "password": testPassword}))
			c.requireMember()
		})
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	ada := s.member("ada")
	bob := s.client()
	bob.post(http.StatusCreated, "register", newcomer("bob"))
	link := s.mail("bob@example.org", 1).link(t)
	gone := s.member("gone")
	revoked := gone.cookie()
	gone.post(http.StatusOK, "logout", nil)

	s.stop()
	s.start()

	ada.requireMember()
	ada.post(http.StatusBadRequest, "register", newcomer("bob"))
	// The key that signed the mail before the restart is kept in the store.
	bob.post(http.StatusOK, "verify-registration", link)
	bob.signIn("bob")
	bob.requireMember()
	gone.header.Set("Cookie", "registration="+revoked)
	gone.requireStopped()
	require.Len(t, s.mails(""), 3, "a mail was sent twice")
}
