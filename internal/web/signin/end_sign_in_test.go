// end_sign_in_test.go: who is told of a sign-in on a new device, and what the link in that
// mail ends and opens; and what it doesn't, for whoever else has it or makes it up.

package signin_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
)

func telling(s *registration.Settings) { s.Notices.NewDevice = sitetest.On() }

const (
	endSignIn   = "/accounts/end-sign-in"
	newSignIn   = "New sign-in to your account at example.com"
	knownCookie = sitetest.SessionCookie + "_known"
)

// newDevice signs in on another device, and returns the mail about it.
func newDevice(t *testing.T, s *sitetest.Site, name string) (*sitetest.Browser, *mail.Message) {
	t.Helper()
	b := s.SignedIn(name)
	m := s.Mail()
	require.Equal(t, newSignIn, m.Subject)
	return b, m
}

func isIn(b *sitetest.Browser) bool {
	return b.Get("/accounts/profile").StatusCode == http.StatusOK
}

func TestNewDevicesAreTold(t *testing.T) {
	s := sitetest.New(t, telling)
	s.Member("ada")
	first := s.SignedIn("ada")
	s.NoMail()
	require.NotEmpty(t, first.Cookie[knownCookie])

	phone := s.Browser().From("203.0.113.7")
	phone.Header.Set("User-Agent", "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36")
	form := url.Values{"login": {"ada"}, "password": {sitetest.Password}}
	require.Equal(t, http.StatusOK, phone.Post("/accounts/login", form).StatusCode)
	m := s.Mail()
	require.Equal(t, newSignIn, m.Subject)
	require.Equal(t, "ada@example.org", m.To)
	require.Contains(t, m.Text, "Device: Chrome, Android\nIP address: 203.0.113.7\n")

	for range 3 {
		first.Post("/accounts/login", form)
		phone.Post("/accounts/login", form)
	}
	third := s.Browser()
	require.Equal(t, http.StatusOK, third.Post("/accounts/login", form).StatusCode)
	s.NoMail() // of known ones, and of one more within the hour
	s.Travel(time.Hour)
	phone.Post("/accounts/login", form)
	s.NoMail()
	third.Post("/accounts/login", form)
	require.Equal(t, newSignIn, s.Mail().Subject, "nobody was told of it")
	s.Travel(time.Hour)
	third.Post("/accounts/login", form)
	first.Cookie[knownCookie] += "x"
	s.NoMail()
	first.Post("/accounts/login", form)
	require.Equal(t, newSignIn, s.Mail().Subject, "what is no name is none")
}

func TestNobodyIsToldOfDevices(t *testing.T) {
	for name, configure := range map[string]func(*registration.Settings){
		"off":                  func(*registration.Settings) {},
		"nothing is confirmed": func(s *registration.Settings) { telling(s); s.Register.Verification = sitetest.Off() },
		"no page for the link": func(s *registration.Settings) {
			telling(s)
			s.Pages.Off = true
			s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "/a", "/b", "/c", "/d"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure)
			if *s.Realm.Settings.Register.Verification {
				s.Member("ada")
			} else {
				require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
			}
			for range 3 {
				s.SignedIn("ada")
				s.Travel(2 * time.Hour)
			}
			s.NoMail()
		})
	}
}

// A frontend of one's own has a page for the link: the mail is sent where the pages are off.
func TestEndSignInAtAFrontend(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		telling(s)
		s.Pages.Off = true
		s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = "/a", "/b", "/c", "/d"
		s.Notices.EndSignInURL, s.Factors.UndoURL = "/app/end", "/app/undo"
	})
	s.Member("ada")
	s.SignedIn("ada")
	s.SignedIn("ada")
	m := s.Mail()
	u := sitetest.UrlOf(t, m)
	require.Equal(t, "http://example.com/app/end", u.Scheme+"://"+u.Host+u.Path)
	ended := s.Browser().Post("/accounts/end-sign-in", sitetest.LinkOf(m, t))
	require.Equal(t, http.StatusOK, ended.StatusCode, ended.Text)
	require.Contains(t, ended.Text, "reset_password")
}

// A script that keeps no cookie signs in each night: its owner is told once.
func TestAProgramIsToldOnce(t *testing.T) {
	s := sitetest.New(t, telling)
	s.Member("ada")
	script := func(ip string) {
		b := s.Browser().From(ip)
		b.Header.Set("User-Agent", "curl/8.14.1")
		require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
		s.Travel(2 * time.Hour)
	}
	s.SignedIn("ada")
	script("203.0.113.7")
	require.Contains(t, s.Mail().Text, "Device: curl\n")
	for _, ip := range []string{"203.0.113.7", "203.0.113.99"} {
		script(ip)
		s.NoMail()
	}
	script("198.51.100.1")
	require.Equal(t, newSignIn, s.Mail().Subject, "from elsewhere it is news")

	// A browser is not known by the program that it looks like.
	b := s.Browser().From("203.0.113.7").Set("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "User-Agent", "curl/8.14.1")
	require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
	require.Equal(t, newSignIn, s.Mail().Subject)
}

// Where sign-ins give tokens alone, no cookie is set: each device is known by its program and
// its network, the first one, too.
func TestASiteOfTokensSetsNoCookie(t *testing.T) {
	s := sitetest.New(t, telling, func(s *registration.Settings) { s.Login.Session, s.Login.Token = sitetest.Off(), sitetest.On() })
	s.Member("ada")
	signIn := func(ip string) {
		b := s.Browser().From(ip).Set("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors")
		res := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Empty(t, res.Header.Get("Set-Cookie"))
		s.Travel(2 * time.Hour)
	}
	signIn("192.0.2.1")
	signIn("192.0.2.99")
	s.NoMail()
	signIn("203.0.113.7")
	require.Equal(t, newSignIn, s.Mail().Subject)
}

// The list is that of before the upgrade: empty. Nobody is flooded.
func TestTheFirstSignInAfterAnUpgradeIsKnown(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	s.SignedIn("ada")
	require.NotEmpty(t, s.Stored(id).KnownDevices, "those are known that came while nobody was told")
}

func TestTheLinkEndsThatSignIn(t *testing.T) {
	s := sitetest.New(t, telling, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	id := s.Member("ada")
	own := s.SignedIn("ada")
	thief := s.Browser()
	res := thief.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	token := res.JSON(t)["token"].(string)
	link := sitetest.LinkOf(s.Mail(), t)
	again := s.Browser() // the same device signs in once more
	again.Cookie[knownCookie] = thief.Cookie[knownCookie]
	again.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	s.NoMail()

	// Whoever looks at the link before changes nothing.
	query := url.Values{}
	for name, v := range link {
		query.Set(name, v.(string))
	}
	reader := s.Browser().LikeBrowser()
	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodOptions} {
		reader.Do(method, endSignIn+"/?"+query.Encode(), nil)
		require.True(t, isIn(thief), method)
	}
	page := reader.Get(endSignIn + "/?" + query.Encode())
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, "End this session")

	res = s.Browser().Post(endSignIn, link)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.False(t, isIn(thief))
	require.Equal(t, http.StatusUnauthorized, s.WithToken(token).Get("/accounts/profile").StatusCode, "the token of that sign-in, too")
	require.True(t, isIn(own))
	require.True(t, isIn(again), "another sign-in is another, on that device too")
	reset := res.JSON(t)["reset_password"].(map[string]any)

	require.Equal(t, "signature_invalid", s.Browser().Problems().Post(endSignIn, link).JSON(t)["code"])
	require.Contains(t, reader.Get(endSignIn+"/?"+query.Encode()).Text, "That session has already ended.")

	body := sitetest.Data{"password": "another-good-password-1"}
	maps.Copy(body, reset)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", body).StatusCode)
	require.False(t, isIn(own), "a reset ends all")
	require.NotEqual(t, http.StatusOK, s.Browser().Post("/accounts/reset-password", body).StatusCode)
	require.Len(t, s.Stored(id).KnownDevices, 2, "the one that reset the password, and that others are forgotten")
}

// On the page: the button leads to the new password, and says what has been done.
func TestThePageLeadsToANewPassword(t *testing.T) {
	s := sitetest.New(t, telling)
	s.Member("ada")
	s.SignedIn("ada")
	thief, m := newDevice(t, s, "ada")
	b := s.Browser().LikeBrowser()
	form := url.Values{}
	for name, v := range sitetest.LinkOf(m, t) {
		form.Set(name, v.(string))
	}
	res := b.Post(endSignIn, form)
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	require.False(t, isIn(thief))
	require.Contains(t, res.Header.Get("Location"), "/accounts/reset-password/?")
	page := b.Follow(res)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, "Signed out of that session.")
	require.Contains(t, page.Text, `name="password"`)
}

// The session may be over, the password another, the address another's: what is left is done.
func TestTheLinkWhenMuchHasHappened(t *testing.T) {
	opens := func(res *sitetest.Answer, t *testing.T) bool {
		t.Helper()
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		_, ok := res.JSON(t)["reset_password"]
		return ok
	}
	for name, tc := range map[string]struct {
		happens func(t *testing.T, s *sitetest.Site, own, thief *sitetest.Browser)
		opens   bool
	}{
		"signed out": {func(_ *testing.T, _ *sitetest.Site, _, thief *sitetest.Browser) {
			thief.Post("/accounts/logout", sitetest.Data{})
		}, true},
		"the owner's new password":    {func(_ *testing.T, _ *sitetest.Site, own, _ *sitetest.Browser) { own.ChangePassword() }, false},
		"the thief's new password":    {func(_ *testing.T, _ *sitetest.Site, _, thief *sitetest.Browser) { thief.ChangePassword() }, true},
		"longer than a reset is good": {func(_ *testing.T, s *sitetest.Site, _, _ *sitetest.Browser) { s.Travel(25 * time.Hour) }, false},
		"another address": {func(_ *testing.T, s *sitetest.Site, _, thief *sitetest.Browser) {
			s.Move(thief, "ada@example.org", "eve@example.org")
		}, false},
		"sign-out everywhere else": {func(_ *testing.T, _ *sitetest.Site, own, _ *sitetest.Browser) {
			own.Post("/accounts/revoke-session", sitetest.Data{"others": true})
		}, false},
		"a session that was ended": {func(*testing.T, *sitetest.Site, *sitetest.Browser, *sitetest.Browser) {}, true},
		"the same device, signed anew": {func(_ *testing.T, _ *sitetest.Site, _, thief *sitetest.Browser) {
			thief.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, telling)
			s.Member("ada")
			own := s.SignedIn("ada")
			thief, m := newDevice(t, s, "ada")
			tc.happens(t, s, own, thief)
			in := isIn(thief)
			require.Equal(t, tc.opens, opens(s.Browser().Post(endSignIn, sitetest.LinkOf(m, t)), t))
			if name != "the same device, signed anew" {
				require.False(t, isIn(thief))
			} else {
				require.Equal(t, in, isIn(thief), "that sign-in is another")
			}
		})
	}
	t.Run("after a reset there is nothing left", func(t *testing.T) {
		s := sitetest.New(t, telling)
		s.Member("ada")
		s.SignedIn("ada")
		_, m := newDevice(t, s, "ada")
		s.ResetPassword("ada", "another-good-password-1")
		require.Equal(t, "signature_invalid", s.Browser().Problems().Post(endSignIn, sitetest.LinkOf(m, t)).JSON(t)["code"])
	})
	t.Run("after a week", func(t *testing.T) {
		s := sitetest.New(t, telling)
		s.Member("ada")
		s.SignedIn("ada")
		thief, m := newDevice(t, s, "ada")
		s.Travel(7*24*time.Hour + time.Minute)
		require.Equal(t, "signature_expired", s.Browser().Problems().Post(endSignIn, sitetest.LinkOf(m, t)).JSON(t)["code"])
		require.True(t, isIn(thief))
	})
}

// A link that was made up, or of another account, does nothing; nor is it good for another act.
func TestHardeningLinksThatEndSignIns(t *testing.T) {
	s := sitetest.New(t, telling)
	for _, name := range []string{"ada", "eve"} {
		s.Member(name)
		s.SignedIn(name)
	}
	_, m := newDevice(t, s, "ada")
	ada := sitetest.LinkOf(m, t)
	own, m := newDevice(t, s, "eve")
	eve := sitetest.LinkOf(m, t)
	signIn := eve["sign_in"].(string)
	for name, change := range map[string]sitetest.Data{
		"another account":        {"user_id": ada["user_id"]},
		"another's sign-in":      {"sign_in": ada["sign_in"]},
		"another generation":     {"sign_in": signIn[:len(signIn)-1] + "1"},
		"another mailbox":        {"sign_in": strings.Replace(signIn, signIn[37:49], "000000000000", 1)},
		"a later time":           {"timestamp": "4000000000"},
		"another's signature":    {"signature": ada["signature"]},
		"no sign-in":             {"sign_in": "x"},
		"one that is far longer": {"sign_in": strings.Repeat("a", 5000)},
	} {
		require.Equal(t, "signature_invalid", s.Browser().Problems().Post(endSignIn, sitetest.With(eve, change)).JSON(t)["code"], name)
	}
	require.True(t, isIn(own))
	for _, act := range []string{"reset-password", "undo-email", "undo-factor", "verify-registration"} {
		body := sitetest.With(eve, sitetest.Data{"password": "another-good-password-1", "email": "eve@example.org", "factor": signIn[:36]})
		require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/"+act, body).StatusCode, act)
	}
	foreign := s.Browser().Set("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	foreign.Cookie = maps.Clone(own.Cookie)
	require.Equal(t, http.StatusForbidden, foreign.Post(endSignIn, eve).StatusCode)
	require.True(t, isIn(own))
	require.Equal(t, http.StatusOK, s.Browser().Post(endSignIn, eve).StatusCode)
	require.False(t, isIn(own))
}

// The trust that the browser was given at that sign-in goes with it.
func TestTheLinkEndsTrust(t *testing.T) {
	s := sitetest.New(t, telling, func(s *registration.Settings) {
		s.Factors.TrustedDevice = caddy.Duration(30 * 24 * time.Hour)
	})
	id := s.Member("ada")
	s.SignedIn("ada")
	secret := withTOTP(s, id)
	thief := s.Browser()
	res := thief.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	s.Travel(time.Minute)
	res = thief.Post("/accounts/login-factor", sitetest.Data{"challenge": res.JSON(t)["challenge"], "totp": appShows(s, secret), "trust_device": true})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	m := s.Mail()
	require.Equal(t, newSignIn, m.Subject)
	require.Len(t, s.Stored(id).TrustedDevices, 1)
	require.Equal(t, http.StatusOK, s.Browser().Post(endSignIn, sitetest.LinkOf(m, t)).StatusCode)
	require.Empty(t, s.Stored(id).TrustedDevices)
	require.Len(t, s.Stored(id).Factors, 1, "the mailbox takes no factor away")
}
