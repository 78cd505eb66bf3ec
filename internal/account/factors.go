// factors.go: the factors of an account: how its owner adds one, names it, takes it away
// and gets codes for the day on which he has lost it. How a factor is asked for at a
// sign-in stands in challenge.go, how it opens a change in reauth.go.

package account

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The members of what is sent about factors.
const (
	ParamTOTP     = "totp"
	ParamRecovery = "recovery_code"
	// ParamFactorCode is the code that confirms a TOTP.
	ParamFactorCode = "code"
	ParamFactor     = "id"
	ParamName       = "name"
)

// Bounds of factors.
const (
	// EnrolmentLifetime is how long a TOTP can be confirmed: an app has to be installed.
	EnrolmentLifetime = 15 * time.Minute
	// MaxFactors bounds the factors of an account, MaxFactorName their names, in
	// characters.
	MaxFactors    = 20
	MaxFactorName = 64
	// fewCodes is how many recovery codes are left when their owner is told to make new ones.
	fewCodes = 2
)

// asksFactor reports whether an account is asked for a factor.
func (a *Accounts) asksFactor(u *store.User) bool { return u.HasFactor() }

// owesFactor reports whether an account has to get a factor before it does anything else.
func (a *Accounts) owesFactor(u *store.User) bool {
	return !u.HasFactor() && slices.ContainsFunc(a.Policy.Factors.RequiredFor, func(group string) bool { return slices.Contains(u.Groups, group) })
}

// OwesWithoutLast reports whether an account that loses its only factor has to get another
// one before it does anything else.
func (a *Accounts) OwesWithoutLast(u *store.User) bool {
	without := *u
	without.Factors = nil
	return len(u.Factors) == 1 && a.owesFactor(&without)
}

// ListFactors returns the account of who asks, as it is now.
func (a *Accounts) ListFactors(ctx context.Context, p session.Principal) (u *store.User, err error) {
	err = a.View(ctx, func(tx store.Tx) (err error) { u, err = tx.User(p.User.ID); return notSignedIn(err) })
	return u, err
}

// An Enroller is who sets up a factor: somebody who is signed in, or who has shown his
// password and is asked for nothing but that (Challenge.Enrol).
type Enroller struct {
	// Who is signed in; nil: nobody, or it doesn't count.
	Who *session.Principal
	// Challenge and Browser are those of the sign-in; "": there is none.
	Challenge, Browser string
}

// enroller returns the account to which an Enroller may add a factor.
func (a *Accounts) enroller(tx store.Tx, e Enroller) (*store.User, error) {
	if e.Challenge != "" {
		u, err := a.checkChallenge(tx, e.Challenge, e.Browser)
		if err == nil && !a.owesFactor(u) { // he has one by now, which is asked for
			err = refusal.New(refusal.CodeChallengeExpired)
		}
		return u, err
	}
	if e.Who == nil {
		return nil, refusal.New(refusal.CodeNotAuthenticated)
	}
	if _, err := tx.Session(e.Who.Session.Hash); err != nil {
		return nil, notSignedIn(err)
	}
	u, err := tx.User(e.Who.User.ID)
	if err == nil && (!u.IsActive || u.AwaitsVerification) {
		err = refusal.New(refusal.CodeNotAuthenticated)
	}
	return u, notSignedIn(err)
}

// session is what an enrolment belongs to: a sign-in or, while it waits for a factor, its
// challenge. Nobody else sees the secret, though he may know the password.
func (e Enroller) session() store.TokenHash {
	switch {
	case e.Challenge != "":
		return sha256.Sum256([]byte(e.Challenge))
	case e.Who != nil:
		return e.Who.Session.Hash
	}
	return store.TokenHash{}
}

// allowed refuses an Enroller who may not add a factor. stillGood has to hold in the
// transaction of the act (reauthenticate).
func (a *Accounts) allowed(ctx context.Context, e Enroller, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	if e.Challenge != "" || e.Who == nil {
		return func(*Txn, *store.User) error { return nil }, nil
	}
	return a.sudo(ctx, *e.Who, in, true)
}

// A TOTP is what an app has to know.
type TOTP struct {
	// Secret is what people type into it, URI what it reads from the picture.
	Secret, URI string
}

func (a *Accounts) totp(u *store.User, secret []byte) *TOTP {
	name := u.Username
	if name == "" {
		name = u.Email
	}
	return &TOTP{Secret: factor.SecretText(secret), URI: factor.URI(a.Policy.Factors.Issuer, name, secret)}
}

// EnrolTOTP begins to set up an app. It counts once it has been confirmed; what had been
// begun before is void.
func (a *Accounts) EnrolTOTP(ctx context.Context, e Enroller, in field.Input, client Client) (*store.User, *TOTP, error) {
	stillGood, err := a.allowed(ctx, e, in)
	if err != nil {
		return nil, nil, err
	}
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	secret := factor.NewSecret()
	var u *store.User
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = a.enroller(t, e); err != nil {
			return err
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		if len(u.Factors) >= MaxFactors {
			return refusal.New(refusal.CodeFactorLimit)
		}
		u.Enrolment = &store.Enrolment{Secret: a.FactorKeys.Seal(u.ID, secret), Session: e.session(), Since: a.Time()}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, nil, err
	}
	return u, a.totp(u, secret), nil
}

// Enrolment returns the TOTP that is being set up by who asks, or CodeEnrolmentExpired.
func (a *Accounts) Enrolment(ctx context.Context, e Enroller) (u *store.User, t *TOTP, err error) {
	err = a.View(ctx, func(tx store.Tx) error {
		if u, err = a.enroller(tx, e); err != nil {
			return err
		}
		secret, err := a.enrolment(u, e)
		if err != nil {
			return err
		}
		t = a.totp(u, secret)
		return nil
	})
	return u, t, err
}

// enrolment is the secret that is being set up.
func (a *Accounts) enrolment(u *store.User, e Enroller) ([]byte, error) {
	began := u.Enrolment
	if began == nil || began.Session != e.session() || a.Now().Sub(began.Since) >= EnrolmentLifetime {
		return nil, refusal.New(refusal.CodeEnrolmentExpired)
	}
	secret, err := a.FactorKeys.Open(u.ID, began.Secret)
	if err != nil { // a secret of the configuration was exchanged, and no account had a factor
		return nil, refusal.New(refusal.CodeEnrolmentExpired)
	}
	return secret, nil
}

// Added is what the addition of a factor comes to.
type Added struct {
	User   *store.User
	Factor *store.Factor
	// RecoveryCodes are shown this once; nil: the account had some.
	RecoveryCodes []string
	// Grant is of the sign-in: of one that waited for a factor and ends with this one, which
	// is Begun, or of who asked, which has shown more with this and goes on under a new token.
	Grant *session.Grant
	Begun bool
}

// ConfirmTOTP makes the TOTP count that is being set up, by a code of it, which is used up
// with that. A sign-in that waited for it ends with it, old ends then.
func (a *Accounts) ConfirmTOTP(ctx context.Context, e Enroller, in field.Input, client Client, old *store.Session) (got Added, err error) {
	var errs refusal.FieldErrors
	code := in.Required(ParamFactorCode, &errs)
	name := factorName(in, &errs)
	if err := errs.Err(); err != nil {
		return got, err
	}
	if err := client.pay(); err != nil {
		return got, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		u, err := a.enroller(t, e)
		if err != nil {
			return err
		}
		wrong, terms := refusal.FieldErrors{}, u.Terms
		if e.Challenge != "" {
			a.agree(in, u, &wrong)
		}
		secret, err := a.enrolment(u, e)
		if err != nil {
			return err
		}
		used, ok := factor.Match(secret, code, a.Now(), 0)
		if !ok {
			wrong.Add(ParamFactorCode, refusal.CodeFactorInvalid)
		}
		if err := wrong.Err(); err != nil {
			return err
		}
		if u.Terms != terms {
			if err := t.auditTerms(u); err != nil {
				return err
			}
		}
		f := store.Factor{Type: store.FactorTOTP, Name: name, Secret: u.Enrolment.Secret, LastStep: used}
		u.Enrolment = nil
		got, err = a.addFactor(t, u, f, e, client, old, MethodOTP)
		return err
	})
	if err != nil {
		return Added{User: got.User}, err
	}
	return got, a.addAccessToken(ctx, got.User, got.Grant)
}

// addFactor is the end of every act that adds a factor, whatever its type: it tells the
// owner, makes recovery codes with the first one, and ends a sign-in that waited for it.
// The sign-in of who asks has shown the factor with this, and goes on under a new token, as
// after StepUp: who has a copy of the old one has shown nothing. method is what it shows
// (store.Session.AMR). It writes u. What of f follows from that it sets itself.
func (a *Accounts) addFactor(t *Txn, u *store.User, f store.Factor, e Enroller, client Client, old *store.Session, method string) (got Added, err error) {
	if len(u.Factors) >= MaxFactors {
		return got, refusal.New(refusal.CodeFactorLimit)
	}
	if f.ID, err = uuid.NewV7(); err != nil {
		return got, err
	}
	f.Created, f.LastUsed, f.EmailChanges = a.Time(), a.Time(), u.EmailChanges
	u.Factors = append(u.Factors, f)
	u.FactorFailuresInRow = 0
	got = Added{User: u, Factor: &f}
	if len(u.RecoveryCodes) == 0 {
		got.RecoveryCodes = a.newRecoveryCodes(u)
	}
	if err := t.Audit(audit.FactorAdded, u.ID, "type", string(f.Type), "factor", f.ID.String()); err != nil {
		return got, err
	}
	if err := a.mailAboutFactor(t, store.MailFactorAdded, u, f.ID, client); err != nil {
		return got, err
	}
	if e.Challenge != "" {
		got.Begun = true
		remember(u, spentMark(e.Challenge))
		got.Grant, err = a.letIn(t, u, client, old, append(shownBy(shownFirst(e.Challenge)), method, MethodMulti)...)
		return got, err
	}
	if got.Grant, err = a.renew(t, e.Who.Session.Hash, u, method, MethodMulti); err != nil {
		return got, err
	}
	return got, a.PutUser(t, u)
}

// newRecoveryCodes gives an account new codes in place of those that it has. The caller
// writes u.
func (a *Accounts) newRecoveryCodes(u *store.User) []string {
	codes := factor.NewRecoveryCodes()
	u.RecoveryCodes, u.RecoveryMade = a.FactorKeys.MACs(u.ID, codes), a.Time()
	return codes
}

// NewRecoveryCodes makes new codes; the old ones are void. Without a factor there is
// nothing that they could stand in for.
func (a *Accounts) NewRecoveryCodes(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, codes []string, err error) {
	u, err = a.withSudo(ctx, p, in, client, func(t *Txn, u *store.User) error {
		if !u.HasFactor() {
			return refusal.New(refusal.CodeFactorRequired)
		}
		codes = a.newRecoveryCodes(u)
		if err := a.tellOwner(t, store.MailRecoveryMade, u, client); err != nil {
			return err
		}
		return t.Audit(audit.RecoveryCodesMade, u.ID)
	})
	return u, codes, err
}

// withSudo changes the account of who asks and has shown that he is its owner.
func (a *Accounts) withSudo(ctx context.Context, p session.Principal, in field.Input, client Client, act func(*Txn, *store.User) error) (u *store.User, err error) {
	stillGood, err := a.reauthenticate(ctx, p, in)
	if err != nil {
		return nil, err
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		if err := act(t, u); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

// RemoveFactor takes a factor away, and with the last one the recovery codes. The last
// way in stays: an account without a password keeps one passkey.
func (a *Accounts) RemoveFactor(ctx context.Context, p session.Principal, in field.Input, client Client) (*store.User, error) {
	var errs refusal.FieldErrors
	id := factorID(in, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if f := p.User.Factor(id); f == nil {
		return nil, refusal.New(refusal.CodeFactorNotFound)
	}
	return a.withSudo(ctx, p, in, client, func(t *Txn, u *store.User) error {
		f := u.Factor(id)
		if f == nil {
			return refusal.New(refusal.CodeFactorNotFound)
		}
		removed := *f
		u.Factors = slices.DeleteFunc(u.Factors, func(f store.Factor) bool { return f.ID == id })
		if removed.Type == store.FactorPasskey {
			if err := a.keepsWayIn(u); err != nil {
				return err
			}
		}
		a.keepFormer(u, removed)
		if !u.HasFactor() {
			u.RecoveryCodes, u.RecoveryMade = nil, time.Time{}
		}
		if err := t.Audit(audit.FactorRemoved, u.ID, "type", string(removed.Type), "factor", id.String()); err != nil {
			return err
		}
		return a.mailAboutFactor(t, store.MailFactorRemoved, u, id, client)
	})
}

// RenameFactor names a factor.
func (a *Accounts) RenameFactor(ctx context.Context, p session.Principal, in field.Input) (u *store.User, err error) {
	var errs refusal.FieldErrors
	id := factorID(in, &errs)
	in.Required(ParamName, &errs)
	name := factorName(in, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		f := u.Factor(id)
		if f == nil {
			return refusal.New(refusal.CodeFactorNotFound)
		}
		f.Name = name
		return a.PutUser(t, u)
	})
	return u, err
}

// factorID reads which factor is meant.
func factorID(in field.Input, errs *refusal.FieldErrors) uuid.UUID {
	txt := in.Required(ParamFactor, errs)
	id, ok := store.ParseID(txt)
	if !ok && txt != "" {
		errs.Add(ParamFactor, refusal.CodeInvalid)
	}
	return id
}

// factorName reads what a factor is to be called; "": nothing of its owner's.
func factorName(in field.Input, errs *refusal.FieldErrors) string {
	name := in.Text(ParamName)
	if len(name) > MaxFactorName*utf8.UTFMax || utf8.RuneCountInString(name) > MaxFactorName {
		errs.Add(ParamName, refusal.CodeMaxLength, text.Params{"max": MaxFactorName})
		return ""
	}
	return strings.Join(strings.Fields(asTyped(name)), " ")
}

// nothingOfFactors reports whether there is nothing that ResetFactors would take away.
func nothingOfFactors(u *store.User) bool {
	return len(u.Factors)+len(u.FormerFactors)+len(u.RecoveryCodes)+len(u.FactorFailures) == 0 && u.Enrolment == nil
}

// ResetFactors takes all factors of an account away, with its recovery codes, and tells
// its owner: what an owner of the site does for who has lost them. Where there is nothing,
// nothing is done.
func (a *Accounts) ResetFactors(ctx context.Context, id uuid.UUID, client Client) (*store.User, error) {
	return a.change(ctx, id, func(t *Txn, u *store.User) error {
		if nothingOfFactors(u) { // it was done already
			return nil
		}
		types := factorTypes(u)
		a.dropFactors(u)
		u.Generation++ // sign-ins under way
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		if a.TellsOfFactors(u) {
			if err := a.tellOwner(t, store.MailFactorsReset, u, client); err != nil {
				return err
			}
		}
		return t.Audit(audit.FactorsReset, u.ID, "types", strings.Join(types, " "))
	})
}

// dropFactors leaves nothing of a second step. The caller writes u.
func (a *Accounts) dropFactors(u *store.User) {
	u.Factors, u.FormerFactors, u.Enrolment = nil, nil, nil
	u.RecoveryCodes, u.RecoveryMade = nil, time.Time{}
	u.FactorFailures, u.FactorFailuresInRow = nil, 0
}

// factorTypes are the types of an account's factors, each once.
func factorTypes(u *store.User) (types []string) {
	for _, f := range u.Factors {
		if !slices.Contains(types, string(f.Type)) {
			types = append(types, string(f.Type))
		}
	}
	return types
}
