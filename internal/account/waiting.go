// waiting.go: the accounts that wait for their confirmation. Such a one
// owns its username, for a while; its address is anybody's until somebody shows
// that he reads it. What is never confirmed is removed, with its time. And what the
// outbox says of an account's mail: that nobody reads it, or that its time counts anew.

package account

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/steady"
	"github.com/seed-928992b0/caddy-registration/store"
)

// waitingClockValue is the name of the store's value that keeps the clock by
// which accounts wait. It counts the time in which the sweep goes its rounds: a
// wall clock that is ahead for a moment must not end what can't be brought back.
const waitingClockValue = "waiting_clock"

// waitingLifetimes is how many lifetimes an account waits at most, however often
// it asks for its mail.
const waitingLifetimes = 3

func waitingClock(tx store.Tx) (steady.Clock, error) {
	var clock steady.Clock
	raw, err := tx.Value(waitingClockValue)
	if errors.Is(err, store.ErrNotFound) {
		return clock, nil
	}
	if err != nil {
		return clock, err
	}
	return clock, clock.UnmarshalBinary(raw)
}

// ClockSeen is the latest time that this store is known to have seen: of the last look
// at the clock by which accounts wait, and of the newest row of the audit. A clock that
// says less has been set back, or was ahead.
func (a *Accounts) ClockSeen(ctx context.Context) (seen time.Time, err error) {
	err = a.Store.View(ctx, func(tx store.Tx) error {
		clock, err := waitingClock(tx)
		if err != nil {
			return err
		}
		seen = clock.Last()
		page, err := tx.Audits(store.AuditQuery{Newest: true, Limit: 1})
		for _, row := range page.Rows {
			if row.At.After(seen) {
				seen = row.At
			}
		}
		return err
	})
	return seen, err
}

// Waits makes a new account wait from now on.
func (a *Accounts) Waits(tx store.Tx, u *store.User) error {
	clock, err := waitingClock(tx)
	if err != nil {
		return err
	}
	if clock == (steady.Clock{}) { // the first of all: else the first round would begin it, at whatever time
		if err := look(tx, &clock, a.Now(), 0); err != nil {
			return err
		}
	}
	u.WaitingFrom = clock.At(a.Time())
	u.WaitingSince = u.WaitingFrom
	return nil
}

// lookAgain lets the clock of those who wait go on by what has passed since the last look, at
// most step, and reads it.
func lookAgain(tx store.Tx, now time.Time, step time.Duration) (time.Time, error) {
	clock, err := waitingClock(tx)
	if err != nil {
		return time.Time{}, err
	}
	err = look(tx, &clock, now, step)
	return clock.At(now), err
}

// look counts the time since the last look at the clock, at most step.
func look(tx store.Tx, clock *steady.Clock, now time.Time, step time.Duration) error {
	clock.Look(now, step)
	raw, err := clock.MarshalBinary()
	if err != nil {
		return err
	}
	return tx.PutValue(waitingClockValue, raw)
}

// confirmAccount makes an account its owner's, who has shown that he reads its mail.
func confirmAccount(u *store.User) {
	u.EmailVerified = true
	if u.AwaitsVerification {
		u.IsActive = !u.AwaitsApproval
	}
	giveEmail(u)
}

// endConfirmation is confirmAccount for an account that waits for that, with what hangs
// on it. Who may sign up can have changed since its sign-up, and nothing was granted
// yet: its address has to be of a domain that is let in today, and where the owner
// approves by now, it waits for that. Who came by an invitation has the owner's word.
func (a *Accounts) endConfirmation(t *Txn, u *store.User) error {
	invited := u.Invitation != uuid.Nil
	if !a.Policy.AdmitsAddress(u.Email, invited) {
		return refusal.New(refusal.CodeDomainNotAllowed)
	}
	u.AwaitsApproval = u.AwaitsApproval || !invited && a.Policy.Register.Mode == ModeApprove
	confirmAccount(u)
	return a.announce(t, u)
}

// giveEmail ends the waiting: from now on the address is the account's own.
func giveEmail(u *store.User) {
	u.AwaitsVerification, u.EmailPending = false, false
	u.WaitingFrom, u.WaitingSince = time.Time{}, time.Time{}
	u.Invitation = uuid.Nil
}

// confirmable reports whether an account that waits can still have its address:
// the first to confirm has it.
func (a *Accounts) confirmable(tx store.Tx, u *store.User) (bool, error) {
	if !u.EmailPending {
		return true, nil
	}
	holder, err := a.addressHolder(tx, u.Email)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return err == nil && holder.ID == u.ID, err
}

// ownerConfirms refuses, for an owner, an account that can't have its address any more.
func (a *Accounts) ownerConfirms(tx store.Tx, u *store.User) error {
	if ok, err := a.confirmable(tx, u); err != nil || ok {
		return err
	}
	holder, err := a.addressHolder(tx, u.Email)
	if err != nil {
		return err
	}
	return a.ownersRefusal(tx, u.Email, holder)
}

// endWaiting is an administrator's word on an account: one that he enables owns
// its address, if it still can, one that he disables is kept, without it.
func (a *Accounts) endWaiting(tx store.Tx, u *store.User) error {
	if u.IsActive {
		if err := a.ownerConfirms(tx, u); err != nil {
			return err
		}
	}
	pending := u.EmailPending && !u.IsActive
	giveEmail(u)
	u.EmailPending, u.AwaitsApproval, u.Reason = pending, false, ""
	return nil
}

// mailWaiting queues the mail by which u can be confirmed or, where its address is
// somebody's by now, the notice to him. holder is the address's, nil: nobody's.
func (a *Accounts) mailWaiting(t *Txn, kind store.MailKind, u, holder *store.User, n notice, client Client) error {
	if holder != nil && holder.ID != u.ID {
		return a.tellHolder(t, holder, u.Email, n, client)
	}
	return a.queueMail(t, kind, u, u.Email, client)
}

// askedThrottle is the throttle that bounds how often a link is asked for: it counts
// what was typed, and an account has more names than one.
func askedThrottle(kind store.MailKind) string {
	if kind == store.MailResetPassword {
		return ThrottleReset
	}
	return ThrottleEmail
}

// sendLink queues the mail with a link that an input asked for, or does the same
// work where there is none to send: m says whom the input names, wanted which of
// them get one. Whatever is queued counts the time of one account anew, once the
// outbox has dealt with it: a write here would tell by its time who waits.
func (a *Accounts) sendLink(ctx context.Context, kind store.MailKind, m match, wanted func(*store.User) bool, typed string, client Client) error {
	id, email := uuid.Nil, typed
	if u := m.either(); u != nil {
		id = u.ID
		if u.Email != "" {
			email = reachedAt(u, typed)
		}
	}
	n := a.Notice(store.MailEmailInUse, email)
	// Outside of the transaction, which is the same whomever a link is for.
	asked := m.either()
	if asked != nil && (asked.Email == "" || !wanted(asked)) {
		asked = nil
	}
	a.failed(ctx, audit.LinkRequested, asked, "purpose", string(Purposes[kind]))
	err := a.Update(ctx, func(t *Txn) error {
		t.waiting, t.postage.asked = m.counted(), askedThrottle(kind)
		if err := t.expects(kind, m.either(), email, n, client); err != nil {
			return err
		}
		u, err := t.BriefUser(id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		holder, holderErr := a.addressHolder(t, email) // in any case: its time must not tell
		if holderErr != nil && !errors.Is(holderErr, store.ErrNotFound) {
			return holderErr
		}
		switch {
		case err != nil, u.Email == "", !wanted(u):
			return a.decoyMail(t, typed, client)
		case u.EmailPending:
			return a.mailWaiting(t, kind, u, holder, n, client)
		}
		return a.queueMail(t, kind, u, reachedAt(u, typed), client)
	})
	if err != nil {
		n.Failed()
	}
	return err
}

// Usable reports whether an account can do something yet, or will once it is
// confirmed or approved, or its owner stays. One that an administrator has disabled is not.
func Usable(u *store.User) bool { return letsBegin(u) || u.AwaitsVerification || u.AwaitsApproval }

// whyNot is the refusal of a sign-in with the right password to an account that
// may not sign in. Why is told to who knows the name: an address that told would
// tell who has an account. Who waits for approval and has confirmed his address is told by
// that, too: nobody else has it.
func whyNot(u *store.User, byName bool) error {
	switch {
	case u.AwaitsApproval && !u.AwaitsVerification && u.EmailVerified && !u.EmailPending:
		return refusal.New(refusal.CodeApprovalPending)
	case !byName:
		return refusal.New(refusal.CodeLoginInvalid)
	case u.AwaitsVerification:
		return refusal.New(refusal.CodeNotVerified)
	case u.AwaitsApproval:
		return refusal.New(refusal.CodeApprovalPending)
	}
	return refusal.New(refusal.CodeDisabled)
}

// Bounds of the rounds in which those are removed whose time is over.
const (
	purgeChunk      = 256
	MaxPurgeEvery   = 10 * time.Minute
	minPurgeEvery   = time.Second
	purgesALifetime = 10
)

// PurgeEvery is how often a round is made: short lifetimes need shorter ones.
func PurgeEvery(lifetime time.Duration) time.Duration {
	return min(max(lifetime/purgesALifetime, minPurgeEvery), MaxPurgeEvery)
}

// Earlier is the first of two times; a where they are the same.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// A Purger counts the time of the accounts of a store that wait, and removes those
// whose time is over.
type Purger struct {
	store    store.Store
	keyIndex *field.KeyIndex
	// working is whose configuration works; it returns nil where none does.
	working func() *outbox.Courier
}

// NewPurger returns the purger of a store.
func NewPurger(store store.Store, keyIndex *field.KeyIndex, working func() *outbox.Courier) *Purger {
	return &Purger{store, keyIndex, working}
}

// Purge removes the accounts that were never confirmed within the lifetime of
// their last mail, with their usernames and all else, and returns how many. It
// reads none that is not to be changed.
func (e *Purger) Purge(ctx context.Context, p *outbox.Courier) (total int, err error) {
	if p.Unconfirmed <= 0 {
		return 0, nil
	}
	always := time.Unix(1<<40, 0)
	some := false
	if err := e.store.View(ctx, func(tx store.Tx) error {
		first, err := tx.WaitingSince(time.Time{}, always, 1)
		some = len(first) > 0
		return err
	}); err != nil || !some {
		return 0, err
	}
	for {
		var removed []uuid.UUID
		var rows []store.Audit
		var names audit.Names
		more := false
		err := e.store.Update(ctx, func(tx store.Tx) (err error) {
			removed, more = nil, false
			rows = nil
			now, err := e.lookAtClock(tx, p)
			if err != nil {
				return err
			}
			over, err := tx.WaitingSince(time.Time{}, now.Add(time.Second-p.Unconfirmed), purgeChunk)
			if err != nil {
				return err
			}
			for _, u := range over {
				if purgeable(u) {
					removed = append(removed, u.ID)
					row := p.Journal.Row(audit.Caller{Actor: audit.ActorSystem}, audit.AccountDeleted, u.ID, "reason", "unconfirmed")
					rows = append(rows, row)
					p.Journal.Name(tx, &names, audit.AccountDeleted, u.ID)
					err = errors.Join(giveBack(tx, u), tx.DeleteUser(u.ID), p.Journal.Write(tx, &row))
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
		p.Journal.TellOf(names, rows...)
		total += len(removed)
		if !more {
			return total, nil
		}
	}
}

// purgeable reports whether an account whose time is over is one that a sign-up
// left waiting and that never signed in, and nothing else.
func purgeable(u *store.User) bool {
	return u.AwaitsVerification && !u.IsActive && !u.EmailVerified && u.LastLogin.IsZero() && !u.WaitingSince.IsZero()
}

// lookAtClock lets the clock of those who wait go on, and reads it.
func (e *Purger) lookAtClock(tx store.Tx, p *outbox.Courier) (time.Time, error) {
	return lookAgain(tx, p.Now(), 2*PurgeEvery(p.Unconfirmed))
}

// waitsSince counts an account's time from a moment of the clock on.
func (e *Purger) waitsSince(tx store.Tx, u *store.User, since time.Time) error {
	u.WaitingSince = since
	if u.WaitingFrom.IsZero() || u.WaitingFrom.After(since) {
		u.WaitingFrom = since
	}
	return tx.PutUser(u, e.keyIndex.KeysOf(u))
}

// MailDone is told of every mail that leaves the queue, in the transaction in which
// it does. What its server says of the recipient's address stays with the account.
func (e *Purger) MailDone(tx store.Tx, m *store.Mail, end outbox.End) error {
	if m.Kind == store.MailSignUps {
		return e.announced(tx, m)
	}
	if err := e.mark(tx, m, end); err != nil {
		return err
	}
	return e.countAnew(tx, m)
}

// maxServerWords bounds what is kept of a server's words, in bytes.
const maxServerWords = 300

// mark keeps, or forgets, that nobody reads mail at the address of an account.
func (e *Purger) mark(tx store.Tx, m *store.Mail, end outbox.End) error {
	p := e.working()
	if p == nil || m.User == uuid.Nil || !end.Delivered && end.Unreachable == "" {
		return nil
	}
	u, err := tx.User(m.User)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	marked := field.EmailKey(u.Unreachable.Email) == field.EmailKey(m.To)
	switch {
	case end.Delivered && !marked, !end.Delivered && !sameEmail(u.Email, m.To) && !IsFurther(u, m.To):
		return nil
	case !end.Delivered && u.Unreachable.Email != "" && sameEmail(u.Unreachable.Email, u.Email) && !sameEmail(u.Email, m.To):
		return nil // what is known of the first one says more
	case end.Delivered:
		u.Unreachable = store.Unreachable{}
	default:
		words := strings.ToValidUTF8(end.Unreachable[:min(len(end.Unreachable), maxServerWords)], "")
		u.Unreachable = store.Unreachable{Email: m.To, Words: words, Since: p.Now().UTC().Truncate(time.Second)}
	}
	return tx.PutUser(u, e.keyIndex.KeysOf(u))
}

// countAnew counts the time of the account that a mail was for from when the mail
// was asked for, three lifetimes at most in all.
func (e *Purger) countAnew(tx store.Tx, m *store.Mail) error {
	p := e.working()
	if m.Waiting == uuid.Nil || p == nil {
		return nil
	}
	u, err := tx.User(m.Waiting)
	if errors.Is(err, store.ErrNotFound) || err == nil && !u.AwaitsVerification {
		return nil
	}
	if err != nil {
		return err
	}
	clock, err := waitingClock(tx)
	if err != nil {
		return err
	}
	since := Earlier(clock.At(m.Queued), clock.At(p.Now())) // it was asked for while a clock was ahead
	since = Earlier(since, u.WaitingFrom.Add((waitingLifetimes-1)*p.Unconfirmed))
	if u.WaitingFrom.IsZero() || !since.After(u.WaitingSince) {
		return nil
	}
	return e.waitsSince(tx, u, since)
}

// PurgeNow is one round with its log lines.
func (e *Purger) PurgeNow(ctx context.Context, p *outbox.Courier) {
	removed, err := e.Purge(ctx, p)
	if err != nil && ctx.Err() == nil {
		p.Logger.Error("accounts that were never confirmed could not be removed", zap.Error(err))
	}
	if removed > 0 {
		p.Logger.Info("accounts that were never confirmed removed", zap.Int("count", removed))
	}
}
