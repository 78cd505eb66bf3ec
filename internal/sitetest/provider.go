// provider.go: a provider of OpenID Connect, for the tests of who signs in by an account
// elsewhere. It says what the test wants, lies too.

package sitetest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
)

// A Provider is one at which people have accounts. Its fields are set between requests.
type Provider struct {
	*httptest.Server
	T testing.TB
	// Name is the one under which the site knows it.
	Name string
	// Claims are what it says of who signs in next, on top of what every ID token has.
	Claims Data
	// UserInfo is what its UserInfo endpoint says; nil: it has none.
	UserInfo Data
	// Metadata is on top of its discovery document.
	Metadata Data
	// Sign makes the ID token of its claims; nil: as it should be made.
	Sign func(claims []byte) string
	// Fail answers a request in its place, and returns true; nil: never.
	Fail func(w http.ResponseWriter, req *http.Request) bool
	// Key signs. A new one is in its key set at once.
	Key *rsa.PrivateKey
	// KeyID names it.
	KeyID string
	// Now is the clock of the site.
	Now func() time.Time

	mu    sync.Mutex
	codes map[string]url.Values
	// Asked counts the requests by path.
	Asked map[string]int
}

var providerKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	return key
})

// NewProvider starts one. Without a test it lives as long as the process.
func NewProvider(t testing.TB, name string) *Provider {
	p := &Provider{T: t, Name: name, Key: providerKey(), KeyID: "1", Now: time.Now, codes: map[string]url.Values{}, Asked: map[string]int{}, Claims: Data{"sub": "ada-1"}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	if t != nil {
		t.Cleanup(p.Close)
	}
	return p
}

// Settings are those by which a site knows it.
func (p *Provider) Settings() registration.OIDCSettings {
	return registration.OIDCSettings{Name: p.Name, Issuer: p.URL, ClientID: "site", ClientSecret: "its secret"}
}

// WithProviders has a site know providers.
func WithProviders(providers ...*Provider) func(*registration.Settings) {
	return func(s *registration.Settings) {
		for _, p := range providers {
			s.Login.OIDC = append(s.Login.OIDC, p.Settings())
		}
	}
}

func (p *Provider) serve(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Asked[req.URL.Path]++
	if p.Fail != nil && p.Fail(w, req) {
		return
	}
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch req.URL.Path {
	case "/.well-known/openid-configuration":
		d := Data{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}, "authorization_response_iss_parameter_supported": true,
		}
		if p.UserInfo != nil {
			d["userinfo_endpoint"] = p.URL + "/userinfo"
		}
		maps.Copy(d, p.Metadata)
		answer(d)
	case "/authorize": // a browser comes here; whoever it is agrees
		q := req.URL.Query()
		to, _ := url.Parse(q.Get("redirect_uri"))
		to.RawQuery = p.agreed(q)
		http.Redirect(w, req, to.String(), http.StatusSeeOther) //nolint:gosec // a test follows it no further
	case "/keys":
		answer(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.Key.Public(), KeyID: p.KeyID, Algorithm: "RS256", Use: "sig"}}})
	case "/token":
		p.token(w, req, answer)
	case "/userinfo":
		answer(p.UserInfo)
	default:
		http.NotFound(w, req)
	}
}

// token gives a code for tokens, to who is the site and shows the verifier.
func (p *Provider) token(w http.ResponseWriter, req *http.Request, answer func(any)) {
	asked, ok := p.codes[req.PostFormValue("code")]
	delete(p.codes, req.PostFormValue("code"))
	id, secret, _ := req.BasicAuth()
	sum := sha256.Sum256([]byte(req.PostFormValue("code_verifier")))
	if !ok || id != "site" || secret != "its+secret" || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || asked.Get("redirect_uri") != req.PostFormValue("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		answer(Data{"error": "invalid_grant"})
		return
	}
	claims := Data{"iss": p.URL, "aud": "site", "exp": p.Now().Add(time.Minute).Unix(), "iat": p.Now().Unix(), "nonce": asked.Get("nonce")}
	maps.Copy(claims, p.Claims)
	for name, value := range claims {
		if value == nil {
			delete(claims, name)
		}
	}
	raw, _ := json.Marshal(claims)
	sign := p.Sign
	if sign == nil {
		sign = p.Signed
	}
	answer(Data{"access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": sign(raw)})
}

// Signed is the ID token of its claims, as it should be made.
func (p *Provider) Signed(claims []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.Key, KeyID: p.KeyID}}, nil)
	require.NoError(p.T, err)
	signed, err := signer.Sign(claims)
	require.NoError(p.T, err)
	token, err := signed.CompactSerialize()
	require.NoError(p.T, err)
	return token
}

// Agree is what somebody does there: he signs in, and is sent back with the address that it
// returns, without scheme and host.
func (p *Provider) Agree(location string) string {
	p.T.Helper()
	u, err := url.Parse(location)
	require.NoError(p.T, err)
	require.Equal(p.T, p.URL+"/authorize", u.Scheme+"://"+u.Host+u.Path)
	q := u.Query()
	require.Equal(p.T, "code", q.Get("response_type"))
	require.Equal(p.T, "S256", q.Get("code_challenge_method"))
	require.Contains(p.T, strings.Fields(q.Get("scope")), "openid")
	back, err := url.Parse(q.Get("redirect_uri"))
	require.NoError(p.T, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	return back.Path + "?" + p.agreed(q)
}

// agreed is what somebody comes back with who was sent there with q; the caller holds mu.
func (p *Provider) agreed(q url.Values) string {
	var raw [12]byte
	_, _ = rand.Read(raw[:])
	code := base64.RawURLEncoding.EncodeToString(raw[:])
	p.codes[code] = q
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}.Encode()
}

// ByProvider goes the whole way to a provider and back, by the pages, and returns the answer
// to that. next is where he wanted to go.
func (b *Browser) ByProvider(p *Provider, next string) *Answer {
	b.Site.T.Helper()
	form := url.Values{"provider": {p.Name}}
	if next != "" {
		form.Set("next", next)
	}
	return b.Do(http.MethodGet, p.Agree(b.Elsewhere("/accounts/oidc-login/", form)), nil)
}

// Elsewhere sends a form that leads to a provider, and returns where.
func (b *Browser) Elsewhere(target string, form url.Values) string {
	b.Site.T.Helper()
	b.Header.Set("Accept", "text/html")
	res := b.Do(http.MethodPost, target, form)
	require.Equal(b.Site.T, http.StatusSeeOther, res.StatusCode, res.Text)
	return res.Header.Get("Location")
}
