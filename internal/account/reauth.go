// reauth.go: what the account hangs on is changed only by who signed in
// a short while ago or knows the password: an open browser is not enough.

package account

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamPassword is the field that takes the current password; change-password,
// where it means the new one, has old_password for it.
const ParamPassword = "password"

// StaleSignIn reports whether a sign-in is too old to change the e-mail address
// or a login field without the password (register_email.max_age).
func (a *Accounts) StaleSignIn(s *store.Session) bool {
	maxAge := a.Policy.RegisterEmail.MaxAge
	return maxAge > 0 && a.Now().Sub(s.ShownAt()) >= maxAge
}

// SetsLogin reports whether a profile's input changes what the account is found
// by: a login field, or the e-mail address where it is edited there.
func (a *Accounts) SetsLogin(p session.Principal, in field.Input) bool {
	fields, _ := a.editableFields()
	return slices.ContainsFunc(fields, func(f *field.Field) bool {
		if in[f.Name].Kind == field.ValueAbsent || !a.Policy.Fields.Guarded(f) || in.Keeps(f, p.User) {
			return false
		}
		if !f.Extra {
			return true
		}
		_, wrong := f.Read(in[f.Name], false)
		return wrong == nil
	})
}

// loginsOf are the values of the login fields but the e-mail address, whose
// change has a mail of its own.
func (a *Accounts) loginsOf(u *store.User) []any {
	var values []any
	for _, f := range a.Policy.Fields.Login {
		if f.Name != field.Email {
			values = append(values, f.Get(u))
		}
	}
	return values
}

// tellOwner mails a notice about a change of how one signs in to an account.
// Without an address or a mailer nobody is told.
func (a *Accounts) tellOwner(t *Txn, kind store.MailKind, u *store.User, client Client) error {
	if u.Email == "" || !a.Policy.SendsMail {
		return nil
	}
	return a.queueMail(t, kind, u, u.Email, client)
}

// reauthenticate refuses a stale sign-in that doesn't bring the account's
// password. stillGood then has to hold in the transaction of the act: hashing
// takes its time, in which the session may be revoked or the password changed.
func (a *Accounts) reauthenticate(ctx context.Context, p session.Principal, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	if !a.StaleSignIn(p.Session) {
		return func(*Txn, *store.User) error { return nil }, nil
	}
	return a.prove(ctx, p, in)
}

// StaleForAdmin reports whether a sign-in is too old to change others' accounts without
// the password (admin.max_age).
func (a *Accounts) StaleForAdmin(s *store.Session) bool {
	return a.Now().Sub(s.Created) >= a.Policy.Admin.MaxAge
}

// ProveAgain refuses an input that doesn't bring the password of who is signed in, as
// reauthenticate does.
func (a *Accounts) ProveAgain(ctx context.Context, p session.Principal, in field.Input) error {
	stillGood, err := a.prove(ctx, p, in)
	if err != nil {
		return err
	}
	return a.Update(ctx, func(t *Txn) error {
		u, err := t.User(p.User.ID)
		if err != nil {
			return notSignedIn(err)
		}
		return stillGood(t, u)
	})
}

// prove is reauthenticate for a sign-in that is too old, however old that is.
func (a *Accounts) prove(ctx context.Context, p session.Principal, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	var errs refusal.FieldErrors
	if in[ParamPassword].Kind == field.ValueAbsent {
		errs.Add(ParamPassword, refusal.CodeReauthenticate)
		return nil, errs.Err()
	}
	pass := in.Password(ParamPassword, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	var before *store.User
	if err := a.View(ctx, func(tx store.Tx) (err error) { before, err = tx.User(p.User.ID); return notSignedIn(err) }); err != nil {
		return nil, err
	}
	wrong := refusal.FieldErrors{{Field: ParamPassword, Code: refusal.CodePasswordIncorrect}}.Err()
	ok, err := a.IsPassword(ctx, before, pass)
	if err != nil {
		return nil, err
	}
	if !ok {
		a.guessed(ctx, before, "current password", wrong)
		return nil, wrong
	}
	return func(t *Txn, u *store.User) error {
		if u.PasswordHash != before.PasswordHash {
			return wrong
		}
		_, err := t.Session(p.Session.Hash)
		return notSignedIn(err)
	}, nil
}

// IsPassword compares a password with the account's; a hash that can't be read is
// nobody's.
func (a *Accounts) IsPassword(ctx context.Context, u *store.User, pass string) (bool, error) {
	ok, err := a.Hasher.Verify(ctx, u.PasswordHash, pass)
	switch {
	case errors.Is(err, password.ErrFormat), errors.Is(err, password.ErrCost):
		return false, nil
	case err != nil:
		return false, HashError(err)
	}
	return ok, nil
}
