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
	// Queue is how many callers wait at most, preferred ones and others each; the
	// next one is refused at once.
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

// Preferred marks the work under a context as that of somebody who is known to
// the server. While others crowd the queue of a Pool, the preferred have most of
// the turns, and room of their own to wait in.
func Preferred(ctx context.Context) context.Context {
	return context.WithValue(ctx, preferredKey{}, true)
}

type preferredKey struct{}

func isPreferred(ctx context.Context) bool { return ctx.Value(preferredKey{}) != nil }

// preferredTurns of every preferredTurns+1 turns go to the preferred while there
// are any, so that a flood holds them up by a third and they never shut others out.
const preferredTurns = 3

// A line is who waits for turns of one kind, first come, first served.
type line struct {
	waiting *list.List // of *waiter, by arrival
	staying int        // how many of them stay until their turn
}

// queue hands out the turns.
type queue struct {
	limits Limits
	crowd  func() // told that somebody waits
	// observe is called at each beginning, what it returns at the end; nil: nobody looks.
	observe func(context.Context) (done func())

	mu        sync.Mutex
	free      int // turns; not 0 only while nobody waits
	preferred line
	others    line
	inARow    int // turns that the preferred had since the last of the others'
	average   time.Duration
}

type waiter struct {
	turn  chan struct{} // closed when it has come
	until time.Time     // the longest wait of all
	stays bool
	line  *line
	place *list.Element // nil when out of the queue
}

// firstGuess is the time of a hash before there was one: DefaultParams take some
// 20 to 60 ms.
const firstGuess = 50 * time.Millisecond

func newQueue(l Limits) *queue {
	l.Workers = max(l.Workers, 1)
	return &queue{
		limits: l, free: l.Workers, average: firstGuess, crowd: func() {},
		preferred: line{waiting: list.New()}, others: line{waiting: list.New()},
	}
}

// near reports whether the turn of somebody with n before him in his line is near
// enough, by how many of the other line come between.
func (q *queue) near(l *line, n int) bool {
	between := min(q.preferred.waiting.Len(), (n+1)*preferredTurns)
	if l == &q.preferred {
		between = min(q.others.waiting.Len(), (n+1)/preferredTurns)
	}
	return time.Duration(n+1+between)*q.average <= q.limits.Turn*time.Duration(q.limits.Workers)
}

// acquire takes a turn, at once or after a wait, or returns ErrBusy.
func (q *queue) acquire(ctx context.Context) error {
	w := q.placed(ctx)
	if w == nil {
		var err error
		if w, err = q.enter(isPreferred(ctx)); w == nil {
			return err
		}
		if err := q.hold(ctx, w); err != nil {
			return err
		}
	}
	return q.await(ctx, w, time.Until(w.until))
}

// hold tells that somebody waits, and waits until w stays or its turn has come, or returns ErrBusy.
func (q *queue) hold(ctx context.Context, w *waiter) error {
	q.crowd()
	if w.stays {
		return nil
	}
	// Spread out, or a crowd that came together would come again together.
	hold := q.limits.Hold
	return q.await(ctx, w, min(q.limits.Wait, hold/2+rand.N(hold/2+1))) //nolint:gosec // no secret
}

// await waits for the turn of w, up to a limit. Where that is over and w did not stay before, it
// may from now on. After an error w has left.
func (q *queue) await(ctx context.Context, w *waiter, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		if !q.leave(w) {
			q.pass() // the turn came at the same moment
		}
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	case <-timer.C:
		if q.stay(w) || !q.leave(w) { // or the turn came at the same moment
			return nil
		}
		return fmt.Errorf("%w: no turn within %s", ErrBusy, limit)
	}
}

// enter takes a free turn (nil, nil) or a place in the queue, or neither.
func (q *queue) enter(preferred bool) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		q.free--
		return nil, nil
	}
	if preferred {
		return q.join(&q.preferred)
	}
	return q.join(&q.others)
}

// join takes a place at the end of a line, or refuses.
func (q *queue) join(l *line) (*waiter, error) {
	n := l.waiting.Len()
	near := q.near(l, n)
	if q.limits.Wait <= 0 || n >= q.limits.Queue || !near && q.limits.Hold <= 0 {
		return nil, fmt.Errorf("%w: %d are waiting already", ErrBusy, n)
	}
	w := &waiter{turn: make(chan struct{}), until: time.Now().Add(q.limits.Wait), stays: near, line: l}
	if near {
		l.staying++
	}
	w.place = l.waiting.PushBack(w)
	return w, nil
}

// stay lets whoever was held until now stay, if his turn has come near. All who
// came before him and are still here stay too, so he counts those.
func (q *queue) stay(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place == nil || w.stays || !q.near(w.line, w.line.staying) || q.limits.Wait <= q.limits.Hold {
		return false
	}
	w.stays = true
	w.line.staying++
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
	w.line.waiting.Remove(w.place)
	w.place = nil
	if w.stays {
		w.line.staying--
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
	first, other := q.preferred.waiting.Front(), q.others.waiting.Front()
	switch {
	case first == nil && other == nil:
		q.free++
		return
	case first != nil && (other == nil || q.inARow < preferredTurns):
		q.inARow++
	default:
		first, q.inARow = other, 0
	}
	w := first.Value.(*waiter)
	q.remove(w)
	close(w.turn)
}
