// bench_test.go: what the plugin adds to a request, and what acts cost beside
// their hash. Look-ups among a million users are in boltstore_bench_test.go.

package registration_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func benchGuard(b *testing.B, cookie func(*sitetest.Browser) string, accept string) {
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
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusOK); return nil })
	w := &sitetest.NullWriter{H: http.Header{}}
	// Every request has a replacer of its own, which is not our cost: this one is
	// set back to the state in which Caddy hands it to the first handler.
	repl := caddy.NewReplacer()
	repl.Map(func(string) (any, bool) { return nil, false })
	untouched := *repl
	req = req.WithContext(context.WithValue(ctx, caddy.ReplacerCtxKey, repl))
	b.ReportAllocs()
	for b.Loop() {
		*repl = untouched
		delete(vars, registration.UserVar)
		clear(w.H)
		if req.Header["Cookie"] = sent; sent == nil {
			delete(req.Header, "Cookie")
		}
		if err := s.Guard.ServeHTTP(w, req, next); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGuardHit(b *testing.B) {
	benchGuard(b, func(br *sitetest.Browser) string { return br.Cookie["registration"] }, "text/html")
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
// microseconds: what is left is the store's commit.
func BenchmarkSignInWithoutHash(b *testing.B) {
	s := sitetest.New(b)
	s.Member("ada")
	in := field.Input{"login": {Kind: field.ValueText, Text: "ada"}, "password": {Kind: field.ValueText, Text: sitetest.Password}}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Accounts.SignIn(context.Background(), in, account.Client{}, nil); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkLoginPage(b *testing.B) {
	s := sitetest.New(b)
	br := s.Browser().LikeBrowser()
	b.ReportAllocs()
	for b.Loop() {
		br.Get("/accounts/login/")
	}
}
