// boltrecords.go: records of the embedded store as bytes: a format version, then
// CBOR (RFC 8949) with integer keys, which is compact and takes new fields.

package registration

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"
)

// recordFormat is the first byte of every record.
const recordFormat = 1

// cborMode writes times as Unix seconds and fails on nothing that we store.
var cborMode = func() cbor.EncMode {
	mode, err := cbor.EncOptions{Time: cbor.TimeUnix, Sort: cbor.SortNone}.EncMode()
	if err != nil {
		panic(err) // constant options
	}
	return mode
}()

// cborRead decodes integers of custom fields as int64.
var cborRead = func() cbor.DecMode {
	mode, err := cbor.DecOptions{IntDec: cbor.IntDecConvertSigned}.DecMode()
	if err != nil {
		panic(err) // constant options
	}
	return mode
}()

func encodeRecord(v any) ([]byte, error) {
	raw, err := cborMode.Marshal(v)
	return append([]byte{recordFormat}, raw...), err
}

func decodeRecord(what string, raw []byte, v any) error {
	if len(raw) == 0 || raw[0] != recordFormat {
		return fmt.Errorf("a %s record has an unknown format: %w, or the store is damaged", what, ErrNewerSchema)
	}
	if err := cborRead.Unmarshal(raw[1:], v); err != nil {
		return fmt.Errorf("a %s record is damaged: %w", what, err)
	}
	return nil
}

// utc brings a time to the form in which callers see it.
func utc(times ...*time.Time) {
	for _, t := range times {
		if !t.IsZero() {
			*t = t.UTC()
		}
	}
}

// userRecord is a user with its unique keys, so that they can be freed. The id
// is the record's own key.
type userRecord struct {
	User
	Keys []Key `cbor:"100,keyasint,omitempty"`
}

func encodeUser(u *User, keys []Key) ([]byte, error) {
	return encodeRecord(userRecord{User: *u, Keys: keys})
}

func decodeUser(id uuid.UUID, raw []byte) (*User, []Key, error) {
	var record userRecord
	if err := decodeRecord("user", raw, &record); err != nil {
		return nil, nil, err
	}
	u := record.User
	u.ID = id
	utc(&u.DateJoined, &u.LastLogin)
	return &u, record.Keys, nil
}

func encodeSession(s *Session) ([]byte, error) { return encodeRecord(s) }

func decodeSession(hash TokenHash, raw []byte) (*Session, error) {
	s := &Session{}
	if err := decodeRecord("session", raw, s); err != nil {
		return nil, err
	}
	s.Hash = hash
	utc(&s.Created, &s.LastUsed, &s.Expires)
	return s, nil
}

// mailRecord keeps Due to the millisecond, as its index does.
type mailRecord struct {
	Mail
	DueMilli int64 `cbor:"100,keyasint"`
}

func encodeMail(m *Mail) ([]byte, error) {
	return encodeRecord(mailRecord{Mail: *m, DueMilli: m.Due.UnixMilli()})
}

func decodeMail(seq uint64, raw []byte) (*Mail, error) {
	var record mailRecord
	if err := decodeRecord("mail", raw, &record); err != nil {
		return nil, err
	}
	m := record.Mail
	m.Seq, m.Due = seq, time.UnixMilli(record.DueMilli)
	utc(&m.Queued, &m.Due)
	return &m, nil
}
