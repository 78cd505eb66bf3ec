// device_test.go: the device cookie: its owner gets in whatever others do to
// the account's budget, and nobody else gains anything by it.

package registration

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

const deviceCookie = "registration_device"

// attack spends the budget of an account from many addresses.
func (s *site) attack(name string) {
	s.t.Helper()
	for i := range 11 {
		res := s.browser().from(fmt.Sprintf("203.0.113.%d", i)).post("/accounts/login", wrongSignIn(name))
		require.Equal(s.t, map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 10], res.StatusCode)
	}
}

func TestDeviceIsNotLockedOut(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	s.member("bob")
	own := s.signedIn("ada")
	require.Contains(t, own.cookie, deviceCookie)
	signIn := data{"login": "ada", "password": testPassword}
	own.post("/accounts/logout", data{})
	require.NotContains(t, own.cookie, "registration")
	require.Contains(t, own.cookie, deviceCookie, "it outlives the session")
	s.travel(time.Hour)
	s.attack("ada")

	require.Equal(t, http.StatusTooManyRequests, s.browser().from("198.51.100.1").post("/accounts/login", signIn).StatusCode, "a new device has to wait")
	own.ip = "203.0.113.1"
	require.Equal(t, http.StatusOK, own.post("/accounts/login", signIn).StatusCode, "even behind the attacker's address")
	own.cookie[deviceCookie] += "x"
	require.Equal(t, http.StatusTooManyRequests, own.post("/accounts/login", signIn).StatusCode, "a forged cookie is none")

	other := s.browser().from("198.51.100.2")
	require.Equal(t, http.StatusOK, other.post("/accounts/login", data{"login": "bob", "password": testPassword}).StatusCode)
	require.Equal(t, http.StatusTooManyRequests, other.post("/accounts/login", signIn).StatusCode, "somebody else's device is no device of ada's")
}

// A stolen device cookie is one more budget and not an unlimited one.
func TestDeviceBudgetIsBounded(t *testing.T) {
	s := newSite(t, throttled)
	s.member("ada")
	own := s.signedIn("ada")
	before := own.cookie[deviceCookie]
	s.travel(time.Hour)
	for i := range 16 { // 5 of its own, then the account's 10
		own.ip = fmt.Sprintf("203.0.113.%d", i)
		res := own.post("/accounts/login", wrongSignIn("ada"))
		require.Equal(t, map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 15], res.StatusCode)
	}
	require.Equal(t, before, own.cookie[deviceCookie])
}

func TestDeviceCookieAttributes(t *testing.T) {
	s := newSite(t, throttled)
	s.https = true
	s.member("lovelace")
	b := s.browser()
	signIn := data{"login": "lovelace", "password": testPassword}
	find := func(res *answer) *http.Cookie {
		for _, c := range res.Cookies() {
			if c.Name == "__Host-registration_device" {
				return c
			}
		}
		return nil
	}
	c := find(b.post("/accounts/login", signIn))
	require.NotNil(t, c)
	require.True(t, c.HttpOnly && c.Secure)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Equal(t, int(365*day/time.Second), c.MaxAge)
	require.NotContains(t, c.Value, "lovelace") // longer than chance would write

	require.Nil(t, find(b.post("/accounts/login", signIn)), "a good one stays")
	s.travel(31 * day)
	require.NotNil(t, find(b.post("/accounts/login", signIn)), "an old one is renewed")
	for _, bad := range []string{"", ".", "...", c.Value + ".", "x" + c.Value, c.Value[:len(c.Value)-1]} {
		b.cookie["__Host-registration_device"] = bad
		require.NotNil(t, find(b.post("/accounts/login", signIn)), bad)
	}
}

func TestBudgetsSurviveARestart(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path, throttled)
	s.member("ada")
	s.attack("ada")
	s.close()
	s = newSiteAt(t, path, throttled)
	res := s.browser().from("198.51.100.1").post("/accounts/login", data{"login": "ada", "password": testPassword})
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Equal(t, "7", res.Header.Get("Retry-After"))
	res = s.browser().from("203.0.113.1").post("/accounts/login", wrongSignIn("bob"))
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	s.close()

	s = newSiteAt(t, path, throttled)
	s.travel(7 * time.Second)
	res = s.browser().from("198.51.100.1").post("/accounts/login", data{"login": "ada", "password": testPassword})
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func TestDamagedBudgetsBeginAfresh(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path, throttled)
	s.member("ada")
	require.NoError(t, s.accounts.Store.Update(context.Background(), func(tx store.Tx) error { return tx.PutValue(throttlesValue, []byte("\x01short")) }))
	s.close()
	s = newSiteAt(t, path, throttled)
	require.Len(t, s.logs.FilterMessage("the throttles begin afresh").All(), 1)
	s.signedIn("ada")
}

func TestThrottledMetric(t *testing.T) {
	s := newSite(t, throttled)
	registry := prometheus.NewRegistry()
	require.NoError(t, s.realm.metrics.register(registry))
	other := newMetrics()
	require.NoError(t, other.register(registry), "a second realm shares the counters")
	s.member("ada")
	s.attack("ada")
	require.InDelta(t, 1, testutil.ToFloat64(other.throttled.WithLabelValues("default", "login")), 0)
}
