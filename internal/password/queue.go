// queue.go: who waits for a turn to hash, for how long, and who is told at once
// that it is too much.

package password

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrBusy says that a Pool did not get round to the work: too many were waiting,
// the wait was over, or the context was done (then the context's error is
// wrapped too). Nothing was computed. A server answers 503 with Retry-After.
var ErrBusy = errors.New("password hashing is busy")

// Limits bound what a Pool takes on.
type Limits struct {
	// Workers is how many hashes are computed at once, at least 1.
	Workers int
	// Queue is how many callers wait at most; the next one is refused at once.
	// Each costs a goroutine and its request, some tens of KiB, but no hash memory.
	Queue int
	// Turn is how far away, by the time that hashes took lately, a turn may be.
	// Whoever is within it stays in the queue until it comes.
	Turn time.Duration
	// Hold is after how long, at most, whoever is not within it by then is
	// refused; at least half of it. Until then he waits with the others: refused
	// at once, clients that ask again at once would cost the machine more than
	// the hashes do.
	Hold time.Duration
	// Wait is the longest wait of all, if hashes take far longer than lately. 0
	// or less: nobody waits.
	Wait time.Duration
}

// queue hands out the turns, first come, first served.
type queue struct {
	limits Limits
	crowd  func() // told that somebody waits

	mu      sync.Mutex
	free    int        // turns; not 0 only while nobody waits
	waiting *list.List // of *waiter, by arrival
	staying int        // how many of them stay until their turn
	average time.Duration
}

type waiter struct {
	turn  chan struct{} // closed when it has come
	stays bool
	place *list.Element // nil when out of the queue
}

// firstGuess is the time of a hash before there was one: DefaultParams take some
// 20 to 60 ms.
const firstGuess = 50 * time.Millisecond

func newQueue(l Limits) *queue {
	l.Workers = max(l.Workers, 1)
	return &queue{limits: l, free: l.Workers, waiting: list.New(), average: firstGuess, crowd: func() {}}
}

// near reports whether the turn of somebody with n before him is near enough.
func (q *queue) near(n int) bool {
	return time.Duration(n+1)*q.average <= q.limits.Turn*time.Duration(q.limits.Workers)
}

// acquire takes a turn, at once or after a wait, or returns ErrBusy.
func (q *queue) acquire(ctx context.Context) error {
	w, err := q.join()
	if w == nil {
		return err
	}
	q.crowd()
	limit := q.limits.Wait
	if !w.stays {
		// Spread out, or a crowd that came together would come again together.
		hold := q.limits.Hold
		limit = min(limit, hold/2+rand.N(hold/2+1)) //nolint:gosec // no secret
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-w.turn:
			return nil
		case <-ctx.Done():
			if !q.leave(w) {
				q.pass() // the turn came at the same moment
			}
			return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
		case <-timer.C:
			if q.stay(w) {
				timer.Reset(q.limits.Wait - limit)
				continue
			}
			if !q.leave(w) {
				return nil // the turn came at the same moment
			}
			return fmt.Errorf("%w: no turn within %s", ErrBusy, limit)
		}
	}
}

// join takes a free turn (nil, nil) or a place in the queue, or neither.
func (q *queue) join() (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		q.free--
		return nil, nil
	}
	n := q.waiting.Len()
	near := q.near(n)
	if q.limits.Wait <= 0 || n >= q.limits.Queue || !near && q.limits.Hold <= 0 {
		return nil, fmt.Errorf("%w: %d are waiting already", ErrBusy, n)
	}
	w := &waiter{turn: make(chan struct{}), stays: near}
	if near {
		q.staying++
	}
	w.place = q.waiting.PushBack(w)
	return w, nil
}

// stay lets whoever was held until now stay, if his turn has come near. All who
// came before him and are still here stay too, so he counts those.
func (q *queue) stay(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place == nil || w.stays || !q.near(q.staying) || q.limits.Wait <= q.limits.Hold {
		return false
	}
	w.stays = true
	q.staying++
	return true
}

// leave takes a waiter out; false: his turn had come.
func (q *queue) leave(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place == nil {
		return false
	}
	q.remove(w)
	return true
}

func (q *queue) remove(w *waiter) {
	q.waiting.Remove(w.place)
	w.place = nil
	if w.stays {
		q.staying--
	}
}

// release gives a turn back after work that took so long.
func (q *queue) release(took time.Duration) {
	q.mu.Lock()
	// Of the last ten or so.
	q.average += (took - q.average) / 8
	q.mu.Unlock()
	q.pass()
}

// pass hands a turn on.
func (q *queue) pass() {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.waiting.Front()
	if first == nil {
		q.free++
		return
	}
	w := first.Value.(*waiter)
	q.remove(w)
	close(w.turn)
}
