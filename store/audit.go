// audit.go: the record of acts: what was done, by whom, on which account.

package store

import (
	"time"

	"github.com/google/uuid"
)

// Bounds of a row of the record, in bytes; MaxAuditDetails is that of all names
// and values of Details together.
const (
	MaxAuditEvent   = 64
	MaxAuditActor   = 64
	MaxAuditAddress = 64
	MaxAuditAgent   = 160
	MaxAuditDetails = 1024
)

// Audit is one row of the record of acts. It outlives the accounts that it names.
// It has no secret, no link and nothing that was typed by somebody unknown.
type Audit struct {
	// Seq orders the rows; assigned by AddAudit.
	Seq uint64
	// At is when it happened, with a resolution of one second.
	At time.Time
	// Event names what happened.
	Event string
	// Account is whom it happened to; zero: no account, or several.
	Account uuid.UUID
	// Actor is who did it: the id of an account, or a name of ours that is none
	// (the admin endpoint, the system); empty: somebody who is not signed in.
	Actor string
	// Address is the client's IP address, Agent its User-Agent.
	Address string
	Agent   string
	// Details are more of what happened, by name.
	Details map[string]string
	// Imported: the row came from a file, and happened elsewhere: nobody is told of it.
	Imported bool
}

// AuditQuery says which rows of the record are wanted. Its zero values leave out
// nothing.
type AuditQuery struct {
	Account uuid.UUID
	Event   string
	// Since leaves out what happened before, Until what happened then or later.
	Since, Until time.Time
	// After is the Next of the page before; 0: from the beginning.
	After uint64
	// Newest walks from the last row to the first.
	Newest bool
	// Limit is how many rows a page has at most.
	Limit int
}

// AuditPage is a part of the record.
type AuditPage struct {
	Rows []*Audit
	// Next is the After of the next page. A page may have fewer rows than Limit,
	// even none, while there are More: a store looks at so many rows at once. At
	// the end, without More, a walk that is not Newest goes on later with what
	// comes then.
	Next uint64
	More bool
}
