// account_register.go: how an account comes to be, and is confirmed.

package registration

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// taken adds an error for every unique value that another account has. The
// final word is putUser's; this one lets all errors come together, and spares
// the hash. Of a value that is refused already, as an address is, it says nothing:
// whether it is somebody's would be told to who can't have it anyway.
func (a *Accounts) taken(tx Tx, u *User, errs *fieldErrors) error {
	secret := u.EmailPending // whose it is, is not told
	for _, f := range a.policy.Fields.unique {
		key := f.key(u)
		if key == "" || heldBack(u, f) || hasField(*errs, f.name) {
			continue
		}
		other, err := tx.UserByKey(f.keyspace(), key)
		switch {
		case err == nil && other.ID != u.ID:
			errs.add(f.name, CodeUnique)
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
	}
	before, err := stored(tx, u)
	if err != nil {
		return err
	}
	if f := a.policy.Fields.byName[fieldUsername]; isNew(f, before, u) && !hasField(*errs, f.name) {
		left, err := a.leftByAnother(tx, u)
		if err != nil {
			return err
		}
		if left {
			errs.add(f.name, CodeUnique)
		}
	}
	if secret {
		return nil
	}
	if isNew(a.policy.Fields.byName[fieldEmail], before, u) && !hasField(*errs, fieldEmail) {
		left, err := a.emailTaken(tx, u)
		if err != nil {
			return err
		}
		if left {
			errs.add(fieldEmail, CodeUnique)
		}
	}
	err = a.newLoginClash(tx, before, u)
	if clash := (*Error)(nil); errors.As(err, &clash) {
		refused := *errs
		for _, e := range clash.Fields {
			if !hasField(refused, e.Field) {
				*errs = append(*errs, e)
			}
		}
		return nil
	}
	return err
}

// Register creates an account. With verification on it waits for its
// confirmation, by the mail that is queued in the same transaction. An address
// that is somebody's is then no error, which would tell anybody who has an
// account: the account waits like any other, and the owner of the address gets a
// notice in place of that mail.
func (a *Accounts) Register(ctx context.Context, in Input, client Client) (*User, error) {
	var errs fieldErrors
	verify := a.policy.Register.Verification
	u := &User{IsActive: !verify, AwaitsVerification: verify, EmailPending: verify, DateJoined: a.time()}
	fields, required := a.registerFields()
	for _, f := range fields {
		in.field(f, required[f.name], u, &errs)
	}
	a.choose(nil, u, &errs)
	a.someLogin(u, &errs)
	pass := in.password("password", &errs)
	confirm := a.confirmation(in, a.policy.Register.PasswordConfirm, &errs)
	if err := a.view(ctx, func(tx Tx) error {
		all := append(fieldErrors(nil), errs...)
		if err := a.taken(tx, u, &all); err != nil {
			return err
		}
		return all.err()
	}); err != nil {
		return nil, err
	}
	if err := a.checkNewPassword(pass, confirm, u); err != nil {
		return nil, err
	}
	if verify && u.Email == "" {
		return nil, refuse(CodeEmailRequired)
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	var err error
	if u.PasswordHash, err = a.hasher.Hash(ctx, pass, a.policy.Hash); err != nil {
		return nil, hashError(err)
	}
	if u.ID, err = uuid.NewV7(); err != nil {
		return nil, unavailable(err)
	}
	n := a.notice(MailEmailInUse, u.Email)
	err = a.update(ctx, func(t *txn) error {
		if err := a.claimName(t, u); err != nil {
			return err
		}
		if !verify {
			return a.putUser(t, u)
		}
		holder, err := a.addressHolder(t, u.Email)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := a.waits(t, u); err != nil {
			return err
		}
		if err := a.putUser(t, u); err != nil {
			return err
		}
		t.waiting = u.ID
		return a.mailWaiting(t, MailVerifyRegistration, u, holder, n, client)
	})
	if err != nil {
		n.failed()
		return nil, err
	}
	return u, nil
}

// VerifyRegistration confirms a new account by its mailed link and, with
// auto-login, signs in; otherwise the returned grant is nil.
func (a *Accounts) VerifyRegistration(ctx context.Context, in Input, client Client) (*User, *Grant, error) {
	var errs fieldErrors
	l, err := readLink(in, PurposeRegister, &errs)
	if err = errors.Join(errs.err(), err); err != nil {
		return nil, nil, storeError(err)
	}
	period := a.policy.Register.VerificationPeriod
	if err := a.view(ctx, func(tx Tx) error { _, err := a.checkLink(tx, l, period); return err }); err != nil {
		return nil, nil, err
	}
	var u *User
	var grant *Grant
	err = a.update(ctx, func(t *txn) (err error) {
		if u, err = a.checkLink(t, l, period); err != nil {
			return err
		}
		if u.AwaitsVerification {
			confirmAccount(u)
		}
		if a.policy.Register.AutoLogin {
			if grant, err = a.grant(t, u, client); err != nil {
				return err
			}
		}
		return a.putUser(t, u)
	})
	if err == nil {
		err = a.addAccessToken(ctx, u, grant)
	}
	if err != nil {
		return nil, nil, err
	}
	return u, grant, nil
}
