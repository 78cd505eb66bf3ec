// purge.go: what was never confirmed is removed, with its time.

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
	"github.com/seed-928992b0/caddy-registration/store"
)

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
		p.Journal.Tell(rows...)
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
	clock, err := waitingClock(tx)
	if err != nil {
		return time.Time{}, err
	}
	now := p.Now()
	err = look(tx, &clock, now, 2*PurgeEvery(p.Unconfirmed))
	return clock.At(now), err
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
	case end.Delivered && !marked, !end.Delivered && field.EmailKey(u.Email) != field.EmailKey(m.To):
		return nil
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
