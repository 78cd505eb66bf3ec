// audit.go: the record of acts in the embedded store. An earlier version ignores
// its buckets.

package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// auditScan bounds the rows that one page looks at, so that no query holds a
// transaction for long. Those that a filter leaves out are not decoded.
const auditScan = 20_000

// auditPast is how many rows that stay DeleteAudits looks past.
const auditPast = 5000

// AddAudit implements store.Tx.
func (t *boltTx) AddAudit(a *store.Audit) error {
	if err := t.writable(); err != nil {
		return err
	}
	value, err := record.EncodeAudit(a)
	if err != nil {
		return err
	}
	rows := t.bucket(bucketAudit)
	seq, err := rows.NextSequence()
	if err != nil {
		return err
	}
	if a.Account != uuid.Nil {
		if err := t.bucket(bucketAuditAccount).Add(auditAccountKey(a.Account, seq), nil); err != nil {
			return err
		}
	}
	return rows.Add(seqBytes(seq), value)
}

// PutAudit implements store.Tx.
func (t *boltTx) PutAudit(a *store.Audit) error {
	if err := t.writable(); err != nil {
		return err
	}
	rows := t.bucket(bucketAudit)
	have := rows.Get(seqBytes(a.Seq))
	if have == nil {
		return store.ErrNotFound
	}
	value, err := record.ReplaceAudit(have, a)
	if err != nil {
		return err
	}
	return rows.Put(seqBytes(a.Seq), value)
}

func auditAccountKey(account uuid.UUID, seq uint64) []byte {
	return append(bytes.Clone(account[:]), seqBytes(seq)...)
}

// Audits implements store.Tx.
func (t *boltTx) Audits(q store.AuditQuery) (page store.AuditPage, err error) {
	page.Next = q.After
	next := t.auditSeqs(q)
	for looked := 0; len(page.Rows) < q.Limit; looked++ {
		seq, ok, err := next()
		if err != nil || !ok {
			return page, err
		}
		if looked == auditScan {
			page.More = true
			return page, nil
		}
		page.Next = seq
		row, err := record.ReadAudit(seq, t.bucket(bucketAudit).Get(seqBytes(seq)))
		if err != nil {
			return store.AuditPage{}, err
		}
		if !row.Fits(&q) {
			continue
		}
		a, err := row.Decode()
		if err != nil {
			return store.AuditPage{}, err
		}
		page.Rows = append(page.Rows, a)
	}
	_, page.More, err = next()
	return page, err
}

// auditSeqs walks over the numbers of the rows of an account, or of all, from
// behind q.After on.
func (t *boltTx) auditSeqs(q store.AuditQuery) func() (seq uint64, ok bool, err error) {
	var prefix []byte
	bucket := bucketAudit
	if q.Account != uuid.Nil {
		prefix, bucket = q.Account[:], bucketAuditAccount
	}
	c := t.bucket(bucket).Cursor()
	begun := false
	begin := func() (k []byte) {
		at := append(bytes.Clone(prefix), seqBytes(q.After)...)
		switch {
		case !q.Newest:
			if k, _ = c.Seek(at); bytes.Equal(k, at) {
				k, _ = c.Next()
			}
			return k
		case q.After == 0: // from the last one
			at = append(bytes.Clone(prefix), seqBytes(1<<64-1)...)
		}
		if k, _ = c.Seek(at); k == nil {
			k, _ = c.Last()
		} else {
			k, _ = c.Prev()
		}
		return k
	}
	return func() (uint64, bool, error) {
		var k []byte
		switch {
		case !begun:
			k, begun = begin(), true
		case q.Newest:
			k, _ = c.Prev()
		default:
			k, _ = c.Next()
		}
		if k == nil || !bytes.HasPrefix(k, prefix) {
			return 0, false, nil
		}
		if len(k) != len(prefix)+8 {
			return 0, false, fmt.Errorf("audit order: %w", ErrDamaged)
		}
		return binary.BigEndian.Uint64(k[len(prefix):]), true, nil
	}
}

// DeleteAudits implements store.Tx.
func (t *boltTx) DeleteAudits(before, ahead time.Time, limit int) (int, error) {
	if err := t.writable(); err != nil {
		return 0, err
	}
	var over []record.AuditRow // deleting moves a cursor
	c := t.bucket(bucketAudit).Cursor()
	stay := 0
	for k, v := c.First(); k != nil && len(over) < limit && stay < auditPast; k, v = c.Next() {
		row, err := readAudit(k, v)
		if err != nil {
			return 0, err
		}
		if row.At >= before.Unix() && row.At <= ahead.Unix() {
			stay++
			continue
		}
		over = append(over, record.AuditRow{Seq: row.Seq, Account: row.Account})
	}
	for _, row := range over {
		if row.Account != uuid.Nil {
			if err := t.bucket(bucketAuditAccount).Delete(auditAccountKey(row.Account, row.Seq)); err != nil {
				return 0, err
			}
		}
		if err := t.bucket(bucketAudit).Delete(seqBytes(row.Seq)); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}

// readAudit is record.ReadAudit of a row of the bucket.
func readAudit(k, v []byte) (record.AuditRow, error) {
	if len(k) != 8 {
		return record.AuditRow{}, fmt.Errorf("audit record: %w", ErrDamaged)
	}
	return record.ReadAudit(binary.BigEndian.Uint64(k), v)
}
