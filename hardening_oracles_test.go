// hardening_oracles_test.go: nothing that is refused, and nothing that comes to an
// end, tells whether an address is somebody's.

package registration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/field"
)

// A value that is refused as an address is refused alike, whoever the address
// belongs to: by its owner's confirmed address, by one that is his username too,
// and by one that he left and can have back.
func TestARefusedAddressTellsNothing(t *testing.T) {
	phone := field.Spec{Name: "phone", Type: "text", Unique: true}
	for name, configure := range map[string][]func(*Settings){
		"as it comes":          {},
		"an added login field": {withFields(phone), func(s *Settings) { s.User.LoginFields = []string{"phone", "username", "email"} }},
		"a unique field":       {withFields(phone)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, configure...)
			for _, member := range []string{"quxa", "quxb", "quxc", "eve"} {
				s.member(member)
			}
			b := s.signedIn("quxb")
			require.Equal(t, 200, b.do(http.MethodPatch, "/accounts/profile", data{"username": "quxb@example.org"}).StatusCode)
			s.move(s.signedIn("quxc"), "quxc@example.org", "elsewhere@example.org")
			s.signUp("wait", "quxw@example.org")
			fields := []string{"username"}
			if s.accounts.Policy.Fields.IsLogin("phone") {
				fields = append(fields, "phone")
			}
			eve, evesPage := s.signedIn("eve"), s.signedIn("eve").likeBrowser() // once: more than 50 would end the first
			for _, spelling := range []string{"%s@example.org", "%s@EXAMPLE.org", " %s@example.org ", "%s@example。org", "ｍ%.0s%[2]s@example.org", "%s＠example.org"} {
				for _, field := range fields {
					answers := map[string]string{}
					for _, who := range []string{"quxa", "quxb", "quxc", "quxw", "quxx"} { // the last is nobody's
						value := spell(spelling, who)
						for _, html := range []bool{false, true} {
							stranger, member := s.browser().problems(), eve
							if html {
								stranger = s.browser().likeBrowser()
							}
							signUp := stranger.post("/accounts/register", with(newcomer("new"), data{field: value}))
							require.NotEqual(t, http.StatusCreated, signUp.StatusCode)
							text := signUp.Status + signUp.body
							if html {
								member = evesPage
								text += s.must(member.post("/accounts/profile", data{"username": "eve", "first_name": "", "last_name": "", field: value}))
							} else {
								text += s.must(member.do(http.MethodPatch, "/accounts/profile", data{field: value}))
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
func (s *site) must(a *answer) string {
	s.t.Helper()
	require.Equal(s.t, http.StatusBadRequest, a.StatusCode, a.body)
	return a.body
}

// An account that waits lives as long whether its address is somebody's or not,
// however its mail is asked for again.
func TestTheEndOfOneWhoWaitsTellsNothing(t *testing.T) {
	for _, kind := range []string{"resend-verification", "send-reset-password-link"} {
		for by, body := range map[string]func(name, email string) data{
			"login, the address":  func(_, email string) data { return data{"login": email} },
			"email":               func(_, email string) data { return data{"email": email} },
			"login, the username": func(name, _ string) data { return data{"login": name} },
			"username":            func(name, _ string) data { return data{"username": name} },
		} {
			t.Run(kind+" by "+by, func(t *testing.T) {
				s := newSite(t, shortLived)
				s.member("ada")
				addresses := map[string]string{"taken": "ada@example.org", "fresh": "free@example.org"}
				for name, email := range addresses {
					s.signUp("older"+name, email)
					s.signUp(name, email)
				}
				s.drain(t)
				ask := func() {
					for name, email := range addresses {
						require.Equal(t, "200", s.problem(kind, body(name, email)))
					}
					s.drain(t)
				}
				both := func(names ...string) {
					t.Helper()
					for _, name := range names {
						require.Equal(t, s.exists(t, name+"fresh"), s.exists(t, name+"taken"), name)
					}
				}
				left := func(want bool) {
					t.Helper()
					both("", "older")
					require.Equal(t, want, s.exists(t, "fresh"))
				}
				s.wait(t, 9*time.Hour)
				ask()
				s.wait(t, 2*time.Hour)
				left(true)
				require.False(t, s.exists(t, "olderfresh"), "nobody asked for it")
				s.wait(t, 7*time.Hour)
				ask() // after 18 hours
				s.wait(t, 2*time.Hour)
				left(true)
				s.wait(t, 7*time.Hour)
				ask() // after 27: three lifetimes are over after 30
				s.wait(t, 2*time.Hour)
				left(true)
				s.wait(t, time.Hour)
				left(false)
				require.True(t, s.exists(t, "ada"))
			})
		}
	}
}

// A mail that was sent before one_time_use was turned off is good, and once.
func TestLinksOutliveOneTimeUseTurnedOff(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path)
	s.member("bob")
	s.signUp("ada", "ada@example.org")
	confirm := linkOf(s.mail(), t)
	require.Equal(t, "200", s.problem("send-reset-password-link", data{"login": "bob"}))
	reset := with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})
	s.drain(t)
	s.close()
	s = newSiteAt(t, path, func(s *Settings) { s.Register.OneTimeUse, s.ResetPassword.OneTimeUse = off(), off() })
	for _, want := range []string{"200", "signature_invalid"} {
		require.Equal(t, want, s.problem("verify-registration", confirm))
		require.Equal(t, want, s.problem("reset-password", reset))
	}
}

// A username that was its account's address is no other's by a change of address:
// who has it signs in by it, and nobody can confirm the address besides.
func TestAUsernameThatWasAnAddress(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	require.Equal(t, 200, s.signedIn("ada").do(http.MethodPatch, "/accounts/profile", data{"username": "ada@example.org"}).StatusCode)
	s.move(s.signedIn("ada@example.org"), "ada@example.org", "new@example.org")
	s.travel(30 * day) // she can't go back to it
	id := uuidOf(t, s, "new@example.org").String()
	require.Equal(t, id, s.profileID("ada@example.org"))
	s.signUp("eve", "ada@example.org")
	m := s.mail()
	require.Equal(t, noticeSubject, m.Subject)
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, id, s.profileID("ada@example.org"))
	// What nobody changes stays good; who gives it up frees the address.
	ada := s.signedIn("ada@example.org")
	require.Equal(t, 200, ada.do(http.MethodPut, "/accounts/profile", data{"username": "ada@example.org", "first_name": "A", "last_name": ""}).StatusCode)
	require.Equal(t, 200, ada.do(http.MethodPatch, "/accounts/profile", data{"username": "ada"}).StatusCode)
	require.Equal(t, "200", s.problem("resend-verification", data{"login": "eve"}))
	require.Equal(t, "200", s.problem("verify-registration", linkOf(s.mail(), t)))
	require.NotEqual(t, id, s.profileID("ada@example.org"))
}
