// walker_test.go: what looks at a page from all sides: axe-core on a phone and a
// desktop, in light and dark, nothing that sticks out, HTML for the validator.

package browsers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// walker is a browser that checks each page it comes to.
type walker struct {
	*served.Browser
	axe  string
	html string // the folder of the pages' HTML, for the validator
	seen map[string]bool
	// scripts is how many a page may have.
	scripts int
	// document is the request of the page that is shown; under mu.
	document network.RequestID
}

// fromNPM is a file of a package in integration/web. Without it the test is
// skipped, but never in CI.
func fromNPM(t testing.TB, file string) string {
	t.Helper()
	path := filepath.Join(served.RepoRoot, "integration", "web", "node_modules", filepath.FromSlash(file))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: npm ci --prefix integration/web", file)
		}
		t.Skipf("%s is missing: npm ci --prefix integration/web", file)
	}
	return path
}

func newWalker(t testing.TB, base string) *walker {
	t.Helper()
	source, err := os.ReadFile(fromNPM(t, "axe-core/axe.min.js"))
	require.NoError(t, err)
	w := &walker{Browser: served.NewBrowser(t, base), axe: string(source) + "; undefined", html: t.TempDir(), seen: map[string]bool{}, scripts: 1}
	if w.KeepsShots {
		w.html = filepath.Join(w.Shots, "html")
		require.NoError(t, os.MkdirAll(w.html, 0o700))
	}
	require.NoError(t, chromedp.Listen(w.Ctx, func(event any) {
		if e, ok := event.(*network.EventResponseReceived); ok && e.Type == network.ResourceTypeDocument {
			w.Mu.Lock()
			w.document = e.RequestID
			w.Mu.Unlock()
		}
	}))
	return w
}

type view struct {
	width  int64
	scheme string
}

// forced is the scheme of who has chosen colours of his own.
const forced = "forced"

// views are the ways in which each page is looked at. 320 by 256 is a small phone on its side,
// and a window of 1280 by 1024 at 400 %.
var views = []view{{320, "light"}, {1280, "dark"}, {1280, forced}, {1280, "light"}, {320, "dark"}}

// show has the browser look at its page in one of the ways.
func (w *walker) show(v view) {
	w.T.Helper()
	height := int64(800)
	if v.width == 320 {
		height = 256
	}
	w.Do(chromedp.EmulateViewport(v.width, height))
	features := []*emulation.MediaFeature{{Name: "forced-colors", Value: "none"}, {Name: "prefers-color-scheme", Value: v.scheme}}
	if v.scheme == forced {
		features = []*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}, {Name: "prefers-color-scheme", Value: "light"}}
	}
	_, err := chromedp.Call(w.Ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	require.NoError(w.T, err)
}

// axeRun returns what axe-core finds, one line a violation.
const axeRun = `axe.run(document, {preload: false, resultTypes: ["violations"]}).then(r => r.violations.map(v =>
	v.id + " (" + v.help + "): " + v.nodes.map(n => n.html + " " + n.failureSummary).join(" | ")).join("\n"))`

// check looks at the page that the browser shows; each needs another name.
func (w *walker) check(name string) {
	w.T.Helper()
	w.checkIn(name, views)
}

// checkIn is check in some of the ways.
func (w *walker) checkIn(name string, views []view) {
	w.T.Helper()
	require.False(w.T, w.seen[name], name)
	w.seen[name] = true
	require.LessOrEqual(w.T, served.Evaluate[int](w.Browser, `document.scripts.length`), w.scripts, name)
	w.keepHTML(name)
	if w.KeepsShots { // as most phones have it
		views = append(slices.Clip(views), view{390, "light"}, view{390, "dark"})
	}
	w.Do(chromedp.Evaluate[chromedp.Void](w.axe))
	for _, view := range views {
		w.show(view)
		require.LessOrEqual(w.T, served.Evaluate[int64](w.Browser, `document.documentElement.scrollWidth`), view.width, "%s scrolls sideways at %d", name, view.width)
		if w.KeepsShots {
			shot := served.Ask(w.Browser, chromedp.FullScreenshot(100))
			file := filepath.Join(w.Shots, fmt.Sprintf("%s-%d-%s.png", name, view.width, view.scheme))
			require.NoError(w.T, os.WriteFile(file, shot, 0o600))
		}
		require.Empty(w.T, served.Evaluate[string](w.Browser, seen), "%s at %d, %s", name, view.width, view.scheme)
		require.Empty(w.T, served.Ask(w.Browser, chromedp.Evaluate[string](axeRun, chromedp.EvalAwaitPromise)), "%s at %d, %s", name, view.width, view.scheme)
	}
}

// keepHTML writes the page down as the server sent it.
func (w *walker) keepHTML(name string) {
	w.T.Helper()
	w.Mu.Lock()
	id := w.document
	w.Mu.Unlock()
	content, err := chromedp.Call(w.Ctx, network.GetResponseBody, network.GetResponseBodyParams{RequestID: id})
	require.NoError(w.T, err)
	require.Contains(w.T, string(content.Body), "<!doctype html>")
	require.NoError(w.T, os.WriteFile(filepath.Join(w.html, name+".html"), content.Body, 0o600))
}

// validate requires that the HTML of all pages is valid.
func (w *walker) validate() {
	w.T.Helper()
	node, err := exec.LookPath("node")
	require.NoError(w.T, err)
	config := filepath.Join(served.RepoRoot, "integration", "web", ".htmlvalidate.json")
	report := filepath.Join(w.T.TempDir(), "report.json")
	said, err := exec.Command(node, fromNPM(w.T, "html-validate/bin/html-validate.mjs"), "--config", config, "--formatter", "json="+report, w.html).CombinedOutput()
	out, missing := os.ReadFile(report)
	require.NoError(w.T, missing, "%v: %s", err, said)
	var files []struct {
		FilePath string
		Messages []struct {
			RuleID, Message string
			Line            int
		}
	}
	require.NoError(w.T, json.Unmarshal(out, &files), string(out))
	var wrong []string
	for _, file := range files {
		for _, m := range file.Messages {
			wrong = append(wrong, fmt.Sprintf("%s:%d: %s (%s)", filepath.Base(file.FilePath), m.Line, m.Message, m.RuleID))
		}
	}
	require.Empty(w.T, strings.Join(wrong, "\n"), "invalid HTML")
}
