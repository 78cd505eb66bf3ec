// unconfirmed_test.go: whoever has not confirmed his account yet, as he sees it: in
// Chromium and in w3m, in every state that he can be in.

package browsers_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// patientSite takes its time over a password, as a slow line does: a second click comes
// before the first has its answer.
var patientSite = strings.Replace(served.PlainSite, "argon2id 8KiB 1 1", "argon2id 64MiB 6 1", 1)

// doubleClick presses a button again 80 ms after the first time, and waits for the page
// that comes of it.
func (w *walker) doubleClick(selector, heading string) {
	w.T.Helper()
	w.Do(chromedp.Evaluate[chromedp.Void](`{ const b = document.querySelector(` + strconv.Quote(selector) + `); setTimeout(() => b.click(), 80); b.click() }`))
	require.True(w.T, served.Eventually(func() bool {
		got, err := chromedp.Run(w.Ctx, chromedp.Evaluate[string](`document.querySelector("h1")?.textContent ?? ""`)) // fails between two pages
		return err == nil && strings.Contains(got, heading)
	}, 20*time.Millisecond), "no page says %q, but %q", heading, w.Text("main"))
}

func (w *walker) signsUp(name string) {
	w.at200("/accounts/register/?next=%2Fmembers%2F")
	w.Fill("username", name)
	w.Fill("email", name+"@example.org")
	w.Fill("password", served.TestPassword)
	w.Fill("password_confirm", served.TestPassword)
}

func (w *walker) signsIn(login, password string) int {
	w.Fill("login", login)
	w.Fill("password", password)
	return w.Press(submit)
}

// TestUnconfirmedInABrowser walks the ways of who did not confirm.
func TestUnconfirmedInABrowser(t *testing.T) {
	t.Parallel()
	s := served.Run(t, patientSite)
	w := newWalker(t, s.Base())
	const offer = `main a[href^="/accounts/resend-verification/"]`

	w.signsUp("ada")
	w.doubleClick(submit, "Check your email")
	require.Contains(t, w.Text("main"), "ada@example.org")
	w.check("double-click")
	first := s.Mail("ada@example.org", 1).URL(t).String() // one, and no more: see below

	// Refused, he is told why, and one press away from another mail.
	w.at200("/accounts/login/?next=%2Fmembers%2F")
	require.Equal(t, 400, w.signsIn("ada", served.TestPassword))
	require.Contains(t, w.Text(".problem"), "Confirm this account first")
	w.check("refused")
	require.Equal(t, 200, w.Press(offer))
	w.check("refused-resend")
	w.Fill("login", "ada")
	require.Equal(t, 200, w.Press(submit))
	require.Equal(t, "Check your email", w.Text("h1"))
	w.check("refused-resent")
	require.Len(t, served.WaitMails(s, "ada@example.org", 2), 2)
	// By the address he is told nothing of an account, and offered the same.
	w.at200("/accounts/login/")
	require.Equal(t, 400, w.signsIn("ada@example.org", served.TestPassword))
	require.NotContains(t, w.Text(".problem"), "Confirm this account first")
	require.NotEmpty(t, w.Text(offer))
	w.check("refused-by-address")
	// The page of the mail sends it again by its button.
	w.signsUp("bob")
	require.Equal(t, 200, w.Press(submit))
	require.Contains(t, w.Text("main"), "bob@example.org")
	w.check("check-your-mail")
	require.Equal(t, 200, w.Press(submit))
	require.Equal(t, "Check your email", w.Text("h1"))
	w.check("check-your-mail-again")
	require.Len(t, served.WaitMails(s, "bob@example.org", 2), 2)

	// Pressed twice, the link says what it has done. So it does when it is opened again.
	w.forgetCookies()
	w.Open(first)
	w.Fill("password", served.TestPassword)
	w.doubleClick(submit, "Sign in")
	require.Contains(t, w.Text(".note"), "confirmed")
	w.check("pressed-twice")
	require.Equal(t, 200, w.Open(first))
	require.Contains(t, w.Text("main"), "already been confirmed")
	require.NotContains(t, w.Text("main"), "no longer works")
	require.Zero(t, served.Evaluate[int](w.Browser, `document.querySelectorAll("main form button[type=submit]").length`), "a button would send nothing")
	w.check("opened-again")
	require.Equal(t, 200, w.Press(`main a[href^="/accounts/login/"]`))
	require.Equal(t, 200, w.signsIn("ada", served.TestPassword))
	require.Equal(t, "/members/", w.At(), "where he wanted to go when he signed up")
	require.Contains(t, w.Text("body"), "for members: ada")

	// Forgotten before it was ever confirmed: the reset confirms.
	w.forgetCookies()
	w.at200("/accounts/send-reset-password-link/")
	require.NotEmpty(t, w.Text(offer))
	w.check("forgotten")
	w.Fill("login", "bob@example.org")
	require.Equal(t, 200, w.Press(submit))
	require.NotEmpty(t, w.Text(offer))
	w.check("forgotten-sent")
	reset := linkTo(s, "bob@example.org", "reset-password")
	w.Open(reset)
	w.check("forgotten-reset")
	w.Fill("password", "another long passphrase")
	w.doubleClick(submit, "Sign in")
	require.Contains(t, w.Text(".note"), "password has been set")
	w.check("forgotten-done")
	require.Equal(t, 200, w.signsIn("bob@example.org", "another long passphrase"))
	require.Equal(t, "/", w.At())
	late := linkTo(s, "bob@example.org", "verify-registration")
	w.forgetCookies()
	w.Open(late)
	require.Zero(t, served.Evaluate[int](w.Browser, `document.querySelectorAll("main form button[type=submit]").length`))
	w.check("confirmed-by-the-reset")
	require.Len(t, s.Mails("ada@example.org"), 2, "the double click made no mail of its own")
	w.RequireQuiet()
	w.validate()
}

// TestUnconfirmedInATextBrowser goes the same ways in w3m.
func TestUnconfirmedInATextBrowser(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	w := newW3M(t)
	at := func(path string) string { return s.Base() + path }
	s.Client().Post(201, "register", served.Newcomer("ada"))
	link := s.Mail("ada@example.org", 1).URL(t).String()

	refused := []string{tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter}
	screen := w.browse(at("/accounts/login/"), refused...)
	require.Contains(t, screen, "There is a problem")
	require.Contains(t, screen, "No confirmation email?")
	screen = w.browse(at("/accounts/send-reset-password-link/"))
	require.Contains(t, screen, "No confirmation email?")
	screen = w.browse(at("/accounts/resend-verification/"), tab(1), typed("ada"), tab(1), enter)
	require.Contains(t, screen, "Check your email")
	require.Len(t, served.WaitMails(s, "ada@example.org", 2), 2)

	confirm := []string{tab(2), typed(served.TestPassword), tab(1), enter}
	require.Contains(t, w.browse(link, confirm...), "Your account has been confirmed.")
	screen = w.browse(link)
	require.Contains(t, screen, "already been confirmed")
	require.NotContains(t, screen, "[Confirm")
	require.Contains(t, w.browse(at("/members/"), refused...), "for members: ada")

	s.Client().Post(201, "register", served.Newcomer("bob"))
	other := newW3M(t)
	screen = other.browse(at("/accounts/send-reset-password-link/"), tab(1), typed("bob"), tab(1), enter)
	require.Contains(t, screen, "Check your email")
	screen = other.browse(linkTo(s, "bob@example.org", "reset-password"), tab(2), typed("another long passphrase"), tab(1), enter)
	require.Contains(t, screen, "Your new password has been set.")
	require.Contains(t, other.browse(at("/members/"), tab(1), typed("bob"), tab(1), typed("another long passphrase"), tab(1), enter), "for members: bob")
}
