// signin.go: how somebody gets in: by his password, and by what he is asked for besides.

package account

import (
	"context"
	"errors"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// SignedIn is what a sign-in comes to: what it hands out or, where the password is not
// all that is asked for, a challenge in place of that.
type SignedIn struct {
	// User is the account, after a refusal too, where it is known which.
	User      *store.User
	Grant     *session.Grant
	Challenge *Challenge
}

// SignIn checks a password and hands out what the configuration grants (a session, a
// token, or both), or asks for more. Unknown account and wrong password are one refusal
// and cost the same time. Why an account may not sign in, and what it is asked for, is
// told to who knows its name and its password. old, the session that the browser still
// carries, ends with it.
func (a *Accounts) SignIn(ctx context.Context, in field.Input, client Client, old *store.Session) (got SignedIn, err error) {
	var errs refusal.FieldErrors
	pass := in.Password("password", &errs)
	m, err := a.match(ctx, in, a.Policy.LoginFields)
	found := m.user
	if refused := (*refusal.Error)(nil); errors.As(err, &refused) && len(refused.Fields) > 0 {
		return got, append(refusal.FieldErrors(refused.Fields), errs...).Err()
	}
	if err = errors.Join(err, errs.Err()); err != nil {
		return got, StoreError(err)
	}
	if err := client.pay(); err != nil {
		return got, err
	}
	rehashed, err := a.verify(ctx, found, pass)
	if err == nil && !found.IsActive {
		err = whyNot(found, m.byName)
	}
	if err != nil {
		a.guessed(ctx, found, "login", err)
		return SignedIn{User: found}, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		u, err := t.User(found.ID)
		if errors.Is(err, store.ErrNotFound) {
			return refusal.New(refusal.CodeLoginInvalid)
		}
		if err != nil {
			return err
		}
		// The hash took its time: what it was compared with may be gone.
		switch {
		case u.PasswordHash != found.PasswordHash:
			return refusal.New(refusal.CodeLoginInvalid)
		case !u.IsActive:
			return whyNot(u, m.byName)
		}
		if rehashed != "" {
			u.PasswordHash = rehashed
		}
		got = SignedIn{User: u}
		if got.Challenge, err = a.asks(t, u, client, MethodPassword); err != nil {
			return err
		}
		switch {
		case got.Challenge == nil:
			got.Grant, err = a.letIn(t, u, client, old, MethodPassword)
		case rehashed != "":
			err = a.PutUser(t, u)
		}
		return err
	})
	switch {
	case err != nil:
	case got.Challenge != nil:
		a.challenge(got.Challenge, got.User, MethodPassword)
	default:
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
}

// letIn is the end of every sign-in that somebody asks for. amr is what he has shown
// (store.Session.AMR), the first of it first. It writes u.
func (a *Accounts) letIn(t *Txn, u *store.User, client Client, old *store.Session, amr ...string) (*session.Grant, error) {
	if old != nil && old.Kind == store.KindSession {
		if err := t.endSession(old.Hash); err != nil {
			return nil, err
		}
	}
	u.LastLogin = a.Time()
	grant, err := a.Grant(t, u, client, amr)
	if err != nil {
		return nil, err
	}
	clashes, err := field.LoginClashes(t, a.Policy.Fields.Login, u)
	if err != nil {
		return nil, err
	}
	grant.Clashes = len(clashes) > 0
	if err := t.auditSignIn(u, grant, signedInBy[amr[0]]); err != nil {
		return nil, err
	}
	return grant, a.PutUser(t, u)
}

// signedInBy says in the record how a sign-in began.
var signedInBy = map[string]string{MethodPassword: "password", MethodMail: "code", MethodDeviceKey: "passkey", MethodSyncedKey: "passkey"}

// verify compares a password with an account's, nil standing for an unknown
// one, at the same cost, and returns a new one where the stored one is weaker
// or foreign.
func (a *Accounts) verify(ctx context.Context, u *store.User, pass string) (rehashed string, err error) {
	if u == nil || u.PasswordHash == "" {
		if err := a.Hasher.VerifyDummy(ctx, pass, a.Policy.Hash); err != nil {
			return "", HashError(err)
		}
		return "", refusal.New(refusal.CodeLoginInvalid)
	}
	ok, rehashed, err := a.Hasher.VerifyAndRehash(ctx, u.PasswordHash, pass, a.Policy.Hash)
	switch {
	case errors.Is(err, password.ErrFormat), errors.Is(err, password.ErrCost):
		// An imported hash that can't be used: no password fits it. The owner
		// gets in by a reset, and the operator sees the cause in the log.
		return "", &refusal.Error{Code: refusal.CodeLoginInvalid, Cause: err}
	case err != nil:
		return "", HashError(err)
	case !ok:
		return "", refusal.New(refusal.CodeLoginInvalid)
	}
	return rehashed, nil
}
