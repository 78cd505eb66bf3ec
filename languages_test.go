// languages_test.go: all flows in each shipped language but English: no English
// word on a page, in an answer or in a mail.

package registration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/langtest"
	"github.com/seed-928992b0/caddy-registration/mail"
)

// foreigner is a browser that asks for one language.
type foreigner struct{ *browser }

func (f foreigner) Send(method, path, accept, contentType, body string) (int, http.Header, string) {
	f.header.Set("Accept", accept)
	f.header.Set("Content-Type", contentType)
	var sent any
	if method == http.MethodPost {
		sent = body
	}
	res := f.do(method, path, sent)
	return res.StatusCode, res.Header, res.body
}

func (f foreigner) Mail() langtest.Mail {
	var m *mail.Message
	select { // the harness has two trays, told apart by some subjects
	case m = <-f.site.mailer.sent:
	case m = <-f.site.mailer.told:
	case <-time.After(patience):
		require.FailNow(f.site.t, "no mail came")
	}
	return langtest.Mail{Language: m.Language, Subject: m.Subject, Text: m.Text, HTML: m.HTML}
}

func TestNoEnglish(t *testing.T) {
	for _, language := range otherLanguages() {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			check, err := langtest.New("templates/locales", language)
			require.NoError(t, err)
			s := newSite(t, func(s *Settings) { s.Login.Token = on() })
			b := s.browser()
			b.header.Set("Accept-Language", language+",en;q=0.5")
			(&langtest.Walker{T: t, Client: foreigner{b}, Check: check, Language: language}).Walk("qxz" + strings.ToLower(language))
		})
	}
}

// TestEnglishIsFound: the checker is not blind.
func TestEnglishIsFound(t *testing.T) {
	check, err := langtest.New("templates/locales", "de")
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
	dir := templatesFolder(t, map[string]string{"locales/de.json": `{"field.nickname": "Spitzname"}`})
	s := newSite(t, func(s *Settings) {
		s.Templates = dir
		s.User.Fields = []field.Spec{{Name: "nickname", Type: "text", Label: "Known as"}}
	})
	b := s.browser().likeBrowser()
	b.header.Set("Accept-Language", "de")
	page := b.get("/accounts/register/").body
	require.Contains(t, page, "Spitzname")
	require.NotContains(t, page, "Known as")
	b.header.Set("Accept-Language", "fr")
	require.Contains(t, b.get("/accounts/register/").body, "Known as")
}
