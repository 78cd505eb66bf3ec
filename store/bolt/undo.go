// undo.go: the buckets as transactions see them. What an act has written can
// be taken back, so that one that is refused costs those that share its
// transaction nothing.

package bolt

import (
	"bytes"
	"errors"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// An undo has what an act has overwritten, in order. bbolt has no savepoints.
type undo struct {
	steps []undoStep
	// lost says that the act has done what can't be taken back.
	lost bool
}

type undoStep struct {
	bucket     *bolt.Bucket
	key, value []byte
	had        bool
	// count is the sequence that Count has changed; key is nil then.
	count uint64
}

var errNoWayBack = errors.New("the writes of the act can't be taken back")

// back takes the act's writes back. An error means that the transaction has to be
// rolled back.
func (u *undo) back() error {
	if u.lost {
		return errNoWayBack
	}
	for _, s := range slices.Backward(u.steps) {
		var err error
		switch {
		case s.key == nil:
			err = s.bucket.SetSequence(s.count)
		case s.had:
			err = s.bucket.Put(s.key, bytes.Clone(s.value))
		default:
			err = s.bucket.Delete(s.key)
		}
		if err != nil {
			return err
		}
	}
	u.steps = nil
	return nil
}

// A table is a bucket of a realm. All writes go through it.
type table struct {
	bucket *bolt.Bucket
	undo   *undo // nil in a View
}

// A tableCursor walks over a table; it is a bolt.Cursor that can't write.
type tableCursor interface {
	First() (key, value []byte)
	Next() (key, value []byte)
	Seek(seek []byte) (key, value []byte)
	Last() (key, value []byte)
	Prev() (key, value []byte)
}

// Get returns the value of a key, nil if there is none.
func (t table) Get(key []byte) []byte { return t.bucket.Get(key) }

// Cursor walks over the keys in their order.
func (t table) Cursor() tableCursor { return t.bucket.Cursor() }

// Stats counts what is in the table.
func (t table) Stats() bolt.BucketStats { return t.bucket.Stats() }

// NextSequence returns a number that no earlier act was given. Of one that is
// refused it is lost.
func (t table) NextSequence() (uint64, error) { return t.bucket.NextSequence() }

// Counted is what Count has added up to. It stands in the head of the table, which is
// written anyway when the table changes.
func (t table) Counted() uint64 { return t.bucket.Sequence() }

// Count adds to what is counted. Not for a table whose NextSequence is used.
func (t table) Count(n int) error {
	return t.SetCount(t.Counted() + uint64(n)) //nolint:gosec // a negative one wraps around to what is meant
}

// SetCount sets what Counted returns.
func (t table) SetCount(n uint64) error {
	if t.undo != nil {
		t.undo.steps = append(t.undo.steps, undoStep{bucket: t.bucket, count: t.bucket.Sequence()})
	}
	return t.bucket.SetSequence(n)
}

// Put sets the value of a key.
func (t table) Put(key, value []byte) error {
	t.remember(key)
	return t.bucket.Put(key, value)
}

// Add is Put of a key that is known not to be there, which spares looking for it once more.
func (t table) Add(key, value []byte) error {
	if t.undo != nil {
		t.undo.steps = append(t.undo.steps, undoStep{bucket: t.bucket, key: append([]byte{}, key...)})
	}
	return t.bucket.Put(key, value)
}

// Delete removes a key, if it is there.
func (t table) Delete(key []byte) error {
	t.remember(key)
	return t.bucket.Delete(key)
}

func (t table) remember(key []byte) {
	if t.undo == nil {
		return
	}
	// Not Get, which gives nil for an empty value too. The value stays valid as
	// long as the transaction.
	k, v := t.bucket.Cursor().Seek(key)
	had := bytes.Equal(k, key)
	t.undo.steps = append(t.undo.steps, undoStep{bucket: t.bucket, key: append([]byte{}, key...), value: v, had: had})
}
