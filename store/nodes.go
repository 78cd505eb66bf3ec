// nodes.go: what a store owes to several workers and nodes on the same accounts:
// leases, and the feed of changes.

package store

import (
	"time"

	"github.com/google/uuid"
)

// A Claim is a worker's wish for messages of the queue.
type Claim struct {
	// Worker is the worker's own, and no other's on any node.
	Worker uuid.UUID
	// Now is the time by which messages are due and leases run out. Clocks of
	// nodes may be apart by less than half a lease.
	Now time.Time
	// Keep are rows of the worker's earlier claims that stay leased to it beside those
	// that it gets, and are not returned again.
	Keep []uint64
	// Lease is how long nobody else may claim them, at most MaxLease.
	Lease time.Duration
	// Limit is how many messages are wanted.
	Limit int
}

// MaxLease is beyond what any message is leased for.
const MaxLease = 10 * time.Minute

// A Change is what an act has changed of what a cache may remember.
type Change struct {
	// Users are accounts whose record was written or deleted.
	Users []uuid.UUID
	// Sessions are sessions and tokens that were deleted (with their account too),
	// or whose record was written with more than another LastUsed. New ones are
	// not among them: nobody can have remembered one.
	Sessions []TokenHash
	// Lost says that changes may have been missed: all that is remembered counts
	// for nothing, and until a change comes without it nothing may be remembered.
	Lost bool
	// Doubt says that what others change has not been heard for a while, though none of it
	// is lost yet: until a change comes without it the store is asked for each session, and
	// what is remembered counts where it can't be reached.
	Doubt bool
}

// Empty reports whether the change says nothing.
func (c *Change) Empty() bool { return len(c.Users)+len(c.Sessions) == 0 && !c.Lost && !c.Doubt }
