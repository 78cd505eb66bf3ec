// sessions_internal_test.go: what a sweep leaves in the index by account, and what becomes of it.

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

// sessionOf is one that ends an hour after it was made.
func sessionOf(user uuid.UUID, n int, made time.Time) *store.Session {
	var hash store.TokenHash
	binary.BigEndian.PutUint32(hash[:], uint32(n)) //nolint:gosec // a small number
	return &store.Session{Hash: hash, User: user, Created: made, LastUsed: made, Expires: made.Add(time.Hour)}
}

// entries counts those of the index by account: of one, or of all where it is nil.
func entries(t *testing.T, s *Store, user []byte) (n int) {
	t.Helper()
	raw(t, s, bucketUserSessions, func(b *bolt.Bucket) error {
		return b.ForEach(func(k, _ []byte) error {
			if bytes.HasPrefix(k, user) {
				n++
			}
			return nil
		})
	})
	return n
}

func updated(t *testing.T, s *Store, fn func(store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), fn))
}

func sweep(t *testing.T, s *Store, at time.Time, limit int) (n int) {
	t.Helper()
	updated(t, s, func(tx store.Tx) error {
		hashes, err := tx.DeleteExpiredSessions(at, limit)
		n = len(hashes)
		return err
	})
	return n
}

func sessionsOf(t *testing.T, s *Store, user uuid.UUID) (n int) {
	t.Helper()
	updated(t, s, func(tx store.Tx) error {
		all, err := tx.Sessions(user, 1000)
		n = len(all)
		return err
	})
	return n
}

// Whatever a sweep leaves, nobody sees it, and it goes with the account, at its next sign-in or by
// the sweeps to come.
func TestWhatASweepLeaves(t *testing.T) {
	s := testRealm(t)
	const many = 200
	var users []uuid.UUID
	for n := range many {
		u := &store.User{ID: uuid.Must(uuid.NewV7())}
		users = append(users, u.ID)
		updated(t, s, func(tx store.Tx) error {
			if err := tx.PutUser(u, nil); err != nil {
				return err
			}
			// One that ends soon, in another order than that of the accounts, and one that stays.
			if err := tx.PutSession(sessionOf(u.ID, n, testTime.Add(time.Duration(n*37%many)*time.Second))); err != nil {
				return err
			}
			return tx.PutSession(sessionOf(u.ID, many+n, testTime.Add(24*time.Hour)))
		})
	}
	later := testTime.Add(2 * time.Hour)
	require.Equal(t, 10, sweep(t, s, later, 10))
	left := entries(t, s, nil) - (2*many - 10)
	require.Positive(t, left, "a sweep writes to no more pages than it has to")
	require.Equal(t, 1, sessionsOf(t, s, users[0]))

	// By the sweeps: the index is never larger than it has to be by more than a third, and by what one round leaves.
	for sweep(t, s, later, 10) > 0 {
	}
	require.LessOrEqual(t, entries(t, s, nil)-many, many/2)
	for n := range 60 { // the round goes on, whatever ends
		u := users[n%many]
		updated(t, s, func(tx store.Tx) error { return tx.PutSession(sessionOf(u, 3*many+n, testTime)) })
		require.Equal(t, 1, sweep(t, s, later, 10))
	}
	require.LessOrEqual(t, entries(t, s, nil)-many, many/2)
}

func TestWhatIsLeftGoesWithTheNextSignInAndWithTheAccount(t *testing.T) {
	s := testRealm(t)
	ada, bob, cem := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	for _, id := range []uuid.UUID{ada, bob, cem} {
		updated(t, s, func(tx store.Tx) error { return tx.PutUser(&store.User{ID: id}, nil) })
	}
	updated(t, s, func(tx store.Tx) error {
		for n := range 50 {
			if err := tx.PutSession(sessionOf(ada, 1000+n, testTime.Add(24*time.Hour))); err != nil { // fills what a sweep looks at
				return err
			}
		}
		return errors.Join(tx.PutSession(sessionOf(bob, 1, testTime)), tx.PutSession(sessionOf(cem, 2, testTime)))
	})
	later := testTime.Add(2 * time.Hour)
	require.Equal(t, 2, sweep(t, s, later, 10))
	require.Equal(t, 1, entries(t, s, bob[:]))
	require.Zero(t, sessionsOf(t, s, bob))

	updated(t, s, func(tx store.Tx) error { return tx.PutSession(sessionOf(bob, 3, later)) })
	require.Equal(t, 1, entries(t, s, bob[:]), "the new one alone")
	updated(t, s, func(tx store.Tx) error { return tx.DeleteUser(cem) })
	require.Zero(t, entries(t, s, cem[:]))

	// One that is refused after it has tidied up leaves all as it was, and where it goes on.
	err := s.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.DeleteExpiredSessions(testTime.Add(48*time.Hour), 5)
		require.NoError(t, err)
		return store.ErrNotFound
	})
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Equal(t, 51, entries(t, s, nil))
}

// An entry of schema 3 says nothing about its session's end: it goes with that, and one without a
// session is damage.
func TestEntriesOfSchema3(t *testing.T) {
	s := testRealm(t)
	ada := uuid.Must(uuid.NewV7())
	old := sessionOf(ada, 1, testTime)
	updated(t, s, func(tx store.Tx) error { return errors.Join(tx.PutUser(&store.User{ID: ada}, nil), tx.PutSession(old)) })
	raw(t, s, bucketUserSessions, func(b *bolt.Bucket) error { return b.Put(userSessionKey(ada, old.Hash), nil) })
	raw(t, s, bucketSessionExpiry, func(b *bolt.Bucket) error { return b.Put(sessionExpiryKey(old), nil) })
	require.Equal(t, 1, sessionsOf(t, s, ada))
	require.Equal(t, 1, sweep(t, s, testTime.Add(2*time.Hour), 10))
	require.Zero(t, entries(t, s, nil))
}
