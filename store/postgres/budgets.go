//go:build !registration_nopostgres

// budgets.go: the budgets of the throttles, which the nodes spend together.
//
// Spending is no act. It does not lock the realm, so it waits for no act's commit; who asks
// for the same budgets waits for each other, by locks on their names that are taken in one
// order. Nor does it wait for the disk: what the last half second has spent may be lost with
// the server's power. All of it is one round trip, decided by the server and by its clock.

package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// maxBudgetTable bounds the name of a throttle, in bytes.
const maxBudgetTable = 64

// Budgets implements store.Tx.
func (t *tx) Budgets(now time.Time, limit int) (budgets []*store.Budget, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var name, key []byte
			var whole int64
			if err := rows.Scan(&name, &key, &whole); err != nil {
				return err
			}
			b := &store.Budget{Table: string(name), Whole: time.UnixMilli(whole).UTC()}
			if copy(b.Key[:], key) != len(b.Key) {
				return fmt.Errorf("key of a budget: %w", record.ErrDamaged)
			}
			budgets = append(budgets, b)
		}
		return nil
	}, `SELECT name, key, whole FROM ~budgets WHERE realm = $1 AND whole > $2 LIMIT $3`, t.s.realm, now.UnixMilli(), limit)
	return budgets, err
}

// PutBudget implements store.Tx.
func (t *tx) PutBudget(b *store.Budget) error {
	if err := t.writable(); err != nil {
		return err
	}
	if err := namesBudget(b.Table); err != nil {
		return err
	}
	t.exec(`INSERT INTO ~budgets (realm, name, key, whole) VALUES ($1, $2, $3, $4) ON CONFLICT (realm, name, key) DO UPDATE SET whole = excluded.whole`,
		t.s.realm, []byte(b.Table), bytes.Clone(b.Key[:]), b.Whole.UnixMilli())
	return nil
}

// DeleteBudgets implements store.Tx. The second look at whole is for a row that was spent of meanwhile.
func (t *tx) DeleteBudgets(now time.Time, limit int) (int, error) {
	return t.count(`DELETE FROM ~budgets WHERE realm = $1 AND (name, key) IN (
		SELECT name, key FROM ~budgets WHERE realm = $1 AND whole <= $2 LIMIT $3) AND whole <= $2 RETURNING 1`, t.s.realm, now.UnixMilli(), limit)
}

// namesBudget is why a table can't have this name.
func namesBudget(table string) error {
	if table == "" || len(table) > maxBudgetTable || strings.Contains(table, "\x00") {
		return fmt.Errorf("the table of a budget has a name of up to %d bytes without NUL", maxBudgetTable)
	}
	return nil
}

// Shared implements store.Store: other nodes may have the accounts.
func (s *Store) Shared() bool { return true }

// millis is a time for a statement, 0 for the server's own.
func millis(now time.Time) int64 {
	if now.IsZero() {
		return 0
	}
	return now.UnixMilli()
}

// nowOf is the time that a parameter with millis says.
func nowOf(parameter string) string {
	return `CASE WHEN ` + parameter + `::bigint = 0 THEN (extract(epoch FROM statement_timestamp()) * 1000)::bigint ELSE ` + parameter + `::bigint END`
}

// afterSpending is how much is missing once a budget is spent: store.BudgetSpend.After.
const afterSpending = `CASE WHEN cost <= 0 THEN greatest(before + cost, 0) WHEN soft THEN greatest(before, least(before + cost, room)) ELSE before + cost END`

// columns are spends as columns for unnest.
func columns(spends []store.BudgetSpend) []any {
	names, keys, soft := make([][]byte, len(spends)), make([][]byte, len(spends)), make([]bool, len(spends))
	cost, room, bound := make([]int64, len(spends)), make([]int64, len(spends)), make([]int64, len(spends))
	for i := range spends {
		s := &spends[i]
		names[i], keys[i], soft[i] = []byte(s.Table), bytes.Clone(s.Key[:]), s.Soft
		cost[i], room[i], bound[i] = s.Cost.Milliseconds(), s.Room.Milliseconds(), s.Bound.Milliseconds()
	}
	return []any{names, keys, cost, room, bound, soft}
}

// asked are the budgets of columns, $3 to $8, with what is missing from each. Each is looked up by
// itself: a join would be planned while there is nothing in the table, and read all of it later.
var asked = `SELECT n, name, key, cost, room, bound, soft, now, greatest(least(missing, bound), 0) AS before, missing > bound AS beyond FROM (
		SELECT a.*, c.now, coalesce((SELECT b.whole FROM ~budgets b WHERE b.realm = $1 AND b.name = a.name AND b.key = a.key) - c.now, 0) AS missing
		FROM (SELECT ` + nowOf("$2") + ` AS now) c,
			unnest($3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[]) WITH ORDINALITY AS a (name, key, cost, room, bound, soft, n)
	) AS found`

// spendAll spends of all or of none. Where it refuses, a row that says more than can be is put right.
var spendAll = `WITH asked AS MATERIALIZED (` + asked + `),
	verdict AS MATERIALIZED (SELECT bool_and(cost <= 0 OR soft OR before + cost <= room) AS ok FROM asked),
	counted AS MATERIALIZED (SELECT n, name, key, now, beyond, ok, CASE WHEN ok THEN ` + afterSpending + ` ELSE before END AS missing FROM asked, verdict),
	written AS (INSERT INTO ~budgets (realm, name, key, whole) SELECT $1, name, key, now + missing FROM counted WHERE ok OR beyond
		ON CONFLICT (realm, name, key) DO UPDATE SET whole = excluded.whole)
	SELECT missing, ok FROM counted ORDER BY n`

// lockOf is what is locked while a budget is spent; who meets another's waits a little longer.
func (s *Store) lockOf(spend *store.BudgetSpend) int64 {
	h := fnv.New64a()
	var realm [4]byte
	binary.BigEndian.PutUint32(realm[:], uint32(s.realm)) //nolint:gosec // any bits do
	_, _ = fmt.Fprintf(h, "%s\x00%s%s\x00%s", s.db.name, realm[:], spend.Table, spend.Key[:])
	return int64(h.Sum64()) //nolint:gosec // any bits do
}

// SpendBudgets implements store.Store.
func (s *Store) SpendBudgets(ctx context.Context, now time.Time, spends []store.BudgetSpend) (missing []time.Duration, ok bool, err error) {
	if s.closed.Load() {
		return nil, false, errClosed
	}
	locks := make([]int64, len(spends))
	for i := range spends {
		if err := namesBudget(spends[i].Table); err != nil {
			return nil, false, err
		}
		locks[i] = s.lockOf(&spends[i])
	}
	slices.Sort(locks)
	if len(spends) == 0 {
		return nil, true, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for try := 1; ; try++ {
		missing, ok, err = s.spendBudgets(ctx, now, spends, locks)
		refused, said := errors.AsType[*pgconn.PgError](err)
		if again := said && (refused.Code == "40001" || refused.Code == "40P01"); !again || try == tries {
			break
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("the database: %w", err)
	}
	return missing, ok, nil
}

func (s *Store) spendBudgets(ctx context.Context, now time.Time, spends []store.BudgetSpend, locks []int64) (missing []time.Duration, ok bool, err error) {
	conn, err := s.db.pool.Acquire(ctx)
	if err != nil {
		return nil, false, err
	}
	defer conn.Release() // closes it, if it is still within a transaction
	batch := &pgx.Batch{}
	for _, q := range limits {
		batch.Queue(q.text)
	}
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	batch.Queue(`SELECT pg_advisory_xact_lock(l) FROM unnest($1::bigint[]) l`, locks)
	batch.Queue(s.db.sql(spendAll), append([]any{s.realm, millis(now)}, columns(spends)...)...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var ms int64
			if err := rows.Scan(&ms, &ok); err != nil {
				return err
			}
			missing = append(missing, time.Duration(ms)*time.Millisecond)
		}
		return rows.Err()
	})
	batch.Queue(`COMMIT`)
	countTrip(ctx, 1)
	return missing, ok, conn.SendBatch(ctx, batch).Close()
}

// spendOne spends of a budget whatever is left.
var spendOne = `WITH a AS MATERIALIZED (SELECT ` + nowOf("$2") + ` AS now, $5::bigint AS cost, $6::bigint AS room, $7::bigint AS bound, $8::boolean AS soft)
	INSERT INTO ~budgets AS b (realm, name, key, whole) SELECT $1, $3::bytea, $4::bytea, now + ` + afterSpending + ` FROM (SELECT *, 0 AS before FROM a) AS fresh
	ON CONFLICT (realm, name, key) DO UPDATE SET whole = (SELECT now + ` + afterSpending + ` FROM (SELECT *, greatest(least(b.whole - now, bound), 0) AS before FROM a) AS had)
	RETURNING whole - (SELECT now FROM a)`

// SpendBudgets implements store.Tx.
func (t *tx) SpendBudgets(now time.Time, spends []store.BudgetSpend, told func([]time.Duration)) error {
	if err := t.writable(); err != nil {
		return err
	}
	order := make([]int, len(spends))
	for i := range spends {
		if err := namesBudget(spends[i].Table); err != nil {
			return err
		}
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { // as everybody
		return cmp.Or(cmp.Compare(spends[i].Table, spends[j].Table), bytes.Compare(spends[i].Key[:], spends[j].Key[:]))
	})
	missing, open := make([]time.Duration, len(spends)), len(spends)
	for _, i := range order {
		s := &spends[i]
		t.pending = append(t.pending, query{
			text: spendOne,
			args: []any{t.s.realm, millis(now), []byte(s.Table), bytes.Clone(s.Key[:]), s.Cost.Milliseconds(), s.Room.Milliseconds(), s.Bound.Milliseconds(), s.Soft},
			rows: func(rows pgx.Rows) error {
				var ms int64
				if err := one(rows, &ms); err != nil {
					return err
				}
				missing[i] = time.Duration(ms) * time.Millisecond
				if open--; open == 0 && told != nil {
					told(missing)
				}
				return nil
			},
		})
	}
	return nil
}

// LookAtBudgets implements store.Tx.
func (t *tx) LookAtBudgets(now time.Time, of []store.BudgetSpend, told func([]time.Duration)) error {
	if err := t.usable(); err != nil || len(of) == 0 {
		return err
	}
	t.foresee(func(rows pgx.Rows) error {
		var missing []time.Duration
		for rows.Next() {
			var ms int64
			if err := rows.Scan(&ms); err != nil {
				return err
			}
			missing = append(missing, time.Duration(ms)*time.Millisecond)
		}
		if len(missing) == len(of) {
			told(missing)
		}
		return nil
	}, lookAt, append([]any{t.s.realm, millis(now)}, columns(of)...)...)
	return nil
}

var lookAt = `SELECT before FROM (` + asked + `) AS asked ORDER BY n`

// sweptAtOnce bounds what one statement of a sweep removes.
const sweptAtOnce = 10_000

// SweepBudgets implements store.Store. What somebody spends of just now stays, and two nodes
// that sweep at the same time leave each other's rows alone.
func (s *Store) SweepBudgets(ctx context.Context, now time.Time, keep int) (removed int, err error) {
	const these = `WITH these AS MATERIALIZED (SELECT name, key FROM ~budgets WHERE realm = $1 AND whole <= `
	const atOnce = ` ORDER BY whole LIMIT $3 FOR UPDATE SKIP LOCKED)
		DELETE FROM ~budgets b USING these WHERE b.realm = $1 AND b.name = these.name AND b.key = these.key`
	for _, sweep := range []struct {
		text string
		arg  any
	}{
		{these + nowOf("$2") + atOnce, millis(now)},
		{these + `(SELECT whole FROM ~budgets WHERE realm = $1 ORDER BY whole DESC OFFSET $2 LIMIT 1)` + atOnce, keep},
	} {
		for {
			if s.closed.Load() {
				return removed, errClosed
			}
			n, err := s.sweep(ctx, sweep.text, s.realm, sweep.arg, sweptAtOnce)
			if err != nil {
				return removed, fmt.Errorf("the database: %w", err)
			}
			if removed += n; n < sweptAtOnce {
				break
			}
		}
	}
	return removed, nil
}

func (s *Store) sweep(ctx context.Context, text string, args ...any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tag, err := s.db.pool.Exec(ctx, s.db.sql(text), args...)
	return int(tag.RowsAffected()), err
}
