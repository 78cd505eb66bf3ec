// waiting_test.go: a store of the schema before accounts waited, and damage
// to the indexes of those who do.

package bolt

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/store"
)

// schema1 unpacks a store that was written before schema 2 came: in the realm
// default fay (from when addresses were not verified), ada and carl (confirmed,
// carl disabled), bob and gus (waiting, gus's mail in the outbox), dora (disabled
// while she waited) and eve, who signed up with ada's address; in the realm
// other, where people sign in by their address alone, another bob (waiting).
func schema1(t *testing.T) string {
	t.Helper()
	return unpacked(t, "schema1.db.gz")
}

func TestStoreOfSchema1IsMigrated(t *testing.T) {
	path := schema1(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	for round := range 2 { // and opens again afterwards
		file, err := Open(path, testLockWait)
		require.NoError(t, err)
		kept, err := os.ReadFile(path + ".schema-1")
		require.NoError(t, err)
		require.Equal(t, before, kept, "the way back")
		told := strings.Join(file.Warnings(), " ")
		require.Equal(t, round == 0, strings.Contains(told, "as "+path+".schema-1"), told)
		require.Equal(t, uint64(boltSchema), schemaNumber(t, file.Db))
		db, err := file.Realm("default")
		require.NoError(t, err)
		require.NoError(t, db.View(t.Context(), func(tx store.Tx) error {
			state := map[string][2]bool{}
			users, err := tx.Users(uuid.Nil, 100)
			require.NoError(t, err)
			for _, u := range users {
				_, err := tx.UserByKey(field.Username, u.Username)
				require.NoError(t, err)
				holder, err := tx.UserByKey(field.Email, u.Username+"@example.org")
				state[u.Username] = [2]bool{u.AwaitsVerification, err == nil && holder.ID == u.ID}
				waits, err := tx.Waiting(u.Username+"@example.org", 10)
				require.NoError(t, err)
				if u.AwaitsVerification && u.Email != "" {
					require.Len(t, waits, 1, u.Username)
					require.Equal(t, u, waits[0])
				} else {
					require.Empty(t, waits, u.Username)
				}
				require.Equal(t, u.AwaitsVerification && u.Email != "", u.EmailPending, u.Username)
				require.True(t, u.WaitingSince.IsZero())
			}
			require.Equal(t, map[string][2]bool{ // waits, holds the key of the address
				"fay": {false, true}, "ada": {false, true}, "carl": {false, true}, "dora": {false, true},
				"bob": {true, false}, "gus": {true, false}, "eve": {true, false},
			}, state)
			order, err := tx.WaitingSince(time.Time{}, time.Unix(0, 0), 10)
			require.NoError(t, err)
			require.Len(t, order, 3)
			return nil
		}))
		other, err := file.Realm("other")
		require.NoError(t, err)
		require.NoError(t, other.View(t.Context(), func(tx store.Tx) error {
			waits, err := tx.Waiting("bob@example.org", 10)
			require.Len(t, waits, 1)
			return err
		}))
		require.NoError(t, file.Close())
	}
}

func TestDamagedWaitingIndexes(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	for name, c := range map[string]struct {
		bucket string
		key    []byte
		act    func(store.Tx) error
	}{
		"address without its account": {bucketWaitingKeys, waitingKey("a", id), func(tx store.Tx) error { _, err := tx.Waiting("a", 1); return err }},
		"order without its account": {bucketWaiting, waitingOrder(testTime, id), func(tx store.Tx) error {
			_, err := tx.WaitingSince(time.Time{}, testTime.Add(time.Hour), 1)
			return err
		}},
		"order of another length": {bucketWaiting, []byte("\xffxxxxxxxx"), func(tx store.Tx) error {
			_, err := tx.WaitingSince(time.Time{}, testTime.Add(time.Hour), 1)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := testRealm(t)
			raw(t, s, c.bucket, func(b *bolt.Bucket) error { return b.Put(c.key, nil) })
			err := s.View(t.Context(), c.act)
			require.ErrorIs(t, err, ErrDamaged)
			require.NotErrorIs(t, err, store.ErrNotFound)
		})
	}
}

// A value with a NUL in it lies among the keys of a shorter one.
func TestWaitingKeysMayHoldANUL(t *testing.T) {
	s := testRealm(t)
	one, two := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "one"}, &store.User{ID: uuid.Must(uuid.NewV7()), Username: "two"}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.PutUser(one, []store.Key{{Field: store.WaitingKey, Value: "a"}}); err != nil {
			return err
		}
		return tx.PutUser(two, []store.Key{{Field: store.WaitingKey, Value: "a\x00b"}})
	}))
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		for value, want := range map[string]string{"a": "one", "a\x00b": "two"} {
			got, err := tx.Waiting(value, 10)
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.Equal(t, want, got[0].Username)
		}
		return nil
	}))
}
