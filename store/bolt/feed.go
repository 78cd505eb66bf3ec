// feed.go: what the stores of one realm share besides the file: who follows its
// changes, and which mails are leased. One process at a time has the file open,
// so both live in its memory.

package bolt

import (
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// shared is what all stores of one realm of a File have in common.
type shared struct {
	leases leases

	mu        sync.RWMutex
	followers []*follower
}

type follower struct{ fn func(store.Change) }

// tell hands a change to all who follow. It runs on the goroutine of the act,
// between its commit and its answer.
func (s *shared) tell(change *store.Change) {
	if change.Empty() {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.followers {
		f.fn(*change)
	}
}

// Follow implements store.Store.
func (s *Store) Follow(fn func(store.Change)) (stop func()) {
	f := &follower{fn}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	s.shared.followers = append(s.shared.followers, f)
	return func() {
		s.shared.mu.Lock()
		defer s.shared.mu.Unlock()
		s.shared.followers = slices.DeleteFunc(s.shared.followers, func(have *follower) bool { return have == f })
	}
}

// changed notes that an account's record was written or deleted.
func (t *boltTx) changed(user uuid.UUID) {
	if t.done != nil {
		t.done.change.Users = append(t.done.change.Users, user)
	}
}

// revoked notes that a session's record was deleted or written with more than
// another last use.
func (t *boltTx) revoked(hash store.TokenHash) {
	if t.done != nil {
		t.done.change.Sessions = append(t.done.change.Sessions, hash)
	}
}
