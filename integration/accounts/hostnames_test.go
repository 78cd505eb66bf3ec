// hostnames_test.go: names of hosts in two forms: the one for machines everywhere but
// where people read.

package accounts_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// booksSite is a site whose hosts are written in another script than machines read.
var booksSite = served.Head + served.At("http://127.0.0.1:[[port]]",
	strings.Replace(served.Accounts("http://bücher.example", `user {
			field home url {
				unique
			}
		}
		login {
			token jwt {
				issuer https://BÜCHER.example/accounts
				audience https://api.bücher.example books
			}
		}`), "@example.com", "@bücher.example", 1),
	`require_login /members/* {
		login_url https://bücher.example/anmelden#form
	}
	respond "for members"`)

func TestHostsInTwoForms(t *testing.T) {
	t.Parallel()
	s := served.Run(t, booksSite)
	const address, ascii = "ada@bücher.example", "ada@xn--bcher-kva.example"
	newcomer := served.Newcomer("ada")
	newcomer["email"], newcomer["home"] = address, "https://BÜCHER.example:8443/über"

	// A page and a mail show the person's script, the envelope is for machines.
	b := asBrowser(s)
	sent := b.Do("POST", "/accounts/register/", formOf(newcomer))
	require.Equal(t, http.StatusSeeOther, sent.StatusCode, sent.Text)
	sentTo := b.Get("/accounts/resend-verification/").Text
	require.Contains(t, sentTo, address)
	m := s.Mail(ascii, 1)
	require.Contains(t, m.Text, address)
	require.Contains(t, m.Text, "at bücher.example,", "the site too")
	require.Contains(t, m.Html, address)
	require.NotContains(t, m.Header.Get("Message-ID")+m.Header.Get("From"), "ü")
	s.Client().Post(http.StatusOK, "verify-registration", m.Link(t))

	// The API answers in the one form, which is unique as such.
	c := s.Client()
	tokens := c.SignIn("ada").JSON(t)
	profile := c.Get("/accounts/profile").JSON(t)
	require.Equal(t, ascii, profile["email"])
	require.Equal(t, "https://xn--bcher-kva.example:8443/%C3%BCber", profile["home"])
	other := served.Newcomer("bob")
	other["home"] = "https://xn--bcher-kva.example:8443/über"
	require.Equal(t, "invalid home:unique", s.Client().Code("POST", "/accounts/register", other))
	other["home"] = "https://a\u200eb.example/"
	require.Equal(t, "invalid home:invalid", s.Client().Code("POST", "/accounts/register", other), "there is no such host")

	// A profile that is saved as its page shows it stays as it is.
	page := asBrowser(s)
	page.Do("POST", "/accounts/login/", url.Values{"login": {"ada"}, "password": {served.TestPassword}})
	text := page.Get("/accounts/profile/").Text
	require.Contains(t, text, address)
	require.Contains(t, text, `value="https://bücher.example:8443/%C3%BCber"`)
	require.NotContains(t, text, "xn--")
	require.Equal(t, http.StatusSeeOther, page.Do("POST", "/accounts/profile/", url.Values{"username": {"ada"}, "home": {"https://bücher.example:8443/%C3%BCber"}}).StatusCode)
	require.Equal(t, profile["home"], c.Get("/accounts/profile").JSON(t)["home"])

	// What others compare is in ASCII: the claims (RFC 7519, 2) and a Location.
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens["token"].(string), ".")[1])
	require.NoError(t, err)
	var claims struct {
		Iss string
		Aud []string
	}
	require.NoError(t, json.Unmarshal(raw, &claims))
	require.Equal(t, "https://xn--bcher-kva.example/accounts", claims.Iss)
	require.Equal(t, []string{"https://api.xn--bcher-kva.example", "books"}, claims.Aud)
	require.Equal(t, "https://xn--bcher-kva.example/anmelden#form", asBrowser(s).Get("/members/").Header.Get("Location"))
}
