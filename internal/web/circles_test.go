// circles_test.go: what would lead a browser round for ever.

package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func TestWithParam(t *testing.T) {
	for address, want := range map[string]string{
		"/login":                              "/login?next=%2Fx",
		"/login?b=1&a=2":                      "/login?b=1&a=2&next=%2Fx",
		"/login?":                             "/login?next=%2Fx",
		"/login?next=/home&a=1":               "/login?a=1&next=%2Fx",
		"/login#form":                         "/login?next=%2Fx#form",
		"/login?a=1#form":                     "/login?a=1&next=%2Fx#form",
		"https://app.example/#/login":         "https://app.example/#/login?next=%2Fx",
		"https://app.example/?a=1#/login?b=2": "https://app.example/?a=1#/login?b=2&next=%2Fx",
		"https://app.example/#!/login":        "https://app.example/#!/login?next=%2Fx",
	} {
		require.Equal(t, want, web.WithParam(address, "next", "/x"), address)
	}
}

func TestOutOfCircle(t *testing.T) {
	nested := func(n int) string {
		uri := "/x"
		for range n {
			uri = "/page?next=" + url.QueryEscape(uri)
		}
		return uri
	}
	for name, c := range map[string]struct {
		page, uri, want string
	}{
		"another page":          {"/login", "/x", "/login"},
		"itself":                {"/login", "/login?a=1", ""},
		"itself, with a slash":  {"/Login/", "/login", ""},
		"itself, with its host": {"https://Example.com/login", "/login", ""},
		"the other host's":      {"https://b.example/login", "/login", "https://b.example/login?hop=1"},
		"the other host's too":  {"https://b.example/login", "/login?hop=1", ""},
		"a route of an app":     {"https://example.com/#/login", "/", "https://example.com/#/login"},
		"two pages back":        {"/login", nested(2), "/login"},
		"three pages back":      {"/login", nested(3), ""},
		"far too many":          {"/login", nested(6), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, leads := web.OutOfCircle(c.page, c.uri, "example.com")
			require.Equal(t, c.want, got)
			require.Equal(t, c.want != "", leads)
		})
	}
}

// submit sends the sign-in form of a page as a browser does, with its hidden inputs.
func submit(t *testing.T, b *sitetest.Browser, page string) *sitetest.Answer {
	form := url.Values{"login": {"ada"}, "password": {sitetest.Password}}
	for _, part := range strings.Split(page, `<input type="hidden" name="`)[1:] {
		name, rest, _ := strings.Cut(part, `" value="`)
		value, _, _ := strings.Cut(rest, `"`)
		form.Set(name, value)
	}
	res := b.Post("/accounts/login/", form)
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	return res
}

// A browser that keeps no cookie is told so after the sign-in; one that does goes where
// it wanted, without a detour.
func TestBrowserThatKeepsNoCookie(t *testing.T) {
	const told = "keep the cookie"
	s := sitetest.New(t)
	s.Member("ada")
	guarded := s.Browser().LikeBrowser().Get("/members/x").Header.Get("Location")

	b := s.Browser().LikeBrowser()
	page := b.Get(guarded)
	require.NotContains(t, page.Text, told)
	require.Equal(t, "/members/x", submit(t, b, page.Text).Header.Get("Location"))

	b = s.Browser().LikeBrowser()
	page = b.Get(guarded)
	for range 2 {
		clear(b.Cookie)
		to := submit(t, b, page.Text).Header.Get("Location")
		clear(b.Cookie)
		require.Equal(t, "/accounts/login/?next=%2Fmembers%2Fx&kept=1", to)
		page = b.Get(to)
		require.Equal(t, http.StatusOK, page.StatusCode)
		require.Contains(t, page.Text, told)
		require.Contains(t, page.Text, `name="password"`)
	}

	b = s.Browser().LikeBrowser() // cookies were allowed at last
	page = b.Get(guarded)
	clear(b.Cookie)
	to := submit(t, b, page.Text).Header.Get("Location")
	require.Equal(t, "/members/x", b.Get(to).Header.Get("Location"), "signed in: it goes on")

	b = s.Browser().LikeBrowser() // a client that never saw the page
	res := b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {"/members/x"}})
	require.Equal(t, "/members/x", res.Header.Get("Location"))
	tokens := sitetest.New(t, sitetest.WithJWT, func(s *registration.Settings) { no := false; s.Login.Session = &no })
	require.Empty(t, tokens.Browser().LikeBrowser().Get("/accounts/login/").Cookies(), "no cookie, no question")
}

// A page that doesn't see the sign-in of who is sent back to it (a guard of another
// realm or Caddy) is not gone back to for ever.
func TestPageThatNeverSeesTheSignIn(t *testing.T) {
	const told = "doesn’t see it"
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	again := func() *sitetest.Answer { return b.Get("/accounts/login/?next=%2Fother") }
	for range 2 {
		require.Equal(t, "/other", again().Header.Get("Location"))
	}
	page := again()
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, told)
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("again and again").Len())
	require.Equal(t, "/else", b.Get("/accounts/login/?next=%2Felse").Header.Get("Location"), "another page is")
	for range 5 { // where nothing is wrong, nobody counts
		require.Equal(t, http.StatusFound, b.Get("/accounts/login/").StatusCode)
	}
}

// A guard whose login_url is guarded itself says so, and one that wants a recent
// sign-in has the page ask for it.
func TestLoginURLOfAGuard(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Guard.LoginURL = "/members/login?lang=en"
	stranger := s.Browser().LikeBrowser()
	require.Equal(t, "/members/login?lang=en&next=%2Fmembers%2F", stranger.Get("/members/").Header.Get("Location"))
	res := stranger.Get("/members/login?lang=en&next=%2Fmembers%2F")
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("is guarded itself").Len())

	s.Guard.LoginURL, s.Guard.MaxAge = "/accounts/login/#form", 60_000_000_000 // a minute
	b := s.SignedIn("ada").LikeBrowser()
	s.Travel(time.Hour)
	to := b.Get("/members/").Header.Get("Location")
	require.Equal(t, "/accounts/login/?reauth=1&next=%2Fmembers%2F#form", to)
	require.Equal(t, http.StatusOK, b.Get(strings.TrimSuffix(to, "#form")).StatusCode, "it asks")

	for _, bad := range []string{"login", "javascript:alert(1)", "mailto:x@example.com", "https://%zz/"} {
		require.ErrorContains(t, (&registration.Guard{LoginURL: bad}).Validate(), "login_url", bad)
	}
	for _, good := range []string{"", "/login", "https://app.example/#/login", "//login.example/"} {
		require.NoError(t, (&registration.Guard{LoginURL: good}).Validate(), good)
	}
}
