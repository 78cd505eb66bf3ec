// browser_test.go: the example site in a real browser, Chromium, from the first
// visit of a stranger to the sign-out.

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser is one Chromium with a profile of its own.
type browser struct {
	t    testing.TB
	ctx  context.Context //nolint:containedctx // chromedp's browser is a context
	base string
	// shots is where screenshots go; keepsShots: somebody will look at them.
	shots      string
	keepsShots bool

	mu         sync.Mutex
	complaints []string // of the console: errors, exceptions, refused by the CSP
}

func newBrowser(t testing.TB, base string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no Chromium on this machine, and CI must not go without")
		}
		t.Skip("there is no Chromium on this machine")
	}
	b := &browser{t: t, base: base, shots: os.Getenv("REGISTRATION_SCREENSHOTS")}
	if b.keepsShots = b.shots != ""; !b.keepsShots {
		b.shots = t.TempDir()
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 10*patience)
	t.Cleanup(cancel)
	b.ctx = ctx
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return // the end of the browser
			}
			if m.Source == "network" && m.URL == base+"/favicon.ico" {
				continue // asked for by the browser itself; the example site has none
			}
			b.mu.Lock()
			b.complaints = append(b.complaints, m.String()+" "+m.URL)
			b.mu.Unlock()
		}
	}()
	return b
}

// requireQuiet requires that the console has had nothing to complain about (no
// script error, nothing that the CSP refused), but for the browser's own notes
// of the refusals that the test provoked.
func (b *browser) requireQuiet() {
	b.t.Helper()
	const end = "end of the test"
	b.do(chromedp.Evaluate[chromedp.Void](`console.log("` + end + `")`))
	var complaints []string
	require.True(b.t, eventually(func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		complaints = b.complaints
		return len(complaints) > 0 && strings.Contains(complaints[len(complaints)-1], end)
	}, time.Millisecond), "the console is silent")
	for _, complaint := range complaints[:len(complaints)-1] {
		require.Regexp(b.t, `responded with a status of 4(00|03|04|29)|responded with a status of 503`, complaint)
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

func ask[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, action)
	require.NoError(b.t, err)
	return out
}

// open goes to an address and returns the status of the page that it ends at.
func (b *browser) open(address string) int {
	b.t.Helper()
	res, err := chromedp.RunResponse(b.ctx, chromedp.Navigate(address))
	require.NoError(b.t, err)
	return int(res.Status)
}

// press clicks what leads to another page, and returns that page's status.
func (b *browser) press(selector string) int {
	b.t.Helper()
	res, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	require.NoError(b.t, err)
	return int(res.Status)
}

func (b *browser) fill(name, value string) {
	b.t.Helper()
	input := chromedp.CSS(`input[name="` + name + `"]`)
	b.do(chromedp.Clear(input), chromedp.SendKeys(input, value))
}

// at returns the path and query of the page.
func (b *browser) at() string {
	b.t.Helper()
	location := ask(b, chromedp.Location())
	require.True(b.t, strings.HasPrefix(location, b.base), location)
	return strings.TrimPrefix(location, b.base)
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return ask(b, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
}

// evaluate runs a script; the pages' CSP allows none, but the debugger may.
func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[T](script))
}

// look takes screenshots of the page on a phone and a desktop, light and dark,
// and requires that nothing sticks out of it sideways.
func (b *browser) look(name string) {
	b.t.Helper()
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.do(chromedp.EmulateViewport(width, 800))
			_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			require.NoError(b.t, err)
			shot := ask(b, chromedp.CaptureScreenshot())
			require.LessOrEqual(b.t, evaluate[int64](b, `document.documentElement.scrollWidth`), width, "%s scrolls sideways at %d", name, width)
			file := filepath.Join(b.shots, name+"-"+strconv.FormatInt(width, 10)+"-"+scheme+".png")
			require.NoError(b.t, os.WriteFile(file, shot, 0o600))
		}
	}
}

// exampleServer runs examples/Caddyfile itself, on ports of this test.
func exampleServer(t *testing.T) *server {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repoRoot, "examples", "Caddyfile"))
	require.NoError(t, err)
	config := string(raw)
	require.Equal(t, 1, strings.Count(config, "\n{\n"), "the global options")
	require.Equal(t, 2, strings.Count(config, "http://localhost:8080")-strings.Count(config, "Then open http://localhost:8080"))
	config = strings.Replace(config, "\n{\n", "\n{\n\tadmin 127.0.0.1:[[admin]]\n", 1)
	config = strings.ReplaceAll(config, "localhost:8080", "localhost:[[port]]")
	s := newServer(t)
	s.workDir = repoRoot
	s.configure(config)
	s.start()
	return s
}

// loggedMail takes the link from the mail in Caddy's log.
func (s *server) loggedMail(to string) string {
	s.t.Helper()
	var entry struct{ Text string }
	require.NoError(s.t, json.Unmarshal([]byte(s.logged(0, `"msg":"mail"`, `"to":"`+to+`"`)), &entry))
	link := linkInText.FindString(entry.Text)
	require.NotEmpty(s.t, link, entry.Text)
	return link
}

func TestExampleInABrowser(t *testing.T) {
	s := exampleServer(t)
	base := fmt.Sprintf("http://localhost:%d", s.port)
	b := newBrowser(t, base)
	const login = "/accounts/login/?next=%2Fmembers%2F%3Fa%3Db"

	require.Equal(t, 200, b.open(base+"/members/?a=b"))
	require.Equal(t, login, b.at())
	require.Equal(t, "Sign in", b.text("h1"))
	b.look("login")

	require.Equal(t, 200, b.press(`a[href^="/accounts/register/"]`))
	require.Equal(t, "Create an account", b.text("h1"))
	require.Zero(t, evaluate[int](b, `document.scripts.length`))
	b.fill("username", "ada")
	b.fill("email", "ada@example.org")
	b.fill("password", testPassword)
	b.fill("password_confirm", "something else")
	require.Equal(t, 400, b.press("main form button"))
	require.NotEmpty(t, b.text("#password_confirm-error"))
	require.Equal(t, "ada", evaluate[string](b, `document.querySelector("#username").value`))
	require.Equal(t, "ada@example.org", evaluate[string](b, `document.querySelector("#email").value`))
	require.Empty(t, evaluate[string](b, `document.querySelector("#password").value`), "a password came back")
	b.look("register-refused")
	b.fill("password", testPassword)
	b.fill("password_confirm", testPassword)
	require.Equal(t, 200, b.press("main form button"))
	require.Contains(t, b.text("main"), "ada@example.org")
	b.look("registered")

	link := s.loggedMail("ada@example.org")
	require.Equal(t, 200, b.open(link))
	require.Equal(t, "Confirm your account", b.text("h1"))
	require.Equal(t, 1, evaluate[int](b, `document.querySelectorAll("main button").length`))
	b.look("confirm")
	require.Equal(t, 200, b.press("main form button"))
	require.Contains(t, b.text(".note"), "confirmed")
	require.Equal(t, login, b.at(), "the way to the page first asked for is lost")

	b.fill("login", "ada")
	b.fill("password", "not the passphrase")
	require.Equal(t, 400, b.press("main form button"))
	require.NotEmpty(t, b.text(`[role="alert"]`))
	require.Equal(t, "ada", evaluate[string](b, `document.querySelector("#login").value`))
	require.Empty(t, evaluate[string](b, `document.querySelector("#password").value`))
	b.look("login-refused")
	b.fill("password", testPassword)
	require.Equal(t, 200, b.press("main form button"))
	require.Equal(t, "/members/?a=b", b.at())
	require.Equal(t, "Members only", b.text("h1"))

	require.Equal(t, 200, b.open(base+"/accounts/"))
	require.Equal(t, "/accounts/profile/", b.at())
	require.Equal(t, "ada", b.text("header form a"))
	b.look("profile")
	require.Equal(t, 200, b.open(base+"/members/?a=b"))
	require.Equal(t, 200, b.press("form button"))
	require.Equal(t, "You are signed out", b.text("h1"))
	require.Equal(t, 200, b.open(base+"/members/?a=b"))
	require.Equal(t, login, b.at())
	b.requireQuiet()
}

// TestFormFromAnotherSite: a page elsewhere can't sign a visitor in as somebody
// of its choice, nor sign him out.
func TestFormFromAnotherSite(t *testing.T) {
	s := exampleServer(t)
	base := fmt.Sprintf("http://localhost:%d", s.port)
	b := newBrowser(t, base)
	for _, endpoint := range []string{"login", "logout"} {
		evil := `data:text/html,<form method=post action="` + base + `/accounts/` + endpoint + `/"><input name=login value=eve><button>Win</button></form>`
		b.do(chromedp.Navigate(evil))
		want := 403
		if endpoint == "logout" { // nobody is signed in: there is nothing to do
			want = 401
		}
		require.Equal(t, want, b.press("button"))
	}
}
