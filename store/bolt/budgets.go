// budgets.go: the budgets of the throttles in the embedded store. An earlier
// version ignores their bucket.

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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
	if b.Table == "" || len(b.Table) > maxBudgetTable || strings.Contains(b.Table, "\x00") {
		return errors.New("a budget needs the name of a table, of at most 64 bytes")
	}
	value := binary.BigEndian.AppendUint64([]byte{budgetFormat}, uint64(b.Whole.UnixMilli()))
	return t.bucket(bucketBudgets).Put(append([]byte(b.Table+"\x00"), b.Key[:]...), value)
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
