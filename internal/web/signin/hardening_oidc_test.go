package signin_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), into), text)
}

func fieldError(field string, code refusal.Code) refusal.FieldError {
	return refusal.FieldError{Field: field, Code: code}
}

// codeOf is the code of the refusal of what a provider has sent back to a program.
func codeOf(t *testing.T, b *sitetest.Browser, back string) string {
	t.Helper()
	b.Header.Set("Accept", "application/problem+json")
	res := b.Do(http.MethodGet, back, nil)
	require.GreaterOrEqual(t, res.StatusCode, 400, res.Text)
	require.Empty(t, res.Header.Get("Location"))
	code, _ := res.JSON(t)["code"].(string)
	return code
}

// goes is where a browser that is about to come back stands.
func goes(s *sitetest.Site, p *sitetest.Provider) (*sitetest.Browser, string) {
	b := person(s)
	return b, p.Agree(b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {p.Name}}))
}

func TestHardeningAProviderThatLies(t *testing.T) {
	s, p := withProvider(t)
	claim := func(changes sitetest.Data) func() { return func() { maps.Copy(p.Claims, changes) } } // nil: it leaves that out
	unsigned := func(claims []byte) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims) + "."
	}
	symmetric := func(claims []byte) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("its secret", 4))}, nil)
		require.NoError(t, err)
		signed, err := signer.Sign(claims)
		require.NoError(t, err)
		token, _ := signed.CompactSerialize()
		return token
	}
	cases := map[string]func(){
		"another audience":               nil,
		"no audience":                    claim(sitetest.Data{"aud": nil}),
		"several, and it says not whose": claim(sitetest.Data{"aud": []string{"site", "other"}}),
		"made for another":               claim(sitetest.Data{"azp": "other"}),
		"several, made for another":      claim(sitetest.Data{"aud": []string{"site", "other"}, "azp": "other"}),
		"another issuer":                 claim(sitetest.Data{"iss": "https://elsewhere.example"}),
		"expired":                        claim(sitetest.Data{"exp": s.Realm.Now().Add(-time.Hour).Unix()}),
		"of the future":                  claim(sitetest.Data{"iat": s.Realm.Now().Add(time.Hour).Unix()}),
		"not good yet":                   claim(sitetest.Data{"nbf": s.Realm.Now().Add(time.Hour).Unix()}),
		"another nonce":                  claim(sitetest.Data{"nonce": "another"}),
		"no nonce":                       claim(sitetest.Data{"nonce": nil}),
		"nobody":                         claim(sitetest.Data{"sub": nil}),
		"a name without end":             claim(sitetest.Data{"sub": strings.Repeat("x", 300)}),
		"of another access token":        claim(sitetest.Data{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
		"signed by nobody":               func() { p.Sign = unsigned },
		"signed by the client's secret":  func() { p.Sign = symmetric },
		"no ID token":                    func() { p.Sign = func([]byte) string { return "" } },
		"no token at all":                func() { p.Sign = func([]byte) string { return "a.b.c" } },
		"signed by a key that it has not": func() {
			p.KeyID = "2"
			p.Fail = func(w http.ResponseWriter, req *http.Request) bool {
				return req.URL.Path == "/keys" && answers(w, `{"keys":[]}`)
			}
		},
		"claims that are none": func() { p.Sign = func([]byte) string { return p.Signed([]byte(`["sub"]`)) } },
	}
	cases["another audience"] = claim(sitetest.Data{"aud": "other"})
	for name, lie := range cases {
		t.Run(name, func(t *testing.T) {
			p.Claims = adaThere()
			lie()
			defer func() { p.Sign, p.Fail, p.KeyID = nil, nil, "1" }()
			s.Travel(15 * time.Second) // keys are fetched twice in 10 seconds at most
			b, back := goes(s, p)
			require.Equal(t, "oidc_failed", codeOf(t, b, back))
			require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
			users, sessions := s.Census()
			require.Zero(t, users+sessions)
		})
	}
	warned := s.Logs.FilterMessage("a sign-in by an account elsewhere has failed").All()
	require.Len(t, warned, len(cases))
	for _, line := range warned {
		require.NotContains(t, line.ContextMap()["error"], "secret")
	}
}

func answers(w http.ResponseWriter, body string) bool {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(body))
	return true
}

func TestHardeningAFlowIsGoodOnceInItsBrowser(t *testing.T) {
	ours, theirs := sitetest.NewProvider(t, "ours"), sitetest.NewProvider(t, "theirs")
	s := sitetest.New(t, sitetest.WithProviders(ours, theirs), sitetest.LoginBy("email"))
	ours.Now, theirs.Now = s.Realm.Now, s.Realm.Now
	ours.Claims, theirs.Claims = adaThere(), adaThere()
	with := func(back string, change func(url.Values)) string {
		u, err := url.Parse(back)
		require.NoError(t, err)
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	expired := map[string]func(*sitetest.Browser, string) (*sitetest.Browser, string){
		"in another browser": func(_ *sitetest.Browser, back string) (*sitetest.Browser, string) { return person(s), back },
		"of another state": func(b *sitetest.Browser, back string) (*sitetest.Browser, string) {
			return b, with(back, func(q url.Values) { q.Set("state", "another") })
		},
		"of no state": func(b *sitetest.Browser, back string) (*sitetest.Browser, string) {
			return b, with(back, func(q url.Values) { q.Del("state") })
		},
		"at another provider": func(b *sitetest.Browser, back string) (*sitetest.Browser, string) {
			return b, strings.Replace(back, "/ours", "/theirs", 1)
		},
		"too late": func(b *sitetest.Browser, back string) (*sitetest.Browser, string) {
			s.Travel(11 * time.Minute)
			return b, back
		},
		"with a cookie that was changed": func(b *sitetest.Browser, back string) (*sitetest.Browser, string) {
			b.Cookie["registration_oidc"] = "e30" + b.Cookie["registration_oidc"][3:]
			return b, back
		},
		"after an attacker's": func(b *sitetest.Browser, _ string) (*sitetest.Browser, string) {
			_, his := goes(s, ours) // sent to the victim as a link (login CSRF)
			return b, his
		},
	}
	for name, attack := range expired {
		t.Run(name, func(t *testing.T) {
			b, back := attack(goes(s, ours))
			require.Equal(t, "oidc_expired", codeOf(t, b, back))
		})
	}
	t.Run("a code of another flow", func(t *testing.T) {
		_, his := goes(s, ours)
		b, back := goes(s, ours)
		stolen, _ := url.Parse(his)
		require.Equal(t, "oidc_failed", codeOf(t, b, with(back, func(q url.Values) { q.Set("code", stolen.Query().Get("code")) })), "the verifier is not its own")
	})
	t.Run("another issuer says that it answers", func(t *testing.T) {
		b, back := goes(s, ours)
		require.Equal(t, "oidc_failed", codeOf(t, b, with(back, func(q url.Values) { q.Set("iss", theirs.URL) })))
	})
	t.Run("nobody says who answers, where the provider promises to", func(t *testing.T) {
		b, back := goes(s, ours)
		require.Equal(t, "oidc_failed", codeOf(t, b, with(back, func(q url.Values) { q.Del("iss") })))
	})
	t.Run("no code", func(t *testing.T) {
		b, back := goes(s, ours)
		require.Equal(t, "oidc_failed", codeOf(t, b, with(back, func(q url.Values) { q.Del("code") })))
	})
	t.Run("twice", func(t *testing.T) {
		b, back := goes(s, ours)
		cookie := b.Cookie["registration_oidc"]
		require.Equal(t, http.StatusSeeOther, b.Do(http.MethodGet, back, nil).StatusCode)
		require.NotContains(t, b.Cookie, "registration_oidc")
		again := b.Do(http.MethodGet, back, nil)
		require.Equal(t, "/accounts/profile/", again.Header.Get("Location"), "the page loaded anew")
		thief := s.Browser()
		thief.Cookie["registration_oidc"] = cookie
		require.Equal(t, "oidc_expired", codeOf(t, thief, back))
	})
}

func TestHardeningNobodyIsLedAway(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	for _, next := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"} {
		require.Equal(t, "/accounts/profile/", person(s).ByProvider(p, next).Header.Get("Location"), next)
	}
	b := person(s)
	b.Header.Set("Origin", "https://evil.example")
	b.Header.Set("Sec-Fetch-Site", "cross-site")
	res := b.Do(http.MethodPost, "/accounts/oidc-login/", url.Values{"provider": {"ours"}})
	require.Equal(t, http.StatusForbidden, res.StatusCode, "a foreign page signs nobody in")
	require.Empty(t, b.Cookie)
}

func TestTheFormsLeadToTheProviders(t *testing.T) {
	s, _ := withProvider(t)
	require.Contains(t, person(s).Get("/accounts/login/").Header.Get("Content-Security-Policy"), "form-action https: http: 'self'")
	require.NotContains(t, person(s).Get("/accounts/send-reset-password-link/").Header.Get("Content-Security-Policy"), "https:")
}

func TestWhatAProviderAnswersInstead(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	for answer, code := range map[string]string{
		"access_denied": "oidc_denied", "login_required": "oidc_denied", "server_error": "oidc_unavailable", "temporarily_unavailable": "oidc_unavailable", "invalid_scope": "oidc_failed", "odd\x00\xff": "oidc_failed",
	} {
		b := person(s)
		location, err := url.Parse(b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"ours"}}))
		require.NoError(t, err)
		require.Equal(t, code, codeOf(t, b, "/accounts/oidc-callback/ours?"+url.Values{"error": {answer}, "state": {location.Query().Get("state")}}.Encode()), answer)
	}
	b := person(s)
	location, _ := url.Parse(b.Elsewhere("/accounts/oidc-login/", url.Values{"provider": {"ours"}, "next": {"/members/"}}))
	res := b.Do(http.MethodGet, "/accounts/oidc-callback/ours?"+url.Values{"error": {"access_denied"}, "state": {location.Query().Get("state")}}.Encode(), nil)
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", res.Header.Get("Location"))
	require.Contains(t, b.Get(res.Header.Get("Location")).Text, sitetest.Message("oidc_denied", nil))
}

// Who is refused for good, by us or by what a provider sends, has somebody to ask.
func TestWhoIsRefusedCanAsk(t *testing.T) {
	s, p := withProvider(t, func(s *registration.Settings) { s.Register.Contact = "help@example.com" })
	p.Claims = adaThere()
	b := person(s)
	b.ByProvider(p, "")
	id := profile(b)["id"].(string)
	for name, c := range map[string]struct {
		fault func()
		asks  bool
	}{
		"it turns him back":      {func() { p.Claims = adaThere() }, false},
		"what it sends is a lie": {func() { p.Claims = sitetest.With(adaThere(), sitetest.Data{"aud": "other"}) }, true},
		"he is disabled": {func() {
			p.Claims = adaThere()
			s.Set(id, func(u *store.User) { u.IsActive = false })
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault()
			b, back := goes(s, p)
			if !c.asks {
				back = strings.Replace(back, "code=", "error=access_denied&x=", 1)
			}
			said := ledTo(t, b, b.Do(http.MethodGet, back, nil), "/accounts/login/")
			require.Equal(t, c.asks, strings.Contains(said, "mailto:help@example.com"), said)
		})
	}
}

func TestAProviderThatIsDown(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = adaThere()
	down := func(path string) {
		p.Fail = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == path {
				w.WriteHeader(http.StatusBadGateway)
			}
			return req.URL.Path == path
		}
	}
	const document = "/.well-known/openid-configuration"
	down(document)
	b := s.Browser().Problems()
	res := b.Post("/accounts/oidc-login", sitetest.Data{"provider": "ours"})
	sitetest.RequireError(t, res, http.StatusServiceUnavailable, "oidc_unavailable")
	require.Equal(t, "10", res.Header.Get("Retry-After"))
	b.Post("/accounts/oidc-login", sitetest.Data{"provider": "ours"})
	require.Equal(t, 1, p.Asked[document], "it is left alone for a moment")
	said := person(s).Do(http.MethodPost, "/accounts/oidc-login/", url.Values{"provider": {"ours"}, "next": {"/members/"}}).Text
	require.Contains(t, said, sitetest.Message("oidc_unavailable", nil))
	require.Contains(t, said, `href="/accounts/login/?next=%2Fmembers%2F"`, "another way to sign in leads on as this one would")
	p.Fail = nil
	s.Travel(6 * time.Second)
	b, back := goes(s, p)
	down("/token")
	require.Equal(t, "oidc_unavailable", codeOf(t, b, back))
	b, back = goes(s, p)
	down("/keys")
	require.Equal(t, "oidc_unavailable", codeOf(t, b, back))
	down(document)
	s.Travel(2 * time.Hour)
	b, back = goes(s, p) // by what it has said before
	p.Fail = nil
	require.Equal(t, http.StatusSeeOther, b.Do(http.MethodGet, back, nil).StatusCode)
	p.KeyID = "2" // a new key is found by itself
	b, back = goes(s, p)
	require.Equal(t, http.StatusSeeOther, b.Do(http.MethodGet, back, nil).StatusCode)
}

// What it says about itself is refused where it is less safe than it is, or another's.
func TestHardeningADiscoveryDocumentThatLies(t *testing.T) {
	for name, says := range map[string]sitetest.Data{
		"another issuer":         {"issuer": "https://elsewhere.example"},
		"a page that is no URL":  {"authorization_endpoint": "javascript:alert(1)"},
		"tokens of a file":       {"token_endpoint": "file:///etc/passwd"},
		"no keys":                {"jwks_uri": ""},
		"a document without end": {"x": strings.Repeat("x", 2<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := withProvider(t)
			p.Metadata = says
			sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/oidc-login", sitetest.Data{"provider": "ours"}), http.StatusServiceUnavailable, "oidc_unavailable")
		})
	}
}

func TestHardeningFlowsAreThrottled(t *testing.T) {
	s, _ := withProvider(t, func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 2, Window: caddy.Duration(time.Hour)}}
	})
	b := s.Browser()
	for range 2 {
		require.Equal(t, http.StatusOK, b.Post("/accounts/oidc-login", sitetest.Data{"provider": "ours"}).StatusCode)
	}
	require.Equal(t, http.StatusTooManyRequests, b.Post("/accounts/oidc-login", sitetest.Data{"provider": "ours"}).StatusCode)
}

// A name or an address that somebody has elsewhere is nobody's word here.
func TestHardeningWhatAProviderSaysIsOnlyText(t *testing.T) {
	s, p := withProvider(t)
	p.Claims = sitetest.Data{"sub": "1", "email": "<script>@example.org", "email_verified": true, "given_name": "<b>\x00\u202e", "family_name": strings.Repeat("y", 4000), "name": strings.Repeat("z", 4000)}
	b := person(s)
	res := b.ByProvider(p, "")
	page := ledTo(t, b, res, "/accounts/oidc-register/")
	require.NotContains(t, page, "<script>")
	require.NotContains(t, page, "<b>")
	require.Equal(t, http.StatusBadRequest, b.Do(http.MethodPost, "/accounts/oidc-register/", url.Values{}).StatusCode)
}
