// hardening_links_test.go: attacks by what an account has handed out: links,
// pending changes and cookies that should have ended.

package account_test

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

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

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
			s := sitetest.New(t, func(s *registration.Settings) {
				s.Register.Verification, s.RegisterEmail.Verification, s.Login.Token = sitetest.Off(), sitetest.Off(), sitetest.On()
			})
			require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("stranger"), sitetest.Data{"email": tc.first})).StatusCode)
			stranger := s.Browser()
			res := stranger.Post("/accounts/login", sitetest.Data{"login": "stranger", "password": sitetest.Password})
			token := "Token " + res.JSON(t)["token"].(string)
			move := func(to string) sitetest.Data {
				require.Equal(t, 200, stranger.Post("/accounts/register-email", sitetest.Data{"email": to}).StatusCode)
				return sitetest.LinkOf(s.Mail(), t)
			}
			var undo sitetest.Data
			if tc.first != "victim@example.org" {
				undo = move("victim@example.org")
			}
			if tc.takeBack {
				require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", move("stranger@example.net")).StatusCode)
				fresh := s.Mail()
				require.Equal(t, "victim@example.org", fresh.To)
				require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(fresh, t), sitetest.Data{"password": sitetest.NewPassword})).StatusCode)
			} else {
				s.ResetPassword("stranger", sitetest.NewPassword)
			}
			require.Equal(t, 401, stranger.Get("/accounts/profile").StatusCode)
			withToken := s.Browser()
			withToken.Header.Set("Authorization", token)
			require.Equal(t, 401, withToken.Get("/accounts/profile").StatusCode)
			require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "stranger", "password": sitetest.Password}).StatusCode)
			if undo != nil {
				sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/undo-email", undo), 400, "signature_invalid")
			}
			u, err := s.Accounts.Lookup(t.Context(), "victim@example.org")
			require.NoError(t, err)
			require.True(t, u.EmailVerified)
			require.Empty(t, u.Former)
			require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "stranger", "password": sitetest.NewPassword}).StatusCode)
		})
	}
}

// The other way round: a thief moves a confirmed account to his own address,
// where no change is confirmed, and resets the password by it.
func TestResetOfAThiefLeavesTheWayBack(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.RegisterEmail.Verification = sitetest.Off() })
	s.Member("ada")
	thief := s.SignedIn("ada")
	require.Equal(t, 200, thief.Post("/accounts/register-email", sitetest.Data{"email": "thief@example.net"}).StatusCode)
	undo := sitetest.LinkOf(s.Mail(), t)
	s.ResetPassword("ada", sitetest.NewPassword)
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}

// Who signs up with somebody's address must not keep his password when its owner
// confirms it: the page asks for the password wherever it was not the browser
// that signed up.
func TestConfirmationPageWantsThePassword(t *testing.T) {
	signUp := func(s *sitetest.Site) (*sitetest.Browser, string, url.Values) {
		b := s.Browser().LikeBrowser()
		require.Equal(t, 303, b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada"))).StatusCode)
		link, act := s.Mailed()
		return b, link, act
	}
	active := func(s *sitetest.Site) bool {
		u, err := s.Accounts.Lookup(t.Context(), "ada")
		require.NoError(t, err)
		return u.IsActive
	}
	with := func(act url.Values, password string) url.Values {
		out := maps.Clone(act)
		out.Set("password", password)
		return out
	}
	t.Run("the browser that signed up clicks once", func(t *testing.T) {
		s := sitetest.New(t)
		b, link, act := signUp(s)
		require.NotContains(t, b.Get(link).Text, `name="password"`)
		require.Equal(t, 303, b.Post("/accounts/verify-registration/", act).StatusCode)
		require.True(t, active(s))
	})
	for name, strange := range map[string]func(s *sitetest.Site, b *sitetest.Browser){
		"another browser": func(_ *sitetest.Site, b *sitetest.Browser) { clear(b.Cookie) },
		"a forged marker": func(_ *sitetest.Site, b *sitetest.Browser) { b.Cookie["registration_signup"] += "x" },
		"the marker of another account": func(s *sitetest.Site, b *sitetest.Browser) {
			b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("eve")))
			s.Mail()
		},
		"a marker of yesterday": func(s *sitetest.Site, _ *sitetest.Browser) { s.Travel(web.SignUpLifetime + time.Second) },
		"a device cookie as a marker": func(s *sitetest.Site, b *sitetest.Browser) {
			parts := strings.Split(b.Cookie["registration_signup"], ".")
			unix, err := strconv.ParseInt(parts[2], 10, 64)
			require.NoError(t, err)
			parts[3] = s.Accounts.Signer.Sign(sign.Claim{Purpose: sign.PurposeDevice, User: uuid.MustParse(parts[0]), Time: time.Unix(unix, 0)})
			b.Cookie["registration_signup"] = strings.Join(parts, ".")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			b, link, act := signUp(s)
			strange(s, b)
			page := b.Get(link).Text
			require.Contains(t, page, `name="password"`)
			require.Contains(t, page, "/accounts/send-reset-password-link/", "the way of who did not choose it")
			for _, form := range []url.Values{with(act, ""), with(act, "of the address's owner"), act} {
				b.Header.Del("Origin") // w3m sends none, and what the page asks for
				if !form.Has("password") {
					b.Header.Set("Origin", "http://example.com")
				}
				res := b.Post("/accounts/verify-registration/", form)
				require.Equal(t, 400, res.StatusCode)
				require.Contains(t, res.Text, `name="password"`)
				require.Contains(t, res.Text, `name="signature"`)
				require.False(t, active(s))
			}
			require.Equal(t, 303, b.Post("/accounts/verify-registration/", with(act, sitetest.Password)).StatusCode)
			require.True(t, active(s))
			require.Equal(t, "/accounts/login/", b.Post("/accounts/verify-registration/", with(act, sitetest.Password)).Header.Get("Location"), "confirmed already")
		})
	}
	t.Run("a form of another site gives no marker", func(t *testing.T) {
		s := sitetest.New(t)
		b := s.Browser().LikeBrowser()
		b.Header.Set("Sec-Fetch-Site", "cross-site")
		b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada")))
		require.NotContains(t, b.Cookie, "registration_signup")
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("eve"))).StatusCode)
	})
	t.Run("a reset voids the marker", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.OneTimeUse = sitetest.Off() })
		b, link, _ := signUp(s)
		s.ResetPassword("ada", sitetest.NewPassword)
		require.Contains(t, b.Get(link).Text, `name="password"`)
	})
	t.Run("a program that likes HTML is no browser", func(t *testing.T) {
		s := sitetest.New(t)
		_, _, act := signUp(s)
		for _, header := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
			b := s.Browser().LikeBrowser()
			b.Header.Set(header, map[string]string{"Origin": "http://example.com", "Sec-Fetch-Site": "same-origin"}[header])
			require.Equal(t, 400, b.Post("/accounts/verify-registration/", act).StatusCode, header)
		}
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/verify-registration/", act).StatusCode)
	})
	t.Run("the API and redirect mode are as they were", func(t *testing.T) {
		s := sitetest.New(t)
		_, _, act := signUp(s)
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", act).StatusCode)
		s = sitetest.New(t, sitetest.Redirecting)
		_, link, _ := signUp(s)
		s.Browser().LikeBrowser().Get(link).RequireRedirect(t, "/welcome/?from=mail")
		s = sitetest.New(t, func(s *registration.Settings) { s.Register.VerificationURL = "https://app.example.com/confirm/" })
		_, _, act = signUp(s)
		require.Equal(t, 303, s.Browser().LikeBrowser().Post("/accounts/verify-registration", act).StatusCode, "the frontend's own page")
	})
	t.Run("guesses are as dear as at the sign-in", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 3, Window: 60e9}}
		})
		_, _, act := signUp(s)
		b := s.Browser().LikeBrowser()
		for range 3 {
			require.Equal(t, 400, b.Post("/accounts/verify-registration/", with(act, "a guess of it")).StatusCode)
		}
		require.Equal(t, 429, b.Post("/accounts/verify-registration/", with(act, sitetest.Password)).StatusCode)
		require.False(t, active(s))
	})
}

// A link that somebody else asked for, in a stolen session, must not be confirmed
// by whom it reaches, nor in the address of any page that is logged.
func TestNewAddressPageWantsItsOwner(t *testing.T) {
	asked := func(s *sitetest.Site) (string, url.Values) {
		s.Member("ada")
		s.Member("bob")
		require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org", "next": "/members/"}).StatusCode)
		return s.Mailed()
	}
	email := func(s *sitetest.Site) string {
		u, err := s.Accounts.Lookup(t.Context(), "ada")
		require.NoError(t, err)
		return u.Email
	}
	const back = "/accounts/login/?next=%2Faccounts%2Fverify-email%2F"
	t.Run("the page leads to the sign-in and back", func(t *testing.T) {
		s := sitetest.New(t)
		link, act := asked(s)
		b := s.Browser().LikeBrowser()
		require.Equal(t, 400, b.Get("/accounts/verify-email/").StatusCode, "there is no link")
		res := b.Get(link)
		require.Equal(t, 302, res.StatusCode)
		require.Equal(t, back, res.Header.Get("Location"), "without the signature")
		require.Contains(t, b.Get(back).Text, "Sign in to confirm your new email address.")
		res = b.Post("/accounts/verify-email/", act)
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, back, res.Header.Get("Location"))
		require.Equal(t, "ada@example.org", email(s))
		res = b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {"/accounts/verify-email/"}})
		page := b.Follow(res)
		require.Contains(t, page.Text, `name="signature" value="`+act.Get("signature")+`"`)
		require.Contains(t, page.Text, `name="next" value="/members/"`)
		require.Equal(t, "/accounts/profile/?next=%2Fmembers%2F", b.Post("/accounts/verify-email/", act).Header.Get("Location"))
		require.Equal(t, "new@example.org", email(s))
		require.NotContains(t, b.Cookie, "registration_link")
	})
	t.Run("signed in with another account", func(t *testing.T) {
		s := sitetest.New(t)
		link, act := asked(s)
		b := s.SignedIn("bob").LikeBrowser()
		for _, res := range []*sitetest.Answer{b.Get(link), b.Post("/accounts/verify-email/", act)} {
			require.Equal(t, 403, res.StatusCode)
			require.NotContains(t, res.Text, act.Get("signature"))
			require.Contains(t, res.Text, `/accounts/logout/?next=%2Faccounts%2Fverify-email%2F`)
		}
		require.Equal(t, "ada@example.org", email(s))
	})
	t.Run("the API, unless it is to", func(t *testing.T) {
		s := sitetest.New(t)
		_, act := asked(s)
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-email", act).StatusCode)
		require.Equal(t, "new@example.org", email(s))

		s = sitetest.New(t, func(s *registration.Settings) { s.RegisterEmail.SignedIn = sitetest.On() })
		_, act = asked(s)
		body := sitetest.Data{}
		for name := range act {
			body[name] = act.Get(name)
		}
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-email", body), 401, "not_authenticated")
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-email", sitetest.Data{}), 401, "not_authenticated")
		sitetest.RequireError(t, s.SignedIn("bob").Problems().Post("/accounts/verify-email", body), 403, "permission_denied")
		sitetest.RequireError(t, s.SignedIn("bob").Problems().Post("/accounts/verify-email", sitetest.With(body, sitetest.Data{"timestamp": "1"})), 400, "signature_invalid")
		require.Equal(t, "ada@example.org", email(s))
		require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/verify-email", body).StatusCode)
	})
	t.Run("redirect mode, unless it is to", func(t *testing.T) {
		s := sitetest.New(t, sitetest.Redirecting)
		s.Member("ada")
		require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
		s.Browser().LikeBrowser().Get(s.MailedPath()).RequireRedirect(t, "/welcome/?from=mail")
		s = sitetest.New(t, sitetest.Redirecting, func(s *registration.Settings) { s.RegisterEmail.SignedIn = sitetest.On() })
		s.Member("ada")
		b := s.SignedIn("ada").LikeBrowser()
		require.Equal(t, 200, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
		link := s.MailedPath()
		s.Browser().LikeBrowser().Get(link).RequireRedirect(t, "https://app.example.net/failed")
		require.Equal(t, "ada@example.org", email(s))
		b.Get(link).RequireRedirect(t, "/welcome/?from=mail")
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
			s := sitetest.New(t)
			b := s.Browser().LikeBrowser()
			b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada")))
			link, act := s.Mailed()
			path, _, _ := strings.Cut(link, "?")
			good, bad := doubled(act, name, "x", act.Get(name)), doubled(act, name, act.Get(name), "x")
			res := b.Get(path + "?" + good.Encode())
			require.Equal(t, 200, res.StatusCode)
			require.Contains(t, res.Text, `name="`+name+`" value="`+act.Get(name)+`"`)
			require.Equal(t, 400, b.Get(path+"?"+bad.Encode()).StatusCode)
			require.Equal(t, 400, b.Post(path, bad).StatusCode)
			require.Equal(t, 400, s.Browser().Post(path, bad).StatusCode)
			raw := s.Browser()
			raw.Header.Set("Content-Type", "application/json")
			body := func(last string) string {
				return fmt.Sprintf(`{"user_id":%q,"timestamp":%q,"signature":%q,%q:%q}`, act.Get("user_id"), act.Get("timestamp"), act.Get("signature"), name, last)
			}
			require.Equal(t, 400, raw.Post(path, body("x")).StatusCode)
			require.Equal(t, 303, b.Post(path, good).StatusCode)

			s = sitetest.New(t, sitetest.Redirecting)
			b = s.Browser().LikeBrowser()
			b.Post("/accounts/register/", sitetest.FormOf(sitetest.Newcomer("ada")))
			_, act = s.Mailed()
			b.Get(path+"?"+doubled(act, name, act.Get(name), "x").Encode()).RequireRedirect(t, "https://app.example.net/failed")
			b.Get(path+"?"+doubled(act, name, "x", act.Get(name)).Encode()).RequireRedirect(t, "/welcome/?from=mail")
		})
	}
	s := sitetest.New(t)
	require.Contains(t, s.Browser().LikeBrowser().Get("/accounts/login/?next=%2Fa&next=%2Fb").Text, `name="next" value="/b"`)
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
		"access_token=" + programToken():                            true,
		"next=%2Fx%3Ft%3D%63rt_" + programToken()[4:]:               true,
		"access_token=" + programToken()[:52]:                       false,
	} {
		require.Equal(t, want, web.HasSecret(query), query)
	}
	s := sitetest.New(t)
	for target, want := range map[string]bool{
		"/accounts/verify-registration/?user_id=x&%73ignature=y":                       true,
		"/accounts/login/?next=%2Faccounts%2Fverify-registration%2F%3Fsignature%3Dx":   true,
		"/accounts/login/?next=%2Fmembers%2F":                                          false,
		"/accounts/nothing?%73ignature=y":                                              true,
		"/accounts/login?next=%2Faccounts%2Fverify-registration%2F%3F%2573ignature%3D": true,
	} {
		before := s.Logs.FilterMessageSnippet("left out of the access log").Len()
		s.Browser().LikeBrowser().Get(target)
		require.Equal(t, want, s.Logs.FilterMessageSnippet("left out of the access log").Len() > before, target)
	}
	s.Member("ada")
	s.Browser().LikeBrowser().Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {"/x?%73ignature=y"}})
	require.Equal(t, 5, s.Logs.FilterMessageSnippet("left out of the access log").Len(), "an answer's Location is logged too")
}

func programToken() string {
	text, _ := token.New()
	return text
}
