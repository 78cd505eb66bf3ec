// paths_test.go: other spellings of a guarded path, other methods, and shared
// caches before it, against the built Caddy with files and an app behind.

package guarded_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

var pathSite = served.Site("", `@guarded path /members /members/* /app/private /app/private/*
	require_login @guarded
	reverse_proxy /app/* [[backend]]
	root * [[dir]]/site
	file_server`)

const membersOnly = "for the eyes of members only"

// spellings are ways to write a path that some server reads as the plain one.
// %s is the folder, of one part; $ is the file.
var spellings = []string{
	"/%s/$", "//%s/$", "///%s///$", "/%s//$", "/./%s/$", "/%s/./$", "/%s/x/../$", "/open/../%s/$", "/open/../../%s/$",
	"/open/%%2e%%2e/%s/$", "/open/.%%2e/%s/$", "/%%2e/%s/$", "/%s/%%2e/$", "/%s%%2f$", "/%s%%2F$", "/%%2f%s/$", "/%s/%%2f$",
	"/open/..%%2f%s/$", "/open%%2f..%%2f%s%%2f$", "/open/..%%5c%s/$", "/open/..;/%s/$", "/%s;x/$", "/%s;/$", "/;/%s/$", "/%s/;/$", "/%s/$;x",
	"/%s\\$", "/%s%%5c$", "\\%s\\$", "/\\%s/$", "/open/..\\%s\\$", "/%s./$", "/%s/$.", "/%s /$", "/%s%%20/$", "/%s/$%%20", "/%s/$%%00", "/%s%%00/$", "/%%00/%s/$",
	"/%s/$/", "/%s/$?x=/open/", "/%s/$#x", "/%s/$/x.css", "/%s/$%%3f.css", "/%s/$%%23", "/%s/$%%0a", "/%s%%0d%%0a/$", "/%s%%09/$",
	"/open/%%252e%%252e/%s/$", "/%s%%252f$", "/%%252f%s/$", "/accounts/../%s/$", "/accounts/login/../../%s/$", "/accounts%%2f..%%2f%s/$", "/accounts/..;/%s/$",
	"/.well-known/../%s/$", "/%%c0%%af%s/$", "/%s%%c0%%af$", "/open/%%c0%%ae%%c0%%ae/%s/$", "/%%ef%%bc%%8f%s/$", "/%s%%e2%%88%%95$",
	"http://127.0.0.1/%s/$", "http://127.0.0.1:[[port]]/%s/$", "http://evil.example/%s/$", "http://127.0.0.1:[[port]]//%s/$", "https://127.0.0.1:[[port]]/%s/$",
	"/%s/$%%", "/%s/$%%zz", "/open?/../%s/$", "/open#/../%s/$", "*", "/%s:80/$", "/@%s/$", "/~/%s/$", "/%s/$::$DATA", "/%s/$.bak",
}

// encodings spell the letters of the folder in other ways.
func encodings(folder string) []string {
	first := folder[:1]
	return []string{
		folder, strings.ToUpper(folder), strings.ToUpper(first) + folder[1:],
		fmt.Sprintf("%%%02x", first[0]) + folder[1:], fmt.Sprintf("%%%02X", first[0]) + folder[1:], fmt.Sprintf("%%25%02x", first[0]) + folder[1:],
		"\uff4d" + folder[1:], "\u017f" + folder[1:],
	}
}

// raw sends a request line as it is and returns the answer.
func raw(s *served.Server, method, target string, headers ...string) (int, string) {
	s.T.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	require.NoError(s.T, err)
	defer func() { _ = conn.Close() }()
	require.NoError(s.T, conn.SetDeadline(time.Now().Add(served.Patience)))
	request := method + " " + target + " HTTP/1.1\r\nHost: " + fmt.Sprintf("127.0.0.1:%d", s.Port) + "\r\nConnection: close\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	_, err = io.WriteString(conn, request+"\r\n")
	require.NoError(s.T, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, "" // it hung up
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return res.StatusCode, string(body)
}

// sharedBackend remembers every path that reached it.
type sharedBackend struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newPathBackend(t *testing.T) *sharedBackend {
	b := &sharedBackend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b.mu.Lock()
		b.seen = append(b.seen, req.RequestURI)
		b.mu.Unlock()
		_, _ = io.WriteString(w, "the app")
	}))
	t.Cleanup(b.Close)
	return b
}

// privatePaths returns what reached the app and means its private part to one
// that reads a path as RFC 3986 has it: decoded once, dot segments removed.
func (b *sharedBackend) privatePaths() (private []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, uri := range b.seen {
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			continue
		}
		if p := path.Clean(u.Path); p == "/app/private" || strings.HasPrefix(p, "/app/private/") {
			private = append(private, uri)
		}
	}
	return private
}

func startPathSite(t *testing.T) (*served.Server, *sharedBackend) {
	b := newPathBackend(t)
	s := served.NewServer(t)
	s.Values["backend"] = strings.TrimPrefix(b.URL, "http://")
	for name, text := range map[string]string{"members/secret.txt": membersOnly, "open/page.txt": "for all"} {
		file := filepath.Join(s.Dir, "site", filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	s.Configure(pathSite)
	s.Start()
	return s, b
}

func TestPathTricks(t *testing.T) {
	t.Parallel()
	s, b := startPathSite(t)
	ada := s.Member("ada")
	require.Equal(t, membersOnly, ada.Get("/members/secret.txt").Text)
	require.Equal(t, "for all", s.Client().Get("/open/page.txt").Text)
	require.Equal(t, "the app", ada.Get("/app/private/x").Text)
	b.mu.Lock()
	b.seen = nil
	b.mu.Unlock()
	tried := 0
	for _, c := range []struct{ folder, file string }{{"members", "secret.txt"}, {"app/private", "secret"}} {
		for _, folder := range encodings(c.folder) {
			for _, spelling := range spellings {
				target := s.Fill(strings.ReplaceAll(spelling, "%%", "%"))
				target = strings.Replace(strings.Replace(target, "%s", folder, 1), "$", c.file, 1)
				status, body := raw(s, http.MethodGet, target)
				tried++
				require.NotContains(t, body, membersOnly, "%d %s", status, target)
			}
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "GETX"} {
		for _, header := range []string{"X-Y: z", "X-HTTP-Method-Override: GET", "Accept: text/html", "Range: bytes=0-99", "X-Original-URL: /members/secret.txt", "X-Rewrite-URL: /members/secret.txt", "X-Forwarded-Uri: /open/page.txt"} {
			for _, target := range []string{"/members/secret.txt", "/app/private/secret"} {
				_, body := raw(s, method, target, header)
				require.NotContains(t, body, membersOnly)
				tried++
			}
			_, body := raw(s, method, "/open/page.txt", header)
			require.NotContains(t, body, membersOnly, "a header must not choose another path")
		}
	}
	require.Empty(t, b.privatePaths(), "these reached the app")
	require.Greater(t, tried, 1000)
	require.Equal(t, membersOnly, ada.Get("/members/secret.txt").Text, "it stands")
}

// Identity and cookies from outside change nothing on the open part.
func TestGuardedAnswersAreNotShared(t *testing.T) {
	t.Parallel()
	s, _ := startPathSite(t)
	ada := s.Member("ada")
	stranger := s.Client()
	// What a shared cache may keep (RFC 9111, 3): neither private nor no-store.
	shared := func(a *served.Answer) bool {
		for _, part := range strings.Split(strings.Join(a.Header.Values("Cache-Control"), ","), ",") {
			if part = strings.TrimSpace(part); part == "private" || part == "no-store" {
				return false
			}
		}
		return true
	}
	for _, target := range []string{
		"/members/secret.txt", "/members/secret.txt?x=y.css", "/members/secret.txt/x.css", "/members/nothing.txt", "/members", "/members/", "/members/secret.txt%3fx.css",
		"/app/private/x", "/app/private/x.js", "/app/private/;x.css",
	} {
		for _, header := range []string{"", "Range: bytes=0-3", "If-None-Match: *", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Accept: " + served.BrowserAccept, "Accept-Encoding: gzip", "X-Http-Method-Override: HEAD", "Cache-Control: max-stale"} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				for _, who := range []*served.Client{ada, stranger} {
					c := *who
					c.Header = who.Header.Clone()
					if name, value, ok := strings.Cut(header, ": "); ok {
						c.Header.Set(name, value)
					}
					res := c.Do(method, target, nil)
					require.False(t, shared(res), "%s %s %s: %d %v", method, target, header, res.StatusCode, res.Header)
					if who == stranger {
						require.NotContains(t, res.Text, membersOnly)
						require.NotContains(t, res.Header.Get("Location"), "evil")
					}
				}
			}
		}
	}
}

// seen is what a browser without cookies gets.
type seen struct {
	status         int
	location, Text string
}

// visit asks as a browser does, without following anything.
func visit(s *served.Server, host, target string) seen {
	s.T.Helper()
	req, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, s.Base()+target, nil)
	require.NoError(s.T, err)
	if host != "" {
		req.Host = host
	}
	req.Header.Set("Accept", "text/html,*/*;q=0.8")
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(s.T, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(s.T, err)
	return seen{res.StatusCode, res.Header.Get("Location"), string(body)}
}

// placedSite is a site whose accounts, with [[base]] at the end of base_url, stand
// where [[registration]] is in the rest.
func placedSite(rest, base string) string {
	return served.Head + strings.ReplaceAll(rest, "[[registration]]", served.Accounts("http://127.0.0.1:[[port]]"+base))
}

var addressInPage = regexp.MustCompile(`(?:href|action)="(/[^"]*)"`)

// TestAccountsBelowAPrefix: what handle_path or a proxy takes off the path, and
// base_url has, is in every address that a browser is given.
func TestAccountsBelowAPrefix(t *testing.T) {
	for name, rest := range map[string]string{
		"handle_path":        "http://127.0.0.1:[[port]] {\n\thandle_path /app/* {\n\t\t[[registration]]\n\t\trequire_login /members/*\n\t\trespond inside\n\t}\n\trespond outside\n}\n",
		"uri strip_prefix":   "http://127.0.0.1:[[port]] {\n\turi strip_prefix /app\n\t[[registration]]\n\trequire_login /members/*\n\trespond inside\n}\n",
		"a rewrite after it": "http://127.0.0.1:[[port]] {\n\thandle_path /app/* {\n\t\ttry_files {path} /index.html\n\t\t[[registration]]\n\t\trequire_login /members/*\n\t\trespond inside\n\t}\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := served.Run(t, placedSite(rest, "/app"))
			page := visit(s, "", "/app/accounts/login/")
			require.Equal(t, http.StatusOK, page.status)
			for _, path := range []string{"/app/accounts/login/", "/app/accounts/register/", "/app/accounts/send-reset-password-link/", "/app/accounts/change-password/"} {
				for _, found := range addressInPage.FindAllStringSubmatch(visit(s, "", path).Text, -1) {
					require.True(t, strings.HasPrefix(found[1], "/app/"), found[1])
				}
			}
			style := regexp.MustCompile(`href="(/app/accounts/style\.css[^"]*)"`).FindStringSubmatch(page.Text)
			require.NotNil(t, style, page.Text)
			require.Equal(t, http.StatusOK, visit(s, "", style[1]).status)
			if name != "a rewrite after it" { // which leads /members/ to another file first
				require.Equal(t, "/app/accounts/login/?next=%2Fapp%2Fmembers%2Fx", visit(s, "", "/app/members/x").location)
			}
			require.Equal(t, "/app/accounts/profile/", visit(s, "", "/app/accounts/").location)
			require.Equal(t, "/app/accounts/login/?next=%2Fapp%2Faccounts%2Fprofile%2F", visit(s, "", "/app/accounts/profile/").location)
			c := served.NewClient(t, s.Base()+"/app", nil)
			c.Post(http.StatusCreated, "register", served.Newcomer("ada"))
			link := s.Mail("ada@example.org", 1).URL(t)
			require.Equal(t, "/app/accounts/verify-registration/", link.Path)
			require.Equal(t, http.StatusOK, visit(s, "", link.RequestURI()).status)
		})
	}
}

// TestAccountsBesideARewrite: the path before a rewrite counts, and letters in any case.
func TestAccountsBesideARewrite(t *testing.T) {
	s := served.Run(t, placedSite("http://127.0.0.1:[[port]] {\n\troot * [[dir]]/site\n\ttry_files {path} /index.html\n\t[[registration]]\n\tfile_server\n}\n", ""))
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "site"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "site", "index.html"), []byte("the single page"), 0o600))
	for _, path := range []string{"/accounts/login/", "/accounts/login", "/accounts/login?next=/x", "/Accounts/LOGIN/", "/ACCOUNTS/login"} {
		require.Contains(t, visit(s, "", path).Text, `name="password"`, path)
	}
	require.Equal(t, "/accounts/profile/", visit(s, "", "/accounts").location)
	require.Equal(t, http.StatusNotFound, visit(s, "", "/accounts/no-such-page").status)
	for _, path := range []string{"/", "/route/of/the/app", "/accountsx", "/x/accounts/login"} {
		require.Equal(t, "the single page", visit(s, "", path).Text, path)
	}
	s.Member("ada")
}

// follow goes where answers lead, as a browser that keeps no cookie does.
func follow(s *served.Server, host, target string) seen {
	s.T.Helper()
	for range 6 {
		got := visit(s, host, target)
		if got.location == "" {
			return got
		}
		u, err := url.Parse(got.location)
		require.NoError(s.T, err)
		if u.Host != "" {
			host = u.Host
		}
		target = u.RequestURI()
	}
	require.Fail(s.T, "redirects in circles", target)
	return seen{}
}

// TestGuardBeforeTheAccounts: a guard that stands before the accounts of its realm
// reaches them, and nothing else does anybody without a sign-in; where it can't
// reach them it says so instead of leading to itself.
func TestGuardBeforeTheAccounts(t *testing.T) {
	const signIn = `name="password"`
	for name, c := range map[string]struct {
		rest, page string
		told       bool
	}{
		"route":                 {"route {\n\t\trequire_login\n\t\t[[registration]]\n\t\treverse_proxy [[backend]]\n\t}", signIn, false},
		"handle":                {"handle /accounts/* {\n\t\t[[registration]]\n\t}\n\trequire_login\n\treverse_proxy [[backend]]", signIn, false},
		"handle, group":         {"handle /accounts/* {\n\t\t[[registration]]\n\t}\n\trequire_login {\n\t\tgroup staff\n\t}\n\treverse_proxy [[backend]]", signIn, false},
		"two guards, headers":   {"route {\n\t\trequire_login\n\t\theader X-A b\n\t\trequire_login {\n\t\t\tmax_age 1h\n\t\t}\n\t\tencode gzip\n\t\thandle {\n\t\t\t[[registration]]\n\t\t}\n\t\treverse_proxy [[backend]]\n\t}", signIn, false},
		"kept from the sign-in": {"route {\n\t\trequire_login\n\t\trespond /accounts/login/ closed 403\n\t\t[[registration]]\n\t}", "behind the very lock", true},
		"an app between":        {"route {\n\t\trequire_login\n\t\treverse_proxy [[backend]]\n\t\t[[registration]]\n\t}", "behind the very lock", true},
		"another method":        {"route {\n\t\trequire_login\n\t\t@post method POST\n\t\thandle @post {\n\t\t\t[[registration]]\n\t\t}\n\t\treverse_proxy [[backend]]\n\t}", "behind the very lock", true},
	} {
		t.Run(name, func(t *testing.T) {
			backend := newPathBackend(t)
			s := served.NewServer(t)
			s.Values["backend"] = backend.URL
			s.Configure(placedSite("http://127.0.0.1:[[port]] {\n\t"+c.rest+"\n}\n", ""))
			s.Start()
			mark := s.Log.Mark()
			require.Contains(t, follow(s, "", "/").Text, c.page)
			require.Contains(t, follow(s, "", "/accounts/login/").Text, c.page)
			if c.told {
				s.Logged(mark, "Caddyfile:", "stands before the accounts")
			} else {
				require.Equal(t, http.StatusNotFound, visit(s, "", "/accounts/no-such-page").status)
				require.Contains(t, visit(s, "", "/accounts/register/").Text, signIn)
			}
			for _, target := range []string{"/accounts", "/accounts/x", "/accounts/../x", "/Accounts/login", "/accounts%2flogin", "/accountsx/"} {
				for _, method := range []string{"GET", "POST", "PUT", "OPTIONS"} {
					_, body := raw(s, method, target)
					require.NotContains(t, body, "the app", target)
				}
			}
			backend.mu.Lock()
			defer backend.mu.Unlock()
			require.Empty(t, backend.seen)
		})
	}
}

// TestGuardThatSeesNoSignIn: a guard on a host to which browsers don't send the cookie
// is warned of with its line, and nobody goes round in a circle.
func TestGuardThatSeesNoSignIn(t *testing.T) {
	s := served.Run(t, placedSite("http://127.0.0.1:[[port]] {\n\t[[registration]]\n\trequire_login /members/*\n\trespond in\n}\nhttp://other.example:[[port]] {\n\trequire_login\n\trespond in\n}\n", ""))
	s.Logged(0, "Caddyfile:", "require_login guards other.example", "cookie_domain")
	got := visit(s, fmt.Sprintf("other.example:%d", s.Port), "/x")
	require.Equal(t, s.Base()+"/accounts/login/?elsewhere=1", got.location)
	ada := s.Member("ada")
	ada.Header.Set("Accept", served.BrowserAccept)
	res := ada.Get(strings.TrimPrefix(got.location, s.Base()))
	require.Equal(t, http.StatusOK, res.StatusCode, "it leads nowhere by itself")
	require.Contains(t, res.Text, "another address")
	require.Equal(t, http.StatusOK, ada.Get("/members/").StatusCode)
	require.NotContains(t, s.Log.Since(0), "guards 127.0.0.1")
}

// TestNextToAGuardedHost: with cookie_domain, a guard's own next to its host is
// followed at the sign-in, though no trusted_origins has it; another host's is not.
func TestNextToAGuardedHost(t *testing.T) {
	s := served.Run(t, `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://accounts.example.com:[[port]] {
	registration {
		throttle off
		base_url http://accounts.example.com:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		session {
			cookie_domain example.com
		}
	}
}
http://wiki.example.com:[[port]] {
	require_login
	respond in
}
`)
	host := fmt.Sprintf("wiki.example.com:%d", s.Port)
	to, err := url.Parse(visit(s, host, "/page").location)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("accounts.example.com:%d", s.Port), to.Host)
	require.Equal(t, "http://"+host+"/page", to.Query().Get("next"))
	require.Contains(t, visit(s, to.Host, to.RequestURI()).Text, `value="http://`+host+`/page"`)
	require.NotContains(t, visit(s, to.Host, "/accounts/login/?next=http%3A%2F%2Fevil.example%2F").Text, "evil.example")
	require.NotContains(t, s.Log.Since(0), "require_login guards")
}

// TestPlacesThatContradict: what is most likely wrong with where the accounts are is
// warned of with its line when the configuration loads.
func TestPlacesThatContradict(t *testing.T) {
	site := func(address, more, base string) string {
		return placedSite("http://"+address+":[[port]] {\n\t"+more+"\n}\n", base)
	}
	const plain, hint = "[[registration]]\n\trespond in", "Ignore this if a proxy"
	second := strings.Replace(placedSite("[[registration]]", ""), "registration {", "registration {\n\t\trealm other\n\t\tstore bbolt [[dir]]/other.db", 1)
	second = second[strings.Index(second, "registration"):]
	for name, c := range map[string]struct{ conf, warns string }{
		"all is well":    {site("127.0.0.1", plain, ""), ""},
		"another host":   {site("localhost", plain, ""), hint},
		"another port":   {strings.ReplaceAll(site("127.0.0.1", plain, ""), "base_url http://127.0.0.1:[[port]]", "base_url http://127.0.0.1"), hint},
		"another scheme": {strings.ReplaceAll(site("127.0.0.1", plain, ""), "base_url http://", "base_url https://"), hint},
		"a proxy that is named": {strings.Replace(strings.ReplaceAll(site("127.0.0.1", plain, ""), "base_url http://", "base_url https://"),
			"default_bind 127.0.0.1", "default_bind 127.0.0.1\n\tservers {\n\t\ttrusted_proxies static 10.0.0.0/8\n\t}", 1), ""},
		"two on one path":       {site("127.0.0.1", "[[registration]]\n\t"+second, ""), "is never reached"},
		"a prefix that is gone": {site("127.0.0.1", "handle_path /app/* {\n\t\t[[registration]]\n\t}", ""), "is taken off the path"},
		"a prefix that is kept": {site("127.0.0.1", "handle_path /app/* {\n\t\thandle_path /b/* {\n\t\t\t[[registration]]\n\t\t}\n\t}", "/app/b"), ""},
		"a named route":         {placedSite("&(accounts) {\n\t[[registration]]\n}\nhttp://127.0.0.1:[[port]] {\n\thandle_path /app/* {\n\t\tinvoke accounts\n\t}\n}\n", ""), "is taken off the path"},
	} {
		t.Run(name, func(t *testing.T) {
			s := served.Run(t, c.conf)
			if c.warns != "" {
				s.Logged(0, "Caddyfile:", c.warns)
				return
			}
			for _, warning := range []string{hint, "is never reached", "is taken off the path"} {
				require.NotContains(t, s.Log.Since(0), warning)
			}
		})
	}
}

// TestGuardOnAnotherPort: cookies don't tell ports apart, so the sign-in of one site
// lets people in at another port of its host, and leads back there.
func TestGuardOnAnotherPort(t *testing.T) {
	s := served.NewServer(t)
	s.Values["other"] = fmt.Sprint(served.FreePort(t))
	s.Configure(placedSite("http://127.0.0.1:[[port]] {\n\t[[registration]]\n\trespond in\n}\nhttp://127.0.0.1:[[other]] {\n\trequire_login\n\trespond guarded\n}\n", ""))
	s.Start()
	other := "http://127.0.0.1:" + s.Values["other"]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, other+"/page", nil)
	require.NoError(t, err)
	req.Header.Set("Accept", served.BrowserAccept)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, s.Base()+"/accounts/login/?next="+url.QueryEscape(other+"/page"), res.Header.Get("Location"))
	ada := s.Member("ada")
	ada.Header.Set("Accept", served.BrowserAccept)
	require.Equal(t, other+"/page", ada.Get("/accounts/login/?next="+url.QueryEscape(other+"/page")).Header.Get("Location"))
}

// TestCircleThroughTwoRealms: a guard whose login_url is the page of another realm
// never sees its sign-in; a browser that is signed in there goes round no more than
// people notice.
func TestCircleThroughTwoRealms(t *testing.T) {
	second := strings.Replace(placedSite("[[registration]]", ""), "registration {", "registration /b {\n\t\trealm b\n\t\tstore bbolt [[dir]]/b.db\n\t\tsession {\n\t\t\tcookie_name b\n\t\t}", 1)
	second = second[strings.Index(second, "registration"):]
	s := served.Run(t, placedSite("http://127.0.0.1:[[port]] {\n\t[[registration]]\n\t"+second+"\n\trequire_login /members/* {\n\t\trealm b\n\t\tlogin_url /accounts/login/\n\t}\n\trespond in\n}\n", ""))
	ada := s.Member("ada")
	ada.Header.Set("Accept", served.BrowserAccept)
	target := "/members/x"
	for hop := 0; ; hop++ {
		require.Less(t, hop, 10, "redirects in circles")
		res := ada.Get(target)
		if res.StatusCode != http.StatusFound {
			require.Equal(t, http.StatusOK, res.StatusCode)
			require.Contains(t, res.Text, "see it")
			break
		}
		target = res.Header.Get("Location")
	}
	s.Logged(0, "again and again")
}
