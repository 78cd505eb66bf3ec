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
