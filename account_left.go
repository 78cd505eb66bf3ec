// account_left.go: a name that its account has left is nobody's for a while: an app
// behind the guard that knows people by their names would give its rights to the
// next who takes it.

package registration

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// nameReserved is how long a left name is nobody's but its last holder's.
	nameReserved = 90 * 24 * time.Hour
	// maxLeftNames bounds the names that an account keeps from others. One more
	// change is refused until the oldest is over: if that made room for it, a thief
	// would change the name until the owner's is free.
	maxLeftNames = 8
)

// leftByAnother reports whether a name was another account's until a short while ago.
func (a *Accounts) leftByAnother(tx Tx, u *User) (bool, error) {
	if u.Username == "" {
		return false, nil
	}
	for _, hash := range a.nameKeys.nameHashes(uniqueKey(u.Username)) {
		switch left, err := tx.LeftName(hash); {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return false, err
		case left.User != u.ID && a.now().Before(left.Until):
			return true, nil
		}
	}
	return false, nil
}

// claimName refuses a name that somebody else has left, as one that is taken.
func (a *Accounts) claimName(tx Tx, u *User) error {
	left, err := a.leftByAnother(tx, u)
	if err == nil && left {
		err = fieldErrors{{Field: fieldUsername, Code: CodeUnique}}.err()
	}
	return err
}

// rename is part of a change of the username: the account keeps the old one from
// others.
func (a *Accounts) rename(t *txn, u *User, old string) error {
	if old == "" || uniqueKey(old) == uniqueKey(u.Username) {
		return nil
	}
	now := a.time()
	switch left, err := t.LeftName(a.nameKeys.nameHashes(uniqueKey(old))[0]); {
	case err == nil && left.User == u.ID && now.Before(left.Until):
		return a.leaveName(t, u, old) // it was left before and taken back
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	u.NamesLeft = slices.DeleteFunc(u.NamesLeft, func(at time.Time) bool { return !now.Before(at.Add(nameReserved)) })
	if len(u.NamesLeft) >= maxLeftNames {
		wait := slices.MinFunc(u.NamesLeft, time.Time.Compare).Add(nameReserved).Sub(now)
		return &Error{Code: CodeThrottled, RetryAfter: wait, Params: Params{"seconds": seconds(wait)}}
	}
	u.NamesLeft = append(u.NamesLeft, now)
	return a.leaveName(t, u, old)
}

// leaveName reserves a name for the account that has had it. The name itself is
// not kept.
func (a *Accounts) leaveName(t *txn, u *User, name string) error {
	if name == "" {
		return nil
	}
	return t.PutLeftName(a.nameKeys.nameHashes(uniqueKey(name))[0], LeftName{User: u.ID, Until: a.time().Add(nameReserved)})
}

// sweepLeftNames forgets the names whose time is over, in batches.
func sweepLeftNames(ctx context.Context, p *postman, store Store) {
	for {
		removed := 0
		err := store.Update(ctx, func(tx Tx) (err error) {
			removed, err = tx.DeleteLeftNames(p.now(), sweepChunk)
			return err
		})
		if err != nil && ctx.Err() == nil {
			p.logger.Error("names that were left long ago could not be forgotten", zap.Error(err))
		}
		if err != nil || removed < sweepChunk {
			return
		}
	}
}
