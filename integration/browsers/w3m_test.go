// w3m_test.go: all flows in a text browser, w3m, by its keys.

package browsers_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
		tab(3), typed(served.TestPassword), tab(1), typed("something else"), tab(1), enter)
	require.Contains(t, screen, "There is a problem")
	require.Contains(t, screen, "[ada@example.org")
	require.NotContains(t, screen, served.TestPassword)
	screen = w.browse(at(deepLink), tab(4), enter, tab(1), typed("ada"), tab(1), typed("ada@example.org"),
		tab(3), typed(served.TestPassword), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "Check your mail")
	require.Contains(t, screen, "ada@example.org")
	screen = w.browse(linkTo(s, "ada@example.org", "verify-registration"), tab(1), enter)
	require.Contains(t, screen, "Your account is confirmed.")
	screen = w.browse(linkTo(s, "ada@example.org", "verify-registration"))
	require.Contains(t, screen, "This link has already been used")
	screen = w.browse(at(deepLink), tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "for members: "+deepLink)

	// Signed in, a page begins with the site's name, the person's, and a button.
	screen = w.browse(at("/accounts/profile/"), tab(4), typed("Augusta"), tab(2), enter)
	require.Contains(t, screen, "Your profile is saved.")
	require.Contains(t, screen, "[Augusta")
	screen = w.browse(at("/accounts/register-email/"), tab(3), typed("ada@example.net"), tab(1), enter)
	require.Contains(t, screen, "on its way to the new address")
	screen = w.browse(linkTo(s, "ada@example.net", "verify-email"), tab(3), enter)
	require.Contains(t, screen, "ada@example.net")
	// w3m shows the input that names the account for password managers.
	screen = w.browse(at("/accounts/change-password/"), tab(4), typed(served.TestPassword), tab(1), typed(newPassword), tab(1), typed(newPassword), tab(1), enter)
	require.Contains(t, screen, "Your password is changed.")
	screen = w.browse(at("/accounts/logout/"), tab(3), enter)
	require.Contains(t, screen, "You are signed out")
	require.Contains(t, w.browse(at("/members/")), "Sign in")

	screen = w.browse(at("/accounts/send-reset-password-link/"), tab(1), typed("ada"), tab(1), enter)
	require.Contains(t, screen, "Check your mail")
	screen = w.browse(linkTo(s, "ada@example.net", "reset-password"), tab(2), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "Your new password is set.")
	screen = w.browse(at("/members/"), tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
	require.Contains(t, screen, "for members: /members/")
}
