// owner_webhooks_test.go: an owner whose endpoint fails, has said 410, or is moved on: on the
// page in Chromium without scripts and in w3m, and with the command of docs/webhooks.md.

package browsers_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// An endpoint answers as it is told to.
type endpoint struct {
	*httptest.Server
	status, told atomic.Int64
}

func newEndpoint(t testing.TB) *endpoint {
	e := &endpoint{}
	e.status.Store(http.StatusNoContent)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := e.status.Load()
		if status == http.StatusNoContent {
			e.told.Add(1)
		}
		w.WriteHeader(int(status))
	}))
	t.Cleanup(e.Close)
	return e
}

// newOwnerWithWebhook is newOwner with that endpoint; everything in its address behind the
// host is a secret.
func newOwnerWithWebhook(t testing.TB, e *endpoint) *anOwner {
	t.Helper()
	s := served.NewServer(t)
	s.Values["hook"] = e.URL + "/way-that-is-secret"
	return startOwner(s, `mailer file [[dir]]/mail
		webhook [[hook]] {
			secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
			allow_private on
		}`)
}

// An ownersScreen shows the page of webhooks and presses a button on it, and on the page
// that asks whether one is sure.
type ownersScreen interface {
	page() string
	press(button, selector string, again bool) string
}

type inChromium struct{ b *served.Browser }

func (c inChromium) page() string {
	require.Equal(c.b.T, 200, c.b.Open(c.b.Base+adminPath+"webhooks/"))
	return c.b.Text("main")
}

func (c inChromium) press(_, selector string, again bool) string {
	c.page()
	require.Equal(c.b.T, 200, c.b.Press(selector))
	if again {
		require.Contains(c.b.T, c.b.Text("main"), "This can’t be undone.")
		require.Equal(c.b.T, 200, c.b.Press(mainSubmit))
	}
	return c.b.Text("main")
}

type inW3M struct {
	w  *w3m
	at string
}

func (i inW3M) page() string { return strings.Join(strings.Fields(i.w.browse(i.at)), " ") }

func (i inW3M) press(button, _ string, again bool) string {
	keys := []string{"/" + button + enter + enter}
	if again {
		keys = append(keys, "/"+button+enter+"n"+enter) // the heading says the same
	}
	return strings.Join(strings.Fields(i.w.browse(i.at, keys...)), " ")
}

func TestOwnerLooksAfterWebhooks(t *testing.T) {
	t.Parallel()
	t.Run("in Chromium without scripts", func(t *testing.T) {
		t.Parallel()
		e := newEndpoint(t)
		o := newOwnerWithWebhook(t, e)
		b := served.NewBrowser(t, o.s.Base())
		_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		require.NoError(t, err)
		signIn(b, "ada")
		looksAfterWebhooks(t, o, e, inChromium{b})
		b.RequireQuiet()
	})
	t.Run("in w3m", func(t *testing.T) {
		t.Parallel()
		e := newEndpoint(t)
		o := newOwnerWithWebhook(t, e)
		w := newW3M(t)
		w.browse(o.s.Base()+adminPath, tab(1), typed("ada"), tab(1), typed(served.TestPassword), tab(1), enter)
		looksAfterWebhooks(t, o, e, inW3M{w, o.s.Base() + adminPath + "webhooks/"})
	})
}

func looksAfterWebhooks(t *testing.T, o *anOwner, e *endpoint, screen ownersScreen) {
	says := func(parts ...string) {
		t.Helper()
		var text string
		require.True(t, served.Eventually(func() bool {
			text = screen.page()
			for _, part := range parts {
				if !strings.Contains(text, part) {
					return false
				}
			}
			return true
		}, 50*time.Millisecond), "%q\n%s", parts, text)
		require.NotContains(t, text, "way-that-is-secret")
	}
	says("This endpoint accepts its messages.", "Last delivery")

	// It fails: since when, what waits, why, and when it is tried again.
	e.status.Store(http.StatusBadGateway)
	o.member("bob")
	says("This endpoint has accepted nothing since ", "It’s tried again automatically, for 3 days.", "Waiting messages", "Oldest waiting message", "Next attempt", "it answered 502")
	require.Contains(t, screen.press("Try this endpoint now", `form[action$="/retry/"] button`, false), "The endpoint is being tried now.")
	says("it answered 502")
	e.status.Store(http.StatusNoContent)
	before := e.told.Load()
	require.Contains(t, screen.press("Try this endpoint now", `form[action$="/retry/"] button`, false), "The endpoint is being tried now.")
	says("This endpoint accepts its messages.")
	require.Greater(t, e.told.Load(), before, "what waited is told")

	// It fails for good, and what waits is skipped.
	e.status.Store(http.StatusInternalServerError)
	o.member("carol")
	says("it answered 500")
	before = e.told.Load()
	e.status.Store(http.StatusNoContent)
	require.Contains(t, screen.press("Skip waiting messages", `a[href$="/skip/"]`, true), "The messages waiting for the endpoint have been skipped.")
	says("This endpoint accepts its messages.")
	require.LessOrEqual(t, e.told.Load(), before+1, "of what waited nothing is told; that it was skipped is")

	// It wants no more, and is enabled again.
	e.status.Store(http.StatusGone)
	o.member("dan")
	says("that it wants no more")
	e.status.Store(http.StatusNoContent)
	require.Contains(t, screen.press("Enable this endpoint", `form[action$="/enable/"] button`, false), "The endpoint is enabled again. It’s told what happens from now on.")
	before = e.told.Load()
	o.member("eve")
	require.True(t, served.Eventually(func() bool { return e.told.Load() > before }, 20*time.Millisecond))
	says("This endpoint accepts its messages.")
}

// TestOwnerLooksAfterWebhooksByCommand: what docs/webhooks.md has him type.
func TestOwnerLooksAfterWebhooksByCommand(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	o := newOwnerWithWebhook(t, e)
	run := func(args ...string) (string, error) {
		out, err := o.s.Command(append([]string{"registration", "webhooks", "--config", o.s.ConfigFile()}, args...)...).CombinedOutput()
		require.NotContains(t, string(out), "way-that-is-secret")
		return string(out), err
	}
	type row struct {
		ID, URL, State, Error string
		Waiting               int
	}
	is := func(state string) (found row) {
		t.Helper()
		var out string
		require.True(t, served.Eventually(func() bool {
			var err error
			out, err = run("--json")
			require.NoError(t, err, out)
			require.NoError(t, json.Unmarshal([]byte(out), &found), out)
			return found.State == state
		}, 50*time.Millisecond), "%s\n%s", state, out)
		return found
	}
	does := func(want string, args ...string) {
		t.Helper()
		out, err := run(args...)
		require.NoError(t, err, out)
		require.Contains(t, out, want)
	}
	id := is("works").ID
	e.status.Store(http.StatusBadGateway)
	o.member("bob")
	failing := is("failing")
	require.Equal(t, "it answered 502", failing.Error)
	require.NotZero(t, failing.Waiting)
	does("it answered 502")
	e.status.Store(http.StatusNoContent)
	does("is tried at once.", "--retry", id)
	is("works")

	e.status.Store(http.StatusBadGateway)
	o.member("carol")
	is("failing")
	e.status.Store(http.StatusNoContent)
	does("is not told what waited; what happens from now on, it is.", "--skip", "-y")
	is("works")

	e.status.Store(http.StatusGone)
	o.member("dan")
	is("off")
	e.status.Store(http.StatusNoContent)
	does("is told again what happens from now on.", "--enable", id)
	is("works")
	// There is nothing to enable any more, and no such endpoint.
	for _, args := range [][]string{{"--enable", id}, {"--retry", "none"}, {id}, {"--retry", "--skip", id}} {
		out, err := run(args...)
		require.Error(t, err, out)
	}
}
