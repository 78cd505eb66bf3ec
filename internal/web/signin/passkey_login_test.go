package signin_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/softkey"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// withPasskey is a site with one account and the device that has its passkey.
func withPasskey(t *testing.T, configure ...func(*registration.Settings)) (*sitetest.Site, *softkey.Device) {
	t.Helper()
	s := sitetest.NewWithPasskeys(t, configure...)
	s.Member("ada")
	d := s.Device()
	res := s.SignedIn("ada").AddPasskey(d)
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	s.Mail()
	return s, d
}

// wantCode checks a refusal by what it says.
func wantCode(t *testing.T, res *sitetest.Answer, status int, code refusal.Code) {
	t.Helper()
	require.Equal(t, status, res.StatusCode, res.Text)
	require.Equal(t, sitetest.Message(code, nil), res.JSON(t)["detail"])
}

func TestPasskeySignIn(t *testing.T) {
	s, d := withPasskey(t)
	b := s.Browser()
	res := b.PasskeySignIn(d)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	assert.Contains(t, res.Text, sitetest.Words(text.Say("detail.logged_in")))
	assert.Equal(t, "hwk mfa", b.AMR())
	for name := range b.Cookie {
		assert.NotContains(t, name, "_passkey", "what bound the challenge is gone")
	}
	d.Flags |= softkey.BackupEligible
	other := s.Browser()
	require.Equal(t, http.StatusOK, other.PasskeySignIn(d).StatusCode)
	assert.Equal(t, "swk mfa", other.AMR())

	// Two tabs of one browser: both challenges are good, in either order of being asked.
	tabs := s.Browser()
	_ = tabs.Asked("passkey-login-options", sitetest.Data{})
	second := tabs.Asked("passkey-login-options", sitetest.Data{})
	require.Equal(t, http.StatusOK, tabs.Post("/accounts/passkey-login", sitetest.Data{"passkey": sitetest.Passkey(d.Get(second))}).StatusCode)
}

// A form has the answer in a text, and its browser goes where it wanted.
func TestPasskeySignInByForm(t *testing.T) {
	s, d := withPasskey(t)
	b := s.Browser().LikeBrowser()
	page := b.Get("/accounts/login/?next=/there/")
	require.Contains(t, page.Text, `autocomplete="username webauthn"`)
	require.Contains(t, page.Text, `data-autofill`)
	asked := b.Asked("passkey-login-options", sitetest.Data{})
	res := b.Post("/accounts/passkey-login/", sitetest.FormOf(sitetest.Data{"passkey": string(d.Get(asked)), "next": "/there/"}))
	res.RequireRedirect(t, "/there/")

	// What goes wrong leads back to the page, which says so.
	stranger := s.Browser().LikeBrowser()
	for name, tc := range map[string]struct{ answer, says string }{
		"nothing": {"", "detail.passkey_invalid"}, "no answer": {"{}", "detail.passkey_invalid"},
		"a passkey of nobody": {string(stray(t, s, stranger)), "detail.passkey_unknown"},
	} {
		res = stranger.Post("/accounts/passkey-login/", sitetest.FormOf(sitetest.Data{"passkey": tc.answer, "next": "/there/"}))
		res.RequireRedirect(t, "/accounts/login/?next=%2Fthere%2F")
		page := stranger.Follow(res).Text
		assert.Contains(t, page, sitetest.Words(text.Say(tc.says)), name)
		// The keeper of one that no account has is to forget it.
		assert.Equal(t, tc.says == "detail.passkey_unknown", strings.Contains(page, `data-unknown="`), name)
		assert.Equal(t, tc.says == "detail.passkey_unknown", strings.Contains(page, `data-domain="example.com"`), name)
		assert.NotContains(t, stranger.Get("/accounts/login/").Text, "data-unknown", "it is told once")
	}
	res = stranger.Get("/accounts/passkey-login/?next=/there/")
	assert.Equal(t, http.StatusFound, res.StatusCode)
	assert.Equal(t, "/accounts/login/?next=%2Fthere%2F", res.Header.Get("Location"))
}

// stray is the answer of a passkey that no account has.
func stray(t *testing.T, s *sitetest.Site, b *sitetest.Browser) []byte {
	t.Helper()
	d := s.Device()
	d.Create([]byte(`{"publicKey":{"rp":{"id":"example.com"},"user":{"id":"AAAAAAAAAAAAAAAAAAAAAA"},"challenge":""}}`))
	return d.Get(b.Asked("passkey-login-options", sitetest.Data{}))
}

func TestPasskeyAsSecondStep(t *testing.T) {
	s, d := withPasskey(t)
	b := s.Browser()
	res := b.Post("/accounts/login", right)
	require.Equal(t, http.StatusOK, res.StatusCode)
	body := res.JSON(t)
	require.Equal(t, []any{"passkey", "recovery_code"}, body["factors"])
	challenge := sitetest.Data{"challenge": body["challenge"]}

	asked := b.Asked("passkey-login-options", challenge)
	var o struct {
		PublicKey struct {
			Allow []struct{ ID string } `json:"allowCredentials"`
		} `json:"publicKey"`
	}
	require.NoError(t, json.Unmarshal(asked, &o))
	require.Len(t, o.PublicKey.Allow, 1)
	d.Flags = softkey.Present // a password is there already
	res = b.Post("/accounts/login-factor", sitetest.With(challenge, sitetest.Data{"passkey": sitetest.Passkey(d.Get(asked))}))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	assert.Equal(t, "pwd hwk mfa", b.AMR())
}

func TestPasskeySecondStepPage(t *testing.T) {
	s, d := withPasskey(t)
	b := s.Browser().LikeBrowser()
	res := b.Follow(b.Post("/accounts/login/", sitetest.FormOf(sitetest.Data{"login": "ada", "password": sitetest.Password})))
	require.Contains(t, res.Text, `data-passkey="get"`)
	require.Contains(t, res.Text, `data-alone`)
	assert.Contains(t, res.Header.Get("Content-Security-Policy"), "script-src 'self'")
	assert.Contains(t, res.Text, "with=recovery_code")
	challenge := strings.Split(strings.Split(res.Text, `name="challenge" value="`)[1], `"`)[0]
	asked := b.Asked("passkey-login-options", sitetest.Data{"challenge": challenge})
	res = b.Post("/accounts/login-factor/", sitetest.FormOf(sitetest.Data{"challenge": challenge, "passkey": string(d.Get(asked))}))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)

	// By the code in place of the passkey, which is a link away.
	b = s.Browser().LikeBrowser()
	b.Post("/accounts/login/", sitetest.FormOf(sitetest.Data{"login": "ada", "password": sitetest.Password}))
	page := b.Get("/accounts/login-factor/?with=recovery_code").Text
	assert.Contains(t, page, `name="recovery_code"`)
	assert.Contains(t, page, "with=passkey")
}

func TestHardeningPasskeySignIn(t *testing.T) {
	post := func(b *sitetest.Browser, answer []byte) *sitetest.Answer {
		return b.Post("/accounts/passkey-login", sitetest.Data{"passkey": sitetest.Passkey(answer)})
	}
	invalid := func(t *testing.T, res *sitetest.Answer) {
		t.Helper()
		sitetest.WantFields(t, res, refusal.FieldError{Field: "passkey", Code: refusal.CodeFactorInvalid, Message: "factor.invalid_passkey"})
	}
	t.Run("a challenge in another browser", func(t *testing.T) {
		s, d := withPasskey(t)
		answer := d.Get(s.Browser().Asked("passkey-login-options", sitetest.Data{}))
		invalid(t, post(s.Browser(), answer))
		other := s.Browser()
		other.Asked("passkey-login-options", sitetest.Data{})
		invalid(t, post(other, answer))
	})
	t.Run("a replay, and one after the passkey has gone and come back", func(t *testing.T) {
		s, d := withPasskey(t)
		b := s.Browser()
		answer := d.Get(b.Asked("passkey-login-options", sitetest.Data{}))
		cookie := b.Cookie
		kept := make(map[string]string, len(cookie))
		for name, value := range cookie {
			kept[name] = value
		}
		require.Equal(t, http.StatusOK, post(b, answer).StatusCode)
		thief := s.Browser()
		thief.Cookie = kept
		invalid(t, post(thief, answer))
	})
	t.Run("a challenge of a second step, or of a change, signs nobody in", func(t *testing.T) {
		s, d := withPasskey(t)
		b := s.Browser()
		challenge := sitetest.Data{"challenge": b.Post("/accounts/login", right).JSON(t)["challenge"]}
		invalid(t, post(b, d.Get(b.Asked("passkey-login-options", challenge))))
		b = s.Browser()
		require.Equal(t, http.StatusOK, b.PasskeySignIn(d).StatusCode)
		invalid(t, post(b, b.ShowPasskey(d)))
	})
	t.Run("nobody was asked who it is", func(t *testing.T) {
		s, d := withPasskey(t)
		d.Flags = softkey.Present
		invalid(t, s.Browser().PasskeySignIn(d))
	})
	t.Run("another account's name on it", func(t *testing.T) {
		s, d := withPasskey(t)
		eve := uuid.MustParse(s.Member("eve"))
		d.Keys[0].User = eve[:]
		wantCode(t, s.Browser().PasskeySignIn(d), http.StatusBadRequest, refusal.CodePasskeyUnknown)
	})
	t.Run("another account's passkey for its second step", func(t *testing.T) {
		s, d := withPasskey(t)
		s.Member("eve")
		evil := s.Device()
		require.Equal(t, http.StatusCreated, s.SignedIn("eve").AddPasskey(evil).StatusCode)
		b := s.Browser()
		challenge := sitetest.Data{"challenge": b.Post("/accounts/login", right).JSON(t)["challenge"]}
		asked := b.Asked("passkey-login-options", challenge)
		res := b.Post("/accounts/login-factor", sitetest.With(challenge, sitetest.Data{"passkey": sitetest.Passkey(evil.Use(evil.Keys[0], softkey.Challenge(asked)))}))
		invalid(t, res)
		_ = d
	})
	t.Run("a challenge of one sign-in for another", func(t *testing.T) {
		s, d := withPasskey(t)
		one, two := s.Browser(), s.Browser()
		first := sitetest.Data{"challenge": one.Post("/accounts/login", right).JSON(t)["challenge"]}
		s.Travel(time.Second)
		second := sitetest.Data{"challenge": two.Post("/accounts/login", right).JSON(t)["challenge"]}
		answer := sitetest.Passkey(d.Get(one.Asked("passkey-login-options", first)))
		invalid(t, two.Post("/accounts/login-factor", sitetest.With(second, sitetest.Data{"passkey": answer})))
	})
	t.Run("a copy", func(t *testing.T) {
		s, d := withPasskey(t)
		d.Counts = true
		for range 3 {
			require.Equal(t, http.StatusOK, s.Browser().PasskeySignIn(d).StatusCode)
		}
		d.Keys[0].Count = 0
		invalid(t, s.Browser().PasskeySignIn(d))
		assert.NotEmpty(t, s.Logs.FilterMessageSnippet("counter went back").All())
	})
	t.Run("a deleted account, and one that is disabled", func(t *testing.T) {
		s, d := withPasskey(t)
		id := sitetest.UUIDOf(t, s, "ada")
		s.Set(id.String(), func(u *store.User) { u.IsActive = false })
		wantCode(t, s.Browser().PasskeySignIn(d), http.StatusBadRequest, refusal.CodeDisabled)
		require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteUser(id) }))
		wantCode(t, s.Browser().PasskeySignIn(d), http.StatusBadRequest, refusal.CodePasskeyUnknown)
	})
	t.Run("a page of another site", func(t *testing.T) {
		s, d := withPasskey(t)
		b := s.Browser()
		answer := d.Get(b.Asked("passkey-login-options", sitetest.Data{}))
		wantCode(t, post(b.Set("Origin", "https://evil.example"), answer), http.StatusForbidden, refusal.CodeCrossOrigin)
	})
	t.Run("guesses are counted", func(t *testing.T) {
		s, d := withPasskey(t, sitetest.Throttled)
		b := s.Browser()
		last := 0
		for range 100 {
			if last = post(b, []byte(`{}`)).StatusCode; last == http.StatusTooManyRequests {
				break
			}
		}
		assert.Equal(t, http.StatusTooManyRequests, last)
		_ = d
	})
}

// What is asked is refused where there is nothing to ask.
func TestPasskeyRequestRefusals(t *testing.T) {
	s, _ := withPasskey(t)
	s.Member("eve")
	b := s.Browser()
	ask := func(b *sitetest.Browser, body sitetest.Data) *sitetest.Answer {
		return b.Post("/accounts/passkey-login-options", body)
	}
	wantCode(t, ask(b, sitetest.Data{"sudo": true}), http.StatusUnauthorized, refusal.CodeNotAuthenticated)
	wantCode(t, ask(b, sitetest.Data{"challenge": "no"}), http.StatusBadRequest, refusal.CodeChallengeExpired)
	wantCode(t, ask(s.SignedIn("eve"), sitetest.Data{"sudo": true}), http.StatusNotFound, refusal.CodeFactorNotFound)
	require.Contains(t, ask(b, sitetest.Data{"sudo": "perhaps"}).JSON(t), "sudo")
	for name, passkey := range map[string]any{"a list": []any{1}, "a number": 1, "null": nil, "a text": "no"} {
		res := b.Post("/accounts/passkey-login", sitetest.Data{"passkey": passkey})
		require.Equal(t, http.StatusBadRequest, res.StatusCode, name)
	}
	sitetest.WantFields(t, b.Post("/accounts/passkey-login", sitetest.Data{}), refusal.FieldError{Field: "passkey", Code: refusal.CodeRequired})
}

// Where they can't be, there is no trace of them.
func TestNoPasskeys(t *testing.T) {
	for name, configure := range map[string]func(*registration.Settings){
		"plain HTTP": func(*registration.Settings) {},
		"an address": func(s *registration.Settings) { s.BaseURL = "https://192.0.2.1" },
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure)
			b := s.Browser()
			for _, endpoint := range []string{"passkey-options", "add-passkey", "passkey-login-options", "passkey-login"} {
				require.Equal(t, http.StatusNotFound, b.Post("/accounts/"+endpoint, sitetest.Data{}).StatusCode, endpoint)
			}
			page := b.LikeBrowser().Get("/accounts/login/")
			assert.NotContains(t, page.Text, "passkey")
			assert.NotContains(t, page.Text, "webauthn")
			assert.NotContains(t, page.Header.Get("Content-Security-Policy"), "connect-src")
			assert.Equal(t, http.StatusNotFound, b.Get("/accounts/passkey.js").StatusCode)
			assert.NotEmpty(t, s.Logs.FilterMessageSnippet("passkeys are off").All(), "the log says why")
		})
	}
}

// A site that moves to another domain is told, before it serves, that passkeys would work no
// more; with rp_id or passkey off it is meant, and a recovery code signs in.
func TestPasskeysOfAnotherDomain(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewWithPasskeysAt(t, path)
	s.Member("ada")
	d := s.Device()
	require.Equal(t, http.StatusCreated, s.SignedIn("ada").AddPasskey(d).StatusCode)
	now := s.Now.Load()
	s.Close()
	moved := func(s *registration.Settings) { s.BaseURL = "https://other.example" }
	for range 2 { // the refusal changes nothing
		_, err := sitetest.Open(path, moved)
		require.ErrorContains(t, err, "an account has passkeys of example.com, which work no more at https://other.example; put back base_url and cookie_domain, or write what is to count from now on: rp_id other.example, or passkey off")
	}
	for name, meant := range map[string]func(*registration.Settings){
		"passkey off": func(s *registration.Settings) { s.Factors.Passkey = sitetest.Off() },
		"rp_id":       func(s *registration.Settings) { s.Factors.RPID = "other.example" },
	} {
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(path)
			require.NoError(t, err)
			path := t.TempDir() + "/r.db"
			require.NoError(t, os.WriteFile(path, file, 0o600))
			s := sitetest.NewWithPasskeysAt(t, path, moved, meant)
			s.Now.Store(now)
			require.Len(t, s.Logs.FilterMessage("passkeys of another domain work no more").All(), 1)
			require.NotEqual(t, http.StatusOK, s.Browser().PasskeySignIn(d).StatusCode, "it is another's")
			asked := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)
			require.Contains(t, asked["factors"], "recovery_code", "the way in")
			s.Close()
			s = sitetest.NewWithPasskeysAt(t, path, moved) // what was said is known from now on
			require.Empty(t, s.Logs.FilterMessage("passkeys of another domain work no more").All())
		})
	}
	s = sitetest.NewWithPasskeysAt(t, path) // back again
	s.Now.Store(now)
	res := s.Browser().PasskeySignIn(d)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
}

// Terms that are owed are asked for after a passkey too, and no factor is then.
func TestPasskeySignInOwingTerms(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewWithPasskeysAt(t, path)
	s.Member("ada")
	d := s.Device()
	require.Equal(t, http.StatusCreated, s.SignedIn("ada").AddPasskey(d).StatusCode)
	now := s.Now.Load()
	s.Close()
	s = sitetest.NewWithPasskeysAt(t, path, terms("1"))
	s.Now.Store(now)
	b := s.Browser()
	res := b.PasskeySignIn(d)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	body := res.JSON(t)
	require.Equal(t, "1", body["terms"])
	require.Nil(t, body["factors"])
	res = b.Post("/accounts/login-factor", sitetest.Data{"challenge": body["challenge"], "terms": "1"})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	assert.Equal(t, "hwk mfa", b.AMR())
}
