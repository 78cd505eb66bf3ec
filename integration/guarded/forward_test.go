// forward_test.go: servers that ask the accounts who is signed in, as the recipes in
// examples/forward-auth set them up: a real nginx, a real HAProxy, a second Caddy.

package guarded_test

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
)

var askedSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
	servers {
		trusted_proxies static [[trusted]]
	}
}
` + served.At("http://:[[port]]", served.Accounts("http://accounts.example.com", "session {\n cookie_domain example.com\n }\n authz on\n"))

// asking are the servers, each with how it is started: its configuration is filled in.
var asking = map[string]struct {
	files []string
	args  func(dir string) []string
}{
	"nginx": {[]string{"nginx/nginx.conf"}, func(dir string) []string {
		return []string{"nginx", "-p", dir, "-e", "error.log", "-c", "nginx.conf", "-g", "daemon off;"}
	}},
	"haproxy": {[]string{"haproxy/haproxy.cfg", "haproxy/authz.lua"}, func(string) []string { return []string{"haproxy", "-db", "-f", "haproxy.cfg"} }},
	"caddy":   {[]string{"caddy/Caddyfile"}, nil},
}

// recipe fills in a recipe of the examples.
func recipe(t *testing.T, file, accounts, app string, port int, dir string, change ...string) string {
	text := strings.NewReplacer(change...).Replace(string(served.ReadFile(t, filepath.Join("..", "..", "examples", "forward-auth", filepath.FromSlash(file)))))
	own := fmt.Sprintf("127.0.0.1:%d", port)
	nginx := "access_log off;"
	for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		nginx += fmt.Sprintf("\n%s_temp_path %s;", temp, filepath.Join(dir, temp))
	}
	if os.Geteuid() == 0 {
		text = strings.Replace(text, "events {}", "user root;\nevents {}", 1)
	}
	return strings.NewReplacer("127.0.0.1:8080", accounts, "127.0.0.1:3000", app, "listen 80;", "listen "+own+";", "bind :80", "bind "+own,
		"http://app.example.com {", fmt.Sprintf("http://app.example.com:%d {", port), "access_log off;", nginx).Replace(text)
}

// startAsking starts one of them, and returns its address. change are pairs of what stands in
// its recipe, and what is to stand there.
func startAsking(t *testing.T, name, accounts, app string, change ...string) string {
	s := asking[name]
	port, dir := served.FreePort(t), t.TempDir()
	if s.args == nil {
		second := served.NewServer(t)
		second.Configure("{\nadmin 127.0.0.1:[[admin]]\ndefault_bind 127.0.0.1\n}\n" + recipe(t, s.files[0], accounts, app, second.Port, dir, change...))
		second.Start()
		return fmt.Sprintf("127.0.0.1:%d", second.Port)
	}
	args := s.args(dir)
	path, err := exec.LookPath(args[0])
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + args[0])
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(args[0] + " is not installed")
	}
	require.NoError(t, err)
	for _, file := range s.files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(recipe(t, file, accounts, app, port, dir, change...)), 0o600))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			raw, _ := os.ReadFile(log.Name())
			more, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("the log of %s:\n%s%s", name, raw, more)
		}
	})
	own := fmt.Sprintf("127.0.0.1:%d", port)
	require.True(t, served.Eventually(func() bool {
		conn, err := net.Dial("tcp", own)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Millisecond), name)
	return own
}

// An app says what it was asked.
type app struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
	size int64
}

func newApp(t *testing.T) *app {
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, _ := io.Copy(io.Discard, req.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen, a.size = append(a.seen, req), n
		if req.Header.Get("Upgrade") == "websocket" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err == nil {
				sum := sha1.Sum([]byte(req.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 has it so
				_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\nhello")
				_ = rw.Flush()
				_ = conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, "the app")
	}))
	t.Cleanup(a.Close)
	return a
}

// last is the only request since the last time, nil for none.
func (a *app) last() *http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.seen = nil }()
	if len(a.seen) == 0 {
		return nil
	}
	return a.seen[len(a.seen)-1]
}

// A visitor sends requests to app.example.com, whatever address that is at.
type visitor struct {
	t      *testing.T
	at     string
	header http.Header
}

func (v *visitor) with(pairs ...string) *visitor {
	h := v.header.Clone()
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return &visitor{v.t, v.at, h}
}

func (v *visitor) do(method, target string, body io.Reader) *served.Answer {
	v.t.Helper()
	req, err := http.NewRequest(method, "http://"+v.at+target, body)
	require.NoError(v.t, err)
	req.Header, req.Host = v.header.Clone(), "app.example.com"
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(v.t, err)
	return served.ReadAnswer(v.t, res)
}

func (v *visitor) get(target string) *served.Answer {
	v.t.Helper()
	return v.do(http.MethodGet, target, nil)
}

const html = "text/html,application/xhtml+xml,*/*;q=0.8"

func TestServersThatAsk(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "127.0.0.1/8")
	member := s.Member("ada")
	cookie := cookieOf(t, member.SignIn("ada"))
	create := func(body data) string {
		member.Header.Set("Cookie", cookie)
		return fmt.Sprint(member.Post(http.StatusCreated, "create-token", body).JSON(t)["token"])
	}
	limited := create(data{"name": "Calendar", "path": "/dav"})
	for name := range asking {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			at := startAsking(t, name, fmt.Sprintf("127.0.0.1:%d", s.Port), strings.TrimPrefix(a.URL, "http://"))
			v := &visitor{t, at, http.Header{}}
			ada := v.with("Cookie", "theme=dark; "+cookie+"; lang=en")

			// A browser is sent to sign in, and comes back.
			res := v.with("Accept", html).get("/a?b=c")
			require.Equal(t, http.StatusFound, res.StatusCode, res.Text)
			require.Equal(t, "http://accounts.example.com/accounts/login/?next="+url.QueryEscape("http://app.example.com/a?b=c"), res.Header.Get("Location"))
			back := signInBy(t, s, "ada", "http://app.example.com/a?b=c")
			require.Equal(t, "http://app.example.com/a?b=c", back)
			for _, long := range []int{1000, 6000, 7900} {
				res = v.with("Accept", html).get("/a?" + strings.Repeat("b", long))
				require.Equal(t, http.StatusFound, res.StatusCode, long)
				require.True(t, strings.HasPrefix(res.Header.Get("Location"), "http://accounts.example.com/accounts/login/"), long)
			}
			res = v.get("/a")
			require.Equal(t, http.StatusUnauthorized, res.StatusCode)
			require.Contains(t, res.Header.Get("Www-Authenticate"), `Bearer realm="default"`)
			require.Contains(t, res.Header.Get("Www-Authenticate"), `Basic realm="default"`)
			require.Equal(t, http.StatusForbidden, ada.get("/staff/").StatusCode)
			require.Equal(t, http.StatusForbidden, ada.get("/staff/?group=x&max_age=99999").StatusCode)
			require.Nil(t, a.last())

			// The app hears who it is, and nothing else.
			forged := ada.with("Remote-User", "root", "Remote-Groups", "admins", "Remote-Name", "Root", "Remote_User", "root", "X-Original-URL", "http://app.example.com/x", "X-Forwarded-Uri", "/x", "X-Forwarded-Host", "evil.example", "X-Forwarded-Method", "POST")
			res = forged.get("/a?group=admins")
			require.Equal(t, "the app", res.Text, res.StatusCode)
			got := a.last()
			require.Equal(t, "/a?group=admins", got.RequestURI)
			require.Equal(t, "ada", strings.Join(got.Header["Remote-User"], "|"))
			require.Equal(t, "ada@example.org", got.Header.Get("Remote-Email"))
			require.Len(t, got.Header.Get("Remote-Id"), 36)
			for _, none := range []string{"Remote-Groups", "Remote-Name", "Remote_user", "Remote_User"} {
				require.Empty(t, strings.Join(got.Header[none], ""), none)
			}
			require.NotContains(t, got.Header.Get("Cookie"), "registration")
			require.Contains(t, got.Header.Get("Cookie"), "theme=dark")
			require.Contains(t, got.Header.Get("Cookie"), "lang=en")
			require.Equal(t, http.StatusUnauthorized, v.with("Remote-User", "root", "X-Forwarded-User", "root").get("/").StatusCode)
			for _, elsewhere := range []string{"X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Method"} {
				require.Equal(t, "the app", ada.with(elsewhere, "/staff/x").get("/a").Text)
				require.Empty(t, a.last().Header.Get(elsewhere), elsewhere)
			}
			requireNoCookieOfOurs(t, v, a, cookie)

			// A path that the app may read as another one reaches it as nobody's.
			for _, path := range []string{"/%73taff/x", "/./staff/x", "/x/../staff/x", "//staff/x", "/staff%2Fx", "/staff/../x", "/x/%2e%2e/staff/x", "/staff/%2E./x", "/x%5c..%5cstaff/x", "/staff/.."} {
				require.NotEqual(t, http.StatusOK, ada.get(path).StatusCode, path)
				require.Nil(t, a.last(), path)
			}
			for _, path := range []string{"/.well-known/x", "/a...b/..c", "/caf%C3%A9?to=../staff//x%2f"} {
				require.Equal(t, http.StatusOK, ada.get(path).StatusCode, path)
				require.Equal(t, path, a.last().RequestURI)
			}

			// What a visitor says of where he goes counts for nothing.
			for header, value := range map[string]string{"X-Forwarded-Host": "evil.example", "X-Forwarded-Uri": "/evil", "X-Original-Url": "http://evil.example/", "X-Forwarded-Proto": "https", "X-Forwarded-Method": "POST", "X-Http-Method-Override": "POST", "Connection": "X-Forwarded-Uri"} {
				res = v.with("Accept", html, header, value).get("/a")
				require.Equal(t, http.StatusFound, res.StatusCode, header)
				require.Equal(t, "http://accounts.example.com/accounts/login/?next="+url.QueryEscape("http://app.example.com/a"), res.Header.Get("Location"), header)
			}

			// Uploads and WebSockets.
			require.Equal(t, "the app", ada.do(http.MethodPost, "/upload", strings.NewReader(strings.Repeat("x", 1<<20))).Text)
			require.EqualValues(t, 1<<20, a.size)
			require.Equal(t, http.MethodPost, a.last().Method)
			for _, protocol := range []string{"h2c", "HTTP/2.0", "TLS/1.0"} {
				res = ada.with("Connection", "Upgrade, HTTP2-Settings", "Upgrade", protocol, "HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA").get("/a")
				require.Equal(t, "the app", res.Text, protocol)
				require.Empty(t, a.last().Header.Get("Upgrade"), protocol)
			}
			socket := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
			require.Equal(t, http.StatusUnauthorized, v.with(socket...).get("/ws").StatusCode)
			require.Nil(t, a.last())
			require.Equal(t, http.StatusSwitchingProtocols, ada.with(socket...).get("/ws").StatusCode)
			require.Equal(t, "ada", a.last().Header.Get("Remote-User"))
			for _, method := range []string{"HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "MKCOL", "REPORT"} {
				require.Equal(t, http.StatusOK, ada.do(method, "/m", nil).StatusCode, method)
				require.Equal(t, method, a.last().Method)
				require.Equal(t, http.StatusUnauthorized, v.do(method, "/m", nil).StatusCode, method)
				require.Nil(t, a.last(), method)
			}

			// A token is good on its path.
			for _, authorization := range []string{"Bearer " + limited, "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+limited))} {
				program := v.with("Authorization", authorization)
				require.Equal(t, "the app", program.do("PROPFIND", "/dav/x", nil).Text)
				for _, path := range []string{"/", "/dave", "/dav/%2e%2e/a", "/dav%2f..%2fa", "/dav/..;/a"} {
					require.NotEqual(t, http.StatusOK, program.get(path).StatusCode, path)
				}
			}
			a.last()
		})
	}
}

// requireNoCookieOfOurs requires that the app gets the cookies of others alone, however many
// a browser has: a sibling may have planted more.
func requireNoCookieOfOurs(t *testing.T, v *visitor, a *app, cookie string) {
	t.Helper()
	for _, line := range []string{
		cookie + "; registration=", "registration=; " + cookie, "theme=dark; " + cookie + "; registration=; lang=en; registration=",
		cookie + "; theme=dark; registration_trusted=x; registration_device=y; lang=en; __Host-registration_known=z",
		cookie + strings.Repeat("; registration_flash=x", 20), cookie + ";registration=;theme=dark",
	} {
		require.Equal(t, "the app", v.with("Cookie", line).get("/a").Text, line)
		got := a.last().Header
		require.NotContains(t, strings.Join(got["Cookie"], "; "), "registration", line)
		if strings.Contains(line, "theme=dark; ") && !strings.Contains(line, "flash") {
			require.Contains(t, got.Get("Cookie"), "theme=dark", line)
		}
	}
	got := v.with("Cookie", cookie+"; my_registration=1; registrations=2").get("/a")
	require.Equal(t, "the app", got.Text)
	require.Equal(t, "my_registration=1; registrations=2", a.last().Header.Get("Cookie"))
}

// A question that comes to another site than that of the accounts is answered with an empty
// 200 by Caddy, which lets nobody in.
func TestQuestionThatComesElsewhere(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "127.0.0.1/8")
	cookie := cookieOf(t, s.Member("ada").SignIn("ada"))
	for name := range asking {
		for _, slip := range [][2]string{{"/accounts/authz/", "/account/authz/"}, {"/accounts/authz/", "/api/authz/"}} {
			t.Run(name+slip[1], func(t *testing.T) {
				a := newApp(t)
				at := startAsking(t, name, fmt.Sprintf("127.0.0.1:%d", s.Port), strings.TrimPrefix(a.URL, "http://"), slip[0], slip[1])
				for _, v := range []*visitor{{t, at, http.Header{}}, {t, at, http.Header{"Cookie": {cookie}, "Remote-Id": {"x"}}}} {
					for _, path := range []string{"/a", "/staff/"} {
						require.GreaterOrEqual(t, v.get(path).StatusCode, 400, path)
						require.Nil(t, a.last())
					}
				}
			})
		}
	}
}

// Who is in the group is asked to show more after a while.
func TestServersThatAskForMore(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "127.0.0.1/8")
	cookie := cookieOf(t, s.Member("ada").SignIn("ada"))
	ask := func(header ...string) *served.Answer {
		v := (&visitor{t, fmt.Sprintf("127.0.0.1:%d", s.Port), http.Header{}}).with("Cookie", cookie, "X-Forwarded-Proto", "http", "X-Forwarded-Host", "app.example.com", "X-Forwarded-Uri", "/x", "X-Forwarded-Method", "GET")
		return v.with(header...).get("/accounts/authz/forward-auth?factors=2")
	}
	require.Equal(t, "http://accounts.example.com/accounts/step-up/?factors=2&next="+url.QueryEscape("http://app.example.com/x"), ask("Accept", html).Header.Get("Location"))
	res := ask()
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Contains(t, res.Header.Get("Www-Authenticate"), "insufficient_user_authentication")
}

// Whoever has to show a second factor is led to show it, and back; a program is told what is
// missing, in the words of RFC 9470.
func TestStepUpBehindServersThatAsk(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "127.0.0.1/8")
	member := s.Member("ada")
	old := cookieOf(t, member.SignIn("ada"))
	member.Header.Set("Cookie", old)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(member.Post(http.StatusOK, "enrol-totp", nil).JSON(t)["secret"].(string))
	require.NoError(t, err)
	code, err := factor.Code(secret, factor.Step(time.Now()))
	require.NoError(t, err)
	fresh := cookieOf(t, member.Post(http.StatusCreated, "confirm-totp", data{"code": code}))
	lacking := cookieOf(t, signInWithout(t, s, "bob"))
	for name := range asking {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			v := &visitor{t, startAsking(t, name, fmt.Sprintf("127.0.0.1:%d", s.Port), strings.TrimPrefix(a.URL, "http://"), "group=staff&max_age=15m", "factors=2"), http.Header{}}
			who := v.with("Cookie", lacking)
			res := who.with("Accept", html).get("/staff/a?b=c")
			require.Equal(t, http.StatusFound, res.StatusCode, res.Text)
			require.Equal(t, "http://accounts.example.com/accounts/step-up/?factors=2&next="+url.QueryEscape("http://app.example.com/staff/a?b=c"), res.Header.Get("Location"))
			res = who.get("/staff/a")
			require.Equal(t, http.StatusUnauthorized, res.StatusCode)
			require.Contains(t, res.Header.Get("Www-Authenticate"), `error="insufficient_user_authentication"`)
			require.Contains(t, res.Header.Get("Www-Authenticate"), `acr_values="mfa"`)
			require.Equal(t, http.StatusFound, v.with("Accept", html).get("/staff/a").StatusCode)
			require.Nil(t, a.last())
			require.Equal(t, "the app", who.get("/a").Text, "elsewhere it is enough")
			require.Equal(t, "bob", a.last().Header.Get("Remote-User"))
			require.Equal(t, "the app", v.with("Cookie", fresh).get("/staff/a?b=c").Text)
			require.Equal(t, "ada", a.last().Header.Get("Remote-User"))
		})
	}
}

// signInWithout signs in a new account that has no second factor.
func signInWithout(t *testing.T, s *served.Server, name string) *served.Answer {
	return s.Member(name).In(t).SignIn(name)
}

// wire are requests of who wants to be somebody else, as they go over the wire: COOKIE is
// ada's. Whatever becomes of them, no app may read from one that it comes from root.
var wire = map[string]string{
	"two lengths":              "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIEContent-Length: 4\r\nContent-Length: 60\r\n\r\nabcdGET /smuggled HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\n\r\n",
	"length and chunks":        "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIEContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\n\r\n",
	"chunks after a blank":     "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIEContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\n\r\n",
	"another encoding":         "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIEContent-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\n\r\n",
	"chunks twice":             "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIETransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\n\r\n",
	"a folded line":            "GET /a HTTP/1.1\r\nHost: app.example.com\r\nX: y\r\n Remote-User: root\r\nCOOKIE\r\n",
	"a bare line feed":         "GET /a HTTP/1.1\r\nHost: app.example.com\r\nX: y\nRemote-User: root\r\nCOOKIE\r\n",
	"a bare carriage return":   "GET /a HTTP/1.1\r\nHost: app.example.com\r\nX: y\rRemote-User: root\r\nCOOKIE\r\n",
	"a NUL":                    "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote-User\x00: root\r\nCOOKIE\r\n",
	"a blank before the colon": "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote-User : root\r\nCOOKIE\r\n",
	"underscores":              "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote_User: root\r\nREMOTE_GROUPS: admins\r\nremote_id: root\r\nCOOKIE\r\n",
	"tildes and bars":          "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote~User: root\r\nRemote|Name: root\r\nRemote+Id: root\r\nCOOKIE\r\n",
	"dots":                     "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote.User: root\r\nCOOKIE\r\n",
	"twice":                    "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\nremote-user: root\r\nREMOTE-USER: root\r\nCOOKIE\r\n",
	"a hop's own":              "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\nConnection: Remote-User, Remote-Groups, Remote-Id, Cookie\r\nCOOKIE\r\n",
	"a hop's own, alone":       "GET /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIEConnection: close, Remote-User\r\n\r\n",
	"a hop's own, nobody":      "GET /a HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\nConnection: close, Remote-User\r\n\r\n",
	"trailers":                 "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIETransfer-Encoding: chunked\r\nTrailer: Remote-User\r\n\r\n1\r\nx\r\n0\r\nRemote-User: root\r\n\r\n",
	"a whole address":          "GET http://evil.example/a HTTP/1.1\r\nHost: app.example.com\r\nRemote-User: root\r\nCOOKIE\r\n",
	"two hosts":                "GET /a HTTP/1.1\r\nHost: app.example.com\r\nHost: evil.example\r\nRemote-User: root\r\nCOOKIE\r\n",
	"HTTP/1.0":                 "GET /a HTTP/1.0\r\nHost: app.example.com\r\nRemote-User: root\r\nCOOKIE\r\n",
	"expects to be asked":      "POST /a HTTP/1.1\r\nHost: app.example.com\r\nCOOKIEContent-Length: 4\r\nExpect: 100-continue\r\nRemote-User: root\r\n\r\nabcd",
}

// lastOnWire ends a connection that is still open.
const lastOnWire = "GET /last HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"

func TestForgedOnTheWire(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "127.0.0.1/8")
	cookie := cookieOf(t, s.Member("ada").SignIn("ada"))
	for name := range asking {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			at := startAsking(t, name, fmt.Sprintf("127.0.0.1:%d", s.Port), strings.TrimPrefix(a.URL, "http://"))
			for what, text := range wire {
				for _, cookie := range []string{"Cookie: " + cookie + "\r\n", ""} {
					conn, err := net.Dial("tcp", at)
					require.NoError(t, err)
					require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
					_, err = io.WriteString(conn, strings.Replace(text, "COOKIE", cookie, 1)+lastOnWire)
					require.NoError(t, err)
					answer, _ := io.ReadAll(conn)
					_ = conn.Close()
					a.mu.Lock()
					seen := a.seen
					a.seen = nil
					a.mu.Unlock()
					require.NotEmpty(t, answer, what)
					require.True(t, cookie != "" || len(seen) == 0, "%s: nobody is signed in, and the app was asked", what)
					for _, req := range seen {
						require.NotEqual(t, "/smuggled", req.URL.Path, what)
						require.Equal(t, []string{"ada"}, req.Header["Remote-User"], what)
						for field, values := range req.Header {
							if like := strings.NewReplacer("_", "-", ".", "-", "~", "-", "|", "-", "+", "-").Replace(strings.ToLower(field)); strings.HasPrefix(like, "remote-") {
								require.NotContains(t, strings.Join(values, " "), "root", "%s: %s", what, field)
								require.NotContains(t, strings.Join(values, " "), "admins", "%s: %s", what, field)
							}
						}
						if name == "nginx" { // the others pass them on, as docs/forward-auth.md says
							require.Empty(t, req.Trailer.Get("Remote-User"), what)
						}
					}
				}
			}
		})
	}
}

// Envoy appends the path and the query of its visitor to the address that it asks at; what
// the page says to write takes both off again.
func TestEnvoysQuestion(t *testing.T) {
	site := strings.Replace(askedSite, "http://:[[port]] {\n", "http://:[[port]] {\nrewrite /accounts/authz/envoy/* /accounts/authz/forward-auth?\nrewrite /accounts/authz/envoy-staff/* /accounts/authz/forward-auth?group=staff\n", 1)
	require.NotEqual(t, askedSite, site)
	s := served.Run(t, site, "trusted", "127.0.0.1/8")
	cookie := cookieOf(t, s.Member("ada").SignIn("ada"))
	ask := func(method, asks, target string, header ...string) *served.Answer {
		v := (&visitor{t, fmt.Sprintf("127.0.0.1:%d", s.Port), http.Header{}}).with("X-Forwarded-Proto", "http", "X-Forwarded-Host", "app.example.com", "X-Forwarded-Uri", target, "X-Forwarded-Method", method)
		return v.with(header...).do(method, "/accounts/authz/"+asks+target, nil)
	}
	for _, method := range []string{"GET", "POST", "OPTIONS", "PROPFIND"} {
		require.Equal(t, "ada", ask(method, "envoy", "/a?group=staff&b=c", "Cookie", cookie).Header.Get("Remote-User"), method)
		require.Equal(t, http.StatusForbidden, ask(method, "envoy-staff", "/a?group=members&max_age=9h", "Cookie", cookie).StatusCode, method)
		require.Equal(t, http.StatusUnauthorized, ask(method, "envoy", "/a").StatusCode, method)
	}
	res := ask("GET", "envoy", "/a?b=c", "Accept", html)
	require.Equal(t, http.StatusFound, res.StatusCode)
	require.Equal(t, "http://accounts.example.com/accounts/login/?next="+url.QueryEscape("http://app.example.com/a?b=c"), res.Header.Get("Location"))
}

// A server that nobody has named is not believed.
func TestServerThatNobodyKnows(t *testing.T) {
	s := served.Run(t, askedSite, "trusted", "192.0.2.0/24")
	v := (&visitor{t, fmt.Sprintf("127.0.0.1:%d", s.Port), http.Header{}}).with("Accept", html, "X-Forwarded-Proto", "http", "X-Forwarded-Host", "app.example.com", "X-Forwarded-Uri", "/x", "X-Forwarded-Method", "GET", "X-Original-Url", "http://app.example.com/x")
	for _, path := range []string{"forward-auth", "auth-request"} {
		res := v.get("/accounts/authz/" + path)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.Empty(t, res.Header.Get("Location"))
	}
	s.Logged(0, "is no trusted proxy")
}

// cookieOf is the cookie that a sign-in has set, as a browser sends it.
func cookieOf(t *testing.T, res *served.Answer) string {
	for _, c := range res.Cookies() {
		if strings.HasSuffix(c.Name, "registration") && c.Value != "" {
			require.Equal(t, "example.com", c.Domain)
			return c.Name + "=" + c.Value
		}
	}
	require.Fail(t, "no cookie")
	return ""
}

// signInBy signs in by the form of the page, and returns where the browser goes.
func signInBy(t *testing.T, s *served.Server, name, next string) string {
	c := s.Client()
	c.Header.Set("Accept", html)
	res := c.Do(http.MethodPost, "/accounts/login/", url.Values{"login": {name}, "password": {served.TestPassword}, "next": {next}})
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	return res.Header.Get("Location")
}
