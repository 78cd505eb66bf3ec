// account_match.go: which account an input names, and the mail again for one that
// waits for it.

package registration

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// ResendVerification queues a fresh mail if the account waits for one. What it
// finds is not told.
func (a *Accounts) ResendVerification(ctx context.Context, in Input, client Client) error {
	names := append([]string{fieldEmail}, a.policy.LoginFields...)
	m, err := a.match(ctx, in, names)
	if err != nil {
		return err
	}
	if err := client.pay(); err != nil {
		return err
	}
	waits := func(u *User) bool { return u.AwaitsVerification }
	return a.sendLink(ctx, MailVerifyRegistration, m, waits, typedLogin(in, names), client)
}

// A match is what an input that names an account leads to.
type match struct {
	// user is the account found by a unique key; nil: none.
	user *User
	// byName says that it was found by something other than an address.
	byName bool
	// waiting is the newest account that waits to confirm what was typed, where
	// that can be an address; nil: none.
	waiting *User
}

// either is the account found or else the one that waits.
func (m match) either() *User {
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

// find returns the account that an input names, nil if there is none: see match.
func (a *Accounts) find(ctx context.Context, in Input, names []string) (*User, error) {
	m, err := a.match(ctx, in, names)
	return m.user, err
}

// match looks for the account that an input names by `login` or by the own name
// of one of the fields, and refuses an input that names none. A `login` is tried
// as every login field. Where two accounts answer to it (logins.go), it is the one
// whose own kind of field it is, as an address is its owner's, or else the one of
// the field that is tried first. By an address, only who owns it is found.
func (a *Accounts) match(ctx context.Context, in Input, names []string) (match, error) {
	tryAs, given := a.policy.Fields.login, "login"
	if in["login"].kind == valueAbsent {
		for _, name := range names {
			if in[name].kind != valueAbsent {
				tryAs, given = []*field{a.policy.Fields.byName[name]}, name
				break
			}
		}
	}
	var errs fieldErrors
	text := in.login(given, &errs)
	if err := errs.err(); err != nil {
		return match{}, err
	}
	isAddress := meansAddress(text)
	var m match
	err := a.view(ctx, func(tx Tx) error {
		m = match{}
		var by *field
		for _, f := range tryAs { // all of them: an early end would tell
			u, err := tx.UserByKey(f.keyspace(), f.keyOf(text))
			switch {
			case err == nil && (m.user == nil || u.ID != m.user.ID && f.owns(text) && !by.owns(text)):
				m.user, by, m.byName = u, f, f.kind != kindEmail && !isAddress
			case err != nil && !errors.Is(err, ErrNotFound):
				return err
			}
			if f.name != fieldEmail {
				continue
			}
			waiting, err := tx.Waiting(f.keyOf(text), 1)
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
