// account_link.go: whose a mailed link is, before its act: the page behind it
// says at once that a link no longer works.

package registration

import (
	"context"
	"errors"
)

// LinkOwner returns the account that a mailed link would act on, or refuses as
// the act would. It changes nothing.
func (a *Accounts) LinkOwner(ctx context.Context, in Input, purpose Purpose) (*User, error) {
	var errs fieldErrors
	l, err := readLink(in, purpose, &errs)
	if err = errors.Join(errs.err(), err); err != nil {
		return nil, storeError(err)
	}
	period := a.policy.Register.VerificationPeriod
	switch purpose { //nolint:exhaustive // the other purposes have no link
	case PurposeResetPassword:
		period = a.policy.ResetPassword.VerificationPeriod
	case PurposeRegisterEmail:
		period = a.policy.RegisterEmail.VerificationPeriod
	case PurposeUndoEmail:
		period = undoPeriod
	}
	var u *User
	err = a.view(ctx, func(tx Tx) (err error) {
		u, err = a.checkLink(tx, l, period)
		return err
	})
	return u, err
}
