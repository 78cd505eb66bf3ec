// worker.go: who tells the endpoints: one worker each, so that a slow one keeps no other.

package webhook

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// batch is how many rows are read at once.
	batch = 50
	// lease is how long a place is held without a word. After a crash it is for as long
	// that nobody tells the endpoint, at most.
	lease = sendTimeout + 5*time.Second
	// leasedWait is how soon a place that another has is looked at again.
	leasedWait = time.Second
	// idle is how soon an endpoint is looked at again that nobody has woken.
	idle = time.Minute
	// storeWait is how soon a store that failed is tried again.
	storeWait = 10 * time.Second
	// GiveUp is how long a message is tried, and maxRetry the longest time between two
	// tries.
	GiveUp   = 3 * 24 * time.Hour
	maxRetry = 24 * time.Hour
	// maxHeld bounds the messages that an endpoint refuses by themselves: beyond it, it is
	// the endpoint that fails.
	maxHeld = 100
	// maxPassed is how many rows that nobody wants are passed before the place is written.
	maxPassed = 1000
	// maxWords bounds what is kept of a failure, in bytes.
	maxWords = 300
)

// retries are the times between tries, from about when each failed.
var retries = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour}

// backoff is the time until the next try after so many failed: nine to eleven tenths.
func backoff(tries int) time.Duration {
	d := retries[min(max(tries, 1), len(retries))-1]
	return d - d/10 + rand.N(d/5) //nolint:gosec // jitter, not a secret
}

// What became of a message, as Config.Count has it.
const (
	countDelivered = "delivered"
	countFailed    = "failed"
	countRefused   = "refused"
	countGivenUp   = "given_up"
)

// Config is what a sender works with.
type Config struct {
	Realm     string
	Endpoints []*Endpoint
	Store     store.Store
	Log       *zap.Logger
	Now       func() time.Time
	// Count counts what became of messages, by the id of the endpoint.
	Count func(endpoint, result string)
	// Journal has what an owner does with an endpoint.
	Journal *audit.Journal
}

// A Sender tells the endpoints of one configuration.
type Sender struct {
	Config
	stop    context.CancelFunc
	quiet   sync.WaitGroup
	workers []*worker
}

// NewSender is one at rest.
func NewSender(c Config) *Sender {
	s := &Sender{Config: c, stop: func() {}}
	for _, e := range s.Endpoints {
		s.workers = append(s.workers, &worker{Sender: s, endpoint: e, client: newClient(e), id: newID(), wake: make(chan struct{}, 1), turns: make(chan struct{}, 1), log: s.Log.With(zap.String("endpoint", e.Host()))})
	}
	return s
}

// Start begins to tell. Without endpoints it does nothing.
func (s *Sender) Start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, w := range s.workers {
		s.quiet.Go(func() { w.run(ctx) })
	}
}

// Stop ends it. A message under way is cut off, and sent again by who comes next.
func (s *Sender) Stop() {
	s.stop()
	s.quiet.Wait()
	for _, w := range s.workers {
		w.client.CloseIdleConnections()
	}
}

// Notify says that there are new rows. It never blocks.
func (s *Sender) Notify() {
	for _, w := range s.workers {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// A worker tells one endpoint. All but wake, turns and turned is its goroutine's own.
type worker struct {
	*Sender
	endpoint *Endpoint
	client   *http.Client
	id       uuid.UUID
	wake     chan struct{}
	// turned: an owner has done something with the place; turns wakes for that, also who
	// is deaf.
	turned atomic.Bool
	turns  chan struct{}
	log    *zap.Logger
	// place is what the store has, as far as this worker knows; passed is how many rows
	// more nobody wants.
	place  place
	known  bool
	passed int
	// deaf: it waits for something else than new rows.
	deaf bool
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := w.survive(ctx)
		if wait > idle { // the place may be changed at another node, by an owner
			wait, w.known = idle, false
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.turns:
		case <-w.wake:
			if w.deaf {
				select {
				case <-ctx.Done():
				case <-timer.C:
				case <-w.turns:
				}
			}
		}
		timer.Stop()
	}
}

// survive is step with a panic as a failure like any other.
func (w *worker) survive(ctx context.Context) (wait time.Duration) {
	defer func() {
		if v := recover(); v != nil {
			w.log.Error("the webhooks panicked; trying again", zap.Any("panic", v), zap.Stack("stack"))
			wait = storeWait
		}
	}()
	w.deaf = true
	wait, err := w.step(ctx)
	if err != nil && ctx.Err() == nil {
		w.log.Error("the store can't be read or written for the webhooks; trying again", zap.Error(err))
		wait = storeWait
	}
	return wait
}

// step tells what is to be told, and returns when to look again.
func (w *worker) step(ctx context.Context) (time.Duration, error) {
	if w.turned.Swap(false) || !w.known {
		if err := w.look(ctx); err != nil {
			return 0, err
		}
	}
	if !w.place.Gone.IsZero() {
		w.known = false
		return idle, nil
	}
	if wait := w.wait(w.place.Due); wait > 0 {
		return wait, nil
	}
	rows, more, err := w.next(ctx)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		if w.passed >= maxPassed {
			_, err = w.change(ctx, func(p *place) { p.After = max(p.After, w.place.After) })
			w.passed = 0
		}
		if more || err != nil {
			return 0, err
		}
		w.deaf = false
		return w.untilHeld(), nil
	}
	turn := w.place.Turn
	if mine, err := w.change(ctx, func(p *place) { p.Holder, p.Until = w.id, w.Now().Add(lease) }); err != nil || !mine {
		return leasedWait, err
	}
	if w.place.Turn != turn || !w.place.Gone.IsZero() || w.wait(w.place.Due) > 0 { // another was here meanwhile
		return 0, w.release(ctx)
	}
	for _, row := range rows {
		if row.Seq <= w.place.After && w.heldAt(row.Seq) < 0 { // and has told it
			continue
		}
		if !w.tell(ctx, &row) {
			break
		}
	}
	return 0, w.release(ctx)
}

// heldAt is where a row stands among those that were refused; -1: it was not.
func (w *worker) heldAt(seq uint64) int {
	return slices.IndexFunc(w.place.Held, func(h held) bool { return h.Seq == seq })
}

// release writes the place and lets go of it, also at the end.
func (w *worker) release(ctx context.Context) error {
	now := w.place
	_, err := w.change(context.WithoutCancel(ctx), func(p *place) {
		p.keep(now)
		p.Holder, p.Until = uuid.Nil, time.Time{}
	})
	w.passed = 0
	w.known = err == nil
	return err
}

// wait is how long until then, 0: it is time. What is put off for longer than anything is,
// was so by a clock that was wrong.
func (w *worker) wait(due time.Time) time.Duration {
	wait := due.Sub(w.Now())
	if due.IsZero() || wait > maxRetry+time.Hour {
		return 0
	}
	return max(wait, 0)
}

// untilHeld is when the first of the refused rows is due, at most idle.
func (w *worker) untilHeld() time.Duration {
	wait := idle
	for _, h := range w.place.Held {
		wait = min(wait, w.wait(h.Due))
	}
	return wait
}

// look reads the place.
func (w *worker) look(ctx context.Context) error {
	err := w.Store.View(ctx, func(tx store.Tx) error {
		all, err := readPlaces(tx)
		if err != nil {
			return err
		}
		if p := all[w.endpoint.key()]; p != nil {
			w.place = *p
			return nil
		}
		last, err := end(tx) // another configuration knows nothing of it
		w.place = place{After: last}
		return err
	})
	w.known = err == nil
	return err
}

// next are the rows to tell now: those that were refused and are due, and those behind the
// place. Those that the endpoint does not want are passed. more: there may be others.
func (w *worker) next(ctx context.Context) (rows []audit.Told, more bool, err error) {
	after, passed := w.place.After, 0
	err = w.Store.View(ctx, func(tx store.Tx) error {
		rows, more, after, passed = nil, false, w.place.After, 0
		for _, h := range w.place.Held {
			if w.wait(h.Due) > 0 {
				continue
			}
			page, err := tx.Audits(store.AuditQuery{After: h.Seq - 1, Limit: 1})
			if err != nil {
				return err
			}
			row := &store.Audit{Seq: h.Seq} // pruned meanwhile
			if len(page.Rows) == 1 && page.Rows[0].Seq == h.Seq {
				row = page.Rows[0]
			}
			told, err := toldOf(tx, row)
			if err != nil {
				return err
			}
			rows = append(rows, told)
		}
		page, err := tx.Audits(store.AuditQuery{After: after, Limit: batch})
		if err != nil {
			return err
		}
		more = page.More
		for _, row := range page.Rows {
			if !w.endpoint.wants(row) {
				if len(rows) == 0 {
					after, passed = row.Seq, passed+1
				}
				continue
			}
			told, err := toldOf(tx, row)
			if err != nil {
				return err
			}
			rows = append(rows, told)
		}
		if len(rows) == 0 && page.Next > after {
			after = page.Next
		}
		return nil
	})
	if err == nil {
		w.place.After = after
		w.passed += passed
	}
	return rows, more, err
}

// tell tells one row, and returns false where the others have to wait.
func (w *worker) tell(ctx context.Context, row *audit.Told) (goOn bool) {
	at := w.heldAt(row.Seq)
	if row.Event == "" { // the record has forgotten it
		w.place.Held = slices.Delete(w.place.Held, at, at+1)
		return true
	}
	if w.Now().Add(sendTimeout).After(w.place.Until) {
		turn := w.place.Turn
		if mine, err := w.renew(ctx); err != nil || !mine || w.place.Turn != turn {
			return false
		}
	}
	if w.turned.Load() {
		return false
	}
	r, after, err := w.send(ctx, row)
	if ctx.Err() != nil && r != delivered {
		return false
	}
	log := w.log.With(zap.String("webhook_id", idOf(w.Realm, &row.Audit)), zap.String("event", row.Event))
	if r == refused && at < 0 && len(w.place.Held) >= maxHeld {
		r = failed
	}
	switch r {
	case delivered:
		w.Count(w.endpoint.id(), countDelivered)
		w.works()
		w.place.Told = w.Now()
		if at >= 0 {
			w.place.Held = slices.Delete(w.place.Held, at, at+1)
		}
		w.place.After = max(w.place.After, row.Seq)
		return true
	case refused:
		w.Count(w.endpoint.id(), countRefused)
		w.works()
		w.misses(err)
		w.hold(at, row, err, log)
		return true
	case gone:
		w.log.Error("the endpoint of a webhook wants no more (410): it is told nothing until a configuration with it is loaded again, and of nothing that happens until then")
		w.place.Gone, w.place.Held = w.Now(), nil
		w.misses(err)
		return false
	default:
		w.Count(w.endpoint.id(), countFailed)
		w.fails(row, after, err, log)
		return false
	}
}

// renew makes the lease last for another message.
func (w *worker) renew(ctx context.Context) (mine bool, err error) {
	now := w.place
	return w.change(ctx, func(p *place) {
		p.keep(now)
		p.Holder, p.Until = w.id, w.Now().Add(lease)
	})
}

// works: the endpoint takes messages.
func (w *worker) works() {
	if !w.place.Failing.IsZero() {
		w.log.Info("the endpoint of a webhook takes messages again")
	}
	w.place.Failing, w.place.Tries, w.place.Due = time.Time{}, 0, time.Time{}
}

// misses keeps why a message was not taken.
func (w *worker) misses(err error) {
	w.place.Missed, w.place.Words = w.Now(), strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxWords)], "")
}

// hold keeps a row that was refused for later, or gives it up.
func (w *worker) hold(at int, row *audit.Told, err error, log *zap.Logger) {
	now := w.Now()
	if at < 0 {
		w.place.Held = append(w.place.Held, held{Seq: row.Seq, Since: now})
		at = len(w.place.Held) - 1
	}
	w.place.After = max(w.place.After, row.Seq)
	h := &w.place.Held[at]
	if h.Since.After(now) {
		h.Since = now
	}
	if now.Sub(h.Since) >= GiveUp {
		w.Count(w.endpoint.id(), countGivenUp)
		log.Error("a webhook is given up: it was refused for three days", zap.Error(err))
		w.place.Held = slices.Delete(w.place.Held, at, at+1)
		return
	}
	h.Tries++
	wait := backoff(h.Tries)
	h.Due = now.Add(wait)
	log.Warn("a webhook is refused; the endpoint is told again", zap.Error(err), zap.Duration("retry_in", wait))
}

// fails: the endpoint takes nothing. Once it has for three days, what is older than that is
// given up, one message with each try.
func (w *worker) fails(row *audit.Told, after time.Duration, err error, log *zap.Logger) {
	now, p := w.Now(), &w.place
	if p.Failing.IsZero() || p.Failing.After(now) {
		p.Failing = now
	}
	p.Tries++
	w.misses(err)
	wait := max(backoff(p.Tries), after)
	p.Due = now.Add(wait)
	if now.Sub(p.Failing) >= GiveUp && now.Sub(row.At) >= GiveUp {
		w.Count(w.endpoint.id(), countGivenUp)
		log.Error("a webhook is given up: its endpoint could not be told for three days", zap.Error(err))
		p.After = max(p.After, row.Seq)
		p.Held = slices.DeleteFunc(p.Held, func(h held) bool { return h.Seq == row.Seq })
		p.Due = now // the next one may be of today
		return
	}
	level := log.Warn
	if p.Tries == 4 { // some minutes
		level = log.Error
	}
	level("a webhook can't be delivered; its endpoint is tried again", zap.Error(err), zap.Int("tries", p.Tries), zap.Duration("retry_in", wait))
}
