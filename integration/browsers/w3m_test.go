// w3m_test.go: all flows in a text browser, w3m, by its keys.

package browsers_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// w3m is a text browser with a home of its own, where its cookies are.
type w3m struct {
	t    testing.TB
	home string
}

func newW3M(t testing.TB) *w3m {
	t.Helper()
	for _, tool := range []string{"w3m", "script"} { // script gives it a terminal
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("there is no %s on this machine, and CI must not go without", tool)
			}
			t.Skipf("there is no %s on this machine", tool)
		}
	}
	return &w3m{t: t, home: t.TempDir()}
}

// tab goes to the n-th link, input or button from where it is, at first the
// link of the site's name; enter presses it. typed opens an input, types and leaves it.
func tab(n int) string { return strings.Repeat("\t", n) }

const enter = "\r"

func typed(text string) string { return enter + text + enter }

// browse opens an address, presses keys and returns the page that it is then
// at, as it stands on the screen.
func (w *w3m) browse(address string, keys ...string) string {
	w.t.Helper()
	screen := filepath.Join(w.home, "screen.txt")
	_ = os.Remove(screen)
	ctx, cancel := context.WithTimeout(w.t.Context(), served.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "-qec", "w3m -cookie -o accept_cookie=1 -o show_cookie=0 -o confirm_qq=0 -o cookie_avoid_wrong_number_of_dots=127.0.0.1 \"$ADDRESS\"", "/dev/null") //nolint:gosec // the test's own address
	cmd.Dir = w.home
	cmd.Env = append(os.Environ(), "HOME="+w.home, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "ADDRESS="+address)
	cmd.Stdin = strings.NewReader(strings.Join(keys, "") + "S" + "screen.txt" + enter + "q")
	out, err := cmd.CombinedOutput()
	require.NoError(w.t, err, string(out))
	raw, err := os.ReadFile(screen)
	require.NoError(w.t, err, string(out))
	return string(raw)
}

func TestInATextBrowser(t *testing.T) {
	t.Parallel()
	s := served.Run(t, strings.Replace(served.PlainSite, "{http.auth.user.username}", "{http.request.uri}", 1))
	w := newW3M(t)
	at := func(path string) string { return s.Base() + path }
	const newPassword = "another long passphrase"

	// From a protected page to the sign-up.
	require.Contains(t, w.browse(at(deepLink)), "Sign in")
	screen := w.browse(at(deepLink), tab(4), enter, tab(1), typed("ada"), tab(1), typed("ada@example.org"),
		tab(1), typed(served.TestPassword), tab(1), typed("something else"), tab(1), enter)
	require.Contains(t, screen, "There is a problem")
	require.Contains(t, screen, "[ada@example.org")
	require.NotContains(t, screen, served.TestPassword)
	screen = w.browse(at(deepLink), tab(4), enter, tab(1), typed("ada"), tab(1), typed("ada@example.org"),
		tab(1), typed(served.TestPassword), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "Check your email")
	require.Contains(t, screen, "ada@example.org")
	screen = w.browse(linkTo(s, "ada@example.org", "verify-registration"), tab(1), enter)
	require.Contains(t, screen, "Your account has been confirmed.")
	screen = w.browse(linkTo(s, "ada@example.org", "verify-registration"))
	require.Contains(t, screen, "This link has already been used")
	screen = w.browse(at(deepLink), tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "for members: "+deepLink)

	// Signed in, a page begins with the site's name, the person's, and a button.
	screen = w.browse(at("/accounts/profile/"), tab(4), typed("Augusta"), tab(3), enter)
	require.Contains(t, screen, "Profile saved.")
	require.Contains(t, screen, "[Augusta")
	screen = w.browse(at("/accounts/register-email/"), tab(3), typed("ada@example.net"), tab(1), enter)
	require.Contains(t, screen, "sent an email to your new address")
	screen = w.browse(linkTo(s, "ada@example.net", "verify-email"), tab(3), enter)
	require.Contains(t, screen, "ada@example.net")
	// w3m shows the input that names the account for password managers.
	screen = w.browse(at("/accounts/change-password/"), tab(4), typed(served.TestPassword), tab(1), typed(newPassword), tab(1), typed(newPassword), tab(1), enter)
	require.Contains(t, screen, "Your password has been changed.")
	screen = w.browse(at("/accounts/logout/"), tab(3), enter)
	require.Contains(t, screen, "You’re signed out")
	require.Contains(t, w.browse(at("/members/")), "Sign in")

	screen = w.browse(at("/accounts/send-reset-password-link/"), tab(1), typed("ada"), tab(1), enter)
	require.Contains(t, screen, "Check your email")
	screen = w.browse(linkTo(s, "ada@example.net", "reset-password"), tab(2), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "Your new password has been set.")
	screen = w.browse(at("/members/"), tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "for members: /members/")
}

// TestSecondStepInATextBrowser sets up an app and signs in by its code and by a recovery
// code, in w3m.
func TestSecondStepInATextBrowser(t *testing.T) {
	t.Parallel()
	s := factorsAt(t, "http://localhost:[[port]]")
	accountIn(s, "ada")
	w := newW3M(t)
	at := func(path string) string { return fmt.Sprintf("http://localhost:%d", s.Port) + path }

	screen := w.browse(at("/accounts/login/?next=/accounts/enrol-totp/"), tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "Set up an authenticator app")
	screen = w.browse(at("/accounts/enrol-totp/"), tab(3), enter)
	secret := secretShown.FindString(screen)
	require.NotEmpty(t, secret, "the key to be typed: %s", screen)
	screen = w.browse(at("/accounts/confirm-totp/"), tab(4), typed("000000"), tab(2), enter)
	require.Contains(t, screen, "There is a problem")
	require.Contains(t, screen, secret, "it is still the same")
	screen = w.browse(at("/accounts/confirm-totp/"), tab(4), typed(codeOf(t, secret, 0)), tab(1), typed("my phone"), tab(1), enter)
	require.Contains(t, screen, "Keep your recovery codes")
	recovery := regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}`).FindString(screen)
	require.NotEmpty(t, recovery)
	require.Contains(t, w.browse(at("/accounts/factors/")), "my phone")

	signOut := func() {
		t.Helper()
		require.Contains(t, w.browse(at("/accounts/logout/"), tab(3), enter), "You’re signed out")
	}
	// After the password there are the code, the box, the button, and the way to the recovery codes.
	signIn := func(keys ...string) string {
		t.Helper()
		return w.browse(at("/money/"), append([]string{tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter}, keys...)...)
	}
	signOut()
	require.Contains(t, signIn(), "Enter the code that your authenticator app shows.")
	require.Contains(t, w.browse(at("/money/")), "Sign in", "the password alone opens nothing")
	require.Contains(t, signIn(tab(1), typed("000000"), tab(2), enter), "There is a problem")
	require.Contains(t, signIn(tab(1), typed(codeOf(t, secret, 1)), tab(2), enter), "for members: /money/")
	signOut()
	screen = signIn(tab(4), enter, tab(1), typed(recovery), tab(1), enter)
	require.Contains(t, screen, "The page you want to see needs your second step.", "a recovery code signs in, and is no factor")
	require.Contains(t, screen, "Set up an authenticator app")
	screen = w.browse(at("/accounts/factors/"), tab(4), enter)
	require.Contains(t, screen, "Remove a factor")
	require.Contains(t, screen, "my phone")
	require.Contains(t, screen, "Code from your app", "the recovery code opens no removal")
}
