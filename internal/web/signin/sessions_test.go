// sessions_test.go: the list of sign-ins and its buttons, the page that asks again, the
// keys of access tokens.

package signin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestSessionsAreListedAndEnded(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Session.Max = 200 })
	s.Member("ada")
	b := s.SignedIn("ada")
	for i := range 60 {
		s.Travel(time.Second)
		other := s.Browser()
		other.Header.Set("User-Agent", []string{
			"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "curl/8.5.0", "made up by <b>nobody</b>", "",
		}[i%4])
		require.Equal(t, 200, other.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
	}
	for page, want := range map[string]int{"": 50, "?page=1": 50, "?page=2": 11, "?page=3": 0, "?page=0": 50, "?page=-1": 50, "?page=x": 50, "?page=99999999999999999999": 50, "?page=2147483647": 0} {
		res := b.Get("/accounts/sessions" + page)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, want, strings.Count(res.Text, `"kind":"session"`), page)
	}
	html := s.SignedIn("ada").LikeBrowser().Get("/accounts/sessions/").Text
	for _, shown := range []string{"Firefox, Linux", "curl", "made up by", `href="/accounts/sessions/?page=2"`} {
		require.True(t, strings.Contains(html, shown), shown)
	}
	require.NotContains(t, html, "<b>nobody")
	looks := s.SignedIn("ada").LikeBrowser()
	s.Travel(time.Second)
	s.SignedIn("ada")
	first, _, _ := strings.Cut(looks.Get("/accounts/sessions/").Text, "</li>\n<li>")
	require.Contains(t, first, "(this ", "the one that looks is the first")
	require.NotContains(t, s.SignedIn("ada").LikeBrowser().Get("/accounts/sessions/?page=2").Text, "page=3")

	for want, body := range map[string]sitetest.Data{"session_not_found": {"id": "nonsense"}, "id:required": {}} {
		res := b.Problems().Post("/accounts/revoke-session", body)
		require.Contains(t, res.Text, strings.TrimSuffix(want, ":required"))
		require.GreaterOrEqual(t, res.StatusCode, 400)
	}
	b.Header.Del("Accept")
	victim := s.SignedIn("ada")
	var id string
	for _, listed := range jsonList(t, victim.Get("/accounts/sessions")) {
		if listed["current"] == true {
			id = listed["id"].(string)
		}
	}
	require.Equal(t, 200, b.Post("/accounts/revoke-session", sitetest.Data{"id": id}).StatusCode)
	require.Equal(t, 401, victim.Get("/accounts/profile").StatusCode)
	require.Equal(t, 200, b.Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
	left := jsonList(t, b.Get("/accounts/sessions"))
	require.Len(t, left, 1)

	page := b.LikeBrowser()
	res := page.Post("/accounts/revoke-session/", url.Values{"id": {left[0]["id"].(string)}})
	require.Equal(t, "/accounts/logout/", res.Header.Get("Location"), "his own: he is signed out")
	require.NotContains(t, page.Cookie, sitetest.SessionCookie)
	again := s.SignedIn("ada").LikeBrowser()
	require.Equal(t, "/accounts/sessions/", again.Post("/accounts/revoke-session/", url.Values{"others": {"on"}}).Header.Get("Location"))
}

func jsonList(t *testing.T, res *sitetest.Answer) (out []map[string]any) {
	t.Helper()
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	for _, part := range strings.Split(strings.Trim(strings.TrimSpace(res.Text), "[]"), "},{") {
		item := map[string]any{}
		for _, name := range []string{"id", "kind"} {
			if _, rest, ok := strings.Cut(part, fmt.Sprintf("%q:", name)); ok {
				item[name], _, _ = strings.Cut(strings.TrimPrefix(rest, `"`), `"`)
			}
		}
		item["current"] = strings.Contains(part, `"current":true`)
		out = append(out, item)
	}
	return out
}

// Whoever is asked to sign in again finds his name in the form, and why he is asked.
func TestSignInAgain(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	require.Equal(t, http.StatusFound, b.Get("/accounts/login/").StatusCode, "he is signed in")
	page := b.Get("/accounts/login/?reauth=1&next=%2Fmembers%2F")
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, `value="ada"`)
	require.NotContains(t, page.Text, `href="/accounts/register/`)
	old := b.Cookie[sitetest.SessionCookie]
	require.Equal(t, "/members/", b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {"/members/"}}).Header.Get("Location"))
	require.NotEqual(t, old, b.Cookie[sitetest.SessionCookie])
}

// Keys that can't be read are no empty list: who asks keeps those that he has.
func TestKeysThatCantBeRead(t *testing.T) {
	s := sitetest.NewJWT(t)
	require.NotEmpty(t, s.Keys())
	require.NoError(t, s.Accounts.Store.Close())
	res := s.Browser().Get("/accounts/.well-known/jwks.json")
	if res.StatusCode == http.StatusOK { // from memory
		require.NotContains(t, res.Text, `"keys":[]`)
		return
	}
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
}

// Of a disabled account nothing is signed in, and nobody is told but who knows its name and password.
func TestDisabledAccountsSignIn(t *testing.T) {
	s := sitetest.New(t)
	id := uuid.MustParse(s.Member("ada"))
	b := s.SignedIn("ada")
	_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode)
	page := s.Browser().LikeBrowser()
	res := page.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}})
	require.Equal(t, 400, res.StatusCode)
	require.NotContains(t, page.Cookie, sitetest.SessionCookie)
	_, err = s.Accounts.Administer(t.Context(), id, account.AdminChange{IsActive: sitetest.On()})
	require.NoError(t, err)
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode, "what has ended stays so")
	s.SignedIn("ada")
}
