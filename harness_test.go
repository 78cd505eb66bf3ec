// harness_test.go: one realm as a running Caddy has it (real bbolt file, real
// outbox), asked over net/http/httptest, with a clock that tests move.

package registration

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
	"github.com/seed-928992b0/caddy-registration/internal/letter"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// patience is how long a test waits for what has to come, on a slow machine too.
const patience = time.Minute

// site is a realm under test.
type site struct {
	t        testing.TB
	app      *App
	realm    *realm
	accounts *account.Accounts
	handler  *Handler
	mailer   *memoryMailer
	logs     *observer.ObservedLogs
	now      atomic.Int64 // Unix nanoseconds
	https    bool
	// protected is what stands behind the handler and, below /members/, the guard.
	guard *Guard
	// checked is the OpenAPI document that every answer is held against.
	checked    *apicheck.Checker
	checkedTag string
	checkedMu  sync.Mutex
}

// memoryMailer hands mail to the test, or fails with what fail returns.
type memoryMailer struct {
	mu   sync.Mutex
	fail func(*mail.Message) error
	sent chan *mail.Message
	// told has the notices of a changed password or name, which hardly any test asks for.
	told chan *mail.Message
}

var aboutSigningIn = regexp.MustCompile(`^(Your password|Your sign-in name) at .* was changed$`)

func (m *memoryMailer) Send(_ context.Context, msg *mail.Message) error {
	m.mu.Lock()
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		if err := fail(msg); err != nil {
			return err
		}
	}
	if aboutSigningIn.MatchString(msg.Subject) {
		m.told <- msg
	} else {
		m.sent <- msg
	}
	return nil
}

func (m *memoryMailer) Close() error { return nil }

// testSettings are those of the shortest configuration, with a cheap hash.
func testSettings() *Settings {
	return &Settings{
		BaseURL: "http://example.com", From: "Example <no-reply@example.com>", MailerRaw: json.RawMessage(`{"module":"log"}`),
		Throttle: ThrottleSettings{Off: true},
		Password: PasswordSettings{Argon2id: &Argon2idSettings{Memory: 8, Passes: 1, Lanes: 1}},
	}
}

// patientPool is the pool of all sites under test. On a slow, busy machine a crowd
// waits for its turns and is not told 503: what a pool refuses has tests of its own.
var patientPool = sync.OnceValue(func() *password.Pool {
	return password.NewPool(password.Limits{Workers: runtime.GOMAXPROCS(0), Queue: 10_000, Turn: time.Hour, Hold: patience, Wait: patience})
})

// newSite runs a realm in a fresh folder; configure changes its settings.
func newSite(t testing.TB, configure ...func(*Settings)) *site {
	return newSiteAt(t, filepath.Join(t.TempDir(), "registration.db"), configure...)
}

// newSiteAt runs a realm on a given file, so that tests can restart.
func newSiteAt(t testing.TB, path string, configure ...func(*Settings)) *site {
	t.Helper()
	settings := testSettings()
	for _, c := range configure {
		c(settings)
	}
	core, logs := observer.New(zap.DebugLevel)
	s := &site{t: t, mailer: &memoryMailer{sent: make(chan *mail.Message, 1000), told: make(chan *mail.Message, 1000)}, logs: logs}
	s.now.Store(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano())
	resolved, err := settings.resolve()
	require.NoError(t, err)
	s.realm, err = newRealm(resolved, &BoltModule{path: path, logger: zap.NewNop()}, s.mailer, zap.New(core))
	require.NoError(t, err)
	require.NoError(t, s.realm.open(patience))
	clock := func() time.Time { return time.Unix(0, s.now.Load()).UTC() }
	s.accounts = s.realm.Accounts.Load()
	s.accounts.Hasher = patientPool()
	s.realm.Now, s.accounts.Now, s.realm.postman.Now = clock, clock, clock
	s.realm.engine.throttles = web.NewThrottles(clock)
	s.realm.Throttles = s.realm.engine.throttles
	s.accounts.Throttles = s.realm.engine.throttles
	s.realm.postman.Render = func(m *store.Mail, u *store.User) (*mail.Message, error) {
		r, err := letter.NewRenderer(resolved.letters(), s.realm.Languages, s.realm.SiteName, clock)
		if err != nil {
			return nil, err
		}
		r.Signer, r.State, r.Links = s.accounts.Signer, s.accounts.State, s.realm.letterLinks()
		return r.Render(m, u)
	}
	require.NoError(t, s.realm.start())
	t.Cleanup(s.close)
	s.app = &App{realms: map[string]*realm{s.realm.Name: s.realm}}
	s.handler = &Handler{app: s.app, realm: s.realm}
	s.guard = &Guard{logger: zap.NewNop()}
	s.guard.app, s.guard.name = s.app, s.realm.Name
	return s
}

func (s *site) close() {
	if s.realm != nil {
		require.NoError(s.t, s.realm.close())
		s.realm = nil
	}
}

// travel moves the clock.
func (s *site) travel(d time.Duration) { s.now.Add(int64(d)) }

// Protected is what the page behind the guard shows.
const protectedPage = "for members"

// ServeHTTP is the site: registration, require_login /members/*, a page.
func (s *site) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	page := caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
		_, err := io.WriteString(w, protectedPage)
		return err
	})
	err := s.handler.ServeHTTP(w, req, caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
		if strings.HasPrefix(req.URL.Path, "/members/") {
			return s.guard.ServeHTTP(w, req, page)
		}
		return page.ServeHTTP(w, req)
	}))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// browser is one client: it keeps cookies and sends what a test sets.
type browser struct {
	site   *site
	cookie map[string]string
	header http.Header
	ip     string
}

func (s *site) browser() *browser {
	return &browser{site: s, cookie: map[string]string{}, header: http.Header{}, ip: "192.0.2.1"}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// json returns the body as a JSON object.
func (a *answer) json(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &out), a.body)
	return out
}

// do sends a request. A body may be nil, a string (with the Content-Type that
// the browser's header has), url.Values (a form) or anything else (JSON).
func (b *browser) do(method, target string, body any) *answer {
	b.site.t.Helper()
	var raw []byte
	contentType := ""
	switch body := body.(type) {
	case nil:
	case string:
		raw = []byte(body)
	case url.Values:
		raw, contentType = []byte(body.Encode()), "application/x-www-form-urlencoded"
	default:
		var err error
		raw, err = json.Marshal(body)
		require.NoError(b.site.t, err)
		contentType = "application/json"
	}
	scheme := "http"
	if b.site.https {
		scheme = "https"
	}
	req := httptest.NewRequest(method, scheme+"://example.com"+target, bytes.NewReader(raw))
	req.RequestURI = target
	if body == nil {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	maps.Copy(req.Header, b.header)
	for name, v := range b.cookie {
		req.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: b.ip})
	req = req.WithContext(ctx)
	rec := httptest.NewRecorder()
	b.site.ServeHTTP(rec, req)
	res := rec.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookie, c.Name)
		} else {
			b.cookie[c.Name] = c.Value
		}
	}
	b.site.checkAnswer(req, res, rec.Body.String())
	return &answer{Response: res, body: rec.Body.String()}
}

func (b *browser) post(target string, body any) *answer {
	b.site.t.Helper()
	return b.do(http.MethodPost, target, body)
}

func (b *browser) get(target string) *answer {
	b.site.t.Helper()
	return b.do(http.MethodGet, target, nil)
}

// follow goes where an answer redirects to.
func (b *browser) follow(a *answer) *answer {
	b.site.t.Helper()
	require.Equal(b.site.t, http.StatusSeeOther, a.StatusCode, a.body)
	return b.get(a.Header.Get("Location"))
}

// likeBrowser makes it ask for pages.
func (b *browser) likeBrowser() *browser {
	b.header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	return b
}

// data is a JSON body.
type data = map[string]any

const testPassword = "a long enough passphrase"

func newcomer(name string) data {
	return data{"username": name, "email": name + "@example.org", "password": testPassword, "password_confirm": testPassword}
}

// mail waits for the next mail.
func (s *site) mail() *mail.Message {
	s.t.Helper()
	select {
	case m := <-s.mailer.sent:
		return m
	case <-time.After(patience):
		require.FailNow(s.t, "no mail came")
		return nil
	}
}

// notice waits for the next notice of a changed password or name.
func (s *site) notice() *mail.Message {
	s.t.Helper()
	select {
	case m := <-s.mailer.told:
		return m
	case <-time.After(patience):
		require.FailNow(s.t, "no notice came")
		return nil
	}
}

// queueEmpty says whether no mail waits.
func queueEmpty(db store.Store) bool {
	n := 1
	_ = db.View(context.Background(), func(tx store.Tx) error {
		rows, err := tx.Mails(0, 1)
		if err == nil {
			n = len(rows)
		}
		return err
	})
	return n == 0
}

// noMail says that the outbox is empty and nothing was sent.
func (s *site) noMail() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return queueEmpty(s.accounts.Store) }, patience, time.Millisecond)
	select {
	case m := <-s.mailer.sent:
		require.FailNow(s.t, "a mail came", m.Subject)
	default:
	}
}

var linkInMail = regexp.MustCompile(`https?://\S+`)

// link returns what the link in a mail carries, as the body of its act.
func linkOf(m *mail.Message, t testing.TB) data {
	t.Helper()
	u, err := url.Parse(linkInMail.FindString(m.Text))
	require.NoError(t, err)
	out := data{}
	for name, values := range u.Query() {
		out[name] = values[0]
	}
	require.Contains(t, out, "signature")
	return out
}

// member registers and confirms an account and returns its id.
func (s *site) member(name string) string {
	s.t.Helper()
	b := s.browser()
	res := b.post("/accounts/register", newcomer(name))
	require.Equal(s.t, http.StatusCreated, res.StatusCode, res.body)
	if *s.realm.settings.Register.Verification {
		res := b.post("/accounts/verify-registration", linkOf(s.mail(), s.t))
		require.Equal(s.t, http.StatusOK, res.StatusCode, res.body)
	}
	id, _ := res.json(s.t)["id"].(string) // unless it is not public
	return id
}

// signedIn is the browser of a member who has signed in.
func (s *site) signedIn(name string) *browser {
	s.t.Helper()
	b := s.browser()
	res := b.post("/accounts/login", data{"login": name, "password": testPassword})
	require.Equal(s.t, http.StatusOK, res.StatusCode, res.body)
	return b
}

// with merges changes into a body; a nil value takes the key out.
func with(base data, changes data) data {
	out := data{}
	maps.Copy(out, base)
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

func on() *bool  { v := true; return &v }
func off() *bool { v := false; return &v }

// message is the English text of a code, as answers have it.
func message(code refusal.Code, params text.Params) string {
	return words(refusal.FieldError{Code: code, Params: params}.Phrase())
}

// words is a phrase in English.
func words(p text.Phrase) string {
	l, err := text.NewLanguages("", "en")
	if err != nil {
		panic(err)
	}
	return l.Named("en").Text(p)
}

// english are the shipped languages with English as the fallback.
func english(t testing.TB) *text.Languages {
	t.Helper()
	l, err := text.NewLanguages("", "en")
	require.NoError(t, err)
	return l
}

// lockWait is how long tests wait for a file that somebody has open.
const lockWait = 100 * time.Millisecond

// emptyStore is the store of a realm in a file of its own.
func emptyStore(t testing.TB) *bolt.Store {
	t.Helper()
	f, err := bolt.Open(filepath.Join(t.TempDir(), "registration.db"), time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	s, err := f.Realm("default")
	require.NoError(t, err)
	return s
}

// storeFile is what stands in the file of a site's store.
func (s *site) storeFile(t *testing.T) []byte {
	t.Helper()
	raw, err := os.ReadFile(s.realm.storeModule.(*BoltModule).path)
	require.NoError(t, err)
	return raw
}

// oldStore unpacks a store of an earlier version, see testdata/stores.
func oldStore(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open("testdata/stores/" + name + ".db.gz")
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	require.NoError(t, err)
	raw, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "registration.db")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	return path
}
