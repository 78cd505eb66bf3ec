package factors_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// passkeysOf lists the passkeys of who is signed in.
func passkeysOf(t *testing.T, b *sitetest.Browser) (ids, names []string) {
	t.Helper()
	var list []struct{ ID, Type, Name string }
	res := b.Get("/accounts/factors")
	require.NoError(t, json.Unmarshal([]byte(res.Text), &list), res.Text)
	for _, f := range list {
		if f.Type == string(store.FactorPasskey) {
			ids, names = append(ids, f.ID), append(names, f.Name)
		}
	}
	return ids, names
}

func TestAddPasskey(t *testing.T) {
	s := sitetest.NewWithPasskeys(t)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	d := s.Device()
	d.AAGUID = uuid.MustParse("bada5566-a7aa-401f-bd96-45619a55120d")
	res := b.AddPasskey(d)
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	assert.Len(t, res.JSON(t)["recovery_codes"], 10, "the first factor")
	assert.Contains(t, b.AMR(), "hwk mfa")
	assert.Contains(t, s.Mail().Text, "undo-factor", "the owner is told, and can take it back")
	_, names := passkeysOf(t, b)
	assert.Equal(t, []string{"1Password"}, names)

	second := s.Device()
	res = b.AddPasskey(second, sitetest.Data{"name": " My  key "})
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	assert.NotContains(t, res.JSON(t), "recovery_codes")
	ids, names := passkeysOf(t, b)
	assert.Equal(t, []string{"1Password", "My key"}, names)
	third := s.Device()
	require.Equal(t, http.StatusCreated, b.AddPasskey(third).StatusCode)
	_, names = passkeysOf(t, b)
	assert.Equal(t, "Passkey", names[2], "nobody knows what keeps it")

	u := s.Stored(id)
	require.Len(t, u.Factors, 3)
	assert.NotEmpty(t, u.Factors[0].Secret)
	require.Nil(t, d.Create(b.Asked("passkey-options", sitetest.Data{})), "the device has one already")

	// Each of them signs in, until it is taken away.
	require.Equal(t, http.StatusOK, s.Browser().PasskeySignIn(d).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().PasskeySignIn(second).StatusCode)
	require.Equal(t, http.StatusOK, b.Post("/accounts/remove-factor", sitetest.Data{"id": ids[0]}).StatusCode)
	require.Equal(t, http.StatusBadRequest, s.Browser().PasskeySignIn(d).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().PasskeySignIn(second).StatusCode)
}

// What opens a change of an account with a passkey is the passkey, not the password.
func TestSudoByPasskey(t *testing.T) {
	s := sitetest.NewWithPasskeys(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	d := s.Device()
	require.Equal(t, http.StatusCreated, b.AddPasskey(d).StatusCode)
	ids, _ := passkeysOf(t, b)
	s.Travel(25 * time.Hour)
	remove := sitetest.Data{"id": ids[0]}
	for name, more := range map[string]sitetest.Data{"nothing": {}, "the password": {"password": sitetest.Password}} {
		require.Equal(t, map[string]any{"passkey": []any{"Use one of your passkeys."}}, b.Post("/accounts/remove-factor", sitetest.With(remove, more)).JSON(t), name)
	}
	page := b.LikeBrowser().Get("/accounts/remove-factor/?id=" + ids[0])
	assert.Contains(t, page.Text, `data-sudo="/accounts/passkey-login-options/"`)
	assert.Contains(t, page.Text, `data-alone`)
	assert.NotContains(t, page.Text, `type="password"`)
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "script-src 'self'")
	page = b.Get("/accounts/add-passkey/")
	assert.Contains(t, page.Text, `data-passkey="create"`)
	assert.Contains(t, page.Text, `data-sudo="/accounts/passkey-login-options/"`)
	b.Header.Del("Accept")

	other := s.Browser()
	require.Equal(t, http.StatusOK, other.PasskeySignIn(d).StatusCode)
	theirs := other.ShowPasskey(d)
	sitetest.WantFields(t, b.Post("/accounts/remove-factor", sitetest.With(remove, sitetest.Data{"passkey": theirs})), refusal.FieldError{Field: "passkey", Code: refusal.CodeFactorInvalid, Message: "factor.invalid_passkey"})

	again := s.Device()
	res := b.Post("/accounts/passkey-options", sitetest.Data{"passkey": b.ShowPasskey(d)})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	res = b.Post("/accounts/add-passkey", sitetest.Data{"passkey": sitetest.Passkey(again.Create([]byte(res.Text)))})
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	res = b.Post("/accounts/remove-factor", sitetest.With(remove, sitetest.Data{"passkey": b.ShowPasskey(again)}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
}

func TestHardeningAddPasskey(t *testing.T) {
	s := sitetest.NewWithPasskeys(t)
	s.Member("ada")
	s.Member("eve")
	ada, eve := s.SignedIn("ada"), s.SignedIn("eve")
	d := s.Device()
	made := sitetest.Passkey(d.Create(ada.Asked("passkey-options", sitetest.Data{})))
	add := func(b *sitetest.Browser, answer json.RawMessage) *sitetest.Answer {
		return b.Post("/accounts/add-passkey", sitetest.Data{"passkey": answer})
	}
	invalid := func(res *sitetest.Answer) {
		t.Helper()
		sitetest.WantFields(t, res, refusal.FieldError{Field: "passkey", Code: refusal.CodeFactorInvalid, Message: "factor.invalid_passkey"})
	}
	invalid(add(eve, made))                  // another account
	invalid(add(s.SignedIn("ada"), made))    // another sign-in of the same
	invalid(add(ada, json.RawMessage(`{}`))) // nothing
	sitetest.WantFields(t, ada.Post("/accounts/add-passkey", sitetest.Data{}), refusal.FieldError{Field: "passkey", Code: refusal.CodeRequired})
	require.Equal(t, http.StatusCreated, add(ada, made).StatusCode)
	invalid(add(ada, made)) // a replay
	s.Mail()

	// A credential belongs to one account: who claims the id of another's gets nothing, also
	// while a mailed link can bring that back.
	evil := s.Device()
	asked := eve.Asked("passkey-options", sitetest.Data{})
	evil.ID = d.Keys[0].ID
	claim := sitetest.Passkey(evil.Create(asked))
	invalid(add(eve, claim))
	twice := s.Device()
	twice.ID = d.Keys[0].ID
	invalid(add(ada, sitetest.Passkey(twice.Create(ada.Asked("passkey-options", sitetest.Data{})))))
	ids, _ := passkeysOf(t, ada)
	require.Equal(t, http.StatusOK, ada.Post("/accounts/remove-factor", sitetest.Data{"id": ids[0]}).StatusCode)
	invalid(add(eve, claim))

	t.Run("while the account waits for its confirmation, there is none", func(t *testing.T) {
		s := sitetest.NewWithPasskeys(t)
		require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/passkey-options", sitetest.Data{}).StatusCode)
	})
	t.Run("an answer that comes late", func(t *testing.T) {
		late := s.Device()
		answer := sitetest.Passkey(late.Create(ada.Asked("passkey-options", sitetest.Data{})))
		s.Travel(factor.PasskeyLifetime + 1e9)
		invalid(add(ada, answer))
	})
}

// Who has to have a factor can have a passkey for it, and is signed in with that.
func TestEnrolByPasskey(t *testing.T) {
	for name, totp := range map[string]*bool{"with apps": sitetest.On(), "by passkeys alone": sitetest.Off()} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.NewWithPasskeys(t, func(s *registration.Settings) {
				s.Factors.RequiredFor, s.Factors.TOTP = []string{"admins"}, totp
			})
			id := s.Member("ada")
			s.Set(id, func(u *store.User) { u.Groups = []string{"admins"} })
			b := s.Browser().LikeBrowser()
			res := b.Post("/accounts/login/", sitetest.FormOf(sitetest.Data{"login": "ada", "password": sitetest.Password}))
			page := b.Follow(res)
			if *totp {
				assert.Contains(t, page.Text, `href="/accounts/add-passkey/`)
				page = b.Get("/accounts/add-passkey/")
			}
			require.Contains(t, page.Text, `data-passkey="create"`)
			challenge := strings.Split(strings.Split(page.Text, `name="challenge" value="`)[1], `"`)[0]
			d := s.Device()
			answer := d.Create(b.Asked("passkey-options", sitetest.Data{"challenge": challenge}))
			res = b.Post("/accounts/add-passkey/", sitetest.FormOf(sitetest.Data{"challenge": challenge, "passkey": string(answer)}))
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			b.Header.Del("Accept")
			assert.Equal(t, "pwd hwk mfa", b.AMR())
		})
	}
}

// The last way in stays.
func TestLastPasskeyStays(t *testing.T) {
	s := sitetest.NewWithPasskeys(t)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	require.Equal(t, http.StatusCreated, b.AddPasskey(s.Device()).StatusCode)
	s.Set(id, func(u *store.User) { u.PasswordHash = "" })
	ids, _ := passkeysOf(t, b)
	res := b.Post("/accounts/remove-factor", sitetest.Data{"id": ids[0]})
	require.Equal(t, http.StatusConflict, res.StatusCode, res.Text)
	require.Equal(t, sitetest.Message(refusal.CodeLastWayIn, nil), res.JSON(t)["detail"])
}

// Nobody adds one where passkey is off; those that there are count.
func TestPasskeyOff(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewWithPasskeysAt(t, path)
	s.Member("ada")
	d := s.Device()
	require.Equal(t, http.StatusCreated, s.SignedIn("ada").AddPasskey(d).StatusCode)
	now := s.Now.Load()
	s.Close()
	s = sitetest.NewWithPasskeysAt(t, path, func(s *registration.Settings) { s.Factors.Passkey = sitetest.Off() })
	s.Now.Store(now)
	b := s.Browser()
	require.Equal(t, http.StatusOK, b.PasskeySignIn(d).StatusCode)
	require.Equal(t, http.StatusNotFound, b.Post("/accounts/passkey-options", sitetest.Data{}).StatusCode)
	assert.NotContains(t, b.LikeBrowser().Get("/accounts/factors/").Text, "add-passkey")
	assert.NotContains(t, s.Browser().LikeBrowser().Get("/accounts/login/").Text, "data-passkey")
}

// The script is small, its own file, and on no other page.
func TestPasskeyScript(t *testing.T) {
	s := sitetest.NewWithPasskeys(t)
	s.Member("ada")
	script := s.Browser().Get("/accounts/passkey.js")
	require.Equal(t, http.StatusOK, script.StatusCode)
	assert.Less(t, len(script.Text), 4200)
	assert.Contains(t, script.Header.Get("Content-Type"), "text/javascript")
	assert.NotContains(t, script.Text, "eval")
	assert.NotContains(t, script.Text, "innerHTML")
	assert.NotContains(t, script.Text, "http:")
	b := s.SignedIn("ada").LikeBrowser()
	assert.NotContains(t, script.Text, "\n//")
	assert.Contains(t, script.Text, s.Browser().Get("/accounts/password.js").Text, "one script does both")
	for path, wants := range map[string]string{
		"/accounts/login/?reauth=1": "passkey.js", "/accounts/add-passkey/": "passkey.js", "/accounts/register/": "password.js", "/accounts/profile/": "", "/accounts/sessions/": "",
		"/accounts/factors/": "", "/accounts/change-password/": "password.js", "/accounts/send-reset-password-link/": "", "/accounts/nothing/": "", "/accounts/enrol-totp/": "",
	} {
		page := b.Get(path)
		if path == "/accounts/register/" { // who is signed in is sent on
			page = s.Browser().LikeBrowser().Get(path)
		}
		csp := page.Header.Get("Content-Security-Policy")
		if wants == "" {
			assert.NotContains(t, page.Text, "<script", path)
			assert.NotContains(t, csp, "script-src", path)
			assert.NotContains(t, csp, "connect-src", path)
			continue
		}
		src := strings.Split(strings.Split(page.Text, `<script src="`)[1], `"`)[0]
		file := b.Get(src)
		assert.Contains(t, src, wants)
		assert.Equal(t, s.Browser().Get("/accounts/"+wants).Text, file.Text)
		assert.Contains(t, file.Header.Get("Cache-Control"), "immutable")
		assert.Contains(t, csp, "; script-src 'self'", path)
		assert.Equal(t, wants == "passkey.js", strings.Contains(csp, "; connect-src 'self'"), path)
		assert.NotContains(t, csp, "unsafe", path)
		assert.Equal(t, 1, strings.Count(page.Text, "<script"), path)
	}
}
