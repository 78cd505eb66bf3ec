// session_test.go: what the memory of live sessions owes to the store's feed.

package session_test

import (
	"bytes"
	"context"
	"errors"
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
	tell  func(store.Change)
	dead  bool
	gone  bool // it can't be reached
	asked int  // how often it was asked meanwhile
}

var errGone = errors.New("the store is gone")

func (s *fedStore) View(ctx context.Context, fn func(store.Tx) error) error {
	if s.gone {
		s.asked++
		return errGone
	}
	return s.Store.View(ctx, fn)
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
	t.Run("a feed that has not been heard for a while", func(t *testing.T) {
		signIn()
		_, err := find()
		require.NoError(t, err)
		db.dead = true
		db.tell(store.Change{Doubt: true})
		first, err := find()
		require.NoError(t, err)
		again, err := find()
		require.NoError(t, err)
		require.Same(t, first, again, "it was asked for and is the same")
		u.Groups = []string{"editors"}
		put(elsewhere, func(tx store.Tx) error { return tx.PutUser(u, nil) })
		got, err := find()
		require.NoError(t, err)
		require.Equal(t, u.Groups, got.Groups)
		db.gone = true
		for range 3 {
			got, err = find()
			require.NoError(t, err, "what is known counts while the store can't be reached")
			require.Equal(t, u.Groups, got.Groups)
		}
		require.Equal(t, 1, db.asked, "one waits for it, the others don't")
		put(elsewhere, func(tx store.Tx) error { return tx.DeleteSession(hash) })
		db.gone = false
		require.Eventually(t, func() bool { _, err := find(); return errors.Is(err, store.ErrNotFound) }, time.Minute, time.Millisecond, "it can be reached again")
		db.dead, db.gone = false, true
		_, err = find()
		require.ErrorIs(t, err, errGone, "it is not known any more")
		db.gone = false
		db.tell(store.Change{})
	})
}

// Tokens that are made one after the other are neighbours in a file; where other nodes may be of
// an older version, they are as ever. Both are good, and nothing that is nearly one is.
func TestTokensOfAFileAreInTheOrderOfTime(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "accounts.db"), time.Second)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	db, err := file.Realm("default")
	require.NoError(t, err)
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	live := session.NewLive(db)
	var before store.TokenHash
	for n := range 50 {
		token, hash := live.NewToken(now.Add(time.Duration(n) * time.Second))
		require.Positive(t, bytes.Compare(hash[:], before[:]))
		again, ok := session.HashToken(token)
		require.True(t, ok)
		require.Equal(t, hash, again)
		for _, wrong := range []string{token[:47], token + "A", "!" + token[1:], token[:43]} {
			other, ok := session.HashToken(wrong)
			require.False(t, ok && other == hash)
		}
		for at := range token { // each character counts
			changed := []byte(token)
			changed[at]++
			other, ok := session.HashToken(string(changed))
			require.False(t, ok && other == hash, at)
		}
		before = hash
	}
	_, one := live.NewToken(now)
	_, two := live.NewToken(now)
	require.NotEqual(t, one, two)

	shared := session.NewLive(sharedStore{db})
	token, _ := shared.NewToken(now)
	require.Len(t, token, session.TokenLength)
}

// sharedStore is one that other nodes have, too.
type sharedStore struct{ store.Store }

func (sharedStore) Shared() bool { return true }
