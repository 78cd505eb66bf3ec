//go:build !registration_nopostgres

// rest.go: names that were left, invitations.

package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// count deletes rows by a statement that returns something for each, and counts them.
func (t *tx) count(text string, args ...any) (n int, err error) {
	if err := t.writable(); err != nil {
		return 0, err
	}
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			n++
		}
		return nil
	}, text, args...)
	t.wrote = true
	return n, err
}

// PutLeftName implements store.Tx.
func (t *tx) PutLeftName(hash store.NameHash, left store.LeftName) error {
	if err := t.writable(); err != nil {
		return err
	}
	t.left[hash] = &store.LeftName{User: left.User, Until: time.Unix(left.Until.Unix(), 0).UTC()}
	t.exec(`INSERT INTO ~left_names (realm, hash, account, until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (realm, hash) DO UPDATE SET account = excluded.account, until = excluded.until`,
		t.s.realm, bytes.Clone(hash[:]), bytes.Clone(left.User[:]), left.Until.Unix())
	return nil
}

// LeftName implements store.Tx.
func (t *tx) LeftName(hash store.NameHash) (left store.LeftName, err error) {
	if _, seen := t.left[hash]; !seen { // with what was foreseen, which may have it
		if err := t.read(t.leftName(hash), leftName, t.s.realm, hash[:]); err != nil {
			return left, err
		}
	}
	if t.left[hash] == nil {
		return left, errors.Join(t.usable(), store.ErrNotFound)
	}
	return *t.left[hash], t.usable()
}

const leftName = `SELECT account, until FROM ~left_names WHERE realm = $1 AND hash = $2`

// leftName notes what the statement of that name returns.
func (t *tx) leftName(hash store.NameHash) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		if _, seen := t.left[hash]; !seen {
			t.left[hash] = nil
		}
		if !rows.Next() {
			return nil
		}
		var account []byte
		var until int64
		if err := rows.Scan(&account, &until); err != nil {
			return err
		}
		left := &store.LeftName{Until: time.Unix(until, 0).UTC()}
		if copy(left.User[:], account) != len(left.User) {
			return fmt.Errorf("a left name: %w", record.ErrDamaged)
		}
		t.left[hash] = left
		return nil
	}
}

// LeftNames implements store.Tx.
func (t *tx) LeftNames(after store.NameHash, limit int) (hashes []store.NameHash, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var raw []byte
			if err := rows.Scan(&raw); err != nil {
				return err
			}
			if len(raw) != len(store.NameHash{}) {
				return fmt.Errorf("the hash of a left name: %w", record.ErrDamaged)
			}
			hashes = append(hashes, store.NameHash(raw))
		}
		return nil
	}, `SELECT hash FROM ~left_names WHERE realm = $1 AND hash > $2 ORDER BY hash LIMIT $3`, t.s.realm, after[:], limit)
	return hashes, err
}

// DeleteLeftNames implements store.Tx.
func (t *tx) DeleteLeftNames(now time.Time, limit int) (int, error) {
	clear(t.left)
	return t.count(`DELETE FROM ~left_names WHERE realm = $1 AND hash IN (
		SELECT hash FROM ~left_names WHERE realm = $1 AND until <= $2 ORDER BY until, hash LIMIT $3) RETURNING 1`, t.s.realm, now.Unix(), limit)
}

// invitations reads invitations: id and record are the columns.
func (t *tx) invitations(text string, args ...any) (list []*store.Invitation, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var id, data []byte
			if err := rows.Scan(&id, &data); err != nil {
				return err
			}
			if len(id) != len(uuid.UUID{}) {
				return fmt.Errorf("id of an invitation: %w", record.ErrDamaged)
			}
			i, err := record.DecodeInvitation(uuid.UUID(id), data)
			if err != nil {
				return err
			}
			list = append(list, i)
		}
		return nil
	}, text, args...)
	return list, err
}

func only(list []*store.Invitation, err error) (*store.Invitation, error) {
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Invitation implements store.Tx.
func (t *tx) Invitation(id uuid.UUID) (*store.Invitation, error) {
	return only(t.invitations(`SELECT id, data FROM ~invitations WHERE realm = $1 AND id = $2`, t.s.realm, id[:]))
}

// InvitationByHash implements store.Tx.
func (t *tx) InvitationByHash(hash store.TokenHash) (*store.Invitation, error) {
	return only(t.invitations(`SELECT id, data FROM ~invitations WHERE realm = $1 AND hash = $2`, t.s.realm, hash[:]))
}

// Invitations implements store.Tx.
func (t *tx) Invitations(after uuid.UUID, limit int) ([]*store.Invitation, error) {
	return t.invitations(`SELECT id, data FROM ~invitations WHERE realm = $1 AND id > $2 ORDER BY id LIMIT $3`, t.s.realm, after[:], limit)
}

// PutInvitation implements store.Tx.
func (t *tx) PutInvitation(i *store.Invitation) error {
	if err := t.writable(); err != nil {
		return err
	}
	if i.ID == uuid.Nil {
		return errors.New("an invitation needs an id")
	}
	switch same, err := t.InvitationByHash(i.Hash); {
	case err == nil && same.ID != i.ID:
		return store.ErrTaken
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	data, err := record.EncodeInvitation(i)
	if err != nil {
		return err
	}
	t.exec(`INSERT INTO ~invitations (realm, id, hash, expires, data) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (realm, id) DO UPDATE SET hash = excluded.hash, expires = excluded.expires, data = excluded.data`,
		t.s.realm, bytes.Clone(i.ID[:]), bytes.Clone(i.Hash[:]), i.Expires.Unix(), data)
	return nil
}

// DeleteInvitation implements store.Tx.
func (t *tx) DeleteInvitation(id uuid.UUID) error {
	n, err := t.count(`DELETE FROM ~invitations WHERE realm = $1 AND id = $2 RETURNING 1`, t.s.realm, bytes.Clone(id[:]))
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// DeleteInvitations implements store.Tx.
func (t *tx) DeleteInvitations(now time.Time, limit int) (int, error) {
	return t.count(`DELETE FROM ~invitations WHERE realm = $1 AND id IN (
		SELECT id FROM ~invitations WHERE realm = $1 AND expires <= $2 ORDER BY expires, id LIMIT $3) RETURNING 1`, t.s.realm, now.Unix(), limit)
}
