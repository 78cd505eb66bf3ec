// pages_test.go: the pages as answers: which are there, what leads where, the
// way back, links that no longer work, errors, the owner's templates and files.

package registration

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// maxPage is what a page may weigh together with its style sheet, in bytes.
const maxPage = 15_000

func formOf(body data) url.Values {
	form := url.Values{}
	for k, v := range body {
		form.Set(k, v.(string))
	}
	return form
}

// mailed is the path and query of the next mailed link, and its query alone.
func (s *site) mailed() (string, url.Values) {
	s.t.Helper()
	link, err := url.Parse(linkInMail.FindString(s.mail().Text))
	require.NoError(s.t, err)
	return link.RequestURI(), link.Query()
}

func TestPagesWalk(t *testing.T) {
	s := newSite(t)
	b := s.browser().likeBrowser()
	for _, page := range []string{"login", "register", "resend-verification", "send-reset-password-link"} {
		res := b.get("/accounts/" + page + "/?next=x&next=%2Fmembers%2F")
		require.Equal(t, 200, res.StatusCode, page)
		require.Contains(t, res.body, `<form method="post" action="/accounts/`+page+`/">`)
		require.Contains(t, res.body, `name="next" value="/members/"`)
		require.Less(t, len(res.body)+len(s.realm.Pages.Files[web.StyleName].Body), maxPage)
	}
	for _, page := range []string{"profile", "change-password", "register-email"} {
		require.Equal(t, "/accounts/login/?next=%2Faccounts%2F"+page+"%2F", b.get("/accounts/"+page).Header.Get("Location"))
	}
	require.Equal(t, "/accounts/profile/", b.get("/accounts").Header.Get("Location"))
	require.Equal(t, "/accounts/change-password/", b.get("/.well-known/change-password").Header.Get("Location"))

	const way, keptWay = "/members/?a=b&c=d%26", "?next=%2Fmembers%2F%3Fa%3Db%26c%3Dd%2526"
	res := b.post("/accounts/register/", formOf(with(newcomer("ada"), data{"next": way})))
	require.Equal(t, "/accounts/resend-verification/"+keptWay+"&sent=1", res.Header.Get("Location"))
	sent := b.follow(res)
	require.Contains(t, sent.body, "ada@example.org")
	require.Contains(t, sent.body, `name="email" value="ada@example.org"`, "one button sends it again")
	require.Equal(t, sent.body, b.get(res.Header.Get("Location")).body, "a reload shows it once more")
	s.mail()
	sent = b.follow(b.post("/accounts/resend-verification/", url.Values{"email": {"ada@example.org"}, "next": {way}}))
	require.Contains(t, sent.body, "If this account waits")
	require.Contains(t, sent.body, `name="email" value="ada@example.org"`)

	link, act := s.mailed()
	for _, method := range []string{"GET", "HEAD", "GET"} { // a scanner, however often
		res = s.browser().likeBrowser().do(method, link, nil)
		require.Equal(t, 200, res.StatusCode)
	}
	require.Contains(t, res.body, `name="signature"`)
	require.Equal(t, 1, strings.Count(res.body, "<button"))
	u, err := s.accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.False(t, u.IsActive, "a GET changes nothing")
	phone := s.browser().likeBrowser() // the mail is opened on another device
	require.Contains(t, phone.get(link).body, `name="password"`)
	require.Contains(t, phone.post("/accounts/verify-registration/", act).body, `name="password"`)
	act.Set("password", testPassword)
	res = phone.post("/accounts/verify-registration/", act)
	require.Equal(t, "/accounts/login/"+keptWay, res.Header.Get("Location"))
	login := phone.follow(res)
	require.Contains(t, login.body, `role="status"`)
	require.Contains(t, login.body, "confirmed")
	require.NotContains(t, phone.get(res.Header.Get("Location")).body, `role="status"`, "it is told once")
	for _, res := range []*answer{phone.post("/accounts/verify-registration/", act), phone.get(link)} {
		require.Equal(t, 400, res.StatusCode)
		require.NotContains(t, res.body, "<button", "a dead button is not offered")
		require.Contains(t, res.body, "/accounts/resend-verification/"+keptWay)
	}
	res = phone.post("/accounts/login/", url.Values{"login": {"ada"}, "password": {"wrong"}, "next": {way}})
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.body, `value="ada"`)
	require.Contains(t, res.body, "<title>Error: Sign in")
	require.Contains(t, res.body, `<a href="#login">`)
	res = phone.post("/accounts/login/", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {way}})
	require.Equal(t, 303, res.StatusCode)
	require.Equal(t, way, res.Header.Get("Location"))
}

func TestPagesOfAMember(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada").likeBrowser()
	require.Equal(t, "/accounts/profile/", b.get("/accounts/login/").Header.Get("Location"), "signed in already")
	require.Equal(t, "/members/?a=b", b.get("/accounts/login/?next=%2Fmembers%2F%3Fa%3Db").Header.Get("Location"))
	require.Equal(t, "/accounts/profile/", b.get("/accounts/login/?next=https%3A%2F%2Fevil.example%2F").Header.Get("Location"))
	res := b.get("/accounts/profile/")
	require.Contains(t, res.body, `value="ada"`)
	require.Contains(t, res.body, "<dd>ada@example.org</dd>", "what can't be edited is shown")
	res = b.post("/accounts/profile/", url.Values{"username": {""}, "first_name": {"A\x00da"}, "last_name": {"Lovelace"}})
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.body, `value="Lovelace"`)
	require.Contains(t, res.body, `<a href="#username">Username: `)
	require.Contains(t, res.body, `aria-describedby="first_name-error"`)
	res = b.follow(b.post("/accounts/profile/", url.Values{"username": {"ada"}, "first_name": {"Ada"}, "last_name": {""}}))
	require.Contains(t, res.body, "saved")
	require.Contains(t, res.body, `value="Ada"`)
	res = b.get("/accounts/change-password/")
	require.Contains(t, res.body, `autocomplete="username" value="ada"`)
	require.Contains(t, res.body, `minlength="8"`)
	res = b.follow(b.post("/accounts/change-password/", url.Values{"old_password": {testPassword}, "password": {"another passphrase"}, "password_confirm": {"another passphrase"}}))
	require.Contains(t, res.body, "signed out everywhere else")
	res = b.follow(b.post("/accounts/register-email/", url.Values{"email": {"n@example.org"}}))
	require.Contains(t, res.body, "on its way to the new address")
	link, act := s.mailed()
	require.Contains(t, b.get(link).body, "n@example.org")
	require.Equal(t, "/accounts/profile/", b.post("/accounts/verify-email/", act).Header.Get("Location"))
	stranger := s.browser().likeBrowser()
	require.Equal(t, 400, stranger.get(link).StatusCode)
	require.Contains(t, b.get("/accounts/profile/").body, "n@example.org")

	res = b.post("/accounts/logout/", url.Values{"next": {"/members/?a=b"}})
	require.Equal(t, "/accounts/logout/?next=%2Fmembers%2F%3Fa%3Db", res.Header.Get("Location"))
	res = b.follow(res)
	require.Equal(t, 200, res.StatusCode)
	require.Contains(t, res.body, "You are signed out")
	require.Contains(t, res.body, "/accounts/login/?next=%2Fmembers%2F%3Fa%3Db")
	require.NotContains(t, b.cookie, "registration")
	require.Equal(t, 302, b.get("/members/").StatusCode)
	res = b.post("/accounts/logout/", url.Values{})
	require.Equal(t, 401, res.StatusCode)
	require.Contains(t, res.body, "/accounts/login/?next=%2Faccounts%2Flogout%2F")
}

// TestSignInsAreRecognised: the list names the program and its system, as far as
// they are known.
func TestSignInsAreRecognised(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	first := s.signedIn("ada").likeBrowser()
	require.NotContains(t, first.get("/accounts/sessions/").body, "Sign out everywhere else", "there is no other")
	for agent, shown := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0":                                                        "Firefox, Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1": "Safari, iOS",
		"curl/8.5.0":            "curl",
		"My home automation":    "My home automation",
		"<b>((":                 "&lt;b&gt;((",
		"":                      "Unknown program",
		strings.Repeat("é", 99): strings.Repeat("é", 80),
	} {
		b := s.browser()
		b.header.Set("User-Agent", agent)
		require.Equal(t, 200, b.post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode)
		require.Contains(t, first.get("/accounts/sessions/").body, "<strong>"+shown+"</strong>")
	}
	require.Contains(t, first.get("/accounts/sessions/").body, "Sign out everywhere else")
}

func TestPagesOfAReset(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.browser().likeBrowser()
	res := b.post("/accounts/send-reset-password-link/", url.Values{"login": {"ada"}, "next": {"/members/"}})
	require.Equal(t, "/accounts/send-reset-password-link/?next=%2Fmembers%2F&sent=1", res.Header.Get("Location"))
	require.Contains(t, b.follow(res).body, `name="login" value="ada"`)
	require.NotContains(t, b.get("/accounts/send-reset-password-link/").body, `type="hidden" name="login"`, "another account can be named")
	require.Contains(t, s.browser().likeBrowser().get(res.Header.Get("Location")).body, "Check your mail", "without the cookie too")
	link, act := s.mailed()
	require.Contains(t, b.get(link).body, `autocomplete="username" value="ada"`)
	act.Set("password", "12345678")
	res = b.post("/accounts/reset-password/", act)
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.body, `name="signature" value="`+act.Get("signature"))
	require.NotContains(t, res.body, "12345678")
	act.Set("password", "another passphrase")
	res = b.post("/accounts/reset-password/", act)
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", res.Header.Get("Location"))
	require.Contains(t, b.follow(res).body, "new password is set")
	require.Contains(t, b.get(link).body, `href="/accounts/send-reset-password-link/?next=%2Fmembers%2F"`)

	s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
	link, _ = s.mailed()
	s.travel(25 * time.Hour)
	res = b.get(link)
	require.Equal(t, 400, res.StatusCode)
	require.Contains(t, res.body, "has expired")
}

// TestRecentSignInByPage: whoever is signed in but not recently gets the page,
// not a circle of redirects.
func TestRecentSignInByPage(t *testing.T) {
	s := newSite(t)
	s.guard.MaxAge = 600_000_000_000
	s.member("ada")
	b := s.signedIn("ada").likeBrowser()
	require.Equal(t, 200, b.get("/members/").StatusCode)
	s.travel(time.Hour)
	to := b.get("/members/?a=b").Header.Get("Location")
	require.Equal(t, "/accounts/login/?reauth=1&next=%2Fmembers%2F%3Fa%3Db", to)
	res := b.get(to)
	require.Equal(t, 200, res.StatusCode)
	require.Contains(t, res.body, `name="login" type="text" value="ada"`)
	res = b.post("/accounts/login/", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {"/members/?a=b"}})
	require.Equal(t, "/members/?a=b", res.Header.Get("Location"))
	require.Equal(t, 200, b.get("/members/?a=b").StatusCode)
}

func TestErrorPages(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada").likeBrowser()
	stranger := s.browser().likeBrowser()
	page := func(res *answer, status int, parts ...string) {
		t.Helper()
		require.Equal(t, status, res.StatusCode, res.body)
		require.Contains(t, res.Header.Get("Content-Type"), "text/html")
		for _, part := range append(parts, `<link rel="stylesheet" href="/accounts/style.css`) {
			require.Contains(t, res.body, part)
		}
	}
	page(stranger.get("/accounts/nothing"), 404, "Page not found")
	page(stranger.do("PUT", "/accounts/login/", url.Values{}), 405, `href="/accounts/login/"`)
	s.guard.Groups = []string{"staff"}
	page(b.get("/members/?a=b"), 403, "No access", `href="/accounts/logout/?next=%2Fmembers%2F%3Fa%3Db"`, `<a href="/accounts/profile/">ada</a>`)
	b.header.Set("Sec-Fetch-Site", "cross-site")
	page(b.post("/accounts/profile/", url.Values{}), 403, `href="/accounts/profile/"`)
	b.header.Del("Sec-Fetch-Site")
	b.header.Set("Content-Type", "text/plain")
	page(b.post("/accounts/profile/", "x"), 415, `href="/accounts/profile/"`)
	b.header.Set("Content-Type", "application/x-www-form-urlencoded")
	page(b.post("/accounts/profile/", strings.Repeat("x", 70_000)), 413, `href="/accounts/profile/"`)
	page(b.post("/accounts/profile/", "%zz"), 400, `href="/accounts/profile/"`)
	s.realm.Accounts.Store(nil)
	page(b.get("/accounts/profile/"), 503, "Not available")
}

// TestThrottledForm: a 429 keeps what was typed.
func TestThrottledForm(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.Throttle = ThrottleSettings{Login: &ThrottleLimit{Events: 1, Window: 60_000_000_000}}
	})
	b := s.browser().likeBrowser()
	for _, status := range []int{400, 429} {
		res := b.post("/accounts/login/", url.Values{"login": {"ada"}, "password": {"x"}})
		require.Equal(t, status, res.StatusCode)
		require.Contains(t, res.body, `value="ada"`)
		require.Contains(t, res.body, `role="alert"`)
	}
}

// TestPlantedFlash: whoever can plant the cookie gets nothing but a text of ours.
func TestPlantedFlash(t *testing.T) {
	s := newSite(t)
	for _, value := range []string{"d=page.login.title", "d=detail.nothing&e=x", "%zz", "d=" + strings.Repeat("x", 5000), "d=error.internal"} {
		b := s.browser().likeBrowser()
		b.cookie["registration_flash"] = value
		require.NotContains(t, b.get("/accounts/login/").body, `role="status"`, value)
	}
	b := s.browser().likeBrowser()
	b.cookie["registration_flash"] = url.Values{"d": {"detail.confirm_account"}, "e": {"<script>x</script>"}, "n": {`"><script>`}, "v": {"<script>"}}.Encode()
	res := b.get("/accounts/resend-verification/?sent=1")
	require.Equal(t, 200, res.StatusCode)
	require.NotContains(t, res.body, "<script")
}

func TestBranding(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, writeTestFile(path, text))
		return path
	}
	logo, css := file("logo.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`), file("brand.css", ":root { --accent: #7a1f5c }")
	file("pages/login.html", `<h1>Hello again</h1>{{with .Form}}<form method="post" action="{{.Action}}">{{range .Fields}}{{template "field.html" .}}{{end}}</form>{{end}}`)
	s := newSite(t, func(s *Settings) {
		s.Pages = PagesSettings{Title: "The <garden>", Logo: logo, Stylesheet: css, Templates: filepath.Join(dir, "pages")}
	})
	b := s.browser().likeBrowser()
	login, register := b.get("/accounts/login/"), b.get("/accounts/register/")
	require.Contains(t, login.body, "<h1>Hello again</h1>")
	require.Contains(t, login.body, `id="password"`)
	require.Contains(t, register.body, "Create an account")
	for _, res := range []*answer{login, register} {
		require.Contains(t, res.body, `alt="The &lt;garden&gt;"`)
		require.NotContains(t, res.body, "<garden>")
	}
	for name, want := range map[string]string{"logo.svg": "image/svg+xml", "brand.css": "text/css; charset=utf-8", "style.css": "text/css; charset=utf-8"} {
		_, rest, ok := strings.Cut(login.body, `"/accounts/`+name)
		require.True(t, ok, name)
		query, _, _ := strings.Cut(rest, `"`)
		res := b.get("/accounts/" + name + query)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, want, res.Header.Get("Content-Type"))
		require.Contains(t, res.Header.Get("Cache-Control"), "immutable")
		require.Equal(t, "no-cache", b.get("/accounts/"+name).Header.Get("Cache-Control"))
		again := s.browser()
		again.header.Set("If-None-Match", res.Header.Get("ETag"))
		require.Equal(t, 304, again.get("/accounts/"+name).StatusCode)
		require.Empty(t, b.do("HEAD", "/accounts/"+name, nil).body)
	}
	require.Less(t, strings.Index(login.body, "style.css"), strings.Index(login.body, "brand.css"), "the owner's comes last")
}

func TestBrandingRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeTestFile(filepath.Join(dir, "pages", "logn.html"), "x"))
	require.NoError(t, writeTestFile(filepath.Join(dir, "field", "field.html"), "\n\n{{.Colour}}"))
	require.NoError(t, writeTestFile(filepath.Join(dir, "parse", "layout.html"), "\n{{if}}"))
	require.NoError(t, writeTestFile(filepath.Join(dir, "big.css"), strings.Repeat(" ", 256<<10+1)))
	for name, c := range map[string]struct {
		pages PagesSettings
		want  []string
	}{
		"no folder":     {PagesSettings{Templates: filepath.Join(dir, "none")}, []string{"pages.templates", "none"}},
		"slip":          {PagesSettings{Templates: filepath.Join(dir, "pages")}, []string{"logn.html", "no page uses", "login.html"}},
		"unknown field": {PagesSettings{Templates: filepath.Join(dir, "field")}, []string{filepath.Join(dir, "field"), "field.html:3:", "Colour"}},
		"parse error":   {PagesSettings{Templates: filepath.Join(dir, "parse")}, []string{filepath.Join(dir, "parse"), "layout.html:2"}},
		"no logo":       {PagesSettings{Logo: filepath.Join(dir, "none.svg")}, []string{"pages.logo", "none.svg"}},
		"folder":        {PagesSettings{Stylesheet: dir}, []string{"pages.stylesheet"}},
		"too big":       {PagesSettings{Stylesheet: filepath.Join(dir, "big.css")}, []string{"pages.stylesheet", "256 KiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := testSettings()
			s.Pages = c.pages
			resolved, err := s.resolve()
			if err == nil {
				_, err = newRealm(resolved, &BoltModule{path: filepath.Join(t.TempDir(), "r.db"), logger: zap.NewNop()}, nil, zap.NewNop())
			}
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, err := os.Stat(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPagesOff(t *testing.T) {
	bare := newSite(t, func(s *Settings) {
		s.Pages.Off = true
		s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "https://a.example/", "https://a.example/", "https://a.example/", "https://a.example/"
	})
	require.Equal(t, 405, bare.browser().likeBrowser().get("/accounts/login").StatusCode)
	require.Equal(t, 401, bare.browser().likeBrowser().get("/members/").StatusCode)
	require.Equal(t, 404, bare.browser().likeBrowser().get("/accounts/style.css").StatusCode)
}

// BenchmarkPages renders every page by itself, as a handler does: the figure has
// to stay under 200 µs.
func BenchmarkPages(b *testing.B) {
	s := newSite(b)
	s.member("ada")
	u, err := s.accounts.Lookup(b.Context(), "ada")
	if err != nil {
		b.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodGet, "http://example.com/accounts/", nil)
	c := &web.Call{Accounts: s.accounts, Realm: s.realm.Realm, Req: req, Loc: s.realm.Language(req), Who: &session.Principal{User: u, Session: &store.Session{Created: s.realm.Now()}}, Next: "/members/"}
	refused := &refusal.Error{Code: refusal.CodeInvalid}
	for _, name := range []string{"username", "email", "login", "password", "old_password", "password_confirm"} {
		refused.Fields = append(refused.Fields, refusal.FieldError{Field: name, Code: refusal.CodeBlank})
	}
	w := &nullWriter{h: http.Header{}}
	for _, name := range s.realm.Pages.Names {
		for state, refusal := range map[string]*refusal.Error{"": nil, "-refused": refused} {
			e := s.realm.Endpoints[name]
			if e == nil {
				continue
			}
			b.Run(name+state, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					clear(w.h)
					s.realm.Pages.Write(w, c, http.StatusOK, s.realm.Pages.Data(c, e, func(string) string { return "value" }, refusal))
				}
			})
		}
	}
}
