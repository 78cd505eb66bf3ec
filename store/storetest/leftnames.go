// leftnames.go: the promises about the names that accounts have left.

package storetest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func nameHash(b byte) store.NameHash { return store.NameHash{b, 0, 255} }

func leave(t *testing.T, s store.Store, b byte, left store.LeftName) {
	t.Helper()
	update(t, s, func(tx store.Tx) error { return tx.PutLeftName(nameHash(b), left) })
}

func leftName(t *testing.T, s store.Store, b byte) (left store.LeftName, err error) {
	t.Helper()
	view(t, s, func(tx store.Tx) error { left, err = tx.LeftName(nameHash(b)); return nil })
	return left, err
}

func forgetNames(t *testing.T, s store.Store, at time.Time, limit int) (n int) {
	t.Helper()
	update(t, s, func(tx store.Tx) (err error) { n, err = tx.DeleteLeftNames(at, limit); return err })
	return n
}

var leftNamePromises = []promise{
	{"a left name is read back, over or not, and replaced", func(t *testing.T, open opener) {
		s := open(t)
		_, err := leftName(t, s, 1)
		require.ErrorIs(t, err, store.ErrNotFound)
		first := store.LeftName{User: uuid.Must(uuid.NewV7()), Until: now.Add(-time.Hour)}
		leave(t, s, 1, first)
		got, err := leftName(t, s, 1)
		require.NoError(t, err)
		require.Equal(t, first, got)
		second := store.LeftName{User: uuid.Must(uuid.NewV7()), Until: now.Add(time.Hour)}
		leave(t, s, 1, second)
		got, err = leftName(t, s, 1)
		require.NoError(t, err)
		require.Equal(t, second, got)
		require.Zero(t, forgetNames(t, s, now, 10), "what it said before is over, and gone")
		_, err = leftName(t, s, 2)
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"what is over can be deleted, the longest over first, so many at a time", func(t *testing.T, open opener) {
		s := open(t)
		for i, until := range []time.Duration{0, -time.Hour, time.Second, -60 * 365 * 24 * time.Hour} {
			leave(t, s, byte(i), store.LeftName{User: uuid.Must(uuid.NewV7()), Until: now.Add(until)})
		}
		require.Equal(t, 2, forgetNames(t, s, now, 2))
		for i, want := range []error{nil, store.ErrNotFound, nil, store.ErrNotFound} {
			_, err := leftName(t, s, byte(i))
			if want == nil {
				require.NoError(t, err, i)
				continue
			}
			require.ErrorIs(t, err, want, i)
		}
		require.Equal(t, 1, forgetNames(t, s, now, 2))
		require.Zero(t, forgetNames(t, s, now, 2))
		require.Equal(t, 1, forgetNames(t, s, now.Add(time.Second), 2))
	}},
	{"a left name outlives its account, and a View changes none", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("ada")
		putUsers(t, s, u)
		left := store.LeftName{User: u.ID, Until: now.Add(time.Hour)}
		leave(t, s, 1, left)
		update(t, s, func(tx store.Tx) error { return tx.DeleteUser(u.ID) })
		got, err := leftName(t, s, 1)
		require.NoError(t, err)
		require.Equal(t, left, got)
		view(t, s, func(tx store.Tx) error {
			err = tx.PutLeftName(nameHash(1), left)
			return nil
		})
		require.ErrorIs(t, err, store.ErrReadOnly)
		view(t, s, func(tx store.Tx) error {
			_, err = tx.DeleteLeftNames(now.Add(2*time.Hour), 1)
			return nil
		})
		require.ErrorIs(t, err, store.ErrReadOnly)
	}},
	{"left names are listed in the order of their hashes, a page at a time", func(t *testing.T, open opener) {
		s := open(t)
		for _, b := range []byte{3, 1, 2} {
			leave(t, s, b, store.LeftName{User: uuid.Must(uuid.NewV7()), Until: now.Add(time.Hour)})
		}
		page := func(after store.NameHash, limit int) (hashes []store.NameHash) {
			t.Helper()
			view(t, s, func(tx store.Tx) (err error) { hashes, err = tx.LeftNames(after, limit); return err })
			return hashes
		}
		require.Equal(t, []store.NameHash{nameHash(1), nameHash(2)}, page(store.NameHash{}, 2))
		require.Equal(t, []store.NameHash{nameHash(3)}, page(nameHash(2), 2))
		require.Empty(t, page(nameHash(3), 2))
		require.Equal(t, []store.NameHash{nameHash(2)}, page(store.NameHash{1, 1}, 1), "behind one that is not there")
	}},
}
