// audit.go: the record of acts in the embedded store. An earlier version ignores
// its buckets.

package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// auditScan bounds the rows that one page looks at, so that no query holds a
// transaction for long. Those that a filter leaves out are not decoded.
const auditScan = 20_000

// auditPast is how many rows that stay DeleteAudits looks past.
const auditPast = 5000

// auditRecord is what a row has besides its head: time, account and event, by which
// it is filtered. The address is a string: its four bytes would spare little.
type auditRecord struct {
	// Actor is empty for the account itself; Other says that it isn't.
	Actor   string            `cbor:"1,keyasint,omitempty"`
	Other   bool              `cbor:"2,keyasint,omitempty"`
	Address string            `cbor:"3,keyasint,omitempty"`
	Agent   string            `cbor:"4,keyasint,omitempty"` // in shorthand
	Details map[string]string `cbor:"5,keyasint,omitempty"`
}

// auditHead is the part of a record in front of its event: format, time, account
// and the length of the event.
const auditHead = 1 + 8 + 16 + 1

// AddAudit implements store.Tx.
func (t *boltTx) AddAudit(a *store.Audit) error {
	if err := t.writable(); err != nil {
		return err
	}
	value, err := encodeAudit(a)
	if err != nil {
		return err
	}
	rows := t.bucket(bucketAudit)
	seq, err := rows.NextSequence()
	if err != nil {
		return err
	}
	if a.Account != uuid.Nil {
		if err := t.bucket(bucketAuditAccount).Put(auditAccountKey(a.Account, seq), nil); err != nil {
			return err
		}
	}
	return rows.Put(seqBytes(seq), value)
}

// encodeAudit is the record of a row.
func encodeAudit(a *store.Audit) ([]byte, error) {
	size := 0
	for name, v := range a.Details {
		size += len(name) + len(v)
	}
	if a.Event == "" || len(a.Event) > store.MaxAuditEvent || len(a.Actor) > store.MaxAuditActor || len(a.Address) > store.MaxAuditAddress ||
		len(a.Agent) > store.MaxAuditAgent || size > store.MaxAuditDetails {
		return nil, fmt.Errorf("a row of the audit: %w", store.ErrTooLarge)
	}
	r := auditRecord{Address: a.Address, Agent: toShorthand(a.Agent), Details: a.Details}
	if a.Account == uuid.Nil || a.Actor != a.Account.String() {
		r.Actor, r.Other = a.Actor, true
	}
	rest, err := cbor.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a row of the audit: %w", err)
	}
	value := make([]byte, 0, auditHead+len(a.Event)+len(rest))
	value = append(value, auditFormat)
	value = binary.BigEndian.AppendUint64(value, uint64(a.At.Unix())) //nolint:gosec // the bits are meant
	value = append(value, a.Account[:]...)
	value = append(value, byte(len(a.Event))) //nolint:gosec // at most MaxAuditEvent
	return append(append(value, a.Event...), rest...), nil
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
	row, err := readAuditRow(seqBytes(a.Seq), have)
	if err != nil {
		return err
	}
	kept := *a
	kept.At, kept.Event, kept.Account = time.Unix(row.at, 0), string(row.event), row.account
	value, err := encodeAudit(&kept)
	if err != nil {
		return err
	}
	return rows.Put(seqBytes(a.Seq), value)
}

func auditAccountKey(account uuid.UUID, seq uint64) []byte {
	return append(bytes.Clone(account[:]), seqBytes(seq)...)
}

// auditRow is a record that is not decoded yet.
type auditRow struct {
	seq     uint64
	at      int64
	account uuid.UUID
	event   []byte
	rest    []byte
}

func readAuditRow(k, v []byte) (r auditRow, err error) {
	body, err := recordBody("audit", auditFormat, v)
	if err != nil {
		return r, err
	}
	const head = auditHead - 1
	if len(k) != 8 || len(body) < head || len(body) < head+int(body[head-1]) {
		return r, fmt.Errorf("audit record: %w", ErrDamaged)
	}
	n := head + int(body[head-1])
	return auditRow{
		seq: binary.BigEndian.Uint64(k), at: int64(binary.BigEndian.Uint64(body)), //nolint:gosec // written as signed
		account: uuid.UUID(body[8:24]), event: body[head:n], rest: body[n:],
	}, nil
}

func (r *auditRow) decode() (*store.Audit, error) {
	var rec auditRecord
	if err := recordDecoder.Unmarshal(r.rest, &rec); err != nil {
		return nil, fmt.Errorf("audit record: %w: %w", ErrDamaged, err)
	}
	a := &store.Audit{
		Seq: r.seq, At: time.Unix(r.at, 0).UTC(), Event: string(r.event), Account: r.account, Actor: rec.Actor,
		Address: rec.Address, Agent: fromShorthand(rec.Agent), Details: rec.Details,
	}
	if !rec.Other {
		a.Actor = r.account.String()
	}
	return a, nil
}

func (r *auditRow) fits(q *store.AuditQuery) bool {
	return (q.Account == uuid.Nil || r.account == q.Account) && (q.Event == "" || q.Event == string(r.event)) &&
		(q.Since.IsZero() || r.at >= q.Since.Unix()) && (q.Until.IsZero() || r.at < q.Until.Unix())
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
		row, err := readAuditRow(seqBytes(seq), t.bucket(bucketAudit).Get(seqBytes(seq)))
		if err != nil {
			return store.AuditPage{}, err
		}
		if !row.fits(&q) {
			continue
		}
		a, err := row.decode()
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
	var over []auditRow // deleting moves a cursor
	c := t.bucket(bucketAudit).Cursor()
	stay := 0
	for k, v := c.First(); k != nil && len(over) < limit && stay < auditPast; k, v = c.Next() {
		row, err := readAuditRow(k, v)
		if err != nil {
			return 0, err
		}
		if row.at >= before.Unix() && row.at <= ahead.Unix() {
			stay++
			continue
		}
		over = append(over, auditRow{seq: row.seq, account: row.account})
	}
	for _, row := range over {
		if row.account != uuid.Nil {
			if err := t.bucket(bucketAuditAccount).Delete(auditAccountKey(row.account, row.seq)); err != nil {
				return 0, err
			}
		}
		if err := t.bucket(bucketAudit).Delete(seqBytes(row.seq)); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}
