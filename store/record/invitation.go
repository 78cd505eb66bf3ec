// invitation.go: the record of an invitation.

package record

import (
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

const invitationFormat = 1

type invitationRecord struct {
	Hash    []byte   `cbor:"1,keyasint"`
	Email   string   `cbor:"2,keyasint,omitempty"`
	Groups  []string `cbor:"3,keyasint,omitempty"`
	Note    string   `cbor:"4,keyasint,omitempty"`
	Created *int64   `cbor:"5,keyasint,omitempty"` // unix seconds
	Expires *int64   `cbor:"6,keyasint,omitempty"` // unix seconds
	Uses    int      `cbor:"7,keyasint,omitempty"`
	Used    int      `cbor:"8,keyasint,omitempty"`
}

// EncodeInvitation is the record of an invitation.
func EncodeInvitation(i *store.Invitation) ([]byte, error) {
	return encodeRecord(invitationFormat, &invitationRecord{
		Hash: i.Hash[:], Email: i.Email, Groups: i.Groups, Note: i.Note,
		Created: UnixSeconds(i.Created), Expires: UnixSeconds(i.Expires), Uses: i.Uses, Used: i.Used,
	})
}

// DecodeInvitation is the invitation of a record. The id is that of the row.
func DecodeInvitation(id uuid.UUID, data []byte) (*store.Invitation, error) {
	var r invitationRecord
	if err := decodeRecord("invitation", invitationFormat, data, &r); err != nil {
		return nil, err
	}
	return &store.Invitation{
		ID: id, Hash: fromHashBytes(r.Hash), Email: r.Email, Groups: r.Groups, Note: r.Note,
		Created: fromUnixSeconds(r.Created), Expires: fromUnixSeconds(r.Expires), Uses: r.Uses, Used: r.Used,
	}, nil
}
