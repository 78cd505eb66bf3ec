// hardening_links_test.go: attacks by what an account has handed out: links,
// pending changes and cookies that should have ended.

package registration

import (
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

const newTestPassword = "an even longer passphrase"

// changePassword is what the owner does who suspects something.
func (b *browser) changePassword() {
	b.site.t.Helper()
	res := b.post("/accounts/change-password", data{"old_password": testPassword, "password": newTestPassword, "password_confirm": newTestPassword})
	require.Equal(b.site.t, 200, res.StatusCode, res.body)
}

// resetPassword sets a new password by a mail to the account's address.
func (s *site) resetPassword(login, password string) *browser {
	s.t.Helper()
	b := s.browser()
	require.Equal(s.t, 200, b.post("/accounts/send-reset-password-link", data{"login": login}).StatusCode)
	res := b.post("/accounts/reset-password", with(linkOf(s.mail(), s.t), data{"password": password}))
	require.Equal(s.t, 200, res.StatusCode, res.body)
	return b
}

// A stranger signs up with somebody's address where nobody confirms one. Its
// owner resets the password by mail, and nothing of the stranger's is left.
func TestAddressOwnerVoidsAStrangersAccount(t *testing.T) {
	for name, tc := range map[string]struct {
		// first is the address that the stranger signs up with; he changes it to
		// the victim's where it is another.
		first string
		// takeBack: the victim gets the account by the mail to the address that the
		// stranger left, and not by a reset.
		takeBack bool
	}{
		"signed up with it":         {first: "victim@example.org"},
		"changed to it":             {first: "stranger@example.net"},
		"left it, and it went back": {first: "victim@example.org", takeBack: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *Settings) {
				s.Register.Verification, s.RegisterEmail.Verification, s.Login.Token = off(), off(), on()
			})
			require.Equal(t, 201, s.browser().post("/accounts/register", with(newcomer("stranger"), data{"email": tc.first})).StatusCode)
			stranger := s.browser()
			res := stranger.post("/accounts/login", data{"login": "stranger", "password": testPassword})
			token := "Token " + res.json(t)["token"].(string)
			move := func(to string) data {
				require.Equal(t, 200, stranger.post("/accounts/register-email", data{"email": to}).StatusCode)
				return linkOf(s.mail(), t)
			}
			var undo data
			if tc.first != "victim@example.org" {
				undo = move("victim@example.org")
			}
			if tc.takeBack {
				require.Equal(t, 200, s.browser().post("/accounts/undo-email", move("stranger@example.net")).StatusCode)
				fresh := s.mail()
				require.Equal(t, "victim@example.org", fresh.To)
				require.Equal(t, 200, s.browser().post("/accounts/reset-password", with(linkOf(fresh, t), data{"password": newTestPassword})).StatusCode)
			} else {
				s.resetPassword("stranger", newTestPassword)
			}
			require.Equal(t, 401, stranger.get("/accounts/profile").StatusCode)
			withToken := s.browser()
			withToken.header.Set("Authorization", token)
			require.Equal(t, 401, withToken.get("/accounts/profile").StatusCode)
			require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "stranger", "password": testPassword}).StatusCode)
			if undo != nil {
				requireError(t, s.browser().problems().post("/accounts/undo-email", undo), 400, "signature_invalid")
			}
			u, err := s.accounts.Lookup(t.Context(), "victim@example.org")
			require.NoError(t, err)
			require.True(t, u.EmailVerified)
			require.Empty(t, u.Former)
			require.Equal(t, 200, s.browser().post("/accounts/login", data{"login": "stranger", "password": newTestPassword}).StatusCode)
		})
	}
}

// The other way round: a thief moves a confirmed account to his own address,
// where no change is confirmed, and resets the password by it.
func TestResetOfAThiefLeavesTheWayBack(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.RegisterEmail.Verification = off() })
	s.member("ada")
	thief := s.signedIn("ada")
	require.Equal(t, 200, thief.post("/accounts/register-email", data{"email": "thief@example.net"}).StatusCode)
	undo := linkOf(s.mail(), t)
	s.resetPassword("ada", newTestPassword)
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}

// Who signs up with somebody's address must not keep his password when its owner
// confirms it: the page asks for the password wherever it was not the browser
// that signed up.
func TestConfirmationPageWantsThePassword(t *testing.T) {
	signUp := func(s *site) (*browser, string, url.Values) {
		b := s.browser().likeBrowser()
		require.Equal(t, 303, b.post("/accounts/register/", formOf(newcomer("ada"))).StatusCode)
		link, act := s.mailed()
		return b, link, act
	}
	active := func(s *site) bool {
		u, err := s.accounts.Lookup(t.Context(), "ada")
		require.NoError(t, err)
		return u.IsActive
	}
	with := func(act url.Values, password string) url.Values {
		out := maps.Clone(act)
		out.Set("password", password)
		return out
	}
	t.Run("the browser that signed up clicks once", func(t *testing.T) {
		s := newSite(t)
		b, link, act := signUp(s)
		require.NotContains(t, b.get(link).body, `name="password"`)
		require.Equal(t, 303, b.post("/accounts/verify-registration/", act).StatusCode)
		require.True(t, active(s))
	})
	for name, strange := range map[string]func(s *site, b *browser){
		"another browser": func(_ *site, b *browser) { clear(b.cookie) },
		"a forged marker": func(_ *site, b *browser) { b.cookie["registration_signup"] += "x" },
		"the marker of another account": func(s *site, b *browser) {
			b.post("/accounts/register/", formOf(newcomer("eve")))
			s.mail()
		},
		"a marker of yesterday": func(s *site, _ *browser) { s.travel(web.SignUpLifetime + time.Second) },
		"a device cookie as a marker": func(s *site, b *browser) {
			parts := strings.Split(b.cookie["registration_signup"], ".")
			unix, err := strconv.ParseInt(parts[2], 10, 64)
			require.NoError(t, err)
			parts[3] = s.accounts.Signer.Sign(sign.Claim{Purpose: sign.PurposeDevice, User: uuid.MustParse(parts[0]), Time: time.Unix(unix, 0)})
			b.cookie["registration_signup"] = strings.Join(parts, ".")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b, link, act := signUp(s)
			strange(s, b)
			page := b.get(link).body
			require.Contains(t, page, `name="password"`)
			require.Contains(t, page, "/accounts/send-reset-password-link/", "the way of who did not choose it")
			for _, form := range []url.Values{act, with(act, ""), with(act, "of the address's owner")} {
				res := b.post("/accounts/verify-registration/", form)
				require.Equal(t, 400, res.StatusCode)
				require.Contains(t, res.body, `name="password"`)
				require.Contains(t, res.body, `name="signature"`)
				require.False(t, active(s))
			}
			require.Equal(t, 303, b.post("/accounts/verify-registration/", with(act, testPassword)).StatusCode)
			require.True(t, active(s))
			require.Equal(t, 400, b.post("/accounts/verify-registration/", with(act, testPassword)).StatusCode)
		})
	}
	t.Run("a form of another site gives no marker", func(t *testing.T) {
		s := newSite(t)
		b := s.browser().likeBrowser()
		b.header.Set("Sec-Fetch-Site", "cross-site")
		b.post("/accounts/register/", formOf(newcomer("ada")))
		require.NotContains(t, b.cookie, "registration_signup")
		require.Equal(t, 303, s.browser().likeBrowser().post("/accounts/register/", formOf(newcomer("eve"))).StatusCode)
	})
	t.Run("a reset voids the marker", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.OneTimeUse = off() })
		b, link, _ := signUp(s)
		s.resetPassword("ada", newTestPassword)
		require.Contains(t, b.get(link).body, `name="password"`)
	})
	t.Run("the API and redirect mode are as they were", func(t *testing.T) {
		s := newSite(t)
		_, _, act := signUp(s)
		require.Equal(t, 200, s.browser().post("/accounts/verify-registration", act).StatusCode)
		s = newSite(t, redirecting)
		_, link, _ := signUp(s)
		s.browser().likeBrowser().get(link).requireRedirect(t, "/welcome/?from=mail")
		s = newSite(t, func(s *Settings) { s.Register.VerificationURL = "https://app.example.com/confirm/" })
		_, _, act = signUp(s)
		require.Equal(t, 303, s.browser().likeBrowser().post("/accounts/verify-registration", act).StatusCode, "the frontend's own page")
	})
	t.Run("guesses are as dear as at the sign-in", func(t *testing.T) {
		s := newSite(t, func(s *Settings) {
			s.Throttle = ThrottleSettings{Login: &ThrottleLimit{Events: 3, Window: 60e9}}
		})
		_, _, act := signUp(s)
		b := s.browser().likeBrowser()
		for range 3 {
			require.Equal(t, 400, b.post("/accounts/verify-registration/", with(act, "a guess of it")).StatusCode)
		}
		require.Equal(t, 429, b.post("/accounts/verify-registration/", with(act, testPassword)).StatusCode)
		require.False(t, active(s))
	})
}

// A link that somebody else asked for, in a stolen session, must not be confirmed
// by whom it reaches, nor in the address of any page that is logged.
func TestNewAddressPageWantsItsOwner(t *testing.T) {
	asked := func(s *site) (string, url.Values) {
		s.member("ada")
		s.member("bob")
		require.Equal(t, 200, s.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org", "next": "/members/"}).StatusCode)
		return s.mailed()
	}
	email := func(s *site) string {
		u, err := s.accounts.Lookup(t.Context(), "ada")
		require.NoError(t, err)
		return u.Email
	}
	const back = "/accounts/login/?next=%2Faccounts%2Fverify-email%2F"
	t.Run("the page leads to the sign-in and back", func(t *testing.T) {
		s := newSite(t)
		link, act := asked(s)
		b := s.browser().likeBrowser()
		require.Equal(t, 400, b.get("/accounts/verify-email/").StatusCode, "there is no link")
		res := b.get(link)
		require.Equal(t, 302, res.StatusCode)
		require.Equal(t, back, res.Header.Get("Location"), "without the signature")
		require.Contains(t, b.get(back).body, "Sign in to confirm your new e-mail address.")
		res = b.post("/accounts/verify-email/", act)
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, back, res.Header.Get("Location"))
		require.Equal(t, "ada@example.org", email(s))
		res = b.post("/accounts/login/", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {"/accounts/verify-email/"}})
		page := b.follow(res)
		require.Contains(t, page.body, `name="signature" value="`+act.Get("signature")+`"`)
		require.Contains(t, page.body, `name="next" value="/members/"`)
		require.Equal(t, "/accounts/profile/?next=%2Fmembers%2F", b.post("/accounts/verify-email/", act).Header.Get("Location"))
		require.Equal(t, "new@example.org", email(s))
		require.NotContains(t, b.cookie, "registration_link")
	})
	t.Run("signed in with another account", func(t *testing.T) {
		s := newSite(t)
		link, act := asked(s)
		b := s.signedIn("bob").likeBrowser()
		for _, res := range []*answer{b.get(link), b.post("/accounts/verify-email/", act)} {
			require.Equal(t, 403, res.StatusCode)
			require.NotContains(t, res.body, act.Get("signature"))
			require.Contains(t, res.body, `/accounts/logout/?next=%2Faccounts%2Fverify-email%2F`)
		}
		require.Equal(t, "ada@example.org", email(s))
	})
	t.Run("the API, unless it is to", func(t *testing.T) {
		s := newSite(t)
		_, act := asked(s)
		require.Equal(t, 200, s.browser().post("/accounts/verify-email", act).StatusCode)
		require.Equal(t, "new@example.org", email(s))

		s = newSite(t, func(s *Settings) { s.RegisterEmail.SignedIn = on() })
		_, act = asked(s)
		body := data{}
		for name := range act {
			body[name] = act.Get(name)
		}
		requireError(t, s.browser().problems().post("/accounts/verify-email", body), 401, "not_authenticated")
		requireError(t, s.browser().problems().post("/accounts/verify-email", data{}), 401, "not_authenticated")
		requireError(t, s.signedIn("bob").problems().post("/accounts/verify-email", body), 403, "permission_denied")
		requireError(t, s.signedIn("bob").problems().post("/accounts/verify-email", with(body, data{"timestamp": "1"})), 400, "signature_invalid")
		require.Equal(t, "ada@example.org", email(s))
		require.Equal(t, 200, s.signedIn("ada").post("/accounts/verify-email", body).StatusCode)
	})
	t.Run("redirect mode, unless it is to", func(t *testing.T) {
		s := newSite(t, redirecting)
		s.member("ada")
		require.Equal(t, 200, s.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org"}).StatusCode)
		s.browser().likeBrowser().get(s.mailedPath()).requireRedirect(t, "/welcome/?from=mail")
		s = newSite(t, redirecting, func(s *Settings) { s.RegisterEmail.SignedIn = on() })
		s.member("ada")
		b := s.signedIn("ada").likeBrowser()
		require.Equal(t, 200, s.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org"}).StatusCode)
		link := s.mailedPath()
		s.browser().likeBrowser().get(link).requireRedirect(t, "https://app.example.net/failed")
		require.Equal(t, "ada@example.org", email(s))
		b.get(link).requireRedirect(t, "/welcome/?from=mail")
	})
}

// Of a parameter given twice the last counts, for whoever reads it: else the page
// would check one link and its form send another.
func TestDoubledParameters(t *testing.T) {
	doubled := func(act url.Values, name, before, after string) url.Values {
		out := maps.Clone(act)
		out[name] = append(append([]string{}, before), after)
		return out
	}
	for _, name := range []string{"user_id", "timestamp", "signature"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.browser().likeBrowser()
			b.post("/accounts/register/", formOf(newcomer("ada")))
			link, act := s.mailed()
			path, _, _ := strings.Cut(link, "?")
			good, bad := doubled(act, name, "x", act.Get(name)), doubled(act, name, act.Get(name), "x")
			res := b.get(path + "?" + good.Encode())
			require.Equal(t, 200, res.StatusCode)
			require.Contains(t, res.body, `name="`+name+`" value="`+act.Get(name)+`"`)
			require.Equal(t, 400, b.get(path+"?"+bad.Encode()).StatusCode)
			require.Equal(t, 400, b.post(path, bad).StatusCode)
			require.Equal(t, 400, s.browser().post(path, bad).StatusCode)
			raw := s.browser()
			raw.header.Set("Content-Type", "application/json")
			body := func(last string) string {
				return fmt.Sprintf(`{"user_id":%q,"timestamp":%q,"signature":%q,%q:%q}`, act.Get("user_id"), act.Get("timestamp"), act.Get("signature"), name, last)
			}
			require.Equal(t, 400, raw.post(path, body("x")).StatusCode)
			require.Equal(t, 303, b.post(path, good).StatusCode)

			s = newSite(t, redirecting)
			b = s.browser().likeBrowser()
			b.post("/accounts/register/", formOf(newcomer("ada")))
			_, act = s.mailed()
			b.get(path+"?"+doubled(act, name, act.Get(name), "x").Encode()).requireRedirect(t, "https://app.example.net/failed")
			b.get(path+"?"+doubled(act, name, "x", act.Get(name)).Encode()).requireRedirect(t, "/welcome/?from=mail")
		})
	}
	s := newSite(t)
	require.Contains(t, s.browser().likeBrowser().get("/accounts/login/?next=%2Fa&next=%2Fb").body, `name="next" value="/b"`)
}

func TestAddressesWithSecrets(t *testing.T) {
	for query, want := range map[string]bool{
		"":                             false,
		"next=%2Fmembers%2F":           false,
		"a=signature&b=%":              false,
		"user_id=x&signature=y":        true,
		"user_id=x&%73ignature=y":      true,
		"%73%69%67%6E%61%74%75%72%65=": true,
		"a=%zz&%73ignature=y":          true,
		"a=1;signature=y":              true,
		"signature%3Dy":                true,
		"old_password=x":               true,
		"refresh%5ftoken=x":            true,
		"next=%2Faccounts%2Fverify-email%2F%3Fsignature%3Dx":        true,
		"next=%2Flogin%3Fnext%3D%252Faccounts%252F%253Fsignature=x": true,
		"next=" + strings.Repeat("%25", 20):                         false,
		"next=%2525252525252573ignature":                            true,
	} {
		require.Equal(t, want, web.HasSecret(query), query)
	}
	s := newSite(t)
	for target, want := range map[string]bool{
		"/accounts/verify-registration/?user_id=x&%73ignature=y":                       true,
		"/accounts/login/?next=%2Faccounts%2Fverify-registration%2F%3Fsignature%3Dx":   true,
		"/accounts/login/?next=%2Fmembers%2F":                                          false,
		"/accounts/nothing?%73ignature=y":                                              true,
		"/accounts/login?next=%2Faccounts%2Fverify-registration%2F%3F%2573ignature%3D": true,
	} {
		before := s.logs.FilterMessageSnippet("left out of the access log").Len()
		s.browser().likeBrowser().get(target)
		require.Equal(t, want, s.logs.FilterMessageSnippet("left out of the access log").Len() > before, target)
	}
	s.member("ada")
	s.browser().likeBrowser().post("/accounts/login/", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {"/x?%73ignature=y"}})
	require.Equal(t, 5, s.logs.FilterMessageSnippet("left out of the access log").Len(), "an answer's Location is logged too")
}
