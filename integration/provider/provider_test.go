// provider_test.go: a provider as people meet it: zitadel's, with a page to sign in and
// people who are kept in memory.

package provider_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// A person has an account at a provider, whose password is its name there.
type person struct {
	subject, email string
	verified       bool
	given, family  string
}

// A provider is one that runs. What it has is guarded by mu.
type provider struct {
	t      testing.TB
	issuer string
	server *httptest.Server
	op     *op.Provider

	mu       sync.Mutex
	people   map[string]person
	asked    map[string]*signIn // by id
	codes    map[string]string  // the id of the sign-in
	tokens   map[string]string  // whose an access token is
	seen     map[string]int     // requests by path
	redirect string             // to where it sends people back
	key      *key
	// says puts its answers in others' place; nil: it says what it says.
	says func(http.Handler) http.Handler
	// inToken: the claims about a person are in the ID token, and not at UserInfo alone.
	inToken bool
}

// startProvider runs a provider that knows the site as a client, which has this secret. Its
// host is another site than that of the accounts: a browser treats it so.
func startProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, people: map[string]person{}, asked: map[string]*signIn{}, codes: map[string]string{}, tokens: map[string]string{}, seen: map[string]int{}, key: newKey(t)}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	p.issuer = strings.Replace(p.server.URL, "127.0.0.1", "localhost", 1)
	p.build()
	return p
}

func (p *provider) build() {
	config := &op.Config{CryptoKey: [32]byte{1}, CodeMethodS256: true, AuthMethodPost: true, SupportedScopes: []string{"openid", "profile", "email"}}
	var err error
	p.op, err = op.NewProvider(config, storage{p}, op.StaticIssuer(p.issuer), op.WithAllowInsecure())
	require.NoError(p.t, err)
}

// secret is that of the site.
const secret = "the site's secret: äöü+/ 1"

func (p *provider) serve(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	p.seen[req.URL.Path]++
	says := p.says
	p.mu.Unlock()
	next := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/login" {
			p.login(w, req)
			return
		}
		p.op.ServeHTTP(w, req)
	}))
	if says != nil {
		next = says(next)
	}
	next.ServeHTTP(w, req)
}

// login is its page: whoever writes the name of a person twice is that person.
func (p *provider) login(w http.ResponseWriter, req *http.Request) {
	id := req.FormValue("id")
	p.mu.Lock()
	asked := p.asked[id]
	who, known := p.people[req.PostFormValue("name")]
	good := known && req.PostFormValue("name") == req.PostFormValue("password")
	if asked != nil && good {
		asked.subject, asked.at = who.subject, time.Now()
	}
	p.mu.Unlock()
	switch {
	case asked == nil:
		http.Error(w, "nobody wants to sign in", http.StatusBadRequest)
	case req.Method == http.MethodPost && req.PostFormValue("cancel") != "":
		q := url.Values{"error": {"access_denied"}, "state": {asked.State}}
		http.Redirect(w, req, asked.RedirectURI+"?"+q.Encode(), http.StatusSeeOther)
	case req.Method == http.MethodPost && good:
		http.Redirect(w, req, op.AuthCallbackURL(p.op)(op.ContextWithIssuer(req.Context(), p.issuer), id), http.StatusSeeOther)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><head><title>Provider</title><link rel="icon" href="data:,"></head><body><h1>Provider</h1><p id="prompt">%s</p>
<form method="post"><input type="hidden" name="id" value="%s"><input name="name" autocomplete="username"><input name="password" type="password" autocomplete="current-password"><button>Go on</button> <button name="cancel" value="1">Cancel</button></form></body></html>`,
			html.EscapeString(strings.Join(asked.Prompt, " ")), html.EscapeString(id))
	}
}

// settings are those by which the site knows it.
func (p *provider) settings(name string, more ...string) string {
	return fmt.Sprintf("oidc %s {\n issuer %s\n client_id site\n client_secret %q\n title %q\n %s\n}\n", name, p.issuer, secret, "The "+name, strings.Join(more, "\n"))
}

func (p *provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[path]
}

// has gives it a person.
func (p *provider) has(name string, who person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[name] = who
}

// answers puts something in the place of its answers; nil ends that.
func (p *provider) answers(says func(http.Handler) http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says = says
}

// rotate has it sign by a new key, which is the only one in its set.
func (p *provider) rotate() {
	k := newKey(p.t)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = k
}

// A key signs, and verifies.
type key struct {
	private *rsa.PrivateKey
	name    string
	public  bool
}

func newKey(t testing.TB) *key {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return &key{private, rand.Text(), false}
}

func (k *key) ID() string                                  { return k.name }
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k *key) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (k *key) Use() string                                 { return "sig" }

func (k *key) Key() any {
	if k.public {
		return k.private.Public()
	}
	return k.private
}

// A signIn is what somebody is asked for at the provider.
type signIn struct {
	*oidc.AuthRequest
	id, subject string
	at          time.Time
}

func (s *signIn) GetID() string                      { return s.id }
func (s *signIn) GetACR() string                     { return "" }
func (s *signIn) GetAMR() []string                   { return []string{"pwd"} }
func (s *signIn) GetAudience() []string              { return []string{s.ClientID} }
func (s *signIn) GetAuthTime() time.Time             { return s.at }
func (s *signIn) GetClientID() string                { return s.ClientID }
func (s *signIn) GetNonce() string                   { return s.Nonce }
func (s *signIn) GetResponseMode() oidc.ResponseMode { return s.ResponseMode }
func (s *signIn) GetScopes() []string                { return s.Scopes }
func (s *signIn) GetSubject() string                 { return s.subject }
func (s *signIn) Done() bool                         { return s.subject != "" }
func (s *signIn) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: s.CodeChallenge, Method: s.CodeChallengeMethod}
}

// A client is the site as the provider knows it.
type client struct{ p *provider }

func (client) GetID() string { return "site" }
func (c client) RedirectURIs() []string {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return []string{c.p.redirect}
}
func (client) PostLogoutRedirectURIs() []string    { return nil }
func (client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (client) ResponseTypes() []oidc.ResponseType  { return []oidc.ResponseType{oidc.ResponseTypeCode} }
func (client) GrantTypes() []oidc.GrantType        { return []oidc.GrantType{oidc.GrantTypeCode} }
func (client) LoginURL(id string) string           { return "/login?id=" + url.QueryEscape(id) }
func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (client) IDTokenLifetime() time.Duration      { return time.Minute }
func (client) DevMode() bool                       { return true } // it is on loopback, over HTTP
func (client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
func (client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
func (client) IsScopeAllowed(string) bool { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.p.inToken
}
func (client) ClockSkew() time.Duration { return 0 }

// storage is what the library keeps by.
type storage struct{ *provider }

var errNothing = errors.New("there is no such thing")

func (s storage) CreateAuthRequest(_ context.Context, req *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &signIn{AuthRequest: req, id: rand.Text()}
	s.asked[made.id] = made
	return made, nil
}

func (s storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked := s.asked[id]; asked != nil {
		return asked, nil
	}
	return nil, errNothing
}

func (s storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	delete(s.codes, code) // it is good once
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

func (s storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

func (s storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, id)
	return nil
}

func (s storage) CreateAccessToken(_ context.Context, req op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := rand.Text()
	s.tokens[id] = req.GetSubject()
	return id, time.Now().Add(time.Minute), nil
}

func (s storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNothing
}

func (s storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNothing
}
func (s storage) TerminateSession(context.Context, string, string) error { return nil }
func (s storage) RevokeToken(context.Context, string, string, string) *oidc.Error {
	return nil
}

func (s storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (s storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key, nil
}

func (s storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []op.Key{&key{s.key.private, s.key.name, true}}, nil
}

func (s storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != "site" {
		return nil, errNothing
	}
	return client{s.provider}, nil
}

func (s storage) AuthorizeClientIDSecret(_ context.Context, id, sent string) error {
	if id != "site" || sent != secret {
		return errNothing
	}
	return nil
}

func (s storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest is what an ID token says of a person.
func (s storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, req op.IDTokenRequest, scopes []string) error {
	if !slices.Contains(scopes, "email") { // UserInfo alone says it
		info.Subject = req.GetSubject()
		return nil
	}
	return s.tells(info, req.GetSubject())
}

// SetUserinfoFromToken is what UserInfo says.
func (s storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, token, _, _ string) error {
	s.mu.Lock()
	subject, known := s.tokens[token]
	s.mu.Unlock()
	if !known {
		return errNothing
	}
	return s.tells(info, subject)
}

func (s storage) tells(info *oidc.UserInfo, subject string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, who := range s.people {
		if who.subject == subject {
			info.Subject, info.Email, info.EmailVerified = subject, who.email, oidc.Bool(who.verified)
			info.GivenName, info.FamilyName = who.given, who.family
			return nil
		}
	}
	return errNothing
}

func (s storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNothing
}

func (s storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNothing
}

func (s storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNothing
}
func (s storage) Health(context.Context) error { return nil }
