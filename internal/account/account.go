// account.go: the rules of one realm: how an act runs, what it hands out and mails, and
// the rows that it leaves in the record. The acts themselves stand in files of their
// own. No HTTP and no Caddy in here.

package account

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/again"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/budget"
	"github.com/seed-928992b0/caddy-registration/internal/device"
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
	// Observe is called when a transaction begins, and what it returns when it is over;
	// nil: nobody looks.
	Observe func(ctx context.Context, writes bool) (done func())
	// SignUpFailed is told of each sign-up that came to nothing; nil: nobody is.
	SignUpFailed func(error)
	// Queued is told of the mails that an act has queued, by their Message-IDs, once it is
	// committed; nil: nobody is.
	Queued func(context.Context, []string)
	// Registering is asked for each sign-up that would make an account, outside of any
	// transaction; what it returns refuses the sign-up. nil: nobody is asked.
	Registering func(context.Context, *store.User, Client) error
	// Now is the clock; tests travel with it.
	Now func() time.Time
}

// A Client is where a request came from, as far as an act records it.
type Client struct {
	// Address is the IP address that Caddy trusts (client_ip).
	Address   string
	UserAgent string
	// Language is the BCP 47 tag in which the person is answered, and written to whose
	// account says nothing of that. Wanted is the same, "" where the request asks for none:
	// neither by hand nor by its browser, which Prefers is the language of.
	Language, Wanted, Prefers string
	// Next is where the person wanted to go; already checked.
	Next string
	// Browser is what the browser keeps that was asked for more at a sign-in before
	// (Challenge.Browser); "": nothing.
	Browser string
	// Spend spends the budgets of the request, or refuses it; nil: it has none.
	Spend func() error
	// Page: a form that a person has sent, by a browser that is shown pages.
	Page bool
	// Trial: a sign-up that may lack what a form asks for then, and isn't counted.
	Trial bool
	// Trusted are the tokens of a browser that may be a trusted one, for one account each.
	Trusted []string
	// Device is the account that signed in on the same device before, by its signed cookie;
	// zero: none.
	Device uuid.UUID
	// sessionAlone: the sign-in hands out no token.
	sessionAlone bool
	// Seen says by what the device is known that somebody signs in on; nil: it is asked for
	// nobody's.
	Seen func() device.Seen
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
	// spent are the mails whose budgets the transaction has written (spendIn).
	spent map[string]bool
	// trust is the hash of the trusted browser that an act has made of the client's; zero: none.
	trust store.TokenHash
	// trusted is the id of the trusted browser in which a sign-in of the act was not asked
	// for a factor; "": in none.
	trusted string
	// waiting is the account whose time the mails of the act count anew (Mail.Waiting).
	waiting uuid.UUID
	// browser is the one for which the mails of the act are good (Mail.Browser).
	browser []byte
	journal *audit.Journal
	caller  audit.Caller
	// told are the rows of the act, for the log, names those that go with them.
	told  []store.Audit
	names audit.Names
	// queued are the Message-IDs of its mails.
	queued []string
}

// PutMail implements store.Tx, and remembers the mail.
func (t *Txn) PutMail(m *store.Mail) error {
	t.queued = append(t.queued, m.MessageID)
	return t.Tx.PutMail(m)
}

// ReadAhead hands a hint on, see store.Ahead.
func (t *Txn) ReadAhead(a *store.Ahead) { a.In(t.Tx) }

// Update runs one act. After the commit, and before the caller answers, what
// the act changed is gone from the session cache, which follows the store.
func (a *Accounts) Update(ctx context.Context, fn func(*Txn) error) error {
	var t *Txn
	if a.Observe != nil {
		defer a.Observe(ctx, true)()
	}
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
	a.Journal.TellOf(t.names, t.told...)
	if a.Queued != nil && len(t.queued) > 0 {
		a.Queued(ctx, t.queued)
	}
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
	if a.Observe != nil {
		defer a.Observe(ctx, false)()
	}
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
	if errors.Is(err, password.ErrBusy) {
		return refusal.Busy(err, busyFirst+time.Duration(rand.N(busySpread+1))*time.Second) //nolint:gosec // no secret
	}
	return refusal.Unavailable(err)
}

// A crowd that is told to come again is spread over some seconds: told all the same, it
// would come together again, too many for the machine then and nobody in between.
const (
	busyFirst  = 2 * time.Second
	busySpread = 6 // seconds
)

// Time is the current time in the resolution that records keep.
func (a *Accounts) Time() time.Time { return a.Now().UTC().Truncate(time.Second) }

// PutUser writes an account with its keys, or refuses by field. What it refuses
// is about what the act changes: no new value of a login field may be another
// account's value of another login field, and no new address one that its former
// holder can still have back.
func (a *Accounts) PutUser(t *Txn, u *store.User) error {
	u.TrustedDevices = a.stillTrusted(u)
	before, err := stored(t, u)
	if err != nil {
		return err
	}
	if err := a.NewLoginClash(t, before, u); err != nil {
		return err
	}
	if err := a.claimEmails(t, before, u); err != nil {
		return err
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

// claimEmails refuses a new address that its former holder can still have back.
func (a *Accounts) claimEmails(tx store.Tx, before, u *store.User) error {
	var fresh []string
	if isNew(a.Policy.Fields.ByName[field.Email], before, u) {
		fresh = append(fresh, u.Email)
	}
	for _, email := range u.FurtherEmails {
		if before == nil || ownEmail(before, email) == "" {
			fresh = append(fresh, email)
		}
	}
	for _, email := range fresh {
		switch left, err := a.emailTaken(tx, u, email); {
		case err != nil:
			return err
		case left:
			return refusal.FieldErrors{{Field: field.Email, Code: refusal.CodeUnique}}.Err()
		}
	}
	return nil
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

// NeedsLogin refuses an account that nobody could sign in to: of several login
// fields none has to be given, but one of them. before is the account as it was, nil
// at sign-up: one that had none can still be saved as it is.
func (a *Accounts) NeedsLogin(before, u *store.User, errs *refusal.FieldErrors) {
	login := a.Policy.Fields.Login
	if before != nil && !slices.ContainsFunc(login, func(f *field.Field) bool { return f.Key(before) != f.Key(u) }) {
		return
	}
	for _, f := range login {
		if f.Key(u) != "" || errs.Has(f.Name) {
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

// queueAbout is queueMail for a message that may be about a factor or a sign-in.
func (a *Accounts) queueAbout(t *Txn, kind store.MailKind, u *store.User, to string, about uuid.UUID, client Client) error {
	return a.queue(t, &store.Mail{Kind: kind, To: to, Factor: about}, u, client)
}

// queue is queueMail for a message that says more: the rest of it is filled in.
func (a *Accounts) queue(t *Txn, m *store.Mail, u *store.User, client Client) error {
	wait, err := t.postage.of(t, m.Kind, u, m.To, client)
	if err != nil {
		return err
	}
	if wait > 0 {
		if t.postage.rescues(m.Kind) {
			return TooOften(wait)
		}
		return a.decoyMail(t, m.To, client)
	}
	id, err := NewMessageID(a.MailDomain)
	if err != nil {
		return err
	}
	now := a.Time()
	t.mail = true
	m.MessageID, m.User, m.Language, m.Queued, m.Due, m.Next, m.Waiting, m.Browser = id, u.ID, cmp.Or(languageOf(u), client.Language), now, now, client.Next, t.waiting, t.browser
	if TellsOfAct(m.Kind) {
		m.Device, m.Address = device.Name(client.UserAgent), client.Address
	}
	m.State = a.mailState(m, u)
	return t.PutMail(m)
}

// TellsOfAct reports whether a mail of this kind tells its reader what was done to his
// account, and so when, on what device and from where. What others have tried with his
// address (MailEmailInUse) is not his account's: it names nobody's address.
func TellsOfAct(kind store.MailKind) bool { return slices.Contains(tellsOfAct, kind) }

var tellsOfAct = []store.MailKind{
	store.MailPasswordChanged, store.MailLoginChanged, store.MailEmailChanged, store.MailEmailsChanged, store.MailEmailsRestored, store.MailAccountClosed,
	store.MailFactorAdded, store.MailFactorRemoved, store.MailFactorGuessed, store.MailFactorsReset,
	store.MailRecoveryUsed, store.MailRecoveryFew, store.MailRecoveryMade, store.MailProgramToken, store.MailDataExported, store.MailNewDevice,
}

// NewMessageID returns the Message-ID of a new mail, without its brackets.
func NewMessageID(domain string) (string, error) {
	id, err := uuid.NewRandom()
	return id.String() + "@" + domain, err
}

// Audit writes what the act does to an account, in its transaction; the log has it
// after the commit. Who does it is the context's Caller; nobody who is signed in is
// the account's owner, since he could not do it otherwise. details are names and
// values by turns; empty ones are left out.
func (t *Txn) Audit(e audit.Event, user uuid.UUID, details ...string) error {
	if t.journal == nil {
		return nil
	}
	c := t.caller
	if c.Actor == "" {
		c.Actor = user.String()
	}
	row := t.journal.Row(c, e, user, details...)
	t.journal.Name(t.Tx, &t.names, e, user)
	t.told = append(t.told, row)
	return t.journal.Write(t.Tx, &row)
}

// failed takes a try that changed nothing; an account is named only where it is
// known which.
func (a *Accounts) failed(ctx context.Context, e audit.Event, u *store.User, details ...string) {
	id := uuid.Nil
	if u != nil {
		id = u.ID
	}
	a.Journal.Fail(audit.CallerOf(ctx), e, id, details...)
}

// guessed takes a wrong password or factor, or one that is right and doesn't let its owner in.
// Of other refusals (a form, a busy machine) nothing was learnt.
func (a *Accounts) guessed(ctx context.Context, u *store.User, act string, err error) {
	refused := (*refusal.Error)(nil)
	if !errors.As(err, &refused) {
		return
	}
	code := refused.Code
	if i := slices.IndexFunc(refused.Fields, func(f refusal.FieldError) bool {
		return f.Code == refusal.CodePasswordIncorrect || f.Code == refusal.CodeFactorInvalid
	}); i >= 0 {
		code = refused.Fields[i].Code
	}
	switch code {
	case refusal.CodeLoginInvalid, refusal.CodeNotVerified, refusal.CodeApprovalPending, refusal.CodeDisabled, refusal.CodePasswordIncorrect, refusal.CodeFactorInvalid, refusal.CodeLoginCodeInvalid:
		a.failed(ctx, audit.SignInFailed, u, "code", string(code), "act", act)
	default:
	}
}

// auditSignIn writes the rows of a sign-in.
func (t *Txn) auditSignIn(u *store.User, g *session.Grant, by string) error {
	var gives []string
	kind := ""
	if g.Cookie != "" {
		gives = append(gives, "session")
	}
	switch {
	case g.Family != nil:
		kind = "refresh"
	case g.Token != "":
		kind = "token"
	}
	if kind != "" {
		gives = append(gives, kind)
	}
	details := []string{"by", by, "gives", strings.Join(gives, " ")}
	if t.trusted != "" {
		details = append(details, "trusted_device", t.trusted)
	}
	err := t.Audit(audit.SignedIn, u.ID, details...)
	if err == nil && kind != "" {
		err = t.Audit(audit.TokenCreated, u.ID, "kind", kind)
	}
	return err
}

// The details that say which groups came and went.
const (
	detailAdded   = "groups_added"
	detailRemoved = "groups_removed"
)

// without are the groups that are not among others, with blanks between: no group has one.
func without(groups, others []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return slices.Contains(others, g) }), " ")
}

// AuditProfile writes which fields of an account an act has changed; none: no row.
func (a *Accounts) AuditProfile(t *Txn, before, u *store.User) error {
	var names []string
	for _, f := range a.Policy.Fields.All {
		if f.Name != field.IsActive && f.Name != field.Email && field.TextOf(f.Get(before)) != field.TextOf(f.Get(u)) {
			names = append(names, f.Name)
		}
	}
	if !slices.Equal(before.Groups, u.Groups) && !slices.Contains(names, field.Groups) {
		names = append(names, field.Groups)
	}
	if len(names) == 0 {
		return nil
	}
	return t.Audit(audit.ProfileChanged, u.ID, "fields", strings.Join(names, " "), detailAdded, without(u.Groups, before.Groups), detailRemoved, without(before.Groups, u.Groups))
}

// Audits returns a page of the record. The newest first, where q says so; a walk
// from the oldest can be gone on with for what comes later (store.AuditPage).
func (a *Accounts) Audits(ctx context.Context, q store.AuditQuery) (page store.AuditPage, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		page, err = tx.Audits(q)
		return err
	})
	return page, err
}
