// hostnames_test.go: names of hosts in two forms: the one for machines everywhere but
// where people read.

package accounts_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
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
	sentTo := b.Get("/accounts/resend-verification/?sent=1").Text
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

// TestHostsOfTheSite: what a browser sends is compared with what is configured in any
// script, and a mail's Message-ID has a domain that mail servers take.
func TestHostsOfTheSite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host, ascii, from, messageID string
	}{
		"another script":        {"bücher.example", "xn--bcher-kva.example", "no-reply@bücher.example", "xn--bcher-kva.example"},
		"hyphens in the middle": {"ab--cd.example", "ab--cd.example", "no-reply@ab--cd.example", "ab--cd.example"},
		"an address":            {"[::1]", "[::1]", "no-reply@sender.example", "sender.example"},
	} {
		t.Run(name, func(t *testing.T) {
			domain, origin := "", "https://app."+c.ascii
			if c.host != "[::1]" {
				domain = "session {\n\t\t\tcookie_domain " + c.host + "\n\t\t}\n\t\ttrusted_origins https://app." + c.host
			}
			s := served.Run(t, served.Head+served.At("http://"+c.ascii+":[[port]]", // in another script, Caddy 2.11 makes it HTTPS
				strings.Replace(served.Accounts("http://"+c.host+":[[port]]", domain), "no-reply@example.com", c.from, 1), "require_login /members/*", "respond in"))
			for _, warning := range []string{"Ignore this if", "require_login guards"} {
				require.NotContains(t, s.Log.Since(0), warning)
			}
			browser := func() *served.Client {
				b := s.Client()
				b.Header.Set("Host", fmt.Sprintf("%s:%d", c.ascii, s.Port))
				b.Header.Set("Origin", fmt.Sprintf("http://%s:%d", c.ascii, s.Port))
				return b
			}
			b := browser()
			b.Post(http.StatusCreated, "register", served.Newcomer("ada"))
			m := s.Mail("ada@example.org", 1)
			require.Regexp(t, "^<[^@<>]+@"+regexp.QuoteMeta(c.messageID)+">$", m.Id)
			b.Post(http.StatusOK, "verify-registration", m.Link(t))
			res := b.SignIn("ada")
			cookie := res.Header.Get("Set-Cookie")
			require.Contains(t, cookie, "registration=")
			token, _, _ := strings.Cut(cookie, ";")
			b.Header.Set("Cookie", token)
			b.Post(http.StatusOK, "register-email", data{"email": "ada@example.net"})

			b.Header.Set("Origin", origin)
			res = b.Do(http.MethodPost, "/accounts/register-email", data{"email": "ada@example.net"})
			if domain == "" {
				require.Equal(t, http.StatusForbidden, res.StatusCode)
				return
			}
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Equal(t, origin, res.Header.Get("Access-Control-Allow-Origin"))
			require.Contains(t, cookie, "Domain="+c.ascii)
		})
	}
}
