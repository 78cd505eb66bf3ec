// timing_mails_test.go: that neither the time of an answer nor that of the next
// one tells whether a mail goes out, with a mailer that keeps the disk busy.

package web_test

import (
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func TestTimingFileMailer(t *testing.T) {
	only := os.Getenv("REGISTRATION_TIMING")
	if only == "" {
		t.Skip("it measures; run: make timing")
	}
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Password.Argon2id = &registration.Argon2idSettings{Memory: 256, Passes: 1, Lanes: 1}
		s.User.LoginFields = []string{"username", "email"}
	})
	sitetest.Embedded(t)
	s.Accounts.Store.(*bolt.Store).File.Db.NoSync = true // the files of the mails keep the disk busy enough
	for _, name := range []string{"ada", "eve"} {
		s.Member(name)
	}
	filed := *s.Realm.Courier
	folder := &registration.FileMailer{Directory: t.TempDir()}
	require.NoError(t, folder.Provision(caddy.Context{}))
	filed.Mailer = folder
	s.Realm.Resources.Start(&filed)
	defer s.Realm.Resources.Finish(&filed)
	ask := func(endpoint, login string) func() *sitetest.Answer {
		return func() *sitetest.Answer { return s.Browser().Post("/accounts/"+endpoint, sitetest.Data{"login": login}) }
	}
	signIn := func() *sitetest.Answer {
		return s.Browser().Post("/accounts/login", sitetest.Data{"login": "nobody", "password": "not the passphrase"})
	}
	for _, c := range []struct {
		name       string
		a, b, next func() *sitetest.Answer // next: what is timed instead, right after
		pause      time.Duration           // before next
	}{
		{name: "reset: unknown, unknown (control)", a: ask("send-reset-password-link", "ede"), b: ask("send-reset-password-link", "oda")},
		{name: "reset: unknown, known", a: ask("send-reset-password-link", "eda"), b: ask("send-reset-password-link", "ada")},
		{name: "resend: unknown, known", a: ask("resend-verification", "eda"), b: ask("resend-verification", "ada")},
		{name: "reset: unknown, known; the next sign-in", a: ask("send-reset-password-link", "eda"), b: ask("send-reset-password-link", "ada"), next: signIn},
		{name: "reset: unknown, known; the next reset", a: ask("send-reset-password-link", "eda"), b: ask("send-reset-password-link", "ada"), next: ask("send-reset-password-link", "oda")},
		{name: "reset: unknown, known; the next reset, after 300 µs", a: ask("send-reset-password-link", "eda"), b: ask("send-reset-password-link", "ada"), next: ask("send-reset-password-link", "oda"), pause: 300 * time.Microsecond},
	} {
		if only != "1" && !strings.Contains(c.name, only) {
			continue
		}
		sample := func(act func() *sitetest.Answer) float64 {
			// What the ones before have left is done: the two differ in themselves alone.
			for end := time.Now().Add(sitetest.Patience); len(s.Queued()) > 0; runtime.Gosched() {
				require.True(t, time.Now().Before(end))
			}
			start := time.Now()
			res := act()
			if c.next != nil {
				require.Equal(t, 200, res.StatusCode)
				for end := time.Now().Add(c.pause); time.Now().Before(end); { //nolint:revive // a sleep is too coarse
				}
				start = time.Now()
				res = c.next()
			}
			took := time.Since(start)
			require.LessOrEqual(t, res.StatusCode, 400)
			return float64(took.Nanoseconds())
		}
		var x, y []float64
		const rounds = 1500
		for range 2 * rounds {
			if rand.IntN(2) == 0 {
				x = append(x, sample(c.a))
			} else {
				y = append(y, sample(c.b))
			}
		}
		cx, cy := cropped(x, y)
		value := welch(cx, cy)
		t.Logf("%-55s n=%d t=%+.2f medians %.1f and %.1f µs", c.name, rounds, value, median(cx)/1e3, median(cy)/1e3)
		if math.Abs(value) > maxT {
			t.Errorf("%s: |t| = %.2f is over %.1f: the time tells", c.name, math.Abs(value), maxT)
		}
	}
}
