// boltstore.go: the embedded store: one bbolt file, realms in buckets of their
// own. How records become bytes stands in boltrecords.go.

package registration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// boltSchema is the version of the layout that this code writes.
const boltSchema = 1

// boltMigrations brings a file from the version of its key to the next, inside
// the transaction that then records the new version.
var boltMigrations = map[uint64]func(*bolt.Tx) error{}

// The buckets of a file, and those of a realm inside its own.
var (
	bucketMeta   = []byte("meta")
	keySchema    = []byte("schema")
	prefixRealm  = "realm:"
	bucketUsers  = []byte("users")          // id -> record
	bucketKeys   = []byte("keys")           // field 0 value -> id
	bucketSess   = []byte("sessions")       // hash -> record
	bucketByUser = []byte("user_sessions")  // id hash -> nothing
	bucketExpiry = []byte("session_expiry") // expiry (s) hash -> nothing
	bucketMail   = []byte("outbox")         // seq -> record
	bucketDue    = []byte("outbox_due")     // due (ms) seq -> nothing
	bucketTo     = []byte("outbox_to")      // recipient 0 seq -> nothing
	bucketValues = []byte("values")         // name -> bytes
	realmBuckets = [][]byte{bucketUsers, bucketKeys, bucketSess, bucketByUser, bucketExpiry, bucketMail, bucketDue, bucketTo, bucketValues}
)

// Batching of concurrent commits: a lone writer waits at most this long for
// company before its fsync, which itself takes about as long on a fast disk.
const (
	boltBatchDelay = 500 * time.Microsecond
	boltBatchSize  = 256
)

// A BoltFile is one open bbolt file. It is safe for concurrent use.
type BoltFile struct {
	db   *bolt.DB
	path string
	once sync.Once
	err  error // of Close
}

// OpenBoltFile opens the file at path, and makes it and its folder where they
// are missing, readable by this user alone. It waits at most wait for another
// process that has the file open and then returns ErrStoreLocked; a file of a
// newer schema gives ErrNewerSchema. Every error names the file and the mend.
func OpenBoltFile(path string, wait time.Duration) (f *BoltFile, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("the folder of the store can't be made: %w; make it, owned by Caddy's user, or set: store bbolt <path>", err)
	}
	// bbolt panics on some damaged pages.
	defer func() {
		if damage := recover(); damage != nil {
			f, err = nil, fmt.Errorf("%s is damaged (%v); restore it from a backup", path, damage)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: wait, FreelistType: bolt.FreelistMapType, InitialMmapSize: 16 << 20, NoFreelistSync: false,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s; if another Caddy is running on it, hand it the new configuration with: caddy reload", ErrStoreLocked, path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%s is not a store or is damaged: %w; restore it from a backup, or set another path: store bbolt <path>", path, err)
	case err != nil:
		return nil, fmt.Errorf("the store %s can't be opened: %w; see to it that Caddy's user may read and write it", path, err)
	}
	db.MaxBatchDelay, db.MaxBatchSize = boltBatchDelay, boltBatchSize
	if err := os.Chmod(path, 0o600); err != nil { // an older or copied file may be open to others
		return nil, errors.Join(err, db.Close())
	}
	if err := db.Update(migrateBolt); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return &BoltFile{db: db, path: path}, nil
}

// migrateBolt brings a file to the current schema in one transaction.
func migrateBolt(tx *bolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	version := uint64(boltSchema)
	if raw := meta.Get(keySchema); len(raw) == 8 {
		version = binary.BigEndian.Uint64(raw)
	}
	if version > boltSchema {
		return fmt.Errorf("%w: its schema is %d, this build knows %d; use a build at least as new as the one that wrote it", ErrNewerSchema, version, boltSchema)
	}
	for ; version < boltSchema; version++ {
		if err := boltMigrations[version](tx); err != nil {
			return fmt.Errorf("migrating the store from schema %d: %w", version, err)
		}
	}
	return meta.Put(keySchema, binary.BigEndian.AppendUint64(nil, boltSchema))
}

// Close closes the file; acts under way end first. It may be called twice.
func (f *BoltFile) Close() error {
	f.once.Do(func() { f.err = f.db.Close() })
	return f.err
}

// Realm returns the store of one realm in the file, made where it is missing.
func (f *BoltFile) Realm(name string) (*BoltStore, error) {
	s := &BoltStore{db: f.db, bucket: []byte(prefixRealm + name)}
	err := f.db.Update(func(tx *bolt.Tx) error {
		realm, err := tx.CreateBucketIfNotExists(s.bucket)
		if err != nil {
			return err
		}
		for _, bucket := range realmBuckets {
			if _, err := realm.CreateBucketIfNotExists(bucket); err != nil {
				return err
			}
		}
		return nil
	})
	return s, err
}

// BoltStore is the Store of one realm in a BoltFile.
type BoltStore struct {
	db     *bolt.DB
	bucket []byte
	mu     sync.RWMutex
	closed bool
}

// errClosed is returned by a closed store.
var errClosed = errors.New("the store is closed")

func (s *BoltStore) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	return nil
}

// View implements Store.
func (s *BoltStore) View(ctx context.Context, fn func(Tx) error) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.db.View(func(tx *bolt.Tx) error { return fn(&boltTx{realm: tx.Bucket(s.bucket)}) })
}

// Update implements Store. Acts that come together share one commit and its
// fsync; one that fails is taken out and the others run again.
func (s *BoltStore) Update(ctx context.Context, fn func(Tx) error) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.db.Batch(func(tx *bolt.Tx) error { return fn(&boltTx{realm: tx.Bucket(s.bucket)}) })
}

// Close implements Store. The file stays open for its other realms.
func (s *BoltStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// boltTx is one transaction. Buckets are looked up as they are needed.
type boltTx struct{ realm *bolt.Bucket }

// in returns one of the realm's buckets. Those whose keys grow are filled
// nearly full: nothing is ever inserted between two old keys.
func (t *boltTx) in(name []byte) *bolt.Bucket {
	b := t.realm.Bucket(name)
	switch string(name) {
	case "users", "outbox", "outbox_due", "session_expiry", "user_sessions":
		b.FillPercent = 0.9
	}
	return b
}

func (t *boltTx) writable() error {
	if !t.realm.Writable() {
		return ErrReadOnly
	}
	return nil
}

// User implements Tx.
func (t *boltTx) User(id uuid.UUID) (*User, error) {
	u, _, err := t.user(id)
	return u, err
}

func (t *boltTx) user(id uuid.UUID) (*User, []Key, error) {
	raw := t.in(bucketUsers).Get(id[:])
	if raw == nil {
		return nil, nil, ErrNotFound
	}
	return decodeUser(id, raw)
}

// UserByKey implements Tx.
func (t *boltTx) UserByKey(field, key string) (*User, error) {
	raw := t.in(bucketKeys).Get(boltKey(field, key))
	if raw == nil {
		return nil, ErrNotFound
	}
	return t.User(uuid.UUID(raw))
}

func boltKey(field, value string) []byte {
	key := make([]byte, 0, len(field)+1+len(value))
	return append(append(append(key, field...), 0), value...)
}

// Users implements Tx.
func (t *boltTx) Users(after uuid.UUID, limit int) ([]*User, error) {
	var out []*User
	c := t.in(bucketUsers).Cursor()
	k, raw := c.Seek(after[:])
	if bytes.Equal(k, after[:]) {
		k, raw = c.Next()
	}
	for ; k != nil && len(out) < limit; k, raw = c.Next() {
		u, _, err := decodeUser(uuid.UUID(k), raw)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// PutUser implements Tx. All keys are looked at before the first is written.
func (t *boltTx) PutUser(u *User, keys []Key) error {
	if err := t.writable(); err != nil {
		return err
	}
	index := t.in(bucketKeys)
	for _, key := range keys {
		if owner := index.Get(boltKey(key.Field, key.Value)); owner != nil && uuid.UUID(owner) != u.ID {
			return &TakenError{Field: key.Field}
		}
	}
	_, before, err := t.user(u.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	raw, err := encodeUser(u, keys)
	if err != nil {
		return err
	}
	if err := t.deleteKeys(before); err != nil {
		return err
	}
	for _, key := range keys {
		if err := index.Put(boltKey(key.Field, key.Value), u.ID[:]); err != nil {
			return err
		}
	}
	return t.in(bucketUsers).Put(bytes.Clone(u.ID[:]), raw)
}

func (t *boltTx) deleteKeys(keys []Key) error {
	index := t.in(bucketKeys)
	for _, key := range keys {
		if err := index.Delete(boltKey(key.Field, key.Value)); err != nil {
			return err
		}
	}
	return nil
}

// DeleteUser implements Tx.
func (t *boltTx) DeleteUser(id uuid.UUID) error {
	if err := t.writable(); err != nil {
		return err
	}
	_, keys, err := t.user(id)
	if err != nil {
		return err
	}
	sessions, err := t.Sessions(id)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := t.DeleteSession(s.Hash); err != nil {
			return err
		}
	}
	if err := t.deleteKeys(keys); err != nil {
		return err
	}
	return t.in(bucketUsers).Delete(id[:])
}

// Session implements Tx.
func (t *boltTx) Session(hash TokenHash) (*Session, error) {
	raw := t.in(bucketSess).Get(hash[:])
	if raw == nil {
		return nil, ErrNotFound
	}
	return decodeSession(hash, raw)
}

// Sessions implements Tx.
func (t *boltTx) Sessions(user uuid.UUID) ([]*Session, error) {
	var out []*Session
	c := t.in(bucketByUser).Cursor()
	for k, _ := c.Seek(user[:]); bytes.HasPrefix(k, user[:]); k, _ = c.Next() {
		s, err := t.Session(TokenHash(k[len(user):]))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func expiryKey(s *Session) []byte {
	return append(binary.BigEndian.AppendUint64(nil, unixKey(s.Expires.Unix())), s.Hash[:]...)
}

func byUserKey(s *Session) []byte { return append(bytes.Clone(s.User[:]), s.Hash[:]...) }

// unixKey orders times before 1970 (none that we write) first.
func unixKey(v int64) uint64 { return uint64(max(v, 0)) } //nolint:gosec // not negative

// PutSession implements Tx.
func (t *boltTx) PutSession(s *Session) error {
	if err := t.writable(); err != nil {
		return err
	}
	before, err := t.Session(s.Hash)
	switch {
	case err == nil && before.User == s.User && before.Expires.Unix() == s.Expires.Unix():
	case err == nil:
		if err := t.DeleteSession(s.Hash); err != nil {
			return err
		}
	case !errors.Is(err, ErrNotFound):
		return err
	}
	raw, err := encodeSession(s)
	if err != nil {
		return err
	}
	if err := t.in(bucketSess).Put(bytes.Clone(s.Hash[:]), raw); err != nil {
		return err
	}
	if err := t.in(bucketByUser).Put(byUserKey(s), nil); err != nil {
		return err
	}
	return t.in(bucketExpiry).Put(expiryKey(s), nil)
}

// DeleteSession implements Tx.
func (t *boltTx) DeleteSession(hash TokenHash) error {
	if err := t.writable(); err != nil {
		return err
	}
	s, err := t.Session(hash)
	if err != nil {
		return err
	}
	if err := t.in(bucketByUser).Delete(byUserKey(s)); err != nil {
		return err
	}
	if err := t.in(bucketExpiry).Delete(expiryKey(s)); err != nil {
		return err
	}
	return t.in(bucketSess).Delete(hash[:])
}

// DeleteExpiredSessions implements Tx.
func (t *boltTx) DeleteExpiredSessions(now time.Time, limit int) (int, error) {
	if err := t.writable(); err != nil {
		return 0, err
	}
	end := unixKey(now.Unix())
	var expired []TokenHash
	c := t.in(bucketExpiry).Cursor()
	for k, _ := c.First(); k != nil && len(expired) < limit && binary.BigEndian.Uint64(k) <= end; k, _ = c.Next() {
		expired = append(expired, TokenHash(k[8:]))
	}
	for _, hash := range expired {
		if err := t.DeleteSession(hash); err != nil {
			return 0, err
		}
	}
	return len(expired), nil
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func dueKey(m *Mail) []byte {
	return binary.BigEndian.AppendUint64(seqKey(unixKey(m.Due.UnixMilli())), m.Seq)
}

func toPrefix(to string) []byte { return append([]byte(strings.ToLower(to)), 0) }

func toKey(m *Mail) []byte { return binary.BigEndian.AppendUint64(toPrefix(m.To), m.Seq) }

// PutMail implements Tx.
func (t *boltTx) PutMail(m *Mail) error {
	if err := t.writable(); err != nil {
		return err
	}
	if m.Seq == 0 {
		seq, err := t.in(bucketMail).NextSequence()
		if err != nil {
			return err
		}
		m.Seq = seq
	} else if err := t.DeleteMail(m.Seq); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	raw, err := encodeMail(m)
	if err != nil {
		return err
	}
	if err := t.in(bucketMail).Put(seqKey(m.Seq), raw); err != nil {
		return err
	}
	if err := t.in(bucketTo).Put(toKey(m), nil); err != nil {
		return err
	}
	return t.in(bucketDue).Put(dueKey(m), nil)
}

func (t *boltTx) mail(seq uint64) (*Mail, error) {
	raw := t.in(bucketMail).Get(seqKey(seq))
	if raw == nil {
		return nil, ErrNotFound
	}
	return decodeMail(seq, raw)
}

// DueMail implements Tx.
func (t *boltTx) DueMail(now time.Time, limit int) ([]*Mail, error) {
	var out []*Mail
	end := unixKey(now.UnixMilli())
	c, heads := t.in(bucketDue).Cursor(), t.in(bucketTo).Cursor()
	for k, _ := c.First(); k != nil && len(out) < limit && binary.BigEndian.Uint64(k) <= end; k, _ = c.Next() {
		m, err := t.mail(binary.BigEndian.Uint64(k[8:]))
		if err != nil {
			return nil, err
		}
		head, _ := heads.Seek(toPrefix(m.To))
		if bytes.Equal(head, toKey(m)) { // the oldest one to this recipient
			out = append(out, m)
		}
	}
	return out, nil
}

// NextMail implements Tx.
func (t *boltTx) NextMail() (time.Time, error) {
	k, _ := t.in(bucketDue).Cursor().First()
	if k == nil {
		return time.Time{}, ErrNotFound
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(k))).UTC(), nil //nolint:gosec // written from an int64
}

// DeleteMail implements Tx.
func (t *boltTx) DeleteMail(seq uint64) error {
	if err := t.writable(); err != nil {
		return err
	}
	m, err := t.mail(seq)
	if err != nil {
		return err
	}
	if err := t.in(bucketTo).Delete(toKey(m)); err != nil {
		return err
	}
	if err := t.in(bucketDue).Delete(dueKey(m)); err != nil {
		return err
	}
	return t.in(bucketMail).Delete(seqKey(seq))
}

// Value implements Tx.
func (t *boltTx) Value(name string) ([]byte, error) {
	raw := t.in(bucketValues).Get([]byte(name))
	if raw == nil {
		return nil, ErrNotFound
	}
	return bytes.Clone(raw), nil
}

// PutValue implements Tx.
func (t *boltTx) PutValue(name string, value []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	return t.in(bucketValues).Put([]byte(name), bytes.Clone(value))
}

// Interface guards
var _ Store = (*BoltStore)(nil)
