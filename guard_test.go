// guard_test.go: whom the guard leads to the sign-in and whom it refuses, what the
// app behind it sees of a request, and what a browser forgets after a sign-out.

package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
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

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestFetchMetadataFirst(t *testing.T) {
	s := sitetest.New(t)
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
			res := s.Browser().Set(c.header...).Do(c.method, "/members/", nil)
			require.Equal(t, c.want, res.StatusCode)
		})
	}
	form := url.Values{"login": {"nobody"}, "password": {"wrong"}}
	for accept, isPage := range map[string]bool{html: true, "*/*": true, "": true, "application/json": false, "application/json, text/html;q=0.1": false} {
		res := s.Browser().Set("Accept", accept, "Sec-Fetch-Mode", "navigate").Post("/accounts/login/", form)
		require.Equal(t, isPage, res.Header.Get("Content-Security-Policy") != "", "a form's answer for %q", accept)
	}
	res := s.Browser().Set("Accept", "*/*", "Sec-Fetch-Mode", "cors").Post("/accounts/login/", form)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
}

// Monitors and curl take anything: where an endpoint has a page and no other answer to
// a GET, that is the one.
func TestPagesForWhoTakesAnything(t *testing.T) {
	s := sitetest.New(t)
	for path, want := range map[string]int{"login": 200, "register": 200, "send-reset-password-link": 200, "resend-verification": 200, "logout": 200, "profile": 401, "refresh-token": 404, "revoke-session": 405} {
		for _, method := range []string{"GET", "HEAD"} {
			res := s.Browser().Set("Accept", "*/*").Do(method, "/accounts/"+path+"/", nil)
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
		res := s.Browser().Set(header...).Get("/accounts/login/")
		require.Equal(t, 405, res.StatusCode, name)
		require.NotEmpty(t, res.Header.Get("Allow"))
	}
}

// However a session ends in a browser, that browser drops its copies of the pages.
func TestPagesAreForgottenWithTheSession(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("eve")
	forgets := func(res *sitetest.Answer) bool { return res.Header.Get("Clear-Site-Data") == `"cache"` }
	for name, end := range map[string]func(b *sitetest.Browser) *sitetest.Answer{
		"signs out": func(b *sitetest.Browser) *sitetest.Answer { return b.Post("/accounts/logout", sitetest.Data{}) },
		"and has no token": func(b *sitetest.Browser) *sitetest.Answer {
			return b.Post("/accounts/logout", sitetest.Data{"revoke_token": true})
		},
		"signs out on the page": func(b *sitetest.Browser) *sitetest.Answer {
			return b.LikeBrowser().Post("/accounts/logout/", url.Values{})
		},
		"ends this session": func(b *sitetest.Browser) *sitetest.Answer {
			var list []sitetest.Data
			require.NoError(t, json.Unmarshal([]byte(b.Get("/accounts/sessions").Text), &list))
			for _, one := range list {
				if one["current"] == true {
					return b.Post("/accounts/revoke-session", sitetest.Data{"id": one["id"]})
				}
			}
			return nil
		},
		"signs in as another": func(b *sitetest.Browser) *sitetest.Answer {
			return b.Post("/accounts/login", sitetest.Data{"login": "eve", "password": sitetest.Password})
		},
		"resets the password": func(b *sitetest.Browser) *sitetest.Answer {
			require.Equal(t, 200, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
			return b.Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.Password}))
		},
		"comes back too late": func(b *sitetest.Browser) *sitetest.Answer {
			s.Travel(30 * 24 * time.Hour)
			return b.LikeBrowser().Get("/accounts/login/")
		},
		"was ended elsewhere, and signs in": func(b *sitetest.Browser) *sitetest.Answer {
			require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
			return b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.SignedIn("ada")
			res := end(b)
			require.Less(t, res.StatusCode, 401, res.Text)
			require.True(t, forgets(res), res.Header)
		})
	}
	b := s.Browser()
	require.False(t, forgets(b.LikeBrowser().Get("/accounts/login/")))
	require.False(t, forgets(b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})))
	require.False(t, forgets(b.Get("/accounts/profile/")))
	require.False(t, forgets(b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong"})))
	require.False(t, forgets(b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": "another passphrase", "password_confirm": "another passphrase"})))
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
}

func TestPagesSetTheirReferrerPolicyThemselves(t *testing.T) {
	res := sitetest.New(t).Browser().LikeBrowser().Get("/accounts/login/")
	require.Contains(t, res.Text, `<meta name="referrer" content="strict-origin">`)
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// behind asks for a guarded page with a raw Cookie header and shows what the app gets.
func behind(s *sitetest.Site, t *testing.T, guards int, header http.Header) (status int, seen http.Header) {
	t.Helper()
	app := caddyhttp.Handler(caddyhttp.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) error {
		seen = req.Header.Clone()
		return nil
	}))
	for range guards {
		next := app
		app = caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error { return s.Guard.ServeHTTP(w, req, next) })
	}
	req := httptest.NewRequest(http.MethodGet, "http://example.com/members/", nil)
	req.Header = header
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	rec := httptest.NewRecorder()
	require.NoError(t, app.ServeHTTP(rec, req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))))
	return rec.Code, seen
}

func TestAppGetsNoCredentials(t *testing.T) {
	s := sitetest.New(t, func(c *registration.Settings) { c.Login.Token = sitetest.On() })
	s.Member("ada")
	b := s.SignedIn("ada")
	cookie := b.Cookie["registration"]
	token, _ := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
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
				status, seen := behind(s, t, guards, http.Header{"Cookie": c.sent})
				require.Equal(t, 200, status)
				require.Equal(t, c.want, seen["Cookie"])
				require.Equal(t, sent, c.sent, "others may hold the slice")
			}
			s.Guard.KeepCredentials = true
			_, seen := behind(s, t, 2, http.Header{"Cookie": c.sent})
			require.Equal(t, c.sent, seen["Cookie"])
			s.Guard.KeepCredentials = false
		})
	}
	for _, scheme := range []string{"Token ", "Bearer ", "bearer "} {
		_, seen := behind(s, t, 2, http.Header{"Authorization": {scheme + token}, "Cookie": {"a=b; registration=" + cookie}})
		require.Equal(t, http.Header{"Cookie": {"a=b"}}, seen)
	}
	_, seen := behind(s, t, 1, http.Header{"Authorization": {"Basic YTpi"}, "Cookie": {"registration=" + cookie}})
	require.Equal(t, http.Header{"Authorization": {"Basic YTpi"}}, seen, "the app's own")
	_, seen = behind(s, t, 1, http.Header{"Authorization": {"Bearer of-the-app"}, "Cookie": {"registration=" + cookie}})
	require.Equal(t, http.Header{"Authorization": {"Bearer of-the-app"}}, seen, "the app's own")
	status, seen := behind(s, t, 1, http.Header{"Cookie": {"registration=x"}})
	require.Equal(t, 401, status)
	require.Nil(t, seen)

	line := strings.Repeat("registration=;", 1<<16) + "registration=" + cookie // no more than its length in time
	_, seen = behind(s, t, 1, http.Header{"Cookie": {line}})
	require.Empty(t, seen)
}

func TestAccessTokenStays(t *testing.T) {
	s := sitetest.New(t, func(c *registration.Settings) {
		c.Login.Token, c.Login.JWT = sitetest.On(), &registration.JWTSettings{}
	})
	s.Member("ada")
	token, _ := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
	require.Contains(t, token, ".")
	_, seen := behind(s, t, 2, http.Header{"Authorization": {"Bearer " + token}})
	require.Equal(t, http.Header{"Authorization": {"Bearer " + token}}, seen)
}

// What stands behind a guard knows whom that has found: endpoints with all that a
// browser sent to them, the check of the origin among it.
func TestEndpointsBehindAGuard(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
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
		require.NoError(t, s.Guard.ServeHTTP(rec, req, caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
			p := &registration.Provider{}
			p.Use(s.Handler, "default")
			u, ok, err := p.Authenticate(w, req)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "ada", u.Metadata["username"])
			return s.Handler.ServeHTTP(w, req, nil)
		})))
		return rec
	}
	cookie := s.SignedIn("ada").Cookie["registration"]
	require.Equal(t, 200, ask("GET", "profile", cookie).Code)
	require.Equal(t, 403, ask("POST", "logout", cookie, "Origin", "https://evil.example").Code, "a foreign page that posts with the cookie")
	res := ask("POST", "logout", cookie)
	require.Equal(t, 200, res.Code)
	require.Contains(t, res.Header().Get("Set-Cookie"), "registration=;")
	require.Equal(t, 401, ask("GET", "profile", cookie).Code)
}

// guarded is a guarded request as a server of Caddy's hands it on, with error routes.
func guarded(s *sitetest.Site, t *testing.T, method string, header http.Header, server *caddyhttp.Server, app caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	t.Helper()
	req := httptest.NewRequest(method, "http://example.com/members/", nil)
	req.Header, req.ProtoMajor = header, 3 // which has nothing that net/http could cut off
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, server)
	rec := httptest.NewRecorder()
	err := s.Guard.ServeHTTP(rec, req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{})), app)
	return rec, err
}

func TestGuardCORS(t *testing.T) {
	s := sitetest.New(t, func(c *registration.Settings) { c.TrustedOrigins = []string{"https://app.example.net"} })
	s.Member("ada")
	cookie := "registration=" + s.SignedIn("ada").Cookie["registration"]
	const trusted = "https://app.example.net"
	quiet := func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(200); return nil }
	preflight := func(origin string) http.Header {
		return http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"REPORT"}, "Access-Control-Request-Headers": {"x-csrftoken,x-of-the-app"}}
	}
	res, err := guarded(s, t, "OPTIONS", preflight(trusted), nil, quiet)
	require.NoError(t, err)
	require.Equal(t, 204, res.Code)
	h := res.Header()
	require.Equal(t, trusted, h.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "true", h.Get("Access-Control-Allow-Credentials"))
	for _, name := range []string{"X-CSRFToken", "X-Requested-With", "x-of-the-app"} {
		require.Contains(t, h.Get("Access-Control-Allow-Headers"), name)
	}
	require.Contains(t, h.Get("Access-Control-Allow-Methods"), "REPORT")
	for _, origin := range []string{"https://evil.example", "null", "http://app.example.net"} {
		res, err := guarded(s, t, "OPTIONS", preflight(origin), nil, quiet)
		require.NoError(t, err)
		require.Equal(t, 401, res.Code)
		require.Empty(t, res.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Origin", res.Header().Values("Vary")[0])
	}
	for name, c := range map[string]struct {
		cookie string
		groups []string
		app    caddyhttp.HandlerFunc
		status int
		origin string
	}{
		"let through": {cookie, nil, quiet, 200, trusted},
		"refused":     {"", nil, quiet, 401, trusted},
		"forbidden":   {cookie, []string{"staff"}, quiet, 403, trusted},
		"the app's own": {cookie, nil, func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Access-Control-Allow-Origin", "https://other.example")
			w.WriteHeader(200)
			return nil
		}, 200, "https://other.example"},
	} {
		s.Guard.Groups = c.groups
		res, err := guarded(s, t, "GET", http.Header{"Origin": {trusted}, "Cookie": {c.cookie}}, nil, c.app)
		require.NoError(t, err, name)
		require.Equal(t, c.status, res.Code, name)
		require.Equal(t, c.origin, res.Header().Get("Access-Control-Allow-Origin"), name)
		require.Equal(t, c.origin == trusted, res.Header().Get("Access-Control-Allow-Credentials") == "true", name)
	}
}

func TestRefusalsThroughHandleErrors(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	cookie := "registration=" + s.SignedIn("ada").Cookie["registration"]
	s.Guard.Groups = []string{"staff"}
	answers := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{new(caddyhttp.StaticResponse)}}
	elsewhere := answers
	elsewhere.MatcherSets = caddyhttp.MatcherSets{{caddyhttp.MatchHost{"other.example"}}}
	onlyForbidden := answers
	onlyForbidden.MatcherSets = caddyhttp.MatcherSets{{caddyhttp.VarsMatcher{"{http.error.status_code}": {"403"}}}}
	within := func(r caddyhttp.Route) *caddyhttp.Server {
		site := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{&caddyhttp.Subroute{Routes: caddyhttp.RouteList{r}}}}
		return &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{site}}}
	}
	for name, c := range map[string]struct {
		server *caddyhttp.Server
		taken  map[int]bool
	}{
		"none":              {&caddyhttp.Server{}, nil},
		"all":               {within(answers), map[int]bool{401: true, 403: true}},
		"of another site":   {within(elsewhere), nil},
		"for other answers": {within(onlyForbidden), map[int]bool{403: true}},
	} {
		for status, cookies := range map[int][]string{401: nil, 403: {cookie}} {
			res, err := guarded(s, t, "GET", http.Header{"Cookie": cookies}, c.server, nil)
			failed := caddyhttp.HandlerError{}
			require.Equal(t, c.taken[status], errors.As(err, &failed), "%s, %d", name, status)
			if c.taken[status] {
				require.Equal(t, status, failed.StatusCode)
				require.Empty(t, res.Body.String())
			} else {
				require.Equal(t, status, res.Code)
				require.NotEmpty(t, res.Body.String())
			}
			require.Equal(t, "no-store", res.Header().Get("Cache-Control"))
			require.Equal(t, status == 401, res.Header().Get("WWW-Authenticate") != "")
		}
	}
}

// What a session has opened ends with it, whatever ended it, and not before.
func TestOpenRequestsEndWithTheirSession(t *testing.T) {
	s := sitetest.New(t, func(c *registration.Settings) { c.Session.Idle = caddy.Duration(time.Hour) })
	s.Member("ada")
	id := sitetest.UUIDOf(t, s, "ada")
	for name, end := range map[string]func(b *sitetest.Browser){
		"sign-out": func(b *sitetest.Browser) {
			require.Equal(t, 200, b.Post("/accounts/logout", sitetest.Data{}).StatusCode)
		},
		"idle":     func(*sitetest.Browser) { s.Travel(time.Hour) },
		"lifetime": func(*sitetest.Browser) { s.Travel(15 * sitetest.Day) },
		"of others": func(*sitetest.Browser) {
			require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
		},
		"groups": func(*sitetest.Browser) {
			_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{Groups: &[]string{"others"}})
			require.NoError(t, err)
		},
		"disabled": func(*sitetest.Browser) {
			no := false
			_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{IsActive: &no})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			yes := true
			_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{IsActive: &yes, Groups: &[]string{"staff"}})
			require.NoError(t, err)
			s.Guard.Groups = []string{"staff"}
			b := s.SignedIn("ada")
			opened, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				_, _ = guarded(s, t, "GET", http.Header{"Cookie": {"registration=" + b.Cookie["registration"]}}, nil, func(_ http.ResponseWriter, req *http.Request) error {
					ctx, stop := context.WithCancel(req.Context())
					defer stop()
					close(opened)
					<-ctx.Done()
					return ctx.Err()
				})
			}()
			<-opened
			for range 3 {
				time.Sleep(250 * time.Millisecond) // session.watchEvery
				select {
				case <-done:
					require.FailNow(t, "ended before its session")
				default:
				}
			}
			end(b)
			select {
			case <-done:
			case <-time.After(sitetest.Patience):
				require.FailNow(t, "it lives on")
			}
		})
	}
}

// Over HTTP/1 and HTTP/2 net/http ends the context with what is cut off, and the
// browser notices; the cookies of HTTP/2 may come one by one.
func TestConnectionsEndWithTheirSession(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for major, newer := range map[int]bool{1: false, 2: true} {
		ended := make(chan error, 1)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
			req = req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
			_ = s.Guard.ServeHTTP(w, req, caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
				_ = http.NewResponseController(w).Flush()
				<-req.Context().Done()
				ended <- req.Context().Err()
				return nil
			}))
		}))
		server.EnableHTTP2 = newer
		server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, caddyhttp.ConnCtxKey, c)
		}
		server.StartTLS()
		b := s.SignedIn("ada")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/members/", nil)
		require.NoError(t, err)
		req.Header["Cookie"] = []string{"theme=dark", "__Host-registration=" + b.Cookie["registration"], "lang=en"}
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Equal(t, major, res.ProtoMajor)
		require.Equal(t, 200, b.Post("/accounts/logout", sitetest.Data{}).StatusCode)
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(sitetest.Patience):
			require.FailNow(t, "it lives on")
		}
		_, err = io.Copy(io.Discard, res.Body)
		require.Error(t, err, "the browser is told")
		_ = res.Body.Close()
		server.Close()
	}
}
