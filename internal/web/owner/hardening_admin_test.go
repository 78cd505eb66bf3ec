// hardening_admin_test.go: attacks on the owner's pages: by members, by foreign pages,
// by what members write, and by admins on each other.

package owner_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The last admin stays, whoever tries and by what; nobody else is kept.
func TestLastAdminStays(t *testing.T) {
	s := newSite(t, []string{"bob"})
	b, h := s.SignedIn("ada").Problems(), s.SignedIn("ada").LikeBrowser()
	ada := sitetest.UUIDOf(t, s, "ada").String()
	for act, body := range map[string]sitetest.Data{"groups": {"groups": []string{}}, "disable": {}, "delete": {}} {
		sitetest.RequireError(t, b.Post(admin+"accounts/"+ada+"/"+act, body), http.StatusConflict, "last_admin")
	}
	several := b.Post(admin+"accounts", sitetest.Data{"do": "disable", "accounts": []string{ada, sitetest.UUIDOf(t, s, "bob").String()}}).JSON(t)
	require.Equal(t, "last_admin", several["refused"].([]any)[0].(map[string]any)["code"])
	require.Len(t, several["done"], 1)
	page := h.Post(admin+"accounts/"+ada+"/delete/", url.Values{})
	require.Equal(t, http.StatusConflict, page.StatusCode)
	require.Contains(t, page.Text, "Make someone else an administrator first")
	// One who may not sign in is no other.
	makeAdmin(t, s, "bob")
	sitetest.RequireError(t, b.Post(admin+"accounts/"+ada+"/disable", nil), http.StatusConflict, "last_admin")
	require.Equal(t, http.StatusOK, b.Post(pathOf(t, s, "bob", "enable"), nil).StatusCode)
	require.Equal(t, http.StatusOK, b.Post(admin+"accounts/"+ada+"/groups", sitetest.Data{"groups": []string{}}).StatusCode)
	require.Equal(t, http.StatusNotFound, b.Get(admin+"accounts").StatusCode, "at the very next request")
	// The command line may.
	no := false
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "bob"), account.AdminChange{IsActive: &no})
	require.NoError(t, err)
}

// Two admins remove each other at once: one of them is left, whoever was faster.
func TestAdminsRemoveEachOther(t *testing.T) {
	for range 5 {
		s := newSite(t, []string{"bob"})
		makeAdmin(t, s, "bob")
		tries := []func() *sitetest.Answer{}
		for by, whom := range map[string]string{"ada": "bob", "bob": "ada"} {
			b, path := s.SignedIn(by), pathOf(t, s, whom, "delete")
			tries = append(tries, func() *sitetest.Answer { return b.Post(path, nil) })
		}
		got := sitetest.RaceOf(2, func(i int) int { return tries[i]().StatusCode })
		require.Equal(t, 1, got[http.StatusOK], "%v", got)
		left := 0
		for _, name := range []string{"ada", "bob"} {
			if u, err := s.Accounts.Lookup(t.Context(), name); err == nil && s.Accounts.Policy.IsAdmin(u) {
				left++
			}
		}
		require.Equal(t, 1, left)
	}
}

// Who is no admin any more acts no more, though his request was let in before: each act
// looks again, in its transaction.
func TestFormerAdminActsNoMore(t *testing.T) {
	s := newSite(t, []string{"bob", "carol"})
	ctx := s.Acting(t.Context(), "bob")
	id := sitetest.UUIDOf(t, s, "carol")
	no, who := false, accountOf(t, s, "carol")
	for name, act := range map[string]func() error{
		"disable":  func() error { _, err := s.Accounts.Administer(ctx, id, account.AdminChange{IsActive: &no}); return err },
		"groups":   func() error { _, err := s.Accounts.SetGroups(ctx, id, []string{"x"}, nil); return err },
		"delete":   func() error { return s.Accounts.Delete(ctx, id) },
		"approve":  func() error { _, _, err := s.Accounts.Approve(ctx, id); return err },
		"refuse":   func() error { _, err := s.Accounts.Refuse(ctx, id, ""); return err },
		"link":     func() error { _, err := s.Accounts.ResetLink(ctx, who); return err },
		"mail":     func() error { return s.Accounts.MailResetLink(ctx, who) },
		"sign out": func() error { _, err := s.Accounts.EndSignIns(ctx, id); return err },
		"invite":   func() error { _, _, err := s.Accounts.Invite(ctx, account.NewInvitation{}); return err },
		"revoke":   func() error { return s.Accounts.RevokeInvitation(ctx, id) },
		"create":   func() error { _, err := s.Accounts.Create(ctx, account.NewAccount{Username: "dan"}); return err },
	} {
		require.ErrorContains(t, act(), "not_found", name)
	}
	require.Equal(t, who, accountOf(t, s, "carol"))
	s.NoMail()
}

// A page of another site posts nothing, and shows nothing in a frame.
func TestForeignPages(t *testing.T) {
	s := newSite(t, []string{"bob"})
	b := s.SignedIn("ada").Problems().Set("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	for _, path := range []string{pathOf(t, s, "bob", "delete"), admin + "accounts", admin + "waiting", admin + "accounts/new"} {
		sitetest.RequireError(t, b.Post(path, nil), http.StatusForbidden, "cross_origin")
	}
	require.NotNil(t, accountOf(t, s, "bob"))
	page := s.SignedIn("ada").LikeBrowser().Get(admin + "accounts/")
	require.Contains(t, page.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
}

// Tokens of programs read, and do nothing.
func TestTokensReadOnly(t *testing.T) {
	for name, configure := range map[string]func(*sitetest.Site) *sitetest.Browser{
		"token": func(s *sitetest.Site) *sitetest.Browser { b, _ := s.Tokens("ada"); return b },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob"}, sitetest.WithTokens)
			b := configure(s).Problems()
			require.Equal(t, http.StatusOK, b.Get(admin+"accounts").StatusCode)
			require.Equal(t, http.StatusOK, b.Get(pathOf(t, s, "bob", "")).StatusCode)
			for _, path := range []string{pathOf(t, s, "bob", "disable"), admin + "accounts", admin + "waiting", admin + "accounts/new"} {
				sitetest.RequireError(t, b.Post(path, nil), http.StatusForbidden, "permission_denied")
			}
		})
	}
	s := newSite(t, []string{"bob"}, sitetest.WithJWT)
	b, _ := s.Tokens("ada")
	require.Equal(t, http.StatusOK, b.Get(admin+"accounts").StatusCode)
	sitetest.RequireError(t, b.Problems().Post(pathOf(t, s, "bob", "delete"), nil), http.StatusForbidden, "permission_denied")
}

// What a member can write stands on the pages as text, wherever they show it.
func TestStoredHTML(t *testing.T) {
	const evil = `"><img src=x onerror=alert(1)><script>alert(1)</script>`
	s := approvingSite(t)
	id := waits(t, s, "bob", evil)
	_, _, err := s.Accounts.Approve(t.Context(), accountOf(t, s, "bob").ID)
	require.NoError(t, err)
	res := s.SignedIn("bob").Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": evil, "last_name": evil})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	b := s.Browser().Set("User-Agent", evil)
	require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password}).StatusCode)
	waits(t, s, "eve", evil)
	h := s.SignedIn("ada").LikeBrowser()
	for _, path := range []string{
		"accounts/", "waiting/", "accounts/" + id + "/", "accounts/" + id + "/edit/", "accounts/" + id + "/delete/", "accounts/?search=" + url.QueryEscape(evil) + "&group=" + url.QueryEscape(evil),
	} {
		page := h.Get(admin + path)
		require.Equal(t, http.StatusOK, page.StatusCode, path)
		require.NotContains(t, page.Text, "<img src=x", path)
		require.NotContains(t, page.Text, "<script", path)
		require.NotContains(t, page.Text, `"><img`, path)
	}
	page := h.Post(admin+"accounts/", url.Values{"do": {"delete"}, "accounts": {id}})
	require.NotContains(t, page.Text, "<img")
}

// No page and no answer has a password's hash, a token, or a link that nobody asked for.
func TestNoSecrets(t *testing.T) {
	s := newSite(t, []string{"bob"}, sitetest.WithTokens)
	id := sitetest.UUIDOf(t, s, "bob").String()
	bob := s.SignedIn("bob")
	hash := s.Stored(id).PasswordHash
	require.NotEmpty(t, hash)
	for _, b := range []*sitetest.Browser{s.SignedIn("ada"), s.SignedIn("ada").LikeBrowser()} {
		for _, path := range []string{"accounts", "waiting", "accounts/" + id} {
			page := b.Get(admin + path).Text
			for _, secret := range []string{hash, "argon2id", bob.Cookie["registration"], "signature"} {
				require.False(t, strings.Contains(page, secret), "%s has %s", path, secret)
			}
		}
	}
}

// A copy of the cookie of an admin whose sign-in is old is not raised with it: who shows his
// password or factor goes on under a new token, and the copy is void, be the act done or not.
func TestProvenAgainUnderANewToken(t *testing.T) {
	for name, c := range map[string]struct {
		page, factor bool
		body         sitetest.Data
		act          string
		status       int
	}{
		"a form":                {page: true, act: "disable", status: http.StatusSeeOther},
		"a form with a factor":  {page: true, factor: true, act: "disable", status: http.StatusSeeOther},
		"a form that is wrong":  {page: true, act: "set-username", body: sitetest.Data{"username": "ada"}, status: http.StatusBadRequest},
		"JSON":                  {act: "disable", status: http.StatusOK},
		"JSON with a factor":    {factor: true, act: "disable", status: http.StatusOK},
		"JSON that is wrong":    {act: "set-username", body: sitetest.Data{"username": "ada"}, status: http.StatusBadRequest},
		"JSON that is too late": {act: "approve", status: http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob"})
			b, copied := s.SignedIn("ada"), s.Browser()
			copied.Cookie = maps.Clone(b.Cookie)
			show := sitetest.Data{"password": sitetest.Password}
			s.Travel(time.Hour)
			if c.factor {
				show = sitetest.Data{"totp": appShows(s, withTOTP(s, "ada"))}
			}
			if c.page {
				b.LikeBrowser()
			}
			body := sitetest.With(c.body, show)
			path, sent := pathOf(t, s, "bob", c.act), any(body)
			if c.page {
				path, sent = path+"/", sitetest.FormOf(body)
			}
			res := b.Post(path, sent)
			require.Equal(t, c.status, res.StatusCode, res.Text)
			require.NotEqual(t, copied.Cookie["registration"], b.Cookie["registration"])
			require.Equal(t, http.StatusUnauthorized, copied.Get(admin+"accounts").StatusCode)
			require.Equal(t, http.StatusUnauthorized, copied.Post(pathOf(t, s, "bob", "delete"), nil).StatusCode)
			require.Equal(t, http.StatusOK, b.Get(admin+"accounts/").StatusCode)
			require.Less(t, b.Post(pathOf(t, s, "bob", "sign-out"), nil).StatusCode, http.StatusBadRequest, "it is a fresh one")
			require.Equal(t, "stepped_up", lastRow(t, s, sitetest.UUIDOf(t, s, "ada").String()).Event)
		})
	}
}

// Who shows his password to end his own sign-in ends that, though it has another name by then.
func TestProvenAgainToEndItself(t *testing.T) {
	s := newSite(t, nil)
	b := s.SignedIn("ada")
	own := pathOf(t, s, "ada", "")
	id := b.Get(own).JSON(t)["sessions"].([]any)[0].(map[string]any)["id"]
	s.Travel(time.Hour)
	res := b.Post(own+"/sessions", sitetest.Data{"sessions": []any{id}, "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, http.StatusUnauthorized, b.Get(own).StatusCode)
}

// An admin without a password and a factor, who signs in by mail, has nothing to type: he is
// led to a new sign-in, and back.
func TestStaleWithoutAPassword(t *testing.T) {
	s := newSite(t, []string{"bob"})
	b, h := s.SignedIn("ada").Problems(), s.SignedIn("ada").LikeBrowser()
	s.Set(sitetest.UUIDOf(t, s, "ada").String(), func(u *store.User) { u.PasswordHash = "" })
	s.Travel(time.Hour)
	path := pathOf(t, s, "bob", "disable")
	sitetest.RequireError(t, b.Post(path, sitetest.Data{"password": ""}), http.StatusUnauthorized, "not_authenticated")
	res := h.Post(path+"/", url.Values{})
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Equal(t, "/accounts/login/?next="+url.QueryEscape(path+"/")+"&reauth=1", res.Header.Get("Location"))
	require.True(t, accountOf(t, s, "bob").IsActive)
}

// A page of a trusted origin may post JSON there for an admin; nobody else's gets an answer
// to its preflight, and to who isn't of the group there is nothing.
func TestPreflights(t *testing.T) {
	const ours, theirs = "https://app.example", "https://evil.example"
	s := newSite(t, []string{"bob"}, func(s *registration.Settings) { s.TrustedOrigins = []string{ours} })
	path := pathOf(t, s, "bob", "disable")
	asks := func(b *sitetest.Browser, origin string) *sitetest.Answer {
		return b.Set("Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type").Do(http.MethodOptions, path, nil)
	}
	res := asks(s.Browser(), ours)
	require.Equal(t, http.StatusNoContent, res.StatusCode)
	require.Equal(t, ours, res.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"))
	require.Equal(t, "POST", res.Header.Get("Access-Control-Allow-Methods"))
	require.Contains(t, res.Header.Get("Access-Control-Allow-Headers"), "Content-Type")
	res = asks(s.Browser(), theirs)
	require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, http.StatusNotFound, asks(s.SignedIn("bob"), ours).StatusCode)
	b := s.SignedIn("ada").Set("Origin", ours, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusOK, b.Post(path, sitetest.Data{}).StatusCode)
	require.False(t, accountOf(t, s, "bob").IsActive)
	sitetest.RequireError(t, s.SignedIn("ada").Problems().Set("Origin", theirs, "Sec-Fetch-Site", "cross-site").Post(pathOf(t, s, "bob", "enable"), nil), http.StatusForbidden, "cross_origin")
}

// Where there is nothing for who looks, he is told whom to ask.
func TestDeadEndsLeadToTheContact(t *testing.T) {
	s := newSite(t, []string{"bob"}, func(s *registration.Settings) { s.Register.Contact = "help@example.com" })
	for name, page := range map[string]*sitetest.Answer{
		"a member": s.SignedIn("bob").LikeBrowser().Get(admin + "accounts/"), "no such account": s.SignedIn("ada").LikeBrowser().Get(admin + "accounts/x/"),
		"a form of another site": s.SignedIn("ada").LikeBrowser().Set("Origin", "https://evil.example").Post(admin+"accounts/", url.Values{}),
	} {
		require.Contains(t, page.Text, `href="mailto:help@example.com"`, name)
	}
}
