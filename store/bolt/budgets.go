// budgets.go: the budgets of the throttles in the embedded store. An earlier
// version ignores their bucket. One process counts in memory, and what it spends here
// are whole acts; only nodes that share a store go by SpendBudgets.

package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// maxBudgetTable bounds the name of a throttle's table, in bytes.
const maxBudgetTable = 64

// Budgets implements Tx.
func (t *boltTx) Budgets(now time.Time, limit int) ([]*store.Budget, error) {
	var budgets []*store.Budget
	c := t.bucket(bucketBudgets).Cursor()
	for k, v := c.First(); k != nil && len(budgets) < limit; k, v = c.Next() {
		b, err := decodeBudget(k, v)
		if err != nil {
			return nil, err
		}
		if b.Whole.After(now) {
			budgets = append(budgets, b)
		}
	}
	return budgets, nil
}

// PutBudget implements Tx.
func (t *boltTx) PutBudget(b *store.Budget) error {
	if err := t.writable(); err != nil {
		return err
	}
	if err := namesBudget(b.Table); err != nil {
		return err
	}
	value := binary.BigEndian.AppendUint64([]byte{budgetFormat}, uint64(b.Whole.UnixMilli()))
	return t.bucket(bucketBudgets).Put(append([]byte(b.Table+"\x00"), b.Key[:]...), value)
}

// namesBudget is why a table can't have this name.
func namesBudget(table string) error {
	if table == "" || len(table) > maxBudgetTable || strings.Contains(table, "\x00") {
		return errors.New("a budget needs the name of a table, of at most 64 bytes")
	}
	return nil
}

// DeleteBudgets implements Tx. There are some ten thousand at most, so it reads
// them all rather than have an index to write.
func (t *boltTx) DeleteBudgets(now time.Time, limit int) (int, error) {
	if err := t.writable(); err != nil {
		return 0, err
	}
	var over [][]byte // deleting moves a cursor
	c := t.bucket(bucketBudgets).Cursor()
	for k, v := c.First(); k != nil && len(over) < limit; k, v = c.Next() {
		b, err := decodeBudget(k, v)
		if err != nil {
			return 0, err
		}
		if !b.Whole.After(now) {
			over = append(over, bytes.Clone(k))
		}
	}
	for _, k := range over {
		if err := t.bucket(bucketBudgets).Delete(k); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}

func decodeBudget(k, v []byte) (*store.Budget, error) {
	body, err := record.Body("budget", budgetFormat, v)
	if err != nil {
		return nil, err
	}
	table, key, ok := bytes.Cut(k, []byte{0})
	if !ok || len(key) != 16 || len(body) != 8 {
		return nil, fmt.Errorf("budget record: %w", ErrDamaged)
	}
	ms := int64(binary.BigEndian.Uint64(body)) //nolint:gosec // written as signed
	return &store.Budget{Table: string(table), Key: [16]byte(key), Whole: time.UnixMilli(ms).UTC()}, nil
}

// Shared implements store.Store: one process has the file.
func (s *Store) Shared() bool { return false }

// clock is the time by which budgets fill.
func clock(now time.Time) time.Time {
	if now.IsZero() {
		return time.Now()
	}
	return now
}

// SpendBudgets implements store.Store.
func (s *Store) SpendBudgets(ctx context.Context, now time.Time, spends []store.BudgetSpend) (missing []time.Duration, ok bool, err error) {
	now = clock(now)
	err = s.Update(ctx, func(tx store.Tx) error {
		t := tx.(*boltTx)
		if missing, err = t.missing(now, spends); err != nil {
			return err
		}
		after := make([]time.Duration, len(spends))
		ok = true
		for i, spend := range spends {
			if slices.ContainsFunc(spends[:i], func(s store.BudgetSpend) bool { return s.Table == spend.Table && s.Key == spend.Key }) {
				return errors.New("a budget is named twice")
			}
			enough := false
			after[i], enough = spend.After(missing[i])
			ok = ok && enough
		}
		if ok {
			missing = after
		}
		return t.putMissing(now, spends, missing)
	})
	return missing, ok, err
}

// missing is what is missing from budgets, as far as it counts.
func (t *boltTx) missing(now time.Time, of []store.BudgetSpend) ([]time.Duration, error) {
	missing := make([]time.Duration, len(of))
	for i, spend := range of {
		k := append([]byte(spend.Table+"\x00"), spend.Key[:]...)
		v := t.bucket(bucketBudgets).Get(k)
		if v == nil {
			continue
		}
		b, err := decodeBudget(k, v)
		if err != nil {
			return nil, err
		}
		missing[i] = spend.Before(b.Whole.Sub(now))
	}
	return missing, nil
}

func (t *boltTx) putMissing(now time.Time, of []store.BudgetSpend, missing []time.Duration) error {
	for i, spend := range of {
		if missing[i] == 0 && t.bucket(bucketBudgets).Get(append([]byte(spend.Table+"\x00"), spend.Key[:]...)) == nil && namesBudget(spend.Table) == nil {
			continue
		}
		if err := t.PutBudget(&store.Budget{Table: spend.Table, Key: spend.Key, Whole: now.Add(missing[i])}); err != nil {
			return err
		}
	}
	return nil
}

// SpendBudgets implements store.Tx.
func (t *boltTx) SpendBudgets(now time.Time, spends []store.BudgetSpend, told func([]time.Duration)) error {
	now = clock(now)
	if err := t.writable(); err != nil {
		return err
	}
	missing, err := t.missing(now, spends)
	if err != nil {
		return err
	}
	for i := range missing {
		missing[i], _ = spends[i].After(missing[i])
	}
	if err := t.putMissing(now, spends, missing); err != nil || told == nil {
		return err
	}
	told(missing)
	return nil
}

// LookAtBudgets implements store.Tx.
func (t *boltTx) LookAtBudgets(now time.Time, of []store.BudgetSpend, told func([]time.Duration)) error {
	missing, err := t.missing(clock(now), of)
	if err == nil {
		told(missing)
	}
	return err
}

// SweepBudgets implements store.Store.
func (s *Store) SweepBudgets(ctx context.Context, now time.Time, keep int) (removed int, err error) {
	now = clock(now)
	err = s.Update(ctx, func(tx store.Tx) error {
		if removed, err = tx.DeleteBudgets(now, math.MaxInt); err != nil {
			return err
		}
		list, err := tx.Budgets(now, math.MaxInt)
		if err != nil || len(list) <= keep {
			return err
		}
		slices.SortFunc(list, func(a, b *store.Budget) int { return a.Whole.Compare(b.Whole) })
		for _, b := range list[:len(list)-keep] {
			if err := tx.(*boltTx).bucket(bucketBudgets).Delete(append([]byte(b.Table+"\x00"), b.Key[:]...)); err != nil {
				return err
			}
			removed++
		}
		return nil
	})
	return removed, err
}
