// keys.go: how the keys of the buckets are made.

package bolt

import (
	"encoding/binary"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

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

func userSessionKey(user uuid.UUID, hash store.TokenHash) []byte { return append(user[:], hash[:]...) }

func sessionExpiryKey(s *store.Session) []byte {
	return append(sortable(s.Expires.Unix()), s.Hash[:]...)
}

func mailDueKey(m *store.Mail) []byte {
	return append(sortable(m.Due.UnixMilli()), seqBytes(m.Seq)...)
}

// mailToPrefix begins the keys of all queued mails of a recipient. Mail systems
// do not tell the case of an address apart, so neither does the order.
func mailToPrefix(to string) []byte { return []byte(strings.ToLower(to) + "\x00") }

func mailToKey(m *store.Mail) []byte { return append(mailToPrefix(m.To), seqBytes(m.Seq)...) }
