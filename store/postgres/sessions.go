//go:build !registration_nopostgres

// sessions.go: the sign-ins, and the realm's own values.

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

// Session implements store.Tx. Whoever asks for a session asks for its account next, so that
// comes with it.
func (t *tx) Session(hash store.TokenHash) (s *store.Session, err error) {
	if _, seen := t.sessions[hash]; !seen { // with what was foreseen, which may have it
		if err := t.read(t.sessionsOf([]store.TokenHash{hash}), sessionsOf, t.s.realm, [][]byte{hash[:]}); err != nil {
			return nil, err
		}
	}
	data := t.sessions[hash]
	if data == nil {
		return nil, errors.Join(t.usable(), store.ErrNotFound)
	}
	if err := t.usable(); err != nil {
		return nil, err
	}
	return record.DecodeSession(hash, data)
}

const sessionsOf = `SELECT s.hash, s.data, s.account, u.data FROM ~sessions s LEFT JOIN ~users u ON u.realm = s.realm AND u.id = s.account
	WHERE s.realm = $1 AND s.hash = ANY($2::bytea[])`

func hashes(sessions []store.TokenHash) (raw [][]byte) {
	for _, hash := range sessions {
		raw = append(raw, bytes.Clone(hash[:]))
	}
	return raw
}

// sessionsOf notes what the statement of these sessions returns, with their accounts.
func (t *tx) sessionsOf(sessions []store.TokenHash) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		found := map[store.TokenHash][]byte{}
		for rows.Next() {
			var raw, data, id, account []byte
			if err := rows.Scan(&raw, &data, &id, &account); err != nil {
				return err
			}
			hash, err := tokenHash(raw)
			if err != nil {
				return err
			}
			if found[hash] = data; len(id) == len(uuid.UUID{}) {
				if _, seen := t.users[uuid.UUID(id)]; !seen {
					t.users[uuid.UUID(id)] = account // nil: there is none
				}
			}
		}
		for _, hash := range sessions {
			if _, seen := t.sessions[hash]; !seen {
				t.sessions[hash] = found[hash]
			}
		}
		return nil
	}
}

// Sessions implements store.Tx.
func (t *tx) Sessions(user uuid.UUID, limit int) (sessions []*store.Session, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var hash, data []byte
			if err := rows.Scan(&hash, &data); err != nil {
				return err
			}
			h, err := tokenHash(hash)
			if err != nil {
				return err
			}
			s, err := record.DecodeSession(h, data)
			if err != nil {
				return err
			}
			t.sessions[h] = data
			sessions = append(sessions, s)
		}
		return nil
	}, `SELECT hash, data FROM ~sessions WHERE realm = $1 AND account = $2 ORDER BY hash LIMIT $3`, t.s.realm, user[:], limit)
	return sessions, err
}

func tokenHash(raw []byte) (h store.TokenHash, err error) {
	if len(raw) != len(h) {
		return h, fmt.Errorf("hash of a session: %w", record.ErrDamaged)
	}
	return store.TokenHash(raw), nil
}

// PutSession implements store.Tx.
func (t *tx) PutSession(s *store.Session) error {
	if err := t.writable(); err != nil {
		return err
	}
	data, err := record.EncodeSession(s)
	if err != nil {
		return err
	}
	// A hash that the act has not come across is a new one: tokens are random. Where it is
	// not, the act is run once more, carefully.
	old, err := (*store.Session)(nil), store.ErrNotFound
	if _, seen := t.sessions[s.Hash]; seen || t.careful {
		old, err = t.Session(s.Hash)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		t.exec(`INSERT INTO ~sessions (realm, hash, account, expires, data) VALUES ($1, $2, $3, $4, $5)`,
			t.s.realm, bytes.Clone(s.Hash[:]), bytes.Clone(s.User[:]), s.Expires.Unix(), data)
		t.sessions[s.Hash] = data
		return t.usable()
	case err != nil:
		return err
	}
	t.exec(`UPDATE ~sessions SET account = $3, expires = $4, data = $5 WHERE realm = $1 AND hash = $2`,
		t.s.realm, bytes.Clone(s.Hash[:]), bytes.Clone(s.User[:]), s.Expires.Unix(), data)
	t.sessions[s.Hash] = data
	old.LastUsed = s.LastUsed
	if before, err := record.EncodeSession(old); err != nil || !bytes.Equal(before, data) {
		t.change.Sessions = append(t.change.Sessions, s.Hash)
	}
	return nil
}

// DeleteSession implements store.Tx.
func (t *tx) DeleteSession(hash store.TokenHash) error {
	if err := t.writable(); err != nil {
		return err
	}
	if data, seen := t.sessions[hash]; seen {
		if data == nil {
			return errors.Join(t.usable(), store.ErrNotFound)
		}
		t.exec(`DELETE FROM ~sessions WHERE realm = $1 AND hash = $2`, t.s.realm, bytes.Clone(hash[:]))
		t.sessions[hash] = nil
		t.change.Sessions = append(t.change.Sessions, hash)
		return t.usable()
	}
	before := len(t.change.Sessions)
	if err := t.endSessions(`DELETE FROM ~sessions WHERE realm = $1 AND hash = $2 RETURNING hash`, t.s.realm, bytes.Clone(hash[:])); err != nil {
		return err
	}
	if len(t.change.Sessions) == before {
		return store.ErrNotFound
	}
	return nil
}

// DeleteExpiredSessions implements store.Tx.
func (t *tx) DeleteExpiredSessions(now time.Time, limit int) ([]store.TokenHash, error) {
	if err := t.writable(); err != nil {
		return nil, err
	}
	before := len(t.change.Sessions)
	if err := t.endSessions(`DELETE FROM ~sessions WHERE realm = $1 AND hash IN (
		SELECT hash FROM ~sessions WHERE realm = $1 AND expires <= $2 ORDER BY expires, hash LIMIT $3) RETURNING hash`, t.s.realm, now.Unix(), limit); err != nil {
		return nil, err
	}
	return append([]store.TokenHash(nil), t.change.Sessions[before:]...), nil
}

// endSessions deletes sessions and notes which.
func (t *tx) endSessions(text string, args ...any) error {
	t.wrote = true
	return t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var raw []byte
			if err := rows.Scan(&raw); err != nil {
				return err
			}
			h, err := tokenHash(raw)
			if err != nil {
				return err
			}
			t.sessions[h] = nil
			t.change.Sessions = append(t.change.Sessions, h)
		}
		return nil
	}, text, args...)
}

// Value implements store.Tx.
func (t *tx) Value(name string) ([]byte, error) {
	if _, seen := t.values[name]; !seen { // with what was foreseen, which may have it
		if err := t.read(t.value(name), value, t.s.realm, []byte(name)); err != nil {
			return nil, err
		}
	}
	if t.values[name] == nil {
		return nil, errors.Join(t.usable(), store.ErrNotFound)
	}
	return bytes.Clone(t.values[name]), t.usable()
}

const value = `SELECT value FROM ~values WHERE realm = $1 AND name = $2`

// value notes what the statement of that value returns.
func (t *tx) value(name string) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		if _, seen := t.values[name]; !seen {
			t.values[name] = nil
		}
		if !rows.Next() {
			return nil
		}
		found := []byte{} // a set value is never nil
		err := rows.Scan(&found)
		t.values[name] = found
		return err
	}
}

// PutValue implements store.Tx.
func (t *tx) PutValue(name string, value []byte) error {
	if err := t.writable(); err != nil {
		return err
	}
	if name == "" || len(name) > 1000 {
		return errors.New("a value needs a name, of up to 1000 bytes")
	}
	t.values[name] = append([]byte{}, value...)
	t.exec(`INSERT INTO ~values (realm, name, value) VALUES ($1, $2, $3) ON CONFLICT (realm, name) DO UPDATE SET value = excluded.value`,
		t.s.realm, []byte(name), append([]byte{}, value...))
	return nil
}
