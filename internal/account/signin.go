// signin.go: how somebody gets in: by his password, and by what he is asked for besides.

package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
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

// ParamChallenge is the member with the challenge that is answered.
const ParamChallenge = "challenge"

// ChallengeLifetime is how long a challenge is good: terms have to be read.
const ChallengeLifetime = 10 * time.Minute

// methodPassword is the method of who has shown his password, as RFC 8176 names it.
const methodPassword = "pwd"

// A Challenge is what somebody is asked for besides his password. Nothing is stored for
// it: it is signed, over the account as it is, so it ends with a new password, with the
// sign-ins of the account, and with what it asked for once that is given.
type Challenge struct {
	// Token comes back with the answer.
	Token string
	// Browser is kept by the browser that the challenge is for, and comes back with it
	// (a cookie); "": it is good without, because no session will be made.
	Browser string
	// Terms is the version of the terms to agree to; "": none is asked for.
	Terms string
}

// asks says what is asked for besides the password of who signs in to an account; nil:
// nothing.
func (a *Accounts) asks(u *store.User) *Challenge {
	if !a.owesTerms(u) {
		return nil
	}
	return &Challenge{Terms: a.Policy.Register.Terms}
}

// challengeState is the state of an account that a challenge is bound to.
func challengeState(u *store.User) []byte {
	return sign.StateOf(append([]string{u.PasswordHash, u.Terms}, GenerationOf(u)...)...)
}

// challenge signs what asks has said, for the account as it is now.
func (a *Accounts) challenge(c *Challenge, u *store.User, method string) {
	if a.Policy.Login.Session {
		var secret [16]byte
		_, _ = rand.Read(secret[:]) // never fails
		c.Browser = base64.RawURLEncoding.EncodeToString(secret[:])
	}
	c.Token = a.Signer.SignProof(sign.Proof{User: u.ID, Method: method, Browser: c.Browser, Time: a.Now(), State: challengeState(u)})
}

// checkChallenge returns the account that a challenge is for, or CodeChallengeExpired:
// whatever is wrong with it, the way on is the password again. browser is what the
// browser has sent along.
func (a *Accounts) checkChallenge(tx store.Tx, token, browser string) (*store.User, error) {
	expired := refusal.New(refusal.CodeChallengeExpired)
	proof, signature, ok := sign.ReadProof(token)
	if !ok {
		return nil, expired
	}
	u, err := tx.User(proof.User)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, expired
	case err != nil:
		return nil, err
	}
	if a.Policy.Login.Session {
		proof.Browser = browser
	}
	proof.State = challengeState(u)
	if err := a.Signer.VerifyProof(proof, signature, a.Now(), ChallengeLifetime); err != nil || !u.IsActive || proof.Method != methodPassword {
		return nil, expired
	}
	return u, nil
}

// Asked says what a challenge that is good asks for, and whom, or refuses it as
// AnswerChallenge would. It changes nothing.
func (a *Accounts) Asked(ctx context.Context, token, browser string) (*store.User, *Challenge, error) {
	var u *store.User
	if err := a.View(ctx, func(tx store.Tx) (err error) { u, err = a.checkChallenge(tx, token, browser); return err }); err != nil {
		return nil, nil, err
	}
	c := a.asks(u)
	if c == nil { // nothing any more: the owner has changed his mind
		c = &Challenge{}
	}
	c.Token = token
	return u, c, nil
}

// AnswerChallenge ends a sign-in that asked for more than the password. A challenge that
// is no good is counted as a wrong password is; what it asked for and didn't get is
// refused by field, and can be sent again.
func (a *Accounts) AnswerChallenge(ctx context.Context, in field.Input, browser string, client Client, old *store.Session) (got SignedIn, err error) {
	var errs refusal.FieldErrors
	token := in.Required(ParamChallenge, &errs)
	if err := errs.Err(); err != nil {
		return got, err
	}
	u, _, err := a.Asked(ctx, token, browser)
	if refusedOf(err) {
		err = errors.Join(client.pay(), err)
	}
	if err != nil {
		return got, err
	}
	got.User = u
	answered := *u
	a.agree(in, &answered, &errs)
	if err := errs.Err(); err != nil {
		return got, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		u, err := a.checkChallenge(t, token, browser)
		if err != nil {
			return err
		}
		if a.owesTerms(u) {
			u.Terms, u.TermsAt = answered.Terms, answered.TermsAt
			if err := t.auditTerms(u); err != nil {
				return err
			}
		}
		got.User = u
		got.Grant, err = a.letIn(t, u, client, old)
		return err
	})
	if err == nil {
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
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
		got = SignedIn{User: u, Challenge: a.asks(u)}
		switch {
		case got.Challenge == nil:
			got.Grant, err = a.letIn(t, u, client, old)
		case rehashed != "":
			err = a.PutUser(t, u)
		}
		return err
	})
	switch {
	case err != nil:
	case got.Challenge != nil:
		a.challenge(got.Challenge, got.User, methodPassword)
	default:
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
}

// letIn is the end of every sign-in by a password. It writes u.
func (a *Accounts) letIn(t *Txn, u *store.User, client Client, old *store.Session) (*session.Grant, error) {
	if old != nil && old.Kind == store.KindSession {
		if err := t.endSession(old.Hash); err != nil {
			return nil, err
		}
	}
	u.LastLogin = a.Time()
	grant, err := a.Grant(t, u, client)
	if err != nil {
		return nil, err
	}
	clashes, err := field.LoginClashes(t, a.Policy.Fields.Login, u)
	if err != nil {
		return nil, err
	}
	grant.Clashes = len(clashes) > 0
	if err := t.auditSignIn(u, grant, "password"); err != nil {
		return nil, err
	}
	return grant, a.PutUser(t, u)
}

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
