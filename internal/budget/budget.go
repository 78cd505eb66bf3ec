// Package budget bounds how often something may happen: for one client, one
// account, one recipient. Its memory is bounded whatever the number of keys, and
// a flood of keys neither makes it forget who has spent his budget nor keeps
// others from having one.
//
// A budget fills evenly: a full one of 10 a minute gives one more event every
// six seconds, so it slows down and locks nobody out. It is one number, the time
// at which it will be whole (a "generic cell rate algorithm"): one that is whole
// needs no room and no sweeping.
package budget

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"
)

// A Key names what is counted. It is no secret; in memory the place of a key
// depends on a random seed, so nobody can choose keys that meet another's.
type Key [16]byte

// keyOf is the key of a list of texts: a hash, so that a table holds no name or
// address, and a long one takes no more room than a short one. The caller bounds
// their length.
func keyOf(parts ...string) Key {
	h := sha256.New()
	var n [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return Key(h.Sum(nil)[:16])
}

// A Limit is a number of events in a window of time, both at least 1. The window
// is at most maxWindow.
type Limit struct {
	Events int
	Window time.Duration
}

// maxWindow is the longest window of a Limit.
const maxWindow = 7 * 24 * time.Hour

// times is the limit with n times the events.
func (l Limit) times(n int) Limit { return Limit{Events: l.Events * n, Window: l.Window} }

// Part is the limit with one n-th of the events, at least one.
func (l Limit) Part(n int) Limit { return Limit{Events: max(1, l.Events/n), Window: l.Window} }

// interval is the time that one event takes to come back.
func (l Limit) interval() time.Duration { return max(1, l.Window/time.Duration(l.Events)) }

// A Charge is one event against one budget.
type Charge struct {
	// Table is the name of the table that has the budget. Tables don't share
	// their room. The names are the program's, a few dozen, never a client's.
	Table string
	Key   Key
	Limit Limit
	// Soft: it is spent as far as there is something, and refuses nobody.
	Soft bool
	// Share is how far into the budget this charge may reach, from 0 (not
	// included) to 2; above 1 it overdraws. So events of a lower rank leave the
	// rest to those of a higher one. 0 stands for 1.
	Share float64

	// address: the key is one, as it is.
	address bool
}

// room is how much may be missing once it is spent.
func (c *Charge) room() time.Duration {
	share := c.Limit.Window
	if c.Share != 0 {
		share = time.Duration(float64(c.Limit.Window) * min(c.Share, 2))
	}
	return max(share, c.Limit.interval())
}

// bound is how much can be missing at all.
func (c *Charge) bound() time.Duration {
	if c.Share != 0 { // others may overdraw
		return 2 * c.Limit.Window
	}
	return c.Limit.Window
}

// A Verdict is what became of a Take or a Look. The zero Verdict: nothing stands
// against it.
type Verdict struct {
	// Wait is how long to wait, 0 if it need not.
	Wait time.Duration
	// First: no budget that refused it has refused anything in its window before.
	First bool
	// Table is the table of the budget with the longest wait.
	Table string
}

// A Ledger has the budgets of a realm, in tables. It is safe for concurrent use:
// one lock, held for well under a microsecond a call.
type Ledger struct {
	now   func() time.Time
	seed  maphash.Seed
	epoch time.Time

	mu     sync.Mutex
	tables map[string]*table
	// shift, last and turned keep the time of the ledger from going back, see time.
	shift, last, turned int64
	// inherited are budgets whose table is not known, by key.
	inherited map[Key]int64

	shared shared
}

// New returns an empty ledger. now is its clock. The budgets of the lasting
// tables are those that Flush writes and Load reads.
func New(now func() time.Time, lasting ...string) *Ledger {
	l := &Ledger{now: now, seed: maphash.MakeSeed(), epoch: now(), tables: map[string]*table{}, shared: shared{crowded: make(chan struct{}, 1)}}
	for _, name := range lasting {
		l.tables[name] = &table{rows: map[Key]int64{}, max: maxKeys}
	}
	return l
}

// time is the time of the ledger in nanoseconds. It never goes back: a clock that
// was set back goes on from where it was, so nobody waits for a moment that it
// has left. It goes by the monotonic clock where there is one.
func (l *Ledger) time() int64 {
	const slack = int64(time.Second) // callers come a little out of order
	t := start + int64(l.now().Sub(l.epoch)) + l.shift
	if t < l.last-slack {
		l.turned = l.last // refusals up to here are of another time
		l.shift += l.last + 1 - t
		t = l.last + 1
	}
	l.last = max(l.last, t)
	return t
}

// start is the time of a new ledger: 0 means never.
const start = int64(time.Hour)

func (l *Ledger) table(name string) *table {
	t := l.tables[name]
	if t == nil {
		t = &table{max: maxKeys}
		l.tables[name] = t
	}
	return t
}

// Take counts one event against every budget, or against none.
func (l *Ledger) Take(charges ...Charge) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	if v := l.look(now, charges); v.Wait > 0 {
		return v
	}
	for i := range charges {
		l.spend(now, &charges[i])
	}
	return Verdict{}
}

// Look tells what Take would, and spends nothing.
func (l *Ledger) Look(charges ...Charge) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.look(l.time(), charges)
}

func (l *Ledger) look(now int64, charges []Charge) (v Verdict) {
	for i := range charges {
		c := &charges[i]
		if c.Soft {
			continue
		}
		b := l.find(now, c)
		if b == nil {
			continue // whole
		}
		missing := b.debt(now, c) + c.Limit.interval() - c.room()
		if missing <= 0 {
			continue
		}
		// A little more: the next try must not come a rounding error too early.
		if wait := missing + time.Millisecond; wait > v.Wait {
			v.Wait, v.Table = wait, c.Table
		}
		if b.incident <= l.turned || now-b.incident >= int64(c.Limit.Window) {
			v.First = true
		}
		b.incident = now
	}
	return v
}

func (l *Ledger) find(now int64, c *Charge) *bucket {
	t := l.table(c.Table)
	h := l.hash(c.Key)
	b := t.find(h, c.Key, now)
	if b != nil || t.rows == nil || len(l.inherited) == 0 {
		return b
	}
	whole, ok := l.inherited[c.Key]
	if !ok {
		return nil
	}
	delete(l.inherited, c.Key)
	if whole <= now {
		return nil
	}
	b = t.insert(h, c.Key, now, l.hash)
	b.whole, b.dirty, t.changed = whole, true, true
	return b
}

func (l *Ledger) spend(now int64, c *Charge) {
	t := l.table(c.Table)
	b := l.find(now, c)
	if b == nil {
		b = t.insert(l.hash(c.Key), c.Key, now, l.hash)
	}
	debt := b.debt(now, c) + c.Limit.interval()
	if c.Soft {
		debt = min(debt, max(c.Limit.Window, debt-c.Limit.interval()))
	}
	b.whole, b.dirty, t.changed = now+int64(debt), true, true
}

// Return gives back what a Take has spent: what it was spent on did not happen.
func (l *Ledger) Return(charges ...Charge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	for i := range charges {
		c := &charges[i]
		if b := l.find(now, c); b != nil {
			b.whole = now + int64(max(0, b.debt(now, c)-c.Limit.interval()))
			b.dirty = true
			l.table(c.Table).changed = true
		}
	}
}

// Sweep gives back the memory of tables that nothing is missing from.
func (l *Ledger) Sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	for _, t := range l.tables {
		t.sweep(now)
	}
	for key, whole := range l.inherited {
		if whole <= now {
			delete(l.inherited, key)
		}
	}
}

func (l *Ledger) hash(key Key) uint64 { return maphash.Bytes(l.seed, key[:]) }
