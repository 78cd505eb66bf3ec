// Package arrival decides on accounts that come from elsewhere: which of them a realm takes,
// what is wrong with the others, and what becomes of those that it has. As with whatever an
// owner does: he may give away reserved names and addresses of any domain, what he says
// of an address counts, and what is required at sign-up may be missing. Nobody is mailed.
package arrival

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

// An Arrival is one account of a file. What is nil or empty the file says nothing of.
type Arrival struct {
	// Line is where it stands in the file.
	Line int
	// ID is the account's, if it is one that we have made.
	ID uuid.UUID
	// Fields are the names, the address, and values of added fields.
	Fields                           field.Input
	IsActive, EmailVerified, IsStaff *bool
	Groups                           []string
	Joined, LastLogin                time.Time
	// Password is one in the clear; PasswordHash one that package password verifies.
	Password, PasswordHash string
	// Whole is the account as our own export has it: it is taken as it is. Nil: the
	// fields above say all there is.
	Whole *store.User
	// hash is what is kept of the password, once it has been made.
	hash string
	// made is the id that it gets where it brings none of ours, the same however often it is read.
	made uuid.UUID
}

// A Fate is what becomes of an arrival.
type Fate string

// The fates.
const (
	// FateAdded: it is a new account.
	FateAdded Fate = "added"
	// FateUpdated: an account was there and has been changed.
	FateUpdated Fate = "updated"
	// FateUnchanged: an account was there, and says what the file says.
	FateUnchanged Fate = "unchanged"
	// FateDifferent: an account was there, and says something else.
	FateDifferent Fate = "different"
	// FateRefused: it could not be taken.
	FateRefused Fate = "refused"
)

// Codes of a Remark, besides those of refusals.
const (
	RemarkTwice        = "twice"              // another line has been taken for it
	RemarkOther        = "other_account"      // the name is one account's and the address another's
	RemarkReserved     = "reserved"           // people can't choose the name
	RemarkDomain       = "domain_not_allowed" // the address is of a domain that sign-up doesn't let in
	RemarkUnknownField = "unknown_field"      // the realm has no such field
	RemarkDifferent    = "different"          // the account has another value
	RemarkSealed       = "sealed"             // its codes are sealed under another realm's key
)

// A Remark is something that an owner is to know of an arrival.
type Remark struct {
	Field, Code string
	// Message says it, and what to do. Empty where Phrase does.
	Message string
	Refusal *refusal.FieldError
}

// An Outcome is what became of an arrival, and what is to be said of it.
type Outcome struct {
	Fate    Fate
	Remarks []Remark
	// ByName: the account that is there was found by its username alone, and nothing else
	// says that it is the same person's.
	ByName bool
	// Mended: its codes, which were sealed under a key that was not here, can be checked now.
	Mended bool
}

// A Run is one over the accounts of a file. It is used by one goroutine.
type Run struct {
	a *account.Accounts
	o Options
	// id is that of the run in the record of acts.
	id uuid.UUID
	// claimed has the names, addresses and other unique values that the run has come
	// across, by a hash, and the lines that they are of: some 30 bytes each.
	claimed map[uint64]int
	seed    maphash.Seed
	// parcel: the file has keys of second steps. keys are those, nil: no secret here opens
	// them.
	parcel bool
	keys   *factor.Unpacked
	// fresh are those of them that were not here before the run.
	fresh *factor.Unpacked
	// audits counts the rows of the record up to auditsTo that no row of the file has been
	// taken for, by their hashes.
	audits   map[uint64]int
	auditsTo uint64
}

// Options say how accounts are taken in.
type Options struct {
	// Format is that of the file, for the record of acts.
	Format string
	// DryRun finds out what would happen, and changes nothing.
	DryRun bool
	// Update changes accounts that are there already: names, groups that they are not
	// in, staff, added fields; one that the file has as disabled is disabled. What
	// somebody signs in with stays: username, address, password and factors. Only who
	// has no address, or neither password nor factors, and never had or used any here,
	// gets the file's.
	Update bool
	// Group is one that all of them are added to; empty: none.
	Group string
}

// New begins a run over the accounts of a file.
func New(a *account.Accounts, o Options) (*Run, error) {
	var errs refusal.FieldErrors
	if o.Group != "" {
		account.CheckGroups([]string{o.Group}, &errs)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	return &Run{a: a, o: o, id: id, claimed: map[uint64]int{}, seed: maphash.MakeSeed()}, nil
}

// Costly returns those of a batch that would be added and for which Hash has to be
// called first; in a dry run none.
func (i *Run) Costly(ctx context.Context, batch []*Arrival) (costly []*Arrival, err error) {
	if i.o.DryRun || !slices.ContainsFunc(batch, (*Arrival).Costs) {
		return nil, nil
	}
	err = i.a.View(ctx, func(tx store.Tx) error {
		costly = nil
		claims := map[uint64]int{}
		for n, read := range i.readAll(tx, batch) {
			r := batch[n]
			d := i.decide(tx, r, read, claims)
			if d.err != nil {
				return d.err
			}
			d.claimAll(claims, r.Line)
			if (d.outcome.Fate == FateAdded || d.proof) && r.Costs() {
				costly = append(costly, r)
			}
		}
		return nil
	})
	return costly, err
}

// Costs reports whether a hash has to be made for an arrival.
func (r *Arrival) Costs() bool {
	return r.Whole == nil && r.hash == "" && (r.Password != "" || password.Fast(r.PasswordHash))
}

// Hash makes what is kept of an arrival's password. It waits while sign-ins have all
// turns. It may be called for several at once.
func (i *Run) Hash(ctx context.Context, r *Arrival) (err error) {
	for {
		if r.Password != "" {
			r.hash, err = i.a.Hasher.Hash(ctx, r.Password, i.a.Policy.Hash)
		} else {
			r.hash, err = i.a.Hasher.Wrap(ctx, r.PasswordHash, i.a.Policy.Hash)
		}
		if !errors.Is(err, password.ErrBusy) || ctx.Err() != nil {
			return account.HashError(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(busyPause):
		}
	}
}

// busyPause is how long an import waits that found no turn to hash.
const busyPause = 200 * time.Millisecond

// Take takes a batch of arrivals in, in one transaction, or only finds out what would
// become of them. The outcomes are in the order of the batch. After an error nothing of
// the batch has been taken.
func (i *Run) Take(ctx context.Context, batch []*Arrival) (outcomes []Outcome, err error) {
	claims := map[uint64]int{}
	err = i.do(ctx, func(tx store.Tx, write bool) error {
		outcomes = nil
		clear(claims)
		for n, read := range i.readAll(tx, batch) {
			r := batch[n]
			d := i.decide(tx, r, read, claims)
			if d.err == nil && d.user != nil && write {
				if r.Costs() && (d.before == nil || d.proof) {
					d.user.PasswordHash = "" // nobody has made it, so it isn't kept as it is
				}
				d.err = i.write(tx.(*account.Txn), &d)
				if account.Refused(d.err) {
					d.refuse(d.err)
					d.err = nil
				}
			}
			if d.err != nil {
				return d.err
			}
			d.claimAll(claims, r.Line)
			outcomes = append(outcomes, d.outcome)
		}
		if !write {
			return nil
		}
		return i.audit(tx.(*account.Txn), outcomes)
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(i.claimed, claims)
	return outcomes, nil
}

// do runs fn in a transaction of the run, which writes unless the run is a dry one.
func (i *Run) do(ctx context.Context, fn func(tx store.Tx, write bool) error) error {
	if i.o.DryRun {
		return i.a.View(ctx, func(tx store.Tx) error { return fn(tx, false) })
	}
	return i.a.Update(ctx, func(t *account.Txn) error { return fn(t, true) })
}

// audit writes the row of a batch that has changed something.
func (i *Run) audit(t *account.Txn, outcomes []Outcome) error {
	added, updated := 0, 0
	for _, o := range outcomes {
		switch o.Fate {
		case FateAdded:
			added++
		case FateUpdated:
			updated++
		default:
		}
	}
	if added+updated == 0 {
		return nil
	}
	count := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	return t.Audit(audit.AccountsImported, uuid.Nil, "import", i.id.String(), "format", i.o.Format, "added", count(added), "updated", count(updated))
}

// write puts an account that was decided on.
func (i *Run) write(t *account.Txn, d *decision) error {
	if d.before == nil {
		if d.user.AwaitsVerification && d.user.WaitingSince.IsZero() {
			if err := i.a.Waits(t, d.user); err != nil {
				return err
			}
		}
		return i.a.PutUser(t, d.user)
	}
	if d.before.IsActive && !d.user.IsActive {
		d.user.Generation++
		if err := errors.Join(t.EndSessions(d.user, nil), t.Audit(audit.AccountDisabled, d.user.ID)); err != nil {
			return err
		}
	}
	if d.proof {
		if err := t.Audit(audit.PasswordChanged, d.user.ID); err != nil {
			return err
		}
	}
	if d.before.Email != d.user.Email {
		if err := t.Audit(audit.EmailChanged, d.user.ID, "by", "administrator"); err != nil {
			return err
		}
	}
	if err := i.a.AuditProfile(t, d.before, d.user); err != nil {
		return err
	}
	return i.a.PutUser(t, d.user)
}

// A decision is what is to become of one arrival.
type decision struct {
	outcome Outcome
	// user is what is to be written, nil: nothing; before, what there is.
	user, before *store.User
	// proof: an account that is there gets what it is to sign in with.
	proof bool
	// claims are the values by which a second line would mean the same account.
	claims []uint64
	err    error // of the store
}

func (d *decision) remark(field, code, format string, args ...any) {
	d.outcome.Remarks = append(d.outcome.Remarks, Remark{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}

// claimAll keeps the values of an arrival that was not refused.
func (d *decision) claimAll(claims map[uint64]int, line int) {
	if d.outcome.Fate == FateRefused {
		return
	}
	for _, claim := range d.claims {
		claims[claim] = line
	}
}

// refuse refuses an arrival for what an act would be refused.
func (d *decision) refuse(err error) {
	d.outcome.Fate, d.user = FateRefused, nil
	refused := (*refusal.Error)(nil)
	if !errors.As(err, &refused) {
		return
	}
	for _, f := range refused.Fields {
		d.outcome.Remarks = append(d.outcome.Remarks, Remark{Field: f.Field, Code: string(f.Code), Refusal: &f})
	}
	if len(refused.Fields) == 0 {
		d.remark("", string(refused.Code), "it was refused")
	}
}

// decide says what is to become of an arrival, as things are in a transaction and with
// what the run has come across. It writes nothing.
func (i *Run) decide(tx store.Tx, r *Arrival, read reading, batch map[uint64]int) (d decision) {
	seen := claimedTx{Tx: tx, line: func(field, key string) int {
		claim := i.claim(field, key)
		if line := batch[claim]; line != 0 {
			return line
		}
		return i.claimed[claim]
	}}
	u, errs := read.user, read.errs
	if d = read.decision; d.err != nil {
		return d
	}
	for _, k := range identityOf(u, r) {
		if line := seen.line(k.Field, k.Value); line != 0 {
			d.outcome.Fate = FateRefused
			d.remark(k.Field, RemarkTwice, "line %d has the same; remove one of the two", line)
			return d
		}
		d.claims = append(d.claims, i.claim(k.Field, k.Value))
	}
	have, err := i.existing(tx, u, &d)
	switch {
	case err != nil:
		d.err = err
	case d.outcome.Fate == FateRefused:
	case have != nil:
		d.err = i.meet(seen, have, u, r, &d)
	default:
		i.add(seen, u, r.Whole != nil, errs, &d)
	}
	return d
}

// add decides on an account that is not there.
func (i *Run) add(tx store.Tx, u *store.User, whole bool, errs refusal.FieldErrors, d *decision) {
	a := i.a
	a.NeedsLogin(nil, u, &errs)
	if d.err = errors.Join(a.TakenAsOwner(tx, u, &errs), i.clashes(tx, u, &errs)); d.err != nil {
		return
	}
	if len(errs) > 0 {
		d.refuse(errs.Err())
		return
	}
	d.outcome.Fate, d.user = FateAdded, u
	for _, f := range a.Policy.Fields.Unique {
		if f.Name != field.Username && f.Name != field.Email && f.Key(u) != "" {
			d.claims = append(d.claims, i.claim(f.Keyspace(), f.Key(u)))
		}
	}
	if whole {
		i.sealed(u, d)
		return
	}
	if a.ReservedName(u.Username) {
		d.remark(field.Username, RemarkReserved, "people can't choose this name; it is taken all the same")
	}
	if u.Email != "" && !a.Policy.AdmitsAddress(u.Email, false) {
		d.remark(field.Email, RemarkDomain, "sign-up doesn't let this domain in; it is taken all the same")
	}
}

// TakeFactorKeys takes the keys in under which the second steps of our own export are
// sealed, and reports whether they open here. Then the codes of those accounts do, also of
// those that an earlier run has taken.
func (i *Run) TakeFactorKeys(ctx context.Context, p factor.Parcel) (opens bool, err error) {
	k := i.a.FactorKeys
	i.keys, i.parcel = k.Unpack(p), true
	i.fresh = k.News(i.keys)
	if i.keys == nil || i.o.DryRun {
		return i.keys != nil, nil
	}
	undo := func() {}
	err = i.a.Update(ctx, func(t *account.Txn) error {
		before, changed, err := k.Take(t.Tx, i.keys)
		if err != nil {
			return err
		}
		if undo = before; !changed {
			return nil
		}
		return t.Audit(audit.AccountsImported, uuid.Nil, "import", i.id.String(), "format", i.o.Format, "factor_key", "taken")
	})
	if err != nil {
		undo()
	}
	return err == nil, err
}

// mends reports whether the run brings the key of codes that an account here has, as an
// earlier run took it without.
func (i *Run) mends(have *store.User, r *Arrival) bool {
	if i.fresh == nil || r.Whole == nil {
		return false
	}
	apps := false
	for _, f := range have.Factors {
		if f.Type != store.FactorTOTP {
			continue
		}
		if _, err := i.fresh.Open(have.ID, f.Secret); err == nil {
			return true
		}
		apps = true
	}
	return !apps && len(have.RecoveryCodes) > 0 && slices.EqualFunc(have.RecoveryCodes, r.Whole.RecoveryCodes, bytes.Equal)
}

// sealed tells of codes that don't open here. Of recovery codes nobody can see it: they go
// by what the file had for a key, and by the account's app.
func (i *Run) sealed(u *store.User, d *decision) {
	closed, apps := false, false
	for _, f := range u.Factors {
		if f.Type != store.FactorTOTP {
			continue
		}
		_, err := i.a.FactorKeys.Open(u.ID, f.Secret)
		if err != nil {
			_, err = i.keys.Open(u.ID, f.Secret)
		}
		apps, closed = true, closed || err != nil
	}
	switch {
	case !closed && (apps || len(u.RecoveryCodes) == 0 || i.keys != nil):
	case i.parcel && i.keys == nil:
		d.remark("factors", RemarkSealed, "its codes can't be checked here: they are sealed under the secret of the realm that they come from. Write that one behind this realm's, secret <this> <that>, and import the file again; or reset the account's factors")
	case apps:
		d.remark("factors", RemarkSealed, "its codes can't be checked here: the key that they are sealed under is not in the file. Give the realm that it comes from a secret and export it again, or reset the account's factors; until then nobody can sign in to it by a code")
	default:
		d.remark("factors", RemarkSealed, "its recovery codes are good in the store that they come from alone: the key that they are sealed under is not in the file")
	}
}
