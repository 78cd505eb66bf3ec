// totp_test.go: an app is set up, confirmed, asked for at the sign-in and taken away.

package factors_test

import (
	"encoding/base32"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// An app is what somebody has on his phone.
type app struct {
	s      *sitetest.Site
	secret string
}

// code is what it shows now, or some steps away.
func (a app) code(away ...int) string {
	step := a.s.Now.Load() / int64(time.Second) / 30
	for _, n := range away {
		step += int64(n)
	}
	code, err := hotp.GenerateCode(a.secret, uint64(step))
	if err != nil {
		panic(err)
	}
	return code
}

// enrol gives who is signed in an app, and returns it with the recovery codes.
func enrol(t *testing.T, s *sitetest.Site, b *sitetest.Browser, with ...sitetest.Data) (app, []string) {
	t.Helper()
	res := b.Post("/accounts/enrol-totp", append(with, sitetest.Data{})[0])
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	a := app{s: s, secret: res.JSON(t)["secret"].(string)}
	res = b.Post("/accounts/confirm-totp", sitetest.Data{"code": a.code()})
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	var codes []string
	list, _ := res.JSON(t)["recovery_codes"].([]any)
	for _, code := range list {
		codes = append(codes, code.(string))
	}
	s.Travel(time.Minute) // the code that confirmed is used up
	return a, codes
}

// challenged signs in by the password, and returns the challenge.
func challenged(t *testing.T, b *sitetest.Browser, name string) string {
	t.Helper()
	res := b.Post("/accounts/login", sitetest.Data{"login": name, "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	challenge, _ := res.JSON(t)["challenge"].(string)
	require.NotEmpty(t, challenge, res.Text)
	return challenge
}

func answerWith(challenge, param, value string) sitetest.Data {
	return sitetest.Data{"challenge": challenge, param: value}
}

func TestTOTPFromEnrolmentToRemoval(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	require.Equal(t, "[]", strings.TrimSpace(b.Get("/accounts/factors").Text))

	res := b.Post("/accounts/enrol-totp", sitetest.Data{})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	secret := res.JSON(t)["secret"].(string)
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	require.NoError(t, err)
	require.Len(t, raw, 20, "160 bits")
	require.Equal(t, "otpauth://totp/example.com:ada?secret="+secret+"&issuer=example.com&algorithm=SHA1&digits=6&period=30", res.JSON(t)["uri"])
	picture := b.Get(res.JSON(t)["qr"].(string))
	require.Equal(t, http.StatusOK, picture.StatusCode)
	require.Equal(t, "image/svg+xml", picture.Header.Get("Content-Type"))
	require.Contains(t, picture.Text, "<svg")
	require.Equal(t, "no-store", picture.Header.Get("Cache-Control"))
	require.NotContains(t, s.Stored(id).Enrolment.Secret, raw)
	require.Equal(t, "[]", strings.TrimSpace(b.Get("/accounts/factors").Text), "it counts once confirmed")
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Get("/accounts/profile").StatusCode)

	a := app{s: s, secret: secret}
	sitetest.RequireError(t, b.Problems().Post("/accounts/confirm-totp", sitetest.Data{"code": "000000"}), 400, "code:factor_invalid")
	res = b.Post("/accounts/confirm-totp", sitetest.Data{"code": a.code()[:3] + " " + a.code()[3:], "name": " My  phone "})
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	codes := res.JSON(t)["recovery_codes"].([]any)
	require.Len(t, codes, 10)
	require.Len(t, codes[0], 14, "60 bits in three groups")
	list := b.Get("/accounts/factors")
	require.Contains(t, list.Text, `"name":"My phone"`)
	require.Contains(t, list.Text, `"type":"totp"`)
	require.NotContains(t, list.Text, secret)
	require.Contains(t, b.Get("/accounts/sessions").Text, `"amr":["pwd","otp","mfa"]`)

	other := s.Browser().Problems()
	challenge := challenged(t, other, "ada")
	require.NotContains(t, other.Cookie, sitetest.SessionCookie)
	sitetest.RequireError(t, other.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())), 400, "totp:factor_invalid") // it confirmed
	s.Travel(30 * time.Second)
	res = other.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code()))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, http.StatusOK, other.Get("/accounts/profile").StatusCode)

	factor := s.Stored(id).Factors[0].ID.String()
	require.Equal(t, http.StatusOK, other.Post("/accounts/rename-factor", sitetest.Data{"id": factor, "name": "Tablet"}).StatusCode)
	require.Equal(t, "Tablet", s.Stored(id).Factors[0].Name)
	require.Equal(t, http.StatusOK, other.Post("/accounts/remove-factor", sitetest.Data{"id": factor}).StatusCode)
	u := s.Stored(id)
	require.Empty(t, u.Factors)
	require.Empty(t, u.RecoveryCodes)
	require.Len(t, u.FormerFactors, 1)
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Get("/accounts/profile").StatusCode, "the password alone")
	sitetest.RequireError(t, other.Post("/accounts/remove-factor", sitetest.Data{"id": factor}), 404, "factor_not_found")
}

func TestRecoveryCodes(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	a, codes := enrol(t, s, s.SignedIn("ada"))
	b := s.Browser().Problems()
	for i, code := range codes[:9] {
		challenge := challenged(t, b, "ada")
		if i%2 == 1 {
			code = strings.ToLower(strings.ReplaceAll(code, "-", " "))
		}
		res := b.Post("/accounts/login-factor", answerWith(challenge, "recovery_code", code))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		again := s.Browser().Problems()
		challenge = challenged(t, again, "ada")
		sitetest.RequireError(t, again.Post("/accounts/login-factor", answerWith(challenge, "recovery_code", code)), 400, "recovery_code:factor_invalid")
		s.Travel(31 * time.Minute)
	}
	mails := s.Mails()
	require.Equal(t, 1, mails["An authenticator app has been added to your account at example.com"], mails)
	require.NotZero(t, mails["A recovery code has been used at example.com"], mails)
	require.NotZero(t, mails["You have few recovery codes left at example.com"], mails)

	b = s.Browser().Problems()
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answerWith(challenged(t, b, "ada"), "totp", a.code())).StatusCode)
	res := b.Post("/accounts/recovery-codes", sitetest.Data{})
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	fresh := res.JSON(t)["recovery_codes"].([]any)
	require.Len(t, fresh, 10)
	other := s.Browser().Problems()
	challenge := challenged(t, other, "ada")
	sitetest.RequireError(t, other.Post("/accounts/login-factor", answerWith(challenge, "recovery_code", codes[9])), 400, "recovery_code:factor_invalid")
	require.Equal(t, http.StatusOK, other.Post("/accounts/login-factor", answerWith(challenge, "recovery_code", fresh[0].(string))).StatusCode)
	require.Len(t, s.Stored(id).RecoveryCodes, 9)
}

func TestGroupsThatHaveToHaveAFactor(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Factors.RequiredFor = []string{"staff"} })
	s.Member("bob")
	id := s.Member("ada")
	s.Set(id, func(u *store.User) { u.Groups = []string{"staff"} })
	require.Equal(t, http.StatusOK, s.SignedIn("bob").Get("/accounts/profile").StatusCode)

	b := s.Browser().Problems()
	res := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, []any{}, res.JSON(t)["factors"])
	require.Equal(t, true, res.JSON(t)["enrol"])
	challenge := res.JSON(t)["challenge"].(string)
	sitetest.RequireError(t, b.Get("/accounts/profile"), 401, "not_authenticated")
	sitetest.RequireError(t, b.Post("/accounts/login-factor", answerWith(challenge, "totp", "123456")), 403, "factor_required")
	sitetest.RequireError(t, b.Post("/accounts/recovery-codes", sitetest.Data{"challenge": challenge}), 401, "not_authenticated")
	sitetest.RequireError(t, b.Post("/accounts/confirm-totp", sitetest.Data{"challenge": challenge, "code": "123456"}), 400, "enrolment_expired")
	res = b.Post("/accounts/enrol-totp", sitetest.Data{"challenge": challenge})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	a := app{s: s, secret: res.JSON(t)["secret"].(string)}
	require.Equal(t, http.StatusOK, b.Get(res.JSON(t)["qr"].(string)).StatusCode)
	sitetest.RequireError(t, b.Get("/accounts/factors"), 401, "not_authenticated")
	res = b.Post("/accounts/confirm-totp", sitetest.Data{"challenge": challenge, "code": a.code()})
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	require.Len(t, res.JSON(t)["recovery_codes"], 10)
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode, "signed in with that")
	s.Travel(time.Minute)
	other := s.Browser().Problems()
	challenge = challenged(t, other, "ada")
	sitetest.RequireError(t, other.Post("/accounts/enrol-totp", sitetest.Data{"challenge": challenge}), 400, "challenge_expired")
	require.Equal(t, http.StatusOK, other.Post("/accounts/login-factor", answerWith(challenge, "totp", a.code())).StatusCode)
}

// The app names an account as the pages and mails name the site.
func TestTOTPNamesTheSiteByItsTitle(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Pages.Title = "Garden & Friends" })
	s.Member("ada")
	uri, err := url.Parse(s.SignedIn("ada").Post("/accounts/enrol-totp", sitetest.Data{}).JSON(t)["uri"].(string))
	require.NoError(t, err)
	require.Equal(t, "Garden & Friends", uri.Query().Get("issuer"))
	require.Equal(t, "/Garden & Friends:ada", uri.Path)
}

// The page of a removal says what it comes to: nothing is left but the password, or another
// factor has to come, or there are others.
func TestPageOfARemoval(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Factors.RequiredFor = []string{"staff"} })
	s.Member("ada")
	b := s.SignedIn("ada")
	enrol(t, s, b)
	ada := sitetest.UUIDOf(t, s, "ada")
	page := func() string {
		return b.LikeBrowser().Get("/accounts/remove-factor/?id=" + s.Stored(ada.String()).Factors[0].ID.String()).Text
	}
	const alone, required = "your password alone opens your account", "you set up another the next time you sign in"
	require.Contains(t, page(), alone)
	require.NotContains(t, page(), required)
	_, err := s.Accounts.SetGroups(t.Context(), ada, []string{"staff"}, nil)
	require.NoError(t, err)
	require.Contains(t, page(), required)
	require.NotContains(t, page(), alone)
	s.Set(ada.String(), func(u *store.User) {
		u.Factors = append(u.Factors, store.Factor{ID: uuid.Must(uuid.NewV7()), Type: store.FactorTOTP, Name: "other", Created: s.Accounts.Now(), Secret: []byte{1}})
	})
	require.NotContains(t, page(), required)
	require.NotContains(t, page(), alone)
	require.Contains(t, page(), "Remove factor")
}
