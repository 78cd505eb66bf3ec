// bench_test.go: what the plugin adds to a request, and what acts cost beside
// their hash. Look-ups among a million users are in boltstore_bench_test.go.

package registration_test

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func benchGuard(b *testing.B, cookie func(*sitetest.Browser) string, accept string) {
	guarded := newGuarded(b, cookie, accept)
	b.ReportAllocs()
	for b.Loop() {
		if err := guarded.once(); err != nil {
			b.Fatal(err)
		}
	}
}

// A guardedRequest is one request, asked again and again.
type guardedRequest struct {
	site      *sitetest.Site
	req       *http.Request
	w         *sitetest.NullWriter
	vars      map[string]any
	repl      *caddy.Replacer
	untouched caddy.Replacer
	// sent and authorization are its headers.
	sent, authorization []string
}

func (g *guardedRequest) once() error {
	*g.repl = g.untouched
	delete(g.vars, registration.UserVar)
	clear(g.w.H)
	if g.req.Header["Cookie"] = g.sent; g.sent == nil {
		delete(g.req.Header, "Cookie")
	}
	if g.authorization != nil { // the guard takes it off
		g.req.Header["Authorization"] = g.authorization
	}
	return g.site.Guard.ServeHTTP(g.w, g.req, servedOK)
}

var servedOK = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusOK); return nil })

func newGuarded(b testing.TB, cookie func(*sitetest.Browser) string, accept string) *guardedRequest {
	s := sitetest.New(b)
	s.Member("ada")
	value := cookie(s.SignedIn("ada"))
	req, err := http.NewRequest(http.MethodGet, "http://example.com/members/", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.RequestURI = "/members/"
	req.Header.Set("Accept", accept)
	var sent []string
	if value != "" {
		sent = []string{"theme=dark; registration=" + value}
	}
	vars := map[string]any{}
	ctx := context.WithValue(req.Context(), caddyhttp.VarsCtxKey, vars)
	w := &sitetest.NullWriter{H: http.Header{}}
	// Every request has a replacer of its own, which is not our cost: this one is
	// set back to the state in which Caddy hands it to the first handler.
	repl := caddy.NewReplacer()
	repl.Map(func(string) (any, bool) { return nil, false })
	untouched := *repl
	req = req.WithContext(context.WithValue(ctx, caddy.ReplacerCtxKey, repl))
	return &guardedRequest{site: s, req: req, w: w, vars: vars, repl: repl, untouched: untouched, sent: sent}
}

func BenchmarkGuardHit(b *testing.B) {
	benchGuard(b, func(br *sitetest.Browser) string { return br.Cookie["registration"] }, "text/html")
}

// BenchmarkGuardHitByToken brings a token for programs in place of the cookie, by turns, and
// says what each costs against that: the median of the ratios and that of the minima.
func BenchmarkGuardHitByToken(b *testing.B) {
	var token string
	g := newGuarded(b, func(br *sitetest.Browser) string {
		res := br.Post("/accounts/create-token", sitetest.Data{"name": "Program"})
		token = res.JSON(b)["token"].(string)
		return br.Cookie["registration"]
	}, "text/html")
	g.site.Guard.Basic = true
	cookie := g.sent
	ways := []func(){
		func() { g.sent, g.authorization = cookie, nil },
		func() { g.sent, g.authorization = nil, []string{"Bearer " + token} },
		func() { g.sent, g.authorization = nil, []string{basicAuth("ada", token)} },
	}
	const each = 1000
	var took [3][]float64
	for rounds := 0; b.Loop(); rounds++ {
		for i := range ways {
			way := (i + rounds) % len(ways)
			ways[way]()
			began := time.Now()
			for range each {
				if err := g.once(); err != nil || g.w.Status != http.StatusOK {
					b.Fatal(err, g.w.Status)
				}
			}
			took[way] = append(took[way], float64(time.Since(began))/each)
		}
	}
	b.ReportMetric(slices.Min(took[0]), "ns/cookie")
	for i, name := range []string{"bearer", "basic"} {
		var ratios []float64
		for round := range took[0] {
			ratios = append(ratios, took[i+1][round]/took[0][round])
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], name+"-median")
		b.ReportMetric(slices.Min(took[i+1])/slices.Min(took[0]), name+"-minimum")
	}
}

// Who comes by a token for programs is known without a byte more on the heap than by a cookie.
func TestATokenAtTheGuardAllocatesAsACookieDoes(t *testing.T) {
	var token string
	g := newGuarded(t, func(br *sitetest.Browser) string {
		token = br.Post("/accounts/create-token", sitetest.Data{"name": "Program"}).JSON(t)["token"].(string)
		return br.Cookie["registration"]
	}, "text/html")
	g.site.Guard.Basic = true
	allocs := func() float64 { // the least of some tries: what else the program does meanwhile is counted, too
		least := math.Inf(1)
		for range 10 {
			least = min(least, testing.AllocsPerRun(200, func() {
				if err := g.once(); err != nil || g.w.Status != http.StatusOK {
					t.Fatal(err, g.w.Status)
				}
			}))
		}
		return least
	}
	cookie := allocs()
	for _, header := range []string{"Bearer " + token, basicAuth("ada", token)} {
		g.sent, g.authorization = nil, []string{header}
		require.LessOrEqual(t, allocs(), cookie, header[:6])
	}
}

func basicAuth(name, password string) string {
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(name, password)
	return req.Header.Get("Authorization")
}

func BenchmarkGuardMiss(b *testing.B) {
	benchGuard(b, func(*sitetest.Browser) string { token, _ := session.NewToken(); return token }, "text/html")
}

func BenchmarkGuardAnonymous(b *testing.B) {
	benchGuard(b, func(*sitetest.Browser) string { return "" }, "text/html")
}

func BenchmarkSignerSign(b *testing.B) {
	signer, claim := benchSigner(b)
	b.ReportAllocs()
	for b.Loop() {
		signer.Sign(claim)
	}
}

func BenchmarkSignerVerify(b *testing.B) {
	signer, claim := benchSigner(b)
	signature := signer.Sign(claim)
	b.ReportAllocs()
	for b.Loop() {
		if err := signer.Verify(claim, signature, claim.Time, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSigner(b *testing.B) (*sign.Signer, sign.Claim) {
	signer, err := sign.NewSigner("default", []byte("0123456789abcdef"))
	if err != nil {
		b.Fatal(err)
	}
	return signer, sign.Claim{Purpose: sign.PurposeRegister, User: uuid.New(), Time: time.Unix(1_800_000_000, 0), State: sign.StateOf("a", "b")}
}

// BenchmarkSignInWithoutHash is a sign-in with an 8 KiB hash, which costs a few
// microseconds: what is left is the store's commit. Once where nobody asks for the device,
// and once on a device that the account knows among as many as it keeps.
func BenchmarkSignInWithoutHash(b *testing.B) {
	in := field.Input{"login": {Kind: field.ValueText, Text: "ada"}, "password": {Kind: field.ValueText, Text: sitetest.Password}}
	for name, client := range map[string]account.Client{"no device": {}, "known device": {Seen: func() device.Seen { return device.Seen{Kept: "AAAAAAAAAAAAAAAAAAAAAA"} }}} {
		b.Run(name, func(b *testing.B) {
			s := sitetest.New(b)
			id := s.Member("ada")
			if client.Seen != nil {
				s.Set(id, func(u *store.User) {
					for range 9 {
						device.Learn(u, device.Seen{Kept: device.NewName()}, store.KnownDevice{LastUsed: s.Realm.Now()})
					}
					device.Learn(u, client.Seen(), store.KnownDevice{LastUsed: s.Realm.Now()})
				})
			}
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Accounts.SignIn(context.Background(), in, client, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkSignUpWithoutHash is the same of a sign-up that nothing has to be confirmed of.
func BenchmarkSignUpWithoutHash(b *testing.B) {
	s := sitetest.New(b, func(s *registration.Settings) { s.Register.Verification = sitetest.Off() })
	text := func(of string) field.Value { return field.Value{Kind: field.ValueText, Text: of} }
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		name := "user" + strconv.Itoa(n)
		in := field.Input{"username": text(name), "email": text(name + "@example.org"), "password": text(sitetest.Password), "password_confirm": text(sitetest.Password)}
		if _, err := s.Accounts.Register(context.Background(), in, account.Client{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoginPage(b *testing.B) {
	s := sitetest.New(b)
	br := s.Browser().LikeBrowser()
	b.ReportAllocs()
	for b.Loop() {
		br.Get("/accounts/login/")
	}
}
