// table.go: one kind of budget in bounded memory.

package budget

import "time"

// Bounds of a table. A set holds the keys of one hash; under more keys than a
// table has room for, the set's least spent budget makes room for a new one.
//
// So a newcomer always has a budget, whoever floods the table; and to make it
// forget a budget of which n events are spent, somebody must have n events each
// spent by some 65,000 keys at the same time (they can't be chosen to meet it: see
// Key), every one of which passed its own wider budgets. What he gains is those n
// events once more.
const (
	setSize = 8
	maxKeys = 1 << 16
	minKeys = 1 << 6
)

// A bucket is one budget. Free, or whole, which is the same: whole is not after
// now.
type bucket struct {
	key      Key
	whole    int64 // when nothing will be missing
	incident int64 // the last refusal
	dirty    bool  // the store has another one, or none
}

// debt is what is missing, in time. It is bounded by the limit as it is now: a
// changed setting applies at once, and a time that can't be is none.
func (b *bucket) debt(now int64, c *Charge) time.Duration {
	b.whole = min(b.whole, now+int64(c.bound()))
	return time.Duration(max(0, b.whole-now))
}

// A table is a hash table of sets that doubles up to max buckets.
type table struct {
	buckets []bucket // its length is a power of two, or 0
	max     int
	// rows are what the store has of a lasting table, by key, with the time at
	// which each is over; nil for another table.
	rows    map[Key]int64
	changed bool
}

func (t *table) set(h uint64) []bucket {
	i := int(h%uint64(len(t.buckets)/setSize)) * setSize //nolint:gosec // less than max
	return t.buckets[i : i+setSize]
}

// find returns the budget of a key, nil if it is whole.
func (t *table) find(h uint64, key Key, now int64) *bucket {
	if len(t.buckets) == 0 {
		return nil
	}
	set := t.set(h)
	for i := range set {
		if set[i].key == key && set[i].whole > now {
			return &set[i]
		}
	}
	return nil
}

// insert makes room for a key that find does not.
func (t *table) insert(h uint64, key Key, now int64, hash func(Key) uint64) *bucket {
	if len(t.buckets) == 0 {
		t.buckets = make([]bucket, minKeys)
	}
	b := least(t.set(h))
	for b.whole > now && len(t.buckets) < t.max {
		t.grow(now, hash)
		b = least(t.set(h))
	}
	*b = bucket{key: key}
	return b
}

// least is the bucket of a set that lacks the least.
func least(set []bucket) *bucket {
	b := &set[0]
	for i := range set[1:] {
		if set[i+1].whole < b.whole {
			b = &set[i+1]
		}
	}
	return b
}

// grow doubles the table: the keys of a set go to one of two.
func (t *table) grow(now int64, hash func(Key) uint64) {
	old := t.buckets
	t.buckets = make([]bucket, 2*len(old))
	for i := range old {
		if old[i].whole > now {
			*least(t.set(hash(old[i].key))) = old[i]
		}
	}
}

// sweep gives back the memory of a table in which nothing is missing.
func (t *table) sweep(now int64) {
	for i := range t.buckets {
		if t.buckets[i].whole > now {
			return
		}
	}
	t.buckets = nil
}
