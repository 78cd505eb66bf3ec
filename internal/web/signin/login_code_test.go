// login_code_test.go: the sign-in by a mailed code, and what doesn't get past it.

package signin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

func withMailCode(s *registration.Settings) { s.Login.MailCode = sitetest.On() }

var mailedCode = regexp.MustCompile(`(?m)^    (\d{6})$`)

func codeIn(t *testing.T, m *mail.Message) string {
	t.Helper()
	found := mailedCode.FindStringSubmatch(m.Text)
	require.Len(t, found, 2, m.Text)
	require.Contains(t, m.HTML, found[1])
	return found[1]
}

// wrongOf is another code.
func wrongOf(code string) string { return code[:5] + string('0'+(code[5]-'0'+1)%10) }

// askCode has a code mailed, and returns it.
func askCode(t *testing.T, s *sitetest.Site, b *sitetest.Browser, login string) string {
	t.Helper()
	require.Equal(t, http.StatusOK, b.Post("/accounts/send-login-code", sitetest.Data{"login": login}).StatusCode)
	return codeIn(t, s.Mail())
}

func TestLoginCode(t *testing.T) {
	s := sitetest.New(t, withMailCode)
	s.Member("ada")
	b := s.Browser()
	code := askCode(t, s, b, "ada")
	res := b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": " " + code[:3] + " " + code[3:]})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Contains(t, b.Get("/accounts/sessions").Text, `"amr":["mail"]`)
	sitetest.RequireError(t, b.Problems().Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}), http.StatusBadRequest, "login_code_expired")
	sitetest.RequireError(t, b.Post("/accounts/login-code", sitetest.Data{"login": "ada"}), http.StatusBadRequest, "code:required")
	sitetest.RequireError(t, b.Post("/accounts/login-code", sitetest.Data{"code": "1"}), http.StatusBadRequest, "login:required")

	off := sitetest.New(t)
	require.Equal(t, http.StatusNotFound, off.Browser().Post("/accounts/send-login-code", sitetest.Data{"login": "ada"}).StatusCode)
	require.Equal(t, http.StatusNotFound, off.Browser().Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": "1"}).StatusCode)
}

// Of several addresses the code goes to the one that was typed, and ends with it.
func TestLoginCodeToAFurtherAddress(t *testing.T) {
	s := sitetest.New(t, withMailCode, func(s *registration.Settings) { s.User.MaxEmails = 3 })
	id := s.Member("ada")
	s.Set(id, func(u *store.User) { u.FurtherEmails = []string{"ada@work.example"} })
	b := s.Browser()
	for _, gone := range []bool{false, true} {
		require.Equal(t, http.StatusOK, b.Post("/accounts/send-login-code", sitetest.Data{"login": "ADA@work.example"}).StatusCode)
		m := s.Mail()
		require.Equal(t, "ada@work.example", m.To)
		want := http.StatusOK
		if gone {
			s.Set(id, func(u *store.User) { u.FurtherEmails = nil })
			want = http.StatusBadRequest
		}
		require.Equal(t, want, b.Post("/accounts/login-code", sitetest.Data{"login": "ADA@work.example", "code": codeIn(t, m)}).StatusCode)
	}
}

func TestLoginCodePages(t *testing.T) {
	s := sitetest.New(t, withMailCode)
	s.Member("ada")
	b := s.Browser().LikeBrowser()
	require.Contains(t, b.Get("/accounts/login/?next=%2Fmembers%2F").Text, `href="/accounts/send-login-code/?next=%2Fmembers%2F"`)
	require.Equal(t, http.StatusOK, b.Get("/accounts/send-login-code/?next=%2Fmembers%2F").StatusCode)
	require.Equal(t, "/accounts/send-login-code/?next=%2Fm%2F", b.Get("/accounts/login-code/?next=%2Fm%2F").Header.Get("Location"), "none was asked for")
	to := b.Post("/accounts/send-login-code/", url.Values{"login": {"ada"}, "next": {"/members/"}}).Header.Get("Location")
	require.Equal(t, "/accounts/login-code/?next=%2Fmembers%2F", to)
	page := b.Get(to)
	require.Contains(t, page.Text, `autocomplete="one-time-code"`)
	require.Contains(t, page.Text, `name="login" value="ada"`)
	m := s.Mail()
	code := codeIn(t, m)
	res := b.Post("/accounts/login-code/", url.Values{"login": {"ada"}, "code": {wrongOf(code)}, "next": {"/members/"}})
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, "Check the code.")
	require.Contains(t, res.Text, `name="login" value="ada"`)
	require.NotContains(t, res.Text, `value="`+wrongOf(code))
	link := regexp.MustCompile(`https?://\S+login-code/\S+`).FindString(m.Text)
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, "/members/", u.Query().Get("next"))

	// Another browser is told that it is not the one.
	other := s.Browser().LikeBrowser()
	require.Equal(t, "/accounts/send-login-code/?next=%2Fmembers%2F", other.Get(u.RequestURI()).Header.Get("Location"))
	require.Contains(t, other.Get("/accounts/send-login-code/?next=%2Fmembers%2F").Text, "Request another one in this browser")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login-code", sitetest.Data{"login": "ada", "signature": u.Query().Get("signature")}), http.StatusBadRequest, "login_code_expired")

	page = b.Get(u.RequestURI())
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.NotContains(t, page.Text, `name="code"`)
	require.Contains(t, page.Text, "Press the button")
	require.Equal(t, http.StatusFound, b.Get("/members/").StatusCode, "a GET signs nobody in")
	require.Equal(t, "/members/", b.Post("/accounts/login-code/", url.Values{"login": {"ada"}, "signature": {u.Query().Get("signature")}, "next": {"/members/"}}).Header.Get("Location"))
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	require.Empty(t, b.Cookie["registration_code"])
	res = b.Post("/accounts/login-code/", url.Values{"login": {"ada"}, "code": {code}})
	require.Equal(t, "/accounts/send-login-code/", res.Header.Get("Location"))
}

// A code shows the mailbox, and what is asked for besides the password is asked for still.
func TestLoginCodeIsNoSecondStep(t *testing.T) {
	s := sitetest.New(t, withMailCode)
	id := s.Member("ada")
	secret := withTOTP(s, id)
	b := s.Browser()
	code := askCode(t, s, b, "ada")
	res := b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	challenge := res.JSON(t)["challenge"]
	require.NotEmpty(t, challenge)
	require.Empty(t, b.Cookie[sitetest.SessionCookie])
	require.NotEqual(t, http.StatusOK, b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}).StatusCode)
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", sitetest.Data{"challenge": challenge, "totp": appShows(s, secret)}).StatusCode)
	require.Contains(t, b.Get("/accounts/sessions").Text, `"amr":["mail","otp","mfa"]`)
}

// Whom nothing is mailed the answer doesn't tell: nobody, who waits, who is disabled, whose
// address was never confirmed.
func TestLoginCodeGoesToConfirmedAddresses(t *testing.T) {
	s := sitetest.New(t, withMailCode)
	ids := map[string]string{}
	for _, name := range []string{"ada", "disabled", "unproven", "nomail"} {
		ids[name] = s.Member(name)
	}
	s.Set(ids["disabled"], func(u *store.User) { u.IsActive = false })
	s.Set(ids["unproven"], func(u *store.User) { u.EmailVerified = false })
	s.Set(ids["nomail"], func(u *store.User) { u.Email = "" })
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("waits")).StatusCode)
	s.Mail()
	answers := map[string]bool{}
	for _, name := range []string{"disabled", "unproven", "nomail", "waits", "nobody", "nobody@example.org"} {
		b := s.Browser()
		res := b.Post("/accounts/send-login-code", sitetest.Data{"login": name})
		require.NotEmpty(t, b.Cookie["registration_code"], name)
		answers[fmt.Sprint(res.StatusCode, res.Text)] = true
		for _, code := range []string{"000000", "123456"} {
			sitetest.RequireError(t, b.Problems().Post("/accounts/login-code", sitetest.Data{"login": name, "code": code}), http.StatusBadRequest, "login_code_invalid")
		}
	}
	s.NoMail()
	b := s.Browser()
	res := b.Post("/accounts/send-login-code", sitetest.Data{"login": "ada"})
	answers[fmt.Sprint(res.StatusCode, res.Text)] = true
	require.Len(t, answers, 1)
	code := codeIn(t, s.Mail())
	sitetest.RequireError(t, b.Problems().Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": wrongOf(code)}), http.StatusBadRequest, "login_code_invalid")
}

// A code is of one browser, one name, ten minutes and one use; it ends with what it rests on.
func TestLoginCodeEnds(t *testing.T) {
	for name, c := range map[string]struct {
		before func(s *sitetest.Site, b *sitetest.Browser, id string)
		code   string
	}{
		"another browser's cookie": {func(s *sitetest.Site, b *sitetest.Browser, _ string) {
			other := s.Browser()
			other.Post("/accounts/send-login-code", sitetest.Data{"login": "ada"})
			b.Cookie["registration_code"] = other.Cookie["registration_code"]
		}, "login_code_invalid"},
		"no cookie": {func(_ *sitetest.Site, b *sitetest.Browser, _ string) { delete(b.Cookie, "registration_code") }, "login_code_expired"},
		"a made-up cookie": {func(_ *sitetest.Site, b *sitetest.Browser, _ string) {
			parts := strings.Split(b.Cookie["registration_code"], "~")
			b.Cookie["registration_code"] = "AAAAAAAAAAAAAAAAAAAAAA~" + parts[1] + "~" + parts[2]
		}, "login_code_expired"},
		"half a cookie": {func(_ *sitetest.Site, b *sitetest.Browser, _ string) { b.Cookie["registration_code"] = "a~b~!" }, "login_code_expired"},
		"ten minutes":   {func(s *sitetest.Site, _ *sitetest.Browser, _ string) { s.Travel(10*time.Minute + time.Second) }, "login_code_expired"},
		"another address": {func(s *sitetest.Site, _ *sitetest.Browser, id string) {
			s.Set(id, func(u *store.User) { u.Email, u.EmailChanges = "new@example.org", u.EmailChanges+1 })
		}, "login_code_invalid"},
		"the address is back": {func(s *sitetest.Site, _ *sitetest.Browser, id string) {
			s.Set(id, func(u *store.User) { u.EmailChanges += 2 })
		}, "login_code_invalid"},
		"another password": {func(s *sitetest.Site, _ *sitetest.Browser, id string) {
			s.Set(id, func(u *store.User) { u.PasswordHash = "" })
		}, "login_code_invalid"},
		"everybody signed out": {func(s *sitetest.Site, _ *sitetest.Browser, id string) {
			s.Set(id, func(u *store.User) { u.Generation++ })
		}, "login_code_invalid"},
		"disabled": {func(s *sitetest.Site, _ *sitetest.Browser, id string) {
			s.Set(id, func(u *store.User) { u.IsActive = false })
		}, "login_code_invalid"},
		"another username": {func(s *sitetest.Site, _ *sitetest.Browser, _ string) {
			s.Travel(time.Second)
			s.SignedIn("ada")
		}, "login_code_invalid"},
		"five wrong ones": {func(_ *sitetest.Site, b *sitetest.Browser, _ string) {
			for i := range 5 {
				b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": fmt.Sprint("x", i)})
			}
		}, "login_code_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, withMailCode)
			id := s.Member("ada")
			b := s.Browser()
			code := askCode(t, s, b, "ada")
			c.before(s, b, id)
			sitetest.RequireError(t, b.Problems().Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}), http.StatusBadRequest, c.code)
			require.Empty(t, b.Cookie[sitetest.SessionCookie])
		})
	}
	t.Run("another name", func(t *testing.T) {
		s := sitetest.New(t, withMailCode)
		s.Member("ada")
		s.Member("eve")
		b := s.Browser()
		code := askCode(t, s, b, "eve")
		sitetest.RequireError(t, b.Problems().Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}), http.StatusBadRequest, "login_code_expired")
		sitetest.RequireError(t, b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "email": "eve@example.org", "code": code}), http.StatusBadRequest, "login_code_expired")
	})
	t.Run("used, by the next sign-in of the same second", func(t *testing.T) {
		s := sitetest.New(t, withMailCode)
		id := s.Member("ada")
		b := s.Browser()
		s.Set(id, func(u *store.User) { u.LastLogin = s.Accounts.Time() })
		code := askCode(t, s, b, "ada")
		kept := b.Cookie["registration_code"]
		require.Equal(t, http.StatusOK, b.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}).StatusCode)
		again := s.Browser()
		again.Cookie["registration_code"] = kept
		sitetest.RequireError(t, again.Problems().Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code}), http.StatusBadRequest, "login_code_invalid")
	})
}

// Guesses over many codes, names and devices are counted together.
func TestLoginCodeGuesses(t *testing.T) {
	s := sitetest.New(t, withMailCode)
	s.Member("ada")
	refused := map[int]int{}
	for i := range 12 {
		b := s.Browser()
		login := []string{"ada", "ada@example.org", "ADA"}[i%3]
		b.Post("/accounts/send-login-code", sitetest.Data{"login": login})
		refused[b.Post("/accounts/login-code", sitetest.Data{"login": login, "code": "wrong"}).StatusCode]++
	}
	require.Equal(t, map[int]int{http.StatusBadRequest: 10, http.StatusTooManyRequests: 2}, refused)
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Get("/accounts/profile").StatusCode, "the password still opens it")
}

// What is mailed is of its browser.
func TestMailedLoginCode(t *testing.T) {
	s := sitetest.New(t, withMailCode)
	s.Member("ada")
	m := &store.Mail{Kind: store.MailLoginCode, Browser: []byte("x"), State: []byte("y")}
	code, signature := account.MailedLoginCode(s.Accounts.Signer, &store.User{}, m)
	require.Len(t, code, 6)
	require.Len(t, signature, 43)
	again, _ := account.MailedLoginCode(s.Accounts.Signer, &store.User{}, &store.Mail{Browser: []byte("z"), State: []byte("y")})
	require.NotEqual(t, code, again)
}
