// api_test.go: the whole way of an account over JSON, forms and multipart, and
// over a restart.

package accounts_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestWholeFlowAsJSON(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Client()

	stopped := c.Get("/members/?a=b")
	require.Equal(t, http.StatusUnauthorized, stopped.StatusCode)
	require.Contains(t, stopped.Header.Get("WWW-Authenticate"), "Bearer")
	c.Header.Set("Accept", served.BrowserAccept)
	sent := c.Get("/members/?a=b")
	require.Equal(t, http.StatusFound, sent.StatusCode)
	require.Equal(t, "/accounts/login/?next="+url.QueryEscape("/members/?a=b"), sent.Header.Get("Location"))
	c.Header.Del("Accept")

	registered := c.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	profile := registered.JSON(t)
	require.Equal(t, "ada", profile["username"])
	require.Equal(t, "ada@example.org", profile["email"])
	require.NotContains(t, registered.Text, served.TestPassword)
	require.Equal(t, "no-store", registered.Header.Get("Cache-Control"))
	taken := c.Post(http.StatusBadRequest, "register", served.Newcomer("ADA")).JSON(t)
	require.Contains(t, taken, "username")
	require.NotContains(t, taken, "email", "whose it is, is nobody's business")

	require.Equal(t, "not_verified", c.Code("POST", served.LoginPath, data{"login": "ada", "password": served.TestPassword}))
	refused := c.Post(http.StatusBadRequest, "login", data{"login": "nobody", "password": served.TestPassword})
	require.Contains(t, refused.JSON(t), "detail")
	require.Empty(t, c.Cookie(), "an unconfirmed account was signed in")

	link := s.Mail("ada@example.org", 1).Link(t)
	c.Post(http.StatusOK, "verify-registration", link)
	c.Post(http.StatusBadRequest, "verify-registration", link)
	wrong := c.Post(http.StatusBadRequest, "login", data{"login": "ada", "password": "not the passphrase"})
	require.Equal(t, refused.Text, wrong.Text, "the reason of a refused sign-in shows")
	c.SignIn("ada")
	c.RequireMember()

	require.Equal(t, profile, c.Get("/accounts/profile").JSON(t))
	changed := c.Do(http.MethodPatch, "/accounts/profile", data{"first_name": "Ada", "id": "x", "is_staff": true})
	require.Equal(t, http.StatusOK, changed.StatusCode, changed.Text)
	require.Equal(t, "Ada", changed.JSON(t)["first_name"])
	require.Equal(t, profile["id"], changed.JSON(t)["id"])

	before := c.Cookie()
	c.Post(http.StatusOK, "logout", nil)
	require.Empty(t, c.Cookie())
	c.RequireStopped()
	c.Header.Set("Cookie", "registration="+before)
	c.RequireStopped()
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
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
		{"multipart", func(in data) any { return served.MultipartForm(asText(in)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.In(t)
			c := s.Client()
			name := "user-" + tt.name
			c.Post(http.StatusCreated, "register", tt.encode(served.Newcomer(name)))
			c.Post(http.StatusOK, "verify-registration", tt.encode(s.Mail(name+"@example.org", 1).Link(t)))
			c.Post(http.StatusBadRequest, "login", tt.encode(data{"login": name}))
			c.Post(http.StatusOK, "login", tt.encode(data{"login": name, "password": served.TestPassword}))
			c.RequireMember()
		})
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	ada := s.Member("ada")
	bob := s.Client()
	bob.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	link := s.Mail("bob@example.org", 1).Link(t)
	gone := s.Member("gone")
	revoked := gone.Cookie()
	gone.Post(http.StatusOK, "logout", nil)

	s.Stop()
	s.Start()

	ada.RequireMember()
	ada.Post(http.StatusBadRequest, "register", served.Newcomer("bob"))
	// The key that signed the mail before the restart is kept in the store.
	bob.Post(http.StatusOK, "verify-registration", link)
	bob.SignIn("bob")
	bob.RequireMember()
	gone.Header.Set("Cookie", "registration="+revoked)
	gone.RequireStopped()
	require.Len(t, s.Mails(""), 3, "a mail was sent twice")
}
