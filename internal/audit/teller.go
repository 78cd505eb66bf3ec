// teller.go: rows on their way to who listens in this process, without any act
// waiting for that.

package audit

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// maxTelling bounds the rows that wait for who listens. With its details one takes less
// than 2 kB.
const maxTelling = 1000

// A Told is a row whose act is committed, and what its account is called: "" where that is
// not known, or there is none.
type Told struct {
	store.Audit
	Username string
}

// Data is what others are told of a row: whose it is, who did it, and what the table of
// events names. It has no secret and no e-mail address.
func (t *Told) Data(realm string) map[string]string {
	data := make(map[string]string, 5+len(t.Details))
	maps.Copy(data, t.Details)
	data["realm"], data["actor"], data["address"] = realm, t.Actor, t.Address
	if t.Account != uuid.Nil {
		data["id"] = t.Account.String()
		if t.Username != "" {
			data["username"] = t.Username
		}
	}
	return data
}

// A Teller hands rows on, one after the other, in a goroutine of its own that is there from
// the first one on. Each is told once or, where too many wait, not at all. Its fields are
// set before it is used. It is safe for concurrent use.
type Teller struct {
	// Tell takes a row. It may be slow: then the next ones wait, and no act does.
	Tell func(Told)
	// Wants says whether anybody listens to an event; it is asked in the act and is quick.
	Wants func(event string) bool
	// Store has the names of accounts that come without.
	Store store.Store
	// Lost is told how many rows had no room since it was told last, at most once a second.
	Lost func(n int64)

	mu      sync.Mutex
	queue   chan Told
	closed  bool
	done    chan struct{}
	dropped atomic.Int64
	told    time.Time // when Lost was told; the goroutine's own
}

// wants reports whether a row of an event would be told.
func (t *Teller) wants(event string) bool { return t != nil && t.Wants(event) }

// take takes a row where there is room. It never blocks.
func (t *Teller) take(row Told) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.queue == nil {
		t.queue, t.done = make(chan Told, maxTelling), make(chan struct{})
		go t.run(t.queue, t.done)
	}
	select {
	case t.queue <- row:
	default:
		t.dropped.Add(1)
	}
}

func (t *Teller) run(queue <-chan Told, done chan<- struct{}) {
	defer close(done)
	for row := range queue {
		if row.Username == "" && row.Account != uuid.Nil {
			row.Username = nameOf(t.Store, row.Account)
		}
		t.Tell(row)
		if now := time.Now(); now.Sub(t.told) >= time.Second || len(queue) == 0 {
			t.told = now
			if n := t.dropped.Swap(0); n > 0 {
				t.Lost(n)
			}
		}
	}
}

// nameOf is what an account is called now; "": it is gone, or the store fails.
func nameOf(db store.Store, id uuid.UUID) (name string) {
	_ = db.View(context.Background(), func(tx store.Tx) error {
		name = usernameOf(tx, id)
		return nil
	})
	return name
}

func usernameOf(tx store.Tx, id uuid.UUID) string {
	u, err := tx.BriefUser(id)
	if err != nil {
		return ""
	}
	return u.Username
}

// Close takes no more, and waits until what was taken is told, but for no longer than
// patience. A nil one has nothing to tell.
func (t *Teller) Close(patience time.Duration) {
	if t == nil {
		return
	}
	t.mu.Lock()
	done := t.done
	if !t.closed && t.queue != nil {
		close(t.queue)
	}
	t.closed = true
	t.mu.Unlock()
	if done == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
