// resources.go: what a realm owns beyond one configuration: the open store, the
// live sessions, the outbox, the budgets of throttles in the store. It is shared over
// reloads and closed with the last.

package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/again"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// resources is one realm of one open store. All configurations that run on it,
// before, during and after a reload, share it.
type resources struct {
	store     store.Store
	sessions  *session.Live
	outbox    *outbox.Worker
	throttles *budget.Ledger
	keyIndex  *field.KeyIndex
	// signUps knows a sign-up that comes twice.
	signUps  *again.Requests
	purger   *account.Purger
	failures *audit.Recorder
	release  func() error // of what the store rests on

	mu sync.Mutex
	// couriers of the running configurations. The latest works; when it stops
	// (or a reload fails half-way), the one before goes on.
	couriers []*outbox.Courier
	stop     context.CancelFunc
	quiet    sync.WaitGroup
	// changed tells the housekeeping of another configuration.
	changed chan struct{}
}

// A sign-up is sent twice within this time, if at all: by a double click, by a client
// that had no answer. In memory a sign-up takes some 200 bytes for as long.
const (
	againWithin = time.Minute
	maxAgain    = 10_000
)

func newResources(store store.Store, release func() error, now func() time.Time) *resources {
	e := &resources{store: store, sessions: session.NewLive(store), throttles: web.NewThrottles(now, store), keyIndex: field.NewKeyIndex(), signUps: again.New(againWithin, maxAgain), failures: audit.NewRecorder(now), release: release, changed: make(chan struct{}, 1)}
	e.outbox = outbox.NewWorker(store, e.courier)
	e.purger = account.NewPurger(store, e.keyIndex, e.courier)
	e.outbox.Done = e.purger.MailDone
	return e
}

// Intervals of the housekeeping.
const (
	flushInterval = 30 * time.Second
	sweepInterval = 10 * time.Minute
)

// Courier returns the working one, nil if there is none.
func (e *resources) courier() *outbox.Courier {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.couriers) == 0 {
		return nil
	}
	return e.couriers[len(e.couriers)-1]
}

// now is the time by the clock of the configuration that works.
func (e *resources) now() time.Time {
	if p := e.courier(); p != nil {
		return p.Now()
	}
	return time.Now()
}

// start begins to work for a configuration. From then on its mailer is used, and
// no other's: a message that one has under way is cut off and sent again, unless the
// server has the whole of it.
func (e *resources) start(p *outbox.Courier) {
	defer e.outbox.TakeOver() // without the lock
	e.mu.Lock()
	defer e.mu.Unlock()
	e.couriers = append(e.couriers, p)
	if len(e.couriers) == 1 {
		ctx, stop := context.WithCancel(context.Background())
		e.stop = stop
		if err := loadThrottles(ctx, e.throttles, e.store); err != nil {
			p.Logger.Error("the throttles begin afresh", zap.Error(err))
		}
		e.quiet.Go(func() { e.outbox.Run(ctx) })
		e.quiet.Go(func() { e.housekeeping(ctx) })
		e.quiet.Go(func() { e.sessions.WatchOpen(ctx, e.now) })
		e.quiet.Go(func() { e.record(ctx) })
	}
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// closePatience is how long the end of a configuration waits for its mailer to
// let go of a message. It is more than any of ours takes.
const closePatience = 5 * time.Second

// finish ends the work for a configuration. A message under way is cut off and
// sent again later; then its mailer is closed, and not used again. After the
// last configuration all is quiet when it returns, and the last uses of the
// sessions are written.
func (e *resources) finish(p *outbox.Courier) {
	e.mu.Lock()
	e.couriers = slices.DeleteFunc(e.couriers, func(have *outbox.Courier) bool { return have == p })
	stop := e.stop
	if len(e.couriers) > 0 {
		stop = nil
	}
	e.mu.Unlock()
	atRest := e.outbox.Leave(p)
	if stop != nil {
		stop()
		e.quiet.Wait()
		e.flush(context.Background(), p)
		e.flushFailures(context.Background(), p, true)
	}
	if p.Mailer == nil {
		return
	}
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-atRest:
		_ = p.Mailer.Close()
	case <-patience.C: // a dead disk, or a mailer that doesn't heed its context
		p.Logger.Warn("the mailer of the former configuration still waits for the answer about a message; it is closed afterwards")
		go func() {
			<-atRest
			_ = p.Mailer.Close()
		}()
	}
}

func (e *resources) flush(ctx context.Context, p *outbox.Courier) {
	if err := e.sessions.Flush(ctx); err != nil && ctx.Err() == nil {
		p.Logger.Error("the last uses of sessions could not be written", zap.Error(err))
	}
	if err := e.sessions.FlushPrograms(ctx, e.keyIndex.KeysOf); err != nil && ctx.Err() == nil {
		p.Logger.Error("the last uses of tokens for programs could not be written", zap.Error(err))
	}
	if err := e.throttles.Flush(ctx, budgetStore{e.store}); err != nil && ctx.Err() == nil {
		p.Logger.Error("the budgets of the throttles could not be written", zap.Error(err))
	}
}

// tidy lets a store that has use for it put itself in order.
func (e *resources) tidy(ctx context.Context, p *outbox.Courier) {
	store, ok := e.store.(interface{ Tidy(goOn func() bool) error })
	if !ok {
		return
	}
	if err := store.Tidy(func() bool { return ctx.Err() == nil }); err != nil && ctx.Err() == nil {
		p.Logger.Error("the store could not be put in order", zap.Error(err))
	}
}

// record writes what failed, together.
func (e *resources) record(ctx context.Context) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	<-rest.C
	for {
		if e.failures.Counting() {
			rest.Reset(audit.CountEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-rest.C: // for what was counted
		case <-e.failures.Wake: // what comes within the second is written together
			rest.Reset(audit.Every)
			select {
			case <-ctx.Done():
				return
			case <-rest.C:
			}
		}
		if p := e.courier(); p != nil {
			e.flushFailures(ctx, p, false)
		}
	}
}

func (e *resources) flushFailures(ctx context.Context, p *outbox.Courier, last bool) {
	if err := e.failures.Flush(ctx, e.store, last); err != nil && ctx.Err() == nil {
		p.Logger.Error("what failed could not be written to the audit; trying again", zap.Error(err))
	} else if err == nil && p.Journal != nil && p.Journal.Written != nil {
		p.Journal.Written()
	}
}

// prune removes the rows of the audit whose time is over. Not by a clock that is
// not trusted yet: what it says has to have gone on as the machine's own since the
// last look, which a clock that is being set does not.
func (e *resources) prune(ctx context.Context, p *outbox.Courier, last *time.Time) {
	before, now := *last, p.Now()
	*last = now
	const slack = time.Minute
	if before.IsZero() || (now.Sub(before)-now.Round(0).Sub(before.Round(0))).Abs() > slack {
		return
	}
	removed, err := p.Journal.Prune(ctx, e.store)
	if err != nil && ctx.Err() == nil {
		p.Logger.Error("old rows of the audit could not be removed", zap.Error(err))
	}
	if removed > 0 {
		p.Logger.Debug("old rows of the audit removed", zap.Int("count", removed))
	}
}

func (e *resources) housekeeping(ctx context.Context) {
	flush, sweep := time.NewTicker(flushInterval), time.NewTicker(sweepInterval)
	purge := time.NewTimer(account.MaxPurgeEvery)
	nextPurge := time.Now().Add(account.MaxPurgeEvery)
	var pruned time.Time // the last look
	defer flush.Stop()
	defer sweep.Stop()
	defer purge.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			if p := e.courier(); p != nil {
				e.flush(ctx, p)
				e.tidy(ctx, p)
			}
		case l := <-e.sessions.Left:
			p := e.courier()
			if p == nil {
				continue
			}
			if _, err := e.sessions.EndLeft(ctx, l, p.Now); err != nil && ctx.Err() == nil {
				p.Logger.Error("ended sessions could not be removed", zap.Error(err))
			}
		case <-e.changed: // to a shorter lifetime, it may be
			if p := e.courier(); p != nil {
				nextPurge = account.Earlier(nextPurge, time.Now().Add(purgeEvery(p)))
				purge.Reset(time.Until(nextPurge))
			}
		case <-purge.C:
			every := account.MaxPurgeEvery
			if p := e.courier(); p != nil {
				e.purger.PurgeNow(ctx, p)
				removeLeft(ctx, p)
				every = purgeEvery(p)
			}
			nextPurge = time.Now().Add(every)
			purge.Reset(every)
		case <-e.throttles.Crowded():
			if p := e.courier(); p != nil {
				e.sweepThrottles(ctx, p)
			}
		case <-sweep.C:
			if p := e.courier(); p != nil {
				e.sweep(ctx, p)
				e.prune(ctx, p, &pruned)
			}
		}
	}
}

// purgeEvery is how often those are looked for whose time is over.
func purgeEvery(p *outbox.Courier) time.Duration {
	if p.Grace > 0 {
		return min(account.PurgeEvery(p.Unconfirmed), account.PurgeEvery(p.Grace))
	}
	return account.PurgeEvery(p.Unconfirmed)
}

// removeLeft removes the accounts that their owners have closed, once their time is over.
func removeLeft(ctx context.Context, p *outbox.Courier) {
	if p.RemoveLeft == nil {
		return
	}
	removed, err := p.RemoveLeft(ctx)
	if err != nil && ctx.Err() == nil {
		p.Logger.Error("accounts that their owners have closed could not be removed", zap.Error(err))
	}
	if removed > 0 {
		p.Logger.Info("accounts that their owners have closed removed", zap.Int("count", removed))
	}
}

// sweep removes what is over: budgets, sessions, left names, invitations.
func (e *resources) sweep(ctx context.Context, p *outbox.Courier) {
	e.sweepThrottles(ctx, p)
	removed, err := e.sessions.Sweep(ctx, p.Now())
	if err != nil && ctx.Err() == nil {
		p.Logger.Error("expired sessions could not be removed", zap.Error(err))
	}
	if removed > 0 {
		p.Logger.Debug("expired sessions removed", zap.Int("count", removed))
	}
	account.SweepLeftNames(ctx, p, e.store)
	if err := account.SweepInvitations(ctx, p, e.store); err != nil && ctx.Err() == nil {
		p.Logger.Error("invitations whose time is over could not be removed", zap.Error(err))
	}
}

func (e *resources) sweepThrottles(ctx context.Context, p *outbox.Courier) {
	if err := sweepThrottles(ctx, e.throttles, e.store, p.Now()); err != nil && ctx.Err() == nil {
		p.Logger.Error("the budgets of the throttles could not be swept", zap.Error(err))
	}
}

// Destruct closes the store; caddy.UsagePool calls it after the last use.
func (e *resources) Destruct() error {
	e.sessions.EndAllOpen()
	err := e.store.Close()
	if e.release != nil {
		if releaseErr := e.release(); err == nil {
			err = releaseErr
		}
	}
	return err
}

// budgetStore is a Store as the budgets see it.
type budgetStore struct{ store store.Store }

// Rows implements budget.Store.
func (s budgetStore) Rows(ctx context.Context, now time.Time, limit int) ([]budget.Row, error) {
	var rows []budget.Row
	err := s.store.View(ctx, func(tx store.Tx) error {
		list, err := tx.Budgets(now, limit)
		rows = make([]budget.Row, len(list))
		for i, b := range list {
			rows[i] = budget.Row{Table: b.Table, Key: b.Key, Whole: b.Whole}
		}
		return err
	})
	return rows, err
}

// Save implements budget.Store.
func (s budgetStore) Save(ctx context.Context, rows []budget.Row) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		for _, row := range rows {
			if err := tx.PutBudget(&store.Budget{Table: row.Table, Key: row.Key, Whole: row.Whole}); err != nil {
				return err
			}
		}
		return nil
	})
}

// throttlesValue is the name among the store's values under which an earlier
// version kept all budgets together; noThrottles is such a list with nothing in it.
const throttlesValue = "throttles"

var noThrottles = []byte{1}

// loadThrottles reads the budgets of the store. Those of an earlier version are
// taken over once.
func loadThrottles(ctx context.Context, ledger *budget.Ledger, db store.Store) error {
	if ledger.Shares() { // then it has read nothing, and asks as it goes
		return nil
	}
	var old []byte
	err := ledger.Load(ctx, budgetStore{db})
	if err == nil {
		err = db.View(ctx, func(tx store.Tx) (err error) { old, err = tx.Value(throttlesValue); return err })
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && len(old) == len(noThrottles) {
		return nil
	}
	if err == nil {
		err = ledger.Inherit(old)
		emptied := db.Update(ctx, func(tx store.Tx) error { return tx.PutValue(throttlesValue, noThrottles) })
		err = errors.Join(err, emptied)
	}
	if err != nil {
		return fmt.Errorf("the budgets of the throttles: %w", err)
	}
	return nil
}

// sweepThrottles forgets the budgets that are over, in memory and in the store.
func sweepThrottles(ctx context.Context, ledger *budget.Ledger, db store.Store, now time.Time) error {
	const chunk = 1000
	ledger.Sweep()
	if ledger.Shares() {
		return ledger.SweepRows(ctx)
	}
	for {
		n := 0
		err := db.Update(ctx, func(tx store.Tx) (err error) { n, err = tx.DeleteBudgets(now, chunk); return err })
		if err != nil || n < chunk {
			return err
		}
	}
}

// insideResources are the resources as tests of other packages see them, see internal/inside.
func insideResources(e *resources) *inside.Resources {
	return &inside.Resources{
		Store: e.store, Sessions: e.sessions, Outbox: e.outbox, Throttles: e.throttles, KeyIndex: e.keyIndex, Purger: e.purger, Failures: e.failures, Prune: e.prune,
		Start: e.start, Finish: e.finish, Working: e.courier, Flush: e.flush,
	}
}

// A StoreModule is a guest module in http.registration.stores: it opens the
// stores of realms.
type StoreModule interface {
	// StoreKey identifies what is opened, so that it is opened once a process:
	// an absolute path, a database address. It is called after Provision.
	StoreKey() string
	// OpenStore opens the store of a realm. It waits at most wait for another
	// process to let go of it, and then returns an error that matches
	// ErrStoreLocked. release gives back what the store rests on; it is called
	// once, after the store's Close, and may be nil.
	OpenStore(realm string, wait time.Duration) (store store.Store, release func() error, err error)
}

// A StoreLooker is a StoreModule that can tell, without writing anything, why a
// store can't be opened. It is asked when a configuration is loaded, also by
// `caddy validate`. A store that isn't there yet is no reason; one that another
// process has open may be met with ErrStoreLocked, which is only told.
type StoreLooker interface {
	LookAtStore() error
}

// A StoreWorker is a StoreModule with work to do while a realm runs on its store.
// It is asked once the store is open, by each configuration: at a reload by the new
// one before the former one stops. stop is called once, before the store is released;
// it doesn't wait for what can't be broken off.
type StoreWorker interface {
	WorkOnStore() (stop func(), err error)
}
