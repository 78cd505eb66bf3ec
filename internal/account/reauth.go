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

// SudoAsks is the member that has to come with a change of what the account hangs on,
// by a sign-in: ParamPassword, a factor where the account has one, or "": the sign-in was
// a short while ago and has shown as much. A recovery code opens enrolment alone.
func (a *Accounts) SudoAsks(u *store.User, s *store.Session, enrols bool) string {
	ways := a.sudoWays(u)
	if len(ways) == 0 {
		if a.StaleSignIn(s) {
			return ParamPassword
		}
		return ""
	}
	if !a.StaleSignIn(s) && (slices.Contains(s.AMR, MethodMulti) || enrols && slices.Contains(s.AMR, MethodRecovery)) {
		return ""
	}
	return ways[0]
}

// SudoByPasskey reports whether a passkey opens a change of an account.
func (a *Accounts) SudoByPasskey(u *store.User) bool {
	return slices.Contains(a.sudoWays(u), ParamPasskey)
}

// sudoWays are the members of which one opens a change of an account with a factor.
func (a *Accounts) sudoWays(u *store.User) (names []string) {
	for _, k := range factorKinds {
		if k.sudo && k.has(a, u) {
			names = append(names, k.param)
		}
	}
	return names
}

// reauthenticate refuses a sign-in that is stale, or has shown less than the account
// has, and doesn't bring the account's password or, where it has a factor, that.
// stillGood then has to hold in the transaction of the act: hashing takes its time, in
// which the session may be revoked or the password changed.
func (a *Accounts) reauthenticate(ctx context.Context, p session.Principal, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	return a.sudo(ctx, p, in, false)
}

// sudo is reauthenticate. enrols: the act adds a factor.
func (a *Accounts) sudo(ctx context.Context, p session.Principal, in field.Input, enrols bool) (stillGood func(*Txn, *store.User) error, err error) {
	var before *store.User
	var asking *store.Session
	if err := a.View(ctx, func(tx store.Tx) (err error) {
		if before, err = tx.User(p.User.ID); err == nil {
			asking, err = tx.Session(p.Session.Hash)
		}
		return notSignedIn(err)
	}); err != nil {
		return nil, err
	}
	switch a.SudoAsks(before, asking, enrols) {
	case "":
		return func(t *Txn, u *store.User) error { // a factor may have been added meanwhile
			if a.SudoAsks(u, asking, enrols) != "" && !a.StaleSignIn(asking) {
				return ReauthenticateBy(a.sudoWays(u)[0])
			}
			return nil
		}, nil
	case ParamPassword:
		return a.sudoByPassword(ctx, p, before, in)
	}
	return a.sudoByFactor(ctx, p, before, in)
}

// StaleForAdmin reports whether a sign-in is too old to change others' accounts without
// the password (admin.max_age).
func (a *Accounts) StaleForAdmin(s *store.Session) bool {
	return a.Now().Sub(s.Created) >= a.Policy.Admin.MaxAge
}

// AdminAsks is SudoAsks for who changes others' accounts.
func (a *Accounts) AdminAsks(u *store.User, s *store.Session) string {
	ways := a.sudoWays(u)
	switch {
	case len(ways) > 0 && (a.StaleForAdmin(s) || !slices.Contains(s.AMR, MethodMulti)):
		return ways[0]
	case len(ways) == 0 && a.StaleForAdmin(s):
		return ParamPassword
	}
	return ""
}

// ProveAgain refuses an input that doesn't bring the password of who is signed in, or a factor, as
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
	var before *store.User
	if err := a.View(ctx, func(tx store.Tx) (err error) { before, err = tx.User(p.User.ID); return notSignedIn(err) }); err != nil {
		return nil, err
	}
	if len(a.sudoWays(before)) > 0 {
		return a.sudoByFactor(ctx, p, before, in)
	}
	return a.sudoByPassword(ctx, p, before, in)
}

// reauthenticateTexts say what has to come with a change, where that is no password.
var reauthenticateTexts = map[string]string{ParamTOTP: "reauthenticate.totp", "passkey": "reauthenticate.passkey"}

// ReauthenticateBy refuses a change for what has to come with it.
func ReauthenticateBy(param string) error {
	return refusal.FieldErrors{{Field: param, Code: refusal.CodeReauthenticate, Message: reauthenticateTexts[param]}}.Err()
}

func (a *Accounts) sudoByPassword(ctx context.Context, p session.Principal, before *store.User, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	var errs refusal.FieldErrors
	if in[ParamPassword].Kind == field.ValueAbsent {
		return nil, ReauthenticateBy(ParamPassword)
	}
	pass := in.Password(ParamPassword, &errs)
	if err := errs.Err(); err != nil {
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
		if ways := a.sudoWays(u); len(ways) > 0 { // a factor was added meanwhile
			return ReauthenticateBy(ways[0])
		}
		_, err := t.Session(p.Session.Hash)
		return notSignedIn(err)
	}, nil
}

// sudoByFactor takes a factor in a transaction of its own: an answer is used up, right or
// wrong, whatever becomes of the act.
func (a *Accounts) sudoByFactor(ctx context.Context, p session.Principal, before *store.User, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	ways := a.sudoWays(before)
	k := answer(in, ways)
	if k == nil {
		return nil, ReauthenticateBy(ways[0])
	}
	var refused error
	err = a.Update(ctx, func(t *Txn) error {
		u, err := t.User(p.User.ID)
		if err != nil {
			return notSignedIn(err)
		}
		if _, refused, err = a.showFactor(t, u, k, in, occasion{session: p.Session.Hash}); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		a.guessed(ctx, before, "current factor", refused)
		return nil, refused
	}
	return func(t *Txn, u *store.User) error {
		if u.Generation != before.Generation || !k.has(a, u) {
			return ReauthenticateBy(k.param)
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
