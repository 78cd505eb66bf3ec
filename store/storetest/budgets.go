// budgets.go: the promises about the budgets of throttles.

package storetest

import (
	"cmp"
	"slices"
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
