// budgets.go: the promises about the budgets of throttles.

package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func budget(table string, key byte, whole time.Duration) *store.Budget {
	return &store.Budget{Table: table, Key: [16]byte{key, 0, 255}, Whole: now.Add(whole)}
}

func putBudgets(t *testing.T, s store.Store, budgets ...*store.Budget) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, b := range budgets {
			if err := tx.PutBudget(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func budgets(t *testing.T, s store.Store, at time.Time, limit int) (got []*store.Budget) {
	t.Helper()
	view(t, s, func(tx store.Tx) (err error) { got, err = tx.Budgets(at, limit); return err })
	slices.SortFunc(got, func(a, b *store.Budget) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), slices.Compare(a.Key[:], b.Key[:]))
	})
	return got
}

func deleteBudgets(t *testing.T, s store.Store, at time.Time, limit int) (n int) {
	t.Helper()
	update(t, s, func(tx store.Tx) (err error) { n, err = tx.DeleteBudgets(at, limit); return err })
	return n
}

var budgetPromises = []promise{
	{"a budget is read back and replaced by itself alone", func(t *testing.T, open opener) {
		s := open(t)
		require.Empty(t, budgets(t, s, now, 10))
		a, b, c := budget("login/target", 1, time.Minute), budget("login/target", 2, time.Hour), budget("reset/target", 1, 1500*time.Millisecond)
		putBudgets(t, s, a, b, c)
		require.Equal(t, []*store.Budget{a, b, c}, budgets(t, s, now, 10))
		b = budget("login/target", 2, time.Second)
		putBudgets(t, s, b)
		require.Equal(t, []*store.Budget{a, b, c}, budgets(t, s, now, 10))
	}},
	{"what is over is not returned and can be deleted, so many at a time", func(t *testing.T, open opener) {
		s := open(t)
		lasting := budget("b", 9, time.Millisecond)
		putBudgets(t, s, budget("a", 1, 0), budget("a", 2, -time.Hour), budget("c", 3, -time.Millisecond), lasting)
		require.Equal(t, []*store.Budget{lasting}, budgets(t, s, now, 1), "the limit counts what is returned")
		require.Len(t, budgets(t, s, now.Add(-2*time.Hour), 3), 3)
		require.Equal(t, 2, deleteBudgets(t, s, now, 2))
		require.Equal(t, 1, deleteBudgets(t, s, now, 2))
		require.Zero(t, deleteBudgets(t, s, now, 2))
		require.Equal(t, []*store.Budget{lasting}, budgets(t, s, now.Add(-2*time.Hour), 10))
	}},
	{"a table has a name", func(t *testing.T, open opener) {
		s := open(t)
		for _, name := range []string{"", "a\x00b", string(make([]byte, 65))} {
			require.Error(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutBudget(budget(name, 1, time.Hour)) }))
		}
		require.Empty(t, budgets(t, s, now, 10))
	}},
}

// spend is one event against a budget of ten a minute.
func spend(table string, key byte) store.BudgetSpend {
	return store.BudgetSpend{Table: table, Key: [16]byte{key, 0, 255}, Cost: 6 * time.Second, Room: time.Minute, Bound: time.Minute}
}

func spends(t *testing.T, s store.Store, at time.Time, of ...store.BudgetSpend) (missing []time.Duration, ok bool) {
	t.Helper()
	missing, ok, err := s.SpendBudgets(t.Context(), at, of)
	require.NoError(t, err)
	return missing, ok
}

// spent is how many of n events a budget has let through.
func spent(t *testing.T, s store.Store, at time.Time, n int, of ...store.BudgetSpend) (through int) {
	t.Helper()
	for range n {
		if _, ok := spends(t, s, at, of...); ok {
			through++
		}
	}
	return through
}

const second = time.Second

var spendPromises = []promise{
	{"a budget lets through what it has, and more as it fills", func(t *testing.T, open opener) {
		s := open(t)
		a := spend("login", 1)
		missing, ok := spends(t, s, now, a)
		require.True(t, ok)
		require.Equal(t, []time.Duration{6 * second}, missing)
		require.Equal(t, 9, spent(t, s, now, 12, a))
		missing, ok = spends(t, s, now, a)
		require.False(t, ok)
		require.Equal(t, []time.Duration{60 * second}, missing, "what is refused costs nothing")
		require.Equal(t, []*store.Budget{budget("login", 1, time.Minute)}, budgets(t, s, now, 9))
		_, ok = spends(t, s, now.Add(6*second-time.Millisecond), a)
		require.False(t, ok)
		require.Equal(t, 1, spent(t, s, now.Add(6*second), 2, a))
		require.Equal(t, 10, spent(t, s, now, 12, spend("login", 2)), "another key")
		require.Equal(t, 10, spent(t, s, now, 12, spend("reset", 1)), "another table")
		require.Equal(t, 10, spent(t, s, now.Add(time.Hour), 12, a))
	}},
	{"of several budgets all are spent, or none", func(t *testing.T, open opener) {
		s := open(t)
		a, b := spend("t", 1), spend("t", 2)
		spent(t, s, now, 10, a)
		missing, ok := spends(t, s, now, b, a)
		require.False(t, ok)
		require.Equal(t, []time.Duration{0, 60 * second}, missing, "in the order of the question")
		missing, ok = spends(t, s, now, b)
		require.True(t, ok)
		require.Equal(t, []time.Duration{6 * second}, missing)
	}},
	{"soft ones, gifts, and bounds", func(t *testing.T, open opener) {
		s := open(t)
		soft, gift := spend("t", 1), spend("t", 1)
		soft.Soft, gift.Cost = true, -6*second
		require.Equal(t, 12, spent(t, s, now, 12, soft), "it refuses nobody")
		missing, _ := spends(t, s, now, gift)
		require.Equal(t, []time.Duration{54 * second}, missing, "and spends no further than empty")
		require.Equal(t, 1, spent(t, s, now, 2, spend("t", 1)))
		gift.Cost = -time.Hour
		missing, _ = spends(t, s, now, gift)
		require.Equal(t, []time.Duration{0}, missing)
		over := spend("t", 2)
		over.Room, over.Bound = 90*second, 2*time.Minute
		require.Equal(t, 15, spent(t, s, now, 20, over), "a higher rank overdraws")
		missing, ok := spends(t, s, now, spend("t", 2))
		require.False(t, ok)
		require.Equal(t, []time.Duration{60 * second}, missing, "what is beyond the bound is another limit's")
		putBudgets(t, s, budget("t", 3, 24*time.Hour))
		missing, ok = spends(t, s, now, spend("t", 3))
		require.False(t, ok)
		require.Equal(t, []time.Duration{60 * second}, missing)
		require.Equal(t, 1, spent(t, s, now.Add(6*second), 2, spend("t", 3)), "and so is nobody kept out for longer")
	}},
	{"without a time they fill by the store's own clock", func(t *testing.T, open opener) {
		s := open(t)
		slow := store.BudgetSpend{Table: "t", Cost: time.Hour, Room: 3 * time.Hour, Bound: 3 * time.Hour}
		require.Equal(t, 3, spent(t, s, time.Time{}, 5, slow))
		missing, _ := spends(t, s, time.Time{}, slow)
		require.InDelta(t, 3*time.Hour, missing[0], float64(patience))
		n, err := s.SweepBudgets(t.Context(), time.Time{}, 100)
		require.NoError(t, err)
		require.Zero(t, n)
		quick := store.BudgetSpend{Table: "t", Key: [16]byte{1}, Cost: time.Millisecond, Room: time.Millisecond, Bound: time.Millisecond}
		spends(t, s, time.Time{}, quick)
		require.Eventually(t, func() bool { return spent(t, s, time.Time{}, 1, quick) == 1 }, patience, time.Millisecond)
	}},
	{"an act spends whatever is left, and tells what is missing then", spendsInActs},
	{"a table of what is spent has a name, and a key stands once", func(t *testing.T, open opener) {
		s := open(t)
		for _, name := range []string{"", "a\x00b", string(make([]byte, 65))} {
			_, _, err := s.SpendBudgets(t.Context(), now, []store.BudgetSpend{spend(name, 1)})
			require.Error(t, err)
			require.Error(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.SpendBudgets(now, []store.BudgetSpend{spend(name, 1)}, nil) }))
		}
		_, _, err := s.SpendBudgets(t.Context(), now, []store.BudgetSpend{spend("t", 1), spend("t", 1)})
		require.Error(t, err)
		require.Empty(t, budgets(t, s, now, 10))
		missing, ok := spends(t, s, now)
		require.True(t, ok)
		require.Empty(t, missing)
	}},
	{"a sweep leaves those that are over last, and no more than so many", func(t *testing.T, open opener) {
		s := open(t)
		a, b, c := budget("b", 1, time.Minute), budget("a", 2, time.Hour), budget("c", 3, 2*time.Hour)
		putBudgets(t, s, budget("a", 1, 0), a, b, c, budget("c", 4, -time.Hour))
		sweep := func(keep int) int {
			n, err := s.SweepBudgets(t.Context(), now, keep)
			require.NoError(t, err)
			return n
		}
		require.Equal(t, 2, sweep(3))
		require.Zero(t, sweep(3))
		require.Equal(t, 1, sweep(2))
		require.Equal(t, []*store.Budget{b, c}, budgets(t, s, now, 9))
		require.Equal(t, 2, sweep(0))
		require.NoError(t, s.Close())
		_, err := s.SweepBudgets(t.Context(), now, 1)
		require.Error(t, err)
		_, _, err = s.SpendBudgets(t.Context(), now, []store.BudgetSpend{spend("t", 1)})
		require.Error(t, err)
	}},
	{"of a crowd as many get through as there is room for", func(t *testing.T, open opener) { crowdSpends(t, open(t), nil) }},
}

func spendsInActs(t *testing.T, open opener) {
	s := open(t)
	of := []store.BudgetSpend{spend("t", 1), spend("t", 2)}
	spent(t, s, now, 9, of[0])
	var told, seen []time.Duration
	act := func(after error) error {
		return s.Update(t.Context(), func(tx store.Tx) error {
			told, seen = nil, nil
			if err := tx.LookAtBudgets(now, of, func(missing []time.Duration) { seen = missing }); err != nil {
				return err
			}
			if _, err := tx.Value("v"); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if err := tx.SpendBudgets(now, of, func(missing []time.Duration) { told = missing }); err != nil {
				return err
			}
			return after
		})
	}
	failed := errors.New("failed")
	require.ErrorIs(t, act(failed), failed)
	missing, _ := spends(t, s, now, store.BudgetSpend{Table: "t", Key: of[1].Key})
	require.Equal(t, []time.Duration{0}, missing, "what failed has spent nothing")
	require.NoError(t, act(nil))
	require.Equal(t, []time.Duration{54 * second, 0}, seen)
	require.Equal(t, []time.Duration{60 * second, 6 * second}, told)
	require.NoError(t, act(nil))
	require.Equal(t, []time.Duration{66 * second, 12 * second}, told, "it has looked")
	view(t, s, func(tx store.Tx) error {
		if err := tx.SpendBudgets(now, of, nil); !errors.Is(err, store.ErrReadOnly) {
			return fmt.Errorf("a view spends: %w", err)
		}
		return nil
	})
	gift := of[1]
	gift.Cost = -6 * second
	update(t, s, func(tx store.Tx) error { return tx.SpendBudgets(now, []store.BudgetSpend{gift}, nil) })
	missing, _ = spends(t, s, now, store.BudgetSpend{Table: "t", Key: gift.Key, Bound: time.Minute})
	require.Equal(t, []time.Duration{6 * second}, missing)
}

// crowdSpends: ten get through, whoever asks, and however many other budgets each asks for too.
func crowdSpends(t *testing.T, a, b store.Store) {
	b = orSame(a, b)
	var through atomic.Int64
	errs := together(crowd, func(i int) error {
		of := []store.BudgetSpend{spend("t", 1), spend("one of ten", byte(i%10)), spend("u", byte(100+i))}
		of[1].Room, of[1].Bound = time.Hour, time.Hour
		if i%3 == 0 {
			slices.Reverse(of)
		}
		_, ok, err := []store.Store{a, b}[i%2].SpendBudgets(t.Context(), now, of)
		if ok {
			through.Add(1)
		}
		return err
	})
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, int64(10), through.Load())
	total := time.Duration(0)
	for _, have := range budgets(t, a, now, 2*crowd) {
		if have.Table == "one of ten" {
			total += have.Whole.Sub(now)
		}
	}
	require.Equal(t, 60*second, total, "who was refused has spent nothing")
}
