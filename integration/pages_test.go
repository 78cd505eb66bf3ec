// pages_test.go: every page in every state, in Chromium: with scripts off too,
// and with a brand of its own.

package integration

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
)

// pagesSite has the pages as they come, and at /club those of a branded realm
// that throttles and redirects.
const pagesSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		user {
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
		}
		password {
			argon2id 8KiB 1 1
		}
	}
	registration /club {
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
		max_age 1s
	}
	@there path / /members/* /staff/* /recent/*
	respond @there "for members: {http.request.uri}"
	respond 404 # Chromium tries an address that can't be there before it follows /.well-known/change-password
}
`

const brandLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 32" width="96" height="32"><style>circle{fill:#7a1f5c}</style><circle cx="16" cy="16" r="14"/><path d="M16 26V10m0 6c-6 0-7-4-7-6 4 0 7 2 7 6Zm0-2c0-4 3-6 7-6 0 4-3 6-7 6Z" fill="none" stroke="#fff" stroke-width="2"/><path d="M40 10h48M40 16h40M40 22h48" stroke="#7a1f5c" stroke-width="3"/></svg>`

// brandCSS is the example of the README.
func brandCSS(t testing.TB) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(repoRoot, "README.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```css\n")
	require.True(t, found, "the README's style sheet")
	css, _, _ := strings.Cut(rest, "```")
	return css
}

func pagesServer(t testing.TB) *server {
	t.Helper()
	s := newServer(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "logo.svg"), []byte(brandLogo), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "brand.css"), []byte(brandCSS(t)), 0o600))
	s.configure(pagesSite)
	s.start()
	return s
}

const submit = "main form button"

// deepLink is what a stranger wants to see; its query has to survive.
const deepLink = "/members/a%20page?x=1&y=a%26b&z=%C3%A9"

// TestEveryPage walks all pages and their refusals.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := pagesServer(t)
	w := newWalker(t, s.base())
	w.signUp(s)
	w.profile(s)
	w.forgotten(s)
	w.others()
	w.club(s)
	w.requireQuiet()
	w.validate()
}

// linkTo waits for a mail with a link to a page and returns the newest.
func (s *server) linkTo(to, page string) string {
	s.t.Helper()
	link := ""
	require.True(s.t, eventually(func() bool {
		for _, m := range s.mails(to) {
			if found := linkInText.FindString(m.text); strings.Contains(found, "/"+page+"/?") {
				link = found
			}
		}
		return link != ""
	}, 5*time.Millisecond), "a mail to %s with a link to %s", to, page)
	return link
}

func (w *walker) at200(path string) {
	w.t.Helper()
	require.Equal(w.t, 200, w.open(w.base+path), path)
}

func (w *walker) refused(status int) {
	w.t.Helper()
	require.Equal(w.t, status, w.press(submit))
	require.True(w.t, strings.HasPrefix(ask(w.browser, chromedp.Title()), "Error: "))
	require.True(w.t, eventually(func() bool { // Chromium gives it once the page is painted
		return evaluate[string](w.browser, `document.activeElement.className`) == "problem"
	}, 20*time.Millisecond), "the summary has the focus")
	require.True(w.t, evaluate[bool](w.browser, `[...document.querySelectorAll(".problem a")].every(a => document.querySelector(a.getAttribute("href")).matches("input, select"))`))
	require.Empty(w.t, evaluate[string](w.browser, `[...document.querySelectorAll("input[type=password]")].map(i => i.value).join("")`), "a password came back")
}

func (w *walker) done(note string) {
	w.t.Helper()
	require.Equal(w.t, 200, w.press(submit))
	require.Contains(w.t, w.text(".note"), note)
}

func (w *walker) signUp(s *server) {
	w.at200(deepLink)
	w.check("login")
	require.Equal(w.t, 200, w.press(`a[href^="/accounts/register/"]`))
	w.check("register")
	w.fill("username", "not a name")
	w.fill("email", "ada@example")
	w.fill("password", "12345678")
	w.fill("password_confirm", "87654321")
	w.refused(400)
	require.Equal(w.t, "not a name", evaluate[string](w.browser, `document.querySelector("#username").value`))
	w.check("register-refused")
	w.fill("username", "ada")
	w.fill("email", "ada@example.org")
	w.fill("password", "12345678")
	w.fill("password_confirm", "87654321")
	w.refused(400)
	w.check("register-refused-password")
	w.fill("password", testPassword)
	w.fill("password_confirm", testPassword)
	require.Equal(w.t, 200, w.press(submit))
	require.Contains(w.t, w.text("main"), "ada@example.org")
	w.check("check-mail")
	require.Equal(w.t, 200, w.press(submit))
	w.check("check-mail-again")
	w.at200("/accounts/resend-verification/")
	w.check("resend-verification")
	w.fill("login", " ")
	w.refused(400)
	w.check("resend-verification-refused")

	w.open(s.mail("ada@example.org", 2).url(w.t).String())
	w.check("verify-registration")
	w.forgetCookies()
	w.open(s.mail("ada@example.org", 2).url(w.t).String())
	w.check("verify-registration-elsewhere")
	w.fill("password", "not the passphrase")
	w.refused(400)
	w.check("verify-registration-elsewhere-refused")
	w.fill("password", testPassword)
	w.done("confirmed")
	w.check("login-confirmed")
	require.Equal(w.t, "/accounts/login/?next="+url.QueryEscape(deepLink), w.at())
	require.Equal(w.t, 400, w.open(s.mails("ada@example.org")[0].url(w.t).String()))
	w.check("verify-registration-dead")
	require.Equal(w.t, 200, w.press(`nav a[href^="/accounts/login/"]`))
	w.fill("login", "ada")
	w.fill("password", "not the passphrase")
	w.refused(400)
	w.check("login-refused")
	w.fill("password", testPassword)
	require.Equal(w.t, 200, w.press(submit))
	require.Equal(w.t, deepLink, w.at())
	require.Contains(w.t, w.text("body"), deepLink)
}

func (w *walker) profile(s *server) {
	w.at200("/accounts/login/")
	require.Equal(w.t, "/accounts/profile/", w.at())
	w.check("profile")
	w.fill("username", "not a name")
	w.fill("last_name", "Lovelace")
	w.refused(400)
	w.check("profile-refused")
	w.fill("username", "ada")
	w.done("saved")
	require.Equal(w.t, "Lovelace", evaluate[string](w.browser, `document.querySelector("#last_name").value`))
	w.check("profile-saved")
	w.at200("/.well-known/change-password")
	require.Equal(w.t, "/accounts/change-password/", w.at())
	w.check("change-password")
	w.fill("old_password", "not the passphrase")
	w.fill("password", testPassword)
	w.fill("password_confirm", testPassword)
	w.refused(400)
	w.check("change-password-refused")
	w.fill("old_password", testPassword)
	w.fill("password", "another long passphrase")
	w.fill("password_confirm", "another long passphrase")
	w.done("signed out everywhere else")
	w.check("change-password-done")
	time.Sleep(1100 * time.Millisecond) // the sign-in has to be a second old
	w.at200("/accounts/register-email/")
	w.check("register-email")
	w.fill("email", "ada@example.net")
	w.fill("password", "not the passphrase")
	w.refused(400)
	w.check("register-email-refused")
	w.fill("password", "another long passphrase")
	w.done("on its way to the new address")
	w.check("register-email-sent")
	w.open(s.linkTo("ada@example.net", "verify-email"))
	w.check("verify-email")
	w.otherBrowser(s)
	w.done("changed")
	w.check("verify-email-done")
	require.Equal(w.t, 400, w.open(s.linkTo("ada@example.net", "verify-email")))
	w.check("verify-email-dead")
	w.open(s.linkTo("ada@example.org", "undo-email"))
	w.check("undo-email")
	w.at200("/accounts/sessions/")
	w.check("sessions")
	w.at200("/accounts/logout/?next=%2Fmembers%2F")
	w.check("logout")
	require.Equal(w.t, 200, w.press(submit))
	require.Equal(w.t, "You are signed out", w.text("h1"))
	w.check("signed-out")
	require.Equal(w.t, 200, w.press("main .button"))
	require.Equal(w.t, "/accounts/login/?next=%2Fmembers%2F", w.at())
}

// otherBrowser opens the link to a new address where nobody is signed in, then
// where somebody else is.
func (w *walker) otherBrowser(s *server) {
	s.member("bob")
	w.forgetCookies()
	w.at200(strings.TrimPrefix(s.linkTo("ada@example.net", "verify-email"), w.base))
	require.Equal(w.t, "/accounts/login/?next=%2Faccounts%2Fverify-email%2F", w.at(), "without the link's secret")
	w.check("verify-email-signed-out")
	w.fill("login", "bob")
	w.fill("password", testPassword)
	require.Equal(w.t, 403, w.press(submit))
	w.check("verify-email-other-account")
	require.Equal(w.t, 200, w.press("main .button"))
	require.Equal(w.t, 200, w.press(submit))
	require.Equal(w.t, 200, w.press("main .button"))
	w.fill("login", "ada")
	w.fill("password", "another long passphrase")
	require.Equal(w.t, 200, w.press(submit))
	require.Equal(w.t, "/accounts/verify-email/", w.at())
}

// forgetCookies makes it another browser.
func (w *walker) forgetCookies() {
	w.t.Helper()
	_, err := chromedp.Call(w.ctx, network.ClearBrowserCookies, cdp.Empty{})
	require.NoError(w.t, err)
}

func (w *walker) forgotten(s *server) {
	require.Equal(w.t, 200, w.press(`a[href^="/accounts/send-reset-password-link/"]`))
	w.check("forgot")
	w.fill("login", " ")
	w.refused(400)
	w.check("forgot-refused")
	w.fill("login", "ada")
	require.Equal(w.t, 200, w.press(submit))
	require.Equal(w.t, "Check your mail", w.text("h1"))
	w.check("forgot-sent")
	link := s.linkTo("ada@example.net", "reset-password")
	w.open(link)
	w.check("reset")
	w.fill("password", "12345678")
	w.refused(400)
	w.check("reset-refused")
	w.fill("password", testPassword)
	w.done("new password is set")
	w.check("reset-done")
	require.Equal(w.t, 400, w.open(link))
	w.check("reset-dead")
	w.at200("/accounts/login/?next=%2Frecent%2F%3Fa%3Db")
	w.fill("login", "ada")
	w.fill("password", testPassword)
	require.Equal(w.t, 200, w.press(submit))
	time.Sleep(1100 * time.Millisecond)
	w.at200("/recent/?a=b")
	require.True(w.t, strings.HasPrefix(w.at(), "/accounts/login/?reauth=1&"), w.at())
	w.check("login-again")
	w.fill("password", testPassword)
	require.Equal(w.t, 200, w.press(submit))
	require.Equal(w.t, "/recent/?a=b", w.at())
}

func (w *walker) others() {
	require.Equal(w.t, 404, w.open(w.base+"/accounts/nothing/"))
	w.check("error-404")
	require.Equal(w.t, 403, w.open(w.base+"/staff/?a=b"))
	w.check("error-403")
	require.Equal(w.t, 200, w.press("main .button"))
	require.Equal(w.t, "/accounts/logout/?next=%2Fstaff%2F%3Fa%3Db", w.at())
}

func (w *walker) club(s *server) {
	w.at200("/club/login/")
	require.NotZero(w.t, evaluate[int](w.browser, `document.querySelector(".site img").naturalWidth`), "the logo")
	require.Equal(w.t, "rgb(122, 31, 92)", evaluate[string](w.browser, `matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(122, 31, 92)" : getComputedStyle(document.querySelector("main button")).backgroundColor`), "the brand's colour")
	w.check("club-login")
	w.fill("login", "eve")
	w.fill("password", "guess")
	w.refused(400)
	w.fill("password", "guess again")
	w.refused(429)
	require.Equal(w.t, "eve", evaluate[string](w.browser, `document.querySelector("#login").value`))
	w.check("club-429")
	w.at200("/club/register/")
	w.check("club-register")
	w.fill("username", "eve")
	w.fill("email", "eve@example.org")
	w.fill("password", testPassword)
	w.fill("password_confirm", testPassword)
	require.Equal(w.t, 200, w.press(submit))
	link := s.linkTo("eve@example.org", "verify-registration")
	_, err := chromedp.Call(w.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Sec-Purpose": "prefetch"}})
	require.NoError(w.t, err)
	require.Equal(w.t, 503, w.open(link))
	w.check("club-503")
	_, err = chromedp.Call(w.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{}})
	require.NoError(w.t, err)
	require.Equal(w.t, 200, w.open(link))
	require.Equal(w.t, "/club/login/", w.at(), "redirect mode")
	require.Equal(w.t, 200, w.open(link))
	require.Equal(w.t, "/club/resend-verification/", w.at(), "the second time")
}

// TestWithoutScripts makes the whole trip with JavaScript off, the mail opened
// in another browser.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	s := pagesServer(t)
	off := func() *browser {
		b := newBrowser(t, s.base())
		_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		require.NoError(t, err)
		return b
	}
	b := off()
	require.Equal(t, 200, b.open(b.base+deepLink))
	require.Equal(t, 200, b.press(`a[href^="/accounts/register/"]`))
	b.fill("username", "ada")
	b.fill("email", "ada@example.org")
	b.fill("password", testPassword)
	b.fill("password_confirm", testPassword)
	require.Equal(t, 200, b.press(submit))
	require.Equal(t, "Check your mail", b.text("h1"))
	phone := off()
	require.Equal(t, 200, phone.open(s.linkTo("ada@example.org", "verify-registration")))
	phone.fill("password", testPassword) // it did not sign up
	require.Equal(t, 200, phone.press(submit))
	phone.fill("login", "ada")
	phone.fill("password", testPassword)
	require.Equal(t, 200, phone.press(submit))
	require.Equal(t, deepLink, phone.at(), "the link in its whole, on another device")

	require.Equal(t, 200, b.open(b.base+deepLink))
	b.fill("login", "ada")
	b.fill("password", testPassword)
	require.Equal(t, 200, b.press(submit))
	require.Equal(t, deepLink, b.at())
	require.Equal(t, 200, b.open(b.base+"/accounts/profile/"))
	b.fill("first_name", "Ada")
	require.Equal(t, 200, b.press(submit))
	require.Contains(t, b.text(".note"), "saved")
	require.Equal(t, 200, b.open(b.base+"/accounts/change-password/"))
	b.fill("old_password", testPassword)
	b.fill("password", "another long passphrase")
	b.fill("password_confirm", "another long passphrase")
	require.Equal(t, 200, b.press(submit))
	require.Contains(t, b.text(".note"), "changed")
	require.Equal(t, 200, phone.open(phone.base+deepLink))
	require.Equal(t, "/accounts/login/?next="+url.QueryEscape(deepLink), phone.at())
	require.Equal(t, 200, phone.press(`a[href^="/accounts/send-reset-password-link/"]`))
	phone.fill("login", "ada")
	require.Equal(t, 200, phone.press(submit))
	require.Equal(t, 200, phone.open(s.linkTo("ada@example.org", "reset-password")))
	phone.fill("password", testPassword)
	require.Equal(t, 200, phone.press(submit))
	phone.fill("login", "ada")
	phone.fill("password", testPassword)
	require.Equal(t, 200, phone.press(submit))
	require.Equal(t, deepLink, phone.at(), "the way back survives a forgotten password too")
	require.Equal(t, 200, phone.open(phone.base+"/accounts/logout/"))
	require.Equal(t, 200, phone.press(submit))
	require.Equal(t, "You are signed out", phone.text("h1"))
	b.requireQuiet()
	phone.requireQuiet()
}

// TestPagesAreLight: a page with its style sheet stays under 15 KB.
func TestPagesAreLight(t *testing.T) {
	t.Parallel()
	s := pagesServer(t)
	c := s.client()
	c.header.Set("Accept", browserAccept)
	css := c.get("/accounts/style.css")
	for _, path := range []string{"login", "register", "send-reset-password-link", "nothing"} {
		page := c.get("/accounts/" + path + "/")
		size := len(page.body) + len(css.body)
		require.Less(t, size, 15_000, path)
		t.Log(path + ": " + strconv.Itoa(len(page.body)) + " + " + strconv.Itoa(len(css.body)))
	}
}
