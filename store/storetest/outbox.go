// outbox.go: what a store promises about the queue of mails.

package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func newMail(to string, due time.Time) *store.Mail {
	return &store.Mail{
		MessageID: uuid.NewString() + "@example.org", Kind: store.MailVerifyRegistration, Tried: 71*time.Hour + 3*time.Millisecond,
		To: to, User: uuid.Must(uuid.NewV7()), State: []byte{1, 2, 3}, Language: "nb",
		Queued: now, Due: due, Attempts: 2, Failed: "451 4.7.1 später", Device: "Firefox, Linux", Address: "2001:db8::7",
	}
}

func putMail(t *testing.T, s store.Store, mails ...*store.Mail) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, m := range mails {
			if err := tx.PutMail(m); err != nil {
				return err
			}
		}
		return nil
	})
}

func deleteMail(t *testing.T, s store.Store, seq uint64) {
	t.Helper()
	update(t, s, func(tx store.Tx) error { return tx.DeleteMail(seq) })
}

// due is what a worker that nobody else works beside can have; it gives it back.
func due(t *testing.T, s store.Store, at time.Time, limit int) []*store.Mail {
	t.Helper()
	w := uuid.New()
	mails, _ := claim(t, s, w, at, limit)
	claim(t, s, w, at, 0)
	return mails
}

func claim(t *testing.T, s store.Store, worker uuid.UUID, at time.Time, limit int) ([]*store.Mail, time.Time) {
	t.Helper()
	mails, next, err := s.ClaimMail(t.Context(), claimOf(worker, at, limit))
	require.NoError(t, err)
	return mails, next
}

func claimOf(worker uuid.UUID, at time.Time, limit int) store.Claim {
	return store.Claim{Worker: worker, Now: at, Lease: 2 * time.Minute, Limit: limit}
}

// queue is all that waits.
func queue(t *testing.T, s store.Store) (mails []*store.Mail) {
	t.Helper()
	view(t, s, func(tx store.Tx) (err error) {
		mails, err = tx.Mails(0, 1000)
		return err
	})
	return mails
}

func dueSeqs(t *testing.T, s store.Store, at time.Time, limit int) (seqs []uint64) {
	t.Helper()
	for _, m := range due(t, s, at, limit) {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

// nextMail is when there will be something to claim; zero: never.
func nextMail(t *testing.T, s store.Store) time.Time {
	t.Helper()
	mails, next := claim(t, s, uuid.New(), now.Add(-time.Minute), 10)
	require.Empty(t, mails)
	return next
}

var mailPromises = []promise{
	{"every field is read back", func(t *testing.T, open opener) {
		s := open(t)
		full := newMail("Åsa@example.org", now)
		bare := &store.Mail{Kind: store.MailEmailInUse, To: "b@example.org", Queued: now, Due: now.Add(time.Second)}
		putMail(t, s, full, bare)
		require.Equal(t, []*store.Mail{full, bare}, due(t, s, now.Add(time.Hour), 10))
	}},
	{"records are copies", func(t *testing.T, open opener) {
		s := open(t)
		m := newMail("a@example.org", now)
		putMail(t, s, m)
		want := *m
		want.State = []byte{1, 2, 3}
		m.State[0], m.To = 9, "changed"
		got := due(t, s, now, 1)
		require.Equal(t, []*store.Mail{&want}, got)
		got[0].State[0] = 9
		require.Equal(t, []*store.Mail{&want}, due(t, s, now, 1))
	}},
	{"Seq grows and is never used again", func(t *testing.T, open opener) {
		s := open(t)
		var last uint64
		for range 3 {
			a, b := newMail("a@example.org", now), newMail("b@example.org", now)
			putMail(t, s, a, b)
			require.Greater(t, a.Seq, last)
			require.Greater(t, b.Seq, a.Seq)
			last = b.Seq
			deleteMail(t, s, a.Seq)
			deleteMail(t, s, b.Seq)
		}
	}},
	{"a mail of a failed act is queued anew by the next one", func(t *testing.T, open opener) {
		s := open(t)
		m, failed := newMail("a@example.org", now), errors.New("failed")
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(tx.PutMail(m), failed)
		}), failed)
		require.Zero(t, m.Seq, "nothing is left behind, in the record neither")
		other := newMail("b@example.org", now) // may get the Seq that m had
		putMail(t, s, other)
		putMail(t, s, m)
		require.Greater(t, m.Seq, other.Seq)
		require.Equal(t, []*store.Mail{other, m}, due(t, s, now, 10))
	}},
	{"due mail comes in the order of its due times", func(t *testing.T, open opener) {
		s := open(t)
		var want []uint64
		for i, minutes := range []int{5, 1, 4, 2, 3} {
			m := newMail(fmt.Sprintf("%d@example.org", i), now.Add(time.Duration(minutes)*time.Minute))
			putMail(t, s, m)
			want = append(want, m.Seq)
		}
		want = []uint64{want[1], want[3], want[4], want[2], want[0]}
		require.Empty(t, dueSeqs(t, s, now.Add(time.Minute-time.Second), 10))
		require.Equal(t, want[:1], dueSeqs(t, s, now.Add(time.Minute), 10), "due at that very moment")
		require.Equal(t, want[:3], dueSeqs(t, s, now.Add(3*time.Minute), 10))
		require.Equal(t, want, dueSeqs(t, s, now.Add(time.Hour), 10))
		require.Equal(t, want[:2], dueSeqs(t, s, now.Add(time.Hour), 2))
		require.Empty(t, dueSeqs(t, s, now.Add(time.Hour), 0))
	}},
	{"a recipient gets his mail in order", func(t *testing.T, open opener) {
		s := open(t)
		first, second := newMail("a@example.org", now.Add(20*time.Minute)), newMail("a@example.org", now.Add(-time.Hour))
		third, other := newMail("a@example.org", now), newMail("aa@example.org", now)
		putMail(t, s, first, second, third, other)
		require.Equal(t, []uint64{other.Seq}, dueSeqs(t, s, now, 10), "the first one is not due and holds the others")
		require.Equal(t, []uint64{other.Seq, first.Seq}, dueSeqs(t, s, now.Add(20*time.Minute), 10))
		deleteMail(t, s, third.Seq) // not the head: nothing comes forward
		require.Equal(t, []uint64{other.Seq, first.Seq}, dueSeqs(t, s, now.Add(20*time.Minute), 10))
		deleteMail(t, s, first.Seq)
		require.Equal(t, []uint64{second.Seq, other.Seq}, dueSeqs(t, s, now, 10))
		deleteMail(t, s, second.Seq)
		require.Equal(t, []uint64{other.Seq}, dueSeqs(t, s, now, 10))
	}},
	{"a mail that is put off keeps its place in the queue", func(t *testing.T, open opener) {
		s := open(t)
		first, second := newMail("a@example.org", now), newMail("a@example.org", now)
		putMail(t, s, first, second)
		seq := first.Seq
		first.Due, first.Attempts = now.Add(20*time.Minute), 3
		putMail(t, s, first)
		require.Equal(t, seq, first.Seq)
		require.Empty(t, dueSeqs(t, s, now, 10))
		require.Equal(t, []*store.Mail{first}, due(t, s, now.Add(20*time.Minute), 10))
		second.Due = now.Add(-time.Hour) // behind the first one: still waits
		putMail(t, s, second)
		require.Empty(t, dueSeqs(t, s, now, 10))
		deleteMail(t, s, first.Seq)
		require.Equal(t, []*store.Mail{second}, due(t, s, now, 10))
	}},
	{"what is due too far ahead was written under a wrong clock: it is due", func(t *testing.T, open opener) {
		s := open(t)
		far, further := newMail("a@example.org", now.Add(73*time.Hour)), newMail("b@example.org", now.Add(80*365*24*time.Hour))
		behind, near, limit := newMail("a@example.org", now), newMail("c@example.org", now), newMail("d@example.org", now.Add(store.MailFarAhead))
		putMail(t, s, far, further, behind, near, limit)
		require.Equal(t, near.Seq, dueSeqs(t, s, now, 1)[0], "what is due comes first")
		require.ElementsMatch(t, []uint64{far.Seq, further.Seq, near.Seq}, dueSeqs(t, s, now, 10))
		require.Len(t, dueSeqs(t, s, now, 2), 2)
		require.ElementsMatch(t, []uint64{far.Seq, further.Seq, near.Seq, limit.Seq}, dueSeqs(t, s, now.Add(store.MailFarAhead), 10))
		deleteMail(t, s, far.Seq)
		require.ElementsMatch(t, []uint64{behind.Seq, further.Seq, near.Seq}, dueSeqs(t, s, now, 10))
	}},
	{"a mail may change its recipient", func(t *testing.T, open opener) {
		s := open(t)
		first, second, third := newMail("a@example.org", now), newMail("a@example.org", now), newMail("b@example.org", now)
		putMail(t, s, first, second, third)
		first.To = "b@example.org"
		putMail(t, s, first)
		require.Equal(t, []uint64{first.Seq, second.Seq}, dueSeqs(t, s, now, 10), "first is older than third")
		deleteMail(t, s, first.Seq)
		require.Equal(t, []uint64{second.Seq, third.Seq}, dueSeqs(t, s, now, 10))
	}},
	{"a claim that finds nothing says when there will be something", func(t *testing.T, open opener) {
		s := open(t)
		require.Zero(t, nextMail(t, s))
		late, early := newMail("a@example.org", now.Add(20*time.Minute)), newMail("b@example.org", now.Add(time.Minute))
		putMail(t, s, late, early)
		require.Equal(t, now.Add(time.Minute), nextMail(t, s))

		// A mail behind late is due, but cannot be sent: whoever sleeps until
		// then must not be woken for it.
		behind := newMail("a@example.org", now)
		putMail(t, s, behind)
		require.Equal(t, now.Add(time.Minute), nextMail(t, s))
		deleteMail(t, s, early.Seq)
		require.Empty(t, dueSeqs(t, s, now, 10))
		deleteMail(t, s, late.Seq)
		require.Equal(t, now, nextMail(t, s))
		deleteMail(t, s, behind.Seq)
		require.Zero(t, nextMail(t, s))
	}},
	{"the whole queue can be read in pages", func(t *testing.T, open opener) {
		s := open(t)
		first, second, third := newMail("a@example.org", now.Add(time.Hour)), newMail("a@example.org", now), newMail("b@example.org", now)
		putMail(t, s, first, second, third)
		claim(t, s, uuid.New(), now, 1)
		require.Equal(t, []*store.Mail{first, second, third}, queue(t, s), "by Seq; put off, held back and leased ones too")
		view(t, s, func(tx store.Tx) error {
			page, err := tx.Mails(first.Seq, 1)
			require.NoError(t, err)
			require.Equal(t, []*store.Mail{second}, page)
			page, err = tx.Mails(third.Seq, 1)
			require.NoError(t, err)
			require.Empty(t, page)
			page, err = tx.Mails(0, 0)
			require.NoError(t, err)
			require.Empty(t, page)
			return nil
		})
	}},
	{"an unknown Seq is ErrNotFound", func(t *testing.T, open opener) {
		s := open(t)
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			return tx.DeleteMail(77)
		}), store.ErrNotFound)
		m := newMail("a@example.org", now)
		putMail(t, s, m)
		deleteMail(t, s, m.Seq)
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutMail(m)
		}), store.ErrNotFound, "a mail that was removed meanwhile does not come back")
		require.Empty(t, dueSeqs(t, s, now, 10))
	}},
}
