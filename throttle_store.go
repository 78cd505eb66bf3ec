// throttle_store.go: the budgets in the realm's store.

package registration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/store"
)

// budgetStore is a Store as the budgets see it.
type budgetStore struct{ store store.Store }

// Rows implements budget.Store.
func (s budgetStore) Rows(ctx context.Context, now time.Time, limit int) ([]budget.Row, error) {
	var rows []budget.Row
	err := s.store.View(ctx, func(tx store.Tx) error {
		list, err := tx.Budgets(now, limit)
		rows = make([]budget.Row, len(list))
		for i, b := range list {
			rows[i] = budget.Row{Table: b.Table, Key: b.Key, Whole: b.Whole}
		}
		return err
	})
	return rows, err
}

// Save implements budget.Store.
func (s budgetStore) Save(ctx context.Context, rows []budget.Row) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		for _, row := range rows {
			if err := tx.PutBudget(&store.Budget{Table: row.Table, Key: row.Key, Whole: row.Whole}); err != nil {
				return err
			}
		}
		return nil
	})
}

// throttlesValue is the name among the store's values under which an earlier
// version kept all budgets together; noThrottles is such a list with nothing in it.
const throttlesValue = "throttles"

var noThrottles = []byte{1}

// loadThrottles reads the budgets of the store. Those of an earlier version are
// taken over once.
func loadThrottles(ctx context.Context, ledger *budget.Ledger, db store.Store) error {
	var old []byte
	err := ledger.Load(ctx, budgetStore{db})
	if err == nil {
		err = db.View(ctx, func(tx store.Tx) (err error) { old, err = tx.Value(throttlesValue); return err })
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && len(old) == len(noThrottles) {
		return nil
	}
	if err == nil {
		err = ledger.Inherit(old)
		emptied := db.Update(ctx, func(tx store.Tx) error { return tx.PutValue(throttlesValue, noThrottles) })
		err = errors.Join(err, emptied)
	}
	if err != nil {
		return fmt.Errorf("the budgets of the throttles: %w", err)
	}
	return nil
}

// sweepThrottles forgets the budgets that are over, in memory and in the store.
func sweepThrottles(ctx context.Context, ledger *budget.Ledger, db store.Store, now time.Time) error {
	const chunk = 1000
	ledger.Sweep()
	for {
		n := 0
		err := db.Update(ctx, func(tx store.Tx) (err error) { n, err = tx.DeleteBudgets(now, chunk); return err })
		if err != nil || n < chunk {
			return err
		}
	}
}
