// link.go: whose a mailed link is, before its act: the page behind it
// says at once that a link no longer works.

package account

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

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
	case sign.PurposeUndoEmail, sign.PurposeUndoFactor:
		period = UndoPeriod
	}
	var u *store.User
	err = a.View(ctx, func(tx store.Tx) (err error) {
		u, err = a.checkLink(tx, l, period)
		return err
	})
	return u, err
}

// maxUsedLinks is how many of its used links an account remembers.
const maxUsedLinks = 4

// hashOf is what is kept of a used link.
func hashOf(l link) store.LinkHash {
	sum := sha256.Sum256([]byte(string(l.claim.Purpose) + "\x00" + l.signature))
	return store.LinkHash(sum[:len(store.LinkHash{})])
}

// useLink is part of every act by a mailed link but the confirmation of an account:
// that is told by its state, so that an account that has done nothing else takes no
// more room. The caller writes u.
func useLink(u *store.User, l link) {
	u.UsedLinks = append([]store.LinkHash{hashOf(l)}, u.UsedLinks[:min(len(u.UsedLinks), maxUsedLinks-1)]...)
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
	case purpose == sign.PurposeRegister && a.confirmedBy(u, l), slices.Contains(u.UsedLinks, hashOf(l)):
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
