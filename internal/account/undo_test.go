// undo_test.go: the way back after somebody else changed the e-mail address:
// the old address is told, its link takes the account back, whoever has it now.

package account_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func TestUndoOfAnEmailChange(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	thief := s.SignedIn("ada")
	undo := s.Move(thief, "ada@example.org", "thief@example.net")
	theirs := s.Move(thief, "thief@example.net", "thief2@example.net")
	thief.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	reset := s.Mail()
	require.Equal(t, "thief2@example.net", reset.To)
	require.Equal(t, 200, thief.Post("/accounts/register-email", sitetest.Data{"email": "thief3@example.net"}).StatusCode)
	third := sitetest.LinkOf(s.Mail(), t)

	owner := s.Browser().LikeBrowser()
	q := url.Values{}
	for k, v := range undo {
		q.Set(k, v.(string))
	}
	for range 3 { // a scanner
		page := owner.Get("/accounts/undo-email/?" + q.Encode())
		require.Contains(t, page.Text, `action="/accounts/undo-email/"`)
		require.Contains(t, page.Text, `name="email" value="ada@example.org"`)
	}
	require.Equal(t, 200, thief.Get("/accounts/profile").StatusCode, "a GET changes nothing")
	p := s.Browser().Problems()
	sitetest.RequireError(t, p.Post("/accounts/undo-email", sitetest.With(undo, sitetest.Data{"email": "thief@example.net"})), 400, "signature_invalid")
	sitetest.RequireError(t, p.Post("/accounts/undo-email", sitetest.With(undo, sitetest.Data{"email": nil})), 400, "email:required")
	sitetest.RequireError(t, p.Post("/accounts/verify-email", undo), 400, "signature_invalid")
	require.Contains(t, owner.Follow(owner.Post("/accounts/undo-email/", q)).Text, "has been restored")

	fresh := s.Mail()
	require.Equal(t, "ada@example.org", fresh.To)
	require.Equal(t, 401, thief.Get("/accounts/profile").StatusCode, "every session has ended")
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode, "the password that the thief knew is void")
	for path, body := range map[string]sitetest.Data{
		"undo-email": theirs, "verify-email": third, "reset-password": sitetest.With(sitetest.LinkOf(reset, t), sitetest.Data{"password": "of the thief's own"}),
	} {
		sitetest.RequireError(t, p.Post("/accounts/"+path, body), 400, "signature_invalid")
	}
	sitetest.RequireError(t, p.Post("/accounts/undo-email", undo), 400, "signature_invalid")
	const password = "an even longer passphrase"
	require.Equal(t, 200, p.Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(fresh, t), sitetest.Data{"password": password})).StatusCode)
	b := s.Browser()
	require.Equal(t, 200, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": password}).StatusCode)
	require.Equal(t, "ada@example.org", b.Get("/accounts/profile").JSON(t)["email"])
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, u.Former)
}

func TestUndoIsForSevenDays(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path)
	s.Member("ada")
	undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	s.Close()
	s = sitetest.NewAt(t, path) // the record keeps it
	s.Travel(7*sitetest.Day + time.Second)
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/undo-email", undo), 400, "signature_expired")
	s.Travel(-time.Second)
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada@example.org", s.Mail().To)
}

// Else a thief would let a helper sign up with the owner's address, and the
// link would have nothing to go back to.
func TestFormerAddressIsReserved(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("bob")
	undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	fresh := s.Browser().Post("/accounts/register", sitetest.Newcomer("fresh"))
	s.Mail()
	taken := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("helper"), sitetest.Data{"email": "ADA@example.org"}))
	require.Equal(t, fresh.StatusCode, taken.StatusCode, "nobody is told")
	m := s.Mail()
	require.Equal(t, sitetest.NoticeSubject, m.Subject)
	require.Equal(t, "ADA@example.org", m.To)
	require.Equal(t, 200, s.SignedIn("bob").Post("/accounts/register-email", sitetest.Data{"email": "ada@example.org"}).StatusCode)
	s.NoMail() // one notice an hour
	_, err := s.Accounts.Lookup(t.Context(), "ada@example.org")
	require.Error(t, err, "nobody is found by it")
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada@example.org", s.Mail().To)

	// Once it is over, it is anybody's, and can be left by him too.
	s = sitetest.New(t)
	s.Member("ada")
	s.Member("bob")
	undo = s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	s.Travel(account.UndoReserved)
	s.Move(s.SignedIn("bob"), "bob@example.org", "ada@example.org")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/undo-email", undo), 400, "signature_invalid")
	back := s.Move(s.SignedIn("bob"), "ada@example.org", "bob2@example.org")
	s.SignedIn("ada")
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", back).StatusCode)
	require.Equal(t, "bob", uuidOwner(t, s, "ada@example.org"))
}

func uuidOwner(t *testing.T, s *sitetest.Site, login string) string {
	u, err := s.Accounts.Lookup(t.Context(), login)
	require.NoError(t, err)
	return u.Username
}

func TestUndoWhereAddressesAreNotVerified(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.RegisterEmail.Verification, s.Register.Verification = sitetest.Off(), sitetest.Off()
		s.User.EditableFields = []string{"first_name", "email"}
	})
	s.Member("ada")
	s.Member("bob")
	b := s.SignedIn("ada")
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "a2@example.org"}).StatusCode)
	first := s.Mail()
	require.Equal(t, "ada@example.org", first.To)
	require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"email": "a3@example.org"}).StatusCode)
	require.Equal(t, "a2@example.org", s.Mail().To)
	require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"email": "A3@example.org", "first_name": "Ada"}).StatusCode)
	s.NoMail() // the same mailbox
	sitetest.RequireError(t, s.SignedIn("bob").Problems().Do("PATCH", "/accounts/profile", sitetest.Data{"email": "ada@example.org"}), 400, "email:unique")
	sitetest.RequireError(t, s.SignedIn("bob").Problems().Post("/accounts/register-email", sitetest.Data{"email": "a2@example.org"}), 400, "email_already_registered")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"email": "ada@example.org"})), 400, "email:unique")
	require.Equal(t, 200, b.Do("PATCH", "/accounts/profile", sitetest.Data{"email": ""}).StatusCode)
	require.Equal(t, "A3@example.org", s.Mail().To)
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", sitetest.LinkOf(first, t)).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
	require.Equal(t, 200, s.SignedIn("bob").Post("/accounts/register-email", sitetest.Data{"email": "a2@example.org"}).StatusCode, "free again")
}

func TestUndoOfADisabledAccount(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "ada"), account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
	s.NoMail()
	u, err := s.Accounts.Lookup(t.Context(), "ada@example.org")
	require.NoError(t, err)
	require.False(t, u.IsActive, "it stays disabled")
}

func TestUndoWithoutReset(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.ResetPassword.Enabled = sitetest.Off() })
	s.Member("ada")
	undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	res := s.Browser().Post("/accounts/undo-email", undo)
	require.Contains(t, res.Text, "change your password")
	s.NoMail()
	s.SignedIn("ada") // else nobody could
	none := sitetest.New(t, func(s *registration.Settings) {
		s.ResetPassword.Enabled, s.RegisterEmail.Verification, s.Register.Verification = sitetest.Off(), sitetest.Off(), sitetest.Off()
	})
	none.Member("ada")
	require.Equal(t, 404, none.Browser().Post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, 200, none.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
	none.NoMail() // where no mail is sent
}

// A thief must not push the owner's address out of the list by more changes.
func TestFormerAddressesAreBounded(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	first := s.Move(b, "ada@example.org", "t0@example.net")
	for i := range account.MaxFormer - 1 {
		s.Move(b, fmt.Sprintf("t%d@example.net", i), fmt.Sprintf("t%d@example.net", i+1))
	}
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "more@example.net"}).StatusCode)
	more := sitetest.LinkOf(s.Mail(), t)
	res := s.Browser().Problems().Post("/accounts/verify-email", more)
	sitetest.RequireError(t, res, 429, "throttled")
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", first).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}

// Two links for one address do one undo.
func TestUndoOfAnAddressLeftTwice(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	first := s.Move(b, "ada@example.org", "new@example.org")
	s.Move(b, "new@example.org", "ada@example.org")
	s.Travel(sitetest.Day)
	second := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", second).StatusCode)
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/undo-email", first), 400, "signature_invalid")
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}

func TestRaceForOneUndo(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	count := sitetest.Race(func(int) int { return s.Browser().Post("/accounts/undo-email", undo).StatusCode })
	require.Equal(t, map[int]int{200: 1, 400: sitetest.Racers - 1}, count)
	s.Mail()
	s.NoMail()
}

// An owner is told for whom an address is kept, and until when, by every way in which he
// gives one; who signs up is not.
func TestOwnerLearnsForWhomAnAddressIsKept(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("bob")
	s.Member("eve")
	s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.org")
	kept := "Use another address. This one is kept for its former owner, ada, until " + s.Accounts.Time().Add(account.UndoReserved).Format("2 January 2006, 15:04 UTC") + "."
	ctx, bob := t.Context(), sitetest.UUIDOf(t, s, "bob")
	english := sitetest.English(t).Named("en")
	for name, act := range map[string]func() error{
		"create": func() error {
			_, err := s.Accounts.Create(ctx, account.NewAccount{Username: "fay", Email: "ADA@example.org"})
			return err
		},
		"set-email": func() error {
			_, err := s.Accounts.SetEmail(ctx, bob, "ada@example.org", account.Client{})
			return err
		},
		"invite": func() error {
			_, _, err := s.Accounts.Invite(ctx, account.NewInvitation{Email: "ada@example.org"})
			return err
		},
	} {
		refused := web.AsRefusal(act())
		require.Equal(t, kept, english.Text(refused.Phrase()), name)
	}
	// What is somebody's is told as that.
	_, _, err := s.Accounts.Invite(ctx, account.NewInvitation{Email: "eve@example.org"})
	require.Equal(t, "Use another email address. This one belongs to another account.", english.Text(web.AsRefusal(err).Phrase()))
	signedUp := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("helper"), sitetest.Data{"email": "ada@example.org"}))
	require.NotContains(t, signedUp.Text, "kept")
	require.NotContains(t, s.SignedIn("eve").Post("/accounts/register-email", sitetest.Data{"email": "ada@example.org"}).Text, "kept")
	helper := sitetest.UUIDOf(t, s, "helper")
	for name, err := range map[string]error{
		"enable": only(s.Accounts.Administer(ctx, helper, account.AdminChange{IsActive: sitetest.On()})), "mail-confirmation": s.Accounts.MailConfirmation(ctx, helper),
	} {
		require.Equal(t, kept, english.Text(web.AsRefusal(err).Phrase()), name)
	}
}
