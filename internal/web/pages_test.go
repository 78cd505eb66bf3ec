// pages_test.go: the pages as answers: which are there, what leads where, the
// way back, links that no longer work, errors, the owner's templates and files.

package web_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// maxPage is what a page may weigh together with its style sheet, in bytes.
const maxPage = 17_000

func TestPagesWalk(t *testing.T) {
	s := sitetest.New(t)
	b := s.Browser().LikeBrowser()
	for _, page := range []string{"login", "register", "resend-verification", "send-reset-password-link"} {
		res := b.Get("/accounts/" + page + "/?next=x&next=%2Fmembers%2F")
		require.Equal(t, 200, res.StatusCode, page)
		action := ` action="/accounts/` + page + `/"`
		if page == "login" { // to its own address, so that the fragment stays
			action = ""
		}
		require.Contains(t, res.Text, `<form method="post"`+action+` novalidate>`)
		require.Contains(t, res.Text, `name="next" value="/members/"`)
		require.Less(t, len(res.Text)+len(s.Realm.Pages.Files[web.StyleName].Body), maxPage)
	}
	for _, page := range []string{"profile", "change-password", "register-email"} {
		require.Equal(t, "/accounts/login/?next=%2Faccounts%2F"+page+"%2F", b.Get("/accounts/"+page).Header.Get("Location"))
	}
	require.Equal(t, "/accounts/profile/", b.Get("/accounts").Header.Get("Location"))
	require.Equal(t, "/accounts/change-password/", b.Get("/.well-known/change-password").Header.Get("Location"))

	const way, keptWay = "/members/?a=b&c=d%26", "?next=%2Fmembers%2F%3Fa%3Db%26c%3Dd%2526"
	res := b.Post("/accounts/register/", sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"next": way})))
	require.Equal(t, "/accounts/resend-verification/"+keptWay+"&sent=1", res.Header.Get("Location"))
	sent := b.Follow(res)
	require.Contains(t, sent.Text, "ada@example.org")
	require.Contains(t, sent.Text, `name="email" value="ada@example.org"`, "one button sends it again")
	require.Equal(t, sent.Text, b.Get(res.Header.Get("Location")).Text, "a reload shows it once more")
	s.Mail()
	sent = b.Follow(b.Post("/accounts/resend-verification/", url.Values{"email": {"ada@example.org"}, "next": {way}}))
	require.Contains(t, sent.Text, "sent an email to ada@example.org", "it is the browser that has signed up")
	require.Contains(t, sent.Text, `name="email" value="ada@example.org"`)
	require.Contains(t, s.Browser().LikeBrowser().Get("/accounts/resend-verification/?sent=1").Text, "If this account is waiting")

	link, act := s.Mailed()
	for _, method := range []string{"GET", "HEAD", "GET"} { // a scanner, however often
		res = s.Browser().LikeBrowser().Do(method, link, nil)
		require.Equal(t, 200, res.StatusCode)
	}
	require.Contains(t, res.Text, `name="signature"`)
	require.Equal(t, 1, strings.Count(res.Text, `<button type="submit"`))
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.False(t, u.IsActive, "a GET changes nothing")
	phone := s.Browser().LikeBrowser() // the mail is opened on another device
	require.Contains(t, phone.Get(link).Text, `name="password"`)
	require.Contains(t, phone.Post("/accounts/verify-registration/", url.Values{"user_id": act["user_id"], "timestamp": act["timestamp"], "signature": act["signature"], "password": {""}}).Text, `name="password"`)
	act.Set("password", sitetest.Password)
	res = phone.Post("/accounts/verify-registration/", act)
	require.Equal(t, "/accounts/login/"+keptWay, res.Header.Get("Location"))
	login := phone.Follow(res)
	require.Contains(t, login.Text, `class="note"`)
	require.Contains(t, login.Text, "confirmed")
	require.NotContains(t, phone.Get(res.Header.Get("Location")).Text, `class="note"`, "it is told once")
	require.Equal(t, "/accounts/login/"+keptWay, phone.Post("/accounts/verify-registration/", act).Header.Get("Location"), "pressed twice")
	require.Contains(t, phone.Get(link).Text, `class="button" href="/accounts/login/`+keptWay+`"`)
	act.Set("signature", strings.Repeat("A", 43))
	for _, res := range []*sitetest.Answer{phone.Post("/accounts/verify-registration/", act), phone.Get("/accounts/verify-registration/?" + act.Encode())} {
		require.Equal(t, 400, res.StatusCode)
		require.NotContains(t, res.Text, "<button", "a dead button is not offered")
		require.Contains(t, res.Text, "/accounts/resend-verification/"+keptWay)
	}
	res = phone.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {"wrong"}, "next": {way}})
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.Text, `value="ada"`)
	require.Contains(t, res.Text, "<title>Error: Sign in")
	require.Contains(t, res.Text, `<a href="#login">`)
	res = phone.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {way}})
	require.Equal(t, 303, res.StatusCode)
	require.Equal(t, way, res.Header.Get("Location"))
}

func TestPagesOfAMember(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	require.Equal(t, "/accounts/profile/", b.Get("/accounts/login/").Header.Get("Location"), "signed in already")
	require.Equal(t, "/members/?a=b", b.Get("/accounts/login/?next=%2Fmembers%2F%3Fa%3Db").Header.Get("Location"))
	require.Equal(t, "/accounts/profile/", b.Get("/accounts/login/?next=https%3A%2F%2Fevil.example%2F").Header.Get("Location"))
	res := b.Get("/accounts/profile/")
	require.Contains(t, res.Text, `value="ada"`)
	require.Contains(t, res.Text, "<p>ada@example.org</p>", "what can't be edited is shown")
	res = b.Post("/accounts/profile/", url.Values{"username": {""}, "first_name": {"A\x00da"}, "last_name": {"Lovelace"}})
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.Text, `value="Lovelace"`)
	require.Contains(t, res.Text, `<a href="#username">Username: `)
	require.Contains(t, res.Text, `aria-describedby="first_name-error"`)
	res = b.Follow(b.Post("/accounts/profile/", url.Values{"username": {"ada"}, "first_name": {"Ada"}, "last_name": {""}}))
	require.Contains(t, res.Text, "saved")
	require.Contains(t, res.Text, `value="Ada"`)
	res = b.Get("/accounts/change-password/")
	require.Contains(t, res.Text, `autocomplete="username" value="ada"`)
	require.Contains(t, res.Text, `minlength="8"`)
	res = b.Follow(b.Post("/accounts/change-password/", url.Values{"old_password": {sitetest.Password}, "password": {"another passphrase"}, "password_confirm": {"another passphrase"}}))
	require.Contains(t, res.Text, "signed out everywhere else")
	res = b.Follow(b.Post("/accounts/register-email/", url.Values{"email": {"n@example.org"}}))
	require.Contains(t, res.Text, "sent an email to your new address")
	link, act := s.Mailed()
	require.Contains(t, b.Get(link).Text, "n@example.org")
	require.Equal(t, "/accounts/profile/", b.Post("/accounts/verify-email/", act).Header.Get("Location"))
	stranger := s.Browser().LikeBrowser()
	require.Contains(t, stranger.Get(link).Text, "already been changed to n@example.org")
	require.Contains(t, b.Get("/accounts/profile/").Text, "n@example.org")

	res = b.Post("/accounts/logout/", url.Values{"next": {"/members/?a=b"}})
	require.Equal(t, "/accounts/logout/?next=%2Fmembers%2F%3Fa%3Db", res.Header.Get("Location"))
	res = b.Follow(res)
	require.Equal(t, 200, res.StatusCode)
	require.Contains(t, res.Text, "You’re signed out")
	require.Contains(t, res.Text, "/accounts/login/?next=%2Fmembers%2F%3Fa%3Db")
	require.NotContains(t, b.Cookie, "registration")
	require.Equal(t, 302, b.Get("/members/").StatusCode)
	res = b.Post("/accounts/logout/", url.Values{})
	require.Equal(t, 401, res.StatusCode)
	require.Contains(t, res.Text, "/accounts/login/?next=%2Faccounts%2Flogout%2F")
}

// TestSignInsAreRecognised: the list names the program and its system, as far as
// they are known.
func TestSignInsAreRecognised(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	first := s.SignedIn("ada").LikeBrowser()
	require.NotContains(t, first.Get("/accounts/sessions/").Text, "Sign out everywhere else", "there is no other")
	for agent, shown := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0":                                                        "Firefox, Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1": "Safari, iOS",
		"curl/8.5.0":            "curl",
		"My home automation":    "My home automation",
		"<b>((":                 "&lt;b&gt;((",
		"":                      "Unknown browser or app",
		strings.Repeat("é", 99): strings.Repeat("é", 80),
	} {
		b := s.Browser()
		b.Header.Set("User-Agent", agent)
		require.Equal(t, 200, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
		require.Contains(t, first.Get("/accounts/sessions/").Text, shown+"</")
	}
	require.Contains(t, first.Get("/accounts/sessions/").Text, "Sign out everywhere else")
}

func TestPagesOfAReset(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.Browser().LikeBrowser()
	res := b.Post("/accounts/send-reset-password-link/", url.Values{"login": {"ada"}, "next": {"/members/"}})
	require.Equal(t, "/accounts/send-reset-password-link/?next=%2Fmembers%2F&sent=1", res.Header.Get("Location"))
	require.Contains(t, b.Follow(res).Text, `name="login" value="ada"`)
	require.NotContains(t, b.Get("/accounts/send-reset-password-link/").Text, `type="hidden" name="login"`, "another account can be named")
	require.Contains(t, s.Browser().LikeBrowser().Get(res.Header.Get("Location")).Text, "Check your email", "without the cookie too")
	link, act := s.Mailed()
	require.Contains(t, b.Get(link).Text, `autocomplete="username" value="ada"`)
	act.Set("password", "12345678")
	res = b.Post("/accounts/reset-password/", act)
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.Text, `name="signature" value="`+act.Get("signature"))
	require.NotContains(t, res.Text, "12345678")
	act.Set("password", "another passphrase")
	res = b.Post("/accounts/reset-password/", act)
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", res.Header.Get("Location"))
	require.Contains(t, b.Follow(res).Text, "new password has been set")
	require.Contains(t, b.Get(link).Text, `href="/accounts/send-reset-password-link/?next=%2Fmembers%2F"`)

	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	link, _ = s.Mailed()
	s.Travel(25 * time.Hour)
	res = b.Get(link)
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.Text, "has expired")
}

// TestRecentSignInByPage: whoever is signed in but not recently gets the page,
// not a circle of redirects.
func TestRecentSignInByPage(t *testing.T) {
	s := sitetest.New(t)
	s.Guard.MaxAge = 600_000_000_000
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	require.Equal(t, 200, b.Get("/members/").StatusCode)
	s.Travel(time.Hour)
	to := b.Get("/members/?a=b").Header.Get("Location")
	require.Equal(t, "/accounts/step-up/?max_age=600&next=%2Fmembers%2F%3Fa%3Db", to)
	res := b.Get(to)
	require.Equal(t, 200, res.StatusCode)
	require.Contains(t, res.Text, `name="password"`)
	res = b.Post("/accounts/step-up/", url.Values{"password": {sitetest.Password}, "max_age": {"600"}, "next": {"/members/?a=b"}})
	require.Equal(t, "/members/?a=b", res.Header.Get("Location"))
	require.Equal(t, 200, b.Get("/members/?a=b").StatusCode)
}

func TestErrorPages(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	stranger := s.Browser().LikeBrowser()
	page := func(res *sitetest.Answer, status int, parts ...string) {
		t.Helper()
		require.Equal(t, status, res.StatusCode, res.Text)
		require.Contains(t, res.Header.Get("Content-Type"), "text/html")
		for _, part := range append(parts, `<link rel="stylesheet" href="/accounts/style.css`) {
			require.Contains(t, res.Text, part)
		}
	}
	page(stranger.Get("/accounts/nothing"), 404, "Page not found")
	page(stranger.Do("PUT", "/accounts/login/", url.Values{}), 405, `href="/accounts/login/"`)
	s.Guard.Groups = []string{"staff"}
	page(b.Get("/members/?a=b"), 403, "No access", `href="/accounts/logout/?next=%2Fmembers%2F%3Fa%3Db"`, `<a href="/accounts/profile/">ada</a>`)
	b.Header.Set("Sec-Fetch-Site", "cross-site")
	page(b.Post("/accounts/profile/", url.Values{}), 403, `href="/accounts/profile/"`)
	b.Header.Del("Sec-Fetch-Site")
	b.Header.Set("Content-Type", "text/plain")
	page(b.Post("/accounts/profile/", "x"), 415, `href="/accounts/profile/"`)
	b.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	page(b.Post("/accounts/profile/", strings.Repeat("x", 70_000)), 413, `href="/accounts/profile/"`)
	page(b.Post("/accounts/profile/", "%zz"), 400, `href="/accounts/profile/"`)
	s.Realm.Accounts.Store(nil)
	page(b.Get("/accounts/profile/"), 503, "Not available")
}

// TestThrottledForm: a 429 keeps what was typed.
func TestThrottledForm(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 1, Window: 60_000_000_000}}
	})
	b := s.Browser().LikeBrowser()
	for _, status := range []int{400, 429} {
		res := b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {"x"}})
		require.Equal(t, status, res.StatusCode)
		require.Contains(t, res.Text, `value="ada"`)
		require.Contains(t, res.Text, `role="alert"`)
	}
}

// TestPlantedFlash: whoever can plant the cookie gets nothing but a text of ours.
func TestPlantedFlash(t *testing.T) {
	s := sitetest.New(t)
	for _, value := range []string{"p=login&d=page.login.title", "d=detail.profile_saved&e=x", "p=profile&d=detail.profile_saved", "%zz", "p=login&d=" + strings.Repeat("x", 5000), "p=login&d=error.internal"} {
		b := s.Browser().LikeBrowser()
		b.Cookie["registration_flash"] = value
		require.NotContains(t, b.Get("/accounts/login/").Text, `class="note"`, value)
	}
	b := s.Browser().LikeBrowser()
	b.Cookie["registration_flash"] = url.Values{"p": {"resend-verification"}, "d": {"detail.confirm_account"}, "e": {"<script>x</script>"}, "n": {`"><script>`}, "v": {"<script>"}}.Encode()
	res := b.Get("/accounts/resend-verification/?sent=1")
	require.Equal(t, 200, res.StatusCode)
	require.NotContains(t, res.Text, "<script>")
}

// A note is about the page that it was meant for: the mail that was asked for is no
// more "on its way" on the page that its link opens.
func TestANoteStaysOnItsPage(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.Browser().LikeBrowser()
	sent := b.Follow(b.Post("/accounts/send-reset-password-link/", url.Values{"login": {"ada"}}))
	const onItsWay = "emailed a link to set a new password"
	require.Contains(t, sent.Text, onItsWay)
	require.Contains(t, b.Get("/accounts/send-reset-password-link/?sent=1").Text, onItsWay, "loaded anew")
	link, _ := s.Mailed()
	page := b.Get(link)
	require.Contains(t, page.Text, "Set a new password")
	require.NotContains(t, page.Text, `class="note"`)
	require.NotContains(t, b.Cookie, "registration_flash", "and on none after")

	res := b.Post("/accounts/resend-verification/", url.Values{"login": {"ada"}})
	require.NotContains(t, b.Get("/accounts/login/").Text, `class="note"`)
	require.Equal(t, 303, res.StatusCode)
	require.NotContains(t, b.Get("/accounts/resend-verification/").Text, `class="note"`, "told once")
}

func TestBranding(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, sitetest.WriteFile(path, text))
		return path
	}
	logo, css := file("logo.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`), file("brand.css", ":root { --accent: #7a1f5c }")
	file("pages/login.html", `<h1>Hello again</h1>{{with .Form}}<form method="post" action="{{.Action}}">{{range .Fields}}{{template "field.html" .}}{{end}}</form>{{end}}`)
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Pages = registration.PagesSettings{Title: "The <garden>", Logo: logo, Stylesheet: css, Templates: filepath.Join(dir, "pages")}
	})
	b := s.Browser().LikeBrowser()
	login, register := b.Get("/accounts/login/"), b.Get("/accounts/register/")
	require.NotContains(t, login.Text, "<source", "no logo of its own for dark colours")
	require.NotContains(t, login.Text, `rel="icon"`, "browsers ask the site")
	require.Equal(t, 404, b.Get("/accounts/favicon.ico").StatusCode)
	require.NotContains(t, b.Get("/accounts/style.css").Text[3000:], "--accent: #", "no accent")
	require.Contains(t, login.Text, "<h1>Hello again</h1>")
	require.Contains(t, login.Text, `id="password"`)
	require.Contains(t, register.Text, "Create an account")
	for _, res := range []*sitetest.Answer{login, register} {
		require.Contains(t, res.Text, `alt="The &lt;garden&gt;"`)
		require.NotContains(t, res.Text, "<garden>")
	}
	for name, want := range map[string]string{"logo.svg": "image/svg+xml", "brand.css": "text/css; charset=utf-8", "style.css": "text/css; charset=utf-8"} {
		_, rest, ok := strings.Cut(login.Text, `"/accounts/`+name)
		require.True(t, ok, name)
		query, _, _ := strings.Cut(rest, `"`)
		res := b.Get("/accounts/" + name + query)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, want, res.Header.Get("Content-Type"))
		require.Contains(t, res.Header.Get("Cache-Control"), "immutable")
		require.Equal(t, "no-cache", b.Get("/accounts/"+name).Header.Get("Cache-Control"))
		again := s.Browser()
		again.Header.Set("If-None-Match", res.Header.Get("ETag"))
		require.Equal(t, 304, again.Get("/accounts/"+name).StatusCode)
		require.Empty(t, b.Do("HEAD", "/accounts/"+name, nil).Text)
	}
	require.Less(t, strings.Index(login.Text, "style.css"), strings.Index(login.Text, "brand.css"), "the owner's comes last")
}

// Links at the foot are on every page, those with a word of ours in the reader's language.
func TestLinksAtTheFoot(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Pages.Links = []registration.LinkSettings{{Label: "help", URL: "/help/?a=1"}, {Label: "imprint", URL: "https://bücher.example/imprint"}, {Label: "<Rules>", URL: "rules@example.com"}}
	})
	s.Member("ada")
	for lang, label := range map[string]string{"en": "Help", "de": "Hilfe"} {
		for _, b := range []*sitetest.Browser{s.Browser(), s.SignedIn("ada")} {
			b.LikeBrowser().Header.Set("Accept-Language", lang)
			for _, page := range []string{"login", "profile", "nothing", "reset-password"} {
				text := b.Get("/accounts/" + page + "/").Text
				if text == "" { // led on
					continue
				}
				require.Contains(t, text, `<a href="/help/?a=1">`+label+`</a>`, page)
				require.Contains(t, text, `<a href="https://xn--bcher-kva.example/imprint">`, page)
				require.Contains(t, text, `<a href="mailto:rules@example.com">&lt;Rules&gt;</a>`, page)
			}
		}
	}
	require.NotContains(t, sitetest.New(t).Browser().LikeBrowser().Get("/accounts/login/").Text, "<footer>\n<ul>")
}

// The title of a window says first what was done, in one sentence.
func TestWindowTitle(t *testing.T) {
	for note, want := range map[string]string{
		"Profile saved.": "Profile saved", "Your e-mail address is ada@example.org now. It counts at once.": "Your e-mail address is ada@example.org now",
		"保存しました。次へ。": "保存しました", "Gespeichert": "Gespeichert", "Done! Go on.": "Done", "تم الحفظ؟ نعم": "تم الحفظ", "": "",
	} {
		require.Equal(t, want, web.FirstSentence(note))
	}
}

// A form is sent unchecked, but for one with a day, of which the browser alone knows that it is
// half typed; there nothing else is checked.
func TestWhatABrowserChecks(t *testing.T) {
	s := sitetest.New(t)
	require.Contains(t, s.Browser().LikeBrowser().Get("/accounts/register/").Text, `action="/accounts/register/" novalidate>`)
	s = sitetest.New(t, sitetest.WithFields(field.Spec{Name: "born", Type: "date"}, field.Spec{Name: "home", Type: "url"}, field.Spec{Name: "beds", Type: "integer"}))
	page := s.Browser().LikeBrowser().Get("/accounts/register/").Text
	form := page[strings.Index(page, "<main>"):]
	require.Contains(t, form, `type="date"`)
	require.NotContains(t, form, "novalidate")
	for _, checked := range []string{` required`, `minlength=`, `type="email"`, `type="url"`, `type="number"`, ` min=`, ` max=`} {
		require.NotContains(t, strings.ReplaceAll(form, `aria-required`, ""), checked)
	}
	require.Contains(t, form, `aria-required="true"`)
	require.Contains(t, form, `inputmode="email"`)
}

// A site has its colours: a logo for dark grounds, an icon, an accent that the style
// sheet and each owner's style sheet after it has.
func TestBrandingInColours(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.svg": "<svg/>", "b.svg": "<svg></svg>", "c.PNG": "png", "d.ico": "ico"} {
		require.NoError(t, sitetest.WriteFile(filepath.Join(dir, name), text))
	}
	for icon, contentType := range map[string]string{"c.PNG": "image/png", "d.ico": "image/x-icon", "a.svg": "image/svg+xml"} {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.Pages = registration.PagesSettings{Logo: filepath.Join(dir, "a.svg"), LogoDark: filepath.Join(dir, "b.svg"), Favicon: filepath.Join(dir, icon), Accent: "7A1F5C"}
		})
		b := s.Browser().LikeBrowser()
		page := b.Get("/accounts/login/")
		found := regexp.MustCompile(`<link rel="icon" href="(/accounts/favicon\.[a-z]+\?v=[^"]+)">`).FindStringSubmatch(page.Text)
		require.NotNil(t, found, page.Text)
		for _, address := range []string{found[1], "/accounts/favicon.ico"} {
			res := b.Get(address)
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, contentType, res.Header.Get("Content-Type"))
			require.Equal(t, "default-src 'none'; style-src 'unsafe-inline'; sandbox", res.Header.Get("Content-Security-Policy"))
		}
		require.Regexp(t, `<picture><source srcset="/accounts/logo-dark\.svg\?v=[^"]+" media="\(prefers-color-scheme: dark\)"><img src="/accounts/logo\.svg\?v=[^"]+" alt="[^"]+"></picture>`, page.Text)
		require.Equal(t, "<svg></svg>", b.Get("/accounts/logo-dark.svg").Text)
		require.Contains(t, page.Header.Get("Content-Security-Policy"), "img-src 'self';")
		require.NotContains(t, page.Text, "7a1f5c", "no style in a page")
		style := b.Get("/accounts/style.css").Text
		require.Contains(t, style, ":root { --accent: #7a1f5c; --on-accent: #ffffff; }\n@media (prefers-color-scheme: dark) {\n  :root { --accent: #")
	}
}

func TestBrandingRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, sitetest.WriteFile(filepath.Join(dir, "pages", "logn.html"), "x"))
	require.NoError(t, sitetest.WriteFile(filepath.Join(dir, "field", "field.html"), "\n\n{{.Colour}}"))
	require.NoError(t, sitetest.WriteFile(filepath.Join(dir, "parse", "layout.html"), "\n{{if}}"))
	require.NoError(t, sitetest.WriteFile(filepath.Join(dir, "small.svg"), "<svg/>"))
	require.NoError(t, sitetest.WriteFile(filepath.Join(dir, "big.ico"), strings.Repeat(" ", 256<<10+1)))
	require.NoError(t, sitetest.WriteFile(filepath.Join(dir, "big.css"), strings.Repeat(" ", 256<<10+1)))
	for name, c := range map[string]struct {
		pages registration.PagesSettings
		want  []string
	}{
		"no folder":                      {registration.PagesSettings{Templates: filepath.Join(dir, "none")}, []string{"pages.templates", "none"}},
		"slip":                           {registration.PagesSettings{Templates: filepath.Join(dir, "pages")}, []string{"logn.html", "no page uses", "login.html"}},
		"unknown field":                  {registration.PagesSettings{Templates: filepath.Join(dir, "field")}, []string{filepath.Join(dir, "field"), "field.html:3:", "Colour"}},
		"parse error":                    {registration.PagesSettings{Templates: filepath.Join(dir, "parse")}, []string{filepath.Join(dir, "parse"), "layout.html:2"}},
		"no logo":                        {registration.PagesSettings{Logo: filepath.Join(dir, "none.svg")}, []string{"pages.logo", "none.svg"}},
		"folder":                         {registration.PagesSettings{Stylesheet: dir}, []string{"pages.stylesheet"}},
		"a dark logo that is not there":  {registration.PagesSettings{Logo: filepath.Join(dir, "small.svg"), LogoDark: filepath.Join(dir, "none.svg")}, []string{"pages.logo_dark", "none.svg"}},
		"a dark logo alone":              {registration.PagesSettings{LogoDark: filepath.Join(dir, "small.svg")}, []string{"pages.logo_dark", "add: logo"}},
		"a dark logo that is none":       {registration.PagesSettings{Logo: filepath.Join(dir, "small.svg"), LogoDark: "a.css"}, []string{"pages.logo_dark", "no image file"}},
		"a dark logo elsewhere":          {registration.PagesSettings{Logo: filepath.Join(dir, "small.svg"), LogoDark: "https://a.example/a.svg"}, []string{"pages.logo_dark", "is an address"}},
		"no icon":                        {registration.PagesSettings{Favicon: filepath.Join(dir, "none.ico")}, []string{"pages.favicon", "none.ico"}},
		"a large icon":                   {registration.PagesSettings{Favicon: filepath.Join(dir, "big.ico")}, []string{"pages.favicon", "256 KiB"}},
		"an icon that is none":           {registration.PagesSettings{Favicon: filepath.Join(dir, "big.css")}, []string{"pages.favicon", "no icon"}},
		"an icon elsewhere":              {registration.PagesSettings{Favicon: "https://a.example/a.ico"}, []string{"pages.favicon", "is an address"}},
		"an accent that nobody can read": {registration.PagesSettings{Accent: "ffcc00"}, []string{"pages.accent", "contrast of 1.3 to 1", "such as #876c00"}},
		"an accent that is no colour":    {registration.PagesSettings{Accent: "red"}, []string{"pages.accent", `"red" is no colour`, "write for example: accent 7a1f5c"}},
		"a link that says nothing":       {registration.PagesSettings{Links: []registration.LinkSettings{{Label: " ", URL: "/help/"}}}, []string{"pages.links.label", "write for example: link privacy /privacy/"}},
		"a link of two lines":            {registration.PagesSettings{Links: []registration.LinkSettings{{Label: "a\nb", URL: "/help/"}}}, []string{"pages.links.label", `"a\nb" is no line`}},
		"a link to nowhere":              {registration.PagesSettings{Links: []registration.LinkSettings{{Label: "help", URL: "help"}}}, []string{"pages.links.url", `"help" is no path`}},
		"a link that is a script":        {registration.PagesSettings{Links: []registration.LinkSettings{{Label: "help", URL: "javascript:alert(1)"}}}, []string{"pages.links.url", "no URL"}},
		"a link to another site's path":  {registration.PagesSettings{Links: []registration.LinkSettings{{Label: "help", URL: "//evil.example/"}}}, []string{"pages.links.url", "no path on this site"}},
		"a link of another scheme":       {registration.PagesSettings{Links: []registration.LinkSettings{{Label: "help", URL: "ftp://a.example/"}}}, []string{"pages.links.url", "not an absolute http or https URL"}},
		"too many links":                 {registration.PagesSettings{Links: make([]registration.LinkSettings, 13)}, []string{"pages.links", "more than 12"}},
		"too big":                        {registration.PagesSettings{Stylesheet: filepath.Join(dir, "big.css")}, []string{"pages.stylesheet", "256 KiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitetest.Open(filepath.Join(t.TempDir(), "r.db"), func(s *registration.Settings) { s.Pages = c.pages })
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, err := os.Stat(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPagesOff(t *testing.T) {
	bare := sitetest.New(t, func(s *registration.Settings) {
		s.Pages.Off = true
		s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "https://a.example/", "https://a.example/", "https://a.example/", "https://a.example/"
	})
	require.Equal(t, 405, bare.Browser().LikeBrowser().Get("/accounts/login").StatusCode)
	require.Equal(t, 401, bare.Browser().LikeBrowser().Get("/members/").StatusCode)
	require.Equal(t, 404, bare.Browser().LikeBrowser().Get("/accounts/style.css").StatusCode)
}

// BenchmarkPages renders every page by itself, as a handler does: the figure has
// to stay under 200 µs.
func BenchmarkPages(b *testing.B) {
	s := sitetest.New(b)
	s.Member("ada")
	u, err := s.Accounts.Lookup(b.Context(), "ada")
	if err != nil {
		b.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodGet, "http://example.com/accounts/", nil)
	c := &web.Call{Accounts: s.Accounts, Realm: s.Realm.Realm.Realm, Req: req, Loc: s.Realm.Language(req), Who: &session.Principal{User: u, Session: &store.Session{Created: s.Realm.Now()}}, Next: "/members/"}
	refused := &refusal.Error{Code: refusal.CodeInvalid}
	for _, name := range []string{"username", "email", "login", "password", "old_password", "password_confirm"} {
		refused.Fields = append(refused.Fields, refusal.FieldError{Field: name, Code: refusal.CodeBlank})
	}
	w := &sitetest.NullWriter{H: http.Header{}}
	for _, name := range s.Realm.Pages.Names {
		for state, refusal := range map[string]*refusal.Error{"": nil, "-refused": refused} {
			e := s.Realm.Endpoints[name]
			if e == nil {
				continue
			}
			b.Run(name+state, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					clear(w.H)
					s.Realm.Pages.Write(w, c, http.StatusOK, s.Realm.Pages.Data(c, e, func(string) string { return "value" }, refusal))
				}
			})
		}
	}
}

func TestPieces(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"emil@garden.example":              "emil@garden.example",
		"bartholomew.jones@garden.example": "bartholomew.jones|@garden.example",
		"I write to a@a.example now and then, and often": "I write to a@a.example now and then, and often",
		strings.Repeat("ü", 50) + "@b.example":           strings.Repeat("ü", 24) + "|" + strings.Repeat("ü", 24) + "|üü|@b.example",
		"from " + strings.Repeat("x", 25) + " to":        "from " + strings.Repeat("x", 24) + "|x to",
		"@" + strings.Repeat("x", 24):                    "@" + strings.Repeat("x", 23) + "|x",
	} {
		require.Equal(t, want, strings.Join(web.PageData{}.Pieces(text), "|"))
	}
}
