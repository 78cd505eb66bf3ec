// approve_test.go: who waits to be let in is, or isn't, and hears of it.

package account_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
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
			require.Contains(t, m.Text, "The owner wrote this to you:\n\nWe are full.\n\n[31mAsk in spring, <b>please</b>.\n")
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
