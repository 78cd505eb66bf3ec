// browser.go: a real browser, Chromium, that tests steer.

package served

import (
	"context"
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

// Browser is one Chromium with a profile of its own.
type Browser struct {
	T    testing.TB
	Ctx  context.Context //nolint:containedctx // chromedp's browser is a context
	Base string
	// Shots is where screenshots go; keepsShots: somebody will look at them.
	Shots      string
	KeepsShots bool

	Mu         sync.Mutex
	complaints []string // of the console: errors, exceptions, refused by the CSP
}

func NewBrowser(t testing.TB, base string) *Browser {
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
	b := &Browser{T: t, Base: base, Shots: os.Getenv("REGISTRATION_SCREENSHOTS")}
	if b.KeepsShots = b.Shots != ""; !b.KeepsShots {
		b.Shots = t.TempDir()
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
	ctx, cancel = context.WithTimeout(ctx, 10*Patience)
	t.Cleanup(cancel)
	b.Ctx = ctx
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return // the end of the browser
			}
			if m.Source == "network" && m.URL == base+"/favicon.ico" {
				continue // asked for by the browser itself; the example site has none
			}
			if strings.HasPrefix(m.Text, "Clear-Site-Data header on") {
				continue // says that it was obeyed
			}
			b.Mu.Lock()
			b.complaints = append(b.complaints, m.String()+" "+m.URL)
			b.Mu.Unlock()
		}
	}()
	return b
}

// RequireQuiet requires that the console has had nothing to complain about (no
// script error, nothing that the CSP refused), but for the browser's own notes
// of the refusals that the test provoked.
func (b *Browser) RequireQuiet() {
	b.T.Helper()
	const end = "end of the test"
	b.Do(chromedp.Evaluate[chromedp.Void](`console.log("` + end + `")`))
	var complaints []string
	require.True(b.T, Eventually(func() bool {
		b.Mu.Lock()
		defer b.Mu.Unlock()
		complaints = b.complaints
		return len(complaints) > 0 && strings.Contains(complaints[len(complaints)-1], end)
	}, time.Millisecond), "the console is silent")
	for _, complaint := range complaints[:len(complaints)-1] {
		require.Regexp(b.T, `responded with a status of 4(00|03|04|09|29)|responded with a status of 503`, complaint)
	}
}

func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	require.NoError(b.T, chromedp.Do(b.Ctx, actions...))
}

func Ask[T any](b *Browser, action chromedp.Action[T]) T {
	b.T.Helper()
	out, err := chromedp.Run(b.Ctx, action)
	require.NoError(b.T, err)
	return out
}

// Open goes to an address and returns the status of the page that it ends at.
func (b *Browser) Open(address string) int {
	b.T.Helper()
	res, err := chromedp.RunResponse(b.Ctx, chromedp.Navigate(address))
	require.NoError(b.T, err)
	return int(res.Status)
}

// Press clicks what leads to another page, and returns that page's status.
func (b *Browser) Press(selector string) int {
	b.T.Helper()
	res, err := chromedp.RunResponse(b.Ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	require.NoError(b.T, err)
	return int(res.Status)
}

func (b *Browser) Fill(name, value string) {
	b.T.Helper()
	if Evaluate[bool](b, `(i => !!i && !!i.closest("[hidden]"))(document.querySelector('input[name="`+name+`"]'))`) {
		return // the second time of a password that can be shown; the page's script fills it in
	}
	input := chromedp.CSS(`input[name="` + name + `"]`)
	Evaluate[bool](b, `(i => !(i.value = ""))(document.querySelector('input[name="`+name+`"]'))`)
	b.Do(chromedp.SendKeys(input, value))
}

// At returns the path and query of the page.
func (b *Browser) At() string {
	b.T.Helper()
	location := Ask(b, chromedp.Location())
	require.True(b.T, strings.HasPrefix(location, b.Base), location)
	return strings.TrimPrefix(location, b.Base)
}

func (b *Browser) Text(selector string) string {
	b.T.Helper()
	return Ask(b, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
}

// Evaluate runs a script; the pages' CSP allows none, but the debugger may.
func Evaluate[T any](b *Browser, script string) T {
	b.T.Helper()
	return Ask(b, chromedp.Evaluate[T](script))
}

// Look takes screenshots of the page on a phone and a desktop, light and dark,
// and requires that nothing sticks out of it sideways.
func (b *Browser) Look(name string) {
	b.T.Helper()
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.Do(chromedp.EmulateViewport(width, 800))
			_, err := chromedp.Call(b.Ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			require.NoError(b.T, err)
			shot := Ask(b, chromedp.CaptureScreenshot())
			require.LessOrEqual(b.T, Evaluate[int64](b, `document.documentElement.scrollWidth`), width, "%s scrolls sideways at %d", name, width)
			file := filepath.Join(b.Shots, name+"-"+strconv.FormatInt(width, 10)+"-"+scheme+".png")
			require.NoError(b.T, os.WriteFile(file, shot, 0o600))
		}
	}
}
