// hardening_mailbudgets_test.go: floods of mails to a mailbox: what they keep from
// its owner, which is nothing that he needs.

package account_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// variants signs n strangers up with variants of an address, from one client.
func variants(s *sitetest.Site, n int, local string) {
	s.T.Helper()
	for i := range n {
		body := sitetest.With(sitetest.Newcomer("stranger"+strconv.Itoa(i)), sitetest.Data{"email": fmt.Sprintf("%s+%d@example.org", local, i)})
		require.Equal(s.T, http.StatusCreated, s.Browser().From("198.51.100.1").Post("/accounts/register", body).StatusCode, i)
	}
	s.Mails()
}

// askForResets asks for mails to set a new password, each from another client.
func askForResets(s *sitetest.Site, n, from int, login string) {
	s.T.Helper()
	for i := range n {
		s.Browser().From(fmt.Sprintf("198.%d.%d.1", from, i)).Post("/accounts/send-reset-password-link", sitetest.Data{"login": login})
	}
}

// Whatever strangers have mailed to a mailbox, or to anybody, its owner learns of a
// new password and of a new name.
func TestHardeningNoticesAreNotSilenced(t *testing.T) {
	for name, flood := range map[string]func(*sitetest.Site){
		"sign-ups with variants of the address": func(s *sitetest.Site) { variants(s, 15, "vic") },
		"sign-ups and resets of variants": func(s *sitetest.Site) {
			variants(s, 16, "vic")
			for i := range 16 {
				askForResets(s, 1, 20+i, "stranger"+strconv.Itoa(i))
			}
		},
		"resets, by both names": func(s *sitetest.Site) { askForResets(s, 20, 20, "vic"); askForResets(s, 20, 21, "vic@example.org") },
		"sign-ups with the address": func(s *sitetest.Site) {
			for i := range 20 {
				s.Browser().From(fmt.Sprintf("198.22.%d.1", i)).Post("/accounts/register", sitetest.With(sitetest.Newcomer("s"+strconv.Itoa(i)), sitetest.Data{"email": "vic@example.org"}))
			}
		},
		"the mails of the site": func(s *sitetest.Site) {
			for i := range 100 {
				s.Browser().From(fmt.Sprintf("198.23.%d.1", i)).Post("/accounts/register", sitetest.Newcomer("s"+strconv.Itoa(i)))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled, func(s *registration.Settings) {
				s.Throttle.AllMail = &registration.ThrottleLimit{Events: 80, Window: caddy.Duration(time.Hour)}
			})
			s.Member("vic")
			thief := s.SignedIn("vic").From("203.0.113.66")
			flood(s)
			s.Mails()
			require.Equal(t, http.StatusOK, thief.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "mine"}).StatusCode)
			changed := sitetest.Data{"old_password": sitetest.Password, "password": sitetest.Password + "!", "password_confirm": sitetest.Password + "!"}
			require.Equal(t, http.StatusOK, thief.Post("/accounts/change-password", changed).StatusCode)
			require.Equal(t, 2, sitetest.Total(s.Mails()))
		})
	}
}

// Mails to variants of an address take nothing from the address itself, whoever
// has it, nor from a variant that its account has confirmed.
func TestHardeningVariantsTakeNothingFromTheAddress(t *testing.T) {
	for name, test := range map[string]struct {
		member string
		path   string
		body   sitetest.Data
		want   int
	}{
		"a reset":                   {"vic@example.org", "send-reset-password-link", sitetest.Data{"login": "vic"}, http.StatusOK},
		"a reset of a variant":      {"vic+shop@example.org", "send-reset-password-link", sitetest.Data{"login": "vic"}, http.StatusOK},
		"a sign-up":                 {"", "register", sitetest.Newcomer("vic"), http.StatusCreated},
		"a sign-up, confirmed anew": {"wait", "resend-verification", sitetest.Data{"login": "vic"}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled)
			switch test.member {
			case "":
			case "wait":
				require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("vic")).StatusCode)
			default:
				b := s.Browser()
				require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("vic"), sitetest.Data{"email": test.member})).StatusCode)
				require.Equal(t, http.StatusOK, b.Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
			}
			variants(s, 20, "vic")
			for i := range 20 {
				askForResets(s, 1, 20+i, "stranger"+strconv.Itoa(i))
			}
			s.Mails()
			require.Equal(t, test.want, s.Browser().From("203.0.113.1").Post("/accounts/"+test.path, test.body).StatusCode)
			require.Equal(t, 1, sitetest.Total(s.Mails()))
		})
	}
}

// A mailbox gets a bounded number of mails, whatever variants of it are made up.
func TestHardeningMailsToAMailboxAreBounded(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("vic")
	for i := range 60 {
		name := "stranger" + strconv.Itoa(i)
		s.Browser().From(fmt.Sprintf("198.30.%d.1", i)).Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": fmt.Sprintf("vic+%d@example.org", i)}))
		s.Browser().From(fmt.Sprintf("198.31.%d.1", i)).Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"+name), sitetest.Data{"email": "vic@example.org"}))
		s.Browser().From(fmt.Sprintf("198.32.%d.1", i)).Post("/accounts/send-reset-password-link", sitetest.Data{"login": "vic"})
		s.Browser().From(fmt.Sprintf("198.33.%d.1", i)).Post("/accounts/send-reset-password-link", sitetest.Data{"login": name})
	}
	require.LessOrEqual(t, sitetest.Total(s.Mails()), 30+5+1, "variants; resets at once; that the address is in use")
}

// Strangers can ask for so many resets that none is left for them; a browser that
// signed in to the account before has some of its own.
func TestHardeningAKnownDeviceHasResets(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("vic")
	known := s.SignedIn("vic")
	for range 100 {
		s.Accounts.Throttles.Take(budget.Charge{
			Table: account.KindTable(store.MailResetPassword), Key: account.BudgetKey(account.ThrottleMail, "vic@example.org"), Limit: s.Realm.Options.Limits[account.ThrottleMail].Part(account.LinkPart),
		})
	}
	reset := sitetest.Data{"login": "vic"}
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", reset).StatusCode)
	require.Zero(t, sitetest.Total(s.Mails()))
	require.Equal(t, http.StatusOK, known.Post("/accounts/send-reset-password-link", reset).StatusCode)
	require.Equal(t, "vic@example.org", s.Mail().To)
}

// An account has more names than one, and one mailbox.
func TestHardeningAskingByEveryName(t *testing.T) {
	for name, test := range map[string]struct {
		path   string
		member bool
	}{"resets": {"send-reset-password-link", true}, "confirmations": {"resend-verification", false}} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled)
			if test.member {
				s.Member("vic")
			} else {
				require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("vic")).StatusCode)
			}
			s.Mails()
			for i := range 10 {
				for at, login := range []string{"vic", "vic@example.org"} {
					s.Browser().From(fmt.Sprintf("198.%d.%d.1", 40+at, i)).Post("/accounts/"+test.path, sitetest.Data{"login": login})
				}
			}
			require.Equal(t, 5, sitetest.Total(s.Mails()))
		})
	}
}

// A flood of refusals is one line.
func TestHardeningRefusalsOfAFloodAreOneLine(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	b := s.Browser()
	for range 300 {
		b.Post("/accounts/login", sitetest.WrongSignIn("nobody"))
	}
	require.Len(t, s.Logs.FilterLoggerName("").FilterMessage("throttled").All(), 1)
	require.Len(t, s.Logs.FilterMessage("act refused").All(), 10, "those that were no refusals of a throttle")
}

// Waits are told in units that people count in.
func TestWaitsInWords(t *testing.T) {
	s := sitetest.New(t)
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
		text := refusal.Text(s.Realm.Languages.Named("en"), refusal.CodeThrottled, tooOftenParams(wait))
		require.Equal(t, "Try again in "+want+" There were too many attempts.", text)
	}
	for _, l := range s.Realm.Languages.Locales {
		for _, wait := range []time.Duration{3 * time.Hour, 90 * 24 * time.Hour} {
			require.LessOrEqual(t, len([]rune(refusal.Text(l, refusal.CodeThrottled, tooOftenParams(wait)))), 90, l.Name)
		}
	}
}

func tooOftenParams(wait time.Duration) text.Params {
	return text.Params{"seconds": refusal.Seconds(wait)}
}
