// account_waiting.go: the accounts that wait for their confirmation. Such a one
// owns its username, for a while; its address is anybody's until somebody shows
// that he reads it. What is never confirmed is removed.

package registration

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

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

// confirm makes an account its owner's, who has shown that he reads its mail.
func (u *User) confirm() {
	u.EmailVerified = true
	if u.AwaitsVerification {
		u.IsActive = true
	}
	u.ownsEmail()
}

// ownsEmail ends the waiting: from now on the address is the account's own.
func (u *User) ownsEmail() {
	u.AwaitsVerification, u.EmailPending = false, false
	u.WaitingFrom, u.WaitingSince = time.Time{}, time.Time{}
}

// heldBack reports whether what an account has in a field is not its own yet: the
// address that it waits to confirm, wherever it stands.
func (u *User) heldBack(f *field) bool {
	if !u.EmailPending {
		return false
	}
	if f.name == fieldEmail {
		return true
	}
	text := textOf(f.get(u))
	return meansAddress(text) && emailKey(strings.TrimSpace(text)) == emailKey(u.Email)
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
	u.ownsEmail()
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

// Bounds of the rounds in which those are removed whose time is over.
const (
	purgeChunk      = 256
	maxPurgeEvery   = sweepInterval
	minPurgeEvery   = time.Second
	purgesALifetime = 10
)

// purgeEvery is how often a round is made: short lifetimes need shorter ones.
func purgeEvery(lifetime time.Duration) time.Duration {
	return min(max(lifetime/purgesALifetime, minPurgeEvery), maxPurgeEvery)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// purge removes the accounts that were never confirmed within the lifetime of
// their last mail, with their usernames and all else, and returns how many. It
// reads none that is not to be changed.
func (e *engine) purge(ctx context.Context, p *postman) (total int, err error) {
	if p.unconfirmed <= 0 {
		return 0, nil
	}
	always := time.Unix(1<<40, 0)
	some := false
	if err := e.store.View(ctx, func(tx Tx) error {
		first, err := tx.WaitingSince(time.Time{}, always, 1)
		some = len(first) > 0
		return err
	}); err != nil || !some {
		return 0, err
	}
	for {
		var removed []uuid.UUID
		more := false
		err := e.store.Update(ctx, func(tx Tx) (err error) {
			removed, more = nil, false
			now, err := e.lookAtClock(tx, p)
			if err != nil {
				return err
			}
			over, err := tx.WaitingSince(time.Time{}, now.Add(time.Second-p.unconfirmed), purgeChunk)
			if err != nil {
				return err
			}
			for _, u := range over {
				if purgeable(u) {
					removed = append(removed, u.ID)
					err = tx.DeleteUser(u.ID)
				} else { // it may wait once more
					err = e.waitsSince(tx, u, now)
				}
				if err != nil {
					return err
				}
			}
			// Who began to wait in the future did so while a clock was ahead.
			ahead, err := tx.WaitingSince(now.Add(time.Second), always, purgeChunk)
			if err != nil {
				return err
			}
			for _, u := range ahead {
				if err := e.waitsSince(tx, u, now); err != nil {
					return err
				}
			}
			more = len(over) == purgeChunk || len(ahead) == purgeChunk
			return nil
		})
		if err != nil {
			return total, err
		}
		e.sessions.forget(removed, nil)
		total += len(removed)
		if !more {
			return total, nil
		}
	}
}

// purgeable reports whether an account whose time is over is one that a sign-up
// left waiting and that never signed in, and nothing else.
func purgeable(u *User) bool {
	return u.AwaitsVerification && !u.IsActive && !u.EmailVerified && u.LastLogin.IsZero() && !u.WaitingSince.IsZero()
}

// lookAtClock lets the clock of those who wait go on, and reads it.
func (e *engine) lookAtClock(tx Tx, p *postman) (time.Time, error) {
	clock, err := waitingClock(tx)
	if err != nil {
		return time.Time{}, err
	}
	now := p.now()
	err = look(tx, &clock, now, 2*purgeEvery(p.unconfirmed))
	return clock.At(now), err
}

// waitsSince counts an account's time from a moment of the clock on.
func (e *engine) waitsSince(tx Tx, u *User, since time.Time) error {
	u.WaitingSince = since
	if u.WaitingFrom.IsZero() || u.WaitingFrom.After(since) {
		u.WaitingFrom = since
	}
	return tx.PutUser(u, e.uniques.keysOf(u))
}

// mailDone is told of every mail that leaves the queue, in the transaction in
// which it does: the time of the account that it was for is counted from when it
// was asked for, three lifetimes at most in all.
func (e *engine) mailDone(tx Tx, m *Mail) error {
	p := e.postman()
	if m.Waiting == uuid.Nil || p == nil {
		return nil
	}
	u, err := tx.User(m.Waiting)
	if errors.Is(err, ErrNotFound) || err == nil && !u.AwaitsVerification {
		return nil
	}
	if err != nil {
		return err
	}
	clock, err := waitingClock(tx)
	if err != nil {
		return err
	}
	since := earlier(clock.At(m.Queued), clock.At(p.now())) // it was asked for while a clock was ahead
	since = earlier(since, u.WaitingFrom.Add((waitingLifetimes-1)*p.unconfirmed))
	if u.WaitingFrom.IsZero() || !since.After(u.WaitingSince) {
		return nil
	}
	return e.waitsSince(tx, u, since)
}

// purgeNow is one round with its log lines.
func (e *engine) purgeNow(ctx context.Context, p *postman) {
	removed, err := e.purge(ctx, p)
	if err != nil && ctx.Err() == nil {
		p.logger.Error("accounts that were never confirmed could not be removed", zap.Error(err))
	}
	if removed > 0 {
		p.logger.Info("accounts that were never confirmed removed", zap.Int("count", removed))
	}
}
