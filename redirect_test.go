// redirect_test.go: redirect mode: a GET of a mailed link acts, once, and sends
// the browser on; a HEAD, or a fetch ahead of the click, never does.

package registration

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/mail"
)

func redirecting(s *Settings) {
	r := RedirectSettings{SuccessRedirect: "/welcome/?from=mail", FailureRedirect: "https://app.example.net/failed"}
	s.Register.RedirectSettings, s.ResetPassword.RedirectSettings, s.RegisterEmail.RedirectSettings = r, r, r
}

func (s *site) mailedPath() string {
	s.t.Helper()
	return urlOf(s.t, s.mail()).RequestURI()
}

// urlOf is the link in a mail.
func urlOf(t testing.TB, m *mail.Message) *url.URL {
	t.Helper()
	link, err := url.Parse(linkInMail.FindString(m.Text))
	require.NoError(t, err)
	return link
}

func (a *answer) requireRedirect(t *testing.T, to string) {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
	require.Equal(t, to, a.Header.Get("Location"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
}

func TestRedirectMode(t *testing.T) {
	s := newSite(t, redirecting)
	b := s.browser().likeBrowser()
	require.Equal(t, 201, s.browser().post("/accounts/register", with(newcomer("ada"), data{"next": "/members/?a=b"})).StatusCode)
	link := s.mailedPath()
	active := func() bool {
		u, err := s.accounts.Lookup(t.Context(), "ada")
		require.NoError(t, err)
		return u.IsActive
	}
	for range 3 {
		res := b.do("HEAD", link, nil)
		require.Equal(t, 200, res.StatusCode)
		require.Empty(t, res.body)
	}
	for _, h := range [][2]string{{"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}, {"X-Moz", "prefetch"}, {"X-Purpose", "preview"}} {
		ahead := s.browser().likeBrowser()
		ahead.header.Set(h[0], h[1])
		require.Equal(t, 503, ahead.get(link).StatusCode)
	}
	require.False(t, active())
	b.get(link).requireRedirect(t, "/welcome/?from=mail&next=%2Fmembers%2F%3Fa%3Db")
	require.True(t, active())
	b.get(link).requireRedirect(t, "https://app.example.net/failed")
	b.get("/accounts/verify-registration").requireRedirect(t, "https://app.example.net/failed")
	require.Equal(t, 2, s.logs.FilterMessage("act done").Len(), "the sign-up, and the link's act once")

	// A POST is answered as ever, and other methods are refused.
	require.Equal(t, 400, s.browser().post("/accounts/verify-registration", data{}).StatusCode)
	res := s.browser().do("PUT", "/accounts/verify-registration", nil)
	require.Equal(t, 405, res.StatusCode)
	require.Equal(t, "GET, HEAD, POST", res.Header.Get("Allow"))

	// The reset asks for the password on its page, and then sends on.
	require.Equal(t, 200, s.browser().post("/accounts/send-reset-password-link", data{"login": "ada", "next": "/members/"}).StatusCode)
	link = s.mailedPath()
	require.Equal(t, 200, b.get(link).StatusCode)
	u, err := url.Parse(link)
	require.NoError(t, err)
	form := u.Query()
	form.Set("password", "short")
	res = b.post("/accounts/reset-password/", form)
	require.Equal(t, 400, res.StatusCode, "the person can mend it")
	require.Contains(t, res.body, `id="password-error"`)
	form.Set("password", "another long passphrase")
	b.post("/accounts/reset-password/", form).requireRedirect(t, "/welcome/?from=mail&next=%2Fmembers%2F")
	b.post("/accounts/reset-password/", form).requireRedirect(t, "https://app.example.net/failed")
	b.post("/accounts/reset-password/", url.Values{}).requireRedirect(t, "https://app.example.net/failed")

	in := s.browser()
	require.Equal(t, 200, in.post("/accounts/login", data{"login": "ada", "password": "another long passphrase"}).StatusCode)
	require.Equal(t, 200, in.post("/accounts/register-email", data{"email": "ada@example.net"}).StatusCode)
	link = s.mailedPath()
	s.browser().get(link).requireRedirect(t, "/welcome/?from=mail")
	require.Equal(t, "ada@example.net", in.get("/accounts/profile").json(t)["email"])
	s.browser().get(link).requireRedirect(t, "https://app.example.net/failed")
	require.Equal(t, 404, s.browser().get("/accounts/nothing").StatusCode)
}

// TestRedirectModeAndATroubledStore: a failure that may pass is no dead link.
func TestRedirectModeAndATroubledStore(t *testing.T) {
	s := newSite(t, redirecting)
	require.Equal(t, 201, s.browser().post("/accounts/register", newcomer("ada")).StatusCode)
	link := s.mailedPath()
	broken := &brokenStore{Store: s.accounts.Store}
	s.accounts.Store = broken
	broken.broken.Store(true)
	require.Equal(t, 503, s.browser().get(link).StatusCode)
	broken.broken.Store(false)
	s.browser().get(link).requireRedirect(t, "/welcome/?from=mail")
}

// TestRedirectModeIsChosen: without the settings a GET of the API acts never.
func TestRedirectModeIsChosen(t *testing.T) {
	s := newSite(t)
	require.Equal(t, 201, s.browser().post("/accounts/register", newcomer("ada")).StatusCode)
	require.Equal(t, 405, s.browser().get(s.mailedPath()).StatusCode)
}

// TestRedirectModeWithoutPages: a browser would show a person the JSON of an answer
// to a form, so a form is always sent on; a script gets its JSON.
func TestRedirectModeWithoutPages(t *testing.T) {
	s := newSite(t, redirecting, func(s *Settings) {
		s.Pages.Off, s.ResetPassword.VerificationURL, s.RegisterEmail.UndoURL = true, "/reset/", "/undo/"
	})
	const failed = "https://app.example.net/failed"
	b := s.browser().likeBrowser()
	require.Equal(t, 201, s.browser().post("/accounts/register", newcomer("ada")).StatusCode)
	link, err := url.ParseQuery(urlOf(t, s.mail()).RawQuery)
	require.NoError(t, err)
	b.post("/accounts/verify-registration", url.Values{}).requireRedirect(t, failed)
	b.post("/accounts/verify-registration", link).requireRedirect(t, "/welcome/?from=mail")
	b.post("/accounts/verify-registration", link).requireRedirect(t, failed)

	require.Equal(t, 200, s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"}).StatusCode)
	mailed := urlOf(t, s.mail())
	require.Equal(t, "http://example.com/reset/", mailed.Scheme+"://"+mailed.Host+mailed.Path)
	form := mailed.Query()
	form.Set("password", "short")
	b.post("/accounts/reset-password/", form).requireRedirect(t, failed)
	require.Equal(t, 400, s.browser().post("/accounts/reset-password/", form).StatusCode, "a script's form")
	script := s.browser().likeBrowser()
	require.Equal(t, 400, script.post("/accounts/reset-password/", data{"user_id": form.Get("user_id"), "timestamp": form.Get("timestamp"), "signature": form.Get("signature"), "password": "short"}).StatusCode, "a script's JSON")
	form.Set("password", "another long passphrase")
	b.post("/accounts/reset-password/", form).requireRedirect(t, "/welcome/?from=mail")
}

// TestRedirectToAFragment: what a redirect carries is for the app's router.
func TestRedirectToAFragment(t *testing.T) {
	s := newSite(t, redirecting, func(s *Settings) {
		s.Register.SuccessRedirect = "https://app.example.net/#/welcome"
		s.TrustedOrigins = []string{"https://app.example.net"}
	})
	require.Equal(t, 201, s.browser().post("/accounts/register", with(newcomer("ada"), data{"next": "/members/?a=b"})).StatusCode)
	s.browser().likeBrowser().get(s.mailedPath()).requireRedirect(t, "https://app.example.net/#/welcome?next=%2Fmembers%2F%3Fa%3Db")
}
