// sitetest.go: one realm as a running Caddy has it (real bbolt file, real
// outbox), asked over net/http/httptest, with a clock that tests move.

// Package sitetest runs a whole site in the process of a test: sitetest.New gives a
// realm with a store, an outbox, a clock that the test moves and a mailbox that it
// reads, and clients that keep cookies. Every answer is held against the OpenAPI
// document. Only tests import it, from packages named <package>_test.
package sitetest

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

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/apicheck"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// Patience is how long a test waits for what has to come, on a slow machine too.
const Patience = time.Minute

// Site is a realm under test.
type Site struct {
	T        testing.TB
	Path     string // of the store's file
	Realm    *Realm
	Accounts *account.Accounts
	Handler  *registration.Handler
	Mailer   *MemoryMailer
	Logs     *observer.ObservedLogs
	Now      atomic.Int64 // Unix nanoseconds
	HTTPS    bool
	// Around makes the context of each request; nil: it is as it is.
	Around func(context.Context) context.Context
	// protected is what stands behind the handler and, below /members/, the guard.
	Guard *registration.Guard
	// checked is the OpenAPI document that every answer is held against.
	checked    *apicheck.Checker
	checkedTag string
	checkedMu  sync.Mutex
}

// MemoryMailer hands mail to the test, or fails with what fail returns.
type MemoryMailer struct {
	Mu   sync.Mutex
	Fail func(*mail.Message) error
	Sent chan *mail.Message
	// Told has the notices of a changed password or name and of a way back, which hardly any test asks for.
	Told chan *mail.Message
}

var aboutSigningIn = regexp.MustCompile(`^(Your password|Your username) at .* has been changed$|^A change of your addresses at .* has been undone$`)

// NewMailer returns one that takes a thousand mails before anybody reads them.
func NewMailer() *MemoryMailer {
	return &MemoryMailer{Sent: make(chan *mail.Message, 1000), Told: make(chan *mail.Message, 1000)}
}

// Send implements mail.Mailer.
func (m *MemoryMailer) Send(_ context.Context, msg *mail.Message) error {
	m.Mu.Lock()
	fail := m.Fail
	m.Mu.Unlock()
	if fail != nil {
		if err := fail(msg); err != nil {
			return err
		}
	}
	if aboutSigningIn.MatchString(msg.Subject) {
		m.Told <- msg
	} else {
		m.Sent <- msg
	}
	return nil
}

func (m *MemoryMailer) Close() error { return nil }

// Settings are those of the shortest configuration, with a cheap hash.
func Settings() *registration.Settings {
	return &registration.Settings{
		BaseURL: "http://example.com", From: "Example <no-reply@example.com>", MailerRaw: json.RawMessage(`{"module":"log"}`),
		Throttle: registration.ThrottleSettings{Off: true}, Notices: registration.NoticeSettings{NewDevice: Off()}, // tests sign in on many
		Password: registration.PasswordSettings{Argon2id: &registration.Argon2idSettings{Memory: 8, Passes: 1, Lanes: 1}},
	}
}

// patientPool is the pool of all sites under test. On a slow, busy machine a crowd
// waits for its turns and is not told 503: what a pool refuses has tests of its own.
var patientPool = sync.OnceValue(func() *password.Pool {
	return password.NewPool(password.Limits{Workers: runtime.GOMAXPROCS(0), Queue: 10_000, Turn: time.Hour, Hold: Patience, Wait: Patience})
})

// Realm is what tests see of a realm; Settings are resolved.
type Realm struct {
	*inside.Realm
	Settings *registration.Settings
}

// New runs a realm in a fresh folder; configure changes its settings.
func New(t testing.TB, configure ...func(*registration.Settings)) *Site {
	return NewAt(t, filepath.Join(t.TempDir(), "registration.db"), configure...)
}

// NewAt runs a realm on a given file, so that tests can restart.
func NewAt(t testing.TB, path string, configure ...func(*registration.Settings)) *Site {
	t.Helper()
	settings := Settings()
	for _, c := range configure {
		c(settings)
	}
	core, logs := observer.New(zap.DebugLevel)
	s := &Site{T: t, Path: path, Mailer: NewMailer(), Logs: logs}
	s.Now.Store(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano())
	clock := func() time.Time { return time.Unix(0, s.Now.Load()).UTC() }
	realm, err := inside.Open(inside.Options{Settings: settings, Path: path, Mailer: s.Mailer, Logger: zap.New(core), Now: clock, Hasher: patientPool()})
	require.NoError(t, err)
	s.Realm = &Realm{realm, realm.Settings.(*registration.Settings)}
	s.Accounts = realm.Accounts.Load()
	require.NoError(t, realm.Start())
	t.Cleanup(s.Close)
	s.Handler, s.Guard = realm.Handler.(*registration.Handler), s.NewGuard()
	return s
}

// Open puts a realm together and opens its store, and starts nothing.
func Open(path string, configure ...func(*registration.Settings)) (*Realm, error) {
	settings := Settings()
	for _, c := range configure {
		c(settings)
	}
	realm, err := inside.Open(inside.Options{Settings: settings, Path: path, Mailer: NewMailer(), Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	return &Realm{realm, realm.Settings.(*registration.Settings)}, nil
}

// Unopened is a realm whose store nobody has opened yet: Realm.Start does, and
// requests wait for it.
func Unopened(t testing.TB, path string) *Site {
	realm, err := inside.Open(inside.Options{Settings: Settings(), Path: path, Mailer: NewMailer(), Logger: zap.NewNop(), Unopened: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = realm.Close() })
	s := &Site{T: t, Path: path, Realm: &Realm{realm, realm.Settings.(*registration.Settings)}}
	s.Handler, s.Guard = realm.Handler.(*registration.Handler), s.NewGuard()
	return s
}

// NewGuard is one more guard of the realm.
func (s *Site) NewGuard() *registration.Guard { return s.Realm.NewGuard().(*registration.Guard) }

// Close stops the realm and gives its file back; the end of the test does so too.
func (s *Site) Close() {
	if s.Realm != nil {
		require.NoError(s.T, s.Realm.Close())
		s.Realm = nil
	}
}

// Travel moves the clock.
func (s *Site) Travel(d time.Duration) { s.Now.Add(int64(d)) }

// Protected is what the page behind the guard shows.
const ProtectedPage = "for members"

// ServeHTTP is the site: registration, require_login /members/*, a page.
func (s *Site) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	page := caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
		_, err := io.WriteString(w, ProtectedPage)
		return err
	})
	err := s.Handler.ServeHTTP(w, req, caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
		if strings.HasPrefix(req.URL.Path, "/members/") {
			return s.Guard.ServeHTTP(w, req, page)
		}
		return page.ServeHTTP(w, req)
	}))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// Browser is one client: it keeps cookies and sends what a test sets.
type Browser struct {
	Site   *Site
	Cookie map[string]string
	Header http.Header
	IP     string
	Proxy  bool // it is one that the configuration names
}

func (s *Site) Browser() *Browser {
	return &Browser{Site: s, Cookie: map[string]string{}, Header: http.Header{}, IP: "192.0.2.1"}
}

// Answer is a response with its body read.
type Answer struct {
	*http.Response
	Text string
}

// JSON returns the body as a JSON object.
func (a *Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Text), &out), a.Text)
	return out
}

// Do sends a request. A body may be nil, a string (with the Content-Type that
// the browser's header has), url.Values (a form) or anything else (JSON).
func (b *Browser) Do(method, target string, body any) *Answer {
	b.Site.T.Helper()
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
		require.NoError(b.Site.T, err)
		contentType = "application/json"
	}
	scheme := "http"
	if b.Site.HTTPS {
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
	maps.Copy(req.Header, b.Header)
	for name, v := range b.Cookie {
		req.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: b.IP, caddyhttp.TrustedProxyVarKey: b.Proxy})
	if b.Site.Around != nil {
		ctx = b.Site.Around(ctx)
	}
	req = req.WithContext(ctx)
	rec := httptest.NewRecorder()
	b.Site.ServeHTTP(rec, req)
	res := rec.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.Cookie, c.Name)
		} else {
			b.Cookie[c.Name] = c.Value
		}
	}
	b.Site.checkAnswer(req, res, rec.Body.String())
	return &Answer{Response: res, Text: rec.Body.String()}
}

func (b *Browser) Post(target string, body any) *Answer {
	b.Site.T.Helper()
	return b.Do(http.MethodPost, target, body)
}

func (b *Browser) Get(target string) *Answer {
	b.Site.T.Helper()
	return b.Do(http.MethodGet, target, nil)
}

// Follow goes where an answer redirects to.
func (b *Browser) Follow(a *Answer) *Answer {
	b.Site.T.Helper()
	require.Equal(b.Site.T, http.StatusSeeOther, a.StatusCode, a.Text)
	return b.Get(a.Header.Get("Location"))
}

// LikeBrowser makes it ask for pages.
func (b *Browser) LikeBrowser() *Browser {
	b.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	return b
}

// Data is a JSON body.
type Data = map[string]any

const Password = "a long enough passphrase"

func Newcomer(name string) Data {
	return Data{"username": name, "email": name + "@example.org", "password": Password, "password_confirm": Password}
}

// Mail waits for the next mail.
func (s *Site) Mail() *mail.Message {
	s.T.Helper()
	select {
	case m := <-s.Mailer.Sent:
		return m
	case <-time.After(Patience):
		require.FailNow(s.T, "no mail came")
		return nil
	}
}

// Notice waits for the next notice of a changed password or name, or of a way back.
func (s *Site) Notice() *mail.Message {
	s.T.Helper()
	select {
	case m := <-s.Mailer.Told:
		return m
	case <-time.After(Patience):
		require.FailNow(s.T, "no notice came")
		return nil
	}
}

// QueueEmpty says whether no mail waits.
func QueueEmpty(db store.Store) bool {
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

// NoMail says that the outbox is empty and nothing was sent.
func (s *Site) NoMail() {
	s.T.Helper()
	require.Eventually(s.T, func() bool { return QueueEmpty(s.Accounts.Store) }, Patience, time.Millisecond)
	select {
	case m := <-s.Mailer.Sent:
		require.FailNow(s.T, "a mail came", m.Subject)
	default:
	}
}

var LinkInMail = regexp.MustCompile(`https?://\S+`)

// link returns what the link in a mail carries, as the body of its act.
func LinkOf(m *mail.Message, t testing.TB) Data {
	t.Helper()
	u, err := url.Parse(LinkInMail.FindString(m.Text))
	require.NoError(t, err)
	out := Data{}
	for name, values := range u.Query() {
		out[name] = values[0]
	}
	require.Contains(t, out, "signature")
	return out
}

// Member registers and confirms an account and returns its id.
func (s *Site) Member(name string) string {
	s.T.Helper()
	b := s.Browser()
	res := b.Post("/accounts/register", Newcomer(name))
	require.Equal(s.T, http.StatusCreated, res.StatusCode, res.Text)
	if *s.Realm.Settings.Register.Verification {
		res := b.Post("/accounts/verify-registration", LinkOf(s.Mail(), s.T))
		require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
	}
	id, _ := res.JSON(s.T)["id"].(string) // unless it is not public
	return id
}

// SignedIn is the browser of a member who has signed in.
func (s *Site) SignedIn(name string) *Browser {
	s.T.Helper()
	b := s.Browser()
	res := b.Post("/accounts/login", Data{"login": name, "password": Password})
	require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
	return b
}

// With merges changes into a body; a nil value takes the key out.
func With(base Data, changes Data) Data {
	out := Data{}
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

func On() *bool  { v := true; return &v }
func Off() *bool { v := false; return &v }

// Message is the English text of a code, as answers have it.
func Message(code refusal.Code, params text.Params) string {
	return Words(refusal.FieldError{Code: code, Params: params}.Phrase())
}

// Words is a phrase in English.
func Words(p text.Phrase) string {
	l, err := text.NewLanguages("", "en")
	if err != nil {
		panic(err)
	}
	return l.Named("en").Text(p)
}

// English are the shipped languages with English as the fallback.
func English(t testing.TB) *text.Languages {
	t.Helper()
	l, err := text.NewLanguages("", "en")
	require.NoError(t, err)
	return l
}

// LockWait is how long tests wait for a file that somebody has open.
const LockWait = 100 * time.Millisecond

// EmptyStore is the store of a realm in a file of its own.
func EmptyStore(t testing.TB) *bolt.Store {
	t.Helper()
	f, err := bolt.Open(filepath.Join(t.TempDir(), "registration.db"), time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	s, err := f.Realm("default")
	require.NoError(t, err)
	return s
}

// Embedded skips a test of the embedded store where sites are tested on another one.
func Embedded(t testing.TB) {
	t.Helper()
	if os.Getenv("REGISTRATION_STORE") != "" {
		t.Skip("about the embedded store")
	}
}

// OldStore unpacks a store of an earlier version, see testdata/stores.
func OldStore(t *testing.T, name string) string {
	t.Helper()
	Embedded(t)
	file, err := os.Open(Root() + "/testdata/stores/" + name + ".db.gz")
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

// Root is the folder of the module, wherever a test runs.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Day is 24 hours.
const Day = 24 * time.Hour
