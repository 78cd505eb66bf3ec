// Package audit is the record of what was done to accounts: which events there are,
// who is behind one, and how they get into the store and the log. An act writes its
// row in its own transaction (Journal.Write); what failed is written together, once
// a second, and bounded (Recorder).
//
// No row and no line has a secret, a link, a hash, or what somebody unknown typed:
// people type passwords where names belong.
package audit

// An Event names what happened.
type Event string

// The events. Those that Failures lists are no acts: nothing was changed.
const (
	AccountRegistered    Event = "account_registered"
	AccountVerified      Event = "account_verified"
	AccountWaiting       Event = "account_waiting"
	TermsAccepted        Event = "terms_accepted"
	SignedIn             Event = "signed_in"
	SignInFailed         Event = "sign_in_failed"
	SteppedUp            Event = "stepped_up"
	SignedOut            Event = "signed_out"
	SessionsEnded        Event = "sessions_ended"
	TokenCreated         Event = "token_created"
	ProgramTokenCreated  Event = "program_token_created"
	ProgramTokenRevoked  Event = "program_token_revoked"
	TokenReused          Event = "token_reused"
	PasswordChanged      Event = "password_changed"
	PasswordReset        Event = "password_reset"
	EmailChangeRequested Event = "email_change_requested"
	EmailChanged         Event = "email_changed"
	EmailAdded           Event = "email_added"
	EmailRemoved         Event = "email_removed"
	ProfileChanged       Event = "profile_changed"
	LinkRequested        Event = "link_requested"
	LinkCreated          Event = "link_created"
	FactorAdded          Event = "factor_added"
	FactorRemoved        Event = "factor_removed"
	RecoveryCodesMade    Event = "recovery_codes_made"
	RecoveryCodeUsed     Event = "recovery_code_used"
	FactorsReset         Event = "factors_reset"
	AccountLinked        Event = "oidc_linked"
	AccountUnlinked      Event = "oidc_unlinked"
	DeviceTrusted        Event = "device_trusted"
	DeviceTrustEnded     Event = "device_trust_ended"
	AccountApproved      Event = "account_approved"
	AccountRefused       Event = "account_refused"
	AccountDisabled      Event = "account_disabled"
	AccountEnabled       Event = "account_enabled"
	DataExported         Event = "data_exported"
	AccountClosed        Event = "account_closed"
	AccountKept          Event = "account_kept"
	AccountDeleted       Event = "account_deleted"
	InvitationCreated    Event = "invitation_created"
	InvitationRevoked    Event = "invitation_revoked"
	Throttled            Event = "throttled"
	MailFailed           Event = "mail_failed"
	MailTested           Event = "mail_tested"
	MailRetried          Event = "mail_retried"
	WebhookRetried       Event = "webhook_retried"
	WebhookEnabled       Event = "webhook_enabled"
	WebhookSkipped       Event = "webhook_skipped"
	AccountsImported     Event = "accounts_imported"
	AccountsExported     Event = "accounts_exported"
)

// A Description is what an event means.
type Description struct {
	Event Event
	// Batched: it is written with others, up to a second later, and where there are
	// too many they are counted. All others are written with their act.
	Batched bool
	Means   string
}

// Events has all events, in the order of docs/audit.md.
var Events = []Description{
	{AccountRegistered, false, "Somebody signed up (the account may wait for its confirmation), or, with `by` `administrator`, was given an account. `groups_added` says in which groups it is."},
	{AccountVerified, false, "An account that waited was confirmed by its mailed link."},
	{AccountWaiting, false, "A new account waits from now on to be approved by an administrator (`mode approve`)."},
	{TermsAccepted, false, "Somebody agreed to the terms, at the sign-up or at a sign-in; `version` says to which."},
	{SignedIn, false, "A sign-in; `by` is `password`, `passkey`, `code` (a mailed one), `link` or `oidc` (an account elsewhere), `gives` what it handed out (session, token, refresh). `trusted_device`: no second step was asked for, because the browser with this id is trusted."},
	{SignInFailed, true, "A password or factor was wrong, or the password was right and the account may not sign in; `code` says which. Without an account: nobody goes by the name that was typed."},
	{SteppedUp, false, "Who was signed in showed once more who he is, because a page asked for it; `by` says how (`pwd`, `otp mfa`)."},
	{SignedOut, false, "A sign-out; with `tokens`, the account's tokens ended too."},
	{SessionsEnded, false, "Sign-ins were ended from the list: `which` is `one`, `others` or `all`. With `by` `link` it was the one that a mail about a new device has told of."},
	{TokenCreated, false, "A sign-in handed out an API token or a refresh token (`kind`)."},
	{ProgramTokenCreated, false, "Somebody made a token for a program (`token` is its id, `path` and `groups` what it is limited to)."},
	{ProgramTokenRevoked, false, "A token for a program was revoked."},
	{TokenReused, false, "A refresh token came again after it had been exchanged: its sign-in was ended."},
	{PasswordChanged, false, "The password was changed, by who knew it or by an administrator; all other sign-ins ended."},
	{PasswordReset, false, "A new password was set by a mailed link; all sign-ins ended."},
	{EmailChangeRequested, false, "Another e-mail address was asked for; it counts once it is confirmed."},
	{EmailChanged, false, "The e-mail address changed; `by` is `link`, `undo` (the old one is back), `profile` (where none is confirmed), `primary` (another of several is the first) or `administrator`."},
	{EmailAdded, false, "An address was confirmed and is one of several of the account's."},
	{EmailRemoved, false, "An address was removed; with `confirmed` `no`, one was taken back that waited for its confirmation."},
	{ProfileChanged, false, "Fields were changed; `fields` has their names, `groups_added` and `groups_removed` the groups that came and went."},
	{LinkRequested, true, "A mail with a link was asked for by who isn't signed in: `purpose` is `register`, `reset_password` or `login_code`. Without an account: there is none that gets it."},
	{LinkCreated, false, "An administrator made a link by which the person sets a new password."},
	{FactorAdded, false, "A factor of the second step was added (`type` `totp` or `passkey`), or, with `by` `undo`, came back by a mailed link; `factor` is its id."},
	{FactorRemoved, false, "A factor was removed, by its owner or, with `by` `undo`, by a mailed link."},
	{RecoveryCodesMade, false, "New recovery codes were made; the old ones are void."},
	{RecoveryCodeUsed, false, "A recovery code stood in for a factor; `left` says how many are left."},
	{FactorsReset, false, "An administrator took away all factors and recovery codes; all sign-ins ended. `types` says what there was."},
	{AccountLinked, false, "An account elsewhere was linked, so that one signs in by it (`issuer` is whose it is, `linked` its id here), at the sign-up or later, or, with `by` `undo`, came back by a mailed link."},
	{AccountUnlinked, false, "An account elsewhere was unlinked, by its owner, by an owner of the site (`actor`) or, with `by` `undo`, by a mailed link."},
	{DeviceTrusted, false, "Who showed a factor asked not to be asked for one in this browser for a time; `trusted_device` is its id, as in the row of each sign-in that was not asked."},
	{DeviceTrustEnded, false, "The owner of the account had a trusted browser asked again."},
	{AccountApproved, false, "An administrator let an account in that waited for that."},
	{AccountRefused, false, "An administrator refused an account that waited, which removed it."},
	{AccountDisabled, false, "An administrator disabled the account; all its sign-ins ended."},
	{AccountEnabled, false, "An administrator made the account usable."},
	{DataExported, false, "The account's owner took out all that is kept about him."},
	{AccountClosed, false, "The account's owner closed it: all its sign-ins ended, and it will be gone; `until` says when."},
	{AccountKept, false, "The account's owner signed in and kept the account that he had closed."},
	{AccountDeleted, false, "The account was removed: by an administrator, or because nobody confirmed it in time (`reason` `unconfirmed`), or because its owner had closed it (`reason` `closed`). Then no row says any more from where and with what its owner came."},
	{InvitationCreated, false, "An administrator made an invitation to sign up; `invitation` is its id, as it is in the row of an account that came of it."},
	{InvitationRevoked, false, "An administrator ended an invitation."},
	{Throttled, true, "A throttle began to refuse: one row an incident; `throttle` and `act` say which and for what."},
	{MailFailed, false, "A mail was given up; `kind` and `reason` say which and why, `invitation` which one it was, `address_number` which of the account's addresses it went to: 0 is the first that it had."},
	{MailTested, false, "An administrator had a mail sent at once, to see whether mail gets out."},
	{MailRetried, false, "An administrator had all mail that waits tried at once."},
	{WebhookRetried, false, "An administrator had the endpoint of a webhook tried at once; `endpoint` is its host, `webhook` its id."},
	{WebhookEnabled, false, "An administrator had an endpoint told again that had said it wants no more (410), from then on."},
	{WebhookSkipped, false, "An administrator had an endpoint not told what waited for it."},
	{AccountsImported, false, "An administrator had accounts taken over from a file: one row for each few hundred, `added` and `updated` say how many, `import` is the same in all rows of one file; `factor_key` says that a key of second steps was in it, `audit` how many rows of this record. Accounts that were there before have a row of their own for what was changed in them."},
	{AccountsExported, false, "An administrator had all accounts written into a file; `hashes` says that hashes of passwords are in it, `audit` that this record is."},
}

// Warns reports whether the log has an event as a warning.
func (e Event) Warns() bool {
	switch e {
	case SignInFailed, TokenReused, Throttled, MailFailed:
		return true
	default:
		return false
	}
}
