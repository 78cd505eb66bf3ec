// acts_test.go: what an owner does with accounts, by form and by JSON.

package owner_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// approving has a sign-up that somebody has to approve, with a reason.
func approving(s *registration.Settings) {
	s.Register.Mode, s.Register.Reason, s.Register.Verification = account.ModeApprove, "required", sitetest.Off()
}

// waits signs up somebody who waits for approval then.
func waits(t *testing.T, s *sitetest.Site, name, reason string) string {
	t.Helper()
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"reason": reason}))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	return sitetest.UUIDOf(t, s, name).String()
}

// approvingSite has ada, an admin, of a site whose sign-ups she approves.
func approvingSite(t *testing.T, configure ...func(*registration.Settings)) *sitetest.Site {
	t.Helper()
	s := sitetest.New(t, append([]func(*registration.Settings){withAdmins, approving}, configure...)...)
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Email: "ada@example.org", Groups: []string{"admins"}, Password: sitetest.Password})
	require.NoError(t, err)
	return s
}

func accountOf(t *testing.T, s *sitetest.Site, name string) *store.User {
	t.Helper()
	u, err := s.Accounts.Lookup(t.Context(), name)
	require.NoError(t, err)
	return u
}

func pathOf(t *testing.T, s *sitetest.Site, name, act string) string {
	t.Helper()
	return strings.TrimSuffix(admin+"accounts/"+sitetest.UUIDOf(t, s, name).String()+"/"+act, "/")
}

// lastRow is the newest row of the record about an account.
func lastRow(t *testing.T, s *sitetest.Site, id string) *store.Audit {
	t.Helper()
	rows := rowsOf(t, s, id)
	require.NotEmpty(t, rows)
	return rows[0]
}

// rowsOf are the newest rows of the record about an account, the newest first.
func rowsOf(t *testing.T, s *sitetest.Site, id string) []*store.Audit {
	t.Helper()
	u, _ := store.ParseID(id)
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Account: u, Newest: true, Limit: 10})
	require.NoError(t, err)
	return page.Rows
}

// Each act on one account, as JSON: what it does, and that the record has who did it.
func TestActs(t *testing.T) {
	for _, c := range []struct {
		act   string
		body  sitetest.Data
		check func(t *testing.T, s *sitetest.Site, u *store.User)
		event audit.Event
	}{
		{"edit", sitetest.Data{"first_name": "Bob", "is_staff": true, "nick": "bobby"}, func(t *testing.T, _ *sitetest.Site, u *store.User) {
			require.Equal(t, "Bob", u.FirstName)
			require.True(t, u.IsStaff)
			require.Equal(t, "bobby", u.Extra["nick"])
		}, audit.ProfileChanged},
		{"groups", sitetest.Data{"groups": []string{"staff", "friends"}}, func(t *testing.T, _ *sitetest.Site, u *store.User) {
			require.Equal(t, []string{"staff", "friends"}, u.Groups)
		}, audit.ProfileChanged},
		{"add-group", sitetest.Data{"group": "friends"}, func(t *testing.T, _ *sitetest.Site, u *store.User) {
			require.Equal(t, []string{"staff", "friends"}, u.Groups)
		}, audit.ProfileChanged},
		{"set-username", sitetest.Data{"username": "robert"}, func(t *testing.T, s *sitetest.Site, u *store.User) {
			require.Equal(t, "robert", u.Username)
			require.Equal(t, "bob@example.org", s.Notice().To)
		}, audit.ProfileChanged},
		{"set-email", sitetest.Data{"email": "robert@example.org"}, func(t *testing.T, s *sitetest.Site, u *store.User) {
			require.Equal(t, "robert@example.org", u.Email)
			require.True(t, u.EmailVerified)
			require.Equal(t, "bob@example.org", s.Mail().To)
		}, audit.EmailChanged},
		{"mail-link", nil, func(t *testing.T, s *sitetest.Site, _ *store.User) {
			require.Equal(t, "bob@example.org", s.Mail().To)
		}, audit.LinkCreated},
		{"sign-out", nil, func(t *testing.T, s *sitetest.Site, u *store.User) {
			list, err := s.Accounts.SignInsOf(t.Context(), u)
			require.NoError(t, err)
			require.Empty(t, list)
		}, audit.SessionsEnded},
		{"disable", nil, func(t *testing.T, _ *sitetest.Site, u *store.User) { require.False(t, u.IsActive) }, audit.AccountDisabled},
		{"enable", nil, func(t *testing.T, _ *sitetest.Site, u *store.User) { require.True(t, u.IsActive) }, audit.AccountEnabled},
	} {
		t.Run(c.act, func(t *testing.T) {
			s := newSite(t, []string{"bob"}, sitetest.WithFields(field.Spec{Name: "nick", Type: "text"}))
			id := sitetest.UUIDOf(t, s, "bob").String()
			_, err := s.Accounts.SetGroups(t.Context(), accountOf(t, s, "bob").ID, []string{"staff"}, nil)
			require.NoError(t, err)
			s.SignedIn("bob")
			b := s.SignedIn("ada")
			if c.act == "enable" {
				require.Equal(t, http.StatusOK, b.Post(admin+"accounts/"+id+"/disable", nil).StatusCode)
			}
			res := b.Post(admin+"accounts/"+id+"/"+c.act, sitetest.With(sitetest.Data{}, c.body))
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Contains(t, res.JSON(t), "detail")
			c.check(t, s, s.Stored(id))
			row := lastRow(t, s, id)
			require.Equal(t, string(c.event), row.Event)
			require.Equal(t, sitetest.UUIDOf(t, s, "ada").String(), row.Actor)
		})
	}
}

// The same acts by their forms: the page that asks, the act, the page that says so.
func TestForms(t *testing.T) {
	for act, c := range map[string]struct {
		form url.Values
		note string
	}{
		"edit":         {url.Values{"first_name": {"Bob"}, "last_name": {"Builder"}}, "The account has been changed."},
		"groups":       {url.Values{"groups": {" staff, friends\tothers "}}, "The account has been changed."},
		"set-username": {url.Values{"username": {"robert"}}, "The account has been changed."},
		"set-email":    {url.Values{"email": {""}}, "The account has been changed."},
		"mail-link":    {nil, "The link has been emailed."},
		"sign-out":     {nil, "The person has been signed out everywhere."},
		"disable":      {nil, "The account has been disabled."},
		"delete":       {nil, "The account has been deleted."},
	} {
		t.Run(act, func(t *testing.T) {
			s := newSite(t, []string{"bob"})
			id := sitetest.UUIDOf(t, s, "bob").String()
			b := s.SignedIn("ada").LikeBrowser()
			require.Contains(t, b.Get(admin+"accounts/"+id+"/").Text, "/"+act+"/")
			page := b.Get(admin + "accounts/" + id + "/" + act + "/")
			require.Equal(t, http.StatusOK, page.StatusCode)
			require.Contains(t, page.Text, `action="/accounts/admin/accounts/`+id+"/"+act+`/"`)
			if c.form == nil {
				c.form = url.Values{}
			}
			res := b.Post(admin+"accounts/"+id+"/"+act+"/", c.form)
			next := b.Follow(res)
			require.Equal(t, http.StatusOK, next.StatusCode)
			require.Contains(t, next.Text, c.note)
			require.NotContains(t, b.Get(res.Header.Get("Location")).Text, c.note, "told once")
			if act == "groups" {
				require.Equal(t, []string{"staff", "friends", "others"}, s.Stored(id).Groups)
			}
		})
	}
}

// What is refused is shown on the page, with what was typed.
func TestRefusedForms(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	b := s.SignedIn("ada").LikeBrowser()
	for act, c := range map[string]struct {
		form   url.Values
		status int
		want   []string
	}{
		"set-username": {url.Values{"username": {"ada"}}, 400, []string{`value="ada"`, `id="username-error"`}},
		"set-email":    {url.Values{"email": {"no address"}}, 400, []string{`value="no address"`, `id="email-error"`}},
		"groups":       {url.Values{"groups": {"a!b"}}, 400, []string{`value="a!b"`, `id="groups-error"`}},
		"edit":         {url.Values{"first_name": {strings.Repeat("x", 500)}}, 400, []string{`id="first_name-error"`}},
		"approve":      {url.Values{}, 409, []string{"isn’t waiting for approval"}},
		"refuse":       {url.Values{"message": {strings.Repeat("x", 3000)}}, 400, []string{`id="message-error"`}},
	} {
		t.Run(act, func(t *testing.T) {
			res := b.Post(admin+"accounts/"+id+"/"+act+"/", c.form)
			require.Equal(t, c.status, res.StatusCode)
			for _, want := range append(c.want, `role="alert"`) {
				require.Contains(t, res.Text, want)
			}
		})
	}
	// What an act needs and wasn't sent, as JSON.
	p := s.SignedIn("ada").Problems()
	for act, body := range map[string]sitetest.Data{"set-username": {"username": []int{1}}, "set-email": {}, "groups": {}, "add-group": {}, "edit": {"is_staff": "perhaps"}} {
		res := p.Post(admin+"accounts/"+id+"/"+act, body)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, act)
		require.NotEmpty(t, res.JSON(t)["errors"], act)
	}
	require.Equal(t, http.StatusBadRequest, p.Post(admin+"accounts/"+id+"/groups", sitetest.Data{"groups": "staff"}).StatusCode)
	require.Equal(t, "Bad Request", p.Post(admin+"accounts/"+id+"/add-group", sitetest.Data{"group": "a!b"}).JSON(t)["title"])
	sitetest.RequireError(t, p.Post(admin+"accounts/0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7/disable", nil), http.StatusNotFound, "not_found")
	require.Equal(t, http.StatusMethodNotAllowed, p.Get(admin+"accounts/"+id+"/disable").StatusCode)
}

var shownLink = regexp.MustCompile(`<textarea id="copy" rows="4" readonly>([^<]+)</textarea>`)

// A link is shown once; nobody else's page or record has it.
func TestMakeLink(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	b := s.SignedIn("ada").LikeBrowser()
	page := b.Post(admin+"accounts/"+id+"/make-link/", url.Values{})
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Equal(t, "no-store", page.Header.Get("Cache-Control"))
	link := strings.ReplaceAll(shownLink.FindStringSubmatch(page.Text)[1], "&amp;", "&")
	require.Contains(t, link, "/accounts/reset-password/?")
	require.NotContains(t, b.Get(admin+"accounts/"+id+"/").Text, "signature")
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, s.Browser().LikeBrowser().Get(u.RequestURI()).StatusCode)
	require.Contains(t, s.SignedIn("ada").Post(admin+"accounts/"+id+"/make-link", nil).JSON(t)["link"], "signature=")
	// There is none for who may not sign in.
	b.Post(admin+"accounts/"+id+"/disable/", url.Values{})
	sitetest.RequireError(t, s.SignedIn("ada").Problems().Post(admin+"accounts/"+id+"/make-link", nil), http.StatusConflict, "no_link")
	res := b.Post(admin+"accounts/"+id+"/mail-link/", url.Values{})
	require.Equal(t, http.StatusConflict, res.StatusCode)
	require.Contains(t, res.Text, "there’s no link for it")
}

func TestSessions(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	one, other := s.SignedIn("bob"), s.SignedIn("bob")
	b := s.SignedIn("ada")
	list := b.Get(admin + "accounts/" + id).JSON(t)["sessions"].([]any)
	require.Len(t, list, 2)
	path := admin + "accounts/" + id + "/sessions"
	sitetest.RequireError(t, b.Problems().Post(path, sitetest.Data{"sessions": []string{"x"}}), http.StatusNotFound, "session_not_found")
	require.Equal(t, http.StatusBadRequest, b.Post(path, nil).StatusCode)
	first := list[0].(map[string]any)["id"].(string)
	require.Equal(t, http.StatusOK, b.Post(path, sitetest.Data{"sessions": []string{first, "x"}}).StatusCode)
	statuses := []int{one.Get("/accounts/profile").StatusCode, other.Get("/accounts/profile").StatusCode}
	slices.Sort(statuses)
	require.Equal(t, []int{200, 401}, statuses)
	p := s.SignedIn("ada").LikeBrowser()
	second := list[1].(map[string]any)["id"].(string)
	require.Contains(t, p.Get(admin+"accounts/"+id+"/").Text, `name="sessions" value="`+second+`"`)
	require.Contains(t, p.Follow(p.Post(path+"/", url.Values{"sessions": {second}, "do": {"end"}})).Text, "The session has ended.")
	require.Equal(t, http.StatusBadRequest, p.Post(path+"/", url.Values{}).StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, p.Get(path).StatusCode)
	require.Equal(t, http.StatusNotFound, p.Post(admin+"accounts/0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7/sessions", url.Values{}).StatusCode)
}

func TestWaiting(t *testing.T) {
	s := approvingSite(t)
	ids := map[string]string{}
	for _, name := range []string{"bob", "carol", "dan", "eve", "fay"} {
		ids[name] = waits(t, s, name, "I am "+name+" <b>")
	}
	require.Len(t, s.SignedIn("ada").Get(admin + "waiting").JSON(t)["accounts"], 5)
	b := s.SignedIn("ada").LikeBrowser()
	page := b.Get(admin + "waiting/")
	require.Contains(t, page.Text, "I am bob &lt;b&gt;")
	// Three are approved at once.
	res := b.Post(admin+"waiting/", url.Values{"do": {"approve"}, "accounts": {ids["bob"], ids["carol"], ids["dan"], ids["dan"]}})
	require.Contains(t, b.Follow(res).Text, "3 accounts have been approved.")
	for range 3 {
		require.Contains(t, s.Mail().Subject, "approved")
	}
	// One is refused, with a text.
	asks := b.Post(admin+"waiting/", url.Values{"do": {"refuse"}, "accounts": {ids["eve"]}})
	require.Equal(t, http.StatusOK, asks.StatusCode)
	for _, want := range []string{"<h1>Refuse</h1>", ">eve<", `<textarea id="message"`, `name="accounts" value="` + ids["eve"], `name="confirmed"`} {
		require.Contains(t, asks.Text, want)
	}
	require.NotNil(t, accountOf(t, s, "eve"))
	res = b.Post(admin+"waiting/", url.Values{"do": {"refuse"}, "accounts": {ids["eve"]}, "message": {"Not this year."}, "confirmed": {"yes"}})
	require.Contains(t, b.Follow(res).Text, "The account has been refused and removed.")
	require.Contains(t, s.Mail().Text, "Not this year.")
	// What can't be done to some is told of them.
	res = b.Post(admin+"waiting/", url.Values{"do": {"approve"}, "accounts": {ids["bob"], ids["fay"]}})
	require.Equal(t, http.StatusOK, res.StatusCode)
	for _, want := range []string{"The account has been approved.", "Not done", ">bob</a>", "waiting for approval"} {
		require.Contains(t, res.Text, want)
	}
	require.Contains(t, b.Get(admin+"waiting/").Text, "No one is waiting for approval.")
	body := s.SignedIn("ada").Post(admin+"waiting", sitetest.Data{"do": "approve", "accounts": []string{ids["bob"]}}).JSON(t)
	require.Empty(t, body["done"])
	require.Equal(t, "not_waiting", body["refused"].([]any)[0].(map[string]any)["code"])
}

// Whom an owner writes to is written to in the language of the site, whatever the owner's is.
func TestLanguageOfTheMails(t *testing.T) {
	s := approvingSite(t)
	h := s.SignedIn("ada").LikeBrowser().Set("Accept-Language", "de")
	for _, act := range []string{"approve", "refuse"} {
		id := waits(t, s, act, "x")
		require.Equal(t, http.StatusSeeOther, h.Post(admin+"accounts/"+id+"/"+act+"/", nil).StatusCode)
		require.Equal(t, "en", s.Mail().Language, act)
	}
}

// For an address whose owner waits no invitation is made: he can be approved.
func TestInvitingWhoWaits(t *testing.T) {
	s := approvingSite(t)
	id := waits(t, s, "bob", "x")
	h := s.SignedIn("ada").LikeBrowser()
	page := h.Post(admin+"invitations/new/", url.Values{"email": {"BOB@example.org"}})
	require.Equal(t, http.StatusBadRequest, page.StatusCode)
	require.Contains(t, page.Text, "An account with this address is waiting for approval. Approve it instead.")
	require.Contains(t, page.Text, `href="/accounts/admin/accounts/`+id+`/">bob</a>`)
	require.Contains(t, page.Text, `value="BOB@example.org"`)
	page = h.Post(admin+"invitations/new/", url.Values{"email": {"ada@example.org"}})
	require.NotContains(t, page.Text, "Approve it instead")
	require.Contains(t, page.Text, ">ada</a></li>")
	require.NotContains(t, h.Post(admin+"invitations/new/", url.Values{"uses": {"x"}}).Text, `class="buttons"`)
}

func TestSeveral(t *testing.T) {
	s := newSite(t, []string{"bob", "carol", "dan"})
	ids := []string{}
	for _, name := range []string{"bob", "carol"} {
		ids = append(ids, sitetest.UUIDOf(t, s, name).String())
	}
	b := s.SignedIn("ada")
	for _, c := range []struct {
		do    string
		more  sitetest.Data
		check func(u *store.User) bool
	}{
		{"disable", nil, func(u *store.User) bool { return !u.IsActive }},
		{"enable", nil, func(u *store.User) bool { return u.IsActive }},
		{"add-group", sitetest.Data{"group": "friends"}, func(u *store.User) bool { return slices.Contains(u.Groups, "friends") }},
	} {
		res := b.Post(admin+"accounts", sitetest.With(sitetest.Data{"do": c.do, "accounts": ids}, c.more))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		require.Len(t, res.JSON(t)["done"], 2)
		for _, id := range ids {
			require.True(t, c.check(s.Stored(id)), "%s %s", c.do, id)
		}
	}
	p := s.SignedIn("ada").Problems()
	for name, body := range map[string]sitetest.Data{
		"nothing":         {},
		"nobody":          {"do": "disable"},
		"no list":         {"do": "disable", "accounts": "x"},
		"an unknown act":  {"do": "make-link", "accounts": ids},
		"no group":        {"do": "add-group", "accounts": ids},
		"no such a group": {"do": "add-group", "accounts": ids, "group": "a!b"},
		"too many":        {"do": "disable", "accounts": make([]string, 501)},
	} {
		require.Equal(t, http.StatusBadRequest, p.Post(admin+"accounts", body).StatusCode, name)
	}
	sitetest.RequireError(t, p.Post(admin+"accounts", sitetest.Data{"do": "disable", "accounts": []string{"0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7"}}), http.StatusNotFound, "not_found")
	h := s.SignedIn("ada").LikeBrowser()
	none := h.Post(admin+"accounts/", url.Values{"do": {"disable"}})
	require.Equal(t, http.StatusBadRequest, none.StatusCode)
	require.Contains(t, none.Text, "Select something in the list first.")
	asks := h.Post(admin+"accounts/", url.Values{"do": {"add-group"}, "accounts": ids, "confirmed": {"yes"}, "group": {"a!b"}})
	require.Contains(t, asks.Text, `id="group-error"`)
	// Deleting asks before.
	asks = h.Post(admin+"accounts/", url.Values{"do": {"delete"}, "accounts": ids})
	require.Contains(t, asks.Text, "This can’t be undone.")
	require.NotNil(t, s.Stored(ids[0]))
	gone := h.Post(admin+"accounts/", url.Values{"do": {"delete"}, "accounts": append(ids, "x"), "confirmed": {"yes"}})
	require.Contains(t, h.Follow(gone).Text, "2 accounts have been deleted.")
	require.Len(t, b.Get(admin + "accounts").JSON(t)["accounts"], 2)
}

func TestCreate(t *testing.T) {
	s := newSite(t, nil)
	h := s.SignedIn("ada").LikeBrowser()
	require.Contains(t, h.Get(admin+"accounts/new/").Text, "<h1>New account</h1>")
	for login, want := range map[string][2]bool{"username": {true, false}, "email": {false, true}, "username email": {false, false}} {
		by := sitetest.New(t, withAdmins, sitetest.LoginBy(strings.Fields(login)...))
		by.Set(by.Member("ada"), func(u *store.User) { u.Groups = []string{"admins"} })
		text := by.SignedIn(map[bool]string{true: "ada@example.org", false: "ada"}[login == "email"]).LikeBrowser().Get(admin + "accounts/new/").Text
		for i, name := range []string{"username", "email"} {
			require.Equal(t, want[i], regexp.MustCompile(`<input id="`+name+`"[^>]* required`).MatchString(text), "%s with %s", name, login)
		}
	}
	page := h.Post(admin+"accounts/new/", url.Values{"username": {"bob"}, "email": {""}, "groups": {"staff friends"}})
	require.Equal(t, http.StatusOK, page.StatusCode, page.Text)
	require.Contains(t, page.Text, "The account has been created.")
	require.NotNil(t, shownLink.FindStringSubmatch(page.Text))
	require.Equal(t, []string{"staff", "friends"}, accountOf(t, s, "bob").Groups)
	res := h.Post(admin+"accounts/new/", url.Values{"username": {"carol"}, "email": {"carol@example.org"}, "mail": {"true"}})
	require.Contains(t, h.Follow(res).Text, "we’ve emailed its link")
	require.Equal(t, "carol@example.org", s.Mail().To)
	wrong := h.Post(admin+"accounts/new/", url.Values{"username": {"carol"}, "mail": {"true"}})
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, wrong.Text, `id="username-error"`)
	b := s.SignedIn("ada")
	made := b.Post(admin+"accounts/new", sitetest.Data{"username": "dan", "groups": []string{"staff"}}).JSON(t)
	require.Contains(t, made["link"], "signature=")
	require.Equal(t, "dan", made["username"])
	made = b.Post(admin+"accounts/new", sitetest.Data{"username": "eve", "email": "eve@example.org", "mail": true}).JSON(t)
	require.Equal(t, "eve@example.org", made["mailed_to"])
	for name, body := range map[string]sitetest.Data{"no name": {}, "groups": {"username": "x", "groups": "staff"}, "mail": {"username": "x", "mail": "perhaps"}} {
		require.Equal(t, http.StatusBadRequest, b.Post(admin+"accounts/new", body).StatusCode, name)
	}
	require.Equal(t, sitetest.UUIDOf(t, s, "ada").String(), lastRow(t, s, made["id"].(string)).Actor)
}

// Where no link can lead anywhere, the account is made all the same.
func TestCreateWithoutLinks(t *testing.T) {
	s := newSite(t, nil)
	clear(s.Accounts.Links)
	made := s.SignedIn("ada").Post(admin+"accounts/new", sitetest.Data{"username": "dan", "email": "dan@example.org", "mail": true})
	require.Equal(t, http.StatusOK, made.StatusCode)
	require.NotContains(t, made.JSON(t), "link")
	h := s.SignedIn("ada").LikeBrowser()
	require.Contains(t, h.Follow(h.Post(admin+"accounts/new/", url.Values{"username": {"eve"}})).Text, "The account has been created.")
}

// A sign-in that is not fresh is asked for the password; then the act goes on with what
// was typed.
func TestStaleSignIn(t *testing.T) {
	s := newSite(t, []string{"bob", "carol"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	b, h := s.SignedIn("ada"), s.SignedIn("ada").LikeBrowser()
	s.Travel(15 * time.Minute)
	require.Equal(t, http.StatusOK, b.Get(admin+"accounts").StatusCode, "looking is free")
	path := admin + "accounts/" + id + "/edit"
	require.Equal(t, "reauthentication_required", sitetest.FieldCodes(t, b.Problems().Post(path, sitetest.Data{"first_name": "Bob"}), "password"))
	require.Equal(t, "password_incorrect", sitetest.FieldCodes(t, b.Problems().Post(path, sitetest.Data{"first_name": "Bob", "password": "wrong"}), "password"))
	asks := h.Post(path+"/", url.Values{"first_name": {`B"ob`}, "x": {"1", "2"}})
	require.Equal(t, http.StatusOK, asks.StatusCode)
	for _, want := range []string{"Confirm that it’s you", `action="` + path + `/"`, `name="first_name" value="B&#34;ob"`, `name="x" value="1"`, `name="x" value="2"`, `type="password"`} {
		require.Contains(t, asks.Text, want)
	}
	wrong := h.Post(path+"/", url.Values{"first_name": {"Bob"}, "password": {"wrong"}})
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, wrong.Text, `name="first_name" value="Bob"`)
	require.NotContains(t, wrong.Text, `value="wrong"`)
	require.Empty(t, s.Stored(id).FirstName)
	res := h.Post(path+"/", url.Values{"first_name": {"Bob"}, "password": {sitetest.Password}})
	require.Contains(t, h.Follow(res).Text, "The account has been changed.")
	require.Equal(t, "Bob", s.Stored(id).FirstName)
	// From then on the sign-in is a fresh one, for so long.
	s.Travel(14 * time.Minute)
	require.Equal(t, http.StatusSeeOther, h.Post(path+"/", url.Values{"first_name": {"Rob"}}).StatusCode)
	s.Travel(time.Minute)
	require.Equal(t, http.StatusOK, h.Post(path+"/", url.Values{"first_name": {"Tob"}}).StatusCode)
	require.Equal(t, "Rob", s.Stored(id).FirstName)
	// Several keep all that were ticked.
	asks = h.Post(admin+"accounts/", url.Values{"do": {"disable"}, "accounts": {id, sitetest.UUIDOf(t, s, "carol").String()}})
	require.Equal(t, 2, strings.Count(asks.Text, `name="accounts"`))
}

// Guesses at the password count as those at a sign-in.
func TestStaleSignInIsThrottled(t *testing.T) {
	s := newSite(t, []string{"bob"}, sitetest.Throttled)
	b := s.SignedIn("ada").Problems()
	s.Travel(time.Hour)
	path := pathOf(t, s, "bob", "disable")
	for i := range 11 {
		res := b.Post(path, sitetest.Data{"password": fmt.Sprint("wrong", i)})
		if i == 10 || res.StatusCode == http.StatusTooManyRequests {
			sitetest.RequireError(t, res, http.StatusTooManyRequests, "throttled")
			break
		}
	}
	require.True(t, accountOf(t, s, "bob").IsActive)
}
