// throttle_store.go: the budgets of accounts, recipients and devices as they
// are kept over a restart.

package registration

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// throttlesValue is the name of the budgets among the store's values: a format
// byte, then rows of key, moment at which the budget was empty (Unix
// nanoseconds), time that one event takes to come back (nanoseconds), size.
const (
	throttlesValue  = "throttles"
	throttlesFormat = 1
	throttleRow     = 16 + 8 + 8 + 4
)

// snapshot returns the lasting budgets that are not whole.
func (t *throttles) snapshot(now time.Time) []byte {
	out := []byte{throttlesFormat}
	for key, b := range t.own {
		tokens := b.TokensAt(now)
		if !key.lasting() || tokens >= float64(b.Burst()) || b.Limit() <= 0 {
			continue
		}
		every := float64(time.Second) / float64(b.Limit())
		out = append(out, key[:]...)
		out = binary.BigEndian.AppendUint64(out, uint64(now.UnixNano()-int64(tokens*every))) //nolint:gosec // read back as signed
		out = binary.BigEndian.AppendUint64(out, uint64(every))
		out = binary.BigEndian.AppendUint32(out, uint32(b.Burst())) //nolint:gosec // at most a million
	}
	return out
}

// restore adds the budgets of a snapshot. What can't be read is an error, and
// no budget of it counts.
func (t *throttles) restore(raw []byte, now time.Time) error {
	if len(raw) == 0 || raw[0] != throttlesFormat || (len(raw)-1)%throttleRow != 0 {
		return errors.New("not a list of budgets")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for rows := raw[1:]; len(rows) > 0 && len(t.own) < t.max; rows = rows[throttleRow:] {
		key := throttleKey(rows[:16])
		empty := time.Unix(0, int64(binary.BigEndian.Uint64(rows[16:]))) //nolint:gosec // written as signed
		every, burst := binary.BigEndian.Uint64(rows[24:]), binary.BigEndian.Uint32(rows[32:])
		// A clock that was set back must not keep anybody out for longer than
		// an empty budget would.
		if empty.After(now) {
			empty = now
		}
		if _, have := t.own[key]; have || every == 0 || every > uint64(7*day) || burst == 0 || burst > 1_000_000 {
			continue
		}
		b := &budget{Limiter: rate.NewLimiter(rate.Every(time.Duration(every)), int(burst))}
		b.AllowN(empty, int(burst))
		t.own[key] = b
	}
	return nil
}

// flush writes the lasting budgets if one was spent since the last time.
func (t *throttles) flush(ctx context.Context, store Store, now time.Time) error {
	t.mu.Lock()
	changed := t.changed
	t.changed = false
	var raw []byte
	if changed {
		raw = t.snapshot(now)
	}
	t.mu.Unlock()
	if !changed {
		return nil
	}
	err := store.Update(ctx, func(tx Tx) error { return tx.PutValue(throttlesValue, raw) })
	if err != nil {
		t.mu.Lock()
		t.changed = true
		t.mu.Unlock()
	}
	return err
}

// load reads what flush has written.
func (t *throttles) load(ctx context.Context, store Store, now time.Time) error {
	var raw []byte
	err := store.View(ctx, func(tx Tx) (err error) { raw, err = tx.Value(throttlesValue); return err })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		err = t.restore(raw, now)
	}
	if err != nil {
		return fmt.Errorf("the budgets of the throttles: %w", err)
	}
	return nil
}
