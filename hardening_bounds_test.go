// hardening_bounds_test.go: how long what a client sends may be, what it is told
// where it is longer, and that everybody reads the same cookies.

package registration_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// What is too long is told by field, before anything else is done with it.
func TestTooLongIsToldByField(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.User.Fields = []field.Spec{
			{Name: "nickname", Type: "text", Unique: true, MaxLength: 500},
			{Name: "work", Type: "email"},
			{Name: "home", Type: "url"},
			{Name: "number", Type: "integer"},
			{Name: "news", Type: "boolean"},
		}
		s.User.PublicFields = []string{"id", "username", "email", "first_name", "last_name", "nickname", "work", "home", "number", "news"}
	})
	s.Member("ada")
	long := func(unit string, n int) string { return strings.Repeat(unit, n) }
	for name, c := range map[string]struct {
		path, Field, value, want string
	}{
		"a username":                   {"register", "username", long("a", 151), "max_length"},
		"a username that grows":        {"register", "username", long("\u3300", 60), "max_length"},
		"a first name":                 {"register", "first_name", long("a", 151), "max_length"},
		"an address":                   {"register", "email", long("a", 60) + "@" + long("b.", 100) + "org", "max_length"},
		"an address in bytes":          {"register", "email", "a@" + long("\u4e2d", 90) + ".org", "max_length"},
		"an address beyond all bounds": {"register", "email", "a@" + long("\u4e2d", 20_000) + ".org", "max_length"},
		"a key that grows":             {"register", "nickname", long("\ufdfa", 100), "max_length"},
		"a nickname":                   {"register", "nickname", long("a", 501), "max_length"},
		"a second address":             {"register", "work", "a@" + long("\u4e2d", 90) + ".org", "max_length"},
		"a link":                       {"register", "home", "https://e.example/" + long("a", 2000), "max_length"},
		"a number":                     {"register", "number", long("9", 401), "invalid"},
		"a switch":                     {"register", "news", long("t", 40_000), "invalid"},
		"a login":                      {"login", "login", long("a", 501), "max_length"},
		"a login in bytes":             {"login", "login", long("\u4e2d", 501), "max_length"},
		"a login by its own name":      {"login", "username", long("a", 501), "max_length"},
		"a login to reset":             {"send-reset-password-link", "login", long("a", 501), "max_length"},
		"a login to resend":            {"resend-verification", "email", long("a", 501), "max_length"},
		"a password":                   {"login", "password", long("a", 4097), "max_length"},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]sitetest.Data{
				"register": sitetest.Newcomer("eve"), "login": {"login": "ada", "password": sitetest.Password}, "send-reset-password-link": {}, "resend-verification": {},
			}[c.path]
			if c.Field == "username" && c.path == "login" {
				delete(body, "login")
			}
			res := s.Browser().Problems().Post("/accounts/"+c.path, sitetest.With(body, sitetest.Data{c.Field: c.value}))
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
			require.Contains(t, res.Text, `"errors":{"`+c.Field+`":[{"code":"`+c.want+`"`)
		})
	}
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login", sitetest.Data{"login": long("a", 500), "password": sitetest.Password}), 400, "login_invalid")
}

// The check of the origin and the sign-in look at the same cookies: behind
// thousands of others, and with the blanks that RFC 6265bis takes away.
func TestCookiesHaveOneReader(t *testing.T) {
	s := sitetest.New(t)
	s.Member("eve")
	s.Member("ada")
	token := s.SignedIn("ada").Cookie[sitetest.SessionCookie]
	for name, cookie := range map[string]string{
		"alone":               sitetest.SessionCookie + "=" + token,
		"behind 4,000 others": strings.Repeat("a=b; ", 4000) + sitetest.SessionCookie + "=" + token,
		"tab before the name": "a=b;\t" + sitetest.SessionCookie + "=" + token,
		"tab before =":        sitetest.SessionCookie + "\t=" + token,
		"tab behind =":        sitetest.SessionCookie + "=\t" + token,
		"quoted":              sitetest.SessionCookie + `="` + token + `"`,
		"beside an empty one": sitetest.SessionCookie + "=; " + sitetest.SessionCookie + "=" + token,
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser().Problems()
			b.Header.Set("Cookie", cookie)
			require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
			b.Header.Set("Sec-Fetch-Site", "cross-site")
			sitetest.RequireError(t, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Eve"}), http.StatusForbidden, "cross_origin")
		})
	}
	for name, cookie := range map[string]string{"planted": sitetest.SessionCookie + "=" + s.SignedIn("eve").Cookie[sitetest.SessionCookie] + "; " + sitetest.SessionCookie + "=" + token, "empty": sitetest.SessionCookie + "="} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser().Problems()
			b.Header.Set("Cookie", cookie)
			require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
			b.Header.Set("Sec-Fetch-Site", "cross-site")
			sitetest.RequireError(t, b.Post("/accounts/logout", nil), http.StatusForbidden, "cross_origin")
		})
	}
}

// Another cookie_domain leaves the old cookie in the browser, which then sends two.
func TestTwoCookiesOfOneName(t *testing.T) {
	const sessionCookie = "registration"
	s := sitetest.New(t, func(s *registration.Settings) { s.Session.CookieDomain = "example.com" })
	s.Member("ada")
	old, live := s.SignedIn("ada"), s.SignedIn("ada")
	both := func(values ...string) *sitetest.Browser {
		b := s.Browser()
		b.Header.Set("Cookie", sessionCookie+"="+strings.Join(values, "; "+sessionCookie+"="))
		return b
	}
	a, b := old.Cookie[sessionCookie], live.Cookie[sessionCookie]
	require.Equal(t, http.StatusOK, both(a, b).Get("/members/").StatusCode, "two sign-ins of one account")
	require.Equal(t, http.StatusOK, old.Post("/accounts/logout", nil).StatusCode)
	for name, values := range map[string][]string{"ended first": {a, b}, "ended last": {b, a}, "no cookie of ours": {"x", b}} {
		require.Equal(t, http.StatusOK, both(values...).Get("/members/").StatusCode, name)
	}
	require.Equal(t, http.StatusUnauthorized, both(a, "x").Get("/members/").StatusCode)
	res := both(a, "x").Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode)
	cleared := res.Cookies()[0]
	require.Equal(t, []any{sessionCookie, "", -1}, []any{cleared.Name, cleared.Domain, cleared.MaxAge}, "the one without a domain goes")
	require.Equal(t, "example.com", res.Cookies()[1].Domain)
	require.NotEmpty(t, res.Cookies()[1].Value)
	many := make([]string, 20)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	require.Equal(t, http.StatusUnauthorized, both(append(many, b)...).Get("/members/").StatusCode, "nobody has so many")
}

// The address that the guard sends back to is as long as one that is followed.
func TestGuardLeavesOutWhatIsNotFollowed(t *testing.T) {
	s := sitetest.New(t)
	b := s.Browser().LikeBrowser()
	require.Contains(t, b.Get("/members/"+strings.Repeat("x", web.MaxNext-len("/members/"))).Header.Get("Location"), "next=")
	require.Equal(t, "/accounts/login/", b.Get("/members/"+strings.Repeat("x", web.MaxNext)).Header.Get("Location"))
}

// What a URL has not in the clear comes back escaped, and an address is followed that
// many letters of another script make long.
func TestGuardEscapesNext(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for name, c := range map[string]struct{ path, want string }{
		"backslash in the query": {`/members/?dir=C:\Users`, "/members/?dir=C:%5CUsers"},
		"bytes of UTF-8":         {"/members/?q=あ", "/members/?q=%E3%81%82"},
		"300 Japanese letters":   {"/members/" + strings.Repeat("%E3%81%82", 300), "/members/" + strings.Repeat("%E3%81%82", 300)},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser().LikeBrowser()
			to, err := url.Parse(b.Get(c.path).Header.Get("Location"))
			require.NoError(t, err)
			require.Equal(t, c.want, to.Query().Get("next"))
			page := b.Get(to.RequestURI())
			require.Contains(t, page.Text, `name="next"`)
			res := b.Post("/accounts/login", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {to.Query().Get("next")}})
			require.Equal(t, c.want, res.Header.Get("Location"))
		})
	}
}

// Where the sign-in page is on another host, `next` has the origin of the request,
// if that is one that the realm sends anybody to.
func TestNextForASignInPageElsewhere(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.TrustedOrigins = []string{"http://app.example.net"} })
	for name, c := range map[string]struct {
		login, host, uri, want string
	}{
		"our host":                {"https://login.example.net/", "example.com", "/members/x?y=1", "http://example.com/members/x?y=1"},
		"an address in the query": {"https://login.example.net/", "example.com", "/members/?u=http://evil.example/", "http://example.com/members/?u=http://evil.example/"},
		"a trusted origin":        {"https://login.example.net/", "app.example.net", "/members/", "http://app.example.net/members/"},
		"another host":            {"https://login.example.net/", "evil.example", "/members/", ""},
		"another port":            {"https://login.example.net/", "example.com:8080", "/members/", ""},
		"a user before the host":  {"https://login.example.net/", "evil@example.com", "/members/", ""},
		"without a scheme":        {"//login.example.net/", "example.com", "/members/", "http://example.com/members/"},
		"a host in capitals":      {"HTTPS://LOGIN.example.net/", "EXAMPLE.com", "/members/", "http://EXAMPLE.com/members/"},
		"a host in the request":   {"https://login.example.net/", "evil.example", "http://example.com/members/", ""},
		"our own page":            {"", "evil.example", "/members/", "/members/"},
		"a page of this host":     {"/sign-in?a=b", "evil.example", "/members/", "/members/"},
	} {
		t.Run(name, func(t *testing.T) {
			s.Guard.LoginURL = c.login
			req := httptest.NewRequest(http.MethodGet, "/members/", nil)
			req.Host, req.RequestURI = c.host, c.uri
			req.Header.Set("Accept", "text/html")
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, req)
			require.Equal(t, http.StatusFound, rec.Code)
			u, err := url.Parse(rec.Header().Get("Location"))
			require.NoError(t, err)
			require.Equal(t, c.want, u.Query().Get("next"))
			require.Equal(t, c.want != "", u.Query().Has("next"))
		})
	}
}

func TestCookieNames(t *testing.T) {
	for name, c := range map[string]struct {
		name, base, domain, wrong string
	}{
		"a letter":               {"a", "http://example.com", "", ""},
		"all that a token has":   {"!#$%&'*+-.^_`|~Az09", "http://example.com", "", ""},
		"a host's":               {"__Host-x", "https://example.com", "", ""},
		"a secure one's":         {"__Secure-x", "https://example.com", "example.com", ""},
		"at":                     {"a@b", "https://example.com", "", "no name for a cookie"},
		"a blank":                {"a b", "https://example.com", "", "no name for a cookie"},
		"a letter of no token":   {"caf\u00e9", "https://example.com", "", "no name for a cookie"},
		"a line break":           {"a\nb", "https://example.com", "", "no name for a cookie"},
		"a bracket":              {"a[b]", "https://example.com", "", "no name for a cookie"},
		"long":                   {strings.Repeat("a", 101), "https://example.com", "", "no name for a cookie"},
		"a host's with a domain": {"__Host-x", "https://example.com", "example.com", "can't have a domain"},
		"in small letters":       {"__host-x", "https://example.com", "example.com", "can't have a domain"},
		"a host's over HTTP":     {"__Host-x", "http://example.com", "", "over HTTPS alone"},
		"a secure one over HTTP": {"__SECURE-x", "http://example.com", "", "over HTTPS alone"},
		"an HTTP one over HTTP":  {"__Http-x", "http://example.com", "", "over HTTPS alone"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := sitetest.Settings()
			settings.BaseURL, settings.Session.CookieName, settings.Session.CookieDomain = c.base, c.name, c.domain
			_, err := inside.Resolve(settings)
			if c.wrong != "" {
				require.ErrorContains(t, err, c.wrong)
				return
			}
			require.NoError(t, err)
			require.NotEmpty(t, (&http.Cookie{Name: c.name, Value: "x"}).String(), "net/http sets it")
		})
	}
}

// Before its store is open a realm tells everybody so, at every endpoint.
func TestEndpointsBeforeTheStoreIsOpen(t *testing.T) {
	s := costSite(t)
	open := s.Realm.Accounts.Swap(nil)
	defer s.Realm.Accounts.Store(open)
	for op := range s.Operations(t) {
		if op[1] == "/openapi.json" { // it is about the settings
			continue
		}
		t.Run(op[0]+op[1], func(t *testing.T) {
			b := s.Browser().Problems()
			res := b.Do(op[0], "/accounts"+op[1], map[bool]any{true: nil, false: sitetest.Data{account.ParamRefreshToken: "a.b"}}[op[0] == http.MethodGet || op[0] == http.MethodHead])
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, res.Text)
			require.NotEmpty(t, res.Header.Get("Retry-After"))
		})
	}
}
