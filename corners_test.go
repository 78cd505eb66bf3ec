// corners_test.go: the rarely used corners: cookies by configuration, templates
// of one's own, accounts that vanish in the middle of an act, bounds.

package registration

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestCookieSettings(t *testing.T) {
	for name, c := range map[string]struct {
		set          SessionSettings
		plain, https string
	}{
		"default": {SessionSettings{}, "registration", "__Host-registration"},
		"domain":  {SessionSettings{CookieDomain: "example.com"}, "registration", "registration"},
		"name":    {SessionSettings{CookieName: "sid"}, "sid", "sid"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *Settings) { c.set.SameSite = "strict"; s.Session = c.set })
			require.Equal(t, c.plain, s.realm.CookiePlain)
			require.Equal(t, c.https, s.realm.CookieTLS)
			s.member("ada")
			got := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).Cookies()[0]
			require.Equal(t, c.plain, got.Name)
			require.Equal(t, c.set.CookieDomain, got.Domain)
			require.Equal(t, http.SameSiteStrictMode, got.SameSite)
		})
	}
	for next, trusted := range map[string][]string{
		"?next=https%3A%2F%2Fexample.com%2Fmembers%2F": {"https://example.com"},
		"": nil, // the sign-in page would not follow it
	} {
		sibling := newSite(t, func(s *Settings) {
			s.Session.CookieDomain, s.BaseURL, s.TrustedOrigins = "example.com", "https://accounts.example.com", trusted
		})
		require.Equal(t, "https://accounts.example.com/accounts/login/"+next, sibling.browser().likeBrowser().get("/members/").Header.Get("Location"))
	}
}

func TestOwnMailTemplates(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mine/subject.txt": "For {{.User.Name}}\n at {{.Site}}", "mine/body.html": `<p>Hello {{.User.FirstName}} <a href="{{.Link}}">here</a></p>`, "mine/body.txt": "go {{.Link}}",
	} {
		require.NoError(t, writeTestFile(filepath.Join(dir, filepath.FromSlash(name)), text))
	}
	body := with(newcomer("ada"), data{"first_name": "<Ada>", "last_name": "L"})
	s := newSite(t, func(s *Settings) {
		s.Templates, s.Register.Mail = dir, MailSettings{Subject: "mine/subject.txt", Body: "mine/body.html"}
		s.ResetPassword.Mail = s.Register.Mail
	})
	s.browser().post("/accounts/register", body)
	m := s.mail()
	require.Equal(t, "For ada at example.com", m.Subject, "no names until the address is confirmed")
	require.Contains(t, m.HTML, "Hello  <a")
	s.set(uuidOf(t, s, "ada").String(), func(u *store.User) { u.IsActive, u.AwaitsVerification, u.EmailVerified = true, false, true })
	s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
	m = s.mail()
	require.Equal(t, "For <Ada> L at example.com", m.Subject)
	require.Contains(t, m.HTML, "Hello &lt;Ada&gt;")
	require.Empty(t, m.Text, "the mailer derives it")
	require.Contains(t, m.PlainText(), "http://example.com/accounts/reset-password/?")
	s = newSite(t, func(s *Settings) { s.Templates, s.Register.Mail = dir, MailSettings{Body: "mine/body.txt"} })
	s.browser().post("/accounts/register", body)
	m = s.mail()
	require.Empty(t, m.HTML)
	require.True(t, strings.HasPrefix(m.Text, "go http"))
	for name, mail := range map[string]MailSettings{"missing": {Subject: "no/such.txt"}, "missing html": {HTMLBody: "no.html"}, "outside": {TextBody: "../x"}} {
		settings := resolvedTestSettings(t, func(s *Settings) { s.Templates, s.Register.Mail = dir, mail })
		_, err := letter.NewRenderer(settings.letters(), english(t), "example.com", time.Now)
		require.ErrorContains(t, err, "template", name)
	}
}

func TestAccountVanishesInTheMiddle(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	u, err := s.accounts.Lookup(t.Context(), s.member("bob"))
	require.NoError(t, err)
	b := s.signedIn("bob")
	p, err := s.realm.Authenticate(requestWith(t, b.cookie["registration"]), true)
	require.NoError(t, err)
	change := field.Input{"old_password": {Kind: field.ValueText, Text: testPassword}, "password": {Kind: field.ValueText, Text: "another passphrase"}, "password_confirm": {Kind: field.ValueText, Text: "another passphrase"}}
	require.NoError(t, s.accounts.SignOut(t.Context(), p, false))
	_, _, err = s.accounts.ChangePassword(t.Context(), p, change, account.Client{})
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(err).Code, "the session was revoked meanwhile")
	require.NoError(t, s.accounts.Delete(t.Context(), u.ID))
	_, _, err = s.accounts.ChangePassword(t.Context(), p, change, account.Client{})
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(err).Code)
	_, err = s.accounts.UpdateProfile(t.Context(), p, field.Input{}, true, account.Client{})
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(err).Code)
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(s.accounts.RegisterEmail(t.Context(), p, field.Input{"email": {Kind: field.ValueText, Text: "x@example.org"}}, account.Client{})).Code)
	_, err = s.accounts.Administer(t.Context(), u.ID, account.AdminChange{})
	require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(err).Code)
	require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(s.accounts.Delete(t.Context(), u.ID)).Code)
	for _, unknown := range []string{u.ID.String(), "nobody", ""} {
		_, err = s.accounts.Lookup(t.Context(), unknown)
		require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(err).Code)
	}
	got, err := s.accounts.Lookup(t.Context(), "ADA@example.org")
	require.NoError(t, err)
	staff := true
	got, err = s.accounts.Administer(t.Context(), got.ID, account.AdminChange{IsStaff: &staff})
	require.NoError(t, err)
	require.True(t, got.IsStaff)
}

func requestWith(t testing.TB, cookie string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://example.com/members/", nil)
	require.NoError(t, err)
	req.AddCookie(&http.Cookie{Name: "registration", Value: cookie})
	return req
}

func TestErrorTexts(t *testing.T) {
	cause := errors.New("disk")
	require.Equal(t, "unavailable: disk", refusal.Unavailable(cause).Error())
	require.ErrorIs(t, refusal.Unavailable(cause), cause)
	require.Equal(t, "login_invalid", refusal.New(refusal.CodeLoginInvalid).Error())
	require.Equal(t, "invalid input: a blank, b null", refusal.FieldErrors{{Field: "a", Code: refusal.CodeBlank}, {Field: "b", Code: refusal.CodeNull}}.Err().Error())
	require.Equal(t, refusal.CodeInternal, web.AsRefusal(cause).Code)
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(store.ErrNotFound).Code)
	require.EqualValues(t, 2, refusal.Seconds(1500*time.Millisecond))
	for code := range web.Statuses {
		require.NotEmpty(t, message(code, nil))
	}
	require.Equal(t, "setting: wrong", setting.Errorf("setting", "wrong").Error())
	require.ErrorIs(t, &store.TakenError{Field: "x"}, store.ErrTaken)
	require.Equal(t, "x is already taken", (&store.TakenError{Field: "x"}).Error())
}

func TestCacheIsBounded(t *testing.T) {
	c := session.NewCache[store.TokenHash, int](32, func(h store.TokenHash) byte { return h[0] })
	always := func() bool { return true }
	for i := range 1000 {
		c.Put(store.TokenHash{byte(i), byte(i >> 8)}, i, always)
	}
	total := 0
	for i := range c.Shards {
		total += len(c.Shards[i].M)
	}
	require.LessOrEqual(t, total, 32)
	key := store.TokenHash{1, 2, 3}
	require.Equal(t, 1, c.Put(key, 1, func() bool { return false }))
	_, ok := c.Get(key)
	require.False(t, ok, "what was read before a drop is not remembered")
	c.Put(key, 1, always)
	require.Equal(t, 1, c.Put(key, 2, always), "all readers share the first")
}

func TestAcceptedQuality(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/html": true, "TEXT/HTML": true, "text/html;q=2": false, "text/html;q=x": false, "text/html; charset=utf-8; q=0.5": true,
		"application/json;q=0.4,text/html;q=0.5": true, "*/*": false, "text/*": false, "application/xhtml+xml": true,
	} {
		require.Equal(t, want, web.AcceptsHTML(http.Header{"Accept": {accept}}), accept)
	}
	require.True(t, web.AcceptsProblem(http.Header{"Accept": {"application/json", "application/problem+json"}}))
	require.False(t, web.AcceptsProblem(http.Header{"Accept": {"application/json, application/problem+json;q=0.5"}}))
}

func TestNonFieldErrorsKey(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.NonFieldErrorsKey = on() })
	b := s.browser()
	require.JSONEq(t, `{"non_field_errors":["`+message(refusal.CodeLoginInvalid, nil)+`"]}`, b.post("/accounts/login", data{"login": "x", "password": "y"}).body)
	require.Contains(t, b.get("/accounts/profile").body, `"detail"`)
	b.header.Set("Content-Type", "application/json")
	require.Contains(t, b.post("/accounts/login", "{").body, `"detail"`)
}

func TestSmallParts(t *testing.T) {
	require.Equal(t, "é", session.Shorten("éé", 3), "whole characters only")
	require.Empty(t, session.Shorten("\xff\xfe", 5))
	_, ok := session.HashToken("short")
	require.False(t, ok)
	require.NoError(t, (&Guard{}).Validate())
	require.Error(t, (&Guard{MaxAge: caddy.Duration(-1)}).Validate())
	s := newSite(t)
	w := &privateWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: &nullWriter{h: http.Header{}}}}
	_, err := w.ReadFrom(strings.NewReader("x"))
	require.NoError(t, err)
	require.Equal(t, "private, no-cache", w.Header().Get("Cache-Control"))
	for want, settings := range map[string]Settings{
		"a.example": {BaseURL: "https://a.example:8443"}, "b.example": {From: "X <x@b.example>"}, "localhost": {},
	} {
		require.Equal(t, want, (&settings).site())
	}
	_, err = s.accounts.Hasher.Verify(t.Context(), "x", "y")
	require.Equal(t, refusal.CodeUnavailable, web.AsRefusal(account.HashError(err)).Code)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.accounts.Lookup(ctx, uuid.NewString())
	require.Equal(t, refusal.CodeUnavailable, web.AsRefusal(err).Code)
	require.Equal(t, "{}", string(must(web.Object(nil).MarshalJSON())))
	_, err = web.Object{{Name: "x", Value: func() {}}}.MarshalJSON()
	require.Error(t, err)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestWarnings(t *testing.T) {
	s := testSettings()
	s.Register.AutoLogin, s.Register.OneTimeUse, s.ResetPassword.FailWhenUserNotFound = on(), off(), on()
	s.setDefaults()
	require.Len(t, s.warnings(), 3)
	before := *s.Register.Enabled
	s.setDefaults()
	require.Equal(t, before, *s.Register.Enabled)
}

func TestDirectoryAsStore(t *testing.T) {
	_, _, err := (&BoltModule{path: t.TempDir(), logger: zap.NewNop()}).OpenStore("default", time.Second)
	require.ErrorContains(t, err, "name a file, not a folder")
}

func TestFlushFailsLoudly(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada")
	s.travel(time.Hour)
	require.Equal(t, 200, b.get("/accounts/profile").StatusCode)
	broken := &brokenStore{Store: s.accounts.Store}
	s.realm.engine.sessions.Store = broken
	broken.broken.Store(true)
	s.realm.engine.flush(t.Context(), s.realm.postman)
	require.Equal(t, 1, s.logs.FilterMessage("the last uses of sessions could not be written").Len())
	broken.broken.Store(false)
}

func TestFailingReads(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada").problems()
	require.NoError(t, s.accounts.Store.Close())
	s.realm.engine.sessions.Live = session.NewCache[store.TokenHash, *session.LiveSession](16, func(h store.TokenHash) byte { return h[0] })
	for path, body := range map[string]data{
		"/accounts/register":                 newcomer("bob"),
		"/accounts/login":                    {"login": "ada", "password": testPassword},
		"/accounts/send-reset-password-link": {"login": "ada"},
		"/accounts/resend-verification":      {"login": "ada"},
		"/accounts/verify-registration":      {"user_id": uuid.NewString(), "timestamp": "1", "signature": "x"},
		"/accounts/reset-password":           {"user_id": uuid.NewString(), "timestamp": "1", "signature": "x", "password": testPassword},
		"/accounts/verify-email":             {"user_id": uuid.NewString(), "timestamp": "1", "signature": "x", "email": "x@example.org"},
	} {
		b.cookie = map[string]string{}
		requireError(t, b.post(path, body), 503, "unavailable")
	}
	token, _ := session.NewToken()
	b.cookie["registration"] = token
	requireError(t, b.get("/members/"), 503, "unavailable")
	provider := &Provider{}
	provider.app, provider.name = s.app, "default"
	_, _, err := provider.Authenticate(&nullWriter{h: http.Header{}}, requestWith(t, token))
	require.Error(t, err, "a technical failure, for Caddy's log")
	s.realm.Accounts.Store(nil)
	requireError(t, b.get("/members/"), 503, "unavailable")
}
