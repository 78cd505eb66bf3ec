// guard_test.go: whom the guard leads to the sign-in and whom it refuses, what the
// app behind it sees of a request, and what a browser forgets after a sign-out.

package registration

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// set is a browser that sends these headers besides.
func (b *browser) set(namesAndValues ...string) *browser {
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		b.header.Set(namesAndValues[i], namesAndValues[i+1])
	}
	return b
}

func TestFetchMetadataFirst(t *testing.T) {
	s := newSite(t)
	const html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for name, c := range map[string]struct {
		method string
		header []string
		want   int
	}{
		"navigation":                    {"GET", []string{"Accept", html, "Sec-Fetch-Mode", "navigate"}, 302},
		"navigation takes anything":     {"GET", []string{"Accept", "*/*", "Sec-Fetch-Mode", "navigate"}, 302},
		"navigation without Accept":     {"GET", []string{"Sec-Fetch-Mode", "navigate"}, 302},
		"HEAD":                          {"HEAD", []string{"Accept", "*/*", "Sec-Fetch-Mode", "navigate"}, 302},
		"a form that posts":             {"POST", []string{"Accept", html, "Sec-Fetch-Mode", "navigate"}, 401},
		"fetch that accepts HTML":       {"GET", []string{"Accept", html, "Sec-Fetch-Mode", "cors"}, 401},
		"fetch of the same origin":      {"GET", []string{"Accept", html, "Sec-Fetch-Mode", "same-origin"}, 401},
		"image":                         {"GET", []string{"Accept", "image/*", "Sec-Fetch-Mode", "no-cors"}, 401},
		"WebSocket":                     {"GET", []string{"Accept", html, "Sec-Fetch-Mode", "websocket"}, 401},
		"plain HTTP":                    {"GET", []string{"Accept", html}, 302},
		"plain HTTP, a script's":        {"GET", []string{"Accept", html, "X-Requested-With", "XMLHttpRequest"}, 401},
		"navigation, X-Requested-With":  {"GET", []string{"Accept", html, "Sec-Fetch-Mode", "navigate", "X-Requested-With", "com.example.webview"}, 302},
		"plain HTTP, takes anything":    {"GET", []string{"Accept", "*/*"}, 401},
		"an unknown mode is no browser": {"GET", []string{"Accept", html, "Sec-Fetch-Mode", "x"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			res := s.browser().set(c.header...).do(c.method, "/members/", nil)
			require.Equal(t, c.want, res.StatusCode)
		})
	}
	form := url.Values{"login": {"nobody"}, "password": {"wrong"}}
	for accept, isPage := range map[string]bool{html: true, "*/*": true, "": true, "application/json": false, "application/json, text/html;q=0.1": false} {
		res := s.browser().set("Accept", accept, "Sec-Fetch-Mode", "navigate").post("/accounts/login/", form)
		require.Equal(t, isPage, res.Header.Get("Content-Security-Policy") != "", "a form's answer for %q", accept)
	}
	res := s.browser().set("Accept", "*/*", "Sec-Fetch-Mode", "cors").post("/accounts/login/", form)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
}

// Monitors and curl take anything: where an endpoint has a page and no other answer to
// a GET, that is the one.
func TestPagesForWhoTakesAnything(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]int{"login": 200, "register": 200, "send-reset-password-link": 200, "resend-verification": 200, "logout": 200, "profile": 401, "refresh-token": 404, "revoke-session": 405} {
		for _, method := range []string{"GET", "HEAD"} {
			res := s.browser().set("Accept", "*/*").do(method, "/accounts/"+path+"/", nil)
			if path == "profile" && method == "HEAD" {
				continue // as without a page
			}
			require.Equal(t, want, res.StatusCode, "%s %s", method, path)
		}
	}
	for name, header := range map[string][]string{
		"a script":       {"Accept", "*/*", "Sec-Fetch-Mode", "cors"},
		"an old script":  {"Accept", "*/*", "X-Requested-With", "XMLHttpRequest"},
		"wants JSON":     {"Accept", "application/json, */*;q=0.5"},
		"wants no HTML":  {"Accept", "*/*, text/html;q=0"},
		"says nothing":   {},
		"wants problems": {"Accept", "application/problem+json, */*"},
	} {
		res := s.browser().set(header...).get("/accounts/login/")
		require.Equal(t, 405, res.StatusCode, name)
		require.NotEmpty(t, res.Header.Get("Allow"))
	}
}

// However a session ends in a browser, that browser drops its copies of the pages.
func TestPagesAreForgottenWithTheSession(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	s.member("eve")
	forgets := func(res *answer) bool { return res.Header.Get("Clear-Site-Data") == `"cache"` }
	for name, end := range map[string]func(b *browser) *answer{
		"signs out":        func(b *browser) *answer { return b.post("/accounts/logout", data{}) },
		"and has no token": func(b *browser) *answer { return b.post("/accounts/logout", data{"revoke_token": true}) },
		"signs out on the page": func(b *browser) *answer {
			return b.likeBrowser().post("/accounts/logout/", url.Values{})
		},
		"ends this session": func(b *browser) *answer {
			var list []data
			require.NoError(t, json.Unmarshal([]byte(b.get("/accounts/sessions").body), &list))
			for _, one := range list {
				if one["current"] == true {
					return b.post("/accounts/revoke-session", data{"id": one["id"]})
				}
			}
			return nil
		},
		"signs in as another": func(b *browser) *answer {
			return b.post("/accounts/login", data{"login": "eve", "password": testPassword})
		},
		"resets the password": func(b *browser) *answer {
			require.Equal(t, 200, b.post("/accounts/send-reset-password-link", data{"login": "ada"}).StatusCode)
			return b.post("/accounts/reset-password", with(linkOf(s.mail(), t), data{"password": testPassword}))
		},
		"comes back too late": func(b *browser) *answer {
			s.travel(30 * 24 * time.Hour)
			return b.likeBrowser().get("/accounts/login/")
		},
		"was ended elsewhere, and signs in": func(b *browser) *answer {
			require.Equal(t, 200, s.signedIn("ada").post("/accounts/revoke-session", data{"others": true}).StatusCode)
			return b.post("/accounts/login", data{"login": "ada", "password": testPassword})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.signedIn("ada")
			res := end(b)
			require.Less(t, res.StatusCode, 401, res.body)
			require.True(t, forgets(res), res.Header)
		})
	}
	b := s.browser()
	require.False(t, forgets(b.likeBrowser().get("/accounts/login/")))
	require.False(t, forgets(b.post("/accounts/login", data{"login": "ada", "password": testPassword})))
	require.False(t, forgets(b.get("/accounts/profile/")))
	require.False(t, forgets(b.post("/accounts/login", data{"login": "ada", "password": "wrong"})))
	require.False(t, forgets(b.post("/accounts/change-password", data{"old_password": testPassword, "password": "another passphrase", "password_confirm": "another passphrase"})))
	require.Equal(t, protectedPage, b.get("/members/").body)
}

func TestPagesSetTheirReferrerPolicyThemselves(t *testing.T) {
	res := newSite(t).browser().likeBrowser().get("/accounts/login/")
	require.Contains(t, res.body, `<meta name="referrer" content="strict-origin">`)
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// behind asks for a guarded page with a raw Cookie header and shows what the app gets.
func (s *site) behind(t *testing.T, guards int, header http.Header) (status int, seen http.Header) {
	t.Helper()
	app := caddyhttp.Handler(caddyhttp.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) error {
		seen = req.Header.Clone()
		return nil
	}))
	for range guards {
		next := app
		app = caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error { return s.guard.ServeHTTP(w, req, next) })
	}
	req := httptest.NewRequest(http.MethodGet, "http://example.com/members/", nil)
	req.Header = header
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	rec := httptest.NewRecorder()
	require.NoError(t, app.ServeHTTP(rec, req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))))
	return rec.Code, seen
}

func TestAppGetsNoCredentials(t *testing.T) {
	s := newSite(t, func(c *Settings) { c.Login.Token = on() })
	s.member("ada")
	b := s.signedIn("ada")
	cookie := b.cookie["registration"]
	token, _ := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)["token"].(string)
	require.NotEmpty(t, token)
	for name, c := range map[string]struct {
		sent, want []string
	}{
		"alone":                   {[]string{"registration=" + cookie}, nil},
		"first":                   {[]string{"registration=" + cookie + "; theme=dark; lang=en"}, []string{"theme=dark; lang=en"}},
		"in the middle":           {[]string{"theme=dark; registration=" + cookie + "; lang=en"}, []string{"theme=dark; lang=en"}},
		"last":                    {[]string{"theme=dark; registration=" + cookie}, []string{"theme=dark"}},
		"all of ours":             {[]string{"registration=" + cookie + "; registration_device=x; a=b; registration_flash=y; registration_signup=z; c=d; registration_link=; __Host-registration=old; __Host-registration_device=q"}, []string{"a=b; c=d"}},
		"several headers":         {[]string{"a=b", "registration=" + cookie, "c=d; registration_device=x"}, []string{"a=b", "c=d"}},
		"twice":                   {[]string{"registration=" + cookie + "; a=b; registration=" + cookie}, []string{"a=b"}},
		"quoted":                  {[]string{`a="b c"; registration="` + cookie + `"; d="e"`}, []string{`a="b c"; d="e"`}},
		"blanks":                  {[]string{"a=b ;\tregistration = " + cookie + " ;c = d"}, []string{"a=b ;c = d"}},
		"bytes of the app's":      {[]string{"a=%7B;b==;;c; registration=" + cookie + ";d=\"x\\\"; e=\xff ; a=again"}, []string{"a=%7B;b==;;c;d=\"x\\\"; e=\xff ; a=again"}},
		"similar names":           {[]string{"registration2=a; registration=" + cookie + "; Registration=b; registration_devices=c; my_registration=d; registration_theme=e"}, []string{"registration2=a; Registration=b; registration_devices=c; my_registration=d; registration_theme=e"}},
		"nothing but blanks left": {[]string{"registration=" + cookie + "; ", "a=b"}, []string{"a=b"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, guards := range []int{1, 2} {
				sent := slices.Clone(c.sent)
				status, seen := s.behind(t, guards, http.Header{"Cookie": c.sent})
				require.Equal(t, 200, status)
				require.Equal(t, c.want, seen["Cookie"])
				require.Equal(t, sent, c.sent, "others may hold the slice")
			}
			s.guard.KeepCredentials = true
			_, seen := s.behind(t, 2, http.Header{"Cookie": c.sent})
			require.Equal(t, c.sent, seen["Cookie"])
			s.guard.KeepCredentials = false
		})
	}
	for _, scheme := range []string{"Token ", "Bearer ", "bearer "} {
		_, seen := s.behind(t, 2, http.Header{"Authorization": {scheme + token}, "Cookie": {"a=b; registration=" + cookie}})
		require.Equal(t, http.Header{"Cookie": {"a=b"}}, seen)
	}
	_, seen := s.behind(t, 1, http.Header{"Authorization": {"Basic YTpi"}, "Cookie": {"registration=" + cookie}})
	require.Equal(t, http.Header{"Authorization": {"Basic YTpi"}}, seen, "the app's own")
	_, seen = s.behind(t, 1, http.Header{"Authorization": {"Bearer of-the-app"}, "Cookie": {"registration=" + cookie}})
	require.Equal(t, http.Header{"Authorization": {"Bearer of-the-app"}}, seen, "the app's own")
	status, seen := s.behind(t, 1, http.Header{"Cookie": {"registration=x"}})
	require.Equal(t, 401, status)
	require.Nil(t, seen)

	line := strings.Repeat("registration=;", 1<<16) + "registration=" + cookie // no more than its length in time
	_, seen = s.behind(t, 1, http.Header{"Cookie": {line}})
	require.Empty(t, seen)
}

func TestAccessTokenStays(t *testing.T) {
	s := newSite(t, func(c *Settings) { c.Login.Token, c.Login.JWT = on(), &JWTSettings{} })
	s.member("ada")
	token, _ := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)["token"].(string)
	require.Contains(t, token, ".")
	_, seen := s.behind(t, 2, http.Header{"Authorization": {"Bearer " + token}})
	require.Equal(t, http.Header{"Authorization": {"Bearer " + token}}, seen)
}

// What stands behind a guard knows whom that has found: endpoints with all that a
// browser sent to them, the check of the origin among it.
func TestEndpointsBehindAGuard(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	ask := func(method, path, cookie string, header ...string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, "http://example.com/accounts/"+path, strings.NewReader("{}"))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Cookie", "a=b; registration="+cookie)
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
		req = req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "192.0.2.1"}))
		rec := httptest.NewRecorder()
		require.NoError(t, s.guard.ServeHTTP(rec, req, caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
			p := &Provider{}
			p.app, p.name = s.app, "default"
			u, ok, err := p.Authenticate(w, req)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "ada", u.Metadata["username"])
			return s.handler.ServeHTTP(w, req, nil)
		})))
		return rec
	}
	cookie := s.signedIn("ada").cookie["registration"]
	require.Equal(t, 200, ask("GET", "profile", cookie).Code)
	require.Equal(t, 403, ask("POST", "logout", cookie, "Origin", "https://evil.example").Code, "a foreign page that posts with the cookie")
	res := ask("POST", "logout", cookie)
	require.Equal(t, 200, res.Code)
	require.Contains(t, res.Header().Get("Set-Cookie"), "registration=;")
	require.Equal(t, 401, ask("GET", "profile", cookie).Code)
}
