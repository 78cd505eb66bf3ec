// factors_test.go: what is done to a second step is recorded.

package audit_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// enrolled is ada with an app, signed in.
type enrolled struct {
	b      *sitetest.Browser
	secret string
	codes  []any
	id     any
}

func (e enrolled) code(s *sitetest.Site) string {
	code, err := hotp.GenerateCode(e.secret, uint64(s.Now.Load()/int64(30*time.Second)))
	require.NoError(s.T, err)
	return code
}

func setUp(s *sitetest.Site) any {
	s.Member("ada")
	e := enrolled{b: s.SignedIn("ada")}
	res := e.b.Post("/accounts/enrol-totp", nil)
	require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
	e.secret = res.JSON(s.T)["secret"].(string)
	return e
}

func withApp(s *sitetest.Site) any {
	e := setUp(s).(enrolled)
	res := e.b.Post("/accounts/confirm-totp", sitetest.Data{"code": e.code(s)})
	require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	e.codes, e.id = res.JSON(s.T)["recovery_codes"].([]any), res.JSON(s.T)["id"]
	s.Travel(time.Minute)
	return e
}

func trusted(s *registration.Settings) { s.Factors.TrustedDevice = caddy.Duration(24 * time.Hour) }

// trust signs in with the box ticked.
func trust(s *sitetest.Site, e enrolled) {
	b := s.Browser()
	challenge := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(s.T)["challenge"]
	ok(s, b, "login-factor", sitetest.Data{"challenge": challenge, "totp": e.code(s), "trust_device": true})
}

// made is ok for what makes something.
func made(s *sitetest.Site, b *sitetest.Browser, endpoint string, body sitetest.Data) map[string]any {
	s.T.Helper()
	res := b.Post("/accounts/"+endpoint, body)
	require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	return res.JSON(s.T)
}

func init() {
	maps.Copy(auditedEndpoints, map[string]auditedAct{
		"factors": {}, // shows
		// Accounts elsewhere need a provider: auditedBesides has them. The first two change
		// nothing, linked-accounts shows.
		"oidc-login": {}, "linked-accounts": {}, "oidc-register": {}, "link-oidc": {}, "unlink-oidc": {},
		"tokens": {}, // shows
		"create-token": {before: func(s *sitetest.Site) any { s.Member("ada"); return s.SignedIn("ada") }, act: func(s *sitetest.Site, b any) {
			made(s, b.(*sitetest.Browser), "create-token", sitetest.Data{"name": "Calendar", "path": "/dav"})
		}, events: "program_token_created"},
		"revoke-token": {before: func(s *sitetest.Site) any {
			s.Member("ada")
			b := s.SignedIn("ada")
			return []any{b, made(s, b, "create-token", sitetest.Data{"name": "Calendar"})["id"]}
		}, act: func(s *sitetest.Site, with any) {
			ok(s, with.([]any)[0].(*sitetest.Browser), "revoke-token", sitetest.Data{"id": with.([]any)[1]})
		}, events: "program_token_revoked"},
		// Those of passkeys need an authenticator, which there is none of here.
		"passkey-options": {}, "add-passkey": {}, "passkey-login-options": {}, "passkey-login": {},
		"totp-qr":    {}, // shows
		"enrol-totp": {}, // counts for nothing before it is confirmed
		"confirm-totp": {anew: true, before: setUp, act: func(s *sitetest.Site, e any) {
			ok(s, e.(enrolled).b, "confirm-totp", sitetest.Data{"code": e.(enrolled).code(s)})
		}, events: "factor_added"},
		"recovery-codes": {before: withApp, act: func(s *sitetest.Site, e any) { ok(s, e.(enrolled).b, "recovery-codes", nil) }, events: "recovery_codes_made"},
		"rename-factor":  {}, // a name for its owner alone
		"remove-factor": {before: withApp, act: func(s *sitetest.Site, e any) {
			ok(s, e.(enrolled).b, "remove-factor", sitetest.Data{"id": e.(enrolled).id})
		}, events: "factor_removed"},
		"trusted-devices":       {}, // shows
		"revoke-trusted-device": {}, // auditedBesides: there is none by itself
		"undo-factor": {before: func(s *sitetest.Site) any {
			withApp(s)
			return sitetest.With(sitetest.LinkOf(s.Mail(), s.T), sitetest.Data{"password": sitetest.Password})
		}, act: func(s *sitetest.Site, link any) { ok(s, s.Browser(), "undo-factor", link) }, events: "factor_removed"},
	})
	maps.Copy(auditedBesides, map[string]auditedAct{
		"a browser that is trusted no more": {settings: []func(*registration.Settings){trusted}, before: func(s *sitetest.Site) any {
			e := withApp(s).(enrolled)
			trust(s, e)
			var list []struct{ ID string }
			require.NoError(s.T, json.Unmarshal([]byte(e.b.Get("/accounts/trusted-devices").Text), &list))
			e.id = list[0].ID
			return e
		}, act: func(s *sitetest.Site, e any) {
			ok(s, e.(enrolled).b, "revoke-trusted-device", sitetest.Data{"id": e.(enrolled).id})
		}, events: "device_trust_ended"},
		"a browser that is to be trusted": {settings: []func(*registration.Settings){trusted}, before: withApp, act: func(s *sitetest.Site, e any) { trust(s, e.(enrolled)) }, events: "device_trusted signed_in"},
		"a recovery code": {before: withApp, act: func(s *sitetest.Site, e any) {
			b := s.Browser()
			challenge := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(s.T)["challenge"]
			ok(s, b, "login-factor", sitetest.Data{"challenge": challenge, "recovery_code": e.(enrolled).codes[0]})
		}, events: "recovery_code_used signed_in"},
	})
}

// elsewhere is a provider for the acts by an account elsewhere.
var elsewhere = sync.OnceValue(func() *sitetest.Provider { return sitetest.NewProvider(nil, "ours") })

// withProvider has a site know it.
func withProvider(s *registration.Settings) {
	elsewhere().Claims = sitetest.Data{"sub": "1", "email": "ada@example.org", "email_verified": true}
	s.User.LoginFields = []string{"email"}
	sitetest.WithProviders(elsewhere())(s)
}

// away is a browser that is about to come back from there, at back.
type away struct {
	b    *sitetest.Browser
	back string
}

// linkedElsewhere is a member who is linked to an account elsewhere, which has linkedID.
func linkedElsewhere(s *sitetest.Site) any {
	id := s.Member("ada")
	s.Set(id, func(u *store.User) {
		u.LinkedAccounts = []store.LinkedAccount{{ID: linkedID, Issuer: "https://id.example.org", Subject: "1"}}
	})
	return id
}

var linkedID = uuid.MustParse("0197c2f4-6b2e-7d4a-9c41-5a5f3d1c7e20")

func (a away) comes(s *sitetest.Site) {
	res := a.b.Do(http.MethodGet, a.back, nil)
	require.Equal(s.T, http.StatusSeeOther, res.StatusCode, res.Text)
}

func goesThere(s *sitetest.Site) any {
	elsewhere().T, elsewhere().Now = s.T, s.Realm.Now
	b := s.Browser()
	return away{b, elsewhere().Agree(b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"ours"}}))}
}

func init() {
	settings := []func(*registration.Settings){withProvider}
	was := func(s *sitetest.Site) away { a := goesThere(s).(away); a.comes(s); return a }
	maps.Copy(auditedBesides, map[string]auditedAct{
		"a sign-up by an account elsewhere": {settings: settings, before: goesThere, act: func(s *sitetest.Site, a any) { a.(away).comes(s) }, events: "account_registered oidc_linked signed_in", anew: true},
		"a sign-in by an account elsewhere": {settings: settings, before: func(s *sitetest.Site) any { was(s); return goesThere(s) }, act: func(s *sitetest.Site, a any) { a.(away).comes(s) }, events: "signed_in", anew: true},
		"an account elsewhere that is unlinked": {settings: settings, before: func(s *sitetest.Site) any {
			a := was(s)
			a.b.Header.Del("Accept")
			ok(s, a.b, "change-password", newPassword)
			var list []map[string]any
			require.NoError(s.T, json.Unmarshal([]byte(a.b.Get("/accounts/linked-accounts").Text), &list))
			return []any{a.b, list[0]["id"]}
		}, act: func(s *sitetest.Site, with any) {
			ok(s, with.([]any)[0].(*sitetest.Browser), "unlink-oidc", sitetest.Data{"id": with.([]any)[1]})
		}, events: "oidc_unlinked"},
	})
}
