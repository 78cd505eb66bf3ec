// proxy_test.go: what a backend behind the guard is told about who is signed in,
// and that nobody outside can tell it anything else.

package integration

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const proxySite = `{
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
	require_login /members/* {
		copy_headers
	}
	reverse_proxy [[backend]] {
		header_up X-Id {http.auth.user.id}
		header_up X-Username {http.auth.user.username}
		header_up X-Email {http.auth.user.email}
		header_up X-Groups {http.auth.user.groups}
		header_up X-First-Name {http.auth.user.first_name}
		header_up X-Is-Staff "[{http.auth.user.is_staff}]"
	}
}
`

// backend remembers the headers of the last request that reached it.
type backend struct {
	*httptest.Server
	mu   sync.Mutex
	last http.Header
}

func newBackend(t *testing.T) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b.mu.Lock()
		b.last = req.Header.Clone()
		b.mu.Unlock()
		if req.URL.Query().Has("public") {
			w.Header().Set("Cache-Control", "public, max-age=60")
		}
		_, _ = w.Write([]byte("for members"))
	}))
	t.Cleanup(b.Close)
	return b
}

// identity returns what the backend was told under the identity names, in any
// spelling.
func (b *backend) identity() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]string{}
	for name, values := range b.last {
		if plain := strings.ReplaceAll(strings.ToLower(name), "_", "-"); strings.HasPrefix(plain, "remote-") {
			out[plain] = strings.Join(values, "|")
		}
	}
	return out
}

func (b *backend) header(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last.Get(name)
}

func TestBackendIsToldWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := run(t, proxySite, "backend", strings.TrimPrefix(b.URL, "http://"))
	c := s.member("ada")
	require.Equal(t, http.StatusOK, c.do(http.MethodPatch, "/accounts/profile", data{"first_name": "Ada", "last_name": "Lovelace"}).StatusCode)
	require.Equal(t, http.StatusOK, s.administer(http.MethodPatch, "ada", `{"groups": ["staff", "editors"]}`).StatusCode)

	// Sent raw, because Go's client would write these names in its own way.
	forged := map[string]string{
		"Remote-User": "root", "Remote_User": "root", "remote-email": "root@example.org",
		"REMOTE_EMAIL": "root@example.org", "Remote-Groups": "admins", "Remote_Groups": "admins", "Remote-Name": "Root",
	}
	for name, value := range forged {
		c.header[name] = []string{value}
	}
	c.requireMember()
	want := map[string]string{
		"remote-user": "ada", "remote-email": "ada@example.org", "remote-name": "Ada Lovelace", "remote-groups": "staff,editors",
	}
	require.Equal(t, want, b.identity())
	id := c.get("/accounts/profile").json(t)["id"]
	require.Equal(t, id, b.header("X-Id"))
	require.Equal(t, "ada", b.header("X-Username"))
	require.Equal(t, "ada@example.org", b.header("X-Email"))
	require.Equal(t, "staff,editors", b.header("X-Groups"))
	require.Equal(t, "Ada", b.header("X-First-Name"))
	// Caddy leaves a placeholder that nobody knows as it is.
	require.Equal(t, "[{http.auth.user.is_staff}]", b.header("X-Is-Staff"), "a field that is not public is published")

	// The same names on the unguarded rest of the site, signed in or not.
	stranger := s.client()
	stranger.header = c.header.Clone()
	for _, who := range []*client{c, stranger} {
		require.Equal(t, http.StatusOK, who.get("/open/").StatusCode)
		require.Empty(t, b.identity())
		require.Equal(t, "{http.auth.user.username}", b.header("X-Username"))
	}
	stranger.requireStopped()

	require.Contains(t, strings.Split(c.get("/members/").Header.Get("Cache-Control"), ", "), "private")
	require.Equal(t, "public, max-age=60", c.get("/members/?public").Header.Get("Cache-Control"))
	require.Empty(t, c.get("/open/").Header.Get("Cache-Control"))
}

func TestNamesThatAreNotSetStayEmpty(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := run(t, proxySite, "backend", strings.TrimPrefix(b.URL, "http://"))
	c := s.member("bob")
	c.header["Remote-Name"] = []string{"Root"}
	c.header["Remote_Groups"] = []string{"admins"}
	c.requireMember()
	require.Equal(t, map[string]string{"remote-user": "bob", "remote-email": "bob@example.org"}, b.identity())
}

// providerSite is JSON, because Caddy's `authentication` handler has no
// directive for providers.
const providerSite = `{
	"admin": {"listen": "127.0.0.1:[[admin]]"},
	"apps": {"http": {"servers": {"site": {
		"listen": ["127.0.0.1:[[port]]"],
		"routes": [
			{"handle": [{
				"handler": "registration",
				"base_url": "http://127.0.0.1:[[port]]",
				"from": "no-reply@example.com",
				"mailer": {"module": "file", "directory": "[[dir]]/mail"},
				"password": {"argon2id": {"memory": 8, "passes": 1, "lanes": 1}}
			}]},
			{"match": [{"path": ["/members/*"]}], "handle": [{"handler": "authentication", "providers": {"registration": {}}}]},
			{"handle": [{"handler": "static_response", "body": "for members: {http.auth.user.id} {http.auth.user.username} {http.auth.user.email}"}]}
		]
	}}}}
}`

func TestAuthenticationProvider(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	ada := s.member("ada")
	// The store is the same, so the session of the Caddyfile goes on in JSON.
	res := s.adminRequest(http.MethodPost, "/load", "application/json", s.fill(providerSite))
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	stranger := s.client()
	stranger.requireStopped()
	require.Contains(t, stranger.get("/members/").Header.Get("WWW-Authenticate"), "Bearer")
	ada.requireMember()
	id := ada.get("/accounts/profile").json(t)["id"].(string)
	require.Equal(t, "for members: "+id+" ada ada@example.org", ada.get("/members/").body)
	ada.post(http.StatusOK, "logout", nil)
	ada.requireStopped()
}
