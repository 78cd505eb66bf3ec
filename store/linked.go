// linked.go: what is kept of the accounts elsewhere by which one signs in here.

package store

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"

	"github.com/google/uuid"
)

// A LinkedAccount is one that somebody has at a provider (OpenID Connect) and signs in by.
// It stands in the account's record, so it ends with that. Times are UTC with a resolution
// of one second in the store.
type LinkedAccount struct {
	// ID is a UUIDv7. It is no secret.
	ID uuid.UUID
	// Issuer and Subject are who it is there: the provider's identifier, and the name that
	// it gives to nobody else, ever.
	Issuer, Subject string
	// Name is what its owner knows it by: his address or his name there, as it was when it
	// was linked.
	Name     string
	Created  time.Time
	LastUsed time.Time
	// EmailChanges is User.EmailChanges when it was linked: who takes back a change of the
	// address takes back what came after it.
	EmailChanges uint32
}

// A FormerLinked is one that was unlinked and can be had back.
type FormerLinked struct {
	LinkedAccount
	// Until is when it is forgotten.
	Until time.Time
	// RemovedAt is User.EmailChanges when it was unlinked.
	RemovedAt uint32
}

// LinkedKey is the field of the unique keys by which the account is found to which one
// elsewhere is linked; the value is LinkedValue.
const LinkedKey = "linked"

// LinkedValue is the unique key of an account elsewhere.
func LinkedValue(issuer, subject string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + subject)) // no issuer has a NUL
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Linked returns the account elsewhere with this id, nil for none.
func (u *User) Linked(id uuid.UUID) *LinkedAccount {
	if i := slices.IndexFunc(u.LinkedAccounts, func(l LinkedAccount) bool { return l.ID == id }); i >= 0 {
		return &u.LinkedAccounts[i]
	}
	return nil
}

// LinkedTo returns the account elsewhere by whom it is there, nil for none.
func (u *User) LinkedTo(issuer, subject string) *LinkedAccount {
	if i := slices.IndexFunc(u.LinkedAccounts, func(l LinkedAccount) bool { return l.Issuer == issuer && l.Subject == subject }); i >= 0 {
		return &u.LinkedAccounts[i]
	}
	return nil
}
