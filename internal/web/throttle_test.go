// throttle_test.go: the throttles, by the clock of the test: who is slowed down,
// who is not, what they are told, and that a flood of keys stays bounded.

package web_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

func TestThrottleByAddress(t *testing.T) {
	for name, test := range map[string]struct {
		first, other string
		together     bool
	}{
		"one IPv4 address":      {"192.0.2.7", "192.0.2.7", true},
		"two IPv4 addresses":    {"192.0.2.7", "192.0.2.8", false},
		"one /64 of IPv6":       {"2001:db8::1", "2001:db8::ffff:2", true},
		"two /64 of IPv6":       {"2001:db8::1", "2001:db8:0:1::1", false},
		"IPv4 mapped into IPv6": {"192.0.2.7", "::ffff:192.0.2.7", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled)
			for i := range 10 {
				res := s.Browser().From(test.first).Post("/accounts/login", sitetest.WrongSignIn("nobody"+strconv.Itoa(i)))
				require.Equal(t, http.StatusBadRequest, res.StatusCode)
			}
			res := s.Browser().From(test.other).Post("/accounts/login", sitetest.WrongSignIn("somebody"))
			require.Equal(t, map[bool]int{true: http.StatusTooManyRequests, false: http.StatusBadRequest}[test.together], res.StatusCode)
		})
	}
}

func TestThrottleAnswer(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	sign := func(ip string) *sitetest.Answer {
		return s.Browser().From(ip).Post("/accounts/login", sitetest.Data{"login": "ADA", "password": sitetest.Password})
	}
	for i := range 10 {
		require.Equal(t, http.StatusOK, sign(fmt.Sprintf("198.51.100.%d", i)).StatusCode)
	}
	res := sign("198.51.100.77")
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode, "an account has a budget whatever the address")
	require.Equal(t, "Try again in 7 seconds. There were too many attempts.", res.JSON(t)["detail"])
	for wait, want := range map[int64]string{1: "1 second.", 119: "119 seconds.", 120: "2 minutes.", 121: "3 minutes.", 3600: "60 minutes."} {
		require.Equal(t, "Try again in "+want+" There were too many attempts.", refusal.Text(sitetest.English(t).Locales[0], refusal.CodeThrottled, text.Params{"seconds": wait}))
	}
	require.Equal(t, "7", res.Header.Get("Retry-After"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, http.StatusTooManyRequests, sign("198.51.100.78").StatusCode)
	require.Len(t, s.Logs.FilterLoggerName("").FilterMessage("throttled").All(), 1, "one line an incident")
	s.Travel(7 * time.Second)
	require.Equal(t, http.StatusOK, sign("198.51.100.79").StatusCode, "slower, not locked")

	page := s.Browser().From("198.51.100.80").LikeBrowser()
	require.Equal(t, http.StatusTooManyRequests, page.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
}

func TestThrottleOfMail(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	for i := range 6 {
		b := s.Browser().From(fmt.Sprintf("198.51.100.%d", i))
		want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 5]
		require.Equal(t, want, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode, i)
	}
	for range 5 {
		require.Contains(t, s.Mail().Text, "reset-password")
	}
	s.NoMail()
	ip := s.Browser().From("203.0.113.1")
	for i := range 20 {
		require.Equal(t, http.StatusCreated, ip.Post("/accounts/register", sitetest.Newcomer("x"+strconv.Itoa(i))).StatusCode)
	}
	require.Equal(t, http.StatusTooManyRequests, ip.Post("/accounts/register", sitetest.Newcomer("late")).StatusCode)
}

// A second name in the body must not buy the recipient's budget anew.
func TestThrottleCountsWhoIsWrittenTo(t *testing.T) {
	for name, test := range map[string]struct {
		endpoint string
		body     func(i int) sitetest.Data
		settings func(*registration.Settings)
	}{
		"resend": {
			"resend-verification", func(i int) sitetest.Data {
				return sitetest.Data{"username": "x" + strconv.Itoa(i), "email": "ada@example.org"}
			},
			func(*registration.Settings) {},
		},
		"reset by e-mail": {
			"send-reset-password-link", func(i int) sitetest.Data {
				return sitetest.Data{"login": "x" + strconv.Itoa(i), "email": "ada@example.org"}
			},
			func(s *registration.Settings) { s.ResetPassword.UseEmail = sitetest.On() },
		},
		"reset by login": {
			"send-reset-password-link", func(i int) sitetest.Data { return sitetest.Data{"email": "x" + strconv.Itoa(i), "username": "ada"} },
			func(*registration.Settings) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.Throttled, test.settings)
			s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
			s.Mail()
			for i := range 8 {
				b := s.Browser().From(fmt.Sprintf("198.51.100.%d", i))
				want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 5]
				require.Equal(t, want, b.Post("/accounts/"+test.endpoint, test.body(i)).StatusCode, i)
			}
			for range 5 {
				require.Equal(t, "ada@example.org", s.Mail().To)
			}
			s.NoMail()
		})
	}
}

// A stolen session must not be a way to guess the password at speed.
func TestThrottleOfTheOldPassword(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	b := s.SignedIn("ada")
	for i := range 11 {
		b.IP = fmt.Sprintf("198.51.100.%d", i)
		res := b.Post("/accounts/change-password", sitetest.Data{"old_password": "a guess", "password": sitetest.Password + "!", "password_confirm": sitetest.Password + "!"})
		require.Equal(t, map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 10], res.StatusCode)
	}
}

func TestThrottleOff(t *testing.T) {
	s := sitetest.New(t)
	for range 30 {
		require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/login", sitetest.WrongSignIn("ada")).StatusCode)
	}
}

// A proxy that nobody has named makes one client of all behind it.
func TestThrottleNamesTheProxySetting(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	told := func() int { return s.Logs.FilterMessageSnippet("trusted_proxies").Len() }
	flood := func(b *sitetest.Browser) {
		for range 40 {
			b.Post("/accounts/login", sitetest.Data{"login": "nobody", "password": "x"})
		}
	}
	flood(s.Browser())
	require.Zero(t, told(), "nobody claims to be a proxy")
	flood(s.Browser().Set("X-Forwarded-For", "203.0.113.9"))
	require.Equal(t, 1, told())
	s.Travel(time.Hour + time.Minute)
	flood(s.Browser().Set("X-Forwarded-For", "203.0.113.9"))
	require.Equal(t, 2, told())
}
