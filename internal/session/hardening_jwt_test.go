// hardening_jwt_test.go: attacks on access tokens, one a name: none of them gets in.

package session_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// forge makes a JWT by hand, so that it may be as wrong as an attacker likes.
func forge(t testing.TB, header, claims sitetest.Data, sign func(input []byte) []byte) string {
	t.Helper()
	part := func(v sitetest.Data) string {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	input := part(header) + "." + part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
}

func TestForgedAccessTokens(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	s.Member("eve")
	b, _ := s.Tokens("ada")
	good := strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer ")
	eve, _ := s.Tokens("eve")
	_, evesClaims := sitetest.ClaimsOf(t, strings.TrimPrefix(eve.Header.Get("Authorization"), "Bearer "))
	header, claims := sitetest.ClaimsOf(t, good)
	key := s.Accounts.Access.Current()[0]
	public := key.Private.Public().(ed25519.PublicKey)
	ours := func(input []byte) []byte { return ed25519.Sign(key.Private, input) }
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	theirs := func(input []byte) []byte { return ed25519.Sign(foreign, input) }
	theirJWK := func() sitetest.Data {
		raw, err := json.Marshal(jose.JSONWebKey{Key: foreign.Public(), KeyID: key.ID, Algorithm: "EdDSA"})
		require.NoError(t, err)
		var out sitetest.Data
		require.NoError(t, json.Unmarshal(raw, &out))
		return out
	}()
	hs256 := func(secret []byte) func([]byte) []byte {
		return func(input []byte) []byte {
			h := hmac.New(sha256.New, secret)
			h.Write(input)
			return h.Sum(nil)
		}
	}
	es256 := func(input []byte) []byte {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		sum := sha256.Sum256(input)
		sig, err := k.Sign(rand.Reader, sum[:], crypto.SHA256)
		require.NoError(t, err)
		return sig
	}
	none := func([]byte) []byte { return nil }
	now := s.Realm.Now().Unix()
	head := func(changes sitetest.Data) sitetest.Data { return sitetest.With(header, changes) }
	says := func(changes sitetest.Data) sitetest.Data { return sitetest.With(claims, changes) }
	swapped := func(token string, part int, with string) string {
		parts := strings.Split(token, ".")
		parts[part] = with
		return strings.Join(parts, ".")
	}
	require.Equal(t, 200, s.Browser().Bearer(forge(t, header, claims, ours)).Get("/members/").StatusCode, "the forger's tool works")
	for name, token := range map[string]string{
		"alg none":                 forge(t, head(sitetest.Data{"alg": "none"}), claims, none),
		"alg None":                 forge(t, head(sitetest.Data{"alg": "None"}), claims, none),
		"alg none, kept signature": forge(t, head(sitetest.Data{"alg": "none"}), claims, ours),
		"no alg":                   forge(t, head(sitetest.Data{"alg": nil}), claims, ours),
		"alg lower case":           forge(t, head(sitetest.Data{"alg": "eddsa"}), claims, ours),
		"HMAC with the public key": forge(t, head(sitetest.Data{"alg": "HS256"}), claims, hs256(public)),
		"HMAC with its text":       forge(t, head(sitetest.Data{"alg": "HS256"}), claims, hs256([]byte(key.Public))),
		"HMAC with nothing":        forge(t, head(sitetest.Data{"alg": "HS256"}), claims, hs256(nil)),
		"another algorithm":        forge(t, head(sitetest.Data{"alg": "ES256"}), claims, es256),
		"another key":              forge(t, header, claims, theirs),
		"no signature":             swapped(good, 2, ""),
		"other claims":             swapped(good, 1, base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x"}`))),
		"no kid":                   forge(t, head(sitetest.Data{"kid": nil}), claims, ours),
		"unknown kid":              forge(t, head(sitetest.Data{"kid": "AAAAAAAAAAAAAAAAAAAAAA"}), claims, theirs),
		"kid is a path":            forge(t, head(sitetest.Data{"kid": "../../../../dev/null"}), claims, hs256(nil)),
		"kid is SQL":               forge(t, head(sitetest.Data{"kid": "x' UNION SELECT 'k"}), claims, theirs),
		"kid is no text":           forge(t, head(sitetest.Data{"kid": []int{1}}), claims, ours),
		"jku":                      forge(t, head(sitetest.Data{"jku": "http://127.0.0.1:1/keys"}), claims, theirs),
		"x5u":                      forge(t, head(sitetest.Data{"x5u": "http://127.0.0.1:1/cert"}), claims, theirs),
		"jwk":                      forge(t, head(sitetest.Data{"jwk": theirJWK}), claims, theirs),
		"jwk, no kid":              forge(t, head(sitetest.Data{"jwk": theirJWK, "kid": nil}), claims, theirs),
		"unknown crit":             forge(t, head(sitetest.Data{"crit": []string{"x"}, "x": 1}), claims, ours),
		"not base64 (b64 false)":   forge(t, head(sitetest.Data{"crit": []string{"b64"}, "b64": false}), claims, ours),
		"another type":             forge(t, head(sitetest.Data{"typ": "dpop+jwt"}), claims, ours),
		"no type":                  forge(t, head(sitetest.Data{"typ": nil}), claims, ours),
		"expired":                  forge(t, header, says(sitetest.Data{"exp": now}), ours),
		"expired long ago":         forge(t, header, says(sitetest.Data{"exp": now - 3600}), ours),
		"no exp":                   forge(t, header, says(sitetest.Data{"exp": nil}), ours),
		"exp is text":              forge(t, header, says(sitetest.Data{"exp": "tomorrow"}), ours),
		"exp is huge":              forge(t, header, says(sitetest.Data{"exp": 1e300}), ours),
		"not yet":                  forge(t, header, says(sitetest.Data{"nbf": now + 1}), ours),
		"from the future":          forge(t, header, says(sitetest.Data{"iat": now + 60}), ours),
		"no iat":                   forge(t, header, says(sitetest.Data{"iat": nil}), ours),
		"another issuer":           forge(t, header, says(sitetest.Data{"iss": "http://example.com/other"}), ours),
		"no issuer":                forge(t, header, says(sitetest.Data{"iss": nil}), ours),
		"another audience":         forge(t, header, says(sitetest.Data{"aud": "https://elsewhere.example"}), ours),
		"no audience":              forge(t, header, says(sitetest.Data{"aud": nil}), ours),
		"no sid":                   forge(t, header, says(sitetest.Data{"sid": nil}), ours),
		"unknown sid":              forge(t, header, says(sitetest.Data{"sid": store.TokenHash{1}.Text()}), ours),
		"sid of somebody else":     forge(t, header, says(sitetest.Data{"sid": evesClaims["sid"]}), ours),
		"sub of somebody else":     forge(t, header, says(sitetest.Data{"sub": evesClaims["sub"]}), ours),
		"no sub":                   forge(t, header, says(sitetest.Data{"sub": nil}), ours),
		"one more part":            good + ".AAAA",
		"an encrypted one's parts": good + ".AAAA.AAAA",
		"JSON in place of compact": `{"payload":"` + strings.Split(good, ".")[1] + `"}`,
		"too long":                 forge(t, header, says(sitetest.Data{"x": strings.Repeat("a", session.MaxAccessToken)}), ours),
		"dots":                     "..",
		"spaces":                   " . . ",
		"padding":                  good + "=",
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser().Bearer(token)
			require.Equal(t, 401, b.Get("/members/").StatusCode)
			sitetest.RequireError(t, b.Problems().Get("/accounts/profile"), 401, "token_invalid")
		})
	}
	require.Equal(t, 200, b.Get("/members/").StatusCode)
}

// A key or a token of one realm is nothing in another, in one store and with
// one secret and one issuer too.
func TestAccessTokenOfAnotherRealm(t *testing.T) {
	configure := func(realm string) func(*registration.Settings) {
		return func(s *registration.Settings) {
			sitetest.WithJWT(s)
			s.Realm, s.Secrets, s.Login.JWT.Issuer = realm, []string{"one secret for both of them"}, "https://id.example"
		}
	}
	path := filepath.Join(t.TempDir(), "registration.db")
	one := sitetest.NewAt(t, path, configure("one"))
	one.Member("ada")
	b, refresh := one.Tokens("ada")
	require.Equal(t, 200, b.Get("/members/").StatusCode)
	one.Close()
	two := sitetest.NewAt(t, path, configure("two"))
	two.Member("ada")
	b.Site = two
	require.Equal(t, 401, b.Get("/members/").StatusCode)
	require.Equal(t, 401, two.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
}

// What belongs in one place is nothing in another.
func TestTokensAreNotInterchangeable(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	b, refresh := s.Tokens("ada")
	family, generation, _ := strings.Cut(refresh, ".")
	_, claims := sitetest.ClaimsOf(t, strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer "))
	for name, token := range map[string]string{"refresh token": refresh, "family": family, "generation": generation, "sid": claims["sid"].(string)} {
		require.Equal(t, 401, s.Browser().Bearer(token).Get("/members/").StatusCode, name)
		c := s.Browser()
		c.Cookie["registration"] = token
		require.Equal(t, 401, c.Get("/members/").StatusCode, name)
	}
	c := s.Browser()
	c.Cookie["registration"] = strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer ")
	require.Equal(t, 401, c.Get("/members/").StatusCode, "an access token as a cookie")
	c = s.SignedIn("ada")
	require.Equal(t, 401, s.Browser().Bearer(c.Cookie["registration"]).Get("/members/").StatusCode, "a cookie as a token")
	for _, bad := range []string{claims["sid"].(string) + "." + generation, c.Cookie["registration"] + "." + generation} {
		require.Equal(t, 401, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": bad}).StatusCode)
	}
	require.Equal(t, 200, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
}

// A stranger who makes up key ids does not make the store work for each.
func TestUnknownKeyIDsAreCheap(t *testing.T) {
	s := sitetest.NewJWT(t)
	s.Member("ada")
	counted := &countingStore{Store: s.Accounts.Store}
	s.Accounts.Access.Store = counted
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for range 100 {
		id := make([]byte, 16)
		_, _ = rand.Read(id)
		token := forge(t, sitetest.Data{"alg": "EdDSA", "typ": "JWT", "kid": base64.RawURLEncoding.EncodeToString(id)}, sitetest.Data{"exp": 1}, func(in []byte) []byte { return ed25519.Sign(foreign, in) })
		require.Equal(t, 401, s.Browser().Bearer(token).Get("/members/").StatusCode)
	}
	require.LessOrEqual(t, counted.views.Load(), int64(1))
	s.Travel(time.Minute)
	require.Equal(t, 401, s.Browser().Bearer("eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6IkFBQUFBQUFBQUFBQUFBQUFBQUFBQUEifQ.e30.AA").Get("/members/").StatusCode)
	require.LessOrEqual(t, counted.views.Load(), int64(2))
}

// Neither kind of token is in the store, nor the private key.
func TestStoreHoldsNoTokens(t *testing.T) {
	sitetest.Embedded(t)
	path := filepath.Join(t.TempDir(), "registration.db")
	s := sitetest.NewAt(t, path, sitetest.WithJWT, func(s *registration.Settings) { s.Secrets = []string{"a secret that is kept elsewhere"} })
	s.Member("ada")
	b, refresh := s.Tokens("ada")
	key := s.Accounts.Access.Current()[0].Private
	s.Close()
	raw := sitetest.ReadFile(t, path)
	require.Contains(t, raw, "ada@example.org", "the file is what it seems")
	family, generation, _ := strings.Cut(refresh, ".")
	for _, secret := range []string{
		family, generation, strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer "),
		string(key.Seed()), base64.RawURLEncoding.EncodeToString(key.Seed()), base64.StdEncoding.EncodeToString(key.Seed()),
	} {
		require.NotContains(t, raw, secret)
	}
	for _, entry := range s.Logs.All() {
		for _, f := range entry.Context {
			require.NotContains(t, f.String, generation)
			require.NotContains(t, f.String, family)
		}
	}
}

// countingStore counts its reads.
type countingStore struct {
	store.Store
	views atomic.Int64
}

func (c *countingStore) View(ctx context.Context, fn func(store.Tx) error) error {
	c.views.Add(1)
	return c.Store.View(ctx, fn)
}
