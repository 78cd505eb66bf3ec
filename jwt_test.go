// jwt_test.go: tokens from the sign-in to their end: the list of sign-ins, access
// and refresh tokens, the change of keys.

package registration

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// withJWT turns access tokens on.
func withJWT(s *Settings) { s.Login.Token, s.Login.JWT = on(), new(JWTSettings) }

// newJWTSite runs a realm with access tokens whose keys are as young as the
// clock of the test says.
func newJWTSite(t testing.TB, configure ...func(*Settings)) *site {
	s := newSite(t, append([]func(*Settings){withJWT}, configure...)...)
	require.NoError(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue(session.AccessKeysValue, []byte("[]")) }))
	require.NoError(t, s.accounts.Access.RefreshKeys(t.Context(), s.realm.Now()))
	return s
}

// tokens signs in for tokens and keeps no cookie.
func (s *site) tokens(name string) (b *browser, refresh string) {
	s.t.Helper()
	b = s.signedIn(name)
	clear(b.cookie)
	res := b.post("/accounts/login", data{"login": name, "password": testPassword}).json(s.t)
	clear(b.cookie)
	refresh, _ = res["refresh_token"].(string)
	return b.bearer(res["token"].(string)), refresh
}

func (b *browser) bearer(token string) *browser {
	b.header.Set("Authorization", "Bearer "+token)
	return b
}

// claimsOf reads a JWT without checking it.
func claimsOf(t testing.TB, token string) (header, claims data) {
	t.Helper()
	for i, to := range []*data{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, to))
	}
	return header, claims
}

func (s *site) keys() []jose.JSONWebKey {
	s.t.Helper()
	res := s.browser().get("/accounts/.well-known/jwks.json")
	require.Equal(s.t, 200, res.StatusCode, res.body)
	var set jose.JSONWebKeySet
	require.NoError(s.t, json.Unmarshal([]byte(res.body), &set))
	return set.Keys
}

func TestAccessTokenSaysWhoAndForWhom(t *testing.T) {
	s := newJWTSite(t)
	id := s.member("ada")
	b, refresh := s.tokens("ada")
	require.Equal(t, protectedPage, b.get("/members/").body)
	require.Equal(t, "ada", b.get("/accounts/profile").json(t)["username"])
	require.Len(t, strings.Split(refresh, "."), 2)

	token := strings.TrimPrefix(b.header.Get("Authorization"), "Bearer ")
	header, claims := claimsOf(t, token)
	keys := s.keys()
	require.Equal(t, data{"alg": "EdDSA", "typ": "JWT", "kid": keys[0].KeyID}, header)
	now := float64(s.realm.Now().Unix())
	require.Equal(t, "http://example.com/accounts", claims["iss"])
	require.Equal(t, claims["iss"], claims["aud"])
	require.Equal(t, id, claims["sub"])
	require.Equal(t, now, claims["iat"])
	require.Equal(t, now+300, claims["exp"])
	require.Equal(t, "ada", claims["username"])
	require.Equal(t, "ada@example.org", claims["email"])
	require.NotEmpty(t, claims["jti"])
	require.NotEmpty(t, claims["sid"])

	s.travel(5*time.Minute - time.Second)
	require.Equal(t, protectedPage, b.get("/members/").body)
	s.travel(time.Second)
	require.Equal(t, 401, b.get("/members/").StatusCode)
	requireError(t, b.problems().get("/accounts/profile"), 401, "token_invalid")
	// An expired token that is sent along doesn't stand in the way of the next.
	require.Equal(t, 200, b.post("/accounts/refresh-token", data{"refresh_token": refresh}).StatusCode)
}

func TestAccessTokensAreOffUnlessAskedFor(t *testing.T) {
	for _, configure := range []func(*Settings){func(*Settings) {}, func(s *Settings) { s.Login.Token = on() }} {
		s := newSite(t, configure)
		for _, path := range []string{"refresh-token", ".well-known/jwks.json"} {
			require.Equal(t, 404, s.browser().get("/accounts/"+path).StatusCode)
			require.Equal(t, 404, s.browser().post("/accounts/"+path, data{}).StatusCode)
		}
	}
	s := newJWTSite(t)
	res := s.browser().post("/accounts/.well-known/jwks.json", data{})
	require.Equal(t, 405, res.StatusCode)
	require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
	require.Equal(t, 405, s.browser().get("/accounts/refresh-token").StatusCode)
}

func TestRevokedSignInEndsItsAccessTokens(t *testing.T) {
	s := newJWTSite(t)
	for name, end := range map[string]func(b *browser, id string){
		"logout": func(b *browser, _ string) { require.Equal(t, 200, b.post("/accounts/logout", data{}).StatusCode) },
		"password change": func(_ *browser, id string) {
			other := s.signedIn("user-of-password-change")
			require.Equal(t, 200, other.post("/accounts/change-password", data{"old_password": testPassword, "password": testPassword + "2", "password_confirm": testPassword + "2"}).StatusCode)
		},
		"disabled": func(_ *browser, id string) {
			_, err := s.accounts.Administer(t.Context(), mustID(t, id), account.AdminChange{IsActive: off()})
			require.NoError(t, err)
		},
		"deleted": func(_ *browser, id string) { require.NoError(t, s.accounts.Delete(t.Context(), mustID(t, id))) },
		"reset": func(b *browser, _ string) {
			require.Equal(t, 200, b.post("/accounts/send-reset-password-link", data{"login": "user-of-reset"}).StatusCode)
			require.Equal(t, 200, b.post("/accounts/reset-password", with(linkOf(s.mail(), t), data{"password": testPassword + "2"})).StatusCode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			user := "user-of-" + strings.ReplaceAll(name, " ", "-")
			id := s.member(user)
			b, refresh := s.tokens(user)
			require.Equal(t, 200, b.get("/members/").StatusCode)
			end(b, id)
			require.Equal(t, 401, b.get("/members/").StatusCode, "the token is good until it expires, but its sign-in has ended")
			require.Equal(t, 401, b.get("/accounts/profile").StatusCode)
			requireError(t, s.browser().problems().post("/accounts/refresh-token", data{"refresh_token": refresh}), 401, "token_invalid")
		})
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	s := newJWTSite(t)
	s.member("ada")
	b, first := s.tokens("ada")
	res := s.browser().post("/accounts/refresh-token", data{"refresh_token": first})
	require.Equal(t, 200, res.StatusCode, res.body)
	second := res.json(t)["refresh_token"].(string)
	require.NotEqual(t, first, second)
	require.Equal(t, 200, s.browser().bearer(res.json(t)["token"].(string)).get("/members/").StatusCode)
	require.Equal(t, 200, b.get("/members/").StatusCode, "the old access token is good until its own end")
	_, before := claimsOf(t, strings.TrimPrefix(b.header.Get("Authorization"), "Bearer "))
	_, after := claimsOf(t, res.json(t)["token"].(string))
	require.Equal(t, before["sid"], after["sid"])
	require.NotEqual(t, before["jti"], after["jti"])

	// A second tab, or a request sent again: refused, and nothing ends.
	again := s.browser().problems().post("/accounts/refresh-token", data{"refresh_token": first})
	requireError(t, again, 409, "refresh_conflict")
	require.Equal(t, "10", again.Header.Get("Retry-After"))
	res = s.browser().post("/accounts/refresh-token", data{"refresh_token": second})
	require.Equal(t, 200, res.StatusCode)
	third := res.json(t)["refresh_token"].(string)

	// Reuse, on the other hand, ends the sign-in, for the thief and the owner.
	requireError(t, s.browser().problems().post("/accounts/refresh-token", data{"refresh_token": first}), 401, "token_reused")
	requireError(t, s.browser().problems().post("/accounts/refresh-token", data{"refresh_token": third}), 401, "token_invalid")
	require.Equal(t, 401, b.get("/members/").StatusCode)

	_, first = s.tokens("ada")
	require.Equal(t, 200, s.browser().post("/accounts/refresh-token", data{"refresh_token": first}).StatusCode)
	s.travel(account.RefreshGrace)
	requireError(t, s.browser().problems().post("/accounts/refresh-token", data{"refresh_token": first}), 401, "token_reused")

	_, first = s.tokens("ada")
	for name, bad := range map[string]any{
		"nothing": "", "half": strings.Split(first, ".")[0], "no generation": strings.Split(first, ".")[0] + ".",
		"no family": "." + strings.Split(first, ".")[1], "halves exchanged": strings.Split(first, ".")[1] + "." + strings.Split(first, ".")[0],
		"longer": first + "A", "an object": data{"a": 1}, "none": nil, "true": true, "one more part": first + ".A",
	} {
		res := s.browser().post("/accounts/refresh-token", data{"refresh_token": bad})
		require.Contains(t, []int{400, 401}, res.StatusCode, name)
	}
	require.Equal(t, 200, s.browser().post("/accounts/refresh-token", data{"refresh_token": first}).StatusCode, "who doesn't know the family ends nothing")
}

func TestRefreshTokenEndsWithTheSignIn(t *testing.T) {
	s := newJWTSite(t, func(s *Settings) {
		s.Session.Lifetime, s.Session.Idle = caddy.Duration(2*time.Hour), caddy.Duration(time.Hour)
	})
	s.member("ada")
	_, refresh := s.tokens("ada")
	for _, wait := range []time.Duration{59 * time.Minute, 58 * time.Minute} {
		s.travel(wait)
		res := s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh})
		require.Equal(t, 200, res.StatusCode)
		refresh = res.json(t)["refresh_token"].(string)
	}
	res := s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh}).json(t)
	refresh = res["refresh_token"].(string)
	_, claims := claimsOf(t, res["token"].(string))
	require.Equal(t, float64(s.realm.Now().Add(3*time.Minute).Unix()), claims["exp"], "no access token outlives its sign-in")
	s.travel(3 * time.Minute)
	require.Equal(t, 401, s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh}).StatusCode)
	_, refresh = s.tokens("ada")
	s.travel(time.Hour)
	require.Equal(t, 401, s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh}).StatusCode, "unused")
}

func TestParallelRefreshHasOneWinner(t *testing.T) {
	s := newJWTSite(t)
	s.member("ada")
	_, refresh := s.tokens("ada")
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses, next := map[int]int{}, ""
	for range 100 {
		b := s.browser()
		wg.Go(func() {
			res := b.post("/accounts/refresh-token", data{"refresh_token": refresh})
			var out map[string]any
			_ = json.Unmarshal([]byte(res.body), &out)
			mu.Lock()
			defer mu.Unlock()
			statuses[res.StatusCode]++
			if res.StatusCode == 200 {
				next, _ = out["refresh_token"].(string)
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 1, 409: 99}, statuses)
	require.Equal(t, 200, s.browser().post("/accounts/refresh-token", data{"refresh_token": next}).StatusCode, "and the winner's goes on")
}

func TestKeysChangeByAge(t *testing.T) {
	s := newJWTSite(t)
	s.member("ada")
	b, _ := s.tokens("ada")
	first := s.keys()
	require.Len(t, first, 1)
	require.True(t, first[0].IsPublic())
	require.Equal(t, "sig", first[0].Use)
	require.Equal(t, "EdDSA", first[0].Algorithm)
	require.IsType(t, ed25519.PublicKey{}, first[0].Key)

	s.travel(29*day - time.Minute)
	require.Len(t, s.keys(), 1)
	s.travel(time.Minute) // a day before it signs
	published := s.keys()
	require.Len(t, published, 2)
	b, _ = s.tokens("ada")
	header, _ := claimsOf(t, strings.TrimPrefix(b.header.Get("Authorization"), "Bearer "))
	require.Equal(t, first[0].KeyID, header["kid"], "the new key does not sign yet")
	s.travel(day - time.Second)
	old, _ := s.tokens("ada")
	s.travel(time.Second)
	b, _ = s.tokens("ada")
	header, _ = claimsOf(t, strings.TrimPrefix(b.header.Get("Authorization"), "Bearer "))
	require.Equal(t, published[1].KeyID, header["kid"])
	s.travel(298 * time.Second)
	require.Equal(t, 200, old.get("/members/").StatusCode, "the old key verifies what it signed")
	require.Len(t, s.keys(), 2)
	s.travel(2 * time.Second)
	require.Len(t, s.keys(), 1, "all that it signed has expired")
	require.Equal(t, published[1].KeyID, s.keys()[0].KeyID)

	// Nobody signs in for a year: the next key is still published first.
	s.travel(365 * day)
	late := s.keys()
	require.Len(t, late, 2)
	require.Equal(t, published[1].KeyID, late[0].KeyID)
}

func TestKeysOutliveARestartAndEndWithTheirSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	secret := func(secrets ...string) func(*Settings) {
		return func(s *Settings) { withJWT(s); s.Secrets = secrets }
	}
	const one, two = "the first secret of this site", "the second secret of this site"
	s := newSiteAt(t, path, secret(one))
	s.member("ada")
	b, refresh := s.tokens("ada")
	keys := s.keys()
	s.close()

	s = newSiteAt(t, path, secret(two, one))
	require.Equal(t, keys, s.keys(), "an old secret's key signs on until its time is over")
	b.site = s
	require.Equal(t, 200, b.get("/members/").StatusCode)
	s.close()

	s = newSiteAt(t, path, secret(two))
	require.NotContains(t, s.keys(), keys[0])
	b.site = s
	require.Equal(t, 401, b.get("/members/").StatusCode, "the secret is gone, and what it signed is void")
	require.Equal(t, 200, s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh}).StatusCode, "the sign-in itself goes on")
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.Login.Token = on() })
	s.member("ada")
	s.member("eve")
	b := s.signedIn("ada")
	b.header.Set("User-Agent", "Laptop")
	clear(b.cookie)
	b.post("/accounts/login", data{"login": "ada", "password": testPassword})
	require.Equal(t, 401, s.browser().get("/accounts/sessions").StatusCode)
	require.Equal(t, 401, s.browser().post("/accounts/revoke-session", data{"others": true}).StatusCode)
	require.Equal(t, 405, b.post("/accounts/sessions", data{}).StatusCode)

	list := func(b *browser) []map[string]any {
		var out []map[string]any
		res := b.get("/accounts/sessions")
		require.Equal(t, 200, res.StatusCode, res.body)
		require.NoError(t, json.Unmarshal([]byte(res.body), &out))
		return out
	}
	all := list(b)
	require.Len(t, all, 4, "two sign-ins, each with a cookie and a token")
	kinds := map[any]int{}
	ids := map[string]bool{}
	current := ""
	for _, one := range all {
		kinds[one["kind"]]++
		ids[one["id"].(string)] = true
		require.Equal(t, "192.0.2.1", one["address"])
		if one["current"] == true {
			require.Empty(t, current)
			current = one["id"].(string)
			require.Equal(t, "Laptop", one["user_agent"])
			require.Equal(t, "session", one["kind"])
		}
	}
	require.Equal(t, map[any]int{"session": 2, "token": 2}, kinds)
	require.Len(t, ids, 4)
	require.NotEmpty(t, current)

	eve := s.signedIn("eve")
	requireError(t, eve.problems().post("/accounts/revoke-session", data{"id": current}), 404, "session_not_found")
	require.Len(t, list(eve), 2)
	require.Equal(t, 400, b.post("/accounts/revoke-session", data{}).StatusCode)
	for id := range ids {
		// What is shown signs nobody in.
		require.Equal(t, 401, s.browser().bearer(id).get("/accounts/profile").StatusCode)
		if id != current {
			require.Equal(t, 200, b.post("/accounts/revoke-session", data{"id": id}).StatusCode)
			require.Equal(t, 404, b.post("/accounts/revoke-session", data{"id": id}).StatusCode)
			break
		}
	}
	require.Len(t, list(b), 3)
	require.Equal(t, 200, b.post("/accounts/revoke-session", data{"others": true}).StatusCode)
	require.Len(t, list(b), 1)
	require.Equal(t, 200, b.post("/accounts/revoke-session", data{"id": current}).StatusCode)
	require.Empty(t, b.cookie["registration"], "its own end takes the cookie away")
	require.Equal(t, 401, b.get("/accounts/sessions").StatusCode)
}

func TestSessionsPage(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	other := s.signedIn("ada")
	b := s.signedIn("ada").likeBrowser()
	page := b.get("/accounts/sessions/")
	require.Equal(t, 200, page.StatusCode)
	require.Equal(t, 2, strings.Count(page.body, `name="id"`))
	require.Contains(t, page.body, "(this one)")
	res := b.do(http.MethodPost, "/accounts/revoke-session/", url.Values{"others": {"on"}})
	require.Equal(t, "/accounts/sessions/", res.Header.Get("Location"))
	require.Contains(t, b.follow(res).body, "All other sign-ins have ended.")
	require.Equal(t, 401, other.get("/accounts/profile").StatusCode)
	require.Equal(t, 200, b.get("/accounts/profile").StatusCode)
}

func mustID(t testing.TB, text string) uuid.UUID {
	t.Helper()
	id, ok := store.ParseID(text)
	require.True(t, ok, text)
	return id
}
