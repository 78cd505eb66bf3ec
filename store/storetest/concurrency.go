// concurrency.go: what a store promises to callers that meet in it.

package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

const crowd = 100

// together runs fn n times at once and returns the errors.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// count splits errors into nil, those that match target, and others.
func count(errs []error, target error) (none, matching int, others []error) {
	for _, err := range errs {
		switch {
		case err == nil:
			none++
		case errors.Is(err, target):
			matching++
		default:
			others = append(others, err)
		}
	}
	return none, matching, others
}

var errUsed = errors.New("used already")

var concurrencyPromises = []promise{
	{"of many that claim one key, one gets it", func(t *testing.T, open opener) {
		s := open(t)
		users := make([]*store.User, crowd)
		for i := range users {
			users[i] = newUser("anna")
		}
		errs := together(crowd, func(i int) error {
			return s.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(users[i], keysOf(users[i])) })
		})
		won, taken, others := count(errs, store.ErrTaken)
		require.Empty(t, others)
		require.Equal(t, 1, won)
		require.Equal(t, crowd-1, taken)
		winner := users[slices.Index(errs, nil)]
		got, err := userByKey(t, s, "username", "anna")
		require.NoError(t, err)
		require.Equal(t, winner, got)
		require.Equal(t, []uuid.UUID{winner.ID}, pages(t, s, 10), "the losers left nothing behind")
	}},
	{"of many that use a one-time state, one succeeds", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		u.AwaitsVerification = true
		putUsers(t, s, u)
		errs := together(crowd, func(int) error {
			return s.Update(t.Context(), func(tx store.Tx) error {
				u, err := tx.User(u.ID)
				if err != nil {
					return err
				}
				if !u.AwaitsVerification {
					return errUsed
				}
				u.AwaitsVerification = false
				return tx.PutUser(u, keysOf(u))
			})
		})
		won, used, others := count(errs, errUsed)
		require.Empty(t, others)
		require.Equal(t, 1, won)
		require.Equal(t, crowd-1, used)
	}},
	{"no read-modify-write is lost", func(t *testing.T, open opener) {
		s := open(t)
		update(t, s, func(tx store.Tx) error { return tx.PutValue("n", []byte("0")) })
		errs := together(crowd, func(int) error {
			return s.Update(t.Context(), func(tx store.Tx) error {
				v, err := tx.Value("n")
				if err != nil {
					return err
				}
				n, err := strconv.Atoi(string(v))
				if err != nil {
					return err
				}
				return tx.PutValue("n", []byte(strconv.Itoa(n+1)))
			})
		})
		_, _, others := count(errs, nil)
		require.Empty(t, others)
		require.Equal(t, strconv.Itoa(crowd), string(value(t, s, "n")))
	}},
	{"acts that fail do not fail others, though functions run twice", func(t *testing.T, open opener) {
		s := open(t)
		users, mails := make([]*store.User, crowd), make([]*store.Mail, crowd)
		for i := range users {
			users[i] = newUser(fmt.Sprint("user", i))
			mails[i] = newMail(users[i].Email, now)
			mails[i].User = users[i].ID
		}
		mine := make([]error, crowd)
		for i := range mine {
			if i%3 == 0 {
				mine[i] = fmt.Errorf("error of %d", i)
			}
		}
		errs := together(crowd, func(i int) error {
			return s.Update(t.Context(), func(tx store.Tx) error {
				if err := tx.PutUser(users[i], keysOf(users[i])); err != nil {
					return err
				}
				if err := tx.PutMail(mails[i]); err != nil {
					return err
				}
				return mine[i]
			})
		})
		queued := map[uint64]uuid.UUID{}
		for _, m := range due(t, s, now, 2*crowd) {
			queued[m.Seq] = m.User
		}
		for i, err := range errs {
			if mine[i] != nil {
				require.ErrorIs(t, err, mine[i])
				require.Zero(t, mails[i].Seq)
				_, err = user(t, s, users[i].ID)
				require.ErrorIs(t, err, store.ErrNotFound)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, users[i].ID, queued[mails[i].Seq], "each mail has a Seq of its own")
			delete(queued, mails[i].Seq)
			_, err = user(t, s, users[i].ID)
			require.NoError(t, err)
		}
		require.Empty(t, queued, "mails of failed acts")
	}},
	{"a panic does not disturb others", func(t *testing.T, open opener) {
		s := open(t)
		var panics atomic.Int32
		errs := together(crowd, func(i int) (err error) {
			defer func() {
				if recover() != nil {
					panics.Add(1)
				}
			}()
			return s.Update(t.Context(), func(tx store.Tx) error {
				if i%10 == 0 {
					panic("oops")
				}
				return tx.PutValue(fmt.Sprint("v", i), []byte{byte(i)})
			})
		})
		_, _, others := count(errs, nil)
		require.Empty(t, others)
		require.Equal(t, int32(crowd/10), panics.Load())
		for i := range crowd {
			if i%10 != 0 {
				require.Equal(t, []byte{byte(i)}, value(t, s, fmt.Sprint("v", i)))
			}
		}
	}},
	{"a caller whose goroutine ends within its act does not disturb others", func(t *testing.T, open opener) {
		s := open(t)
		together(crowd, func(i int) error {
			return s.Update(t.Context(), func(tx store.Tx) error {
				if i%10 == 0 {
					runtime.Goexit() // what t.FailNow does
				}
				return tx.PutValue(fmt.Sprint("v", i), []byte{byte(i)})
			})
		})
		for i := range crowd {
			if i%10 != 0 {
				require.Equal(t, []byte{byte(i)}, value(t, s, fmt.Sprint("v", i)))
			}
		}
	}},
	{"readers see whole acts while writers write", func(t *testing.T, open opener) {
		s := open(t)
		write := func(n int) error {
			return s.Update(t.Context(), func(tx store.Tx) error {
				for _, name := range []string{"a", "b", "c"} {
					if err := tx.PutValue(name, []byte(strconv.Itoa(n))); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, write(0))
		done := make(chan struct{})
		reads := make([]int, 4)
		var wg sync.WaitGroup
		readErrs := make([]error, len(reads))
		for r := range reads {
			wg.Go(func() {
				for {
					readErrs[r] = s.View(t.Context(), func(tx store.Tx) error {
						var seen [3]string
						for i, name := range []string{"a", "b", "c"} {
							v, err := tx.Value(name)
							if err != nil {
								return err
							}
							seen[i] = string(v)
						}
						if seen[0] != seen[1] || seen[1] != seen[2] {
							return fmt.Errorf("half an act: %v", seen)
						}
						return nil
					})
					if readErrs[r] != nil {
						return
					}
					reads[r]++
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		writeErrs := together(4, func(w int) error {
			for i := range 25 {
				if err := write(w*1000 + i); err != nil {
					return err
				}
			}
			return nil
		})
		close(done)
		wg.Wait()
		require.NoError(t, errors.Join(writeErrs...))
		require.NoError(t, errors.Join(readErrs...))
		for _, n := range reads {
			require.Positive(t, n)
		}
	}},
}
