package bolt

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

// A file from before there were rows of budgets opens and takes them.
func TestBoltOpensAFileWithoutBudgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	open := func() (*File, *Store) {
		f, err := Open(path, time.Second)
		require.NoError(t, err)
		s, err := f.Realm("default")
		require.NoError(t, err)
		return f, s
	}
	f, s := open()
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue("kept", []byte("x")) }))
	require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(realmPrefix + "default")).DeleteBucket([]byte(bucketBudgets))
	}))
	require.NoError(t, f.Close())
	f, s = open()
	defer f.Close() //nolint:errcheck // a test
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Value("kept")
		require.NoError(t, err)
		return tx.PutBudget(&store.Budget{Table: "login/target", Whole: time.Now()})
	}))
}

func TestBoltDamagedBudgets(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "r.db"), time.Second)
	require.NoError(t, err)
	defer f.Close() //nolint:errcheck // a test
	s, err := f.Realm("default")
	require.NoError(t, err)
	for name, row := range map[string][2]string{
		"no format": {"t\x000123456789abcdef", ""}, "no table": {"0123456789abcdef", "\x0112345678"},
		"short key": {"t\x00short", "\x0112345678"}, "short value": {"t\x000123456789abcdef", "\x01123"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte(realmPrefix + "default")).Bucket([]byte(bucketBudgets))
				if k, _ := b.Cursor().First(); k != nil {
					if err := b.Delete(k); err != nil {
						return err
					}
				}
				return b.Put([]byte(row[0]), []byte(row[1]))
			}))
			require.ErrorIs(t, s.View(t.Context(), func(tx store.Tx) error { _, err := tx.Budgets(time.Now(), 9); return err }), ErrDamaged)
			require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.DeleteBudgets(time.Now(), 9); return err }), ErrDamaged)
		})
	}
}
