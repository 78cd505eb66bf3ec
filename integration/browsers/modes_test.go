// modes_test.go: the pages of who can sign up, and on what terms, in Chromium: each
// state, on a phone and a desktop, in all languages.

package browsers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// modesSite has a realm for each way to sign up.
var modesSite = func() string {
	var out strings.Builder
	out.WriteString("{\n\tadmin 127.0.0.1:[[admin]]\n\tdefault_bind 127.0.0.1\n}\nhttp://127.0.0.1:[[port]] {\n")
	for _, r := range [][2]string{
		{"open", "contact help@example.com"}, {"invite", "mode invite\ncontact help@example.com"}, {"approve", "mode approve\ncontact help@example.com"},
		{"closed", "mode closed\ncontact https://example.com/help"}, {"code", "code sesame\nreason required\ndeny_domains example.net"},
		{"optional", "reason optional"}, {"terms", "terms /terms.html 2026-11-01"},
	} {
		fmt.Fprintf(&out, `registration /%[1]s {
			realm %[1]s
			throttle off
			base_url http://127.0.0.1:[[port]]
			from no-reply@example.com
			mailer file [[dir]]/mail
			register {
				%[2]s
			}
			session {
				cookie_name %[1]s
			}
			password {
				argon2id 8KiB 1 1
			}
		}
		`, r[0], r[1])
	}
	out.WriteString("require_login /members/* {\nrealm terms\n}\n@there path /terms.html /members/*\nrespond @there \"here: {http.request.uri}\"\nrespond 404\n}\n")
	return out.String()
}()

// A modeWalk goes through the pages in one language.
type modeWalk struct {
	*walker
	s    *served.Server
	lang string
	// views are the ways in which axe-core looks at each page; nil: it is only measured.
	views []view
}

// look checks the page that is shown.
func (m *modeWalk) look(name string) {
	m.T.Helper()
	name += "-" + m.lang
	require.Equal(m.T, m.lang, served.Evaluate[string](m.Browser, `document.documentElement.lang`), name)
	if m.views != nil {
		m.checkIn(name, m.views)
		if len(m.views) > 1 {
			return
		}
	}
	m.keepHTML(name)
	for _, width := range []int64{320, 1280} {
		m.Do(chromedp.EmulateViewport(width, 800))
		require.LessOrEqual(m.T, served.Evaluate[int64](m.Browser, `document.documentElement.scrollWidth`), width, "%s scrolls sideways at %d", name, width)
		if m.KeepsShots {
			shot := served.Ask(m.Browser, chromedp.FullScreenshot(100))
			require.NoError(m.T, os.WriteFile(filepath.Join(m.Shots, fmt.Sprintf("%s-%d.png", name, width)), shot, 0o600))
		}
	}
}

// sees opens a page with this status, and looks.
func (m *modeWalk) sees(status int, address, name string) {
	m.T.Helper()
	require.Equal(m.T, status, m.Open(address), name)
	m.look(name)
}

// send presses the form's button, whatever the browser itself would say to what is in it.
func (m *modeWalk) send(status int, name string) {
	m.T.Helper()
	m.Do(chromedp.Evaluate[chromedp.Void](`document.querySelector("main form").noValidate = true; undefined`))
	require.Equal(m.T, status, m.Press(submit), name)
	m.look(name)
}

func (m *modeWalk) person(name string) (username, email string) {
	username = name + strings.ToLower(strings.ReplaceAll(m.lang, "-", ""))
	return username, username + "@example.org"
}

// fillIn types a sign-up.
func (m *modeWalk) fillIn(name string) {
	username, email := m.person(name)
	m.Fill("username", username)
	m.Fill("email", email)
	m.passwords(served.TestPassword)
}

func (m *modeWalk) passwords(again string) {
	m.Fill("password", served.TestPassword)
	m.Fill("password_confirm", again)
}

func (m *modeWalk) signIn(name, password string) {
	username, _ := m.person(name)
	m.Fill("login", username)
	m.Fill("password", password)
}

// administer does something at the admin endpoint.
func (m *modeWalk) administer(path string, body served.Data) served.Data {
	m.T.Helper()
	raw, err := json.Marshal(body)
	require.NoError(m.T, err)
	res := m.s.AdminRequest(http.MethodPost, "/registration/"+path, "application/json", string(raw))
	require.Less(m.T, res.StatusCode, 300, res.Text)
	return res.JSON(m.T)
}

func (m *modeWalk) texts(selector string) string {
	return served.Evaluate[string](m.Browser, `[...document.querySelectorAll(`+"`"+selector+"`"+`)].map(e => e.textContent).join("|")`)
}

// errorsAt are the inputs that the summary of a refused form leads to.
func (m *modeWalk) errorsAt() string {
	return served.Evaluate[string](m.Browser, `[...document.querySelectorAll(".problem a")].map(a => a.getAttribute("href")).join(" ")`)
}

func (m *modeWalk) openAndClosed() {
	m.sees(200, m.Base+"/open/register/", "mode-open")
	m.sees(404, m.Base+"/closed/register/", "mode-closed")
	require.Equal(m.T, "https://example.com/help", served.Evaluate[string](m.Browser, `document.querySelector("main .button").href`), "whom to ask")
	require.Zero(m.T, served.Evaluate[int](m.Browser, `document.forms.length`))
}

func (m *modeWalk) invited() {
	m.sees(403, m.Base+"/invite/register/", "mode-invite-without")
	_, email := m.person("ivy")
	link := m.administer("invite/invitations", served.Data{"email": email})["link"].(string)
	m.sees(200, link, "mode-invite-with")
	require.Equal(m.T, email, served.Evaluate[string](m.Browser, `document.querySelector("#email").value`))
	m.fillIn("ivy")
	m.Fill("password", "short")
	m.send(400, "mode-invite-refused")
	require.Equal(m.T, "#password", m.errorsAt())
	m.passwords(served.TestPassword)
	m.send(200, "mode-invite-done")
	require.Equal(m.T, "/invite/login/", m.At(), "the invitation has confirmed the address")
	m.sees(403, link, "mode-invite-used")
	m.Open(m.Base + "/invite/login/")
	m.signIn("ivy", served.TestPassword)
	require.Equal(m.T, 200, m.Press(submit))
	require.Equal(m.T, "/invite/profile/", m.At())
}

func (m *modeWalk) approved() {
	m.sees(200, m.Base+"/approve/register/", "mode-approve")
	m.fillIn("amy")
	m.send(200, "mode-approve-check-mail")
	_, email := m.person("amy")
	m.sees(200, linkTo(m.s, email, "verify-registration"), "mode-approve-confirm")
	m.send(200, "mode-approve-waits")
	require.Contains(m.T, m.At(), "/approve/login/")
	require.NotEmpty(m.T, m.texts(".note"))
	m.signIn("amy", served.TestPassword)
	m.send(400, "mode-approve-refused")
	require.Equal(m.T, 1, served.Evaluate[int](m.Browser, `document.querySelectorAll('main a[href="mailto:help@example.com"]').length`), "whom to ask")
}

func (m *modeWalk) asked() {
	m.sees(200, m.Base+"/code/register/", "mode-code")
	require.Equal(m.T, []any{true, true}, served.Evaluate[[]any](m.Browser, `[...document.querySelectorAll("#code, #reason")].map(e => e.required)`))
	m.fillIn("cat")
	m.Fill("email", "cat@example.net")
	m.Fill("code", "open")
	m.send(400, "mode-code-refused")
	require.Equal(m.T, "#email #code #reason", m.errorsAt())
	m.Do(chromedp.SendKeys(chromedp.CSS("#reason"), "Because <b>I</b> like it."))
	m.passwords(served.TestPassword)
	m.send(400, "mode-code-refused-again")
	require.Equal(m.T, "#email #code", m.errorsAt())
	require.Equal(m.T, "Because <b>I</b> like it.", served.Evaluate[string](m.Browser, `document.querySelector("#reason").value`))
	m.fillIn("cat")
	m.Fill("code", "sesame")
	require.Equal(m.T, 200, m.Press(submit))
	require.Contains(m.T, m.At(), "/code/resend-verification/")

	m.sees(200, m.Base+"/optional/register/", "mode-reason-optional")
	require.False(m.T, served.Evaluate[bool](m.Browser, `document.querySelector("#reason").required`))
	m.fillIn("opal")
	require.Equal(m.T, 200, m.Press(submit))
	require.Contains(m.T, m.At(), "/optional/resend-verification/")
}

func (m *modeWalk) termsAtTheSignUp() {
	m.sees(200, m.Base+"/terms/register/", "terms-register")
	m.fillIn("tess")
	m.send(400, "terms-register-refused")
	require.Equal(m.T, "#terms", m.errorsAt())
	m.passwords(served.TestPassword)
	m.Do(chromedp.Click(chromedp.CSS("#terms"), chromedp.NodeVisible))
	require.Equal(m.T, "_blank noopener /terms.html", served.Evaluate[string](m.Browser, `(a => a.target + " " + a.rel + " " + a.getAttribute("href"))(document.querySelector(".field a"))`))
	_, email := m.person("tess")
	require.Equal(m.T, 200, m.Press(submit))
	require.Equal(m.T, 200, m.Open(linkTo(m.s, email, "verify-registration")))
	require.Equal(m.T, 200, m.Press(submit))
	m.Open(m.Base + "/members/?a=b")
	m.signIn("tess", served.TestPassword)
	require.Equal(m.T, 200, m.Press(submit))
	require.Equal(m.T, "/members/?a=b", m.At(), "who has agreed is not asked")
}

func (m *modeWalk) termsAtTheSignIn() {
	username, _ := m.person("tom")
	m.administer("terms/users", served.Data{"username": username, "password": served.TestPassword})
	m.forgetCookies()
	m.Open(m.Base + "/members/?a=b")
	m.signIn("tom", served.TestPassword)
	m.send(200, "terms-login")
	require.Equal(m.T, "/terms/login-factor/?next=%2Fmembers%2F%3Fa%3Db", m.At())
	require.Zero(m.T, served.Evaluate[int](m.Browser, `document.querySelectorAll("header form").length`), "nobody is signed in")
	m.send(400, "terms-login-refused")
	require.Equal(m.T, "#terms", m.errorsAt())
	m.forgetCookies()
	m.send(200, "terms-login-again")
	require.Equal(m.T, "/terms/login/?next=%2Fmembers%2F%3Fa%3Db", m.At())
	require.NotEmpty(m.T, m.texts(".note"))
	m.signIn("tom", served.TestPassword)
	require.Equal(m.T, 200, m.Press(submit))
	m.Do(chromedp.Click(chromedp.CSS("#terms"), chromedp.NodeVisible))
	require.Equal(m.T, 200, m.Press(submit))
	require.Equal(m.T, "/members/?a=b", m.At())
	require.Contains(m.T, m.Text("body"), "here: /members/?a=b")
}

// TestModesOfSignUp walks all ways to sign up, in each language.
func TestModesOfSignUp(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Configure(modesSite)
	s.Start()
	w := newWalker(t, s.Base())
	for _, lang := range []string{"en", "de", "es", "fr", "id", "pl", "pt-BR"} {
		_, err := chromedp.Call(w.Ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": lang}})
		require.NoError(t, err)
		w.forgetCookies()
		m := &modeWalk{walker: w, s: s, lang: lang}
		if lang == "en" || lang == "de" {
			m.views = views[:3] // the style sheet is that of TestEveryPage
		}
		begin := time.Now()
		m.openAndClosed()
		m.invited()
		m.approved()
		m.asked()
		m.termsAtTheSignUp()
		m.termsAtTheSignIn()
		t.Log(lang, time.Since(begin))
	}
	w.RequireQuiet()
	w.validate()
	termsBesideTheForm(t, s)
}

// termsBesideTheForm opens the terms from a form that is half filled in. The browser is
// one of its own: a tab that has lost its place in front loads no other page.
func termsBesideTheForm(t *testing.T, s *served.Server) {
	t.Helper()
	b := served.NewBrowser(t, s.Base())
	require.Equal(t, 200, b.Open(b.Base+"/terms/register/"))
	b.Fill("username", "ada")
	b.Fill("password", served.TestPassword)
	b.Do(chromedp.Click(chromedp.CSS("#terms"), chromedp.NodeVisible), chromedp.Click(chromedp.CSS(".field a"), chromedp.NodeVisible))
	require.True(t, served.Eventually(func() bool {
		all, err := chromedp.CallBrowser(b.Ctx, target.GetTargets, target.GetTargetsParams{})
		require.NoError(t, err)
		return slices.ContainsFunc(all.TargetInfos, func(tab *target.Info) bool { return tab.URL == b.Base+"/terms.html" })
	}, 20*time.Millisecond), "a tab with the terms")
	require.Equal(t, []any{"ada", served.TestPassword, true}, served.Evaluate[[]any](b, `[document.querySelector("#username").value, document.querySelector("#password").value, document.querySelector("#terms").checked]`))
	require.Equal(t, "/terms/register/", b.At())
}

// TestTermsInATextBrowser signs up and in on terms, in w3m.
func TestTermsInATextBrowser(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Configure(modesSite)
	s.Start()
	w := newW3M(t)
	at := func(path string) string { return s.Base() + path }
	sent := func(box string) string {
		return w.browse(at("/terms/register/"), tab(1), typed("ada"), tab(1), typed("ada@example.org"),
			tab(1), typed(served.TestPassword), tab(1), typed(served.TestPassword), tab(2), box, tab(1), enter)
	}
	screen := w.browse(at("/terms/register/"))
	require.Contains(t, screen, "I agree to the terms of this site")
	require.Contains(t, screen, "[ ]")
	require.Contains(t, sent(""), "Agree to the terms of this site to continue.")
	require.Contains(t, sent(enter), "Check your email")
	w.browse(linkTo(s, "ada@example.org", "verify-registration"), tab(1), enter)
	require.Less(t, s.AdminRequest(http.MethodPost, "/registration/terms/users", "application/json", `{"username":"tom","password":"`+served.TestPassword+`"}`).StatusCode, 300)
	signIn := func(name string, keys ...string) string {
		return w.browse(at("/members/?a=b"), append([]string{tab(1), typed(name), tab(1), typed(served.TestPassword), tab(1), enter}, keys...)...)
	}
	require.Contains(t, signIn("ada"), "here: /members/?a=b", "who has agreed")
	w.browse(at("/terms/logout/"), tab(3), enter)
	require.Contains(t, signIn("tom"), "To sign in, read the terms of this site and agree to them.")
	require.Contains(t, signIn("tom", tab(3), enter), "Agree to the terms of this site to continue.")
	require.Contains(t, signIn("tom", tab(2), enter, tab(1), enter), "here: /members/?a=b")
}
