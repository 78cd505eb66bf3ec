// tx.go: one transaction of the embedded store: accounts and values, and how keys are made.
// Sessions are in sessions.go, the outbox is in outbox.go.

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// The buckets of a realm. The number in front of a due or expiry time is big
// endian with its sign bit turned, so that byte order is time order.
const (
	bucketUsers         = "users"          // id → format, CBOR of record and keys
	bucketKeys          = "keys"           // field NUL value → id
	bucketSessions      = "sessions"       // hash → format, CBOR
	bucketUserSessions  = "user_sessions"  // user id, hash → unix seconds of its end, or nothing; see sessions.go
	bucketSessionExpiry = "session_expiry" // unix seconds, hash → 1, or nothing; see sessions.go
	bucketOutbox        = "outbox"         // seq → format, CBOR
	bucketOutboxDue     = "outbox_due"     // unix ms, seq → nothing; the oldest mail of each recipient only
	bucketOutboxTo      = "outbox_to"      // lower-case recipient NUL seq → nothing
	bucketValues        = "values"         // name → format, value
	bucketLeftNames     = "left_names"     // HMAC of the name → format, user id, unix seconds
	bucketLeftUntil     = "left_until"     // unix seconds, HMAC of the name → nothing
	bucketBudgets       = "budgets"        // table NUL key → format, unix ms
	bucketWaiting       = "waiting"        // unix seconds of WaitingSince, id → nothing
	bucketWaitingKeys   = "waiting_keys"   // value NUL id → nothing
	bucketAudit         = "audit"          // seq → format, unix seconds, account, event, CBOR of the rest
	bucketAuditAccount  = "audit_account"  // account, seq → nothing

	bucketInvitations      = "invitations"       // id → format, CBOR
	bucketInvitationHashes = "invitation_hashes" // hash of the token → id
	bucketInvitationExpiry = "invitation_expiry" // unix seconds, id → nothing

	// The indexes of Members: see members.go.
	bucketUnconfirmed  = "members_unconfirmed" // id → nothing; the sequence counts them
	bucketAwaiting     = "members_waiting"     // id → nothing; the sequence counts them
	bucketDisabled     = "members_disabled"    // id → nothing; the sequence counts them
	bucketClosing      = "members_closing"     // id → nothing; the sequence counts them
	bucketMemberGroups = "members_groups"      // group NUL id → nothing
	bucketMemberTexts  = "members_texts"       // beginning of a folded text NUL id → nothing
)

var realmBuckets = []string{
	bucketUsers, bucketKeys, bucketSessions, bucketUserSessions, bucketSessionExpiry,
	bucketOutbox, bucketOutboxDue, bucketOutboxTo, bucketValues, bucketBudgets, bucketWaiting, bucketWaitingKeys,
	bucketLeftNames, bucketLeftUntil, bucketAudit, bucketAuditAccount,
	bucketInvitations, bucketInvitationHashes, bucketInvitationExpiry,
	bucketUnconfirmed, bucketAwaiting, bucketDisabled, bucketClosing, bucketMemberGroups, bucketMemberTexts,
}

// written is what an act leaves outside of the file: the mails that got a Seq, and
// what the followers of the store are told of. See Store.Update.
type written struct {
	queued []*store.Mail
	change store.Change
}

// boltTx implements Tx. A failing write method has written nothing unless the
// error is a damaged file; records are encoded before the first write.
type boltTx struct {
	tx    *bolt.Tx
	realm *bolt.Bucket
	// done collects what the act leaves outside of the file; nil in a View.
	done *written
	// undo collects what is overwritten; nil in a View.
	undo *undo
}

func (t *boltTx) bucket(name string) table {
	if t.tx == nil {
		// bbolt would read unmapped memory, which ends the process.
		panic("registration: a store.Tx was used after its function had returned")
	}
	b := t.realm.Bucket([]byte(name))
	switch name {
	case bucketUsers, bucketSessions, bucketSessionExpiry, bucketAudit, bucketOutbox, bucketOutboxDue, bucketWaiting,
		bucketUnconfirmed, bucketAwaiting, bucketDisabled, bucketClosing:
		// Keys come in (nearly) rising order, so a split page is not written to again.
		// The rest is room for a record that grows: its first sign-in adds some bytes.
		b.FillPercent = 0.95
	}
	return table{b, t.undo}
}

func (t *boltTx) writable() error {
	if t.tx != nil && !t.tx.Writable() {
		return store.ErrReadOnly
	}
	return nil
}

// end makes later calls fail loudly.
func (t *boltTx) end() { t.tx, t.realm = nil, nil }

// User implements Tx.
func (t *boltTx) User(id uuid.UUID) (*store.User, error) {
	u, _, err := t.userAndKeys(id)
	if errors.Is(err, store.ErrNotFound) {
		_, _, _ = record.DecodeUser(id, record.Nobody)
	}
	return u, err
}

// userAndKeys is for who writes: that it is quicker where there is no such account tells nobody
// anything.
func (t *boltTx) userAndKeys(id uuid.UUID) (*store.User, []store.Key, error) {
	data := t.bucket(bucketUsers).Get(id[:])
	if data == nil {
		return nil, nil, store.ErrNotFound
	}
	return record.DecodeUser(id, data)
}

// BriefUser implements Tx.
func (t *boltTx) BriefUser(id uuid.UUID) (*store.User, error) {
	data := t.bucket(bucketUsers).Get(id[:])
	if data == nil {
		_, _ = record.DecodeUserBriefly(id, record.Nobody)
		return nil, store.ErrNotFound
	}
	return record.DecodeUserBriefly(id, data)
}

// UserByKey implements Tx.
func (t *boltTx) UserByKey(field, key string) (*store.User, error) {
	return t.userByKey(field, key, t.User)
}

// BriefUserByKey implements Tx.
func (t *boltTx) BriefUserByKey(field, key string) (*store.User, error) {
	return t.userByKey(field, key, t.BriefUser)
}

func (t *boltTx) userByKey(field, key string, read func(uuid.UUID) (*store.User, error)) (*store.User, error) {
	if strings.Contains(field, "\x00") || field == store.WaitingKey {
		return nil, store.ErrNotFound
	}
	data := t.bucket(bucketKeys).Get(indexKey(field, key))
	if data == nil {
		return read(uuid.Nil) // there is none, and finding that takes as long as an account does
	}
	id, err := uuid.FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("key of field %s: %w: %w", field, ErrDamaged, err)
	}
	u, err := read(id)
	if errors.Is(err, store.ErrNotFound) {
		// Not %w: the key exists, so this must not look like an absence.
		return nil, fmt.Errorf("key of field %s without its user: %w", field, ErrDamaged)
	}
	return u, err
}

// Users implements Tx.
func (t *boltTx) Users(after uuid.UUID, limit int) ([]*store.User, error) {
	var users []*store.User
	c := t.bucket(bucketUsers).Cursor()
	k, v := c.Seek(after[:])
	if bytes.Equal(k, after[:]) {
		k, v = c.Next()
	}
	for ; k != nil && len(users) < limit; k, v = c.Next() {
		id, err := uuid.FromBytes(k)
		if err != nil {
			return nil, fmt.Errorf("user id: %w: %w", ErrDamaged, err)
		}
		u, _, err := record.DecodeUser(id, v)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

// PutUser implements Tx. Keys with an empty value are left out.
func (t *boltTx) PutUser(u *store.User, keys []store.Key) error {
	if err := t.writable(); err != nil {
		return err
	}
	if u.ID == uuid.Nil {
		return errors.New("an account needs an id")
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k store.Key) bool { return k.Value == "" })
	index := t.bucket(bucketKeys)
	free, err := checkKeys(index, u.ID, keys)
	if err != nil {
		return err
	}
	data, err := record.EncodeUser(u, keys)
	if err != nil {
		return err
	}
	before, old, err := t.userAndKeys(u.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for _, k := range old {
		if !slices.Contains(keys, k) {
			if err := t.removeKey(k, u.ID); err != nil {
				return err
			}
		}
	}
	for _, k := range keys {
		// An unchanged key costs no page.
		if slices.Contains(old, k) {
			continue
		}
		switch {
		case k.Field == store.WaitingKey:
			err = t.bucket(bucketWaitingKeys).Put(waitingKey(k.Value, u.ID), nil)
		case slices.Contains(free, k):
			err = index.Add(indexKey(k.Field, k.Value), u.ID[:])
		default:
			err = index.Put(indexKey(k.Field, k.Value), u.ID[:])
		}
		if err != nil {
			return err
		}
	}
	if err := t.orderWaiting(before, u); err != nil {
		return err
	}
	if err := t.indexMember(member{before, old}, member{u, keys}); err != nil {
		return err
	}
	t.changed(u.ID)
	if before == nil {
		return t.bucket(bucketUsers).Add(u.ID[:], data)
	}
	return t.bucket(bucketUsers).Put(u.ID[:], data)
}

// checkKeys says why an account can't have these keys.
func checkKeys(index table, id uuid.UUID, keys []store.Key) (free []store.Key, err error) {
	for _, k := range keys {
		if strings.Contains(k.Field, "\x00") {
			return nil, fmt.Errorf("field name %q contains a NUL", k.Field)
		}
		key := indexKey(k.Field, k.Value)
		if len(key)+len(id) > bolt.MaxKeySize {
			return nil, fmt.Errorf("the value of field %s is too long for a unique key (%d bytes)", k.Field, len(k.Value))
		}
		if k.Field == store.WaitingKey {
			continue
		}
		switch owner := index.Get(key); {
		case owner == nil:
			free = append(free, k)
		case !bytes.Equal(owner, id[:]):
			return nil, &store.TakenError{Field: k.Field}
		}
	}
	return free, nil
}

// DeleteUser implements Tx.
func (t *boltTx) DeleteUser(id uuid.UUID) error {
	if err := t.writable(); err != nil {
		return err
	}
	u, keys, err := t.userAndKeys(id)
	if err != nil {
		return err
	}
	sessions, err := t.Sessions(id, math.MaxInt)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := t.removeSession(s); err != nil {
			return err
		}
	}
	if err := t.removeLeft(id, math.MaxInt64); err != nil {
		return err
	}
	for _, k := range keys {
		if err := t.removeKey(k, id); err != nil {
			return err
		}
	}
	if err := t.orderWaiting(u, nil); err != nil {
		return err
	}
	if err := t.indexMember(member{u, keys}, member{}); err != nil {
		return err
	}
	t.changed(id)
	return t.bucket(bucketUsers).Delete(id[:])
}

// Value implements Tx.
func (t *boltTx) Value(name string) ([]byte, error) {
	data := t.bucket(bucketValues).Get([]byte(name))
	if data == nil {
		return nil, store.ErrNotFound
	}
	body, err := record.Body("value", valueFormat, data)
	if err != nil {
		return nil, err
	}
	// bytes.Clone(empty) is not nil: a set value is never nil.
	return bytes.Clone(body), nil
}

// PutValue implements Tx.
func (t *boltTx) PutValue(name string, value []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	if name == "" {
		return errors.New("a value needs a name")
	}
	// bbolt keeps what it is given until the commit: a copy.
	return t.bucket(bucketValues).Put([]byte(name), append([]byte{valueFormat}, value...))
}

// The format versions of the records that only this store writes. A change that an older plugin
// would misread raises the number and teaches the decoder both.
const (
	valueFormat  = 1
	budgetFormat = 1
)

// ErrDamaged is record.ErrDamaged: two buckets contradict each other, or a record cannot be read.
var ErrDamaged = record.ErrDamaged

// sortable turns a signed number into eight bytes in its order: times before
// 1970 come first.
func sortable(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63) //nolint:gosec // the bits are meant, not the number
}

func fromSortable(b []byte) int64 {
	return int64(binary.BigEndian.Uint64(b) ^ 1<<63) //nolint:gosec // as above, back again
}

func seqBytes(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// indexKey is the key of the index of unique values. A field name has no NUL,
// so the first one ends it.
func indexKey(field, value string) []byte { return []byte(field + "\x00" + value) }

func mailDueKey(m *store.Mail) []byte {
	return append(sortable(m.Due.UnixMilli()), seqBytes(m.Seq)...)
}

// mailToPrefix begins the keys of all queued mails of a recipient. Mail systems
// do not tell the case of an address apart, so neither does the order.
func mailToPrefix(to string) []byte { return []byte(strings.ToLower(to) + "\x00") }

func mailToKey(m *store.Mail) []byte { return append(mailToPrefix(m.To), seqBytes(m.Seq)...) }
