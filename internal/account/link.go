// link.go: whose a mailed link is, before its act: the page behind it
// says at once that a link no longer works.

package account

import (
	"context"
	"errors"

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
	case sign.PurposeUndoEmail:
		period = UndoPeriod
	}
	var u *store.User
	err = a.View(ctx, func(tx store.Tx) (err error) {
		u, err = a.checkLink(tx, l, period)
		return err
	})
	return u, err
}
