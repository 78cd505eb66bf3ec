// tokens_test.go: a real provider's ID tokens, in which something else stands than it has
// written, under its own signature.

package provider_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// writes has the provider send what change makes of its ID tokens.
func (p *provider) writes(t testing.TB, change func(token string) string) {
	p.answers(func(next http.Handler) http.Handler {
		return only("/oauth/token", func(w http.ResponseWriter, req *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, req)
			answer := map[string]any{}
			if json.Unmarshal(rec.Body.Bytes(), &answer) != nil || answer["id_token"] == nil {
				t.Error("no ID token: ", rec.Body.String())
				return
			}
			text, _ := answer["id_token"].(string)
			answer["id_token"] = change(text)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer)
		})(next)
	})
}

// signed is an ID token with other claims, by the key of the provider.
func (p *provider) signed(t testing.TB, text string, change func(map[string]any)) string {
	token, err := jose.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Error(err)
		return ""
	}
	claims := map[string]any{}
	if err := json.Unmarshal(token.UnsafePayloadWithoutVerification(), &claims); err != nil {
		t.Error(err)
	}
	change(claims)
	p.mu.Lock()
	defer p.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key.private, KeyID: p.key.name}}, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	raw, _ := json.Marshal(claims)
	made, err := signer.Sign(raw)
	if err != nil {
		t.Error(err)
		return ""
	}
	text, _ = made.CompactSerialize()
	return text
}

func TestAProviderThatLiesInItsTokens(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]any)
		good   bool
	}{
		"nothing":           {func(map[string]any) {}, true},
		"another issuer":    {func(c map[string]any) { c["iss"] = "https://accounts.google.com" }, false},
		"no issuer":         {func(c map[string]any) { delete(c, "iss") }, false},
		"another audience":  {func(c map[string]any) { c["aud"] = "another site" }, false},
		"us and another":    {func(c map[string]any) { c["aud"], c["azp"] = []string{"site", "another"}, "another" }, false},
		"no audience":       {func(c map[string]any) { delete(c, "aud") }, false},
		"another nonce":     {func(c map[string]any) { c["nonce"] = "another" }, false},
		"no nonce":          {func(c map[string]any) { delete(c, "nonce") }, false},
		"an end long ago":   {func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, false},
		"made tomorrow":     {func(c map[string]any) { c["iat"] = time.Now().Add(24 * time.Hour).Unix() }, false},
		"nobody":            {func(c map[string]any) { c["sub"] = "" }, false},
		"another's profile": {func(c map[string]any) { c["sub"] = "someone else" }, false}, // UserInfo is about ada
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t)
			p.has("ada", ada)
			s := knows(t, map[string]*provider{"ours": p}, "")
			p.writes(t, func(token string) string { return p.signed(t, token, c.change) })
			at := newPerson(t, s).signsIn("ours", "ada", "/members/")
			if c.good {
				require.Contains(t, at.text, "for members: ada@example.org")
				return
			}
			require.NotContains(t, at.text, "for members")
			require.Contains(t, newPerson(t, s).get(s.Base()+"/members/").text, "Sign in")
		})
	}
}

// The ID token of an older sign-in has another nonce.
func TestAnIDTokenThatIsSentAgain(t *testing.T) {
	p := startProvider(t)
	p.has("ada", ada)
	s := knows(t, map[string]*provider{"ours": p}, "")
	var older string
	p.writes(t, func(token string) string { older = token; return token })
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "for members: ada@example.org")
	require.NotEmpty(t, older)
	p.writes(t, func(string) string { return older })
	require.Contains(t, newPerson(t, s).signsIn("ours", "ada", "/members/").text, "answer couldn’t be accepted")
}
