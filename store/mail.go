// mail.go: which messages there are.

package store

import "time"

// MailFarAhead is beyond what any message is put off, see Store.ClaimMail.
const MailFarAhead = 30 * time.Minute

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
	// MailPasswordChanged and MailLoginChanged tell the owner of an account that
	// how one signs in to it has changed. They have no link.
	MailPasswordChanged MailKind = "password_changed"
	MailLoginChanged    MailKind = "login_changed"
	// MailInvitation has the link by which one signs up.
	MailInvitation MailKind = "invitation"
	// MailApproved tells who waited that he can sign in, MailRefused that he can't and
	// that his account is gone.
	MailApproved MailKind = "approved"
	MailRefused  MailKind = "refused"
	// MailTest is sent by an owner to see whether mail arrives, and is never queued.
	MailTest MailKind = "test"
	// MailSignUps tells an owner who has signed up or waits.
	MailSignUps MailKind = "sign_ups"
)

// The link by which a person sets a password, where an owner has it sent and nobody has
// asked. They differ in where the link leads: MailResetByOwner to the page of those that
// people ask for, MailSetPassword, where people can't ask, to one of its own.
const (
	MailResetByOwner MailKind = "reset_by_owner"
	MailSetPassword  MailKind = "set_password"
)

// MailAccountCreated is the text of these two for an account that nobody has used yet.
// It is never queued: what the account is like when the mail is sent decides.
const MailAccountCreated MailKind = "account_created"

// MailDecoy is a row that the outbox takes off again without sending anything:
// the work of a mail, in the request and after it, where there is none to send.
const MailDecoy MailKind = "decoy"
