// lookup.go: which account an input names, or an administrator means, and which of them
// a list has.

package account

import (
	"context"
	"errors"
	"fmt"
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
	// user is the account found by a unique key, a brief one; nil: none.
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
			u, err := tx.BriefUserByKey(f.Keyspace(), f.KeyOf(text))
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
