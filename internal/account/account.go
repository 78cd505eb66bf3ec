// account.go: the rules of one realm: how an act runs, what it hands out and mails, and
// the rows that it leaves in the record. The acts themselves stand in files of their
// own. No HTTP and no Caddy in here.

package account

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	// Browser is what the browser keeps that was asked for more at a sign-in before
	// (Challenge.Browser); "": nothing.
	Browser string
	// Spend spends the budgets of the request, or refuses it; nil: it has none.
	Spend func() error
	// Page: a form that a person has sent, by a browser that is shown pages.
	Page bool
	// Trusted are the tokens of a browser that may be a trusted one, for one account each.
	Trusted []string
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
	// trusted is the id of the trusted browser in which a sign-in of the act was not asked
	// for a factor; "": in none.
	trusted string
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

// hashError is StoreError for the hashing pool.
func hashError(err error) error {
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
	u.TrustedDevices = a.stillTrusted(u)
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

// auditProfile writes which fields of an account an act has changed; none: no row.
func (a *Accounts) auditProfile(t *Txn, before, u *store.User) error {
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

// TakeAudits takes rows of our own export into the record, and returns how many were not
// there. A row is one that is there if all of it is the same, and the n-th of several that
// are the same is the n-th of those that are there; so a second run adds none. Those that are
// older than the record goes back are left out. It keeps some 50 bytes for each row of the
// record while the run lasts.
func (i *Import) TakeAudits(ctx context.Context, rows []*store.Audit) (taken int, err error) {
	if i.audits == nil {
		i.audits = map[uint64]int{}
	}
	for more := true; more && err == nil; { // those that have come since, in short transactions
		err = i.a.View(ctx, func(tx store.Tx) (err error) {
			more, err = i.seeAudits(tx)
			return err
		})
	}
	if err != nil {
		return 0, err
	}
	var there map[uint64]int // how many of them rows have been taken for
	next := i.auditsTo
	err = i.do(ctx, func(tx store.Tx, write bool) error {
		taken, there = 0, map[uint64]int{}
		if more, err := i.seeAudits(tx); err != nil || more {
			return cmp.Or(err, errAuditsGrow)
		}
		next = i.auditsTo
		for _, row := range rows {
			key := i.audit64(row)
			if there[key] < i.audits[key] {
				there[key]++
				continue
			}
			if keep := i.a.Journal.Keep; keep > 0 && row.At.Before(i.a.Now().Add(-keep)) {
				continue
			}
			if taken++; write {
				if err := tx.AddAudit(row); err != nil {
					return err
				}
				next = row.Seq
			}
		}
		if !write || taken == 0 {
			return nil
		}
		return tx.(*Txn).Audit(audit.AccountsImported, uuid.Nil, "import", i.id.String(), "format", i.o.Format, "audit", strconv.Itoa(taken))
	})
	if err != nil {
		return 0, err
	}
	i.auditsTo = next
	for key, n := range there {
		i.audits[key] -= n
	}
	return taken, nil
}

// errAuditsGrow says that the record grew faster than it was read.
var errAuditsGrow = errors.New("the record of acts grows too fast; import it later")

// seeAudits reads what is in the record behind what was read, and says whether there is more.
func (i *Import) seeAudits(tx store.Tx) (more bool, err error) {
	page, err := tx.Audits(store.AuditQuery{After: i.auditsTo, Limit: importedAudits})
	if err != nil {
		return false, err
	}
	for _, row := range page.Rows {
		i.audits[i.audit64(row)]++
	}
	i.auditsTo = page.Next
	return page.More, nil
}

// importedAudits is how many rows of the record are in memory at once.
const importedAudits = 1000

// audit64 is the hash of all that a row says.
func (i *Import) audit64(a *store.Audit) uint64 {
	parts := []string{strconv.FormatInt(a.At.Unix(), 10), a.Event, a.Account.String(), a.Actor, a.Address, a.Agent}
	for _, name := range slices.Sorted(maps.Keys(a.Details)) {
		parts = append(parts, name, a.Details[name])
	}
	return i.claim("audit", strings.Join(parts, "\x00"))
}

// KeepsAudits reports whether the realm has a record of acts.
func (i *Import) KeepsAudits() bool { return i.a.Journal != nil && !i.a.Journal.Off }
