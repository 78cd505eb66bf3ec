// pool.go: the bounded pool in which a server hashes, so that a rush of logins
// costs neither all its memory nor all its time.

package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// ErrBusy says that a Pool did not get round to the work: its queue was full,
// the wait was over, or the context was done (then the context's error is
// wrapped too). Nothing was computed. A server answers 503 with Retry-After.
var ErrBusy = errors.New("password hashing is busy")

// Pool bounds how many password hashes are computed at once. That bounds the
// memory: workers × Params.Memory for its own hashes, and at worst 1 GiB for
// each worker if hashes of that cost were imported. It also keeps a flood of
// logins from starving everything else, as the OWASP Password Storage Cheat
// Sheet warns of.
//
// A hash that has begun is not interrupted: the algorithms cannot be. Safe for
// concurrent use. It holds no goroutine, so it needs no closing.
type Pool struct {
	// Both are counting semaphores: sending takes a place, receiving returns
	// it. A place in slots that is returned goes to whoever has blocked on it
	// longest, so waiting is first come, first served.
	slots   chan struct{}
	waiting chan struct{}
	wait    time.Duration
}

// NewPool returns a pool that computes at most workers hashes at once (at least
// 1) and lets at most queue callers wait for their turn, each no longer than
// wait. With a queue or wait of 0 or less nobody waits.
func NewPool(workers, queue int, wait time.Duration) *Pool {
	if wait <= 0 {
		queue = 0
	}
	return &Pool{
		slots:   make(chan struct{}, max(workers, 1)),
		waiting: make(chan struct{}, max(queue, 0)),
		wait:    wait,
	}
}

// The size of NewDefaultPool.
const (
	// With DefaultParams, at some 40 ms a hash, the last of 64 gets its turn
	// after 2.5 s: a burst is absorbed rather than refused. Up to 150 ms a hash
	// it still does within the wait of 10 s. A queue much longer would, at the
	// costs people choose, only hold callers that get ErrBusy in the end. Who
	// waits costs a goroutine and its request, some 10 KiB, but no hash memory.
	defaultQueuePerWorker = 64
	// Longer, and people press the button again, which makes it worse.
	defaultWait = 10 * time.Second
)

// NewDefaultPool returns a pool for this machine: as many workers as Go runs
// threads (GOMAXPROCS), 64 waiting for each, for up to 10 seconds. More workers
// would take more memory and finish nothing sooner.
func NewDefaultPool() *Pool {
	workers := runtime.GOMAXPROCS(0)
	return NewPool(workers, workers*defaultQueuePerWorker, defaultWait)
}

// Hash is the function Hash in a slot of the pool; it also fails with ErrBusy.
func (p *Pool) Hash(ctx context.Context, password string, params Params) (string, error) {
	if err := hashable(password, params); err != nil {
		return "", err
	}
	var encoded string
	err := p.do(ctx, func() error {
		encoded = hash(password, params)
		return nil
	})
	return encoded, err
}

// Verify is the function Verify in a slot of the pool; it also fails with
// ErrBusy.
func (p *Pool) Verify(ctx context.Context, encoded, password string) (bool, error) {
	ok, _, err := p.verify(ctx, encoded, password, func(stored) string { return "" })
	return ok, err
}

// VerifyAndRehash is Verify and, where the password matches and encoded has
// aged (NeedsRehash), a fresh Hash with params, both in one slot. rehashed is
// empty unless there is such a hash, which the caller then stores instead of
// encoded. It fails as Verify does, and for params as Validate does.
func (p *Pool) VerifyAndRehash(ctx context.Context, encoded, password string, params Params) (ok bool, rehashed string, err error) {
	if err := params.Validate(); err != nil {
		return false, "", err
	}
	return p.verify(ctx, encoded, password, func(s stored) string {
		if !s.weakerThan(params) {
			return ""
		}
		return hash(password, params)
	})
}

// VerifyDummy spends what Verify spends on a wrong password against a hash made
// with params, by the same path, and tells nothing. A login calls it for an
// unknown user, so that the time of its answer does not tell whether the user
// exists. It fails with ErrBusy as Verify would, and for params as Validate
// does.
//
// A user whose imported hash awaits its rehash takes another time than this.
// That difference is unavoidable and ends with their first login.
func (p *Pool) VerifyDummy(ctx context.Context, password string, params Params) error {
	if err := params.Validate(); err != nil {
		return err
	}
	_, err := p.Verify(ctx, dummy(params), password)
	return err
}

// verify parses outside the slot, which costs next to nothing, and hashes
// inside; after a match it calls then in the same slot.
func (p *Pool) verify(ctx context.Context, encoded, password string, then func(stored) string) (ok bool, after string, err error) {
	s, err := parse(encoded)
	if err != nil || len(password) > MaxLength {
		return false, "", err
	}
	err = p.do(ctx, func() error {
		var err error
		if ok, err = s.matches(password); ok {
			after = then(s)
		}
		return err
	})
	return ok, after, err
}

// do runs work in a slot, and returns its error or ErrBusy.
func (p *Pool) do(ctx context.Context, work func() error) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer func() { <-p.slots }()
	// A select with several ways open takes any. Nobody waits for the result
	// any more, so the slot goes to the next.
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return work()
}

// acquire takes a slot, at once or after a wait, or returns ErrBusy.
func (p *Pool) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		return fmt.Errorf("%w: %d are waiting already", ErrBusy, cap(p.waiting))
	}
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: no turn within %s", ErrBusy, p.wait)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}
