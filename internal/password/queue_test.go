// queue_test.go: a crowd far over what the pool can do, on a clock of its own.

package password

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestQueueRefusesTheExcessSoon: 1 000 at once, 100 ms a hash, two at a time:
// those within two seconds get their turn, the others are refused within 0.8,
// not all at one moment, and nobody waits in vain.
func TestQueueRefusesTheExcessSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hash = 100 * time.Millisecond
		l := Limits{Workers: 2, Queue: 2048, Turn: defaultTurn, Hold: defaultHold, Wait: defaultWait}
		p := NewPool(l)
		p.turns.average = hash
		var mu sync.Mutex
		var served, refused []time.Duration
		var wg sync.WaitGroup
		begin := time.Now()
		for range 1000 {
			wg.Go(func() {
				err := p.do(t.Context(), func() error { time.Sleep(hash); return nil })
				mu.Lock()
				defer mu.Unlock()
				if took := time.Since(begin); errors.Is(err, ErrBusy) {
					refused = append(refused, took)
				} else {
					served = append(served, took)
				}
			})
		}
		wg.Wait()
		slices.Sort(refused)
		// 40 fit in the two seconds, and those who come near within the hold.
		require.GreaterOrEqual(t, len(served), 40)
		require.LessOrEqual(t, len(served), 40+2+2*8)
		require.Less(t, slices.Max(served), defaultTurn+defaultHold+3*hash)
		require.Len(t, refused, 1000-len(served))
		require.LessOrEqual(t, refused[len(refused)-1], defaultHold)
		require.GreaterOrEqual(t, refused[0], defaultHold/2)
		require.Less(t, refused[len(refused)/2], defaultHold-50*time.Millisecond, "they all come again together")
		requireIdle(t, p)
		begin = time.Now()
		require.NoError(t, p.do(t.Context(), nothing))
		require.Zero(t, time.Since(begin), "full service at once afterwards")
	})
}

// TestLineHoldsACrowdBeforeItsWork: the same crowd, each with work to do before its hash. Who is
// refused has done none, as many get in, and who has begun is not refused.
func TestLineHoldsACrowdBeforeItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hash = 100 * time.Millisecond
		p := NewPool(Limits{Workers: 2, Queue: 2048, Turn: defaultTurn, Hold: defaultHold, Wait: defaultWait})
		p.turns.average = hash
		free := occupy(t, p)
		var begun, served, refused atomic.Int32
		var wg sync.WaitGroup
		begin := time.Now()
		for range 1000 {
			wg.Go(func() {
				ctx, leave, err := p.Line(t.Context())
				defer leave()
				if err != nil {
					refused.Add(1)
					assert.ErrorIs(t, err, ErrBusy)
					assert.LessOrEqual(t, time.Since(begin), defaultHold)
					return
				}
				begun.Add(1)
				time.Sleep(time.Millisecond)
				if p.do(ctx, func() error { time.Sleep(hash); return nil }) == nil {
					served.Add(1)
				}
			})
		}
		synctest.Wait()
		free()
		wg.Wait()
		require.EqualValues(t, 1000, begun.Load()+refused.Load())
		require.Equal(t, begun.Load(), served.Load())
		require.GreaterOrEqual(t, served.Load(), int32(40))
		require.LessOrEqual(t, served.Load(), int32(40+2+2*8))
		require.False(t, p.Crowded())
		requireIdle(t, p)
	})
}

// TestPlacesAreGivenUp: by who needs none after all, whether his turn has come or not; and a place
// is for one hash, and for these turns.
func TestPlacesAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Workers: 1, Queue: 3, Turn: 100 * time.Millisecond, Hold: time.Second, Wait: time.Minute})
		p.turns.average = 60 * time.Millisecond
		_, leave, err := p.Line(t.Context())
		require.NoError(t, err)
		leave() // a turn is free, and there was no place to give up
		require.False(t, p.Crowded())
		free := occupy(t, p)
		require.True(t, p.Crowded())

		held := make(chan struct{})
		leaves := make([]func(), 3)
		contexts := make([]context.Context, 3)
		for i := range leaves {
			go func() {
				var err error
				contexts[i], leaves[i], err = p.Line(t.Context())
				assert.NoError(t, err)
				held <- struct{}{}
			}()
			synctest.Wait()
		}
		_, _, err = p.Line(t.Context())
		require.ErrorIs(t, err, ErrBusy, "the queue is full")
		free()
		<-held // his turn has come
		synctest.Wait()
		require.Zero(t, p.turns.free)
		require.NoError(t, p.do(contexts[0], nothing), "it is his")
		<-held
		leaves[0]()
		leaves[1]()
		<-held
		require.NoError(t, p.heavy.do(contexts[2], nothing), "these are other turns")
		require.Zero(t, p.turns.free)
		leaves[2]()
		leaves[2]()
		requireIdle(t, p)

		p.turns.average = 60 * time.Millisecond // what was no hash took no time
		free = occupy(t, p)
		_, leave, err = p.Line(t.Context())
		require.NoError(t, err, "the next turn is near")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err = p.Line(ctx)
		require.ErrorIs(t, err, context.Canceled)
		leave()
		free()
		synctest.Wait()
		requireIdle(t, p)
	})
}

// TestQueueLearnsTheTimeOfAHash: the same queue is long for cheap hashes and
// short for costly ones.
func TestQueueLearnsTheTimeOfAHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Workers: 1, Queue: 2048, Turn: defaultTurn, Hold: defaultHold, Wait: defaultWait})
		learn := func(hash time.Duration) {
			for range 100 {
				require.NoError(t, p.do(t.Context(), func() error { time.Sleep(hash); return nil }))
			}
		}
		learn(time.Second)
		require.True(t, p.turns.near(&p.turns.others, 0))
		require.False(t, p.turns.near(&p.turns.others, 2))
		learn(time.Millisecond)
		require.True(t, p.turns.near(&p.turns.others, 1500))
		require.False(t, p.turns.near(&p.turns.others, 2100))
	})
}

func TestQueueHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Workers: 1, Queue: 3, Hold: time.Second, Wait: time.Minute})
		free := occupy(t, p)
		for range 3 {
			go func() { _ = p.do(t.Context(), nothing) }()
		}
		synctest.Wait()
		begin := time.Now()
		require.ErrorIs(t, p.do(t.Context(), nothing), ErrBusy)
		require.Zero(t, time.Since(begin))
		free()
		synctest.Wait()
		requireIdle(t, p)
	})
}

// TestQueueKnowsThePreferred: behind a thousand others, those who are known have
// three of four turns, and the others the fourth.
func TestQueueKnowsThePreferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hash = 100 * time.Millisecond
		p := NewPool(Limits{Workers: 2, Queue: 1000, Turn: defaultTurn, Hold: defaultHold, Wait: defaultWait})
		p.turns.average = hash
		var mu sync.Mutex
		var order []bool
		refused := map[bool]int{}
		slowest := time.Duration(0)
		var wg sync.WaitGroup
		work := func(preferred bool) {
			ctx := t.Context()
			if preferred {
				ctx = Preferred(ctx)
			}
			begin := time.Now()
			err := p.do(ctx, func() error {
				mu.Lock()
				order = append(order, preferred)
				mu.Unlock()
				time.Sleep(hash)
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused[preferred]++
			} else if preferred {
				slowest = max(slowest, time.Since(begin))
			}
		}
		for range 1100 {
			wg.Go(func() { work(false) })
		}
		synctest.Wait()
		for range 30 {
			wg.Go(func() { work(true) })
		}
		synctest.Wait()
		wg.Wait()
		require.Zero(t, refused[true], "they have room of their own, even behind a full queue")
		require.LessOrEqual(t, slowest, defaultTurn+2*hash)
		known := 0
		for _, preferred := range order[2:42] { // two had begun
			if preferred {
				known++
			}
		}
		require.Equal(t, 30, known)
		require.Positive(t, 1100-refused[false])
		requireIdle(t, p)
	})
}
