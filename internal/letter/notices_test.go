// notices_test.go: what the notices of an account lead to, and what they name.

package letter_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// TestNoticesLeadOn: whose password somebody may know is led to where he gets a new one, if
// there is such a page; else he is told the site.
func TestNoticesLeadOn(t *testing.T) {
	for name, tc := range map[string]struct {
		configure func(*registration.Settings)
		page      string
	}{
		"by mail":  {func(*registration.Settings) {}, "http://example.com/accounts/send-reset-password-link/"},
		"no reset": {func(s *registration.Settings) { s.ResetPassword.Enabled = sitetest.Off() }, ""},
		"no pages": {func(s *registration.Settings) {
			s.Pages.Off = true
			s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "/a", "/b", "/c", "/d"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, tc.configure)
			for _, kind := range leadOn {
				m, err := s.Realm.Courier.Render(&store.Mail{Kind: kind, To: "ada@example.org"}, &store.User{Username: "ada", Email: "ada@example.org"})
				require.NoError(t, err)
				require.Contains(t, m.Text, "example.com")
				if tc.page == "" {
					require.NotContains(t, m.Text+m.HTML, "http", kind)
					continue
				}
				require.Contains(t, m.Text, "Request a new password:\n"+tc.page+"\n", kind)
				require.Contains(t, m.HTML, `href="`+tc.page+`"`, kind)
			}
		})
	}
}

// TestMailsNameTheFactor: the mails of an app and of a passkey are told apart by their
// subjects and first lines, in every language; of one of a newer version they say less.
func TestMailsNameTheFactor(t *testing.T) {
	s := sitetest.New(t)
	had := []store.Factor{{Type: store.FactorTOTP}, {Type: store.FactorPasskey}, {Type: "of a newer version"}}
	added := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", Email: "ada@example.org", EmailVerified: true}
	removed := *added
	for i := range had {
		had[i].ID, had[i].Created = uuid.Must(uuid.NewV7()), s.Realm.Now()
		removed.FormerFactors = append(removed.FormerFactors, store.FormerFactor{Factor: had[i], Until: s.Realm.Now().Add(time.Hour)})
	}
	added.Factors = had
	for _, l := range sitetest.English(t).Locales {
		for kind, u := range map[store.MailKind]*store.User{store.MailFactorAdded: added, store.MailFactorRemoved: &removed} {
			said := map[string]bool{}
			for i, want := range []string{"totp", "passkey", ""} {
				m, err := s.Realm.Courier.Render(&store.Mail{Kind: kind, To: u.Email, Language: l.Name, Factor: had[i].ID}, u)
				require.NoError(t, err)
				said[m.Subject] = true
				name := "mail." + string(kind) + ".subject"
				if want != "" {
					name += "_" + want
				}
				subject, err := l.Message(name, text.Params{"site": "example.com"})
				require.NoError(t, err)
				require.Equal(t, subject, m.Subject)
				for _, part := range []string{".heading", ".text"} {
					words, err := l.Message(strings.Replace(name, ".subject", part, 1), text.Params{"site": "example.com"})
					require.NoError(t, err)
					require.Contains(t, html.UnescapeString(m.HTML), words)
				}
			}
			require.Len(t, said, 3, "%s in %s", kind, l.Name)
		}
	}
}

// TestNoticesSayWhence: what tells somebody of an act says when, on what device and from
// which address it was done. The device is named by us and not by the header; nothing is
// told of who was here before these were kept, nor who tried somebody else's address.
func TestNoticesSayWhence(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	b.IP = "203.0.113.7"
	b.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	b.ChangePassword()
	m := s.Notice()
	require.Regexp(t, `\n\nTime: \d+ \w+ \d{4}, \d\d:\d\d UTC\nDevice: Firefox, Linux\nIP address: 203\.0\.113\.7\n\n-- \n`, m.Text)
	require.Contains(t, html.UnescapeString(m.HTML), "<br>\nDevice: Firefox, Linux<br>\nIP address: 203.0.113.7</p>")

	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", Email: "ada@example.org", EmailVerified: true}
	render := func(m store.Mail) string {
		m.To = u.Email
		got, err := s.Realm.Courier.Render(&m, u)
		require.NoError(t, err)
		return got.Text
	}
	at := s.Realm.Now()
	require.NotContains(t, render(store.Mail{Kind: store.MailEmailInUse, Queued: at, Device: "Firefox", Address: "203.0.113.7"}), "203.0.113.7")
	old := render(store.Mail{Kind: store.MailPasswordChanged, Queued: at})
	require.Contains(t, old, "Time: ")
	require.NotContains(t, old, "Device: ")
	require.Contains(t, render(store.Mail{Kind: store.MailPasswordChanged, Queued: at, Address: "203.0.113.7"}), "Device: not known\nIP address: 203.0.113.7\n")
}

// TestNoticesShowNoHeader: who has a stolen sign-in can't write to its owner by his
// User-Agent.
func TestNoticesShowNoHeader(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	b.Header.Set("User-Agent", "Call 0800-123 at evil.example/1.0 (http://evil.example)")
	b.ChangePassword()
	m := s.Notice()
	require.NotContains(t, m.Text+m.HTML, "evil")
	require.Contains(t, m.Text, "Device: not known\n")
}

// linkIn is the path of the link in a mail.
var linkIn = regexp.MustCompile(`/accounts/(re)?set-password/\S+`)

// Who has no password so far is told of a first one, whoever asks for the mail, in every
// language; so is he by the page that its link opens.
func TestMailOfAFirstPassword(t *testing.T) {
	for _, resets := range []bool{true, false} {
		s := sitetest.New(t, func(s *registration.Settings) { s.ResetPassword.Enabled = &resets })
		id := s.Member("ada")
		s.Set(id, func(u *store.User) { u.PasswordHash, u.LastLogin = "", time.Now() })
		if resets {
			require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
			m := s.Mail()
			require.Equal(t, "Set a password at example.com", m.Subject)
			for _, text := range []string{m.Text, m.HTML} {
				require.Contains(t, strings.Join(strings.Fields(text), " "), "It has no password so far.")
				require.Contains(t, strings.Join(strings.Fields(text), " "), "Your account stays without a password.")
			}
		}
		require.NoError(t, s.Accounts.MailResetLink(t.Context(), s.Stored(id)))
		m := s.Mail()
		require.Equal(t, "Set a password at example.com", m.Subject)
		require.Contains(t, strings.Join(strings.Fields(m.Text), " "), "Your account has no password so far.")
		require.NotContains(t, m.Text+m.HTML, "new password")
		require.Contains(t, s.Browser().LikeBrowser().Get(linkIn.FindString(m.Text)).Text, "<h1>Save password</h1>")
		s.Set(id, func(u *store.User) { u.PasswordHash = "$argon2id$" })
		require.NoError(t, s.Accounts.MailResetLink(t.Context(), s.Stored(id)))
		m = s.Mail()
		require.Equal(t, "Set a new password at example.com", m.Subject)
		require.Contains(t, s.Browser().LikeBrowser().Get(linkIn.FindString(m.Text)).Text, "<h1>Set a new password</h1>")
	}
	l := sitetest.English(t)
	r, err := letter.NewTemplates(sitetest.Letters(sitetest.Resolved(t)), l, "example.com")
	require.NoError(t, err)
	for _, locale := range l.Locales {
		for kind, parts := range map[store.MailKind][]string{store.MailResetPassword: {"text", "not_you"}, store.MailSetPassword: {"sent", "ignore"}} {
			data := goldenMail(locale)
			data.First, data.Time, data.Device, data.Address = true, "", "", ""
			subject, body, page, err := r.All(locale.Name)[kind].Render(data)
			require.NoError(t, err)
			for _, part := range append(parts, "subject", "heading", "button") {
				want, err := locale.Message("mail.first_password."+part, text.Params{"site": "example.com"})
				require.NoError(t, err)
				require.Contains(t, strings.Join(strings.Fields(subject+" "+body+" "+html.UnescapeString(page)), " "), strings.Join(strings.Fields(want), " "), "%s %s", locale.Name, part)
			}
		}
	}
}
