// token_attacks_test.go: attacks on tokens for programs over the whole way: a built Caddy
// over HTTP/1, 2 and 3 before an app. What reaches the app is read as all sorts of servers
// would read it.

package guarded_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/token"
)

// attackedSite is guarded as a whole, over TLS and in the clear, but for its accounts and a
// part for which more has to be shown.
var attackedSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
	skip_install_trust
	auto_https disable_redirects
	servers {
		trusted_proxies static 192.0.2.0/24
	}
}
(site) {
	` + served.Accounts("https://localhost:[[port]]", "register {\n\t\t\tverification off\n\t\t}", "authz on") + `
	require_login /staff/* {
		group staff
		basic
		copy_headers
	}
	require_login /safe/factors/* {
		factors 2
		basic
	}
	require_login /safe/recent/* {
		max_age 1000h
		basic
	}
	require_login /bearer/*
	@rest not path /staff/* /safe/* /bearer/*
	require_login @rest {
		basic
		copy_headers
	}
	reverse_proxy [[backend]]
}
https://localhost:[[port]] {
	tls internal
	import site
}
http://127.0.0.1:[[plain]] {
	import site
}
`

// reached is what has come to the app.
type reached struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func newReached(t *testing.T) *reached {
	r := &reached{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, req.Clone(req.Context()))
		r.mu.Unlock()
		_, _ = io.WriteString(w, "the app")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *reached) take() (seen []*http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, r.seen = r.seen, nil
	return seen
}

// readers are servers behind ours: each makes a path of the target of a request line.
var readers = map[string]func(target string) string{
	"RFC 3986":             func(target string) string { return path.Clean("/" + unescaped(pathOf(target))) },
	"cleaned, then opened": func(target string) string { return unescaped(path.Clean("/" + pathOf(target))) },
	"opened twice":         func(target string) string { return path.Clean("/" + unescaped(unescaped(pathOf(target)))) },
	"resolved as a reference": func(target string) string {
		base, _ := url.Parse("http://app/")
		u, err := base.Parse(target)
		if err != nil {
			return path.Clean("/" + pathOf(target))
		}
		return path.Clean("/" + u.Path)
	},
	"parameters off": func(target string) string {
		segments := strings.Split(unescaped(pathOf(target)), "/")
		for i, segment := range segments {
			segments[i], _, _ = strings.Cut(segment, ";")
		}
		return path.Clean("/" + strings.Join(segments, "/"))
	},
	"backslashes": func(target string) string {
		return path.Clean("/" + strings.ReplaceAll(unescaped(pathOf(target)), `\`, "/"))
	},
	"look-alikes": func(target string) string { return path.Clean("/" + norm.NFKC.String(unescaped(pathOf(target)))) },
	"up to NUL": func(target string) string {
		p, _, _ := strings.Cut(unescaped(pathOf(target)), "\x00")
		return path.Clean("/" + p)
	},
	"blanks and dots off": func(target string) string {
		segments := strings.Split(unescaped(pathOf(target)), "/")
		for i, segment := range segments {
			if trimmed := strings.TrimRight(segment, " "); trimmed != ".." {
				segment = strings.TrimRight(segment, ". ")
			} else {
				segment = trimmed
			}
			segments[i] = segment
		}
		return path.Clean("/" + strings.Join(segments, "/"))
	},
}

func pathOf(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
		_, target, _ = strings.Cut(rest, "/")
		target = "/" + target
	}
	p, _, _ := strings.Cut(target, "?")
	return p
}

// unescaped opens all escapes once, and leaves what is none.
func unescaped(p string) string {
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		var c byte
		if p[i] == '%' && i+2 < len(p) {
			if _, err := fmt.Sscanf(p[i+1:i+3], "%02x", &c); err == nil {
				out.WriteByte(c)
				i += 2
				continue
			}
		}
		out.WriteByte(p[i])
	}
	return out.String()
}

// within requires of all that has come to the app that no server reads it as outside.
func (r *reached) within(t *testing.T, limit, what string) (n int) {
	t.Helper()
	for _, req := range r.take() {
		n++
		for name, read := range readers {
			if p := read(req.RequestURI); p != limit && !strings.HasPrefix(p, limit+"/") {
				require.Fail(t, "a server behind goes elsewhere", "%s: %s reads %q as %q", what, name, req.RequestURI, p)
			}
		}
	}
	return n
}

// ways spell the way out of /dav to /admin.
func ways() []string {
	all := []string{
		"/", "/da", "/davx/x", "/dav.", "/dav./x", "/dav%20/x", "/dav%00", "/dav%00/x", "/DAV/x", "/Dav/x", "/d%41v/x", "/dav;/x", "/dav;x=/admin", "/;/dav/x", "/dav:80/x", "/admin/dav/x", "/admin?/dav/x", "/admin#/dav/x",
		"//dav/x", "//dav/admin", "///dav/admin", "//dav@x/admin", "/%2fdav/admin", "/\\dav/admin", "/.//dav/admin", "/dav/x#/../../admin", "/dav/x?/../../admin", "/dav?/../admin", "/dav/x/", "/dav//x", "/dav/x;v=1", "/dav/%C3%BC",
		"/%64av/../admin", "/accounts/../admin", "http://localhost/admin", "http://evil.example/dav/../admin", "http://localhost//dav/admin", "http://localhost/dav/x", "http://dav/admin", "dav/x", "*", "/authz", "/dav\uff0f..\uff0fadmin", "/\uff44av/x",
		"/dav/x%23/../../admin", "/dav/x%3f/../../admin", "/dav/%", "/dav/%zz/../../admin", "/dav/%u002e%u002e/admin", "/dav/%c0%ae%c0%ae/admin", "/dav/..%c0%afadmin", "/dav/%ff%fe/admin",
	}
	for _, dots := range []string{"..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%25252e%25252e", "..;", "..;x=1", "..%3b", "%2e%2e%3bx", "..%00", "..%20", "..%20.", "..%09", "..%c2%a0", "...", "....", "..%0d%0a", "%ef%bc%8e%ef%bc%8e", "%e2%80%a5", "%e2%80%a4.", "\uff0e\uff0e", "\u2025", ".\u00ad.", ".%c2%ad."} {
		for _, slash := range []string{"/", "//", "%2f", "%2F", "%252f", "\\", "%5c", "%255c", "/;/", "%ef%bc%8f", "\uff0f", "%e2%88%95", "%c0%af"} {
			all = append(all, "/dav"+slash+dots+slash+"admin", "/dav/x"+slash+dots+slash+dots+slash+"admin", "/admin"+slash+dots+"/dav/x", slash+"dav/x/"+dots+"/"+dots+slash+"admin")
		}
	}
	return all
}

// An attacked is the site with a person on it and the app behind.
type attacked struct {
	*served.Server
	t     *testing.T
	app   *reached
	ada   *served.Client
	plain string // host and port of HTTP/1 in the clear
	three *http3.Transport
}

func newAttacked(t *testing.T) *attacked {
	app := newReached(t)
	s := served.NewServer(t)
	s.Values["plain"], s.Values["backend"] = fmt.Sprint(served.FreePort(t)), app.Listener.Addr().String()
	s.Configure(attackedSite)
	s.Start()
	ada := s.SecureClient()
	ada.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	ada.SignIn("ada")
	require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, "ada", `{"groups":["staff","family"]}`).StatusCode)
	three := &http3.Transport{TLSClientConfig: s.TrustsCaddy()}
	t.Cleanup(func() { _ = three.Close() })
	return &attacked{s, t, app, ada, "127.0.0.1:" + s.Values["plain"], three}
}

func (a *attacked) token(more data) string {
	body := data{"name": "Program"}
	for name, value := range more {
		body[name] = value
	}
	return a.ada.Post(http.StatusCreated, "create-token", body).JSON(a.t)["token"].(string)
}

// raw sends a request of HTTP/1 as it is written; 0 is for one that is hung up on.
func (a *attacked) raw(method, target string, headers ...string) int {
	a.t.Helper()
	conn, err := net.Dial("tcp", a.plain)
	require.NoError(a.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(a.t, conn.SetDeadline(time.Now().Add(served.Patience)))
	_, err = io.WriteString(conn, method+" "+target+" HTTP/1.1\r\nHost: "+a.plain+"\r\nConnection: close\r\n"+strings.Join(append(headers, "", ""), "\r\n"))
	require.NoError(a.t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// newer sends a request of HTTP/2 or 3 whose path is written as it is, as far as the client
// can; 0 is for one that it can't send.
func (a *attacked) newer(major int, method, target string, header http.Header) int {
	a.t.Helper()
	if _, err := url.ParseRequestURI(target); err != nil || !strings.HasPrefix(target, "/") {
		return 0 // the client would wait for ever
	}
	transport := http.RoundTripper(a.three)
	if major == 2 {
		transport = a.ada.HTTP.Transport
	}
	base, _ := url.Parse(a.ada.Base)
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: target}
	if strings.HasPrefix(target, "//") { // which would be a host
		p, query, _ := strings.Cut(target, "?")
		opened, err := url.PathUnescape(p)
		if err != nil {
			return 0
		}
		u = &url.URL{Scheme: base.Scheme, Host: base.Host, Path: opened, RawPath: p, RawQuery: query}
	}
	req := (&http.Request{Method: method, URL: u, Host: base.Host, Header: header.Clone()}).WithContext(a.t.Context())
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	require.Equal(a.t, major, res.ProtoMajor)
	return res.StatusCode
}

func basicOf(name, token string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+token))
}

// TestHardeningNoWayOutOfAPath: whatever a client writes, no server behind ours takes it for
// something outside of the path that a token is limited to.
func TestHardeningNoWayOutOfAPath(t *testing.T) {
	t.Parallel()
	a := newAttacked(t)
	limited := a.token(data{"path": "/dav"})
	for _, authorization := range []string{"Bearer " + limited, basicOf("ada", limited)} {
		require.Equal(t, http.StatusOK, a.raw(http.MethodGet, "/dav/x", "Authorization: "+authorization))
	}
	a.app.take()
	let, sent := 0, map[int]int{}
	for i, target := range ways() {
		authorization := []string{"Bearer " + limited, "Token " + limited, basicOf("ada", limited), basicOf("ada@example.org", limited)}[i%4]
		method := []string{http.MethodGet, http.MethodPost, "PROPFIND", http.MethodOptions, http.MethodHead}[i%5]
		a.raw(method, target, "Authorization: "+authorization)
		let += a.app.within(t, "/dav", "HTTP/1 "+target)
		for _, major := range []int{2, 3} {
			if a.newer(major, method, target, http.Header{"Authorization": {authorization}}) != 0 {
				sent[major]++
			}
			let += a.app.within(t, "/dav", fmt.Sprintf("HTTP/%d %s", major, target))
		}
	}
	t.Logf("%d ways, %d let in; sent by HTTP/2 and 3: %v", len(ways()), let, sent)
	require.NotZero(t, let, "some lead to what is below")
	require.Greater(t, min(sent[2], sent[3]), len(ways())/2)

	// A second path in a header, in each version of HTTP.
	for _, name := range []string{"X-Original-URL", "X-Rewrite-URL", "X_Original_URL", "x.rewrite.url", "X-Override-URL", "X-Original-URI", "X-Forwarded-Uri", "X-Forwarded-Path", "Destination"} {
		for _, to := range []string{"/admin", "/dav/../admin", "/dav/%2e%2e/admin", "/davx", "https://localhost/admin", "//dav/admin", "https://localhost//dav/admin", "", "/DAV/x"} {
			method := "GET"
			if name == "Destination" {
				method = "MOVE"
			}
			codes := []int{
				a.raw(method, "/dav/x", "Authorization: Bearer "+limited, name+": "+to),
				a.newer(2, method, "/dav/x", http.Header{"Authorization": {"Bearer " + limited}, name: {to}}),
				a.newer(3, method, "/dav/x", http.Header{"Authorization": {"Bearer " + limited}, name: {to}}),
			}
			for i, code := range codes {
				if code == http.StatusOK && strings.ContainsAny(name, "_.") { // Caddy takes such names off by itself
					continue
				}
				require.Equal(t, http.StatusForbidden, code, "HTTP/%d %s: %q", i+1, name, to)
			}
			for _, req := range a.app.take() {
				for header := range req.Header {
					require.NotEqual(t, strings.ToLower(name), strings.ToLower(header))
				}
			}
		}
	}
	require.Empty(t, a.app.take())
	require.Equal(t, http.StatusForbidden, a.raw("COPY", "/dav/x", "Authorization: Bearer "+limited, "Destination: /dav/y", "Destination: /admin"))
	for _, method := range []string{"SEARCH", "BIND", "REBIND"} {
		require.Equal(t, http.StatusForbidden, a.raw(method, "/dav/", "Authorization: Bearer "+limited), method)
	}
	require.Equal(t, http.StatusOK, a.raw("MOVE", "/dav/x", "Authorization: Bearer "+limited, "Destination: http://localhost/dav/y"))
	require.Len(t, a.app.take(), 1)
}

// TestHardeningATokenIsNoMore: more groups, a second step, a recent sign-in, and the account
// are not to be had by one, in whichever header it comes.
func TestHardeningATokenIsNoMore(t *testing.T) {
	t.Parallel()
	a := newAttacked(t)
	all, family, none, limited := a.token(nil), a.token(data{"groups": []string{"family"}}), a.token(data{"groups": []string{}}), a.token(data{"path": "/dav"})
	get := func(target, authorization string, headers ...string) int {
		t.Helper()
		return a.raw(http.MethodGet, target, append(headers, "Authorization: "+authorization)...)
	}
	for _, of := range []func(token string) string{func(token string) string { return "Bearer " + token }, func(token string) string { return "tOKEN   " + token }, func(token string) string { return basicOf("ada", token) }} {
		require.Equal(t, http.StatusOK, get("/staff/x", of(all)))
		for _, token := range []string{family, none} {
			require.Equal(t, http.StatusForbidden, get("/staff/x", of(token)))
			require.Equal(t, http.StatusForbidden, get("/staff/x?group=family", of(token), "Remote-Groups: staff", "Remote_Groups: staff", "X-Forwarded-Groups: staff"))
		}
		a.app.take()
		require.Equal(t, http.StatusOK, get("/x", of(family), "Remote-Groups: staff"))
		require.Equal(t, "family", strings.Join(a.app.take()[0].Header["Remote-Groups"], "|"))
		for _, target := range []string{"/safe/factors/x", "/safe/recent/x"} {
			require.Equal(t, http.StatusUnauthorized, get(target, of(all)), target)
		}
		require.Equal(t, http.StatusUnauthorized, get("/accounts/authz/forward-auth?factors=2", of(all)))
		require.Equal(t, http.StatusUnauthorized, get("/accounts/authz/auth-request?max_age=1000h", of(all)))
		// Who asks is no trusted proxy: what it says of where a visitor goes is not believed.
		require.Equal(t, http.StatusForbidden, get("/accounts/authz/forward-auth", of(limited), "X-Forwarded-Uri: /dav/x", "X-Forwarded-Host: localhost", "X-Forwarded-Proto: https"))
		require.Equal(t, http.StatusForbidden, get("/accounts/authz/auth-request", of(limited), "X-Original-URL: https://localhost/dav/x"))
	}
	a.app.take()

	// The account itself, its pages and the owner's.
	require.Equal(t, http.StatusOK, a.ada.Get("/accounts/tokens").StatusCode)
	require.Equal(t, http.StatusOK, get("/accounts/profile", "Bearer "+all))
	require.NotEqual(t, http.StatusOK, get("/accounts/profile/", "Bearer "+all, "Accept: text/html"), "no page")
	require.Equal(t, http.StatusUnauthorized, get("/accounts/profile", basicOf("ada", all)))
	require.Equal(t, http.StatusUnauthorized, get("/accounts/profile", "Bearer "+limited))
	for _, endpoint := range []string{"sessions", "tokens", "factors", "emails", "export", "linked", "admin", "admin/users", "admin/", "profile/../tokens", "%70rofile/../sessions"} {
		require.NotEqual(t, http.StatusOK, get("/accounts/"+endpoint, "Bearer "+all), endpoint)
		require.NotEqual(t, http.StatusOK, a.newer(2, http.MethodGet, "/accounts/"+endpoint, http.Header{"Authorization": {"Bearer " + all}}), endpoint)
	}
	for _, endpoint := range []string{"profile", "create-token", "revoke-token", "change-password", "register-email", "primary-email", "remove-email", "delete-account", "export", "enrol-totp", "passkey-options", "recovery-codes", "revoke-session", "step-up", "logout"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			code := a.raw(method, "/accounts/"+endpoint, "Authorization: Bearer "+all, "Content-Length: 2", "Content-Type: application/json", "X-HTTP-Method-Override: GET", "", "{}")
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotFound}, code, method+" "+endpoint)
		}
	}
	require.Empty(t, a.app.take())
}

// TestHardeningTokenInWhatHeader: a token counts in the header and the scheme that say so,
// whole, with its owner's name, and no app sees it.
func TestHardeningTokenInWhatHeader(t *testing.T) {
	t.Parallel()
	a := newAttacked(t)
	good, limited := a.token(nil), a.token(data{"path": "/dav"})
	wrong := []string{
		"", good, "Bearer", "Bearer ", "Bearer\t" + good, "Bearer=" + good, "Digest " + good, "Basic " + good, "Basic", "Basic ====", "Basic \xff\xfe", "Negotiate " + good,
		basicOf("eve", good), basicOf("", good), basicOf("ada\x00", good), basicOf("ada ", good), basicOf(" ada", good), basicOf("ada:x", good), basicOf("\xff\xfe", good), basicOf("ada\xff", good),
		basicOf("ada", good+"x"), basicOf("ada", good+"\x00"), basicOf("ada", " "+good), basicOf("ada", good[:52]), basicOf("ada", strings.ToLower(good)), basicOf("ada", served.TestPassword), basicOf("ada", ""), basicOf(good, ""), basicOf(good, good), basicOf(good, "x-oauth-basic"),
		basicOf(strings.Repeat("a", 1<<18), good), basicOf(strings.Repeat("a", 1<<14), good), basicOf("ada", good+strings.Repeat("a", 1<<18)), "Bearer " + strings.Repeat("crt_", 1<<16), "Bearer " + good + " " + good, "Bearer " + good + "," + good, "Bearer \"" + good + "\"", "Bearer crt_" + strings.Repeat("\xff", 49),
	}
	for _, authorization := range wrong {
		code := a.raw(http.MethodGet, "/x", "Authorization: "+authorization)
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge}, code, "%.80q", authorization)
	}
	for _, header := range []string{"Proxy-Authorization", "X-Authorization", "Authorization_", "X-Forwarded-Authorization", "Cookie: registration=" + good + "; x", "X-Api-Key", "X-Auth-Token"} {
		require.Equal(t, http.StatusUnauthorized, a.raw(http.MethodGet, "/x", header+": Bearer "+good), header)
	}
	for _, target := range []string{"/x?access_token=" + good, "/x?token=" + good, "/x/" + good, "/" + good + "/x", "/accounts/profile?access_token=" + good, "http://ada:" + good + "@127.0.0.1/x"} {
		require.NotEqual(t, http.StatusOK, a.raw(http.MethodGet, target), target)
	}
	require.Equal(t, http.StatusUnauthorized, a.raw(http.MethodGet, "/bearer/x", "Authorization: "+basicOf("ada", good)), "where nobody has said basic")
	require.Empty(t, a.app.take(), "nothing of that has reached the app")

	// Of several headers the first counts, as everywhere else, and the app gets none.
	for _, pair := range [][2]string{{"Bearer " + good, "Bearer x"}, {basicOf("ada", good), "Bearer x"}, {"Bearer " + good, basicOf("eve", "x")}} {
		require.Equal(t, http.StatusOK, a.raw(http.MethodGet, "/x", "Authorization: "+pair[0], "Authorization: "+pair[1]))
		require.Equal(t, http.StatusUnauthorized, a.raw(http.MethodGet, "/x", "Authorization: "+pair[1], "Authorization: "+pair[0]))
	}
	require.Equal(t, http.StatusForbidden, a.raw(http.MethodGet, "/x", "Authorization: Bearer "+limited, "Authorization: Bearer "+good))
	for _, name := range []string{"ada", "ADA", "ada@example.org", "Ada@EXAMPLE.org"} {
		require.Equal(t, http.StatusOK, a.raw(http.MethodGet, "/x", "Authorization: "+basicOf(name, good)), name)
	}
	for _, req := range a.app.take() {
		require.Empty(t, req.Header["Authorization"])
		for name, values := range req.Header {
			require.NotContains(t, strings.Join(values, " "), good, name)
		}
	}
}

// TestHardeningFloodOfWrongTokens: wrong ones in any number stop neither those that are
// right nor people who sign in, and leave nothing in memory or in the log.
func TestHardeningFloodOfWrongTokens(t *testing.T) {
	t.Parallel()
	a := newAttacked(t)
	good := a.token(nil)
	const clients, each = 8, 250
	logged := a.Log.Mark()
	var flood served.Group
	started := time.Now()
	for client := range clients {
		flood.Go(func() error {
			http1 := &http.Transport{MaxConnsPerHost: 1}
			defer http1.CloseIdleConnections()
			for i := range each {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.plain+"/x", nil)
				if err != nil {
					return err
				}
				wrong, _ := token.New()
				if i%2 == 0 {
					req.Header.Set("Authorization", "Bearer "+wrong)
				} else {
					req.SetBasicAuth("ada", wrong)
				}
				res, err := http1.RoundTrip(req)
				if err != nil {
					return err
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusUnauthorized {
					return fmt.Errorf("client %d: %d", client, res.StatusCode)
				}
			}
			return nil
		})
	}
	for range 20 {
		require.Equal(t, http.StatusOK, a.raw(http.MethodGet, "/x", "Authorization: Bearer "+good))
	}
	require.NoError(t, flood.Wait())
	t.Logf("%d wrong tokens in %v", clients*each, time.Since(started))
	a.SecureClient().SignIn("ada")
	require.Equal(t, http.StatusOK, a.raw(http.MethodGet, "/x", "Authorization: "+basicOf("ada", good)))
	require.Less(t, strings.Count(a.Log.Since(logged), "\n"), 50, "a line for each")
}
