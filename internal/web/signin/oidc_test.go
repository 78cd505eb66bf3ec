package signin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// withProvider is a site with a provider, where people go by their address.
func withProvider(t *testing.T, configure ...func(*registration.Settings)) (*sitetest.Site, *sitetest.Provider) {
	p := sitetest.NewProvider(t, "ours")
	s := sitetest.New(t, append([]func(*registration.Settings){sitetest.WithProviders(p), func(s *registration.Settings) {
		s.User.LoginFields = []string{"email"}
	}}, configure...)...)
	p.Now = s.Realm.Now
	return s, p
}

// adaThere is who has a verified address at a provider.
func adaThere() sitetest.Data {
	return sitetest.Data{"sub": "1", "email": "ada@example.org", "email_verified": true, "given_name": "Ada", "family_name": "Lovelace"}
}

// person is a browser that likes pages.
func person(s *sitetest.Site) *sitetest.Browser {
	b := s.Browser()
	b.Header.Set("Accept", "text/html")
	return b
}

// profile is that of who is signed in.
func profile(b *sitetest.Browser) map[string]any {
	b.Header.Del("Accept")
	defer b.Header.Set("Accept", "text/html")
	return b.Get("/accounts/profile").JSON(b.Site.T)
}

// ledTo requires a redirect to a page, and returns what that says.
func ledTo(t *testing.T, b *sitetest.Browser, res *sitetest.Answer, page string) string {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	require.Equal(t, page, strings.SplitN(res.Header.Get("Location"), "?", 2)[0])
	return b.Get(res.Header.Get("Location")).Text
}

func TestWhoIsSignedInElsewhereIsSignedUpAndInHere(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	b := person(s)
	require.Contains(t, b.Get("/accounts/login/").Text, "Sign in with ours")
	require.Zero(t, p.Asked["/.well-known/openid-configuration"], "nothing is asked before somebody wants it")
	res := b.ByProvider(p, "/members/")
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	require.Equal(t, "/members/", res.Header.Get("Location"))
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	me := profile(b)
	require.Equal(t, []any{"ada@example.org", "Ada", "Lovelace"}, []any{me["email"], me["first_name"], me["last_name"]})
	u := s.Stored(me["id"].(string))
	require.True(t, u.EmailVerified && u.IsActive && u.PasswordHash == "")
	require.Equal(t, "1", u.LinkedAccounts[0].Subject)
	s.NoMail()

	again := person(s)
	require.Equal(t, "/accounts/profile/", again.ByProvider(p, "").Header.Get("Location"))
	require.Equal(t, me["id"], profile(again)["id"])
	again.Header.Del("Accept")
	require.Equal(t, "fed", again.AMR())
	require.Equal(t, 1, p.Asked["/.well-known/openid-configuration"], "what it says is kept")
	users, _ := s.Census()
	require.Equal(t, 1, users)
}

func TestTheFlowByTheAPI(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	b := s.Browser()
	sitetest.WantFields(t, b.Post("/accounts/oidc-login", sitetest.Data{}), fieldError("provider", "required"))
	sitetest.WantFields(t, b.Post("/accounts/oidc-login", sitetest.Data{"provider": "theirs"}), fieldError("provider", "invalid_choice"))
	res := b.Post("/accounts/oidc-login", sitetest.Data{"provider": "ours"})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	cookie := res.Header.Get("Set-Cookie")
	require.Contains(t, cookie, "registration_oidc=")
	require.Contains(t, cookie, "; HttpOnly; SameSite=Lax")
	require.NotContains(t, cookie, "Domain")
	require.NotContains(t, res.Header.Get("Location"), "state")
	back := b.Get(p.Agree(res.JSON(t)["location"].(string)))
	require.Equal(t, http.StatusOK, back.StatusCode, back.Text)
	require.Equal(t, "ada@example.org", b.Get("/accounts/profile").JSON(t)["email"])
	var linked []map[string]any
	decode(t, b.Get("/accounts/linked-accounts").Text, &linked)
	require.Equal(t, []any{"ours", p.URL, "ada@example.org"}, []any{linked[0]["provider"], linked[0]["issuer"], linked[0]["name"]})
	require.Equal(t, http.StatusUnauthorized, s.Browser().Get("/accounts/linked-accounts").StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, b.Post("/accounts/oidc-callback/ours", nil).StatusCode)
}

// Over HTTPS the cookies of the way are of this host alone, whatever the session's are.
func TestTheCookiesOfTheWayAreOfTheHostAlone(t *testing.T) {
	s, p := withProvider(t, func(s *registration.Settings) {
		s.BaseURL, s.Session.CookieDomain, s.Session.SameSite = "https://example.com", "example.com", "strict"
	})
	s.HTTPS = true
	p.Claims = adaThere()
	b := person(s)
	location := b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"ours"}})
	require.Contains(t, b.Cookie, "__Host-registration_oidc")
	b.Header.Set("Sec-Fetch-Site", "cross-site")
	back := p.Agree(location)
	res := b.Do(http.MethodGet, back, nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "0", res.Header.Get("Refresh"), "the browser keeps the session's cookie to itself until it asks from here")
	b.Header.Set("Sec-Fetch-Site", "same-origin")
	require.Equal(t, "/accounts/profile/", b.Do(http.MethodGet, back, nil).Header.Get("Location"))
}

func TestWhoIsKnownLinksOnce(t *testing.T) {
	s, p := withProvider(t)
	id := s.Member("ada")
	p.Claims = adaThere()
	b := person(s)
	said := ledTo(t, b, b.ByProvider(p, "/members/"), "/accounts/login/")
	require.Contains(t, said, `name="password"`)
	require.Contains(t, said, sitetest.Message("linked_known", nil))
	require.Empty(t, s.Stored(id).LinkedAccounts, "the address alone links nothing")
	res := b.Do(http.MethodPost, "/accounts/login/", url.Values{"login": {"ada@example.org"}, "password": {sitetest.Password}, "next": {"/accounts/link-oidc/?next=%2Fmembers%2F"}})
	page := ledTo(t, b, res, "/accounts/link-oidc/")
	require.Contains(t, page, "Link your account at ours")
	require.Contains(t, page, "ada@example.org")
	res = b.Do(http.MethodPost, "/accounts/link-oidc/", url.Values{"next": {"/members/"}})
	require.Equal(t, "/members/", res.Header.Get("Location"))
	require.Len(t, s.Stored(id).LinkedAccounts, 1)
	mail := s.Mail()
	require.Contains(t, mail.Subject, "An account has been linked")
	require.NotContains(t, b.Cookie, "registration_linked")

	other := person(s)
	require.Equal(t, "/accounts/profile/", other.ByProvider(p, "").Header.Get("Location"))
	require.Equal(t, id, profile(other)["id"])

	// The mail takes it back, for who knows the password.
	undone := s.Browser().Post("/accounts/undo-factor", sitetest.With(sitetest.LinkOf(mail, t), sitetest.Data{"password": sitetest.Password}))
	require.Equal(t, http.StatusOK, undone.StatusCode, undone.Text)
	require.Empty(t, s.Stored(id).LinkedAccounts)
	require.Equal(t, http.StatusUnauthorized, b.Set("Accept", "application/json").Get("/accounts/profile").StatusCode)
}

func TestAnUnverifiedAddressLinksNothing(t *testing.T) {
	s, p := withProvider(t)
	id := s.Member("ada")
	for name, verified := range map[string]any{"it says no": false, "it says nothing": nil, "it writes something else": "yes"} {
		t.Run(name, func(t *testing.T) {
			p.Claims = sitetest.With(adaThere(), sitetest.Data{"sub": name, "email_verified": verified})
			b := person(s)
			require.Contains(t, ledTo(t, b, b.ByProvider(p, ""), "/accounts/oidc-register/"), `value="ada@example.org"`)
			res := b.Do(http.MethodPost, "/accounts/oidc-register/", url.Values{"email": {"ada@example.org"}})
			require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
			require.Empty(t, s.Stored(id).LinkedAccounts)
			require.Equal(t, "Your email address at example.com", s.Mail().Subject, "its owner is told, as by any sign-up")
			require.NotContains(t, b.Cookie, "registration", "nobody is signed in")
			s.Travel(2 * time.Hour)
		})
	}
}

// A new account with an address that the provider has not verified waits for its own mail.
func TestAnUnverifiedAddressIsConfirmedByMail(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = sitetest.With(adaThere(), sitetest.Data{"email_verified": "false", "email": nil})
	p.Metadata, p.UserInfo = nil, nil
	b := person(s)
	page := ledTo(t, b, b.ByProvider(p, "/members/"), "/accounts/oidc-register/")
	require.Contains(t, page, `name="email"`)
	require.NotContains(t, page, "password")
	res := b.Do(http.MethodPost, "/accounts/oidc-register/", url.Values{"email": {"ada@example.org"}, "first_name": {"Ada"}})
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
	require.Contains(t, b.Get(res.Header.Get("Location")).Text, "ada@example.org")
	mailed := s.Mail()
	require.Contains(t, ledTo(t, b, b.ByProvider(p, ""), "/accounts/login/"), "confirm")
	page = person(s).Get(linkedPage(t, mailed)).Text
	require.Contains(t, page, "Open this link there.", "he has no password that another browser could ask for")
	require.NotContains(t, page, "<form")
	require.Contains(t, b.Get(linkedPage(t, mailed)).Text, "<form")
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(mailed, t)).StatusCode)
	require.Equal(t, "/accounts/profile/", b.ByProvider(p, "").Header.Get("Location"))
}

// Who owns the mailbox takes the account over from who made it, and what he linked with it.
func TestTheOwnerOfTheAddressVoidsAStrangersLink(t *testing.T) {
	s, p := withProvider(t, sitetest.WithoutVerification)
	p.Claims = sitetest.With(adaThere(), sitetest.Data{"email_verified": false})
	b := person(s)
	ledTo(t, b, b.ByProvider(p, ""), "/accounts/oidc-register/")
	require.Equal(t, "/accounts/profile/", b.Do(http.MethodPost, "/accounts/oidc-register/", url.Values{"email": {"ada@example.org"}}).Header.Get("Location"))
	id := profile(b)["id"].(string)
	require.False(t, s.Stored(id).EmailVerified)
	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada@example.org"})
	res := s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.Password}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Empty(t, s.Stored(id).LinkedAccounts)
}

func TestOneNameAtTwoProvidersIsTwoPeople(t *testing.T) {
	ours, theirs := sitetest.NewProvider(t, "ours"), sitetest.NewProvider(t, "theirs")
	s := sitetest.New(t, sitetest.WithProviders(ours, theirs), sitetest.LoginBy("email"))
	ours.Now, theirs.Now = s.Realm.Now, s.Realm.Now
	ours.Claims, theirs.Claims = adaThere(), sitetest.With(adaThere(), sitetest.Data{"email": "bob@example.org"})
	ada, bob := person(s), person(s)
	ada.ByProvider(ours, "")
	bob.ByProvider(theirs, "")
	require.NotEqual(t, profile(ada)["id"], profile(bob)["id"])
}

func TestWhoMaySignUpByAProvider(t *testing.T) {
	domain := func(list ...string) func(*registration.Settings) {
		return func(s *registration.Settings) { s.Register.AllowDomains = list }
	}
	mode := func(m account.Mode) func(*registration.Settings) {
		return func(s *registration.Settings) { s.Register.Mode = m }
	}
	terms := func(s *registration.Settings) {
		s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: "2026-11-01"}
	}
	code := func(s *registration.Settings) { s.Register.Code = "open sesame" }
	cases := map[string]struct {
		settings func(*registration.Settings)
		form     url.Values
		// says is on the page that asks, refused on that which comes of the form; in: it
		// signs in.
		says, refused string
		in            bool
	}{
		"closed":                  {mode(account.ModeClosed), url.Values{}, "Complete your account", "No one can sign up here", false},
		"by invitation alone":     {mode(account.ModeInvite), url.Values{}, "Complete your account", "You need an invitation", false},
		"another domain":          {domain("example.com"), url.Values{}, "Complete your account", "domain", false},
		"a domain that is let in": {domain("example.org"), nil, "", "", true},
		"terms, agreed to":        {terms, url.Values{"terms": {"2026-11-01"}}, "terms", "", true},
		"terms, not agreed to":    {terms, url.Values{}, "terms", "terms", false},
		"the right word":          {code, url.Values{"code": {"open sesame"}}, `name="code"`, "", true},
		"the wrong word":          {code, url.Values{"code": {"sesame"}}, `name="code"`, "Check the sign-up code", false},
		"another address":         {code, url.Values{"code": {"open sesame"}, "email": {"eve@example.org"}}, "ada@example.org", "", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, p := withProvider(t, c.settings)
			p.Claims = adaThere()
			b := person(s)
			res := b.ByProvider(p, "/members/")
			if c.form != nil {
				page := ledTo(t, b, res, "/accounts/oidc-register/")
				require.Contains(t, page, c.says)
				res = b.Do(http.MethodPost, "/accounts/oidc-register/", c.form)
			}
			if !c.in {
				require.Contains(t, res.Text, c.refused)
				users, _ := s.Census()
				require.Zero(t, users)
				return
			}
			require.Equal(t, "/members/", res.Header.Get("Location"), res.Text)
			require.Equal(t, "ada@example.org", profile(b)["email"])
		})
	}
}

func TestAnInvitationGoesAlongToTheProvider(t *testing.T) {
	s, p := withProvider(t, func(s *registration.Settings) { s.Register.Mode = account.ModeClosed })
	_, token, err := s.Accounts.Invite(t.Context(), account.NewInvitation{})
	require.NoError(t, err)
	_, token, _ = strings.Cut(token, "invitation=")
	p.Claims = adaThere()
	b := person(s)
	require.Contains(t, b.Get("/accounts/register/?invitation="+token).Text, "Sign up with ours")
	res := b.Do(http.MethodGet, p.Agree(b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"ours"}, "invitation": {token}})), nil)
	require.Equal(t, "/accounts/profile/", res.Header.Get("Location"), res.Text)
	require.Equal(t, "ada@example.org", profile(b)["email"])
}

func TestWhoIsApprovedFirstWaits(t *testing.T) {
	s, p := withProvider(t, func(s *registration.Settings) { s.Register.Mode = account.ModeApprove })
	p.Claims = adaThere()
	b := person(s)
	said := ledTo(t, b, b.ByProvider(p, ""), "/accounts/login/")
	require.Contains(t, said, "approve")
	require.Contains(t, ledTo(t, b, b.ByProvider(p, ""), "/accounts/login/"), "approve")
}

func TestAnAccountThatIsNotOpenIsNotOpenedByAProvider(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	b := person(s)
	b.ByProvider(p, "")
	id := profile(b)["id"].(string)
	s.Set(id, func(u *store.User) { u.IsActive = false })
	require.Contains(t, ledTo(t, person(s), person(s).ByProvider(p, ""), "/accounts/login/"), "Sign in")
	require.Contains(t, strings.Join(eventsOf(s), " "), "sign_in_failed")
	s.Set(id, func(u *store.User) { u.LeavesAt = s.Realm.Now().Add(time.Hour) })
	b = person(s)
	require.Contains(t, ledTo(t, b, b.ByProvider(p, ""), "/accounts/login-factor/"), "Keep")
}

func eventsOf(s *sitetest.Site) (events []string) {
	require.Eventually(s.T, func() bool {
		events = nil
		page, err := s.Accounts.Audits(s.T.Context(), store.AuditQuery{Limit: 100})
		for _, row := range page.Rows {
			events = append(events, row.Event)
		}
		return err == nil && strings.Contains(fmt.Sprint(events), "sign_in_failed")
	}, sitetest.Patience, time.Millisecond)
	return events
}
