// account_reauth.go: what the account hangs on is changed only by who signed in
// a short while ago or knows the password: an open browser is not enough.

package registration

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// paramPassword is the field that takes the current password; change-password,
// where it means the new one, has old_password for it.
const paramPassword = "password"

// staleSignIn reports whether a sign-in is too old to change the e-mail address
// or a login field without the password (register_email.max_age).
func (a *Accounts) staleSignIn(s *Session) bool {
	return a.now().Sub(s.Created) >= a.policy.RegisterEmail.MaxAge
}

// setsLogin reports whether a profile's input changes what the account is found
// by: a login field, or the e-mail address where it is edited there.
func (a *Accounts) setsLogin(p Principal, in Input) bool {
	fields, _ := a.editableFields()
	return slices.ContainsFunc(fields, func(f *field) bool {
		if in[f.name].kind == valueAbsent || !a.policy.Fields.guarded(f) {
			return false
		}
		if f.extra {
			v, refusal := f.read(in[f.name], false)
			return refusal == nil && v != f.get(p.User)
		}
		text := in.text(f.name)
		if parsed, ok := f.parse(text); ok {
			text = parsed
		}
		return text != f.get(p.User)
	})
}

// loginsOf are the values of the login fields but the e-mail address, whose
// change has a mail of its own.
func (a *Accounts) loginsOf(u *User) []any {
	var values []any
	for _, f := range a.policy.Fields.login {
		if f.name != fieldEmail {
			values = append(values, f.get(u))
		}
	}
	return values
}

// tellOwner mails a notice about a change of how one signs in to an account.
// Without an address or a mailer nobody is told.
func (a *Accounts) tellOwner(t *txn, kind MailKind, u *User, client Client) error {
	if u.Email == "" || !a.policy.SendsMail {
		return nil
	}
	return a.queueMail(t, kind, u, u.Email, client)
}

// reauthenticate refuses a stale sign-in that doesn't bring the account's
// password. stillGood then has to hold in the transaction of the act: hashing
// takes its time, in which the session may be revoked or the password changed.
func (a *Accounts) reauthenticate(ctx context.Context, p Principal, in Input) (stillGood func(*txn, *User) error, err error) {
	if !a.staleSignIn(p.Session) {
		return func(*txn, *User) error { return nil }, nil
	}
	var errs fieldErrors
	if in[paramPassword].kind == valueAbsent {
		errs.add(paramPassword, CodeReauthenticate)
		return nil, errs.err()
	}
	pass := in.password(paramPassword, &errs)
	if err := errs.err(); err != nil {
		return nil, err
	}
	var before *User
	if err := a.view(ctx, func(tx Tx) (err error) { before, err = tx.User(p.User.ID); return notSignedIn(err) }); err != nil {
		return nil, err
	}
	wrong := fieldErrors{{Field: paramPassword, Code: CodePasswordIncorrect}}.err()
	ok, err := a.isPassword(ctx, before, pass)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, wrong
	}
	return func(t *txn, u *User) error {
		if u.PasswordHash != before.PasswordHash {
			return wrong
		}
		_, err := t.Session(p.Session.Hash)
		return notSignedIn(err)
	}, nil
}

// isPassword compares a password with the account's; a hash that can't be read is
// nobody's.
func (a *Accounts) isPassword(ctx context.Context, u *User, pass string) (bool, error) {
	ok, err := a.hasher.Verify(ctx, u.PasswordHash, pass)
	switch {
	case errors.Is(err, password.ErrFormat), errors.Is(err, password.ErrCost):
		return false, nil
	case err != nil:
		return false, hashError(err)
	}
	return ok, nil
}
