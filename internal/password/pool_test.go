// pool_test.go: the bounds of the pool, on a clock of its own (testing/synctest)
// and with work that the test holds up, and what each method does in its slot.

package password

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func nothing() error { return nil }

// limits are those of a plain queue: whoever fits in it stays for at most wait.
func limits(workers, queue int, wait time.Duration) Limits {
	return Limits{Workers: workers, Queue: queue, Turn: 1 << 40, Hold: wait, Wait: wait}
}

// occupy fills every slot of p until free is called. It runs in a bubble.
func occupy(t *testing.T, p *Pool) (free func()) {
	t.Helper()
	gate := make(chan struct{})
	for range p.turns.limits.Workers {
		go func() {
			_ = p.do(context.Background(), func() error { <-gate; return nil })
		}()
	}
	synctest.Wait()
	require.Zero(t, p.turns.free)
	return func() { close(gate) }
}

func requireIdle(t *testing.T, p *Pool) {
	t.Helper()
	require.Equal(t, p.turns.limits.Workers, p.turns.free)
	require.Zero(t, p.turns.others.waiting.Len())
	require.Zero(t, p.turns.others.staying)
}

func TestPoolBounds200Callers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, callers = 4, 200
		p := NewPool(limits(workers, callers, 10*time.Second+time.Millisecond))
		var mu sync.Mutex
		running, most := 0, 0
		enter := func() {
			mu.Lock()
			defer mu.Unlock()
			running++
			most = max(most, running)
		}
		leave := func() {
			mu.Lock()
			defer mu.Unlock()
			running--
		}
		var served, busy atomic.Int32
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				err := p.do(t.Context(), func() error {
					enter()
					defer leave()
					time.Sleep(time.Second) // of the bubble's clock
					return nil
				})
				if errors.Is(err, ErrBusy) {
					busy.Add(1)
				} else if err == nil {
					served.Add(1)
				}
			})
		}
		synctest.Wait()
		p.turns.mu.Lock()
		waiting := p.turns.others.waiting.Len()
		p.turns.mu.Unlock()
		require.Equal(t, callers-workers, waiting)
		wg.Wait()
		require.Equal(t, workers, most)
		// Turns start at 0, 1 … 10 s; then the wait is over.
		require.EqualValues(t, 11*workers, served.Load())
		require.EqualValues(t, callers-11*workers, busy.Load())
		requireIdle(t, p)
	})
}

func TestPoolServes200RealCallers(t *testing.T) {
	p := NewPool(limits(2, 200, time.Minute))
	encoded, err := Hash("correct horse", cheap)
	require.NoError(t, err)
	var matched atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if ok, err := p.Verify(t.Context(), encoded, "correct horse"); ok && err == nil {
				matched.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 200, matched.Load())
	requireIdle(t, p)
}

func TestPoolQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(1, 1, time.Hour))
		free := occupy(t, p)
		var waited error
		go func() { waited = p.do(t.Context(), nothing) }()
		synctest.Wait()

		start := time.Now()
		require.ErrorIs(t, p.do(t.Context(), nothing), ErrBusy)
		require.Zero(t, time.Since(start), "a full queue answers at once")

		free()
		synctest.Wait()
		require.NoError(t, waited, "who was in the queue got the turn")
		requireIdle(t, p)
	})
}

func TestPoolWaitOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(1, 1, 3*time.Second))
		free := occupy(t, p)
		start := time.Now()
		err := p.do(t.Context(), nothing)
		require.ErrorIs(t, err, ErrBusy)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Zero(t, p.turns.others.waiting.Len(), "the place in the queue is free again")
		free()
	})
}

func TestPoolContextDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(1, 1, time.Hour))
		free := occupy(t, p)

		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		err := p.do(ctx, nothing)
		require.ErrorIs(t, err, ErrBusy)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(start))

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err = p.do(ctx, nothing)
		require.ErrorIs(t, err, ErrBusy)
		require.ErrorIs(t, err, context.Canceled)

		free()
		synctest.Wait()
		err = p.do(ctx, func() error { t.Error("work for nobody"); return nil })
		require.ErrorIs(t, err, ErrBusy)
		require.ErrorIs(t, err, context.Canceled, "a free slot does not hide it")
		requireIdle(t, p)
	})
}

func TestPoolFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(1, 10, time.Hour))
		free := occupy(t, p)
		var order []int // one worker, so one at a time
		for i := range 10 {
			go func() {
				_ = p.do(t.Context(), func() error { order = append(order, i); return nil })
			}()
			synctest.Wait()
		}
		free()
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
	})
}

func TestPoolSlotIsFreeAfterPanic(t *testing.T) {
	p := NewPool(limits(1, 0, 0))
	require.Panics(t, func() { _ = p.do(t.Context(), func() error { panic("work") }) })
	requireIdle(t, p)
}

func TestEveryMethodTakesASlot(t *testing.T) {
	sound := phc("m=64,t=1,p=1", soundSalt, soundKey)
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(1, 0, time.Second))
		free := occupy(t, p)

		_, err := p.Hash(t.Context(), "password", cheap)
		require.ErrorIs(t, err, ErrBusy)
		_, err = p.Verify(t.Context(), sound, "password")
		require.ErrorIs(t, err, ErrBusy)
		_, _, err = p.VerifyAndRehash(t.Context(), sound, "password", cheap)
		require.ErrorIs(t, err, ErrBusy)
		require.ErrorIs(t, p.VerifyDummy(t.Context(), "password", cheap), ErrBusy)

		free()
		synctest.Wait()
		require.NoError(t, p.VerifyDummy(t.Context(), "password", cheap))
	})
}

func TestPoolRefusesBeforeTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(1, 0, 0))
		free := occupy(t, p)
		tooLong := strings.Repeat("x", MaxLength+1)

		_, err := p.Hash(t.Context(), tooLong, cheap)
		require.ErrorIs(t, err, ErrTooLong)
		_, err = p.Hash(t.Context(), "password", Params{})
		require.ErrorContains(t, err, "use at least")
		_, err = p.Verify(t.Context(), "rubbish", "password")
		require.ErrorIs(t, err, ErrFormat)
		_, _, err = p.VerifyAndRehash(t.Context(), "$2a$17$"+bcrypt53, "password", cheap)
		require.ErrorIs(t, err, ErrCost)
		_, _, err = p.VerifyAndRehash(t.Context(), "rubbish", "password", Params{})
		require.ErrorContains(t, err, "use at least")
		require.ErrorContains(t, p.VerifyDummy(t.Context(), "password", Params{}), "use at least")

		// Known user and unknown user alike, or the difference would tell.
		ok, err := p.Verify(t.Context(), phc("m=64,t=1,p=1", soundSalt, soundKey), tooLong)
		require.NoError(t, err)
		require.False(t, ok)
		require.NoError(t, p.VerifyDummy(t.Context(), tooLong, cheap))
		free()
	})
}

func TestPoolHash(t *testing.T) {
	p := NewPool(limits(1, 0, 0))
	encoded, err := p.Hash(t.Context(), "correct horse", cheap)
	require.NoError(t, err)
	ok, err := Verify(encoded, "correct horse")
	require.NoError(t, err)
	require.True(t, ok)
}

func TestPoolVerifyAndRehash(t *testing.T) {
	p := NewPool(limits(1, 0, 0)) // one slot: both in it
	current, err := Hash("password", cheap)
	require.NoError(t, err)
	weaker, err := Hash("password", Params{Memory: 32, Passes: 1, Lanes: 1})
	require.NoError(t, err)
	for _, tt := range []struct {
		name, encoded, password string
		ok, rehash              bool
	}{
		{"current", current, "password", true, false},
		{"current, wrong", current, "passwort", false, false},
		{"weaker", weaker, "password", true, true},
		{"weaker, wrong", weaker, "passwort", false, false},
		{"bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", true, true},
		{"bcrypt, wrong", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*V", false, false},
		{"django", "pbkdf2_sha256$1000$seasalt$JgZryXe2Ga8ysg6XbzkLpTdyPQrHqsinbL9BnnhgX4A=", "lètmein", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, rehashed, err := p.VerifyAndRehash(t.Context(), tt.encoded, tt.password, cheap)
			require.NoError(t, err)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.rehash, rehashed != "")
			if rehashed == "" {
				return
			}
			require.False(t, NeedsRehash(rehashed, cheap))
			ok, err = p.Verify(t.Context(), rehashed, tt.password)
			require.NoError(t, err)
			require.True(t, ok)
		})
	}
}

func TestNewPoolSizes(t *testing.T) {
	p := NewPool(limits(0, -1, time.Second))
	require.Equal(t, 1, p.turns.limits.Workers)

	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(3, 7, 0))
		free := occupy(t, p)
		require.ErrorIs(t, p.do(t.Context(), nothing), ErrBusy, "without a wait there is no queue")
		free()
	})

	for _, tt := range []struct{ procs, cores, workers int }{{1, 1, 1}, {2, 2, 2}, {8, 8, 8}, {4, 2, 4}, {2, 8, 1}, {1, 8, 1}} {
		require.Equal(t, tt.workers, defaultWorkers(tt.procs, tt.cores))
	}
	require.Positive(t, NewDefaultPool().turns.limits.Workers)
}

func TestWhoWaitsIsACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(limits(2, 10, time.Hour))
		crowd := 0
		p.turns.crowd = func() { crowd++ }
		free := occupy(t, p)
		require.Zero(t, crowd, "nobody waits yet")
		go func() { _ = p.do(t.Context(), nothing) }()
		synctest.Wait()
		require.Equal(t, 1, crowd)
		free()
		synctest.Wait()
	})
}

// Who has gone before his turn says nothing of how long hashes take: else a crowd
// of them would have the queue take on more than it can do.
func TestCancelledCallersLeaveTheAverageAlone(t *testing.T) {
	p := NewPool(Limits{Workers: 1})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		require.ErrorIs(t, p.do(gone, func() error { return nil }), ErrBusy)
	}
	require.Equal(t, firstGuess, p.turns.average)
	require.Equal(t, 1, p.turns.free)
}
