//go:build !registration_nopostgres

// audit.go: the record of acts.

package postgres

import (
	"bytes"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// auditScan bounds the rows that one page looks at, so that no query takes long.
const auditScan = 20_000

// AddAudit implements store.Tx.
func (t *tx) AddAudit(a *store.Audit) error {
	if err := t.writable(); err != nil {
		return err
	}
	data, err := record.EncodeAudit(a)
	if err != nil {
		return err
	}
	if err := t.begin(); err != nil {
		return err
	}
	t.more.audit++
	var account []byte
	if a.Account != uuid.Nil {
		account = bytes.Clone(a.Account[:])
	}
	t.exec(`INSERT INTO ~audits (realm, seq, at, account, event, data) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.s.realm, t.at.audit+t.more.audit, a.At.Unix(), account, []byte(a.Event), data)
	return nil
}

// PutAudit implements store.Tx.
func (t *tx) PutAudit(a *store.Audit) error {
	if err := t.writable(); err != nil {
		return err
	}
	var have []byte
	err := t.read(row(&have), `SELECT data FROM ~audits WHERE realm = $1 AND seq = $2`, t.s.realm, int64(min(a.Seq, 1<<63-1)))
	if err != nil {
		return err
	}
	if have == nil {
		return store.ErrNotFound
	}
	data, err := record.ReplaceAudit(have, a)
	if err != nil {
		return err
	}
	t.exec(`UPDATE ~audits SET data = $3 WHERE realm = $1 AND seq = $2`, t.s.realm, int64(a.Seq), data) //nolint:gosec // it was found
	return nil
}

// Audits implements store.Tx.
func (t *tx) Audits(q store.AuditQuery) (page store.AuditPage, err error) {
	beyond, order, after := `>`, `ASC`, int64(min(q.After, 1<<63-1))
	if q.Newest {
		if beyond, order = `<`, `DESC`; q.After == 0 {
			after = 1<<63 - 1
		}
	}
	account, whose := []byte(nil), `$2::bytea IS NULL`
	if q.Account != uuid.Nil {
		account, whose = q.Account[:], `account = $2`
	}
	looked := auditScan
	if q.Event == "" && q.Since.IsZero() && q.Until.IsZero() {
		looked = q.Limit // each of them fits
	}
	// The rows that fit, of so many that are looked at, and by their numbers alone the last of
	// these, which comes behind it where it fits, and the one behind.
	page.Next = q.After
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var seq, n int64
			var data []byte
			if err := rows.Scan(&seq, &n, &data); err != nil {
				return err
			}
			switch {
			case page.More: // it is full
			case n > int64(looked) || data != nil && len(page.Rows) == q.Limit:
				page.More = true
			case data == nil:
				if len(page.Rows) < q.Limit {
					page.Next = uint64(seq) //nolint:gosec // it counts from 1
				}
			default:
				head, err := record.ReadAudit(uint64(seq), data) //nolint:gosec // it counts from 1
				if err != nil {
					return err
				}
				a, err := head.Decode()
				if err != nil {
					return err
				}
				page.Rows, page.Next = append(page.Rows, a), a.Seq
			}
		}
		return nil
	}, `WITH b AS (SELECT seq, at, event, row_number() OVER (ORDER BY seq `+order+`) AS n FROM (
			SELECT seq, at, event FROM ~audits WHERE realm = $1 AND `+whose+` AND seq `+beyond+` $3 ORDER BY seq `+order+` LIMIT $4) l),
		f AS (SELECT seq, n FROM b WHERE ($5::bytea = ''::bytea OR event = $5) AND ($6::bigint IS NULL OR at >= $6) AND ($7::bigint IS NULL OR at < $7)
			AND n < $4 ORDER BY n LIMIT $8),
		l AS (SELECT seq, n FROM b ORDER BY n DESC LIMIT 2)
		SELECT f.seq, f.n, a.data FROM f JOIN ~audits a ON a.realm = $1 AND a.seq = f.seq
		UNION ALL SELECT seq, n, NULL FROM l ORDER BY 2, 3 NULLS LAST`,
		t.s.realm, account, after, looked+1, []byte(q.Event), record.UnixSeconds(q.Since), record.UnixSeconds(q.Until), q.Limit+1)
	if err != nil {
		return store.AuditPage{}, err
	}
	return page, nil
}

// DeleteAudits implements store.Tx.
func (t *tx) DeleteAudits(before, ahead time.Time, limit int) (int, error) {
	return t.count(`DELETE FROM ~audits WHERE realm = $1 AND seq IN (
		SELECT seq FROM ~audits WHERE realm = $1 AND (at < $2 OR at > $3) ORDER BY seq LIMIT $4) RETURNING 1`, t.s.realm, before.Unix(), ahead.Unix(), limit)
}
