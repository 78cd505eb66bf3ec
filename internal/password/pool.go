// pool.go: the bounded pool in which a server hashes, so that a rush of logins
// costs neither all its memory nor all its time.

package password

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// Pool bounds how many password hashes are computed at once. That bounds the
// memory: workers × Params.Memory for its own hashes, at worst 256 MiB for each worker
// if hashes of that cost were imported, and 1 GiB for those above that, which have a single
// turn of their own (see heavy). It also keeps a flood of
// logins from starving everything else, as the OWASP Password Storage Cheat
// Sheet warns of.
//
// A hash that has begun is not interrupted: the algorithms cannot be. Safe for
// concurrent use. It holds no goroutine, so it needs no closing.
type Pool struct {
	turns *queue
	heavy *queue
}

// NewPool returns a pool with these limits.
func NewPool(l Limits) *Pool { return &Pool{turns: newQueue(l), heavy: newQueue(heavyLimits(l))} }

// The size of NewDefaultPool.
const (
	// A burst is absorbed rather than refused, and nobody waits much longer
	// than people do before they press the button again, which makes it worse.
	defaultTurn = 2 * time.Second
	// Whoever has to be refused knows it within a second: under a crowd of sign-ins
	// on two cores, six runs, the slowest of these answers came after 0.88 to 1.0 s.
	defaultHold = 760 * time.Millisecond
	defaultWait = 10 * time.Second
	// Some 40 MiB of waiting requests.
	defaultQueue = 2048
)

// NewDefaultPool returns a pool for this machine: as many workers as cores, or
// one fewer than GOMAXPROCS where somebody has set that below the number of
// cores (a container's quota). More workers would take more memory and finish
// nothing sooner. While callers wait, it hashes in a second process (see secondProcess).
func NewDefaultPool() *Pool {
	workers := defaultWorkers(runtime.GOMAXPROCS(0), runtime.NumCPU())
	p := NewPool(Limits{Workers: workers, Queue: defaultQueue, Turn: defaultTurn, Hold: defaultHold, Wait: defaultWait})
	p.turns.crowd = theSecondProcess.crowd
	return p
}

func defaultWorkers(procs, cores int) int {
	if procs < cores {
		return max(procs-1, 1)
	}
	return procs
}

// Observe has fn called when a hash begins, and what it returns when it is done. It is set
// before the pool is used.
func (p *Pool) Observe(fn func(context.Context) (done func())) {
	p.turns.observe, p.heavy.observe = fn, fn
}

// Waiting is how many callers wait for their turn.
func (p *Pool) Waiting() int { return p.turns.waiting() + p.heavy.waiting() }

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.preferred.waiting.Len() + q.others.waiting.Len()
}

// Hash is the function Hash in a slot of the pool; it also fails with ErrBusy.
func (p *Pool) Hash(ctx context.Context, password string, params Params) (string, error) {
	if err := hashable(password, params); err != nil {
		return "", err
	}
	var encoded string
	err := p.do(ctx, func() error {
		encoded = newHash(Normal(password), params)
		return nil
	})
	return encoded, err
}

// Verify is the function Verify in a slot of the pool; it also fails with
// ErrBusy.
func (p *Pool) Verify(ctx context.Context, encoded, password string) (bool, error) {
	ok, _, err := p.verify(ctx, encoded, password, func(stored, bool) string { return "" })
	return ok, err
}

// VerifyAndRehash is Verify and, where the password matches and encoded has
// aged (NeedsRehash) or was made of other bytes than its normal form, a fresh Hash
// with params, both in one slot. rehashed is
// empty unless there is such a hash, which the caller then stores instead of
// encoded. It fails as Verify does, and for params as Validate does.
func (p *Pool) VerifyAndRehash(ctx context.Context, encoded, password string, params Params) (ok bool, rehashed string, err error) {
	if err := params.Validate(); err != nil {
		return false, "", err
	}
	return p.verify(ctx, encoded, password, func(s stored, other bool) string {
		if !other && !s.weakerThan(params) {
			return ""
		}
		return newHash(Normal(password), params)
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
// inside; after a match it calls then in the same slot, and says whether it was the
// bytes as they came that matched. How many hashes a wrong password costs hangs on
// the password alone: one, or two where it is not in its normal form.
func (p *Pool) verify(ctx context.Context, encoded, password string, then func(s stored, other bool) string) (ok bool, after string, err error) {
	s, err := parse(encoded)
	if err != nil || len(password) > MaxLength {
		return false, "", err
	}
	turns := p.turns
	if heavy(s) {
		turns = p.heavy
	}
	err = turns.do(ctx, func() error {
		var other bool
		var err error
		if ok, other, err = matchesAny(s, candidates(password)); ok {
			after = then(s, other)
		}
		return err
	})
	return ok, after, err
}

// do is do of the usual turns.
func (p *Pool) do(ctx context.Context, work func() error) error { return p.turns.do(ctx, work) }

// do runs work in a turn, and returns its error or ErrBusy.
func (q *queue) do(ctx context.Context, work func() error) error {
	if err := q.acquire(ctx); err != nil {
		return err
	}
	// A select with several ways open takes any. Nobody waits for the result
	// any more, so the turn goes to the next; that no work took no time says
	// nothing of how long hashes take.
	if err := ctx.Err(); err != nil {
		q.pass()
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	begin := time.Now()
	defer func() { q.release(time.Since(begin)) }()
	if q.observe != nil {
		defer q.observe(ctx)()
	}
	return work()
}
