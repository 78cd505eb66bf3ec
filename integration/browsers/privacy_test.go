// privacy_test.go: what a browser keeps after a sign-out, and what it says of where
// a form comes from.

package browsers_test

import (
	"fmt"
	"testing"

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

// TestBackAfterSignOut: the pages behind the guard are not in the browser any more. And
// where the owner has pages tell nobody where a visitor comes from, ours still say whose
// a form is, or the sign-in would be refused as a foreign one.
func TestBackAfterSignOut(t *testing.T) {
	s := served.NewServer(t)
	s.Configure(membersSite)
	s.Start()
	s.Client().Post(201, "register", served.Newcomer("ada"))
	base := fmt.Sprintf("http://localhost:%d", s.Port)
	b := served.NewBrowser(t, base)
	require.Equal(t, 200, b.Open(base+"/members/"))
	b.Fill("login", "ada")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press("main form button"))
	require.Equal(t, "Members only", b.Text("h1"))
	s.Logged(0, `"method":"POST"`, `/accounts/login/`, `"Origin":["`+base+`"]`)
	require.Equal(t, 200, b.Press("a"))
	require.Equal(t, 200, b.Press("main form button"))
	require.Equal(t, "You are signed out", b.Text("h1"))
	for range 3 {
		b.Do(chromedp.NavigateBack())
		require.NotEqual(t, "Members only", b.Text("h1"))
	}
}
