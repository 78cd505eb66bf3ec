// trusted_test.go: browsers that are not asked for the second step: how one comes to be
// trusted, what that opens and what it doesn't, and what ends it.

package factors_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

const trustedCookie = sitetest.SessionCookie + "_trusted"

func trusting(s *registration.Settings) {
	s.Factors.TrustedDevice = caddy.Duration(30 * 24 * time.Hour)
}

// trusted signs in with the box ticked, in a browser of its own.
func trusted(t *testing.T, s *sitetest.Site, a app, name string, browser ...*sitetest.Browser) *sitetest.Browser {
	t.Helper()
	b := append(browser, s.Browser())[0]
	res := b.Post("/accounts/login-factor", sitetest.With(answerWith(challenged(t, b, name), "totp", a.code()), sitetest.Data{"trust_device": true}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.NotEmpty(t, b.Cookie[trustedCookie])
	s.Travel(time.Minute) // the code is used up
	return b
}

// isAsked reports whether a sign-in by the password is asked for a factor in a browser.
func isAsked(t *testing.T, b *sitetest.Browser, name string) bool {
	t.Helper()
	res := b.Post("/accounts/login", sitetest.Data{"login": name, "password": sitetest.Password})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	_, asked := res.JSON(t)["challenge"]
	return asked
}

// fresh is a browser that has of another one only what it is trusted by.
func fresh(s *sitetest.Site, of *sitetest.Browser) *sitetest.Browser {
	b := s.Browser().Problems()
	b.Cookie[trustedCookie] = of.Cookie[trustedCookie]
	return b
}

func listed(t *testing.T, b *sitetest.Browser) []any {
	t.Helper()
	res := b.Get("/accounts/trusted-devices")
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	var list []any
	require.NoError(t, json.Unmarshal([]byte(res.Text), &list), res.Text)
	return list
}

func TestTrustedBrowser(t *testing.T) {
	s := sitetest.New(t, trusting)
	id := s.Member("ada")
	a, codes := enrol(t, s, s.SignedIn("ada"))

	b := s.Browser()
	challenge := challenged(t, b, "ada")
	sitetest.RequireError(t, b.Problems().Post("/accounts/login-factor", sitetest.With(answerWith(challenge, "totp", a.code()), sitetest.Data{"trust_device": "perhaps"})), 400, "trust_device:invalid")
	res := b.Post("/accounts/login-factor", sitetest.With(answerWith(challenge, "totp", a.code()), sitetest.Data{"trust_device": true}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, "pwd otp mfa", b.AMR())
	var kept *http.Cookie
	for _, c := range res.Cookies() {
		if c.Name == trustedCookie {
			kept = c
		}
	}
	require.NotNil(t, kept)
	require.True(t, kept.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, kept.SameSite)
	require.Equal(t, 30*24*60*60, kept.MaxAge)
	require.Equal(t, "/", kept.Path)
	require.Len(t, kept.Value, 43, "256 bits")
	require.NotContains(t, fmt.Sprintf("%+v", *s.Stored(id)), kept.Value)

	s.Travel(20 * 24 * time.Hour)
	later := fresh(s, b)
	sitetest.RequireError(t, later.Post("/accounts/login", sitetest.WrongSignIn("ada")), 400, "login_invalid")
	require.False(t, isAsked(t, later, "ada"))
	require.Equal(t, "pwd", later.AMR(), "it has shown the password and no more")
	require.True(t, isAsked(t, s.Browser(), "ada"), "any other browser is asked")

	list := listed(t, later)
	require.Len(t, list, 1)
	one := list[0].(map[string]any)
	require.Equal(t, true, one["current"])
	require.NotEqual(t, one["created"], one["last_used"])
	require.NotContains(t, kept.Value, one["id"])
	lines := s.Logs.FilterMessage("signed_in").All()
	require.Equal(t, one["id"], lines[len(lines)-1].ContextMap()["trusted_device"], "the record says why no factor was asked for")

	s.Travel(10 * 24 * time.Hour)
	require.True(t, isAsked(t, fresh(s, b), "ada"), "the thirty days are over, whatever the use")

	b = s.Browser()
	res = b.Post("/accounts/login-factor", sitetest.With(answerWith(challenged(t, b, "ada"), "recovery_code", codes[0]), sitetest.Data{"trust_device": true}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.NotContains(t, b.Cookie, trustedCookie, "a recovery code trusts none")
	require.Empty(t, s.Stored(id).TrustedDevices, "what is over is forgotten")
}

func TestNoBrowserIsTrustedUnlessItIsSet(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	a, _ := enrol(t, s, s.SignedIn("ada"))
	b := s.Browser().Problems()
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", sitetest.With(answerWith(challenged(t, b, "ada"), "totp", a.code()), sitetest.Data{"trust_device": true})).StatusCode)
	require.NotContains(t, b.Cookie, trustedCookie)
	sitetest.RequireError(t, b.Get("/accounts/trusted-devices"), 404, "not_found")
	sitetest.RequireError(t, b.Post("/accounts/revoke-trusted-device", sitetest.Data{"id": "x"}), 404, "not_found")
	require.NotContains(t, s.Browser().Get("/accounts/openapi.json").Text, "trust_device")

	// One from before the setting was taken away counts for nothing.
	again := func(configure ...func(*registration.Settings)) {
		at := s.Now.Load()
		s.Close()
		s = sitetest.NewAt(t, s.Path, configure...)
		s.Now.Store(at)
		s.Travel(time.Minute)
	}
	again(trusting)
	b = trusted(t, s, app{s: s, secret: a.secret}, "ada")
	again()
	require.True(t, isAsked(t, fresh(s, b), "ada"))
	require.Len(t, s.Stored(id).TrustedDevices, 1)
}

// What a trusted browser's sign-in opens is what the password alone does.
func TestATrustedBrowserHasShownThePasswordAlone(t *testing.T) {
	s := sitetest.New(t, trusting, func(s *registration.Settings) { s.Login.MailCode = sitetest.On() })
	id := s.Member("ada")
	a, _ := enrol(t, s, s.SignedIn("ada"))
	b := fresh(s, trusted(t, s, a, "ada"))
	require.False(t, isAsked(t, b, "ada"))
	for path, body := range map[string]sitetest.Data{
		"remove-factor":  {"id": s.Stored(id).Factors[0].ID.String()},
		"recovery-codes": {}, "enrol-totp": {}, "register-email": {"email": "eve@example.org"},
	} {
		sitetest.RequireError(t, b.Post("/accounts/"+path, body), 400, "totp:reauthentication_required")
	}
	who, err := s.Accounts.Sessions.Lookup(t.Context(), b.Cookie[sitetest.SessionCookie], store.KindSession, s.Realm.Now(), 24*time.Hour)
	require.NoError(t, err)
	require.False(t, account.Demand{Factors: 2}.Met(who.Session, s.Realm.Now()), "a page that asks for two")
	require.Equal(t, http.StatusOK, b.Post("/accounts/step-up", sitetest.Data{"totp": a.code()}).StatusCode)
	require.Equal(t, "pwd otp mfa", b.AMR())

	// Whoever reads the mailbox is asked for the factor all the same.
	mailed := fresh(s, b)
	require.Equal(t, http.StatusOK, mailed.Post("/accounts/send-login-code", sitetest.Data{"login": "ada"}).StatusCode)
	var code []string
	for code == nil { // the mails about the factor come before
		code = regexp.MustCompile(`(?m)^    (\d{6})$`).FindStringSubmatch(s.Mail().Text)
	}
	res := mailed.Post("/accounts/login-code", sitetest.Data{"login": "ada", "code": code[1]})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.NotEmpty(t, res.JSON(t)["challenge"])
}

func TestWhatEndsTheTrustInABrowser(t *testing.T) {
	type scene struct {
		*sitetest.Site
		t     *testing.T
		id    string
		a     app
		owner *sitetest.Browser
	}
	ok := func(s scene, path string, body sitetest.Data) {
		s.t.Helper()
		res := s.owner.Post("/accounts/"+path, body)
		require.Less(s.t, res.StatusCode, 300, res.Text)
	}
	for name, c := range map[string]struct {
		act   func(s scene)
		stays bool
	}{
		"nothing": {act: func(scene) {}, stays: true},
		"a new name": {act: func(s scene) {
			ok(s, "rename-factor", sitetest.Data{"id": s.Stored(s.id).Factors[0].ID.String(), "name": "x"})
		}, stays: true},
		"recovery codes": {act: func(s scene) { ok(s, "recovery-codes", sitetest.Data{}) }, stays: true},
		"signing out":    {act: func(s scene) { ok(s, "logout", sitetest.Data{}) }, stays: true},
		"another app":    {act: func(s scene) { enrol(s.t, s.Site, s.owner) }},
		"a factor goes": {act: func(s scene) {
			other, _ := enrol(s.t, s.Site, s.owner)
			s.a = other
			b := trusted(s.t, s.Site, other, "ada")
			ok(s, "remove-factor", sitetest.Data{"id": s.Stored(s.id).Factors[0].ID.String()})
			require.True(s.t, isAsked(s.t, fresh(s.Site, b), "ada"))
		}},
		"one that was added is taken back": {act: func(s scene) {
			enrol(s.t, s.Site, s.owner)
			link := sitetest.LinkOf(s.Mail(), s.t)
			trusted(s.t, s.Site, s.a, "ada")
			require.NotEmpty(s.t, s.Stored(s.id).TrustedDevices)
			require.Equal(s.t, http.StatusOK, s.Browser().Post("/accounts/undo-factor", sitetest.With(link, sitetest.Data{"password": sitetest.Password})).StatusCode)
			require.Empty(s.t, s.Stored(s.id).TrustedDevices)
		}},
		"reset by the owner": {act: func(s scene) {
			_, err := s.Accounts.ResetFactors(s.t.Context(), uuid.MustParse(s.id), account.Client{})
			require.NoError(s.t, err)
			s.a, _ = enrol(s.t, s.Site, s.SignedIn("ada"))
		}},
		"from the list": {act: func(s scene) {
			ok(s, "revoke-trusted-device", sitetest.Data{"id": listed(s.t, s.owner)[0].(map[string]any)["id"]})
			require.Empty(s.t, listed(s.t, s.owner))
		}},
		"sign-out everywhere else": {act: func(s scene) { ok(s, "revoke-session", sitetest.Data{"others": true}) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sitetest.New(t, trusting)
			id := s.Member("ada")
			owner := s.SignedIn("ada")
			a, _ := enrol(t, s, owner)
			for len(s.Mailer.Sent) > 0 {
				s.Mail()
			}
			b := trusted(t, s, a, "ada")
			c.act(scene{Site: s, t: t, id: id, a: a, owner: owner})
			if u := s.Stored(id); u.PasswordHash == "" || !u.HasFactor() {
				require.Empty(t, u.TrustedDevices)
				return
			}
			require.Equal(t, !c.stays, isAsked(t, fresh(s, b), "ada"))
		})
	}
}

// Several people use one browser, and a person several browsers.
func TestManyTrustedBrowsers(t *testing.T) {
	s := sitetest.New(t, trusting)
	id := s.Member("ada")
	s.Member("bob")
	s.Member("cyd")
	ada, _ := enrol(t, s, s.SignedIn("ada"))
	shared := trusted(t, s, ada, "ada")
	for _, name := range []string{"bob", "cyd"} {
		a, _ := enrol(t, s, s.SignedIn(name))
		require.True(t, isAsked(t, fresh(s, shared), name), "it is trusted for another account")
		trusted(t, s, a, name, shared)
	}
	for _, name := range []string{"ada", "bob", "cyd"} {
		require.False(t, isAsked(t, fresh(s, shared), name), name)
	}
	require.Equal(t, 2, strings.Count(shared.Cookie[trustedCookie], "~"))
	for range 3 { // it takes four
		shared.Cookie[trustedCookie] += "~" + strings.Repeat("A", 43)
	}
	require.False(t, isAsked(t, fresh(s, shared), "ada"))
	shared.Cookie[trustedCookie] = "~~~~" + shared.Cookie[trustedCookie]
	require.True(t, isAsked(t, fresh(s, shared), "ada"))

	const maxTrusted = 20
	for range maxTrusted {
		trusted(t, s, ada, "ada")
	}
	require.Len(t, s.Stored(id).TrustedDevices, maxTrusted)
	owner := s.Browser().Problems()
	require.Equal(t, http.StatusOK, owner.Post("/accounts/login-factor", answerWith(challenged(t, owner, "ada"), "totp", ada.code())).StatusCode)
	require.Len(t, listed(t, owner), maxTrusted)
	sitetest.RequireError(t, owner.Post("/accounts/revoke-trusted-device", sitetest.Data{}), 400, "id:required")
	sitetest.RequireError(t, owner.Post("/accounts/revoke-trusted-device", sitetest.Data{"id": "none"}), 404, "device_not_found")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/revoke-trusted-device", sitetest.Data{"id": "none"}), 401, "not_authenticated")
}

// Where the terms are asked for beside, the browser stays a trusted one.
func TestTrustedBrowserAndTerms(t *testing.T) {
	s := sitetest.New(t, trusting)
	s.Member("ada")
	a, _ := enrol(t, s, s.SignedIn("ada"))
	b := trusted(t, s, a, "ada")
	path := s.Path
	at := s.Now.Load()
	s.Close()
	s = sitetest.NewAt(t, path, trusting, func(s *registration.Settings) {
		s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "2"}
	})
	s.Now.Store(at)
	a.s = s
	later := fresh(s, b)
	res := later.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, "2", res.JSON(t)["terms"])
	require.NotContains(t, res.JSON(t), "factors")
	agreed := sitetest.Data{"challenge": res.JSON(t)["challenge"], "terms": "2"}
	thief := s.Browser().Problems() // with all that binds the challenge, but in another browser
	for name, v := range later.Cookie {
		if name != trustedCookie {
			thief.Cookie[name] = v
		}
	}
	sitetest.RequireError(t, thief.Post("/accounts/login-factor", agreed), 400, "challenge_expired")
	did := later.Post("/accounts/login-factor", agreed)
	require.Equal(t, http.StatusOK, did.StatusCode, did.Text)
	require.Equal(t, "pwd", later.AMR())
}

func TestPagesOfTrustedBrowsers(t *testing.T) {
	s := sitetest.New(t, trusting)
	s.Member("ada")
	a, _ := enrol(t, s, s.SignedIn("ada"))
	b := s.Browser().Set("Accept", "text/html", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	require.Equal(t, http.StatusSeeOther, b.Post("/accounts/login/", sitetest.FormOf(sitetest.Data{"login": "ada", "password": sitetest.Password})).StatusCode)
	page := b.Get("/accounts/login-factor/").Text
	require.Contains(t, page, "Don’t ask in this browser for 30 days")
	require.NotContains(t, page, "checked")
	require.NotContains(t, b.Get("/accounts/login-factor/?with=recovery_code").Text, "trust_device")
	challenge := regexp.MustCompile(`name="challenge" value="([^"]+)"`).FindStringSubmatch(page)[1]
	res := b.Post("/accounts/login-factor/", sitetest.FormOf(sitetest.Data{"challenge": challenge, "totp": a.code(), "trust_device": "true"}))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	page = b.Get("/accounts/factors/").Text
	require.Contains(t, page, "Browsers that aren’t asked")
	require.Contains(t, page, "Firefox, Linux")
	id := regexp.MustCompile(`id="t-([^"]+)-of"`).FindStringSubmatch(page)[1]
	res = b.Post("/accounts/revoke-trusted-device/", sitetest.FormOf(sitetest.Data{"id": id}))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	page = b.Get("/accounts/factors/").Text
	require.Contains(t, page, "That browser is asked for the second step again.")
	require.NotContains(t, page, "Browsers that aren’t asked")
}
