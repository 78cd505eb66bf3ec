// recorder.go: what failed, on its way into the store: together, and bounded.

package audit

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// Bounds of what is stored of failures. A row takes some 250 bytes of the file with
// its index: a million wrong passwords, ten a second for 28 hours, are 2 300 rows and
// 170 counts, under 700 kB. What is beyond is counted.
const (
	// accountBurst rows of one account, or of one address where there is none, and
	// another one every accountEvery.
	accountBurst = 20
	accountEvery = 10 * time.Minute
	// realmBurst rows of the realm, and another one every realmEvery.
	realmBurst = 600
	realmEvery = time.Minute
	// CountEvery is how often what was counted becomes a row.
	CountEvery = 10 * time.Minute
	// maxPending bounds the rows in memory that wait to be written.
	maxPending = realmBurst
	// maxCounted bounds the accounts and addresses that are told apart.
	maxCounted = 4096
)

// Every is how often a recorder is flushed.
const Every = time.Second

// A Recorder collects what failed in one realm, over reloads. It is safe for
// concurrent use.
type Recorder struct {
	// Wake says that there is something to flush, or was.
	Wake chan struct{}
	now  func() time.Time

	mu      sync.Mutex
	pending []store.Audit
	realm   bucket
	each    map[string]*bucket
	swept   time.Time // when each was last rid of what is full
	// counted has how many of each event had no room since counting began.
	counted map[string]int
	began   time.Time
}

// bucket is a budget that fills evenly.
type bucket struct {
	left float64
	seen time.Time
}

func (b *bucket) fill(now time.Time, burst float64, every time.Duration) {
	if passed := now.Sub(b.seen); passed > 0 {
		b.left = min(burst, b.left+float64(passed)/float64(every))
	}
	b.seen = now // also of a clock that was set back
}

// NewRecorder returns one by a clock.
func NewRecorder(now func() time.Time) *Recorder {
	return &Recorder{Wake: make(chan struct{}, 1), now: now, realm: bucket{realmBurst, now()}, each: map[string]*bucket{}, counted: map[string]int{}}
}

// add takes a row, or counts it.
func (r *Recorder) add(row store.Audit) {
	select {
	case r.Wake <- struct{}{}:
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if own := r.bucketOf(&row, now); own != nil {
		own.fill(now, accountBurst, accountEvery)
		r.realm.fill(now, realmBurst, realmEvery)
		if own.left >= 1 && r.realm.left >= 1 && len(r.pending) < maxPending {
			own.left--
			r.realm.left--
			r.pending = append(r.pending, row)
			return
		}
	}
	if len(r.counted) == 0 {
		r.began = now
	}
	r.counted[row.Event]++
}

// bucketOf is the budget of a row's account or address, nil where too many are
// told apart already.
func (r *Recorder) bucketOf(row *store.Audit, now time.Time) *bucket {
	key := string(row.Account[:])
	if row.Account == uuid.Nil {
		key = network(row.Address)
	}
	if b, ok := r.each[key]; ok {
		return b
	}
	if len(r.each) >= maxCounted && (now.Sub(r.swept) >= time.Minute || now.Before(r.swept)) {
		r.swept = now
		for k, b := range r.each { // the full ones have nothing to tell
			if b.fill(now, accountBurst, accountEvery); b.left >= accountBurst {
				delete(r.each, k)
			}
		}
	}
	if len(r.each) >= maxCounted {
		return nil
	}
	b := &bucket{accountBurst, now}
	r.each[key] = b
	return b
}

// network is an address as far as it tells clients apart: of IPv6 its /64.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

// Counting reports whether something was counted that is no row yet.
func (r *Recorder) Counting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.counted) > 0
}

// Flush writes what has come together. Without anything to write it costs no
// transaction. With last, what was counted is written though its time has not come.
// If the store fails, the rows wait for the next time, as many as there is room for.
func (r *Recorder) Flush(ctx context.Context, db store.Store, last bool) error {
	r.mu.Lock()
	now := r.now()
	rows := r.pending
	r.pending = nil
	counted, began := r.counted, r.began
	if since := now.Sub(began); len(counted) > 0 && (last || since >= CountEvery || since < 0) {
		r.counted = map[string]int{}
	} else {
		counted = nil
	}
	r.mu.Unlock()
	for event, n := range counted {
		rows = append(rows, store.Audit{
			At: now.UTC().Truncate(time.Second), Event: event, Actor: ActorSystem,
			Details: map[string]string{"count": strconv.Itoa(n), "since": began.UTC().Format(time.RFC3339)},
		})
	}
	if len(rows) == 0 {
		return nil
	}
	err := db.Update(ctx, func(tx store.Tx) error {
		for i := range rows {
			if err := tx.AddAudit(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pending = append(rows[:min(len(rows), maxPending)], r.pending...)
		r.pending = r.pending[:min(len(r.pending), maxPending)]
	}
	return err
}
