// account.go: the rules of one realm: how an account comes to be, is confirmed,
// found and shown. What its owner does with it later stands in account_self.go
// and account_password.go. No HTTP and no Caddy in here.

package registration

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// Accounts carries out the acts of one realm. Its methods are safe for
// concurrent use. They return *Error for whatever is not the act's success:
// a refusal (by code or by field), or CodeUnavailable for a failing store or
// an overloaded machine, with the cause for the log.
type Accounts struct {
	policy   *Policy
	store    Store
	sessions *sessions
	signer   *Signer
	// nameKeys hashes the names that accounts have left.
	nameKeys *Signer
	hasher   *password.Pool
	// mailDomain is the right-hand side of every Message-ID.
	mailDomain string
	// mailQueued tells the outbox that there is something to do.
	mailQueued func()
	// throttles has how many mails an address got lately.
	throttles *budget.Ledger
	// mailHeld is told of a mail that is left out; nil: nobody is.
	mailHeld func(MailKind, budget.Verdict)
	// access makes access tokens; nil where tokens are off or opaque.
	access *accessTokens
	// uniques says which keys an account has in the store.
	uniques *uniques
	// now is the clock; tests travel with it.
	now func() time.Time
}

// A Client is where a request came from, as far as an act records it.
type Client struct {
	// Address is the IP address that Caddy trusts (client_ip).
	Address   string
	UserAgent string
	// Language is the BCP 47 tag in which the person is written to.
	Language string
	// Next is where the person wanted to go; already checked.
	Next string
	// spend spends the budgets of the request, or refuses it; nil: it has none.
	spend func() error
	// device is the account that signed in on the same device before; zero: none.
	device uuid.UUID
}

// pay spends the budgets of the request, or refuses it. Each act that hashes a
// password or mails somebody calls it just before, with all that can be wrong
// with the form behind it.
func (c Client) pay() error {
	if c.spend == nil {
		return nil
	}
	return c.spend()
}

// txn is a transaction together with what must happen after its commit.
type txn struct {
	Tx
	users    []uuid.UUID
	sessions []TokenHash
	// left are accounts with more sign-ins to remove than one transaction should.
	left    []uuid.UUID
	mail    bool
	postage *postage
	// waiting is the account whose time the mails of the act count anew (Mail.Waiting).
	waiting uuid.UUID
}

// update runs one act. After the commit, and before the caller answers, what
// the act changed is gone from the session cache.
func (a *Accounts) update(ctx context.Context, fn func(*txn) error) error {
	var t *txn
	stamps := &postage{a: a}
	err := a.store.Update(ctx, func(tx Tx) error {
		t = &txn{Tx: tx, postage: stamps}
		return fn(t)
	})
	if t != nil {
		a.sessions.forget(t.users, t.sessions)
	}
	if err != nil {
		stamps.failed()
		return storeError(err)
	}
	if t.mail {
		a.mailQueued()
	}
	for _, id := range t.left {
		a.sessions.leave(id, a.policy.Session.Max)
	}
	return nil
}

func (a *Accounts) view(ctx context.Context, fn func(Tx) error) error {
	return storeError(a.store.View(ctx, fn))
}

// storeError leaves refusals as they are and makes the rest CodeUnavailable.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	if refusal := (*Error)(nil); errors.As(err, &refusal) {
		return refusal
	}
	return unavailable(err)
}

// hashError is storeError for the hashing pool.
func hashError(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}

// time is the current time in the resolution that records keep.
func (a *Accounts) time() time.Time { return a.now().UTC().Truncate(time.Second) }

// putUser writes an account with its keys, or refuses by field. What it refuses
// is about what the act changes: no new value of a login field may be another
// account's value of another login field, and no new address one that its former
// holder can still have back.
func (a *Accounts) putUser(t *txn, u *User) error {
	before, err := stored(t, u)
	if err != nil {
		return err
	}
	if err := a.newLoginClash(t, before, u); err != nil {
		return err
	}
	if isNew(a.policy.Fields.byName[fieldEmail], before, u) {
		switch left, err := a.emailTaken(t, u); {
		case err != nil:
			return err
		case left:
			return fieldErrors{{Field: fieldEmail, Code: CodeUnique}}.err()
		}
	}
	if err := a.release(t, u); err != nil {
		return err
	}
	reserved, err := a.reserve(t, u)
	if err != nil {
		return err
	}
	err = t.PutUser(u, append(a.uniques.keysOf(u), reserved...))
	if taken := (*TakenError)(nil); errors.As(err, &taken) {
		var errs fieldErrors
		errs.add(fieldOfKey(taken.Field), CodeUnique)
		return errs.err()
	}
	t.users = append(t.users, u.ID)
	return err
}

// stored is the account as the store has it, nil for one that is new.
func stored(tx Tx, u *User) (*User, error) {
	before, err := tx.User(u.ID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return before, err
}

// isNew reports whether an account holds the value of a field only from now on.
// An address counts from its confirmation.
func isNew(f *field, before, u *User) bool {
	return before == nil || f.key(before) != f.key(u) || f.name == fieldEmail && before.EmailPending && !u.EmailPending
}

// someLogin refuses an account that nobody could sign in to: of several login
// fields none has to be given, but one of them.
func (a *Accounts) someLogin(u *User, errs *fieldErrors) {
	login := a.policy.Fields.login
	for _, f := range login {
		if f.key(u) != "" || hasField(*errs, f.name) {
			return
		}
	}
	if f := login[0]; f.name != fieldEmail || !u.EmailPending { // which has a refusal of its own
		errs.add(f.name, CodeRequired)
	}
}

// queueMail writes a message about u into the outbox of the transaction. Where
// there were too many, it does the same work without a mail or, where the mail is
// the way back into an account, refuses the act.
func (a *Accounts) queueMail(t *txn, kind MailKind, u *User, to string, client Client) error {
	if wait := t.postage.of(kind, u, to, client); wait > 0 {
		if t.postage.rescues(kind) {
			return tooOften(wait)
		}
		return a.decoyMail(t, to, client)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	now := a.time()
	t.mail = true
	return t.PutMail(&Mail{
		MessageID: id.String() + "@" + a.mailDomain, Kind: kind, To: to, User: u.ID, State: a.mailState(kind, u, to),
		Language: client.Language, Queued: now, Due: now, Next: client.Next, Waiting: t.waiting,
	})
}

// state fingerprints what an act changes and what it rests on, so that its
// link dies with its use, and with the account's generation. Where a link may be
// used again (one_time_use off), it leaves both out, and still dies when the
// address that it was sent to is no longer the account's. The way back
// (PurposeUndoEmail) outlives the generation: else a thief who changes address
// and password would end it. email is the address that the link is mailed to.
func (a *Accounts) state(purpose Purpose, u *User, email string) []byte {
	oneTime := true
	switch purpose {
	case PurposeRegister:
		oneTime = a.policy.Register.OneTimeUse
	case PurposeResetPassword:
		oneTime = a.policy.ResetPassword.OneTimeUse
	case PurposeRegisterEmail, PurposeUndoEmail:
	}
	return a.linkState(purpose, u, email, oneTime)
}

// linkState is state where a link can be used once, or again.
func (a *Accounts) linkState(purpose Purpose, u *User, email string, oneTime bool) []byte {
	if purpose == PurposeUndoEmail {
		return undoState(u, a.former(u, email))
	}
	parts := []string{string(purpose), u.Email}
	switch {
	case purpose == PurposeRegister && oneTime:
		parts = append(parts, strconv.FormatBool(u.AwaitsVerification))
	case purpose == PurposeResetPassword && oneTime:
		parts = append(parts, u.PasswordHash)
	case purpose == PurposeRegisterEmail:
		parts = append(parts, strconv.FormatUint(uint64(u.EmailChanges), 10))
	default:
		return stateOf(parts...)
	}
	return stateOf(append(parts, generationOf(u)...)...)
}

// generationOf is the account's generation as a part of a state; the first is
// none, so that links under way outlive the upgrade that brought generations.
func generationOf(u *User) []string {
	if u.Generation == 0 {
		return nil
	}
	return []string{strconv.FormatUint(u.Generation, 10)}
}

// purposes names the act behind the link of a message; a notice has none.
var purposes = map[MailKind]Purpose{
	MailVerifyRegistration: PurposeRegister,
	MailResetPassword:      PurposeResetPassword,
	MailVerifyEmail:        PurposeRegisterEmail,
	MailEmailChanged:       PurposeUndoEmail,
	mailDecoy:              PurposeResetPassword, // for its work and its size
}

// mailState fingerprints, for a row of the outbox, what the act behind its link
// would change. Unlike the state of the link, which is signed when the mail is
// sent, it depends neither on the settings, which may change while the mail
// waits, nor on the clock.
func (a *Accounts) mailState(kind MailKind, u *User, to string) []byte {
	purpose, ok := purposes[kind]
	switch {
	case !ok:
		return nil
	case purpose == PurposeUndoEmail:
		return undoState(u, formerIndex(u, to))
	}
	return a.linkState(purpose, u, to, true)
}

// mailWanted reports whether u is still as it was when m was queued.
func (a *Accounts) mailWanted(m *Mail, u *User) bool {
	if bytes.Equal(m.State, a.mailState(m.Kind, u, m.To)) {
		return true
	}
	// Earlier versions wrote the state of the link, under whatever settings.
	purpose, ok := purposes[m.Kind]
	return ok && len(m.State) > 0 && bytes.Equal(m.State, a.linkState(purpose, u, m.To, false))
}

// A link is what a mailed link carries, as it came back.
type link struct {
	claim     Claim
	signature string
}

// readLink takes a link from an input. Missing parts are told by field; parts
// that can't be read are a bad signature like any other.
func readLink(in Input, purpose Purpose, errs *fieldErrors) (link, error) {
	l := link{claim: Claim{Purpose: purpose}}
	id := in.required(paramUserID, errs)
	if purpose == PurposeRegisterEmail || purpose == PurposeUndoEmail {
		l.claim.Email = in.required(paramEmail, errs)
	}
	stamp := in.required(paramTimestamp, errs)
	l.signature = in.required(paramSignature, errs)
	if len(*errs) > 0 {
		return l, nil
	}
	parsed, ok := parseID(id)
	if !ok || len(l.claim.Email) > maxEmailBytes || len(l.signature) > maxSignature || len(stamp) > maxSignature {
		return l, refuse(CodeSignatureInvalid)
	}
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || unix < 0 || unix > 1<<40 {
		return l, refuse(CodeSignatureInvalid)
	}
	l.claim.User, l.claim.Time = parsed, time.Unix(unix, 0)
	return l, nil
}

// checkLink returns the account that a link acts on, or refuses. An unknown
// account, one that an administrator has disabled and one whose address is
// somebody else's by now look like a bad signature.
func (a *Accounts) checkLink(tx Tx, l link, period time.Duration) (*User, error) {
	u, err := tx.User(l.claim.User)
	if errors.Is(err, ErrNotFound) {
		return nil, refuse(CodeSignatureInvalid)
	}
	if err != nil {
		return nil, err
	}
	claim := l.claim
	claim.State = a.state(claim.Purpose, u, claim.Email)
	if claim.State == nil { // nothing that a link could stand for
		return nil, refuse(CodeSignatureInvalid)
	}
	err = a.signer.Verify(claim, l.signature, a.now(), period)
	if err != nil && !errors.Is(err, ErrExpired) {
		// One that was mailed before one_time_use was turned off is good once.
		claim.State = a.linkState(claim.Purpose, u, claim.Email, true)
		err = a.signer.Verify(claim, l.signature, a.now(), period)
	}
	switch {
	case errors.Is(err, ErrExpired):
		return nil, refuse(CodeSignatureExpired)
	case err != nil, !u.IsActive && !u.AwaitsVerification && claim.Purpose != PurposeUndoEmail:
		return nil, refuse(CodeSignatureInvalid)
	}
	if claim.Purpose == PurposeRegister || claim.Purpose == PurposeResetPassword {
		switch ok, err := a.confirmable(tx, u); {
		case err != nil:
			return nil, err
		case !ok:
			return nil, refuse(CodeSignatureInvalid)
		}
	}
	return u, nil
}
