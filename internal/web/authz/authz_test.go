package authz_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	forward = "/accounts/authz/forward-auth"
	nginx   = "/accounts/authz/auth-request"
)

func asked(s *registration.Settings) {
	s.Authz.On, s.Authz.LegacyPaths = true, true
	s.Session.CookieDomain = "example.com"
	s.TrustedOrigins = []string{"https://trusted.example.net"}
}

// about has a proxy ask about a request.
func about(b *sitetest.Browser, method, proto, host, uri string) *sitetest.Browser {
	b.Proxy = true
	b.Header.Set("X-Forwarded-Method", method)
	b.Header.Set("X-Forwarded-Proto", proto)
	b.Header.Set("X-Forwarded-Host", host)
	b.Header.Set("X-Forwarded-Uri", uri)
	b.Header.Set("X-Original-Method", method)
	b.Header.Set("X-Original-Url", proto+"://"+host+uri)
	return b
}

const loginPage = "http://example.com/accounts/login/"

func to(page, next string) string { return page + "?next=" + url.QueryEscape(next) }

func TestWhoIsSignedIn(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, asked)
	id := s.Member("ada")
	for _, path := range []string{forward, nginx, "/api/authz/forward-auth", "/api/authz/auth-request/"} {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS", "PROPFIND"} {
			b := about(s.SignedIn("ada"), method, "http", "app.example.com", "/x")
			b.Header.Set("Origin", "https://evil.example")
			b.Header.Set("Remote-Groups", "admins")
			res := b.Get(path)
			require.Equal(t, http.StatusOK, res.StatusCode, path+method)
			require.Equal(t, []string{"ada"}, res.Header["Remote-User"])
			require.Equal(t, []string{id}, res.Header["Remote-Id"])
			require.Equal(t, []string{"ada@example.org"}, res.Header["Remote-Email"])
			require.Equal(t, []string{""}, res.Header["Remote-Name"])
			require.Equal(t, []string{""}, res.Header["Remote-Groups"])
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			require.Empty(t, res.Text)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW"} { // some servers ask by the method of their visitor
		req := httptest.NewRequest(method, "http://example.com"+forward, strings.NewReader("{"))
		req.Header.Set("Origin", "https://evil.example")
		req.AddCookie(&http.Cookie{Name: sitetest.SessionCookie, Value: s.SignedIn("ada").Cookie[sitetest.SessionCookie]})
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req.WithContext(context.WithValue(req.Context(), caddyhttp.VarsCtxKey, map[string]any{})))
		require.Equal(t, http.StatusOK, rec.Code, method)
		require.Equal(t, "ada", rec.Header().Get("Remote-User"))
	}
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Get(forward).StatusCode, "without a word of what for")
	require.Equal(t, http.StatusOK, s.Browser().Get("/api/authz/other").StatusCode, "the site's own")
	off := sitetest.New(t)
	require.Equal(t, http.StatusNotFound, off.Browser().Get(forward).StatusCode)
	require.Equal(t, sitetest.ProtectedPage, off.Browser().Get("/api/authz/forward-auth").Text)
}

func TestWhoIsNot(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, asked)
	next := "http://app.example.com/x?a=b"
	ask := func(method string) *sitetest.Browser {
		return about(s.Browser(), method, "http", "app.example.com", "/x?a=b")
	}
	res := ask("GET").LikeBrowser().Get(forward)
	require.Equal(t, http.StatusFound, res.StatusCode)
	require.Equal(t, to(loginPage, next), res.Header.Get("Location"))
	require.Equal(t, http.StatusOK, s.Browser().LikeBrowser().Get("/accounts/login/?next="+url.QueryEscape(next)).StatusCode)
	res = ask("POST").LikeBrowser().Get(forward)
	require.Equal(t, http.StatusSeeOther, res.StatusCode, "a form")
	res = ask("GET").LikeBrowser().Get(nginx)
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Equal(t, to(loginPage, next), res.Header.Get("Location"))
	for _, path := range []string{forward, nginx} {
		res = ask("GET").Get(path)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.Empty(t, res.Header.Get("Location"))
		require.Equal(t, []string{`Bearer realm="default", Token realm="default", Basic realm="default", charset="UTF-8"`}, res.Header["Www-Authenticate"])
		b := ask("GET").LikeBrowser()
		b.Header.Set("Sec-Fetch-Mode", "cors")
		require.Len(t, b.Get(path).Header["Www-Authenticate"], 1, "a browser would ask for a password")
	}
}

func TestGroupsAndStepUp(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, asked)
	id := s.Member("ada")
	s.Set(id, func(u *store.User) { u.Groups = []string{"staff"} })
	ask := func() *sitetest.Browser {
		return about(s.SignedIn("ada"), "GET", "http", "app.example.com", "/x")
	}
	require.Equal(t, "staff", ask().Get(forward+"?group=admins&group=staff").Header.Get("Remote-Groups"))
	require.Equal(t, http.StatusForbidden, ask().Get(forward+"?group=admins").StatusCode)
	res := ask().LikeBrowser().Get(forward + "?group=admins&factors=2")
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Contains(t, res.Text, `href="http://example.com/accounts/logout/?next=http%3A%2F%2Fapp.example.com%2Fx"`)
	require.Empty(t, res.Header.Get("Location"))
	res = ask().LikeBrowser().Get(nginx + "?group=admins")
	require.Equal(t, to("http://example.com/accounts/logout/", "http://app.example.com/x"), res.Header.Get("Location"))

	res = ask().LikeBrowser().Get(forward + "?factors=2&max_age=1h&max_age=600")
	require.Equal(t, "http://example.com/accounts/step-up/?max_age=600&factors=2&next=http%3A%2F%2Fapp.example.com%2Fx", res.Header.Get("Location"))
	res = ask().Get(nginx + "?factors=2&max_age=10m")
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Equal(t, `Bearer realm="default", error="insufficient_user_authentication", acr_values="mfa", max_age="600"`, res.Header["Www-Authenticate"][0])
	b := ask()
	require.Equal(t, http.StatusOK, b.Get(forward+"?max_age=10m").StatusCode)
	s.Travel(10 * time.Minute)
	require.Equal(t, http.StatusUnauthorized, b.Get(forward+"?max_age=10m").StatusCode)
	require.Equal(t, http.StatusOK, b.Get(forward+"?max_age=11m&factors=1&authelia_url=https%3A%2F%2Fx").StatusCode)
}

func TestSlipsInTheAddress(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, asked)
	s.Member("ada")
	for _, query := range []string{"groups=staff", "group=", "group=a,b", "max_age=0", "max_age=-1", "max_age=x", "max_age=1ms", "max_age=99999999999999", "factors=3", "factors=0", "factors=x", "a;b", "%zz"} {
		b := about(s.SignedIn("ada"), "GET", "http", "app.example.com", "/x")
		res := b.Get(forward + "?" + query)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, query)
		require.Contains(t, res.Text, "Its query can’t be read", query)
	}
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("can't be understood").Len())
	// Caddy appends the visitor's query where the address has no question mark.
	for query, want := range map[string]int{"a=b&c": http.StatusOK, "a;b": http.StatusOK, "a=b&group=staff": http.StatusForbidden, "factors=2&x": http.StatusUnauthorized} {
		require.Equal(t, want, about(s.SignedIn("ada"), "GET", "http", "app.example.com", "/x?"+query).Get(forward+"?"+query).StatusCode, query)
	}
}

func TestTokensOfPrograms(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, asked)
	s.Member("ada")
	create := func(path string) string {
		body := sitetest.Data{"name": "Calendar"}
		if path != "" {
			body["path"] = path
		}
		res := s.SignedIn("ada").Post("/accounts/create-token", body)
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		return res.JSON(t)["token"].(string)
	}
	all, limited := create(""), create("/dav")
	with := func(path, authorization, uri string) *sitetest.Browser {
		b := about(s.Browser(), "PROPFIND", "http", "app.example.com", uri)
		b.Header.Set("Authorization", authorization)
		if path == forward { // the client's own, which some apps follow
			b.Header.Del("X-Original-Url")
		}
		return b
	}
	basic := func(name, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
	for _, path := range []string{forward, nginx} {
		for _, good := range []string{"Bearer " + all, "Token " + all, basic("ada", all), "Bearer " + limited, basic("ada@example.org", limited)} {
			require.Equal(t, "ada", with(path, good, "/dav/x?y").Get(path).Header.Get("Remote-User"), good)
			require.Equal(t, http.StatusUnauthorized, with(path, good, "/dav/x").Get(path+"?max_age=10000h").StatusCode, "it shows nothing")
			require.Equal(t, http.StatusUnauthorized, with(path, good, "/dav/x").Get(path+"?factors=2").StatusCode)
		}
		for _, uri := range []string{"/", "/dave", "/dav/../admin", "/dav/%2e%2e/admin", "/dav%2fx", "//", "*", "http://app.example.com/dav/x", "/dav/..;/x", "", "/dav/x, /admin", "/dav/%"} {
			require.Equal(t, http.StatusForbidden, with(path, "Bearer "+limited, uri).Get(path).StatusCode, uri)
			require.Equal(t, http.StatusOK, with(path, "Bearer "+all, uri).Get(path).StatusCode, uri)
		}
		require.Equal(t, http.StatusUnauthorized, with(path, basic("eve", all), "/dav/x").Get(path).StatusCode)
		require.Equal(t, http.StatusUnauthorized, with(path, basic("ada", sitetest.Password), "/dav/x").Get(path).StatusCode, "no password")
		untrusted := with(path, "Bearer "+limited, "/dav/x")
		untrusted.Proxy = false
		require.Equal(t, http.StatusForbidden, untrusted.Get(path).StatusCode, "nobody knows where it goes")
		twice := with(path, "Bearer "+limited, "/dav/x")
		twice.Header["X-Original-Url"] = append(twice.Header["X-Original-Url"], "http://app.example.com/dav/y")
		twice.Header["X-Forwarded-Uri"] = append(twice.Header["X-Forwarded-Uri"], "/dav/y")
		require.Equal(t, http.StatusForbidden, twice.Get(path).StatusCode)
		elsewhere := with(path, "Bearer "+limited, "/dav/x")
		elsewhere.Header.Set("X-Rewrite-Url", "/admin")
		require.Equal(t, http.StatusForbidden, elsewhere.Get(path).StatusCode)
	}
}

// Nobody is sent anywhere but to the sign-in page, and nobody comes back from there to a
// host that is not the owner's.
func TestHardeningForwardedAddress(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, asked)
	location := func(path string, change func(*sitetest.Browser), proto, host, uri string) (int, string) {
		b := about(s.Browser(), "GET", proto, host, uri).LikeBrowser()
		if change != nil {
			change(b)
		}
		res := b.Get(path)
		return res.StatusCode, res.Header.Get("Location")
	}
	for name, c := range map[string][3]string{
		"another host": {"http", "evil.example", "/"}, "behind the domain": {"http", "app.example.com.evil.example", "/"}, "before it": {"http", "evilexample.com", "/"}, "a dot": {"http", ".example.com", "/"},
		"an account": {"http", "app.example.com@evil.example", "/"}, "an account before": {"http", "evil.example@app.example.com", "/"}, "a fragment": {"http", "evil.example#.example.com", "/"},
		"a path": {"http", "evil.example/.example.com", "/"}, "a backslash": {"http", `evil.example\.example.com`, "/"}, "two hosts": {"http", "app.example.com, evil.example", "/"},
		"encoded": {"http", "evil.example%2f.example.com", "/"}, "wide": {"http", "evil.example\uff0f.example.com", "/"}, "a line": {"http", "app.example.com\r\nX: y", "/"}, "no host": {"http", "", "/"},
		"a script": {"javascript", "app.example.com", "/"}, "two schemes": {"https,http", "app.example.com", "/"}, "no scheme": {"", "app.example.com", "/"}, "trusted, but plain": {"http", "trusted.example.net", "/"},
		"a whole address": {"http", "app.example.com", "http://evil.example/"}, "an asterisk": {"http", "app.example.com", "*"}, "no address": {"http", "app.example.com", ""}, "a space": {"http", "app.example.com", "/x HTTP/1.1"}, "a port that is none": {"http", "app.example.com:x", "/"},
	} {
		for _, path := range []string{forward, nginx} {
			status, to := location(path, nil, c[0], c[1], c[2])
			require.Equal(t, http.StatusUnauthorized, status, name)
			require.Empty(t, to, name)
		}
	}
	for _, c := range [][4]string{
		{"http", "app.example.com", "//evil.example/", "http://app.example.com//evil.example/"}, {"https", "APP.example.com:8443", "/", "https://APP.example.com:8443/"}, {"http", "example.com", `/\evil.example`, "http://example.com/%5Cevil.example"},
		{"http", "a.b.example.com", "/%0d%0aX:%20y", "http://a.b.example.com/%0d%0aX:%20y"}, {"https", "trusted.example.net", "/?next=//evil.example", "https://trusted.example.net/?next=//evil.example"}, {"http", "app.example.com", "/b\u00fcro", "http://app.example.com/b%C3%BCro"},
	} {
		for _, path := range []string{forward, nginx} {
			_, got := location(path, nil, c[0], c[1], c[2])
			require.Equal(t, to(loginPage, c[3]), got)
		}
	}
	_, got := location(forward, nil, "http", "app.example.com", "/"+strings.Repeat("a", 9000))
	require.Equal(t, loginPage, got, "too long to come back to")
	for name, change := range map[string]func(*sitetest.Browser){
		"no trusted proxy": func(b *sitetest.Browser) { b.Proxy = false },
		"several values": func(b *sitetest.Browser) {
			for _, header := range []string{"X-Forwarded-Host", "X-Original-Url"} {
				b.Header[header] = append(b.Header[header], b.Header[header]...)
			}
		},
		"none": func(b *sitetest.Browser) { b.Header.Del("X-Forwarded-Proto"); b.Header.Del("X-Original-Url") },
		"a websocket": func(b *sitetest.Browser) {
			b.Header.Set("Sec-Fetch-Mode", "websocket")
			b.Header.Set("Connection", "Upgrade")
			b.Header.Set("Upgrade", "websocket")
		},
	} {
		for _, path := range []string{forward, nginx} {
			status, to := location(path, change, "http", "app.example.com", "/x")
			require.Equal(t, http.StatusUnauthorized, status, name)
			require.Empty(t, to, name)
		}
	}
	require.Equal(t, 2, s.Logs.FilterMessageSnippet("is no trusted proxy").Len(), "once for each")
	// The one doesn't read what the other is told.
	status, _ := location(forward, func(b *sitetest.Browser) { b.Header.Del("X-Forwarded-Uri") }, "http", "app.example.com", "/x")
	require.Equal(t, http.StatusUnauthorized, status)
	status, got = location(forward, func(b *sitetest.Browser) { b.Header.Set("X-Http-Method-Override", "POST") }, "http", "app.example.com", "/x")
	require.Equal(t, http.StatusFound, status, got)
	// The sign-in page itself, behind the server that asks.
	status, got = location(forward, nil, "http", "example.com", "/accounts/login/")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Empty(t, got)
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("asks for the sign-in page too").Len())
}

// Hosts of the cookie's domain are no targets where no server of theirs asks.
func TestNextWithoutAuthz(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Session.CookieDomain = "example.com" })
	require.Empty(t, s.Realm.Origins.SafeNext("http://app.example.com/"))
	s = sitetest.New(t, asked, func(s *registration.Settings) { s.BaseURL = "https://example.com" })
	require.Equal(t, "https://app.example.com/", s.Realm.Origins.SafeNext("https://app.example.com/"))
	require.Empty(t, s.Realm.Origins.SafeNext("http://app.example.com/"))
	require.Contains(t, s.Browser().LikeBrowser().Get("/accounts/login/").Header.Get("Content-Security-Policy"), "https://example.com:* https://*.example.com:*")
}
