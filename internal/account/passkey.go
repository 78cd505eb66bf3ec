// passkey.go: passkeys of an account: how one is added, and how it signs in, alone or as
// the second step. What a browser is asked and whether its answer is good stands in
// internal/factor.

package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/factor"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The members of what is sent about passkeys.
const (
	// ParamPasskey is a browser's answer, as JSON.
	ParamPasskey = "passkey"
	// ParamSudo asks for what opens a change of the account.
	ParamSudo = "sudo"
)

// The methods of a passkey (store.Session.AMR): one that stays on its device, and one
// that its keeper copies to others.
const (
	MethodDeviceKey = "hwk"
	MethodSyncedKey = "swk"
)

// shownBy is all that somebody has shown who has begun his sign-in by a method: a
// passkey alone counts as two factors.
func shownBy(first string) []string {
	switch first {
	case MethodDeviceKey, MethodSyncedKey:
		return []string{first, MethodMulti}
	case methodFederatedMulti:
		return []string{methodFederated, MethodMulti}
	case methodTrusted:
		return []string{MethodPassword}
	}
	return []string{first}
}

// byPasskey reports whether a sign-in was begun by a passkey, or by an account elsewhere with
// two factors there, so that no factor is asked for any more.
func byPasskey(first string) bool { return len(shownBy(first)) > 1 }

// passkeys are those of the site; nil: there are none, or nobody is to use one.
func (a *Accounts) passkeys() *factor.Passkeys { return a.Policy.Factors.Passkeys }

var passkeyKind = factorKind{
	param: ParamPasskey, sudo: true,
	has: func(a *Accounts, u *store.User) bool { return a.passkeys() != nil && u.HasFactor(store.FactorPasskey) },
	show: func(a *Accounts, _ *Txn, u *store.User, in field.Input, from occasion) ([]string, error) {
		answer, err := factor.ReadAssertion([]byte(in.Nested(ParamPasskey)))
		if err != nil {
			return nil, nil //nolint:nilerr // wrong, as a wrong code is
		}
		f := answer.Passkey(u.Factors)
		if f == nil {
			return nil, nil
		}
		shown, err := a.passkeys().Check(a.Signer, from.binding(u), answer, u.ID, f, a.Now())
		if err != nil {
			a.odd(u, err)
			return nil, nil
		}
		f.LastUsed = a.Time()
		if !shown.Verified { // a password beside it makes two all the same
			return append(shown.AMR(), MethodMulti), nil
		}
		return shown.AMR(), nil
	},
}

// An occasion is where a factor is asked for.
type occasion struct {
	// challenge is the one of a sign-in that is answered; "": a change of the account is
	// opened, by session.
	challenge string
	session   store.TokenHash
	client    Client
}

// binding is that of the challenge that a passkey has to have answered.
func (from occasion) binding(u *store.User) factor.Binding {
	if from.challenge != "" {
		return factor.Binding{For: factor.CeremonyStep, User: u.ID, To: from.challenge}
	}
	return factor.Binding{For: factor.CeremonySudo, User: u.ID, To: from.session.Text()}
}

// odd tells the log of a passkey's answer that no browser gives by itself.
func (a *Accounts) odd(u *store.User, err error) {
	if errors.Is(err, factor.ErrCloned) {
		a.Journal.Log.Warn("a passkey is refused, because its counter went back: there may be a copy of it", zap.Stringer("user", u.ID))
	}
}

// passkeyInvalid refuses an answer that is not good.
func passkeyInvalid() error { return factorInvalid(ParamPasskey) }

// factorInvalid refuses a wrong answer by this member.
func factorInvalid(param string) error {
	wrong := refusal.FieldError{Field: param, Code: refusal.CodeFactorInvalid}
	switch param {
	case ParamPasskey: // which has no code
		wrong.Message = "factor.invalid_passkey"
	case ParamRecovery: // of which none is the present one
		wrong.Message = "factor.invalid_recovery"
	}
	return refusal.FieldErrors{wrong}.Err()
}

// passkeyAnswer reads a browser's answer, or records why there is none.
func passkeyAnswer(in field.Input, errs *refusal.FieldErrors) []byte {
	text := in.Nested(ParamPasskey)
	switch {
	case text != "":
	case in[ParamPasskey].Kind == field.ValueAbsent:
		errs.Add(ParamPasskey, refusal.CodeRequired)
	default:
		errs.Add(ParamPasskey, refusal.CodeInvalid)
	}
	return []byte(text)
}

// PasskeyRequest is what a browser is asked that is to use a passkey: for the second step
// of the sign-in whose challenge is in the input; for a change of the account of who is
// signed in, where that is asked for; else to sign in, whoever has one, in the browser
// that keeps device ("": any).
func (a *Accounts) PasskeyRequest(ctx context.Context, who *session.Principal, in field.Input, challengeBrowser, device string) (json.RawMessage, error) {
	var errs refusal.FieldErrors
	sudo := in.Switch(ParamSudo, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	request := func(u *store.User, from occasion) (json.RawMessage, error) {
		if !u.HasFactor(store.FactorPasskey) {
			return nil, refusal.New(refusal.CodeFactorNotFound)
		}
		return a.passkeys().Request(a.Signer, from.binding(u), u.Factors, a.Now())
	}
	switch token := in.Text(ParamChallenge); {
	case sudo && who == nil:
		return nil, refusal.New(refusal.CodeNotAuthenticated)
	case sudo:
		u, err := a.ListFactors(ctx, *who)
		if err != nil {
			return nil, err
		}
		return request(u, occasion{session: who.Session.Hash})
	case token != "":
		u, _, err := a.Asked(ctx, token, challengeBrowser)
		if err != nil {
			return nil, err
		}
		return request(u, occasion{challenge: token})
	}
	return a.passkeys().Request(a.Signer, factor.Binding{For: factor.CeremonySignIn, To: device}, nil, a.Now())
}

// PasskeySignIn signs in by a passkey and nothing else, which so has to ask who uses it.
// device is what the browser keeps that was asked. Of an account that owes its agreement
// to the terms, a challenge asks for that.
func (a *Accounts) PasskeySignIn(ctx context.Context, in field.Input, device string, client Client, old *store.Session) (got SignedIn, err error) {
	var errs refusal.FieldErrors
	text := passkeyAnswer(in, &errs)
	if err := errs.Err(); err != nil {
		return got, err
	}
	if err := client.pay(); err != nil {
		return got, err
	}
	answer, err := factor.ReadAssertion(text)
	if err != nil {
		return got, passkeyInvalid()
	}
	var first string
	err = a.Update(ctx, func(t *Txn) error {
		got = SignedIn{}
		u, err := t.User(answer.User)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if u == nil || answer.Passkey(u.Factors) == nil {
			return refusal.New(refusal.CodePasskeyUnknown)
		}
		got.User = u
		f := answer.Passkey(u.Factors)
		shown, err := a.passkeys().Check(a.Signer, factor.Binding{For: factor.CeremonySignIn, To: device}, answer, u.ID, f, a.Now())
		if err != nil {
			a.odd(u, err)
			return passkeyInvalid()
		}
		if !letsBegin(u) {
			return whyNot(u, true) // who has the passkey knows whose account it is
		}
		f.LastUsed = a.Time()
		first = shown.AMR()[0]
		if got.Challenge = a.asks(u, first); got.Challenge != nil {
			return a.PutUser(t, u)
		}
		got.Grant, err = a.letIn(t, u, client, old, shownBy(first)...)
		return err
	})
	switch {
	case err != nil:
		got.Challenge, got.Grant = nil, nil
		if Refused(err) {
			a.guessed(ctx, got.User, "passkey-login", err)
		}
	case got.Challenge != nil:
		a.challenge(got.Challenge, got.User, first, client)
	default:
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
}

// adding is the binding of the challenge of a new passkey.
func (e Enroller) adding(u *store.User) factor.Binding {
	return factor.Binding{For: factor.CeremonyAdd, User: u.ID, To: e.session().Text()}
}

// PasskeyCreation is what a browser is asked that is to make a passkey. Who may add one
// is asked here: the answer to it shows that he has been let.
func (a *Accounts) PasskeyCreation(ctx context.Context, e Enroller, in field.Input, client Client) (u *store.User, options json.RawMessage, err error) {
	stillGood, err := a.allowed(ctx, e, in)
	if err != nil {
		return nil, nil, err
	}
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = a.enroller(t, e); err != nil {
			return err
		}
		if len(u.Factors) >= MaxFactors {
			return refusal.New(refusal.CodeFactorLimit)
		}
		return stillGood(t, u)
	})
	if err != nil {
		return nil, nil, err
	}
	h := factor.Holder{ID: u.ID, Name: u.Username, Display: strings.TrimSpace(u.FirstName + " " + u.LastName), Factors: u.Factors}
	if h.Name == "" {
		h.Name = u.Email
	}
	if h.Display == "" {
		h.Display = h.Name
	}
	options, err = a.passkeys().Creation(a.Signer, e.adding(u), h, a.Now())
	return u, options, err
}

// AddPasskey adds the passkey that a browser has made, named by its owner or after what
// keeps it. A sign-in that waited for a factor ends with it, old ends then.
func (a *Accounts) AddPasskey(ctx context.Context, e Enroller, in field.Input, client Client, old *store.Session) (got Added, err error) {
	var errs refusal.FieldErrors
	answer := passkeyAnswer(in, &errs)
	name := factorName(in, &errs)
	if err := client.pay(); err != nil {
		return got, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		got = Added{}
		u, err := a.enroller(t, e)
		if err != nil {
			return err
		}
		wrong, terms := append(refusal.FieldErrors(nil), errs...), u.Terms
		if e.Challenge != "" {
			a.agree(in, u, &wrong)
		}
		if err := wrong.Err(); err != nil {
			return err
		}
		f, err := a.passkeys().Created(a.Signer, e.adding(u), answer, a.Now())
		same := func(of *store.Factor) bool { return bytes.Equal(of.CredentialID, f.CredentialID) }
		if err != nil || slices.ContainsFunc(u.Factors, func(of store.Factor) bool { return same(&of) }) {
			return passkeyInvalid()
		}
		u.FormerFactors = slices.DeleteFunc(u.FormerFactors, func(of store.FormerFactor) bool { return same(&of.Factor) })
		if u.Terms != terms {
			if err := t.auditTerms(u); err != nil {
				return err
			}
		}
		if f.Name = name; name == "" {
			f.Name = factor.MakeOf(f.AAGUID)
		}
		got, err = a.addFactor(t, u, f, e, client, old, factor.ShownBy(&f).AMR()[0])
		return err
	})
	// That it is another account's is none of anybody's business.
	if refused := (*refusal.Error)(nil); errors.As(err, &refused) && slices.ContainsFunc(refused.Fields, func(e refusal.FieldError) bool { return e.Field == field.PasskeyKey && e.Code == refusal.CodeUnique }) {
		err = passkeyInvalid()
	}
	if err != nil {
		return Added{User: got.User}, err
	}
	return got, a.addAccessToken(ctx, got.User, got.Grant)
}
