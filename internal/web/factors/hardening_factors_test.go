// hardening_factors_test.go: who has the password and not the factor gets no further.

package factors_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestAttacksOnTheSecondStep(t *testing.T) {
	const wrong = "000000"
	for name, attack := range map[string]func(t *testing.T, s *sitetest.Site, id string, a app, codes []string){
		"a code again": func(t *testing.T, s *sitetest.Site, _ string, a app, _ []string) {
			b := s.Browser().Problems()
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", a.code())).StatusCode)
			thief := s.Browser().Problems()
			challenge := challenged(t, thief, "ada")
			for _, code := range []string{a.code(), a.code(-1)} { // within its window, and the one before
				sitetest.RequireError(t, thief.Post("/accounts/login-factor", answerWith(challenge, "totp", code)), 400, "totp:factor_invalid")
			}
		},
		"a challenge takes five": func(t *testing.T, s *sitetest.Site, _ string, a app, _ []string) {
			b := s.Browser().Problems()
			challenge := challenged(t, b, "ada")
			for range 5 {
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", wrong)), 400, "totp:factor_invalid")
			}
			sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())), 400, "challenge_expired")
			require.Equal(t, 1, s.Mails()["Wrong codes for your account at example.com"])
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", a.code())).StatusCode)
		},
		"an account takes ten in an hour": func(t *testing.T, s *sitetest.Site, _ string, a app, codes []string) {
			for range 10 {
				b := s.Browser().Problems()
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", wrong)), 400, "totp:factor_invalid")
			}
			b := s.Browser().Problems()
			challenge := challenged(t, b, "ada")
			sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())), 429, "throttled")
			sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "recovery_code", codes[0])), 429, "throttled")
			s.Travel(time.Hour)
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", a.code())).StatusCode)
		},
		"changes of the account take as few": func(t *testing.T, s *sitetest.Site, id string, a app, codes []string) {
			b := s.Browser().Problems()
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "recovery_code", codes[0])).StatusCode)
			remove := sitetest.Data{"id": s.Stored(id).Factors[0].ID.String()}
			for range 10 {
				sitetest.RequireError(t, b.Post("/accounts/remove-factor", sitetest.With(remove, sitetest.Data{"totp": wrong})), 400, "totp:factor_invalid")
			}
			right := sitetest.Data{"totp": a.code()}
			for path, body := range map[string]sitetest.Data{"remove-factor": sitetest.With(remove, right), "recovery-codes": right, "register-email": sitetest.With(right, sitetest.Data{"email": "ada@example.net"})} {
				sitetest.RequireError(t, b.Post("/accounts/"+path, body), 429, "throttled")
			}
		},
		"another browser": func(t *testing.T, s *sitetest.Site, _ string, a app, _ []string) {
			challenge := challenged(t, s.Browser(), "ada")
			sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())), 400, "challenge_expired")
		},
		"after five minutes": func(t *testing.T, s *sitetest.Site, _ string, a app, _ []string) {
			b := s.Browser().Problems()
			challenge := challenged(t, b, "ada")
			s.Travel(5*time.Minute + 2*time.Second)
			sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())), 400, "challenge_expired")
		},
		"without an answer": func(t *testing.T, s *sitetest.Site, _ string, _ app, _ []string) {
			b := s.Browser().Problems()
			sitetest.RequireError(t, b.Post("/accounts/login-factor", sitetest.Data{"challenge": challenged(t, b, "ada")}), 400, "totp:required")
			require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
		},
		"a change by a recovery code's sign-in, and by the password alone": func(t *testing.T, s *sitetest.Site, id string, a app, codes []string) {
			b := s.Browser().Problems()
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "recovery_code", codes[0])).StatusCode)
			remove := sitetest.Data{"id": s.Stored(id).Factors[0].ID.String()}
			for _, with := range []sitetest.Data{nil, {"password": sitetest.Password}, {"recovery_code": codes[1]}} {
				sitetest.RequireError(t, b.Post("/accounts/remove-factor", sitetest.With(remove, with)), 400, "totp:reauthentication_required")
			}
			sitetest.RequireError(t, b.Post("/accounts/recovery-codes", sitetest.Data{"password": sitetest.Password}), 400, "totp:reauthentication_required")
			require.Equal(t, http.StatusOK, b.Post("/accounts/enrol-totp", sitetest.Data{}).StatusCode, "it opens enrolment")
			require.Equal(t, http.StatusOK, b.Post("/accounts/remove-factor", sitetest.With(remove, sitetest.Data{"totp": a.code()})).StatusCode)
		},
		"a reset by mail leaves the factor": func(t *testing.T, s *sitetest.Site, id string, _ app, _ []string) {
			s.ResetPassword("ada", sitetest.NewPassword)
			require.Len(t, s.Stored(id).Factors, 1)
			res := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.NewPassword})
			require.Contains(t, res.JSON(t), "challenge")
		},
		"a mailbox that nobody had confirmed": func(t *testing.T, s *sitetest.Site, id string, _ app, _ []string) {
			s.Set(id, func(u *store.User) { u.EmailVerified = false })
			s.ResetPassword("ada", sitetest.NewPassword)
			require.Len(t, s.Stored(id).Factors, 1, "the mailbox is one thing, the factor another")
			require.Len(t, s.Stored(id).RecoveryCodes, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			id := s.Member("ada")
			a, codes := enrol(t, s, s.SignedIn("ada"))
			s.Mail() // of the factor
			attack(t, s, id, a, codes)
		})
	}
}

// What is shown with a new factor is shown by the sign-in that has added it, which goes on
// under a new token: a copy of the one from before, and an older sign-in, get nothing of it.
func TestEnrolmentIsOfOneSignIn(t *testing.T) {
	byApp := func(t *testing.T, s *sitetest.Site, b *sitetest.Browser) *sitetest.Answer {
		t.Helper()
		res := b.Post("/accounts/enrol-totp", sitetest.Data{})
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		return b.Post("/accounts/confirm-totp", sitetest.Data{"code": app{s: s, secret: res.JSON(t)["secret"].(string)}.code()})
	}
	byPasskey := func(_ *testing.T, s *sitetest.Site, b *sitetest.Browser) *sitetest.Answer {
		return b.AddPasskey(s.Device())
	}
	for name, add := range map[string]func(*testing.T, *sitetest.Site, *sitetest.Browser) *sitetest.Answer{"an app": byApp, "a passkey": byPasskey} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.NewWithPasskeys(t)
			s.Member("ada")
			older, b, thief := s.SignedIn("ada"), s.SignedIn("ada"), s.Browser()
			for range 2 { // the first factor, which comes with codes, and another
				before := maps.Clone(b.Cookie)
				thief.Cookie = maps.Clone(before)
				require.Equal(t, http.StatusOK, thief.Get("/accounts/profile").StatusCode)
				res := add(t, s, b)
				require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
				require.NotEqual(t, before, b.Cookie)
				require.Contains(t, b.AMR(), "mfa")
				require.Equal(t, http.StatusUnauthorized, thief.Get("/accounts/profile").StatusCode)
				require.Equal(t, "pwd", older.AMR())
				s.Travel(time.Minute)
			}
		})
	}
	t.Run("on the pages", func(t *testing.T) {
		s := sitetest.New(t)
		s.Member("ada")
		b := s.SignedIn("ada")
		enrol(t, s, b)
		before := b.Cookie[sitetest.SessionCookie]
		res := b.Post("/accounts/enrol-totp", sitetest.Data{})
		a := app{s: s, secret: res.JSON(t)["secret"].(string)}
		b.LikeBrowser()
		res = b.Post("/accounts/confirm-totp/", sitetest.FormOf(sitetest.Data{"code": a.code()}))
		require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
		require.Equal(t, "/accounts/factors/", res.Header.Get("Location"))
		require.NotEqual(t, before, b.Cookie[sitetest.SessionCookie])
		require.Equal(t, http.StatusOK, b.Follow(res).StatusCode)
	})
	t.Run("a token", func(t *testing.T) {
		s := sitetest.New(t, sitetest.WithTokens)
		s.Member("ada")
		token := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
		res := byApp(t, s, s.WithToken(token))
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		raised := res.JSON(t)["token"].(string)
		require.Equal(t, http.StatusUnauthorized, s.WithToken(token).Get("/accounts/profile").StatusCode)
		require.Contains(t, s.WithToken(raised).AMR(), "mfa")
	})
	t.Run("an access token", func(t *testing.T) {
		s := sitetest.NewJWT(t)
		s.Member("ada")
		b, refresh := s.Tokens("ada")
		res := byApp(t, s, b)
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		_, claims := sitetest.ClaimsOf(t, res.JSON(t)["token"].(string))
		require.Equal(t, []any{"pwd", "otp", "mfa"}, claims["amr"])
		require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
		require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
		next := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": res.JSON(t)["refresh_token"]})
		require.Equal(t, http.StatusOK, next.StatusCode, next.Text)
		_, claims = sitetest.ClaimsOf(t, next.JSON(t)["token"].(string))
		require.Equal(t, []any{"pwd", "otp", "mfa"}, claims["amr"])
	})
}
