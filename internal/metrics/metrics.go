// metrics.go: what is counted and measured, for all realms of the process.

// Package metrics has what Prometheus reads of the realms. Its labels are bounded: names of
// realms, kinds of mail and codes of ours, never anything that somebody sends. What was counted stays
// over a reload: the same collectors are entered in the registry of each configuration.
package metrics

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Metrics are the collectors. They are safe for concurrent use.
type Metrics struct {
	throttled *prometheus.CounterVec
	signIns   *prometheus.CounterVec
	signUps   *prometheus.CounterVec
	mails     *prometheus.CounterVec
	guard     *prometheus.CounterVec
	webhooks  *prometheus.CounterVec
	hash      prometheus.Histogram
	store     *prometheus.HistogramVec
	gauges    *gauges
}

const namespace, subsystem = "caddy", "registration"

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
}

// New returns collectors that nothing was counted by. waiting is how many wait for their
// turn to hash a password.
func New(waiting func() int) *Metrics {
	const ms = 0.001
	return &Metrics{
		throttled: counter("throttled_total", "Requests that a throttle answered with 429.", "realm", "throttle"),
		signIns:   counter("sign_ins_total", "Sign-ins, by what became of them (ok, or the code of the refusal) and what was shown.", "realm", "result", "method"),
		signUps:   counter("sign_ups_total", "Sign-ups: ok, refused (something was wrong with them) or failed (something was wrong here).", "realm", "result"),
		mails:     counter("mails_total", "Mails that left the outbox: delivered, given_up, or dropped because nobody wanted them any more.", "realm", "kind", "result"),
		guard:     counter("guard_requests_total", "Requests that require_login has judged, and those that other servers have asked about (by).", "realm", "by", "result"),
		webhooks:  counter("webhooks_total", "Messages to endpoints of webhooks: delivered, refused, failed (and tried again) or given_up.", "realm", "endpoint", "result"),
		hash: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "hash_duration_seconds", Help: "How long a password was hashed or verified, without its wait for a turn.",
			Buckets: []float64{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1.28, 5},
		}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "store_duration_seconds", Help: "How long a transaction of the accounts took: read, or write, until it was on stable storage.",
			Buckets: []float64{ms / 10, ms / 3, ms, 3 * ms, 10 * ms, 30 * ms, 100 * ms, 300 * ms, 1, 3},
		}, []string{"realm", "access"}),
		gauges: newGauges(waiting),
	}
}

// Register enters the collectors in a registry. Those that another realm of the same
// configuration has entered are no error.
func (m *Metrics) Register(registry prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.throttled, m.signIns, m.signUps, m.mails, m.guard, m.webhooks, m.hash, m.store, m.gauges} {
		err := registry.Register(c)
		if again := (prometheus.AlreadyRegisteredError{}); err != nil && !errors.As(err, &again) {
			return err
		}
	}
	return nil
}

// Hashing measures a hash, and is a span of its request.
func (m *Metrics) Hashing(ctx context.Context) (done func()) {
	begin, end := time.Now(), span(ctx, "hash")
	return func() {
		m.hash.Observe(time.Since(begin).Seconds())
		end()
	}
}

// Of returns the counters of a realm.
func (m *Metrics) Of(realm string) *Realm {
	return &Realm{
		m: m, realm: realm, Guarded: m.guarded(realm, "require_login"),
		read: m.store.WithLabelValues(realm, "read"), write: m.store.WithLabelValues(realm, "write"),
	}
}

// A Realm counts for one realm.
type Realm struct {
	// Guarded counts what require_login has done with requests.
	Guarded     Guarded
	m           *Metrics
	realm       string
	read, write prometheus.Observer
}

func (m *Metrics) guarded(realm, by string) Guarded {
	g := func(result string) prometheus.Counter { return m.guard.WithLabelValues(realm, by, result) }
	return Guarded{Passed: g("passed"), SignIn: g("sign_in"), StepUp: g("step_up"), Forbidden: g("forbidden"), Failed: g("failed")}
}

// GuardedBy are the counters of what another server has asked about, at an endpoint of this
// name.
func (r *Realm) GuardedBy(endpoint string) Guarded {
	return r.m.guarded(r.realm, strings.ReplaceAll(endpoint, "-", "_"))
}

// Guarded are counters of the guard: who passed, who was asked to sign in or to show
// more, who may not, and where it couldn't be told.
type Guarded struct{ Passed, SignIn, StepUp, Forbidden, Failed prometheus.Counter }

// methods are what is shown at the acts that sign in, by their name in the record.
var methods = map[string]string{"login": "password", "login-code": "code", "login-factor": "factor", "passkey-login": "passkey", "oidc-callback": methodElsewhere}

// Act counts what a row of the record says.
func (r *Realm) Act(row *store.Audit) {
	switch audit.Event(row.Event) {
	case audit.SignedIn:
		r.m.signIns.WithLabelValues(r.realm, "ok", cmp.Or(row.Details["by"], "password")).Inc()
	case audit.SignInFailed:
		if method := methods[row.Details["act"]]; method != "" { // else it was no sign-in
			r.m.signIns.WithLabelValues(r.realm, row.Details["code"], method).Inc()
		}
	case audit.AccountRegistered:
		if row.Actor == row.Account.String() { // not made by an administrator
			r.m.signUps.WithLabelValues(r.realm, "ok").Inc()
		}
	default:
	}
}

// SignUpRefused counts a sign-up that came to nothing; failed: the fault was ours.
func (r *Realm) SignUpRefused(failed bool) {
	result := "refused"
	if failed {
		result = "failed"
	}
	r.m.signUps.WithLabelValues(r.realm, result).Inc()
}

// Mail counts a mail that left the outbox.
func (r *Realm) Mail(kind store.MailKind, result string) {
	r.m.mails.WithLabelValues(r.realm, string(kind), result).Inc()
}

// SignInElsewhere counts a sign-in by an account elsewhere that a provider did not give.
func (r *Realm) SignInElsewhere(code string) {
	r.m.signIns.WithLabelValues(r.realm, code, methodElsewhere).Inc()
}

// methodElsewhere is how a sign-in by an account elsewhere is called in the record.
const methodElsewhere = "oidc"

// Webhook counts what became of a message to the endpoint with this id.
func (r *Realm) Webhook(endpoint, result string) {
	r.m.webhooks.WithLabelValues(r.realm, endpoint, result).Inc()
}

// Throttled counts a refusal by a throttle.
func (r *Realm) Throttled(throttle string) { r.m.throttled.WithLabelValues(r.realm, throttle).Inc() }

// Storing measures a transaction, and is a span of its request.
func (r *Realm) Storing(ctx context.Context, writes bool) (done func()) {
	took, name := r.read, "store read"
	if writes {
		took, name = r.write, "store write"
	}
	begin, end := time.Now(), span(ctx, name)
	return func() {
		took.Observe(time.Since(begin).Seconds())
		end()
	}
}

// A Snapshot is how a realm is at the moment.
type Snapshot struct {
	// Mails wait in the outbox, the longest since Oldest; zero: there is none.
	Mails  int
	Oldest time.Time
	// Sessions are those in memory.
	Sessions int
	// Accounts, by their state.
	Accounts map[string]int
}

// A Source is a realm that runs.
type Source struct {
	Realm string
	// Look returns how it is; it is asked at each scrape, and has to be cheap.
	Look func(context.Context) (Snapshot, error)
	Now  func() time.Time
}

// Watch has a realm looked at from now on, until stop has returned. Of several of one
// name the last counts, as at a reload.
func (m *Metrics) Watch(s *Source) (stop func()) {
	g := m.gauges
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sources = append(g.sources, s)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.sources = slices.DeleteFunc(g.sources, func(have *Source) bool { return have == s })
	}
}

// gauges are looked at when they are asked for.
type gauges struct {
	waiting func() int
	length  *prometheus.Desc
	oldest  *prometheus.Desc
	live    *prometheus.Desc
	members *prometheus.Desc
	hashes  *prometheus.Desc

	mu      sync.Mutex
	sources []*Source
}

func newGauges(waiting func() int) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
	}
	return &gauges{
		waiting: waiting,
		length:  desc("mail_queue_length", "Mails that wait in the outbox.", "realm"),
		oldest:  desc("mail_queue_oldest_seconds", "How long the oldest mail has waited; 0: none waits.", "realm"),
		live:    desc("sessions", "Sessions in memory: those that were used since the start, 32768 at most.", "realm"),
		members: desc("accounts", "Accounts, by their state.", "realm", "state"),
		hashes:  desc("hash_waiting", "Requests that wait for their turn to hash a password."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.length, g.oldest, g.live, g.members, g.hashes} {
		to <- d
	}
}

// lookPatience is how long a scrape waits for a store.
const lookPatience = 5 * time.Second

// Collect implements prometheus.Collector. A realm whose store fails is left out.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(g.hashes, float64(g.waiting()))
	g.mu.Lock()
	last := map[string]*Source{}
	for _, s := range g.sources {
		last[s.Realm] = s
	}
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
	defer cancel()
	for name, s := range last {
		now, err := s.Look(ctx)
		if err != nil {
			continue
		}
		waits := 0.0
		if !now.Oldest.IsZero() {
			waits = max(0, s.Now().Sub(now.Oldest).Seconds())
		}
		gauge(g.length, float64(now.Mails), name)
		gauge(g.oldest, waits, name)
		gauge(g.live, float64(now.Sessions), name)
		for state, n := range now.Accounts {
			gauge(g.members, float64(n), name, state)
		}
	}
}
