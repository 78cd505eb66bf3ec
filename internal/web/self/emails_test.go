// emails_test.go: several addresses: how one is added, made the first one and removed, what
// each is good for, and what those who read them are told.

package self_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func severalEmails(s *registration.Settings) {
	s.User.MaxEmails = 4
	s.Throttle.Off = true
}

// mailsTo takes n mails, by whom they go to.
func mailsTo(s *sitetest.Site, n int) map[string]*mail.Message {
	s.T.Helper()
	got := map[string]*mail.Message{}
	for range n {
		m := s.Mail()
		got[m.To] = m
	}
	require.Len(s.T, got, n, "each to another address")
	return got
}

// undone takes the mails of a way back, by whom they go to: the link to a new password, and
// so many notices to others.
func undone(s *sitetest.Site, others int) map[string]*mail.Message {
	s.T.Helper()
	m := s.Mail()
	got := map[string]*mail.Message{m.To: m}
	for range others {
		m := s.Notice()
		got[m.To] = m
	}
	require.Len(s.T, got, 1+others, "each to another address")
	return got
}

// addEmail has who is signed in at b add an address, and returns the links that the others
// of the account get.
func addEmail(s *sitetest.Site, b *sitetest.Browser, email string, others int) map[string]*mail.Message {
	s.T.Helper()
	res := b.Post("/accounts/register-email", sitetest.Data{"email": email})
	require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
	m := s.Mail()
	require.Equal(s.T, email, m.To)
	res = s.Browser().Post("/accounts/verify-email", sitetest.LinkOf(m, s.T))
	require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
	return mailsTo(s, others)
}

func TestSeveralEmails(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	s.Member("ada")
	b := s.SignedIn("ada")
	require.JSONEq(t, `[{"email":"ada@example.org","primary":true,"confirmed":true}]`, b.Get("/accounts/emails").Text)

	require.Equal(t, http.StatusOK, b.Post("/accounts/register-email", sitetest.Data{"email": "Ada@Work.example"}).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	waits := `[{"email":"ada@example.org","primary":true,"confirmed":true},{"email":"Ada@work.example","primary":false,"confirmed":false}]`
	require.JSONEq(t, waits, b.Get("/accounts/emails").Text)
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada@work.example", "password": sitetest.Password}).StatusCode, "it is nobody's yet")
	sitetest.RequireError(t, b.Problems().Post("/accounts/primary-email", sitetest.Data{"email": "ada@work.example"}), http.StatusConflict, "email_unconfirmed")
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-email", link).StatusCode)
	require.Equal(t, "The email addresses of your account at example.com have changed", mailsTo(s, 1)["ada@example.org"].Subject)
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/verify-email", link).StatusCode, "a link is good once")
	require.JSONEq(t, strings.ReplaceAll(waits, `"confirmed":false`, `"confirmed":true`), b.Get("/accounts/emails").Text)
	require.Contains(t, b.Get("/accounts/profile").Text, `"email":"ada@example.org"`)

	addEmail(s, b, "ada@third.example", 2)
	for _, login := range []string{"ada", "ada@example.org", "ADA@work.example", "ada@third.example"} {
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password}).StatusCode, login)
	}
	require.Equal(t, http.StatusOK, b.Post("/accounts/register-email", sitetest.Data{"email": "ada@fourth.example"}).StatusCode)
	s.Mail()
	sitetest.RequireError(t, b.Problems().Post("/accounts/register-email", sitetest.Data{"email": "ada@fifth.example"}), http.StatusConflict, "email_limit")
	sitetest.RequireError(t, b.Problems().Post("/accounts/register-email", sitetest.Data{"email": "ada@third.example"}), http.StatusBadRequest, "email_already_registered")
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-email", sitetest.Data{"email": "ada@fourth.example"}).StatusCode)
	sitetest.RequireError(t, b.Problems().Post("/accounts/remove-email", sitetest.Data{"email": "ada@fourth.example"}), http.StatusNotFound, "email_not_found")
	sitetest.RequireError(t, b.Problems().Post("/accounts/remove-email", sitetest.Data{"email": "ada@example.org"}), http.StatusConflict, "email_primary")
	sitetest.RequireError(t, b.Problems().Post("/accounts/primary-email", sitetest.Data{"email": "eve@example.org"}), http.StatusNotFound, "email_not_found")

	require.Equal(t, http.StatusOK, b.Post("/accounts/primary-email", sitetest.Data{"email": "ada@work.example"}).StatusCode)
	mailsTo(s, 3)
	require.Contains(t, b.Get("/accounts/profile").Text, `"email":"Ada@work.example"`)
	require.Equal(t, http.StatusOK, b.Post("/accounts/primary-email", sitetest.Data{"email": "ada@work.example"}).StatusCode, "it is already")
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-email", sitetest.Data{"email": "ada@example.org"}).StatusCode)
	told := mailsTo(s, 3)
	require.Equal(t, "Your email address at example.com has been changed", told["ada@example.org"].Subject)
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada@example.org", "password": sitetest.Password}).StatusCode)
	s.NoMail()
}

// A forgotten password is set anew by a link to the address that was typed; the link ends
// with that address.
func TestResetByAFurtherEmail(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	s.Member("ada")
	b := s.SignedIn("ada")
	addEmail(s, b, "ada@work.example", 1)
	ask := func(login string) *mail.Message {
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": login}).StatusCode)
		return s.Mail()
	}
	for login, to := range map[string]string{"ada": "ada@example.org", "ada@example.org": "ada@example.org", "ADA@work.example": "ada@work.example"} {
		require.Equal(t, to, ask(login).To)
	}
	atWork := sitetest.LinkOf(ask("ada@work.example"), t)
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-email", sitetest.Data{"email": "ada@work.example"}).StatusCode)
	mailsTo(s, 2)
	with := sitetest.Data{"password": sitetest.NewPassword}
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/reset-password", sitetest.With(atWork, with)).StatusCode)

	addEmail(s, b, "ada@home.example", 1)
	link := sitetest.LinkOf(ask("ada@home.example"), t)
	require.Equal(t, http.StatusOK, b.Post("/accounts/primary-email", sitetest.Data{"email": "ada@home.example"}).StatusCode, "its mailbox is still good")
	mailsTo(s, 2)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", sitetest.With(link, with)).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada@example.org", "password": sitetest.NewPassword}).StatusCode)
}

// A first address that was never confirmed is not shown by a reset at another.
func TestResetByAFurtherEmailConfirmsIt(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	s.Member("ada")
	addEmail(s, s.SignedIn("ada"), "ada@work.example", 1)
	id := s.ProfileID("ada")
	s.Set(id, func(u *store.User) { u.EmailVerified = false })
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada@work.example"}).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.NewPassword})).StatusCode)
	require.False(t, s.Stored(id).EmailVerified)
	require.Equal(t, []string{"ada@work.example"}, s.Stored(id).FurtherEmails)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada@example.org"}).StatusCode)
	link = sitetest.LinkOf(s.Mail(), t)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": "yet another passphrase"})).StatusCode)
	require.True(t, s.Stored(id).EmailVerified)
	require.Empty(t, s.Stored(id).FurtherEmails, "who had the account before may be a stranger to the mailbox")
}

// Whoever is signed in adds an address of his own, makes it the first and removes the
// owner's: each of the owner's brings all back.
func TestUndoOfSeveralEmails(t *testing.T) {
	for _, by := range []string{"ada@example.org", "ada@work.example"} {
		s := sitetest.New(t, severalEmails)
		s.Member("ada")
		thief := s.SignedIn("ada")
		addEmail(s, thief, "ada@work.example", 1)
		s.Travel(15 * 24 * time.Hour) // what was before can't be gone back to
		thief = s.SignedIn("ada")
		links := addEmail(s, thief, "eve@example.net", 2)
		require.Equal(t, http.StatusOK, thief.Post("/accounts/primary-email", sitetest.Data{"email": "eve@example.net"}).StatusCode)
		mailsTo(s, 3)
		require.Equal(t, http.StatusOK, thief.Post("/accounts/remove-email", sitetest.Data{"email": "ada@example.org"}).StatusCode)
		mailsTo(s, 3)
		require.Equal(t, http.StatusOK, thief.Post("/accounts/remove-email", sitetest.Data{"email": "ada@work.example"}).StatusCode)
		thieves := mailsTo(s, 2)["eve@example.net"]
		require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"email": "ada@work.example"})).StatusCode)
		require.NotContains(t, s.Mail().Text, "verify-registration", "it is kept for its owner")
		id := sitetest.UUIDOf(t, s, "ada").String()

		page := s.Browser().LikeBrowser().Get("/accounts/undo-email/?" + sitetest.FormOf(sitetest.LinkOf(links[by], t)).Encode()).Text
		for _, says := range []string{"<dt>Main address then</dt><dd><bdi>ada@example.org</bdi></dd>", "<dt>Further address then</dt><dd><bdi>ada@work.example</bdi></dd>", "<dt>Removed from the account</dt><dd><bdi>eve@example.net</bdi></dd>"} {
			require.Contains(t, page, says)
		}
		res := s.Browser().Post("/accounts/undo-email", sitetest.LinkOf(links[by], t))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		other := map[string]string{"ada@example.org": "ada@work.example", "ada@work.example": "ada@example.org"}[by]
		all := undone(s, 2)
		require.Contains(t, strings.Join(strings.Fields(all[by].Text), " "), "A change to your account at example.com has been undone", "a new password")
		require.NotContains(t, all[by].Text, "Ignore this email")
		require.Equal(t, "A change of your addresses at example.com has been undone", all[other].Subject)
		require.Contains(t, strings.Join(strings.Fields(all[other].Text), " "), other+", is one of")
		require.Contains(t, strings.Join(strings.Fields(all["eve@example.net"].Text), " "), "no longer belongs to")
		require.NotContains(t, all["eve@example.net"].Text, "ada@")
		u := s.Stored(id)
		require.Equal(t, "ada@example.org", u.Email, "it was the main one then")
		require.Equal(t, []string{"ada@work.example"}, u.FurtherEmails)
		require.Equal(t, http.StatusUnauthorized, thief.Get("/accounts/emails").StatusCode)
		require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/undo-email", sitetest.LinkOf(thieves, t)).StatusCode, "that is over")
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "eve@example.net"}).StatusCode)
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": other}).StatusCode)
		require.Equal(t, other, s.Mail().To)
		s.NoMail()
	}
}

// Who removes a further address because somebody else reads its mailbox keeps the main one, and
// is told, whatever the other does with the link.
func TestUndoOfARemovedFurtherEmail(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	addEmail(s, b, "ada@work.example", 1)
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-email", sitetest.Data{"email": "ada@work.example"}).StatusCode)
	told := mailsTo(s, 2)
	require.Contains(t, told["ada@example.org"].Text, "The address ada@work.example has been removed.")
	require.NotContains(t, told["ada@work.example"].Text, "ada@example.org")
	undo := sitetest.LinkOf(told["ada@work.example"], t)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
	u := s.Stored(id)
	require.Equal(t, "ada@example.org", u.Email)
	require.Equal(t, []string{"ada@work.example"}, u.FurtherEmails)
	told = undone(s, 1)
	require.Contains(t, told["ada@example.org"].Text, "send-reset-password-link")
	link := sitetest.With(sitetest.LinkOf(told["ada@work.example"], t), sitetest.Data{"password": sitetest.NewPassword})
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", link).StatusCode)
	require.Contains(t, s.Browser().LikeBrowser().Get("/accounts/undo-email/?"+sitetest.FormOf(undo).Encode()).Text, "has already been restored")
}

// An address of an account from before this version knows no main one: its link makes it that.
func TestUndoOfAnOlderRecord(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	addEmail(s, b, "ada@work.example", 1)
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-email", sitetest.Data{"email": "ada@work.example"}).StatusCode)
	told := mailsTo(s, 2)
	s.Set(id, func(u *store.User) {
		for i := range u.Former {
			u.Former[i].Main = ""
		}
	})
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/undo-email", sitetest.LinkOf(told["ada@work.example"], t)).StatusCode)
	require.Equal(t, "ada@work.example", s.Stored(id).Email)
	require.Equal(t, []string{"ada@example.org"}, s.Stored(id).FurtherEmails)
	undone(s, 1)
}

// With one address nothing differs but that a change which waits is seen and taken back.
func TestPendingChangeIsTakenBack(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Throttle.Off = true })
	s.Member("ada")
	b := s.SignedIn("ada")
	page := b.LikeBrowser().Get("/accounts/profile/").Text
	require.NotContains(t, page, "/accounts/emails/")
	b = s.SignedIn("ada")
	require.Equal(t, http.StatusNotFound, b.Post("/accounts/primary-email", sitetest.Data{"email": "ada@new.example"}).StatusCode)
	links := map[string]sitetest.Data{}
	for _, email := range []string{"ada@new.example", "ada@newer.example"} {
		require.Equal(t, http.StatusOK, b.Post("/accounts/register-email", sitetest.Data{"email": email}).StatusCode)
		links[email] = sitetest.LinkOf(s.Mail(), t)
	}
	require.Contains(t, b.Get("/accounts/emails").Text, `{"email":"ada@newer.example","primary":false,"confirmed":false}`)
	s.Travel(time.Hour) // no password is asked for
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-email", sitetest.Data{"email": "ada@new.example"}).StatusCode)
	require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/verify-email", links["ada@new.example"]).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-email", links["ada@newer.example"]).StatusCode)
	require.JSONEq(t, `[{"email":"ada@newer.example","primary":true,"confirmed":true}]`, b.Get("/accounts/emails").Text)
	require.Equal(t, "ada@example.org", s.Mail().To)
	require.Empty(t, s.Stored(sitetest.UUIDOf(t, s, "ada").String()).FurtherEmails)
	s.NoMail()
}

func TestEmailsPages(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	s.Member("ada")
	b := s.SignedIn("ada")
	addEmail(s, b, "ada@work.example", 1)
	require.Equal(t, http.StatusOK, b.Post("/accounts/register-email", sitetest.Data{"email": "ada@new.example"}).StatusCode)
	s.Mail()
	b.LikeBrowser()
	profile := b.Get("/accounts/profile/").Text
	for _, says := range []string{"ada@work.example", "ada@new.example", "/accounts/emails/", "Add an email address"} {
		require.Contains(t, profile, says)
	}
	page := b.Get("/accounts/emails/").Text
	for _, says := range []string{"Main address", "Confirmed", "Not confirmed yet", `value="ada@new.example"`, "Cancel this address", "Send the email again", "/accounts/primary-email/?email=ada%40work.example", "/accounts/remove-email/?email=ada%40work.example"} {
		require.Contains(t, page, says)
	}
	require.Equal(t, http.StatusSeeOther, b.Post("/accounts/register-email/", sitetest.FormOf(sitetest.Data{"email": "ada@new.example"})).StatusCode, "the button")
	require.Equal(t, "ada@new.example", s.Mail().To)
	for _, own := range []string{"ada@example.org", "ada@work.example"} {
		require.Contains(t, b.Post("/accounts/register-email/", sitetest.FormOf(sitetest.Data{"email": own})).Text, "This one is already yours.")
	}
	require.Equal(t, http.StatusNotFound, b.Get("/accounts/remove-email/?email=eve@example.net").StatusCode)
	require.Contains(t, b.Get("/accounts/primary-email/?email=ada%40work.example").Text, "Make this the main address")
	res := b.Follow(b.Post("/accounts/primary-email/", sitetest.Data{"email": "ada@work.example"}))
	require.Contains(t, res.Text, "This is now your main address.")
	mailsTo(s, 2)
	require.Contains(t, b.Follow(b.Post("/accounts/remove-email/", sitetest.Data{"email": "ada@new.example"})).Text, "The address has been removed.")
	require.Equal(t, []string{"ada@example.org"}, s.Stored(sitetest.UUIDOf(t, s, "ada").String()).FurtherEmails)
	s.Travel(time.Hour)
	require.Contains(t, b.Get("/accounts/remove-email/?email=ada@example.org").Text, `name="password"`)
}

func TestOwnersSeeAllEmails(t *testing.T) {
	s := sitetest.New(t, severalEmails)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	addEmail(s, b, "ada@work.example", 1)
	require.Equal(t, http.StatusOK, b.Post("/accounts/register-email", sitetest.Data{"email": "ada@new.example"}).StatusCode)
	s.Mail()
	s.Set(id, func(u *store.User) {
		u.Unreachable = store.Unreachable{Email: "ada@work.example", Words: "no such user", Since: s.Accounts.Time()}
	})
	raw, err := json.Marshal(web.AccountShown(s.Accounts, s.Stored(id)))
	require.NoError(t, err)
	for _, says := range []string{`"email":"ada@example.org"`, `"further_emails":["ada@work.example"]`, `"unconfirmed_emails":["ada@new.example"]`, `"email_unreachable":{"email":"ada@work.example"`} {
		require.Contains(t, string(raw), says)
	}
}
