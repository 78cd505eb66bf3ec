// names.go: the names that accounts have left, in the embedded store.

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

const leftNameFormat = 1

// leftNameSize is format, account and unix seconds.
const leftNameSize = 1 + 16 + 8

// PutLeftName implements Tx.
func (t *boltTx) PutLeftName(hash store.NameHash, left store.LeftName) error {
	if err := t.writable(); err != nil {
		return err
	}
	before, err := t.LeftName(hash)
	switch {
	case err == nil:
		if err := t.bucket(bucketLeftUntil).Delete(leftUntilKey(hash, before.Until)); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	value := append([]byte{leftNameFormat}, left.User[:]...)
	value = binary.BigEndian.AppendUint64(value, uint64(left.Until.Unix())) //nolint:gosec // the bits are meant
	if err := t.bucket(bucketLeftNames).Put(bytes.Clone(hash[:]), value); err != nil {
		return err
	}
	return t.bucket(bucketLeftUntil).Put(leftUntilKey(hash, left.Until), nil)
}

// LeftName implements Tx.
func (t *boltTx) LeftName(hash store.NameHash) (store.LeftName, error) {
	data := t.bucket(bucketLeftNames).Get(hash[:])
	if data == nil {
		return store.LeftName{}, store.ErrNotFound
	}
	if _, err := record.Body("left name", leftNameFormat, data); err != nil {
		return store.LeftName{}, err
	}
	if len(data) != leftNameSize {
		return store.LeftName{}, fmt.Errorf("left name record of %d bytes: %w", len(data), ErrDamaged)
	}
	left := store.LeftName{User: uuid.UUID(data[1:17])}
	left.Until = time.Unix(int64(binary.BigEndian.Uint64(data[17:])), 0).UTC() //nolint:gosec // as above, back again
	return left, nil
}

// LeftNames implements Tx.
func (t *boltTx) LeftNames(after store.NameHash, limit int) ([]store.NameHash, error) {
	var hashes []store.NameHash
	c := t.bucket(bucketLeftNames).Cursor()
	k, _ := c.Seek(after[:])
	if bytes.Equal(k, after[:]) {
		k, _ = c.Next()
	}
	for ; k != nil && len(hashes) < limit; k, _ = c.Next() {
		if len(k) != len(after) {
			return nil, fmt.Errorf("the hash of a left name has %d bytes: %w", len(k), ErrDamaged)
		}
		hashes = append(hashes, store.NameHash(k))
	}
	return hashes, nil
}

// DeleteLeftNames implements Tx.
func (t *boltTx) DeleteLeftNames(now time.Time, limit int) (int, error) {
	if err := t.writable(); err != nil {
		return 0, err
	}
	var over [][]byte
	c := t.bucket(bucketLeftUntil).Cursor()
	for k, _ := c.First(); k != nil && len(over) < limit && fromSortable(k[:8]) <= now.Unix(); k, _ = c.Next() {
		over = append(over, bytes.Clone(k))
	}
	for _, k := range over {
		if err := t.bucket(bucketLeftUntil).Delete(k); err != nil {
			return 0, err
		}
		if err := t.bucket(bucketLeftNames).Delete(k[8:]); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}

func leftUntilKey(hash store.NameHash, until time.Time) []byte {
	return append(sortable(until.Unix()), hash[:]...)
}
