// privacy_test.go: what a browser keeps after a sign-out, and what it says of where
// a form comes from.

package browsers_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

const membersSite = `
{
	admin 127.0.0.1:[[admin]]
}
http://localhost:[[port]], http://127.0.0.1:[[port]] {
	log
	header Referrer-Policy no-referrer
	registration {
		base_url http://localhost:[[port]]
		from no-reply@example.com
		mailer log
		throttle off
		register {
			verification off
		}
	}
	require_login /members/*
	header /members/* Content-Type text/html
	respond /members/* "<!doctype html><title>m</title><h1>Members only</h1><a href=/accounts/logout/>Out</a>"
}
`

// membersBrowser is a browser in which ada is signed in and sees a guarded page, in a
// window that is marked, so that a copy of it is known from a new one.
func membersBrowser(t *testing.T, base string) *served.Browser {
	t.Helper()
	b := served.NewBrowser(t, base)
	require.Equal(t, 200, b.Open(base+"/members/"))
	b.Fill("login", "ada")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, "Members only", b.Text("h1"))
	served.Evaluate[int](b, `window.copied = 7`)
	return b
}

// goBack goes one page back in the history and returns what is there: the heading, and
// whether it is the marked window itself, which the browser has kept. It asks by script:
// a page that is kept is not loaded, and the steering of the browser waits for that.
func goBack(b *served.Browser) (heading string, kept bool) {
	b.T.Helper()
	served.Evaluate[bool](b, `window.left = true`)
	served.Evaluate[bool](b, `setTimeout(() => history.back()); true`)
	var seen struct {
		Heading string
		Kept    bool
	}
	require.True(b.T, served.Eventually(func() bool {
		text, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](`window.left || !document.querySelector("h1") ? "" :
			JSON.stringify({heading: document.querySelector("h1").textContent, kept: window.copied === 7})`))
		// An error: between two pages there is nobody to ask.
		return err == nil && text != "" && json.Unmarshal([]byte(text), &seen) == nil
	}, 20*time.Millisecond), "no page before this one")
	return seen.Heading, seen.Kept
}

// TestBackAfterSignOut: the pages behind the guard are not in the browser any more. And
// where the owner has pages tell nobody where a visitor comes from, ours still say whose
// a form is, or the sign-in would be refused as a foreign one.
func TestBackAfterSignOut(t *testing.T) {
	s := served.NewServer(t)
	s.Configure(membersSite)
	s.Start()
	s.Client().Post(201, "register", served.Newcomer("ada"))
	base := fmt.Sprintf("http://localhost:%d", s.Port)

	// This browser does keep pages whole and show them again, or the rest shows nothing.
	keeps := membersBrowser(t, base)
	require.Equal(t, 200, keeps.Press("a"))
	heading, kept := goBack(keeps)
	require.Equal(t, "Members only", heading)
	require.True(t, kept, "the browser has kept no page: its back/forward cache is off")

	b := membersBrowser(t, base)
	s.Logged(0, `"method":"POST"`, `/accounts/login/`, `"Origin":["`+base+`"]`)
	require.Equal(t, 200, b.Press("a"))
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, "You’re signed out", b.Text("h1"))
	heading, _ = goBack(b) // the page that asked
	require.Equal(t, "You’re signed out", heading)
	heading, kept = goBack(b)
	require.False(t, kept, "the guarded page is still in the browser")
	require.Equal(t, "Sign in", heading)
}
