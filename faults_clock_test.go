// faults_clock_test.go: the fault of the clock: it is set forward and back while
// people are signed in, a link is on its way, a budget is spent and a mail waits.
// The clock is the one that tests inject.

package registration

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/outbox"
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
		"400 days back":    {-400 * day, true, false},
		"an hour forward":  {time.Hour, true, true},
		"2 days forward":   {2 * day, true, false},
		"400 days forward": {400 * day, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/r.db"
			s := newSiteAt(t, path, withJWT, throttled)
			for _, name := range []string{"ada", "bob", "eve"} {
				s.member(name)
			}
			b := s.browser()
			granted := b.post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)
			s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
			link := with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})
			s.attack("bob")
			var tried atomic.Int64
			s.mailer.mu.Lock()
			s.mailer.fail = func(*mail.Message) error { tried.Add(1); return errors.New("try again later") }
			s.mailer.mu.Unlock()
			s.browser().post("/accounts/send-reset-password-link", data{"login": "eve"})
			require.Eventually(t, func() bool { return tried.Load() > 0 }, patience, time.Millisecond)
			s.realm.stop() // what was tried is written

			s.travel(c.jump)
			s.mailer.fail = nil
			require.NoError(t, s.realm.start())
			want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[c.stays]
			require.Equal(t, want, b.get("/members/").StatusCode)
			require.Equal(t, want, b.get("/accounts/profile").StatusCode)
			if c.jump < 0 && c.jump > -2*outbox.MailLastRetry { // no longer than a retry may take: it waits
				s.travel(outbox.MailFirstRetry - c.jump)
				s.realm.engine.outbox.Notify()
			}
			require.Equal(t, "eve@example.org", s.mail().To, "a mail that waits goes out, though it was due in the future, or its three days seem to be over")
			want = map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[c.link]
			require.Equal(t, want, s.browser().post("/accounts/reset-password", link).StatusCode)
			if !c.link {
				s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
				again := with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})
				require.Equal(t, http.StatusOK, s.browser().post("/accounts/reset-password", again).StatusCode, "a fresh one is good")
			}

			// Nobody is kept out for longer than a spent budget takes.
			signIn := func(name, pass string) *answer {
				return s.browser().from("198.51.100.9").post("/accounts/login", data{"login": name, "password": pass})
			}
			if res := signIn("bob", testPassword); res.StatusCode != http.StatusOK {
				seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
				require.NoError(t, err)
				require.LessOrEqual(t, seconds, 7)
				s.travel(7 * time.Second)
				require.Equal(t, http.StatusOK, signIn("bob", testPassword).StatusCode)
			}

			// Access tokens and their keys, and the refresh of a sign-in.
			fresh := signIn("ada", "an even longer passphrase").json(t)
			api := s.browser()
			api.header.Set("Authorization", "Bearer "+fresh["token"].(string))
			require.Equal(t, http.StatusOK, api.get("/members/").StatusCode)
			require.Equal(t, http.StatusOK, s.browser().post("/accounts/refresh-token", data{"refresh_token": fresh["refresh_token"]}).StatusCode)
			require.Equal(t, http.StatusUnauthorized, s.browser().post("/accounts/refresh-token", data{"refresh_token": granted["refresh_token"]}).StatusCode, "the reset has ended it")

			// And back to the right time, with a restart: all serves.
			s.travel(-c.jump)
			now := s.now.Load()
			s.close()
			s = newSiteAt(t, path, withJWT, throttled)
			s.now.Store(now)
			s.member("new")
			again := s.browser().from("198.51.100.10").post("/accounts/login", data{"login": "ada", "password": "an even longer passphrase"})
			require.Equal(t, http.StatusOK, again.StatusCode, again.body)
		})
	}
	faultResult(t, "the clock set back by a minute, an hour, 400 days; forward by an hour, 2 days, 400 days (injected clock); back to the right time with a restart", "nobody is locked out beyond a spent budget, no mail waits for the old time, no key or link is stuck",
		"who was signed in stays so within the 14 days; fresh links, tokens and keys are good at once; a waiting mail goes out at once (after the minute, where it is one)")
}
