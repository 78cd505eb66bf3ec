// second_factor_test.go: the second step that the site demands of admins, and that of
// others, which they see and reset.

package owner_test

import (
	"encoding/base32"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// demanding asks admins for a second step.
func demanding(s *registration.Settings) { s.Admin.SecondFactor = "required" }

// withTOTP gives an account the app with a secret that is returned.
func withTOTP(s *sitetest.Site, name string) []byte {
	secret := factor.NewSecret()
	s.Set(sitetest.UUIDOf(s.T.(*testing.T), s, name).String(), func(u *store.User) {
		u.Factors = []store.Factor{{ID: u.ID, Type: store.FactorTOTP, Name: "My <phone>", Secret: s.Accounts.FactorKeys.Seal(u.ID, secret), Created: s.Accounts.Time(), LastUsed: s.Accounts.Time()}}
		u.RecoveryCodes = s.Accounts.FactorKeys.MACs(u.ID, []string{"one"})
	})
	return secret
}

// appShows is what the app shows now.
func appShows(s *sitetest.Site, secret []byte) string {
	code, err := factor.Code(secret, factor.Step(s.Realm.Now()))
	require.NoError(s.T, err)
	return code
}

// An admin without a factor sees and does nothing; his browser is led to set one up.
func TestAdminWithoutAFactor(t *testing.T) {
	s := newSite(t, []string{"bob"}, demanding, sitetest.WithTokens)
	b, h := s.SignedIn("ada").Problems(), s.SignedIn("ada").LikeBrowser()
	token, _ := s.Tokens("ada")
	for _, path := range []string{admin + "accounts", admin + "waiting", pathOf(t, s, "bob", "")} {
		sitetest.RequireError(t, b.Get(path), http.StatusForbidden, "factor_required")
		sitetest.RequireError(t, token.Problems().Get(path), http.StatusForbidden, "factor_required")
		require.Equal(t, "/accounts/enrol-totp/?next="+url.QueryEscape(path+"/?limit=2"), h.Get(path+"/?limit=2").Header.Get("Location"))
	}
	for _, path := range []string{admin + "accounts", admin + "accounts/new", pathOf(t, s, "bob", "disable"), pathOf(t, s, "bob", "sessions")} {
		sitetest.RequireError(t, b.Post(path, sitetest.Data{"password": sitetest.Password}), http.StatusForbidden, "factor_required")
	}
	for act, back := range map[string]string{"disable": pathOf(t, s, "bob", "disable") + "/", "sessions": pathOf(t, s, "bob", "") + "/"} {
		res := h.Post(pathOf(t, s, "bob", act)+"/", nil)
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		require.Equal(t, "/accounts/enrol-totp/?next="+url.QueryEscape(back), res.Header.Get("Location"))
	}
	require.True(t, accountOf(t, s, "bob").IsActive)
	require.Equal(t, http.StatusNotFound, s.SignedIn("bob").LikeBrowser().Get(admin+"accounts/").StatusCode)
	require.Equal(t, http.StatusFound, s.Browser().LikeBrowser().Get(admin+"accounts/").StatusCode)

	// The way there, to its end: an app, its code, the recovery codes, the page.
	to := h.Get(admin + "accounts/").Header.Get("Location")
	require.Contains(t, h.Get(to).Text, "Administrators here need a second step.")
	api := s.SignedIn("ada")
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(api.Post("/accounts/enrol-totp", nil).JSON(t)["secret"].(string))
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, api.Post("/accounts/confirm-totp", sitetest.Data{"code": appShows(s, secret)}).StatusCode)
	require.Equal(t, http.StatusOK, api.Get(admin+"accounts").StatusCode)
	require.Equal(t, http.StatusOK, api.Post(pathOf(t, s, "bob", "disable"), nil).StatusCode)
}

// Who has a factor and has not shown it is led to show it, and comes back. A form that he
// sends takes it with it.
func TestAdminShowsHisFactor(t *testing.T) {
	s := newSite(t, []string{"bob"}, demanding, sitetest.WithTokens)
	b, h, form, token := s.SignedIn("ada").Problems(), s.SignedIn("ada").LikeBrowser(), s.SignedIn("ada").LikeBrowser(), (*sitetest.Browser)(nil)
	token, _ = s.Tokens("ada")
	secret := withTOTP(s, "ada")
	res := b.Get(admin + "accounts")
	sitetest.RequireError(t, res, http.StatusUnauthorized, "insufficient_user_authentication")
	require.Contains(t, res.Header.Get("WWW-Authenticate"), `error="insufficient_user_authentication", acr_values="mfa"`)
	sitetest.RequireError(t, token.Problems().Get(admin+"accounts"), http.StatusUnauthorized, "insufficient_user_authentication")
	sitetest.RequireError(t, token.Problems().Post(admin+"accounts", nil), http.StatusForbidden, "permission_denied")
	to := h.Get(admin + "accounts/?search=b").Header.Get("Location")
	require.Equal(t, "/accounts/step-up/?next="+url.QueryEscape("/accounts/admin/accounts/?search=b")+"&factors=2&max_age=900", to)
	require.Equal(t, http.StatusOK, h.Get(to).StatusCode)
	res = h.Post("/accounts/step-up/", url.Values{"totp": {appShows(s, secret)}, "factors": {"2"}, "max_age": {"900"}, "next": {admin + "accounts/?search=b"}})
	require.Equal(t, admin+"accounts/?search=b", res.Header.Get("Location"))
	require.Equal(t, http.StatusOK, h.Get(admin+"accounts/?search=b").StatusCode)
	require.Equal(t, http.StatusSeeOther, h.Post(pathOf(t, s, "bob", "disable")+"/", nil).StatusCode)
	require.False(t, accountOf(t, s, "bob").IsActive)

	s.Travel(time.Minute)
	path := pathOf(t, s, "bob", "enable")
	require.Equal(t, "reauthentication_required", sitetest.FieldCodes(t, b.Post(path, nil), "totp"))
	page := form.Post(path+"/", url.Values{"x": {"1"}})
	require.Contains(t, page.Text, `name="totp"`)
	require.Contains(t, page.Text, `name="x" value="1"`)
	require.Equal(t, http.StatusBadRequest, form.Post(path+"/", url.Values{"totp": {"000000"}}).StatusCode)
	require.False(t, accountOf(t, s, "bob").IsActive)
	require.Equal(t, http.StatusSeeOther, form.Post(path+"/", url.Values{"totp": {appShows(s, secret)}}).StatusCode)
	require.True(t, accountOf(t, s, "bob").IsActive)
	require.Equal(t, http.StatusOK, form.Get(admin+"accounts/").StatusCode, "the sign-in has shown it from then on")
}

// Whose factor is a passkey alone shows it where a script can ask for it; a program sends it.
func TestAdminWithAPasskey(t *testing.T) {
	s := sitetest.NewWithPasskeys(t, withAdmins, demanding)
	s.Member("ada")
	s.Member("bob")
	makeAdmin(t, s, "ada")
	b, d := s.SignedIn("ada"), s.Device()
	h := s.SignedIn("ada").LikeBrowser()
	require.Equal(t, http.StatusCreated, b.AddPasskey(d).StatusCode)
	require.Equal(t, http.StatusOK, b.Get(admin+"accounts").StatusCode)
	path := pathOf(t, s, "bob", "disable")
	require.Equal(t, "/accounts/step-up/?next="+url.QueryEscape(path+"/")+"&factors=2&max_age=900", h.Post(path+"/", nil).Header.Get("Location"))
	s.Travel(time.Hour)
	require.Equal(t, "reauthentication_required", sitetest.FieldCodes(t, b.Problems().Post(path, nil), "passkey"))
	require.True(t, accountOf(t, s, "bob").IsActive)
	res := b.Post(path, sitetest.Data{"passkey": b.ShowPasskey(d)})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.False(t, accountOf(t, s, "bob").IsActive)
}

// Where nobody can set up a factor none is asked for; with `off` neither.
func TestNoFactorToBeHad(t *testing.T) {
	s := newSite(t, nil, demanding, func(s *registration.Settings) {
		s.Factors = registration.FactorSettings{TOTP: sitetest.Off(), Passkey: sitetest.Off()}
	})
	require.Equal(t, http.StatusOK, s.SignedIn("ada").LikeBrowser().Get(admin+"accounts/").StatusCode)
	withTOTP(s, "ada")
	require.Equal(t, http.StatusOK, newSite(t, nil).SignedIn("ada").Get(admin+"accounts").StatusCode)
}

// Whose factor has gone since his request was let in does nothing, in its transaction.
func TestAdminLosesHisFactor(t *testing.T) {
	s := newSite(t, []string{"bob"}, demanding)
	err := s.Accounts.Delete(s.Acting(t.Context(), "ada"), sitetest.UUIDOf(t, s, "bob"))
	require.ErrorContains(t, err, "factor_required")
	withTOTP(s, "ada")
	require.NoError(t, s.Accounts.Delete(s.Acting(t.Context(), "ada"), sitetest.UUIDOf(t, s, "bob")))
}

// An account's page has its factors, and takes them away for who has lost them. The record
// says who did that, and its owner is told.
func TestResetFactors(t *testing.T) {
	for name, reset := range map[string]func(t *testing.T, s *sitetest.Site, path string){
		"a form": func(t *testing.T, s *sitetest.Site, path string) {
			h := s.SignedIn("ada").LikeBrowser()
			asks := h.Get(path + "/")
			require.Contains(t, asks.Text, "Be sure who is asking you")
			require.Contains(t, asks.Text, "<h1>Reset the second step</h1>")
			require.Equal(t, http.StatusSeeOther, h.Post(path+"/", nil).StatusCode)
			page := h.Get(pathOf(t, s, "bob", "") + "/")
			require.Contains(t, page.Text, "The second step has been reset.")
			require.Contains(t, page.Text, "This account has no second step.")
			require.NotContains(t, page.Text, "/reset-factors/")
		},
		"JSON": func(t *testing.T, s *sitetest.Site, path string) {
			b := s.SignedIn("ada")
			require.Equal(t, http.StatusOK, b.Post(path, nil).StatusCode)
			require.Empty(t, b.Get(pathOf(t, s, "bob", "")).JSON(t)["second_step"])
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, []string{"bob"})
			bob := s.SignedIn("bob")
			withTOTP(s, "bob")
			page := s.SignedIn("ada").LikeBrowser().Get(pathOf(t, s, "bob", "") + "/")
			for _, want := range []string{"<h2>Second step</h2>", "Authenticator app", "My &lt;phone&gt;", "/reset-factors/"} {
				require.Contains(t, page.Text, want)
			}
			shown := s.SignedIn("ada").Get(pathOf(t, s, "bob", "")).JSON(t)["second_step"].([]any)[0].(map[string]any)
			require.Equal(t, "totp", shown["type"])
			require.Equal(t, "My <phone>", shown["name"])
			require.NotNil(t, shown["created"])
			require.NotNil(t, shown["last_used"])
			require.Len(t, shown, 5)

			reset(t, s, pathOf(t, s, "bob", "reset-factors"))
			u := accountOf(t, s, "bob")
			require.Empty(t, u.Factors)
			require.Empty(t, u.RecoveryCodes)
			require.Equal(t, http.StatusUnauthorized, bob.Get("/accounts/profile").StatusCode)
			row := lastRow(t, s, u.ID.String())
			require.Equal(t, string(audit.FactorsReset), row.Event)
			require.Equal(t, sitetest.UUIDOf(t, s, "ada").String(), row.Actor)
			require.Equal(t, map[string]string{"types": "totp"}, row.Details)
			m := s.Mail()
			require.Equal(t, "bob@example.org", m.To)
			require.Contains(t, m.Text, "second step")
		})
	}
	s := newSite(t, []string{"bob"})
	_, err := s.Accounts.ResetFactors(s.Acting(t.Context(), "bob"), sitetest.UUIDOf(t, s, "ada"), account.Client{})
	require.ErrorContains(t, err, "not_found", "who is no admin")
}
