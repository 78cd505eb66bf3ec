// password.go: how somebody gets in by his password, and everything that sets one: the
// change, the reset.

package account

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// SignedIn is what a sign-in comes to: what it hands out or, where the password is not
// all that is asked for, a challenge in place of that.
type SignedIn struct {
	// User is the account, after a refusal too, where it is known which.
	User      *store.User
	Grant     *session.Grant
	Challenge *Challenge
	// Trusted is what the browser keeps in which no factor is asked for from now on; "": it
	// keeps what it has. Kept: he stays, who had closed his account.
	Trusted string
	Kept    bool
}

// SignIn checks a password and hands out what the configuration grants (a session, a
// token, or both), or asks for more. Unknown account and wrong password are one refusal
// and cost the same time. Why an account may not sign in, and what it is asked for, is told to
// who knows its name and its password. old, the session that the browser carries, ends with it.
func (a *Accounts) SignIn(ctx context.Context, in field.Input, client Client, old *store.Session) (got SignedIn, err error) {
	var errs refusal.FieldErrors
	pass := in.Password("password", &errs)
	m, err := a.matchLogin(ctx, in, errs)
	found := m.user
	if err == nil {
		err = client.pay()
	}
	if err != nil {
		return got, err
	}
	rehashed, err := a.verify(ctx, found, pass)
	if err == nil && !letsBegin(found) {
		err = whyNot(found, m.byName)
	}
	if err != nil {
		a.guessed(ctx, found, "login", err)
		return SignedIn{User: found}, err
	}
	var first string
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
		case !letsBegin(u):
			return whyNot(u, m.byName)
		}
		if rehashed != "" {
			u.PasswordHash = rehashed
		}
		first = a.firstShown(t, u, client)
		got = SignedIn{User: u, Challenge: a.asks(u, first)}
		switch {
		case got.Challenge == nil:
			got.Grant, err = a.letIn(t, u, client, old, shownBy(first)...)
		case rehashed != "":
			err = a.PutUser(t, u)
		}
		return err
	})
	switch {
	case err != nil:
	case got.Challenge != nil:
		a.challenge(got.Challenge, got.User, first, client)
	default:
		err = a.addAccessToken(ctx, got.User, got.Grant)
	}
	return got, err
}

// matchLogin is match by the login fields, for a form of which errs is wrong: what the
// account is named by is refused together with that.
func (a *Accounts) matchLogin(ctx context.Context, in field.Input, errs refusal.FieldErrors) (match, error) {
	m, err := a.match(ctx, in, a.Policy.LoginFields)
	if refused := (*refusal.Error)(nil); errors.As(err, &refused) && len(refused.Fields) > 0 {
		return m, append(refusal.FieldErrors(refused.Fields), errs...).Err()
	}
	return m, StoreError(errors.Join(err, errs.Err()))
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
var signedInBy = map[string]string{MethodPassword: "password", MethodMail: "code", MethodDeviceKey: "passkey", MethodSyncedKey: "passkey", methodFederated: "oidc"}

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

// paramConfirm is the field of the repeated password.
const paramConfirm = "password_confirm"

// confirmation returns the repeated password, or nil where none is asked for.
func (a *Accounts) confirmation(in field.Input, wanted bool, errs *refusal.FieldErrors) *string {
	if !wanted {
		return nil
	}
	text := in.Password(paramConfirm, errs)
	return &text
}

// checkNewPassword runs the validators and the comparison, and adds all refusals to
// those of the form: of what can't be read it says nothing more. One that is refused is not
// looked up; the site's own rules come last, and an error is theirs. It takes up to seconds.
func (a *Accounts) checkNewPassword(ctx context.Context, pass string, confirm *string, u *store.User, errs *refusal.FieldErrors) error {
	if len(pass) > password.MaxLength && !errs.Has(ParamPassword) { // an owner's; a form's has been refused by then
		errs.Add(ParamPassword, refusal.CodeMaxLength, text.Params{"max": password.MaxLength})
	}
	if errs.Has(ParamPassword) {
		return nil
	}
	own := append([]string{u.Username, u.Email, u.FirstName, u.LastName}, u.FurtherEmails...)
	for _, f := range a.Policy.Fields.All {
		if text, ok := f.Get(u).(string); ok && f.Extra && f.Kind.Textual() {
			own = append(own, text)
		}
	}
	for _, f := range a.Policy.Validators.Validate(pass, own) {
		errs.Add(ParamPassword, refusal.Code(f.Code), text.Params(f.Params))
	}
	if a.Policy.Breached != nil && !errs.Has(ParamPassword) && a.Policy.Breached(ctx, password.Normal(pass)) {
		errs.Add(ParamPassword, refusal.CodePasswordBreached)
	}
	if a.Policy.PasswordRules != nil && !errs.Has(ParamPassword) {
		refused, err := a.Policy.PasswordRules(ctx, password.Normal(pass), u, own)
		if err != nil {
			return StoreError(err)
		}
		for _, words := range refused {
			errs.Add(ParamPassword, refusal.CodePasswordRefused, text.Params{"message": words})
		}
	}
	if confirm != nil && password.Normal(*confirm) != password.Normal(pass) && !errs.Has(paramConfirm) {
		errs.Add(paramConfirm, refusal.CodePasswordsDoNotMatch)
	}
	return nil
}

// showOwner refuses a change of the password by who doesn't show that the account is his: by
// the old password, or a factor in its place. Where the account has a factor, the old
// password counts only with that: in the input, or shown by the sign-in a short while ago.
// An account without a password gets its first as any change is made. Whatever else is
// refused about the input is in errs, and told together with a wrong old password.
func (a *Accounts) showOwner(ctx context.Context, p session.Principal, before *store.User, in field.Input, old string, errs refusal.FieldErrors) (stillGood func(*Txn, *store.User) error, err error) {
	shown := answer(in, a.sudoWays(before)) != nil
	wrong := refusal.FieldErrors{{Field: paramOldPassword, Code: refusal.CodePasswordIncorrect}}.Err()
	refused := errs.Err()
	if before.PasswordHash != "" && (!shown || in[paramOldPassword].Kind != field.ValueAbsent) {
		ok, err := a.IsPassword(ctx, before, old)
		if err != nil {
			return nil, err
		}
		if !ok {
			a.guessed(ctx, before, "change-password", wrong)
			refused = refusal.Together(wrong, refused)
		}
	}
	if refused != nil { // a factor is used up by being shown
		return nil, refused
	}
	further := func(*Txn, *store.User) error { return nil }
	switch {
	case shown:
		further, err = a.sudoByFactor(ctx, p, before, in)
	case before.HasFactor():
		further, err = a.reauthenticate(ctx, p, in)
	case before.PasswordHash == "" && a.StaleSignIn(p.Session):
		err = refusal.New(refusal.CodeInsufficient) // by a new sign-in
	}
	return func(t *Txn, u *store.User) error {
		switch {
		case u.PasswordHash != before.PasswordHash:
			return wrong
		case u.HasFactor() && !before.HasFactor(): // added meanwhile
			return ReauthenticateBy(a.sudoNames(u)[0])
		}
		return further(t, u)
	}, err
}

// ChangePassword sets a new password, for who shows that the account is his (showOwner). The
// asking session goes on under a new token (an asking API token stays as it is); every other
// session and token of the account ends.
func (a *Accounts) ChangePassword(ctx context.Context, p session.Principal, in field.Input, client Client) (*store.User, *session.Grant, error) {
	var errs refusal.FieldErrors
	var before *store.User
	err := a.View(ctx, func(tx store.Tx) (err error) { before, err = tx.User(p.User.ID); return notSignedIn(err) })
	if err != nil {
		return nil, nil, err
	}
	old := ""
	if in[paramOldPassword].Kind != field.ValueAbsent || before.PasswordHash != "" && answer(in, a.sudoWays(before)) == nil {
		old = in.Password(paramOldPassword, &errs)
	}
	pass := in.Password(ParamPassword, &errs)
	confirm := a.confirmation(in, a.Policy.ChangePassword.PasswordConfirm, &errs)
	formal := len(errs) > 0
	if err := a.checkNewPassword(ctx, pass, confirm, before, &errs); err != nil {
		return nil, nil, err
	}
	if formal { // the old password is not tried: that costs a hash, and a try
		return nil, nil, errs.Err()
	}
	if err := client.pay(); err != nil {
		return nil, nil, err
	}
	stillGood, err := a.showOwner(ctx, p, before, in, old, errs)
	if err != nil {
		return nil, nil, err
	}
	hash, err := a.Hasher.Hash(ctx, pass, a.Policy.Hash)
	if err != nil {
		return nil, nil, HashError(err)
	}
	var u *store.User
	var grant *session.Grant
	err = a.Update(ctx, func(t *Txn) (err error) {
		grant = nil
		if u, err = t.User(before.ID); err != nil {
			return notSignedIn(err)
		}
		if err := stillGood(t, u); err != nil {
			return err
		}
		asking, err := t.Session(p.Session.Hash)
		if err != nil { // it was revoked while the hash took its time
			return notSignedIn(err)
		}
		keep := asking.Hash
		if asking.Kind == store.KindSession {
			if grant, err = a.renewSession(t, asking); err != nil {
				return err
			}
			keep = grant.Session.Hash
		}
		if err := t.endSignIns(u, &keep); err != nil { // programs know no password
			return err
		}
		a.setHash(u, hash)
		u.Generation++
		if err := a.tellOwner(t, store.MailPasswordChanged, u, client); err != nil {
			return err
		}
		if err := t.Audit(audit.PasswordChanged, u.ID); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, grant, err
}

// setHash gives an account another password, "" for none, and keeps the one that it had for
// a while, for who has to show that the account was his before a change (passwordsBefore).
// Of too many the oldest stays: who changes it time and again pushes out his own. The caller
// writes u.
func (a *Accounts) setHash(u *store.User, hash string) {
	now := a.Time()
	u.FormerPasswords = slices.DeleteFunc(u.FormerPasswords, func(p store.FormerPassword) bool { return now.Sub(p.Until) >= UndoReserved+UndoPeriod })
	if u.PasswordHash != "" && a.Policy.SendsMail {
		if len(u.FormerPasswords) >= maxFormerPasswords {
			u.FormerPasswords = slices.Delete(u.FormerPasswords, 1, 2)
		}
		u.FormerPasswords = append(u.FormerPasswords, store.FormerPassword{Hash: u.PasswordHash, Since: u.PasswordSince, Until: now})
	}
	u.PasswordHash, u.PasswordSince = hash, now
}

// maxFormerPasswords bounds the passwords that an account had. Each can cost a hash.
const maxFormerPasswords = 3

// passwordsBefore are the hashes of the passwords that an account had when a change was
// made, and in the week before: whoever made it may have changed the password first. One
// that was set since shows nothing, for the mailbox is enough to set it.
func passwordsBefore(u *store.User, at time.Time) (hashes []string) {
	if u.PasswordHash != "" && !u.PasswordSince.After(at) {
		hashes = append(hashes, u.PasswordHash)
	}
	for _, p := range slices.Backward(u.FormerPasswords) {
		if p.Hash != "" && !p.Since.After(at) && at.Sub(p.Until) < UndoPeriod {
			hashes = append(hashes, p.Hash)
		}
	}
	return hashes
}

// whichPassword returns the one of these hashes that a password fits, or refuses it.
func (a *Accounts) whichPassword(ctx context.Context, u *store.User, hashes []string, pass string) (string, error) {
	for _, hash := range hashes {
		had := *u
		had.PasswordHash = hash
		if ok, err := a.IsPassword(ctx, &had, pass); err != nil || ok {
			return hash, err
		}
	}
	wrong := refusal.FieldErrors{{Field: ParamPassword, Code: refusal.CodePasswordIncorrect, Message: "reauthenticate.before_wrong"}}.Err()
	a.guessed(ctx, u, "former password", wrong)
	return "", wrong
}

// voidUnproven is part of every act that shows the mailbox of u's address, but
// for the confirmation of the sign-up or change that named it. Where the address
// was never confirmed, whoever made the account or gave it that address may be a
// stranger to the mailbox: what he had is void (password, sessions and tokens, and
// with the generation links and device cookies; the unconfirmed addresses that he
// could go back to, and the addresses beside this one). Factors stay, for the mailbox is not enough to get rid of them. The
// address is confirmed now, and an account that waited for that is active. The caller
// writes u.
func (a *Accounts) voidUnproven(t *Txn, u *store.User) error {
	if u.EmailVerified {
		return nil
	}
	a.setHash(u, "")
	u.FormerPasswords = nil
	u.LinkedAccounts, u.FormerLinked, u.KnownDevices = nil, nil, nil
	if u.AwaitsVerification {
		a.dropFactors(u)
		if err := a.endConfirmation(t, u); err != nil {
			return err
		}
	} else {
		confirmAccount(u)
	}
	u.Generation++
	// A confirmed one stays: it may be the owner's, and this mailbox a thief's.
	u.Former = slices.DeleteFunc(u.Former, func(f store.FormerEmail) bool { return f.Unproven })
	u.FurtherEmails, u.AskedEmails, u.Language, u.BrowserLanguage = nil, nil, "", ""
	return t.EndSessions(u, nil)
}

// notSignedIn turns a vanished account or session into "sign in first".
func notSignedIn(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return refusal.New(refusal.CodeNotAuthenticated)
	}
	return err
}

// SendResetPasswordLink queues the mail that lets the owner of an account set a
// new password. Whether there is such an account is told only where the
// configuration says so. An account without an address gets no mail. By an
// address that nobody owns, the newest account that waits for it is found.
func (a *Accounts) SendResetPasswordLink(ctx context.Context, in field.Input, client Client) error {
	s := a.Policy.ResetPassword
	names := a.Policy.LoginFields
	if s.UseEmail {
		names = []string{field.Email}
		in = field.Input{field.Email: in[field.Email]}
		if in[field.Email].Kind == field.ValueAbsent {
			return refusal.FieldErrors{{Field: field.Email, Code: refusal.CodeRequired}}.Err()
		}
	}
	m, err := a.match(ctx, in, names)
	if err != nil {
		return err
	}
	if err := client.pay(); err != nil {
		return err
	}
	if u := m.either(); s.FailWhenUserNotFound && (u == nil || !Usable(u)) {
		return refusal.New(refusal.CodeUserNotFound)
	}
	return a.sendLink(ctx, store.MailResetPassword, m, Usable, typedLogin(in, names), client)
}

// ResetPassword sets a new password by a mailed link and ends every session
// and token of the account. It shows the mailbox of the address: see voidUnproven.
func (a *Accounts) ResetPassword(ctx context.Context, in field.Input, client Client) (*store.User, error) {
	return a.passwordByLink(ctx, in, sign.PurposeResetPassword, client)
}

// SetPasswordByLink is ResetPassword by a link that the owner of the site has handed
// out. It shows no mailbox.
func (a *Accounts) SetPasswordByLink(ctx context.Context, in field.Input, client Client) (*store.User, error) {
	return a.passwordByLink(ctx, in, sign.PurposeSetPassword, client)
}

func (a *Accounts) passwordByLink(ctx context.Context, in field.Input, purpose sign.Purpose, client Client) (*store.User, error) {
	var errs refusal.FieldErrors
	l, err := readLink(in, purpose, &errs)
	pass := in.Password("password", &errs)
	confirm := a.confirmation(in, a.Policy.ResetPassword.PasswordConfirm, &errs)
	if err != nil || l.claim.User == uuid.Nil { // there is no link to be checked
		return nil, StoreError(errors.Join(errs.Err(), err))
	}
	period := a.Policy.ResetPassword.VerificationPeriod
	var u *store.User
	if err := a.View(ctx, func(tx store.Tx) (err error) { u, err = a.checkLink(tx, l, period); return err }); err != nil {
		return nil, cmp.Or(errs.Err(), err)
	}
	if err := a.checkNewPassword(ctx, pass, confirm, u, &errs); err != nil {
		return nil, err
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	hash, err := a.Hasher.Hash(ctx, pass, a.Policy.Hash)
	if err != nil {
		return nil, HashError(err)
	}
	err = a.Update(ctx, func(t *Txn) (err error) {
		var further string
		if u, further, err = a.checkLinkTo(t, l, period); err != nil {
			return err
		}
		if purpose == sign.PurposeResetPassword && further == "" { // else another mailbox was shown, a confirmed one
			if err := a.voidUnproven(t, u); err != nil {
				return err
			}
		}
		if err := t.EndSessions(u, nil); err != nil {
			return err
		}
		a.setHash(u, hash)
		u.Generation++
		a.knowOnly(u, client)
		useLink(u, l)
		if err := a.tellOwner(t, store.MailPasswordChanged, u, client); err != nil {
			return err
		}
		if err := t.Audit(audit.PasswordReset, u.ID); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}
