// asking_test.go: what is asked before an act, and what isn't.

package owner_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

const ownAccount = "This is your own account."

// What takes the pages from who does it is asked before, wherever it is done; a program is
// not asked. Where it is done, he is led to where he may be.
func TestActsOnOneselfAsk(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		form url.Values
		said string
		next string
	}{
		"disable":         {"disable/", url.Values{}, "another administrator has enabled it", "/accounts/login/"},
		"delete":          {"delete/", url.Values{}, "nobody can bring it back", "/accounts/login/"},
		"groups":          {"groups/", url.Values{"groups": {"staff"}}, "Without the group admins", "/accounts/profile/"},
		"no groups":       {"groups/", url.Values{"groups": {""}}, "Without the group admins", "/accounts/profile/"},
		"several":         {"", url.Values{"do": {"disable"}}, "another administrator has enabled it", "/accounts/login/"},
		"several deleted": {"", url.Values{"do": {"delete"}}, "nobody can bring it back", "/accounts/login/"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob", "carol"})
			makeAdmin(t, s, "bob")
			path, id := admin+"accounts/", sitetest.UUIDOf(t, s, "ada").String()
			if c.path == "" {
				c.form["accounts"] = []string{sitetest.UUIDOf(t, s, "carol").String(), id}
			} else {
				path += id + "/" + c.path
			}
			h := s.SignedIn("ada").LikeBrowser()
			asks := h.Post(path, c.form)
			require.Equal(t, http.StatusOK, asks.StatusCode, asks.Text)
			for _, want := range []string{ownAccount, c.said, "No other administrator has signed in yet.", `name="confirmed" value="yes"`, ">ada<"} {
				require.Contains(t, asks.Text, want)
			}
			require.True(t, s.Accounts.Policy.IsAdmin(s.Stored(id)))
			s.SignedIn("bob")
			require.NotContains(t, h.Post(path, c.form).Text, "No other administrator")
			c.form.Set("confirmed", "yes")
			res := h.Post(path, c.form)
			require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
			require.Equal(t, c.next, res.Header.Get("Location"))
			require.Equal(t, http.StatusOK, h.Follow(res).StatusCode)
		})
	}
}

// What leaves an admin his pages, or is done to somebody else, asks nothing more.
func TestActsThatDontAsk(t *testing.T) {
	s := newSite(t, []string{"bob", "carol"})
	makeAdmin(t, s, "bob")
	h := s.SignedIn("ada").LikeBrowser()
	require.Equal(t, http.StatusSeeOther, h.Post(pathOf(t, s, "ada", "groups")+"/", url.Values{"groups": {"staff admins"}}).StatusCode)
	require.Equal(t, http.StatusSeeOther, h.Post(pathOf(t, s, "carol", "disable")+"/", url.Values{}).StatusCode)
	require.NotContains(t, h.Get(pathOf(t, s, "bob", "delete")+"/").Text, ownAccount)
	page := h.Get(pathOf(t, s, "ada", "delete") + "/")
	require.Contains(t, page.Text, ownAccount)
	require.Contains(t, page.Text, `name="confirmed"`, "the page has asked")
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Post(pathOf(t, s, "ada", "disable"), nil).StatusCode, "a program knows what it does")
}

// An admin who has nothing to sign in with is no other one, and the page warns of those who
// have not set up the second step that the pages ask for.
func TestAdminsWhoCantGetIn(t *testing.T) {
	s := newSite(t, nil)
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "bea", Groups: []string{"admins"}})
	require.NoError(t, err)
	b, h := s.SignedIn("ada").Problems(), s.SignedIn("ada").LikeBrowser()
	own := pathOf(t, s, "ada", "disable")
	sitetest.RequireError(t, b.Post(own, nil), http.StatusConflict, "last_admin")
	require.Equal(t, http.StatusConflict, h.Post(own+"/", url.Values{}).StatusCode, "what is refused is not asked")
	s.Set(accountOf(t, s, "bea").ID.String(), func(u *store.User) { u.PasswordHash = s.Stored(sitetest.UUIDOf(t, s, "ada").String()).PasswordHash })
	require.Contains(t, h.Post(own+"/", url.Values{}).Text, ownAccount)

	s = newSite(t, []string{"bob"}, demanding)
	makeAdmin(t, s, "bob")
	s.SignedIn("bob")
	h = s.SignedIn("ada").LikeBrowser()
	secret := withTOTP(s, "ada")
	require.Contains(t, h.Post(pathOf(t, s, "ada", "disable")+"/", url.Values{"totp": {appShows(s, secret)}}).Text, "No other administrator has a second step yet")
}
