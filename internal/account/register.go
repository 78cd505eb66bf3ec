// register.go: how an account comes to be, and is confirmed.

package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// taken adds an error for every unique value that another account has. The
// final word is PutUser's; this one lets all errors come together, and spares
// the hash. Of a value that is refused already, as an address is, it says nothing:
// whether it is somebody's would be told to who can't have it anyway.
func (a *Accounts) taken(tx store.Tx, u *store.User, errs *refusal.FieldErrors) error {
	if err := a.takenKeys(tx, u, errs); err != nil {
		return err
	}
	before, err := stored(tx, u)
	if err != nil {
		return err
	}
	if f := a.Policy.Fields.ByName[field.Username]; isNew(f, before, u) && !errs.Has(f.Name) {
		left, err := a.leftByAnother(tx, u)
		if err != nil {
			return err
		}
		if left {
			errs.Add(f.Name, refusal.CodeUnique)
		}
	}
	if u.EmailPending { // whose it is, is not told
		return nil
	}
	if isNew(a.Policy.Fields.ByName[field.Email], before, u) && !errs.Has(field.Email) {
		left, err := a.emailTaken(tx, u, u.Email)
		if err != nil {
			return err
		}
		if left {
			errs.Add(field.Email, refusal.CodeUnique)
		}
	}
	err = a.NewLoginClash(tx, before, u)
	if clash := (*refusal.Error)(nil); errors.As(err, &clash) {
		refused := *errs
		for _, e := range clash.Fields {
			if !refused.Has(e.Field) {
				*errs = append(*errs, e)
			}
		}
		return nil
	}
	return err
}

// takenKeys is taken's look at the unique values that accounts have.
func (a *Accounts) takenKeys(tx store.Tx, u *store.User, errs *refusal.FieldErrors) error {
	for _, f := range a.Policy.Fields.Unique {
		key := f.Key(u)
		if key == "" || field.HeldBack(u, f) || errs.Has(f.Name) {
			continue
		}
		other, err := tx.UserByKey(f.Keyspace(), key)
		switch {
		case err == nil && other.ID != u.ID:
			errs.Add(f.Name, refusal.CodeUnique)
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	return nil
}

// A signUp is what a sign-up's input says.
type signUp struct {
	user    *store.User
	pass    string
	confirm *string
	// refused is what is wrong with it so far.
	refused refusal.FieldErrors
	// invitation is the one that it brings, nil: none; uninvited, why that is no good.
	invitation *store.Invitation
	uninvited  error
	// from is the account elsewhere by which somebody signs up, in place of a password; nil:
	// there is none.
	from *oidc.Identity
}

func (a *Accounts) readSignUp(ctx context.Context, in field.Input, from *oidc.Identity, client Client) *signUp {
	s := &signUp{from: from}
	s.invitation, s.uninvited = a.InvitationOf(ctx, in)
	// Who is invited needs no approval.
	// Who reads the mail of an address that a provider has verified is known.
	verify, approve := a.Policy.Register.Verification && !s.verifiedThere(), a.Policy.Register.Mode == ModeApprove && s.invitation == nil
	s.user = &store.User{IsActive: !verify && !approve, AwaitsApproval: approve, AwaitsVerification: verify, EmailPending: verify, DateJoined: a.Time(), EmailVerified: s.verifiedThere()}
	if s.invitation != nil && s.invitation.Email != "" && in[field.Email].Kind == field.ValueAbsent {
		in = maps.Clone(in)
		in[field.Email] = textValue(s.invitation.Email)
	}
	fields, required := a.registerFields()
	for _, f := range fields {
		in.Field(f, required[f.Name], s.user, &s.refused)
	}
	a.setLanguage(in, s.user, client)
	a.choose(nil, s.user, &s.refused)
	a.NeedsLogin(nil, s.user, &s.refused)
	if i := s.invitation; i == nil {
		if s.user.Email != "" || !verify { // else checkSignUp says that it is missing
			a.checkAddress(s.user.Email, &s.refused)
		}
		a.readReason(in, s.user, &s.refused)
	} else if i.Email == "" && !a.Policy.AdmitsAddress(s.user.Email, true) && !s.refused.Has(field.Email) {
		s.refused.Add(field.Email, refusal.CodeDomainNotAllowed)
	}
	a.agree(in, s.user, &s.refused)
	if from == nil {
		s.pass = in.Password(ParamPassword, &s.refused)
		s.confirm = a.confirmation(in, a.Policy.Register.PasswordConfirm, &s.refused)
	}
	return s
}

// verifiedThere reports whether a provider has verified the address of a sign-up.
func (s *signUp) verifiedThere() bool { return s.from != nil && s.from.EmailVerified }

// admits refuses a sign-up where the mode has none for who sends it: with CodeNotFound,
// as if there were no such endpoint, where sign-up is closed.
func (a *Accounts) admits(s *signUp) error {
	switch mode := a.Policy.Register.Mode; {
	case mode == ModeClosed && s.invitation == nil:
		if refused := (*refusal.Error)(nil); errors.As(s.uninvited, &refused) && refused.Code == refusal.CodeUnavailable {
			return s.uninvited
		}
		return refusal.New(refusal.CodeNotFound)
	case mode == ModeInvite && s.invitation == nil && s.uninvited == nil:
		return refusal.New(refusal.CodeInvitationRequired)
	}
	return nil
}

// invitationID names the invitation that a sign-up brings, for the record.
func (s *signUp) invitationID() string {
	if s.invitation == nil {
		return ""
	}
	return s.invitation.ID.String()
}

// notFound tells nothing of invitations where sign-up is closed: one that can't be used
// is as if there were no such endpoint.
func (a *Accounts) notFound(err error) error {
	refused := (*refusal.Error)(nil)
	if a.Policy.Register.Mode == ModeClosed && errors.As(err, &refused) && refused.Code == refusal.CodeInvitationInvalid {
		return refusal.New(refusal.CodeNotFound)
	}
	return err
}

// SignUpOver tells who counts of a sign-up that came to nothing.
func (a *Accounts) SignUpOver(err error) {
	if err != nil && a.SignUpFailed != nil {
		a.SignUpFailed(err)
	}
}

// Register creates an account. With verification on it waits for its
// confirmation, by the mail that is queued in the same transaction. An address
// that is somebody's is then no error, which would tell anybody who has an
// account: the account waits like any other, and the owner of the address gets a
// notice in place of that mail.
//
// An invitation is the owner's own word: who has one needs no approval, no code, no
// allowed domain and no reason, and gets in where sign-up is closed. It gets into a denied
// domain only if it names the address. Terms are to be agreed to in any case.
//
// A page's sign-up that comes again within a minute, in every word the same and from the
// same address and browser, is the same sign-up: it returns the account that the first
// has made, and nobody gets a second mail. A program's is another, as ever: of many that
// want one name, one has it.
func (a *Accounts) Register(ctx context.Context, in field.Input, client Client) (u *store.User, err error) {
	defer func() { a.SignUpOver(err) }()
	s := a.readSignUp(ctx, in, nil, client)
	if err := a.admits(s); err != nil {
		return nil, err
	}
	defer func() { err = a.notFound(err) }()
	if s.invitation == nil {
		if err := a.checkCode(in, client, &s.refused); err != nil {
			return nil, err
		}
	}
	if len(s.refused) > 0 || a.SignUps == nil || !client.Page {
		return a.signUp(ctx, s, client)
	}
	id, before, end, err := a.SignUps.Begin(ctx, a.SignUps.KeyOf(append(in.Parts(), client.Address, client.UserAgent)...), a.Now())
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	defer func() { end(!Refused(err)) }()
	var made *store.User
	if err := a.View(ctx, func(tx store.Tx) (err error) {
		made, err = tx.User(id)
		if errors.Is(err, store.ErrNotFound) {
			made, err = nil, nil
		}
		return err
	}); err != nil {
		return nil, err
	}
	switch {
	case made == nil && !before:
		s.user.ID = id
	case made != nil && made.Generation == 0: // it has the password that was sent still
		return made, nil
	}
	return a.signUp(ctx, s, client)
}

// Refused reports whether an act was refused, so that it has written nothing.
func Refused(err error) bool {
	refused := (*refusal.Error)(nil)
	return errors.As(err, &refused) && refused.Code != refusal.CodeUnavailable
}

// checkSignUp refuses a sign-up, for all that is wrong with it together. That an
// address is missing is about its field on a page; a program is told so by itself, once
// nothing else is wrong.
func (a *Accounts) checkSignUp(ctx context.Context, s *signUp, page bool) error {
	if s.uninvited != nil {
		return s.uninvited
	}
	if i := s.invitation; i != nil && !isFor(i, s.user) && !s.refused.Has(field.Email) {
		if !page {
			return refusal.New(refusal.CodeInvitationInvalid)
		}
		s.refused.AddInvalid(field.Email, "invalid.invited_address")
	}
	var all refusal.FieldErrors
	if err := a.View(ctx, func(tx store.Tx) error {
		all = append(refusal.FieldErrors(nil), s.refused...)
		return a.taken(tx, s.user, &all)
	}); err != nil {
		return err
	}
	if s.from == nil {
		if err := a.checkNewPassword(ctx, s.pass, s.confirm, s.user, &all); err != nil {
			return err
		}
	}
	if s.user.AwaitsVerification && s.user.Email == "" && !all.Has(field.Email) {
		switch {
		case page:
			all.Add(field.Email, refusal.CodeEmailRequired)
		case len(all) == 0:
			return refusal.New(refusal.CodeEmailRequired)
		}
	}
	return all.Err()
}

// prepare does what a sign-up needs before its transaction: it asks who may have a say in it,
// makes the hash and the id.
func (a *Accounts) prepare(ctx context.Context, s *signUp, client Client) (err error) {
	u := s.user
	if a.Registering != nil {
		if err := a.Registering(ctx, u, client); err != nil {
			return StoreError(err)
		}
	}
	if s.from == nil {
		if u.PasswordHash, err = a.Hasher.Hash(ctx, s.pass, a.Policy.Hash); err != nil {
			return HashError(err)
		}
	}
	if u.ID == uuid.Nil {
		if u.ID, err = uuid.NewV7(); err != nil {
			return refusal.Unavailable(err)
		}
	}
	return nil
}

// signUp makes the account of a sign-up, with the id that it has or a new one.
func (a *Accounts) signUp(ctx context.Context, s *signUp, client Client) (*store.User, error) {
	if err := a.checkSignUp(ctx, s, client.Page); err != nil {
		return nil, err
	}
	if err := client.pay(); err != nil {
		return nil, err
	}
	u := s.user
	if err := a.prepare(ctx, s, client); err != nil {
		return nil, err
	}
	n := a.Notice(store.MailEmailInUse, u.Email)
	asked := *u
	err := a.Update(ctx, func(t *Txn) error {
		*u = asked
		a.Ahead(u).In(t)
		if err := errors.Join(t.expects(store.MailVerifyRegistration, u, u.Email, n, client), a.claimName(t, u)); err != nil {
			return err
		}
		if s.invitation != nil {
			if err := a.useInvitation(t, s.invitation.Hash, u); err != nil {
				return err
			}
		}
		if err := t.Audit(audit.AccountRegistered, u.ID, "invitation", s.invitationID(), detailAdded, without(u.Groups, nil)); err != nil {
			return err
		}
		if s.from != nil {
			if err := a.linkTo(t, u, s.from); err != nil {
				return err
			}
		}
		if u.Terms != "" {
			if err := t.auditTerms(u); err != nil {
				return err
			}
		}
		if !u.AwaitsVerification {
			return errors.Join(a.PutUser(t, u), a.announce(t, u))
		}
		holder, err := a.addressHolder(t, u.Email)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := a.Waits(t, u); err != nil {
			return err
		}
		if err := a.PutUser(t, u); err != nil {
			return err
		}
		t.waiting = u.ID
		return a.mailWaiting(t, store.MailVerifyRegistration, u, holder, n, client)
	})
	if err != nil {
		n.Failed()
		return nil, err
	}
	return u, nil
}

// VerifyRegistration confirms a new account by its mailed link and, with
// auto-login, signs in; otherwise the returned grant is nil.
func (a *Accounts) VerifyRegistration(ctx context.Context, in field.Input, client Client) (*store.User, *session.Grant, error) {
	var errs refusal.FieldErrors
	l, err := readLink(in, sign.PurposeRegister, &errs)
	if err = errors.Join(errs.Err(), err); err != nil {
		return nil, nil, StoreError(err)
	}
	period := a.Policy.Register.VerificationPeriod
	if err := a.View(ctx, func(tx store.Tx) error { _, err := a.checkLink(tx, l, period); return err }); err != nil {
		return nil, nil, err
	}
	var u *store.User
	var grant *session.Grant
	err = a.Update(ctx, func(t *Txn) (err error) {
		if u, err = a.checkLink(t, l, period); err != nil {
			return err
		}
		if u.AwaitsVerification {
			if err := t.Audit(audit.AccountVerified, u.ID); err != nil {
				return err
			}
			if err := a.endConfirmation(t, u); err != nil {
				return err
			}
		}
		if a.Policy.Register.AutoLogin && u.IsActive && a.asks(u, MethodMail) == nil {
			if grant, err = a.Grant(t, u, client, []string{MethodMail}); err != nil {
				return err
			}
			if err := t.auditSignIn(u, grant, "link"); err != nil {
				return err
			}
		}
		return a.PutUser(t, u)
	})
	if err == nil {
		err = a.addAccessToken(ctx, u, grant)
	}
	if err != nil {
		return nil, nil, err
	}
	return u, grant, nil
}

// The members of a sign-up besides the fields of an account.
const (
	ParamCode   = "code"
	ParamReason = "reason"
)

// Whether a sign-up says why.
const (
	ReasonOff      = "off"
	ReasonOptional = "optional"
	ReasonRequired = "required"
)

// Reasons are all that Policy.Register.Reason can be.
var Reasons = []string{ReasonOff, ReasonOptional, ReasonRequired}

// MaxReason bounds a reason, in characters.
const MaxReason = 1000

// AdmitsAddress reports whether the owner lets addresses of this one's domain in. Who is
// invited need not be of a domain that is listed. It looks at no account.
func (p *Policy) AdmitsAddress(email string, invited bool) bool {
	allowed := p.Register.AllowDomains
	return (invited || len(allowed) == 0 || inDomains(email, allowed)) && !inDomains(email, p.Register.DenyDomains)
}

func inDomains(email string, list []string) bool {
	domain := strings.ToLower(email[strings.LastIndexByte(email, '@')+1:])
	return slices.ContainsFunc(list, func(entry string) bool {
		if below, ok := strings.CutPrefix(entry, "*"); ok { // ".example.com"
			return strings.HasSuffix(domain, below)
		}
		return domain == entry
	})
}

// checkAddress refuses an address that is not let in, and none where only some are.
func (a *Accounts) checkAddress(email string, errs *refusal.FieldErrors) {
	switch {
	case errs.Has(field.Email):
	case email == "" && len(a.Policy.Register.AllowDomains) > 0:
		errs.Add(field.Email, refusal.CodeEmailRequired)
	case email != "" && !a.Policy.AdmitsAddress(email, false):
		errs.Add(field.Email, refusal.CodeDomainNotAllowed)
	}
}

// checkCode refuses a sign-up without the owner's code. Each that brings one spends the
// budgets of a sign-up before the code is looked at, whatever else is wrong with the
// form: else a form that is wrong on purpose would be a try for nothing.
func (a *Accounts) checkCode(in field.Input, client Client, errs *refusal.FieldErrors) error {
	if a.Policy.Register.Code == "" {
		return nil
	}
	got := in.Required(ParamCode, errs)
	if got == "" {
		return nil
	}
	if err := client.pay(); err != nil {
		return err
	}
	have, want := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(a.Policy.Register.Code)) // of one length
	if subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
		errs.Add(ParamCode, refusal.CodeSignUpCodeInvalid)
	}
	return nil
}

// readReason takes why somebody wants in.
func (a *Accounts) readReason(in field.Input, u *store.User, errs *refusal.FieldErrors) {
	if a.Policy.Register.Reason == ReasonOff || a.Policy.Register.Reason == "" {
		return
	}
	reason := in.Text(ParamReason)
	if a.Policy.Register.Reason == ReasonRequired {
		reason = in.Required(ParamReason, errs)
	}
	if len(reason) > MaxReason*utf8.UTFMax || utf8.RuneCountInString(reason) > MaxReason {
		errs.Add(ParamReason, refusal.CodeMaxLength, text.Params{"max": MaxReason})
		return
	}
	u.Reason = asTyped(reason)
}

// asTyped is a text of several lines without what no person types: it is shown to
// others, on a terminal too.
func asTyped(words string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != 0x200d && r != 0x200c || r == 0x2028 || r == 0x2029) {
			return -1
		}
		return r
	}, words))
}
