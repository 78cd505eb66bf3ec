// pages_test.go: every page in every state, in Chromium: with scripts off too,
// and with a brand of its own.

package browsers_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// pagesSite has the pages as they come, and at /club those of a branded realm
// that throttles and redirects.
var pagesSite = served.Site(`user {
			field nickname text
			field plot choice {
				label "Your plot"
				choices north south
			}
			field born date {
				label "Date of birth"
			}
			field mail_me boolean {
				label "Send me the newsletter"
			}
			field beds integer {
				label "Beds"
				min 1
				max 9
			}
		}
		register_email {
			max_age 1s
		}`, `registration /club {
		realm club
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		throttle login 1 1h
		session {
			cookie_name club
		}
		register {
			success_redirect /club/login/
			failure_redirect /club/resend-verification/
		}
		pages {
			title "The Garden Club"
			logo [[dir]]/logo.svg
			stylesheet [[dir]]/brand.css
		}
	}
	require_login /members/*
	require_login /staff/* {
		group staff
	}
	require_login /recent/* {
		max_age [[recent]]
	}
	@there path / /members/* /staff/* /recent/*
	respond @there "for members: {http.request.uri}"
	respond 404 # Chromium tries an address that can't be there before it follows /.well-known/change-password`)

const brandLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 32" width="96" height="32"><style>circle{fill:#7a1f5c}</style><circle cx="16" cy="16" r="14"/><path d="M16 26V10m0 6c-6 0-7-4-7-6 4 0 7 2 7 6Zm0-2c0-4 3-6 7-6 0 4-3 6-7 6Z" fill="none" stroke="#fff" stroke-width="2"/><path d="M40 10h48M40 16h40M40 22h48" stroke="#7a1f5c" stroke-width="3"/></svg>`

// brandCSS is the example of docs/templates.md.
func brandCSS(t testing.TB) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(served.RepoRoot, "docs", "templates.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```css\n")
	require.True(t, found, "the style sheet of docs/templates.md")
	css, _, _ := strings.Cut(rest, "```")
	return css
}

func pagesServer(t testing.TB) *served.Server {
	t.Helper()
	s := served.NewServer(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "logo.svg"), []byte(brandLogo), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "brand.css"), []byte(brandCSS(t)), 0o600))
	s.Values["recent"] = "1h"
	s.Configure(pagesSite)
	s.Start()
	return s
}

// recent sets how old a sign-in may be at /recent: a sign-in that counts as old needs
// no wait, and one that counts as new can't grow old on a slow machine.
func recent(s *served.Server, maxAge string) {
	s.T.Helper()
	s.Values["recent"] = maxAge
	res := s.Load(pagesSite)
	require.Equal(s.T, 200, res.StatusCode, res.Text)
}

const submit = `main form button[type="submit"]`

// deepLink is what a stranger wants to see; its query has to survive.
const deepLink = "/members/a%20page?x=1&y=a%26b&z=%C3%A9"

// TestEveryPage walks all pages and their refusals.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := pagesServer(t)
	w := newWalker(t, s.Base())
	w.signUp(s)
	w.profile(s)
	w.forgotten(s)
	w.others()
	w.club(s)
	w.RequireQuiet()
	w.validate()
}

// linkTo waits for a mail with a link to a page and returns the newest.
func linkTo(s *served.Server, to, page string) string {
	s.T.Helper()
	return served.LinkInText.FindString(s.MailWithLink(to, "/"+page+"/").Text)
}

func (w *walker) at200(path string) {
	w.T.Helper()
	require.Equal(w.T, 200, w.Open(w.Base+path), path)
}

func (w *walker) refused(status int) {
	w.T.Helper()
	require.Equal(w.T, status, w.Press(submit))
	require.True(w.T, strings.HasPrefix(served.Ask(w.Browser, chromedp.Title()), "Error: "))
	require.True(w.T, served.Eventually(func() bool { // Chromium gives it once the page is painted
		return served.Evaluate[string](w.Browser, `document.activeElement.className`) == "problem"
	}, 20*time.Millisecond), "the summary has the focus")
	require.True(w.T, served.Evaluate[bool](w.Browser, `[...document.querySelectorAll(".problem a")].every(a => document.querySelector(a.getAttribute("href")).matches("input, select"))`))
	require.Empty(w.T, served.Evaluate[string](w.Browser, `[...document.querySelectorAll("input[type=password]")].map(i => i.value).join("")`), "a password came back")
}

func (w *walker) done(note string) {
	w.T.Helper()
	require.Equal(w.T, 200, w.Press(submit))
	require.Contains(w.T, w.Text(".note"), note)
}

func (w *walker) signUp(s *served.Server) {
	w.at200(deepLink)
	w.check("login")
	require.Equal(w.T, 200, w.Press(`a[href^="/accounts/register/"]`))
	w.check("register")
	w.revealsPasswords()
	w.Fill("username", "not a name")
	w.Fill("email", "ada@example")
	w.Fill("password", "12345678")
	w.Fill("password_confirm", "87654321")
	w.refused(400)
	require.Equal(w.T, "not a name", served.Evaluate[string](w.Browser, `document.querySelector("#username").value`))
	w.check("register-refused")
	w.Fill("username", "ada")
	w.Fill("email", "ada@example.org")
	w.Fill("password", "12345678")
	w.Fill("password_confirm", "87654321")
	w.refused(400)
	w.check("register-refused-password")
	w.Fill("password", served.TestPassword)
	w.Fill("password_confirm", served.TestPassword)
	require.Equal(w.T, 200, w.Press(submit))
	require.Contains(w.T, w.Text("main"), "ada@example.org")
	w.check("check-mail")
	require.Equal(w.T, 200, w.Press(submit))
	w.check("check-mail-again")
	require.Equal(w.T, 200, w.Press(`main a[href^="/accounts/correct-email/"]`))
	w.check("correct-email")
	w.Fill("email", "ada@example")
	w.refused(400)
	w.check("correct-email-refused")
	w.Fill("email", "ada@gmail.com")
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, "Open Gmail", w.Text("main .button"))
	w.check("check-mail-corrected")
	require.Equal(w.T, 200, w.Press(`main a[href^="/accounts/correct-email/"]`))
	w.Fill("email", "ada@example.org")
	require.Equal(w.T, 200, w.Press(submit))
	w.at200("/accounts/resend-verification/")
	w.check("resend-verification")
	w.Fill("login", " ")
	w.refused(400)
	w.check("resend-verification-refused")

	w.Open(s.Mail("ada@example.org", 3).URL(w.T).String())
	w.check("verify-registration")
	w.forgetCookies()
	w.Open(s.Mail("ada@example.org", 3).URL(w.T).String())
	w.check("verify-registration-elsewhere")
	w.Fill("password", "not the passphrase")
	w.refused(400)
	w.check("verify-registration-elsewhere-refused")
	w.Fill("password", served.TestPassword)
	w.done("confirmed")
	w.check("login-confirmed")
	require.Equal(w.T, "/accounts/login/?next="+url.QueryEscape(deepLink), w.At())
	require.Equal(w.T, 200, w.Open(s.Mails("ada@example.org")[0].URL(w.T).String()))
	w.check("verify-registration-used")
	require.Equal(w.T, 200, w.Press(`main a[href^="/accounts/login/"]`))
	w.Fill("login", "ada")
	w.Fill("password", "not the passphrase")
	w.refused(400)
	w.check("login-refused")
	w.Fill("password", served.TestPassword)
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, deepLink, w.At())
	require.Contains(w.T, w.Text("body"), deepLink)
}

// revealsPasswords types into a new password, looks at it, and reads what is said of it.
func (w *walker) revealsPasswords() {
	w.T.Helper()
	said := func(typed string) string {
		served.Evaluate[string](w.Browser, `document.querySelector("#password").value = ""`)
		w.Do(chromedp.SendKeys(chromedp.CSS("#password"), typed))
		return served.Evaluate[string](w.Browser, `document.querySelector("[role=status]").textContent`)
	}
	require.Equal(w.T, "At least 8 characters.", said("cat"))
	require.Equal(w.T, "Not only numbers.", said("123456789"))
	require.Contains(w.T, said("nine cats"), "Long enough.")
	kind := func() string { return served.Evaluate[string](w.Browser, `document.querySelector("#password").type`) }
	require.Equal(w.T, "password", kind())
	click(w.Browser, "#password-show")
	require.Equal(w.T, "text", kind())
	require.Equal(w.T, "Hide", w.Text("#password-show"))
	w.check("register-typed")
	require.Contains(w.T, said("nine cats on a roof"), "A good length.")
	click(w.Browser, "#password-show")
	require.Equal(w.T, "password", kind())
	require.Equal(w.T, "Show", w.Text("#password-show"))
}

func (w *walker) profile(s *served.Server) {
	for _, page := range []string{"login", "register"} {
		w.at200("/accounts/" + page + "/")
		require.Equal(w.T, "/", w.At(), "who is signed in is sent on")
	}
	w.at200("/accounts/profile/")
	w.check("profile")
	w.Fill("username", "not a name")
	w.Fill("last_name", "Lovelace")
	w.refused(400)
	w.check("profile-refused")
	w.Fill("username", "ada")
	w.done("saved")
	require.Equal(w.T, "Lovelace", served.Evaluate[string](w.Browser, `document.querySelector("#last_name").value`))
	w.check("profile-saved")
	w.at200("/.well-known/change-password")
	require.Equal(w.T, "/accounts/change-password/", w.At())
	w.check("change-password")
	w.Fill("old_password", "not the passphrase")
	w.Fill("password", served.TestPassword)
	w.Fill("password_confirm", served.TestPassword)
	w.refused(400)
	w.check("change-password-refused")
	w.Fill("old_password", served.TestPassword)
	w.Fill("password", "another long passphrase")
	w.Fill("password_confirm", "another long passphrase")
	w.done("signed out everywhere else")
	w.check("change-password-done")
	require.True(w.T, served.Eventually(func() bool { // the sign-in has to be a second old
		w.at200("/accounts/register-email/")
		return served.Evaluate[bool](w.Browser, `!!document.querySelector("input[name=password]")`)
	}, 100*time.Millisecond))
	w.check("register-email")
	w.Fill("email", "ada@example.net")
	w.Fill("password", "not the passphrase")
	w.refused(400)
	w.check("register-email-refused")
	w.Fill("password", "another long passphrase")
	w.done("sent an email to your new address")
	w.check("register-email-sent")
	w.Open(linkTo(s, "ada@example.net", "verify-email"))
	w.check("verify-email")
	w.otherBrowser(s)
	w.done("changed")
	w.check("verify-email-done")
	require.Equal(w.T, 200, w.Open(linkTo(s, "ada@example.net", "verify-email")))
	w.check("verify-email-used")
	w.Open(linkTo(s, "ada@example.org", "undo-email"))
	w.check("undo-email")
	w.at200("/accounts/sessions/")
	w.check("sessions")
	w.at200("/accounts/logout/?next=%2Fmembers%2F")
	w.check("logout")
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, "You’re signed out", w.Text("h1"))
	w.check("signed-out")
	require.Equal(w.T, 200, w.Press("main .button"))
	require.Equal(w.T, "/accounts/login/?next=%2Fmembers%2F", w.At())
}

// otherBrowser opens the link to a new address where nobody is signed in, then
// where somebody else is.
func (w *walker) otherBrowser(s *served.Server) {
	s.Member("bob")
	w.forgetCookies()
	w.at200(strings.TrimPrefix(linkTo(s, "ada@example.net", "verify-email"), w.Base))
	require.Equal(w.T, "/accounts/login/?next=%2Faccounts%2Fverify-email%2F", w.At(), "without the link's secret")
	w.check("verify-email-signed-out")
	w.Fill("login", "bob")
	w.Fill("password", served.TestPassword)
	require.Equal(w.T, 403, w.Press(submit))
	w.check("verify-email-other-account")
	require.Equal(w.T, 200, w.Press("main .button"))
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, 200, w.Press("main .button"))
	w.Fill("login", "ada")
	w.Fill("password", "another long passphrase")
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, "/accounts/verify-email/", w.At())
}

// forgetCookies makes it another browser.
func (w *walker) forgetCookies() {
	w.T.Helper()
	_, err := chromedp.Call(w.Ctx, network.ClearBrowserCookies, cdp.Empty{})
	require.NoError(w.T, err)
}

func (w *walker) forgotten(s *served.Server) {
	require.Equal(w.T, 200, w.Press(`a[href^="/accounts/send-reset-password-link/"]`))
	w.check("forgot")
	w.Fill("login", " ")
	w.refused(400)
	w.check("forgot-refused")
	w.Fill("login", "ada")
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, "Check your email", w.Text("h1"))
	w.check("forgot-sent")
	link := linkTo(s, "ada@example.net", "reset-password")
	w.Open(link)
	w.check("reset")
	w.Fill("password", "12345678")
	w.refused(400)
	w.check("reset-refused")
	w.Fill("password", served.TestPassword)
	w.done("new password has been set")
	w.check("reset-done")
	require.Equal(w.T, 200, w.Open(link))
	w.check("reset-used")
	w.at200("/accounts/login/?next=%2Frecent%2F%3Fa%3Db")
	w.Fill("login", "ada")
	w.Fill("password", served.TestPassword)
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, "/recent/?a=b", w.At())
	recent(s, "1ns")
	w.at200("/recent/?a=b")
	require.True(w.T, strings.HasPrefix(w.At(), "/accounts/step-up/?"), w.At())
	w.check("step-up")
	recent(s, "1h")
	w.Fill("password", served.TestPassword)
	require.Equal(w.T, 200, w.Press(submit))
	require.Equal(w.T, "/recent/?a=b", w.At())
}

func (w *walker) others() {
	require.Equal(w.T, 404, w.Open(w.Base+"/accounts/nothing/"))
	w.check("error-404")
	require.Equal(w.T, 403, w.Open(w.Base+"/staff/?a=b"))
	w.check("error-403")
	require.Equal(w.T, 200, w.Press("main .button"))
	require.Equal(w.T, "/accounts/logout/?next=%2Fstaff%2F%3Fa%3Db", w.At())
}

func (w *walker) club(s *served.Server) {
	w.at200("/club/login/")
	require.NotZero(w.T, served.Evaluate[int](w.Browser, `document.querySelector(".site img").naturalWidth`), "the logo")
	require.Equal(w.T, "rgb(122, 31, 92)", served.Evaluate[string](w.Browser, `matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(122, 31, 92)" : getComputedStyle(document.querySelector("main button")).backgroundColor`), "the brand's colour")
	w.check("club-login")
	w.Fill("login", "eve")
	w.Fill("password", "guess")
	w.refused(400)
	w.Fill("password", "guess again")
	w.refused(429)
	require.Equal(w.T, "eve", served.Evaluate[string](w.Browser, `document.querySelector("#login").value`))
	w.check("club-429")
	w.at200("/club/register/")
	w.check("club-register")
	w.Fill("username", "eve")
	w.Fill("email", "eve@example.org")
	w.Fill("password", served.TestPassword)
	w.Fill("password_confirm", served.TestPassword)
	require.Equal(w.T, 200, w.Press(submit))
	link := linkTo(s, "eve@example.org", "verify-registration")
	_, err := chromedp.Call(w.Ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Sec-Purpose": "prefetch"}})
	require.NoError(w.T, err)
	require.Equal(w.T, 503, w.Open(link))
	w.check("club-503")
	_, err = chromedp.Call(w.Ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{}})
	require.NoError(w.T, err)
	require.Equal(w.T, 200, w.Open(link))
	require.Equal(w.T, "/club/login/", w.At(), "redirect mode")
	require.Equal(w.T, 200, w.Open(link))
	require.Equal(w.T, "/club/login/", w.At(), "the second time: what it does is done")
}

// TestWithoutScripts makes the whole trip with JavaScript off, the mail opened
// in another browser.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	s := pagesServer(t)
	off := func() *served.Browser {
		b := served.NewBrowser(t, s.Base())
		_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		require.NoError(t, err)
		return b
	}
	b := off()
	require.Equal(t, 200, b.Open(b.Base+deepLink))
	require.Equal(t, 200, b.Press(`a[href^="/accounts/register/"]`))
	b.Fill("username", "ada")
	b.Fill("email", "ada@example.org")
	b.Fill("password", served.TestPassword)
	b.Fill("password_confirm", served.TestPassword)
	require.Equal(t, 200, b.Press(submit))
	require.Equal(t, "Check your email", b.Text("h1"))
	phone := off()
	require.Equal(t, 200, phone.Open(linkTo(s, "ada@example.org", "verify-registration")))
	phone.Fill("password", served.TestPassword) // it did not sign up
	require.Equal(t, 200, phone.Press(submit))
	phone.Fill("login", "ada")
	phone.Fill("password", served.TestPassword)
	require.Equal(t, 200, phone.Press(submit))
	require.Equal(t, deepLink, phone.At(), "the link in its whole, on another device")

	require.Equal(t, 200, b.Open(b.Base+deepLink))
	b.Fill("login", "ada")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(submit))
	require.Equal(t, deepLink, b.At())
	require.Equal(t, 200, b.Open(b.Base+"/accounts/profile/"))
	b.Fill("first_name", "Ada")
	require.Equal(t, 200, b.Press(submit))
	require.Contains(t, b.Text(".note"), "saved")
	require.Equal(t, 200, b.Open(b.Base+"/accounts/change-password/"))
	b.Fill("old_password", served.TestPassword)
	b.Fill("password", "another long passphrase")
	b.Fill("password_confirm", "another long passphrase")
	require.Equal(t, 200, b.Press(submit))
	require.Contains(t, b.Text(".note"), "changed")
	require.Equal(t, 200, phone.Open(phone.Base+deepLink))
	require.Equal(t, "/accounts/login/?next="+url.QueryEscape(deepLink), phone.At())
	require.Equal(t, 200, phone.Press(`a[href^="/accounts/send-reset-password-link/"]`))
	phone.Fill("login", "ada")
	require.Equal(t, 200, phone.Press(submit))
	require.Equal(t, 200, phone.Open(linkTo(s, "ada@example.org", "reset-password")))
	phone.Fill("password", served.TestPassword)
	require.Equal(t, 200, phone.Press(submit))
	phone.Fill("login", "ada")
	phone.Fill("password", served.TestPassword)
	require.Equal(t, 200, phone.Press(submit))
	require.Equal(t, deepLink, phone.At(), "the way back survives a forgotten password too")
	require.Equal(t, 200, phone.Open(phone.Base+"/accounts/logout/"))
	require.Equal(t, 200, phone.Press(submit))
	require.Equal(t, "You’re signed out", phone.Text("h1"))
	b.RequireQuiet()
	phone.RequireQuiet()
}

// TestPagesAreLight: a page with its style sheet stays under 17 KB, the choice of languages among them.
func TestPagesAreLight(t *testing.T) {
	t.Parallel()
	s := pagesServer(t)
	c := s.Client()
	c.Header.Set("Accept", served.BrowserAccept)
	css := c.Get("/accounts/style.css")
	for _, path := range []string{"login", "register", "send-reset-password-link", "nothing"} {
		page := c.Get("/accounts/" + path + "/")
		size := len(page.Text) + len(css.Text)
		require.Less(t, size, 17_000, path)
		t.Log(path + ": " + strconv.Itoa(len(page.Text)) + " + " + strconv.Itoa(len(css.Text)))
	}
}
