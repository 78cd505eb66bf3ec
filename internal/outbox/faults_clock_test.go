// faults_clock_test.go: the fault of the clock: it is set forward and back while
// people are signed in, a link is on its way, a budget is spent and a mail waits.
// The clock is the one that tests inject.

package outbox_test

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
)

func TestFaultClock(t *testing.T) {
	for name, c := range map[string]struct {
		jump time.Duration
		// stays: who is signed in stays so, and the link is good.
		stays, link bool
	}{
		"a minute back":    {-time.Minute, true, true},
		"an hour back":     {-time.Hour, true, false}, // a link of the future is none
		"400 days back":    {-400 * sitetest.Day, true, false},
		"an hour forward":  {time.Hour, true, true},
		"2 days forward":   {2 * sitetest.Day, true, false},
		"400 days forward": {400 * sitetest.Day, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/r.db"
			s := sitetest.NewAt(t, path, sitetest.WithJWT, sitetest.Throttled)
			for _, name := range []string{"ada", "bob", "eve"} {
				s.Member(name)
			}
			b := s.Browser()
			granted := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)
			s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
			link := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})
			s.Attack("bob")
			var tried atomic.Int64
			s.Mailer.Mu.Lock()
			s.Mailer.Fail = func(*mail.Message) error { tried.Add(1); return errors.New("try again later") }
			s.Mailer.Mu.Unlock()
			s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "eve"})
			require.Eventually(t, func() bool { return tried.Load() > 0 }, sitetest.Patience, time.Millisecond)
			s.Realm.Stop() // what was tried is written

			s.Travel(c.jump)
			s.Mailer.Fail = nil
			require.NoError(t, s.Realm.Start())
			want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[c.stays]
			require.Equal(t, want, b.Get("/members/").StatusCode)
			require.Equal(t, want, b.Get("/accounts/profile").StatusCode)
			if c.jump < 0 && c.jump > -2*outbox.MailLastRetry { // no longer than a retry may take: it waits
				s.Travel(outbox.MailFirstRetry - c.jump)
				s.Realm.Resources.Outbox.Notify()
			}
			require.Equal(t, "eve@example.org", s.Mail().To, "a mail that waits goes out, though it was due in the future, or its three days seem to be over")
			want = map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[c.link]
			require.Equal(t, want, s.Browser().Post("/accounts/reset-password", link).StatusCode)
			if !c.link {
				s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
				again := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})
				require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", again).StatusCode, "a fresh one is good")
			}

			// Nobody is kept out for longer than a spent budget takes.
			signIn := func(name, pass string) *sitetest.Answer {
				return s.Browser().From("198.51.100.9").Post("/accounts/login", sitetest.Data{"login": name, "password": pass})
			}
			if res := signIn("bob", sitetest.Password); res.StatusCode != http.StatusOK {
				seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
				require.NoError(t, err)
				require.LessOrEqual(t, seconds, 7)
				s.Travel(7 * time.Second)
				require.Equal(t, http.StatusOK, signIn("bob", sitetest.Password).StatusCode)
			}

			// Access tokens and their keys, and the refresh of a sign-in.
			fresh := signIn("ada", "an even longer passphrase").JSON(t)
			api := s.Browser()
			api.Header.Set("Authorization", "Bearer "+fresh["token"].(string))
			require.Equal(t, http.StatusOK, api.Get("/members/").StatusCode)
			require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": fresh["refresh_token"]}).StatusCode)
			require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": granted["refresh_token"]}).StatusCode, "the reset has ended it")

			// And back to the right time, with a restart: all serves.
			s.Travel(-c.jump)
			now := s.Now.Load()
			s.Close()
			s = sitetest.NewAt(t, path, sitetest.WithJWT, sitetest.Throttled)
			s.Now.Store(now)
			s.Member("new")
			again := s.Browser().From("198.51.100.10").Post("/accounts/login", sitetest.Data{"login": "ada", "password": "an even longer passphrase"})
			require.Equal(t, http.StatusOK, again.StatusCode, again.Text)
		})
	}
	sitetest.FaultResult(t, "the clock set back by a minute, an hour, 400 days; forward by an hour, 2 days, 400 days (injected clock); back to the right time with a restart", "nobody is locked out beyond a spent budget, no mail waits for the old time, no key or link is stuck",
		"who was signed in stays so within the 14 days; fresh links, tokens and keys are good at once; a waiting mail goes out at once (after the minute, where it is one)")
}
