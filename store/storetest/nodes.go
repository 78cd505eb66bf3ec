// nodes.go: what a store promises to several workers and caches, in one process and
// on several nodes.

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// RunNodes checks what a store promises to several nodes: open returns two handles
// on the same, empty accounts, as two nodes would have them, or two users of one
// file in a process, and sees to their closing.
func RunNodes(t *testing.T, open func(t *testing.T) (a, b store.Store)) {
	t.Helper()
	// Each handle alone keeps the promises of one, beside an idle other.
	t.Run("one of two", func(t *testing.T) {
		Run(t, func(t *testing.T) store.Store { a, _ := open(t); return a })
	})
	for _, p := range nodePromises {
		t.Run(p.name, func(t *testing.T) {
			a, b := open(t)
			p.test(t, a, b)
		})
	}
}

// patience is how long a promise waits for another handle, on a busy machine too.
const patience = time.Minute

func seqsOf(mails []*store.Mail) (seqs []uint64) {
	for _, m := range mails {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

var leasePromises = []promise{
	{"what one worker has leased another does not get", func(t *testing.T, open opener) { leasesAreExclusive(t, open(t), nil) }},
	{"a lease runs out, and can be renewed until somebody takes it", func(t *testing.T, open opener) { leasesEnd(t, open(t), nil) }},
	{"a leased mail holds its recipient's others back", func(t *testing.T, open opener) { leasesKeepOrder(t, open(t), nil) }},
	{"a claim replaces the worker's earlier one", func(t *testing.T, open opener) {
		s := open(t)
		one, two := uuid.New(), uuid.New()
		a, b := newMail("a@example.org", now), newMail("b@example.org", now.Add(time.Second))
		putMail(t, s, a, b)
		got, _ := claim(t, s, one, now.Add(time.Second), 2)
		require.Equal(t, []uint64{a.Seq, b.Seq}, seqsOf(got))
		got, _ = claim(t, s, one, now.Add(time.Second), 1)
		require.Equal(t, []uint64{a.Seq}, seqsOf(got), "its own lease is no bar")
		got, _ = claim(t, s, two, now.Add(time.Second), 2)
		require.Equal(t, []uint64{b.Seq}, seqsOf(got))
		claim(t, s, one, now.Add(time.Second), 0)
		got, _ = claim(t, s, two, now.Add(time.Second), 2)
		require.Equal(t, []uint64{a.Seq, b.Seq}, seqsOf(got))
	}},
	{"a lease from a clock that was ahead does not last", func(t *testing.T, open opener) {
		s := open(t)
		m := newMail("a@example.org", now)
		putMail(t, s, m)
		got, _ := claim(t, s, uuid.New(), now.AddDate(1, 0, 0), 1)
		require.Len(t, got, 1)
		got, _ = claim(t, s, uuid.New(), now, 1)
		require.Len(t, got, 1)
	}},
	{"a lease ends with its row, not with putting it off", func(t *testing.T, open opener) {
		s := open(t)
		one, two := uuid.New(), uuid.New()
		m := newMail("a@example.org", now)
		putMail(t, s, m)
		claim(t, s, one, now, 1)
		m.Attempts++
		putMail(t, s, m)
		got, _ := claim(t, s, two, now, 1)
		require.Empty(t, got)
		require.NoError(t, s.RenewMail(t.Context(), claimOf(one, now, 1), m.Seq))
		deleteMail(t, s, m.Seq)
		require.ErrorIs(t, s.RenewMail(t.Context(), claimOf(one, now, 1), m.Seq), store.ErrNotFound)
	}},
	{"what a worker keeps stays its own and is not returned again", func(t *testing.T, open opener) {
		s := open(t)
		one, two := uuid.New(), uuid.New()
		a, behind, b := newMail("a@example.org", now), newMail("a@example.org", now), newMail("b@example.org", now.Add(time.Second))
		putMail(t, s, a, behind, b)
		claim(t, s, one, now, 1)
		keeping := claimOf(one, now, 5)
		keeping.Keep = []uint64{a.Seq}
		got, next, err := s.ClaimMail(t.Context(), keeping)
		require.NoError(t, err)
		require.Empty(t, got, "nor what waits behind it")
		require.Equal(t, b.Due, next)
		keeping.Now, keeping.Limit = now.Add(time.Second), 5
		got, _, err = s.ClaimMail(t.Context(), keeping)
		require.NoError(t, err)
		require.Equal(t, []uint64{b.Seq}, seqsOf(got))
		keeping.Limit = 0
		_, _, err = s.ClaimMail(t.Context(), keeping)
		require.NoError(t, err)
		got, _ = claim(t, s, two, now.Add(time.Second), 5)
		require.Equal(t, []uint64{b.Seq}, seqsOf(got), "kept, though nothing was wanted")
		keeping.Worker = two
		got, _, err = s.ClaimMail(t.Context(), keeping)
		require.NoError(t, err)
		require.Empty(t, got)
		require.NoError(t, s.RenewMail(t.Context(), claimOf(one, now, 1), a.Seq), "nobody keeps what is another's")
	}},
	{"a bad claim is refused", func(t *testing.T, open opener) {
		s := open(t)
		_, _, err := s.ClaimMail(t.Context(), store.Claim{Now: now, Lease: time.Minute, Limit: 1})
		require.Error(t, err, "no worker")
		_, _, err = s.ClaimMail(t.Context(), store.Claim{Worker: uuid.New(), Now: now, Lease: store.MaxLease + 1, Limit: 1})
		require.Error(t, err, "too long a lease")
		require.NoError(t, s.Close())
		_, _, err = s.ClaimMail(t.Context(), claimOf(uuid.New(), now, 1))
		require.Error(t, err, "closed")
	}},
}

// orSame is the other handle; without one, the same.
func orSame(a, b store.Store) store.Store {
	if b == nil {
		return a
	}
	return b
}

func leasesAreExclusive(t *testing.T, a, b store.Store) {
	b = orSame(a, b)
	want := map[uint64]bool{}
	for i := range 20 {
		m := newMail(fmt.Sprintf("%d@example.org", i), now)
		putMail(t, a, m)
		want[m.Seq] = true
	}
	var mu sync.Mutex
	var twice []uint64
	errs := together(4, func(i int) error {
		worker, s := uuid.New(), []store.Store{a, b}[i%2]
		for range 5 {
			got, _, err := s.ClaimMail(t.Context(), claimOf(worker, now, 5))
			if err != nil {
				return err
			}
			for _, m := range got {
				mu.Lock()
				if !want[m.Seq] {
					twice = append(twice, m.Seq)
				}
				delete(want, m.Seq)
				mu.Unlock()
				// Off the queue: what is claimed again is another one.
				if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteMail(m.Seq) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
	require.Empty(t, twice)
	for range 10 { // what a crowd may have left to each other
		for _, m := range due(t, a, now, 20) {
			delete(want, m.Seq)
			deleteMail(t, a, m.Seq)
		}
	}
	require.Empty(t, want)
}

func leasesEnd(t *testing.T, a, b store.Store) {
	b = orSame(a, b)
	one, two := uuid.New(), uuid.New()
	m := newMail("a@example.org", now)
	putMail(t, a, m)
	got, _ := claim(t, a, one, now, 1)
	require.Equal(t, []*store.Mail{m}, got)
	got, next := claim(t, b, two, now.Add(time.Minute), 1)
	require.Empty(t, got)
	require.Equal(t, now.Add(2*time.Minute), next, "when the lease ends")
	require.NoError(t, a.RenewMail(t.Context(), claimOf(one, now.Add(time.Minute), 1), m.Seq))
	got, _ = claim(t, b, two, now.Add(2*time.Minute), 1)
	require.Empty(t, got, "renewed")
	got, _ = claim(t, b, two, now.Add(3*time.Minute), 1)
	require.Equal(t, []*store.Mail{m}, got, "it has run out")
	require.ErrorIs(t, a.RenewMail(t.Context(), claimOf(one, now.Add(3*time.Minute), 1), m.Seq), store.ErrNotFound)
	require.NoError(t, b.RenewMail(t.Context(), claimOf(two, now.Add(3*time.Minute), 1), m.Seq))
	got, _ = claim(t, a, one, now.Add(3*time.Minute), 1)
	require.Empty(t, got)
}

func leasesKeepOrder(t *testing.T, a, b store.Store) {
	b = orSame(a, b)
	one, two := uuid.New(), uuid.New()
	first, second, other := newMail("a@example.org", now), newMail("A@example.org", now), newMail("b@example.org", now)
	putMail(t, a, first, second, other)
	got, _ := claim(t, a, one, now, 1)
	require.Equal(t, []uint64{first.Seq}, seqsOf(got))
	got, _ = claim(t, b, two, now, 9)
	require.Equal(t, []uint64{other.Seq}, seqsOf(got))
	deleteMail(t, a, first.Seq)
	got, _ = claim(t, b, two, now, 9)
	require.ElementsMatch(t, []uint64{second.Seq, other.Seq}, seqsOf(got))
}

// heard collects what a follower is told.
type heard struct {
	mu       sync.Mutex
	users    []uuid.UUID
	sessions []store.TokenHash
	calls    int
}

func (h *heard) hear(c store.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users, h.sessions = append(h.users, c.Users...), append(h.sessions, c.Sessions...)
	h.calls++
}

// of tells whether a change of an account and of a session was heard; zero: any.
func (h *heard) of(user uuid.UUID, session store.TokenHash) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return (user == uuid.Nil || slices.Contains(h.users, user)) && (session == store.TokenHash{} || slices.Contains(h.sessions, session))
}

func (h *heard) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users, h.sessions, h.calls = nil, nil, 0
}

func (h *heard) nothing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls == 0
}

var changePromises = []promise{
	{"an act's changes are told before it is answered", func(t *testing.T, open opener) {
		s := open(t)
		var h heard
		defer s.Follow(h.hear)()
		u := newUser("anna")
		putUsers(t, s, u)
		require.True(t, h.of(u.ID, store.TokenHash{}), "written")
		one, two, three := newSession("one", u.ID), newSession("two", u.ID), newSession("three", u.ID)
		for _, x := range []*store.Session{one, two, three} {
			putSession(t, s, x)
		}
		h.forget()
		one.Epoch++
		putSession(t, s, one)
		require.True(t, h.of(uuid.Nil, one.Hash), "written with another epoch")
		h.forget()
		update(t, s, func(tx store.Tx) error { return tx.DeleteSession(one.Hash) })
		require.True(t, h.of(uuid.Nil, one.Hash), "deleted")
		h.forget()
		two.Expires = now.Add(-time.Hour)
		putSession(t, s, two)
		update(t, s, func(tx store.Tx) error { _, err := tx.DeleteExpiredSessions(now, 9); return err })
		require.True(t, h.of(uuid.Nil, two.Hash), "expired")
		h.forget()
		update(t, s, func(tx store.Tx) error { return tx.DeleteUser(u.ID) })
		require.True(t, h.of(u.ID, three.Hash), "deleted with its account")
	}},
	{"what a cache need not know is not told", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		putUsers(t, s, u)
		var h heard
		stop := s.Follow(h.hear)
		x := newSession("one", u.ID)
		putSession(t, s, x)
		require.True(t, h.nothing(), "a new session")
		x.LastUsed = x.LastUsed.Add(time.Minute)
		putSession(t, s, x)
		require.True(t, h.nothing(), "a use")
		failed := errors.New("failed")
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(tx.PutUser(u, keysOf(u)), tx.DeleteSession(x.Hash), failed)
		}), failed)
		require.True(t, h.nothing(), "a failed act")
		_, err := user(t, s, u.ID)
		require.NoError(t, err)
		putMail(t, s, newMail("a@example.org", now))
		update(t, s, func(tx store.Tx) error { return tx.PutValue("v", nil) })
		require.True(t, h.nothing(), "mails and values")
		stop()
		putUsers(t, s, u)
		require.True(t, h.nothing(), "after the end")
	}},
	{"each of a crowd of acts is told, before its answer", func(t *testing.T, open opener) {
		s := open(t)
		var h heard
		defer s.Follow(h.hear)()
		errs := together(crowd, func(i int) error {
			u := newUser(fmt.Sprint("user", i))
			if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, keysOf(u)) }); err != nil {
				return err
			}
			if !h.of(u.ID, store.TokenHash{}) {
				return errors.New("answered before it was told")
			}
			return nil
		})
		require.NoError(t, errors.Join(errs...))
	}},
}

var nodePromises = []struct {
	name string
	test func(t *testing.T, a, b store.Store)
}{
	{"what one has committed the other reads", func(t *testing.T, a, b store.Store) {
		u := newUser("anna")
		putUsers(t, a, u)
		got, err := user(t, b, u.ID)
		require.NoError(t, err)
		require.Equal(t, u, got)
	}},
	{"unique is unique over both", func(t *testing.T, a, b store.Store) {
		errs := together(crowd, func(i int) error {
			u := newUser("anna")
			return []store.Store{a, b}[i%2].Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, keysOf(u)) })
		})
		won, taken, others := count(errs, store.ErrTaken)
		require.Empty(t, others)
		require.Equal(t, 1, won)
		require.Equal(t, crowd-1, taken)
	}},
	{"a value is made once, whoever comes first", func(t *testing.T, a, b store.Store) {
		made := make([]string, crowd)
		errs := together(crowd, func(i int) error {
			return []store.Store{a, b}[i%2].Update(t.Context(), func(tx store.Tx) error {
				v, err := tx.Value("key")
				if errors.Is(err, store.ErrNotFound) {
					v = []byte(fmt.Sprint("of ", i))
					err = tx.PutValue("key", v)
				}
				made[i] = string(v)
				return err
			})
		})
		require.NoError(t, errors.Join(errs...))
		slices.Sort(made)
		require.Len(t, slices.Compact(made), 1)
	}},
	{"budgets of both stand beside each other", func(t *testing.T, a, b store.Store) {
		errs := together(crowd, func(i int) error {
			return []store.Store{a, b}[i%2].Update(t.Context(), func(tx store.Tx) error {
				return tx.PutBudget(&store.Budget{Table: "table", Key: [16]byte{byte(i), byte(i >> 8)}, Whole: now.Add(time.Hour)})
			})
		})
		require.NoError(t, errors.Join(errs...))
		view(t, a, func(tx store.Tx) error {
			all, err := tx.Budgets(now, 2*crowd)
			require.Len(t, all, crowd)
			return err
		})
	}},
	{"both spend of one budget", crowdSpends},
	{"what one has spent in an act the other finds", func(t *testing.T, a, b store.Store) {
		of := []store.BudgetSpend{spend("t", 1)}
		for range 9 {
			update(t, a, func(tx store.Tx) error { return tx.SpendBudgets(now, of, nil) })
		}
		require.Equal(t, 1, spent(t, b, now, 3, of...))
		require.Zero(t, spent(t, a, now, 3, of...))
		require.Equal(t, a.Shared(), b.Shared())
	}},
	{"each hears of the other's changes", func(t *testing.T, a, b store.Store) {
		var atA, atB heard
		defer a.Follow(atA.hear)()
		defer b.Follow(atB.hear)()
		u, w := newUser("anna"), newUser("bob")
		putUsers(t, a, u)
		putUsers(t, b, w)
		x := newSession("one", u.ID)
		putSession(t, a, x)
		update(t, b, func(tx store.Tx) error { return tx.DeleteSession(x.Hash) })
		require.True(t, atB.of(w.ID, x.Hash), "its own at once")
		require.Eventually(t, func() bool { return atA.of(w.ID, x.Hash) && atB.of(u.ID, store.TokenHash{}) }, patience, time.Millisecond)
	}},
	{"the end of one leaves the other as it is", func(t *testing.T, a, b store.Store) {
		m := newMail("a@example.org", now)
		putMail(t, a, m)
		require.NoError(t, a.Close())
		putUsers(t, b, newUser("anna"))
		got, _ := claim(t, b, uuid.New(), now, 1)
		require.Len(t, got, 1)
	}},
	{"what one worker has leased another on the other node does not get", leasesAreExclusive},
	{"a lease runs out for the other node", leasesEnd},
	{"a leased mail holds its recipient's others back on the other node", leasesKeepOrder},
}
