// owner_test.go: who sees the owner's pages, and who doesn't.

package owner_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// withAdmins has the owner's pages for the group admins, who need no second step.
func withAdmins(s *registration.Settings) {
	s.Admin = &registration.AdminSettings{Group: "admins", SecondFactor: "off"}
}

// newSite has ada, who is of the group, and the members that are named.
func newSite(t *testing.T, members []string, configure ...func(*registration.Settings)) *sitetest.Site {
	t.Helper()
	s := sitetest.New(t, append([]func(*registration.Settings){withAdmins}, configure...)...)
	for _, name := range append([]string{"ada"}, members...) {
		s.Member(name)
	}
	makeAdmin(t, s, "ada")
	return s
}

func makeAdmin(t *testing.T, s *sitetest.Site, name string) {
	t.Helper()
	_, err := s.Accounts.SetGroups(t.Context(), sitetest.UUIDOf(t, s, name), []string{"admins"}, nil)
	require.NoError(t, err)
}

const admin = "/accounts/admin/"

func TestAccounts(t *testing.T) {
	s := newSite(t, []string{"bob", "carol"})
	res := s.SignedIn("ada").Get(admin + "accounts")
	require.Equal(t, http.StatusOK, res.StatusCode)
	list := res.JSON(t)
	require.Len(t, list["accounts"], 3)
	require.Nil(t, list["next"])
	b := s.SignedIn("ada").LikeBrowser()
	for _, path := range []string{"", "accounts/"} {
		page := b.Get(admin + path)
		require.Equal(t, http.StatusOK, page.StatusCode)
		for _, want := range []string{"<h1>Accounts</h1>", ">bob</a>", "carol@example.org", "Active", `aria-current="page"`} {
			require.Contains(t, page.Text, want)
		}
		require.NotContains(t, page.Text, "<script")
	}
	page := b.Get(admin + "accounts/?search=car&state=active")
	require.Contains(t, page.Text, ">carol</a>")
	require.NotContains(t, page.Text, ">bob</a>")
	require.Contains(t, b.Get(admin+"accounts/?group=nobody").Text, "No account was found.")
}

func TestAccountsByPages(t *testing.T) {
	s := newSite(t, []string{"bob", "carol", "dan"})
	b := s.SignedIn("ada")
	first := b.Get(admin + "accounts?limit=3").JSON(t)
	require.Len(t, first["accounts"], 3)
	rest := b.Get(admin + "accounts?limit=3&after=" + first["next"].(string)).JSON(t)
	require.Len(t, rest["accounts"], 1)
	require.Nil(t, rest["next"])
	for _, wrong := range []string{"limit=0", "limit=x", "limit=501", "after=x", "state=odd"} {
		require.Equal(t, http.StatusBadRequest, b.Get(admin+"accounts?"+wrong).StatusCode, wrong)
		require.Equal(t, http.StatusOK, s.SignedIn("ada").LikeBrowser().Get(admin+"accounts/?"+wrong).StatusCode, wrong)
	}
}

func TestAccount(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	s.SignedIn("bob").Set("User-Agent", "x")
	got := s.SignedIn("ada").Get(admin + "accounts/" + id).JSON(t)
	require.Equal(t, "bob", got["username"])
	require.Len(t, got["sessions"], 1)
	require.NotContains(t, got, "password")
	b := s.SignedIn("ada").LikeBrowser()
	page := b.Get(admin + "accounts/" + id + "/")
	for _, want := range []string{"<h1>bob</h1>", "bob@example.org", "Sign-ins", "Latest events", id} {
		require.Contains(t, page.Text, want)
	}
	for _, unknown := range []string{"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7", "bob", "x"} {
		require.Equal(t, http.StatusNotFound, b.Get(admin+"accounts/"+unknown+"/").StatusCode, unknown)
	}
}

// To who isn't of the group there is nothing: the answer is that for a path that nobody
// knows, to the last header.
func TestOthersSeeNothing(t *testing.T) {
	s := newSite(t, []string{"bob"}, sitetest.WithTokens)
	id := sitetest.UUIDOf(t, s, "ada").String()
	token, _ := s.Tokens("bob")
	for name, b := range map[string]*sitetest.Browser{"browser": s.SignedIn("bob").LikeBrowser(), "cookie": s.SignedIn("bob"), "token": token} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			for _, path := range []string{"accounts", "accounts/" + id, "nothing", ""} {
				res := b.Do(method, admin+path, nil)
				other := b.Do(method, "/accounts/nothing/"+path, nil)
				require.Equal(t, http.StatusNotFound, res.StatusCode, "%s %s %s", name, method, path)
				require.Equal(t, other.Text, res.Text)
				require.Equal(t, other.Header, res.Header)
			}
		}
	}
}

func TestWithoutASignIn(t *testing.T) {
	s := newSite(t, nil)
	res := s.Browser().LikeBrowser().Get(admin + "accounts/?search=a")
	require.Equal(t, http.StatusFound, res.StatusCode)
	require.Equal(t, "/accounts/login/?next=%2Faccounts%2Fadmin%2Faccounts%2F%3Fsearch%3Da", res.Header.Get("Location"))
	sitetest.RequireError(t, s.Browser().Problems().Get(admin+"accounts"), http.StatusUnauthorized, "not_authenticated")
	sitetest.RequireError(t, s.Browser().Problems().Bearer("x").Get(admin+"accounts"), http.StatusUnauthorized, "not_authenticated")
	require.Equal(t, http.StatusNotFound, s.Browser().Get(admin+"nothing").StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, s.Browser().Do("DELETE", admin+"accounts", nil).StatusCode)
}

// Without the block there are no such routes.
func TestNoAdmin(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	makeAdmin(t, s, "ada")
	require.Equal(t, http.StatusNotFound, s.SignedIn("ada").Get(admin+"accounts").StatusCode)
	require.NotContains(t, s.SignedIn("ada").LikeBrowser().Get("/accounts/profile/").Text, "/admin/")
}

func TestProfileLeadsToThePages(t *testing.T) {
	s := newSite(t, []string{"bob"})
	require.Contains(t, s.SignedIn("ada").LikeBrowser().Get("/accounts/profile/").Text, `href="/accounts/admin/"`)
	require.NotContains(t, s.SignedIn("bob").LikeBrowser().Get("/accounts/profile/").Text, "/admin/")
}
