// account_password.go: everything that takes or sets a password: sign-in, the
// change, the reset.

package registration

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// confirmation returns the repeated password, or nil where none is asked for.
func (a *Accounts) confirmation(in Input, wanted bool, errs *fieldErrors) *string {
	if !wanted {
		return nil
	}
	text := in.password("password_confirm", errs)
	return &text
}

// checkNewPassword runs the validators and the comparison, and tells all
// refusals together.
func (a *Accounts) checkNewPassword(pass string, confirm *string, u *User) error {
	var errs fieldErrors
	own := []string{u.Username, u.Email, u.FirstName, u.LastName}
	for _, f := range a.policy.Fields.all {
		if text, ok := f.get(u).(string); ok && f.extra && f.kind.textual() {
			own = append(own, text)
		}
	}
	for _, f := range a.policy.Validators.Validate(pass, own) {
		errs.add("password", Code(f.Code), Params(f.Params))
	}
	if confirm != nil && *confirm != pass {
		errs.add("password_confirm", CodePasswordsDoNotMatch)
	}
	return errs.err()
}

// SignIn checks a password and hands out what the configuration grants: a
// session, a token, or both. Unknown account and wrong password are one refusal
// and cost the same time, one hash. Why an account may not sign in is told to who
// knows its name and its password. old, the session that the browser still
// carries, ends with it.
func (a *Accounts) SignIn(ctx context.Context, in Input, client Client, old *Session) (*User, *Grant, error) {
	var errs fieldErrors
	pass := in.password("password", &errs)
	m, err := a.match(ctx, in, a.policy.LoginFields)
	found := m.user
	if refusal := (*Error)(nil); errors.As(err, &refusal) && len(refusal.Fields) > 0 {
		return nil, nil, append(fieldErrors(refusal.Fields), errs...).err()
	}
	if err = errors.Join(err, errs.err()); err != nil {
		return nil, nil, storeError(err)
	}
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	rehashed, err := a.verify(ctx, found, pass)
	if err == nil && !found.IsActive {
		err = whyNot(found, m.byName)
	}
	if err != nil {
		return found, nil, err
	}
	var u *User
	var grant *Grant
	err = a.update(ctx, func(t *txn) (err error) {
		if u, err = t.User(found.ID); errors.Is(err, ErrNotFound) {
			return refuse(CodeLoginInvalid)
		}
		if err != nil {
			return err
		}
		// The hash took its time: what it was compared with may be gone.
		switch {
		case u.PasswordHash != found.PasswordHash:
			return refuse(CodeLoginInvalid)
		case !u.IsActive:
			return whyNot(u, m.byName)
		}
		if rehashed != "" {
			u.PasswordHash = rehashed
		}
		if old != nil && old.Kind == KindSession {
			if err := t.endSession(old.Hash); err != nil {
				return err
			}
		}
		u.LastLogin = a.time()
		if grant, err = a.grant(t, u, client); err != nil {
			return err
		}
		clashes, err := loginClashes(t, a.policy.Fields.login, u)
		if err != nil {
			return err
		}
		grant.Clashes = len(clashes) > 0
		return a.putUser(t, u)
	})
	if err == nil {
		err = a.addAccessToken(ctx, u, grant)
	}
	return u, grant, err
}

// verify compares a password with an account's, nil standing for an unknown
// one, at the cost of one hash, and returns a new one where the stored one is weaker
// or foreign.
func (a *Accounts) verify(ctx context.Context, u *User, pass string) (rehashed string, err error) {
	if u == nil || u.PasswordHash == "" {
		if err := a.hasher.VerifyDummy(ctx, pass, a.policy.Hash); err != nil {
			return "", hashError(err)
		}
		return "", refuse(CodeLoginInvalid)
	}
	ok, rehashed, err := a.hasher.VerifyAndRehash(ctx, u.PasswordHash, pass, a.policy.Hash)
	switch {
	case errors.Is(err, password.ErrFormat), errors.Is(err, password.ErrCost):
		// An imported hash that can't be used: no password fits it. The owner
		// gets in by a reset, and the operator sees the cause in the log.
		return "", &Error{Code: CodeLoginInvalid, Cause: err}
	case err != nil:
		return "", hashError(err)
	case !ok:
		return "", refuse(CodeLoginInvalid)
	}
	return rehashed, nil
}

// ChangePassword sets a new password. The asking session goes on under a new
// token (an asking API token stays as it is); every other session and token
// of the account ends.
func (a *Accounts) ChangePassword(ctx context.Context, p Principal, in Input, client Client) (*User, *Grant, error) {
	var errs fieldErrors
	oldPass := in.password("old_password", &errs)
	pass := in.password("password", &errs)
	confirm := a.confirmation(in, a.policy.ChangePassword.PasswordConfirm, &errs)
	if err := errs.err(); err != nil {
		return nil, nil, err
	}
	var before *User
	err := a.view(ctx, func(tx Tx) (err error) { before, err = tx.User(p.User.ID); return notSignedIn(err) })
	if err != nil {
		return nil, nil, err
	}
	wrong := fieldErrors{{Field: "old_password", Code: CodePasswordIncorrect}}.err()
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	ok, err := a.isPassword(ctx, before, oldPass)
	if err != nil {
		return nil, nil, err
	}
	refusal := a.checkNewPassword(pass, confirm, before)
	if !ok {
		refusal = together(wrong, refusal)
	}
	if refusal != nil {
		return nil, nil, refusal
	}
	hash, err := a.hasher.Hash(ctx, pass, a.policy.Hash)
	if err != nil {
		return nil, nil, hashError(err)
	}
	var u *User
	var grant *Grant
	err = a.update(ctx, func(t *txn) (err error) {
		grant = nil
		if u, err = t.User(before.ID); err != nil {
			return notSignedIn(err)
		}
		if u.PasswordHash != before.PasswordHash {
			return wrong
		}
		asking, err := t.Session(p.Session.Hash)
		if err != nil { // it was revoked while the hash took its time
			return notSignedIn(err)
		}
		keep := asking.Hash
		if asking.Kind == KindSession {
			if grant, err = t.renewSession(asking); err != nil {
				return err
			}
			keep = grant.Session.Hash
		}
		if err := t.endSessions(u, &keep); err != nil {
			return err
		}
		u.PasswordHash = hash
		u.Generation++
		if err := a.tellOwner(t, MailPasswordChanged, u, client); err != nil {
			return err
		}
		return a.putUser(t, u)
	})
	return u, grant, err
}

// voidUnproven is part of every act that shows the mailbox of u's address, but
// for the confirmation of the sign-up or change that named it. Where the address
// was never confirmed, whoever made the account or gave it that address may be a
// stranger to the mailbox: what he had is void (password, sessions and tokens, and
// with the generation links and device cookies; the unconfirmed addresses that he
// could go back to). The address is confirmed now, and an account that waited for
// that is active. The caller writes u.
func (a *Accounts) voidUnproven(t *txn, u *User) error {
	if u.EmailVerified {
		return nil
	}
	u.PasswordHash = ""
	confirmAccount(u)
	u.Generation++
	// A confirmed one stays: it may be the owner's, and this mailbox a thief's.
	u.Former = slices.DeleteFunc(u.Former, func(f FormerEmail) bool { return f.Unproven })
	return t.endSessions(u, nil)
}

// notSignedIn turns a vanished account or session into "sign in first".
func notSignedIn(err error) error {
	if errors.Is(err, ErrNotFound) {
		return refuse(CodeNotAuthenticated)
	}
	return err
}

// SendResetPasswordLink queues the mail that lets the owner of an account set a
// new password. Whether there is such an account is told only where the
// configuration says so. An account without an address gets no mail. By an
// address that nobody owns, the newest account that waits for it is found.
func (a *Accounts) SendResetPasswordLink(ctx context.Context, in Input, client Client) error {
	s := a.policy.ResetPassword
	names := a.policy.LoginFields
	if s.UseEmail {
		names = []string{fieldEmail}
		in = Input{fieldEmail: in[fieldEmail]}
		if in[fieldEmail].kind == valueAbsent {
			return fieldErrors{{Field: fieldEmail, Code: CodeRequired}}.err()
		}
	}
	m, err := a.match(ctx, in, names)
	if err != nil {
		return err
	}
	if err := client.pay(); err != nil {
		return err
	}
	usable := func(u *User) bool { return u.IsActive || u.AwaitsVerification }
	if u := m.either(); s.FailWhenUserNotFound && (u == nil || !usable(u)) {
		return refuse(CodeUserNotFound)
	}
	return a.sendLink(ctx, MailResetPassword, m, usable, typedLogin(in, names), client)
}

// ResetPassword sets a new password by a mailed link and ends every session
// and token of the account. It shows the mailbox of the address: see voidUnproven.
func (a *Accounts) ResetPassword(ctx context.Context, in Input, client Client) (*User, error) {
	var errs fieldErrors
	l, err := readLink(in, PurposeResetPassword, &errs)
	pass := in.password("password", &errs)
	confirm := a.confirmation(in, a.policy.ResetPassword.PasswordConfirm, &errs)
	if err = errors.Join(errs.err(), err); err != nil {
		return nil, storeError(err)
	}
	period := a.policy.ResetPassword.VerificationPeriod
	var u *User
	if err := a.view(ctx, func(tx Tx) (err error) { u, err = a.checkLink(tx, l, period); return err }); err != nil {
		return nil, err
	}
	if err := a.checkNewPassword(pass, confirm, u); err != nil {
		return nil, err
	}
	hash, err := a.hasher.Hash(ctx, pass, a.policy.Hash)
	if err != nil {
		return nil, hashError(err)
	}
	err = a.update(ctx, func(t *txn) (err error) {
		if u, err = a.checkLink(t, l, period); err != nil {
			return err
		}
		if err := a.voidUnproven(t, u); err != nil {
			return err
		}
		if err := t.endSessions(u, nil); err != nil {
			return err
		}
		u.PasswordHash = hash
		u.Generation++
		if err := a.tellOwner(t, MailPasswordChanged, u, client); err != nil {
			return err
		}
		return a.putUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}
