// challenge.go: what somebody is asked for besides his password, such as the terms of
// the site, and how he answers.

package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamChallenge is the member with the challenge that is answered.
const ParamChallenge = "challenge"

// ChallengeLifetime is how long a challenge is good: terms have to be read.
const ChallengeLifetime = 10 * time.Minute

// How somebody has shown who he is: store.Session.AMR, and the method of a challenge.
const (
	MethodPassword = "pwd"
	MethodMail     = "mail"
)

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
	if err := a.Signer.VerifyProof(proof, signature, a.Now(), ChallengeLifetime); err != nil || !u.IsActive || proof.Method != MethodPassword {
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
		got.Grant, err = a.letIn(t, u, client, old, MethodPassword)
		return err
	})
	if err == nil {
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
}

// ParamTerms is the member with the version of the terms to which somebody agrees. The
// version and no mere yes: who was shown others has not agreed to these.
const ParamTerms = "terms"

// MaxTermsVersion bounds the name of a version, in bytes.
const MaxTermsVersion = 64

// owesTerms reports whether the terms are others than those to which an account has
// agreed.
func (a *Accounts) owesTerms(u *store.User) bool {
	return a.Policy.Register.Terms != "" && u.Terms != a.Policy.Register.Terms
}

// agree notes the agreement of an input to the terms, or refuses it without one.
func (a *Accounts) agree(in field.Input, u *store.User, errs *refusal.FieldErrors) {
	if !a.owesTerms(u) {
		return
	}
	if in.Text(ParamTerms) != a.Policy.Register.Terms {
		errs.Add(ParamTerms, refusal.CodeTermsRequired)
		return
	}
	u.Terms, u.TermsAt = a.Policy.Register.Terms, a.Time()
}

// auditTerms writes the row of an agreement that the act has noted.
func (t *Txn) auditTerms(u *store.User) error {
	return t.Audit(audit.TermsAccepted, u.ID, "version", u.Terms)
}
