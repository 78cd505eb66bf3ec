// settings_test.go: every setting through the built Caddy, with it and without:
// one Caddy serves a site for each case beside one that has the defaults.

package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/jsonpaths"
)

// place is one site of the Caddy of this test.
type place struct {
	*server
	t    testing.TB
	name string
}

func (p *place) client() *client {
	s := p.in(p.t)
	c := s.client()
	c.header.Set("Host", p.name+".example")
	return c
}

// browser is a client that asks for pages.
func (p *place) browser() *client {
	c := p.client()
	c.header.Set("Accept", browserAccept)
	return c
}

// mail waits for the n-th mail of this site to an address.
func (p *place) mail(to string, n int) *message {
	p.t.Helper()
	s := p.in(p.t)
	s.dir = filepath.Join(s.dir, p.name)
	return s.mail(to, n)
}

// mailWith waits for the mail of this site to an address whose text has a part:
// mails of one second have no order among them.
func (p *place) mailWith(to, part string) *message {
	p.t.Helper()
	s := *p.server
	s.dir = filepath.Join(s.dir, p.name)
	var found *message
	require.True(p.t, eventually(func() bool {
		for _, m := range s.mails(to) {
			if strings.Contains(m.text, part) {
				found = m
			}
		}
		return found != nil
	}, 20*time.Millisecond), "no mail to %s has %q", to, part)
	return found
}

// member signs up, confirms and signs in.
func (p *place) member(name string, more ...data) *client {
	p.t.Helper()
	c := p.client()
	body := newcomer(name)
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	c.post(http.StatusCreated, "register", body)
	c.post(http.StatusOK, "verify-registration", p.mail(name+"@example.org", 1).link(p.t))
	c.signIn(name)
	return c
}

// code is the code of a refusal, those of its fields behind it.
func (c *client) code(method, path string, body any) string {
	c.t.Helper()
	c.header.Set("Accept", "application/problem+json")
	defer c.header.Del("Accept")
	res := c.do(method, path, body)
	if res.StatusCode < 400 {
		return fmt.Sprint(res.StatusCode)
	}
	problem := res.json(c.t)
	text := fmt.Sprint(problem["code"])
	fields, _ := problem["errors"].(map[string]any)
	var names []string
	for name, list := range fields {
		for _, e := range list.([]any) {
			names = append(names, name+":"+fmt.Sprint(e.(map[string]any)["code"]))
		}
	}
	slices.Sort(names)
	return strings.Join(append([]string{text}, names...), " ")
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
	loginPath    = "/accounts/login"
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
	s := newServer(t)
	for name, text := range map[string]string{
		"templates/own.txt": "Own subject", "templates/own-body.txt": "Own text for {{.User.Username}} {{.Link}}\n", "templates/own.html": `<b>Own</b> <a href="{{.Link}}">link</a>`,
		"logo.svg": `<svg xmlns="http://www.w3.org/2000/svg"/>`, "brand.css": ":root { --accent: #123456; }",
		"pages/layout.html": strings.Replace(string(readFile(t, filepath.Join(repoRoot, "templates/pages/layout.html"))), "</body>", "<!-- --><p>own layout</p></body>", 1),
	} {
		path := filepath.Join(s.dir, filepath.FromSlash(name))
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
		return &place{server: s, name: name}
	}
	plain := site("plain", "")
	places := make([]*place, len(settingCases))
	for i, c := range settingCases {
		places[i] = site(fmt.Sprintf("case%d", i), c.with)
	}
	s.configure(config.String())
	s.start()
	for i, c := range settingCases {
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
		for _, c := range settingCases {
			for _, prefix := range strings.Fields(c.paths) {
				if path == prefix || strings.HasPrefix(path, prefix+".") {
					return true
				}
			}
		}
		return path == "source" // it only makes errors clearer
	}
	paths := jsonpaths.Of(reflect.TypeFor[registration.Settings]())
	require.Greater(t, len(paths), 70)
	for _, path := range paths {
		require.True(t, covered(path), "%s has no case in settingCases", path)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return raw
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
	require.True(t, eventually(func() bool { return time.Now().Unix() > unixOf(link)+seconds }, 100*time.Millisecond))
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
