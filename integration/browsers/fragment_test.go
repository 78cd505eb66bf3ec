// fragment_test.go: the part of an address that no server sees.

package browsers_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// TestFragmentSurvivesTheSignIn: without a script, from the guard over the sign-in
// page, a refused attempt and the question whether the browser keeps cookies, back to
// the page.
func TestFragmentSurvivesTheSignIn(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Configure(membersSite)
	s.Start()
	s.Client().Post(201, "register", served.Newcomer("ada"))
	base := fmt.Sprintf("http://localhost:%d", s.Port)
	b := served.NewBrowser(t, base)
	_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	const page = "/members/?a=b"
	require.Equal(t, 200, b.Open(base+page+"#part-2"))
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F%3Fa%3Db#part-2", b.At())
	b.Fill("login", "ada")
	b.Fill("password", "not the passphrase")
	require.Equal(t, 400, b.Press(`main form button[type="submit"]`))
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, page+"#part-2", b.At())

	// Who is signed in types nothing, and who signs in of himself brings none.
	require.Equal(t, 200, b.Open(base+"/accounts/login/?next=%2Fmembers%2F#part-3"))
	require.Equal(t, "/members/#part-3", b.At())
	require.Equal(t, 200, b.Press("a"))
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, 200, b.Open(base+"/accounts/login/?next=%2Fmembers%2F"))
	b.Fill("login", "ada")
	b.Fill("password", served.TestPassword)
	require.Equal(t, 200, b.Press(`main form button[type="submit"]`))
	require.Equal(t, "/members/", b.At())
}
