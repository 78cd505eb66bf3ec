// owner_test.go: who sees the owner's pages, and who doesn't.

package owner_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
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
	for _, want := range []string{"<h1>bob</h1>", "bob@example.org", "Sessions", "Latest events", "Done by", id} {
		require.Contains(t, page.Text, want)
	}
	for _, unknown := range []string{"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7", "bob", "x"} {
		require.Equal(t, http.StatusNotFound, b.Get(admin+"accounts/"+unknown+"/").StatusCode, unknown)
	}
}

// How many there are is said where that is known at once; who waits, beside every page.
func TestCounts(t *testing.T) {
	s := approvingSite(t)
	b, h := s.SignedIn("ada"), s.SignedIn("ada").LikeBrowser()
	require.NotContains(t, h.Get(admin+"accounts/").Text, "Waiting for approval (")
	require.NotContains(t, h.Get("/accounts/profile/").Text, "for approval")
	waits(t, s, "bob", "x")
	require.Contains(t, h.Get("/accounts/profile/").Text, `<a href="/accounts/admin/waiting/">1 account is waiting for approval</a>`)
	waits(t, s, "carol", "x")
	for path, want := range map[string]string{
		"accounts/": "<p>3 accounts in all.</p>", "accounts/?state=active": "<p>1 account in this state.</p>", "accounts/?state=odd": "<p>3 accounts in all.</p>",
		"waiting/": "<p>2 accounts are waiting for approval.</p>", "mail/": "Waiting for approval (2)</a>", "accounts/?search=b": "Waiting for approval (2)</a>",
	} {
		require.Contains(t, h.Get(admin+path).Text, want, path)
	}
	require.NotContains(t, h.Get(admin+"accounts/?search=b").Text, " in all")
	require.NotContains(t, h.Get(admin+"accounts/?state=active&group=admins").Text, "in this state")
	require.Contains(t, h.Set("Accept-Language", "pl").Get(admin+"waiting/").Text, "2 konta czekają na zatwierdzenie.")
	for query, want := range map[string]any{"": 3.0, "?state=active": 1.0, "?state=disabled": 0.0, "?search=b": nil, "?group=admins": nil} {
		require.Equal(t, want, b.Get(admin + "accounts" + query).JSON(t)["count"], query)
	}
	require.InDelta(t, 2, b.Get(admin + "waiting").JSON(t)["count"], 0)
	// Who has not shown the second step that he owes sees nothing of it.
	s = approvingSite(t, demanding)
	waits(t, s, "bob", "x")
	require.NotContains(t, s.SignedIn("ada").LikeBrowser().Get("/accounts/profile/").Text, "for approval")
}

// countless is a store that doesn't count beyond some number.
type countless struct{ store.Store }

type countlessTx struct{ store.Tx }

func (s countless) View(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.View(ctx, func(tx store.Tx) error { return fn(countlessTx{tx}) })
}

func (countlessTx) CountMembers(string) (store.MemberCount, error) {
	return store.MemberCount{N: store.MembersCounted, More: true}, nil
}

// What a store doesn't count to its end is not told as if it had.
func TestCountsOfOtherStores(t *testing.T) {
	s := newSite(t, nil)
	s.Accounts.Store = countless{s.Accounts.Store}
	b, h := s.SignedIn("ada"), s.SignedIn("ada").LikeBrowser()
	require.Contains(t, h.Get(admin+"accounts/").Text, "<p>More than 1,000 accounts.</p>")
	require.Contains(t, h.Get(admin+"waiting/").Text, "<p>More than 1,000 accounts.</p>")
	require.Nil(t, b.Get(admin + "accounts").JSON(t)["count"])
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
