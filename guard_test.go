// guard_test.go: whom the guard leads to the sign-in and whom it refuses, what the
// app behind it sees of a request, and what a browser forgets after a sign-out.

package registration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

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
