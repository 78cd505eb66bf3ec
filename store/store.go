// store.go: the contract between the account rules and whatever keeps the
// records. The embedded default is store/bolt.

package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
)

// Errors of a Store. Implementations return them (wrapped or not), so callers
// compare with errors.Is.
var (
	// ErrNotFound says that no record has this id, key or hash.
	ErrNotFound = errors.New("not found")
	// ErrTaken says that a unique key belongs to another user. The error that
	// PutUser returns is a *TakenError, which names the field.
	ErrTaken = errors.New("already taken")
	// ErrTooLarge says that a record is too large to be read back.
	ErrTooLarge = errors.New("the record is too large")
	// ErrReadOnly says that a View function tried to write.
	ErrReadOnly = errors.New("read-only transaction")
	// ErrStoreLocked says that another process has the store open.
	ErrStoreLocked = errors.New("the store is in use by another process")
	// ErrUnreachable says that the store is on a server that doesn't answer now.
	ErrUnreachable = errors.New("the store can't be reached")
	// ErrNewerSchema says that a later version of this plugin wrote the store;
	// it is refused rather than misread.
	ErrNewerSchema = errors.New("the store was written by a newer version of this plugin")
)

// TakenError names the field whose value another user already has. It matches
// ErrTaken under errors.Is.
type TakenError struct {
	Field string
}

// Error implements error. The value itself is left out: it is personal data.
func (e *TakenError) Error() string { return fmt.Sprintf("%s is already taken", e.Field) }

// Is reports whether target is ErrTaken.
func (e *TakenError) Is(target error) bool { return target == ErrTaken }

// A Store keeps the accounts of one realm. It is safe for concurrent use.
//
// An act is one transaction: what must hold together (a user and the mail that
// verifies him) is written by one Update. An Update that returned nil is on
// stable storage. One that returned an error has left nothing behind.
//
// The function given to Update or View may run more than once (a batched
// commit, a serialisation retry), so it must have no effect outside the Tx
// and must set, not add to, the variables that it captures. It must not keep
// the Tx, start another transaction, or do anything slow: hashing, templates
// and the network come before or after.
//
// An error that the function returns is handed to the caller unchanged, under
// errors.Is and errors.As; any other error is a failure of the storage itself.
type Store interface {
	// View runs fn on a consistent snapshot. Writes in it fail with ErrReadOnly.
	// The context is looked at before fn starts; a started act is finished, but a store on a
	// server gives up reading at the context's deadline.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn and commits what it wrote, all or nothing.
	// Updates are serialisable: of two that claim one key, one gets ErrTaken.
	Update(ctx context.Context, fn func(Tx) error) error
	// ClaimMail leases messages of the queue to a worker, and returns them: up to
	// c.Limit whose Due is not after c.Now, the longest due first, and then those
	// whose Due is more than MailFarAhead after c.Now: nothing is put off for as
	// long, so the clock was wrong when they were written. Left out is what
	// another worker has leased, and a message while an older one (smaller Seq)
	// to the same To waits, leased or not: a recipient gets his mail in order,
	// whoever sends it. Where nothing is returned to one that wanted
	// some, next is when something will be; zero: the queue is empty.
	//
	// A claim replaces the worker's earlier one: what that had and this one has
	// not is free again. So a worker claims with Limit 0 when it stops. A lease
	// that has run out is no longer one, nor is one that would last for more than
	// MaxLease: a clock was wrong. One ends also with its row; PutMail leaves it.
	// Leases need not outlive the process where no other one can have the store.
	ClaimMail(ctx context.Context, c Claim) (mails []*Mail, next time.Time, err error)
	// RenewMail makes all leases of a worker that nobody took meanwhile last until
	// c.Now plus c.Lease. It returns ErrNotFound if the one of seq is not among
	// them, or its row is gone.
	RenewMail(ctx context.Context, c Claim, seq uint64) error
	// Follow calls fn with every change that acts commit from now on, until stop
	// has returned or the store is closed. An Update of this store returns after fn was called with what
	// it changed, so that whoever it is answered to finds nothing older in a
	// cache; what another handle on the same accounts has changed, on whatever
	// node, comes within 100 ms. Calls may come at the same time and from any
	// goroutine; one change may come twice. fn must be quick and use neither the
	// store nor stop. Follow is meant for a few followers that stay.
	Follow(fn func(Change)) (stop func())
	// Shared reports whether other processes may have the same accounts at the same time.
	Shared() bool
	// SpendBudgets spends of all these budgets, each named once, or of none where one that
	// is not Soft has too little left, and returns what is missing from each then. Of two
	// at the same time, on whatever nodes, the second finds what the first has left. now is
	// the time by which budgets fill; zero: that of the store's own clock, which is one for
	// all nodes. It is no act: what it has answered may be lost with the power.
	SpendBudgets(ctx context.Context, now time.Time, spends []BudgetSpend) (missing []time.Duration, ok bool, err error)
	// SweepBudgets removes the budgets that are over at now (as above), and of the others
	// those that are over soonest, so that keep stay; it returns how many it removed.
	SweepBudgets(ctx context.Context, now time.Time, keep int) (int, error)
	// Close releases the store. Later calls fail; Close may be called twice.
	Close() error
}

// A Tx is one transaction of a Store. It is used by one goroutine and is
// invalid once the function that it was given to has returned. The records
// that it returns are copies: they stay valid, and changing them changes
// nothing until they are put back.
type Tx interface {
	// User returns the account with this id, or ErrNotFound.
	User(id uuid.UUID) (*User, error)
	// UserByKey returns the account that holds the unique key, or ErrNotFound.
	UserByKey(field, key string) (*User, error)
	// BriefUser and BriefUserByKey are User and UserByKey for who is not signed in: the
	// account without what store.Brief leaves out, and reading it takes as long whatever
	// there is of that.
	BriefUser(id uuid.UUID) (*User, error)
	BriefUserByKey(field, key string) (*User, error)
	// Users returns up to limit accounts in order of id, beginning behind
	// after (the zero UUID: from the first).
	Users(after uuid.UUID, limit int) ([]*User, error)
	// Members returns a page of the accounts that a query asks for, in order of id, or
	// with a Search in an order of the store's own. It finds them by its indexes and
	// looks at no more than MembersRead others, so the page 10 000 takes as long as
	// the first. Who is there during the whole walk is on one of its pages, once, as
	// far as what the query asks for stays as it is. An After that is none of this
	// store's is ErrNotFound.
	Members(q MemberQuery) (MemberPage, error)
	// CountMembers counts the accounts in a state, or all for an empty one. It doesn't
	// go through them: beyond MembersCounted a store may say that there are more.
	CountMembers(state string) (MemberCount, error)
	// PutUser inserts or replaces an account. Like PutSession and PutMail it takes
	// what it can give back: a record of more than 8 MiB, or with lists or nested
	// values that could not be read again, is refused with ErrTooLarge. keys is the complete list of its
	// unique keys; keys that it held before and that are not in the list are
	// freed. A key of another account gives a *TakenError, and nothing of this
	// call is written. A brief account is refused with ErrBrief. Keys of the field WaitingKey are nobody's alone.
	PutUser(u *User, keys []Key) error
	// Waiting returns up to limit of the accounts that have a key of the field
	// WaitingKey with this value, the newest (the largest id) first.
	Waiting(value string, limit int) ([]*User, error)
	// WaitingSince returns up to limit of the accounts with AwaitsVerification
	// whose WaitingSince is not before from and before to, in order of it and of
	// their ids. It reads no others.
	WaitingSince(from, to time.Time, limit int) ([]*User, error)
	// DeleteUser removes an account with its keys, sessions and tokens; its
	// queued mail stays, and the outbox drops it. Unknown id: ErrNotFound.
	DeleteUser(id uuid.UUID) error

	// Session returns the session or token with this hash, expired or not, or
	// ErrNotFound.
	Session(hash TokenHash) (*Session, error)
	// Sessions returns up to limit sessions and tokens of an account, expired
	// ones too, in an order of the store's own that does not change: while the
	// first ones stay, a second call returns them again.
	Sessions(user uuid.UUID, limit int) ([]*Session, error)
	// PutSession inserts or replaces a session or token.
	PutSession(s *Session) error
	// DeleteSession removes a session or token, or returns ErrNotFound.
	DeleteSession(hash TokenHash) error
	// DeleteExpiredSessions removes up to limit sessions and tokens whose
	// Expires is not after now, and returns their hashes: whoever remembers a
	// session has to forget it.
	DeleteExpiredSessions(now time.Time, limit int) ([]TokenHash, error)

	// PutMail queues a message (Seq zero: a new, larger Seq is assigned and set
	// in m) or replaces the one with this Seq, or returns ErrNotFound if it is
	// no longer there. If the act fails or is run again, the Seq that it
	// assigned is set back to zero.
	PutMail(m *Mail) error
	// Mails returns up to limit messages of the queue, leased and put off ones too,
	// in order of Seq, beginning behind after (0: from the first).
	Mails(after uint64, limit int) ([]*Mail, error)
	// DeleteMail removes a message from the queue, or returns ErrNotFound.
	DeleteMail(seq uint64) error

	// Budgets returns up to limit budgets of throttles that are not over at now,
	// in no particular order.
	Budgets(now time.Time, limit int) ([]*Budget, error)
	// PutBudget inserts a budget or replaces the one with its table and key.
	PutBudget(b *Budget) error
	// DeleteBudgets removes up to limit budgets that are over at now, and returns
	// how many it removed.
	DeleteBudgets(now time.Time, limit int) (int, error)

	// SpendBudgets spends of these budgets whatever is left of them: the act has looked
	// (LookAtBudgets), or knows. What is missing from each then is told to missing once it is known,
	// before the act is answered. now is as in Store.SpendBudgets; who spends of a table by acts lets
	// no other spend of it so that it refuses.
	SpendBudgets(now time.Time, spends []BudgetSpend, missing func([]time.Duration)) error
	// LookAtBudgets has missing told what is missing from the budgets of these, along with
	// what the act reads next; where it reads nothing more, not at all.
	LookAtBudgets(now time.Time, of []BudgetSpend, missing func([]time.Duration)) error

	// Value returns one of the realm's own small values (the generated signing
	// key), or ErrNotFound.
	Value(name string) ([]byte, error)
	// PutValue sets one of the realm's own small values.
	PutValue(name string, value []byte) error

	// AddAudit adds a row to the record of acts, behind all that are there; its Seq is
	// assigned. A row that is over the bounds of Audit is refused with ErrTooLarge.
	AddAudit(a *Audit) error
	// PutAudit replaces the row with this Seq, or returns ErrNotFound. The row keeps its
	// At, its Event and its Account.
	PutAudit(a *Audit) error
	// Audits returns a page of the record. Who has read up to a Seq will find no
	// smaller one that was not there then.
	Audits(q AuditQuery) (AuditPage, error)
	// DeleteAudits removes up to limit rows whose At is before a time, or after ahead (a
	// clock was ahead), and returns how many. It looks from the first row on, and past
	// those that stay for some thousands: rows that came from another realm may be older
	// than those in front of them.
	DeleteAudits(before, ahead time.Time, limit int) (int, error)

	// PutLeftName says whose a name was that nobody has now; what it said before of
	// the name is replaced.
	PutLeftName(hash NameHash, left LeftName) error
	// LeftName returns what PutLeftName said, over or not, or ErrNotFound.
	LeftName(hash NameHash) (LeftName, error)
	// LeftNames returns the hashes of up to limit of them in order, beginning behind
	// after (the zero hash: from the first).
	LeftNames(after NameHash, limit int) ([]NameHash, error)
	// DeleteLeftNames removes up to limit of them whose Until is not after now, the
	// longest over first, and returns how many it removed.
	DeleteLeftNames(now time.Time, limit int) (int, error)

	// Invitation returns the invitation with this id, good or not, or ErrNotFound.
	Invitation(id uuid.UUID) (*Invitation, error)
	// InvitationByHash does so by the hash of its token.
	InvitationByHash(hash TokenHash) (*Invitation, error)
	// Invitations returns up to limit of them in order of id, beginning behind after
	// (the zero UUID: from the first).
	Invitations(after uuid.UUID, limit int) ([]*Invitation, error)
	// PutInvitation inserts or replaces an invitation. One with the hash of another is
	// refused with ErrTaken.
	PutInvitation(i *Invitation) error
	// DeleteInvitation removes an invitation, or returns ErrNotFound.
	DeleteInvitation(id uuid.UUID) error
	// DeleteInvitations removes up to limit of them whose Expires is not after now, the
	// longest over first, and returns how many it removed.
	DeleteInvitations(now time.Time, limit int) (int, error)
}

// A Key is one unique value of an account: two accounts of a realm never hold
// the same one. Value is already normalised (case-folded); a field with an
// empty value has no key.
type Key struct {
	Field string
	Value string
}

// WaitingKey is the field of the only keys that several accounts may have at
// once: the address that an account waits to confirm. UserByKey finds none by
// them, Tx.Waiting does.
const WaitingKey = "waiting"

// TokenHash is the SHA-256 of a session or API token. The token itself is
// never stored, so a copied store signs nobody in.
type TokenHash [32]byte

// NameHash is the HMAC-SHA-256 of a username under a key of the realm: a copied
// store does not say which names people have left.
type NameHash [32]byte

// LeftName is a name that an account has left by another name or by its end.
type LeftName struct {
	// User is that account; it may be gone.
	User uuid.UUID
	// Until is when anybody can have the name, with a resolution of one second.
	Until time.Time
}

// User is one account. Times are UTC with a resolution of one second in the
// store; a zero time means never.
type User struct {
	// ID is a UUIDv7; it is never used again.
	ID uuid.UUID
	// Username is NFKC-normalised and keeps its case.
	Username  string
	Email     string
	FirstName string
	LastName  string
	// PasswordHash is a PHC string (or a foreign format that
	// internal/password can verify); empty: no password signs in.
	PasswordHash string
	// IsActive says whether the account may sign in. With AwaitsVerification
	// it is a new account that has not confirmed its address yet; inactive
	// without it is an account that an administrator has disabled, which no
	// link brings back.
	IsActive           bool
	AwaitsVerification bool
	// EmailVerified says whether Email was confirmed by a mailed link.
	EmailVerified bool
	IsStaff       bool
	Groups        []string
	DateJoined    time.Time
	LastLogin     time.Time
	// Extra holds the values of configured fields by name: string, int64,
	// float64 or bool. Values of fields that are no longer configured stay.
	Extra map[string]any
	// EmailChanges counts the changes of Email. It is part of the state that a
	// link to change the address is bound to, so that a used link stays used
	// even if the old address comes back.
	EmailChanges uint32
	// Former are the addresses that a mailed link can still bring back, the
	// oldest first.
	Former []FormerEmail
	// Generation counts the acts that end what the account has handed out: a new
	// password, a reset, the end of all other sign-ins, disabling, the use of an
	// undo link. It is part of the state of the links and device cookies that
	// end with them (Accounts.state).
	Generation uint64
	// NamesLeft is when the account left its former usernames, for as long as they
	// are kept from others.
	NamesLeft []time.Time
	// SessionEpoch and TokenEpoch number what Session.Epoch of the account's live
	// sessions, and of its API and refresh tokens, has to be. Raising one ends all
	// of them at once, however many records there are.
	SessionEpoch uint32
	TokenEpoch   uint32
	// EmailPending says that Email was given at a sign-up and nobody has shown yet
	// that he reads it: it is not the account's own, and others may have the same.
	EmailPending bool
	// WaitingFrom is when an account that awaits its verification began to, and
	// WaitingSince from when on its time is counted; both by the store's steady
	// clock (internal/account), zero in other accounts.
	WaitingFrom  time.Time
	WaitingSince time.Time
	// AwaitsApproval says that an administrator has not let the account in yet. It is
	// inactive meanwhile, whether it has confirmed its address or not.
	AwaitsApproval bool
	// Reason is why its owner wants in, in his own words, for who approves it.
	Reason string
	// Terms is the version of the terms to which the account's owner has agreed, and
	// TermsAt when; empty and zero: to none.
	Terms   string
	TermsAt time.Time
	// UsedLinks are the mailed links that were used last, the latest first: who opens
	// one again is told what it has done. The links themselves are not kept.
	UsedLinks []LinkHash
	// Unreachable is where mail could not be delivered; zero: nowhere.
	Unreachable Unreachable
	// Invitation is the one that an account which awaits its verification has used; zero:
	// none. Its use comes back if the account never is confirmed.
	Invitation uuid.UUID
	// Factors are what its owner can show as a second step, FormerFactors those that a
	// mailed link can still bring back, each the oldest first.
	Factors       []Factor
	FormerFactors []FormerFactor
	// RecoveryCodes are HMACs of the codes that stand in for a factor, those that are
	// not used; RecoveryMade is when they were made.
	RecoveryCodes [][]byte
	RecoveryMade  time.Time
	// Enrolment is a TOTP that is not confirmed yet; nil: none.
	Enrolment *Enrolment
	// FactorFailures are the last wrong answers where a factor was asked for, the oldest
	// first; FactorFailuresInRow is how many there were since the last right one.
	FactorFailures      []FactorFailure
	FactorFailuresInRow uint32
	// TrustedDevices are the browsers in which its owner is not asked for a second step,
	// in no order.
	TrustedDevices []TrustedDevice
	// KnownDevices are those that the account was signed in on, in no order; none: nobody has
	// signed in to it since they are kept.
	KnownDevices []KnownDevice
	// FormerPasswords are those that the account had until a short while ago, the oldest
	// first, and PasswordSince is from when on it has the present one; zero: it is not known.
	// They sign nobody in.
	FormerPasswords []FormerPassword
	PasswordSince   time.Time
	// LeavesAt is when the account will be gone, because its owner has closed it, as he was
	// told; zero: it stays. It is inactive meanwhile. LeavesBy is the same by the store's
	// steady clock, by which it is removed.
	LeavesAt time.Time
	LeavesBy time.Time
	// ProgramTokens are its tokens for programs, the oldest first.
	ProgramTokens []ProgramToken
	// LinkedAccounts are those elsewhere by which its owner signs in, the oldest first;
	// FormerLinked those that he has unlinked a short while ago.
	LinkedAccounts []LinkedAccount
	FormerLinked   []FormerLinked
	// FurtherEmails are the addresses beside Email that are the account's own, each
	// confirmed by a mailed link, the oldest first. Each has a key as Email has.
	FurtherEmails []string
	// AskedEmails are addresses that were asked for and wait for their confirmation, the
	// oldest first, and EmailsAsked counts all that ever were: it numbers them. They are not
	// the account's own.
	AskedEmails []AskedEmail
	EmailsAsked uint32
	// Language is the BCP 47 tag in which its owner wants to be written to; "": as his
	// browser asks. BrowserLanguage is what that has asked for at the latest sign-in on a
	// device that was known; "": it is not known, or Language says.
	Language        string
	BrowserLanguage string

	brief bool
}

// NeverHadPassword reports whether an account has no password and has had none: one that was
// taken away, by a way back, leaves the time at which it was.
func (u *User) NeverHadPassword() bool { return u.PasswordHash == "" && u.PasswordSince.IsZero() }

// A FormerPassword is one that an account had. Who knows it can show that the account was
// his before a change.
type FormerPassword struct {
	// Hash is as in User.PasswordHash.
	Hash string
	// Since is from when on the account had it (zero: it is not known), Until until when.
	Since, Until time.Time
}

// Unreachable says that nobody reads mail at an address, as its server says. It is
// for the owner to see, and goes with the next mail that arrives there.
type Unreachable struct {
	Email string
	// Words are the server's.
	Words string
	Since time.Time
}

// A LinkHash is a hash of the signature of a mailed link, cut to 128 bits.
type LinkHash [16]byte

// FormerEmail is an address that an account had and can have back.
type FormerEmail struct {
	Email string
	// Serial is User.EmailChanges after the change that left it, so that a used
	// link stays used if the address is left again.
	Serial uint32
	// Until is when it is forgotten; before, nobody else can have it.
	Until time.Time
	// Unproven says that it was never confirmed by a mailed link.
	Unproven bool
	// Left is User.EmailChanges after the change with which the account lost it, zero: the
	// one of Serial, StillThere: it is still one of the account's own, of several.
	Left uint32
	// At is when the change of Serial was made, where later ones have put off Until.
	At time.Time
	// Main is the account's first address before the change of Serial, "": this one.
	Main string
}

// StillThere is FormerEmail.Left of an address that is still the account's own.
const StillThere = math.MaxUint32

// GoneSince is User.EmailChanges after the change with which the account lost the address.
func (f *FormerEmail) GoneSince() uint32 {
	if f.Left == 0 {
		return f.Serial
	}
	return f.Left
}

// AskedEmail is an address that somebody who was signed in has asked for.
type AskedEmail struct {
	Email string
	// Serial is User.EmailsAsked after it was asked for first.
	Serial uint32
	// At is when it was asked for last.
	At time.Time
	// Generation is User.Generation then: with another the mailed link is void.
	Generation uint64
}

// ParseID reads an account's id in its one written form.
func ParseID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == 36
}

// Text is a hash in base64url.
func (h TokenHash) Text() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// ParseTokenHash reads what Text has written; ok is false for anything else.
func ParseTokenHash(text string) (h TokenHash, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(h) {
		return h, false
	}
	return TokenHash(raw), true
}

// PublicID names a session to its owner: 128 bits of a second hash, so that
// what is shown leads neither to the token nor to the store's record.
func (h TokenHash) PublicID() string {
	sum := sha256.Sum256(append([]byte("session id\x00"), h[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
