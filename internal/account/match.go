// match.go: which account an input names, and the mail again for one that
// waits for it.

package account

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

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
