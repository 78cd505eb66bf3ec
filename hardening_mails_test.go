// hardening_mails_test.go: a stranger who signs up with somebody's address, or
// asks for it, can't write to its owner in our name.

package registration

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestNoStrangersTextInMails(t *testing.T) {
	settings := resolvedTestSettings(t, func(s *Settings) {
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
		require.Equal(t, letter.MailUser{Email: to, Extra: none}, settings.letters().MailUser(u, to), name)
	}
	u := settings.letters().MailUser(stranger(store.User{Email: to, EmailVerified: true, Username: "evil.example"}), to)
	require.Empty(t, u.Name+u.LastName, "the name outlives a reset by the address's owner")
	u = settings.letters().MailUser(&store.User{Username: "ada7", Email: to, FirstName: "Ada"}, to)
	require.Equal(t, "ada7", u.Name)
	u = settings.letters().MailUser(&store.User{Username: "j.r.r.tolkien", Email: "Victim@example.org", EmailVerified: true, FirstName: "J.R.R.", LastName: "Tolkien"}, to)
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
	body := with(newcomer("evil.example"), data{"email": "victim@example.org", "first_name": "Mallory", "last_name": "https://evil.example"})
	s := newSite(t)
	require.Equal(t, 201, s.browser().post("/accounts/register", body).StatusCode)
	clean(s.mail(), "victim@example.org")
	s.browser().post("/accounts/send-reset-password-link", data{"login": "evil.example"})
	clean(s.mail(), "victim@example.org")
	require.Equal(t, 201, s.browser().post("/accounts/register", with(body, data{"username": "evil.net", "email": "mallory@evil.example"})).StatusCode)
	require.Equal(t, 200, s.browser().post("/accounts/verify-registration", linkOf(s.mail(), t)).StatusCode)
	require.Equal(t, 200, s.signedIn("evil.net").post("/accounts/register-email", data{"email": "other@example.org"}).StatusCode)
	clean(s.mail(), "other@example.org")

	s = newSite(t, func(s *Settings) { s.Register.Verification, s.RegisterEmail.Verification = off(), off() })
	require.Equal(t, 201, s.browser().post("/accounts/register", body).StatusCode)
	b := s.signedIn("evil.example")
	require.Equal(t, 200, b.post("/accounts/register-email", data{"email": "mallory@evil.example"}).StatusCode)
	clean(s.mail(), "victim@example.org")
	b.changePassword()
	require.NotRegexp(t, `https://evil|Mallory`, s.notice().Text)
}
