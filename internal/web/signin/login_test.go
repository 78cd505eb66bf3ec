// login_test.go: where the pages to sign in, up and out lead.

package signin_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestHomeAndGoodbye(t *testing.T) {
	for name, c := range map[string]struct {
		home, goodbye, base string
		front               bool
		in, out             string
	}{
		"neither":                   {in: "/accounts/profile/", out: "/accounts/logout/"},
		"a front page":              {front: true, in: "/", out: "/accounts/logout/"},
		"both":                      {home: "/app/", goodbye: "/bye/", front: true, in: "/app/", out: "/bye/"},
		"elsewhere":                 {home: "https://app.example.net/", goodbye: "https://example.net/", in: "https://app.example.net/", out: "https://example.net/"},
		"below a path":              {home: "/app/", goodbye: "/bye/", base: "https://example.com/shop", in: "/shop/app/", out: "/shop/bye/"},
		"a front page below a path": {front: true, base: "https://example.com/shop", in: "/shop/", out: "/shop/accounts/logout/"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) {
				s.Pages.Home, s.Pages.Goodbye = c.home, c.goodbye
				if c.base != "" {
					s.BaseURL = c.base
				}
			})
			s.Realm.FrontPage.Store(c.front)
			s.Member("ada")
			b := s.Browser().LikeBrowser()
			login := url.Values{"login": {"ada"}, "password": {sitetest.Password}}
			page := b.Get("/accounts/login/")
			if c.home != "" && c.home[0] != '/' { // a browser follows a form there only if the page says so
				require.Regexp(t, `form-action [^;]*https://app\.example\.net[^;]*https://example\.net;`, page.Header.Get("Content-Security-Policy"))
			}
			b.Post("/accounts/login/", login).RequireRedirect(t, c.in)
			for _, page := range []string{"/accounts/login/", "/accounts/register/"} {
				res := b.Get(page)
				require.Equal(t, http.StatusFound, res.StatusCode, page)
				require.Equal(t, c.in, res.Header.Get("Location"), page)
				require.Equal(t, "/members/", b.Get(page+"?next=/members/").Header.Get("Location"), page)
				require.Equal(t, c.in, b.Get(page+"?next=https://evil.example/").Header.Get("Location"), page)
			}
			require.Equal(t, http.StatusOK, b.Get("/accounts/login/?reauth=1").StatusCode)
			b.Post("/accounts/logout/", url.Values{}).RequireRedirect(t, c.out)
			require.Equal(t, http.StatusOK, b.Get("/accounts/register/").StatusCode)

			// On the way to another sign-in there is no goodbye.
			b.Post("/accounts/login/", login)
			require.Contains(t, b.Post("/accounts/logout/", url.Values{"next": {"/members/"}}).Header.Get("Location"), "/accounts/logout/?next=%2Fmembers%2F")
		})
	}
}

func TestHomeRefused(t *testing.T) {
	for name, c := range map[string]struct {
		pages registration.PagesSettings
		want  []string
	}{
		"no path":           {registration.PagesSettings{Home: "app"}, []string{"pages.home"}},
		"a path of a host":  {registration.PagesSettings{Goodbye: "//evil.example/"}, []string{"pages.goodbye", "not a path"}},
		"the sign-in page":  {registration.PagesSettings{Home: "/accounts/login/"}, []string{"pages.home", "in a circle"}},
		"by its whole name": {registration.PagesSettings{Home: "http://example.com/accounts/login?a=b"}, []string{"pages.home", "in a circle"}},
		"the sign-out":      {registration.PagesSettings{Goodbye: "/accounts/logout"}, []string{"pages.goodbye", "in a circle"}},
		"another scheme":    {registration.PagesSettings{Goodbye: "javascript:alert(1)"}, []string{"pages.goodbye"}},
		"a mailed link":     {registration.PagesSettings{Home: "/accounts/verify-email/"}, []string{"pages.home", "in a circle"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitetest.Open(t.TempDir()+"/registration.db", func(s *registration.Settings) { s.Pages = c.pages })
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	for _, good := range []string{"/accounts/profile/", "/accounts/login-help/", "/accounts/", "/", "https://app.example.net/accounts/login"} {
		r, err := sitetest.Open(t.TempDir()+"/registration.db", func(s *registration.Settings) { s.Pages.Home = good })
		require.NoError(t, err, good)
		require.NoError(t, r.Close())
	}
}
