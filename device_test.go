// device_test.go: the device cookie: its owner gets in whatever others do to
// the account's budget, and nobody else gains anything by it.

package registration_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestDeviceIsNotLockedOut(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	s.Member("bob")
	own := s.SignedIn("ada")
	require.Contains(t, own.Cookie, sitetest.DeviceCookie)
	signIn := sitetest.Data{"login": "ada", "password": sitetest.Password}
	own.Post("/accounts/logout", sitetest.Data{})
	require.NotContains(t, own.Cookie, "registration")
	require.Contains(t, own.Cookie, sitetest.DeviceCookie, "it outlives the session")
	s.Travel(time.Hour)
	s.Attack("ada")

	require.Equal(t, http.StatusTooManyRequests, s.Browser().From("198.51.100.1").Post("/accounts/login", signIn).StatusCode, "a new device has to wait")
	own.IP = "203.0.113.1"
	require.Equal(t, http.StatusOK, own.Post("/accounts/login", signIn).StatusCode, "even behind the attacker's address")
	own.Cookie[sitetest.DeviceCookie] += "x"
	require.Equal(t, http.StatusTooManyRequests, own.Post("/accounts/login", signIn).StatusCode, "a forged cookie is none")

	other := s.Browser().From("198.51.100.2")
	require.Equal(t, http.StatusOK, other.Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password}).StatusCode)
	require.Equal(t, http.StatusTooManyRequests, other.Post("/accounts/login", signIn).StatusCode, "somebody else's device is no device of ada's")
}

// A stolen device cookie is one more budget and not an unlimited one.
func TestDeviceBudgetIsBounded(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	own := s.SignedIn("ada")
	before := own.Cookie[sitetest.DeviceCookie]
	s.Travel(time.Hour)
	for i := range 16 { // 5 of its own, then the account's 10
		own.IP = fmt.Sprintf("203.0.113.%d", i)
		res := own.Post("/accounts/login", sitetest.WrongSignIn("ada"))
		require.Equal(t, map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 15], res.StatusCode)
	}
	require.Equal(t, before, own.Cookie[sitetest.DeviceCookie])
}

func TestDeviceCookieAttributes(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.HTTPS = true
	s.Member("lovelace")
	b := s.Browser()
	signIn := sitetest.Data{"login": "lovelace", "password": sitetest.Password}
	find := func(res *sitetest.Answer) *http.Cookie {
		for _, c := range res.Cookies() {
			if c.Name == "__Host-registration_device" {
				return c
			}
		}
		return nil
	}
	c := find(b.Post("/accounts/login", signIn))
	require.NotNil(t, c)
	require.True(t, c.HttpOnly && c.Secure)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Equal(t, int(365*sitetest.Day/time.Second), c.MaxAge)
	require.NotContains(t, c.Value, "lovelace") // longer than chance would write

	require.Nil(t, find(b.Post("/accounts/login", signIn)), "a good one stays")
	s.Travel(31 * sitetest.Day)
	require.NotNil(t, find(b.Post("/accounts/login", signIn)), "an old one is renewed")
	for _, bad := range []string{"", ".", "...", c.Value + ".", "x" + c.Value, c.Value[:len(c.Value)-1]} {
		b.Cookie["__Host-registration_device"] = bad
		require.NotNil(t, find(b.Post("/accounts/login", signIn)), bad)
	}
}

func TestBudgetsSurviveARestart(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path, sitetest.Throttled)
	s.Member("ada")
	s.Attack("ada")
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.Throttled)
	res := s.Browser().From("198.51.100.1").Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Equal(t, "7", res.Header.Get("Retry-After"))
	res = s.Browser().From("203.0.113.1").Post("/accounts/login", sitetest.WrongSignIn("bob"))
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	s.Close()

	s = sitetest.NewAt(t, path, sitetest.Throttled)
	s.Travel(7 * time.Second)
	res = s.Browser().From("198.51.100.1").Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func TestDamagedBudgetsBeginAfresh(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path, sitetest.Throttled)
	s.Member("ada")
	require.NoError(t, s.Accounts.Store.Update(context.Background(), func(tx store.Tx) error { return tx.PutValue("throttles", []byte("\x01short")) }))
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.Throttled)
	require.Len(t, s.Logs.FilterMessage("the throttles begin afresh").All(), 1)
	s.SignedIn("ada")
}
