// approve_test.go: who waits to be let in is, or isn't, and hears of it.

package account_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func byApproval(s *registration.Settings) { s.Register.Mode = account.ModeApprove }

// waiter signs up, confirms the address and waits.
func waiter(s *sitetest.Site, name string) *store.User {
	s.T.Helper()
	res := s.Browser().Post("/accounts/register", sitetest.Newcomer(name))
	require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	require.Equal(s.T, "200", problem(s, "verify-registration", sitetest.LinkOf(s.Mail(), s.T)))
	u, err := s.Accounts.LookupName(s.T.Context(), name)
	require.NoError(s.T, err)
	require.Equal(s.T, account.StateWaiting, account.StateOf(u))
	return u
}

func requireNotWaiting(t *testing.T, err error) {
	t.Helper()
	refused := (*refusal.Error)(nil)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, refusal.CodeNotWaiting, refused.Code)
}

func TestApprove(t *testing.T) {
	s := sitetest.New(t, byApproval, func(s *registration.Settings) { s.Register.Reason = account.ReasonOptional })
	u := waiter(s, "ada")
	s.Set(u.ID.String(), func(u *store.User) { u.Reason = "I sing" })
	require.Equal(t, "approval_pending", problem(s, "login", sitetest.Data{"login": "ada", "password": sitetest.Password}))
	u, mailed, err := s.Accounts.Approve(t.Context(), u.ID)
	require.NoError(t, err)
	require.True(t, mailed)
	require.Equal(t, account.StateActive, account.StateOf(u))
	require.Empty(t, u.Reason, "it has done its work")
	m := s.Mail()
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, "Your account at example.com has been approved", m.Subject)
	require.Contains(t, m.Text, "\nhttp://example.com/accounts/login/\n")
	require.Contains(t, m.HTML, `href="http://example.com/accounts/login/"`)
	s.SignedIn("ada")
	_, _, err = s.Accounts.Approve(t.Context(), u.ID)
	requireNotWaiting(t, err)
	_, err = s.Accounts.Refuse(t.Context(), u.ID, "")
	requireNotWaiting(t, err)
	_, _, err = s.Accounts.Approve(t.Context(), uuid.New())
	require.ErrorContains(t, err, "user_not_found")
	_, err = s.Accounts.Refuse(t.Context(), uuid.New(), "")
	require.ErrorContains(t, err, "user_not_found")
	s.NoMail()
}

func TestRefuse(t *testing.T) {
	s := sitetest.New(t, byApproval)
	for name, words := range map[string]string{"ada": "We are full.\r\n\x1b[31mAsk in spring, <b>please</b>.\u202e\n\n", "bob": ""} {
		u := waiter(s, name)
		mailed, err := s.Accounts.Refuse(t.Context(), u.ID, words)
		require.NoError(t, err)
		require.True(t, mailed)
		m := s.Mail()
		require.Equal(t, name+"@example.org", m.To)
		require.Equal(t, "Your account at example.com has not been approved", m.Subject)
		require.Contains(t, m.Text, "Hello,\n", "nothing of the account is left to mention")
		if words != "" {
			require.Contains(t, m.Text, "The owner wrote to you:\n\nWe are full.\n\n[31mAsk in spring, <b>please</b>.\n")
			require.Contains(t, m.HTML, "&lt;b&gt;please")
		} else {
			require.NotContains(t, m.Text+m.HTML, "The owner wrote")
		}
		_, err = s.Accounts.LookupName(t.Context(), name)
		require.ErrorContains(t, err, "user_not_found")
		require.Equal(t, "login_invalid", problem(s, "login", sitetest.Data{"login": name, "password": sitetest.Password}))
	}
	u := waiter(s, "eve")
	_, err := s.Accounts.Refuse(t.Context(), u.ID, strings.Repeat("é", account.MaxWords+1))
	require.ErrorContains(t, err, "message max_length")
	_, err = s.Accounts.Refuse(t.Context(), u.ID, strings.Repeat("é", account.MaxWords))
	require.NoError(t, err)
	require.Contains(t, s.Mail().Text, "ééé")
}

// The refusal reaches who is refused though the server was out of order, and Caddy was
// restarted, meanwhile.
func TestRefusalOutlivesTheAccount(t *testing.T) {
	path := t.TempDir() + "/registration.db"
	s := sitetest.NewAt(t, path, byApproval)
	u := waiter(s, "ada")
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, 1)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: context.DeadlineExceeded} })
	_, err := s.Accounts.Refuse(t.Context(), u.ID, "Not now.")
	require.NoError(t, err)
	s.Close()
	s = sitetest.NewAt(t, path, byApproval)
	m := s.Mail()
	require.Equal(t, "ada@example.org", m.To)
	require.Contains(t, m.Text, "Not now.")
}

// Who isn't confirmed doesn't wait for the owner yet, and who has no address, or where
// nobody delivers mail, gets none.
func TestApproveWithoutMail(t *testing.T) {
	s := sitetest.New(t, byApproval)
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	s.Mail()
	u, err := s.Accounts.LookupName(t.Context(), "ada")
	require.NoError(t, err)
	_, _, err = s.Accounts.Approve(t.Context(), u.ID)
	requireNotWaiting(t, err)

	s = sitetest.New(t, byApproval, sitetest.WithoutVerification)
	for _, name := range []string{"bob", "eve"} {
		res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": nil}))
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	}
	u, err = s.Accounts.LookupName(t.Context(), "bob")
	require.NoError(t, err)
	_, mailed, err := s.Accounts.Approve(t.Context(), u.ID)
	require.NoError(t, err)
	require.False(t, mailed)
	s.SignedIn("bob")
	u, err = s.Accounts.LookupName(t.Context(), "eve")
	require.NoError(t, err)
	mailed, err = s.Accounts.Refuse(t.Context(), u.ID, "No.")
	require.NoError(t, err)
	require.False(t, mailed)
	s.NoMail()
}

// What is told of an account that has been disabled since is no longer told.
func TestApprovalOfADisabledAccountIsNotMailed(t *testing.T) {
	s := sitetest.New(t)
	require.False(t, s.Accounts.MailWanted(&store.Mail{Kind: store.MailApproved}, &store.User{}))
	require.True(t, s.Accounts.MailWanted(&store.Mail{Kind: store.MailApproved}, &store.User{IsActive: true}))
}

// The right password of who waits is in the record, as that of others who may not sign in.
func TestSignInOfWhoWaitsIsRecorded(t *testing.T) {
	s := sitetest.New(t, byApproval)
	u := waiter(s, "ada")
	problem(s, "login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.NoError(t, s.Realm.Resources.Failures.Flush(t.Context(), s.Accounts.Store, true))
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Account: u.ID, Limit: 10})
	require.NoError(t, err)
	last := page.Rows[len(page.Rows)-1]
	require.Equal(t, "sign_in_failed", last.Event)
	require.Equal(t, "approval_pending", last.Details["code"])
}

func notified(s *registration.Settings) {
	s.Register.Notify, s.Language = "owner@example.com", "de"
	s.Register.Mode, s.Register.Verification = account.ModeApprove, sitetest.Off()
}

// comes signs somebody up who waits at once, and reads Polish.
func comes(s *sitetest.Site, names ...string) {
	s.T.Helper()
	for _, name := range names {
		b := s.Browser()
		b.Header.Set("Accept-Language", "pl")
		res := b.Post("/accounts/register", sitetest.Newcomer(name))
		require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	}
}

// passes lets time pass, and has the outbox look.
func passes(s *sitetest.Site, d time.Duration) {
	s.Travel(d)
	s.Realm.Resources.Outbox.Notify()
}

func queued(s *sitetest.Site, kind store.MailKind) (n int) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.View(s.T.Context(), func(tx store.Tx) error {
		rows, err := tx.Mails(0, 100)
		for _, m := range rows {
			if m.Kind == kind {
				n++
			}
		}
		return err
	}))
	return n
}

// told requires that the owner's next mail is about these, and nobody else.
func told(s *sitetest.Site, names ...string) *mail.Message {
	s.T.Helper()
	m := s.Mail()
	require.Equal(s.T, "owner@example.com", m.To)
	require.Equal(s.T, "Neue Konten bei example.com", m.Subject, "in the site's language")
	require.NotContains(s.T, m.Text+m.HTML, "@example.org", "nobody's address")
	require.Equal(s.T, len(names), strings.Count(m.Text, "\n- "), m.Text)
	for _, name := range names {
		require.Contains(s.T, m.Text, "\n- "+name+"\n")
		require.Contains(s.T, m.HTML, "<li><bdi>"+name+"</bdi></li>")
	}
	return m
}

func TestOwnerIsNotified(t *testing.T) {
	s := sitetest.New(t, notified)
	comes(s, "ada")
	m := told(s, "ada")
	require.Contains(t, m.Text, "warten auf Ihre Freigabe")
	require.NotContains(t, m.Text, "können jetzt verwendet werden")
	// Those who come within ten minutes are told of together.
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	comes(s, "bob", "eve", "gone", "evil.example")
	passes(s, 9*time.Minute)
	_, _, err := s.Accounts.Approve(t.Context(), sitetest.UUIDOf(t, s, "bob"))
	require.NoError(t, err)
	require.Equal(t, "bob@example.org", s.Mail().To, "and no other before it")
	require.Equal(t, 1, queued(s, store.MailSignUps))
	evil := sitetest.UUIDOf(t, s, "evil.example").String()
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "gone")))
	passes(s, time.Minute)
	m = told(s, "bob", "eve", evil)
	waiting, active, _ := strings.Cut(m.Text, "können jetzt verwendet werden")
	require.Contains(t, active, "- bob\n", "let in meanwhile")
	require.Contains(t, waiting, "- eve\n")
	require.NotContains(t, m.Text+m.HTML, "evil.example", "a mail program would make a link of it")
	// Nobody has come: nothing is said.
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	passes(s, time.Hour)
	s.NoMail()
	comes(s, "late")
	told(s, "late")
}

// Across a restart, and while the mail server is out of order.
func TestOwnerIsNotifiedTogetherOverARestart(t *testing.T) {
	path := t.TempDir() + "/registration.db"
	s := sitetest.NewAt(t, path, notified)
	comes(s, "ada")
	told(s, "ada")
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	comes(s, "bob")
	now := s.Now.Load()
	s.Close()
	s = sitetest.NewAt(t, path, notified)
	s.Now.Store(now)
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "other@example.org", Mail: true})
	require.NoError(t, err)
	require.Equal(t, "other@example.org", s.Mail().To)
	require.Equal(t, 1, queued(s, store.MailSignUps), "it isn't hastened")
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: http.ErrAbortHandler} })
	passes(s, 11*time.Minute)
	comes(s, "eve")
	passes(s, 11*time.Minute)
	comes(s, "tom")
	require.Equal(t, 1, queued(s, store.MailSignUps))
	now = s.Now.Load()
	s.Close()
	s = sitetest.NewAt(t, path, notified)
	s.Now.Store(now)
	told(s, "bob", "eve", "tom")
	s.NoMail()
}

// Who comes while a mail is sent is in the next.
func TestOwnerIsNotifiedOfWhoComesMeanwhile(t *testing.T) {
	s := sitetest.New(t, notified)
	once := sync.OnceFunc(func() { comes(s, "eve") })
	s.FailWith(func(*mail.Message) error { once(); return nil })
	comes(s, "ada")
	told(s, "ada")
	require.Eventually(t, func() bool {
		rows := s.Queued()
		return len(rows) == 1 && rows[0].Due.Equal(s.Accounts.Time().Add(account.NotifyEvery))
	}, sitetest.Patience, time.Millisecond)
	passes(s, account.NotifyEvery)
	told(s, "eve")
}

func TestOwnerIsNotifiedOfMany(t *testing.T) {
	s := sitetest.New(t, notified)
	comes(s, "first")
	told(s, "first")
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	var names []string
	for i := range 22 {
		names = append(names, fmt.Sprintf("user%c", 'a'+i))
	}
	comes(s, names...)
	passes(s, account.NotifyEvery)
	require.Contains(t, told(s, names[:20]...).Text, "Es gibt weitere.")
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
}

// A mail about accounts that are all gone, or to an address that isn't named any more,
// isn't sent, and keeps nobody from being told of the next.
func TestOwnerIsNotNotifiedInVain(t *testing.T) {
	path := t.TempDir() + "/registration.db"
	s := sitetest.NewAt(t, path, notified)
	comes(s, "ada")
	told(s, "ada")
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	comes(s, "gone")
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "gone")))
	passes(s, account.NotifyEvery)
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	comes(s, "bob")
	now := s.Now.Load()
	s.Close()
	s = sitetest.NewAt(t, path, notified, func(s *registration.Settings) { s.Register.Notify = "" })
	s.Now.Store(now)
	passes(s, account.NotifyEvery)
	require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
	s.NoMail()
	comes(s, "eve")
	require.Zero(t, queued(s, store.MailSignUps))
}

// Each way on which an account comes to be its owner's is told of, once; what nobody
// has confirmed isn't.
func TestOwnerIsNotifiedOfEachWay(t *testing.T) {
	open := func(s *registration.Settings) { s.Register.Notify, s.Language = "owner@example.com", "de" }
	for name, way := range map[string]func(*sitetest.Site){
		"the mailed link": func(s *sitetest.Site) {
			signUp(s, "ada", "ada@example.org")
			m := s.Mail()
			s.NoMail()
			link := sitetest.LinkOf(m, t)
			require.Equal(t, "200", problem(s, "verify-registration", link))
			problem(s, "verify-registration", link)
		},
		"a reset": func(s *sitetest.Site) {
			signUp(s, "ada", "ada@example.org")
			s.Mail()
			require.Equal(t, "200", problem(s, "send-reset-password-link", sitetest.Data{"login": "ada"}))
			require.Equal(t, "200", problem(s, "reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "another long passphrase", "password_confirm": "another long passphrase"})))
		},
		"an invitation": func(s *sitetest.Site) {
			_, token := invited(s, account.NewInvitation{Email: "ada@example.org"})
			sitetest.WantJSON(t, signUpWith(s, "ada", token, nil), http.StatusCreated)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, open)
			way(s)
			require.Contains(t, told(s, "ada").Text, "können jetzt verwendet werden")
			passes(s, time.Hour)
			require.Eventually(t, func() bool { return queued(s, store.MailSignUps) == 0 }, sitetest.Patience, time.Millisecond)
		})
	}
}

// Where the store fails while a notice is made or taken off the queue, the outbox hears
// of it, and tries again.
func TestNoticeWhereTheStoreFails(t *testing.T) {
	s := sitetest.New(t, notified)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: http.ErrAbortHandler} })
	comes(s, "ada")
	row := *s.Queued()[0]
	left := row
	left.Words = `{"of": 0}` // she has come while it was sent
	invitation, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "bob@example.org"})
	require.NoError(t, err)
	for name, act := range map[string]func(store.Tx) error{
		"made": func(tx store.Tx) error { m := row; _, err := s.Accounts.PrepareMail(tx, &m); return err },
		"an invitation": func(tx store.Tx) error {
			_, err := s.Accounts.PrepareMail(tx, &store.Mail{Kind: store.MailInvitation, Invitation: invitation.ID})
			return err
		},
		"taken off": func(tx store.Tx) error { return s.Realm.Resources.Purger.MailDone(tx, &left, outbox.End{}) },
		"taken off unmade": func(tx store.Tx) error {
			m := row
			m.Words = ""
			return s.Realm.Resources.Purger.MailDone(tx, &m, outbox.End{})
		},
		"taken off with it": func(tx store.Tx) error {
			m := row
			m.Words = `{"of": 1}`
			return s.Realm.Resources.Purger.MailDone(tx, &m, outbox.End{})
		},
	} {
		failed := 0
		for n := 1; ; n++ {
			faulty := &sitetest.FaultyStore{Store: s.Accounts.Store, FailAt: n}
			err := faulty.Update(t.Context(), func(tx store.Tx) error {
				if err := act(tx); err != nil {
					return err
				}
				return context.Canceled // nothing is to change
			})
			if !faulty.Met {
				require.ErrorIs(t, err, context.Canceled, name)
				break
			}
			if errors.Is(err, sitetest.ErrFault) {
				failed++
			}
		}
		require.GreaterOrEqual(t, failed, 2, name)
	}
}

// With the owner's pages the mail leads to them, it names the site as they do, and it tells
// also of whom the owner has brought to wait by another address.
func TestOwnersMailLeadsToHisPages(t *testing.T) {
	s := sitetest.New(t, notified, func(s *registration.Settings) {
		s.Admin = &registration.AdminSettings{Group: "admins"}
		s.Pages.Title, s.Register.Verification = "Der Gartenverein", nil
	})
	comes(s, "fred")
	_, err := s.Accounts.SetEmail(t.Context(), sitetest.UUIDOf(t, s, "fred"), "fred@garden.example", account.Client{})
	require.NoError(t, err)
	var m *mail.Message
	for m = s.Mail(); m.To != "owner@example.com"; m = s.Mail() {
	}
	require.Equal(t, "Neue Konten bei Der Gartenverein", m.Subject)
	require.Contains(t, m.Text, "\n- fred\n")
	for _, body := range []string{m.Text, m.HTML} {
		require.Contains(t, body, "http://example.com/accounts/admin/waiting/")
		require.Contains(t, body, "caddy registration approve")
	}
}
