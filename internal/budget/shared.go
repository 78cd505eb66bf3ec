// shared.go: budgets that all nodes of a realm spend together, by rows of its store.
//
// A node's own count refuses first, and what it refuses costs the store nothing. What it lets
// through the row decides, by the store's clock; the answer says what is missing from each
// budget, whoever has spent it, and from then on the node refuses by itself until one more
// event has come back. So the rows of a budget are asked for no more often than it gives
// events, however many come.

package budget

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
)

// minShared is the least time in which an event of a shared budget comes back. A quicker one
// is counted by each node: so many writes of one row are more than it is worth.
const minShared = 10 * time.Millisecond

// Bounds of the rows of a realm: after a sweep, and how many a node may ask for until there is
// one more. Those that are over soonest go first.
const (
	maxShared  = 1 << 16
	crowdAfter = 1 << 14
)

// shared is what a ledger has of a store that several nodes have.
type shared struct {
	store  store.Store
	tables map[string]bool
	asked  atomic.Int64
	// crowded is told that it is time for a sweep.
	crowded chan struct{}
}

// Share has the budgets of these tables spent together with all who have the store. It is for
// before the ledger is used.
func (l *Ledger) Share(s store.Store, tables ...string) {
	l.shared.store, l.shared.tables = s, map[string]bool{}
	for _, name := range tables {
		l.shared.tables[name] = true
	}
}

// Shares reports whether budgets are spent together with other nodes.
func (l *Ledger) Shares() bool { return l.shared.store != nil }

// Crowded says that rows should be swept before their time (SweepRows).
func (l *Ledger) Crowded() <-chan struct{} { return l.shared.crowded }

// SweepRows removes the rows that are over, and of too many those that are over soonest.
func (l *Ledger) SweepRows(ctx context.Context) error {
	l.shared.asked.Store(0)
	_, err := l.shared.store.SweepBudgets(ctx, l.clock(), maxShared)
	return err
}

// clock is the time by which rows fill: none, for the store's own. A clock without a monotonic
// reading is not the machine's but one that a test moves, and the rows with it.
func (l *Ledger) clock() time.Time {
	if now := l.now(); now == now.Round(0) { //nolint:staticcheck // Equal sees no monotonic reading
		return now
	}
	return time.Time{}
}

// rows are those of the charges that have any, and what each takes.
func (l *Ledger) rows(charges []Charge) (of []Charge, spends []store.BudgetSpend) {
	if l.shared.store == nil {
		return nil, nil
	}
	for _, c := range charges {
		if !l.shared.tables[c.Table] || c.Limit.interval() < minShared {
			continue
		}
		s := store.BudgetSpend{Table: c.Table, Key: c.Key, Cost: c.Limit.interval(), Room: c.room(), Bound: c.bound(), Soft: c.Soft}
		if c.address { // what is kept has a hash of it
			s.Key = keyOf("network", string(c.Key[:]))
		}
		if c.Soft {
			s.Room = c.Limit.Window
		}
		of, spends = append(of, c), append(spends, s)
	}
	return of, spends
}

// Spend is Take by all nodes together. An error is the store's, and nothing is spent; nor is it
// known then whether anything would have been refused.
func (l *Ledger) Spend(ctx context.Context, charges ...Charge) (Verdict, error) {
	v := l.Take(charges...)
	if v.Wait > 0 {
		return v, nil
	}
	of, spends := l.rows(charges)
	if len(of) == 0 {
		return v, nil
	}
	missing, ok, err := l.ask(ctx, spends)
	if err != nil || !ok {
		l.Return(charges...)
	}
	if err != nil {
		return Verdict{}, err
	}
	l.learn(of, missing)
	if ok {
		return Verdict{}, nil
	}
	if v = l.Look(charges...); v.Wait == 0 { // what was missing has just come back
		v = Verdict{Wait: time.Millisecond, Table: of[0].Table}
	}
	return v, nil
}

func (l *Ledger) ask(ctx context.Context, spends []store.BudgetSpend) (missing []time.Duration, ok bool, err error) {
	if l.shared.asked.Add(int64(len(spends))) >= crowdAfter {
		select {
		case l.shared.crowded <- struct{}{}:
		default:
		}
	}
	return l.shared.store.SpendBudgets(ctx, l.clock(), spends)
}

// learn notes what is missing by the rows. What this node has spent itself meanwhile stays.
func (l *Ledger) learn(of []Charge, missing []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	for i := range of {
		if missing[i] <= 0 {
			continue
		}
		b := l.find(now, &of[i])
		if b == nil {
			b = l.table(of[i].Table).insert(l.hash(of[i].Key), of[i].Key, now, l.hash)
		}
		b.whole = max(b.whole, now+int64(missing[i]))
	}
}

// gifts give back what charges have spent.
func gifts(spends []store.BudgetSpend) []store.BudgetSpend {
	for i := range spends {
		spends[i].Cost = -spends[i].Cost
	}
	return spends
}

// GiveBack is Return by all nodes together. Where the store can't be reached, the rows keep
// what was spent.
func (l *Ledger) GiveBack(ctx context.Context, charges ...Charge) {
	l.Return(charges...)
	if _, spends := l.rows(charges); len(spends) > 0 {
		_, _, _ = l.ask(ctx, gifts(spends))
	}
}

// SpendIn writes what was taken by Take, for as long as the act that it belongs to comes to
// something. So such a table is exact where LookIn came before the Take; without, one event
// more for each other node may get through.
func (l *Ledger) SpendIn(tx store.Tx, charges ...Charge) error {
	of, spends := l.rows(charges)
	if len(of) == 0 {
		return nil
	}
	return tx.SpendBudgets(l.clock(), spends, func(missing []time.Duration) { l.learn(of, missing) })
}

// GiveBackIn gives back in the rows what Return does here.
func (l *Ledger) GiveBackIn(tx store.Tx, charges ...Charge) error {
	_, spends := l.rows(charges)
	if len(spends) == 0 {
		return nil
	}
	return tx.SpendBudgets(l.clock(), gifts(spends), nil)
}

// LookIn learns what other nodes have spent, with the next that the act reads.
func (l *Ledger) LookIn(tx store.Tx, charges ...Charge) error {
	of, spends := l.rows(charges)
	if len(of) == 0 {
		return nil
	}
	return tx.LookAtBudgets(l.clock(), spends, func(missing []time.Duration) { l.learn(of, missing) })
}
