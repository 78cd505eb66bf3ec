// proxy_test.go: what a backend behind the guard is told about who is signed in,
// and that nobody outside can tell it anything else.

package guarded_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

var proxySite = served.Site("", `require_login /members/* {
		copy_headers
	}
	reverse_proxy [[backend]] {
		header_up X-Id {http.auth.user.id}
		header_up X-Username {http.auth.user.username}
		header_up X-Email {http.auth.user.email}
		header_up X-Groups {http.auth.user.groups}
		header_up X-First-Name {http.auth.user.first_name}
		header_up X-Is-Staff "[{http.auth.user.is_staff}]"
	}`)

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
		if _, err := io.Copy(io.Discard, req.Body); err == nil { // its end brings the trailers
			b.mu.Lock()
			for name, values := range req.Trailer {
				b.last["Trailer-"+name] = values
				b.last[name] = append(b.last[name], values...)
			}
			b.mu.Unlock()
		}
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
		if plain := notInNames.ReplaceAllString(strings.ToLower(name), "-"); strings.HasPrefix(plain, "remote-") {
			out[plain] = strings.Join(append(values, out[plain]), "|")
			out[plain] = strings.TrimSuffix(out[plain], "|")
		}
	}
	return out
}

// notInNames is what CGI and its kind make one character of.
var notInNames = regexp.MustCompile("[^a-z0-9]")

func (b *backend) header(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last.Get(name)
}

func TestBackendIsToldWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := served.Run(t, proxySite, "backend", strings.TrimPrefix(b.URL, "http://"))
	c := s.Member("ada")
	require.Equal(t, http.StatusOK, c.Do(http.MethodPatch, "/accounts/profile", data{"first_name": "Ada", "last_name": "Lovelace"}).StatusCode)
	require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, "ada", `{"groups": ["staff", "editors"]}`).StatusCode)

	// Sent raw, because Go's client would write these names in its own way.
	forged := map[string]string{
		"Remote-User": "root", "Remote_User": "root", "remote-email": "root@example.org",
		"REMOTE_EMAIL": "root@example.org", "Remote-Groups": "admins", "Remote_Groups": "admins", "Remote-Name": "Root",
		"Remote.User": "root", "remote~user": "root", "Remote.Id": "0", "remote_id": "0", "Remote-Id": "0",
	}
	for name, value := range forged {
		c.Header[name] = []string{value}
	}
	c.RequireMember()
	id := c.Get("/accounts/profile").JSON(t)["id"]
	want := map[string]string{
		"remote-user": "ada", "remote-id": id.(string), "remote-email": "ada@example.org", "remote-name": "Ada Lovelace", "remote-groups": "staff,editors",
	}
	require.Equal(t, want, b.identity())
	require.Equal(t, id, b.header("X-Id"))
	require.Equal(t, "ada", b.header("X-Username"))
	require.Equal(t, "ada@example.org", b.header("X-Email"))
	require.Equal(t, "staff,editors", b.header("X-Groups"))
	require.Equal(t, "Ada", b.header("X-First-Name"))
	// Caddy leaves a placeholder that nobody knows as it is.
	require.Equal(t, "[{http.auth.user.is_staff}]", b.header("X-Is-Staff"), "a field that is not public is published")

	// The same names on the unguarded rest of the site, signed in or not.
	stranger := s.Client()
	stranger.Header = c.Header.Clone()
	for _, who := range []*served.Client{c, stranger} {
		require.Equal(t, http.StatusOK, who.Get("/open/").StatusCode)
		require.Empty(t, b.identity())
		require.Equal(t, "{http.auth.user.username}", b.header("X-Username"))
	}
	stranger.RequireStopped()

	// Under another protocol the next requests would come past the guard.
	for _, protocol := range []string{"h2c", "websocket, h2c", "HTTP/2.0"} {
		c.Header["Connection"], c.Header["Upgrade"] = []string{"Upgrade, HTTP2-Settings"}, []string{protocol}
		c.RequireMember()
		require.Empty(t, b.header("Upgrade"), protocol)
	}
	delete(c.Header, "Connection")
	delete(c.Header, "Upgrade")

	require.Contains(t, strings.Split(c.Get("/members/").Header.Get("Cache-Control"), ", "), "private")
	require.Equal(t, "public, max-age=60", c.Get("/members/?public").Header.Get("Cache-Control"))
	require.Empty(t, c.Get("/open/").Header.Get("Cache-Control"))
}

// What a sign-in has shown is a placeholder, which an owner may make a header of; the headers
// of copy_headers are the same with a second step as without.
func TestBackendIsToldWhatWasShown(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := served.Run(t, strings.Replace(proxySite, "header_up X-Id", "header_up X-Amr {http.auth.user.amr}\n\t\theader_up X-Auth-Time {http.auth.user.auth_time}\n\t\theader_up X-Id", 1), "backend", strings.TrimPrefix(b.URL, "http://"))
	c := s.Member("ada")
	c.Header.Set("X-Amr", "mfa")
	now := func(amr string) map[string]string {
		t.Helper()
		c.RequireMember()
		require.Equal(t, amr, b.header("X-Amr"))
		seconds, err := strconv.ParseInt(b.header("X-Auth-Time"), 10, 64)
		require.NoError(t, err)
		require.InDelta(t, time.Now().Unix(), seconds, 3600)
		return b.identity()
	}
	before := now("pwd")
	secret := c.Post(http.StatusOK, "enrol-totp", data{}).JSON(t)["secret"].(string)
	code, err := hotp.GenerateCode(secret, uint64(time.Now().Unix()/30))
	require.NoError(t, err)
	c.Post(http.StatusCreated, "confirm-totp", data{"code": code})
	require.Equal(t, before, now("pwd,otp,mfa"))
	require.Len(t, before, 3)
	for name := range b.last {
		require.NotRegexp(t, `(?i)^remote.*(amr|auth|time)`, name)
	}
}

func TestNamesThatAreNotSetStayEmpty(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := served.Run(t, proxySite, "backend", strings.TrimPrefix(b.URL, "http://"))
	c := s.Member("bob")
	c.Header["Remote-Name"] = []string{"Root"}
	c.Header["Remote_Groups"] = []string{"admins"}
	c.RequireMember()
	require.Equal(t, map[string]string{
		"remote-user": "bob", "remote-email": "bob@example.org", "remote-id": c.Get("/accounts/profile").JSON(t)["id"].(string),
	}, b.identity())
}

// Connection names the headers that a proxy drops, and trailers are headers that
// come late: neither takes our names away or brings them in.
func TestIdentityByConnectionAndTrailers(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := served.Run(t, strings.Replace(proxySite, "default_bind 127.0.0.1\n}", "default_bind 127.0.0.1\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n}", 1), "backend", strings.TrimPrefix(b.URL, "http://"))
	c := s.Member("ada")
	id := c.Get("/accounts/profile").JSON(t)["id"].(string)
	want := map[string]string{"remote-user": "ada", "remote-email": "ada@example.org", "remote-id": id}
	for _, connection := range []string{"close, Remote-User", "remote-user,Remote-Id , Remote-Email", "Remote-Groups", "keep-alive"} {
		c.Header["Connection"] = []string{connection}
		c.RequireMember()
		require.Equal(t, want, b.identity(), connection)
	}
	cookie := "registration=" + c.Cookie()
	address := "127.0.0.1:" + strconv.Itoa(s.Port)
	for _, path := range []string{"/members/", "/open/"} {
		expected := want
		if path == "/open/" {
			expected = map[string]string{}
		}
		// HTTP/1.1 by hand: declared, declared beside another, and not declared at all.
		for _, declared := range []string{"", "Trailer: Remote-User\r\n", "Trailer: X-Sum\r\n", "Trailer: X-Sum, Remote-User, Remote.Groups\r\n"} {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: "+address+"\r\nCookie: "+cookie+"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"+declared+
				"\r\n1\r\nx\r\n0\r\nRemote-User: root\r\nRemote.Groups: admins\r\nX-Sum: 1\r\n\r\n")
			require.NoError(t, err)
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			require.Contains(t, string(answer), "for members", "%s %q", path, declared)
			require.Equal(t, expected, b.identity(), "%s %q", path, declared)
			if strings.Contains(declared, "X-Sum") {
				require.Equal(t, "1", b.header("Trailer-X-Sum"), "others' trailers pass")
			}
		}
		// HTTP/2, which knows declared ones only.
		protocols := &http.Protocols{}
		protocols.SetUnencryptedHTTP2(true)
		h2 := &http.Client{Transport: &http.Transport{Protocols: protocols}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path, io.NopCloser(strings.NewReader("x")))
		require.NoError(t, err)
		req.Header.Set("Cookie", cookie)
		req.Trailer = http.Header{"Remote-User": {"root"}, "Remote_groups": {"admins"}, "X-Sum": {"2"}}
		res, err := h2.Do(req)
		require.NoError(t, err)
		require.Equal(t, 2, res.ProtoMajor)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.NoError(t, res.Body.Close())
		require.Equal(t, expected, b.identity(), path)
		require.Equal(t, "2", b.header("Trailer-X-Sum"))
	}
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
	s := served.Run(t, served.PlainSite)
	ada := s.Member("ada")
	// The store is the same, so the session of the Caddyfile goes on in JSON.
	res := s.AdminRequest(http.MethodPost, "/load", "application/json", s.Fill(providerSite))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	stranger := s.Client()
	stranger.RequireStopped()
	require.Contains(t, stranger.Get("/members/").Header.Get("WWW-Authenticate"), "Bearer")
	ada.RequireMember()
	id := ada.Get("/accounts/profile").JSON(t)["id"].(string)
	require.Equal(t, "for members: "+id+" ada ada@example.org", ada.Get("/members/").Text)
	ada.Post(http.StatusOK, "logout", nil)
	ada.RequireStopped()
}

// TestProxyThatNobodyNamed: a throttle that refuses what comes through one says so in
// the log, once; a client that names nobody else is no proxy.
func TestProxyThatNobodyNamed(t *testing.T) {
	t.Parallel()
	for header, told := range map[string]bool{"X-Forwarded-For": true, "Forwarded": true, "X-Real-Ip": true, "Cf-Connecting-Ip": true, "X-Other": false} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			s := served.Run(t, strings.Replace(served.PlainSite, "throttle off", "throttle login 1 1h", 1))
			c := s.Client()
			c.Header.Set(header, "192.0.2.1")
			for _, want := range []int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusTooManyRequests} {
				c.Post(want, "login", map[string]any{"login": "nobody", "password": "x"})
			}
			s.Stop() // all that it says is said
			want := 0
			if told {
				want = 1
			}
			require.Equal(t, want, strings.Count(s.Log.Since(0), "a throttle has refused a request: requests name another client"))
			require.Equal(t, told, s.Log.Line(0, "a throttle has refused", "trusted_proxies static") != "")
		})
	}
}
