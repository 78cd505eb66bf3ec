// terms_test.go: the terms to which people agree when they sign up.

package signup_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

const version = "2026-11-01"

func withTerms(s *registration.Settings) {
	s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: version}
}

// auditedOf are the details of the rows of an event, oldest first.
func auditedOf(t *testing.T, s *sitetest.Site, event string) (details []map[string]string) {
	t.Helper()
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Limit: 100})
	require.NoError(t, err)
	for _, row := range page.Rows {
		if row.Event == event {
			details = append(details, row.Details)
		}
	}
	return details
}

func TestTermsAtTheSignUp(t *testing.T) {
	for _, m := range []account.Mode{account.ModeOpen, account.ModeApprove, account.ModeInvite} {
		for _, verified := range []*bool{sitetest.On(), sitetest.Off()} {
			s := sitetest.New(t, mode(m), withTerms, func(s *registration.Settings) { s.Register.Verification = verified })
			b := s.Browser().Problems()
			body := sitetest.Newcomer("ada")
			if m == account.ModeInvite {
				_, link, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
				require.NoError(t, err)
				_, body["invitation"], _ = strings.Cut(link, "?invitation=")
			}
			for name, terms := range map[string]any{"none": nil, "another": "2025-01-01", "a mere yes": true, "the word": "true", "blank": " ", "a list": []string{version}} {
				wrong := sitetest.With(body, sitetest.Data{"terms": terms, "password_confirm": "another"})
				if terms == nil {
					delete(wrong, "terms")
				}
				sitetest.RequireError(t, b.Post("/accounts/register", wrong), 400, "terms:terms_required password_confirm:passwords_do_not_match")
				require.Empty(t, auditedOf(t, s, "terms_accepted"), name)
			}
			res := b.Post("/accounts/register", sitetest.With(body, sitetest.Data{"terms": version}))
			require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
			require.NotContains(t, res.Text, version, "the profile has no such field")
			u := s.Stored(res.JSON(t)["id"].(string))
			require.Equal(t, version, u.Terms)
			require.WithinDuration(t, time.Unix(0, s.Now.Load()), u.TermsAt, time.Second)
			require.Equal(t, []map[string]string{{"version": version}}, auditedOf(t, s, "terms_accepted"))
		}
	}
}

// Without terms the member means nothing, like any unknown one.
func TestNoTerms(t *testing.T) {
	s := sitetest.New(t)
	res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"terms": version}))
	require.Equal(t, http.StatusCreated, res.StatusCode)
	u := s.Stored(res.JSON(t)["id"].(string))
	require.Empty(t, u.Terms)
	require.Zero(t, u.TermsAt)
	require.NotContains(t, s.Browser().LikeBrowser().Get("/accounts/register/").Text, `name="terms"`)
}

func TestTermsOnThePage(t *testing.T) {
	for page, link := range map[string]string{"/terms.html": "/site/terms.html", "https://example.org/terms?v=2#top": "https://example.org/terms?v=2#top"} {
		s := sitetest.New(t, withTerms, func(s *registration.Settings) {
			s.BaseURL, s.Register.Terms.Page = "https://example.com/site", page
		})
		b := s.Browser().LikeBrowser()
		const box = `<input id="terms" name="terms" type="checkbox" value="` + version + `" required>`
		has := func(res *sitetest.Answer, box string) {
			require.Contains(t, res.Text, box)
			require.Contains(t, res.Text, `<a href="`+link+`" target="_blank" rel="noopener">`+sitetest.Words(text.Say("link.terms"))+`</a>`)
		}
		has(b.Get("/accounts/register/"), box)
		form := sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password_confirm": "another"}))
		unticked := b.Post("/accounts/register/", form)
		has(unticked, `value="`+version+`" required aria-invalid="true" aria-describedby="terms-error"`)
		require.Contains(t, unticked.Text, sitetest.Message(refusal.CodeTermsRequired, nil))
		form.Set("terms", version)
		has(b.Post("/accounts/register/", form), `value="`+version+`" checked required>`)
		form.Set("terms", "2025-01-01") // the form's page was loaded before there was a newer one
		old := b.Post("/accounts/register/", form)
		has(old, `value="`+version+`" required aria-invalid="true"`)
		form.Set("terms", version)
		form.Set("password_confirm", sitetest.Password)
		require.Equal(t, http.StatusSeeOther, b.Post("/accounts/register/", form).StatusCode)
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
		require.Contains(t, s.SignedIn("ada").LikeBrowser().Get("/accounts/profile/").Text, `<a href="`+link+`">Read the terms of this site</a>`)
	}
}

// A box of the owner's fields sends what it sent before.
func TestOtherBoxesSendTrue(t *testing.T) {
	s := sitetest.New(t, withTerms, sitetest.WithFields(field.Spec{Name: "news", Type: "boolean"}))
	b := s.Browser().LikeBrowser()
	require.Contains(t, b.Get("/accounts/register/").Text, `<input id="news" name="news" type="checkbox" value="true">`)
	form := sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"news": "true"}))
	require.Contains(t, b.Post("/accounts/register/", form).Text, `<input id="news" name="news" type="checkbox" value="true" checked>`)
}

func TestTermsSettings(t *testing.T) {
	for _, page := range []string{"/terms.html", "https://example.org/terms", "/a?b=c#d"} {
		for _, v := range []string{"1", "2026-11-01", "v2.1_b/c", strings.Repeat("x", account.MaxTermsVersion)} {
			s := sitetest.New(t, func(s *registration.Settings) {
				s.Register.Terms = registration.TermsSettings{Page: page, Version: v}
			})
			require.Equal(t, v, s.Accounts.Policy.Register.Terms)
		}
	}
	for _, c := range [][2]string{
		{"", "1"},
		{"/terms.html", ""},
		{"terms.html", "1"},
		{"//evil.example/", "1"},
		{"javascript:alert(1)", "1"},
		{"mailto:a@example.com", "1"},
		{"ftp://example.com/", "1"},
		{"/terms.html", "November 2026"},
		{"/terms.html", "-1"},
		{"/terms.html", "1\n2"},
		{"/terms.html", "größer"},
		{"/terms.html", strings.Repeat("x", account.MaxTermsVersion+1)},
		{"/terms.html", `"><script>`},
	} {
		_, err := sitetest.Open(t.TempDir()+"/r.db", func(s *registration.Settings) {
			s.Register.Terms = registration.TermsSettings{Page: c[0], Version: c[1]}
		})
		require.ErrorContains(t, err, "register.terms: ", c)
		require.ErrorContains(t, err, "write for example: terms /terms.html 2026-11-01", c)
	}
	t.Setenv("TERMS_VERSION", "7")
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Register.Terms = registration.TermsSettings{Page: "/terms-{env.TERMS_VERSION}.html", Version: "{env.TERMS_VERSION}"}
	})
	require.Equal(t, "7", s.Accounts.Policy.Register.Terms)
	require.Equal(t, "/terms-7.html", s.Realm.Options.TermsPage)
	// A field of that name could not be told from it.
	_, err := sitetest.Open(t.TempDir()+"/r.db", withTerms, sitetest.WithFields(field.Spec{Name: "terms", Type: "text"}))
	require.ErrorContains(t, err, "terms")
	sitetest.New(t, sitetest.WithFields(field.Spec{Name: "terms", Type: "text"}))
}
