// asking_test.go: what is asked before an act, and what isn't.

package owner_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
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
		"delete":          {"delete/", url.Values{}, "no one can bring it back", "/accounts/login/"},
		"groups":          {"groups/", url.Values{"groups": {"staff"}}, "Without the group admins", "/accounts/profile/"},
		"no groups":       {"groups/", url.Values{"groups": {""}}, "Without the group admins", "/accounts/profile/"},
		"several":         {"", url.Values{"do": {"disable"}}, "another administrator has enabled it", "/accounts/login/"},
		"several deleted": {"", url.Values{"do": {"delete"}}, "no one can bring it back", "/accounts/login/"},
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

// Enabling who has not confirmed his address says what that skips, and offers what doesn't.
func TestEnablingSaysWhatItSkips(t *testing.T) {
	s := approvingSite(t, func(s *registration.Settings) { s.Register.Verification = nil })
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("greta"), sitetest.Data{"reason": "x"})).StatusCode)
	s.Mail()
	greta, path := accountOf(t, s, "greta"), pathOf(t, s, "greta", "enable")+"/"
	h := s.SignedIn("ada").LikeBrowser()
	for name, asks := range map[string]*sitetest.Answer{
		"one":     h.Post(path, url.Values{}),
		"the act": h.Get(path),
		"several": h.Post(admin+"accounts/", url.Values{"do": {"enable"}, "accounts": {greta.ID.String()}}),
	} {
		require.Equal(t, http.StatusOK, asks.StatusCode, name)
		require.Contains(t, asks.Text, "Not confirmed yet: greta. Enabling skips the confirmation of the address.", name)
		require.Contains(t, asks.Text, "It skips the approval too.", name)
	}
	require.False(t, s.Stored(greta.ID.String()).IsActive)
	again := pathOf(t, s, "greta", "mail-confirmation") + "/"
	require.Contains(t, h.Post(path, url.Values{}).Text, `action="`+again+`"`)
	require.Contains(t, h.Get(pathOf(t, s, "greta", "")+"/").Text, `action="`+again+`"`)

	// The mail comes once more, and its link works.
	require.Contains(t, h.Follow(h.Post(again, url.Values{})).Text, "The confirmation email has been sent.")
	mail := s.Mail()
	require.Equal(t, "greta@example.org", mail.To)
	require.Equal(t, sitetest.UUIDOf(t, s, "ada").String(), lastRow(t, s, greta.ID.String()).Actor)
	require.Equal(t, "link_created", lastRow(t, s, greta.ID.String()).Event)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(mail, t)).StatusCode)
	require.Equal(t, account.StateWaiting, account.StateOf(s.Stored(greta.ID.String())))
	require.Contains(t, h.Post(admin+"accounts/", url.Values{"do": {"enable"}, "accounts": {greta.ID.String()}}).Text, "Waiting for approval: greta. Enabling tells no one")

	// Who waits no longer gets none.
	sitetest.RequireError(t, s.SignedIn("ada").Problems().Post(again, nil), http.StatusConflict, "no_link")
	require.NotContains(t, h.Get(pathOf(t, s, "greta", "")+"/").Text, `action="`+again+`"`)
	require.Equal(t, http.StatusNotFound, h.Post(admin+"accounts/0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7/mail-confirmation/", url.Values{}).StatusCode)
	require.Equal(t, http.StatusSeeOther, h.Post(path, url.Values{"confirmed": {"yes"}}).StatusCode)
	require.True(t, s.Stored(greta.ID.String()).IsActive)
}

// For an address that is somebody's by now no confirmation is mailed.
func TestConfirmationOfATakenAddress(t *testing.T) {
	s := newSite(t, nil)
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("greta")).StatusCode)
	s.Mail()
	path := pathOf(t, s, "greta", "mail-confirmation")
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "gina", Email: "greta@example.org"})
	require.NoError(t, err)
	sitetest.RequireError(t, s.SignedIn("ada").Problems().Post(path, nil), http.StatusBadRequest, "email_already_registered")
	s.NoMail()
}

// The page that asks who one is says what waits for that, and for whom, and leads back.
func TestProvingSaysWhatFor(t *testing.T) {
	s := newSite(t, []string{"bob", "carol"})
	bob, carol := sitetest.UUIDOf(t, s, "bob").String(), sitetest.UUIDOf(t, s, "carol").String()
	h := s.SignedIn("ada").LikeBrowser()
	s.Travel(time.Hour)
	many := []string{bob, carol, "x"}
	for range 30 {
		many = append(many, bob)
	}
	for path, c := range map[string]struct {
		form url.Values
		want []string
	}{
		"accounts/" + bob + "/disable/":  {url.Values{}, []string{">Disable<", ">bob<", `href="/accounts/admin/accounts/` + bob + `/"`}},
		"accounts/" + bob + "/edit/":     {url.Values{}, []string{">Edit the profile<", ">bob<"}},
		"accounts/" + bob + "/sessions/": {url.Values{}, []string{">End sessions<", ">bob<"}},
		"accounts/":                      {url.Values{"do": {"delete"}, "accounts": many}, []string{">Delete<", ">bob, carol, bob", "…<", `href="/accounts/admin/accounts/"`}},
		"accounts/new/":                  {url.Values{}, []string{">New account<"}},
		"waiting/":                       {url.Values{"do": {"approve"}, "accounts": {carol}}, []string{">Approve<", ">carol<", `href="/accounts/admin/waiting/"`}},
		"invitations/":                   {url.Values{}, []string{">Revoke invitations<"}},
		"invitations/new/":               {url.Values{}, []string{">New invitation<"}},
		"mail/":                          {url.Values{}, []string{">Try all emails now<"}},
	} {
		page := h.Post(admin+path, c.form)
		require.Equal(t, http.StatusOK, page.StatusCode, path)
		for _, want := range append(c.want, "Confirm that it’s you", "Your choice") {
			require.Contains(t, page.Text, want, path)
		}
	}
}

// The page where an admin sets up a second step says that these pages ask for it, to
// admins alone.
func TestSetupSaysWhy(t *testing.T) {
	const why = "Administrators here need a second step. Set it up to continue."
	s := sitetest.NewWithPasskeys(t, withAdmins, demanding)
	s.Member("ada")
	s.Member("bob")
	makeAdmin(t, s, "ada")
	h := s.SignedIn("ada").LikeBrowser()
	to := h.Get(admin + "accounts/").Header.Get("Location")
	require.Contains(t, h.Get(to).Text, why)
	require.NotContains(t, h.Get("/accounts/enrol-totp/").Text, why)
	require.NotContains(t, s.SignedIn("bob").LikeBrowser().Get(to).Text, why)
}

// What is so already is not done again: the note says so, and the record has no second row.
func TestActsThatAreDoneAlready(t *testing.T) {
	s := newSite(t, []string{"bob", "eve"})
	h := s.SignedIn("ada").LikeBrowser()
	rows := func(event audit.Event) int {
		page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Event: string(event), Limit: 10})
		require.NoError(t, err)
		return len(page.Rows)
	}
	post := func(act string) string { return h.Follow(h.Post(pathOf(t, s, "bob", act)+"/", nil)).Text }
	require.Contains(t, post("enable"), "Nothing has changed. The account was already enabled.")
	require.Zero(t, rows(audit.AccountEnabled))
	require.Contains(t, post("disable"), "The account has been disabled.")
	require.Contains(t, post("disable"), "Nothing has changed. The account was already disabled.")
	require.Equal(t, 1, rows(audit.AccountDisabled))
	both := sitetest.Data{"do": "disable", "accounts": []string{sitetest.UUIDOf(t, s, "bob").String(), sitetest.UUIDOf(t, s, "eve").String()}}
	res := s.SignedIn("ada").Post(admin+"accounts", both)
	require.Contains(t, res.Text, "refused")
	require.Equal(t, 2, rows(audit.AccountDisabled))
	require.Contains(t, h.Follow(h.Post(admin+"accounts/", url.Values{"do": {"disable"}, "accounts": both["accounts"].([]string)})).Text, "Nothing has changed. The 2 accounts were already disabled.")
	require.Equal(t, 2, rows(audit.AccountDisabled))
}

// The record says which groups came and went, so that it has who was made an admin.
func TestGroupsInTheRecord(t *testing.T) {
	s := newSite(t, []string{"bob"})
	h := s.SignedIn("ada")
	set := func(groups ...string) map[string]string {
		require.Equal(t, http.StatusOK, h.Post(pathOf(t, s, "bob", "groups"), sitetest.Data{"groups": groups}).StatusCode)
		page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Event: string(audit.ProfileChanged), Limit: 1, Newest: true})
		require.NoError(t, err)
		return page.Rows[0].Details
	}
	require.Equal(t, map[string]string{"fields": "groups", "groups_added": "admins choir"}, set("admins", "choir"))
	require.Equal(t, map[string]string{"fields": "groups", "groups_added": "board", "groups_removed": "admins"}, set("choir", "board"))
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "fay", Groups: []string{"admins"}})
	require.NoError(t, err)
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Event: string(audit.AccountRegistered), Limit: 1, Newest: true})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"by": "administrator", "groups_added": "admins"}, page.Rows[0].Details)
}

// What an act ends is said before it, who only waits is no member, and a note names those
// of whom it is about.
func TestWordsBesideActs(t *testing.T) {
	s := approvingSite(t)
	h := s.SignedIn("ada").LikeBrowser()
	bob, eve := waits(t, s, "bob", "x"), waits(t, s, "eve", "x")
	page := h.Get(admin + "accounts/" + bob + "/").Text
	require.Contains(t, page, "<dt>Signed up</dt>")
	require.NotContains(t, page, "Member since")
	require.Contains(t, page, "<h2>Sessions of bob</h2>")
	require.Contains(t, page, "Links emailed before no longer work.")
	require.Contains(t, h.Get(admin+"accounts/"+bob+"/delete/").Text, "<p>bob@example.org</p>")
	res := h.Post(admin+"waiting/", url.Values{"do": {"approve"}, "accounts": {bob, eve}})
	require.Contains(t, h.Follow(res).Text, "2 accounts have been approved. Accounts: bob, eve")
	require.Contains(t, h.Get(admin+"accounts/"+bob+"/").Text, "<dt>Member since</dt>")
}

// An invitation says what it skips, whom it is for and how long it is good.
func TestWordsOfInvitations(t *testing.T) {
	h := newSite(t, nil).SignedIn("ada").LikeBrowser()
	require.Contains(t, h.Get(admin+"invitations/new/").Text, "An invited person needs no approval")
	page := h.Post(admin+"invitations/new/", url.Values{"email": {"ivy@example.org"}, "uses": {"10"}}).Text
	require.Contains(t, page, "Leave the number at 1. An invitation with an address is for one person.")
	page = h.Post(admin+"invitations/new/", url.Values{"uses": {"10"}, "groups": {"choir"}, "expires": {"7d"}}).Text
	for _, want := range []string{"<dt>For</dt><dd><bdi>Anyone</bdi></dd>", "<dt>Number of sign-ups</dt><dd><bdi>10</bdi></dd>", "<dt>Valid until</dt>", "<dd><bdi>choir</bdi></dd>"} {
		require.Contains(t, page, want)
	}
}
