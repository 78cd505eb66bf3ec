// left.go: a name that its account has left is nobody's for a while: an app
// behind the guard that knows people by their names would give its rights to the
// next who takes it.

package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// NameReserved is how long a left name is nobody's but its last holder's.
	NameReserved = 90 * 24 * time.Hour
	// MaxLeftNames bounds the names that an account keeps from others. One more
	// change is refused until the oldest is over: if that made room for it, a thief
	// would change the name until the owner's is free.
	MaxLeftNames = 8
)

// leftByAnother reports whether a name was another account's until a short while ago.
func (a *Accounts) leftByAnother(tx store.Tx, u *store.User) (bool, error) {
	if u.Username == "" {
		return false, nil
	}
	for _, hash := range a.NameKeys.NameHashes(field.UniqueKey(u.Username)) {
		switch left, err := tx.LeftName(hash); {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return false, err
		case left.User != u.ID && a.Now().Before(left.Until):
			return true, nil
		}
	}
	return false, nil
}

// claimName refuses a name that somebody else has left, as one that is taken.
func (a *Accounts) claimName(tx store.Tx, u *store.User) error {
	left, err := a.leftByAnother(tx, u)
	if err == nil && left {
		err = refusal.FieldErrors{{Field: field.Username, Code: refusal.CodeUnique}}.Err()
	}
	return err
}

// rename is part of a change of the username: the account keeps the old one from
// others.
func (a *Accounts) rename(t *Txn, u *store.User, old string) error {
	if old == "" || field.UniqueKey(old) == field.UniqueKey(u.Username) {
		return nil
	}
	now := a.Time()
	switch left, err := t.LeftName(a.NameKeys.NameHashes(field.UniqueKey(old))[0]); {
	case err == nil && left.User == u.ID && now.Before(left.Until):
		return a.leaveName(t, u, old) // it was left before and taken back
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	u.NamesLeft = slices.DeleteFunc(u.NamesLeft, func(at time.Time) bool { return !now.Before(at.Add(NameReserved)) })
	if len(u.NamesLeft) >= MaxLeftNames {
		wait := slices.MinFunc(u.NamesLeft, time.Time.Compare).Add(NameReserved).Sub(now)
		return &refusal.Error{Code: refusal.CodeThrottled, RetryAfter: wait, Params: text.Params{"seconds": refusal.Seconds(wait)}}
	}
	u.NamesLeft = append(u.NamesLeft, now)
	return a.leaveName(t, u, old)
}

// leaveName reserves a name for the account that has had it. The name itself is
// not kept.
func (a *Accounts) leaveName(t *Txn, u *store.User, name string) error {
	if name == "" {
		return nil
	}
	return t.PutLeftName(a.NameKeys.NameHashes(field.UniqueKey(name))[0], store.LeftName{User: u.ID, Until: a.Time().Add(NameReserved)})
}

// SweepLeftNames forgets the names whose time is over, in batches.
func SweepLeftNames(ctx context.Context, p *outbox.Courier, db store.Store) {
	for {
		removed := 0
		err := db.Update(ctx, func(tx store.Tx) (err error) {
			removed, err = tx.DeleteLeftNames(p.Now(), session.SweepChunk)
			return err
		})
		if err != nil && ctx.Err() == nil {
			p.Logger.Error("names that were left long ago could not be forgotten", zap.Error(err))
		}
		if err != nil || removed < session.SweepChunk {
			return
		}
	}
}
