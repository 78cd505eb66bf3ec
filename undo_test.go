// undo_test.go: the way back after somebody else changed the e-mail address:
// the old address is told, its link takes the account back, whoever has it now.

package registration

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
)

const changedSubject = "Your e-mail address at example.com was changed"

// move changes the address of the one who is signed in and returns the link
// that the old address gets.
func (s *site) move(b *browser, from, to string) data {
	s.t.Helper()
	require.Equal(s.t, 200, b.post("/accounts/register-email", data{"email": to}).StatusCode)
	confirm := s.mail()
	require.Equal(s.t, to, confirm.To)
	res := s.browser().post("/accounts/verify-email", linkOf(confirm, s.t))
	require.Equal(s.t, 200, res.StatusCode, res.body)
	m := s.mail()
	require.Equal(s.t, changedSubject, m.Subject)
	require.Equal(s.t, from, m.To)
	require.NotContains(s.t, m.Text+m.HTML, to, "the new address is not the old one's business")
	return linkOf(m, s.t)
}

func TestUndoOfAnEmailChange(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	thief := s.signedIn("ada")
	undo := s.move(thief, "ada@example.org", "thief@example.net")
	theirs := s.move(thief, "thief@example.net", "thief2@example.net")
	thief.post("/accounts/send-reset-password-link", data{"login": "ada"})
	reset := s.mail()
	require.Equal(t, "thief2@example.net", reset.To)
	require.Equal(t, 200, thief.post("/accounts/register-email", data{"email": "thief3@example.net"}).StatusCode)
	third := linkOf(s.mail(), t)

	owner := s.browser().likeBrowser()
	q := url.Values{}
	for k, v := range undo {
		q.Set(k, v.(string))
	}
	for range 3 { // a scanner
		page := owner.get("/accounts/undo-email/?" + q.Encode())
		require.Contains(t, page.body, `action="/accounts/undo-email/"`)
		require.Contains(t, page.body, `name="email" value="ada@example.org"`)
	}
	require.Equal(t, 200, thief.get("/accounts/profile").StatusCode, "a GET changes nothing")
	p := s.browser().problems()
	requireError(t, p.post("/accounts/undo-email", with(undo, data{"email": "thief@example.net"})), 400, "signature_invalid")
	requireError(t, p.post("/accounts/undo-email", with(undo, data{"email": nil})), 400, "email:required")
	requireError(t, p.post("/accounts/verify-email", undo), 400, "signature_invalid")
	require.Contains(t, owner.follow(owner.post("/accounts/undo-email/", q)).body, "is back")

	fresh := s.mail()
	require.Equal(t, "ada@example.org", fresh.To)
	require.Equal(t, 401, thief.get("/accounts/profile").StatusCode, "every session has ended")
	require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode, "the password that the thief knew is void")
	for path, body := range map[string]data{
		"undo-email": theirs, "verify-email": third, "reset-password": with(linkOf(reset, t), data{"password": "of the thief's own"}),
	} {
		requireError(t, p.post("/accounts/"+path, body), 400, "signature_invalid")
	}
	requireError(t, p.post("/accounts/undo-email", undo), 400, "signature_invalid")
	const password = "an even longer passphrase"
	require.Equal(t, 200, p.post("/accounts/reset-password", with(linkOf(fresh, t), data{"password": password})).StatusCode)
	b := s.browser()
	require.Equal(t, 200, b.post("/accounts/login", data{"login": "ada", "password": password}).StatusCode)
	require.Equal(t, "ada@example.org", b.get("/accounts/profile").json(t)["email"])
	u, err := s.accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, u.Former)
}

func TestUndoIsForSevenDays(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path)
	s.member("ada")
	undo := s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	s.close()
	s = newSiteAt(t, path) // the record keeps it
	s.travel(7*day + time.Second)
	requireError(t, s.browser().problems().post("/accounts/undo-email", undo), 400, "signature_expired")
	s.travel(-time.Second)
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada@example.org", s.mail().To)
}

// Else a thief would let a helper sign up with the owner's address, and the
// link would have nothing to go back to.
func TestFormerAddressIsReserved(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	s.member("bob")
	undo := s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	fresh := s.browser().post("/accounts/register", newcomer("fresh"))
	s.mail()
	taken := s.browser().post("/accounts/register", with(newcomer("helper"), data{"email": "ADA@example.org"}))
	require.Equal(t, fresh.StatusCode, taken.StatusCode, "nobody is told")
	m := s.mail()
	require.Equal(t, noticeSubject, m.Subject)
	require.Equal(t, "ADA@example.org", m.To)
	require.Equal(t, 200, s.signedIn("bob").post("/accounts/register-email", data{"email": "ada@example.org"}).StatusCode)
	s.noMail() // one notice an hour
	_, err := s.accounts.Lookup(t.Context(), "ada@example.org")
	require.Error(t, err, "nobody is found by it")
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada@example.org", s.mail().To)

	// Once it is over, it is anybody's, and can be left by him too.
	s = newSite(t)
	s.member("ada")
	s.member("bob")
	undo = s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	s.travel(account.UndoReserved)
	s.move(s.signedIn("bob"), "bob@example.org", "ada@example.org")
	requireError(t, s.browser().problems().post("/accounts/undo-email", undo), 400, "signature_invalid")
	back := s.move(s.signedIn("bob"), "ada@example.org", "bob2@example.org")
	s.signedIn("ada")
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", back).StatusCode)
	require.Equal(t, "bob", uuidOwner(t, s, "ada@example.org"))
}

func uuidOwner(t *testing.T, s *site, login string) string {
	u, err := s.accounts.Lookup(t.Context(), login)
	require.NoError(t, err)
	return u.Username
}

func TestUndoWhereAddressesAreNotVerified(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.RegisterEmail.Verification, s.Register.Verification = off(), off()
		s.User.EditableFields = []string{"first_name", "email"}
	})
	s.member("ada")
	s.member("bob")
	b := s.signedIn("ada")
	require.Equal(t, 200, b.post("/accounts/register-email", data{"email": "a2@example.org"}).StatusCode)
	first := s.mail()
	require.Equal(t, "ada@example.org", first.To)
	require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"email": "a3@example.org"}).StatusCode)
	require.Equal(t, "a2@example.org", s.mail().To)
	require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"email": "A3@example.org", "first_name": "Ada"}).StatusCode)
	s.noMail() // the same mailbox
	requireError(t, s.signedIn("bob").problems().do("PATCH", "/accounts/profile", data{"email": "ada@example.org"}), 400, "email:unique")
	requireError(t, s.signedIn("bob").problems().post("/accounts/register-email", data{"email": "a2@example.org"}), 400, "email_already_registered")
	requireError(t, s.browser().problems().post("/accounts/register", with(newcomer("eve"), data{"email": "ada@example.org"})), 400, "email:unique")
	require.Equal(t, 200, b.do("PATCH", "/accounts/profile", data{"email": ""}).StatusCode)
	require.Equal(t, "A3@example.org", s.mail().To)
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", linkOf(first, t)).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
	require.Equal(t, 200, s.signedIn("bob").post("/accounts/register-email", data{"email": "a2@example.org"}).StatusCode, "free again")
}

func TestUndoOfADisabledAccount(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	undo := s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, "ada"), account.AdminChange{IsActive: off()})
	require.NoError(t, err)
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", undo).StatusCode)
	s.noMail()
	u, err := s.accounts.Lookup(t.Context(), "ada@example.org")
	require.NoError(t, err)
	require.False(t, u.IsActive, "it stays disabled")
}

func TestUndoWithoutReset(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.ResetPassword.Enabled = off() })
	s.member("ada")
	undo := s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	res := s.browser().post("/accounts/undo-email", undo)
	require.Contains(t, res.body, "change your password")
	s.noMail()
	s.signedIn("ada") // else nobody could
	none := newSite(t, func(s *Settings) {
		s.ResetPassword.Enabled, s.RegisterEmail.Verification, s.Register.Verification = off(), off(), off()
	})
	none.member("ada")
	require.Equal(t, 404, none.browser().post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, 200, none.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org"}).StatusCode)
	none.noMail() // where no mail is sent
}

// A thief must not push the owner's address out of the list by more changes.
func TestFormerAddressesAreBounded(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada")
	first := s.move(b, "ada@example.org", "t0@example.net")
	for i := range account.MaxFormer - 1 {
		s.move(b, fmt.Sprintf("t%d@example.net", i), fmt.Sprintf("t%d@example.net", i+1))
	}
	require.Equal(t, 200, b.post("/accounts/register-email", data{"email": "more@example.net"}).StatusCode)
	more := linkOf(s.mail(), t)
	res := s.browser().problems().post("/accounts/verify-email", more)
	requireError(t, res, 429, "throttled")
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", first).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}

// Two links for one address do one undo.
func TestUndoOfAnAddressLeftTwice(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada")
	first := s.move(b, "ada@example.org", "new@example.org")
	s.move(b, "new@example.org", "ada@example.org")
	s.travel(day)
	second := s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", second).StatusCode)
	requireError(t, s.browser().problems().post("/accounts/undo-email", first), 400, "signature_invalid")
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}

func TestRaceForOneUndo(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	undo := s.move(s.signedIn("ada"), "ada@example.org", "new@example.org")
	count := race(func(int) int { return s.browser().post("/accounts/undo-email", undo).StatusCode })
	require.Equal(t, map[int]int{200: 1, 400: racers - 1}, count)
	s.mail()
	s.noMail()
}
