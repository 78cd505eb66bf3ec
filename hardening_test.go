// hardening_test.go: one test an attack: open redirects, forged identity,
// stolen and planted cookies, hostile values in pages, links and their purposes.

package registration_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestGuardAnswers(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for name, c := range map[string]struct {
		method, accept string
		status         int
		location       string
	}{
		"browser":        {"GET", "text/html,*/*;q=0.8", 302, "/accounts/login/?next=%2Fmembers%2Fx%3Fy%3Dz%2526"},
		"browser's HEAD": {"HEAD", "text/html", 302, "/accounts/login/?next=%2Fmembers%2Fx%3Fy%3Dz%2526"},
		"form":           {"POST", "text/html", 401, ""},
		"any":            {"GET", "*/*", 401, ""},
		"script":         {"GET", "application/json", 401, ""},
		"prefers JSON":   {"GET", "application/json, text/html;q=0.9", 401, ""},
		"nothing":        {"GET", "", 401, ""},
		"refuses HTML":   {"GET", "text/html;q=0", 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser()
			if c.accept != "" {
				b.Header.Set("Accept", c.accept)
			}
			res := b.Do(c.method, "/members/x?y=z%26", nil)
			require.Equal(t, c.status, res.StatusCode)
			require.Equal(t, c.location, res.Header.Get("Location"))
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			require.NotContains(t, res.Text, sitetest.ProtectedPage)
			if c.status == 401 {
				require.NotEmpty(t, res.Header.Get("WWW-Authenticate"))
			}
		})
	}
	b := s.SignedIn("ada")
	for _, scheme := range []string{"Bearer ", "Token ", "Basic "} {
		b.Header.Set("Authorization", scheme+"of-the-app-behind")
		require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text, "another's token does not spoil a good cookie")
		require.Equal(t, scheme == "Token ", b.Get("/accounts/profile").StatusCode == 401, "on an endpoint it does")
	}
	s.Guard.LoginURL = "https://login.example.net/?lang=en"
	require.Equal(t, "https://login.example.net/?lang=en&next=http%3A%2F%2Fexample.com%2Fmembers%2F", s.Browser().LikeBrowser().Get("/members/").Header.Get("Location"))
}

func TestGuardGroupAndAge(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Guard.Groups = []string{"staff", "friends"}
	b := s.SignedIn("ada")
	sitetest.RequireError(t, b.Problems().Get("/members/"), 403, "permission_denied")
	s.Guard.Factors = 2
	sitetest.RequireError(t, b.Problems().Get("/members/"), 403, "permission_denied") // nobody shows more for nothing
	s.Guard.Factors = 0
	groups := []string{"friends"}
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "ada"), account.AdminChange{Groups: &groups})
	require.NoError(t, err)
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text, "in force at the next request")
	s.Guard.MaxAge = caddy.Duration(10 * time.Minute)
	s.Travel(10 * time.Minute)
	require.Equal(t, 401, b.Get("/members/").StatusCode)
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "ada")))
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode)
}

func TestForgedIdentityHeaders(t *testing.T) {
	for _, copies := range []bool{false, true} {
		s := sitetest.New(t)
		s.Member("ada")
		s.Guard.CopyHeaders = copies
		s.Realm.CopiesIdentity.Store(copies)
		b := s.SignedIn("ada")
		var seen http.Header
		show := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) error { seen = req.Header.Clone(); return nil })
		for _, guarded := range []bool{true, false} {
			req, err := http.NewRequest(http.MethodGet, "http://example.com/x", nil)
			require.NoError(t, err)
			for _, name := range []string{"Remote-User", "remote_user", "REMOTE-email", "Remote_Groups", "Remote-Name", "Remote-Other", "Remote.Id", "remote~user"} {
				req.Header[name] = []string{"evil"}
			}
			req.AddCookie(&http.Cookie{Name: "registration", Value: b.Cookie["registration"]})
			ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
			req = req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
			w := &sitetest.NullWriter{H: http.Header{}}
			if guarded {
				require.NoError(t, s.Guard.ServeHTTP(w, req, show))
			} else {
				require.NoError(t, s.Handler.ServeHTTP(w, req, show))
			}
			require.Equal(t, []string{"evil"}, seen["Remote-Other"])
			delete(seen, "Remote-Other")
			delete(seen, "Cookie")
			switch {
			case guarded && copies:
				require.Equal(t, http.Header{"Remote-User": {"ada"}, "Remote-Email": {"ada@example.org"}, "Remote-Id": {sitetest.UUIDOf(t, s, "ada").String()}}, seen)
			case guarded || copies:
				require.Empty(t, seen)
			default:
				require.Len(t, seen, 7, "a site that copies nothing leaves others' headers alone")
			}
		}
	}
}

// A stored group of before the rule can't forge another in the header's list.
func TestGroupsThatAreNoneAreLeftOut(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	id := sitetest.UUIDOf(t, s, "ada")
	bad := []string{"staff,admins"}
	_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{Groups: &bad})
	refusal := (*refusal.Error)(nil)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, field.Groups, refusal.Fields[0].Field)
	u := &store.User{ID: id, Username: "ada", Groups: []string{"readers", "staff,admins", "x\r\nRemote-User: root", "editors"}}
	for range 2 {
		h := http.Header{}
		s.Handler.CopyIdentity(h, u, false)
		require.Equal(t, "readers,editors", h.Get("Remote-Groups"))
		groups, _ := s.Handler.Placeholder(u, "groups")
		require.Equal(t, "readers,editors", groups)
	}
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("left out of Remote-Groups").Len(), "said once")
}

// What a store of an older version or an import has, no header gets: a control
// character never, and with `percent` ASCII alone.
func TestIdentityHeadersOfAnyStore(t *testing.T) {
	s := sitetest.New(t)
	u := &store.User{ID: uuidOfZero, Username: "zo\u00eb", Email: "a\r\nX: y@example.org", FirstName: "Zo\u00eb", LastName: "\u5c0f 100%", Groups: []string{"\u00e9quipe", "staff"}}
	h := http.Header{}
	s.Handler.CopyIdentity(h, u, false)
	require.Equal(t, http.Header{"Remote-User": {"zo\u00eb"}, "Remote-Id": {u.ID.String()}, "Remote-Name": {"Zo\u00eb \u5c0f 100%"}, "Remote-Groups": {"\u00e9quipe,staff"}}, h)
	h = http.Header{}
	s.Handler.CopyIdentity(h, u, true)
	require.Equal(t, http.Header{"Remote-User": {"zo%C3%AB"}, "Remote-Id": {u.ID.String()}, "Remote-Name": {"Zo%C3%AB %E5%B0%8F 100%25"}, "Remote-Groups": {"%C3%A9quipe,staff"}}, h)
	u.Username, u.LastName = "ada\nroot", "\x1b[31m"
	h = http.Header{}
	s.Handler.CopyIdentity(h, u, false)
	require.Equal(t, u.ID.String(), h.Get("Remote-User"), "not a name that may be another's")
	require.NotContains(t, h, "Remote-Name")
	for _, name := range []string{"username", "email", "last_name"} {
		v, ok := s.Handler.Placeholder(u, name)
		require.True(t, ok)
		require.Equal(t, "", v, name)
	}
}

var uuidOfZero uuid.UUID

func TestPlaceholdersAndProvider(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	b := s.SignedIn("ada")
	req, err := http.NewRequest(http.MethodGet, "http://example.com/members/", nil)
	require.NoError(t, err)
	repl := caddy.NewReplacer()
	req.AddCookie(&http.Cookie{Name: "registration", Value: b.Cookie["registration"]})
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, repl)
	req = req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
	w := &sitetest.NullWriter{H: http.Header{}}
	for range 2 { // two guards on the way
		require.NoError(t, s.Guard.ServeHTTP(w, req, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Cache-Control", "public")
			w.WriteHeader(http.StatusTeapot)
			return nil
		})))
	}
	require.Equal(t, "public", w.H.Get("Cache-Control"), "the handler decides")
	require.Equal(t, http.StatusTeapot, w.Status)
	require.Equal(t, id+" ada ada@example.org  [] ", repl.ReplaceAll("{http.auth.user.id} {http.auth.user.username} {http.auth.user.email} {http.auth.user.first_name} [{http.auth.user.groups}] {http.auth.user.is_staff}", ""))

	p := &registration.Provider{}
	p.Use(s.Handler, "default")
	u, ok, err := p.Authenticate(w, req)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, id, u.ID)
	require.Equal(t, "ada", u.Metadata["username"])
	require.Empty(t, req.Header["Cookie"], "nor does it leave the cookie on the request")
	req = req.WithContext(context.WithValue(req.Context(), caddyhttp.VarsCtxKey, map[string]any{})) // another one
	_, ok, err = p.Authenticate(w, req)
	require.NoError(t, err)
	require.False(t, ok)
	require.NotEmpty(t, w.H.Get("WWW-Authenticate"))
	p = &registration.Provider{}
	p.Use(s.Handler, "other")
	_, _, err = p.Authenticate(w, req)
	require.Error(t, err)
}

func TestHostileValuesInPages(t *testing.T) {
	s := sitetest.New(t)
	b := s.Browser().LikeBrowser()
	const evil = `"><script>alert(1)</script>`
	res := b.Post("/accounts/register/", url.Values{"username": {evil}, "email": {evil}, "password": {"hunter2" + evil}, "password_confirm": {"x"}, "next": {evil}})
	require.Equal(t, 400, res.StatusCode)
	require.NotContains(t, res.Text, "<script>")
	require.NotContains(t, res.Text, "hunter2")
	require.Contains(t, res.Text, "&lt;script&gt;", "what was typed is kept")
	require.Contains(t, res.Text, `aria-invalid="true"`)
	csp := res.Header.Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'")
	require.NotContains(t, csp, "unsafe")
	require.Equal(t, "strict-origin", res.Header.Get("Referrer-Policy"))
	res = b.Get("/accounts/reset-password/?signature=" + url.QueryEscape(evil))
	require.NotContains(t, res.Text, "<script>")
	for _, path := range []string{"/accounts/nothing", "/accounts/register/x"} {
		res := b.Get(path)
		require.Equal(t, 404, res.StatusCode)
		require.Contains(t, res.Header.Get("Content-Type"), "text/html")
	}
}

const knownSignature = "3TzswYYvtrmjpGGlQ7Y1na0fCxyBihk4im-zjO0CuJU"

func TestSignaturesAreBound(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	key, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	signer, err := sign.NewSigner("default", key)
	require.NoError(t, err)
	claim := sign.Claim{Purpose: sign.PurposeRegisterEmail, User: uuid.MustParse("01a20b8b-22d4-7b20-8a19-940b3cb16b0b"), Email: "a@b", Time: now, State: sign.StateOf("x", "y")}
	signature := signer.Sign(claim)
	require.Equal(t, knownSignature, signature, "links that are out in the mail stay good after an update")
	require.NoError(t, signer.Verify(claim, signature, now.Add(time.Hour), time.Hour))
	require.ErrorIs(t, signer.Verify(claim, signature, now.Add(time.Hour+time.Second), time.Hour), sign.ErrExpired)
	require.ErrorIs(t, signer.Verify(claim, signature, now.Add(-61*time.Second), time.Hour), sign.ErrSignature)
	require.NoError(t, signer.Verify(claim, signature, now.Add(-59*time.Second), time.Hour))
	for name, change := range map[string]func(*sign.Claim){
		"purpose": func(c *sign.Claim) { c.Purpose = sign.PurposeRegister },
		"user":    func(c *sign.Claim) { c.User[3]++ },
		"email":   func(c *sign.Claim) { c.Email = "a@c" },
		"time":    func(c *sign.Claim) { c.Time = c.Time.Add(time.Second) },
		"state":   func(c *sign.Claim) { c.State = sign.StateOf("xy", "") },
	} {
		t.Run(name, func(t *testing.T) {
			changed := claim
			change(&changed)
			require.ErrorIs(t, signer.Verify(changed, signature, now, time.Hour), sign.ErrSignature)
		})
	}
	rotated, err := sign.NewSigner("default", other, key)
	require.NoError(t, err)
	require.NoError(t, rotated.Verify(claim, signature, now, time.Hour))
	require.ErrorIs(t, signer.Verify(claim, rotated.Sign(claim), now, time.Hour), sign.ErrSignature)
	elsewhere, err := sign.NewSigner("other", key)
	require.NoError(t, err)
	require.ErrorIs(t, elsewhere.Verify(claim, signature, now, time.Hour), sign.ErrSignature)
	_, err = sign.NewSigner("default")
	require.Error(t, err)
	_, err = sign.NewSigner("default", []byte("short"))
	require.Error(t, err)
	for _, bad := range []string{"", "=", signature + "A", signature[:42], strings.ToUpper(signature)} {
		require.ErrorIs(t, signer.Verify(claim, bad, now, time.Hour), sign.ErrSignature)
	}
}

func FuzzVerifySignature(f *testing.F) {
	signer, err := sign.NewSigner("default", []byte("0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", "a@b", int64(0))
	f.Fuzz(func(t *testing.T, signature, email string, unix int64) {
		claim := sign.Claim{Purpose: sign.PurposeRegisterEmail, Email: email, Time: time.Unix(unix, 0)}
		require.Error(t, signer.Verify(claim, signature, claim.Time, time.Hour))
	})
}

func TestRevocationIsImmediateUnderLoad(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for range 20 {
		b := s.SignedIn("ada")
		token := b.Cookie["registration"]
		var revoked atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 300 {
					before := revoked.Load()
					_, err := s.Accounts.Sessions.Lookup(context.Background(), token, store.KindSession, s.Realm.Now(), time.Hour)
					if before && !errors.Is(err, store.ErrNotFound) {
						t.Error("a revoked session was good")
						return
					}
				}
			})
		}
		require.Equal(t, 200, b.Post("/accounts/logout", nil).StatusCode)
		revoked.Store(true)
		wg.Wait()
	}
}

func TestFailingDisk(t *testing.T) {
	s := sitetest.New(t)
	broken := &sitetest.BrokenStore{Store: s.Accounts.Store}
	s.Accounts.Store = broken
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
	broken.Broken.Store(true)
	for path, body := range map[string]sitetest.Data{
		"/accounts/register":                 sitetest.Newcomer("bob"),
		"/accounts/login":                    {"login": "ada", "password": sitetest.Password},
		"/accounts/logout":                   {},
		"/accounts/profile":                  {"username": "x"},
		"/accounts/change-password":          {"old_password": sitetest.Password, "password": "another passphrase", "password_confirm": "another passphrase"},
		"/accounts/send-reset-password-link": {"login": "ada"},
		"/accounts/register-email":           {"email": "x@example.org"},
	} {
		res := b.Post(path, body)
		sitetest.RequireError(t, res, 503, "unavailable")
		require.Equal(t, "5", res.Header.Get("Retry-After"))
		require.NotContains(t, res.Text, "space left")
	}
	require.Equal(t, 7, s.Logs.FilterMessage("request failed").Len())
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text, "guarded pages stay up")
	broken.Broken.Store(false)
	s.NoMail()
	require.Equal(t, 201, b.Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode, "it heals")
}

// In a crowd whoever would not get his turn is told so before what he sent is looked at. A page
// still has what he typed; who is known goes on, as does who is refused by his own budget, at once.
func TestACrowdIsHeldBeforeAnythingIsDone(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Member("ada")
	known := s.SignedIn("ada")
	pool := password.NewPool(password.Limits{Workers: 1, Queue: 100, Hold: 20 * time.Millisecond, Wait: sitetest.Patience})
	begun, over := make(chan struct{}), make(chan struct{})
	pool.Observe(func(context.Context) func() { close(begun); <-over; return func() {} })
	s.Accounts.Hasher = pool
	hashed := make(chan error)
	go func() {
		_, err := pool.Hash(context.WithoutCancel(t.Context()), "x", s.Accounts.Policy.Hash)
		hashed <- err
	}()
	<-begun

	for path, body := range map[string]any{"/accounts/login": "no type", "/accounts/register": sitetest.Data{}} {
		res := s.Browser().Problems().From("192.0.2.1").Post(path, body)
		sitetest.RequireError(t, res, 503, "unavailable")
		require.NotEmpty(t, res.Header.Get("Retry-After"))
	}
	page := s.Browser().LikeBrowser().From("192.0.2.1").Post("/accounts/register/", url.Values{"username": {"grace"}, "email": {"no address"}})
	require.Equal(t, 503, page.StatusCode)
	require.Contains(t, page.Text, `value="grace"`)
	require.Contains(t, page.Text, "Too many people are doing this right now.")
	require.NotContains(t, page.Text, "field-error", "nothing was looked at")
	require.Zero(t, s.Logs.FilterMessage("request failed").FilterLevelExact(zap.ErrorLevel).Len(), "it is no fault")
	require.Zero(t, s.Logs.FilterMessage("act refused").Len(), "a flood would be as many lines")
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("told to come again").Len())

	require.Equal(t, 400, known.Post("/accounts/login", sitetest.Data{}).StatusCode, "who is signed in")
	delete(known.Cookie, "registration")
	require.Equal(t, 400, known.Post("/accounts/login", sitetest.Data{}).StatusCode, "who is known by a device")
	require.Equal(t, 400, s.Browser().Post("/accounts/verify-registration", sitetest.Data{}).StatusCode, "what hashes nothing")
	for range 300 {
		known.From("192.0.2.2").Post("/accounts/login", sitetest.Data{})
	}
	sitetest.RequireError(t, s.Browser().Problems().From("192.0.2.2").Post("/accounts/login", sitetest.Data{}), 429, "throttled")
	close(over)
	require.NoError(t, <-hashed)
	require.Equal(t, 415, s.Browser().From("192.0.2.1").Post("/accounts/login", "no type").StatusCode, "nobody waits any more")
}

func TestOverloadedMachine(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Accounts.Hasher = password.NewPool(password.Limits{Workers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Accounts.Hasher.Hash(ctx, "x", s.Accounts.Policy.Hash)
	require.ErrorIs(t, err, password.ErrBusy)
	count := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	s.Accounts.Policy.Hash = password.Params{Memory: 64 * 1024, Passes: 1, Lanes: 1}
	for range 20 {
		wg.Go(func() {
			res := s.Browser().Post("/accounts/login", sitetest.Data{"login": "nobody", "password": "x"})
			mu.Lock()
			defer mu.Unlock()
			count[res.StatusCode]++
			if res.StatusCode == 503 && res.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		})
	}
	wg.Wait()
	require.Positive(t, count[503])
	require.Positive(t, count[400])
	require.Len(t, count, 2)
}
