// lookup.go: which account an input names, or an administrator means, and which of them
// a list has.

package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

// AmbiguousError says that several accounts answer to what an administrator
// typed: one by its id, one by its username, one by its address.
type AmbiguousError struct {
	// IDs are those accounts, the one whose id was typed first.
	IDs []uuid.UUID
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	ids := make([]string, len(e.IDs))
	for i, id := range e.IDs {
		ids[i] = id.String()
	}
	return fmt.Sprintf("several accounts answer to this: %s; name one of them by ?id=", strings.Join(ids, ", "))
}

// maxAmbiguous bounds the accounts that an AmbiguousError names.
const maxAmbiguous = 20

// Lookup finds an account by its id or the value of a unique field (username,
// e-mail address, added ones), for an administrator; by an address that nobody
// owns, who waits to confirm it. An unknown one is
// CodeUserNotFound, and where it could be several, an *AmbiguousError.
func (a *Accounts) Lookup(ctx context.Context, text string) (*store.User, error) {
	return a.lookup(ctx, text, true, true)
}

// LookupName is Lookup by the unique fields alone: an id is none of them.
func (a *Accounts) LookupName(ctx context.Context, name string) (*store.User, error) {
	return a.lookup(ctx, name, false, true)
}

// LookupID is Lookup by the id alone.
func (a *Accounts) LookupID(ctx context.Context, id string) (*store.User, error) {
	return a.lookup(ctx, id, true, false)
}

func (a *Accounts) lookup(ctx context.Context, text string, byID, byName bool) (*store.User, error) {
	var found []*store.User
	err := a.View(ctx, func(tx store.Tx) error {
		found = nil
		add := func(u *store.User, err error) error {
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err == nil && !slices.ContainsFunc(found, func(have *store.User) bool { return have.ID == u.ID }) {
				found = append(found, u)
			}
			return err
		}
		if id, ok := store.ParseID(text); ok && byID {
			if err := add(tx.User(id)); err != nil {
				return err
			}
		}
		if !byName {
			return nil
		}
		for _, f := range a.Policy.Fields.Unique {
			if err := add(tx.UserByKey(f.Keyspace(), f.KeyOf(text))); err != nil {
				return err
			}
		}
		if len(found) > 0 {
			return nil
		}
		// An address that is nobody's yet names those who wait for it.
		if _, err := a.addressHolder(tx, text); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		waiting, err := tx.Waiting(field.EmailKey(text), maxAmbiguous)
		found = append(found, waiting...)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, refusal.New(refusal.CodeUserNotFound)
	case len(found) > 1:
		ambiguous := &AmbiguousError{}
		for _, u := range found {
			ambiguous.IDs = append(ambiguous.IDs, u.ID)
		}
		return nil, ambiguous
	}
	return found[0], nil
}

// The states of an account.
const (
	StateActive      = store.StateActive
	StateUnconfirmed = store.StateUnconfirmed
	StateWaiting     = store.StateWaiting
	StateClosing     = store.StateClosing
	StateDisabled    = store.StateDisabled
)

// States are all of them.
var States = []string{StateActive, StateUnconfirmed, StateWaiting, StateClosing, StateDisabled}

// StateOf is the state of an account.
func StateOf(u *store.User) string { return u.State() }

// A Filter says which accounts are wanted; what is empty asks for nothing.
type Filter struct {
	// Search is the beginning of a username, an address, a first name (with the last one
	// behind it) or a last name, without regard to case.
	Search string
	State  string
	Group  string
	// HashFormat is one of password.Formats, or noHash.
	HashFormat string
	// Newest has who came last first, where nothing is searched for.
	Newest bool
}

// noHash asks for the accounts that have no password.
const noHash = "none"

// Check refuses what no account can match.
func (f Filter) Check() error {
	if f.State != "" && !slices.Contains(States, f.State) {
		return fmt.Errorf("there is no state %q; the states are %s", f.State, strings.Join(States, ", "))
	}
	if formats := append(password.Formats(), noHash); f.HashFormat != "" && !slices.Contains(formats, f.HashFormat) {
		return fmt.Errorf("there is no format %q; the formats are %s", f.HashFormat, strings.Join(formats, ", "))
	}
	return nil
}

// listRounds bounds the pages of the store that one page of List reads.
const listRounds = 4

// List returns a page of the accounts that a filter wants, in order of their ids, or where
// it searches in an order of the store's own. It reads a bounded number of accounts, so a
// page may have fewer than limit, even none, and still a Next, which is the after of the
// next one. An after that is none gives store.ErrNotFound.
func (a *Accounts) List(ctx context.Context, f Filter, after string, limit int) (list store.MemberPage, err error) {
	q := store.MemberQuery{Search: f.Search, State: f.State, Group: f.Group, Newest: f.Newest, After: after}
	if len(f.Search) > field.MaxKeyText { // no text is as long
		return list, nil
	}
	for range listRounds {
		q.Limit = limit - len(list.Users)
		var page store.MemberPage
		if err := a.View(ctx, func(tx store.Tx) (err error) {
			page, err = tx.Members(q)
			return err
		}); err != nil {
			return store.MemberPage{}, err
		}
		for _, u := range page.Users {
			format := password.FormatOf(u.PasswordHash)
			if f.HashFormat == "" || format == f.HashFormat || format == "" && f.HashFormat == noHash {
				list.Users = append(list.Users, u)
			}
		}
		q.After, list.Next = page.Next, page.Next
		if page.Next == "" || len(list.Users) == limit {
			break
		}
	}
	return list, nil
}

// Count counts the accounts in a state, or all for an empty one.
func (a *Accounts) Count(ctx context.Context, state string) (n store.MemberCount, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) {
		n, err = tx.CountMembers(state)
		return err
	})
	return n, err
}

// ResendVerification queues a fresh mail if the account waits for one. What it
// finds is not told.
func (a *Accounts) ResendVerification(ctx context.Context, in field.Input, client Client) error {
	names := append([]string{field.Email}, a.Policy.LoginFields...)
	m, err := a.match(ctx, in, names)
	if err != nil {
		return err
	}
	if err := client.pay(); err != nil {
		return err
	}
	waits := func(u *store.User) bool { return u.AwaitsVerification }
	return a.sendLink(ctx, store.MailVerifyRegistration, m, waits, typedLogin(in, names), client)
}

// A match is what an input that names an account leads to.
type match struct {
	// user is the account found by a unique key; nil: none.
	user *store.User
	// byName says that it was found by something other than an address.
	byName bool
	// waiting is the newest account that waits to confirm what was typed, where
	// that can be an address; nil: none.
	waiting *store.User
}

// either is the account found or else the one that waits.
func (m match) either() *store.User {
	if m.user != nil {
		return m.user
	}
	return m.waiting
}

// counted is the account that waits and whose time a request counts anew: by an
// address the newest that waits for it, whoever gets the mail. If it were only
// where the address is nobody's, an account that waits would tell by its end
// whose it is.
func (m match) counted() uuid.UUID {
	switch {
	case m.waiting != nil:
		return m.waiting.ID
	case m.user != nil && m.byName && m.user.AwaitsVerification:
		return m.user.ID
	}
	return uuid.Nil
}

// Find returns the account that an input names, nil if there is none: see match.
func (a *Accounts) Find(ctx context.Context, in field.Input, names []string) (*store.User, error) {
	m, err := a.match(ctx, in, names)
	return m.user, err
}

// match looks for the account that an input names by `login` or by the own name
// of one of the fields, and refuses an input that names none. A `login` is tried
// as every login field. Where two accounts answer to it (logins.go), it is the one
// whose own kind of field it is, as an address is its owner's, or else the one of
// the field that is tried first. By an address, only who owns it is found.
func (a *Accounts) match(ctx context.Context, in field.Input, names []string) (match, error) {
	tryAs, given := a.Policy.Fields.Login, "login"
	if in["login"].Kind == field.ValueAbsent {
		for _, name := range names {
			if in[name].Kind != field.ValueAbsent {
				tryAs, given = []*field.Field{a.Policy.Fields.ByName[name]}, name
				break
			}
		}
	}
	var errs refusal.FieldErrors
	text := in.Login(given, &errs)
	if err := errs.Err(); err != nil {
		return match{}, err
	}
	isAddress := field.MeansAddress(text)
	var m match
	err := a.View(ctx, func(tx store.Tx) error {
		m = match{}
		var by *field.Field
		for _, f := range tryAs { // all of them: an early end would tell
			u, err := tx.UserByKey(f.Keyspace(), f.KeyOf(text))
			switch {
			case err == nil && (m.user == nil || u.ID != m.user.ID && f.Owns(text) && !by.Owns(text)):
				m.user, by, m.byName = u, f, f.Kind != field.KindEmail && !isAddress
			case err != nil && !errors.Is(err, store.ErrNotFound):
				return err
			}
			if f.Name != field.Email {
				continue
			}
			waiting, err := tx.Waiting(f.KeyOf(text), 1)
			if err != nil {
				return err
			}
			if len(waiting) > 0 {
				m.waiting = waiting[0]
			}
		}
		return nil
	})
	return m, err
}

// identityOf are the values by which an account is the same as another.
func identityOf(u *store.User, r *Arrival) (keys []store.Key) {
	if r.Whole != nil || u.ID == r.ID {
		keys = append(keys, store.Key{Field: field.ID, Value: u.ID.String()})
	}
	if u.Username != "" {
		keys = append(keys, store.Key{Field: field.Username, Value: field.UniqueKey(u.Username)})
	}
	if u.Email != "" && !u.EmailPending {
		keys = append(keys, store.Key{Field: field.Email, Value: field.EmailKey(u.Email)})
	}
	return keys
}

// existing finds the account that an arrival is already: the one with its id, else the
// one with its username and its address, as far as both have them. Where these are of
// two, it is refused.
func (i *Import) existing(tx store.Tx, u *store.User, d *decision) (*store.User, error) {
	switch have, err := tx.User(u.ID); {
	case err == nil:
		return have, nil
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	byKey := func(name, value string) (*store.User, error) {
		if value == "" {
			return nil, nil //nolint:nilnil // nobody, and that is no error
		}
		have, err := tx.UserByKey(name, value)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil //nolint:nilnil // as above
		}
		return have, err
	}
	named, err := byKey(field.Username, field.UniqueKey(u.Username))
	if err != nil {
		return nil, err
	}
	email := ""
	if !u.EmailPending {
		email = field.EmailKey(u.Email)
	}
	reached, err := byKey(field.Email, email)
	if err != nil {
		return nil, err
	}
	switch {
	case named == nil && reached == nil:
		return nil, nil //nolint:nilnil // it is new
	case named != nil && (reached == nil && (u.Email == "" || named.Email == "") || reached != nil && reached.ID == named.ID):
		return named, nil
	case named == nil && (u.Username == "" || reached.Username == ""):
		return reached, nil
	}
	d.outcome.Fate = FateRefused
	if named != nil {
		d.remark(field.Username, RemarkOther, "the username is that of an account with another address; if it is the same person, give one of them the other's, else rename one")
	} else {
		d.remark(field.Email, RemarkOther, "the address is that of an account with another username; if it is the same person, give one of them the other's, else change one address")
	}
	return nil, nil //nolint:nilnil // refused
}

// meet decides on an account that is there.
func (i *Import) meet(tx store.Tx, have, u *store.User, r *Arrival, d *decision) error {
	after := *have
	after.Extra, after.Groups = maps.Clone(have.Extra), slices.Clone(have.Groups)
	other := i.updates(have, u, &after, r)
	set := func(name string, differs bool, change func()) {
		if differs {
			other = append(other, name)
			change()
		}
	}
	kept := keptOf(have, u, r)
	if given, free, err := i.giveEmail(tx, have, u, after); err != nil {
		return err
	} else if given != nil {
		if !free {
			kept = append(kept, field.Email)
		}
		set(field.Email, free, func() { after = *given })
	}
	if proves(have, u, r) {
		given := after
		given.PasswordHash, given.Factors, given.FormerFactors, given.RecoveryCodes, given.RecoveryMade = u.PasswordHash, u.Factors, u.FormerFactors, u.RecoveryCodes, u.RecoveryMade
		var errs refusal.FieldErrors
		if err := i.clashes(tx, &given, &errs); err != nil {
			return err
		}
		if d.proof = len(errs) == 0; !d.proof {
			kept = append(kept, "password")
		}
		set("password", d.proof, func() { after = given })
	}
	hash := cmp.Or(u.PasswordHash, r.PasswordHash)
	d.outcome.ByName = r.Whole == nil && u.ID != have.ID && u.Email == "" && (hash == "" || hash != have.PasswordHash)
	d.outcome.Mended = i.mends(have, r)
	if !d.proof && hash != "" && have.PasswordHash != "" && password.Differ(have.PasswordHash, hash) {
		kept = append(kept, "password")
	}
	i.met(other, kept, d)
	if d.outcome.Fate == FateUpdated {
		d.before, d.user = have, &after
		if d.proof {
			i.sealed(&after, d)
		}
	} else {
		d.proof = false
	}
	return nil
}

// met says what becomes of an account that is there, in which update would write the
// one fields and no import the others.
func (i *Import) met(other, kept []string, d *decision) {
	switch {
	case len(other) > 0 && i.o.Update:
		d.outcome.Fate = FateUpdated
	case len(other)+len(kept) > 0:
		d.outcome.Fate = FateDifferent
		for _, name := range other {
			d.remark(name, RemarkDifferent, "the account is there and has another value; update writes this one")
		}
	default:
		d.outcome.Fate = FateUnchanged
	}
	for _, name := range kept {
		message := "the account is there and has another value, which no import changes; if the file is right, change it yourself"
		if name == "password" {
			message = "the account is there with another password, or with a hash that a sign-in made anew; it is kept"
		}
		d.remark(name, RemarkDifferent, "%s", message)
	}
}

// keptOf are the fields that a file has otherwise, and that no import changes, but for the
// password.
func keptOf(have, u *store.User, r *Arrival) (names []string) {
	if u.Username != "" && field.UniqueKey(u.Username) != field.UniqueKey(have.Username) {
		names = append(names, field.Username)
	}
	switch same := field.EmailKey(u.Email) == field.EmailKey(have.Email); {
	case u.Email == "" || u.EmailPending || givesEmail(have, u):
	case !same:
		names = append(names, field.Email)
	case (r.Whole != nil || r.EmailVerified != nil) && u.EmailVerified != have.EmailVerified:
		names = append(names, "email_verified")
	}
	return names
}

// givesEmail reports whether a file has an address for an account without one. Who has
// had another here has chosen to have none.
func givesEmail(have, u *store.User) bool {
	return have.Email == "" && u.Email != "" && !u.EmailPending && have.EmailChanges == u.EmailChanges && len(have.Former) == 0
}

// proves reports whether a file has what an account is to sign in with that has nothing
// of the kind and has never had or used any here: it came without, as out of an export
// without hashes. A sign-in or an act that voids a password shows in what is compared:
// after one the file's password is an old one, and may be a thief's.
func proves(have, u *store.User, r *Arrival) bool {
	has := u.PasswordHash != "" || r.Password != "" || len(u.Factors) > 0
	none := have.PasswordHash == "" && len(have.Factors)+len(have.FormerFactors)+len(have.RecoveryCodes) == 0 && have.Enrolment == nil
	return has && none && !have.AwaitsVerification && have.Generation == u.Generation && !have.LastLogin.After(u.LastLogin)
}

// says reports whether a record says something of a field.
func (r *Arrival) says(name string) bool {
	switch name {
	case field.IsStaff:
		return r.IsStaff != nil
	case field.IsActive:
		return r.IsActive != nil
	}
	_, ok := r.Fields[name]
	return ok
}
