// keys_test.go: a library that is not ours, npm's jose, verifies access tokens
// against the served keys: now, after a change of keys, after their end.

package session_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestAnotherLibraryVerifiesAccessTokens(t *testing.T) {
	web := filepath.Join(sitetest.Root(), "integration", "web")
	_, nodeErr := exec.LookPath("node")
	_, joseErr := os.Stat(filepath.Join(web, "node_modules", "jose"))
	if nodeErr != nil || joseErr != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node, or jose in integration/web/node_modules, is missing, and CI must not go without (npm ci --prefix integration/web)")
		}
		t.Skip("node, or jose in integration/web/node_modules, is missing: npm ci --prefix integration/web")
	}
	s := sitetest.NewJWT(t)
	id := s.Member("ada")
	const issuer = "http://example.com/accounts"
	var asked []sitetest.Data
	// ask remembers a question: this token, with the keys and the time of now.
	ask := func(token string, changes sitetest.Data) {
		var keys any
		require.NoError(t, json.Unmarshal([]byte(s.Browser().Get("/accounts/.well-known/jwks.json").Text), &keys))
		asked = append(asked, sitetest.With(sitetest.Data{"token": token, "keys": keys, "at": s.Realm.Now().Unix(), "issuer": issuer, "audience": issuer}, changes))
	}
	token := func() string {
		b, _ := s.Tokens("ada")
		return strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer ")
	}
	good := sitetest.Data{"sub": id, "username": "ada"}
	var want []sitetest.Data

	first := token()
	ask(first, nil)
	want = append(want, good)
	ask(first, sitetest.Data{"audience": "https://elsewhere.example"})
	ask(first, sitetest.Data{"issuer": "https://elsewhere.example"})
	want = append(want, sitetest.Data{"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"}, sitetest.Data{"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"})
	ask(first[:len(first)-4]+"AAAA", nil)
	want = append(want, sitetest.Data{"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"})
	ask(newSiteToken(t), nil)
	want = append(want, sitetest.Data{"error": "ERR_JWKS_NO_MATCHING_KEY"})

	s.Travel(29 * sitetest.Day)
	require.Len(t, s.Keys(), 2, "the next key is published")
	s.Travel(sitetest.Day - time.Second)
	old := token()
	s.Travel(time.Second)
	ask(old, nil) // by the old key, which signs no more
	next := token()
	ask(next, nil)
	oldHeader, _ := sitetest.ClaimsOf(t, old)
	nextHeader, _ := sitetest.ClaimsOf(t, next)
	require.NotEqual(t, oldHeader["kid"], nextHeader["kid"])
	want = append(want, good, good)
	s.Travel(5*time.Minute - 2*time.Second)
	ask(old, nil)
	want = append(want, good)
	s.Travel(time.Second)
	ask(old, nil)
	want = append(want, sitetest.Data{"error": "ERR_JWT_EXPIRED"})
	s.Travel(time.Second)
	ask(old, nil) // and then its key is gone
	want = append(want, sitetest.Data{"error": "ERR_JWKS_NO_MATCHING_KEY"})

	raw, err := json.Marshal(asked)
	require.NoError(t, err)
	cmd := exec.Command("node", "jwt.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = web, bytes.NewReader(raw), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var got []sitetest.Data
	require.NoError(t, json.Unmarshal(out, &got))
	require.Equal(t, want, got)
}

// newSiteToken is a token of another site with the same issuer.
func newSiteToken(t *testing.T) string {
	other := sitetest.NewJWT(t)
	other.Member("ada")
	b, _ := other.Tokens("ada")
	return strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer ")
}

// TestCORS: a trusted origin may read every answer, refusals too; another one none.
func TestCORS(t *testing.T) {
	s := sitetest.New(t, sitetest.WithJWT, func(s *registration.Settings) { s.TrustedOrigins = []string{"https://app.example.net"} })
	for _, path := range []string{"login", "profile", "sessions", "nothing-here", "refresh-token"} {
		b := s.Browser()
		b.Header.Set("Origin", "https://app.example.net")
		for _, method := range []string{"GET", "POST", "DELETE"} {
			res := b.Do(method, "/accounts/"+path, nil)
			require.Equal(t, "https://app.example.net", res.Header.Get("Access-Control-Allow-Origin"), "%s %s", method, path)
			require.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"))
			require.Contains(t, strings.Join(res.Header.Values("Vary"), ","), "Origin")
		}
		b.Header.Set("Origin", "https://evil.example")
		res := b.Do("POST", "/accounts/"+path, nil)
		require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"))
		require.Contains(t, strings.Join(res.Header.Values("Vary"), ","), "Origin", "or a cache mixes them up")
	}
	for origin, want := range map[string]int{"https://app.example.net": 204, "https://evil.example": 405, "null": 405, "https://app.example.net.evil.example": 405, "http://app.example.net": 405} {
		b := s.Browser()
		b.Header.Set("Origin", origin)
		b.Header.Set("Access-Control-Request-Method", "PATCH")
		b.Header.Set("Access-Control-Request-Headers", "authorization, content-type")
		res := b.Do("OPTIONS", "/accounts/profile", nil)
		require.Equal(t, want, res.StatusCode, origin)
		if want == 204 {
			require.Equal(t, "GET, HEAD, POST, PUT, PATCH", res.Header.Get("Access-Control-Allow-Methods"))
			require.Contains(t, res.Header.Get("Access-Control-Allow-Headers"), "Authorization")
			require.NotContains(t, res.Header.Get("Access-Control-Allow-Headers"), "*")
		}
	}
	for _, path := range []string{"openapi.json", ".well-known/jwks.json"} {
		b := s.Browser()
		b.Header.Set("Origin", "https://anybody.example")
		res := b.Get("/accounts/" + path)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"))
		b.Header.Set("Access-Control-Request-Method", "GET")
		require.Equal(t, 204, b.Do("OPTIONS", "/accounts/"+path, nil).StatusCode)
	}
}
