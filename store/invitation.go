// invitation.go: what is kept of an invitation to sign up.

package store

import (
	"time"

	"github.com/google/uuid"
)

// Bounds of an invitation: of its note in bytes, and of how many sign-ups one is good for.
const (
	MaxInvitationNote = 500
	MaxInvitationUses = 100_000
)

// Invitation lets somebody sign up. Times are UTC with a resolution of one second in
// the store.
type Invitation struct {
	// ID is a UUIDv7. It is no secret.
	ID uuid.UUID
	// Hash is that of the token, which is never stored. No two invitations have the
	// same.
	Hash TokenHash
	// Email is the address that it is for, which it confirms; empty: for any, and it
	// confirms none.
	Email string
	// Groups are those that an account gets that comes of it.
	Groups []string
	// Note is the inviter's own, shown to nobody else.
	Note    string
	Created time.Time
	// Expires is its end: at that time it is no longer good.
	Expires time.Time
	// Uses is how many sign-ups it is good for, Used how many there were.
	Uses, Used int
}

// Good reports whether an invitation can be used at a time.
func (i *Invitation) Good(now time.Time) bool { return i.Used < i.Uses && now.Before(i.Expires) }
