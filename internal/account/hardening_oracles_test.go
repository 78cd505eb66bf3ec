// hardening_oracles_test.go: nothing that is refused, and nothing that comes to an
// end, tells whether an address is somebody's.

package account_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// A value that is refused as an address is refused alike, whoever the address
// belongs to: by its owner's confirmed address, by one that is his username too,
// and by one that he left and can have back.
func TestARefusedAddressTellsNothing(t *testing.T) {
	phone := field.Spec{Name: "phone", Type: "text", Unique: true}
	for name, configure := range map[string][]func(*registration.Settings){
		"as it comes":          {},
		"an added login field": {sitetest.WithFields(phone), func(s *registration.Settings) { s.User.LoginFields = []string{"phone", "username", "email"} }},
		"a unique field":       {sitetest.WithFields(phone)},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure...)
			for _, member := range []string{"quxa", "quxb", "quxc", "eve"} {
				s.Member(member)
			}
			b := s.SignedIn("quxb")
			require.Equal(t, 200, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "quxb@example.org"}).StatusCode)
			s.Move(s.SignedIn("quxc"), "quxc@example.org", "elsewhere@example.org")
			signUp(s, "wait", "quxw@example.org")
			fields := []string{"username"}
			if s.Accounts.Policy.Fields.IsLogin("phone") {
				fields = append(fields, "phone")
			}
			eve, evesPage := s.SignedIn("eve"), s.SignedIn("eve").LikeBrowser() // once: more than 50 would end the first
			for _, spelling := range []string{"%s@example.org", "%s@EXAMPLE.org", " %s@example.org ", "%s@example。org", "ｍ%.0s%[2]s@example.org", "%s＠example.org"} {
				for _, field := range fields {
					answers := map[string]string{}
					for _, who := range []string{"quxa", "quxb", "quxc", "quxw", "quxx"} { // the last is nobody's
						value := spell(spelling, who)
						for _, html := range []bool{false, true} {
							stranger, member := s.Browser().Problems(), eve
							if html {
								stranger = s.Browser().LikeBrowser()
							}
							signUp := stranger.Post("/accounts/register", sitetest.With(sitetest.Newcomer("new"), sitetest.Data{field: value}))
							require.NotEqual(t, http.StatusCreated, signUp.StatusCode)
							text := signUp.Status + signUp.Text
							if html {
								member = evesPage
								text += mustAnswer(s, member.Post("/accounts/profile", sitetest.Data{"username": "eve", "first_name": "", "last_name": "", field: value}))
							} else {
								text += mustAnswer(s, member.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{field: value}))
							}
							text = strings.NewReplacer(who, "WHO", who[1:], "HO").Replace(text)
							key := fmt.Sprint(field, " ", spelling, " html ", html)
							if before, ok := answers[key]; ok {
								require.Equal(t, before, text, "%s: %s", key, who)
							}
							answers[key] = text
						}
					}
				}
			}
		})
	}
}

func spell(spelling, who string) string {
	if strings.Contains(spelling, "[2]") {
		return fmt.Sprintf(spelling, who, who[1:])
	}
	return fmt.Sprintf(spelling, who)
}

// must is the text of a refusal.
func mustAnswer(s *sitetest.Site, a *sitetest.Answer) string {
	s.T.Helper()
	require.Equal(s.T, http.StatusBadRequest, a.StatusCode, a.Text)
	return a.Text
}

// An account that waits lives as long whether its address is somebody's or not,
// however its mail is asked for again.
func TestTheEndOfOneWhoWaitsTellsNothing(t *testing.T) {
	for _, kind := range []string{"resend-verification", "send-reset-password-link"} {
		for by, body := range map[string]func(name, email string) sitetest.Data{
			"login, the address":  func(_, email string) sitetest.Data { return sitetest.Data{"login": email} },
			"email":               func(_, email string) sitetest.Data { return sitetest.Data{"email": email} },
			"login, the username": func(name, _ string) sitetest.Data { return sitetest.Data{"login": name} },
			"username":            func(name, _ string) sitetest.Data { return sitetest.Data{"username": name} },
		} {
			t.Run(kind+" by "+by, func(t *testing.T) {
				s := sitetest.New(t, shortLived)
				s.Member("ada")
				addresses := map[string]string{"taken": "ada@example.org", "fresh": "free@example.org"}
				for name, email := range addresses {
					signUp(s, "older"+name, email)
					signUp(s, name, email)
				}
				drain(s, t)
				ask := func() {
					for name, email := range addresses {
						require.Equal(t, "200", problem(s, kind, body(name, email)))
					}
					drain(s, t)
				}
				both := func(names ...string) {
					t.Helper()
					for _, name := range names {
						require.Equal(t, exists(s, t, name+"fresh"), exists(s, t, name+"taken"), name)
					}
				}
				left := func(want bool) {
					t.Helper()
					both("", "older")
					require.Equal(t, want, exists(s, t, "fresh"))
				}
				wait(s, t, 9*time.Hour)
				ask()
				wait(s, t, 2*time.Hour)
				left(true)
				require.False(t, exists(s, t, "olderfresh"), "nobody asked for it")
				wait(s, t, 7*time.Hour)
				ask() // after 18 hours
				wait(s, t, 2*time.Hour)
				left(true)
				wait(s, t, 7*time.Hour)
				ask() // after 27: three lifetimes are over after 30
				wait(s, t, 2*time.Hour)
				left(true)
				wait(s, t, time.Hour)
				left(false)
				require.True(t, exists(s, t, "ada"))
			})
		}
	}
}

// A mail that was sent before one_time_use was turned off is good, and once.
func TestLinksOutliveOneTimeUseTurnedOff(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path)
	s.Member("bob")
	signUp(s, "ada", "ada@example.org")
	confirm := sitetest.LinkOf(s.Mail(), t)
	require.Equal(t, "200", problem(s, "send-reset-password-link", sitetest.Data{"login": "bob"}))
	reset := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})
	drain(s, t)
	s.Close()
	s = sitetest.NewAt(t, path, func(s *registration.Settings) {
		s.Register.OneTimeUse, s.ResetPassword.OneTimeUse = sitetest.Off(), sitetest.Off()
	})
	for _, want := range []string{"200", "signature_invalid"} {
		require.Equal(t, want, problem(s, "verify-registration", confirm))
		require.Equal(t, want, problem(s, "reset-password", reset))
	}
}

// A username that was its account's address is no other's by a change of address:
// who has it signs in by it, and nobody can confirm the address besides.
func TestAUsernameThatWasAnAddress(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	require.Equal(t, 200, s.SignedIn("ada").Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "ada@example.org"}).StatusCode)
	s.Move(s.SignedIn("ada@example.org"), "ada@example.org", "new@example.org")
	s.Travel(30 * sitetest.Day) // she can't go back to it
	id := sitetest.UUIDOf(t, s, "new@example.org").String()
	require.Equal(t, id, s.ProfileID("ada@example.org"))
	signUp(s, "eve", "ada@example.org")
	m := s.Mail()
	require.Equal(t, sitetest.NoticeSubject, m.Subject)
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, id, s.ProfileID("ada@example.org"))
	// What nobody changes stays good; who gives it up frees the address.
	ada := s.SignedIn("ada@example.org")
	require.Equal(t, 200, ada.Do(http.MethodPut, "/accounts/profile", sitetest.Data{"username": "ada@example.org", "first_name": "A", "last_name": ""}).StatusCode)
	require.Equal(t, 200, ada.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "ada"}).StatusCode)
	require.Equal(t, "200", problem(s, "resend-verification", sitetest.Data{"login": "eve"}))
	require.Equal(t, "200", problem(s, "verify-registration", sitetest.LinkOf(s.Mail(), t)))
	require.NotEqual(t, id, s.ProfileID("ada@example.org"))
}

// What others are called costs whoever asks for it, signed in or not, and whether the
// form is refused for something else besides.
func TestHardeningNamesOfOthersAreNotFree(t *testing.T) {
	for name, c := range map[string]struct {
		later time.Duration
		try   func(b *sitetest.Browser, taken string) *sitetest.Answer
	}{
		"a name, soon after the sign-in": {0, func(b *sitetest.Browser, taken string) *sitetest.Answer {
			return b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": taken})
		}},
		"a name, with something else wrong": {0, func(b *sitetest.Browser, taken string) *sitetest.Answer {
			return b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": taken, "first_name": "\x07"})
		}},
		"a name, without the password that is asked for": {time.Hour, func(b *sitetest.Browser, taken string) *sitetest.Answer {
			return b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": taken})
		}},
		"an address, without the password": {time.Hour, func(b *sitetest.Browser, taken string) *sitetest.Answer {
			return b.LikeBrowser().Post("/accounts/register-email/", url.Values{"email": {taken + "@example.org"}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled, sitetest.NoVerification, func(s *registration.Settings) { s.RegisterEmail.Verification = sitetest.Off() })
			s.Member("ada")
			s.Member("bob")
			b := s.SignedIn("ada")
			s.Travel(c.later)
			const tries = 300
			refused := 0
			for range tries {
				if c.try(b, "bob").StatusCode == http.StatusTooManyRequests {
					refused++
				}
			}
			require.Greater(t, refused, tries/2)
			require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode, "reading is free")
			s.Travel(2 * time.Hour)
			require.Equal(t, http.StatusOK, s.SignedIn("ada").Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": "Ada"}).StatusCode, "later there is a budget again")
		})
	}
	t.Run("a form that tells nothing of others costs a wide budget alone", func(t *testing.T) {
		s := sitetest.New(t, sitetest.Throttled)
		s.Member("ada")
		b := s.SignedIn("ada")
		for range 60 {
			require.Equal(t, http.StatusBadRequest, b.Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": "\x07"}).StatusCode)
		}
		require.Equal(t, http.StatusOK, b.Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": "Ada"}).StatusCode)
	})
}
