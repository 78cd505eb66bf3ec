// account_waiting.go: the accounts that wait for their confirmation. Such a one
// owns its username, for a while; its address is anybody's until somebody shows
// that he reads it. What is never confirmed is removed.

package registration

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/steady"
)

// waitingClockValue is the name of the store's value that keeps the clock by
// which accounts wait. It counts the time in which the sweep goes its rounds: a
// wall clock that is ahead for a moment must not end what can't be brought back.
const waitingClockValue = "waiting_clock"

// waitingLifetimes is how many lifetimes an account waits at most, however often
// it asks for its mail.
const waitingLifetimes = 3

func waitingClock(tx Tx) (steady.Clock, error) {
	var clock steady.Clock
	raw, err := tx.Value(waitingClockValue)
	if errors.Is(err, ErrNotFound) {
		return clock, nil
	}
	if err != nil {
		return clock, err
	}
	return clock, clock.UnmarshalBinary(raw)
}

// waits makes a new account wait from now on.
func (a *Accounts) waits(tx Tx, u *User) error {
	clock, err := waitingClock(tx)
	if err != nil {
		return err
	}
	if clock == (steady.Clock{}) { // the first of all: else the first round would begin it, at whatever time
		if err := look(tx, &clock, a.now(), 0); err != nil {
			return err
		}
	}
	u.WaitingFrom = clock.At(a.time())
	u.WaitingSince = u.WaitingFrom
	return nil
}

// look counts the time since the last look at the clock, at most step.
func look(tx Tx, clock *steady.Clock, now time.Time, step time.Duration) error {
	clock.Look(now, step)
	raw, err := clock.MarshalBinary()
	if err != nil {
		return err
	}
	return tx.PutValue(waitingClockValue, raw)
}

// confirmAccount makes an account its owner's, who has shown that he reads its mail.
func confirmAccount(u *User) {
	u.EmailVerified = true
	if u.AwaitsVerification {
		u.IsActive = true
	}
	giveEmail(u)
}

// giveEmail ends the waiting: from now on the address is the account's own.
func giveEmail(u *User) {
	u.AwaitsVerification, u.EmailPending = false, false
	u.WaitingFrom, u.WaitingSince = time.Time{}, time.Time{}
}

// confirmable reports whether an account that waits can still have its address:
// the first to confirm has it.
func (a *Accounts) confirmable(tx Tx, u *User) (bool, error) {
	if !u.EmailPending {
		return true, nil
	}
	holder, err := a.addressHolder(tx, u.Email)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return err == nil && holder.ID == u.ID, err
}

// endWaiting is an administrator's word on an account: one that he enables owns
// its address, if it still can, one that he disables is kept, without it.
func (a *Accounts) endWaiting(tx Tx, u *User) error {
	if u.IsActive {
		switch ok, err := a.confirmable(tx, u); {
		case err != nil:
			return err
		case !ok:
			return refuse(CodeEmailAlreadyRegistered)
		}
	}
	pending := u.EmailPending && !u.IsActive
	giveEmail(u)
	u.EmailPending = pending
	return nil
}

// mailWaiting queues the mail by which u can be confirmed or, where its address is
// somebody's by now, the notice to him. holder is the address's, nil: nobody's.
func (a *Accounts) mailWaiting(t *txn, kind MailKind, u, holder *User, n notice, client Client) error {
	if holder != nil && holder.ID != u.ID {
		return a.tellHolder(t, holder, u.Email, n, client)
	}
	return a.queueMail(t, kind, u, u.Email, client)
}

// askedThrottle is the throttle that bounds how often a link is asked for: it counts
// what was typed, and an account has more names than one.
func askedThrottle(kind MailKind) string {
	if kind == MailResetPassword {
		return throttleReset
	}
	return throttleEmail
}

// sendLink queues the mail with a link that an input asked for, or does the same
// work where there is none to send: m says whom the input names, wanted which of
// them get one. Whatever is queued counts the time of one account anew, once the
// outbox has dealt with it: a write here would tell by its time who waits.
func (a *Accounts) sendLink(ctx context.Context, kind MailKind, m match, wanted func(*User) bool, typed string, client Client) error {
	id, email := uuid.Nil, typed
	if u := m.either(); u != nil {
		id = u.ID
		if u.Email != "" {
			email = u.Email
		}
	}
	n := a.notice(MailEmailInUse, email)
	err := a.update(ctx, func(t *txn) error {
		t.waiting, t.postage.asked = m.counted(), askedThrottle(kind)
		u, err := t.User(id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		holder, holderErr := a.addressHolder(t, email) // in any case: its time must not tell
		if holderErr != nil && !errors.Is(holderErr, ErrNotFound) {
			return holderErr
		}
		switch {
		case err != nil, u.Email == "", !wanted(u):
			return a.decoyMail(t, typed, client)
		case u.EmailPending:
			return a.mailWaiting(t, kind, u, holder, n, client)
		}
		return a.queueMail(t, kind, u, u.Email, client)
	})
	if err != nil {
		n.failed()
	}
	return err
}

// whyNot is the refusal of a sign-in with the right password to an account that
// may not sign in. Why is told to who knows the name: an address that told would
// tell who has an account.
func whyNot(u *User, byName bool) error {
	switch {
	case !byName:
		return refuse(CodeLoginInvalid)
	case u.AwaitsVerification:
		return refuse(CodeNotVerified)
	}
	return refuse(CodeDisabled)
}
