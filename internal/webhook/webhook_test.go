// webhook_test.go: what endpoints get, when, and how they know that it is us.

package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

const (
	patience = time.Minute
	secretA  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// A got is a request as an endpoint sees it.
type got struct {
	header http.Header
	body   string
}

func (g got) event() string {
	var body struct{ Type string }
	_ = json.Unmarshal([]byte(g.body), &body)
	return body.Type
}

// A receiver is an endpoint that answers as it is told to.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	all    []got
	answer http.HandlerFunc
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.all = append(r.all, got{req.Header.Clone(), string(body)})
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(fn http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = fn
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func (r *receiver) got() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got(nil), r.all...)
}

func (r *receiver) events() string {
	var names []string
	for _, g := range r.got() {
		names = append(names, g.event())
	}
	return strings.Join(names, " ")
}

type bench struct {
	t      *testing.T
	db     store.Store
	now    atomic.Int64
	logs   *observer.ObservedLogs
	log    *zap.Logger
	counts sync.Map
}

func newBench(t *testing.T) *bench {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), patience)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	db, err := file.Realm("default")
	require.NoError(t, err)
	core, logs := observer.New(zapcore.DebugLevel)
	b := &bench{t: t, db: db, logs: logs, log: zap.New(core)}
	b.now.Store(time.Now().Unix())
	return b
}

func (b *bench) clock() time.Time       { return time.Unix(b.now.Load(), 0) }
func (b *bench) travel(d time.Duration) { b.now.Add(int64(d / time.Second)) }

func (b *bench) endpoint(url string) *webhook.Endpoint {
	secret, err := webhook.ParseSecret(secretA)
	require.NoError(b.t, err)
	return &webhook.Endpoint{URL: url, Secrets: [][]byte{secret}, AllowPrivate: true}
}

func (b *bench) sender(endpoints ...*webhook.Endpoint) *webhook.Sender {
	b.enter(endpoints...)
	return webhook.NewSender(webhook.Config{Realm: "default", Endpoints: endpoints, Store: b.db, Log: b.log, Now: b.clock, Count: func(_, result string) {
		n, _ := b.counts.LoadOrStore(result, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
	}})
}

func (b *bench) enter(endpoints ...*webhook.Endpoint) {
	b.t.Helper()
	require.NoError(b.t, webhook.Enter(b.t.Context(), b.db, endpoints))
}

func (b *bench) counted(result string) int64 {
	n, ok := b.counts.Load(result)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

func (b *bench) act(event string, change ...func(*store.Audit)) {
	b.t.Helper()
	row := &store.Audit{At: b.clock().UTC(), Event: event, Actor: "system", Address: "192.0.2.1", Details: map[string]string{"by": "password", "realm": "no realm"}}
	for _, fn := range change {
		fn(row)
	}
	require.NoError(b.t, b.db.Update(context.Background(), func(tx store.Tx) error { return tx.AddAudit(row) }))
}

func (b *bench) run(s *webhook.Sender) {
	s.Start()
	b.t.Cleanup(s.Stop)
}

func (b *bench) eventually(what func() bool) {
	b.t.Helper()
	require.Eventually(b.t, what, patience, time.Millisecond)
}

// The reference library for JavaScript takes it too.
func TestStandardWebhooksInJavaScript(t *testing.T) {
	web := filepath.Join("..", "..", "integration", "web")
	_, node := exec.LookPath("node")
	_, library := os.Stat(filepath.Join(web, "node_modules", "standardwebhooks"))
	if node != nil || library != nil {
		require.Empty(t, os.Getenv("CI"), "npm ci --prefix integration/web")
		t.Skip("node, or standardwebhooks in integration/web/node_modules, is missing: npm ci --prefix integration/web")
	}
	b, r := newBench(t), newReceiver(t)
	step := webhook.Steps(b.sender(b.endpoint(r.URL)))
	b.act("signed_in", func(a *store.Audit) { a.Details["who"] = "Zoë <&> \u2028" })
	_, err := step(t.Context())
	require.NoError(t, err)
	require.Len(t, r.got(), 1)
	got := r.got()[0]
	headers := map[string]string{}
	for name := range got.header {
		headers[strings.ToLower(name)] = got.header.Get(name)
	}
	asked, err := json.Marshal([]map[string]any{
		{"secret": secretA, "headers": headers, "body": got.body},
		{"secret": secretB, "headers": headers, "body": got.body},
		{"secret": secretA, "headers": headers, "body": got.body + " "},
	})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "node", "webhook.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = web, bytes.NewReader(asked), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	require.JSONEq(t, `["signed_in","WebhookVerificationError","WebhookVerificationError"]`, string(out))
}

// What is sent is what the reference library takes, under the new secret and the old.
func TestStandardWebhooks(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	old, err := webhook.ParseSecret(secretB)
	require.NoError(t, err)
	e := b.endpoint(r.URL + "/hook?x=1")
	e.Secrets = append(e.Secrets, old)
	s := b.sender(e)
	b.run(s)
	ada := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", Email: "ada@example.org", PasswordHash: "$argon2"}
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(ada, nil) }))
	b.act("signed_in", func(a *store.Audit) { a.Account = ada.ID })
	b.act("account_deleted", func(a *store.Audit) { a.Account = uuid.New() })
	s.Notify()
	b.eventually(func() bool { return len(r.got()) == 2 })
	for _, g := range r.got() {
		for _, secret := range []string{secretA, secretB} {
			wh, err := standardwebhooks.NewWebhook(secret)
			require.NoError(t, err)
			require.NoError(t, wh.Verify([]byte(g.body), g.header))
			require.Error(t, wh.Verify([]byte(g.body+" "), g.header))
		}
		require.Equal(t, "application/json", g.header.Get("Content-Type"))
	}
	first := r.got()[0]
	at, err := json.Marshal(b.clock().UTC())
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"type":"signed_in","timestamp":%s,"data":{"realm":"default","id":%q,"username":"ada","actor":"system","address":"192.0.2.1","by":"password"}}`, at, ada.ID), first.body)
	require.NotContains(t, r.got()[1].body, "username")
	require.NotEqual(t, first.header.Get("webhook-id"), r.got()[1].header.Get("webhook-id"))
	b.eventually(func() bool { return b.counted(webhook.CountDelivered) == 2 })
}

func TestSecrets(t *testing.T) {
	for _, text := range []string{"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_" + strings.Repeat("AAAA", 22)} {
		_, err := webhook.ParseSecret(text)
		require.Error(t, err, text)
		if len(text) > 8 {
			require.NotContains(t, err.Error(), text[7:])
		}
	}
}

// An endpoint is told what it asked for, from when it is there, and nothing that was
// brought from elsewhere.
func TestWhatAnEndpointIsTold(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	b.act("account_before")
	e := b.endpoint(r.URL)
	e.Events = []string{"account_*", "signed_in"}
	s := b.sender(e)
	for range 120 {
		b.act("signed_out")
	}
	for _, event := range []string{"account_registered", "sign_in_failed", "signed_in", "token_created", "account_deleted"} {
		b.act(event)
		b.act(event, func(a *store.Audit) { a.Imported = true })
	}
	b.run(s)
	b.eventually(func() bool { return r.events() == "account_registered signed_in account_deleted" })
	s.Notify()
	b.act("account_verified")
	s.Notify()
	b.eventually(func() bool { return strings.HasSuffix(r.events(), "account_deleted account_verified") })
}

// Many rows that nobody wants are passed once, not at each start.
func TestWhatNobodyWantsIsPassed(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	e := b.endpoint(r.URL)
	e.Events = []string{"account_*"}
	s := b.sender(e)
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error {
		for range 1200 {
			if err := tx.AddAudit(&store.Audit{At: b.clock(), Event: "signed_in"}); err != nil {
				return err
			}
		}
		return nil
	}))
	step := webhook.Steps(s)
	for {
		wait, err := step(t.Context())
		require.NoError(t, err)
		if wait > 0 {
			break
		}
	}
	require.NotContains(t, placesOf(b), `"after":0`)
}

func placesOf(b *bench) (text string) {
	b.t.Helper()
	require.NoError(b.t, b.db.View(b.t.Context(), func(tx store.Tx) error {
		raw, err := tx.Value("webhooks")
		text = string(raw)
		return err
	}))
	return text
}

// An endpoint that fails is tried again, later and later, under the same id, in order; what
// can't be delivered for three days is given up.
func TestAnEndpointThatFails(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.sender(b.endpoint(r.URL))
	step := webhook.Steps(s)
	r.answers(status(500))
	b.act("one")
	b.act("two")
	for n := range 3 {
		require.Equal(t, n, len(r.got()))
		_, err := step(t.Context())
		require.NoError(t, err)
		wait, err := step(t.Context())
		require.NoError(t, err)
		require.Positive(t, wait)
		b.travel(wait + time.Second)
	}
	require.Equal(t, "one one one", r.events())
	for _, g := range r.got() {
		require.Equal(t, r.got()[0].header.Get("webhook-id"), g.header.Get("webhook-id"))
	}
	require.NotEqual(t, r.got()[0].header.Get("webhook-timestamp"), r.got()[2].header.Get("webhook-timestamp"))
	all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
	require.NoError(t, err)
	require.Equal(t, "it answered 500", all[0].Words)
	require.False(t, all[0].Since.IsZero())
	r.answers(nil)
	_, err = step(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one one one one two", r.events())

	r.answers(status(301, "Location", r.URL+"/elsewhere"))
	b.act("three")
	for passed := time.Duration(0); passed < webhook.GiveUp+24*time.Hour; {
		_, err := step(t.Context())
		require.NoError(t, err)
		wait, err := step(t.Context())
		require.NoError(t, err)
		b.travel(wait + time.Second)
		passed += wait + time.Second
	}
	require.Equal(t, int64(1), b.counted(webhook.CountGivenUp))
	require.Contains(t, r.events(), "three three three")
	require.NotEmpty(t, b.logs.FilterMessageSnippet("given up").All())
	b.act("four")
	r.answers(nil)
	b.travel(24 * time.Hour)
	_, err = step(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(r.events(), " three four"))
	for _, entry := range b.logs.All() {
		require.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), r.URL+"/", "the path of an endpoint may be a secret")
	}
}

// A clock that was ahead puts nothing off for years.
func TestAClockThatWasAhead(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	step := webhook.Steps(b.sender(b.endpoint(r.URL)))
	r.answers(status(500))
	b.travel(1000 * 24 * time.Hour)
	b.act("one")
	_, err := step(t.Context())
	require.NoError(t, err)
	b.travel(-1000 * 24 * time.Hour)
	r.answers(status(422))
	_, err = step(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one one", r.events())
}

func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		value    func(now time.Time) string
		min, max time.Duration
	}{
		"seconds":     {func(time.Time) string { return "120" }, 2 * time.Minute, 2 * time.Minute},
		"a date":      {func(now time.Time) string { return now.Add(time.Hour).UTC().Format(http.TimeFormat) }, time.Hour - time.Second, time.Hour + time.Second},
		"too soon":    {func(time.Time) string { return "1" }, 4 * time.Second, 6 * time.Second},
		"far too far": {func(time.Time) string { return "99999999999" }, 24 * time.Hour, 24 * time.Hour},
		"nonsense":    {func(time.Time) string { return "soon" }, 4 * time.Second, 6 * time.Second},
		"long ago":    {func(now time.Time) string { return now.Add(-time.Hour).UTC().Format(http.TimeFormat) }, 4 * time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b, r := newBench(t), newReceiver(t)
			step := webhook.Steps(b.sender(b.endpoint(r.URL)))
			r.answers(status(503, "Retry-After", c.value(b.clock())))
			b.act("one")
			_, err := step(t.Context())
			require.NoError(t, err)
			wait, err := step(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, wait, c.min)
			require.LessOrEqual(t, wait, c.max)
		})
	}
}

// 410 ends it; a configuration that is loaded tries again, with what happens from then on.
func TestGone(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.sender(b.endpoint(r.URL))
	step := webhook.Steps(s)
	r.answers(status(410))
	b.act("one")
	_, err := step(t.Context())
	require.NoError(t, err)
	b.act("two")
	wait, err := step(t.Context())
	require.NoError(t, err)
	require.Positive(t, wait)
	b.travel(30 * 24 * time.Hour)
	_, err = step(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one", r.events())
	all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
	require.NoError(t, err)
	require.False(t, all[0].Since.IsZero())
	r.answers(nil)
	s = b.sender(s.Endpoints...)
	b.act("three")
	_, err = webhook.Steps(s)(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one three", r.events())
}

// A message that an endpoint refuses keeps no other; it comes again, until it is given up.
func TestAMessageThatIsRefused(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.sender(b.endpoint(r.URL))
	step := webhook.Steps(s)
	refuseOne := func(w http.ResponseWriter, _ *http.Request) {
		if strings.HasSuffix(r.events(), "one") {
			w.WriteHeader(422)
		}
	}
	r.answers(refuseOne)
	b.act("one")
	b.act("two")
	_, err := step(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one two", r.events())
	all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
	require.NoError(t, err)
	require.Equal(t, 1, all[0].Refused)
	for b.counted(webhook.CountGivenUp) == 0 {
		wait, err := step(t.Context())
		require.NoError(t, err)
		b.travel(wait + time.Minute)
	}
	require.Greater(t, strings.Count(r.events(), "one"), 10)
	require.Equal(t, 1, strings.Count(r.events(), "two"))

	b.act("one")
	_, err = step(t.Context())
	require.NoError(t, err)
	r.answers(nil)
	b.travel(time.Hour)
	_, err = step(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(r.events(), "one one"))

	r.answers(refuseOne)
	b.act("one")
	_, err = step(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.DeleteAudits(b.clock().Add(time.Hour), b.clock().Add(2*time.Hour), 1000)
		return err
	}))
	b.travel(time.Hour)
	_, err = step(t.Context())
	require.NoError(t, err)
	all, err = webhook.StatusOf(t.Context(), b.db, s.Endpoints)
	require.NoError(t, err)
	require.Zero(t, all[0].Refused, "the record has forgotten it")

	for range webhook.MaxHeld + 1 {
		b.act("one")
	}
	for range 5 {
		_, err = step(t.Context())
		require.NoError(t, err)
	}
	all, err = webhook.StatusOf(t.Context(), b.db, s.Endpoints)
	require.NoError(t, err)
	require.Equal(t, webhook.MaxHeld, all[0].Refused)
	require.False(t, all[0].Since.IsZero(), "who refuses so much fails")
}

// One that hangs keeps no other from its own.
func TestASlowEndpointHoldsNoOther(t *testing.T) {
	b, slow, quick := newBench(t), newReceiver(t), newReceiver(t)
	done := make(chan struct{})
	slow.answers(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-done:
		case <-req.Context().Done():
		}
	})
	defer close(done)
	s := b.sender(b.endpoint(slow.URL), b.endpoint(quick.URL))
	s.Start()
	for range 3 {
		b.act("signed_in")
		s.Notify()
	}
	b.eventually(func() bool { return len(quick.got()) == 3 && len(slow.got()) == 1 })
	s.Stop() // cuts the slow one off
}

// Two senders on one store, as at a reload or on two nodes: nothing is told twice.
func TestTwoSenders(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	e := b.endpoint(r.URL)
	one, two := b.sender(e), b.sender(e)
	b.run(one)
	b.run(two)
	for i := range 30 {
		b.act(fmt.Sprintf("event_%02d", i))
		one.Notify()
		two.Notify()
	}
	b.eventually(func() bool { return len(r.got()) >= 30 })
	seen := map[string]bool{}
	for _, g := range r.got() {
		require.False(t, seen[g.event()], g.event())
		seen[g.event()] = true
	}
}

// Who died with the place in his hands keeps it for no longer than a lease.
func TestALeaseRunsOut(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.sender(b.endpoint(r.URL))
	dying, end := context.WithCancel(t.Context())
	dead := webhook.Steps(webhook.NewSender(webhook.Config{Realm: s.Realm, Endpoints: s.Endpoints, Store: dyingStore{b.db, dying}, Log: s.Log, Now: s.Now, Count: s.Count}))
	r.answers(func(http.ResponseWriter, *http.Request) { end() })
	b.act("one")
	_, err := dead(t.Context())
	require.Error(t, err)
	r.answers(nil)
	step := webhook.Steps(s)
	wait, err := step(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Second, wait)
	require.Equal(t, "one", r.events())
	b.travel(webhook.Lease + time.Second)
	_, err = step(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one one", r.events())
	require.Equal(t, r.got()[0].header.Get("webhook-id"), r.got()[1].header.Get("webhook-id"))
}

// dyingStore fails from when its life ends.
type dyingStore struct {
	store.Store
	life context.Context
}

func (s dyingStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.life.Err() != nil {
		return errors.New("the machine has lost its power")
	}
	return s.Store.Update(ctx, fn)
}

// A store that fails is tried again, and a place that can't be read is no reason to begin
// anew.
func TestAStoreThatFails(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.sender(b.endpoint(r.URL))
	require.NoError(t, b.db.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue("webhooks", []byte("{")) }))
	require.Error(t, webhook.Enter(t.Context(), b.db, s.Endpoints))
	_, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
	require.Error(t, err)
	b.run(s)
	b.eventually(func() bool { return b.logs.FilterMessageSnippet("can't be read or written").Len() > 0 })
	require.Empty(t, r.got())
}

// An endpoint that is taken out is forgotten, and told of nothing from before when it comes
// again; a worker of the configuration before loses nothing.
func TestEndpointsThatComeAndGo(t *testing.T) {
	b, r, other := newBench(t), newReceiver(t), newReceiver(t)
	e := b.endpoint(r.URL)
	before := webhook.Steps(b.sender(e))
	b.act("one")
	_, err := before(t.Context())
	require.NoError(t, err)
	b.enter(b.endpoint(other.URL))
	b.act("two")
	_, err = before(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one two", r.events())
	b.enter(b.endpoint(other.URL))
	b.act("three")
	again := webhook.Steps(b.sender(e))
	b.act("four")
	_, err = again(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one two four", r.events())
}

// A batch that takes longer than a lease goes on under a new one.
func TestALongBatch(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	s := b.sender(b.endpoint(r.URL))
	r.answers(func(http.ResponseWriter, *http.Request) { b.travel(webhook.Lease - 2*time.Second) })
	for i := range 5 {
		b.act(fmt.Sprint("event_", i))
	}
	_, err := webhook.Steps(s)(t.Context())
	require.NoError(t, err)
	require.Equal(t, "event_0 event_1 event_2 event_3 event_4", r.events())
}

// Whichever operation of the store fails, once: it is an error that is tried again, and in
// the end each act was told.
func TestEachOperationThatFails(t *testing.T) {
	for n := 0; ; n++ {
		b, r := newBench(t), newReceiver(t)
		e := b.endpoint(r.URL)
		b.enter(e)
		failing := &failingStore{Store: b.db, left: n}
		s := webhook.NewSender(webhook.Config{Realm: "default", Endpoints: []*webhook.Endpoint{e}, Store: failing, Log: b.log, Now: b.clock, Count: func(_, _ string) {}})
		step := webhook.Steps(s)
		r.answers(func(w http.ResponseWriter, _ *http.Request) {
			if len(r.got()) == 1 {
				w.WriteHeader(422)
			}
		})
		b.act("one", func(a *store.Audit) { a.Account = uuid.New() })
		b.act("two")
		for range 12 {
			_, _ = step(t.Context())
			b.travel(time.Minute)
		}
		for _, event := range []string{"one", "two"} {
			require.Contains(t, r.events(), event)
		}
		all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
		require.NoError(t, err)
		require.Zero(t, all[0].Refused)
		if failing.left >= 0 {
			require.Greater(t, n, 20)
			return
		}
	}
}

// failingStore has one operation fail, after so many that don't.
type failingStore struct {
	store.Store
	left int
}

var errOperation = errors.New("the disk says no")

func (s *failingStore) fails() bool {
	s.left--
	return s.left == -1
}

func (s *failingStore) View(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.View(ctx, func(tx store.Tx) error { return fn(failingTx{tx, s}) })
}

func (s *failingStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return fn(failingTx{tx, s}) })
}

type failingTx struct {
	store.Tx
	s *failingStore
}

func (t failingTx) Value(name string) ([]byte, error) {
	if t.s.fails() {
		return nil, errOperation
	}
	return t.Tx.Value(name)
}

func (t failingTx) PutValue(name string, v []byte) error {
	if t.s.fails() {
		return errOperation
	}
	return t.Tx.PutValue(name, v)
}

func (t failingTx) Audits(q store.AuditQuery) (store.AuditPage, error) {
	if t.s.fails() {
		return store.AuditPage{}, errOperation
	}
	return t.Tx.Audits(q)
}

func (t failingTx) BriefUser(id uuid.UUID) (*store.User, error) {
	if t.s.fails() {
		return nil, errOperation
	}
	return t.Tx.BriefUser(id)
}

// Places are entered whole or not at all.
func TestEnterOnAStoreThatFails(t *testing.T) {
	for n := 0; ; n++ {
		b := newBench(t)
		failing := &failingStore{Store: b.db, left: n}
		err := webhook.Enter(t.Context(), failing, []*webhook.Endpoint{b.endpoint("https://example.com/")})
		if failing.left >= 0 {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, errOperation)
	}
}

// A bug is tried again, and ends no process.
func TestAPanicOfTheWebhooks(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	e := b.endpoint(r.URL)
	b.enter(e)
	s := webhook.NewSender(webhook.Config{Realm: "default", Endpoints: []*webhook.Endpoint{e}, Store: b.db, Log: b.log, Now: b.clock, Count: func(_, _ string) { panic("a bug") }})
	b.run(s)
	b.act("one")
	s.Notify()
	b.eventually(func() bool { return b.logs.FilterMessage("the webhooks panicked; trying again").Len() > 0 })
}

// What can't be asked at all is a failure like any other.
func TestAnEndpointThatIsNone(t *testing.T) {
	for _, url := range []string{"https://[::1", "https://127.0.0.1:1/", "https://\x7f/"} {
		b := newBench(t)
		e := b.endpoint(url)
		_ = e.Host()
		s := b.sender(e)
		b.act("one")
		_, err := webhook.Steps(s)(t.Context())
		require.NoError(t, err)
		all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
		require.NoError(t, err)
		require.False(t, all[0].Since.IsZero(), url)
	}
}
