// jwt_jose_test.go: a library that is not ours, npm's jose, verifies access tokens
// against the served keys: now, after a change of keys, after their end.

package registration

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
)

func TestAnotherLibraryVerifiesAccessTokens(t *testing.T) {
	web := filepath.Join("integration", "web")
	_, nodeErr := exec.LookPath("node")
	_, joseErr := os.Stat(filepath.Join(web, "node_modules", "jose"))
	if nodeErr != nil || joseErr != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node, or jose in integration/web/node_modules, is missing, and CI must not go without (npm ci --prefix integration/web)")
		}
		t.Skip("node, or jose in integration/web/node_modules, is missing: npm ci --prefix integration/web")
	}
	s := newJWTSite(t)
	id := s.member("ada")
	const issuer = "http://example.com/accounts"
	var asked []data
	// ask remembers a question: this token, with the keys and the time of now.
	ask := func(token string, changes data) {
		var keys any
		require.NoError(t, json.Unmarshal([]byte(s.browser().get("/accounts/.well-known/jwks.json").body), &keys))
		asked = append(asked, with(data{"token": token, "keys": keys, "at": s.realm.Now().Unix(), "issuer": issuer, "audience": issuer}, changes))
	}
	token := func() string {
		b, _ := s.tokens("ada")
		return strings.TrimPrefix(b.header.Get("Authorization"), "Bearer ")
	}
	good := data{"sub": id, "username": "ada"}
	var want []data

	first := token()
	ask(first, nil)
	want = append(want, good)
	ask(first, data{"audience": "https://elsewhere.example"})
	ask(first, data{"issuer": "https://elsewhere.example"})
	want = append(want, data{"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"}, data{"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"})
	ask(first[:len(first)-4]+"AAAA", nil)
	want = append(want, data{"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"})
	ask(newSiteToken(t), nil)
	want = append(want, data{"error": "ERR_JWKS_NO_MATCHING_KEY"})

	s.travel(29 * day)
	require.Len(t, s.keys(), 2, "the next key is published")
	s.travel(day - time.Second)
	old := token()
	s.travel(time.Second)
	ask(old, nil) // by the old key, which signs no more
	next := token()
	ask(next, nil)
	oldHeader, _ := claimsOf(t, old)
	nextHeader, _ := claimsOf(t, next)
	require.NotEqual(t, oldHeader["kid"], nextHeader["kid"])
	want = append(want, good, good)
	s.travel(5*time.Minute - 2*time.Second)
	ask(old, nil)
	want = append(want, good)
	s.travel(time.Second)
	ask(old, nil)
	want = append(want, data{"error": "ERR_JWT_EXPIRED"})
	s.travel(time.Second)
	ask(old, nil) // and then its key is gone
	want = append(want, data{"error": "ERR_JWKS_NO_MATCHING_KEY"})

	raw, err := json.Marshal(asked)
	require.NoError(t, err)
	cmd := exec.Command("node", "jwt.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = web, bytes.NewReader(raw), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var got []data
	require.NoError(t, json.Unmarshal(out, &got))
	require.Equal(t, want, got)
}

// newSiteToken is a token of another site with the same issuer.
func newSiteToken(t *testing.T) string {
	other := newJWTSite(t)
	other.member("ada")
	b, _ := other.tokens("ada")
	return strings.TrimPrefix(b.header.Get("Authorization"), "Bearer ")
}

// TestCORS: a trusted origin may read every answer, refusals too; another one none.
func TestCORS(t *testing.T) {
	s := newSite(t, withJWT, func(s *Settings) { s.TrustedOrigins = []string{"https://app.example.net"} })
	for _, path := range []string{"login", "profile", "sessions", "nothing-here", "refresh-token"} {
		b := s.browser()
		b.header.Set("Origin", "https://app.example.net")
		for _, method := range []string{"GET", "POST", "DELETE"} {
			res := b.do(method, "/accounts/"+path, nil)
			require.Equal(t, "https://app.example.net", res.Header.Get("Access-Control-Allow-Origin"), "%s %s", method, path)
			require.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"))
			require.Contains(t, strings.Join(res.Header.Values("Vary"), ","), "Origin")
		}
		b.header.Set("Origin", "https://evil.example")
		res := b.do("POST", "/accounts/"+path, nil)
		require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"))
		require.Contains(t, strings.Join(res.Header.Values("Vary"), ","), "Origin", "or a cache mixes them up")
	}
	for origin, want := range map[string]int{"https://app.example.net": 204, "https://evil.example": 405, "null": 405, "https://app.example.net.evil.example": 405, "http://app.example.net": 405} {
		b := s.browser()
		b.header.Set("Origin", origin)
		b.header.Set("Access-Control-Request-Method", "PATCH")
		b.header.Set("Access-Control-Request-Headers", "authorization, content-type")
		res := b.do("OPTIONS", "/accounts/profile", nil)
		require.Equal(t, want, res.StatusCode, origin)
		if want == 204 {
			require.Equal(t, "GET, HEAD, POST, PUT, PATCH", res.Header.Get("Access-Control-Allow-Methods"))
			require.Contains(t, res.Header.Get("Access-Control-Allow-Headers"), "Authorization")
			require.NotContains(t, res.Header.Get("Access-Control-Allow-Headers"), "*")
		}
	}
	for _, path := range []string{"openapi.json", ".well-known/jwks.json"} {
		b := s.browser()
		b.header.Set("Origin", "https://anybody.example")
		res := b.get("/accounts/" + path)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"))
		b.header.Set("Access-Control-Request-Method", "GET")
		require.Equal(t, 204, b.do("OPTIONS", "/accounts/"+path, nil).StatusCode)
	}
}
