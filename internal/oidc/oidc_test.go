// oidc_test.go: what a provider says about itself: what is believed of it, for how long, and
// what becomes of those who wait for it.

package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

type data = map[string]any

// A network is all of the network that a provider is asked in: addresses without their query,
// and what is there.
type network struct {
	mu    sync.Mutex
	hosts map[string]func(*http.Request) (int, any)
	asked map[string]int
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	at := req.URL.Scheme + "://" + req.URL.Host + req.URL.Path
	n.mu.Lock()
	n.asked[at]++
	answer := n.hosts[at]
	n.mu.Unlock()
	if answer == nil {
		return nil, errors.New("there is no " + at)
	}
	status, body := answer(req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	raw, ok := body.(string)
	if !ok {
		out, _ := json.Marshal(body)
		raw = string(out)
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(raw)), Request: req,
	}, nil
}

// client is NewClient's but for the network.
func (n *network) client() *http.Client {
	c := NewClient()
	c.Transport = bounded{n}
	return c
}

func (n *network) says(at string, body any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[at] = func(*http.Request) (int, any) { return http.StatusOK, body }
}

const (
	ours     = "https://id.example.org"
	document = "/.well-known/openid-configuration"
	redirect = "https://example.com/accounts/oidc-callback/ours"
)

// documentOf is what a provider says about itself.
func documentOf(issuer string, more data) data {
	d := data{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/keys",
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}
	maps.Copy(d, more)
	return d
}

func newNetwork() *network {
	return &network{hosts: map[string]func(*http.Request) (int, any){}, asked: map[string]int{}}
}

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
)

// sentTo are the parameters with which somebody is sent to a provider.
func sentTo(t *testing.T, location string) url.Values {
	t.Helper()
	u, err := url.Parse(location)
	require.NoError(t, err)
	return u.Query()
}

func TestWhatAProviderIsByItsName(t *testing.T) {
	for _, c := range []struct {
		config        Config
		title, issuer string
	}{
		{Config{Name: Google}, "Google", "https://accounts.google.com"},
		{Config{Name: Microsoft}, "Microsoft", "https://login.microsoftonline.com/common/v2.0"},
		{Config{Name: GitHub}, "GitHub", "https://github.com"},
		{Config{Name: GitLab}, "GitLab", "https://gitlab.com"},
		{Config{Name: GitLab, Issuer: "https://gitlab.example.org", Title: "Our code"}, "Our code", "https://gitlab.example.org"},
		{Config{Name: "ours", Issuer: ours}, "ours", ours},
	} {
		p := New(c.config, nil, time.Now)
		require.Equal(t, []string{c.title, c.issuer}, []string{p.Title, p.Issuer})
		require.Equal(t, IssuerOf(c.config.Name) != "", c.config.Name != "ours")
		require.True(t, c.config.Name == Microsoft || p.Issues(p.Issuer))
		require.False(t, p.Issues(p.Issuer+"/"))
	}
}

const tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// Which accounts elsewhere are a provider's: of Microsoft's for many tenants those of each
// tenant, of that for one those of that one.
func TestWhoseAccountsAreWhose(t *testing.T) {
	many := New(Config{Name: Microsoft}, nil, time.Now)
	one := New(Config{Name: Microsoft, Issuer: "https://login.microsoftonline.com/" + tenant + "/v2.0"}, nil, time.Now)
	for issuer, whose := range map[string][2]bool{
		"https://login.microsoftonline.com/" + tenant + "/v2.0":                       {true, true},
		"https://login.microsoftonline.com/00000000-0000-0000-0000-000000000001/v2.0": {true, false},
		"https://login.microsoftonline.com/common/v2.0":                               {false, false},
		"https://login.microsoftonline.com/" + tenant + "/v2.0/":                      {false, false},
		"https://login.microsoftonline.com/" + tenant:                                 {false, false},
		"https://login.microsoftonline.com/" + strings.ToUpper(tenant) + "/v2.0":      {false, false},
		"https://login.microsoftonline.com.evil.example/" + tenant + "/v2.0":          {false, false},
		"http://login.microsoftonline.com/" + tenant + "/v2.0":                        {false, false},
		"https://login.microsoftonline.com/x/../" + tenant + "/v2.0":                  {false, false},
		"https://sts.windows.net/" + tenant + "/":                                     {false, false},
	} {
		require.Equal(t, whose, [2]bool{many.Issues(issuer), one.Issues(issuer)}, issuer)
	}
	for _, which := range []string{"organizations", "consumers"} {
		p := New(Config{Name: Microsoft, Issuer: "https://login.microsoftonline.com/" + which + "/v2.0"}, nil, time.Now)
		require.True(t, p.Issues("https://login.microsoftonline.com/"+tenant+"/v2.0"), which)
	}
}

func TestDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		body   any
		good   bool
	}{
		"as it should be":                         {Config{}, documentOf(ours, nil), true},
		"another issuer":                          {Config{}, documentOf("https://elsewhere.example", nil), false},
		"the issuer with a slash":                 {Config{}, documentOf(ours, data{"issuer": ours + "/"}), false},
		"no issuer":                               {Config{}, documentOf(ours, data{"issuer": nil}), false},
		"a page over HTTP":                        {Config{}, documentOf(ours, data{"authorization_endpoint": "http://id.example.org/authorize"}), false},
		"tokens over HTTP":                        {Config{}, documentOf(ours, data{"token_endpoint": "http://id.example.org/token"}), false},
		"keys over HTTP":                          {Config{}, documentOf(ours, data{"jwks_uri": "http://169.254.169.254/keys"}), false},
		"people over HTTP":                        {Config{}, documentOf(ours, data{"userinfo_endpoint": "http://id.example.org/userinfo"}), false},
		"no keys":                                 {Config{}, documentOf(ours, data{"jwks_uri": nil}), false},
		"a script for a page":                     {Config{}, documentOf(ours, data{"authorization_endpoint": "javascript:alert(1)"}), false},
		"no JSON":                                 {Config{}, "<html>", false},
		"no object":                               {Config{}, "[]", false},
		"endpoints of another host":               {Config{}, documentOf(ours, data{"token_endpoint": "https://tokens.example.org/"}), true},
		"a document of 1 MiB":                     {Config{}, documentOf(ours, data{"x": strings.Repeat("x", 1<<20)}), false},
		"over HTTP, of an issuer over HTTP":       {Config{Issuer: "http://127.0.0.1:9"}, documentOf("http://127.0.0.1:9", nil), true},
		"a file, of an issuer over HTTP":          {Config{Issuer: "http://127.0.0.1:9"}, documentOf("http://127.0.0.1:9", data{"token_endpoint": "file:///etc/passwd"}), false},
		"Microsoft's for all":                     {Config{Name: Microsoft}, documentOf("https://login.microsoftonline.com/{tenantid}/v2.0", nil), true},
		"Microsoft's for people, of their tenant": {Config{Name: Microsoft, Issuer: "https://login.microsoftonline.com/consumers/v2.0"}, documentOf("https://login.microsoftonline.com/"+tenant+"/v2.0", nil), true},
		"Microsoft's for one, of one tenant":      {Config{Name: Microsoft, Issuer: "https://login.microsoftonline.com/" + tenant + "/v2.0"}, documentOf("https://login.microsoftonline.com/"+tenant+"/v2.0", nil), true},
		"Microsoft's for one, of all":             {Config{Name: Microsoft, Issuer: "https://login.microsoftonline.com/" + tenant + "/v2.0"}, documentOf("https://login.microsoftonline.com/{tenantid}/v2.0", nil), false},
		"{tenantid} of who is no Microsoft":       {Config{}, documentOf("https://id.example.org/{tenantid}", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.config.Issuer == "" && c.config.Name == "" {
				c.config.Issuer = ours
			}
			n := newNetwork()
			p := New(c.config, n.client(), time.Now)
			n.says(p.Issuer+document, c.body)
			location, err := p.Begin(t.Context(), Flow{Redirect: redirect, Verifier: strings.Repeat("v", 43)})
			if c.good {
				require.NoError(t, err)
				require.NotEmpty(t, location)
				return
			}
			require.ErrorIs(t, err, ErrUnavailable)
		})
	}
}

func TestWhereOneIsSent(t *testing.T) {
	f := Flow{Redirect: redirect, State: "state", Nonce: "nonce", Verifier: strings.Repeat("v", 43)}
	sum := sha256.Sum256([]byte(f.Verifier))
	for _, c := range []struct {
		name           string
		anew           bool
		prompt, maxAge string
	}{{"ours", false, "", ""}, {"ours", true, "login", "0"}, {Google, true, "select_account", ""}, {Microsoft, true, "login", ""}, {GitLab, true, "login", "0"}, {GitHub, true, "", ""}} {
		n := newNetwork()
		p := New(Config{Name: c.name, Issuer: map[bool]string{true: ours}[c.name == "ours"], ClientID: "site"}, n.client(), time.Now)
		n.says(p.Issuer+document, documentOf(strings.Replace(p.Issuer, "/common/", "/{tenantid}/", 1), nil))
		f.Anew = c.anew
		location, err := p.Begin(t.Context(), f)
		require.NoError(t, err)
		q := sentTo(t, location)
		require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:]), q.Get("code_challenge"), c.name)
		require.Equal(t, []string{"S256", "code", "site", redirect, "state"}, []string{q.Get("code_challenge_method"), q.Get("response_type"), q.Get("client_id"), q.Get("redirect_uri"), q.Get("state")})
		require.Equal(t, []string{c.prompt, c.maxAge}, []string{q.Get("prompt"), q.Get("max_age")}, c.name)
		require.NotContains(t, location, f.Verifier)
		if c.name == GitHub {
			require.Equal(t, "read:user user:email", q.Get("scope"))
			require.Empty(t, n.asked)
			continue
		}
		require.Equal(t, []string{"openid profile email", "nonce"}, []string{q.Get("scope"), q.Get("nonce")})
	}
}

// Whoever comes while a provider is asked waits for the same answer, which is kept for an
// hour; one that can't be reached is left alone for a moment, and what it has said before is
// good meanwhile.
func TestAProviderIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := New(Config{Name: "ours", Issuer: ours}, n.client(), time.Now)
		at, f := ours+document, Flow{Redirect: redirect, Verifier: strings.Repeat("v", 43)}
		begin := func() error { _, err := p.Begin(t.Context(), f); return err }
		require.Empty(t, n.asked)
		n.hosts[at] = func(*http.Request) (int, any) {
			time.Sleep(time.Second)
			return http.StatusOK, documentOf(ours, nil)
		}
		many := make(chan error, 10)
		for range cap(many) {
			go func() { many <- begin() }()
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := p.Begin(gone, f)
		require.ErrorIs(t, err, ErrUnavailable, "who goes away waits no longer")
		for range cap(many) {
			require.NoError(t, <-many, "and takes nothing from the others")
		}
		require.Equal(t, 1, n.asked[at])
		time.Sleep(believed - time.Second)
		require.NoError(t, begin())
		require.Equal(t, 1, n.asked[at])
		time.Sleep(2 * time.Second)
		require.NoError(t, begin())
		require.Equal(t, 2, n.asked[at])

		n.hosts[at] = func(*http.Request) (int, any) { return http.StatusBadGateway, "" }
		time.Sleep(2 * believed)
		for range 5 {
			require.NoError(t, begin(), "what it has said before")
		}
		require.Equal(t, 3, n.asked[at])
		time.Sleep(leftAlone)
		require.NoError(t, begin())
		require.Equal(t, 4, n.asked[at])
	})
}

// A provider that takes its time takes nobody else's: 8 seconds, then it is left alone.
func TestAProviderThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := New(Config{Name: "ours", Issuer: ours}, n.client(), time.Now)
		n.hosts[ours+document] = func(req *http.Request) (int, any) {
			<-req.Context().Done()
			return 0, nil
		}
		began := time.Now()
		_, err := p.Begin(t.Context(), Flow{Redirect: redirect, Verifier: strings.Repeat("v", 43)})
		require.ErrorIs(t, err, ErrUnavailable)
		require.LessOrEqual(t, time.Since(began), patience+time.Second)
		began = time.Now()
		_, err = p.Begin(t.Context(), Flow{Redirect: redirect})
		require.ErrorIs(t, err, ErrUnavailable)
		require.Zero(t, time.Since(began))
		require.Equal(t, 1, n.asked[ours+document])
		time.Sleep(leftAlone)
		n.says(ours+document, documentOf(ours, nil))
		_, err = p.Begin(t.Context(), Flow{Redirect: redirect})
		require.NoError(t, err)
	})
}

// The client that asks goes where it was told to, and reads so much.
func TestTheClientFollowsNobody(t *testing.T) {
	reached := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer inside.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/away":
			http.Redirect(w, req, inside.URL, http.StatusFound)
		case "/headers":
			w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
		default:
			_, _ = io.Copy(w, io.LimitReader(rand.Reader, 2*maxAnswer))
		}
	}))
	defer s.Close()
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		require.NoError(t, err)
		return NewClient().Do(req)
	}
	res, err := get("/away")
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusFound, res.StatusCode)
	require.False(t, reached, "an address that a redirect names is asked for nothing")
	_, err = get("/headers") //nolint:bodyclose // there is none
	require.Error(t, err)
	res, err = get("/")
	require.NoError(t, err)
	raw, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	require.Error(t, err)
	require.LessOrEqual(t, len(raw), maxAnswer)
}

// jwks is a key set of some keys, by their names.
func jwks(keys map[string]any) data {
	set := jose.JSONWebKeySet{}
	for name, key := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: name, Use: "sig"})
	}
	raw, _ := json.Marshal(set)
	out := data{}
	_ = json.Unmarshal(raw, &out)
	return out
}
