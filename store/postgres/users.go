//go:build !registration_nopostgres

// users.go: accounts and their unique keys.

package postgres

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// The states as the tables have them.
const (
	stateActive = iota
	stateUnconfirmed
	stateWaiting
	stateDisabled
	stateClosing
	stateAll // in counters alone
)

var states = map[string]int{
	store.StateActive: stateActive, store.StateUnconfirmed: stateUnconfirmed, store.StateWaiting: stateWaiting,
	store.StateDisabled: stateDisabled, store.StateClosing: stateClosing,
}

// keyBytes is how a text stands in an index, which takes up to some 2 700 bytes.
func keyBytes(text string) []byte {
	const most, head = 1000, 900
	if len(text) <= most {
		return []byte(text)
	}
	sum := sha256.Sum256([]byte(text))
	return append([]byte(text[:head]), sum[:]...)
}

// data returns the record of an account, nil where there is none.
func (t *tx) data(id uuid.UUID) ([]byte, error) {
	if data, seen := t.users[id]; seen {
		return data, t.usable()
	}
	err := t.read(t.usersOf([]uuid.UUID{id}), usersOf, t.s.realm, [][]byte{id[:]}) // with what was foreseen, which may have it
	return t.users[id], err
}

const usersOf = `SELECT id, data FROM ~users WHERE realm = $1 AND id = ANY($2::bytea[])`

func ids(accounts []uuid.UUID) (raw [][]byte) {
	for _, id := range accounts {
		raw = append(raw, bytes.Clone(id[:]))
	}
	return raw
}

// usersOf notes what the statement of these accounts returns.
func (t *tx) usersOf(accounts []uuid.UUID) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		found := map[uuid.UUID][]byte{}
		for rows.Next() {
			var id, data []byte
			if err := rows.Scan(&id, &data); err != nil {
				return err
			}
			if len(id) == len(uuid.UUID{}) {
				found[uuid.UUID(id)] = data
			}
		}
		for _, id := range accounts {
			if _, seen := t.users[id]; !seen {
				t.users[id] = found[id]
			}
		}
		return nil
	}
}

func (t *tx) userAndKeys(id uuid.UUID) (*store.User, []store.Key, error) {
	data, err := t.data(id)
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		_, _, _ = record.DecodeUser(id, record.Nobody)
		return nil, nil, store.ErrNotFound
	}
	u, keys, err := record.DecodeUser(id, data)
	if err == nil {
		t.learn(id, keys)
	}
	return u, keys, err
}

// learn notes that an account has the keys that its record says, and foresees the question
// who has the same values as other keys: a sign-in name is nobody else's by another field.
func (t *tx) learn(id uuid.UUID, keys []store.Key) {
	var other []store.Key
	known := *t.s.db.fields.Load()
	for _, k := range keys {
		if k.Field == store.WaitingKey || t.knows(k) {
			continue
		}
		t.keys[k] = id
		if !slices.Contains(known, k.Field) {
			continue
		}
		for _, field := range known {
			if field != k.Field {
				other = append(other, store.Key{Field: field, Value: k.Value})
			}
		}
	}
	if len(other) > 0 && t.write {
		text, args, rows := t.holders(other)
		t.foresee(rows, text, args...)
	}
}

// holders asks who has keys, and notes it with the records of who does.
func (t *tx) holders(keys []store.Key) (text string, args []any, rows func(pgx.Rows) error) {
	fields, values, _ := split(keys)
	return `SELECT k.field, k.value, k.account, u.data FROM unnest($2::bytea[], $3::bytea[]) AS sought (field, value)
			JOIN ~keys k ON k.realm = $1 AND k.field = sought.field AND k.value = sought.value
			LEFT JOIN ~users u ON u.realm = k.realm AND u.id = k.account`, []any{t.s.realm, fields, values}, func(rows pgx.Rows) error {
			held := map[store.Key]uuid.UUID{}
			for rows.Next() {
				var field, value, account, data []byte
				if err := rows.Scan(&field, &value, &account, &data); err != nil {
					return err
				}
				if len(account) != len(uuid.UUID{}) || data == nil {
					return fmt.Errorf("key of field %s without its account: %w", field, record.ErrDamaged)
				}
				id := uuid.UUID(account)
				held[store.Key{Field: string(field), Value: string(value)}] = id
				if _, seen := t.users[id]; !seen {
					t.users[id] = data
				}
			}
			for _, k := range keys {
				if !t.knows(k) {
					t.keys[k] = held[store.Key{Field: k.Field, Value: string(keyBytes(k.Value))}]
				}
			}
			return nil
		}
}

// A sign-in name is looked for in several fields, one after the other, so whoever asks in one
// is answered for those that have been asked for before on this node.
const maxFields = 6

// fieldsWith are these fields, with one more.
func (db *DB) fieldsWith(field string) []string {
	for {
		known := db.fields.Load()
		if slices.Contains(*known, field) {
			return *known
		}
		if field == store.ProgramKey || field == store.LinkedKey || len(*known) == maxFields {
			return []string{field}
		}
		more := append(slices.Clone(*known), field)
		if db.fields.CompareAndSwap(known, &more) {
			return more
		}
	}
}

// User implements store.Tx.
func (t *tx) User(id uuid.UUID) (*store.User, error) {
	u, _, err := t.userAndKeys(id)
	return u, err
}

// BriefUser implements store.Tx.
func (t *tx) BriefUser(id uuid.UUID) (*store.User, error) {
	data, err := t.data(id)
	if err != nil {
		return nil, err
	}
	if data == nil {
		_, _ = record.DecodeUserBriefly(id, record.Nobody)
		return nil, store.ErrNotFound
	}
	return record.DecodeUserBriefly(id, data)
}

// UserByKey implements store.Tx.
func (t *tx) UserByKey(field, key string) (*store.User, error) {
	id, err := t.holder(field, key)
	if err != nil {
		return nil, err
	}
	return t.User(id)
}

// BriefUserByKey implements store.Tx.
func (t *tx) BriefUserByKey(field, key string) (*store.User, error) {
	id, err := t.holder(field, key)
	if err != nil {
		return nil, err
	}
	return t.BriefUser(id)
}

// holder returns the account that has a unique key, and sees to it that its record is there; the
// zero id, which no account has, where nobody does.
func (t *tx) holder(field, key string) (id uuid.UUID, err error) {
	if _, seen := t.users[uuid.Nil]; !seen {
		t.users[uuid.Nil] = nil
	}
	if field == store.WaitingKey || strings.Contains(field, "\x00") {
		return uuid.Nil, t.usable()
	}
	k := store.Key{Field: field, Value: key}
	if id, seen := t.keys[k]; seen {
		return id, t.usable()
	}
	var keys []store.Key
	for _, f := range t.s.db.fieldsWith(field) {
		if one := (store.Key{Field: f, Value: key}); !t.knows(one) {
			keys = append(keys, one)
		}
	}
	text, args, rows := t.holders(keys)
	if err := t.read(rows, text, args...); err != nil {
		return uuid.Nil, err
	}
	return t.keys[k], nil
}

func (t *tx) knows(k store.Key) bool {
	_, seen := t.keys[k]
	return seen
}

// accounts reads accounts: id and record are the first columns.
func (t *tx) accounts(text string, args ...any) (users []*store.User, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			u, err := scanUser(rows)
			if err != nil {
				return err
			}
			users = append(users, u)
		}
		return nil
	}, text, args...)
	return users, err
}

func scanUser(rows pgx.Rows, more ...any) (*store.User, error) {
	var id, data []byte
	if err := rows.Scan(append([]any{&id, &data}, more...)...); err != nil {
		return nil, err
	}
	if len(id) != len(uuid.UUID{}) {
		return nil, fmt.Errorf("id of an account: %w", record.ErrDamaged)
	}
	u, _, err := record.DecodeUser(uuid.UUID(id), data)
	return u, err
}

// Users implements store.Tx.
func (t *tx) Users(after uuid.UUID, limit int) ([]*store.User, error) {
	return t.accounts(`SELECT id, data FROM ~users WHERE realm = $1 AND id > $2 ORDER BY id LIMIT $3`, t.s.realm, after[:], limit)
}

// Waiting implements store.Tx.
func (t *tx) Waiting(value string, limit int) ([]*store.User, error) {
	users, err := t.accounts(`SELECT u.id, u.data FROM ~waiting w JOIN ~users u ON u.realm = w.realm AND u.id = w.account
		WHERE w.realm = $1 AND w.value = $2 ORDER BY w.account DESC LIMIT $3`, t.s.realm, keyBytes(value), limit)
	if len(users) == 0 && limit > 0 && err == nil {
		_, _, _ = record.DecodeUser(uuid.Nil, record.Nobody) // finding none takes as long as finding one
	}
	return users, err
}

// WaitingSince implements store.Tx.
func (t *tx) WaitingSince(from, to time.Time, limit int) ([]*store.User, error) {
	return t.accounts(`SELECT id, data FROM ~users WHERE realm = $1 AND waiting_since >= $2 AND waiting_since < $3
		ORDER BY waiting_since, id LIMIT $4`, t.s.realm, from.Unix(), to.Unix(), limit)
}

// PutUser implements store.Tx. Keys with an empty value are left out.
func (t *tx) PutUser(u *store.User, keys []store.Key) error {
	if err := t.writable(); err != nil {
		return err
	}
	if u.ID == uuid.Nil {
		return errors.New("an account needs an id")
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k store.Key) bool { return k.Value == "" })
	for _, k := range keys {
		if strings.Contains(k.Field, "\x00") || len(k.Field) > 1000 {
			return fmt.Errorf("field name %.64q contains a NUL or is too long", k.Field)
		}
		if len(k.Value) > maxKey {
			return fmt.Errorf("the value of field %s is too long for a unique key (%d bytes)", k.Field, len(k.Value))
		}
	}
	data, err := record.EncodeUser(u, keys)
	if err != nil {
		return err
	}
	if _, seen := t.users[u.ID]; !seen { // a new one: both questions at once
		if unknown := t.unknown(keys, nil); len(unknown) > 0 {
			text, args, rows := t.holders(unknown)
			t.foresee(rows, text, args...)
		}
	}
	before, old, err := t.userAndKeys(u.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := t.checkKeys(u.ID, keys, old); err != nil {
		return err
	}
	var gone, fresh []store.Key
	for _, k := range old {
		if !slices.Contains(keys, k) {
			gone = append(gone, k)
		}
	}
	for _, k := range keys {
		if !slices.Contains(old, k) && !slices.Contains(fresh, k) {
			fresh = append(fresh, k)
		}
	}
	t.removeKeys(u.ID, gone)
	t.addKeys(u.ID, fresh)
	var since *int64
	if u.AwaitsVerification {
		since = new(u.WaitingSince.Unix())
	}
	state := states[u.State()]
	if before == nil {
		t.exec(`INSERT INTO ~users (realm, id, state, waiting_since, data) VALUES ($1, $2, $3, $4, $5)`, t.s.realm, bytes.Clone(u.ID[:]), state, since, data)
	} else {
		t.exec(`UPDATE ~users SET state = $3, waiting_since = $4, data = $5 WHERE realm = $1 AND id = $2`, t.s.realm, bytes.Clone(u.ID[:]), state, since, data)
	}
	t.indexMember(u.ID, before, u)
	t.users[u.ID] = data
	t.change.Users = append(t.change.Users, u.ID)
	return nil
}

// maxKey bounds a unique key, in bytes.
const maxKey = 32 << 10

// unknown are those of keys of which it is not known whose they are.
func (t *tx) unknown(keys, old []store.Key) (unknown []store.Key) {
	for _, k := range keys {
		if !t.knows(k) && k.Field != store.WaitingKey && !slices.Contains(old, k) {
			unknown = append(unknown, k)
		}
	}
	return unknown
}

// checkKeys says whose the keys are that an account is to have and didn't.
func (t *tx) checkKeys(id uuid.UUID, keys, old []store.Key) error {
	if unknown := t.unknown(keys, old); len(unknown) > 0 {
		text, args, rows := t.holders(unknown)
		if err := t.read(rows, text, args...); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if owner := t.keys[k]; k.Field != store.WaitingKey && owner != uuid.Nil && owner != id {
			return &store.TakenError{Field: k.Field}
		}
	}
	return nil
}

// split are the columns of keys: unique ones, and those of the field WaitingKey.
func split(keys []store.Key) (fields, values, waiting [][]byte) {
	for _, k := range keys {
		if k.Field == store.WaitingKey {
			waiting = append(waiting, keyBytes(k.Value))
			continue
		}
		fields, values = append(fields, []byte(k.Field)), append(values, keyBytes(k.Value))
	}
	return fields, values, waiting
}

func (t *tx) removeKeys(id uuid.UUID, keys []store.Key) {
	fields, values, waiting := split(keys)
	if len(fields) > 0 {
		t.exec(`DELETE FROM ~keys k USING unnest($2::bytea[], $3::bytea[]) AS gone (field, value)
			WHERE k.realm = $1 AND k.field = gone.field AND k.value = gone.value`, t.s.realm, fields, values)
	}
	if len(waiting) > 0 {
		t.exec(`DELETE FROM ~waiting WHERE realm = $1 AND value = ANY($2) AND account = $3`, t.s.realm, waiting, bytes.Clone(id[:]))
	}
	for _, k := range keys {
		t.keys[k] = uuid.Nil
	}
}

func (t *tx) addKeys(id uuid.UUID, keys []store.Key) {
	fields, values, waiting := split(keys)
	if len(fields) > 0 {
		t.exec(`INSERT INTO ~keys (realm, field, value, account) SELECT $1, field, value, $4 FROM unnest($2::bytea[], $3::bytea[]) AS fresh (field, value)`,
			t.s.realm, fields, values, bytes.Clone(id[:]))
	}
	if len(waiting) > 0 {
		t.exec(`INSERT INTO ~waiting (realm, value, account) SELECT $1, value, $3 FROM unnest($2::bytea[]) AS fresh (value) ON CONFLICT DO NOTHING`,
			t.s.realm, waiting, bytes.Clone(id[:]))
	}
	for _, k := range keys {
		if k.Field != store.WaitingKey {
			t.keys[k] = id
		}
	}
}

// DeleteUser implements store.Tx.
func (t *tx) DeleteUser(id uuid.UUID) error {
	if err := t.writable(); err != nil {
		return err
	}
	u, keys, err := t.userAndKeys(id)
	if err != nil {
		return err
	}
	if err := t.endSessions(`DELETE FROM ~sessions WHERE realm = $1 AND account = $2 RETURNING hash`, t.s.realm, bytes.Clone(id[:])); err != nil {
		return err
	}
	t.removeKeys(id, keys)
	t.indexMember(id, u, nil)
	t.exec(`DELETE FROM ~users WHERE realm = $1 AND id = $2`, t.s.realm, bytes.Clone(id[:]))
	t.users[id] = nil
	t.change.Users = append(t.change.Users, id)
	return nil
}
