// emails.go: how an account's record has its addresses beside the first one.

package record

import (
	"slices"
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
)

// emailsRecord is what a briefRecord has of several addresses. Who has one has none of it,
// but for those that he asks for: an older plugin forgets these, and their links.
type emailsRecord struct {
	Further []string     `cbor:"45,keyasint,omitempty"`
	Asked   *askedRecord `cbor:"46,keyasint,omitempty"`
	// Left has one for each of Former, where one of them has more than Former says. Then it
	// says which were never confirmed, too: the serials may be those of several.
	Left []leftRecord `cbor:"47,keyasint,omitempty"`
	// Mains has one for each of Former, where one of them was beside another.
	Mains []string `cbor:"51,keyasint,omitempty"`
}

type askedRecord struct {
	_     struct{} `cbor:",toarray"`
	Count uint32
	Wait  []askedEmailRecord
}

type askedEmailRecord struct {
	_          struct{} `cbor:",toarray"`
	Email      string
	Serial     uint32
	At         int64 // unix seconds
	Generation uint64
}

type leftRecord struct {
	_        struct{} `cbor:",toarray"`
	Left     uint32
	Unproven bool
	At       *int64 // unix seconds
}

// several reports whether an older plugin would lose something that matters.
func (r *emailsRecord) several() bool {
	return len(r.Further) > 0 || slices.ContainsFunc(r.Left, func(l leftRecord) bool { return l.Left != 0 })
}

// addEmails completes the record of an account.
func (r *emailsRecord) addEmails(u *store.User) {
	r.Further = u.FurtherEmails
	if u.EmailsAsked > 0 || len(u.AskedEmails) > 0 {
		r.Asked = &askedRecord{Count: u.EmailsAsked}
		for _, e := range u.AskedEmails {
			r.Asked.Wait = append(r.Asked.Wait, askedEmailRecord{Email: e.Email, Serial: e.Serial, At: e.At.Unix(), Generation: e.Generation})
		}
	}
	if slices.ContainsFunc(u.Former, func(f store.FormerEmail) bool { return f.Main != "" }) {
		for _, f := range u.Former {
			r.Mains = append(r.Mains, f.Main)
		}
	}
	if slices.ContainsFunc(u.Former, func(f store.FormerEmail) bool { return f.Left != 0 || !f.At.IsZero() }) {
		for _, f := range u.Former {
			r.Left = append(r.Left, leftRecord{Left: f.Left, Unproven: f.Unproven, At: UnixSeconds(f.At)})
		}
	}
}

// readEmails gives an account what its record has.
func (r *emailsRecord) readEmails(u *store.User) {
	u.FurtherEmails = r.Further
	if r.Asked != nil {
		u.EmailsAsked = r.Asked.Count
		for _, e := range r.Asked.Wait {
			u.AskedEmails = append(u.AskedEmails, store.AskedEmail{Email: e.Email, Serial: e.Serial, At: time.Unix(e.At, 0).UTC(), Generation: e.Generation})
		}
	}
	for i := range min(len(u.Former), len(r.Mains)) {
		u.Former[i].Main = r.Mains[i]
	}
	for i := range min(len(u.Former), len(r.Left)) {
		u.Former[i].Left, u.Former[i].Unproven, u.Former[i].At = r.Left[i].Left, r.Left[i].Unproven, fromUnixSeconds(r.Left[i].At)
	}
}
