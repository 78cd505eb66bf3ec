// hardening_step_up_test.go: ways past a guard that asks for more than a sign-in has shown.

package signin_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// Nobody has shown what another sign-in has: an older one of the same account, a copy of
// the cookie from before, somebody else who is signed in.
func TestStepUpIsOfOneSignIn(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := s.Member("ada")
	s.Member("eve")
	guarding(s, 2, 15*time.Minute)
	older, b, eve := s.SignedIn("ada"), s.SignedIn("ada"), s.SignedIn("eve")
	secret := withTOTP(s, id)
	thief := s.Browser()
	thief.Cookie[sitetest.SessionCookie] = b.Cookie[sitetest.SessionCookie]
	require.Equal(t, http.StatusUnauthorized, thief.Get("/members/").StatusCode)
	for name, body := range map[string]sitetest.Data{
		"the password of ada": {"password": sitetest.Password + " "}, "the factor of ada": {"totp": appShows(s, secret)},
		"a challenge": {"challenge": "x", "totp": appShows(s, secret)}, "nothing": {}, "lists": {"password": []string{sitetest.Password}},
	} {
		require.NotEqual(t, http.StatusOK, eve.Post("/accounts/step-up", body).StatusCode, name)
		require.Equal(t, http.StatusUnauthorized, eve.Get("/members/").StatusCode, name)
	}
	require.Equal(t, http.StatusOK, b.Post("/accounts/step-up", sitetest.Data{"totp": appShows(s, secret)}).StatusCode)
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	require.Equal(t, http.StatusUnauthorized, older.Get("/members/").StatusCode)
	require.Equal(t, http.StatusOK, older.Get("/accounts/profile").StatusCode, "it is still signed in")
	require.Equal(t, http.StatusUnauthorized, thief.Get("/members/").StatusCode)
	require.Equal(t, http.StatusUnauthorized, thief.Get("/accounts/profile").StatusCode, "its cookie is no good any more")
	require.Equal(t, http.StatusOK, eve.Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, eve.Get("/members/").StatusCode, "a password twice is one thing")
	s.Travel(15 * time.Minute)
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
}

// A token is raised by itself, into another one, and none has shown what a session has.
func TestStepUpOfTokens(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, sitetest.WithTokens)
	s.Member("ada")
	guarding(s, 0, 15*time.Minute)
	b := s.Browser()
	token := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
	s.Travel(15 * time.Minute)
	require.Equal(t, http.StatusOK, b.Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, s.WithToken(token).Get("/members/").StatusCode)
	raised := s.WithToken(token).Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}).JSON(t)["token"].(string)
	require.NotEqual(t, token, raised)
	require.Equal(t, sitetest.ProtectedPage, s.WithToken(raised).Get("/members/").Text)
	require.Equal(t, http.StatusUnauthorized, s.WithToken(token).Get("/accounts/profile").StatusCode)
}

// Tokens that are refreshed have shown nothing since, and those from before a step-up are
// no good: neither the access token nor the one that refreshes it.
func TestStepUpOfAccessTokens(t *testing.T) {
	s := sitetest.NewJWT(t, sitetest.NoVerification)
	id := s.Member("ada")
	guarding(s, 2, 15*time.Minute)
	b, refresh := s.Tokens("ada")
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
	secret := withTOTP(s, id)
	got := b.Post("/accounts/step-up", sitetest.Data{"totp": appShows(s, secret)}).JSON(t)
	_, claims := sitetest.ClaimsOf(t, got["token"].(string))
	require.Equal(t, []any{"pwd", "otp", "mfa"}, claims["amr"])
	require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
	require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
	require.Equal(t, sitetest.ProtectedPage, s.WithToken(got["token"].(string)).Get("/members/").Text)
	s.Travel(14 * time.Minute)
	next := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": got["refresh_token"]}).JSON(t)
	raised := s.WithToken(next["token"].(string))
	require.Equal(t, sitetest.ProtectedPage, raised.Get("/members/").Text)
	s.Travel(time.Minute)
	require.Equal(t, http.StatusUnauthorized, raised.Get("/members/").StatusCode)
	require.Equal(t, http.StatusOK, raised.Get("/accounts/profile").StatusCode)
}

// What was shown under a clock that was ahead is no fresher than now.
func TestStepUpUnderAClockThatWasAhead(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	guarding(s, 0, 15*time.Minute)
	b := s.SignedIn("ada")
	s.Travel(10 * sitetest.Day)
	require.Equal(t, http.StatusOK, b.Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}).StatusCode)
	s.Travel(-10 * sitetest.Day)
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	require.NoError(t, s.Realm.Resources.Sessions.Flush(t.Context()))
	s.Travel(15 * time.Minute)
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
	s.Realm.Resources.Sessions.Live.Clear() // as after a restart
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
}

// Factors can't be guessed here any better than at a sign-in.
func TestStepUpGuesses(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := s.Member("ada")
	guarding(s, 2, 0)
	browsers := []*sitetest.Browser{s.SignedIn("ada"), s.SignedIn("ada")}
	secret := withTOTP(s, id)
	for i := range 20 { // of devices that the account knows; others have 10
		require.Equal(t, http.StatusBadRequest, browsers[i%2].Post("/accounts/step-up", sitetest.Data{"totp": fmt.Sprintf("%06d", i)}).StatusCode)
	}
	for _, b := range browsers {
		require.Equal(t, http.StatusTooManyRequests, b.Post("/accounts/step-up", sitetest.Data{"totp": appShows(s, secret)}).StatusCode)
		require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
	}
}

// An account that was disabled, or has another password, while its owner shows the old one.
func TestStepUpOfAnAccountThatChanges(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	id := sitetest.UUIDOf(t, s, "ada")
	b := s.SignedIn("ada")
	s.ResetPassword("ada", "another passphrase")
	require.Equal(t, http.StatusUnauthorized, b.Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}).StatusCode)
	b = s.Browser()
	require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": "another passphrase"}).StatusCode)
	_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, b.Post("/accounts/step-up", sitetest.Data{"password": "another passphrase"}).StatusCode)
}
