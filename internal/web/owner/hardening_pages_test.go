// hardening_pages_test.go: attacks on all owner's pages, of which the table is the one
// that the server goes by: who isn't an admin, who may only read, a page of another site,
// an old sign-in; what members have filled in; what is secret.

package owner_test

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ownersPages are the addresses of all pages with their methods, {id} being an id.
func ownersPages(s *sitetest.Site, id string) map[string][]string {
	pages := map[string][]string{}
	for _, e := range s.Realm.Owner.Described() {
		path := "/accounts/" + strings.ReplaceAll(e.Name, "{id}", id)
		pages[path] = append(pages[path], e.Methods...)
	}
	return pages
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"}

// snapshot is what attacks must not change.
func snapshot(t *testing.T, s *sitetest.Site) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, s.Accounts.View(t.Context(), func(tx store.Tx) error {
		out.Reset()
		users, err := tx.Users(uuid.Nil, 100)
		for _, u := range users {
			fmt.Fprintf(&out, "%+v\n", *u)
		}
		if err != nil {
			return err
		}
		invitations, err := tx.Invitations(uuid.Nil, 100)
		for _, i := range invitations {
			fmt.Fprintf(&out, "%+v\n", *i)
		}
		mails, mailErr := tx.Mails(0, 100)
		fmt.Fprintln(&out, len(mails), mailErr)
		return err
	}))
	return out.String()
}

// bodies are those that an act of ours might take for good.
func bodies(id string) []any {
	return []any{
		sitetest.Data{"id": []string{id}, "do": "delete", "email": "eve@example.org", "groups": []string{"admins"}},
		url.Values{"id": {id}, "do": {"delete"}, "email": {"eve@example.org"}, "groups": {"admins"}},
		nil,
	}
}

func TestHardeningPagesAreForAdminsAlone(t *testing.T) {
	for name, tokens := range map[string]func(*registration.Settings){"tokens": sitetest.WithTokens, "JWT": sitetest.WithJWT} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob", "eve"}, tokens)
			id := sitetest.UUIDOf(t, s, "bob").String()
			token, _ := s.Tokens("eve")
			who := map[string]*sitetest.Browser{"cookie": s.SignedIn("eve"), "page": s.SignedIn("eve").LikeBrowser(), "token": token}
			pages := ownersPages(s, id)
			require.GreaterOrEqual(t, len(pages), 7)
			before := snapshot(t, s)
			for path := range pages {
				for _, method := range methods {
					for by, b := range who {
						for _, body := range bodies(id) {
							if (method == "GET" || method == "HEAD") && body != nil {
								continue
							}
							res, other := b.Do(method, path, body), b.Do(method, "/accounts/nothing/here", body)
							require.Equal(t, http.StatusNotFound, res.StatusCode, "%s %s by %s", method, path, by)
							require.Equal(t, other.Text, res.Text, "%s %s by %s", method, path, by)
							require.Equal(t, other.Header, res.Header, "%s %s by %s", method, path, by)
						}
					}
				}
			}
			require.Equal(t, before, snapshot(t, s))
		})
	}
}

func TestHardeningPagesForStrangers(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	before := snapshot(t, s)
	for path, allowed := range ownersPages(s, id) {
		for _, method := range methods {
			for _, html := range []bool{false, true} {
				b := s.Browser()
				if html {
					b.LikeBrowser()
				}
				res := b.Do(method, path, bodies(id)[2])
				about := fmt.Sprint(method, " ", path, " html ", html)
				switch reads := method == "GET" || method == "HEAD"; {
				case html && reads && !slices.Contains(allowed, "GET"): // the form of an act is a page, and no operation
					require.Contains(t, []int{http.StatusFound, http.StatusMethodNotAllowed}, res.StatusCode, about)
				case !slices.Contains(allowed, method) && (!reads || !slices.Contains(allowed, "GET")):
					require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, about)
					require.NotEmpty(t, res.Header.Get("Allow"), about)
				case html && reads:
					require.Equal(t, http.StatusFound, res.StatusCode, about)
					require.Equal(t, "/accounts/login/?next="+url.QueryEscape(path+"/"), res.Header.Get("Location"), about)
				default:
					require.Equal(t, http.StatusUnauthorized, res.StatusCode, about)
				}
				require.NotContains(t, res.Text, "bob", about)
			}
		}
	}
	require.Equal(t, before, snapshot(t, s))
}

// Tokens of admins read, and change nothing.
func TestHardeningTokensReadOnly(t *testing.T) {
	for name, tokens := range map[string]func(*registration.Settings){"tokens": sitetest.WithTokens, "JWT": sitetest.WithJWT} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob"}, tokens)
			id := sitetest.UUIDOf(t, s, "bob").String()
			b, _ := s.Tokens("ada")
			before := snapshot(t, s)
			for path, allowed := range ownersPages(s, id) {
				if slices.Contains(allowed, "GET") {
					require.Equal(t, http.StatusOK, b.Get(path).StatusCode, path)
				}
				if slices.Contains(allowed, "POST") {
					for _, body := range bodies(id) {
						sitetest.RequireError(t, b.Problems().Post(path, body), http.StatusForbidden, "permission_denied")
					}
				}
			}
			require.Equal(t, before, snapshot(t, s))
		})
	}
}

// A token for programs opens none of the owner's pages, an admin's neither: who brings one is
// answered as who brings one that is none.
func TestHardeningProgramTokensAreNobodysHere(t *testing.T) {
	s := newSite(t, []string{"bob", "eve"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	for _, name := range []string{"ada", "eve"} {
		made := s.SignedIn(name).Post("/accounts/create-token", sitetest.Data{"name": "script"})
		require.Equal(t, http.StatusCreated, made.StatusCode, made.Text)
		s.Mail() // the notice
		token := made.JSON(t)["token"].(string)
		require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
		before := snapshot(t, s)
		for _, authorization := range []string{"Bearer " + token, "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+token))} {
			b, stranger := s.Browser(), s.Browser()
			b.Header.Set("Authorization", authorization)
			stranger.Header.Set("Authorization", "Bearer crt_nothing")
			require.Equal(t, authorization[:5] != "Basic", b.Get("/accounts/profile").StatusCode == http.StatusOK, "the token is good")
			for path := range ownersPages(s, id) {
				for _, method := range methods {
					res, want := b.Do(method, path, bodies(id)[2]), stranger.Do(method, path, bodies(id)[2])
					if authorization[:5] == "Basic" {
						require.NotContains(t, res.Text, "bob")
					} else {
						require.Equal(t, want.Text, res.Text, "%s %s", method, path)
						require.Equal(t, want.StatusCode, res.StatusCode, "%s %s", method, path)
					}
					require.GreaterOrEqual(t, res.StatusCode, http.StatusBadRequest, "%s %s", method, path)
				}
			}
		}
		require.Equal(t, before, snapshot(t, s))
	}
}

// A page of another site sends nothing that counts, whatever it says of where it is.
func TestHardeningOtherSites(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	b := s.SignedIn("ada")
	before := snapshot(t, s)
	for path, allowed := range ownersPages(s, id) {
		if !slices.Contains(allowed, "POST") {
			continue
		}
		for _, headers := range [][]string{
			{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "https://example.com.evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		} {
			for _, body := range bodies(id) {
				for _, accept := range []string{"application/json", "text/html"} {
					b.Header = http.Header{"Accept": {accept}}
					res := b.Set(headers...).Post(path, body)
					require.Equal(t, http.StatusForbidden, res.StatusCode, "%s %v", path, headers)
				}
			}
		}
	}
	require.Equal(t, before, snapshot(t, s))
}

// Nobody frames the pages, nor keeps them.
func TestHardeningFrames(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	b := s.SignedIn("ada").LikeBrowser()
	for path, allowed := range ownersPages(s, id) {
		if !slices.Contains(allowed, "GET") {
			continue
		}
		res := b.Get(path + "/")
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		policy := res.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.Contains(t, policy, "default-src 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"), path)
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
		require.NotContains(t, res.Text, "<script", path)
	}
}

// Who has signed in some time ago is asked again before each act, and it is not done.
func TestHardeningStaleSignIns(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	program, page := s.SignedIn("ada"), s.SignedIn("ada").LikeBrowser()
	s.Travel(16 * time.Minute)
	before := snapshot(t, s)
	for path, allowed := range ownersPages(s, id) {
		if !slices.Contains(allowed, "POST") {
			continue
		}
		for _, body := range bodies(id) {
			res := program.Problems().Post(path, body)
			require.Equal(t, http.StatusBadRequest, res.StatusCode, path)
			require.Contains(t, res.Text, `"reauthentication_required"`, path)
		}
		asked := page.Post(path, bodies(id)[1])
		require.Equal(t, http.StatusOK, asked.StatusCode, path)
		require.Contains(t, asked.Text, `autocomplete="current-password"`, path)
		require.NotContains(t, asked.Text, sitetest.Password, path)
		wrong := page.Post(path, url.Values{"id": {id}, "password": {"not ada's password"}})
		require.Equal(t, http.StatusBadRequest, wrong.StatusCode, path)
		require.NotContains(t, wrong.Text, "not ada&#39;s password", path)
	}
	require.Equal(t, before, snapshot(t, s))
}

// evil is a text of a member that would act in a page that has it as it is.
const evil = `"'><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`

func TestHardeningStoredHTML(t *testing.T) {
	s := newSite(t, []string{"bob"}, sitetest.WithoutVerification)
	id := sitetest.UUIDOf(t, s, "bob").String()
	s.Set(id, func(u *store.User) {
		u.Username, u.FirstName, u.LastName, u.Reason, u.Terms = evil, evil, evil, evil, evil
		u.Groups = []string{evil}
		u.Unreachable = store.Unreachable{Email: u.Email, Words: evil, Since: s.Accounts.Now()}
		u.AwaitsApproval, u.IsActive = true, false
	})
	uid := uuid.MustParse(id)
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.PutSession(&store.Session{Hash: store.TokenHash{1}, User: uid, Created: s.Accounts.Now(), LastUsed: s.Accounts.Now(), Expires: s.Accounts.Now().Add(time.Hour), Address: evil, UserAgent: evil}); err != nil {
			return err
		}
		for _, account := range []uuid.UUID{uid, uuid.Must(uuid.NewV7())} {
			if err := tx.AddAudit(&store.Audit{At: s.Accounts.Now(), Event: "signed_in", Account: account, Actor: "<b>" + evil[:50], Address: "<i>evil", Agent: evil, Details: map[string]string{evil: evil}}); err != nil {
				return err
			}
		}
		if err := tx.PutInvitation(&store.Invitation{ID: uuid.Must(uuid.NewV7()), Hash: store.TokenHash{2}, Email: evil, Groups: []string{evil}, Note: evil, Created: s.Accounts.Now(), Expires: s.Accounts.Now().Add(time.Hour), Uses: 1}); err != nil {
			return err
		}
		return tx.PutMail(&store.Mail{Kind: store.MailKind(evil), To: evil, User: uid, Queued: s.Accounts.Now(), Due: s.Accounts.Now().Add(time.Hour), Failed: evil})
	}))
	b := s.SignedIn("ada").LikeBrowser()
	shown := 0
	look := func(res *sitetest.Answer, about string) {
		t.Helper()
		require.Less(t, res.StatusCode, http.StatusInternalServerError, about)
		for _, raw := range []string{"<script", "<img src=x", `"'>`, "<b>", "<i>evil"} {
			require.NotContains(t, res.Text, raw, about)
		}
		if strings.Contains(res.Text, "&lt;script&gt;alert(1)") || strings.Contains(res.Text, html.EscapeString(evil)) {
			shown++
		}
	}
	queries := url.Values{"search": {evil}, "group": {evil}, "state": {evil}, "account": {evil}, "event": {evil}, "after": {evil}, "limit": {evil}}.Encode()
	for path, allowed := range ownersPages(s, id) {
		if slices.Contains(allowed, "GET") {
			look(b.Get(path+"/"), path)
			look(b.Get(path+"/?"+queries), path+" with a query")
		}
		if slices.Contains(allowed, "POST") { // refused, and shown again with what was sent
			look(b.Post(path, url.Values{"email": {evil}, "groups": {evil}, "note": {evil}, "expires": {evil}, "uses": {evil}, "message": {evil}, "first_name": {evil}, "username": {evil}}), path+" posted")
		}
	}
	require.GreaterOrEqual(t, shown, 5, "it was there to be seen")
	s.Travel(16 * time.Minute)
	for path, allowed := range ownersPages(s, id) {
		if slices.Contains(allowed, "POST") {
			look(b.Post(path, url.Values{evil: {evil}, "note": {evil}}), path+" of an old sign-in")
		}
	}
}

// Of what is secret nothing stands on a page, and nothing in its JSON.
func TestHardeningNoSecrets(t *testing.T) {
	s := newSite(t, []string{"bob"}, sitetest.WithTokens, func(s *registration.Settings) {
		s.Secrets = []string{"the-first-secret-of-the-site"}
		s.MailerRaw = []byte(`{"module":"smtp","username":"mail-user","password":"the-mail-password","address":"mail.example.com:587"}`)
	})
	id := sitetest.UUIDOf(t, s, "bob").String()
	b := s.SignedIn("bob")
	token, refresh := s.Tokens("bob")
	secrets := []string{"the-first-secret-of-the-site", "the-mail-password", sitetest.Password, s.Stored(id).PasswordHash, strings.TrimPrefix(token.Header.Get("Authorization"), "Bearer "), "$argon2"}
	if refresh != "" {
		secrets = append(secrets, refresh)
	}
	for _, v := range b.Cookie {
		secrets = append(secrets, v)
	}
	_, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Groups: []string{"choir"}})
	require.NoError(t, err)
	_, invitation, _ := strings.Cut(link, "invitation=")
	secrets = append(secrets, invitation)
	s.FailWith(func(m *mail.Message) error { return fmt.Errorf("not now") })
	res := s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "bob"})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.NoError(t, s.Accounts.View(t.Context(), func(tx store.Tx) error {
		sessions, err := tx.Sessions(uuid.MustParse(id), 10)
		for _, session := range sessions {
			secrets = append(secrets, session.Hash.Text())
		}
		return err
	}))
	admins := map[string]*sitetest.Browser{"page": s.SignedIn("ada").LikeBrowser(), "program": s.SignedIn("ada")}
	for path, allowed := range ownersPages(s, id) {
		if !slices.Contains(allowed, "GET") {
			continue
		}
		for name, b := range admins {
			res := b.Get(path)
			if res.StatusCode != http.StatusOK {
				res = b.Get(path + "/")
			}
			require.Equal(t, http.StatusOK, res.StatusCode, path)
			for _, secret := range secrets {
				require.NotEmpty(t, secret)
				require.NotContains(t, res.Text, secret, "%s by %s", path, name)
			}
		}
	}
}

// Two who race to make invitations, and to revoke one, come to what one after the other
// would have.
func TestHardeningRevokedTwice(t *testing.T) {
	s := newSite(t, nil)
	i, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.NoError(t, err)
	browsers := []*sitetest.Browser{s.SignedIn("ada"), s.SignedIn("ada")}
	got := sitetest.RaceOf(2, func(n int) int {
		return browsers[n].Post(admin+"invitations", sitetest.Data{"id": i.ID.String()}).StatusCode
	})
	require.Equal(t, 1, got[http.StatusOK], got)
}

// Wherever on the way of a page the store fails, that is said, and nothing is half done.
func TestHardeningPagesWhereTheStoreFails(t *testing.T) {
	s := newSite(t, []string{"bob"})
	id := sitetest.UUIDOf(t, s, "bob").String()
	i, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.NoError(t, err)
	program, page := s.SignedIn("ada"), s.SignedIn("ada").LikeBrowser()
	well := s.Accounts.Store
	defer func() { s.Accounts.Store = well }()
	walk := func(about string, ask func() *sitetest.Answer) {
		for n := 1; ; n++ {
			require.Less(t, n, 100, about)
			before := snapshot(t, s)
			faulty := &sitetest.FaultyStore{Store: well, FailAt: n}
			s.Accounts.Store = faulty
			res := ask()
			s.Accounts.Store = well
			if !faulty.Met {
				require.Less(t, res.StatusCode, http.StatusInternalServerError, about)
				return
			}
			require.NotContains(t, res.Text, sitetest.ErrFault.Error(), about)
			if res.StatusCode < http.StatusBadRequest { // of a part that the page can do without
				continue
			}
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, "%s, call %d: %s", about, n, res.Text)
			require.Equal(t, before, snapshot(t, s), "%s, call %d", about, n)
		}
	}
	for path, allowed := range ownersPages(s, id) {
		if slices.Contains(allowed, "GET") {
			query := "?account=bob&event=signed_in&state=active"
			walk("GET "+path, func() *sitetest.Answer { return program.Get(path) })
			walk("page "+path, func() *sitetest.Answer { return page.Get(path + "/" + query) })
		}
	}
	walk("invite", func() *sitetest.Answer {
		return program.Post(admin+"invitations/new", sitetest.Data{"groups": []string{"a"}})
	})
	walk("revoke", func() *sitetest.Answer { return program.Post(admin+"invitations", sitetest.Data{"id": i.ID.String()}) })
	walk("retry", func() *sitetest.Answer { return program.Post(admin+"mail", nil) })
}
