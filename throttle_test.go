// throttle_test.go: the throttles, by the clock of the test: who is slowed down,
// who is not, what they are told, and that a flood of keys stays bounded.

package registration

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

func throttled(s *Settings) { s.Throttle = ThrottleSettings{} }

func (b *browser) from(ip string) *browser { b.ip = ip; return b }

func wrongSignIn(name string) data { return data{"login": name, "password": "not his passphrase"} }

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
			s := newSite(t, throttled)
			for i := range 10 {
				res := s.browser().from(test.first).post("/accounts/login", wrongSignIn("nobody"+strconv.Itoa(i)))
				require.Equal(t, http.StatusBadRequest, res.StatusCode)
			}
			res := s.browser().from(test.other).post("/accounts/login", wrongSignIn("somebody"))
			require.Equal(t, map[bool]int{true: http.StatusTooManyRequests, false: http.StatusBadRequest}[test.together], res.StatusCode)
		})
	}
}

func TestThrottleAnswer(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	sign := func(ip string) *answer {
		return s.browser().from(ip).post("/accounts/login", data{"login": "ADA", "password": testPassword})
	}
	for i := range 10 {
		require.Equal(t, http.StatusOK, sign(fmt.Sprintf("198.51.100.%d", i)).StatusCode)
	}
	res := sign("198.51.100.77")
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode, "an account has a budget whatever the address")
	require.Equal(t, "That was too often. Please try again in 7 seconds.", res.json(t)["detail"])
	for wait, want := range map[int64]string{1: "1 second.", 119: "119 seconds.", 120: "2 minutes.", 121: "3 minutes.", 3600: "60 minutes."} {
		require.Equal(t, "That was too often. Please try again in "+want, refusal.Text(english(t).Locales[0], refusal.CodeThrottled, text.Params{"seconds": wait}))
	}
	require.Equal(t, "7", res.Header.Get("Retry-After"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, http.StatusTooManyRequests, sign("198.51.100.78").StatusCode)
	require.Len(t, s.logs.FilterMessage("throttled").All(), 1, "one line an incident")
	s.travel(7 * time.Second)
	require.Equal(t, http.StatusOK, sign("198.51.100.79").StatusCode, "slower, not locked")

	page := s.browser().from("198.51.100.80").likeBrowser()
	require.Equal(t, http.StatusTooManyRequests, page.post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode)
}

func TestThrottleOfMail(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	for i := range 6 {
		b := s.browser().from(fmt.Sprintf("198.51.100.%d", i))
		want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 5]
		require.Equal(t, want, b.post("/accounts/send-reset-password-link", data{"login": "ada"}).StatusCode, i)
	}
	for range 5 {
		require.Contains(t, s.mail().Text, "reset-password")
	}
	s.noMail()
	ip := s.browser().from("203.0.113.1")
	for i := range 20 {
		require.Equal(t, http.StatusCreated, ip.post("/accounts/register", newcomer("x"+strconv.Itoa(i))).StatusCode)
	}
	require.Equal(t, http.StatusTooManyRequests, ip.post("/accounts/register", newcomer("late")).StatusCode)
}

// A second name in the body must not buy the recipient's budget anew.
func TestThrottleCountsWhoIsWrittenTo(t *testing.T) {
	for name, test := range map[string]struct {
		endpoint string
		body     func(i int) data
		settings func(*Settings)
	}{
		"resend": {
			"resend-verification", func(i int) data { return data{"username": "x" + strconv.Itoa(i), "email": "ada@example.org"} },
			func(*Settings) {},
		},
		"reset by e-mail": {
			"send-reset-password-link", func(i int) data { return data{"login": "x" + strconv.Itoa(i), "email": "ada@example.org"} },
			func(s *Settings) { s.ResetPassword.UseEmail = on() },
		},
		"reset by login": {
			"send-reset-password-link", func(i int) data { return data{"email": "x" + strconv.Itoa(i), "username": "ada"} },
			func(*Settings) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, throttled, test.settings)
			s.browser().post("/accounts/register", newcomer("ada"))
			s.mail()
			for i := range 8 {
				b := s.browser().from(fmt.Sprintf("198.51.100.%d", i))
				want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 5]
				require.Equal(t, want, b.post("/accounts/"+test.endpoint, test.body(i)).StatusCode, i)
			}
			for range 5 {
				require.Equal(t, "ada@example.org", s.mail().To)
			}
			s.noMail()
		})
	}
}

// A stolen session must not be a way to guess the password at speed.
func TestThrottleOfTheOldPassword(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	b := s.signedIn("ada")
	for i := range 11 {
		b.ip = fmt.Sprintf("198.51.100.%d", i)
		res := b.post("/accounts/change-password", data{"old_password": "a guess", "password": testPassword + "!", "password_confirm": testPassword + "!"})
		require.Equal(t, map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 10], res.StatusCode)
	}
}

func TestThrottleOff(t *testing.T) {
	s := newSite(t)
	for range 30 {
		require.Equal(t, http.StatusBadRequest, s.browser().post("/accounts/login", wrongSignIn("ada")).StatusCode)
	}
}
