// letter_test.go: the mails as people read them, each kind in each language, as
// goldens (testdata/mails, written anew by -update), and which language and
// template a mail gets.

package letter_test

import (
	"flag"
	"html"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

var update = flag.Bool("update", false, "write the goldens")

// goldenMail is a mail with everything in it.
func goldenMail(l *text.Locale) letter.MailData {
	return letter.MailData{
		Loc: l, Site: "example.com", Host: "example.com", Email: "ada@example.org", Period: l.Text(text.InWords(7 * sitetest.Day)), Date: l.Moment("2026-12-04T10:00:00Z"),
		Link:       "https://example.com/accounts/page/?user_id=0198c0de-0000-7000-8000-000000000001&timestamp=1790000000&signature=c2lnbmF0dXJlLW9mLWFuLWV4YW1wbGUtbGluaw",
		User:       letter.MailUser{Username: "ada", FirstName: "Ada", LastName: "Lovelace", Name: "Ada Lovelace", Email: "ada@example.org"},
		Paragraphs: []string{"The choir has no places for new singers at present, and the next rehearsals are in spring.", "Ask again then & bring <a friend>."},
		Waiting:    []string{"bob", "019ac000-1111-7222-8333-444455556666"}, SignedUp: []string{"eve"}, More: true,
		Factor: string(store.FactorTOTP),
		Time:   l.Moment("2026-11-27T20:26:00Z"), Device: "Firefox, Linux", Address: "192.0.2.1",
	}
}

// leadOn are the notices of what a thief may have done: they lead to the page that mails a
// new password, by no link that is signed.
var leadOn = []store.MailKind{
	store.MailPasswordChanged, store.MailLoginChanged, store.MailFactorGuessed, store.MailRecoveryUsed, store.MailRecoveryFew, store.MailRecoveryMade,
	store.MailProgramToken,
	store.MailDataExported,
}

func TestMailGoldens(t *testing.T) {
	l := sitetest.English(t)
	r, err := letter.NewTemplates(sitetest.Letters(sitetest.Resolved(t)), l, "example.com")
	require.NoError(t, err)
	for _, language := range l.Locales {
		if len(language.Lineage) > 1 { // it says little otherwise than its parent
			continue
		}
		for kind, template := range r.All(language.Name) {
			data := goldenMail(language)
			if !account.TellsOfAct(kind) {
				data.Time, data.Device, data.Address = "", "", ""
			}
			if slices.Contains(leadOn, kind) {
				data.Link = "https://example.com/accounts/send-reset-password-link/"
			}
			subject, text, html, err := template.Render(data)
			require.NoError(t, err)
			file := filepath.Join(sitetest.Root(), "testdata", "mails", string(kind)+"."+language.Name)
			for name, got := range map[string]string{file + ".txt": "Subject: " + subject + "\n\n" + text, file + ".html": html} {
				if *update {
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
			notice := slices.Contains(append([]store.MailKind{store.MailEmailInUse, store.MailRefused, store.MailAccountGone, store.MailTest, store.MailFactorsReset}, leadOn...), kind)
			require.Equal(t, !notice, strings.Contains(text, "signature="), "a notice has no signed link")
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
	s := sitetest.NewAt(t, path)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: os.ErrDeadlineExceeded} })
	b := s.Browser()
	b.Header.Set("Accept-Language", "pl-PL,pl;q=0.9,en;q=0.8")
	res := b.Post("/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	s.Close()
	s = sitetest.NewAt(t, path)
	m := s.Mail()
	require.Equal(t, "pl", m.Language)
	require.Equal(t, "Potwierdź konto w\u00a0witrynie example.com", m.Subject)
	require.Contains(t, m.Text, "Link działa przez 7\u00a0dni.")
	require.Contains(t, m.HTML, `<html lang="pl" dir="ltr">`)
	file, err := m.Render()
	require.NoError(t, err)
	require.Contains(t, string(file.Content), "Content-Language: pl\r\n")
	require.Contains(t, string(file.Content), "Subject: =?UTF-8?")
	b = s.Browser()
	b.Header.Set("Accept-Language", "de")
	res = b.Post("/accounts/verify-registration", sitetest.LinkOf(m, t))
	require.Equal(t, "Ihr Konto ist bestätigt.", res.JSON(t)["detail"])
	require.Equal(t, "de", res.Header.Get("Content-Language"))
	require.Contains(t, strings.Join(res.Header.Values("Vary"), ", "), "Accept-Language")
}

// TestMailLanguageGone: a mail in a language that is no longer spoken goes out
// in the fallback.
func TestMailLanguageGone(t *testing.T) {
	dir := sitetest.TemplatesFolder(t, map[string]string{"locales/nl.json": `{"mail.register.subject": "Bevestig je account bij {site}"}`})
	path := filepath.Join(t.TempDir(), "registration.db")
	s := sitetest.NewAt(t, path, func(s *registration.Settings) { s.Templates, s.Language = dir, "nl" })
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: os.ErrDeadlineExceeded} })
	b := s.Browser()
	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	s.Close() // still failing, so that this site can't send it on its way out
	s = sitetest.NewAt(t, path, func(s *registration.Settings) { s.Language = "fr" })
	m := s.Mail()
	require.Equal(t, "fr", m.Language)
	require.Equal(t, "Confirmez votre compte sur example.com", m.Subject)
}

// TestMailTemplatesByLanguage: one file for one language beats the one for all, and a
// language without one rests on its parent's.
func TestMailTemplatesByLanguage(t *testing.T) {
	dir := sitetest.TemplatesFolder(t, map[string]string{
		"register/body.txt":    "all {{.Link}}",
		"register/body.de.txt": "deutsch {{.Link}}\n{{.T \"mail.period\"}}",
		"locales/de-AT.json":   `{"mail.register.subject": "Servus"}`,
		"mail/layout.fr.html":  `<!doctype html><title>{{template "subject" .}}</title><p>à la maison</p>{{template "content" .}}`,
	})
	s := sitetest.New(t, func(s *registration.Settings) { s.Templates = dir })
	sent := func(language string) *mail.Message {
		b := s.Browser()
		b.Header.Set("Accept-Language", language)
		require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.Newcomer("u"+strings.ToLower(strings.ReplaceAll(language, "-", "")))).StatusCode)
		return s.Mail()
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
		settings := sitetest.Resolved(t, func(s *registration.Settings) {
			s.Templates = sitetest.TemplatesFolder(t, map[string]string{name: want})
		})
		_, err := letter.NewTemplates(sitetest.Letters(settings), sitetest.English(t), "example.com")
		require.ErrorContains(t, err, "nothing", name)
	}
}

// A folder or a file of mails that none uses is a slip, which nobody would see.
func TestMailTemplatesThatNoMailUses(t *testing.T) {
	for name, wrong := range map[string]string{
		"regsiter/body.txt": "no mail uses this folder", "regsiter/subject.de.txt": "no mail uses this folder", "register/boddy.txt": "no mail uses this file", "register/html.html": "no mail uses this file",
		"register/body.de.html": "", "register/notes.md": "", "mine/welcome.html": "", "mine/body.png": "", "pages/body.css": "", "own/body.txt": "",
	} {
		settings := sitetest.Resolved(t, func(s *registration.Settings) {
			s.Templates = sitetest.TemplatesFolder(t, map[string]string{name: "x", "own/body.txt": "{{.Link}}", "own/body.de.txt": "{{.Link}}"})
			s.Register.Mail.TextBody = "own/body.txt"
		})
		_, err := letter.NewTemplates(sitetest.Letters(settings), sitetest.English(t), "example.com")
		if wrong == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, wrong, name)
		}
	}
}

// Where the links lead: to a page by its URL, or below base_url; where it has a
// fragment, what the link carries goes into that, and no server sees it.
func TestVerificationURL(t *testing.T) {
	cases := []struct{ name, set, page, before string }{
		{"a page", "https://app.example.net/verify/", "https://app.example.net/verify/", "?"},
		{"with a query", "https://app.example.net/verify/?lang=en", "https://app.example.net/verify/", "?lang=en&"},
		{"a fragment", "https://app.example.net/#/verify/", "https://app.example.net/#/verify/", "?"},
		{"a fragment with a query", "https://app.example.net/?v=2#/verify?lang=en", "https://app.example.net/?v=2#/verify", "?lang=en&"},
		{"an empty fragment", "https://app.example.net/#", "https://app.example.net/#", "?"},
		{"below base_url", "/verify/", "http://example.com/verify/", "?"},
		{"a fragment below base_url", "/app/#/verify", "http://example.com/app/#/verify", "?"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) {
				s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = c.set, c.set, c.set, c.set
			})
			next := func(purpose string) sitetest.Data {
				m := s.Mail()
				link := sitetest.LinkInMail.FindString(m.Text)
				require.Contains(t, m.HTML, html.EscapeString(link), purpose)
				query, ok := strings.CutPrefix(link, c.page+"?")
				require.True(t, ok, "%s: %s", purpose, link)
				require.NotContains(t, query, "#")
				values, err := url.ParseQuery(query)
				require.NoError(t, err)
				if strings.Contains(c.before, "lang") {
					require.Equal(t, "en", values.Get("lang"))
				}
				out := sitetest.Data{}
				for _, name := range []string{"user_id", "email", "timestamp", "signature"} {
					if values.Get(name) != "" {
						out[name] = values.Get(name)
					}
				}
				return out
			}
			b := s.Browser()
			require.Equal(t, 201, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": "ada+x@example.org"})).StatusCode)
			require.Equal(t, 200, b.Post("/accounts/verify-registration", next("register")).StatusCode)
			require.Equal(t, 200, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
			require.Equal(t, 200, b.Post("/accounts/reset-password", sitetest.With(next("reset"), sitetest.Data{"password": sitetest.Password})).StatusCode)
			b = s.SignedIn("ada")
			require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "ada+y@example.org"}).StatusCode)
			require.Equal(t, 200, b.Post("/accounts/verify-email", next("new address")).StatusCode)
			require.Equal(t, 200, b.Post("/accounts/undo-email", next("undo")).StatusCode)
		})
	}
}

func TestVerificationURLRefused(t *testing.T) {
	for set, want := range map[string]string{
		"verify/": "a path below base_url", "//evil.example/": "no path below base_url", `/\evil.example`: "no path below base_url", "javascript:x": "absolute", "/ver ify": "no path below base_url",
	} {
		s := sitetest.Settings()
		s.Register.VerificationURL = set
		_, err := inside.Resolve(s)
		require.ErrorContains(t, err, want, set)
	}
	s := sitetest.Settings()
	s.BaseURL, s.Pages.Off = "", true
	s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "https://a.example", "https://a.example", "https://a.example", "/undo/"
	_, err := inside.Resolve(s)
	require.ErrorContains(t, err, "register_email.undo_url is a path below it")
}

// A template can make a link of its own, and mails can name built-in templates
// without a folder.
func TestTemplatesOfAnotherKindOfLink(t *testing.T) {
	const link = "https://app.example.net/verify/{{.UserID}}/{{.Timestamp}}/{{.Signature}}/{{urlquery .Email}}/"
	dir := sitetest.TemplatesFolder(t, map[string]string{"register/body.txt": link, "register/body.html": `<a href="` + link + `">x</a>`, "password_changed/body.txt": "[{{.UserID}}{{.Timestamp}}{{.Signature}}]"})
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Templates = dir
		s.ResetPassword.Mail = registration.MailSettings{Subject: "register_email/subject.txt", TextBody: "reset_password/body.txt"} // both built in
	})
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": "ada+x@example.org"})).StatusCode)
	m := s.Mail()
	parts := strings.Split(sitetest.UrlOf(t, m).EscapedPath(), "/")
	require.Len(t, parts, 7)
	require.Contains(t, m.HTML, "/"+parts[3]+"/"+parts[4]+"/")
	email, err := url.QueryUnescape(parts[5])
	require.NoError(t, err)
	require.Equal(t, "ada+x@example.org", email)
	require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", sitetest.Data{"user_id": parts[2], "timestamp": parts[3], "signature": parts[4]}).StatusCode)
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	m = s.Mail()
	require.Contains(t, m.Subject, "Confirm your new email address")
	require.Empty(t, m.HTML)
	require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(m, t), sitetest.Data{"password": sitetest.Password})).StatusCode)
	require.Contains(t, s.Notice().Text, "[]", "a notice has no link")
}

func TestBuiltInTemplatesWithoutAFolder(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Register.Mail = registration.MailSettings{Subject: "register/subject.txt", TextBody: "register/body.txt"}
	})
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	m := s.Mail()
	require.NotEmpty(t, m.Subject)
	require.Contains(t, m.Text, "signature=")
	require.Empty(t, m.HTML, "only the text is named")
	for _, name := range []string{"own.txt", "register/body.md", "pages/page.html", "locales/en.json", "../register/body.txt", "register/body.de.txt", "mail/layout.html"} {
		settings := sitetest.Settings()
		settings.Register.Mail.Body = name
		_, err := inside.Resolve(settings)
		require.ErrorContains(t, err, "no built-in template", name)
	}
	settings := sitetest.Resolved(t, func(s *registration.Settings) { s.Templates, s.Register.Mail.Body = t.TempDir(), "register/bodi.txt" })
	_, err := letter.NewTemplates(sitetest.Letters(settings), sitetest.English(t), "example.com")
	require.ErrorContains(t, err, "register/bodi.txt", "a slip is told")
}

// A link that is pressed twice, or opened again later, has done its act: that is told,
// and what comes next.
func TestALinkThatWasUsed(t *testing.T) {
	confirm := func(s *sitetest.Site) (*sitetest.Browser, string, url.Values) {
		b := s.Browser().LikeBrowser()
		require.Equal(t, 303, b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada"))).StatusCode)
		link, act := s.Mailed()
		return b, link, act
	}
	newAddress := func(s *sitetest.Site) (*sitetest.Browser, string, url.Values) {
		s.Member("ada")
		b := s.SignedIn("ada")
		require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "new@example.net"}).StatusCode)
		link, act := s.Mailed()
		return b.LikeBrowser(), link, act
	}
	for name, tc := range map[string]struct {
		link   func(*sitetest.Site) (*sitetest.Browser, string, url.Values)
		page   string
		then   func(*sitetest.Site)
		goesTo string
		says   string
		offers []string
	}{
		"confirmation": {link: confirm, page: "verify-registration", goesTo: "login", says: "Your account has already been confirmed."},
		"confirmation, of an account that changed its address and password since": {
			link: confirm, page: "verify-registration", goesTo: "login", says: "Your account has already been confirmed.",
			then: func(s *sitetest.Site) {
				b := s.SignedIn("ada")
				require.Equal(t, 200, b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": sitetest.NewPassword, "password_confirm": sitetest.NewPassword}).StatusCode)
				require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "new@example.net"}).StatusCode)
				require.Equal(t, 200, b.Post("/accounts/verify-email", sitetest.LinkOf(s.Mail(), t)).StatusCode)
			},
		},
		"confirmation, long ago": {
			link: confirm, page: "verify-registration", goesTo: "login", says: "Your account has already been confirmed.",
			then: func(s *sitetest.Site) { s.Travel(30 * 24 * time.Hour) },
		},
		"reset": {
			link: func(s *sitetest.Site) (*sitetest.Browser, string, url.Values) {
				s.Member("ada")
				b := s.Browser().LikeBrowser()
				require.Equal(t, 303, b.Post("/accounts/send-reset-password-link/", url.Values{"login": {"ada"}}).StatusCode)
				link, act := s.Mailed()
				act.Set("password", sitetest.NewPassword)
				return b, link, act
			},
			page: "reset-password", goesTo: "login", says: "A new password has already been set with this link.", offers: []string{"/accounts/send-reset-password-link/"},
		},
		"new address": {link: newAddress, page: "verify-email", goesTo: "profile", says: "Your email address has already been changed to new@example.net."},
		"new address, and another since": {
			link: newAddress, page: "verify-email", goesTo: "profile", says: "This link has already been used.",
			then: func(s *sitetest.Site) {
				require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "third@example.net"}).StatusCode)
				s.Mail() // the old address's
				require.Equal(t, 200, s.Browser().Post("/accounts/verify-email", sitetest.LinkOf(s.Mail(), t)).StatusCode)
			},
		},
		"undo": {
			link: func(s *sitetest.Site) (*sitetest.Browser, string, url.Values) {
				s.Member("ada")
				undo := s.Move(s.SignedIn("ada"), "ada@example.org", "new@example.net")
				act := url.Values{}
				for name, v := range undo {
					act.Set(name, v.(string))
				}
				return s.Browser().LikeBrowser(), "/accounts/undo-email/?" + act.Encode(), act
			},
			page: "undo-email", goesTo: "login", says: sitetest.Words(text.Say("detail.email_restored")), offers: []string{"/accounts/send-reset-password-link/"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			b, link, act := tc.link(s)
			first := b.Post("/accounts/"+tc.page+"/", act)
			require.Equal(t, 303, first.StatusCode, first.Text)
			if tc.then != nil {
				tc.then(s)
			}
			again := b.Post("/accounts/"+tc.page+"/", act)
			require.Equal(t, 303, again.StatusCode, again.Text)
			require.Equal(t, "/accounts/"+tc.goesTo+"/", again.Header.Get("Location"))
			require.Contains(t, html.UnescapeString(b.Follow(again).Text), tc.says)
			opened := b.Get(link)
			require.Equal(t, 200, opened.StatusCode)
			require.Contains(t, html.UnescapeString(opened.Text), tc.says)
			require.Contains(t, opened.Text, `<a class="button" href="/accounts/`+tc.goesTo+`/">`)
			require.NotContains(t, opened.Text, "resend-verification")
			require.NotContains(t, opened.Text, `<button type="submit">`)
			for _, page := range tc.offers {
				require.Contains(t, opened.Text, page)
			}
			sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/"+tc.page, act), 400, "signature_invalid")
			forged := maps.Clone(act)
			forged.Set("signature", strings.Repeat("A", 43))
			dead := b.Get("/accounts/" + tc.page + "/?" + forged.Encode())
			require.Equal(t, 400, dead.StatusCode, "only who has the link is told")
		})
	}
}

// The mail for a forgotten password says what the username is: by their address, people
// ask who have forgotten that too. To an address that was never confirmed it says
// nothing that a stranger could have typed to be read there.
func TestResetMailNamesTheUsername(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "Ada@Example.org"}).StatusCode)
	m := s.Mail()
	require.Contains(t, m.Text, "Your username is ada.")
	require.Contains(t, m.HTML, "Your username is ada.")
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("call.0900123456"), sitetest.Data{"email": "bob@example.org"})).StatusCode)
	s.Mail()
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "bob@example.org"}).StatusCode)
	require.NotContains(t, s.Mail().Text, "0900")
}

// What mail programs do to a link (internal/sign has all of it) does no harm to its act,
// by our own page and by a frontend's.
func TestALinkThatMailProgramsBroke(t *testing.T) {
	for name, breaks := range map[string]func(string) string{
		"entities":         func(link string) string { return strings.ReplaceAll(link, "&", "&amp;") },
		"a full stop":      func(link string) string { return link + "." },
		"a bracket":        func(link string) string { return link + ">" },
		"another bracket":  func(link string) string { return link + ")" },
		"quoted-printable": func(link string) string { return strings.ReplaceAll(link, "=", "=3D") },
		"a soft break":     func(link string) string { return link[:len(link)-9] + "=" + link[len(link)-9:] },
		"escaped": func(link string) string {
			path, query, _ := strings.Cut(link, "?")
			return path + "?" + url.QueryEscape(query)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			b := s.Browser().LikeBrowser()
			require.Equal(t, 303, b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada"))).StatusCode)
			link, _ := s.Mailed()
			page := b.Get(breaks(link))
			require.Equal(t, 200, page.StatusCode, page.Text)
			act := url.Values{}
			for _, input := range regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(page.Text, -1) {
				act.Set(input[1], html.UnescapeString(input[2]))
			}
			require.Equal(t, 303, b.Post("/accounts/verify-registration/", act).StatusCode)
		})
	}
	t.Run("by the API", func(t *testing.T) {
		s := sitetest.New(t)
		require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
		link := sitetest.LinkOf(s.Mail(), t)
		link["user_id"] = link["user_id"].(string) + ">."
		link["signature"] = link["signature"].(string)[:20] + "=\r\n" + link["signature"].(string)[20:]
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", link).StatusCode)
	})
}

// What can't be made is given up, and is no panic: a message of a newer version, an
// invitation whose secret is gone, a notice that nobody has filled in.
func TestMessagesThatCantBeMade(t *testing.T) {
	s := sitetest.New(t)
	for _, m := range []*store.Mail{
		{Kind: "of a newer version", To: "ada@example.org"}, {Kind: store.MailInvitation, To: "ada@example.org"}, {Kind: store.MailSignUps, To: "ada@example.org"},
		{Kind: store.MailInvitation, To: "ada@example.org", State: append(make([]byte, 32), "1790000000"...)},
	} {
		_, err := s.Realm.Courier.Render(m, nil)
		failed := (*mail.Error)(nil)
		require.ErrorAs(t, err, &failed, string(m.Kind))
		require.True(t, failed.Permanent)
		require.NotEmpty(t, failed.Error())
	}
}

// TestMailsSayWhyTheyCome: the last line of a mail says why somebody gets it, and that
// somebody typed the address only where somebody may have.
func TestMailsSayWhyTheyCome(t *testing.T) {
	l := sitetest.English(t)
	r, err := letter.NewTemplates(sitetest.Letters(sitetest.Resolved(t)), l, "example.com")
	require.NoError(t, err)
	reasons := map[store.MailKind]string{
		store.MailSignUps: "mail.why_configured", store.MailInvitation: "mail.why_invited",
		store.MailAccountClosed: "mail.why_notice", store.MailAccountGone: "mail.why_notice",
		store.MailApproved: "mail.why_requested", store.MailRefused: "mail.why_requested",
		store.MailAccountCreated: "mail.why_sent", store.MailSetPassword: "mail.why_sent", store.MailTest: "mail.why_sent",
		store.MailFactorAdded: "mail.why_notice", store.MailFactorRemoved: "mail.why_notice", store.MailFactorGuessed: "mail.why_notice", store.MailRecoveryUsed: "mail.why_notice",
		store.MailRecoveryFew: "mail.why_notice", store.MailRecoveryMade: "mail.why_notice", store.MailFactorsReset: "mail.why_notice", store.MailProgramToken: "mail.why_notice", store.MailDataExported: "mail.why_notice", store.MailNewDevice: "mail.why_notice",
		store.MailEmailChanged: "mail.why_notice", store.MailEmailsChanged: "mail.why_notice", store.MailEmailsRestored: "mail.why_notice", store.MailResetByUndo: "mail.why_notice", store.MailPasswordChanged: "mail.why_notice", store.MailLoginChanged: "mail.why_notice",
		store.MailVerifyRegistration: "mail.why", store.MailResetPassword: "mail.why", store.MailLoginCode: "mail.why", store.MailVerifyEmail: "mail.why", store.MailEmailInUse: "mail.why",
	}
	for _, language := range l.Locales {
		require.Len(t, r.All(language.Name), len(reasons))
		for kind, id := range reasons {
			data := goldenMail(language)
			_, text, body, err := r.All(language.Name)[kind].Render(data)
			require.NoError(t, err)
			want, err := data.T(id)
			require.NoError(t, err)
			_, foot, ok := strings.Cut(text, "\n-- \n")
			require.True(t, ok, text)
			require.Equal(t, strings.Fields(want), strings.Fields(foot), "%s in %s", kind, language.Name)
			require.Contains(t, html.UnescapeString(body), want+"</td>", "%s in %s", kind, language.Name)
		}
	}
}

// TestNoBreakSpacesStay: a line breaks before the word that has one, and a subject keeps it.
func TestNoBreakSpacesStay(t *testing.T) {
	for _, space := range []string{"\u00a0", "\u202f"} {
		long := strings.Repeat("mot ", 17) + "question" + space + "?"
		require.Equal(t, strings.TrimSuffix(strings.Repeat("mot ", 17), " ")+"\nquestion"+space+"?", letter.Wrap(long))
		require.Equal(t, "Vous"+space+"? a b", letter.OneLine(" Vous"+space+"?\n\ta\u2028b\r"))
	}
}

// TestOnlyOwnTemplatesAreLoaded: a folder with one language or one mail doesn't have a start, or a
// reload, parse and try all mails in all languages, which takes 300 ms.
func TestOnlyOwnTemplatesAreLoaded(t *testing.T) {
	load := func(files map[string]string) *letter.Templates {
		o := sitetest.Letters(sitetest.Resolved(t))
		o.Templates = sitetest.TemplatesFolder(t, files)
		l, err := text.NewLanguages(o.Templates, "en")
		require.NoError(t, err)
		r, err := letter.NewTemplates(o, l, "example.com")
		require.NoError(t, err)
		return r
	}
	r := load(map[string]string{"locales/nl.json": `{"mail.greeting": "Hallo {name},"}`})
	require.Empty(t, r.Owners("nl"))
	r = load(map[string]string{"register/subject.de.txt": "Willkommen", "register/body.txt": "Hi"})
	require.Equal(t, []store.MailKind{store.MailVerifyRegistration}, r.Owners("de"))
	require.Equal(t, []store.MailKind{store.MailVerifyRegistration}, r.Owners("en"))
	r = load(map[string]string{"register/subject.de.txt": "Willkommen"})
	require.Equal(t, []store.MailKind{store.MailVerifyRegistration}, r.Owners("de"))
	require.Empty(t, r.Owners("en"))
	r = load(map[string]string{"mail/layout.de.html": `<p>{{template "content" .}}</p>`})
	require.Greater(t, len(r.Owners("de")), 20)
	require.Empty(t, r.Owners("en"))
}
