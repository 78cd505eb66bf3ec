// reauth.go: what the account hangs on is changed only by who signed in
// a short while ago or knows the password: an open browser is not enough.

package account

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
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
		if in[f.Name].Kind == field.ValueAbsent || !a.Policy.Fields.Guarded(f) || f.Settled(p.User) || in.Keeps(f, p.User) {
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
// a short while ago and has shown as much. A recovery code opens enrolment alone. The
// password never stands in for a factor, one that can't be shown here either.
func (a *Accounts) SudoAsks(u *store.User, s *store.Session, enrols bool) string {
	ways := a.sudoNames(u)
	if len(ways) == 0 {
		if a.StaleSignIn(s) {
			return a.sudoAlone(u)
		}
		return ""
	}
	if !a.StaleSignIn(s) && (slices.Contains(s.AMR, MethodMulti) || enrols && slices.Contains(s.AMR, MethodRecovery)) {
		return ""
	}
	return ways[0]
}

// sudoAlone is what opens a change of an account without a factor: its password or, where it
// has none, a new sign-in by an account elsewhere.
func (a *Accounts) sudoAlone(u *store.User) string {
	if !a.Policy.hasPassword(u) && a.Policy.byProvider(u) {
		return ParamProvider
	}
	return ParamPassword
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

// sudoNames are sudoWays or, of an account whose factors can't be shown here, what it would
// have to show. None: it has no factor.
func (a *Accounts) sudoNames(u *store.User) []string {
	if ways := a.sudoWays(u); len(ways) > 0 || !u.HasFactor() {
		return ways
	}
	return []string{ParamPasskey}
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
	if live := p.Session.ShownAt(); live.Before(asking.ShownAt()) {
		asking.AuthTime = live // the store has it from a clock that was ahead
	}
	switch a.SudoAsks(before, asking, enrols) {
	case "":
		return func(t *Txn, u *store.User) error { // a factor may have been added meanwhile
			if asks := a.SudoAsks(u, asking, enrols); asks != "" && !a.StaleSignIn(asking) {
				return ReauthenticateBy(asks)
			}
			return nil
		}, nil
	case ParamPassword:
		return a.sudoByPassword(ctx, p, before, in)
	case ParamProvider:
		return nil, ReauthenticateBy(ParamProvider)
	}
	return a.sudoByFactor(ctx, p, before, in)
}

// StaleForAdmin reports whether a sign-in is too old to change others' accounts without
// the password (admin.max_age).
func (a *Accounts) StaleForAdmin(s *store.Session) bool {
	return a.Now().Sub(s.ShownAt()) >= a.Policy.Admin.MaxAge
}

// AdminAsks is SudoAsks for who changes others' accounts.
func (a *Accounts) AdminAsks(u *store.User, s *store.Session) string {
	ways := a.sudoNames(u)
	switch {
	case len(ways) > 0 && (a.StaleForAdmin(s) || !slices.Contains(s.AMR, MethodMulti)):
		return ways[0]
	case len(ways) == 0 && a.StaleForAdmin(s):
		return a.sudoAlone(u)
	}
	return ""
}

// AdminLacks is what somebody who may look after the others' accounts has to do first,
// where admin.second_factor is required: CodeFactorRequired, to set up a factor;
// CodeInsufficient, to show it at this sign-in; "": nothing. A recovery code shows none.
// Where nobody can set up a factor, none is asked for.
func (a *Accounts) AdminLacks(u *store.User, s *store.Session) refusal.Code {
	switch {
	case a.adminOwesFactor(u):
		return refusal.CodeFactorRequired
	case a.Policy.Admin.SecondFactor && u.HasFactor() && !slices.Contains(s.AMR, MethodMulti):
		return refusal.CodeInsufficient
	}
	return ""
}

// adminOwesFactor reports whether an admin has to have a factor and has none.
func (a *Accounts) adminOwesFactor(u *store.User) bool {
	f := a.Policy.Factors
	return a.Policy.Admin.SecondFactor && !u.HasFactor() && (f.TOTP || f.Passkey && f.Passkeys != nil)
}

// reauthenticateTexts say what has to come with a change, where that is no password.
var reauthenticateTexts = map[string]string{ParamTOTP: "reauthenticate.totp", ParamPasskey: "reauthenticate.passkey"}

// ReauthenticateBy refuses a change for what has to come with it.
func ReauthenticateBy(param string) error {
	if param == ParamProvider { // nothing can come with it: by a new sign-in
		return refusal.New(refusal.CodeInsufficient)
	}
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
		if ways := a.sudoNames(u); len(ways) > 0 { // a factor was added meanwhile
			return ReauthenticateBy(ways[0])
		}
		_, err := t.Session(p.Session.Hash)
		return notSignedIn(err)
	}, nil
}

// sudoByFactor takes a factor in a transaction of its own: an answer is used up, right or
// wrong, whatever becomes of the act.
func (a *Accounts) sudoByFactor(ctx context.Context, p session.Principal, before *store.User, in field.Input) (stillGood func(*Txn, *store.User) error, err error) {
	k := answer(in, a.sudoWays(before))
	if k == nil {
		return nil, ReauthenticateBy(a.sudoNames(before)[0])
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

// A Demand is what a page asks of the sign-in of who wants to see it, besides that there
// is one.
type Demand struct {
	// Factors is how many different things have to be shown: 2 is the password, or what
	// stands for it, and a factor. Fewer ask for nothing.
	Factors int
	// MaxAge is how long ago the last of them may have been; zero: any time.
	MaxAge time.Duration
}

// Asks reports whether anything is asked.
func (d Demand) Asks() bool { return d.Factors > 1 || d.MaxAge > 0 }

// Met reports whether a sign-in has shown what is asked.
func (d Demand) Met(s *store.Session, now time.Time) bool {
	factor, again := d.Missing(s, now)
	return !factor && !again
}

// Missing says what a sign-in has not shown: a factor, or anything lately. A recovery code
// is no factor: it opens the way to a new one.
func (d Demand) Missing(s *store.Session, now time.Time) (factor, again bool) {
	if s.Kind == store.KindProgram { // which has shown nothing, at no time
		return d.Factors > 1, d.MaxAge > 0
	}
	return d.Factors > 1 && !slices.Contains(s.AMR, MethodMulti), d.MaxAge > 0 && now.Sub(s.ShownAt()) >= d.MaxAge
}

// StepUpWays are the members by one of which the owner of an account shows once more that
// he is: those of its factors or, where it has none, the password. None: by a new sign-in.
func (a *Accounts) StepUpWays(u *store.User) []string {
	if ways := a.sudoWays(u); len(ways) > 0 || u.HasFactor() || !a.Policy.hasPassword(u) {
		return ways
	}
	return []string{ParamPassword}
}

// StepUp notes on the sign-in of who asks that he has just shown who he is, and how. The
// sign-in goes on under a new token, which the grant has: who has a copy of the old one
// has shown nothing. A wrong factor or password is counted as at a sign-in.
func (a *Accounts) StepUp(ctx context.Context, p session.Principal, in field.Input, client Client) (u *store.User, g *session.Grant, err error) {
	before, err := a.ListFactors(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	ways := a.StepUpWays(before)
	switch {
	case len(ways) == 0:
		return before, nil, refusal.New(refusal.CodeNotAuthenticated)
	case ways[0] == ParamPassword:
		u, g, err = a.stepUpByPassword(ctx, p, before, in, client)
	default:
		u, g, err = a.stepUpByFactor(ctx, p, ways, in, client)
	}
	if err == nil {
		err = a.addAccessToken(ctx, u, g)
	}
	if err != nil {
		return before, nil, err
	}
	return u, g, nil
}

func (a *Accounts) stepUpByPassword(ctx context.Context, p session.Principal, before *store.User, in field.Input, client Client) (u *store.User, g *session.Grant, err error) {
	if in[ParamPassword].Kind == field.ValueAbsent {
		return nil, nil, ReauthenticateBy(ParamPassword)
	}
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	stillGood, err := a.sudoByPassword(ctx, p, before, in)
	if err != nil {
		return nil, nil, err
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = t.User(before.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		g, err = a.raise(t, p.Session.Hash, u, MethodPassword)
		return err
	})
	return u, g, err
}

func (a *Accounts) stepUpByFactor(ctx context.Context, p session.Principal, ways []string, in field.Input, client Client) (u *store.User, g *session.Grant, err error) {
	k := answer(in, ways)
	if k == nil {
		return nil, nil, ReauthenticateBy(ways[0])
	}
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	var refused error
	err = a.Update(ctx, func(t *Txn) (err error) {
		g = nil
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		var shown []string
		if shown, refused, err = a.showFactor(t, u, k, in, occasion{session: p.Session.Hash, client: client}); err != nil {
			return err
		}
		if refused == nil {
			if g, err = a.raise(t, p.Session.Hash, u, shown...); err != nil {
				return err
			}
		}
		return a.PutUser(t, u)
	})
	if err == nil && refused != nil {
		a.guessed(ctx, u, "step-up", refused)
		err = refused
	}
	return u, g, err
}

// raise is renew for who was asked to show more, with its row in the audit.
func (a *Accounts) raise(t *Txn, hash store.TokenHash, u *store.User, methods ...string) (*session.Grant, error) {
	g, err := a.renew(t, hash, u, methods...)
	if err != nil {
		return nil, err
	}
	return g, t.Audit(audit.SteppedUp, u.ID, "by", strings.Join(methods, " "))
}

// renew gives the sign-in of u with this hash a new token, and notes what was shown.
func (a *Accounts) renew(t *Txn, hash store.TokenHash, u *store.User, methods ...string) (*session.Grant, error) {
	s, err := t.Session(hash)
	if err != nil || s.User != u.ID || !u.IsActive {
		return nil, notSignedIn(cmp.Or(err, store.ErrNotFound))
	}
	raised, token := *s, ""
	token, raised.Hash = a.Sessions.NewToken(a.Time())
	raised.AMR = slices.Clone(s.Methods())
	for _, method := range methods {
		if !slices.Contains(raised.AMR, method) {
			raised.AMR = append(raised.AMR, method)
		}
	}
	raised.AuthTime = a.Time()
	raised.LastUsed = raised.AuthTime
	g := &session.Grant{}
	switch s.Kind {
	case store.KindSession:
		g.Cookie, g.Session = token, &raised
	case store.KindToken:
		g.Token = token
	case store.KindRefresh:
		generation, refresh := session.NewToken()
		raised.Refresh, raised.Previous, raised.Rotated = refresh, store.TokenHash{}, time.Time{}
		g.Refresh, g.Family = token+refreshSeparator+generation, &raised
	case store.KindProgram: // is good for no endpoint that raises one
	}
	return g, errors.Join(t.endSession(s.Hash), t.PutSession(&raised))
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

// paramOldPassword is the current password where ParamPassword means the new one.
const paramOldPassword = "old_password"
