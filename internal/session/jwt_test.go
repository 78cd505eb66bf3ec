// jwt_test.go: tokens from the sign-in to their end: the list of sign-ins, access
// and refresh tokens, the change of keys.

package session_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
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

func TestAccessTokenSaysWhoAndForWhom(t *testing.T) {
	s := sitetest.NewJWT(t)
	id := s.Member("ada")
	b, refresh := s.Tokens("ada")
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	require.Equal(t, "ada", b.Get("/accounts/profile").JSON(t)["username"])
	require.Len(t, strings.Split(refresh, "."), 2)

	token := strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer ")
	header, claims := sitetest.ClaimsOf(t, token)
	keys := s.Keys()
	require.Equal(t, sitetest.Data{"alg": "EdDSA", "typ": "JWT", "kid": keys[0].KeyID}, header)
	now := float64(s.Realm.Now().Unix())
	require.Equal(t, "http://example.com/accounts", claims["iss"])
	require.Equal(t, claims["iss"], claims["aud"])
	require.Equal(t, id, claims["sub"])
	require.Equal(t, now, claims["iat"])
	require.Equal(t, now+300, claims["exp"])
	require.Equal(t, "ada", claims["username"])
	require.Equal(t, "ada@example.org", claims["email"])
	require.NotEmpty(t, claims["jti"])
	require.NotEmpty(t, claims["sid"])

	s.Travel(5*time.Minute - time.Second)
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	s.Travel(time.Second)
	require.Equal(t, 401, b.Get("/members/").StatusCode)
	sitetest.RequireError(t, b.Problems().Get("/accounts/profile"), 401, "token_invalid")
	// An expired token that is sent along doesn't stand in the way of the next.
	require.Equal(t, 200, b.Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
}

func TestAccessTokensAreOffUnlessAskedFor(t *testing.T) {
	for _, configure := range []func(*registration.Settings){func(*registration.Settings) {}, func(s *registration.Settings) { s.Login.Token = sitetest.On() }} {
		s := sitetest.New(t, configure)
		for _, path := range []string{"refresh-token", ".well-known/jwks.json"} {
			require.Equal(t, 404, s.Browser().Get("/accounts/"+path).StatusCode)
			require.Equal(t, 404, s.Browser().Post("/accounts/"+path, sitetest.Data{}).StatusCode)
		}
	}
	s := sitetest.NewJWT(t)
	res := s.Browser().Post("/accounts/.well-known/jwks.json", sitetest.Data{})
	require.Equal(t, 405, res.StatusCode)
	require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
	require.Equal(t, 405, s.Browser().Get("/accounts/refresh-token").StatusCode)
}

func TestRevokedSignInEndsItsAccessTokens(t *testing.T) {
	s := sitetest.NewJWT(t)
	for name, end := range map[string]func(b *sitetest.Browser, id string){
		"logout": func(b *sitetest.Browser, _ string) {
			require.Equal(t, 200, b.Post("/accounts/logout", sitetest.Data{}).StatusCode)
		},
		"password change": func(_ *sitetest.Browser, id string) {
			other := s.SignedIn("user-of-password-change")
			require.Equal(t, 200, other.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": sitetest.Password + "2", "password_confirm": sitetest.Password + "2"}).StatusCode)
		},
		"disabled": func(_ *sitetest.Browser, id string) {
			_, err := s.Accounts.Administer(t.Context(), mustID(t, id), account.AdminChange{IsActive: sitetest.Off()})
			require.NoError(t, err)
		},
		"deleted": func(_ *sitetest.Browser, id string) {
			require.NoError(t, s.Accounts.Delete(t.Context(), mustID(t, id)))
		},
		"reset": func(b *sitetest.Browser, _ string) {
			require.Equal(t, 200, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "user-of-reset"}).StatusCode)
			require.Equal(t, 200, b.Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": sitetest.Password + "2"})).StatusCode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			user := "user-of-" + strings.ReplaceAll(name, " ", "-")
			id := s.Member(user)
			b, refresh := s.Tokens(user)
			require.Equal(t, 200, b.Get("/members/").StatusCode)
			end(b, id)
			require.Equal(t, 401, b.Get("/members/").StatusCode, "the token is good until it expires, but its sign-in has ended")
			require.Equal(t, 401, b.Get("/accounts/profile").StatusCode)
			sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}), 401, "token_invalid")
		})
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	b, first := s.Tokens("ada")
	res := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first})
	require.Equal(t, 200, res.StatusCode, res.Text)
	second := res.JSON(t)["refresh_token"].(string)
	require.NotEqual(t, first, second)
	require.Equal(t, 200, s.Browser().Bearer(res.JSON(t)["token"].(string)).Get("/members/").StatusCode)
	require.Equal(t, 200, b.Get("/members/").StatusCode, "the old access token is good until its own end")
	_, before := sitetest.ClaimsOf(t, strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer "))
	_, after := sitetest.ClaimsOf(t, res.JSON(t)["token"].(string))
	require.Equal(t, before["sid"], after["sid"])
	require.NotEqual(t, before["jti"], after["jti"])

	// A second tab, or a request sent again: refused, and nothing ends.
	again := s.Browser().Problems().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first})
	sitetest.RequireError(t, again, 409, "refresh_conflict")
	require.Equal(t, "10", again.Header.Get("Retry-After"))
	res = s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": second})
	require.Equal(t, 200, res.StatusCode)
	third := res.JSON(t)["refresh_token"].(string)

	// Reuse, on the other hand, ends the sign-in, for the thief and the owner.
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first}), 401, "token_reused")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": third}), 401, "token_invalid")
	require.Equal(t, 401, b.Get("/members/").StatusCode)

	_, first = s.Tokens("ada")
	require.Equal(t, 200, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first}).StatusCode)
	s.Travel(account.RefreshGrace)
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first}), 401, "token_reused")

	_, first = s.Tokens("ada")
	for name, bad := range map[string]any{
		"nothing": "", "half": strings.Split(first, ".")[0], "no generation": strings.Split(first, ".")[0] + ".",
		"no family": "." + strings.Split(first, ".")[1], "halves exchanged": strings.Split(first, ".")[1] + "." + strings.Split(first, ".")[0],
		"longer": first + "A", "an object": sitetest.Data{"a": 1}, "none": nil, "true": true, "one more part": first + ".A",
	} {
		res := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": bad})
		require.Contains(t, []int{400, 401}, res.StatusCode, name)
	}
	require.Equal(t, 200, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first}).StatusCode, "who doesn't know the family ends nothing")
}

func TestRefreshTokenEndsWithTheSignIn(t *testing.T) {
	s := sitetest.NewJWT(t, func(s *registration.Settings) {
		s.Session.Lifetime, s.Session.Idle = caddy.Duration(2*time.Hour), caddy.Duration(time.Hour)
	})
	s.Member("ada")
	_, refresh := s.Tokens("ada")
	for _, wait := range []time.Duration{59 * time.Minute, 58 * time.Minute} {
		s.Travel(wait)
		res := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh})
		require.Equal(t, 200, res.StatusCode)
		refresh = res.JSON(t)["refresh_token"].(string)
	}
	res := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).JSON(t)
	refresh = res["refresh_token"].(string)
	_, claims := sitetest.ClaimsOf(t, res["token"].(string))
	require.Equal(t, float64(s.Realm.Now().Add(3*time.Minute).Unix()), claims["exp"], "no access token outlives its sign-in")
	s.Travel(3 * time.Minute)
	require.Equal(t, 401, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
	_, refresh = s.Tokens("ada")
	s.Travel(time.Hour)
	require.Equal(t, 401, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode, "unused")
}

func TestParallelRefreshHasOneWinner(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	_, refresh := s.Tokens("ada")
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses, next := map[int]int{}, ""
	for range 100 {
		b := s.Browser()
		wg.Go(func() {
			res := b.Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh})
			var out map[string]any
			_ = json.Unmarshal([]byte(res.Text), &out)
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
	require.Equal(t, 200, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": next}).StatusCode, "and the winner's goes on")
}

func TestKeysChangeByAge(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	b, _ := s.Tokens("ada")
	first := s.Keys()
	require.Len(t, first, 1)
	require.True(t, first[0].IsPublic())
	require.Equal(t, "sig", first[0].Use)
	require.Equal(t, "EdDSA", first[0].Algorithm)
	require.IsType(t, ed25519.PublicKey{}, first[0].Key)

	s.Travel(29*sitetest.Day - time.Minute)
	require.Len(t, s.Keys(), 1)
	s.Travel(time.Minute) // a day before it signs
	published := s.Keys()
	require.Len(t, published, 2)
	b, _ = s.Tokens("ada")
	header, _ := sitetest.ClaimsOf(t, strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer "))
	require.Equal(t, first[0].KeyID, header["kid"], "the new key does not sign yet")
	s.Travel(sitetest.Day - time.Second)
	old, _ := s.Tokens("ada")
	s.Travel(time.Second)
	b, _ = s.Tokens("ada")
	header, _ = sitetest.ClaimsOf(t, strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer "))
	require.Equal(t, published[1].KeyID, header["kid"])
	s.Travel(298 * time.Second)
	require.Equal(t, 200, old.Get("/members/").StatusCode, "the old key verifies what it signed")
	require.Len(t, s.Keys(), 2)
	s.Travel(2 * time.Second)
	require.Len(t, s.Keys(), 1, "all that it signed has expired")
	require.Equal(t, published[1].KeyID, s.Keys()[0].KeyID)

	// Nobody signs in for a year: the next key is still published first.
	s.Travel(365 * sitetest.Day)
	late := s.Keys()
	require.Len(t, late, 2)
	require.Equal(t, published[1].KeyID, late[0].KeyID)
}

func TestKeysOutliveARestartAndEndWithTheirSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	secret := func(secrets ...string) func(*registration.Settings) {
		return func(s *registration.Settings) { sitetest.WithJWT(s); s.Secrets = secrets }
	}
	const one, two = "the first secret of this site", "the second secret of this site"
	s := sitetest.NewAt(t, path, secret(one))
	s.Member("ada")
	b, refresh := s.Tokens("ada")
	keys := s.Keys()
	s.Close()

	s = sitetest.NewAt(t, path, secret(two, one))
	require.Equal(t, keys, s.Keys(), "an old secret's key signs on until its time is over")
	b.Site = s
	require.Equal(t, 200, b.Get("/members/").StatusCode)
	s.Close()

	s = sitetest.NewAt(t, path, secret(two))
	require.NotContains(t, s.Keys(), keys[0])
	b.Site = s
	require.Equal(t, 401, b.Get("/members/").StatusCode, "the secret is gone, and what it signed is void")
	require.Equal(t, 200, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode, "the sign-in itself goes on")
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	s.Member("ada")
	s.Member("eve")
	b := s.SignedIn("ada")
	b.Header.Set("User-Agent", "Laptop")
	clear(b.Cookie)
	b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.Equal(t, 401, s.Browser().Get("/accounts/sessions").StatusCode)
	require.Equal(t, 401, s.Browser().Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
	require.Equal(t, 405, b.Post("/accounts/sessions", sitetest.Data{}).StatusCode)

	list := func(b *sitetest.Browser) []map[string]any {
		var out []map[string]any
		res := b.Get("/accounts/sessions")
		require.Equal(t, 200, res.StatusCode, res.Text)
		require.NoError(t, json.Unmarshal([]byte(res.Text), &out))
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

	eve := s.SignedIn("eve")
	sitetest.RequireError(t, eve.Problems().Post("/accounts/revoke-session", sitetest.Data{"id": current}), 404, "session_not_found")
	require.Len(t, list(eve), 2)
	require.Equal(t, 400, b.Post("/accounts/revoke-session", sitetest.Data{}).StatusCode)
	for id := range ids {
		// What is shown signs nobody in.
		require.Equal(t, 401, s.Browser().Bearer(id).Get("/accounts/profile").StatusCode)
		if id != current {
			require.Equal(t, 200, b.Post("/accounts/revoke-session", sitetest.Data{"id": id}).StatusCode)
			require.Equal(t, 404, b.Post("/accounts/revoke-session", sitetest.Data{"id": id}).StatusCode)
			break
		}
	}
	require.Len(t, list(b), 3)
	require.Equal(t, 200, b.Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
	require.Len(t, list(b), 1)
	require.Equal(t, 200, b.Post("/accounts/revoke-session", sitetest.Data{"id": current}).StatusCode)
	require.Empty(t, b.Cookie["registration"], "its own end takes the cookie away")
	require.Equal(t, 401, b.Get("/accounts/sessions").StatusCode)
}

func TestSessionsPage(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	other := s.SignedIn("ada")
	b := s.SignedIn("ada").LikeBrowser()
	page := b.Get("/accounts/sessions/")
	require.Equal(t, 200, page.StatusCode)
	require.Equal(t, 2, strings.Count(page.Text, `name="id"`))
	require.Contains(t, page.Text, "(this device)")
	res := b.Do(http.MethodPost, "/accounts/revoke-session/", url.Values{"others": {"on"}})
	require.Equal(t, "/accounts/sessions/", res.Header.Get("Location"))
	require.Contains(t, b.Follow(res).Text, "All other sessions and all access tokens for programs have ended.")
	require.Equal(t, 401, other.Get("/accounts/profile").StatusCode)
	require.Equal(t, 200, b.Get("/accounts/profile").StatusCode)
}

func mustID(t testing.TB, text string) uuid.UUID {
	t.Helper()
	id, ok := store.ParseID(text)
	require.True(t, ok, text)
	return id
}
