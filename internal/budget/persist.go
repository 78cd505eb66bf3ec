// persist.go: the budgets of accounts, recipients and devices as they are kept
// over a restart, by row.

package budget

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
)

// A Row is one budget in a store.
type Row struct {
	Table string
	Key   Key
	// Whole is when nothing is missing from the budget any more; then the row is over.
	Whole time.Time
}

// A Store keeps rows. Safe for concurrent use.
type Store interface {
	// Rows returns up to limit rows that are not over at now.
	Rows(ctx context.Context, now time.Time, limit int) ([]Row, error)
	// Save inserts the rows, or replaces those with the same table and key.
	Save(ctx context.Context, rows []Row) error
}

// Bounds of what a ledger writes: rows a table at one Flush, and rows of a table
// in the store. The most spent budgets go first, so a flood of keys with little
// spent costs the store a bounded number of writes and hides nobody.
const (
	maxFlush = 256
	maxRows  = 4096
)

// Load adds the budgets that a store has.
func (l *Ledger) Load(ctx context.Context, store Store) error {
	wall := l.now()
	rows, err := store.Rows(ctx, wall, len(l.lasting())*maxRows)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	for _, row := range rows {
		t := l.tables[row.Table]
		// Only a clock that was far ahead can have written a row that ends later
		// than that: it is written anew.
		left := row.Whole.Sub(wall)
		ahead := left > 2*maxWindow
		left = min(left, 2*maxWindow)
		if t == nil || t.rows == nil || left <= 0 {
			continue
		}
		t.rows[row.Key] = now + int64(left)
		h := l.hash(row.Key)
		if t.find(h, row.Key, now) == nil {
			b := t.insert(h, row.Key, now, l.hash)
			b.whole, b.dirty = now+int64(left), ahead
			t.changed = t.changed || ahead
		}
	}
	return nil
}

// Flush writes what lasts and has changed since it was written, the most spent
// first: at most maxFlush rows of a table. The rest waits for the next Flush, as
// all does after an error. One Flush at a time. Of budgets that are shared nothing is left
// to write.
func (l *Ledger) Flush(ctx context.Context, store Store) error {
	if l.Shares() {
		return nil
	}
	rows, ends := l.unwritten()
	if len(rows) == 0 {
		return nil
	}
	if err := store.Save(ctx, rows); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, row := range rows {
			l.tables[row.Table].changed = true
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	for i, row := range rows {
		t := l.tables[row.Table]
		t.rows[row.Key] = ends[i]
		if b := t.find(l.hash(row.Key), row.Key, now); b != nil && b.whole == ends[i] {
			b.dirty = false // it wasn't spent meanwhile
		}
	}
	return nil
}

// A pending bucket is a copy of one that the store has otherwise, or not at all.
type pending struct {
	bucket
	inStore bool
}

// pending returns the buckets of a lasting table that the store has otherwise, and
// how many more rows it has room for.
func (t *table) pending(now int64) (list []pending, room int) {
	t.changed = false
	for key, end := range t.rows {
		if end <= now {
			delete(t.rows, key)
		}
	}
	room = maxRows - len(t.rows)
	for i := range t.buckets {
		b := &t.buckets[i]
		if !b.dirty {
			continue
		}
		_, inStore := t.rows[b.key]
		// One that was given back is written too, where its row would outlive it.
		if inStore || b.whole > now && room > 0 {
			list = append(list, pending{*b, inStore})
		}
	}
	return list, room
}

// unwritten returns the rows for the store, and when each ends by the ledger.
func (l *Ledger) unwritten() (rows []Row, ends []int64) {
	for name, t := range l.lasting() {
		l.mu.Lock()
		if !t.changed {
			l.mu.Unlock()
			continue
		}
		wall, now := l.now(), l.time()
		list, room := t.pending(now)
		l.mu.Unlock()
		// Sorted without the lock: a flood may have left 65,536.
		slices.SortFunc(list, func(a, b pending) int { return cmp.Compare(b.whole, a.whole) })
		written := 0
		for _, b := range list {
			if !b.inStore && room == 0 {
				continue
			}
			if written == maxFlush {
				l.mu.Lock()
				t.changed = true
				l.mu.Unlock()
				break
			}
			if !b.inStore {
				room--
			}
			written++
			rows = append(rows, Row{Table: name, Key: b.key, Whole: wall.Add(time.Duration(b.whole - now))})
			ends = append(ends, b.whole)
		}
	}
	return rows, ends
}

// lasting are the tables that are kept. Which they are never changes.
func (l *Ledger) lasting() map[string]*table {
	l.mu.Lock()
	defer l.mu.Unlock()
	tables := maps.Clone(l.tables)
	maps.DeleteFunc(tables, func(_ string, t *table) bool { return t.rows == nil })
	return tables
}

// The budgets as they were kept before they had rows: a format byte, then for
// each its key, the moment at which it was empty (Unix nanoseconds), the time that
// one event takes to come back (nanoseconds), its events.
const (
	snapshotFormat = 1
	snapshotRow    = 16 + 8 + 8 + 4
)

// Inherit takes over a snapshot of an earlier version. It doesn't tell which table
// a budget is of: each is found in the lasting table that first asks for its key.
// What can't be read is an error, and no budget of it counts.
func (l *Ledger) Inherit(raw []byte) error {
	if len(raw) == 0 || raw[0] != snapshotFormat || (len(raw)-1)%snapshotRow != 0 {
		return errors.New("not a list of budgets")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wall, now := l.now(), l.time()
	l.inherited = map[Key]int64{}
	for rows := raw[1:]; len(rows) > 0 && len(l.inherited) < maxKeys; rows = rows[snapshotRow:] {
		empty := time.Unix(0, int64(binary.BigEndian.Uint64(rows[16:]))) //nolint:gosec // written as signed
		every, events := binary.BigEndian.Uint64(rows[24:]), binary.BigEndian.Uint32(rows[32:])
		if every == 0 || every > uint64(maxWindow) || events == 0 || events > 1_000_000 {
			continue
		}
		window := min(time.Duration(every)*time.Duration(events), maxWindow)
		if every > uint64(maxWindow)/uint64(events) {
			window = maxWindow
		}
		// A clock that was set back must not keep anybody out for longer than
		// an empty budget would.
		if left := min(empty.Add(window).Sub(wall), window); left > 0 {
			l.inherited[Key(rows[:16])] = now + int64(left)
		}
	}
	return nil
}
