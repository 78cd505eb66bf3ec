// audit.go: the record of a row of the record of acts: time, account and event, by which it is
// filtered, in front of the rest.

package record

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// auditRecord is what a row has besides its head: time, account and event, by which
// it is filtered. The address is a string: its four bytes would spare little.
type auditRecord struct {
	// Actor is empty for the account itself; Other says that it isn't.
	Actor   string            `cbor:"1,keyasint,omitempty"`
	Other   bool              `cbor:"2,keyasint,omitempty"`
	Address string            `cbor:"3,keyasint,omitempty"`
	Agent   string            `cbor:"4,keyasint,omitempty"` // in shorthand
	Details map[string]string `cbor:"5,keyasint,omitempty"`
	// Imported is left out by an earlier version, which knows no webhooks.
	Imported bool `cbor:"6,keyasint,omitempty"`
}

// auditHead is the part of a record in front of its event: format, time, account
// and the length of the event.
const auditHead = 1 + 8 + 16 + 1

// EncodeAudit is the record of a row.
func EncodeAudit(a *store.Audit) ([]byte, error) {
	size := 0
	for name, v := range a.Details {
		size += len(name) + len(v)
	}
	if a.Event == "" || len(a.Event) > store.MaxAuditEvent || len(a.Actor) > store.MaxAuditActor || len(a.Address) > store.MaxAuditAddress ||
		len(a.Agent) > store.MaxAuditAgent || size > store.MaxAuditDetails {
		return nil, fmt.Errorf("a row of the audit: %w", store.ErrTooLarge)
	}
	r := auditRecord{Address: a.Address, Agent: ToShorthand(a.Agent), Details: a.Details, Imported: a.Imported}
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

// ReplaceAudit is the record of a row that is written anew. Of the one that was there it
// keeps the time, the event and the account.
func ReplaceAudit(have []byte, a *store.Audit) ([]byte, error) {
	row, err := ReadAudit(a.Seq, have)
	if err != nil {
		return nil, err
	}
	kept := *a
	kept.At, kept.Event, kept.Account = time.Unix(row.At, 0), string(row.Event), row.Account
	return EncodeAudit(&kept)
}

// An AuditRow is a record whose head is read alone.
type AuditRow struct {
	Seq     uint64
	At      int64 // unix seconds
	Account uuid.UUID
	Event   []byte
	rest    []byte
}

// ReadAudit reads the head of a record.
func ReadAudit(seq uint64, v []byte) (r AuditRow, err error) {
	body, err := Body("audit", auditFormat, v)
	if err != nil {
		return r, err
	}
	const head = auditHead - 1
	if len(body) < head || len(body) < head+int(body[head-1]) {
		return r, fmt.Errorf("audit record: %w", ErrDamaged)
	}
	n := head + int(body[head-1])
	return AuditRow{
		Seq: seq, At: int64(binary.BigEndian.Uint64(body)), //nolint:gosec // written as signed
		Account: uuid.UUID(body[8:24]), Event: body[head:n], rest: body[n:],
	}, nil
}

// Decode reads the rest.
func (r *AuditRow) Decode() (*store.Audit, error) {
	var rec auditRecord
	if err := recordDecoder.Unmarshal(r.rest, &rec); err != nil {
		return nil, fmt.Errorf("audit record: %w: %w", ErrDamaged, err)
	}
	a := &store.Audit{
		Seq: r.Seq, At: time.Unix(r.At, 0).UTC(), Event: string(r.Event), Account: r.Account, Actor: rec.Actor,
		Address: rec.Address, Agent: FromShorthand(rec.Agent), Details: rec.Details, Imported: rec.Imported,
	}
	if !rec.Other {
		a.Actor = r.Account.String()
	}
	return a, nil
}

// Fits reports whether a query asks for the row.
func (r *AuditRow) Fits(q *store.AuditQuery) bool {
	return (q.Account == uuid.Nil || r.Account == q.Account) && (q.Event == "" || q.Event == string(r.Event)) &&
		(q.Since.IsZero() || r.At >= q.Since.Unix()) && (q.Until.IsZero() || r.At < q.Until.Unix())
}
