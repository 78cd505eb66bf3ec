// mails_test.go: the mails as people read them, each kind in each language, as
// goldens (testdata/mails, written anew by -update), and which language and
// template a mail gets.

package registration

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// goldenMail is a mail with everything in it.
func goldenMail(l *text.Locale) letter.MailData {
	return letter.MailData{
		Loc: l, Site: "example.com", Email: "ada@example.org", Period: l.Text(text.InWords(7 * day)),
		Link: "https://example.com/accounts/page/?user_id=0198c0de-0000-7000-8000-000000000001&timestamp=1790000000&signature=c2lnbmF0dXJlLW9mLWFuLWV4YW1wbGUtbGluaw",
		User: letter.MailUser{Username: "ada", FirstName: "Ada", LastName: "Lovelace", Name: "Ada Lovelace", Email: "ada@example.org"},
	}
}

func TestMailGoldens(t *testing.T) {
	l := english(t)
	r, err := letter.NewRenderer(resolvedTestSettings(t).letters(), l, "example.com", time.Now)
	require.NoError(t, err)
	for _, language := range l.Locales {
		for kind, template := range r.Templates[language.Name] {
			subject, text, html, err := template.Render(goldenMail(language))
			require.NoError(t, err)
			file := filepath.Join("testdata", "mails", string(kind)+"."+language.Name)
			for name, got := range map[string]string{file + ".txt": "Subject: " + subject + "\n\n" + text, file + ".html": html} {
				if flag.Lookup("update").Value.String() == "true" {
					require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
					require.NoError(t, os.WriteFile(name, []byte(got), 0o600))
					continue
				}
				want, err := os.ReadFile(name)
				require.NoError(t, err)
				require.Equal(t, string(want), got, name)
			}
			require.Contains(t, html, `lang="`+language.Name+`"`)
			require.Contains(t, text, "Ada Lovelace")
			for line := range strings.SplitSeq(text, "\n") {
				require.True(t, len([]rune(line)) <= 72 || strings.Contains(line, "https://"), line)
			}
			notice := kind == store.MailEmailInUse || kind == store.MailPasswordChanged || kind == store.MailLoginChanged
			require.Equal(t, !notice, strings.Contains(text, "signature="), "a notice has no link")
			require.Equal(t, strings.Count(html, "<p"), strings.Count(html, "<p ")+strings.Count(html, "<p>"))
			// Clients that drop the head keep what is written inline.
			require.Contains(t, html, `background:#ffffff;color:#1c2430`)
			require.NotRegexp(t, regexp.MustCompile(`<(script|link|img|form)`), html)
		}
	}
}

// TestMailLanguage: a mail speaks the language of the request that caused it,
// also if Caddy restarts in between, with the period and the header in it.
func TestMailLanguage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	s := newSiteAt(t, path)
	s.failWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: os.ErrDeadlineExceeded} })
	b := s.browser()
	b.header.Set("Accept-Language", "pl-PL,pl;q=0.9,en;q=0.8")
	res := b.post("/accounts/register", newcomer("ada"))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
	s.close()
	s = newSiteAt(t, path)
	m := s.mail()
	require.Equal(t, "pl", m.Language)
	require.Equal(t, "Potwierdź konto w witrynie example.com", m.Subject)
	require.Contains(t, m.Text, "Ważność linku: 7 dni.")
	require.Contains(t, m.HTML, `<html lang="pl">`)
	file, err := m.Render()
	require.NoError(t, err)
	require.Contains(t, string(file.Content), "Content-Language: pl\r\n")
	require.Contains(t, string(file.Content), "Subject: =?UTF-8?")
	b = s.browser()
	b.header.Set("Accept-Language", "de")
	res = b.post("/accounts/verify-registration", linkOf(m, t))
	require.Equal(t, "Ihr Konto ist bestätigt.", res.json(t)["detail"])
	require.Equal(t, "de", res.Header.Get("Content-Language"))
	require.Contains(t, strings.Join(res.Header.Values("Vary"), ", "), "Accept-Language")
}

// TestMailLanguageGone: a mail in a language that is no longer spoken goes out
// in the fallback.
func TestMailLanguageGone(t *testing.T) {
	dir := templatesFolder(t, map[string]string{"locales/nl.json": `{"mail.register.subject": "Bevestig je account bij {site}"}`})
	path := filepath.Join(t.TempDir(), "registration.db")
	s := newSiteAt(t, path, func(s *Settings) { s.Templates, s.Language = dir, "nl" })
	s.failWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: os.ErrDeadlineExceeded} })
	b := s.browser()
	require.Equal(t, http.StatusCreated, b.post("/accounts/register", newcomer("ada")).StatusCode)
	s.close() // still failing, so that this site can't send it on its way out
	s = newSiteAt(t, path, func(s *Settings) { s.Language = "fr" })
	m := s.mail()
	require.Equal(t, "fr", m.Language)
	require.Equal(t, "Confirmez votre compte sur example.com", m.Subject)
}

// TestMailTemplatesByLanguage: one file for one language beats the one for all, and a
// language without one rests on its parent's.
func TestMailTemplatesByLanguage(t *testing.T) {
	dir := templatesFolder(t, map[string]string{
		"register/body.txt":    "all {{.Link}}",
		"register/body.de.txt": "deutsch {{.Link}}\n{{.T \"mail.period\"}}",
		"locales/de-AT.json":   `{"mail.register.subject": "Servus"}`,
		"mail/layout.fr.html":  `<!doctype html><title>{{template "subject" .}}</title><p>à la maison</p>{{template "content" .}}`,
	})
	s := newSite(t, func(s *Settings) { s.Templates = dir })
	sent := func(language string) *mail.Message {
		b := s.browser()
		b.header.Set("Accept-Language", language)
		require.Equal(t, http.StatusCreated, b.post("/accounts/register", newcomer("u"+strings.ToLower(strings.ReplaceAll(language, "-", "")))).StatusCode)
		return s.mail()
	}
	require.Contains(t, sent("en").Text, "all http")
	require.Contains(t, sent("de").Text, "deutsch http")
	m := sent("de-AT")
	require.Contains(t, m.Text, "deutsch http")
	require.Equal(t, "Servus", m.Subject)
	require.Equal(t, "de-AT", m.Language)
	m = sent("fr")
	require.Contains(t, m.HTML, "<p>à la maison</p>")
	require.Contains(t, m.HTML, "Bienvenue sur example.com")

	for name, want := range map[string]string{"register/body.pl.txt": "{{.T \"mail.nothing\"}}", "mail/layout.id.html": "{{template \"nothing\" .}}"} {
		settings := resolvedTestSettings(t, func(s *Settings) { s.Templates = templatesFolder(t, map[string]string{name: want}) })
		_, err := letter.NewRenderer(settings.letters(), english(t), "example.com", time.Now)
		require.ErrorContains(t, err, "nothing", name)
	}
}
