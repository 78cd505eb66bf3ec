// factors_test.go: the pages of the second step, each state of each, on a
// phone and a desktop, in light and dark, in all languages; and without scripts.

package browsers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// factorsSite has all that belongs to a second step, and a page that asks for it.
const factorsSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
[[address]] {
	registration {
		throttle off
		base_url [[address]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		login {
			mail_code on
		}
		factors {
			required_for staff
			trusted_device 30d
		}
		password {
			argon2id 8KiB 1 1
		}
	}
	require_login /money/* {
		factors 2
	}
	respond /money/* "for members: {http.request.uri}"
	respond 404
}
`

func factorsAt(t testing.TB, address string) *served.Server {
	s := served.NewServer(t)
	s.Configure(strings.ReplaceAll(factorsSite, "[[address]]", address))
	s.Start()
	return s
}

// account makes one that may sign in.
func accountIn(s *served.Server, name string, groups ...string) {
	s.T.Helper()
	raw, err := json.Marshal(served.Data{"username": name, "email": name + "@example.org", "password": served.TestPassword, "groups": groups})
	require.NoError(s.T, err)
	res := s.AdminRequest(http.MethodPost, "/registration/default/users", "application/json", string(raw))
	require.Less(s.T, res.StatusCode, 300, res.Text)
}

// codeOf is what an app shows that many steps from now.
func codeOf(t testing.TB, secret string, ahead int64) string {
	t.Helper()
	code, err := hotp.GenerateCode(strings.Join(strings.Fields(secret), ""), uint64(time.Now().Unix()/30+ahead))
	require.NoError(t, err)
	return code
}

var secretShown = regexp.MustCompile(`[A-Z2-7]{32}|(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}`)

// mailedCode waits for the mail with a code to sign in by.
func mailedCode(s *served.Server, to string) string {
	return regexp.MustCompile(`(?m)^ +(\d{6})\r?$`).FindStringSubmatch(s.MailWithLink(to, "/login-code/").Text)[1]
}

type factorWalk struct {
	*modeWalk
	username string
}

// press presses a button of the page's form, whatever the browser itself would say.
func (w *factorWalk) press(status int, name string) {
	w.T.Helper()
	w.Do(chromedp.Evaluate[chromedp.Void](`document.querySelector("main form:not(.passkey)").noValidate = true; undefined`))
	require.Equal(w.T, status, w.Press(`main form:not(.passkey) button[type="submit"]`), name)
	if name != "" {
		w.look(name)
	}
}

func (w *factorWalk) signsIn(address string) {
	w.T.Helper()
	w.forgetSession()
	require.Equal(w.T, 200, w.Open(w.Base+address))
	w.Fill("login", w.username)
	w.Fill("password", served.TestPassword)
	w.press(200, "")
}

// forgetSession signs out, and leaves what the browser is trusted by.
func (w *factorWalk) forgetSession() {
	w.T.Helper()
	for _, name := range []string{"registration", "registration_challenge"} {
		_, err := chromedp.Call(w.Ctx, network.DeleteCookies, network.DeleteCookiesParams{Name: name, URL: w.Base})
		require.NoError(w.T, err)
	}
}

// enrols goes from the page that begins to that with the codes, and returns the secret.
func (w *factorWalk) enrols(prefix string) string {
	w.T.Helper()
	w.press(200, prefix+"confirm-totp")
	secret := secretShown.FindString(w.Text("main"))
	require.NotEmpty(w.T, secret, w.Text("main"))
	w.Fill("code", "000000")
	w.press(400, prefix+"confirm-totp-wrong")
	w.Fill("code", codeOf(w.T, secret, 0))
	w.press(200, prefix+"codes")
	return secret
}

func (w *factorWalk) walk() {
	w.T.Helper()
	at := func(path string) string { return w.Base + path }
	accountIn(w.s, w.username)
	w.signsIn("/accounts/login/?next=/accounts/factors/")
	w.look("factors-none")
	w.sees(200, at("/accounts/enrol-totp/"), "enrol-totp")
	secret := w.enrols("")
	require.Equal(w.T, 10, strings.Count(w.texts("ul.codes li"), "|")+1)
	w.sees(200, at("/accounts/factors/"), "factors-one")
	w.sees(200, at("/accounts/recovery-codes/"), "new-codes")
	w.sees(200, at("/accounts/add-passkey/"), "add-passkey")
	require.Equal(w.T, 200, w.Open(at("/accounts/factors/")))
	require.Equal(w.T, 200, w.Press(`a[href*="rename-factor"]`))
	w.look("rename")
	w.Fill("name", "Téléphone de service du secrétariat, celui qui reste au bureau")
	w.press(200, "renamed")
	require.Equal(w.T, 200, w.Press(`a[href*="remove-factor"]`))
	w.look("remove")

	w.signsIn("/accounts/login/")
	w.look("second-step")
	w.Fill("totp", "000000")
	w.press(400, "second-step-wrong")
	require.Equal(w.T, 200, w.Press(`a[href*="with=recovery_code"]`))
	w.look("second-step-recovery")
	w.Fill("recovery_code", "nonsense")
	w.press(400, "second-step-recovery-wrong")
	require.Equal(w.T, 200, w.Press(`a[href*="with=totp"]`))
	w.Fill("totp", codeOf(w.T, secret, 1))
	w.Do(chromedp.Click(chromedp.CSS(`input[name="trust_device"]`), chromedp.NodeVisible))
	w.press(200, "")
	require.Equal(w.T, "/accounts/profile/", w.At())
	require.Equal(w.T, 200, w.Open(at("/accounts/enrol-totp/")))
	w.press(200, "")
	second := secretShown.FindString(w.Text("main"))
	w.Fill("code", codeOf(w.T, second, 0))
	w.press(200, "")
	require.Equal(w.T, 200, w.Open(at("/accounts/factors/")))
	require.NotContains(w.T, w.texts("main h2"), "|")
	w.look("factors-many")

	// Trust ends with the new factor: once more.
	w.signsIn("/accounts/login/")
	w.Fill("totp", codeOf(w.T, second, 1))
	w.Do(chromedp.Click(chromedp.CSS(`input[name="trust_device"]`), chromedp.NodeVisible))
	w.press(200, "")
	w.signsIn("/accounts/login/?next=/accounts/factors/")
	require.Equal(w.T, "/accounts/factors/", w.At(), "the browser is trusted")
	w.look("factors-trusted")
	w.sees(200, at("/money/?a=b"), "step-up")
	w.Fill("totp", "000000")
	w.press(400, "step-up-wrong")
	w.forgetCookies()

	w.sees(200, at("/accounts/send-login-code/"), "send-code")
	w.Fill("login", w.username)
	w.press(200, "code-sent")
	w.Fill("code", "000000")
	w.press(400, "code-wrong")
	w.Fill("code", mailedCode(w.s, w.username+"@example.org"))
	w.press(200, "")
	require.Contains(w.T, w.At(), "/accounts/login-factor/", "a mailed code is asked for the factor, too")
	w.forgetCookies()

	w.username += "-staff"
	accountIn(w.s, w.username, "staff")
	w.signsIn("/accounts/login/?next=/accounts/profile/")
	w.look("enrol-forced")
	w.enrols("forced-")
	require.Equal(w.T, 200, w.Press(`main a.button`))
	require.Equal(w.T, "/accounts/profile/", w.At())
}

func TestPagesOfTheSecondStep(t *testing.T) {
	t.Parallel()
	s := factorsAt(t, "http://localhost:[[port]]")
	w := newWalker(t, fmt.Sprintf("http://localhost:%d", s.Port))
	w.scripts = 1
	for _, lang := range []string{"en", "de", "es", "fr", "id", "pl", "pt-BR"} {
		_, err := chromedp.Call(w.Ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": lang}})
		require.NoError(t, err)
		w.forgetCookies()
		begin := time.Now()
		m := &modeWalk{walker: w, s: s, lang: lang}
		switch lang {
		case "en":
			m.views = views
		case "de":
			m.views = views[:3]
		}
		(&factorWalk{m, strings.ToLower("ada" + strings.ReplaceAll(lang, "-", ""))}).walk()
		t.Log(lang, time.Since(begin))
	}
	w.validate()
}

// TestSecondStepWithoutScripts sets an app up and signs in with it where no script runs, or
// ours can't be loaded.
func TestSecondStepWithoutScripts(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]func(ctx context.Context) error{
		"switched off": func(ctx context.Context) error {
			_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			return err
		},
		"not loaded": func(ctx context.Context) error {
			_, err := chromedp.Call(ctx, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: "*://*:*/*.js", Block: true}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { secondStepWithoutScripts(t, without) })
	}
}

func secondStepWithoutScripts(t *testing.T, without func(ctx context.Context) error) {
	s := factorsAt(t, "http://localhost:[[port]]")
	accountIn(s, "ada")
	b := served.NewBrowser(t, fmt.Sprintf("http://localhost:%d", s.Port))
	require.NoError(t, without(b.Ctx))
	press := func() int { return b.Press(`main form:not(.passkey) button[type="submit"]`) }
	password := func(address string) {
		require.Equal(t, 200, b.Open(b.Base+address))
		b.Fill("login", "ada")
		b.Fill("password", served.TestPassword)
		require.Equal(t, 200, press())
	}
	password("/accounts/login/?next=/accounts/add-passkey/")
	require.Contains(t, b.Text("main"), "A passkey needs JavaScript", "what can't be done here is said")
	require.Zero(t, served.Evaluate[int](b, `document.querySelectorAll("button[data-passkey]:not([hidden])").length`))
	require.Equal(t, 200, b.Open(b.Base+"/accounts/enrol-totp/"))
	require.Equal(t, 200, press())
	secret := secretShown.FindString(b.Text("main"))
	b.Fill("code", codeOf(t, secret, 0))
	require.Equal(t, 200, press())
	require.Contains(t, b.Text("ul.codes"), "-")
	require.Equal(t, 200, b.Open(b.Base+"/accounts/logout/"))
	require.Equal(t, 200, press())
	password("/accounts/login/?next=/money/")
	b.Fill("totp", codeOf(t, secret, 1))
	require.Equal(t, 200, press())
	require.Equal(t, "/money/", b.At())
}
