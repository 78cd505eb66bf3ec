// undo_internal_test.go: acts that are refused in a transaction that others
// share: what they wrote is taken back, and nobody runs twice for them.

package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

var errRefused = errors.New("refused")

// inOneGroup runs the acts in one transaction, in their order, behind the given
// one, and returns their errors.
func inOneGroup(t *testing.T, s *Store, first func(store.Tx) error, acts ...func(store.Tx) error) (own error, errs []error) {
	t.Helper()
	c := &s.File.commits
	errs = make([]error, len(acts))
	var wg sync.WaitGroup
	var once sync.Once
	own = s.Update(context.Background(), func(tx store.Tx) error {
		once.Do(func() {
			for i, act := range acts {
				wg.Go(func() { errs[i] = s.Update(context.Background(), act) })
				for c.queueLen() <= i {
					runtime.Gosched()
				}
			}
		})
		return first(tx)
	})
	wg.Wait()
	return own, errs
}

// dump is all that a realm has, and the free order of its mails.
func dump(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, s.File.Db.View(func(tx *bolt.Tx) error {
		for _, name := range realmBuckets {
			b := tx.Bucket(s.bucket).Bucket([]byte(name))
			if n := b.Sequence(); n > 0 && (name == bucketUsers || slices.Contains(memberBuckets, name)) {
				all[name] = fmt.Sprint(n, " counted")
			}
			c := b.Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				all[name+" "+string(k)] = string(v)
			}
		}
		return nil
	}))
	return all
}

func nothing(store.Tx) error { return nil }

func TestARefusedActLeavesNothingInTheGroup(t *testing.T) {
	s := testRealm(t)
	at := testTime
	ada, bob := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada"}, &store.User{ID: uuid.Must(uuid.NewV7()), Username: "bob"}
	one := &store.Session{Hash: store.TokenHash{1}, User: ada.ID, Created: at, LastUsed: at, Expires: at, AMR: []string{"pwd"}, AuthTime: at}
	mail := &store.Mail{To: "a@example.org", Due: at}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.PutUser(ada, []store.Key{{Field: "username", Value: "ada"}}), tx.PutSession(one), tx.PutMail(mail), tx.PutValue("v", []byte("1")))
	}))
	before := dump(t, s)
	gone := func(tx store.Tx) error {
		changed := *ada
		changed.Username = "eve"
		moved := *one
		moved.Expires = at.Add(time.Hour)
		later := *mail
		later.Due = at.Add(time.Hour)
		return errors.Join(
			tx.PutUser(&changed, []store.Key{{Field: "username", Value: "eve"}, {Field: "email", Value: "eve@example.org"}}), tx.PutUser(bob, []store.Key{{Field: "username", Value: "ada"}}),
			tx.PutSession(&moved), tx.PutSession(&store.Session{Hash: store.TokenHash{2}, User: bob.ID}),
			tx.PutMail(&later), tx.PutMail(&store.Mail{To: "A@example.org", Due: at}), tx.PutMail(&store.Mail{To: "b@example.org"}),
			tx.PutValue("v", []byte("2")), tx.PutValue("w", nil),
			tx.DeleteMail(mail.Seq), tx.DeleteUser(ada.ID), tx.DeleteUser(bob.ID),
			func() error { _, err := tx.DeleteExpiredSessions(at.Add(24*time.Hour), 9); return err }(),
			errRefused)
	}
	count := lastCommit(t, s)
	own, errs := inOneGroup(t, s, nothing, gone, nothing, gone)
	require.NoError(t, own)
	require.ErrorIs(t, errs[0], errRefused)
	require.Equal(t, errRefused.Error(), errs[0].Error(), "a write failed")
	require.NoError(t, errs[1])
	require.ErrorIs(t, errs[2], errRefused)
	require.Equal(t, before, dump(t, s))
	require.Equal(t, count+1, lastCommit(t, s))

	// The leader too, and where nobody has written nothing is committed.
	own, errs = inOneGroup(t, s, gone, nothing, gone)
	require.ErrorIs(t, own, errRefused)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], errRefused)
	require.Equal(t, before, dump(t, s))
	require.Equal(t, count+2, lastCommit(t, s))
	own, errs = inOneGroup(t, s, gone, gone, gone)
	for _, err := range append(errs, own) {
		require.ErrorIs(t, err, errRefused)
	}
	require.Equal(t, before, dump(t, s))
	require.Equal(t, count+2, lastCommit(t, s))
}

// Any acts, of which any are refused after any writes, leave what the good ones
// alone would have left.
func TestRefusedActsInAnyOrder(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not a secret
		mixed, alone := testRealm(t), testRealm(t)
		mixed.File.Db.NoSync, alone.File.Db.NoSync = true, true
		ids := make([]uuid.UUID, 5)
		for i := range ids {
			ids[i] = uuid.Must(uuid.NewV7())
		}
		write := func(r *rand.Rand) func(store.Tx) {
			id, n, hash := ids[r.IntN(5)], r.IntN(8), store.TokenHash{byte(r.IntN(20))}
			name, kind := fmt.Sprint("u", r.IntN(4)), r.IntN(7)
			return func(tx store.Tx) {
				switch kind {
				case 0, 1:
					_ = tx.PutUser(&store.User{ID: id, Username: name}, []store.Key{{Field: "username", Value: name}, {Field: "n", Value: fmt.Sprint(n)}})
				case 2, 3:
					_ = tx.PutSession(&store.Session{Hash: hash, User: id, Expires: testTime.Add(time.Duration(n) * time.Second)})
				case 4:
					_ = tx.DeleteUser(id)
				case 5:
					_ = tx.PutValue(name, []byte{byte(n)})
				case 6:
					_, _ = tx.DeleteExpiredSessions(testTime.Add(time.Duration(n)*time.Second), 3)
				}
			}
		}
		for range 20 {
			acts := make([]func(store.Tx) error, 1+r.IntN(6))
			var good []func(store.Tx) error
			for i := range acts {
				var result error
				if r.IntN(2) == 0 {
					result = errRefused
				}
				var writes []func(store.Tx)
				for range r.IntN(6) {
					writes = append(writes, write(r))
				}
				acts[i] = func(tx store.Tx) error {
					for _, w := range writes {
						w(tx)
					}
					return result
				}
				if result == nil {
					good = append(good, acts[i])
				}
			}
			_, _ = inOneGroup(t, mixed, acts[0], acts[1:]...)
			for _, act := range good {
				require.NoError(t, alone.Update(t.Context(), act))
			}
			require.Equal(t, dump(t, alone), dump(t, mixed), "seed %d", seed)
		}
	}
}

// Who was refused for what another wrote, which then was not committed, is asked
// again.
func TestARefusalByWhatWasRolledBackIsNone(t *testing.T) {
	s := testRealm(t)
	name := []store.Key{{Field: "username", Value: "ada"}}
	var runs atomic.Int64
	first := func(tx store.Tx) error { return tx.PutUser(&store.User{ID: uuid.Must(uuid.NewV7())}, name) }
	second := func(tx store.Tx) error {
		runs.Add(1)
		return tx.PutUser(&store.User{ID: uuid.Must(uuid.NewV7())}, name)
	}
	own, errs := inOneGroup(t, s, first, second)
	require.NoError(t, own)
	require.ErrorIs(t, errs[0], store.ErrTaken)
	require.Equal(t, int64(1), runs.Load())

	a, b, c := &act{turn: make(chan turn, 1)}, &act{turn: make(chan turn, 1), refused: errRefused}, &act{refused: errGone}
	line := &committer{}
	line.answer([]*act{a, b, c}, errors.New("disk full"))
	require.ErrorContains(t, (<-a.turn).err, "disk full")
	require.Empty(t, b.turn, "it has no answer yet")
	require.Equal(t, []*act{b}, line.waiting)
	require.True(t, b.alone)
}

// A panic of one act is that act's alone.
func TestAPanicInTheGroupIsUndone(t *testing.T) {
	s := testRealm(t)
	var caught any
	boom := func(tx store.Tx) error {
		_ = tx.PutValue("lost", []byte("x"))
		panic("boom")
	}
	done := make(chan struct{})
	own := s.Update(t.Context(), func(tx store.Tx) error {
		if s.File.commits.queueLen() == 0 {
			go func() {
				defer close(done)
				defer func() { caught = recover() }()
				_ = s.Update(context.Background(), boom)
			}()
			for s.File.commits.queueLen() == 0 {
				runtime.Gosched()
			}
		}
		return tx.PutValue("kept", []byte("x"))
	})
	<-done
	require.NoError(t, own)
	require.Equal(t, "boom", caught)
	require.Len(t, dump(t, s), 1)
}

// BenchmarkRefusedActs is one good writer beside others whose acts are all refused:
// before anything is written, or after.
func BenchmarkRefusedActs(b *testing.B) {
	for _, beside := range []int{0, 400} {
		for _, writes := range []bool{false, true} {
			b.Run(fmt.Sprintf("beside=%d/writes=%v", beside, writes), func(b *testing.B) {
				s := testRealm(b)
				stop := make(chan struct{})
				var wg sync.WaitGroup
				var refused atomic.Int64
				for range beside {
					wg.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
							}
							_ = s.Update(context.Background(), func(tx store.Tx) error {
								if _, err := tx.Sessions(uuid.Nil, 9); err != nil {
									return err
								}
								if writes {
									if err := tx.PutSession(&store.Session{Hash: store.TokenHash{9}}); err != nil {
										return err
									}
								}
								return errRefused
							})
							refused.Add(1)
						}
					})
				}
				var runs, n uint64
				var times []time.Duration
				for b.Loop() {
					n++
					hash := store.TokenHash(sha256.Sum256(fmt.Append(nil, n)))
					begin := time.Now()
					err := s.Update(context.Background(), func(tx store.Tx) error {
						runs++
						return tx.PutSession(&store.Session{Hash: hash, Expires: begin})
					})
					if err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(begin))
				}
				close(stop)
				wg.Wait()
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds()), "µs-median")
				b.ReportMetric(float64(runs)/float64(n), "runs/op")
				b.ReportMetric(float64(refused.Load())/float64(n), "refused/op")
			})
		}
	}
}
