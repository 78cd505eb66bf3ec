// language_test.go: an account has a language: mails to it are in it, whoever has caused
// them; a page is in the one that was chosen by hand, else in the account's, else in the
// browser's.

package self_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// speaking is a browser that asks for a language; "": for none.
func speaking(s *sitetest.Site, accept string) *sitetest.Browser {
	b := s.Browser()
	if accept != "" {
		b.Header.Set("Accept-Language", accept)
	}
	return b
}

// joins signs somebody up and confirms the account, and returns the language of that mail.
func joins(b *sitetest.Browser, name string, more sitetest.Data) string {
	res := b.Post("/accounts/register", sitetest.With(sitetest.Newcomer(name), more))
	require.Equal(b.Site.T, http.StatusCreated, res.StatusCode, res.Text)
	m := b.Site.Mail()
	require.Equal(b.Site.T, http.StatusOK, b.Post("/accounts/verify-registration", sitetest.LinkOf(m, b.Site.T)).StatusCode)
	return m.Language
}

func languageOf(s *sitetest.Site, name string) string {
	u, err := s.Accounts.Lookup(s.T.Context(), name)
	require.NoError(s.T, err)
	return u.Language + " " + u.BrowserLanguage
}

// TestMailsSpeakTheAccountsLanguage: whoever asks for it, in whatever language.
func TestMailsSpeakTheAccountsLanguage(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Login.MailCode = sitetest.On() })
	require.Equal(t, "pl", joins(speaking(s, "pl-PL,pl;q=0.9"), "ada", nil))
	require.Equal(t, "pl ", languageOf(s, "ada"))
	thief := speaking(s, "de")
	thief.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	require.Equal(t, "pl", s.Mail().Language, "a reset")
	thief.Post("/accounts/send-login-code", sitetest.Data{"login": "ada"})
	require.Equal(t, "pl", s.Mail().Language, "a code")
	thief.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"email": "ada@example.org"}))
	require.Equal(t, "pl", s.Mail().Language, "that somebody wants the address")

	res := thief.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "pl ", languageOf(s, "ada"), "a sign-in changes nothing")
	require.Equal(t, http.StatusOK, thief.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "ada2", "current_password": sitetest.Password}).StatusCode)
	require.Equal(t, "pl", s.Mail().Language, "a new name")
	const fresh = "an even longer passphrase"
	require.Equal(t, http.StatusOK, thief.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": fresh, "password_confirm": fresh}).StatusCode)
	require.Equal(t, "pl", s.Mail().Language, "a new password")
	require.Equal(t, http.StatusOK, thief.Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
	require.Equal(t, "pl", s.Mail().Language, "a new address")

	joins(speaking(s, "fr"), "bob", nil)
	u, err := s.Accounts.Lookup(t.Context(), "bob")
	require.NoError(t, err)
	_, err = s.Accounts.SetPassword(t.Context(), u.ID, fresh, account.Client{})
	require.NoError(t, err)
	require.Equal(t, "fr", s.Mail().Language, "what an owner does")
	require.NoError(t, s.Accounts.MailResetLink(t.Context(), u))
	require.Equal(t, "fr", s.Mail().Language, "a link by the owner")
}

// TestQueuedMailSpeaksTheNewLanguage: what waits when a language is chosen goes out in it.
func TestQueuedMailSpeaksTheNewLanguage(t *testing.T) {
	s := sitetest.New(t)
	joins(speaking(s, "pl"), "ada", nil)
	b := s.SignedIn("ada")
	require.Equal(t, http.StatusOK, b.Do("PATCH", "/accounts/profile", sitetest.Data{"language": "fr"}).StatusCode)
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	m, err := s.Realm.Courier.Render(&store.Mail{Kind: store.MailPasswordChanged, To: u.Email, User: u.ID, Language: "pl"}, u)
	require.NoError(t, err)
	require.Equal(t, "fr", m.Language)
	u.Language = "th" // no longer spoken
	m, err = s.Realm.Courier.Render(&store.Mail{Kind: store.MailPasswordChanged, To: u.Email, User: u.ID, Language: "pl"}, u)
	require.NoError(t, err)
	require.Equal(t, "pl", m.Language)
}

// TestLanguageAtSignUp: it is the page's, or what the sign-up says.
func TestLanguageAtSignUp(t *testing.T) {
	s := sitetest.New(t)
	for name, c := range map[string]struct {
		accept, query string
		says          any
		mail, account string
	}{
		"ann": {"de-CH, fr;q=0.3", "", nil, "de", "de "},
		"bea": {"", "", nil, "en", " "},
		"cat": {"th", "", nil, "en", "en "},
		"dot": {"de", "?lang=fr", nil, "fr", "fr "},
		"eva": {"", "?lang=pl", nil, "pl", "pl "},
		"fay": {"de", "", "es-MX", "es-419", "es-419 "},
		"gil": {"de", "", "", "de", " de"},
	} {
		b := speaking(s, c.accept)
		body := sitetest.Newcomer(name)
		if c.says != nil {
			body["language"] = c.says
		}
		res := b.Post("/accounts/register"+c.query, body)
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		require.NotContains(t, res.JSON(t), "language", "its answer is as ever")
		require.Equal(t, c.mail, s.Mail().Language, name)
		require.Equal(t, c.account, languageOf(s, name), name)
	}
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("hal"), sitetest.Data{"language": "th"})), 400, "language:invalid_choice")
}

// TestFollowingTheBrowser: an account without a language, as older ones are, is written to
// as its owner's browser asks, and not as who is new there.
func TestFollowingTheBrowser(t *testing.T) {
	s := sitetest.New(t)
	joins(s.Browser(), "ada", nil)
	signsIn := func(b *sitetest.Browser) {
		require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
	}
	asks := func(accept string) string {
		speaking(s, accept).Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
		return s.Mail().Language
	}
	require.Equal(t, "fr", asks("fr"), "nothing is known")
	own := speaking(s, "pl")
	signsIn(own)
	require.Equal(t, " pl", languageOf(s, "ada"))
	require.Equal(t, "pl", asks("fr"))
	// A page that was chosen by hand, perhaps by a link on another site, changes no mail.
	own.Get("/accounts/login/?lang=id")
	signsIn(own)
	require.Equal(t, " pl", languageOf(s, "ada"))
	own.Header.Set("Accept-Language", "de")
	signsIn(own)
	require.Equal(t, " de", languageOf(s, "ada"))
	thief := speaking(s, "es")
	thief.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	signsIn(thief)
	require.Equal(t, " de", languageOf(s, "ada"), "on a new device")
}

// TestLanguageByOwner: an owner sees and sets it, too.
func TestLanguageByOwner(t *testing.T) {
	s := sitetest.New(t)
	says := func(tag string) field.Input { return field.Input{field.Language: {Kind: field.ValueText, Text: tag}} }
	u, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Email: "ada@example.org", Fields: says("pt")})
	require.NoError(t, err)
	require.Equal(t, "pt-BR", u.Language)
	require.NoError(t, s.Accounts.MailResetLink(t.Context(), u))
	require.Equal(t, "pt-BR", s.Mail().Language)
	u, err = s.Accounts.Administer(t.Context(), u.ID, account.AdminChange{Fields: says("pl")})
	require.NoError(t, err)
	require.Equal(t, "pl", u.Language)
	_, err = s.Accounts.Administer(t.Context(), u.ID, account.AdminChange{Fields: says("th")})
	require.ErrorContains(t, err, "invalid_choice")
}

// TestProfileLanguage: the person's choice, by the API.
func TestProfileLanguage(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.User.PublicFields = []string{field.Username, field.Email, field.FirstName, field.Language}
	})
	joins(speaking(s, "fr"), "ada", nil)
	b := s.SignedIn("ada")
	require.Equal(t, "fr", b.Get("/accounts/profile").JSON(t)["language"])
	sets := func(v any) any {
		res := b.Do("PATCH", "/accounts/profile", sitetest.Data{"language": v})
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		return res.JSON(t)["language"]
	}
	require.Equal(t, "de", sets("de-AT"))
	require.Equal(t, "pt-BR", sets("pt"))
	require.Equal(t, "id", sets("in"))
	require.Nil(t, sets(nil))
	require.Equal(t, "pl", sets("pl"))
	require.Nil(t, sets(""))
	require.Equal(t, "pl", sets("pl"))
	require.Equal(t, http.StatusOK, b.Do("PUT", "/accounts/profile", sitetest.Data{"username": "ada"}).StatusCode)
	require.Equal(t, "pl ", languageOf(s, "ada"), "a program that knows of no languages leaves it")
	b.Problems()
	for _, wrong := range []any{"th", "x", "de,fr", strings.Repeat("de-", 40), "\u0000", "und"} {
		sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"language": wrong}), 400, "language:"+map[bool]string{true: "max_length", false: "invalid_choice"}[len(wrong.(string)) > 35])
	}
	sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"language": true}), 400, "language:invalid")
	require.Contains(t, b.Get("/accounts/export").Text, `"language": "pl"`)
}

// TestLanguageHiddenOrOwn: an owner can keep it to himself, and a field of his own of that
// name stays his.
func TestLanguageHiddenOrOwn(t *testing.T) {
	hidden := sitetest.New(t, func(s *registration.Settings) { s.User.HiddenFields = []string{field.Language} })
	joins(speaking(hidden, "pl"), "ada", nil)
	b := hidden.SignedIn("ada")
	require.Equal(t, http.StatusOK, b.Do("PATCH", "/accounts/profile", sitetest.Data{"language": "de"}).StatusCode)
	require.Equal(t, "pl ", languageOf(hidden, "ada"))
	require.Equal(t, http.StatusNotFound, b.Post("/accounts/language", sitetest.Data{"language": "de"}).StatusCode)
	page := b.LikeBrowser().Get("/accounts/profile/").Text
	require.NotContains(t, page, `<select id="language"`)
	require.Contains(t, page, `<a href="?lang=de" lang="de" hreflang="de">Deutsch</a>`)

	own := sitetest.New(t, func(s *registration.Settings) {
		s.User.Fields = []field.Spec{{Name: "language", Type: "choice", Choices: []string{"C", "Go"}}}
	})
	joins(speaking(own, "pl"), "ada", sitetest.Data{"language": "Go"})
	b = own.SignedIn("ada")
	require.Equal(t, "Go", b.Get("/accounts/profile").JSON(t)["language"])
	require.Equal(t, "pl ", languageOf(own, "ada"))
	require.Equal(t, http.StatusOK, b.Post("/accounts/language", sitetest.Data{"language": "de"}).StatusCode)
	require.Equal(t, "de ", languageOf(own, "ada"))
	require.Equal(t, "Go", b.Get("/accounts/profile").JSON(t)["language"])
}

// TestSwitchByHand: a link at the foot of each page, without a script, that stays.
func TestSwitchByHand(t *testing.T) {
	s := sitetest.New(t)
	b := speaking(s, "fr").LikeBrowser()
	page := b.Get("/accounts/register/?next=%2Fshop%3Fa%3D1%26b%3D2")
	require.Empty(t, page.Header.Values("Set-Cookie"), "no cookie before one has chosen")
	require.Equal(t, "fr", page.Header.Get("Content-Language"))
	require.Contains(t, strings.Join(page.Header.Values("Vary"), ", "), "Cookie")
	require.Equal(t, "no-store", page.Header.Get("Cache-Control"))
	require.Contains(t, page.Text, `<span lang="fr" aria-current="true">Français</span>`)
	require.Contains(t, page.Text, `<a href="?lang=de&amp;next=%2Fshop%3Fa%3D1%26b%3D2" lang="de" hreflang="de">Deutsch</a>`)
	require.Equal(t, len(s.Realm.Languages.Locales)-1, strings.Count(page.Text, " hreflang="))

	page = b.Get("/accounts/register/?lang=de&next=%2Fshop%3Fa%3D1%26b%3D2")
	require.Contains(t, page.Text, `<html lang="de"`)
	require.Contains(t, page.Text, `name="next" value="/shop?a=1&amp;b=2"`)
	require.Contains(t, page.Text, `action="/accounts/register/?lang=de"`, "for a browser that keeps no cookie")
	cookie := page.Cookies()[0]
	require.Equal(t, "registration_lang=de; Path=/accounts; Max-Age=34560000; HttpOnly; SameSite=Lax", cookie.String())

	require.Contains(t, b.Get("/accounts/login/").Text, `<html lang="de"`, "it stays")
	require.Empty(t, b.Get("/accounts/login/?lang=de").Cookies(), "it is there already")
	res := b.Post("/accounts/login/", url.Values{"login": {"x"}, "password": {"y"}, "next": {"/shop"}})
	require.Contains(t, res.Text, `<html lang="de"`, "after a form, too")
	require.Contains(t, res.Text, `<a href="?lang=pl&amp;next=%2Fshop" lang="pl"`)
	require.Equal(t, "de", b.Get("/accounts/nowhere/").Header.Get("Content-Language"))
	require.Contains(t, b.Get("/accounts/login/?lang=pl").Text, `<html lang="pl"`, "the address counts more")
	b.Header.Set("Accept", "application/json")
	require.Equal(t, "pl", b.Get("/accounts/profile").Header.Get("Content-Language"))
	require.Empty(t, b.Get("/accounts/profile?lang=de").Cookies(), "of a page alone")

	// What nobody speaks is as if nobody had asked, and is kept nowhere.
	for _, wrong := range []string{"th", "xx-yy", "%00", "../de", strings.Repeat("de-", 50), "", "de%0d%0aSet-Cookie:x=1"} {
		other := speaking(s, "fr").LikeBrowser()
		page := other.Get("/accounts/register/?lang=" + wrong)
		require.Contains(t, page.Text, `<html lang="fr"`, wrong)
		require.Empty(t, page.Cookies(), wrong)
		other.Cookie["registration_lang"] = wrong
		require.Contains(t, other.Get("/accounts/login/").Text, `<html lang="fr"`, wrong)
	}
	// Within a page of somebody else's nothing is kept.
	for dest, kept := range map[string]int{"document": 1, "iframe": 0, "image": 0, "script": 0} {
		other := s.Browser().LikeBrowser()
		other.Header.Set("Sec-Fetch-Dest", dest)
		require.Len(t, other.Get("/accounts/register/?lang=pl").Cookies(), kept, dest)
	}
}

// TestSwitchSignedIn: who is signed in chooses for his account, by a form that only our own
// pages can send.
func TestSwitchSignedIn(t *testing.T) {
	s := sitetest.New(t)
	joins(speaking(s, "pl"), "ada", nil)
	b := s.SignedIn("ada").LikeBrowser()
	b.Header.Set("Accept-Language", "fr")
	page := b.Get("/accounts/change-password/?next=%2Fshop")
	require.Contains(t, page.Text, `<html lang="pl"`, "the account's before the browser's")
	require.Contains(t, page.Text, `<input type="hidden" name="next" value="/accounts/change-password/?next=%2Fshop">`)
	require.Contains(t, page.Text, `<button type="submit" name="language" value="de" lang="de">Deutsch</button>`)
	require.NotContains(t, page.Text, "hreflang")

	// A link, or a form, of another site does nothing to the account.
	require.Contains(t, b.Get("/accounts/change-password/?lang=es").Text, `<html lang="es"`)
	require.Equal(t, "pl ", languageOf(s, "ada"))
	delete(b.Cookie, "registration_lang")
	b.Header.Set("Origin", "https://evil.example")
	require.Equal(t, http.StatusForbidden, b.Post("/accounts/language/", url.Values{"language": {"es"}}).StatusCode)
	require.Equal(t, "pl ", languageOf(s, "ada"))
	b.Header.Del("Origin")
	require.Equal(t, http.StatusMethodNotAllowed, b.Get("/accounts/language/?language=es").StatusCode)

	res := b.Post("/accounts/language/", url.Values{"language": {"de"}, "next": {"/accounts/change-password/?next=%2Fshop"}})
	require.Equal(t, "/accounts/change-password/?next=%2Fshop", res.Header.Get("Location"))
	require.Contains(t, b.Follow(res).Text, `<html lang="de"`)
	require.Equal(t, "de ", languageOf(s, "ada"))
	require.Equal(t, "de", b.Cookie["registration_lang"], "it stays after the sign-out")
	res = b.Post("/accounts/language/", url.Values{"language": {"de"}, "next": {"https://evil.example/"}})
	require.Equal(t, "/accounts/profile/", res.Header.Get("Location"))

	// By the profile, too; the page is in it then, whatever was chosen here before.
	page = b.Get("/accounts/profile/")
	require.Contains(t, page.Text, `<option value="de" selected>Deutsch</option>`)
	res = b.Post("/accounts/profile/", url.Values{"username": {"ada"}, "language": {"fr"}})
	page = b.Follow(res)
	require.Contains(t, page.Text, `<html lang="fr"`)
	require.Equal(t, "fr ", languageOf(s, "ada"))
	require.Contains(t, b.Follow(b.Post("/accounts/profile/", url.Values{"username": {"ada"}, "language": {""}})).Text, `<html lang="fr"`, "the browser's")
	require.Equal(t, " fr", languageOf(s, "ada"))
	require.NotContains(t, b.Cookie, "registration_lang")
	require.NoError(t, json.Unmarshal([]byte(b.Set("Accept", "application/json").Post("/accounts/language", sitetest.Data{"language": nil}).Text), &struct{}{}))
	sitetest.RequireError(t, b.Problems().Post("/accounts/language", sitetest.Data{}), 400, "language:required")
	sitetest.RequireError(t, b.Problems().Post("/accounts/language", sitetest.Data{"language": "th"}), 400, "language:invalid_choice")
	require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/language", sitetest.Data{"language": "de"}).StatusCode)
}

// TestSwitchOnMailedLinks: the link goes on with what it carries; what is told once is not
// asked for again.
func TestSwitchOnMailedLinks(t *testing.T) {
	s := sitetest.New(t)
	joins(speaking(s, "en"), "ada", nil)
	b := speaking(s, "en").LikeBrowser()
	b.Post("/accounts/send-reset-password-link/", url.Values{"login": {"ada"}})
	m := s.Mail()
	link, err := url.Parse(sitetest.LinkInMail.FindString(m.Text))
	require.NoError(t, err)
	require.NotContains(t, link.RawQuery, "lang")
	page := b.Get(link.RequestURI())
	signature := link.Query().Get("signature")
	require.Contains(t, page.Text, "?lang=de&amp;signature="+url.QueryEscape(signature))
	query := link.Query()
	query.Set("lang", "de")
	require.Contains(t, b.Get(link.Path+"?"+query.Encode()).Text, `name="signature" value="`+signature)
	form := url.Values{"password": {"1"}}
	for name, values := range link.Query() {
		form[name] = values
	}
	page = b.Post("/accounts/reset-password/", form)
	require.Equal(t, http.StatusBadRequest, page.StatusCode)
	require.Contains(t, page.Text, "?lang=pl&amp;signature="+url.QueryEscape(signature))
}
