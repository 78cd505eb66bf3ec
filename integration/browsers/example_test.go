// example_test.go: the example site in a real browser, Chromium, from the first
// visit of a stranger to the sign-out.

package browsers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// exampleServer runs examples/Caddyfile itself, on ports of this test.
func exampleServer(t *testing.T) *served.Server {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(served.RepoRoot, "examples", "Caddyfile"))
	require.NoError(t, err)
	config := string(raw)
	require.Equal(t, 1, strings.Count(config, "\n{\n"), "the global options")
	require.Equal(t, 2, strings.Count(config, "http://localhost:8080")-strings.Count(config, "Then open http://localhost:8080"))
	config = strings.Replace(config, "\n{\n", "\n{\n\tadmin 127.0.0.1:[[admin]]\n", 1)
	config = strings.ReplaceAll(config, "localhost:8080", "localhost:[[port]]")
	s := served.NewServer(t)
	s.WorkDir = served.RepoRoot
	s.Configure(config)
	s.Start()
	return s
}

// loggedMail takes the link from the mail in Caddy's log.
func loggedMail(s *served.Server, to string) string {
	s.T.Helper()
	var entry struct{ Text string }
	require.NoError(s.T, json.Unmarshal([]byte(s.Logged(0, `"msg":"mail"`, `"to":"`+to+`"`)), &entry))
	link := served.LinkInText.FindString(entry.Text)
	require.NotEmpty(s.T, link, entry.Text)
	return link
}

func TestExampleInABrowser(t *testing.T) {
	s := exampleServer(t)
	base := fmt.Sprintf("http://localhost:%d", s.Port)
	b := served.NewBrowser(t, base)
	const login = "/accounts/login/?next=%2Fmembers%2F%3Fa%3Db"

	require.Equal(t, 200, b.Open(base+"/members/?a=b"))
	require.Equal(t, login, b.At())
	require.Equal(t, "Sign in", b.Text("h1"))
	b.Look("login")

	require.Equal(t, 200, b.Press(`a[href^="/accounts/register/"]`))
	require.Equal(t, "Create an account", b.Text("h1"))
	require.Equal(t, 1, served.Evaluate[int](b, `document.scripts.length`))
	b.Fill("username", "ada")
	b.Fill("email", "ada@example.org")
	b.Fill("password", "short")
	require.Equal(t, 400, b.Press(`main form button[type="submit"]`))
	require.NotEmpty(t, b.Text("#password-error"))
	require.Equal(t, "ada", served.Evaluate[string](b, `document.querySelector("#username").value`))
	require.Equal(t, "ada@example.org", served.Evaluate[string](b, `document.querySelector("#email").value`))
	require.Empty(t, served.Evaluate[string](b, `document.querySelector("#password").value`), "a password came back")
	b.Look("register-refused")
	b.Fill("password", served.TestPassword)
	b.Fill("password_confirm", served.TestPassword)
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Contains(t, b.Text("main"), "ada@example.org")
	b.Look("registered")

	link := loggedMail(s, "ada@example.org")
	require.Equal(t, 200, b.Open(link))
	require.Equal(t, "Confirm your account", b.Text("h1"))
	require.Equal(t, 1, served.Evaluate[int](b, `document.querySelectorAll("main button").length`))
	b.Look("confirm")
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Contains(t, b.Text(".note"), "confirmed")
	require.Equal(t, login, b.At(), "the way to the page first asked for is lost")

	b.Fill("login", "ada")
	b.Fill("password", "not the passphrase")
	require.Equal(t, 400, b.Press(`main form button[type="submit"]`))
	require.NotEmpty(t, b.Text(`[role="alert"]`))
	require.Equal(t, "ada", served.Evaluate[string](b, `document.querySelector("#login").value`))
	require.Empty(t, served.Evaluate[string](b, `document.querySelector("#password").value`))
	b.Look("login-refused")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, "/members/?a=b", b.At())
	require.Equal(t, "Members only", b.Text("h1"))

	require.Equal(t, 200, b.Open(base+"/accounts/"))
	require.Equal(t, "/accounts/profile/", b.At())
	require.Equal(t, "ada", b.Text("header form a"))
	b.Look("profile")
	require.Equal(t, 200, b.Open(base+"/members/?a=b"))
	require.Equal(t, 200, b.Press(`form button`))
	require.Equal(t, "You’re signed out", b.Text("h1"))
	require.Equal(t, 200, b.Open(base+"/members/?a=b"))
	require.Equal(t, login, b.At())
	b.RequireQuiet()
}

// TestFormFromAnotherSite: a page elsewhere can't sign a visitor in as somebody
// of its choice, nor sign him out.
func TestFormFromAnotherSite(t *testing.T) {
	s := exampleServer(t)
	base := fmt.Sprintf("http://localhost:%d", s.Port)
	b := served.NewBrowser(t, base)
	for _, endpoint := range []string{"login", "logout"} {
		evil := `data:text/html,<form method=post action="` + base + `/accounts/` + endpoint + `/"><input name=login value=eve><button>Win</button></form>`
		b.Do(chromedp.Navigate(evil))
		want := 403
		if endpoint == "logout" { // nobody is signed in: there is nothing to do
			want = 401
		}
		require.Equal(t, want, b.Press("button"))
	}
}
