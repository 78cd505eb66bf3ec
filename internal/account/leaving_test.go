// leaving_test.go: who closes his account, until it is gone.

package account_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// left lets time pass in steps in which the clock goes on, and returns how many accounts are
// removed meanwhile.
func left(s *sitetest.Site, t testing.TB, d time.Duration) (removed int) {
	t.Helper()
	const step = account.MaxPurgeEvery
	for ; d > 0; d -= step {
		s.Travel(min(d, step))
		n, err := s.Accounts.RemoveLeft(t.Context())
		require.NoError(t, err)
		removed += n
	}
	return removed
}

func closeAccount(s *sitetest.Site, t testing.TB, name string) *sitetest.Browser {
	t.Helper()
	b := s.SignedIn(name)
	res := b.Post("/accounts/delete-account", sitetest.Data{})
	require.Equal(t, 200, res.StatusCode, res.Text)
	return b
}

// dump is the store's file as a backup has it: without what is free in it.
func dump(s *sitetest.Site, t testing.TB) string {
	t.Helper()
	sitetest.Embedded(t)
	backup, err := s.Accounts.Store.(interface {
		Backup(context.Context) (*store.Backup, error)
	}).Backup(t.Context())
	require.NoError(t, err)
	defer func() { _ = backup.Close() }()
	var out bytes.Buffer
	_, err = io.Copy(&out, backup)
	require.NoError(t, err)
	return out.String()
}

var oneDay = func(s *registration.Settings) { s.DeleteAccount.Grace = caddy.Duration(24 * time.Hour) }

func TestAnAccountIsClosedAtOnceAndGoneAfterTheGrace(t *testing.T) {
	s := sitetest.New(t, oneDay, sitetest.WithTokens)
	id := s.Member("ada-lovelace")
	s.Member("bob")
	bob := s.SignedIn("bob")
	elsewhere := s.SignedIn("ada-lovelace")
	elsewhere.Set("User-Agent", "Analytical-Engine/1.0").IP = "203.0.113.77"
	res := elsewhere.Post("/accounts/login", sitetest.Data{"login": "ada-lovelace", "password": sitetest.Password})
	require.Equal(t, 200, res.StatusCode)
	token := res.JSON(t)["token"].(string)
	require.Equal(t, 200, elsewhere.Post("/accounts/profile", sitetest.Data{"username": "ada-lovelace", "first_name": "Augusta", "last_name": "Byron"}).StatusCode)
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada-lovelace", "password": "wrong wrong"}).StatusCode)

	b := closeAccount(s, t, "ada-lovelace")
	require.Empty(t, b.Cookie["registration"], "signed out")
	for _, who := range []*sitetest.Browser{b, elsewhere, s.WithToken(token)} {
		require.Equal(t, 401, who.Get("/members/").StatusCode)
		require.Equal(t, 401, who.Get("/accounts/profile").StatusCode)
	}
	m := s.Mail()
	require.Equal(t, "Your account at example.com has been closed", m.Subject)
	u := s.Stored(id)
	require.Equal(t, account.StateClosing, account.StateOf(u))
	require.Equal(t, 24*time.Hour, u.LeavesAt.Sub(s.Accounts.Time()))
	require.Contains(t, m.Text, strings.TrimLeft(u.LeavesAt.Format("2 January 2006, 15:04"), "0"))
	require.Contains(t, m.Text, "http://example.com/accounts/login/")

	require.Zero(t, left(s, t, 23*time.Hour))
	before := dump(s, t)
	require.Contains(t, before, "ada-lovelace@example.org")
	require.Equal(t, 1, left(s, t, 2*time.Hour))
	m = s.Mail()
	require.Equal(t, "Your account at example.com has been deleted", m.Subject)
	require.Equal(t, "ada-lovelace@example.org", m.To)
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)

	after := dump(s, t)
	for _, word := range []string{"ada-lovelace", "Augusta", "Byron", "Analytical-Engine", "203.0.113.77"} {
		require.Contains(t, before, word)
		require.NotContains(t, after, word)
	}
	require.Contains(t, after, "bob@example.org")
	require.Equal(t, 200, bob.Get("/members/").StatusCode, "others stay as they are")
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Account: uuid.MustParse(id), Limit: 100})
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(page.Rows), 5)
	for _, row := range page.Rows {
		require.Empty(t, row.Address+row.Agent, row.Event)
	}
	last := page.Rows[len(page.Rows)-1]
	require.Equal(t, "account_deleted system closed", last.Event+" "+last.Actor+" "+last.Details["reason"])
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.Newcomer("ada-lovelace")), 400, "username:unique")
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada-lovelace", "password": sitetest.Password}).StatusCode)
	require.Zero(t, left(s, t, time.Hour))
}

// The mail that waits for him goes, and so do the invitations to his address; others' stay.
func TestWhatWaitsForALeaverGoesWithHim(t *testing.T) {
	s := sitetest.New(t, oneDay)
	s.Member("ada")
	s.Member("bob")
	closeAccount(s, t, "ada")
	s.Mail()
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: errors.New("down")} })
	for _, name := range []string{"ada", "bob"} {
		require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": name}).StatusCode)
	}
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for i, to := range []string{"Ada@example.org", "bob@example.org"} {
			if err := tx.PutInvitation(&store.Invitation{ID: uuid.Must(uuid.NewV7()), Hash: store.TokenHash{byte(i + 1)}, Email: to, Uses: 1, Expires: s.Accounts.Time().Add(time.Hour * 1000)}); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Equal(t, 1, left(s, t, 25*time.Hour))
	var to, invited []string
	for _, m := range s.Queued() {
		to = append(to, string(m.Kind)+" "+m.To)
	}
	require.ElementsMatch(t, []string{"reset_password bob@example.org", "account_gone ada@example.org"}, to)
	require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
		list, err := tx.Invitations(uuid.Nil, 10)
		for _, i := range list {
			invited = append(invited, i.Email)
		}
		return err
	}))
	require.Equal(t, []string{"bob@example.org"}, invited)
}

func TestWhoSignsInIsAskedWhetherHeStays(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	closeAccount(s, t, "ada")
	s.Mail()
	for _, login := range []string{"ada", "ada@example.org"} {
		b := s.Browser()
		res := b.Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password})
		require.Equal(t, 200, res.StatusCode)
		asked := res.JSON(t)
		require.Equal(t, s.Stored(id).LeavesAt.Format(time.RFC3339), asked["closing"])
		require.NotContains(t, b.Cookie, "registration")
		answer := sitetest.Data{"challenge": asked["challenge"]}
		sitetest.RequireError(t, b.Problems().Post("/accounts/login-factor", answer), 400, "keep_account:account_closing")
		answer["keep_account"] = false
		sitetest.RequireError(t, b.Post("/accounts/login-factor", answer), 400, "keep_account:account_closing")
		answer["keep_account"] = "perhaps"
		require.Equal(t, 400, b.Post("/accounts/login-factor", answer).StatusCode)
		require.Equal(t, account.StateClosing, account.StateOf(s.Stored(id)))
	}
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong wrong"}).StatusCode)
	b := s.Browser()
	asked := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)
	answer := sitetest.Data{"challenge": asked["challenge"], "keep_account": true}
	require.Equal(t, 200, b.Post("/accounts/login-factor", answer).StatusCode)
	require.Equal(t, 200, b.Get("/members/").StatusCode)
	require.Equal(t, account.StateActive, account.StateOf(s.Stored(id)))
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login-factor", answer), 400, "challenge_expired")
	require.NotContains(t, s.SignedIn("ada").Get("/accounts/profile").Text, "challenge")
	require.Zero(t, left(s, t, 8*sitetest.Day), "he has stayed")
}

// The pages: from the profile to the end of the account, and back.
func TestThePagesOfLeaving(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	require.Contains(t, b.Get("/accounts/profile/").Text, `href="/accounts/delete-account/"`)
	page := b.Get("/accounts/delete-account/").Text
	require.Contains(t, page, "For 7 days you can sign in and keep it.")
	require.Contains(t, page, "For 90 days after that no one can take it, including you.")
	require.NotContains(t, page, `name="password"`, "a sign-in of a moment ago is enough")
	s.Travel(time.Hour)
	require.Contains(t, b.Get("/accounts/delete-account/").Text, `name="password"`)
	res := b.Post("/accounts/delete-account/", url.Values{"password": {"wrong wrong"}})
	require.Equal(t, 400, res.StatusCode)
	res = b.Post("/accounts/delete-account/", url.Values{"password": {sitetest.Password}})
	require.Equal(t, 303, res.StatusCode, res.Text)
	require.Contains(t, b.Follow(res).Text, "Your account has been closed. It will be deleted on")
	s.Mail()

	res = b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}})
	require.Equal(t, 303, res.StatusCode, res.Text)
	asked := b.Follow(res)
	require.Contains(t, asked.Text, "You’ve closed this account. On ")
	require.Contains(t, asked.Text, "Keep my account</button>")
	require.Contains(t, asked.Text, `name="keep_account" value="true"`)
	form := url.Values{"keep_account": {"true"}, "challenge": {between(asked.Text, `name="challenge" value="`, `"`)}}
	res = b.Post("/accounts/login-factor/", form)
	require.Equal(t, 303, res.StatusCode, res.Text)
	require.Contains(t, b.Follow(res).Text, "You’ve kept your account.")
	require.Equal(t, 200, b.Get("/members/").StatusCode)
}

func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	found, _, _ := strings.Cut(rest, to)
	return found
}

func TestWhoMayNotLeave(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Admin = &registration.AdminSettings{Group: "admins", SecondFactor: "off"}
	})
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
	s.Travel(time.Hour)
	sitetest.RequireError(t, b.Post("/accounts/delete-account", sitetest.Data{}), 400, "password:reauthentication_required")
	sitetest.RequireError(t, b.Post("/accounts/delete-account", sitetest.Data{"password": "wrong wrong"}), 400, "password:password_incorrect")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/delete-account", sitetest.Data{}), 401, "not_authenticated")

	ada := sitetest.UUIDOf(t, s, "ada")
	_, err := s.Accounts.SetGroups(t.Context(), ada, []string{"admins"}, nil)
	require.NoError(t, err)
	sitetest.RequireError(t, s.SignedIn("ada").Problems().Post("/accounts/delete-account", sitetest.Data{}), 409, "last_admin")
	s.Member("bob")
	_, err = s.Accounts.SetGroups(t.Context(), sitetest.UUIDOf(t, s, "bob"), []string{"admins"}, nil)
	require.NoError(t, err)
	closeAccount(s, t, "ada")
	sitetest.RequireError(t, s.SignedIn("bob").Problems().Post("/accounts/delete-account", sitetest.Data{}), 409, "last_admin")

	off := sitetest.New(t, func(s *registration.Settings) { s.DeleteAccount.Off = true })
	off.Member("ada")
	member := off.SignedIn("ada")
	require.Equal(t, 404, member.Post("/accounts/delete-account", sitetest.Data{}).StatusCode)
	require.Equal(t, 404, member.LikeBrowser().Get("/accounts/delete-account/").StatusCode)
	require.NotContains(t, member.Get("/accounts/profile/").Text, "delete-account")
}

// An owner can let who leaves go at once, or keep him; whom he disables is disabled.
func TestOwnersWordOnWhoLeaves(t *testing.T) {
	s := sitetest.New(t)
	for _, name := range []string{"ada", "bob", "carl"} {
		s.Member(name)
		closeAccount(s, t, name)
		s.Mail()
	}
	ctx := t.Context()
	list, err := s.Accounts.List(ctx, account.Filter{State: account.StateClosing}, "", 10)
	require.NoError(t, err)
	require.Len(t, list.Users, 3)
	for name, active := range map[string]bool{"ada": true, "bob": false} {
		u, err := s.Accounts.Administer(ctx, sitetest.UUIDOf(t, s, name), account.AdminChange{IsActive: &active})
		require.NoError(t, err)
		require.Equal(t, active, account.StateOf(u) == account.StateActive)
		require.True(t, u.LeavesAt.IsZero())
	}
	require.NoError(t, s.Accounts.Delete(ctx, sitetest.UUIDOf(t, s, "carl")))
	require.NotContains(t, s.SignedIn("ada").Get("/accounts/profile").Text, "challenge")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password}), 400, "disabled")
	require.Zero(t, left(s, t, 8*sitetest.Day))
}

// A clock that is ahead for a moment removes nobody; and who has lost his password can get
// a new one meanwhile, and stay.
func TestAClockThatJumpsRemovesNobody(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	closeAccount(s, t, "ada")
	s.Mail()
	s.Travel(300 * sitetest.Day)
	n, err := s.Accounts.RemoveLeft(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	s.Travel(-300 * sitetest.Day)
	b := s.ResetPassword("ada", sitetest.NewPassword)
	asked := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.NewPassword}).JSON(t)
	require.Contains(t, asked, "closing")
	require.Equal(t, 200, b.Post("/accounts/login-factor", sitetest.Data{"challenge": asked["challenge"], "keep_account": true}).StatusCode)
}

// What an admin who leaves has done to others stays, without from where.
func TestActsOnOthersAreForgotten(t *testing.T) {
	s := sitetest.New(t, oneDay)
	s.Member("ada")
	s.Member("bob")
	bob := sitetest.UUIDOf(t, s, "bob")
	ctx := audit.WithCaller(t.Context(), audit.Caller{Actor: sitetest.UUIDOf(t, s, "ada").String(), Address: "203.0.113.77", Agent: "Analytical-Engine/1.0"})
	_, err := s.Accounts.EndSignIns(ctx, bob)
	require.NoError(t, err)
	closeAccount(s, t, "ada")
	require.Equal(t, 1, left(s, t, 25*time.Hour))
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Account: bob, Event: "sessions_ended", Limit: 10})
	require.NoError(t, err)
	require.Len(t, page.Rows, 1)
	require.Empty(t, page.Rows[0].Address+page.Rows[0].Agent)
	require.NotContains(t, dump(s, t), "Analytical-Engine")
}

// Whatever of a removal the store fails in, the next round ends it.
func TestARemovalThatFailsGoesOn(t *testing.T) {
	s := sitetest.New(t, oneDay)
	s.Member("ada")
	closeAccount(s, t, "ada")
	s.Mail()
	require.Zero(t, left(s, t, 23*time.Hour+50*time.Minute))
	s.Travel(15 * time.Minute)
	whole := s.Accounts.Store
	for fail := 1; ; fail++ {
		require.Less(t, fail, 200)
		s.Accounts.Store = &sitetest.FaultyStore{Store: whole, FailAt: fail}
		n, err := s.Accounts.RemoveLeft(t.Context())
		s.Accounts.Store = whole
		if err == nil {
			require.Equal(t, 1, n)
			return
		}
		page, err := s.Accounts.List(t.Context(), account.Filter{State: account.StateClosing}, "", 9)
		require.NoError(t, err)
		require.Len(t, page.Users, 1, fail)
	}
}
