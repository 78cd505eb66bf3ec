package factor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// secrets are those of a configuration, by their names.
func secrets(names ...string) (list [][]byte) {
	for _, name := range names {
		list = append(list, []byte("the secret of the configuration: "+name))
	}
	return list
}

// A change of the secret loses nothing, and what was sealed opens by none but those that
// are listed: not from a copy of the store, nor for another account or realm.
func TestKeysThroughRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	file, err := bolt.Open(path, time.Minute)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	db, err := file.Realm("r")
	require.NoError(t, err)
	open := func(realm string, names ...string) (*factor.Keys, error) {
		return factor.Open(t.Context(), db, realm, secrets(names...), nil)
	}
	first, err := open("r", "old")
	require.NoError(t, err)
	secret, codes := factor.NewSecret(), factor.NewRecoveryCodes()
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", IsActive: true, DateJoined: time.Unix(1e9, 0).UTC()}
	sealed, macs := first.Seal(u.ID, secret), first.MACs(u.ID, codes)
	u.RecoveryCodes = macs
	require.NoError(t, db.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, nil) }))

	for _, names := range [][]string{{"old"}, {"new", "old"}, {"new"}, {"newest", "new"}, {"newest"}} {
		keys, err := open("r", names...)
		require.NoError(t, err, names)
		got, err := keys.Open(u.ID, sealed)
		require.NoError(t, err, names)
		require.Equal(t, secret, got)
		require.Equal(t, macs, keys.MACs(u.ID, codes))
		_, err = keys.Open(uuid.Must(uuid.NewV7()), sealed)
		require.ErrorIs(t, err, factor.ErrSealed, "another account")
	}
	for _, names := range [][]string{{"old"}, {"wrong"}, {"wrong", "new"}, {}} {
		_, err := open("r", names...)
		lost := (*factor.LostKeyError)(nil)
		require.ErrorAs(t, err, &lost, names)
		require.Equal(t, 1, lost.Accounts)
		require.ErrorContains(t, err, "1 account(s)")
	}
	_, err = open("other", "newest")
	require.Error(t, err, "another realm")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(raw), string(secret))
	require.NotContains(t, string(raw), codes[0])

	// Where nothing depends on the key, there is a new one, which opens nothing of before.
	u.RecoveryCodes = nil
	require.NoError(t, db.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, nil) }))
	keys, err := open("r", "wrong")
	require.NoError(t, err)
	_, err = keys.Open(u.ID, sealed)
	require.ErrorIs(t, err, factor.ErrSealed)
}

// Processes that start at the same time on one store all have the key that the first has made.
func TestKeysOfAllWhoStartAtOnce(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), time.Minute)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	account := uuid.Must(uuid.NewV7())
	for round := range 10 {
		realm := fmt.Sprint("r", round)
		db, err := file.Realm(realm)
		require.NoError(t, err)
		nodes := make([]*factor.Keys, 8)
		begun := make(chan error)
		for i := range nodes {
			go func() {
				var err error
				nodes[i], err = factor.Open(t.Context(), db, realm, secrets("one"), nil)
				begun <- err
			}()
		}
		for range nodes {
			require.NoError(t, <-begun)
		}
		sealed := nodes[0].Seal(account, []byte("the secret of a factor"))
		for _, keys := range nodes {
			_, err := keys.Open(account, sealed)
			require.NoError(t, err)
		}
	}
}

// Two steps can have the same digits: a code that was seen fits neither of them again.
func TestEqualCodesInAdjacentSteps(t *testing.T) {
	secret := make([]byte, factor.SecretBytes)
	step, before := int64(1), ""
	for ; ; step++ {
		code, err := factor.Code(secret, step)
		require.NoError(t, err)
		if code == before {
			break
		}
		before = code
	}
	for name, now := range map[string]int64{"in the first": step - 1, "in the second": step, "before them": step - 2} {
		at := time.Unix(now*factor.Period, 0)
		used, ok := factor.Match(secret, before, at, 0)
		require.True(t, ok || now == step-2, name)
		if !ok {
			continue
		}
		for later := now; later <= step+factor.Skew; later++ {
			_, ok = factor.Match(secret, before, time.Unix(later*factor.Period, 0), used)
			require.False(t, ok && later+factor.Skew >= step && now+factor.Skew >= step, "%s, at %d", name, later-step)
		}
	}
}
