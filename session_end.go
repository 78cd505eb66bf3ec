// session_end.go: how sign-ins end: one, all, the tokens, those beyond the number
// that an account may have. No transaction reads or writes more than a bounded
// number of them, however many an account has.

package registration

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// sessionChunk bounds, together with the number of sign-ins that an account may
// have, how many of them one transaction reads and ends.
const sessionChunk = 256

// epoch is what Session.Epoch of the account's live sessions of a kind is.
func (u *User) epoch(kind SessionKind) uint32 {
	if kind == KindSession {
		return u.SessionEpoch
	}
	return u.TokenEpoch
}

// endSession ends a session or token; one that has ended already is no error.
func (t *txn) endSession(hash TokenHash) error {
	t.sessions = append(t.sessions, hash)
	if err := t.DeleteSession(hash); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// endSessions ends every session and token of an account, but keep's. Where they
// are too many for one transaction it raises the epochs of u, which ends them all
// the same: the caller has to put u then (raised), and the records go later.
func (t *txn) endSessions(u *User, keep *TokenHash) error {
	return t.endAll(u, keep, KindSession, KindToken, KindRefresh)
}

// endTokens ends the API tokens and refresh tokens of an account, and reports
// whether there were any. The caller has to put u where its epoch was raised.
func (t *txn) endTokens(u *User) (found bool, err error) {
	before := len(t.sessions)
	err = t.endAll(u, nil, KindToken, KindRefresh)
	return t.raised() || len(t.sessions) > before, err
}

// raised reports whether the act has raised an epoch.
func (t *txn) raised() bool { return len(t.left) > 0 }

func (t *txn) endAll(u *User, keep *TokenHash, kinds ...SessionKind) error {
	all, err := t.Sessions(u.ID, sessionChunk)
	if err != nil {
		return err
	}
	for _, s := range all {
		if !slices.Contains(kinds, s.Kind) || keep != nil && s.Hash == *keep {
			continue
		}
		if err := t.endSession(s.Hash); err != nil {
			return err
		}
	}
	if len(all) < sessionChunk {
		return nil
	}
	if slices.Contains(kinds, KindSession) {
		u.SessionEpoch++
	}
	u.TokenEpoch++
	t.users, t.left = append(t.users, u.ID), append(t.left, u.ID)
	if keep == nil {
		return nil
	}
	kept, err := t.Session(*keep)
	if err != nil {
		return err
	}
	kept.Epoch = u.epoch(kept.Kind)
	t.sessions = append(t.sessions, *keep)
	return t.PutSession(kept)
}

// endMany ends the sign-ins of an account and removes them, in short
// transactions, if they are too many for one.
func (a *Accounts) endMany(ctx context.Context, id uuid.UUID) error {
	many := false
	err := a.view(ctx, func(tx Tx) error {
		some, err := tx.Sessions(id, sessionChunk)
		many = len(some) == sessionChunk
		return err
	})
	if err != nil || !many {
		return err
	}
	err = a.update(ctx, func(t *txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := t.endSessions(u, nil); err != nil || !t.raised() {
			return err
		}
		return a.putUser(t, u)
	})
	if err == nil {
		_, err = a.sessions.endLeft(ctx, leftover{user: id}, a.now)
	}
	return storeError(err)
}

// makeRoom ends the sign-ins of an account beyond the number that it may have,
// the least recently used ones. issued are those of this very act, which stay.
func (a *Accounts) makeRoom(t *txn, u *User, issued []TokenHash) error {
	limit := a.settings.Session.Max
	chunk := 2*limit + sessionChunk
	all, err := t.Sessions(u.ID, chunk)
	if err != nil || len(all) <= limit {
		return err
	}
	for _, hash := range a.sessions.surplus(all, u, limit, issued, a.now()) {
		if err := t.endSession(hash); err != nil {
			return err
		}
	}
	if len(all) == chunk { // an account from before there was a limit
		t.left = append(t.left, u.ID)
	}
	return nil
}

// surplus returns which of an account's sign-ins are beyond the limit, which
// holds for sessions and again for API and refresh tokens: those that have ended
// already, then the least recently used. Uses that are not in the store yet
// count, and one of the future counts as now. first are never among them.
func (s *sessions) surplus(all []*Session, u *User, limit int, first []TokenHash, now time.Time) (over []TokenHash) {
	// rank is higher for what is to stay.
	rank := func(x *Session) int64 {
		switch used := max(x.LastUsed.Unix(), s.lastUse(x.Hash).Unix()); {
		case slices.Contains(first, x.Hash):
			return 1 << 62
		case u != nil && x.Epoch == u.epoch(x.Kind) && now.Before(x.Expires):
			return min(used, now.Unix())
		}
		return -1 << 62
	}
	ranks := make(map[TokenHash]int64, len(all))
	for _, x := range all {
		ranks[x.Hash] = rank(x)
	}
	for _, tokens := range []bool{false, true} {
		var some []*Session
		for _, x := range all {
			if (x.Kind != KindSession) == tokens {
				some = append(some, x)
			}
		}
		slices.SortStableFunc(some, func(x, y *Session) int {
			switch rx, ry := ranks[x.Hash], ranks[y.Hash]; {
			case rx > ry:
				return -1
			case rx < ry:
				return 1
			}
			return y.Created.Compare(x.Created)
		})
		for i, x := range some {
			if i >= limit || u == nil || x.Epoch != u.epoch(x.Kind) {
				over = append(over, x.Hash)
			}
		}
	}
	return over
}

// A leftover is an account some of whose sign-ins have records that are to go:
// they have ended with their epoch, or are beyond the limit.
type leftover struct {
	user  uuid.UUID
	limit int
}

// maxLeftovers bounds the accounts that wait for it. What finds no place is gone
// with its expiry at the latest.
const maxLeftovers = 256

// leave has the rest of an account's surplus sign-ins removed soon.
func (s *sessions) leave(user uuid.UUID, limit int) {
	select {
	case s.left <- leftover{user, limit}:
	default:
	}
}

// endLeft removes the sign-ins of an account that have ended with their epoch or
// are beyond the limit, in short transactions, and returns how many. Each takes
// the same first ones, of which it leaves those that may stay: the latest used of
// all are among the latest used of any part.
func (s *sessions) endLeft(ctx context.Context, l leftover, now func() time.Time) (total int, err error) {
	chunk := 2*l.limit + sessionChunk
	for {
		var over []TokenHash
		err := s.store.Update(ctx, func(tx Tx) error {
			over = nil
			u, err := tx.User(l.user)
			if errors.Is(err, ErrNotFound) {
				u, err = nil, nil
			}
			if err != nil {
				return err
			}
			all, err := tx.Sessions(l.user, chunk)
			if err != nil {
				return err
			}
			over = s.surplus(all, u, l.limit, nil, now())
			for _, hash := range over {
				if err := tx.DeleteSession(hash); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		s.forget(nil, over)
		total += len(over)
		if len(over) == 0 {
			return total, nil
		}
	}
}
