// session_end.go: how sign-ins end: one, all, the tokens, those beyond the number
// that an account may have. No transaction reads or writes more than a bounded
// number of them, however many an account has.

package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// SessionChunk bounds, together with the number of sign-ins that an account may
// have, how many of them one transaction reads and ends.
const SessionChunk = 256

// Surplus returns which of an account's sign-ins are beyond the limit, which
// holds for sessions and again for API and refresh tokens: those that have ended
// already, then the least recently used. Uses that are not in the store yet
// count, and one of the future counts as now. first are never among them.
func (s *Live) Surplus(all []*store.Session, u *store.User, limit int, first []store.TokenHash, now time.Time) (over []store.TokenHash) {
	// rank is higher for what is to stay.
	rank := func(x *store.Session) int64 {
		switch used := max(x.LastUsed.Unix(), s.LastUse(x.Hash).Unix()); {
		case slices.Contains(first, x.Hash):
			return 1 << 62
		case u != nil && x.Epoch == u.Epoch(x.Kind) && now.Before(x.Expires):
			return min(used, now.Unix())
		}
		return -1 << 62
	}
	ranks := make(map[store.TokenHash]int64, len(all))
	for _, x := range all {
		ranks[x.Hash] = rank(x)
	}
	for _, tokens := range []bool{false, true} {
		var some []*store.Session
		for _, x := range all {
			if (x.Kind != store.KindSession) == tokens {
				some = append(some, x)
			}
		}
		slices.SortStableFunc(some, func(x, y *store.Session) int {
			switch rx, ry := ranks[x.Hash], ranks[y.Hash]; {
			case rx > ry:
				return -1
			case rx < ry:
				return 1
			}
			return y.Created.Compare(x.Created)
		})
		for i, x := range some {
			if i >= limit || u == nil || x.Epoch != u.Epoch(x.Kind) {
				over = append(over, x.Hash)
			}
		}
	}
	return over
}

// A Leftover is an account some of whose sign-ins have records that are to go:
// they have ended with their epoch, or are beyond the limit.
type Leftover struct {
	User  uuid.UUID
	limit int
}

// maxLeftovers bounds the accounts that wait for it. What finds no place is gone
// with its expiry at the latest.
const maxLeftovers = 256

// Leave has the rest of an account's surplus sign-ins removed soon.
func (s *Live) Leave(user uuid.UUID, limit int) {
	select {
	case s.Left <- Leftover{user, limit}:
	default:
	}
}

// EndLeft removes the sign-ins of an account that have ended with their epoch or
// are beyond the limit, in short transactions, and returns how many. Each takes
// the same first ones, of which it leaves those that may stay: the latest used of
// all are among the latest used of any part.
func (s *Live) EndLeft(ctx context.Context, l Leftover, now func() time.Time) (total int, err error) {
	chunk := 2*l.limit + SessionChunk
	for {
		var over []store.TokenHash
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			over = nil
			u, err := tx.User(l.User)
			if errors.Is(err, store.ErrNotFound) {
				u, err = nil, nil
			}
			if err != nil {
				return err
			}
			all, err := tx.Sessions(l.User, chunk)
			if err != nil {
				return err
			}
			over = s.Surplus(all, u, l.limit, nil, now())
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
		total += len(over)
		if len(over) == 0 {
			return total, nil
		}
	}
}
