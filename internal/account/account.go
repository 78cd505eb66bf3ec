// account.go: the rules of one realm: how an account comes to be, is confirmed,
// found and shown. What its owner does with it later stands in self.go
// and password.go. No HTTP and no Caddy in here.

package account

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/again"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Accounts carries out the acts of one realm. Its methods are safe for
// concurrent use. They return *Error for whatever is not the act's success:
// a refusal (by code or by field), or CodeUnavailable for a failing store or
// an overloaded machine, with the cause for the log.
type Accounts struct {
	Policy   *Policy
	Store    store.Store
	Sessions *session.Live
	Signer   *sign.Signer
	// NameKeys hashes the names that accounts have left.
	NameKeys *sign.Signer
	Hasher   *password.Pool
	// FactorKeys seals the secrets of factors.
	FactorKeys *factor.Keys
	// MailDomain is the right-hand side of every Message-ID.
	MailDomain string
	// Links has the addresses of the pages that links lead to, by what they do.
	Links map[sign.Purpose]string
	// MailQueued tells the outbox that there is something to do.
	MailQueued func()
	// Throttles has how many mails an address got lately.
	Throttles *budget.Ledger
	// SignUps knows a sign-up that comes twice; nil: each is a new one.
	SignUps *again.Requests
	// MailHeld is told of a mail that is left out; nil: nobody is.
	MailHeld func(store.MailKind, budget.Verdict)
	// Access makes access tokens; nil where tokens are off or opaque.
	Access *session.AccessTokens
	// KeyIndex says which keys an account has in the store.
	KeyIndex *field.KeyIndex
	// Journal takes what is done; nil: nothing does.
	Journal *audit.Journal
	// Now is the clock; tests travel with it.
	Now func() time.Time
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
	// Spend spends the budgets of the request, or refuses it; nil: it has none.
	Spend func() error
	// Page: a form that a person has sent, by a browser that is shown pages.
	Page bool
	// Device is the account that signed in on the same device before; zero: none.
	Device uuid.UUID
}

// pay spends the budgets of the request, or refuses it. Each act that hashes a
// password or mails somebody calls it just before, with all that can be wrong
// with the form behind it.
func (c Client) pay() error {
	if c.Spend == nil {
		return nil
	}
	return c.Spend()
}

// Txn is a transaction together with what must happen after its commit.
type Txn struct {
	store.Tx
	// ended counts the sign-ins that the act has ended.
	ended int
	// left are accounts with more sign-ins to remove than one transaction should.
	left    []uuid.UUID
	mail    bool
	postage *postage
	// waiting is the account whose time the mails of the act count anew (Mail.Waiting).
	waiting uuid.UUID
	// browser is the one for which the mails of the act are good (Mail.Browser).
	browser []byte
	journal *audit.Journal
	caller  audit.Caller
	// told are the rows of the act, for the log.
	told []store.Audit
}

// Update runs one act. After the commit, and before the caller answers, what
// the act changed is gone from the session cache, which follows the store.
func (a *Accounts) Update(ctx context.Context, fn func(*Txn) error) error {
	var t *Txn
	stamps := &postage{a: a}
	caller := audit.CallerOf(ctx)
	err := a.Store.Update(ctx, func(tx store.Tx) error {
		t = &Txn{Tx: tx, postage: stamps, journal: a.Journal, caller: caller}
		return fn(t)
	})
	if err != nil {
		stamps.failed()
		return StoreError(err)
	}
	a.Journal.Tell(t.told...)
	if t.mail {
		a.MailQueued()
	}
	for _, id := range t.left {
		a.Sessions.Leave(id, a.Policy.Session.Max)
	}
	return nil
}

// View runs fn in a transaction that only reads. A failure of the store is
// CodeUnavailable.
func (a *Accounts) View(ctx context.Context, fn func(store.Tx) error) error {
	return StoreError(a.Store.View(ctx, fn))
}

// StoreError leaves refusals as they are and makes the rest CodeUnavailable.
func StoreError(err error) error {
	if err == nil {
		return nil
	}
	if refusal := (*refusal.Error)(nil); errors.As(err, &refusal) {
		return refusal
	}
	return refusal.Unavailable(err)
}

// HashError is StoreError for the hashing pool.
func HashError(err error) error {
	if err == nil {
		return nil
	}
	return refusal.Unavailable(err)
}

// Time is the current time in the resolution that records keep.
func (a *Accounts) Time() time.Time { return a.Now().UTC().Truncate(time.Second) }

// PutUser writes an account with its keys, or refuses by field. What it refuses
// is about what the act changes: no new value of a login field may be another
// account's value of another login field, and no new address one that its former
// holder can still have back.
func (a *Accounts) PutUser(t *Txn, u *store.User) error {
	before, err := stored(t, u)
	if err != nil {
		return err
	}
	if err := a.newLoginClash(t, before, u); err != nil {
		return err
	}
	if isNew(a.Policy.Fields.ByName[field.Email], before, u) {
		switch left, err := a.emailTaken(t, u); {
		case err != nil:
			return err
		case left:
			return refusal.FieldErrors{{Field: field.Email, Code: refusal.CodeUnique}}.Err()
		}
	}
	if err := a.release(t, u); err != nil {
		return err
	}
	reserved, err := a.reserve(t, u)
	if err != nil {
		return err
	}
	err = t.PutUser(u, append(a.KeyIndex.KeysOf(u), reserved...))
	if taken := (*store.TakenError)(nil); errors.As(err, &taken) {
		var errs refusal.FieldErrors
		errs.Add(field.OfKey(taken.Field), refusal.CodeUnique)
		return errs.Err()
	}
	return err
}

// stored is the account as the store has it, nil for one that is new.
func stored(tx store.Tx, u *store.User) (*store.User, error) {
	before, err := tx.User(u.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return before, err
}

// isNew reports whether an account holds the value of a field only from now on.
// An address counts from its confirmation.
func isNew(f *field.Field, before, u *store.User) bool {
	return before == nil || f.Key(before) != f.Key(u) || f.Name == field.Email && before.EmailPending && !u.EmailPending
}

// someLogin refuses an account that nobody could sign in to: of several login
// fields none has to be given, but one of them. before is the account as it was, nil
// at sign-up: one that had none can still be saved as it is.
func (a *Accounts) someLogin(before, u *store.User, errs *refusal.FieldErrors) {
	login := a.Policy.Fields.Login
	if before != nil && !slices.ContainsFunc(login, func(f *field.Field) bool { return f.Key(before) != f.Key(u) }) {
		return
	}
	for _, f := range login {
		if f.Key(u) != "" || hasField(*errs, f.Name) {
			return
		}
	}
	if f := login[0]; f.Name != field.Email || !u.EmailPending { // which has a refusal of its own
		errs.Add(f.Name, refusal.CodeRequired)
	}
}

// queueMail writes a message about u into the outbox of the transaction. Where
// there were too many, it does the same work without a mail or, where the mail is
// the way back into an account, refuses the act.
func (a *Accounts) queueMail(t *Txn, kind store.MailKind, u *store.User, to string, client Client) error {
	return a.queueAbout(t, kind, u, to, uuid.Nil, client)
}

// queueAbout is queueMail for a message that may be about a factor.
func (a *Accounts) queueAbout(t *Txn, kind store.MailKind, u *store.User, to string, factor uuid.UUID, client Client) error {
	if wait := t.postage.of(kind, u, to, client); wait > 0 {
		if t.postage.rescues(kind) {
			return TooOften(wait)
		}
		return a.decoyMail(t, to, client)
	}
	id, err := NewMessageID(a.MailDomain)
	if err != nil {
		return err
	}
	now := a.Time()
	t.mail = true
	m := &store.Mail{
		MessageID: id, Kind: kind, To: to, User: u.ID, Factor: factor,
		Language: client.Language, Queued: now, Due: now, Next: client.Next, Waiting: t.waiting, Browser: t.browser,
	}
	m.State = a.mailState(m, u)
	return t.PutMail(m)
}

// NewMessageID returns the Message-ID of a new mail, without its brackets.
func NewMessageID(domain string) (string, error) {
	id, err := uuid.NewRandom()
	return id.String() + "@" + domain, err
}

// State fingerprints what an act changes and what it rests on, so that its
// link dies with its use, and with the account's generation. Where a link may be
// used again (one_time_use off), it leaves both out, and still dies when the
// address that it was sent to is no longer the account's. The ways back
// (PurposeUndoEmail, PurposeUndoFactor) outlive the generation: else a thief who changes
// address and password would end them. email is the address that the link is mailed to,
// for PurposeUndoFactor the factor's id (sign.Claim.Email).
func (a *Accounts) State(purpose sign.Purpose, u *store.User, email string) []byte {
	oneTime := true
	switch purpose {
	case sign.PurposeRegister:
		oneTime = a.Policy.Register.OneTimeUse
	case sign.PurposeResetPassword:
		oneTime = a.Policy.ResetPassword.OneTimeUse
	default: // used once
	}
	return a.linkState(purpose, u, email, oneTime)
}

// linkState is state where a link can be used once, or again.
func (a *Accounts) linkState(purpose sign.Purpose, u *store.User, email string, oneTime bool) []byte {
	switch purpose { //nolint:exhaustive // the others follow one rule
	case sign.PurposeUndoEmail:
		return undoState(u, a.former(u, email))
	case sign.PurposeUndoFactor:
		return undoFactorState(u, email)
	}
	parts := []string{string(purpose), u.Email}
	switch {
	case purpose == sign.PurposeRegister && oneTime:
		parts = append(parts, strconv.FormatBool(u.AwaitsVerification))
	case purpose == sign.PurposeResetPassword && oneTime, purpose == sign.PurposeSetPassword:
		parts = append(parts, u.PasswordHash)
	case purpose == sign.PurposeLoginCode:
		parts = append(parts, strconv.FormatUint(uint64(u.EmailChanges), 10), u.PasswordHash, strconv.FormatInt(u.LastLogin.Unix(), 10))
	case purpose == sign.PurposeRegisterEmail:
		parts = append(parts, strconv.FormatUint(uint64(u.EmailChanges), 10))
	default:
		return sign.StateOf(parts...)
	}
	return sign.StateOf(append(parts, GenerationOf(u)...)...)
}

// GenerationOf is the account's generation as a part of a state; the first is
// none, so that links under way outlive the upgrade that brought generations.
func GenerationOf(u *store.User) []string {
	if u.Generation == 0 {
		return nil
	}
	return []string{strconv.FormatUint(u.Generation, 10)}
}

// Purposes names the act behind the link of a message; a notice has none.
var Purposes = map[store.MailKind]sign.Purpose{
	store.MailVerifyRegistration: sign.PurposeRegister,
	store.MailResetPassword:      sign.PurposeResetPassword,
	store.MailVerifyEmail:        sign.PurposeRegisterEmail,
	store.MailEmailChanged:       sign.PurposeUndoEmail,
	store.MailDecoy:              sign.PurposeResetPassword, // for its work and its size
	store.MailResetByOwner:       sign.PurposeResetPassword,
	store.MailLoginCode:          sign.PurposeLoginCode,
	store.MailSetPassword:        sign.PurposeSetPassword,
	store.MailFactorAdded:        sign.PurposeUndoFactor,
	store.MailFactorRemoved:      sign.PurposeUndoFactor,
}

// mailState fingerprints, for a row of the outbox, what the act behind its link
// would change. Unlike the state of the link, which is signed when the mail is
// sent, it depends neither on the settings, which may change while the mail
// waits, nor on the clock.
func (a *Accounts) mailState(m *store.Mail, u *store.User) []byte {
	purpose, ok := Purposes[m.Kind]
	switch {
	case !ok:
		return nil
	case purpose == sign.PurposeUndoEmail:
		return undoState(u, formerIndex(u, m.To))
	}
	return a.linkState(purpose, u, AboutOf(m), true)
}

// AboutOf is what the link of a mail names (sign.Claim.Email), as far as its purpose
// names anything.
func AboutOf(m *store.Mail) string {
	if m.Factor != uuid.Nil {
		return m.Factor.String()
	}
	return m.To
}

// MailWanted reports whether u is still as it was when m was queued.
func (a *Accounts) MailWanted(m *store.Mail, u *store.User) bool {
	if m.Kind == store.MailApproved && !u.IsActive { // disabled meanwhile
		return false
	}
	if bytes.Equal(m.State, a.mailState(m, u)) {
		return true
	}
	// Earlier versions wrote the state of the link, under whatever settings.
	purpose, ok := Purposes[m.Kind]
	return ok && len(m.State) > 0 && bytes.Equal(m.State, a.linkState(purpose, u, m.To, false))
}

// A link is what a mailed link carries, as it came back.
type link struct {
	claim     sign.Claim
	signature string
}

// readLink takes a link from an input. Missing parts are told by field; parts
// that can't be read are a bad signature like any other.
func readLink(in field.Input, purpose sign.Purpose, errs *refusal.FieldErrors) (link, error) {
	l := link{claim: sign.Claim{Purpose: purpose}}
	part := func(name string) string { return sign.RepairParam(name, in.Required(name, errs)) }
	id := part(sign.ParamUserID)
	switch purpose { //nolint:exhaustive // the others name nothing
	case sign.PurposeRegisterEmail, sign.PurposeUndoEmail:
		l.claim.Email = part(sign.ParamEmail)
	case sign.PurposeUndoFactor:
		l.claim.Email = part(sign.ParamFactor)
	}
	stamp := part(sign.ParamTimestamp)
	l.signature = part(sign.ParamSignature)
	if len(*errs) > 0 {
		return l, nil
	}
	parsed, ok := store.ParseID(id)
	if !ok || len(l.claim.Email) > field.MaxEmailBytes || len(l.signature) > sign.MaxSignature || len(stamp) > sign.MaxSignature {
		return l, refusal.New(refusal.CodeSignatureInvalid)
	}
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || unix < 0 || unix > 1<<40 {
		return l, refusal.New(refusal.CodeSignatureInvalid)
	}
	l.claim.User, l.claim.Time = parsed, time.Unix(unix, 0)
	return l, nil
}

// checkLink returns the account that a link acts on, or refuses. An unknown
// account, one that an administrator has disabled and one whose address is
// somebody else's by now look like a bad signature.
func (a *Accounts) checkLink(tx store.Tx, l link, period time.Duration) (*store.User, error) {
	u, err := tx.User(l.claim.User)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusal.New(refusal.CodeSignatureInvalid)
	}
	if err != nil {
		return nil, err
	}
	claim := l.claim
	claim.State = a.State(claim.Purpose, u, claim.Email)
	if claim.State == nil { // nothing that a link could stand for
		return nil, refusal.New(refusal.CodeSignatureInvalid)
	}
	err = a.Signer.Verify(claim, l.signature, a.Now(), period)
	if err != nil && !errors.Is(err, sign.ErrExpired) {
		// One that was mailed before one_time_use was turned off is good once.
		claim.State = a.linkState(claim.Purpose, u, claim.Email, true)
		err = a.Signer.Verify(claim, l.signature, a.Now(), period)
	}
	switch {
	case errors.Is(err, sign.ErrExpired):
		return nil, refusal.New(refusal.CodeSignatureExpired)
	case err != nil, !usable(u) && claim.Purpose != sign.PurposeUndoEmail:
		return nil, refusal.New(refusal.CodeSignatureInvalid)
	}
	if claim.Purpose == sign.PurposeRegister || claim.Purpose == sign.PurposeResetPassword || claim.Purpose == sign.PurposeSetPassword {
		switch ok, err := a.confirmable(tx, u); {
		case err != nil:
			return nil, err
		case !ok:
			return nil, refusal.New(refusal.CodeSignatureInvalid)
		}
	}
	return u, nil
}
