// flow_test.go: what is believed of who comes back: the claims of ID tokens, their
// signatures and keys, and what Microsoft and GitHub do in their own way.

package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

var (
	now  = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	flow = Flow{Redirect: redirect, State: "state", Nonce: "nonce", Verifier: strings.Repeat("v", 43), Began: now}
)

// A provider that says what a test wants.
type fake struct {
	*network
	issuer string
	// claims are on top of what every ID token has; nil takes one away.
	claims data
	sign   func(claims []byte) string
	// token is on top of the answer of the token endpoint.
	token data
	keys  map[string]any
	// form is what the token endpoint was sent last, with how the client has shown itself.
	form   map[string]string
	secret string
}

// comesTo is a fake of a provider, and it as the client sees it.
func comesTo(t *testing.T, c Config, says data) (*fake, *Provider) {
	t.Helper()
	f := &fake{network: newNetwork(), keys: map[string]any{"1": rsaKey().Public()}}
	c.ClientID = "site"
	p := New(c, f.network.client(), func() time.Time { return now })
	f.issuer = p.Issuer
	f.sign = func(claims []byte) string { return signed(t, jose.RS256, rsaKey(), "1", claims) }
	issuer := strings.Replace(p.Issuer, "/common/", "/{tenantid}/", 1)
	f.hosts[p.Issuer+document] = func(*http.Request) (int, any) { return http.StatusOK, documentOf(issuer, says) }
	f.hosts[issuer+"/keys"] = func(*http.Request) (int, any) { return http.StatusOK, jwks(f.keys) }
	f.hosts[issuer+"/token"] = f.gives
	return f, p
}

func (f *fake) gives(req *http.Request) (int, any) {
	_ = req.ParseForm()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.form = map[string]string{}
	for name := range req.PostForm {
		f.form[name] = req.PostForm.Get(name)
	}
	_, f.secret, _ = req.BasicAuth()
	claims := data{"iss": f.issuer, "aud": "site", "sub": "1", "nonce": "nonce", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	maps.Copy(claims, f.claims)
	for name, value := range claims {
		if value == nil {
			delete(claims, name)
		}
	}
	raw, _ := json.Marshal(claims)
	answer := data{"access_token": "access", "token_type": "Bearer", "id_token": f.sign(raw)}
	maps.Copy(answer, f.token)
	return http.StatusOK, answer
}

func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, id string, claims []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	require.NoError(t, err)
	made, err := signer.Sign(claims)
	require.NoError(t, err)
	token, err := made.CompactSerialize()
	require.NoError(t, err)
	return token
}

func (f *fake) comes(t *testing.T, p *Provider, a Answer) (*Identity, error) {
	t.Helper()
	return p.Finish(t.Context(), flow, a)
}

func TestTheClaimsOfAnIDToken(t *testing.T) {
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		claims data
		good   bool
	}{
		"as they should be":               {nil, true},
		"the issuer with a slash":         {data{"iss": ours + "/"}, false},
		"the issuer in capitals":          {data{"iss": strings.ToUpper(ours)}, false},
		"no issuer":                       {data{"iss": nil}, false},
		"us in a list":                    {data{"aud": []string{"site"}}, true},
		"us among others, for us":         {data{"aud": []string{"other", "site"}, "azp": "site"}, true},
		"us among others, for nobody":     {data{"aud": []string{"other", "site"}}, false},
		"us among others, for another":    {data{"aud": []string{"other", "site"}, "azp": "other"}, false},
		"another audience":                {data{"aud": "other"}, false},
		"an audience that begins like us": {data{"aud": "site2"}, false},
		"no audience":                     {data{"aud": nil}, false},
		"an empty list":                   {data{"aud": []string{}}, false},
		"for us":                          {data{"azp": "site"}, true},
		"for another":                     {data{"azp": "other"}, false},
		"expired within the skew":         {data{"exp": at(-59 * time.Second)}, true},
		"expired":                         {data{"exp": at(-61 * time.Second)}, false},
		"without an end":                  {data{"exp": nil}, false},
		"made in two minutes":             {data{"iat": at(2 * time.Minute)}, true},
		"made in three":                   {data{"iat": at(3 * time.Minute)}, false},
		"good from now":                   {data{"nbf": at(0)}, true},
		"good from tomorrow":              {data{"nbf": at(24 * time.Hour)}, false},
		"another nonce":                   {data{"nonce": "Nonce"}, false},
		"a longer nonce":                  {data{"nonce": "nonce "}, false},
		"no nonce":                        {data{"nonce": nil}, false},
		"nobody":                          {data{"sub": ""}, false},
		"a name of 255 bytes":             {data{"sub": strings.Repeat("x", 255)}, true},
		"a name of 256":                   {data{"sub": strings.Repeat("x", 256)}, false},
		"a name that is a number":         {data{"sub": 7}, false},
		"another access token":            {data{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: "ours", Issuer: ours}, nil)
			f.claims = c.claims
			who, err := f.comes(t, p, Answer{Code: "code"})
			if !c.good {
				require.ErrorIs(t, err, ErrRefused)
				require.Nil(t, who)
				return
			}
			require.NoError(t, err)
			require.Equal(t, ours, who.Issuer)
		})
	}
}

func TestTheSignatureOfAnIDToken(t *testing.T) {
	spki, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	bare := base64.RawURLEncoding.EncodeToString
	of := func(alg jose.SignatureAlgorithm, key any, id string) func(*testing.T) func([]byte) string {
		return func(t *testing.T) func([]byte) string {
			return func(claims []byte) string { return signed(t, alg, key, id, claims) }
		}
	}
	plain := func(header string) func(*testing.T) func([]byte) string {
		return func(*testing.T) func([]byte) string {
			return func(claims []byte) string { return bare([]byte(header)) + "." + bare(claims) + "." }
		}
	}
	for name, c := range map[string]struct {
		says data
		sign func(*testing.T) func([]byte) string
		good bool
	}{
		"RS256":                                 {nil, of(jose.RS256, rsaKey(), "1"), true},
		"RS256, by no name":                     {nil, of(jose.RS256, rsaKey(), ""), true},
		"ES256, where it says so":               {data{"id_token_signing_alg_values_supported": []string{"ES256"}}, of(jose.ES256, ecKey(), "2"), true},
		"ES256, where it doesn't":               {nil, of(jose.ES256, ecKey(), "2"), false},
		"nobody's":                              {nil, plain(`{"alg":"none"}`), false},
		"nobody's, where it says so":            {data{"id_token_signing_alg_values_supported": []string{"none"}}, plain(`{"alg":"none"}`), false},
		"nobody's, in capitals":                 {nil, plain(`{"alg":"NONE","kid":"1"}`), false},
		"the client's secret":                   {data{"id_token_signing_alg_values_supported": []string{"HS256", "RS256"}}, of(jose.HS256, []byte(strings.Repeat("its secret", 4)), "1"), false},
		"the public key as a secret":            {data{"id_token_signing_alg_values_supported": []string{"HS256", "RS256"}}, of(jose.HS256, public, "1"), false},
		"the public key's bytes, by no name":    {nil, of(jose.HS256, spki, ""), false},
		"a key of another's, by the right name": {nil, of(jose.RS256, freshKey(), "1"), false},
		"a key that the token brings":           {nil, brings, false},
		"a key that is not in the set":          {nil, of(jose.RS256, rsaKey(), "9"), false},
		"another algorithm of the same key":     {nil, of(jose.PS256, rsaKey(), "1"), false},
		"no token":                              {nil, func(*testing.T) func([]byte) string { return func([]byte) string { return "x" } }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: "ours", Issuer: ours}, c.says)
			f.keys["2"] = ecKey().Public()
			f.sign = c.sign(t)
			_, err := f.comes(t, p, Answer{Code: "code"})
			if c.good {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrRefused)
		})
	}
}

func freshKey() *rsa.PrivateKey {
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	return key
}

// brings signs by a key that the token itself has with it.
func brings(t *testing.T) func([]byte) string {
	return func(claims []byte) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: freshKey()}, &jose.SignerOptions{EmbedJWK: true})
		require.NoError(t, err)
		made, err := signer.Sign(claims)
		require.NoError(t, err)
		token, _ := made.CompactSerialize()
		return token
	}
}

// The keys of a provider are fetched once, and once more for one that has come since; however
// many sign-ins bring one that there is not, it is asked no more often than that, and who comes
// with one that is known is let in meanwhile.
func TestTheKeysAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, p := comesTo(t, Config{Name: "ours", Issuer: ours}, nil)
		began := time.Now()
		p.now = func() time.Time { return now.Add(time.Since(began)) }
		p.keys.now = p.now
		comes := func() error {
			_, err := f.comes(t, p, Answer{Code: "code"})
			synctest.Wait() // a fetch is shared until it has ended
			return err
		}
		fetched := func() int { return f.asked[ours+"/keys"] }
		by := func(key *rsa.PrivateKey, name string) {
			f.sign = func(claims []byte) string { return signed(t, jose.RS256, key, name, claims) }
		}
		for range 3 {
			require.NoError(t, comes())
		}
		require.Equal(t, 1, fetched())
		other := freshKey()
		f.keys = map[string]any{"2": other.Public()}
		by(other, "2")
		for range 3 {
			require.NoError(t, comes(), "a new key is good at once")
		}
		require.Equal(t, 2, fetched())
		by(rsaKey(), "1")
		for range 20 {
			require.ErrorIs(t, comes(), ErrUnavailable, "whether this is a key cannot be told at the moment")
		}
		require.Equal(t, 2, fetched())
		by(other, "2")
		require.NoError(t, comes(), "who comes with a known key is let in")
		time.Sleep(keyWindow - time.Nanosecond)
		by(rsaKey(), "1")
		require.ErrorIs(t, comes(), ErrUnavailable)
		require.Equal(t, 2, fetched())
		time.Sleep(time.Nanosecond)
		require.ErrorIs(t, comes(), ErrRefused, "the key of before is none any more")
		require.Equal(t, 3, fetched())
		f.hosts[ours+"/keys"] = func(*http.Request) (int, any) { return http.StatusBadGateway, "" }
		for range 20 {
			require.ErrorIs(t, comes(), ErrUnavailable)
		}
		require.Equal(t, 4, fetched(), "one that fails is not asked more often either")
		by(other, "2")
		require.NoError(t, comes(), "what is kept is good while they can't be fetched")
		for range 3 { // half a minute of sign-ins, all at once each second
			for range 10 {
				by(rsaKey(), "1")
				time.Sleep(time.Second)
				many := make(chan error, 10)
				for range cap(many) {
					go func() { _, err := f.comes(t, p, Answer{Code: "code"}); many <- err }()
				}
				for range cap(many) {
					require.Error(t, <-many)
				}
				synctest.Wait()
			}
		}
		require.LessOrEqual(t, fetched(), 4+3*keyFetches)
		p.now = func() time.Time { return began.Add(-time.Hour) }
		p.keys.now = p.now
		require.True(t, p.keys.admits(ours+"/keys"), "a clock that is set back shuts nobody out")
	})
}

// How a client shows who it is, and that it sends the verifier.
func TestTheCodeIsGivenForTokens(t *testing.T) {
	for name, c := range map[string]struct {
		secret         string
		says           data
		header, inForm bool
	}{
		"as nobody says otherwise": {"s", nil, true, false},
		"in the header":            {"s", data{"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"}}, true, false},
		"in the form":              {"s", data{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}}, false, true},
		"a public client":          {"", nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: "ours", Issuer: ours, ClientSecret: c.secret}, c.says)
			_, err := f.comes(t, p, Answer{Code: "the code"})
			require.NoError(t, err)
			require.Equal(t, []string{"authorization_code", "the code", flow.Verifier, redirect}, []string{f.form["grant_type"], f.form["code"], f.form["code_verifier"], f.form["redirect_uri"]})
			require.Equal(t, []bool{c.header, c.inForm}, []bool{f.secret == "s", f.form["client_secret"] == "s"})
			require.Equal(t, !c.header, f.form["client_id"] == "site")
		})
	}
	for name, c := range map[string]struct {
		status int
		body   any
		want   error
	}{
		"a bad code":      {http.StatusBadRequest, data{"error": "invalid_grant"}, ErrRefused},
		"a bad client":    {http.StatusUnauthorized, data{"error": "invalid_client"}, ErrRefused},
		"too often":       {http.StatusTooManyRequests, "", ErrUnavailable},
		"it is broken":    {http.StatusInternalServerError, data{"error": "server_error"}, ErrUnavailable},
		"no JSON":         {http.StatusOK, "<html>", ErrUnavailable},
		"no tokens":       {http.StatusOK, data{}, ErrUnavailable},
		"no ID token":     {http.StatusOK, data{"access_token": "a", "token_type": "Bearer"}, ErrRefused},
		"an ID that is 7": {http.StatusOK, data{"access_token": "a", "token_type": "Bearer", "id_token": 7}, ErrRefused},
		"without end":     {http.StatusOK, data{"access_token": strings.Repeat("a", 2<<20)}, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: "ours", Issuer: ours, ClientSecret: "very secret"}, nil)
			f.hosts[ours+"/token"] = func(*http.Request) (int, any) { return c.status, c.body }
			_, err := f.comes(t, p, Answer{Code: "the code"})
			require.ErrorIs(t, err, c.want)
			require.NotContains(t, err.Error(), "very secret")
			require.NotContains(t, err.Error(), "the code")
		})
	}
}

// The issuer that says it answers (RFC 9207).
func TestWhoAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		says data
		a    Answer
		good bool
	}{
		"nobody says so":                  {nil, Answer{Code: "c"}, true},
		"the right one":                   {nil, Answer{Code: "c", Iss: ours}, true},
		"another":                         {nil, Answer{Code: "c", Iss: "https://elsewhere.example"}, false},
		"nobody, where it promises":       {data{"authorization_response_iss_parameter_supported": true}, Answer{Code: "c"}, false},
		"the right one, where it does so": {data{"authorization_response_iss_parameter_supported": true}, Answer{Code: "c", Iss: ours}, true},
		"no code":                         {nil, Answer{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: "ours", Issuer: ours}, c.says)
			_, err := f.comes(t, p, c.a)
			if c.good {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrRefused)
			require.Zero(t, f.asked[ours+"/token"], "the code is given to nobody")
		})
	}
}

func TestWhoSomebodyIs(t *testing.T) {
	f, p := comesTo(t, Config{Name: "ours", Issuer: ours}, data{"userinfo_endpoint": ours + "/userinfo"})
	info := data{"sub": "1", "email": "ada@example.org", "email_verified": "true", "preferred_username": "ada"}
	f.hosts[ours+"/userinfo"] = func(req *http.Request) (int, any) {
		require.Equal(t, "Bearer access", req.Header.Get("Authorization"))
		return http.StatusOK, info
	}
	who, err := f.comes(t, p, Answer{Code: "code"})
	require.NoError(t, err)
	require.Equal(t, Identity{Issuer: ours, Subject: "1", Email: "ada@example.org", EmailVerified: true, Username: "ada"}, *who)
	for name, says := range map[string]data{"of another": {"sub": "2", "email": "eve@example.org", "email_verified": true}, "of nobody": {"email": "eve@example.org"}} {
		info = says
		who, err = f.comes(t, p, Answer{Code: "code"})
		require.NoError(t, err)
		require.Equal(t, Identity{Issuer: ours, Subject: "1"}, *who, name)
	}
	f.hosts[ours+"/userinfo"] = func(*http.Request) (int, any) { return http.StatusBadGateway, "" }
	who, err = f.comes(t, p, Answer{Code: "code"})
	require.NoError(t, err, "it is there for the address alone")
	require.Empty(t, who.Email)

	asked := f.asked[ours+"/userinfo"]
	for says, verified := range map[any]bool{true: true, "true": true, false: false, "false": false, "yes": false, 1: false, nil: false} {
		f.claims = data{"email": "ada@example.org", "email_verified": says}
		who, err = f.comes(t, p, Answer{Code: "code"})
		require.NoError(t, err)
		require.Equal(t, verified, who.EmailVerified, says)
	}
	require.Equal(t, asked, f.asked[ours+"/userinfo"], "it is not asked where the ID token says enough")
	f.claims = data{"email": "ada@example.org", "amr": []string{"pwd", "mfa"}, "auth_time": now.Unix(), "given_name": "Ada", "family_name": "Lovelace", "name": "Ada Lovelace"}
	who, err = f.comes(t, p, Answer{Code: "code"})
	require.NoError(t, err)
	require.Equal(t, Identity{Issuer: ours, Subject: "1", Email: "ada@example.org", Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace", Multi: true, AuthTime: now}, *who)
}

// Who was to show anew who he is has to have done it since.
func TestWhoShowsAnewWhoHeIs(t *testing.T) {
	for name, c := range map[string]struct {
		provider string
		at       any
		want     error
	}{
		"since then":               {"ours", now.Unix(), nil},
		"within the skew":          {"ours", now.Add(-time.Minute).Unix(), nil},
		"before":                   {"ours", now.Add(-2 * time.Minute).Unix(), ErrNotAnew},
		"it says nothing":          {"ours", nil, ErrNotAnew},
		"Google, which never does": {Google, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: c.provider, Issuer: map[bool]string{true: ours}[c.provider == "ours"]}, nil)
			f.claims = data{"auth_time": c.at}
			anew := flow
			anew.Anew = true
			_, err := p.Finish(t.Context(), anew, Answer{Code: "code"})
			require.ErrorIs(t, err, c.want)
		})
	}
}

// Microsoft's issuer for many tenants has each token say whose it is. What it calls a
// verified address anybody can have written.
func TestMicrosoftForManyTenants(t *testing.T) {
	issuerOf := func(tenant string) string { return "https://login.microsoftonline.com/" + tenant + "/v2.0" }
	const other = "00000000-0000-0000-0000-000000000001"
	for name, c := range map[string]struct {
		claims data
		iss    string
		good   bool
	}{
		"of a tenant":                  {data{"iss": issuerOf(tenant), "tid": tenant}, "", true},
		"which says that it answers":   {data{"iss": issuerOf(tenant), "tid": tenant}, issuerOf(tenant), true},
		"and another says so":          {data{"iss": issuerOf(tenant), "tid": tenant}, issuerOf(other), false},
		"of one, by another's issuer":  {data{"iss": issuerOf(other), "tid": tenant}, "", false},
		"of none":                      {data{"iss": issuerOf(tenant)}, "", false},
		"of all":                       {data{"iss": issuerOf("{tenantid}"), "tid": "{tenantid}"}, "", false},
		"of one that is no tenant":     {data{"iss": issuerOf("common"), "tid": "common"}, "", false},
		"of a path":                    {data{"iss": issuerOf("../x"), "tid": "../x"}, "", false},
		"of another host":              {data{"iss": "https://evil.example/" + tenant + "/v2.0", "tid": tenant}, "", false},
		"of the old kind":              {data{"iss": "https://sts.windows.net/" + tenant + "/", "tid": tenant}, "", false},
		"of a tenant, for another app": {data{"iss": issuerOf(tenant), "tid": tenant, "aud": "other"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := comesTo(t, Config{Name: Microsoft}, nil)
			f.claims = c.claims
			f.claims["email"], f.claims["email_verified"] = "ada@example.org", true
			who, err := f.comes(t, p, Answer{Code: "code", Iss: c.iss})
			if !c.good {
				require.ErrorIs(t, err, ErrRefused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, issuerOf(tenant), who.Issuer, "one name at two tenants is two people")
			require.Equal(t, []any{"ada@example.org", false}, []any{who.Email, who.EmailVerified})
			require.True(t, p.Issues(who.Issuer))
		})
	}
}

// Google's tokens may lack the scheme of their issuer; the account is the same.
func TestGooglesIssuer(t *testing.T) {
	f, p := comesTo(t, Config{Name: Google}, nil)
	for _, issuer := range []string{"https://accounts.google.com", "accounts.google.com"} {
		f.claims = data{"iss": issuer}
		who, err := f.comes(t, p, Answer{Code: "code"})
		require.NoError(t, err)
		require.Equal(t, "https://accounts.google.com", who.Issuer)
	}
}

func TestWhatGitHubSays(t *testing.T) {
	const user, emails = "https://api.github.com/user", "https://api.github.com/user/emails"
	good := data{"id": 42, "login": "ada", "name": "Ada"}
	address := func(email string, primary, verified bool) data {
		return data{"email": email, "primary": primary, "verified": verified}
	}
	mine := []data{address("old@example.org", false, true), address("ada@example.org", true, true)}
	for name, c := range map[string]struct {
		user, emails         any
		userStatus, ofEmails int
		iss                  string
		email                string
		want                 error
	}{
		"a person":                      {good, mine, 200, 200, "", "ada@example.org", nil},
		"who says that it answers":      {good, mine, 200, 200, "https://github.com/login/oauth", "ada@example.org", nil},
		"another says so":               {good, mine, 200, 200, "https://elsewhere.example", "", ErrRefused},
		"a first address, not verified": {good, []data{address("ada@example.org", true, false)}, 200, 200, "", "", nil},
		"a verified one, not the first": {good, []data{address("ada@example.org", false, true)}, 200, 200, "", "", nil},
		"no addresses for us":           {good, data{}, 200, 404, "", "", nil},
		"nobody":                        {data{"login": "ada"}, mine, 200, 200, "", "", ErrRefused},
		"somebody below nothing":        {data{"id": -1}, mine, 200, 200, "", "", ErrRefused},
		"a name for a number":           {data{"id": "42"}, mine, 200, 200, "", "", ErrRefused},
		"a token that is none":          {data{}, mine, 401, 200, "", "", ErrRefused},
		"it is down":                    {data{}, mine, 502, 200, "", "", ErrUnavailable},
		"it has enough":                 {data{}, mine, 429, 200, "", "", ErrUnavailable},
		"it is down for addresses":      {good, data{}, 200, 503, "", "", ErrUnavailable},
		"an answer without end":         {data{"id": 42, "x": strings.Repeat("x", 2<<20)}, mine, 200, 200, "", "", ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork()
			p := New(Config{Name: GitHub, ClientID: "site", ClientSecret: "s"}, n.client(), time.Now)
			n.hosts["https://github.com/login/oauth/access_token"] = func(req *http.Request) (int, any) {
				require.Equal(t, []string{"site", "s", flow.Verifier}, []string{req.PostFormValue("client_id"), req.PostFormValue("client_secret"), req.PostFormValue("code_verifier")})
				return http.StatusOK, data{"access_token": "gho", "token_type": "bearer"}
			}
			n.hosts[user] = func(req *http.Request) (int, any) {
				require.Equal(t, "Bearer gho", req.Header.Get("Authorization"))
				return c.userStatus, c.user
			}
			n.hosts[emails] = func(*http.Request) (int, any) { return c.ofEmails, c.emails }
			who, err := p.Finish(t.Context(), flow, Answer{Code: "code", Iss: c.iss})
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Identity{Issuer: "https://github.com", Subject: "42", Name: "Ada", Username: "ada", Email: c.email, EmailVerified: c.email != ""}, *who)
		})
	}
	// A server of one's own has its API below itself.
	n := newNetwork()
	p := New(Config{Name: GitHub, Issuer: "https://git.example.org"}, n.client(), time.Now)
	n.says("https://git.example.org/login/oauth/access_token", data{"access_token": "gho", "token_type": "bearer"})
	n.says("https://git.example.org/api/v3/user", good)
	n.says("https://git.example.org/api/v3/user/emails", mine)
	who, err := p.Finish(t.Context(), flow, Answer{Code: "code"})
	require.NoError(t, err)
	require.Equal(t, "https://git.example.org", who.Issuer)
}
