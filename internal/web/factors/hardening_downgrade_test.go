// hardening_downgrade_test.go: no way in leads around the second step.

package factors_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// requireNobodySignedIn says that an answer let nobody in.
func requireNobodySignedIn(t *testing.T, b *sitetest.Browser, res *sitetest.Answer) {
	t.Helper()
	require.Less(t, res.StatusCode, 400, res.Text)
	require.NotContains(t, b.Cookie, sitetest.SessionCookie)
	body := res.JSON(t)
	require.NotContains(t, body, "token")
	require.NotContains(t, body, "refresh_token")
	require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
}

func TestHardeningNoWayAroundTheSecondStep(t *testing.T) {
	for mode, configure := range map[string]func(*registration.Settings){
		"a session": func(*registration.Settings) {},
		"tokens":    sitetest.WithTokens,
		"jwt":       sitetest.WithJWT,
	} {
		t.Run(mode, func(t *testing.T) {
			s := sitetest.New(t, configure, func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() })
			id := s.Member("ada")
			owner := s.SignedIn("ada")
			enrol(t, s, owner)
			undo := sitetest.LinkOf(s.Mail(), t)
			had := s.Stored(id).Factors

			b := s.Browser()
			res := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
			requireNobodySignedIn(t, b, res)
			require.Contains(t, res.JSON(t), "challenge")
			b = s.ResetPassword("ada", sitetest.NewPassword)
			res = b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.NewPassword})
			requireNobodySignedIn(t, b, res)
			require.Contains(t, res.JSON(t), "challenge")

			// The link that takes the factor back signs nobody in, and leaves no password.
			b = s.Browser()
			requireNobodySignedIn(t, b, b.Post("/accounts/undo-factor", sitetest.With(undo, sitetest.Data{"password": sitetest.Password})))
			require.Empty(t, s.Stored(id).PasswordHash)

			// One that waits, and has a factor out of an import: its confirmation asks for it.
			s.Mails()
			require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode)
			link := sitetest.LinkOf(s.Mail(), t)
			s.Set(sitetest.UUIDOf(t, s, "bob").String(), func(u *store.User) { u.Factors = had })
			b = s.Browser()
			requireNobodySignedIn(t, b, b.Post("/accounts/verify-registration", link))
			res = b.Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password})
			requireNobodySignedIn(t, b, res)
			require.Contains(t, res.JSON(t), "challenge")
		})
	}
}

// A token from before the factor is refreshed, and has shown no more for that.
func TestHardeningRefreshShowsNoFactor(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	_, refresh := s.Tokens("ada")
	enrol(t, s, s.SignedIn("ada"))
	res := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	_, claims := sitetest.ClaimsOf(t, res.JSON(t)["token"].(string))
	require.Equal(t, []any{"pwd"}, claims["amr"])
	s.Travel(time.Minute)
	sitetest.RequireError(t, s.WithToken(res.JSON(t)["token"].(string)).Problems().Post("/accounts/recovery-codes", sitetest.Data{"password": sitetest.Password}), 400, "totp:reauthentication_required")
}

// Nobody adds a factor to an account that waits for its confirmation, or is gone.
func TestHardeningNoFactorForWhoIsNotIn(t *testing.T) {
	s := sitetest.NewWithPasskeys(t)
	id := s.Member("ada")
	d, b := s.Device(), s.SignedIn("ada").Problems()
	require.Equal(t, http.StatusCreated, b.AddPasskey(d).StatusCode)
	s.Set(id, func(u *store.User) { u.IsActive, u.AwaitsVerification = false, true })
	for _, path := range []string{"enrol-totp", "passkey-options", "recovery-codes"} {
		sitetest.RequireError(t, b.Post("/accounts/"+path, sitetest.Data{}), 401, "not_authenticated")
	}
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "ada")))
	sitetest.RequireError(t, s.Browser().Problems().PasskeySignIn(d), 400, "passkey_unknown")
}
