// factor.go: what is kept of the second step of an account's sign-in.

package store

import (
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// FactorType says what somebody shows with a factor.
type FactorType string

// The types of factors.
const (
	// FactorTOTP is a code of an app (RFC 6238).
	FactorTOTP FactorType = "totp"
	// FactorPasskey is a credential of WebAuthn.
	FactorPasskey FactorType = "passkey"
)

// A Factor is what an account's owner shows besides the password, or in place of it.
// Times are UTC with a resolution of one second in the store.
type Factor struct {
	// ID is a UUIDv7. It is no secret.
	ID   uuid.UUID
	Type FactorType
	// Name is the owner's own.
	Name     string
	Created  time.Time
	LastUsed time.Time
	// Secret is a TOTP's sealed secret, or the credential of a passkey as the library
	// that checks it has written it.
	Secret []byte
	// LastStep is the last step of a TOTP that is used up, with all before it.
	LastStep int64
	// EmailChanges is User.EmailChanges when it was added: who takes back a change of
	// the address takes back what came after it.
	EmailChanges uint32

	// What is known of a passkey, beside the library's own form.
	CredentialID []byte
	// AAGUID names the make of its authenticator; zero: unknown.
	AAGUID uuid.UUID
	// Flags are those of the authenticator data (WebAuthn level 3, 6.1) when it was
	// used last, SignCount its counter.
	Flags     uint8
	SignCount uint32
	// Transports are how a browser reaches it, as it has said.
	Transports []string
}

// A FormerFactor is one that was removed and can be had back.
type FormerFactor struct {
	Factor
	// Until is when it is forgotten.
	Until time.Time
	// RemovedAt is User.EmailChanges when it was removed.
	RemovedAt uint32
}

// An Enrolment is a TOTP that its owner has not confirmed yet. It counts for nothing.
type Enrolment struct {
	// Secret is sealed.
	Secret []byte
	// Session is the sign-in that has begun it, or a hash of what one was told that is not
	// done before.
	Session TokenHash
	Since   time.Time
}

// A FactorFailure is one wrong answer to the question for a factor.
type FactorFailure struct {
	At time.Time
	// Challenge names what was answered, or the sign-in that asked: the first bytes of a hash.
	Challenge [8]byte
}

// A TrustedDevice is a browser in which the second step is not asked for.
type TrustedDevice struct {
	// Hash is that of the token which the browser keeps.
	Hash     TokenHash
	Created  time.Time
	LastUsed time.Time
	// UserAgent is the browser's, at most 160 bytes.
	UserAgent string
	// State is a fingerprint of what the trust rests on, as it was when it was given: with
	// another one it is over.
	State [16]byte
}

// ErrBrief says that an account was to be put that had been read without its second step.
var ErrBrief = errors.New("an account that was read without its second step can't be put")

// Brief returns the account without what belongs to its second step (Factors, FormerFactors,
// RecoveryCodes, RecoveryMade, Enrolment, FactorFailures, FactorFailuresInRow,
// TrustedDevices) and without its KnownDevices. It changes u. Asking such an account for its factors panics: it is not
// one without.
func Brief(u *User) *User {
	u.Factors, u.FormerFactors, u.RecoveryCodes, u.RecoveryMade, u.Enrolment = nil, nil, nil, time.Time{}, nil
	u.FactorFailures, u.FactorFailuresInRow, u.TrustedDevices, u.KnownDevices = nil, 0, nil, nil
	u.brief = true
	return u
}

// Brief reports whether the account was read without its second step.
func (u *User) Brief() bool { return u.brief }

func (u *User) whole() {
	if u.brief {
		panic("registration: the second step of a store.User that was read without it")
	}
}

// Factor returns the factor with this id, nil where there is none.
func (u *User) Factor(id uuid.UUID) *Factor {
	u.whole()
	if i := slices.IndexFunc(u.Factors, func(f Factor) bool { return f.ID == id }); i >= 0 {
		return &u.Factors[i]
	}
	return nil
}

// HasFactor reports whether the account has a factor of one of these types; none: of any.
func (u *User) HasFactor(types ...FactorType) bool {
	u.whole()
	return slices.ContainsFunc(u.Factors, func(f Factor) bool { return len(types) == 0 || slices.Contains(types, f.Type) })
}
