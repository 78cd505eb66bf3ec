// timing_test.go: that the time of an answer does not tell who has an account,
// by Welch's t-test on interleaved samples. It measures, so it is no part of an
// ordinary run: `make timing`.

package web_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// welch returns the t value of two samples (B. L. Welch, Biometrika 34, 1947).
func welch(a, b []float64) float64 {
	mean := func(x []float64) (m, v float64) {
		for _, y := range x {
			m += y
		}
		m /= float64(len(x))
		for _, y := range x {
			v += (y - m) * (y - m)
		}
		return m, v / float64(len(x)-1)
	}
	ma, va := mean(a)
	mb, vb := mean(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}

// cropped leaves out the slowest tenth, which the machine's other work makes.
// Both samples are cut at the same time, so that a slow kind is not hidden.
func cropped(a, b []float64) ([]float64, []float64) {
	all := slices.Concat(a, b)
	slices.Sort(all)
	limit := all[len(all)*9/10]
	keep := func(x []float64) []float64 {
		return slices.DeleteFunc(slices.Clone(x), func(y float64) bool { return y > limit })
	}
	return keep(a), keep(b)
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// maxT is the value beyond which a difference is taken for one (that of the
// TVLA method for leakage: p about 0.00001).
const maxT = 4.5

func TestWelch(t *testing.T) {
	a, b := []float64{3, 4, 1, 2.1}, []float64{490.2, 340, 433.9}
	require.InDelta(t, -9.5598, welch(a, b), 0.001, "means 2.525 and 421.37, variances 1.609 and 5756.9")
	x, y := make([]float64, 2000), make([]float64, 2000)
	for i := range x {
		x[i], y[i] = rand.NormFloat64(), rand.NormFloat64()
	}
	require.Less(t, math.Abs(welch(x, y)), 6.0)
	for i := range y {
		y[i] += 0.5
	}
	require.Greater(t, math.Abs(welch(x, y)), maxT, "a difference is seen")
}

// secondStep gives an account this many factors, with all that comes with them.
func secondStep(t *testing.T, s *sitetest.Site, name string, n int) {
	s.Set(sitetest.UUIDOf(t, s, name).String(), func(u *store.User) {
		now := s.Accounts.Time()
		for i := range n {
			f := store.Factor{ID: uuid.New(), Type: store.FactorTOTP, Name: "My phone", Created: now, LastUsed: now, Secret: make([]byte, 48)}
			if i > 0 {
				f.Type, f.Secret, f.CredentialID, f.Transports = store.FactorPasskey, make([]byte, 400), []byte(f.ID.String()), []string{"internal", "hybrid"}
			}
			u.Factors = append(u.Factors, f)
		}
		for range 10 {
			u.RecoveryCodes = append(u.RecoveryCodes, make([]byte, 32))
		}
		u.RecoveryMade = now
	})
}

func TestTiming(t *testing.T) {
	only := os.Getenv("REGISTRATION_TIMING") // "1", or a part of the names of the pairs to measure
	if only == "" {
		t.Skip("it measures; run: make timing")
	}
	const rounds = 3000
	// A hash of real size costs 35 ms and would hide a leak of microseconds as
	// well as take an hour: a small one shows more.
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Password.Argon2id = &registration.Argon2idSettings{Memory: 256, Passes: 1, Lanes: 1}
		s.User.LoginFields = []string{"username", "email"}
		s.Login.MailCode = sitetest.On()
	})
	sitetest.Embedded(t)
	s.Accounts.Store.(*bolt.Store).File.Db.NoSync = true // the disk's own noise
	go func() {
		for range s.Mailer.Sent {
		}
	}()
	for _, name := range []string{"ada", "eve", "off", "imported", "app", "all"} {
		res := s.Browser().Post("/accounts/register", sitetest.Newcomer(name))
		require.Equal(t, 201, res.StatusCode)
		id := sitetest.UUIDOf(t, s, name)
		on := true
		if _, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{IsActive: &on}); err != nil {
			t.Fatal(err)
		}
	}
	disabled := false
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "off"), account.AdminChange{IsActive: &disabled})
	require.NoError(t, err)
	weak, err := bcrypt.GenerateFromPassword([]byte(sitetest.Password), bcrypt.MinCost)
	require.NoError(t, err)
	require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
		u, err := tx.User(sitetest.UUIDOf(t, s, "imported"))
		if err != nil {
			return err
		}
		u.PasswordHash = string(weak)
		return s.Accounts.PutUser(tx, u)
	}))
	secondStep(t, s, "app", 1)
	secondStep(t, s, "all", account.MaxFactors)
	wrong := func(login string) func(int) (string, sitetest.Data) {
		return func(int) (string, sitetest.Data) {
			return "login", sitetest.Data{"login": login, "password": "not the passphrase"}
		}
	}
	fresh := func(email string) func(int) (string, sitetest.Data) {
		return func(i int) (string, sitetest.Data) {
			name := fmt.Sprintf("n%07d", i)
			address := email
			if address == "" {
				address = name + "@example.org"
			}
			return "register", sitetest.With(sitetest.Newcomer(name), sitetest.Data{"email": address})
		}
	}
	ask := func(endpoint, login string) func(int) (string, sitetest.Data) {
		return func(int) (string, sitetest.Data) { return endpoint, sitetest.Data{"login": login} }
	}
	signedIn := s.SignedIn("eve").Cookie[sitetest.SessionCookie]
	change := func(email string) func(int) (string, sitetest.Data) {
		return func(int) (string, sitetest.Data) { return "register-email", sitetest.Data{"email": email} }
	}
	serial := 0
	for _, c := range []struct {
		name string
		a, b func(int) (string, sitetest.Data)
		told bool // a known leak, documented
	}{
		{"sign-in: unknown, unknown (control)", wrong("ede"), wrong("oda"), false},
		{"sign-in: unknown, wrong password", wrong("eda"), wrong("ada"), false},
		{"sign-in: unknown, wrong password, by e-mail", wrong("eda@example.org"), wrong("ada@example.org"), false},
		{"sign-in: wrong password, inactive", wrong("ada"), wrong("off"), false},
		{"sign-in: inactive with the right password, unknown", func(int) (string, sitetest.Data) {
			return "login", sitetest.Data{"login": "off", "password": sitetest.Password}
		}, wrong("eda"), false},
		{"sign-in: unknown, imported weak hash", wrong("imporred"), wrong("imported"), true},
		{"sign-in: wrong password, without a factor and with one", wrong("ada"), wrong("app"), false},
		{"sign-in: wrong password, without a factor and with 20", wrong("ada"), wrong("all"), false},
		{"code: unknown, known", ask("send-login-code", "eda"), ask("send-login-code", "ada"), false},
		{"code: without a factor, with one", ask("send-login-code", "ada"), ask("send-login-code", "app"), false},
		{"code: without a factor, with 20", ask("send-login-code", "ada"), ask("send-login-code", "all"), false},
		{"reset: without a factor, with 20", ask("send-reset-password-link", "ada"), ask("send-reset-password-link", "all"), false},
		{"sign-up: taken address, without a factor and with 20", fresh("ada@example.org"), fresh("all@example.org"), false},
		{"sign-up: fresh, taken address", fresh(""), fresh("ada@example.org"), false},
		{"reset: unknown, known", ask("send-reset-password-link", "eda"), ask("send-reset-password-link", "ada"), false},
		{"resend: unknown, known", ask("resend-verification", "eda"), ask("resend-verification", "ada"), false},
		{"change: free, taken address", change("new@example.org"), change("ada@example.org"), false},
	} {
		if only != "1" && !strings.Contains(c.name, only) {
			continue
		}
		sample := func(kind func(int) (string, sitetest.Data)) float64 {
			serial++
			endpoint, body := kind(serial)
			b := s.Browser()
			if endpoint == "register-email" {
				b.Cookie[sitetest.SessionCookie] = signedIn
			}
			start := time.Now()
			res := b.Post("/accounts/"+endpoint, body)
			took := time.Since(start)
			require.Less(t, res.StatusCode, 401)
			return float64(took.Nanoseconds())
		}
		var x, y []float64
		n := rounds
		if c.name[:6] != "sign-i" {
			n = rounds / 3
		}
		// Each kind by its own throw: what one request leaves to be done in the
		// background must fall on both kinds alike.
		for range 2 * n {
			if rand.IntN(2) == 0 {
				x = append(x, sample(c.a))
			} else {
				y = append(y, sample(c.b))
			}
		}
		cx, cy := cropped(x, y)
		value := welch(cx, cy)
		t.Logf("%-55s n=%d t=%+.2f medians %.1f and %.1f µs", c.name, n, value, median(cx)/1e3, median(cy)/1e3)
		if !c.told && math.Abs(value) > maxT {
			t.Errorf("%s: |t| = %.2f is over %.1f: the time tells", c.name, math.Abs(value), maxT)
		}
	}
}
