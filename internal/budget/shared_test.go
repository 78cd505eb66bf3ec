package budget

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// rows is a store that counts how often it is asked.
type rows struct {
	store.Store
	asked, swept int
	whole        map[string]time.Duration
	clock        []time.Time
	fail         error
}

func (r *rows) SpendBudgets(_ context.Context, now time.Time, spends []store.BudgetSpend) (missing []time.Duration, ok bool, err error) {
	r.asked++
	r.clock = append(r.clock, now)
	if r.fail != nil {
		return nil, false, r.fail
	}
	missing, ok = make([]time.Duration, len(spends)), true
	after := make([]time.Duration, len(spends))
	for i, s := range spends {
		enough := false
		missing[i] = s.Before(r.whole[s.Table+string(s.Key[:])])
		after[i], enough = s.After(missing[i])
		ok = ok && enough
	}
	if !ok {
		return missing, false, nil
	}
	for i, s := range spends {
		r.whole[s.Table+string(s.Key[:])] = after[i]
	}
	return after, true, nil
}

func (r *rows) SweepBudgets(context.Context, time.Time, int) (int, error) {
	r.swept++
	return 0, r.fail
}

func newShared(tables ...string) (*Ledger, *clock, *rows) {
	l, c := newLedger("t", "u")
	r := &rows{whole: map[string]time.Duration{}}
	l.Share(r, tables...)
	return l, c, r
}

func spend(t *testing.T, l *Ledger, charges ...Charge) Verdict {
	t.Helper()
	v, err := l.Spend(t.Context(), charges...)
	require.NoError(t, err)
	return v
}

func TestWhatANodeRefusesIsNotAsked(t *testing.T) {
	l, c, r := newShared("t")
	ada := charge("t", "ada", minute)
	r.whole["t"+string(ada.Key[:])] = time.Minute // others have spent it
	v := spend(t, l, ada)
	require.Equal(t, 6*time.Second+time.Millisecond, v.Wait, "true, though this node has let nothing through")
	require.True(t, v.First)
	require.Equal(t, "t", v.Table)
	for range 100 {
		v = spend(t, l, ada)
		require.Positive(t, v.Wait)
		require.False(t, v.First)
	}
	require.Equal(t, 1, r.asked)
	c.travel(6 * time.Second)
	r.whole["t"+string(ada.Key[:])] = 54 * time.Second
	require.Zero(t, spend(t, l, ada).Wait)
	require.Positive(t, spend(t, l, ada).Wait)
	require.Equal(t, 2, r.asked, "once for each that comes back")
	require.Equal(t, []time.Time{newClock().now, c.now}, r.clock, "a clock that a test moves is the rows'")
}

func TestWhatTheRowsRefuseIsSpentNowhere(t *testing.T) {
	l, _, r := newShared("t", "u")
	ada, net := charge("t", "ada", minute), charge("u", "net", minute)
	r.whole["t"+string(ada.Key[:])] = time.Minute
	for range 20 {
		require.Positive(t, spend(t, l, ada, net).Wait)
	}
	n := 0
	for spend(t, l, net).Wait == 0 {
		n++
	}
	require.Equal(t, 10, n)
}

func TestAFailureOfTheRowsSpendsNothing(t *testing.T) {
	l, _, r := newShared("t")
	ada := charge("t", "ada", minute)
	r.fail = errors.New("away")
	for range 20 {
		_, err := l.Spend(t.Context(), ada)
		require.ErrorIs(t, err, r.fail)
	}
	require.ErrorIs(t, l.SweepRows(t.Context()), r.fail)
	r.fail = nil
	for range 10 {
		require.Zero(t, spend(t, l, ada).Wait)
	}
	require.Positive(t, spend(t, l, ada).Wait)
	l.GiveBack(t.Context(), ada)
	require.Zero(t, spend(t, l, ada).Wait)
	require.Positive(t, spend(t, l, ada).Wait)
}

func TestWhatIsCountedByEachNode(t *testing.T) {
	l, _, r := newShared("t")
	require.True(t, l.Shares())
	spend(t, l, charge("log", "x", minute))
	spend(t, l, charge("t", "x", Limit{Events: 1000, Window: time.Second}))
	l.GiveBack(t.Context(), charge("log", "x", minute))
	require.NoError(t, l.SpendIn(nil, charge("log", "x", minute)))
	require.NoError(t, l.LookIn(nil, charge("log", "x", minute)))
	require.NoError(t, l.GiveBackIn(nil, charge("log", "x", minute)))
	require.Zero(t, r.asked)
	require.NoError(t, l.Flush(t.Context(), nil), "and nothing is written beside")
	alone, _ := newLedger("t")
	require.False(t, alone.Shares())
	spend(t, alone, charge("t", "x", minute))
}

func TestRowsHaveNoAddress(t *testing.T) {
	th := NewThrottle("login")
	l, _, r := newShared(th.Shared()...)
	charges := append(th.Client("203.0.113.7", minute), th.Client("2001:db8::1", minute)...)
	spend(t, l, charges...)
	require.Len(t, r.whole, len(charges))
	for row := range r.whole {
		require.NotContains(t, row, string([]byte{203, 0}))
		require.NotContains(t, row, string([]byte{0x20, 0x01, 0x0d, 0xb8}))
	}
	spend(t, l, th.Form("203.0.113.7", minute)...)
	require.Len(t, r.whole, len(charges), "what fails on its own form is each node's to count")
}

func TestACrowdIsSwept(t *testing.T) {
	l, _, r := newShared("t")
	for i := range crowdAfter {
		select {
		case <-l.Crowded():
			t.Fatal("too soon: ", i)
		default:
		}
		spend(t, l, Charge{Table: "t", Key: Key{byte(i), byte(i >> 8)}, Limit: minute})
	}
	<-l.Crowded()
	require.NoError(t, l.SweepRows(t.Context()))
	require.Equal(t, 1, r.swept)
	spend(t, l, charge("t", "ada", minute))
	require.Empty(t, l.Crowded())
}

// A limit that was shortened, or a clock that was ahead, keeps nobody out for longer than an
// empty budget does.
func TestAnEmptyBudgetOfALongerLimitFills(t *testing.T) {
	l, c := newLedger()
	takes(l, 10, charge("t", "ada", Limit{Events: 10, Window: day}))
	require.Positive(t, l.Take(charge("t", "ada", minute)).Wait)
	c.travel(7 * time.Second)
	require.Equal(t, 1, takes(l, 2, charge("t", "ada", minute)))
}
