// budgets.go: how often something may happen, counted by a process for itself or by all
// nodes together.

package store

import "time"

// A Budget says how much of the budget of a throttle is spent, for one account,
// recipient, device or network. Each is a row of its own, so that who writes one leaves
// the others as they are. Lost ones are no harm but a few tries more.
type Budget struct {
	// Table names the throttle and what it counts; at most 64 bytes, no NUL.
	Table string
	// Key is a hash of what is counted.
	Key [16]byte
	// Whole is when nothing will be missing from it, with a resolution of one
	// millisecond. It is over when Whole is not after now.
	Whole time.Time
}

// A BudgetSpend is one event that a budget is spent on. What is missing from a budget is a
// time: the one until it is whole again. All of them are in whole milliseconds; a store
// cuts off the rest.
type BudgetSpend struct {
	// Table and Key name the budget, as in Budget.
	Table string
	Key   [16]byte
	// Cost is how much more is missing afterwards. Less than nothing: it gives back.
	Cost time.Duration
	// Room is how much may be missing afterwards.
	Room time.Duration
	// Bound is how much can be missing before: what a row has beyond is of another limit,
	// or of a clock that was wrong, and counts for nothing.
	Bound time.Duration
	// Soft: it refuses nobody, and is spent as far as Room goes.
	Soft bool
}

// After is how much is missing once it is spent, where so much was before; ok: there was
// enough left.
func (s *BudgetSpend) After(before time.Duration) (after time.Duration, ok bool) {
	before = s.Before(before)
	switch after = before + s.Cost; {
	case s.Cost <= 0:
		return max(0, after), true
	case s.Soft:
		return max(before, min(after, s.Room)), true
	}
	return after, after <= s.Room
}

// Before is what counts of what a row says to be missing.
func (s *BudgetSpend) Before(missing time.Duration) time.Duration {
	return max(0, min(missing, s.Bound))
}
