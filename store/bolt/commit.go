// commit.go: group commit. Acts that wait for the disk at the same time
// share one transaction and one fsync.

package bolt

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// maxGroup bounds the acts in one transaction, so that one commit stays short.
const maxGroup = 256

// errGone marks an act whose goroutine unwinds (a panic, runtime.Goexit).
var errGone = errors.New("the act's function did not return")

// A committer runs write acts. The first caller leads: it opens the
// transaction, runs its own function, lets every caller that waits by then run
// theirs in the same transaction, and commits for all. While it waits for the
// disk, the next group gathers.
//
// bbolt's own DB.Batch was measured against it (BenchmarkCommit): Batch makes a
// lone writer wait for MaxBatchDelay, and by that timer it cuts small groups
// while the disk is busy. Batch also runs functions on its own goroutine, where a
// runtime.Goexit would leave every caller of the batch waiting for ever and a
// panic in the commit would end the process. Here, each function runs on the
// goroutine of its caller.
type committer struct {
	db     *bolt.DB
	health *Health
	// fewest is how many free pages there were at least after the commits since it
	// was last looked at.
	fewest atomic.Int64

	mu      sync.Mutex
	busy    bool   // somebody leads
	waiting []*act // in order of arrival
}

// An act is one call of committer.do.
type act struct {
	fn func(*bolt.Tx, *undo) error
	// undo has what fn has written in the running transaction, and refused the
	// error that it returned there, after which that was taken back.
	undo    undo
	refused error
	// alone says that fn failed inside of a group. It is run again as a leader,
	// because what it stumbled over may have been rolled back since.
	alone bool
	turn  chan turn  // leader to follower
	ran   chan error // follower to leader
}

// A turn tells a follower what to do: run in tx, lead, or return err, which is
// its own function's if fromFn.
type turn struct {
	tx     *bolt.Tx
	lead   bool
	fromFn bool
	err    error
}

// do runs fn in a write transaction and commits it. fromFn says that the error
// is fn's own. What fn writes past its undo makes it the end of the transaction
// for all that share it if fn fails.
func (c *committer) do(fn func(*bolt.Tx, *undo) error) (fromFn bool, err error) {
	a := &act{fn: fn, turn: make(chan turn, 1), ran: make(chan error, 1)}
	c.mu.Lock()
	if !c.busy {
		c.busy = true
		c.mu.Unlock()
		return c.lead(a)
	}
	c.waiting = append(c.waiting, a)
	c.mu.Unlock()
	for {
		switch t := <-a.turn; {
		case t.tx != nil:
			a.follow(c.health, t.tx)
		case t.lead:
			return c.lead(a)
		default:
			return t.fromFn, t.err
		}
	}
}

func (a *act) run(tx *bolt.Tx) error {
	a.undo, a.refused = undo{}, nil
	return a.fn(tx, &a.undo)
}

// refuse takes back what the act has written before it failed with err. false: it
// can't be, so the transaction has to be rolled back.
func (a *act) refuse(err error) bool {
	if errors.Is(err, ErrDamaged) || a.undo.back() != nil {
		return false
	}
	a.refused = err
	return true
}

// follow runs fn for the leader, who is told even if fn panics.
func (a *act) follow(health *Health, tx *bolt.Tx) {
	err := errGone
	defer func() { a.ran <- err }()
	err = health.part(func() error { return a.run(tx) })
}

// errAllRefused rolls back a transaction that nobody has written in.
var errAllRefused = errors.New("all acts were refused")

// lead runs a and those who wait. One that fails leaves the transaction as it was;
// where that can't be, the group gets shorter, so the loop ends.
func (c *committer) lead(a *act) (fromFn bool, err error) {
	group := []*act{a}
	// Followers that have no result yet, after an error or panic of a, are
	// first in the next group.
	defer func() { c.handOver(group[1:]) }()
	for {
		failed := -1
		err := c.update(func(tx *bolt.Tx) error {
			failed = 0
			own := a.run(tx)
			if len(group) == 1 {
				group = c.gather(group)
			}
			if own != nil && (len(group) == 1 || !a.refuse(own)) {
				return own
			}
			written := own == nil
			for i, m := range group[1:] {
				failed = i + 1
				m.turn <- turn{tx: tx}
				err := <-m.ran
				if err != nil && !m.refuse(err) {
					return err
				}
				written = written || err == nil
			}
			failed = -1
			if !written {
				return errAllRefused
			}
			return nil
		})
		switch {
		case failed == 0:
			return !errors.Is(err, ErrDamaged), err
		case failed > 0:
			// Those behind the failed one have not run yet; they wait for the
			// next group, for another failure would repeat everything again.
			rest := group[failed:]
			if errors.Is(err, errGone) {
				rest = rest[1:]
			} else {
				rest[0].alone = true
			}
			c.putBack(rest)
			group = slices.Clip(group[:failed])
		default:
			c.answer(group[1:], err)
			group = group[:1]
			if a.refused != nil { // by what was in the store before
				return true, a.refused
			}
			return false, err
		}
	}
}

// answer tells the followers of a transaction how it ended. What has refused an act
// may have been another's write, so a refusal holds only if that was committed.
func (c *committer) answer(followers []*act, err error) {
	rolledBack := err != nil && !errors.Is(err, errAllRefused)
	var again []*act
	for _, m := range followers {
		switch {
		case errors.Is(m.refused, errGone): // nobody waits for it
		case m.refused == nil:
			m.turn <- turn{err: err}
		case rolledBack:
			m.alone = true
			again = append(again, m)
		default:
			m.turn <- turn{fromFn: true, err: m.refused}
		}
	}
	c.putBack(again)
}

// update is a write transaction, refused where the file can't be trusted.
func (c *committer) update(fn func(*bolt.Tx) error) error {
	err := c.health.write(func() error { return c.db.Update(fn) })
	if err == nil {
		// Only who leads is here, and what is lost to a look meanwhile comes with the
		// next commit.
		if free := int64(c.db.Stats().FreePageN); free < c.fewest.Load() {
			c.fewest.Store(free)
		}
	}
	return err
}

// gather appends those who wait and may share a transaction.
func (c *committer) gather(group []*act) []*act {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(a *act) bool {
		if a.alone || len(group) >= maxGroup {
			return false
		}
		group = append(group, a)
		return true
	})
	return group
}

// putBack lines acts up again before all others.
func (c *committer) putBack(acts []*act) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(slices.Clone(acts), c.waiting...)
}

// handOver ends a lead: the next in the line leads, if there is one.
func (c *committer) handOver(unsettled []*act) {
	c.putBack(unsettled)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.busy = false
		return
	}
	next := c.waiting[0]
	c.waiting = slices.Delete(c.waiting, 0, 1)
	next.turn <- turn{lead: true}
}
