// session_test.go: what the memory of live sessions owes to the store's feed.

package session_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// fedStore is a store whose feed the test can break; its acts tell of nothing then.
type fedStore struct {
	store.Store
	tell func(store.Change)
	dead bool
}

func (s *fedStore) Follow(fn func(store.Change)) func() {
	s.tell = fn
	return s.Store.Follow(func(c store.Change) {
		if !s.dead {
			fn(c)
		}
	})
}

func TestMemoryFollowsTheStore(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), time.Minute)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	here, err := file.Realm("default")
	require.NoError(t, err)
	elsewhere, err := file.Realm("default")
	require.NoError(t, err)
	db := &fedStore{Store: here}
	live := session.NewLive(db)

	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", IsActive: true}
	token, hash := session.NewToken()
	put := func(s store.Store, fn func(store.Tx) error) { require.NoError(t, s.Update(t.Context(), fn)) }
	signIn := func() {
		put(here, func(tx store.Tx) error {
			return tx.PutSession(&store.Session{Hash: hash, User: u.ID, Created: now, LastUsed: now, Expires: now.Add(time.Hour)})
		})
	}
	find := func() (*store.User, error) {
		p, err := live.Lookup(t.Context(), token, store.KindSession, now, time.Hour)
		return p.User, err
	}
	put(here, func(tx store.Tx) error { return tx.PutUser(u, nil) })
	signIn()

	t.Run("another handle's revocation", func(t *testing.T) {
		_, err := find()
		require.NoError(t, err)
		put(elsewhere, func(tx store.Tx) error { return tx.DeleteSession(hash) })
		_, err = find()
		require.ErrorIs(t, err, store.ErrNotFound)
		signIn()
	})
	t.Run("another handle's change of the account", func(t *testing.T) {
		_, err := find()
		require.NoError(t, err)
		u.FirstName = "Ada"
		put(elsewhere, func(tx store.Tx) error { return tx.PutUser(u, nil) })
		got, err := find()
		require.NoError(t, err)
		require.Equal(t, "Ada", got.FirstName)
	})
	t.Run("a broken feed", func(t *testing.T) {
		db.dead = true
		db.tell(store.Change{Lost: true})
		_, err := find()
		require.NoError(t, err)
		put(elsewhere, func(tx store.Tx) error { return tx.DeleteSession(hash) })
		_, err = find()
		require.ErrorIs(t, err, store.ErrNotFound, "nothing is remembered")
		signIn()
		db.dead = false
		db.tell(store.Change{})
		first, err := find()
		require.NoError(t, err)
		again, err := find()
		require.NoError(t, err)
		require.Same(t, first, again, "remembered again")
	})
	t.Run("a change that was lost", func(t *testing.T) {
		_, err := find()
		require.NoError(t, err)
		db.dead = true
		put(elsewhere, func(tx store.Tx) error { return tx.DeleteSession(hash) })
		_, err = find()
		require.NoError(t, err, "the test itself: nobody told")
		db.dead = false
		db.tell(store.Change{Lost: true})
		_, err = find()
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}
