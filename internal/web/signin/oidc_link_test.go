package signin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// member is somebody with a password who is signed in.
func member(s *sitetest.Site, name string) (id string, b *sitetest.Browser) {
	id = s.Member(name)
	b = person(s)
	require.Equal(s.T, http.StatusSeeOther, b.Do(http.MethodPost, "/accounts/login/", url.Values{"login": {name + "@example.org"}, "password": {sitetest.Password}}).StatusCode)
	return id, b
}

// links has who is signed in link his account at a provider.
func links(b *sitetest.Browser, p *sitetest.Provider) *sitetest.Answer {
	b.Site.T.Helper()
	return b.Do(http.MethodGet, p.Agree(b.Elsewhere("/accounts/link-oidc/", url.Values{"provider": {p.Name}})), nil)
}

// linkedPage is the address of the page to which the link in a mail leads.
func linkedPage(t *testing.T, m *mail.Message) string {
	t.Helper()
	u, err := url.Parse(sitetest.LinkInMail.FindString(m.Text))
	require.NoError(t, err)
	return u.RequestURI()
}

func TestWhoIsSignedInLinksAndUnlinks(t *testing.T) {
	s, p := withProvider(t)
	id, b := member(s, "ada")
	p.Claims = sitetest.Data{"sub": "7", "preferred_username": "ada.l"}
	require.Contains(t, b.Get("/accounts/factors/").Text, "Link ours")
	page := b.Get("/accounts/link-oidc/?provider=ours")
	require.Contains(t, page.Text, "You go to ours")
	require.Contains(t, page.Header.Get("Content-Security-Policy"), "form-action https:")
	said := ledTo(t, b, links(b, p), "/accounts/factors/")
	require.Contains(t, said, "ada.l")
	require.Contains(t, said, sitetest.Words(text.Say("detail.oidc_linked")))
	linked := s.Stored(id).LinkedAccounts[0]
	require.Equal(t, "ada.l", linked.Name)
	added := s.Mail()
	require.Contains(t, added.Subject, "An account has been linked")
	ledTo(t, b, links(b, p), "/accounts/factors/") // again: it is
	require.Len(t, s.Stored(id).LinkedAccounts, 1)
	s.NoMail()
	page = b.Set("Accept", "text/html").Get(linkedPage(t, added))
	for _, want := range []string{"<h1>Restore your linked accounts</h1>", "will no longer open your account", "ada.l"} {
		require.Contains(t, page.Text, want)
	}

	require.Equal(t, http.StatusNotFound, b.Get("/accounts/unlink-oidc/?id="+uuid.NewString()).StatusCode)
	require.Contains(t, b.Get("/accounts/unlink-oidc/?id="+linked.ID.String()).Text, "ada.l")
	require.Contains(t, ledTo(t, b, b.Do(http.MethodPost, "/accounts/unlink-oidc/", url.Values{"id": {linked.ID.String()}}), "/accounts/factors/"), "The account has been unlinked.")
	require.Empty(t, s.Stored(id).LinkedAccounts)
	removed := s.Mail()
	require.Contains(t, removed.Subject, "A linked account has been removed")
	stranger := person(s)
	require.Contains(t, ledTo(t, stranger, stranger.ByProvider(p, ""), "/accounts/oidc-register/"), "Complete your account", "it signs nobody in now")

	// The mail brings it back; its page says what, and so does that which takes it away again.
	for _, want := range []string{"<h1>Restore your linked accounts</h1>", "will open your account again", "<dt>ours</dt>", "ada.l"} {
		require.Contains(t, b.Get(linkedPage(t, removed)).Text, want)
	}
	res := s.Browser().Post("/accounts/undo-factor", sitetest.With(sitetest.LinkOf(removed, t), sitetest.Data{"password": sitetest.Password}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Contains(t, res.Text, sitetest.Words(text.Say("detail.linked_undone")))
	require.Equal(t, linked.ID, s.Stored(id).LinkedAccounts[0].ID)
}

// What was unlinked and is another's by now stays his.
func TestWhatIsAnothersByNowDoesNotComeBack(t *testing.T) {
	s, p := withProvider(t)
	id, b := member(s, "ada")
	p.Claims = sitetest.Data{"sub": "7"}
	links(b, p)
	s.Mail()
	b.Do(http.MethodPost, "/accounts/unlink-oidc/", url.Values{"id": {s.Stored(id).LinkedAccounts[0].ID.String()}})
	removed := s.Mail()
	other, bob := member(s, "bob")
	links(bob, p)
	s.Mail()
	res := s.Browser().Post("/accounts/undo-factor", sitetest.With(sitetest.LinkOf(removed, t), sitetest.Data{"password": sitetest.Password}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Empty(t, s.Stored(id).LinkedAccounts)
	require.Len(t, s.Stored(other).LinkedAccounts, 1)
}

func TestHardeningWhatIsLinkedToAnotherStaysHis(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = sitetest.Data{"sub": "7"}
	id, ada := member(s, "ada")
	links(ada, p)
	s.Mail()
	other, bob := member(s, "bob")
	require.Contains(t, ledTo(t, bob, links(bob, p), "/accounts/factors/"), "linked to a different account")
	require.Len(t, s.Stored(id).LinkedAccounts, 1)
	require.Empty(t, s.Stored(other).LinkedAccounts)

	// Who was sent there for one sign-in comes back for no other.
	back := p.Agree(ada.Elsewhere("/accounts/link-oidc/", url.Values{"provider": {"ours"}}))
	for name, value := range bob.Cookie {
		if name == "registration" {
			ada.Cookie[name] = value
		}
	}
	p.Claims = sitetest.Data{"sub": "8"}
	res := ada.Do(http.MethodGet, back, nil)
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Empty(t, s.Stored(other).LinkedAccounts)

	// What one has brought back is linked once it is another's to nobody else.
	p.Claims = sitetest.With(adaThere(), sitetest.Data{"sub": "9"})
	b := person(s)
	b.ByProvider(p, "")
	p.Claims = sitetest.Data{"sub": "9"}
	links(bob, p)
	b.Do(http.MethodPost, "/accounts/login/", url.Values{"login": {"ada@example.org"}, "password": {sitetest.Password}})
	require.Contains(t, b.Do(http.MethodPost, "/accounts/link-oidc/", url.Values{}).Text, "linked to a different account")
}

func TestTheLastWayInStays(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	b := person(s)
	b.ByProvider(p, "")
	id := profile(b)["id"].(string)
	first := s.Stored(id).LinkedAccounts[0].ID.String()
	res := b.Do(http.MethodPost, "/accounts/unlink-oidc/", url.Values{"id": {first}})
	require.Contains(t, res.Text, sitetest.Message("last_way_in", nil))
	// One of a provider that is no longer there is none.
	s.Set(id, func(u *store.User) {
		u.LinkedAccounts = append(u.LinkedAccounts, store.LinkedAccount{ID: uuid.Must(uuid.NewV7()), Issuer: "https://gone.example", Subject: "1"})
	})
	require.Contains(t, b.Do(http.MethodPost, "/accounts/unlink-oidc/", url.Values{"id": {first}}).Text, sitetest.Message("last_way_in", nil))
	require.Contains(t, b.Get("/accounts/factors/").Text, "gone.example")
	p.Claims = sitetest.With(adaThere(), sitetest.Data{"sub": "2"})
	links(b, p)
	require.Equal(t, "/accounts/factors/", b.Do(http.MethodPost, "/accounts/unlink-oidc/", url.Values{"id": {first}}).Header.Get("Location"))
	s.Set(id, func(u *store.User) {
		for i := range 20 {
			u.LinkedAccounts = append(u.LinkedAccounts, store.LinkedAccount{ID: uuid.Must(uuid.NewV7()), Issuer: "https://gone.example", Subject: fmt.Sprint("x", i)})
		}
	})
	require.Contains(t, b.Do(http.MethodPost, "/accounts/link-oidc/", url.Values{"provider": {"ours"}}).Text, sitetest.Message("linked_limit", nil))
}

func TestTheSecondStepIsAskedForAfterAProvider(t *testing.T) {
	for name, c := range map[string]struct {
		trust, multi, asked bool
	}{"not trusted": {false, true, true}, "trusted, but one factor": {true, false, true}, "trusted, and two factors": {true, true, false}} {
		t.Run(name, func(t *testing.T) {
			s, p := withProvider(t, func(s *registration.Settings) {
				s.Login.OIDC[0].TrustAMR = c.trust
				s.Factors.RequiredFor = []string{"staff"}
			})
			p.Claims = adaThere()
			b := person(s)
			b.ByProvider(p, "")
			s.Set(profile(b)["id"].(string), func(u *store.User) { u.Groups = []string{"staff"} })
			if c.multi {
				p.Claims["amr"] = []string{"pwd", "mfa"}
			}
			res := person(s).ByProvider(p, "/members/")
			if c.asked {
				require.Equal(t, "/accounts/enrol-totp/", strings.Split(res.Header.Get("Location"), "?")[0])
				return
			}
			require.Equal(t, "/members/", res.Header.Get("Location"))
			again := person(s)
			again.ByProvider(p, "")
			again.Header.Del("Accept")
			require.Equal(t, "fed mfa", again.AMR())
		})
	}
}

// Who has no password shows once more who he is by signing in there anew.
func TestAChangeAsksForANewSignInThere(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	b := person(s)
	b.ByProvider(p, "")
	s.Travel(time.Hour)
	page := b.Get("/accounts/register-email/").Text
	require.Contains(t, page, "To change this, sign in again.")
	require.NotContains(t, page, `name="password"`)
	to := "/accounts/login/?next=%2Faccounts%2Fregister-email%2F&amp;reauth=1"
	require.Contains(t, page, to)
	b.Header.Del("Accept")
	res := b.Post("/accounts/register-email", sitetest.Data{"email": "ada@example.net"})
	require.Equal(t, http.StatusUnauthorized, res.StatusCode, res.Text)
	b.Header.Set("Accept", "text/html")
	require.Contains(t, b.Get(strings.ReplaceAll(to, "&amp;", "&")).Text, `name="reauth" value="1"`)
	anew := func() *sitetest.Answer {
		location := b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"ours"}, "next": {"/accounts/register-email/"}, "reauth": {"1"}})
		require.Contains(t, location, "prompt=login")
		require.Contains(t, location, "max_age=0")
		return b.Do(http.MethodGet, p.Agree(location), nil)
	}
	for name, at := range map[string]any{"nothing": nil, "long ago": s.Realm.Now().Add(-time.Hour).Unix()} {
		p.Claims["auth_time"] = at
		require.Contains(t, ledTo(t, b, anew(), "/accounts/login/"), sitetest.Message("oidc_not_anew", nil), name)
	}
	p.Claims["auth_time"] = s.Realm.Now().Unix()
	// Who is someone else there would change another account.
	subject := p.Claims["sub"]
	p.Claims["sub"] = "someone else"
	require.Contains(t, ledTo(t, b, anew(), "/accounts/login/"), sitetest.Message("oidc_another", nil))
	p.Claims["sub"] = subject
	require.Contains(t, ledTo(t, b, anew(), "/accounts/register-email/"), `name="email"`)
	// A sign-in at which nobody was asked anything is as old as it says.
	p.Claims["auth_time"] = s.Realm.Now().Add(-time.Hour).Unix()
	b.ByProvider(p, "")
	require.Contains(t, b.Get("/accounts/register-email/").Text, "To change this, sign in again.")
	// The profile has its own.
	require.Contains(t, b.Get("/accounts/link-oidc/?provider=ours").Text, "next=%2Faccounts%2Flink-oidc%2F%3Fprovider%3Dours")
}

func TestWithoutPasswords(t *testing.T) {
	s, p := withProvider(t, func(s *registration.Settings) { s.Login.Password = sitetest.Off() })
	b := person(s)
	page := b.Get("/accounts/login/").Text
	require.Contains(t, page, "Sign in with ours")
	for _, gone := range []string{`name="password"`, "send-reset-password-link", `name="login"`} {
		require.NotContains(t, page, gone)
	}
	require.Equal(t, "/accounts/login/", b.Get("/accounts/register/").Header.Get("Location"))
	require.Equal(t, "/accounts/login/?invitation=", b.Get("/accounts/register/?invitation=x").Header.Get("Location")+"/accounts/login/?invitation=")
	b.Header.Del("Accept")
	u, err := s.Accounts.Create(t.Context(), account.NewAccount{Email: "ada@example.org", Password: sitetest.Password}) // which counts for nothing
	require.NoError(t, err)
	id := u.ID.String()
	for path, body := range map[string]sitetest.Data{
		"login": {"login": "ada@example.org", "password": sitetest.Password}, "register": sitetest.Newcomer("eve"), "change-password": {}, "send-reset-password-link": {"login": "ada@example.org"}, "reset-password": {}, "set-password": {},
	} {
		require.Equal(t, http.StatusNotFound, b.Post("/accounts/"+path, body).StatusCode, path)
	}
	p.Claims = sitetest.With(adaThere(), sitetest.Data{"email_verified": false})
	person(s).ByProvider(p, "")
	require.Empty(t, s.Stored(id).LinkedAccounts)
	p.Claims = adaThere()
	b = person(s)
	require.Equal(t, "/accounts/profile/", b.ByProvider(p, "").Header.Get("Location"))
	require.Equal(t, id, profile(b)["id"])
	require.NotContains(t, b.Get("/accounts/profile/").Text, "change-password")
	require.Contains(t, s.Mail().Subject, "An account has been linked")
	res := b.Do(http.MethodPost, "/accounts/unlink-oidc/", url.Values{"id": {s.Stored(id).LinkedAccounts[0].ID.String()}})
	require.Contains(t, res.Text, sitetest.Message("last_way_in", nil), "the password is no way in")
	s.Travel(time.Hour)
	require.Contains(t, b.Get("/accounts/register-email/").Text, "To change this, sign in again.")
	// Another account there with the same address is not linked too.
	p.Claims = sitetest.With(adaThere(), sitetest.Data{"sub": "2"})
	require.Contains(t, person(s).ByProvider(p, "").Header.Get("Location"), "/accounts/login/?next=")
}

func TestGitHub(t *testing.T) {
	p := sitetest.NewProvider(t, "github")
	s := sitetest.New(t, sitetest.WithProviders(p), sitetest.LoginBy("email"))
	user, emails := `{"id": 42, "login": "ada", "name": "Ada"}`, `[{"email":"old@example.org","primary":false,"verified":true},{"email":"ada@example.org","primary":true,"verified":true}]`
	status, code := 0, ""
	p.Fail = func(w http.ResponseWriter, req *http.Request) bool {
		if status != 0 && strings.HasPrefix(req.URL.Path, "/api") {
			w.WriteHeader(status)
			return true
		}
		switch req.URL.Path {
		case "/login/oauth/access_token":
			require.Equal(t, []string{"site", "its secret"}, []string{req.PostFormValue("client_id"), req.PostFormValue("client_secret")})
			require.NotEmpty(t, req.PostFormValue("code_verifier"))
			if code = req.PostFormValue("code"); code == "bad" {
				return answers(w, `{"error":"bad_verification_code"}`)
			}
			return answers(w, `{"access_token":"gho_x","token_type":"bearer","scope":"read:user,user:email"}`)
		case "/api/v3/user":
			require.Equal(t, "Bearer gho_x", req.Header.Get("Authorization"))
			return answers(w, user)
		case "/api/v3/user/emails":
			if emails == "" {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return answers(w, emails)
		}
		return false
	}
	comes := func(code string) (*sitetest.Browser, *sitetest.Answer) {
		b := person(s)
		location, err := url.Parse(b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"github"}}))
		require.NoError(t, err)
		require.Equal(t, "/login/oauth/authorize", location.Path)
		require.Equal(t, "S256", location.Query().Get("code_challenge_method"))
		return b, b.Do(http.MethodGet, "/accounts/oidc-callback/github?"+url.Values{"code": {code}, "state": {location.Query().Get("state")}}.Encode(), nil)
	}
	b, res := comes("good")
	require.Equal(t, "/accounts/profile/", res.Header.Get("Location"))
	require.Equal(t, "ada@example.org", profile(b)["email"])
	u := s.Stored(profile(b)["id"].(string))
	require.Equal(t, []string{p.URL, "42"}, []string{u.LinkedAccounts[0].Issuer, u.LinkedAccounts[0].Subject})

	user, emails = `{"id": 43, "login": "bob"}`, `[{"email":"bob@example.org","primary":true,"verified":false}]`
	b, res = comes("good")
	require.Contains(t, ledTo(t, b, res, "/accounts/oidc-register/"), `name="email"`, "not verified")
	emails = ""
	b, res = comes("good")
	ledTo(t, b, res, "/accounts/oidc-register/")
	for name, fault := range map[string]func(){
		"it names nobody":  func() { user = `{"login":"bob"}` },
		"it is no JSON":    func() { user = `<html>` },
		"the token is bad": func() { status = http.StatusUnauthorized },
	} {
		status = 0
		fault()
		b, res = comes("good")
		require.Contains(t, ledTo(t, b, res, "/accounts/login/"), sitetest.Message("oidc_failed", nil), name)
	}
	status = http.StatusBadGateway
	b, res = comes("good")
	require.Contains(t, ledTo(t, b, res, "/accounts/login/"), sitetest.Message("oidc_unavailable", nil))
	b, res = comes("bad")
	require.Equal(t, "/accounts/login/", res.Header.Get("Location"))
}

func TestAnAddressThatIsNotInTheIDToken(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = sitetest.Data{"sub": "1"}
	p.UserInfo = adaThere()
	b := person(s)
	require.Equal(t, "/accounts/profile/", b.ByProvider(p, "").Header.Get("Location"))
	require.Equal(t, "ada@example.org", profile(b)["email"])
	p.Claims, p.UserInfo = sitetest.Data{"sub": "2"}, sitetest.With(adaThere(), sitetest.Data{"email": "eve@example.org"}) // of sub 1
	require.Contains(t, person(s).ByProvider(p, "").Header.Get("Location"), "/accounts/oidc-register/")
}

// Without pages a browser is led on all the same.
func TestAProviderWithoutPages(t *testing.T) {
	s, p := withProvider(t, func(s *registration.Settings) {
		s.Pages.Off = true
		const page = "https://app.example.com/mailed/"
		s.Register.VerificationURL, s.ResetPassword.VerificationURL, s.RegisterEmail.VerificationURL, s.RegisterEmail.UndoURL = page, page, page, page
	})
	p.Claims = adaThere()
	b := s.Browser()
	location := b.Post("/accounts/oidc-login", sitetest.Data{"provider": "ours", "next": "/app/"}).JSON(t)["location"].(string)
	b.Header.Set("Accept", "text/html")
	require.Equal(t, "/app/", b.Do(http.MethodGet, p.Agree(location), nil).Header.Get("Location"))
	b.Header.Del("Accept")
	require.Equal(t, "ada@example.org", b.Get("/accounts/profile").JSON(t)["email"])
	res := b.Do(http.MethodGet, "/accounts/oidc-callback/ours?state=x", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	var said map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.Browser().Get("/accounts/oidc-callback/ours?state=x").Text), &said))
	require.Equal(t, sitetest.Message("oidc_expired", nil), said["detail"])
}

// The code with which somebody shows who he is, to link an account elsewhere, is good once as
// everywhere.
func TestACodeIsGoodForOneLink(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	id, b := member(s, "ada")
	secret := withTOTP(s, id)
	s.Travel(time.Hour) // the sign-in is too old to do it without
	code := appShows(s, secret)
	location := b.Elsewhere("/accounts/link-oidc/", url.Values{"provider": {"ours"}, "totp": {code}})
	require.Contains(t, location, p.URL)
	b.Header.Set("Accept", "application/problem+json")
	res := b.Post("/accounts/recovery-codes", sitetest.Data{"totp": code})
	sitetest.RequireError(t, res, http.StatusBadRequest, "totp:factor_invalid")
}
