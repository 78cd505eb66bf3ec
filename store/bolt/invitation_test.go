// invitation_test.go: invitations in a store that was written before there were
// any, and damage to their indexes.

package bolt

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

func TestInvitationsInAnOldStore(t *testing.T) {
	path := schema1(t)
	want := &store.Invitation{ID: uuid.Must(uuid.NewV7()), Hash: store.TokenHash{1}, Uses: 1, Expires: testTime}
	for _, put := range []bool{true, false} {
		file, err := Open(path, testLockWait)
		require.NoError(t, err)
		s, err := file.Realm("default")
		require.NoError(t, err)
		if put {
			require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutInvitation(want) }))
		}
		require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
			got, err := tx.InvitationByHash(want.Hash)
			require.NoError(t, err)
			require.Equal(t, want, got)
			return nil
		}))
		require.NoError(t, file.Close())
	}
}

func TestDamagedInvitationIndexes(t *testing.T) {
	id, hash := uuid.Must(uuid.NewV7()), store.TokenHash{1}
	byHash := func(tx store.Tx) error { _, err := tx.InvitationByHash(hash); return err }
	over := func(tx store.Tx) error { _, err := tx.DeleteInvitations(testTime.Add(time.Hour), 9); return err }
	for name, c := range map[string]struct {
		bucket     string
		key, value []byte
		act        func(store.Tx) error
	}{
		"hash without its invitation":   {bucketInvitationHashes, hash[:], id[:], byHash},
		"hash of no id":                 {bucketInvitationHashes, hash[:], []byte("x"), byHash},
		"expiry without its invitation": {bucketInvitationExpiry, invitationExpiryKey(&store.Invitation{ID: id, Expires: testTime}), nil, over},
		"expiry of another length":      {bucketInvitationExpiry, []byte("xxxx"), nil, over},
		"an id of another length": {bucketInvitations, []byte("xxxx"), []byte("x"), func(tx store.Tx) error {
			_, err := tx.Invitations(uuid.Nil, 1)
			return err
		}},
		"no record": {bucketInvitations, id[:], []byte{1, 0xff}, func(tx store.Tx) error { _, err := tx.Invitation(id); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			s := testRealm(t)
			raw(t, s, c.bucket, func(b *bolt.Bucket) error { return b.Put(c.key, c.value) })
			err := s.Update(t.Context(), c.act)
			require.ErrorIs(t, err, ErrDamaged)
			require.NotErrorIs(t, err, store.ErrNotFound)
		})
	}
}
