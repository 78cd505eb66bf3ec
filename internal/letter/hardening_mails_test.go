// hardening_mails_test.go: a stranger who signs up with somebody's address, or
// asks for it, can't write to its owner in our name.

package letter_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestNoStrangersTextInMails(t *testing.T) {
	settings := sitetest.Resolved(t, func(s *registration.Settings) {
		s.User.Fields = []field.Spec{{Name: "company", Type: "text"}, {Name: "home", Type: "url"}, {Name: "age", Type: "integer"}}
	})
	const to = "victim@example.org"
	stranger := func(u store.User) *store.User {
		u.ID, u.FirstName, u.LastName = uuid.Must(uuid.NewV7()), "Win a prize:", "https://evil.example"
		u.Extra = map[string]any{"company": "evil.example", "home": "https://evil.example/", "age": int64(7)}
		return &u
	}
	none := map[string]any{"company": "", "home": "", "age": int64(7)}
	for name, u := range map[string]*store.User{
		"a sign-up":                         stranger(store.User{Email: to, AwaitsVerification: true, Username: "evil.example"}),
		"nobody confirms":                   stranger(store.User{Email: to, IsActive: true, Username: "evil@evil.example"}),
		"a confirmed one that asks for it":  stranger(store.User{Email: "stranger@evil.example", EmailVerified: true, Username: "0800-123456"}),
		"one without an address that moved": stranger(store.User{Username: "www.evil"}),
	} {
		require.Equal(t, letter.MailUser{Email: to, Extra: none}, sitetest.Letters(settings).MailUser(u, to), name)
	}
	u := sitetest.Letters(settings).MailUser(stranger(store.User{Email: to, EmailVerified: true, Username: "evil.example"}), to)
	require.Empty(t, u.Name+u.LastName, "the name outlives a reset by the address's owner")
	u = sitetest.Letters(settings).MailUser(&store.User{Username: "ada7", Email: to, FirstName: "Ada"}, to)
	require.Equal(t, "ada7", u.Name)
	u = sitetest.Letters(settings).MailUser(&store.User{Username: "j.r.r.tolkien", Email: "Victim@example.org", EmailVerified: true, FirstName: "J.R.R.", LastName: "Tolkien"}, to)
	require.Equal(t, "J.R.R. Tolkien", u.Name)
	require.Equal(t, "j.r.r.tolkien", u.Username)
	for text, want := range map[string]bool{
		"Ada Lovelace": false, "St. John": false, "O'Neill-Smith": false, "王小明": false, "Louis XIV": false, "R2-D2": false, "Ada 1815": false,
		"evil.example": true, "a@b": true, "http://evil": true, "www.evil": true, "call 0800 123456": true, "+49 (800) 12-34-56": true, "Ada.Lovelace": true,
	} {
		require.Equal(t, want, letter.NotLinkLike(text) == "", text)
	}
}

// As they are really sent: a sign-up, a change to somebody's address, a reset and
// the mail to an address that was never confirmed.
func TestNoStrangersTextIsSent(t *testing.T) {
	clean := func(m *mail.Message, to string) {
		t.Helper()
		require.Equal(t, to, m.To)
		require.NotRegexp(t, `evil|Mallory`, m.Subject+m.Text+m.HTML)
	}
	body := sitetest.With(sitetest.Newcomer("evil.example"), sitetest.Data{"email": "victim@example.org", "first_name": "Mallory", "last_name": "https://evil.example"})
	s := sitetest.New(t)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", body).StatusCode)
	clean(s.Mail(), "victim@example.org")
	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "evil.example"})
	clean(s.Mail(), "victim@example.org")
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(body, sitetest.Data{"username": "evil.net", "email": "mallory@evil.example"})).StatusCode)
	require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	require.Equal(t, 200, s.SignedIn("evil.net").Post("/accounts/register-email", sitetest.Data{"email": "other@example.org"}).StatusCode)
	clean(s.Mail(), "other@example.org")

	s = sitetest.New(t, func(s *registration.Settings) {
		s.Register.Verification, s.RegisterEmail.Verification = sitetest.Off(), sitetest.Off()
	})
	require.Equal(t, 201, s.Browser().Post("/accounts/register", body).StatusCode)
	b := s.SignedIn("evil.example")
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "mallory@evil.example"}).StatusCode)
	clean(s.Mail(), "victim@example.org")
	b.ChangePassword()
	require.NotRegexp(t, `https://evil|Mallory`, s.Notice().Text)
}
