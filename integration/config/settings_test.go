// settings_test.go: every setting through the built Caddy, with it and without:
// one Caddy serves a site for each case beside one that has the defaults.

package config_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/jsonpaths"
)

// place is one site of the Caddy of this test.
type place struct {
	*served.Server
	t    testing.TB
	name string
}

func (p *place) client() *served.Client {
	s := p.In(p.t)
	c := s.Client()
	c.Header.Set("Host", p.name+".example")
	return c
}

// browser is a client that asks for pages.
func (p *place) browser() *served.Client {
	c := p.client()
	c.Header.Set("Accept", served.BrowserAccept)
	return c
}

// mail waits for the n-th mail of this site to an address.
func (p *place) mail(to string, n int) *served.Message {
	p.t.Helper()
	s := p.In(p.t)
	s.Dir = filepath.Join(s.Dir, p.name)
	return s.Mail(to, n)
}

// mailWith waits for the mail of this site to an address whose text has a part:
// mails of one second have no order among them.
func (p *place) mailWith(to, part string) *served.Message {
	p.t.Helper()
	s := *p.Server
	s.Dir = filepath.Join(s.Dir, p.name)
	var found *served.Message
	require.True(p.t, served.Eventually(func() bool {
		for _, m := range s.Mails(to) {
			if strings.Contains(m.Text, part) {
				found = m
			}
		}
		return found != nil
	}, 20*time.Millisecond), "no mail to %s has %q", to, part)
	return found
}

// member signs up, confirms and signs in.
func (p *place) member(name string, more ...data) *served.Client {
	p.t.Helper()
	c := p.client()
	body := served.Newcomer(name)
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	c.Post(http.StatusCreated, "register", body)
	c.Post(http.StatusOK, "verify-registration", p.mail(name+"@example.org", 1).Link(p.t))
	c.SignIn(name)
	return c
}

// A settingCase shows what some settings do.
type settingCase struct {
	// paths are the settings, as JSON names them; a name stands for all below it.
	paths string
	// with is what the site has besides the defaults.
	with string
	// check asks the site that has the setting; plain has only the defaults.
	check func(t *testing.T, with, plain *place)
}

const (
	registerPath = "/accounts/register"
	profilePath  = "/accounts/profile"
	resetPath    = "/accounts/send-reset-password-link"
	keysPath     = "/accounts/.well-known/jwks.json"
)

func without(body data, name string) data {
	out := data{}
	for k, v := range body {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// TestSettings starts one Caddy with a site for each case and asks it.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	for name, text := range map[string]string{
		"templates/own.txt": "Own subject", "templates/own-body.txt": "Own text for {{.User.Username}} {{.Link}}\n", "templates/own.html": `<b>Own</b> <a href="{{.Link}}">link</a>`,
		"pwned.txt": "0000000000000000000000000000000000000000:1\r\nB73A608EAF9E0D6533A4796A73739A94B970720D:3\r\n",
		"logo.svg":  `<svg xmlns="http://www.w3.org/2000/svg"/>`, "logo-dark.svg": `<svg xmlns="http://www.w3.org/2000/svg"/>`, "icon.ico": "icon", "brand.css": ":root { --accent: #123456; }",
		"pages/layout.html": strings.Replace(string(served.ReadFile(t, filepath.Join(served.RepoRoot, "templates/pages/layout.html"))), "</body>", "<!-- --><p>own layout</p></body>", 1),
	} {
		path := filepath.Join(s.Dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	var config bytes.Buffer
	config.WriteString("{\n\tadmin 127.0.0.1:[[admin]]\n\tdefault_bind 127.0.0.1\n}\n")
	site := func(name, with string) *place {
		unless := func(own, line string) string { // the case sets it by itself
			if strings.Contains(with, own) {
				return ""
			}
			return line
		}
		throttle := unless("throttle ", "throttle off")
		argon := unless("password {\n\t\t\targon2id", "password {\n\t\t\targon2id 8KiB 1 1\n\t\t}")
		mailer := unless("mailer ", "mailer file [[dir]]/"+name+"/mail")
		from := unless("from ", "from no-reply@example.com")
		mailer += "\n\t\t" + unless("notices ", "notices {\n\t\t\tnew_device off\n\t\t}") // cases sign in on many, and count mails
		mount := ""
		if strings.HasPrefix(with, "/") {
			mount, with = with, ""
		}
		fmt.Fprintf(&config, `http://%[1]s.example:[[port]] {
	registration %[5]s {
		realm %[1]s
		base_url http://%[1]s.example:[[port]]
		%[7]s
		%[6]s
		%[3]s
		%[4]s
		%[2]s
	}
	require_login /members/* {
		realm %[1]s
	}
	handle /members/* {
		respond "for members"
	}
	respond 404
}
`, name, strings.ReplaceAll(with, "[[name]]", name), throttle, argon, mount, mailer, from)
		return &place{Server: s, name: name}
	}
	plain := site("plain", "")
	places := make([]*place, len(allSettingCases))
	for i, c := range allSettingCases {
		places[i] = site(fmt.Sprintf("case%d", i), c.with)
	}
	s.Configure(config.String())
	s.Start()
	for i, c := range allSettingCases {
		t.Run(c.paths, func(t *testing.T) {
			with, without := *places[i], *plain
			with.t, without.t = t, t
			c.check(t, &with, &without)
		})
	}
}

// TestEverySettingHasACase: a new setting needs a case above.
func TestEverySettingHasACase(t *testing.T) {
	covered := func(path string) bool {
		for _, c := range allSettingCases {
			for _, prefix := range strings.Fields(c.paths) {
				if path == prefix || strings.HasPrefix(path, prefix+".") {
					return true
				}
			}
		}
		switch path {
		case "source": // it only makes errors clearer
			return true
		case "factors.passkey", "factors.rp_id": // these sites have no TLS: TestPasskeys, TestPartyOf
			return true
		}
		return false
	}
	paths := jsonpaths.Of(reflect.TypeFor[registration.Settings]())
	require.Greater(t, len(paths), 70)
	for _, path := range paths {
		require.True(t, covered(path), "%s has no case in allSettingCases", path)
	}
}

// unixOf is the time of a mailed link.
func unixOf(link data) int64 {
	var unix int64
	_, _ = fmt.Sscan(fmt.Sprint(link["timestamp"]), &unix)
	return unix
}

// after waits until a mailed link is older than so many seconds.
func after(t testing.TB, link data, seconds int64) {
	t.Helper()
	require.True(t, served.Eventually(func() bool { return time.Now().Unix() > unixOf(link)+seconds }, 100*time.Millisecond))
}

// decodeSegment reads the claims of a JWT, unverified.
func decodeSegment(t testing.TB, segment string) data {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	require.NoError(t, err)
	var claims data
	require.NoError(t, json.Unmarshal(raw, &claims))
	return claims
}
