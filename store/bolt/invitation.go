// invitation.go: invitations in the embedded store. An earlier version ignores
// their buckets.

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

func invitationExpiryKey(i *store.Invitation) []byte {
	return append(sortable(i.Expires.Unix()), i.ID[:]...)
}

// Invitation implements Tx.
func (t *boltTx) Invitation(id uuid.UUID) (*store.Invitation, error) {
	data := t.bucket(bucketInvitations).Get(id[:])
	if data == nil {
		return nil, store.ErrNotFound
	}
	return record.DecodeInvitation(id, data)
}

// InvitationByHash implements Tx.
func (t *boltTx) InvitationByHash(hash store.TokenHash) (*store.Invitation, error) {
	id := t.bucket(bucketInvitationHashes).Get(hash[:])
	if id == nil {
		return nil, store.ErrNotFound
	}
	return t.indexedInvitation(id)
}

// indexedInvitation returns an invitation that an index names, so it must exist.
func (t *boltTx) indexedInvitation(raw []byte) (*store.Invitation, error) {
	id, err := uuid.FromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("index of invitations: %w: %w", ErrDamaged, err)
	}
	i, err := t.Invitation(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("index of invitations without its invitation: %w", ErrDamaged)
	}
	return i, err
}

// Invitations implements Tx.
func (t *boltTx) Invitations(after uuid.UUID, limit int) ([]*store.Invitation, error) {
	var invitations []*store.Invitation
	c := t.bucket(bucketInvitations).Cursor()
	k, v := c.Seek(after[:])
	if bytes.Equal(k, after[:]) {
		k, v = c.Next()
	}
	for ; k != nil && len(invitations) < limit; k, v = c.Next() {
		id, err := uuid.FromBytes(k)
		if err != nil {
			return nil, fmt.Errorf("id of an invitation: %w: %w", ErrDamaged, err)
		}
		i, err := record.DecodeInvitation(id, v)
		if err != nil {
			return nil, err
		}
		invitations = append(invitations, i)
	}
	return invitations, nil
}

// PutInvitation implements Tx.
func (t *boltTx) PutInvitation(i *store.Invitation) error {
	if err := t.writable(); err != nil {
		return err
	}
	if i.ID == uuid.Nil {
		return errors.New("an invitation needs an id")
	}
	if owner := t.bucket(bucketInvitationHashes).Get(i.Hash[:]); owner != nil && !bytes.Equal(owner, i.ID[:]) {
		return store.ErrTaken
	}
	data, err := record.EncodeInvitation(i)
	if err != nil {
		return err
	}
	switch before, err := t.Invitation(i.ID); {
	case err == nil:
		if err := t.removeInvitation(before); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	// bbolt keeps what it is given until the commit: copies.
	return errors.Join(
		t.bucket(bucketInvitationHashes).Put(bytes.Clone(i.Hash[:]), bytes.Clone(i.ID[:])),
		t.bucket(bucketInvitationExpiry).Put(invitationExpiryKey(i), nil),
		t.bucket(bucketInvitations).Put(bytes.Clone(i.ID[:]), data),
	)
}

// DeleteInvitation implements Tx.
func (t *boltTx) DeleteInvitation(id uuid.UUID) error {
	if err := t.writable(); err != nil {
		return err
	}
	i, err := t.Invitation(id)
	if err != nil {
		return err
	}
	return t.removeInvitation(i)
}

func (t *boltTx) removeInvitation(i *store.Invitation) error {
	return errors.Join(
		t.bucket(bucketInvitationHashes).Delete(i.Hash[:]),
		t.bucket(bucketInvitationExpiry).Delete(invitationExpiryKey(i)),
		t.bucket(bucketInvitations).Delete(i.ID[:]),
	)
}

// DeleteInvitations implements Tx.
func (t *boltTx) DeleteInvitations(now time.Time, limit int) (int, error) {
	if err := t.writable(); err != nil {
		return 0, err
	}
	var over []*store.Invitation // deleting moves a cursor
	c := t.bucket(bucketInvitationExpiry).Cursor()
	for k, _ := c.First(); k != nil && len(over) < limit; k, _ = c.Next() {
		if len(k) != 8+len(uuid.UUID{}) {
			return 0, fmt.Errorf("expiry of invitations: %w", ErrDamaged)
		}
		if fromSortable(k[:8]) > now.Unix() {
			break
		}
		i, err := t.indexedInvitation(k[8:])
		if err != nil {
			return 0, err
		}
		over = append(over, i)
	}
	for _, i := range over {
		if err := t.removeInvitation(i); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}
