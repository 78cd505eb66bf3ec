// waiting.go: the accounts that await their verification, in the embedded
// store: by the address that they wait for, and by how long they wait.

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// waitingPrefix begins the index keys of all accounts that wait for one value.
func waitingPrefix(value string) []byte { return []byte(value + "\x00") }

func waitingKey(value string, id uuid.UUID) []byte { return append(waitingPrefix(value), id[:]...) }

func waitingOrder(since time.Time, id uuid.UUID) []byte {
	return append(sortable(since.Unix()), id[:]...)
}

// removeKey takes a key of an account out of its index.
func (t *boltTx) removeKey(k store.Key, id uuid.UUID) error {
	if k.Field == store.WaitingKey {
		return t.bucket(bucketWaitingKeys).Delete(waitingKey(k.Value, id))
	}
	return t.bucket(bucketKeys).Delete(indexKey(k.Field, k.Value))
}

// orderWaiting brings the order of those who wait from what an account was to
// what it is; nil: there was, or will be, none. What stays costs no page.
func (t *boltTx) orderWaiting(before, after *store.User) error {
	entry := func(u *store.User) []byte {
		if u == nil || !u.AwaitsVerification {
			return nil
		}
		return waitingOrder(u.WaitingSince, u.ID)
	}
	old, now := entry(before), entry(after)
	if bytes.Equal(old, now) {
		return nil
	}
	b := t.bucket(bucketWaiting)
	if old != nil {
		if err := b.Delete(old); err != nil {
			return err
		}
	}
	if now != nil {
		return b.Put(now, nil)
	}
	return nil
}

// Waiting implements Tx.
func (t *boltTx) Waiting(value string, limit int) ([]*store.User, error) {
	var users []*store.User
	prefix := waitingPrefix(value)
	c := t.bucket(bucketWaitingKeys).Cursor()
	// From the first key behind all of this value's, backwards.
	k, _ := c.Seek(waitingKey(value, uuid.Max))
	if k == nil {
		k, _ = c.Last()
	}
	for ; k != nil && len(users) < limit && bytes.Compare(k, prefix) > 0; k, _ = c.Prev() {
		// Another length belongs to a value with a NUL in it.
		if !bytes.HasPrefix(k, prefix) || len(k) != len(prefix)+len(uuid.UUID{}) {
			continue
		}
		u, err := t.indexedUser(k[len(prefix):])
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	if len(users) == 0 && limit > 0 {
		_, _ = t.User(uuid.Nil) // finding none takes as long as finding one
	}
	return users, nil
}

// WaitingSince implements Tx.
func (t *boltTx) WaitingSince(from, to time.Time, limit int) ([]*store.User, error) {
	var users []*store.User
	c := t.bucket(bucketWaiting).Cursor()
	for k, _ := c.Seek(sortable(from.Unix())); k != nil && len(users) < limit; k, _ = c.Next() {
		if len(k) != 8+len(uuid.UUID{}) {
			return nil, fmt.Errorf("order of those who wait: %w", ErrDamaged)
		}
		if fromSortable(k[:8]) >= to.Unix() {
			break
		}
		u, err := t.indexedUser(k[8:])
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

// indexedUser returns an account that an index names, so it must exist.
func (t *boltTx) indexedUser(raw []byte) (*store.User, error) {
	id, err := uuid.FromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("waiting account: %w: %w", ErrDamaged, err)
	}
	u, err := t.User(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("index of those who wait without its account: %w", ErrDamaged)
	}
	return u, err
}

// migrateWaiting is the step from schema 1, in which an account that awaited its
// verification held the key of its address. When it began to wait is not known:
// its time counts from when it is next looked at.
func migrateWaiting(tx *bolt.Tx) error {
	var realms [][]byte
	c := tx.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if strings.HasPrefix(string(k), realmPrefix) {
			realms = append(realms, bytes.Clone(k))
		}
	}
	for _, name := range realms {
		realm := tx.Bucket(name)
		for _, b := range append(slices.Clone(memberBuckets), bucketWaiting, bucketWaitingKeys) {
			if _, err := realm.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		t := &boltTx{tx: tx, realm: realm}
		var waiting []uuid.UUID // collected first: a write moves the cursor
		users := t.bucket(bucketUsers).Cursor()
		for k, v := users.First(); k != nil; k, v = users.Next() {
			id, err := uuid.FromBytes(k)
			if err != nil {
				return fmt.Errorf("user id: %w: %w", ErrDamaged, err)
			}
			u, _, err := record.DecodeUser(id, v)
			if err != nil {
				return err
			}
			if u.AwaitsVerification {
				waiting = append(waiting, id)
			}
		}
		for _, id := range waiting {
			u, keys, err := t.userAndKeys(id)
			if err != nil {
				return err
			}
			u.EmailPending = u.Email != ""
			// The order has to be entered, though the account waited before.
			if err := t.orderWaiting(nil, u); err != nil {
				return err
			}
			if i := slices.IndexFunc(keys, func(k store.Key) bool { return k.Field == "email" }); i >= 0 {
				keys[i].Field = store.WaitingKey
			}
			if err := t.PutUser(u, keys); err != nil {
				return err
			}
		}
	}
	return nil
}
