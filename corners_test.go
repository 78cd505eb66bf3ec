// corners_test.go: the rarely used corners: cookies by configuration, templates
// of one's own, accounts that vanish in the middle of an act, bounds.

package registration_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestCookieSettings(t *testing.T) {
	for name, c := range map[string]struct {
		set          registration.SessionSettings
		plain, https string
	}{
		"default": {registration.SessionSettings{}, "registration", "__Host-registration"},
		"domain":  {registration.SessionSettings{CookieDomain: "example.com"}, "registration", "registration"},
		"name":    {registration.SessionSettings{CookieName: "sid"}, "sid", "sid"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, func(s *registration.Settings) { c.set.SameSite = "strict"; s.Session = c.set })
			require.Equal(t, c.plain, s.Realm.CookiePlain)
			require.Equal(t, c.https, s.Realm.CookieTLS)
			s.Member("ada")
			got := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).Cookies()[0]
			require.Equal(t, c.plain, got.Name)
			require.Equal(t, c.set.CookieDomain, got.Domain)
			require.Equal(t, http.SameSiteStrictMode, got.SameSite)
		})
	}
	for next, trusted := range map[string][]string{
		"?next=https%3A%2F%2Fexample.com%2Fmembers%2F": {"https://example.com"},
		"": nil, // the sign-in page would not follow it
	} {
		sibling := sitetest.New(t, func(s *registration.Settings) {
			s.Session.CookieDomain, s.BaseURL, s.TrustedOrigins = "example.com", "https://accounts.example.com", trusted
		})
		require.Equal(t, "https://accounts.example.com/accounts/login/"+next, sibling.Browser().LikeBrowser().Get("/members/").Header.Get("Location"))
	}
}

func TestOwnMailTemplates(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mine/subject.txt": "For {{.User.Name}}\n at {{.Site}}", "mine/body.html": `<p>Hello {{.User.FirstName}} <a href="{{.Link}}">here</a></p>`, "mine/body.txt": "go {{.Link}}",
	} {
		require.NoError(t, sitetest.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), text))
	}
	body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"first_name": "<Ada>", "last_name": "L"})
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Templates, s.Register.Mail = dir, registration.MailSettings{Subject: "mine/subject.txt", Body: "mine/body.html"}
		s.ResetPassword.Mail = s.Register.Mail
	})
	s.Browser().Post("/accounts/register", body)
	m := s.Mail()
	require.Equal(t, "For ada at example.com", m.Subject, "no names until the address is confirmed")
	require.Contains(t, m.HTML, "Hello  <a")
	s.Set(sitetest.UUIDOf(t, s, "ada").String(), func(u *store.User) { u.IsActive, u.AwaitsVerification, u.EmailVerified = true, false, true })
	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
	m = s.Mail()
	require.Equal(t, "For <Ada> L at example.com", m.Subject)
	require.Contains(t, m.HTML, "Hello &lt;Ada&gt;")
	require.Empty(t, m.Text, "the mailer derives it")
	require.Contains(t, m.PlainText(), "http://example.com/accounts/reset-password/?")
	s = sitetest.New(t, func(s *registration.Settings) {
		s.Templates, s.Register.Mail = dir, registration.MailSettings{Body: "mine/body.txt"}
	})
	s.Browser().Post("/accounts/register", body)
	m = s.Mail()
	require.Empty(t, m.HTML)
	require.True(t, strings.HasPrefix(m.Text, "go http"))
	for name, mail := range map[string]registration.MailSettings{"missing": {Subject: "no/such.txt"}, "missing html": {HTMLBody: "no.html"}, "outside": {TextBody: "../x"}} {
		settings := sitetest.Resolved(t, func(s *registration.Settings) { s.Templates, s.Register.Mail = dir, mail })
		_, err := letter.NewTemplates(sitetest.Letters(settings), sitetest.English(t), "example.com")
		require.ErrorContains(t, err, "template", name)
	}
}

func TestAccountVanishesInTheMiddle(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	u, err := s.Accounts.Lookup(t.Context(), s.Member("bob"))
	require.NoError(t, err)
	b := s.SignedIn("bob")
	p, err := s.Realm.Authenticate(requestWith(t, b.Cookie["registration"]), true)
	require.NoError(t, err)
	change := field.Input{"old_password": {Kind: field.ValueText, Text: sitetest.Password}, "password": {Kind: field.ValueText, Text: "another passphrase"}, "password_confirm": {Kind: field.ValueText, Text: "another passphrase"}}
	require.NoError(t, s.Accounts.SignOut(t.Context(), p, false))
	_, _, err = s.Accounts.ChangePassword(t.Context(), p, change, account.Client{})
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(err).Code, "the session was revoked meanwhile")
	require.NoError(t, s.Accounts.Delete(t.Context(), u.ID))
	_, _, err = s.Accounts.ChangePassword(t.Context(), p, change, account.Client{})
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(err).Code)
	_, err = s.Accounts.UpdateProfile(t.Context(), p, field.Input{}, true, account.Client{})
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(err).Code)
	require.Equal(t, refusal.CodeNotAuthenticated, web.AsRefusal(s.Accounts.RegisterEmail(t.Context(), p, field.Input{"email": {Kind: field.ValueText, Text: "x@example.org"}}, account.Client{})).Code)
	_, err = s.Accounts.Administer(t.Context(), u.ID, account.AdminChange{})
	require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(err).Code)
	require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(s.Accounts.Delete(t.Context(), u.ID)).Code)
	for _, unknown := range []string{u.ID.String(), "nobody", ""} {
		_, err = s.Accounts.Lookup(t.Context(), unknown)
		require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(err).Code)
	}
	got, err := s.Accounts.Lookup(t.Context(), "ADA@example.org")
	require.NoError(t, err)
	staff := true
	got, err = s.Accounts.Administer(t.Context(), got.ID, account.AdminChange{IsStaff: &staff})
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
	require.Equal(t, "setting: wrong", setting.Errorf("setting", "wrong").Error())
	require.ErrorIs(t, &store.TakenError{Field: "x"}, store.ErrTaken)
	require.Equal(t, "x is already taken", (&store.TakenError{Field: "x"}).Error())
}

func TestNonFieldErrorsKey(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.NonFieldErrorsKey = sitetest.On() })
	b := s.Browser()
	require.JSONEq(t, `{"non_field_errors":["`+sitetest.Message(refusal.CodeLoginInvalid, nil)+`"]}`, b.Post("/accounts/login", sitetest.Data{"login": "x", "password": "y"}).Text)
	require.Contains(t, b.Get("/accounts/profile").Text, `"detail"`)
	b.Header.Set("Content-Type", "application/json")
	require.Contains(t, b.Post("/accounts/login", "{").Text, `"detail"`)
}

func TestSmallParts(t *testing.T) {
	require.Equal(t, "é", session.Shorten("éé", 3), "whole characters only")
	require.Empty(t, session.Shorten("\xff\xfe", 5))
	_, ok := session.HashToken("short")
	require.False(t, ok)
	require.NoError(t, (&registration.Guard{}).Validate())
	require.Error(t, (&registration.Guard{MaxAge: caddy.Duration(-1)}).Validate())
	s := sitetest.New(t)
	w := &registration.PrivateWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: &sitetest.NullWriter{H: http.Header{}}}}
	_, err := w.ReadFrom(strings.NewReader("x"))
	require.NoError(t, err)
	require.Equal(t, "private, no-cache", w.Header().Get("Cache-Control"))
	for want, settings := range map[string]registration.Settings{
		"a.example": {BaseURL: "https://a.example:8443"}, "b.example": {From: "X <x@b.example>"}, "localhost": {},
	} {
		require.Equal(t, want, (&settings).Site())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Accounts.Lookup(ctx, uuid.NewString())
	require.Equal(t, refusal.CodeUnavailable, web.AsRefusal(err).Code)
}

func TestWarnings(t *testing.T) {
	s := sitetest.Settings()
	s.Factors.Passkey = sitetest.Off() // which plain HTTP has a warning for
	s.Register.AutoLogin, s.Register.OneTimeUse, s.ResetPassword.FailWhenUserNotFound = sitetest.On(), sitetest.Off(), sitetest.On()
	s.SetDefaults()
	require.Len(t, s.Warnings(), 3)
	before := *s.Register.Enabled
	s.SetDefaults()
	require.Equal(t, before, *s.Register.Enabled)
}

func TestDirectoryAsStore(t *testing.T) {
	_, _, err := registration.NewBolt(t.TempDir()).OpenStore("default", time.Second)
	require.ErrorContains(t, err, "name a file, not a folder")
}

func TestFlushFailsLoudly(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	s.Travel(time.Hour)
	require.Equal(t, 200, b.Get("/accounts/profile").StatusCode)
	broken := &sitetest.BrokenStore{Store: s.Accounts.Store}
	s.Realm.Resources.Sessions.Store = broken
	broken.Broken.Store(true)
	s.Realm.Resources.Flush(t.Context(), s.Realm.Courier)
	require.Equal(t, 1, s.Logs.FilterMessage("the last uses of sessions could not be written").Len())
	broken.Broken.Store(false)
}

func TestFailingReads(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
	require.NoError(t, s.Accounts.Store.Close())
	s.Realm.Resources.Sessions.Live.Clear()
	for path, body := range map[string]sitetest.Data{
		"/accounts/register":                 sitetest.Newcomer("bob"),
		"/accounts/login":                    {"login": "ada", "password": sitetest.Password},
		"/accounts/send-reset-password-link": {"login": "ada"},
		"/accounts/resend-verification":      {"login": "ada"},
		"/accounts/verify-registration":      {"user_id": uuid.NewString(), "timestamp": "1", "signature": "x"},
		"/accounts/reset-password":           {"user_id": uuid.NewString(), "timestamp": "1", "signature": "x", "password": sitetest.Password},
		"/accounts/verify-email":             {"user_id": uuid.NewString(), "timestamp": "1", "signature": "x", "email": "x@example.org"},
	} {
		b.Cookie = map[string]string{}
		sitetest.RequireError(t, b.Post(path, body), 503, "unavailable")
	}
	token, _ := session.NewToken()
	b.Cookie["registration"] = token
	sitetest.RequireError(t, b.Get("/members/"), 503, "unavailable")
	provider := &registration.Provider{}
	provider.Use(s.Handler, "default")
	_, _, err := provider.Authenticate(&sitetest.NullWriter{H: http.Header{}}, requestWith(t, token))
	require.Error(t, err, "a technical failure, for Caddy's log")
	s.Realm.Accounts.Store(nil)
	sitetest.RequireError(t, b.Get("/members/"), 503, "unavailable")
}

// A form that is sent twice, by a double click on a slow line, is one sign-up: the second
// answer says what the first says, whether that has come or not.
func TestSignUpSentTwice(t *testing.T) {
	form := sitetest.FormOf(sitetest.Newcomer("ada"))
	for name, configure := range map[string]func(*registration.Settings){
		"as it is":             func(*registration.Settings) {},
		"by address alone":     func(s *registration.Settings) { s.User.LoginFields = []string{"email"} },
		"without verification": sitetest.WithoutVerification,
	} {
		t.Run(name, func(t *testing.T) {
			s, form := sitetest.New(t, configure), sitetest.FormOf(sitetest.Newcomer("ada"))
			if name == "by address alone" {
				form.Del("username")
			}
			const clicks = 5
			answers := make(chan *sitetest.Answer, clicks)
			for range clicks {
				go func() { answers <- s.Browser().LikeBrowser().Post("/accounts/register/", form) }()
			}
			first := <-answers
			for range clicks - 1 {
				again := <-answers
				require.Equal(t, 303, again.StatusCode, again.Text)
				require.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
			}
			require.Equal(t, 303, first.StatusCode)
			b := s.Browser().LikeBrowser()
			require.Equal(t, 303, b.Post("/accounts/register/", form).StatusCode, "the first has been answered")
			users, _ := s.Census()
			require.Equal(t, 1, users)
			if name != "without verification" {
				link, act := s.Mailed()
				require.NotContains(t, b.Get(link).Text, `name="password"`, "it has the marker too")
				require.Equal(t, 303, b.Post("/accounts/verify-registration/", act).StatusCode)
				require.Equal(t, "/accounts/login/", b.Post("/accounts/register/", form).Header.Get("Location"), "the account is ready")
			}
			s.NoMail()
		})
	}
	t.Run("somebody else's is not the same", func(t *testing.T) {
		s := sitetest.New(t)
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode)
		s.Mail()
		elsewhere := s.Browser().LikeBrowser()
		elsewhere.IP = "192.0.2.77"
		require.Equal(t, 400, elsewhere.Post("/accounts/register/", form).StatusCode, "from another address")
		for _, change := range []sitetest.Data{{"email": "eve@example.org"}, {"first_name": "Eve"}, {"password": "another horse battery", "password_confirm": "another horse battery"}} {
			res := s.Browser().LikeBrowser().Post("/accounts/register/", sitetest.FormOf(sitetest.With(sitetest.Newcomer("ada"), change)))
			require.Equal(t, 400, res.StatusCode)
			require.Contains(t, res.Text, "username-error")
		}
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.Newcomer("ada")), 400, "username:unique")
		s.Travel(time.Minute)
		require.Equal(t, 400, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode, "long after")
		s.NoMail()
	})
	t.Run("not once the account is another's", func(t *testing.T) {
		s := sitetest.New(t)
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode)
		s.Mail()
		s.ResetPassword("ada@example.org", sitetest.NewPassword)
		require.Equal(t, 400, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode)
	})
	t.Run("nor once it is gone", func(t *testing.T) {
		s := sitetest.New(t)
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode)
		first := sitetest.LinkOf(s.Mail(), t)["user_id"]
		require.NoError(t, s.Accounts.Delete(t.Context(), uuid.MustParse(first.(string))))
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/register/", form).StatusCode)
		require.NotEqual(t, first, sitetest.LinkOf(s.Mail(), t)["user_id"], "an id is never used again")
	})
}

// All that is wrong is told in one round, each with its field.
func TestRefusalsComeInOneRound(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.Browser().LikeBrowser()
	res := b.Post("/accounts/register/", url.Values{"username": {"Ada"}, "email": {""}, "first_name": {"Wilhelmina"}, "password": {"wilhelmina"}, "password_confirm": {"wilhelmin"}})
	require.Equal(t, 400, res.StatusCode)
	for _, id := range []string{"username-error", "email-error", "password-error", "password_confirm-error"} {
		require.Contains(t, res.Text, id)
	}
	res = b.Post("/accounts/register/", url.Values{"username": {"bob"}, "password": {sitetest.Password}, "password_confirm": {sitetest.Password}})
	require.Contains(t, res.Text, "email-error", "by its field where it is all that is wrong, too")
	require.Equal(t, 1, strings.Count(res.Text, `<li><a href="#email">`))

	member := s.SignedIn("ada").Problems()
	sitetest.RequireError(t, member.Post("/accounts/change-password", sitetest.Data{"password": "ada", "password_confirm": ""}), 400, "old_password:required password:password_too_short password:password_too_similar password_confirm:blank")
	require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	twice := sitetest.New(t, func(s *registration.Settings) { s.ResetPassword.PasswordConfirm = sitetest.On() })
	twice.Member("ada")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": "1234"})), 400, "password:password_too_short password:password_entirely_numeric password:password_too_common")
	require.Equal(t, 200, twice.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	sitetest.RequireError(t, twice.Browser().Problems().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(twice.Mail(), t), sitetest.Data{"password": "ada"})), 400, "password:password_too_short password:password_too_similar password_confirm:required")
}
