// mailedlink_test.go: redirect mode: a GET of a mailed link acts, once, and sends
// the browser on; a HEAD, or a fetch ahead of the click, never does.

package web_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestRedirectMode(t *testing.T) {
	s := sitetest.New(t, sitetest.Redirecting)
	b := s.Browser().LikeBrowser()
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"next": "/members/?a=b"})).StatusCode)
	link := s.MailedPath()
	active := func() bool {
		u, err := s.Accounts.Lookup(t.Context(), "ada")
		require.NoError(t, err)
		return u.IsActive
	}
	for range 3 {
		res := b.Do("HEAD", link, nil)
		require.Equal(t, 200, res.StatusCode)
		require.Empty(t, res.Text)
	}
	for _, h := range [][2]string{{"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}, {"X-Moz", "prefetch"}, {"X-Purpose", "preview"}} {
		ahead := s.Browser().LikeBrowser()
		ahead.Header.Set(h[0], h[1])
		require.Equal(t, 503, ahead.Get(link).StatusCode)
	}
	require.False(t, active())
	b.Get(link).RequireRedirect(t, "/welcome/?from=mail&next=%2Fmembers%2F%3Fa%3Db")
	require.True(t, active())
	b.Get(link).RequireRedirect(t, "/welcome/?from=mail&next=%2Fmembers%2F%3Fa%3Db") // used, so confirmed
	b.Get("/accounts/verify-registration").RequireRedirect(t, "https://app.example.net/failed")
	require.Equal(t, 2, s.Logs.FilterMessage("act done").Len(), "the sign-up, and the link's act once")

	// A POST is answered as ever, and other methods are refused.
	require.Equal(t, 400, s.Browser().Post("/accounts/verify-registration", sitetest.Data{}).StatusCode)
	res := s.Browser().Do("PUT", "/accounts/verify-registration", nil)
	require.Equal(t, 405, res.StatusCode)
	require.Equal(t, "GET, HEAD, POST", res.Header.Get("Allow"))

	// The reset asks for the password on its page, and then sends on.
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada", "next": "/members/"}).StatusCode)
	link = s.MailedPath()
	require.Equal(t, 200, b.Get(link).StatusCode)
	u, err := url.Parse(link)
	require.NoError(t, err)
	form := u.Query()
	form.Set("password", "short")
	res = b.Post("/accounts/reset-password/", form)
	require.Equal(t, 400, res.StatusCode, "the person can correct it")
	require.Contains(t, res.Text, `id="password-error"`)
	form.Set("password", "another long passphrase")
	b.Post("/accounts/reset-password/", form).RequireRedirect(t, "/welcome/?from=mail&next=%2Fmembers%2F")
	b.Post("/accounts/reset-password/", form).RequireRedirect(t, "https://app.example.net/failed")
	b.Post("/accounts/reset-password/", url.Values{}).RequireRedirect(t, "https://app.example.net/failed")

	in := s.Browser()
	require.Equal(t, 200, in.Post("/accounts/login", sitetest.Data{"login": "ada", "password": "another long passphrase"}).StatusCode)
	require.Equal(t, 200, in.Post("/accounts/register-email", sitetest.Data{"email": "ada@example.net"}).StatusCode)
	link = s.MailedPath()
	s.Browser().Get(link).RequireRedirect(t, "/welcome/?from=mail")
	require.Equal(t, "ada@example.net", in.Get("/accounts/profile").JSON(t)["email"])
	s.Browser().Get(link).RequireRedirect(t, "/welcome/?from=mail")
	require.Equal(t, 404, s.Browser().Get("/accounts/nothing").StatusCode)
}

// TestRedirectModeAndATroubledStore: a failure that may pass is no dead link.
func TestRedirectModeAndATroubledStore(t *testing.T) {
	s := sitetest.New(t, sitetest.Redirecting)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	link := s.MailedPath()
	broken := &sitetest.BrokenStore{Store: s.Accounts.Store}
	s.Accounts.Store = broken
	broken.Broken.Store(true)
	require.Equal(t, 503, s.Browser().Get(link).StatusCode)
	broken.Broken.Store(false)
	s.Browser().Get(link).RequireRedirect(t, "/welcome/?from=mail")
}

// TestRedirectModeIsChosen: without the settings a GET of the API acts never.
func TestRedirectModeIsChosen(t *testing.T) {
	s := sitetest.New(t)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	require.Equal(t, 405, s.Browser().Get(s.MailedPath()).StatusCode)
}

// TestRedirectModeWithoutPages: a browser would show a person the JSON of an answer
// to a form, so a form is always sent on; a script gets its JSON.
func TestRedirectModeWithoutPages(t *testing.T) {
	s := sitetest.New(t, sitetest.Redirecting, func(s *registration.Settings) {
		s.Pages.Off, s.ResetPassword.VerificationURL, s.RegisterEmail.UndoURL = true, "/reset/", "/undo/"
	})
	const failed = "https://app.example.net/failed"
	b := s.Browser().LikeBrowser()
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	link, err := url.ParseQuery(sitetest.UrlOf(t, s.Mail()).RawQuery)
	require.NoError(t, err)
	b.Post("/accounts/verify-registration", url.Values{}).RequireRedirect(t, failed)
	b.Post("/accounts/verify-registration", link).RequireRedirect(t, "/welcome/?from=mail")
	b.Post("/accounts/verify-registration", link).RequireRedirect(t, "/welcome/?from=mail") // used, so confirmed

	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	mailed := sitetest.UrlOf(t, s.Mail())
	require.Equal(t, "http://example.com/reset/", mailed.Scheme+"://"+mailed.Host+mailed.Path)
	form := mailed.Query()
	form.Set("password", "short")
	b.Post("/accounts/reset-password/", form).RequireRedirect(t, failed)
	require.Equal(t, 400, s.Browser().Post("/accounts/reset-password/", form).StatusCode, "a script's form")
	script := s.Browser().LikeBrowser()
	require.Equal(t, 400, script.Post("/accounts/reset-password/", sitetest.Data{"user_id": form.Get("user_id"), "timestamp": form.Get("timestamp"), "signature": form.Get("signature"), "password": "short"}).StatusCode, "a script's JSON")
	form.Set("password", "another long passphrase")
	b.Post("/accounts/reset-password/", form).RequireRedirect(t, "/welcome/?from=mail")
}

// TestRedirectToAFragment: what a redirect carries is for the app's router.
func TestRedirectToAFragment(t *testing.T) {
	s := sitetest.New(t, sitetest.Redirecting, func(s *registration.Settings) {
		s.Register.SuccessRedirect = "https://app.example.net/#/welcome"
		s.TrustedOrigins = []string{"https://app.example.net"}
	})
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"next": "/members/?a=b"})).StatusCode)
	s.Browser().LikeBrowser().Get(s.MailedPath()).RequireRedirect(t, "https://app.example.net/#/welcome?next=%2Fmembers%2F%3Fa%3Db")
}
