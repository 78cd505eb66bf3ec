// challenge.go: what somebody is asked for besides his password, such as a factor or the
// terms of the site, and how he answers.

package account

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// ParamChallenge is the member with the challenge that is answered.
const ParamChallenge = "challenge"

// How long a challenge is good: one that asks for a factor, and one that asks for what
// takes longer, for terms have to be read and an app has to be installed.
const (
	FactorLifetime    = 5 * time.Minute
	ChallengeLifetime = 10 * time.Minute
)

// How somebody has shown who he is (RFC 8176, and rec for a recovery code):
// store.Session.AMR. The first two begin a sign-in, and are the method of a challenge.
const (
	MethodPassword = "pwd"
	MethodMail     = "mail"
	MethodOTP      = "otp"
	MethodRecovery = "rec"
	MethodMulti    = "mfa"
)

// firstMethods are those that a challenge can go on from.
var firstMethods = []string{MethodPassword, methodTrusted, MethodMail, MethodDeviceKey, MethodSyncedKey, methodFederated, methodFederatedMulti}

// Wrong answers where a factor is asked for: how many one challenge takes, how many an
// account takes in factorWindow over all challenges, devices and changes until no code of an
// app is taken, and at how many in a row its owner is told that somebody has the password.
// A device that has signed in to the account before has as many again, so that who has
// nothing but the password keeps nobody out; nor do recovery codes and passkeys close, which
// nobody guesses.
const (
	challengeTries = 5
	factorTries    = 10
	factorWindow   = time.Hour
	toldAt         = 5
)

// A Challenge is what somebody is asked for besides his password. Nothing is stored for
// it before it lets somebody in, which it does once (spentMark): it is signed, over the account as it is, so it ends with a new password, with the
// sign-ins of the account, and with what it asked for once that is given.
type Challenge struct {
	// Token comes back with the answer.
	Token string
	// Browser is kept by the browser that the challenge is for, and comes back with it
	// (a cookie); "": it is good without, because no session will be made.
	Browser string
	// Terms is the version of the terms to agree to; "": none is asked for.
	Terms string
	// Factors are the members by one of which it is answered (factorKinds); nil: no
	// factor is asked for.
	Factors []string
	// Leaves is when the account will be gone that its owner has closed, unless he keeps it;
	// zero: he has not.
	Leaves time.Time
	// Enrol: a factor has to be set up first, and nothing else opens.
	Enrol bool
}

// first is the member by which a challenge is answered first of all.
func (c *Challenge) first() string {
	if len(c.Factors) == 0 {
		return ParamTOTP
	}
	return c.Factors[0]
}

// asks says what is asked for besides the password of who signs in to an account; nil:
// nothing. first is the method by which the sign-in was begun.
func (a *Accounts) asks(u *store.User, first string) *Challenge {
	c := Challenge{Leaves: u.LeavesAt}
	if a.owesTerms(u) {
		c.Terms = a.Policy.Register.Terms
	}
	switch {
	case byPasskey(first), first == methodTrusted && u.HasFactor():
	case a.asksFactor(u):
		c.Factors = a.ways(u)
	case a.owesFactor(u):
		c.Enrol = true
	}
	if c.Terms == "" && c.Factors == nil && !c.Enrol && c.Leaves.IsZero() {
		return nil
	}
	return &c
}

// A factorKind is one way to show a second step. What a challenge lists, and how an
// answer is checked, is told by these alone: a new kind is one more in factorKinds.
type factorKind struct {
	// param is the member with the answer, and how the kind is called in a challenge.
	param string
	// sudo: it opens changes of the account, too. short: it can be guessed, by who may try
	// for long.
	sudo, short bool
	// has reports whether an account can answer in this way.
	has func(a *Accounts, u *store.User) bool
	// show checks the answer and notes on u what is used up with it; the caller writes u.
	// It returns what was shown (store.Session.AMR); none: the answer is wrong, and errSpent
	// that it was right once. tx is the transaction of the act: nothing slow.
	show func(a *Accounts, t *Txn, u *store.User, in field.Input, from occasion) ([]string, error)
}

// errSpent is of an answer that was right and is used up: a form that was sent twice is no
// guess.
var errSpent = errors.New("the answer is used up")

// factorKinds are all ways, in the order in which they are offered.
var factorKinds = []factorKind{totpKind, passkeyKind, recoveryKind}

var totpKind = factorKind{
	param: ParamTOTP, sudo: true, short: true,
	has: func(_ *Accounts, u *store.User) bool { return u.HasFactor(store.FactorTOTP) },
	show: func(a *Accounts, _ *Txn, u *store.User, in field.Input, _ occasion) ([]string, error) {
		var spent error
		for i := range u.Factors {
			f := &u.Factors[i]
			if f.Type != store.FactorTOTP {
				continue
			}
			secret, err := a.FactorKeys.Open(u.ID, f.Secret)
			if err != nil {
				continue // damaged: another factor may be good
			}
			if used, ok := factor.Match(secret, in.Text(ParamTOTP), a.Now(), f.LastStep); ok {
				f.LastStep, f.LastUsed = used, a.Time()
				return []string{MethodOTP, MethodMulti}, nil
			}
			if _, ok := factor.Match(secret, in.Text(ParamTOTP), a.Now(), 0); ok {
				spent = errSpent
			}
		}
		return nil, spent
	},
}

var recoveryKind = factorKind{
	param: ParamRecovery,
	has:   func(_ *Accounts, u *store.User) bool { return len(u.RecoveryCodes) > 0 },
	show: func(a *Accounts, t *Txn, u *store.User, in field.Input, from occasion) ([]string, error) {
		code, ok := factor.NormalCode(in.Text(ParamRecovery))
		if !ok {
			return nil, nil
		}
		left := slices.DeleteFunc(slices.Clone(u.RecoveryCodes), func(have []byte) bool { return a.FactorKeys.Fits(u.ID, have, code) })
		if len(left) == len(u.RecoveryCodes) {
			return nil, nil
		}
		u.RecoveryCodes = left
		kind := store.MailRecoveryUsed
		if len(left) <= fewCodes {
			kind = store.MailRecoveryFew
		}
		if err := a.tellOwner(t, kind, u, from.client); err != nil {
			return nil, err
		}
		return []string{MethodRecovery}, t.Audit(audit.RecoveryCodeUsed, u.ID, "left", strconv.Itoa(len(left)))
	},
}

// ways are the members by which an account can show a second step. It is never nil: who
// has a factor that can't be shown here is asked for it all the same.
func (a *Accounts) ways(u *store.User) []string {
	names := []string{}
	for _, k := range factorKinds {
		if k.has(a, u) {
			names = append(names, k.param)
		}
	}
	return names
}

// answer is the kind of the answer that an input has to what is asked, nil for none.
func answer(in field.Input, ways []string) *factorKind {
	for i, k := range factorKinds {
		if slices.Contains(ways, k.param) && in.Nested(k.param) != "" {
			return &factorKinds[i]
		}
	}
	return nil
}

// showFactor checks an answer where a factor is asked for, and counts it. What was shown is
// returned, or why it is refused: then a wrong answer is noted on u, which the caller has
// to write all the same.
func (a *Accounts) showFactor(t *Txn, u *store.User, k *factorKind, in field.Input, from occasion) (shown []string, refused, err error) {
	now, of := a.Time(), from.name()
	u.FactorFailures = slices.DeleteFunc(u.FactorFailures, func(f store.FactorFailure) bool { return now.Sub(f.At) >= factorWindow })
	tries := 0
	for _, f := range u.FactorFailures {
		if from.challenge != "" && f.Challenge == of {
			tries++
		}
	}
	limit := factorTries
	if from.client.Device == u.ID {
		limit += factorTries
	}
	left := limit - len(u.FactorFailures)
	switch {
	case tries >= challengeTries:
		return nil, refusal.New(refusal.CodeChallengeExpired), nil
	case left <= 0 && k.short:
		return nil, TooOften(u.FactorFailures[-left].At.Add(factorWindow).Sub(now)), nil
	}
	shown, err = k.show(a, t, u, in, from)
	switch {
	case errors.Is(err, errSpent):
		return nil, factorInvalid(k.param), nil
	case err != nil:
		return nil, nil, err
	case len(shown) > 0: // what its owner has mistyped here; what others have tried stays
		u.FactorFailures = slices.DeleteFunc(u.FactorFailures, func(f store.FactorFailure) bool { return f.Challenge == of })
		u.FactorFailuresInRow = 0
		return shown, nil, nil
	}
	if left > 0 {
		u.FactorFailures = append(u.FactorFailures, store.FactorFailure{At: now, Challenge: of})
	}
	if u.FactorFailuresInRow++; u.FactorFailuresInRow == toldAt {
		err = a.tellOwner(t, store.MailFactorGuessed, u, from.client)
	}
	return nil, factorInvalid(k.param), err
}

// name is what is kept of an occasion with a wrong answer: some of a hash of its challenge,
// or of the sign-in that asks.
func (from occasion) name() (name [8]byte) {
	sum := sha256.Sum256([]byte(cmp.Or(from.challenge, from.session.Text())))
	copy(name[:], sum[:])
	return name
}

// challengeState is the state of an account that a challenge is bound to.
func challengeState(u *store.User) []byte {
	parts := append([]string{u.PasswordHash, u.Terms}, GenerationOf(u)...)
	if leaves(u) {
		parts = append(parts, "leaves")
	}
	return sign.StateOf(parts...)
}

// challenge signs what asks has said, for the account as it is now. A browser that has been
// asked before keeps what binds challenges to it, so that each of its tabs can be answered.
func (a *Accounts) challenge(c *Challenge, u *store.User, method string, client Client) {
	if a.Policy.Login.Session {
		if c.Browser = client.Browser; len(c.Browser) != sign.BrowserLength {
			c.Browser = sign.NewBrowser()
		}
	}
	one := method + challengeNonce + sign.NewBrowser()[:11] // no two challenges are alike, of one second either
	c.Token = a.Signer.SignProof(sign.Proof{User: u.ID, Method: one, Browser: c.Browser, Time: a.Now(), State: challengeState(u)})
}

// challengeNonce stands in the proof of a challenge between its method and what is its own.
const challengeNonce = "~"

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
	period := ChallengeLifetime
	if a.asksFactor(u) {
		period = FactorLifetime
	}
	if err := a.Signer.VerifyProof(proof, signature, a.Now(), period); err != nil || !letsBegin(u) || !slices.Contains(firstMethods, shownFirst(token)) || slices.Contains(u.UsedLinks, spentMark(token)) {
		return nil, expired
	}
	return u, nil
}

// shownFirst is what a challenge says that its owner has shown. The challenge has been
// checked.
func shownFirst(token string) string {
	proof, _, _ := sign.ReadProof(token)
	method, _, _ := strings.Cut(proof.Method, challengeNonce)
	return method
}

// Asked says what a challenge that is good asks for, and whom, or refuses it as
// AnswerChallenge would. It changes nothing.
func (a *Accounts) Asked(ctx context.Context, token, browser string) (*store.User, *Challenge, error) {
	var u *store.User
	var c *Challenge
	err := a.View(ctx, func(tx store.Tx) (err error) {
		if u, err = a.checkChallenge(tx, token, browser); err == nil {
			c = a.asks(u, shownFirst(token))
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if c == nil { // nothing any more: the owner has changed his mind
		c = &Challenge{}
	}
	c.Token = token
	return u, c, nil
}

// AnswerChallenge ends a sign-in that asked for more than the password. A challenge that
// is no good is counted as a wrong password is; what it asked for and didn't get is
// refused by field, and can be sent again, a wrong factor challengeTries times.
func (a *Accounts) AnswerChallenge(ctx context.Context, in field.Input, browser string, client Client, old *store.Session) (got SignedIn, err error) {
	var errs refusal.FieldErrors
	token := in.Required(ParamChallenge, &errs)
	if err := errs.Err(); err != nil {
		return got, err
	}
	u, asked, err := a.Asked(ctx, token, browser)
	if Refused(err) {
		err = errors.Join(client.pay(), err)
	}
	if err != nil {
		return got, err
	}
	got.User = u
	if asked.Enrol {
		return got, refusal.New(refusal.CodeFactorRequired)
	}
	in = meantAsRecovery(in, asked)
	if !asked.Leaves.IsZero() && !in.Switch(ParamKeep, &errs) && len(errs) == 0 {
		errs.Add(ParamKeep, refusal.CodeAccountClosing)
	}
	answered := *u
	in.Switch(ParamTrustDevice, &errs) // where it makes no sense: before anything is used up
	a.agree(in, &answered, &errs)
	if asked.Factors != nil && answer(in, asked.Factors) == nil {
		errs.Add(asked.first(), refusal.CodeRequired)
	}
	if err := errs.Err(); err != nil {
		return got, err
	}
	if asked.Factors != nil {
		if err := client.pay(); err != nil {
			return got, err
		}
	}
	var refused error
	err = a.Update(ctx, func(t *Txn) error {
		got.Grant, got.Trusted, refused = nil, "", nil
		u, err := a.checkChallenge(t, token, browser)
		if err != nil {
			return err
		}
		got.User = u
		refused, err = a.answerIn(t, u, in, token, client, old, &got)
		return err
	})
	if err == nil && refused != nil {
		a.guessed(ctx, got.User, "login-factor", refused)
		err = refused
	}
	if err == nil {
		got.Kept = !asked.Leaves.IsZero()
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
}

// meantAsRecovery takes a recovery code that stands where the code of an app is asked for as
// what it is: nothing else looks like one.
func meantAsRecovery(in field.Input, asked *Challenge) field.Input {
	_, is := factor.NormalCode(in.Text(ParamTOTP))
	if !is || in.Text(ParamRecovery) != "" || !slices.Contains(asked.Factors, ParamRecovery) {
		return in
	}
	in = maps.Clone(in)
	in[ParamRecovery] = in[ParamTOTP]
	delete(in, ParamTOTP)
	return in
}

// answerIn is AnswerChallenge in its transaction, by what is asked now. What is refused
// leaves its mark on the account.
func (a *Accounts) answerIn(t *Txn, u *store.User, in field.Input, token string, client Client, old *store.Session, got *SignedIn) (refused, err error) {
	first := shownFirst(token)
	if first == methodTrusted && a.firstShown(t, u, client) != first { // it is trusted no more
		return nil, refusal.New(refusal.CodeChallengeExpired)
	}
	asked, amr := a.asks(u, first), shownBy(first)
	if asked != nil && asked.Enrol {
		return nil, refusal.New(refusal.CodeFactorRequired)
	}
	if asked != nil && asked.Factors != nil {
		k := answer(in, asked.Factors)
		if k == nil { // it has just been added
			return nil, refusal.FieldErrors{{Field: asked.first(), Code: refusal.CodeRequired}}.Err()
		}
		shown, refused, err := a.showFactor(t, u, k, in, occasion{challenge: token, client: client})
		if err != nil {
			return nil, err
		}
		if refused != nil {
			return refused, a.PutUser(t, u)
		}
		amr = append(amr, shown...)
		// A recovery code stands in for a factor that is lost: nobody is to be trusted by it.
		if a.Policy.Factors.Trusted > 0 && k.sudo && in.Switch(ParamTrustDevice, &refusal.FieldErrors{}) {
			if got.Trusted, err = a.trust(t, u, client); err != nil {
				return nil, err
			}
		}
	}
	if a.owesTerms(u) {
		u.Terms, u.TermsAt = a.Policy.Register.Terms, a.Time()
		if err := t.auditTerms(u); err != nil {
			return nil, err
		}
	}
	if leaves(u) && in[ParamKeep].Kind == field.ValueAbsent { // it was closed just now
		return nil, refusal.FieldErrors{{Field: ParamKeep, Code: refusal.CodeAccountClosing}}.Err()
	}
	if err := a.keepAccount(t, u); err != nil {
		return nil, err
	}
	remember(u, spentMark(token))
	got.Grant, err = a.letIn(t, u, client, old, amr...)
	return nil, err
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
