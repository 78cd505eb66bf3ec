// correct_email_test.go: the page that says "check your mail", and what corrects the address there.

package signup_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

const checkMail = "/accounts/resend-verification/?sent=1"

// signsUp is a browser whose owner has signed up with a slip in the address, and the
// link that was mailed there.
func signsUp(s *sitetest.Site, email string) (*sitetest.Browser, sitetest.Data) {
	b := s.Browser().LikeBrowser()
	b.Post("/accounts/register/", sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": email}))).RequireRedirect(s.T.(*testing.T), checkMail)
	return b, sitetest.LinkOf(s.Mail(), s.T)
}

func TestCorrectEmail(t *testing.T) {
	s := sitetest.New(t)
	b, old := signsUp(s, "ada@gmial.com")
	page := b.Get(checkMail)
	require.Contains(t, page.Text, "ada@gmial.com")
	require.Contains(t, page.Text, `href="/accounts/correct-email/"`)
	require.NotContains(t, page.Text, "noreferrer", "nobody knows that provider")

	form := b.Get("/accounts/correct-email/")
	require.Equal(t, http.StatusOK, form.StatusCode)
	require.Contains(t, form.Text, `value="ada@gmial.com"`)
	wrong := b.Post("/accounts/correct-email/", url.Values{"email": {"ada"}})
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, wrong.Text, `value="ada"`)
	require.Contains(t, wrong.Text, "the address ada@gmial.com", "not what was typed")
	require.Contains(t, wrong.Text, `href="/accounts/resend-verification/?sent=1"`)
	b.Post("/accounts/correct-email/", url.Values{"email": {"ada@gmail.com"}, "next": {"/members/"}}).RequireRedirect(t, "/accounts/resend-verification/?next=%2Fmembers%2F&sent=1")
	page = b.Get(checkMail)
	require.Contains(t, page.Text, "Your email address has been corrected to ada@gmail.com.")
	require.NotContains(t, page.Text, "gmial")
	require.Contains(t, page.Text, `href="https://mail.google.com/" rel="noreferrer">Open Gmail</a>`)

	m := s.Mail()
	require.Equal(t, "ada@gmail.com", m.To)
	link := sitetest.LinkOf(m, t)
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", old), http.StatusBadRequest, "signature_invalid")
	// An hour later, with no note left, the page still knows.
	s.Travel(time.Hour)
	delete(b.Cookie, "registration_flash")
	require.Contains(t, b.Get(checkMail).Text, "ada@gmail.com")

	// Asked for again, too, but no mail of another kind is taken for it.
	require.NotContains(t, b.Get(checkMail).Text, "Another email has been requested")
	require.Contains(t, b.Follow(b.Post("/accounts/resend-verification/", url.Values{"email": {"ada@gmail.com"}})).Text, "Another email has been requested. It goes to ada@gmail.com.")
	require.Equal(t, "ada@gmail.com", s.Mail().To)
	require.NotContains(t, b.Get("/accounts/resend-verification/").Text, `class="note"`, "what was said is of the page before")
	require.NotContains(t, b.Follow(b.Post("/accounts/send-reset-password-link/", url.Values{"login": {"bob"}})).Text, "ada@gmail.com")
	require.NotContains(t, b.Follow(b.Post("/accounts/resend-verification/", url.Values{"login": {"bob"}})).Text, "correct-email")

	sitetest.WantJSON(t, s.Browser().Post("/accounts/verify-registration", link), http.StatusOK)
	b.Post("/accounts/correct-email/", url.Values{"email": {"eve@example.org"}}).RequireRedirect(t, "/accounts/login/")
	require.Equal(t, "/accounts/resend-verification/", b.Get("/accounts/correct-email/").Header.Get("Location"))
	require.NotContains(t, b.Get(checkMail).Text, "correct-email")
	require.Equal(t, "ada@gmail.com", s.Stored(s.ProfileID("ada")).Email)
}

// Nobody but the browser that signed up can do it, and it is told nothing of others.
func TestCorrectEmailIsForTheBrowserThatSignedUp(t *testing.T) {
	s := sitetest.New(t)
	s.Member("bob")
	b, link := signsUp(s, "ada@example.org")
	move := sitetest.Data{"email": "new@example.org"}
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/correct-email", move), http.StatusUnauthorized, "not_authenticated")
	forged := s.Browser().Problems()
	forged.Cookie["registration_signup"] = b.Cookie["registration_signup"] + "x"
	sitetest.RequireError(t, forged.Post("/accounts/correct-email", move), http.StatusUnauthorized, "not_authenticated")
	require.NotContains(t, s.Browser().LikeBrowser().Get(checkMail).Text, "ada@example.org")

	api := s.Browser()
	api.Cookie["registration_signup"] = b.Cookie["registration_signup"]
	nobodys := api.Post("/accounts/correct-email", move)
	require.Equal(t, "new@example.org", s.Mail().To)
	somebodys := api.Post("/accounts/correct-email", sitetest.Data{"email": "bob@example.org"})
	require.Equal(t, http.StatusOK, somebodys.StatusCode, somebodys.Text)
	require.Equal(t, len(nobodys.Text), len(somebodys.Text))
	m := s.Mail()
	require.Equal(t, "bob@example.org", m.To)
	require.NotContains(t, m.Text, "signature=", "its owner is told, without a link")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", link), http.StatusBadRequest, "signature_invalid")

	s.Travel(25 * time.Hour)
	sitetest.RequireError(t, api.Problems().Post("/accounts/correct-email", move), http.StatusUnauthorized, "not_authenticated")
}

// What a sign-up may not have, no correction brings in.
func TestCorrectEmailKeepsTheRulesOfASignUp(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Register.AllowDomains = []string{"example.org"}
		s.User.LoginFields = []string{"username", "email"}
	})
	b, link := signsUp(s, "ada@example.org")
	b = b.Problems()
	sitetest.RequireError(t, b.Post("/accounts/correct-email", sitetest.Data{"email": "ada@gmail.com"}), http.StatusBadRequest, "email:domain_not_allowed")
	sitetest.RequireError(t, b.Post("/accounts/correct-email", sitetest.Data{"email": ""}), http.StatusBadRequest, "email:blank")
	sitetest.RequireError(t, b.Post("/accounts/correct-email", sitetest.Data{}), http.StatusBadRequest, "email:required")
	s.NoMail()
	require.Equal(t, http.StatusOK, b.Post("/accounts/correct-email", sitetest.Data{"email": "lovelace@example.org"}).StatusCode)
	require.Equal(t, "lovelace@example.org", s.Mail().To)

	// Who has a password of before can't be an account that was never confirmed.
	s.Set(link["user_id"].(string), func(u *store.User) { u.Generation++ })
	sitetest.RequireError(t, b.Post("/accounts/correct-email", sitetest.Data{"email": "ada@example.org"}), http.StatusUnauthorized, "not_authenticated")

	throttled := sitetest.New(t, sitetest.Throttled)
	b, _ = signsUp(throttled, "ada@example.org")
	b = b.Problems()
	codes := map[int]int{}
	for i := range 30 {
		codes[b.Post("/accounts/correct-email", sitetest.Data{"email": string(rune('a'+i)) + "@example.org"}).StatusCode]++
	}
	require.Positive(t, codes[http.StatusTooManyRequests], "it spends of the same budget as a sign-up")
	require.LessOrEqual(t, codes[http.StatusOK], 20)
}

// Who asks for the mail again too soon still sees where it goes, and how that is corrected.
func TestSentAgainTooOften(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	b, _ := signsUp(s, "ada@gmial.com")
	var page *sitetest.Answer
	for range 50 {
		if page = b.Post("/accounts/resend-verification/", url.Values{"email": {"ada@gmial.com"}}); page.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	require.Equal(t, http.StatusTooManyRequests, page.StatusCode)
	require.Contains(t, page.Text, `name="email" value="ada@gmial.com"`)
	require.Contains(t, page.Text, `href="/accounts/correct-email/"`)
	require.Contains(t, page.Text, "There were too many attempts.")
}

// Who is signed in has nothing to correct there.
func TestCorrectEmailOfWhoIsSignedIn(t *testing.T) {
	s := sitetest.New(t)
	s.Member("bob")
	require.Equal(t, "/accounts/profile/", s.SignedIn("bob").LikeBrowser().Get("/accounts/correct-email/").Header.Get("Location"))
}
