// undelivered_test.go: why a mail did not arrive, as the pages tell it.

package owner_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// No one reads email at an address: its owner's page says so, with the words of the server
// and what to do, and the page of the queue has whom it was for, also where that is an
// invitation.
func TestMailToNobody(t *testing.T) {
	s := newSite(t, []string{"bob"})
	h := s.SignedIn("ada").LikeBrowser()
	bob := pathOf(t, s, "bob", "") + "/"
	require.NotContains(t, h.Get(bob).Text, "Emails that haven’t arrived")
	require.NotContains(t, h.Get(admin+"mail/").Text, "given up")
	s.FailWith(func(*mail.Message) error {
		return &mail.Error{Permanent: true, Recipient: true, Err: errors.New("550 5.1.1 <b>unknown</b>")}
	})
	require.Equal(t, http.StatusSeeOther, h.Post(pathOf(t, s, "bob", "mail-link")+"/", nil).StatusCode)
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: "ivy@example.org", Mail: true})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	page := h.Get(bob)
	for _, want := range []string{
		"<h2>Emails that haven’t arrived</h2>", "No one reads email at bob@example.org, its server says. Ask for another address, and change it here.",
		"550 5.1.1 &lt;b&gt;unknown&lt;/b&gt;", `<span title="reset_by_owner">Link to set a new password</span>`, "No one reads email at this address, its server says.",
		`<td data-label="To"><bdi>bob@example.org</bdi></td>`,
	} {
		require.Contains(t, page.Text, want)
	}
	queue := h.Get(admin + "mail/")
	for _, want := range []string{"<h2>Waiting emails</h2>", "<h2>Emails given up</h2>", `<a href="` + bob + `">bob@example.org</a>`, "ivy@example.org", `<span title="invitation">Invitation</span>`, "/audit/?event=mail_failed"} {
		require.Contains(t, queue.Text, want)
	}
	// With another address it is another story; the mail that was lost stays told.
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Post(pathOf(t, s, "bob", "set-email"), sitetest.Data{"email": "bob@example.com"}).StatusCode)
	page = h.Get(bob)
	require.NotContains(t, page.Text, "550 5.1.1")
	require.Contains(t, page.Text, "Emails that haven’t arrived")
	require.Contains(t, page.Text, `<td data-label="To"><bdi>bob@example.org</bdi></td>`)
	require.Contains(t, page.Text, "No one read email at this address, its server said.")
	for _, path := range []string{bob, admin + "mail/"} {
		require.NotRegexp(t, `bob@example.org(?s:.){0,300}Ask for another address`, h.Get(path).Text, path)
	}
	// A week later nobody knows the address any more, and the new one isn't blamed.
	s.Travel(8 * 24 * time.Hour)
	h = s.SignedIn("ada").LikeBrowser()
	require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
		u, err := tx.User(sitetest.UUIDOf(t, s, "bob"))
		require.NoError(t, err)
		u.Former, u.Unreachable = nil, store.Unreachable{}
		return s.Accounts.PutUser(tx, u)
	}))
	for _, path := range []string{bob, admin + "mail/"} {
		require.Contains(t, h.Get(path).Text, "Another address")
		require.NotRegexp(t, `Another address(?s:.){0,300}Ask for another address`, h.Get(path).Text, path)
	}
	// Who and what is gone by now has no name any more; after a month all is forgotten here.
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "bob")))
	invitations, err := s.Accounts.Invitations(t.Context(), uuid.Nil, 1)
	require.NoError(t, err)
	require.NoError(t, s.Accounts.RevokeInvitation(t.Context(), invitations[0].ID))
	queue = h.Get(admin + "mail/")
	require.NotContains(t, queue.Text, "ivy@")
	require.NotContains(t, queue.Text, ">bob<")
	require.Contains(t, queue.Text, "No one read email at this address")
	s.Travel(31 * 24 * time.Hour)
	require.NotContains(t, s.SignedIn("ada").LikeBrowser().Get(admin+"mail/").Text, "given up")
}

// Each reason for which mail is given up is said in words; one of another version, as it is.
func TestWhyMailIsGivenUp(t *testing.T) {
	s := newSite(t, nil)
	ada := sitetest.UUIDOf(t, s, "ada")
	for reason, want := range map[string]string{
		outbox.NoRecipient: "No one read email at this address, its server said.", outbox.Unsendable: "The log of this server says why.",
		outbox.Delayed: "A server put it off for 3 days. Send it again.", outbox.NoServer: "No mail server could be used for 3 days.", "<i>new</i>": "&lt;i&gt;new&lt;/i&gt;",
	} {
		require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
			return tx.AddAudit(&store.Audit{At: s.Accounts.Now(), Event: string(audit.MailFailed), Account: ada, Actor: audit.ActorSystem, Details: map[string]string{"kind": "register", "reason": reason}})
		}))
		h := s.SignedIn("ada").LikeBrowser()
		require.Contains(t, h.Get(admin+"mail/").Text, want)
		require.Contains(t, h.Get(pathOf(t, s, "ada", "")+"/").Text, want)
	}
}

// What waits is on the person's page too, with the reason.
func TestMailThatWaits(t *testing.T) {
	s := newSite(t, []string{"bob"})
	h := s.SignedIn("ada").LikeBrowser()
	bob := pathOf(t, s, "bob", "") + "/"
	put := func(failed string) {
		require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutMail(&store.Mail{Kind: store.MailResetPassword, To: "bob@example.org", User: sitetest.UUIDOf(t, s, "bob"), Queued: s.Accounts.Now(), Due: s.Accounts.Now().Add(time.Hour), Failed: failed})
		}))
	}
	put("")
	for _, path := range []string{bob, admin + "mail/"} {
		require.Contains(t, h.Get(path).Text, "It’s on its way.")
		require.NotContains(t, h.Get(path).Text, "tried again automatically")
	}
	put("451 4.7.1 greylisted")
	require.Contains(t, h.Get(bob).Text, "A server put it off: 451 4.7.1 greylisted")
	require.Contains(t, h.Get(admin+"mail/").Text, "Emails that a server put off are tried again automatically, for 3 days.")
	require.NotContains(t, h.Get(pathOf(t, s, "ada", "")+"/").Text, "haven’t arrived")
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutValue("mail_health", []byte(`{"failed":"2026-11-27T00:00:00Z","words":"535 no","line":"password <b>"}`))
	}))
	require.Contains(t, h.Get(bob).Text, "The mail server can’t be used.")
	for _, want := range []string{"Its answer was: 535 no", "All emails wait until it can be used again.", "Line of the configuration that fixes it", "password &lt;b&gt;"} {
		require.Contains(t, h.Get(admin+"mail/").Text, want)
	}
}

// What is held to tell of others too says until when, and isn't counted as tried.
func TestMailThatIsHeld(t *testing.T) {
	s := newSite(t, nil)
	due := s.Accounts.Now().Add(10 * time.Minute)
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutMail(&store.Mail{Kind: store.MailSignUps, To: "owner@example.org", Queued: s.Accounts.Now(), Due: due})
	}))
	h := s.SignedIn("ada").LikeBrowser()
	page := h.Get(admin + "mail/").Text
	require.Contains(t, page, "It waits until "+due.UTC().Format("2 January 2006, 15:04 UTC")+", to report others too.")
	require.NotContains(t, page, "on its way")
	require.Contains(t, h.Follow(h.Post(admin+"mail/", nil)).Text, "0 emails are being tried now.")
}

// Where no mail can be delivered, each page says so in the menu, and the first in words.
func TestMailThatIsStopped(t *testing.T) {
	s := newSite(t, nil)
	h := s.SignedIn("ada").LikeBrowser()
	health := func(value string) {
		require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue("mail_health", []byte(value)) }))
	}
	for _, value := range []string{`{"succeeded":"2026-11-27T00:00:00Z"}`, "no JSON"} {
		health(value)
		require.NotContains(t, h.Get(admin+"accounts/").Text, "delivery")
	}
	health(`{"failed":"2026-11-27T00:00:00Z","words":"535 no"}`)
	require.Contains(t, h.Get(admin+"accounts/").Text, "No email can be delivered at the moment.")
	require.Contains(t, h.Get(admin+"audit/").Text, ">Mail queue (no delivery)</a>")
	require.NotContains(t, h.Get(admin+"audit/").Text, "at the moment")
}

// An invitation whose mail haven’t arrived says so in the list, beside it, until somebody
// has used it all the same.
func TestInvitationThatDidNotArrive(t *testing.T) {
	s := newSite(t, nil)
	h := s.SignedIn("ada").LikeBrowser()
	list := func() string { return h.Get(admin + "invitations/").Text }
	s.FailWith(func(m *mail.Message) error {
		if m.To == "late@example.org" {
			return &mail.Error{Err: errors.New("451 4.7.1 greylisted")}
		}
		return &mail.Error{Permanent: true, Recipient: true, Err: errors.New("550 5.1.1 unknown")}
	})
	invite := func(email string) uuid.UUID {
		i, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{Email: email, Mail: true})
		require.NoError(t, err)
		return i.ID
	}
	_, _, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.NoError(t, err)
	require.NotContains(t, list(), "haven’t arrived")
	ivy := invite("ivy@example.org")
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	require.Regexp(t, `ivy@example.org(?s:.){0,500}<td data-label="Emails that haven’t arrived"><bdi>No one reads email at this address`, list())
	require.Contains(t, list(), `<td data-label="Emails that haven’t arrived"><bdi>–</bdi></td>`)
	invite("late@example.org")
	require.Eventually(t, func() bool { return strings.Contains(list(), "A server put it off: 451 4.7.1 greylisted") }, sitetest.Patience, time.Millisecond)
	require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
		i, err := tx.Invitation(ivy)
		require.NoError(t, err)
		i.Used = 1
		return tx.PutInvitation(i)
	}))
	require.NotContains(t, list(), "No one reads email")
}
