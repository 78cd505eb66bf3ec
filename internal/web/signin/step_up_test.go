// step_up_test.go: pages that ask for more than a sign-in has shown, and the page where it
// is shown.

package signin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// withTOTP gives an account the app with a secret that is returned.
func withTOTP(s *sitetest.Site, id string) []byte {
	secret := factor.NewSecret()
	s.Set(id, func(u *store.User) {
		u.Factors = []store.Factor{{ID: u.ID, Type: store.FactorTOTP, Secret: s.Accounts.FactorKeys.Seal(u.ID, secret)}}
	})
	return secret
}

// appShows is what the app shows now.
func appShows(s *sitetest.Site, secret []byte) string {
	code, err := factor.Code(secret, factor.Step(s.Realm.Now()))
	require.NoError(s.T, err)
	return code
}

func guarding(s *sitetest.Site, factors int, maxAge time.Duration) {
	s.Guard.Factors, s.Guard.MaxAge = factors, caddy.Duration(maxAge)
}

func TestStepUpByThePassword(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	guarding(s, 0, 10*time.Minute)
	b := s.SignedIn("ada").LikeBrowser()
	s.Travel(10 * time.Minute)
	to := b.Get("/members/?a=b").Header.Get("Location")
	require.Equal(t, "/accounts/step-up/?max_age=600&next=%2Fmembers%2F%3Fa%3Db", to)
	page := b.Get(to)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, "some time has passed")
	require.Contains(t, page.Text, `autocomplete="current-password"`)
	require.NotContains(t, page.Text, `name="totp"`)
	old := b.Cookie[sitetest.SessionCookie]
	form := url.Values{"password": {"wrong"}, "next": {"/members/?a=b"}, "max_age": {"600"}}
	res := b.Post("/accounts/step-up/", form)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, `name="max_age" value="600"`)
	form.Set("password", sitetest.Password)
	require.Equal(t, "/members/?a=b", b.Post("/accounts/step-up/", form).Header.Get("Location"))
	require.NotEqual(t, old, b.Cookie[sitetest.SessionCookie])
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/?a=b").Text)
	// Nothing is missing any more, so the page leads on; without a demand it asks.
	require.Equal(t, "/members/?a=b", b.Get(to).Header.Get("Location"))
	require.Equal(t, http.StatusOK, b.Get("/accounts/step-up/").StatusCode)
	form.Del("next")
	require.Equal(t, "/accounts/profile/", b.Post("/accounts/step-up/", form).Header.Get("Location"))
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", s.Browser().LikeBrowser().Get("/accounts/step-up/?next=%2Fmembers%2F&max_age=600").Header.Get("Location"), "nobody is signed in")
}

func TestStepUpByAFactor(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := s.Member("ada")
	guarding(s, 2, 0)
	b := s.SignedIn("ada").LikeBrowser()
	to := b.Get("/members/").Header.Get("Location")
	require.Equal(t, "/accounts/step-up/?factors=2&next=%2Fmembers%2F", to)
	require.Equal(t, "/accounts/enrol-totp/?next=%2Fmembers%2F", b.Get(to).Header.Get("Location"), "the account has none")
	require.Equal(t, http.StatusOK, b.Get("/accounts/enrol-totp/?next=%2Fmembers%2F").StatusCode)

	secret := withTOTP(s, id)
	page := b.Get(to)
	require.Contains(t, page.Text, "needs your second step")
	require.NotContains(t, page.Text, `name="password"`)
	require.Equal(t, http.StatusBadRequest, b.Post("/accounts/step-up/", url.Values{"password": {sitetest.Password}, "factors": {"2"}}).StatusCode, "the password alone shows nothing new")
	require.Equal(t, to, b.Get("/members/").Header.Get("Location"))
	require.Equal(t, "/members/", b.Post("/accounts/step-up/", url.Values{"totp": {appShows(s, secret)}, "next": {"/members/"}}).Header.Get("Location"))
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)

	// A sign-in with the factor has shown as much.
	s.Travel(time.Minute)
	again := s.Browser()
	asked := again.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)
	require.Equal(t, http.StatusOK, again.Post("/accounts/login-factor", sitetest.Data{"challenge": asked["challenge"], "totp": appShows(s, secret)}).StatusCode)
	require.Equal(t, sitetest.ProtectedPage, again.Get("/members/").Text)
	require.Contains(t, again.Get("/accounts/sessions").Text, `"amr":["pwd","otp","mfa"]`)

	// Where both are missing, the factor is both.
	guarding(s, 2, 10*time.Minute)
	s.Travel(time.Hour)
	require.Equal(t, http.StatusUnauthorized, again.Get("/members/").StatusCode)
	require.Equal(t, http.StatusOK, again.Post("/accounts/step-up", sitetest.Data{"totp": appShows(s, secret)}).StatusCode)
	require.Equal(t, sitetest.ProtectedPage, again.Get("/members/").Text)
}

// What can't be led anywhere is told what is missing (RFC 9470).
func TestInsufficientAuthentication(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, sitetest.WithTokens)
	s.Member("ada")
	guarding(s, 2, 15*time.Minute)
	const want = `Bearer realm="default", error="insufficient_user_authentication", acr_values="mfa", max_age="900"`
	b := s.SignedIn("ada")
	res := b.Problems().Get("/members/")
	sitetest.RequireError(t, res, http.StatusUnauthorized, "insufficient_user_authentication")
	require.Equal(t, want, res.Header.Get("WWW-Authenticate"))
	for name, change := range map[string]func(b *sitetest.Browser) *sitetest.Answer{
		"a form that is sent": func(b *sitetest.Browser) *sitetest.Answer { return b.Post("/members/", url.Values{"a": {"b"}}) },
		"fetch": func(b *sitetest.Browser) *sitetest.Answer {
			b.Header.Set("Sec-Fetch-Mode", "cors")
			return b.Get("/members/")
		},
		"a WebSocket": func(b *sitetest.Browser) *sitetest.Answer {
			b.Header.Set("Sec-Fetch-Mode", "websocket")
			return b.Get("/members/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			res := change(s.SignedIn("ada").LikeBrowser())
			require.Equal(t, http.StatusUnauthorized, res.StatusCode)
			require.Equal(t, want, res.Header.Get("WWW-Authenticate"))
			require.Empty(t, res.Header.Get("Location"))
		})
	}
	require.Contains(t, s.SignedIn("ada").LikeBrowser().Post("/members/", url.Values{"a": {"b"}}).Text, `href="/accounts/step-up/"`)
	head := s.SignedIn("ada").LikeBrowser().Do(http.MethodHead, "/members/", nil)
	require.Equal(t, http.StatusFound, head.StatusCode)
	require.Contains(t, head.Header.Get("Location"), "/accounts/step-up/")
	guarding(s, 0, 15*time.Minute)
	s.Travel(15 * time.Minute)
	require.Equal(t, strings.Replace(want, ` acr_values="mfa",`, "", 1), b.Get("/members/").Header.Get("WWW-Authenticate"))

	s.Guard.LoginURL = "https://app.example.com/#/login"
	guarding(s, 2, 0)
	require.True(t, strings.HasPrefix(s.SignedIn("ada").LikeBrowser().Get("/members/").Header.Get("Location"), "https://app.example.com/#/login?reauth=1&factors=2"))
}

// With pages off there is nowhere to be led to.
func TestInsufficientWithoutPages(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) {
		s.Pages.Off = true
		s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "/a", "/b", "/c"
	})
	s.Member("ada")
	guarding(s, 2, 0)
	require.Equal(t, http.StatusUnauthorized, s.SignedIn("ada").LikeBrowser().Get("/members/").StatusCode)
}

// An account without a password and without a factor shows who it is by a new sign-in.
func TestStepUpWithNothingToShow(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := s.Member("ada")
	guarding(s, 0, time.Hour)
	b := s.SignedIn("ada")
	s.Set(id, func(u *store.User) { u.PasswordHash = "" })
	sitetest.RequireError(t, b.Problems().Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}), http.StatusUnauthorized, "not_authenticated")
	s.Travel(time.Hour)
	b.LikeBrowser()
	to := b.Get("/members/").Header.Get("Location")
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F&reauth=1", b.Get(to).Header.Get("Location"))
}

// A page that doesn't see what was shown can't lead a browser round for ever.
func TestStepUpInACircle(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	const page = "/accounts/step-up/?max_age=600&next=%2Felsewhere%2F"
	for range 2 {
		require.Equal(t, "/elsewhere/", b.Get(page).Header.Get("Location"))
	}
	res := b.Get(page)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, res.Text, "<title>Confirm that it’s you")
	require.NotContains(t, res.Text, `name="password"`)
}

func TestStepUpForms(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := s.Member("ada")
	b := s.SignedIn("ada").Problems()
	sitetest.RequireError(t, b.Post("/accounts/step-up", sitetest.Data{}), http.StatusBadRequest, "password:reauthentication_required")
	sitetest.RequireError(t, b.Post("/accounts/step-up", sitetest.Data{"password": "wrong"}), http.StatusBadRequest, "password:password_incorrect")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}), http.StatusUnauthorized, "not_authenticated")
	secret := withTOTP(s, id)
	sitetest.RequireError(t, b.Post("/accounts/step-up", sitetest.Data{"password": sitetest.Password}), http.StatusBadRequest, "totp:reauthentication_required")
	sitetest.RequireError(t, b.Post("/accounts/step-up", sitetest.Data{"totp": "1"}), http.StatusBadRequest, "totp:factor_invalid")
	code := appShows(s, secret)
	require.Equal(t, http.StatusOK, b.Post("/accounts/step-up", sitetest.Data{"totp": code}).StatusCode)
	sitetest.RequireError(t, b.Post("/accounts/step-up", sitetest.Data{"totp": code}), http.StatusBadRequest, "totp:factor_invalid")
	// Who has lost his factor, and signed in by a recovery code, is led to a new one.
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		all, err := tx.Sessions(sitetest.UUIDOf(t, s, "ada"), 9)
		for _, one := range all {
			one.AMR = []string{account.MethodPassword, account.MethodRecovery}
			err = tx.PutSession(one)
		}
		return err
	}))
	b.LikeBrowser()
	require.Contains(t, b.Get("/accounts/step-up/?factors=2&next=%2Fm%2F").Text, `href="/accounts/enrol-totp/?next=%2Fm%2F"`)
}

// Who has lost his factor is told whom to ask, wherever it is asked for, and by a wrong
// recovery code not to enter the code of an app.
func TestWhoHasLostHisFactor(t *testing.T) {
	for name, contact := range map[string]string{"somebody to ask": "help@example.com", "nobody to ask": ""} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) { s.Register.Contact = contact })
			id := s.Member("ada")
			signedIn := s.SignedIn("ada").LikeBrowser()
			withTOTP(s, id)
			s.Set(id, func(u *store.User) { u.RecoveryCodes = [][]byte{make([]byte, 32)} })
			has := func(page *sitetest.Answer) {
				t.Helper()
				require.Equal(t, contact != "", strings.Contains(page.Text, `<a href="mailto:help@example.com">`), page.Text)
			}
			b := s.Browser().LikeBrowser()
			first := b.Follow(b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}}))
			require.Contains(t, first.Text, `name="totp"`)
			require.NotContains(t, first.Text, "owner of this site")
			has(first)
			last := b.Get("/accounts/login-factor/?with=recovery_code")
			require.Contains(t, last.Text, "only the owner of this site can help")
			has(last)
			wrong := b.Post("/accounts/login-factor/?with=recovery_code", url.Values{"recovery_code": {"ABCD-EFGH-JKMN"}, "challenge": {strings.Split(strings.Split(last.Text, `name="challenge" value="`)[1], `"`)[0]}, "with": {"recovery_code"}})
			require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
			require.Contains(t, wrong.Text, sitetest.Words(text.Say("factor.invalid_recovery")))
			require.NotContains(t, wrong.Text, "current code")
			has(wrong)
			has(signedIn.Get("/accounts/step-up/?factors=2"))
		})
	}
}
