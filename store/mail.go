// mail.go: which messages there are, and what the outbox keeps of one.

package store

import (
	"time"

	"github.com/google/uuid"
)

// MailFarAhead is beyond what any message is put off, see Store.ClaimMail.
const MailFarAhead = 30 * time.Minute

// Mail is one row of the outbox.
type Mail struct {
	// Seq orders the queue; assigned by PutMail.
	Seq uint64
	// MessageID is the Message-ID without its angle brackets; it stays the
	// same over retries, so a receiver can drop a second copy.
	MessageID string
	Kind      MailKind
	To        string
	// User is the account that the message is about; zero for none.
	User uuid.UUID
	// State fingerprints what the act behind the link would change. If the
	// account no longer matches when the message is sent, it is dropped.
	State []byte
	// Language is the BCP 47 tag of the request that caused the message.
	Language string
	// Queued is when the act happened; Due is when the next try may start.
	Queued time.Time
	Due    time.Time
	// Attempts counts the tries that failed for this message.
	Attempts int
	// Next is where the person wanted to go when the act was asked for; it
	// travels in the link. Empty: nowhere in particular.
	Next string
	// Tried is for how long the message has been tried: the waits between its
	// tries, by no clock. Kept to the millisecond.
	Tried time.Duration
	// Waiting is the account that awaits its verification and for whose sake the
	// message was asked for; zero: none. Its time is counted anew from Queued.
	Waiting uuid.UUID
	// Invitation is what the message invites to; zero: to nothing. The message is
	// dropped where that can't be used any more.
	Invitation uuid.UUID
	// Factor is the factor that the message is about, or the sign-in (Session.SignIn); zero:
	// none.
	Factor uuid.UUID
	// Browser is a hash of what only the browser knows in which the message is good; empty:
	// it is in any.
	Browser []byte
	// Device and Address are on what, and from which IP address, the act was done that a
	// notice tells of; empty: not known, or not told.
	Device, Address string
	// Words are what an owner has written into it, or what has been filled in when it
	// was to be sent; empty: nothing.
	Words string
	// Failed is why the last try failed, for the owner; empty: none has. At most
	// MaxMailFailed bytes.
	Failed string
}

// MaxMailFailed bounds Mail.Failed.
const MaxMailFailed = 1 << 10

// MailKind names the message that is to be sent. The text is rendered and the
// link signed when it is sent, so the queue holds no live link.
type MailKind string

// The messages that the outbox can send.
const (
	MailVerifyRegistration MailKind = "register"
	MailResetPassword      MailKind = "reset_password"
	MailVerifyEmail        MailKind = "register_email"
	MailEmailInUse         MailKind = "email_in_use"
	// MailEmailChanged goes to the old address, with the link that brings it back.
	MailEmailChanged MailKind = "email_changed"
	// MailEmailsChanged goes to each address of an account that stays, of several, when one
	// came or went or another is the first, with the link that brings back what was before.
	MailEmailsChanged MailKind = "emails_changed"
	// MailEmailsRestored tells each other address of an account that a way back was used by
	// the link to one of them. It has no link that acts.
	MailEmailsRestored MailKind = "emails_restored"
	// MailPasswordChanged and MailLoginChanged tell the owner of an account that
	// how one signs in to it has changed. They have no link that acts.
	MailPasswordChanged MailKind = "password_changed"
	MailLoginChanged    MailKind = "login_changed"
	// MailNewDevice tells of a sign-in on a device that the account does not know, with the
	// link that ends it.
	MailNewDevice MailKind = "new_device"
	// MailLoginCode has a code and a link by which one signs in.
	MailLoginCode MailKind = "login_code"
	// MailInvitation has the link by which one signs up.
	MailInvitation MailKind = "invitation"
	// MailApproved tells who waited that he can sign in, MailRefused that he can't and
	// that his account is gone.
	MailApproved MailKind = "approved"
	MailRefused  MailKind = "refused"
	// MailAccountClosed tells who has closed his account until when he can keep it,
	// MailAccountGone that it is gone.
	MailAccountClosed MailKind = "account_closed"
	MailAccountGone   MailKind = "account_gone"
	// MailTest is sent by an owner to see whether mail arrives, and is never queued.
	MailTest MailKind = "test"
	// MailSignUps tells an owner who has signed up or waits.
	MailSignUps MailKind = "sign_ups"
)

// The link by which a person sets a password, where an owner has it sent and nobody has
// asked. They differ in where the link leads: MailResetByOwner to the page of those that
// people ask for, MailSetPassword, where people can't ask, to one of its own.
// MailResetByUndo has the link for who has taken his account back: the old password is void.
const (
	MailResetByOwner MailKind = "reset_by_owner"
	MailSetPassword  MailKind = "set_password"
	MailResetByUndo  MailKind = "reset_by_undo"
)

// Mails about the second step of an account. MailFactorAdded and MailFactorRemoved have
// the link that takes it back; the others are notices.
const (
	MailFactorAdded   MailKind = "factor_added"
	MailFactorRemoved MailKind = "factor_removed"
	// MailFactorGuessed says that somebody has the password and not the factor.
	MailFactorGuessed MailKind = "factor_guessed"
	// MailRecoveryUsed says that a recovery code was used, MailRecoveryFew besides that few
	// are left, MailRecoveryMade that there are new ones.
	MailRecoveryUsed MailKind = "recovery_used"
	MailRecoveryFew  MailKind = "recovery_few"
	MailRecoveryMade MailKind = "recovery_made"
	// MailProgramToken says that a token for programs was made.
	MailProgramToken MailKind = "program_token"
	// MailDataExported says that all that is kept about the person was taken out.
	MailDataExported MailKind = "data_exported"
	// MailFactorsReset says that an owner of the site has taken all of it away.
	MailFactorsReset MailKind = "factors_reset"
)

// MailAccountCreated is the text of these two for an account that nobody has used yet.
// It is never queued: what the account is like when the mail is sent decides.
const MailAccountCreated MailKind = "account_created"

// MailDecoy is a row that the outbox takes off again without sending anything:
// the work of a mail, in the request and after it, where there is none to send.
const MailDecoy MailKind = "decoy"
