// hardening_mailbudgets_test.go: floods of mails to a mailbox: what they keep from
// its owner, which is nothing that he needs.

package registration

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// variants signs n strangers up with variants of an address, from one client.
func (s *site) variants(n int, local string) {
	s.t.Helper()
	for i := range n {
		body := with(newcomer("stranger"+strconv.Itoa(i)), data{"email": fmt.Sprintf("%s+%d@example.org", local, i)})
		require.Equal(s.t, http.StatusCreated, s.browser().from("198.51.100.1").post("/accounts/register", body).StatusCode, i)
	}
	s.mails()
}

// askForResets asks for mails to set a new password, each from another client.
func (s *site) askForResets(n, from int, login string) {
	s.t.Helper()
	for i := range n {
		s.browser().from(fmt.Sprintf("198.%d.%d.1", from, i)).post("/accounts/send-reset-password-link", data{"login": login})
	}
}

// Whatever strangers have mailed to a mailbox, or to anybody, its owner learns of a
// new password and of a new name.
func TestHardeningNoticesAreNotSilenced(t *testing.T) {
	for name, flood := range map[string]func(*site){
		"sign-ups with variants of the address": func(s *site) { s.variants(15, "vic") },
		"sign-ups and resets of variants": func(s *site) {
			s.variants(16, "vic")
			for i := range 16 {
				s.askForResets(1, 20+i, "stranger"+strconv.Itoa(i))
			}
		},
		"resets, by both names": func(s *site) { s.askForResets(20, 20, "vic"); s.askForResets(20, 21, "vic@example.org") },
		"sign-ups with the address": func(s *site) {
			for i := range 20 {
				s.browser().from(fmt.Sprintf("198.22.%d.1", i)).post("/accounts/register", with(newcomer("s"+strconv.Itoa(i)), data{"email": "vic@example.org"}))
			}
		},
		"the mails of the site": func(s *site) {
			for i := range 100 {
				s.browser().from(fmt.Sprintf("198.23.%d.1", i)).post("/accounts/register", newcomer("s"+strconv.Itoa(i)))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, throttled, func(s *Settings) {
				s.Throttle.AllMail = &ThrottleLimit{Events: 80, Window: caddy.Duration(time.Hour)}
			})
			s.member("vic")
			thief := s.signedIn("vic").from("203.0.113.66")
			flood(s)
			s.mails()
			require.Equal(t, http.StatusOK, thief.do(http.MethodPatch, "/accounts/profile", data{"username": "mine"}).StatusCode)
			changed := data{"old_password": testPassword, "password": testPassword + "!", "password_confirm": testPassword + "!"}
			require.Equal(t, http.StatusOK, thief.post("/accounts/change-password", changed).StatusCode)
			require.Equal(t, 2, total(s.mails()))
		})
	}
}

// Mails to variants of an address take nothing from the address itself, whoever
// has it, nor from a variant that its account has confirmed.
func TestHardeningVariantsTakeNothingFromTheAddress(t *testing.T) {
	for name, test := range map[string]struct {
		member string
		path   string
		body   data
		want   int
	}{
		"a reset":                   {"vic@example.org", "send-reset-password-link", data{"login": "vic"}, http.StatusOK},
		"a reset of a variant":      {"vic+shop@example.org", "send-reset-password-link", data{"login": "vic"}, http.StatusOK},
		"a sign-up":                 {"", "register", newcomer("vic"), http.StatusCreated},
		"a sign-up, confirmed anew": {"wait", "resend-verification", data{"login": "vic"}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, throttled)
			switch test.member {
			case "":
			case "wait":
				require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", newcomer("vic")).StatusCode)
			default:
				b := s.browser()
				require.Equal(t, http.StatusCreated, b.post("/accounts/register", with(newcomer("vic"), data{"email": test.member})).StatusCode)
				require.Equal(t, http.StatusOK, b.post("/accounts/verify-registration", linkOf(s.mail(), t)).StatusCode)
			}
			s.variants(20, "vic")
			for i := range 20 {
				s.askForResets(1, 20+i, "stranger"+strconv.Itoa(i))
			}
			s.mails()
			require.Equal(t, test.want, s.browser().from("203.0.113.1").post("/accounts/"+test.path, test.body).StatusCode)
			require.Equal(t, 1, total(s.mails()))
		})
	}
}

// A mailbox gets a bounded number of mails, whatever variants of it are made up.
func TestHardeningMailsToAMailboxAreBounded(t *testing.T) {
	s := newSite(t, throttled)
	s.member("vic")
	for i := range 60 {
		name := "stranger" + strconv.Itoa(i)
		s.browser().from(fmt.Sprintf("198.30.%d.1", i)).post("/accounts/register", with(newcomer(name), data{"email": fmt.Sprintf("vic+%d@example.org", i)}))
		s.browser().from(fmt.Sprintf("198.31.%d.1", i)).post("/accounts/register", with(newcomer("x"+name), data{"email": "vic@example.org"}))
		s.browser().from(fmt.Sprintf("198.32.%d.1", i)).post("/accounts/send-reset-password-link", data{"login": "vic"})
		s.browser().from(fmt.Sprintf("198.33.%d.1", i)).post("/accounts/send-reset-password-link", data{"login": name})
	}
	require.LessOrEqual(t, total(s.mails()), 30+5+1, "variants; resets at once; that the address is in use")
}

// Strangers can ask for so many resets that none is left for them; a browser that
// signed in to the account before has some of its own.
func TestHardeningAKnownDeviceHasResets(t *testing.T) {
	s := newSite(t, throttled)
	s.member("vic")
	known := s.signedIn("vic")
	for range 100 {
		s.accounts.Throttles.Take(budget.Charge{
			Table: account.KindTable(store.MailResetPassword), Key: account.BudgetKey(account.ThrottleMail, "vic@example.org"), Limit: s.realm.settings.Throttle.limit(account.ThrottleMail).budget().Part(account.LinkPart),
		})
	}
	reset := data{"login": "vic"}
	require.Equal(t, http.StatusOK, s.browser().post("/accounts/send-reset-password-link", reset).StatusCode)
	require.Zero(t, total(s.mails()))
	require.Equal(t, http.StatusOK, known.post("/accounts/send-reset-password-link", reset).StatusCode)
	require.Equal(t, "vic@example.org", s.mail().To)
}

// An account has more names than one, and one mailbox.
func TestHardeningAskingByEveryName(t *testing.T) {
	for name, test := range map[string]struct {
		path   string
		member bool
	}{"resets": {"send-reset-password-link", true}, "confirmations": {"resend-verification", false}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, throttled)
			if test.member {
				s.member("vic")
			} else {
				require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", newcomer("vic")).StatusCode)
			}
			s.mails()
			for i := range 10 {
				for at, login := range []string{"vic", "vic@example.org"} {
					s.browser().from(fmt.Sprintf("198.%d.%d.1", 40+at, i)).post("/accounts/"+test.path, data{"login": login})
				}
			}
			require.Equal(t, 5, total(s.mails()))
		})
	}
}

// A flood of refusals is one line.
func TestHardeningRefusalsOfAFloodAreOneLine(t *testing.T) {
	s := newSite(t, throttled)
	b := s.browser()
	for range 300 {
		b.post("/accounts/login", wrongSignIn("nobody"))
	}
	require.Len(t, s.logs.FilterMessage("throttled").All(), 1)
	require.Len(t, s.logs.FilterMessage("act refused").All(), 10, "those that were no refusals of a throttle")
}

// Waits are told in units that people count in.
func TestWaitsInWords(t *testing.T) {
	s := newSite(t)
	for wait, want := range map[time.Duration]string{
		time.Second:               "1 second.",
		119 * time.Second:         "119 seconds.",
		2 * time.Minute:           "2 minutes.",
		2 * time.Hour:             "120 minutes.",
		2*time.Hour + time.Second: "3 hours.",
		48 * time.Hour:            "48 hours.",
		49 * time.Hour:            "3 days.",
		90 * 24 * time.Hour:       "90 days.",
	} {
		text := refusal.Text(s.realm.Languages.Named("en"), refusal.CodeThrottled, tooOftenParams(wait))
		require.Equal(t, "That was too often. Please try again in "+want, text)
	}
	for _, l := range s.realm.Languages.Locales {
		for _, wait := range []time.Duration{3 * time.Hour, 90 * 24 * time.Hour} {
			require.LessOrEqual(t, len([]rune(refusal.Text(l, refusal.CodeThrottled, tooOftenParams(wait)))), 90, l.Name)
		}
	}
}

func tooOftenParams(wait time.Duration) text.Params {
	return text.Params{"seconds": refusal.Seconds(wait)}
}
