// Package oidc signs in with an account that somebody has elsewhere: as the client of a
// provider that speaks OpenID Connect, or of GitHub, which speaks OAuth 2 alone. It knows
// the protocol and nothing of accounts here, of browsers or of Caddy.
package oidc

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Kinds of providers that are known by name.
const (
	Google    = "google"
	Microsoft = "microsoft"
	GitHub    = "github"
	GitLab    = "gitlab"
)

// A Config says which provider, and who we are to it.
type Config struct {
	// Name is the owner's for it, and stands in addresses; Title what people read; "": that
	// of the kind, else Name.
	Name, Title string
	// Issuer is the identifier of the provider, an https URL; "": that of the kind which
	// Name is.
	Issuer string
	// ClientID and ClientSecret are what the provider has given the owner. A client without
	// a secret is a public one.
	ClientID, ClientSecret string
	// TrustAMR: what the provider says about how somebody signed in there counts here.
	TrustAMR bool
}

// IssuerOf is the issuer of a kind, "" for what is none.
func IssuerOf(kind string) string { return kinds[kind].issuer }

// Kinds are the names that need no issuer, in the order of the documentation.
var Kinds = []string{Google, Microsoft, GitHub, GitLab}

type kind struct {
	title, issuer string
	// distrusted: that the provider calls an address verified says nothing.
	distrusted bool
	// silent: it can't be had to ask somebody anew, or doesn't say that it has.
	silent bool
}

// microsoftCommon is where Microsoft takes people of all organisations and its own.
const microsoftCommon = "https://login.microsoftonline.com/common/v2.0"

var kinds = map[string]kind{
	Google:    {title: "Google", issuer: "https://accounts.google.com", silent: true},
	Microsoft: {title: "Microsoft", issuer: microsoftCommon, distrusted: true, silent: true},
	GitHub:    {title: "GitHub", issuer: "https://github.com", silent: true},
	GitLab:    {title: "GitLab", issuer: "https://gitlab.com"},
}

// Errors of a sign-in with an account elsewhere.
var (
	// ErrUnavailable says that the provider can't be reached, or answers nothing of use;
	// later it may.
	ErrUnavailable = errors.New("the provider can't be used")
	// ErrRefused says that what came back is not to be believed, or is none of this sign-in.
	ErrRefused = errors.New("the provider's answer is refused")
	// ErrNotAnew says that somebody was to sign in anew there, and has not.
	ErrNotAnew = errors.New("the provider has not asked anew")
)

// How long a provider may take, for one request; how long what it says about itself is
// believed; and how long it is left alone after it could not be reached.
const (
	patience   = 8 * time.Second
	believed   = time.Hour
	leftAlone  = 5 * time.Second
	clockSkew  = time.Minute
	maxSubject = 255
)

// An Identity is who somebody is at a provider.
type Identity struct {
	// Issuer and Subject are his name there, which no other account ever has.
	Issuer, Subject string
	// Email is his address, as the provider writes it; EmailVerified: the provider says
	// that it is his, and can know.
	Email         string
	EmailVerified bool
	// What he is called there; any may be "".
	Name, GivenName, FamilyName, Username string
	// Multi: he has shown two factors there (amr has mfa).
	Multi bool
	// AuthTime is when he has shown there who he is; zero: the provider doesn't say.
	AuthTime time.Time
}

// A Provider is one at which people have accounts. It asks the network for nothing before
// somebody wants to sign in. It is safe for concurrent use.
type Provider struct {
	Config
	kind   kind
	client *http.Client
	now    func() time.Time
	keys   keyring

	mu     sync.Mutex
	known  *metadata
	until  time.Time // of known
	alone  time.Time // until when it isn't asked
	failed error
	asking chan struct{} // closed when the one who asks is done; nil: nobody does
}

// metadata is what a provider says about itself.
type metadata struct {
	provider *goidc.Provider
	Methods  []string `json:"token_endpoint_auth_methods_supported"`
	SaysIss  bool     `json:"authorization_response_iss_parameter_supported"`
	UserInfo string   `json:"userinfo_endpoint"`
	Auth     string   `json:"authorization_endpoint"`
	Token    string   `json:"token_endpoint"`
	JWKS     string   `json:"jwks_uri"`
}

// New returns a provider. client asks it: NewClient's, or one of a test. now is the clock.
func New(c Config, client *http.Client, now func() time.Time) *Provider {
	p := &Provider{Config: c, kind: kinds[c.Name], client: client, now: now}
	p.keys = keyring{now: now, next: http.DefaultTransport}
	if client != nil && client.Transport != nil {
		p.keys.next = client.Transport
	}
	p.Issuer = cmp.Or(c.Issuer, p.kind.issuer)
	p.Title = cmp.Or(c.Title, p.kind.title, c.Name)
	return p
}

// maxAnswer bounds an answer of a provider, in bytes; the largest have some ten thousand.
const maxAnswer = 1 << 20

// NewClient returns a client that asks providers: nothing but where it was told to, for
// no longer than patience, and it reads no more than maxAnswer.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost = 16
	transport.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{
		Transport:     bounded{transport},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded is a transport whose answers have an end.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer)
	}
	return res, err
}

// Issues reports whether an account elsewhere with this issuer is one of the provider's.
func (p *Provider) Issues(issuer string) bool {
	if !p.anyTenant() {
		return issuer == p.Issuer
	}
	tenant, ok := strings.CutPrefix(issuer, "https://login.microsoftonline.com/")
	return ok && tenantOf(issuer, strings.TrimSuffix(tenant, "/v2.0"))
}

// isGitHub reports whether the provider has no ID token.
func (p *Provider) isGitHub() bool { return p.Name == GitHub }

// anyTenant reports whether the issuer is that of Microsoft which stands for many.
func (p *Provider) anyTenant() bool {
	return p.Name == Microsoft && (p.Issuer == microsoftCommon || strings.HasSuffix(p.Issuer, "/organizations/v2.0") || strings.HasSuffix(p.Issuer, "/consumers/v2.0"))
}

// asks is a context in which the libraries ask by our client.
func (p *Provider) asks(ctx context.Context) context.Context {
	return goidc.ClientContext(ctx, p.client)
}

// metadata returns what the provider says about itself: what is known, or what one request
// finds out, for all who want it at the moment. While it can't be asked, what was known
// before is good.
func (p *Provider) metadata(ctx context.Context) (*metadata, error) {
	for {
		p.mu.Lock()
		now := p.now()
		switch {
		case p.known != nil && (now.Before(p.until) || now.Before(p.alone)):
			defer p.mu.Unlock()
			return p.known, nil
		case p.known == nil && now.Before(p.alone):
			defer p.mu.Unlock()
			return nil, p.failed
		case p.asking == nil:
			p.asking = make(chan struct{})
			go p.discover(p.asking) //nolint:gosec // all who wait share it, so it must not end with one of them
		}
		wait := p.asking
		p.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, errors.Join(ErrUnavailable, ctx.Err())
		}
		p.mu.Lock()
		known, err := p.known, p.failed
		p.mu.Unlock()
		if known != nil {
			return known, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// discover asks the provider about itself and tells who waits. It is nobody's request: who
// goes away takes nothing from the others.
func (p *Provider) discover(done chan struct{}) {
	ctx, cancel := context.WithTimeout(goidc.ClientContext(context.Background(), p.keys.keyed(p.client)), patience)
	defer cancel()
	if p.anyTenant() { // it says {tenantid} for its name; tokens are held against their own
		ctx = goidc.InsecureIssuerURLContext(ctx, strings.Replace(p.Issuer, lastTenant(p.Issuer), "{tenantid}", 1))
	}
	m := &metadata{}
	found, err := goidc.NewProvider(ctx, p.Issuer)
	if err == nil {
		if err = found.Claims(m); err == nil {
			m.provider, err = found, m.check(p.Issuer)
			p.keys.are(m.JWKS)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed = nil; err != nil {
		p.failed, p.alone = errors.Join(ErrUnavailable, err), p.now().Add(leftAlone)
	} else {
		p.known, p.until = m, p.now().Add(believed)
	}
	p.asking = nil
	close(done)
}

// lastTenant is what stands for the tenant in an issuer of Microsoft's.
func lastTenant(issuer string) string {
	parts := strings.Split(issuer, "/")
	return parts[len(parts)-2]
}

// check refuses endpoints that are less safe than the issuer.
func (m *metadata) check(issuer string) error {
	for _, endpoint := range []string{m.Auth, m.Token, m.JWKS} {
		if !strings.HasPrefix(endpoint, "https://") && (!strings.HasPrefix(issuer, "http://") || !strings.HasPrefix(endpoint, "http://")) {
			return errors.New("the discovery document names an endpoint that is no https URL: " + endpoint)
		}
	}
	if m.UserInfo != "" && strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(m.UserInfo, "https://") {
		return errors.New("the discovery document names a userinfo_endpoint that is no https URL")
	}
	return nil
}

// oauth is the client of the provider's endpoints.
func (p *Provider) oauth(m *metadata, redirect string) *oauth2.Config {
	endpoint := oauth2.Endpoint{AuthURL: m.Auth, TokenURL: m.Token, AuthStyle: oauth2.AuthStyleInHeader}
	if p.ClientSecret == "" || len(m.Methods) > 0 && !slices.Contains(m.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: endpoint, RedirectURL: redirect, Scopes: []string{goidc.ScopeOpenID, "profile", "email"}}
}
