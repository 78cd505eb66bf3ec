// hardening_factors_test.go: who has the password and not the factor gets no further.

package factors_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
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
		"a challenge lets in once": func(t *testing.T, s *sitetest.Site, id string, a app, codes []string) {
			b := s.Browser().Problems()
			for i := range 5 {
				one, other := challenged(t, b, "ada"), challenged(t, b, "ada")
				s.Travel(time.Minute) // the next code
				answers := []sitetest.Data{answerWith(one, "totp", a.code()), answerWith(one, "recovery_code", codes[2*i]), answerWith(one, "recovery_code", codes[2*i+1])}
				in := make(chan bool)
				for _, data := range answers { // in parallel, each of them right
					with := s.Browser().Problems()
					maps.Copy(with.Cookie, b.Cookie)
					go func() {
						res := with.Post("/accounts/login-factor", data)
						in <- res.StatusCode == http.StatusOK && with.Cookie[sitetest.SessionCookie] != ""
					}()
				}
				let := 0
				for range answers {
					if <-in {
						let++
					}
				}
				require.Equal(t, 1, let)
				s.Travel(time.Minute)
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(one, "totp", a.code())), 400, "challenge_expired")
				require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(other, "totp", a.code())).StatusCode, "that of another tab is its own")
				require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(other, "totp", a.code())), 400, "challenge_expired")
				require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode, "a form that is sent twice signs nobody out")
				delete(b.Cookie, sitetest.SessionCookie)
			}
			require.Len(t, s.Stored(id).UsedLinks, 4, "the last few are kept")
		},
		"a recovery code where the app's is asked for": func(t *testing.T, s *sitetest.Site, id string, _ app, codes []string) {
			for range 2 { // the second time it is used up
				b := s.Browser().Problems()
				challenge := challenged(t, b, "ada")
				res := b.Post("/accounts/login-factor", answerWith(challenge, "totp", codes[0]))
				require.Len(t, s.Stored(id).RecoveryCodes, 9)
				if res.StatusCode != http.StatusOK {
					sitetest.RequireError(t, res, 400, "recovery_code:factor_invalid")
					require.Len(t, s.Stored(id).FactorFailures, 1)
				}
			}
			require.Len(t, s.Stored(id).FactorFailures, 1)
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
			s.Mails()
			s.ResetPassword("ada", sitetest.Password)
			challenge = challenged(t, b, "ada")
			sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())), 429, "throttled")
			s.Travel(time.Hour)
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", a.code())).StatusCode)
		},
		"who has the password alone keeps nobody out": func(t *testing.T, s *sitetest.Site, _ string, a app, codes []string) {
			known := s.Browser().Problems()
			require.Equal(t, http.StatusOK, known.Post("/accounts/login-factor", answerWith(challenged(t, known, "ada"), "totp", a.code())).StatusCode)
			delete(known.Cookie, sitetest.SessionCookie)
			s.Travel(time.Minute)
			for i := range 25 {
				b := s.Browser().Problems()
				res := b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", wrong))
				require.Equal(t, map[bool]int{true: 400, false: 429}[i < 10], res.StatusCode)
				b = s.Browser().Problems()
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "recovery_code", "0000-0000-0000")), 400, "recovery_code:factor_invalid")
				if i == 4 {
					break
				}
			}
			for range 5 {
				b := s.Browser().Problems()
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", a.code())), 429, "throttled")
			}
			b := s.Browser().Problems()
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "recovery_code", codes[0])).StatusCode)
			for range 2 { // his own device has its own tries, and they have an end
				challenge := challenged(t, known, "ada")
				for range 4 {
					sitetest.RequireError(t, known.Post("/accounts/login-factor", answerWith(challenge, "totp", wrong)), 400, "totp:factor_invalid")
				}
			}
			require.Equal(t, http.StatusOK, known.Post("/accounts/login-factor", answerWith(challenged(t, known, "ada"), "totp", a.code())).StatusCode)
			delete(known.Cookie, sitetest.SessionCookie)
			s.Travel(time.Minute)
			for range 2 {
				sitetest.RequireError(t, known.Post("/accounts/login-factor", answerWith(challenged(t, known, "ada"), "totp", wrong)), 400, "totp:factor_invalid")
			}
			sitetest.RequireError(t, known.Post("/accounts/login-factor", answerWith(challenged(t, known, "ada"), "totp", a.code())), 429, "throttled")
		},
		"what is no try": func(t *testing.T, s *sitetest.Site, id string, a app, _ []string) {
			b := s.Browser().Problems()
			challenge := challenged(t, b, "ada")
			for _, none := range []any{nil, "", "  ", true} {
				sitetest.RequireError(t, b.Post("/accounts/login-factor", sitetest.Data{"challenge": challenge, "totp": none}), 400, "totp:required")
			}
			require.Empty(t, s.Stored(id).FactorFailures)
			code, had := a.code(), maps.Clone(b.Cookie)
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenge, "totp", code)).StatusCode)
			b.Cookie = had
			again := challenged(t, b, "ada")
			for range 4 { // sent again, by a browser or a network
				b.Cookie = maps.Clone(had)
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", code)), 400, "challenge_expired")
			}
			for range 12 { // and where another sign-in asks
				sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(again, "totp", code)), 400, "totp:factor_invalid")
			}
			require.Empty(t, s.Stored(id).FactorFailures)
			require.Zero(t, s.Stored(id).FactorFailuresInRow)
		},
		"what its owner mistypes is forgiven, and what others try is not": func(t *testing.T, s *sitetest.Site, id string, a app, _ []string) {
			thief, owner := s.Browser().Problems(), s.Browser().Problems()
			for b, n := range map[*sitetest.Browser]int{thief: 4, owner: 3} {
				challenge := challenged(t, b, "ada")
				for range n {
					sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", wrong)), 400, "totp:factor_invalid")
				}
				if b == owner {
					require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())).StatusCode)
				}
			}
			require.Len(t, s.Stored(id).FactorFailures, 4)
		},
		"the password changed by it alone": func(t *testing.T, s *sitetest.Site, id string, a app, codes []string) {
			b := s.Browser().Problems()
			require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "recovery_code", codes[0])).StatusCode)
			fresh := sitetest.Data{"password": sitetest.NewPassword, "password_confirm": sitetest.NewPassword}
			old := sitetest.Data{"old_password": sitetest.Password}
			for want, with := range map[string]sitetest.Data{
				"old_password:required": nil, "totp:reauthentication_required": old, "old_password:password_incorrect": {"old_password": "a guess at it", "totp": a.code()},
				"totp:factor_invalid": {"totp": wrong}, "old_password:required ": {"recovery_code": codes[1]}, "old_password:required  ": {"passkey": "{}"},
			} {
				sitetest.RequireError(t, b.Post("/accounts/change-password", sitetest.With(fresh, with)), 400, strings.TrimSpace(want))
			}
			before := s.Stored(id).PasswordHash
			require.Equal(t, http.StatusOK, b.Post("/accounts/change-password", sitetest.With(fresh, sitetest.Data{"totp": a.code()})).StatusCode, "in place of the old one")
			require.NotEqual(t, before, s.Stored(id).PasswordHash)
			require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
			s.Travel(time.Minute)
			again := sitetest.Data{"old_password": sitetest.NewPassword, "password": sitetest.Password, "password_confirm": sitetest.Password}
			require.Equal(t, http.StatusOK, b.Post("/accounts/change-password", sitetest.With(again, sitetest.Data{"totp": a.code()})).StatusCode, "beside the old one")

			s.Travel(time.Minute)
			b = signIn(t, s, sitetest.Password, &a)
			sitetest.RequireError(t, b.Post("/accounts/change-password", fresh), 400, "old_password:required")
			require.Equal(t, http.StatusOK, b.Post("/accounts/change-password", sitetest.With(fresh, old)).StatusCode, "the sign-in has shown it")
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

// An account without a password gets its first like any change, and by the page too.
func TestFirstPassword(t *testing.T) {
	fresh := sitetest.Data{"password": sitetest.NewPassword, "password_confirm": sitetest.NewPassword}
	s := sitetest.NewWithPasskeys(t)
	id := s.Member("ada")
	b := s.SignedIn("ada").Problems()
	s.Set(id, func(u *store.User) { u.PasswordHash = "" })
	s.Travel(sitetest.Day)
	sitetest.RequireError(t, b.Post("/accounts/change-password", fresh), 401, "insufficient_user_authentication")
	s.Travel(-sitetest.Day)
	require.NotContains(t, b.Get("/accounts/profile").Text, "old_password")
	require.Equal(t, http.StatusOK, b.Post("/accounts/change-password", fresh).StatusCode, "he has just signed in")

	d := s.Device()
	require.Equal(t, http.StatusCreated, b.AddPasskey(d).StatusCode)
	s.Set(id, func(u *store.User) { u.PasswordHash = "" })
	s.Travel(sitetest.Day)
	sitetest.RequireError(t, b.Post("/accounts/change-password", fresh), 400, "passkey:reauthentication_required")
	require.Equal(t, http.StatusOK, b.Post("/accounts/change-password", sitetest.With(fresh, sitetest.Data{"passkey": b.ShowPasskey(d)})).StatusCode)
}

// A factor that can't be shown here is no reason to take the password for it.
func TestHardeningNoSudoByThePasswordWhereAFactorCannotBeShown(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewWithPasskeysAt(t, path)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	require.Equal(t, http.StatusCreated, b.AddPasskey(s.Device()).StatusCode)
	factor := s.Stored(id).Factors[0].ID.String()
	s.Close()
	s = sitetest.NewWithPasskeysAt(t, path, func(s *registration.Settings) { s.Factors.Passkey = sitetest.Off() })
	b.Site = s
	s.Travel(sitetest.Day)
	b.Problems()
	for path, body := range map[string]sitetest.Data{
		"remove-factor": {"id": factor}, "recovery-codes": {}, "register-email": {"email": "eve@example.net"}, "enrol-totp": {},
	} {
		sitetest.RequireError(t, b.Post("/accounts/"+path, sitetest.With(body, sitetest.Data{"password": sitetest.Password})), 400, "passkey:reauthentication_required")
	}
}

// The page asks for both, and says why.
func TestChangePasswordPageOfAnAccountWithAFactor(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	require.NotContains(t, b.Get("/accounts/change-password/").Text, `name="totp"`)
	a, _ := enrol(t, s, s.SignedIn("ada"))
	page := b.Get("/accounts/change-password/").Text
	require.Contains(t, page, `name="totp"`)
	require.Contains(t, page, `name="old_password"`)
	form := sitetest.Data{"old_password": sitetest.Password, "password": sitetest.NewPassword, "password_confirm": sitetest.NewPassword}
	res := b.Post("/accounts/change-password/", sitetest.FormOf(form))
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, sitetest.Words(text.Say("reauthenticate.totp")))
	res = b.Post("/accounts/change-password/", sitetest.FormOf(sitetest.With(form, sitetest.Data{"totp": a.code()})))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
}
