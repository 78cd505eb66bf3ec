// languages_test.go: all flows in each shipped language but English: no English
// word on a page, in an answer or in a mail.

package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/langtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
)

// foreigner is a browser that asks for one language.
type foreigner struct{ *sitetest.Browser }

func (f foreigner) Send(method, path, accept, contentType, body string) (int, http.Header, string) {
	f.Header.Set("Accept", accept)
	f.Header.Set("Content-Type", contentType)
	var sent any
	if method == http.MethodPost {
		sent = body
	}
	res := f.Do(method, path, sent)
	return res.StatusCode, res.Header, res.Text
}

func (f foreigner) Mail() langtest.Mail {
	var m *mail.Message
	select { // the harness has two trays, told apart by some subjects
	case m = <-f.Site.Mailer.Sent:
	case m = <-f.Site.Mailer.Told:
	case <-time.After(sitetest.Patience):
		require.FailNow(f.Site.T, "no mail came")
	}
	return langtest.Mail{Language: m.Language, Subject: m.Subject, Text: m.Text, HTML: m.HTML}
}

func TestNoEnglish(t *testing.T) {
	for _, language := range sitetest.OtherLanguages() {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			check, err := langtest.New(sitetest.Root()+"/templates/locales", language)
			require.NoError(t, err)
			s := sitetest.New(t, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
			b := s.Browser()
			b.Header.Set("Accept-Language", language+",en;q=0.5")
			(&langtest.Walker{T: t, Client: foreigner{b}, Check: check, Language: language}).Walk("qxz" + strings.ToLower(language))
		})
	}
}

// TestEnglishIsFound: the checker is not blind.
func TestEnglishIsFound(t *testing.T) {
	check, err := langtest.New(sitetest.Root()+"/templates/locales", "de")
	require.NoError(t, err)
	require.NotEmpty(t, check.HTML(`<title>Sign in</title>`))
	require.NotEmpty(t, check.HTML(`<p aria-label="Where you are">x</p>`))
	require.NotEmpty(t, check.JSON(`{"detail": ["x", "Enter your name"]}`))
	require.NotEmpty(t, check.Text("Page not found"))
	require.Empty(t, check.HTML(`<html lang="de"><style>the</style><p>Bitte melden Sie sich an`))
	require.Empty(t, check.JSON(`{"code": "not_found", "detail": "Unter dieser Adresse gibt es nichts."}`))
}

// TestFieldLabelByLanguage: the label of an added field is the owner's catalogue's
// where that has one, else the setting's.
func TestFieldLabelByLanguage(t *testing.T) {
	dir := sitetest.TemplatesFolder(t, map[string]string{"locales/de.json": `{"field.nickname": "Spitzname"}`})
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Templates = dir
		s.User.Fields = []field.Spec{{Name: "nickname", Type: "text", Label: "Known as"}}
	})
	b := s.Browser().LikeBrowser()
	b.Header.Set("Accept-Language", "de")
	page := b.Get("/accounts/register/").Text
	require.Contains(t, page, "Spitzname")
	require.NotContains(t, page, "Known as")
	b.Header.Set("Accept-Language", "fr")
	require.Contains(t, b.Get("/accounts/register/").Text, "Known as")
}
