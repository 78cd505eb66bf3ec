// link.go: mailed links: what one stands for and signs, how it is read and checked as it
// comes back, whose it is (the page behind it says at once that it no longer works), and
// that it has been used; and the links that an owner makes or has mailed.

package account

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// State fingerprints what an act changes and what it rests on, so that its
// link dies with its use, and with the account's generation. Where a link may be
// used again (one_time_use off), it leaves both out, and still dies when the
// address that it was sent to is no longer the account's. The ways back
// (PurposeUndoEmail, PurposeUndoFactor, PurposeEndSignIn) outlive the generation: else a
// thief who changes address and password would end them. email is the address that the link is mailed to,
// for PurposeUndoFactor the factor's id (sign.Claim.Email).
func (a *Accounts) State(purpose sign.Purpose, u *store.User, email string) []byte {
	oneTime := true
	switch purpose {
	case sign.PurposeRegister:
		oneTime = a.Policy.Register.OneTimeUse
	case sign.PurposeResetPassword:
		oneTime = a.Policy.ResetPassword.OneTimeUse
	default: // used once
	}
	return a.linkState(purpose, u, email, oneTime)
}

// linkState is state where a link can be used once, or again.
func (a *Accounts) linkState(purpose sign.Purpose, u *store.User, email string, oneTime bool) []byte {
	switch purpose { //nolint:exhaustive // the others follow one rule
	case sign.PurposeUndoEmail:
		return undoState(u, a.former(u, email))
	case sign.PurposeUndoFactor:
		return undoFactorState(u, email)
	case sign.PurposeRegisterEmail:
		return askedState(u, email)
	case sign.PurposeEndSignIn:
		return signInState(email)
	}
	parts := []string{string(purpose), reachedAt(u, email)}
	switch {
	case purpose == sign.PurposeRegister && oneTime:
		parts = append(parts, strconv.FormatBool(u.AwaitsVerification))
	case purpose == sign.PurposeResetPassword && oneTime, purpose == sign.PurposeSetPassword:
		parts = append(parts, u.PasswordHash)
	case purpose == sign.PurposeLoginCode:
		parts = append(parts, strconv.FormatUint(uint64(u.EmailChanges), 10), u.PasswordHash, strconv.FormatInt(u.LastLogin.Unix(), 10))
	default:
		return sign.StateOf(parts...)
	}
	return sign.StateOf(append(parts, GenerationOf(u)...)...)
}

// askedState is the state behind the link to an address that was asked for: that it still is.
// One that an earlier version has mailed ends with any change of the address.
func askedState(u *store.User, email string) []byte {
	parts := []string{string(sign.PurposeRegisterEmail), u.Email, strconv.FormatUint(uint64(u.EmailChanges), 10)}
	switch i := askedIndex(u.AskedEmails, email); {
	case i >= 0 && u.AskedEmails[i].Generation != u.Generation, i < 0 && u.EmailsAsked > 0:
		return nil
	case i >= 0:
		parts = []string{string(sign.PurposeRegisterEmail), "asked", strconv.FormatUint(uint64(u.AskedEmails[i].Serial), 10)}
	}
	return sign.StateOf(append(parts, GenerationOf(u)...)...)
}

// GenerationOf is the account's generation as a part of a state; the first is
// none, so that links under way outlive the upgrade that brought generations.
func GenerationOf(u *store.User) []string {
	if u.Generation == 0 {
		return nil
	}
	return []string{strconv.FormatUint(u.Generation, 10)}
}

// Purposes names the act behind the link of a message; a notice has none.
var Purposes = map[store.MailKind]sign.Purpose{
	store.MailVerifyRegistration: sign.PurposeRegister,
	store.MailResetPassword:      sign.PurposeResetPassword,
	store.MailVerifyEmail:        sign.PurposeRegisterEmail,
	store.MailEmailChanged:       sign.PurposeUndoEmail,
	store.MailEmailsChanged:      sign.PurposeUndoEmail,
	store.MailDecoy:              sign.PurposeResetPassword, // for its work and its size
	store.MailResetByOwner:       sign.PurposeResetPassword,
	store.MailResetByUndo:        sign.PurposeResetPassword,
	store.MailLoginCode:          sign.PurposeLoginCode,
	store.MailSetPassword:        sign.PurposeSetPassword,
	store.MailFactorAdded:        sign.PurposeUndoFactor,
	store.MailFactorRemoved:      sign.PurposeUndoFactor,
	store.MailNewDevice:          sign.PurposeEndSignIn,
}

// mailState fingerprints, for a row of the outbox, what the act behind its link
// would change. Unlike the state of the link, which is signed when the mail is
// sent, it depends neither on the settings, which may change while the mail
// Waits, nor on the clock.
func (a *Accounts) mailState(m *store.Mail, u *store.User) []byte {
	purpose, ok := Purposes[m.Kind]
	switch {
	case !ok:
		return nil
	case purpose == sign.PurposeUndoEmail:
		return undoState(u, formerIndex(u, m.To))
	}
	return a.linkState(purpose, u, AboutOf(m, u), true)
}

// AboutOf is what the link of a mail about u names (sign.Claim.Email), as far as its purpose
// names anything.
func AboutOf(m *store.Mail, u *store.User) string {
	if m.Kind == store.MailNewDevice {
		return nameSignIn(m.Factor, m.To, u.Generation)
	}
	if m.Factor != uuid.Nil {
		return m.Factor.String()
	}
	return m.To
}

// MailWanted reports whether u is still as it was when m was queued.
func (a *Accounts) MailWanted(m *store.Mail, u *store.User) bool {
	if m.Kind == store.MailApproved && !u.IsActive || m.Kind == store.MailAccountClosed && !leaves(u) { // not any more
		return false
	}
	if bytes.Equal(m.State, a.mailState(m, u)) {
		return true
	}
	// Earlier versions wrote the state of the link, under whatever settings.
	purpose, ok := Purposes[m.Kind]
	return ok && len(m.State) > 0 && bytes.Equal(m.State, a.linkState(purpose, u, m.To, false))
}

// A link is what a mailed link carries, as it came back.
type link struct {
	claim     sign.Claim
	signature string
}

// readLink takes a link from an input. Missing parts are told by field; parts
// that can't be read are a bad signature like any other.
func readLink(in field.Input, purpose sign.Purpose, errs *refusal.FieldErrors) (link, error) {
	l := link{claim: sign.Claim{Purpose: purpose}}
	part := func(name string) string { return sign.RepairParam(name, in.Required(name, errs)) }
	id := part(sign.ParamUserID)
	if name := purpose.Param(); name != "" {
		l.claim.Email = part(name)
	}
	stamp := part(sign.ParamTimestamp)
	l.signature = part(sign.ParamSignature)
	if len(*errs) > 0 {
		return l, nil
	}
	parsed, ok := store.ParseID(id)
	if !ok || len(l.claim.Email) > field.MaxEmailBytes || len(l.signature) > sign.MaxSignature || len(stamp) > sign.MaxSignature {
		return l, refusal.New(refusal.CodeSignatureInvalid)
	}
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || unix < 0 || unix > 1<<40 {
		return l, refusal.New(refusal.CodeSignatureInvalid)
	}
	l.claim.User, l.claim.Time = parsed, time.Unix(unix, 0)
	return l, nil
}

// checkLink returns the account that a link acts on, or refuses. An unknown
// account, one that an administrator has disabled and one whose address is
// somebody else's by now look like a bad signature.
func (a *Accounts) checkLink(tx store.Tx, l link, period time.Duration) (*store.User, error) {
	u, _, err := a.checkLinkTo(tx, l, period)
	return u, err
}

// checkLinkTo is checkLink that says which further address of the account the link was
// mailed to; "": none.
func (a *Accounts) checkLinkTo(tx store.Tx, l link, period time.Duration) (u *store.User, to string, err error) {
	u, err = tx.User(l.claim.User)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", refusal.New(refusal.CodeSignatureInvalid)
	}
	if err != nil {
		return nil, "", err
	}
	claim := l.claim
	err = a.verifyLink(claim, claim.Email, l.signature, u, period)
	if err != nil && (claim.Purpose == sign.PurposeResetPassword || claim.Purpose == sign.PurposeSetPassword) {
		for _, email := range u.FurtherEmails {
			if other := a.verifyLink(claim, email, l.signature, u, period); other == nil || errors.Is(other, sign.ErrExpired) {
				to, err = email, other
				break
			}
		}
	}
	u, err = a.linkActsOn(tx, u, claim, err)
	return u, to, err
}

// verifyLink compares a signature with that of a link which was mailed to an address of u.
func (a *Accounts) verifyLink(claim sign.Claim, to, signature string, u *store.User, period time.Duration) error {
	claim.State = a.State(claim.Purpose, u, to)
	if claim.State == nil { // nothing that a link could stand for
		return refusal.New(refusal.CodeSignatureInvalid)
	}
	err := a.Signer.Verify(claim, signature, a.Now(), period)
	if err != nil && !errors.Is(err, sign.ErrExpired) {
		// One that was mailed before one_time_use was turned off is good once.
		claim.State = a.linkState(claim.Purpose, u, to, true)
		err = a.Signer.Verify(claim, signature, a.Now(), period)
	}
	return err
}

// linkActsOn returns the account of a link whose signature was verified with err, or refuses.
func (a *Accounts) linkActsOn(tx store.Tx, u *store.User, claim sign.Claim, err error) (*store.User, error) {
	switch {
	case errors.Is(err, sign.ErrExpired):
		return nil, refusal.New(refusal.CodeSignatureExpired)
	case err != nil, !Usable(u) && claim.Purpose != sign.PurposeUndoEmail:
		return nil, refusal.New(refusal.CodeSignatureInvalid)
	}
	if claim.Purpose == sign.PurposeEndSignIn {
		if live, d, err := a.leftOf(tx, u, claim.Email); err != nil || len(live) == 0 && d == nil {
			return nil, cmp.Or(err, error(refusal.New(refusal.CodeSignatureInvalid)))
		}
	}
	if claim.Purpose == sign.PurposeRegister || claim.Purpose == sign.PurposeResetPassword || claim.Purpose == sign.PurposeSetPassword {
		switch ok, err := a.confirmable(tx, u); {
		case err != nil:
			return nil, err
		case !ok:
			return nil, refusal.New(refusal.CodeSignatureInvalid)
		}
	}
	return u, nil
}

// LinkOwner returns the account that a mailed link would act on, or refuses as
// the act would. It changes nothing.
func (a *Accounts) LinkOwner(ctx context.Context, in field.Input, purpose sign.Purpose) (*store.User, error) {
	var errs refusal.FieldErrors
	l, err := readLink(in, purpose, &errs)
	if err = errors.Join(errs.Err(), err); err != nil {
		return nil, StoreError(err)
	}
	period := a.Policy.Register.VerificationPeriod
	switch purpose { //nolint:exhaustive // the other purposes have no link
	case sign.PurposeResetPassword, sign.PurposeSetPassword:
		period = a.Policy.ResetPassword.VerificationPeriod
	case sign.PurposeRegisterEmail:
		period = a.Policy.RegisterEmail.VerificationPeriod
	case sign.PurposeUndoEmail, sign.PurposeUndoFactor, sign.PurposeEndSignIn:
		period = UndoPeriod
	}
	var u *store.User
	err = a.View(ctx, func(tx store.Tx) (err error) {
		u, err = a.checkLink(tx, l, period)
		return err
	})
	return u, err
}

// maxUsedLinks is how many of its used links an account remembers, and of its challenges.
const maxUsedLinks = 4

// hashOf is what is kept of a used link.
func hashOf(l link) store.LinkHash {
	sum := sha256.Sum256([]byte(string(l.claim.Purpose) + "\x00" + l.signature))
	return store.LinkHash(sum[:len(store.LinkHash{})])
}

// useLink is part of every act by a mailed link but the confirmation of an account:
// that is told by its state, so that an account that has done nothing else takes no
// more room. The caller writes u.
func useLink(u *store.User, l link) { remember(u, hashOf(l)) }

// spentTag begins what is kept of a challenge among the used links of an account, so that
// sign-ins don't push out the links, of which people are told what they have done.
const spentTag = "spnt"

// spentMark is what is kept of a challenge that has let somebody in: it does so once,
// however many right answers come to it.
func spentMark(token string) (mark store.LinkHash) {
	sum := sha256.Sum256([]byte("challenge\x00" + token))
	copy(mark[copy(mark[:], spentTag):], sum[:])
	return mark
}

// remember keeps a hash with the last ones of its kind, of links or of challenges. The
// caller writes u.
func remember(u *store.User, hash store.LinkHash) {
	spent := func(h store.LinkHash) bool { return string(h[:len(spentTag)]) == spentTag }
	n := 1
	kept := slices.DeleteFunc(slices.Clone(u.UsedLinks), func(h store.LinkHash) bool {
		if spent(h) != spent(hash) {
			return false
		}
		n++
		return n > maxUsedLinks
	})
	u.UsedLinks = append([]store.LinkHash{hash}, kept...)
}

// UsedLink returns the account on which a mailed link has acted already, or
// ErrNotFound in store: the link was never good, is good still, or has ended some
// other way. Only who has the link is told. It changes nothing.
func (a *Accounts) UsedLink(ctx context.Context, in field.Input, purpose sign.Purpose) (*store.User, error) {
	var errs refusal.FieldErrors
	l, err := readLink(in, purpose, &errs)
	if err != nil || len(errs) > 0 {
		return nil, store.ErrNotFound
	}
	var u *store.User
	err = a.Store.View(ctx, func(tx store.Tx) (err error) {
		u, err = tx.User(l.claim.User)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, err
	case err != nil:
		return nil, StoreError(err)
	case !u.IsActive && !u.AwaitsApproval && purpose != sign.PurposeUndoEmail:
		return nil, store.ErrNotFound
	case purpose == sign.PurposeRegister && a.confirmedBy(u, l), purpose == sign.PurposeEndSignIn && a.signedForSignIn(u, l), slices.Contains(u.UsedLinks, hashOf(l)):
		return u, nil
	}
	return nil, store.ErrNotFound
}

// maxGenerations bounds the generations in which a link that confirmed an account is
// looked for.
const maxGenerations = 32

// confirmedBy reports whether a link was one by which an account could be confirmed
// while it waited: the account may have another address and generation since.
func (a *Accounts) confirmedBy(u *store.User, l link) bool {
	then := *u
	then.AwaitsVerification = true
	emails := []string{u.Email}
	for _, f := range u.Former {
		emails = append(emails, f.Email)
	}
	for _, then.Email = range emails {
		for back := range min(u.Generation, maxGenerations) + 1 {
			then.Generation = u.Generation - back
			claim := l.claim
			claim.State = a.linkState(sign.PurposeRegister, &then, then.Email, true)
			if err := a.Signer.Verify(claim, l.signature, a.Now(), a.Policy.Register.VerificationPeriod); err == nil || errors.Is(err, sign.ErrExpired) {
				return true
			}
		}
	}
	return false
}

// ErrNoLink says that a link would lead nowhere.
var ErrNoLink = errors.New("no link can be made, for there is no page that it would lead to; write base_url")

// ResetLink makes a link by which a person sets a new password, once. It ends with
// its use, with another password and after ResetPassword.VerificationPeriod.
func (a *Accounts) ResetLink(ctx context.Context, u *store.User) (string, error) {
	purpose, err := a.newPasswordBy(u)
	if err != nil {
		return "", err
	}
	if err := a.Update(ctx, func(t *Txn) error { return errors.Join(a.asAdmin(t), t.Audit(audit.LinkCreated, u.ID)) }); err != nil {
		return "", err
	}
	claim := sign.Claim{Purpose: purpose, User: u.ID, Time: a.Now(), State: a.linkState(purpose, u, "", true)}
	return sign.LinkURL(a.Links[purpose], claim, a.Signer.Sign(claim), "")
}

// MailResetLink mails such a link to the address of the account.
func (a *Accounts) MailResetLink(ctx context.Context, u *store.User) error {
	purpose, err := a.newPasswordBy(u)
	switch {
	case err != nil:
		return err
	case !a.Policy.SendsMail:
		return errors.New("no mail is sent here, for there is no mailer; hand out the link instead")
	case u.Email == "" || u.EmailPending:
		return fmt.Errorf("the account %s has no e-mail address to send a link to; give it one, or hand out the link", u.Username)
	}
	kind := store.MailSetPassword
	if purpose == sign.PurposeResetPassword {
		kind = store.MailResetByOwner
	}
	return a.Update(ctx, func(t *Txn) error {
		// Read again: the mail goes to the address that the account has now.
		u, err := t.User(u.ID)
		if err != nil {
			return userNotFound(err)
		}
		m := &store.Mail{Kind: kind, To: u.Email, User: u.ID, Language: languageOf(u)}
		m.State = a.mailState(m, u)
		_, err = a.mailByOwner(t, m)
		return errors.Join(err, a.asAdmin(t), t.Audit(audit.LinkCreated, u.ID, "mailed", "yes"))
	})
}

// MailConfirmation mails the link once more by which an account is confirmed that waits for
// that, whose time counts anew then. Refused with CodeNoLink where it doesn't wait or no
// mail is sent, and with CodeEmailAlreadyRegistered where its address is somebody's by now.
func (a *Accounts) MailConfirmation(ctx context.Context, id uuid.UUID) error {
	return a.Update(ctx, func(t *Txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := a.asAdmin(t); err != nil {
			return err
		}
		if !a.CanMailConfirmation(u) {
			return refusal.New(refusal.CodeNoLink)
		}
		if err := a.ownerConfirms(t, u); err != nil {
			return err
		}
		m := &store.Mail{Kind: store.MailVerifyRegistration, To: u.Email, User: u.ID, Waiting: u.ID, Language: languageOf(u)}
		m.State = a.mailState(m, u)
		_, err = a.mailByOwner(t, m)
		return errors.Join(err, t.Audit(audit.LinkCreated, u.ID, "mailed", "yes"))
	})
}

// CanMailConfirmation reports whether an account waits for its confirmation, by a mail.
func (a *Accounts) CanMailConfirmation(u *store.User) bool {
	return u.AwaitsVerification && u.Email != "" && a.Policy.ConfirmsByMail()
}

// newPasswordBy is the purpose of a link by which u sets a password, if one can be made.
func (a *Accounts) newPasswordBy(u *store.User) (sign.Purpose, error) {
	purpose := sign.PurposeSetPassword
	if a.Policy.ResetPassword.Enabled {
		purpose = sign.PurposeResetPassword
	}
	switch {
	case a.Links[purpose] == "":
		return "", ErrNoLink
	case !u.IsActive:
		first := "enable"
		if u.AwaitsApproval {
			first = "approve"
		}
		return "", fmt.Errorf("the account %s may not sign in; %s it first", u.Username, first)
	}
	return purpose, nil
}
