// place.go: a place in the queue that is taken before anything else is done, so that a crowd
// over what the pool can do costs its wait and nothing more.

package password

import (
	"context"
	"sync"
)

// Crowded reports whether whoever comes now has to wait (Line).
func (p *Pool) Crowded() bool { return p.turns.crowded() }

func (q *queue) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.free == 0
}

// Line is for whoever has work to do before his hash, which would be in vain if he had to be
// refused then. Where all turns are taken, it gives him a place in the queue, or holds him until a
// turn is near enough to stay for, or to the end of the hold (ErrBusy). The next hash under the
// context that it returns has his place. leave gives it up, if no hash has used it.
func (p *Pool) Line(ctx context.Context) (_ context.Context, leave func(), err error) {
	q := p.turns
	w, err := q.lineUp()
	if w == nil {
		return ctx, func() {}, err
	}
	if err := q.hold(ctx, w); err != nil {
		return ctx, func() {}, err
	}
	held := &place{queue: q, waiter: w}
	return context.WithValue(ctx, placeKey{}, held), held.leave, nil
}

// lineUp takes a place in the queue (nil, nil: a turn is free), or refuses.
func (q *queue) lineUp() (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		return nil, nil
	}
	return q.join(&q.others)
}

// A place is that of a waiter who stays.
type place struct {
	queue  *queue
	mu     sync.Mutex
	waiter *waiter // nil: used, or given up
}

type placeKey struct{}

// placed is the waiter who has a place in q under this context, nil: none has, or it is used.
func (q *queue) placed(ctx context.Context) *waiter {
	p, _ := ctx.Value(placeKey{}).(*place)
	if p == nil || p.queue != q {
		return nil
	}
	return p.take()
}

func (p *place) take() (w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, p.waiter = p.waiter, nil
	return w
}

func (p *place) leave() {
	if w := p.take(); w != nil && !p.queue.leave(w) {
		p.queue.pass() // his turn had come
	}
}
