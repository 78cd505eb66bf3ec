// sessions.go: sessions and tokens of the embedded store.

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// Sessions that are made one after the other have hashes that lie side by side (session.Live's
// NewToken), and so have those that end together. Their entries in the index by account don't: each
// is on a page of its own where there are many accounts. So a sweep leaves them, and they are
// removed where that page is written anyway, at the account's next sign-in, or with their
// neighbours. The value of an entry says when its session ends: what has none is of schema 3 or
// older, and goes with its session.

// migrateSessions is the step from schema 3, which knows no entry without its session.
func migrateSessions(*bolt.Tx) error { return nil }

// tidied is how many entries of the index by account a sweep looks at for each session that it
// removes: no more than one in so many is then one that was left.
const tidied = 4

// dated is the value of an entry in the order of expiry whose entry in the index by account says
// when the session ends, so that a sweep need not look.
var dated = []byte{1}

// Session implements Tx.
func (t *boltTx) Session(hash store.TokenHash) (*store.Session, error) {
	data := t.bucket(bucketSessions).Get(hash[:])
	if data == nil {
		return nil, store.ErrNotFound
	}
	return record.DecodeSession(hash, data)
}

// Sessions implements Tx.
func (t *boltTx) Sessions(user uuid.UUID, limit int) ([]*store.Session, error) {
	var sessions []*store.Session
	c := t.bucket(bucketUserSessions).Cursor()
	for k, v := c.Seek(user[:]); bytes.HasPrefix(k, user[:]) && len(sessions) < limit; k, v = c.Next() {
		if t.isLeft(k, v, math.MaxInt64) {
			continue
		}
		s, err := t.indexedSession(k[len(user):])
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

// indexedSession returns a session that an index names, so it must exist.
func (t *boltTx) indexedSession(hash []byte) (*store.Session, error) {
	if len(hash) != len(store.TokenHash{}) {
		return nil, fmt.Errorf("session index: %w", ErrDamaged)
	}
	s, err := t.Session(store.TokenHash(hash))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("session index without its session: %w", ErrDamaged)
	}
	return s, err
}

// PutSession implements Tx.
func (t *boltTx) PutSession(s *store.Session) error {
	if err := t.writable(); err != nil {
		return err
	}
	data, err := record.EncodeSession(s)
	if err != nil {
		return err
	}
	byUser, byExpiry := userSessionKey(s.User, s.Hash), sessionExpiryKey(s)
	old, err := t.Session(s.Hash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		old = nil
	case err != nil:
		return err
	case old.User == s.User && bytes.Equal(sessionExpiryKey(old), byExpiry):
		// The usual case, a new LastUsed: the indexes stay as they are.
		old.LastUsed = s.LastUsed
		if before, err := record.EncodeSession(old); err != nil || !bytes.Equal(before, data) {
			t.revoked(s.Hash)
		}
		return t.bucket(bucketSessions).Put(s.Hash[:], data)
	}
	if old != nil {
		err = t.removeSession(old)
	} else {
		err = t.removeLeft(s.User, s.Created.Unix())
	}
	if err != nil {
		return err
	}
	return errors.Join(
		t.bucket(bucketUserSessions).Put(byUser, sortable(s.Expires.Unix())),
		t.bucket(bucketSessionExpiry).Put(byExpiry, dated),
		t.bucket(bucketSessions).Put(s.Hash[:], data),
	)
}

// DeleteSession implements Tx.
func (t *boltTx) DeleteSession(hash store.TokenHash) error {
	if err := t.writable(); err != nil {
		return err
	}
	s, err := t.Session(hash)
	if err != nil {
		return err
	}
	return t.removeSession(s)
}

func (t *boltTx) removeSession(s *store.Session) error {
	return errors.Join(t.bucket(bucketUserSessions).Delete(userSessionKey(s.User, s.Hash)), t.leaveSession(s))
}

// leaveSession is removeSession, but for its entry in the index by account.
func (t *boltTx) leaveSession(s *store.Session) error {
	t.revoked(s.Hash)
	return errors.Join(
		t.bucket(bucketSessionExpiry).Delete(sessionExpiryKey(s)),
		t.bucket(bucketSessions).Delete(s.Hash[:]),
	)
}

// DeleteExpiredSessions implements Tx.
func (t *boltTx) DeleteExpiredSessions(now time.Time, limit int) ([]store.TokenHash, error) {
	if err := t.writable(); err != nil {
		return nil, err
	}
	// Deleting moves a cursor, so the sessions are collected first.
	var expired []*store.Session
	var leave []bool
	c := t.bucket(bucketSessionExpiry).Cursor()
	for k, v := c.First(); k != nil && len(expired) < limit; k, v = c.Next() {
		if len(k) < 8 {
			return nil, fmt.Errorf("session expiry: %w", ErrDamaged)
		}
		if fromSortable(k[:8]) > now.Unix() {
			break
		}
		s, err := t.indexedSession(k[8:])
		if err != nil {
			return nil, err
		}
		expired, leave = append(expired, s), append(leave, bytes.Equal(v, dated))
	}
	hashes := make([]store.TokenHash, len(expired))
	left := 0
	for i, s := range expired {
		remove := t.removeSession
		if leave[i] {
			remove = t.leaveSession
			left++
		}
		if err := remove(s); err != nil {
			return nil, err
		}
		hashes[i] = s.Hash
	}
	return hashes, t.tidySessions(now.Unix(), tidied*left)
}

// isLeft reports whether an entry of the index by account is one whose session has ended by now,
// and is no longer there.
func (t *boltTx) isLeft(entry, ends []byte, now int64) bool {
	return len(entry) == len(uuid.UUID{})+len(store.TokenHash{}) && len(ends) == 8 && fromSortable(ends) <= now &&
		t.bucket(bucketSessions).Get(entry[len(uuid.UUID{}):]) == nil
}

// removeLeft removes the entries of an account that were left.
func (t *boltTx) removeLeft(user uuid.UUID, now int64) error {
	var left [][]byte
	index := t.bucket(bucketUserSessions)
	c := index.Cursor()
	for k, v := c.Seek(user[:]); bytes.HasPrefix(k, user[:]); k, v = c.Next() {
		if t.isLeft(k, v, now) {
			left = append(left, k)
		}
	}
	return deleteAll(index, left)
}

// tidySessions removes those that were left among the next entries of the index by account, with
// all of the account that the last of them is of. Where it goes on is the count of the index: the
// beginning of an account's id.
func (t *boltTx) tidySessions(now int64, entries int) error {
	if entries == 0 {
		return nil
	}
	var left [][]byte
	index := t.bucket(bucketUserSessions)
	c := index.Cursor()
	last := []byte(nil)
	k, v := c.Seek(binary.BigEndian.AppendUint64(nil, index.Counted()))
	for ; len(k) >= 8 && (entries > 0 || bytes.Equal(k[:8], last)); k, v = c.Next() {
		if t.isLeft(k, v, now) {
			left = append(left, k)
		}
		entries, last = entries-1, k[:8]
	}
	next := uint64(0) // from the beginning
	if len(k) >= 8 {
		next = binary.BigEndian.Uint64(k)
	}
	return errors.Join(index.SetCount(next), deleteAll(index, left))
}

// deleteAll removes keys that a cursor has found, which stay valid as long as the transaction.
func deleteAll(t table, keys [][]byte) error {
	for _, k := range keys {
		if err := t.Delete(bytes.Clone(k)); err != nil {
			return err
		}
	}
	return nil
}

func userSessionKey(user uuid.UUID, hash store.TokenHash) []byte { return append(user[:], hash[:]...) }

func sessionExpiryKey(s *store.Session) []byte {
	return append(sortable(s.Expires.Unix()), s.Hash[:]...)
}
