package budget

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var day = 24 * time.Hour

// A clock that tests move. It has no monotonic reading.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)} }

func (c *clock) travel(d time.Duration) { c.now = c.now.Add(d) }

func newLedger(lasting ...string) (*Ledger, *clock) {
	c := newClock()
	return New(func() time.Time { return c.now }, lasting...), c
}

var minute = Limit{Events: 10, Window: time.Minute}

func charge(table, key string, limit Limit) Charge {
	return Charge{Table: table, Key: keyOf(key), Limit: limit}
}

func takes(l *Ledger, n int, charges ...Charge) (taken int) {
	for range n {
		if l.Take(charges...).Wait == 0 {
			taken++
		}
	}
	return taken
}

func TestABudgetFillsEvenly(t *testing.T) {
	l, c := newLedger()
	ada := charge("t", "ada", minute)
	require.Equal(t, 10, takes(l, 12, ada))
	v := l.Take(ada)
	require.Equal(t, 6*time.Second+time.Millisecond, v.Wait)
	require.Equal(t, "t", v.Table)
	require.Equal(t, 10, takes(l, 12, charge("t", "bob", minute)))
	require.Equal(t, 10, takes(l, 12, charge("u", "ada", minute)), "another table")
	c.travel(6 * time.Second)
	require.Equal(t, 1, takes(l, 3, ada))
	c.travel(time.Hour)
	require.Equal(t, 10, takes(l, 12, ada))
	require.Equal(t, 1, takes(l, 3, charge("t", "one", Limit{Events: 1, Window: time.Hour})))
}

func TestTakeIsAllOrNothing(t *testing.T) {
	l, _ := newLedger()
	a, b := charge("t", "a", minute), charge("t", "b", minute)
	takes(l, 10, a)
	require.Zero(t, takes(l, 5, b, a))
	require.Equal(t, 10, takes(l, 20, b), "the refused ones have spent nothing")
	require.Positive(t, l.Look(b, charge("t", "c", minute)).Wait)
	require.Zero(t, l.Look(charge("t", "c", minute)).Wait)
	l.Return(a, b)
	require.Equal(t, 1, takes(l, 3, a, b))
	l.Return(charge("t", "c", minute))
	require.Equal(t, 10, takes(l, 20, charge("t", "c", minute)), "nothing is given back that was not spent")
}

func TestTheFirstRefusalOfAnIncident(t *testing.T) {
	l, c := newLedger()
	ada := charge("t", "ada", minute)
	takes(l, 10, ada)
	require.True(t, l.Take(ada).First)
	require.False(t, l.Take(ada).First)
	require.False(t, l.Look(ada).First)
	c.travel(50 * time.Second)
	takes(l, 20, ada)
	c.travel(time.Minute)
	takes(l, 10, ada)
	require.True(t, l.Take(ada).First, "a minute later it is another")
}

func TestRanksAndSoftCharges(t *testing.T) {
	l, _ := newLedger()
	rank := func(share float64) Charge {
		c := charge("t", "ada", minute)
		c.Share = share
		return c
	}
	require.Equal(t, 5, takes(l, 9, rank(0.5)))
	require.Equal(t, 5, takes(l, 9, rank(1)))
	require.Zero(t, takes(l, 1, rank(0.5)))
	require.Equal(t, 5, takes(l, 9, rank(1.5)), "the highest rank overdraws")
	v := l.Take(rank(1))
	require.Equal(t, 36*time.Second+time.Millisecond, v.Wait)
	require.Equal(t, 1, takes(l, 1, Charge{Table: "u", Key: keyOf("x"), Limit: Limit{Events: 1, Window: time.Hour}, Share: 0.5}), "one of one is allowed to every rank")

	soft := charge("t", "bob", minute)
	soft.Soft = true
	require.Equal(t, 100, takes(l, 100, soft), "it refuses nobody")
	require.Equal(t, 6*time.Second+time.Millisecond, l.Take(charge("t", "bob", minute)).Wait, "and is spent no further than empty")
}

func TestAChangedLimitAppliesAtOnce(t *testing.T) {
	l, _ := newLedger()
	takes(l, 10, charge("t", "ada", Limit{Events: 10, Window: day}))
	v := l.Take(charge("t", "ada", minute))
	require.Equal(t, 6*time.Second+time.Millisecond, v.Wait)
}

func TestAClockSetBack(t *testing.T) {
	l, c := newLedger()
	limit := Limit{Events: 2, Window: time.Minute}
	spent, half := charge("t", "spent", limit), charge("t", "half", limit)
	takes(l, 3, spent)
	takes(l, 1, half)
	c.travel(-day)
	v := l.Take(spent)
	require.Equal(t, 30*time.Second, v.Wait.Round(time.Second), "what was spent is spent, and no day's wait")
	require.True(t, v.First, "a new incident")
	require.Equal(t, 1, takes(l, 3, half), "what was there is there")
	c.travel(v.Wait)
	require.Equal(t, 1, takes(l, 3, spent))
	c.travel(-500 * time.Millisecond) // callers out of order
	require.Positive(t, l.Take(spent).Wait)
	c.travel(2 * time.Minute)
	require.Equal(t, 2, takes(l, 3, spent))
}

// A flood of a million keys neither takes more memory, nor washes a spent budget
// away, nor leaves a newcomer without one.
func TestThrottlesStayBounded(t *testing.T) {
	for name, events := range map[string]int{"one event each": 1, "all that each has": 10} {
		t.Run(name, func(t *testing.T) {
			l, c := newLedger()
			var victims []Charge
			for i := range 100 {
				victims = append(victims, charge("t", "victim"+strconv.Itoa(i), minute))
				takes(l, 10, victims[i])
			}
			for i := range 1_000_000 / events {
				takes(l, events, charge("t", strconv.Itoa(i), minute))
			}
			require.LessOrEqual(t, len(l.tables["t"].buckets), maxKeys)
			for i := range 1000 {
				require.Equal(t, 1, takes(l, 1, charge("t", "newcomer"+strconv.Itoa(i), minute)))
			}
			if events == 1 {
				for _, v := range victims {
					require.Zero(t, takes(l, 1, v), "a flood does not wash a spent budget away")
				}
			}
			l.Sweep()
			require.NotEmpty(t, l.tables["t"].buckets)
			c.travel(time.Hour)
			l.Sweep()
			require.Empty(t, l.tables["t"].buckets, "whole budgets are forgotten")
			require.Equal(t, 10, takes(l, 20, victims[0]))
		})
	}
}

func TestAGrowingTableKeepsAll(t *testing.T) {
	l, _ := newLedger()
	for i := range 3_000 {
		takes(l, 10, charge("t", strconv.Itoa(i), minute))
	}
	for i := range 3_000 {
		require.Zero(t, takes(l, 1, charge("t", strconv.Itoa(i), minute)), i)
	}
}

func TestClientsAreCountedWithTheirNetworks(t *testing.T) {
	for name, test := range map[string]struct {
		address func(i int) string
		want    int // of 20,000 events from as many addresses
	}{
		"one IPv4 address":          {func(int) string { return "192.0.2.7" }, 10},
		"the same, mapped":          {func(i int) string { return []string{"192.0.2.7", "::ffff:192.0.2.7"}[i%2] }, 10},
		"a /24":                     {func(i int) string { return fmt.Sprintf("192.0.2.%d", i%256) }, 320},
		"a /16":                     {func(i int) string { return fmt.Sprintf("192.0.%d.%d", i%256, i/256) }, 2560},
		"one /64":                   {func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, 10},
		"one /64 with a zone":       {func(i int) string { return fmt.Sprintf("fe80::%x%%eth0", i) }, 10},
		"a /56":                     {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i%256) }, 40},
		"a /48":                     {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, 160},
		"a /32":                     {func(i int) string { return fmt.Sprintf("2001:db8:%x::1", i) }, 2560},
		"as many addresses, apart":  {func(i int) string { return fmt.Sprintf("%d.%d.2.1", 1+i/256, i%256) }, 20_000},
		"a Unix socket":             {func(int) string { return "" }, 10},
		"an address that is nobody": {func(int) string { return "@" }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newLedger()
			throttle, taken := NewThrottle("login"), 0
			for i := range 20_000 {
				taken += takes(l, 1, throttle.Client(test.address(i), minute)...)
			}
			require.Equal(t, test.want, taken)
		})
	}
	l, _ := newLedger()
	throttle := NewThrottle("login")
	require.Equal(t, 100, takes(l, 200, throttle.Form("192.0.2.7", minute)...), "failures of form have their own, wider")
	require.Equal(t, 10, takes(l, 20, throttle.Client("192.0.2.7", minute)...))
	require.Equal(t, 20, takes(l, 20, Soft(throttle.Client("192.0.2.7", minute))...))
}

// What a /48 takes up in a table is bounded by its own budget.
func TestANetworkTakesLittleRoom(t *testing.T) {
	l, c := newLedger()
	throttle := NewThrottle("login")
	for i := range 1_000_000 {
		if i%1000 == 0 {
			c.travel(time.Millisecond)
		}
		l.Take(throttle.Client(fmt.Sprintf("2001:db8:0:%x:%x::1", i%65536, i/65536), minute)...)
	}
	require.LessOrEqual(t, len(l.tables["login/client"].buckets), 1024)
}

// memory is a Store.
type memory struct {
	rows map[string]Row
	err  error
	most int
}

func (m *memory) Rows(_ context.Context, now time.Time, limit int) (rows []Row, err error) {
	for _, r := range m.rows {
		if r.Whole.After(now) && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, m.err
}

func (m *memory) Save(_ context.Context, rows []Row) error {
	if m.err != nil {
		return m.err
	}
	m.most = max(m.most, len(rows))
	for _, r := range rows {
		m.rows[r.Table+string(r.Key[:])] = r
	}
	return nil
}

func TestLastingBudgetsOutliveTheLedger(t *testing.T) {
	l, c := newLedger("a", "b")
	store := &memory{rows: map[string]Row{}}
	again := func() {
		require.NoError(t, l.Flush(t.Context(), store))
		l = New(func() time.Time { return c.now }, "a", "b")
		require.NoError(t, l.Load(t.Context(), store))
	}
	a, b, fleeting := charge("a", "x", minute), charge("b", "x", minute), charge("c", "x", minute)
	takes(l, 10, a, fleeting)
	takes(l, 4, b)
	again()
	require.Zero(t, takes(l, 1, a))
	require.Equal(t, 6, takes(l, 10, b))
	require.Equal(t, 10, takes(l, 11, fleeting))
	require.Len(t, store.rows, 2)
	l.Return(b)
	again()
	require.Equal(t, 1, takes(l, 10, b))
	c.travel(6 * time.Second)
	again()
	require.Equal(t, 1, takes(l, 10, a))
	c.travel(-365 * day)
	again()
	v := l.Take(a)
	require.Positive(t, v.Wait)
	require.LessOrEqual(t, v.Wait, 7*time.Second, "a clock that was ahead keeps nobody out for long")
	require.NoError(t, l.Flush(t.Context(), store))
	for _, r := range store.rows {
		require.Less(t, r.Whole.Sub(c.now), 3*maxWindow, "and leaves no row for a year")
	}
	c.travel(time.Hour + 2*maxWindow)
	again()
	require.Equal(t, 10, takes(l, 20, a))
}

func TestAFloodCostsTheStoreLittle(t *testing.T) {
	l, c := newLedger("a", "b")
	store := &memory{rows: map[string]Row{}}
	victim := charge("a", "victim", Limit{Events: 10, Window: day})
	takes(l, 10, victim)
	takes(l, 3, charge("b", "other", minute))
	for i := range 300_000 {
		takes(l, 1, charge("a", strconv.Itoa(i), Limit{Events: 10, Window: day}))
	}
	require.NoError(t, l.Flush(t.Context(), store))
	require.Equal(t, maxFlush+1, store.most)
	for range 100 {
		c.travel(30 * time.Second)
		require.NoError(t, l.Flush(t.Context(), store))
	}
	require.Len(t, store.rows, maxRows+1)
	l = New(func() time.Time { return c.now }, "a", "b")
	require.NoError(t, l.Load(t.Context(), store))
	require.Positive(t, l.Take(victim).Wait, "the most spent go first")
	takes(l, 1, charge("a", "late", Limit{Events: 10, Window: day}))
	require.NoError(t, l.Flush(t.Context(), store))
	require.Len(t, store.rows, maxRows+1)
	takes(l, 1, charge("b", "late", minute))
	require.NoError(t, l.Flush(t.Context(), store))
	require.Len(t, store.rows, maxRows+2, "the other table has its own room")
}

func TestAFailedFlushIsDoneAgain(t *testing.T) {
	l, c := newLedger("a")
	store := &memory{rows: map[string]Row{}, err: errors.New("no disk")}
	takes(l, 10, charge("a", "x", minute))
	require.Error(t, l.Flush(t.Context(), store))
	require.Error(t, l.Load(t.Context(), store))
	store.err = nil
	require.NoError(t, l.Flush(t.Context(), store))
	require.Len(t, store.rows, 1)
	clear(store.rows)
	require.NoError(t, l.Flush(t.Context(), store))
	require.Empty(t, store.rows, "what has not changed is not written")
	c.travel(time.Second)
}

// snapshot is one budget as earlier versions kept it.
func snapshot(key Key, empty time.Time, every time.Duration, events uint32) []byte {
	out := append([]byte{snapshotFormat}, key[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(empty.UnixNano()))
	out = binary.BigEndian.AppendUint64(out, uint64(every))
	return binary.BigEndian.AppendUint32(out, events)
}

func TestASnapshotIsTakenOver(t *testing.T) {
	l, c := newLedger("a", "b")
	require.NoError(t, l.Inherit(snapshot(keyOf("x"), c.now, 6*time.Second, 10)))
	require.Equal(t, 10, takes(l, 11, charge("c", "x", minute)), "only what lasts was in it")
	require.Zero(t, takes(l, 11, charge("b", "x", minute)))
	require.Equal(t, 10, takes(l, 11, charge("a", "x", minute)), "it is one budget")
	store := &memory{rows: map[string]Row{}}
	require.NoError(t, l.Flush(t.Context(), store))
	require.Len(t, store.rows, 2)
	require.NoError(t, l.Inherit([]byte{snapshotFormat}))
	for _, raw := range [][]byte{nil, {}, {2}, []byte("\x01short")} {
		require.Error(t, l.Inherit(raw))
	}
	require.NoError(t, l.Inherit(snapshot(keyOf("y"), c.now, time.Minute, 10)))
	c.travel(time.Hour)
	l.Sweep()
	require.Empty(t, l.inherited)
}

func FuzzInherit(f *testing.F) {
	c := newClock()
	f.Add(snapshot(keyOf("x"), c.now, 6*time.Second, 10))
	f.Add([]byte{snapshotFormat})
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := New(func() time.Time { return c.now }, "a")
		if l.Inherit(raw) != nil {
			require.Empty(t, l.inherited)
			return
		}
		for key := range l.inherited {
			v := l.Take(Charge{Table: "a", Key: key, Limit: minute})
			require.LessOrEqual(t, v.Wait, time.Minute)
		}
	})
}

func TestALedgerIsSafeForConcurrentUse(t *testing.T) {
	l := New(time.Now, "a")
	store := &memory{rows: map[string]Row{}}
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 2000 {
				c := charge([]string{"a", "b"}[i%2], strconv.Itoa(i%100+w), minute)
				l.Take(c, charge("b", strconv.Itoa(i), minute))
				l.Look(c)
				l.Return(c)
			}
		})
	}
	for range 20 {
		require.NoError(t, l.Flush(t.Context(), store))
		l.Sweep()
	}
	group.Wait()
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 1 << 20} {
		b.Run(strconv.Itoa(keys)+" clients", func(b *testing.B) {
			l := New(time.Now)
			throttle := NewThrottle("login")
			addresses := make([]string, keys)
			for i := range addresses {
				addresses[i] = fmt.Sprintf("2001:%x:%x::1", rand.N(1<<16), rand.N(1<<16))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				l.Take(throttle.Client(addresses[i%keys], minute)...)
				i++
			}
		})
	}
}
