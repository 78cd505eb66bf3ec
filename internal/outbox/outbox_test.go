// outbox_test.go: the worker of the outbox against servers that fail in every
// scope; what is sent, kept, delayed, given up.

package outbox_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func TestOutboxTemporaryAndPermanent(t *testing.T) {
	s := sitetest.New(t)
	var tried atomic.Int32
	var ids [2]string
	s.FailWith(func(m *mail.Message) error {
		if n := tried.Add(1); n <= 2 {
			ids[n-1] = m.ID
			if n == 1 {
				return &mail.Error{Err: errors.New("451 later")}
			}
		}
		return nil
	})
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	require.Eventually(t, func() bool { rows := s.Queued(); return len(rows) == 1 && rows[0].Attempts == 1 }, sitetest.Patience, time.Millisecond)
	row := s.Queued()[0]
	require.True(t, row.Due.After(s.Realm.Now()) && row.Due.Before(s.Realm.Now().Add(outbox.MailFirstRetry+time.Second)))
	s.Travel(outbox.MailFirstRetry)
	s.Realm.Resources.Outbox.Notify()
	require.Equal(t, row.MessageID, s.Mail().ID)
	require.Equal(t, ids[0], ids[1], "the same Message-ID")
	s.FailWith(func(*mail.Message) error { return &mail.Error{Permanent: true, Err: errors.New("550 no")} })
	s.Browser().Post("/accounts/register", sitetest.Newcomer("bob"))
	require.Eventually(t, func() bool { return len(s.Queued()) == 0 }, sitetest.Patience, time.Millisecond)
	require.Equal(t, 1, s.Logs.FilterMessage("mail given up: it can't be sent").Len())
}

func TestOutboxServerDownTouchesNoRow(t *testing.T) {
	s := sitetest.New(t)
	var tried atomic.Int32
	s.FailWith(func(*mail.Message) error { tried.Add(1); return &mail.Error{Server: true, Err: errors.New("refused")} })
	for _, name := range []string{"ada", "bob", "cyd"} {
		s.Browser().Post("/accounts/register", sitetest.Newcomer(name))
	}
	require.Eventually(t, func() bool { return tried.Load() > 0 }, sitetest.Patience, time.Millisecond)
	require.Len(t, s.Queued(), 3)
	require.Zero(t, s.Queued()[0].Attempts)
	// A reload brings a new courier, who tries at once.
	s.FailWith(nil)
	fixed := *s.Realm.Courier
	s.Realm.Resources.Start(&fixed)
	for _, name := range []string{"ada", "bob", "cyd"} {
		require.Equal(t, name+"@example.org", s.Mail().To, "in order")
	}
	s.NoMail()
	s.Realm.Resources.Finish(&fixed)
}

func TestOutboxDropsWhatIsNoLongerWanted(t *testing.T) {
	s := sitetest.New(t)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Err: errors.New("451 later")} })
	for _, name := range []string{"gone", "changed", "old"} {
		s.Browser().Post("/accounts/register", sitetest.Newcomer(name))
	}
	require.Eventually(t, func() bool {
		rows := s.Queued()
		return len(rows) == 3 && rows[0].Attempts*rows[1].Attempts*rows[2].Attempts > 0
	}, sitetest.Patience, time.Millisecond)
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "gone")))
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "changed"), account.AdminChange{IsActive: sitetest.On()})
	require.NoError(t, err)
	rows := s.Queued()
	rows[slices.IndexFunc(rows, func(m *store.Mail) bool { return m.To == "old@example.org" })].Tried = outbox.MailGiveUp
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for _, m := range rows {
			if err := tx.PutMail(m); err != nil {
				return err
			}
		}
		return nil
	}))
	s.Travel(time.Minute)
	s.Realm.Resources.Outbox.Notify()
	require.Eventually(t, func() bool { return len(s.Queued()) == 0 }, sitetest.Patience, time.Millisecond)
	require.Equal(t, 1, s.Logs.FilterMessage("mail dropped: the account is gone").Len())
	require.Equal(t, 1, s.Logs.FilterMessage("mail dropped: the account has changed since").Len())
	require.Equal(t, 1, s.Logs.FilterMessage("mail given up: it could not be delivered for three days").Len())
}

func TestOutboxStopKeepsTheRow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := sitetest.NewAt(t, path)
	s.FailWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: errors.New("down")} })
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	s.Close()
	s = sitetest.NewAt(t, path)
	require.Equal(t, "ada@example.org", s.Mail().To)
	s.NoMail()
}

func TestBackoff(t *testing.T) {
	for n := 1; n < 200; n++ {
		d := outbox.Backoff(n)
		require.GreaterOrEqual(t, d, outbox.MailFirstRetry/2)
		require.LessOrEqual(t, d, outbox.MailLastRetry)
	}
	require.GreaterOrEqual(t, outbox.Backoff(100), outbox.MailLastRetry/2)
	for d, want := range map[time.Duration]string{7 * sitetest.Day: "7 days", sitetest.Day: "24 hours", time.Hour: "1 hour", 90 * time.Minute: "90 minutes", 30 * time.Second: "30 seconds"} {
		require.Equal(t, want, sitetest.English(t).Named("en").Text(text.InWords(d)))
	}
}

func TestOutboxFailingStore(t *testing.T) {
	s := sitetest.New(t)
	s.Realm.Stop() // from here on the test is the worker
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	broken := &sitetest.BrokenStore{Store: s.Accounts.Store}
	p := s.Realm.Courier
	o := outbox.NewWorker(broken, func() *outbox.Courier { return p })
	broken.Broken.Store(true)
	_, ok := o.DeliverDue(t.Context(), p)
	require.False(t, ok, "sent, but not taken off the queue: the worker waits")
	require.Equal(t, "ada@example.org", s.Mail().To)
	_, ok = o.DeliverDue(t.Context(), p)
	require.False(t, ok, "it still can't be taken off")
	require.Equal(t, 2, s.Logs.FilterMessage("the outbox can't be written; trying again").Len())
	broken.Broken.Store(false)
	_, ok = o.DeliverDue(t.Context(), p)
	require.True(t, ok)
	s.NoMail() // it was not sent again
	require.Empty(t, s.Queued())

	s.FailWith(func(*mail.Message) error { return errors.New("a mailer that knows no scopes") })
	s.Browser().Post("/accounts/register", sitetest.Newcomer("bob"))
	broken.Broken.Store(true)
	_, ok = o.DeliverDue(t.Context(), p)
	require.False(t, ok, "nor can a delay be written")
	require.True(t, o.StoreFails)
	broken.Broken.Store(false)

	s.FailWith(func(*mail.Message) error { panic("a bug in a mailer") })
	_, ok = o.Survive(t.Context(), p)
	require.False(t, ok, "it costs a try, not the process")
	s.FailWith(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, ok = o.DeliverDue(ctx, p)
	require.False(t, ok)
	noMailer := *p
	noMailer.Mailer = nil
	wait, ok := o.DeliverDue(t.Context(), &noMailer)
	require.True(t, ok)
	require.Equal(t, outbox.MailIdle, wait)
}

// inBubbleOfTwo is inBubble with two engines on one queue, as two nodes have them.
func inBubbleOfTwo(t *testing.T, test func(t *testing.T, a, b *bench)) {
	t.Helper()
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), sitetest.Patience)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	one, err := file.Realm("default")
	require.NoError(t, err)
	two, err := file.Realm("default")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) { test(t, newBench(t, one), newBench(t, two)) })
}

// Each message takes nearly as long as a lease lasts, and a claim has many: none is
// sent twice, whoever sends it.
func TestTwoWorkersSendEachMailOnce(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		slow, other := &benchMailer{takes: 110 * time.Second}, &benchMailer{takes: 110 * time.Second}
		pa, pb := a.courier(slow), b.courier(other)
		ids := a.queue(50)
		a.e.Start(pa)
		b.e.Start(pb)
		time.Sleep(3 * time.Hour)
		require.Zero(t, a.left())
		require.NotEmpty(t, other.got())
		require.Len(t, append(slow.got(), other.got()...), len(ids))
		require.ElementsMatch(t, ids, append(slow.got(), other.got()...))
		a.e.Finish(pa)
		b.e.Finish(pb)
	})
}

// What a dead worker had in its hands waits for the end of the lease, what one had
// that stopped does not.
func TestAWorkersEnd(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		ids := a.queue(3)
		_, _, err := a.store.ClaimMail(t.Context(), store.Claim{Worker: uuid.New(), Now: time.Now(), Lease: outbox.MailLease, Limit: 2})
		require.NoError(t, err)
		heir := &benchMailer{}
		pb := b.courier(heir)
		b.e.Start(pb)
		time.Sleep(outbox.MailLease - time.Second)
		require.Equal(t, ids[2:], heir.got())
		time.Sleep(2 * time.Second)
		require.Equal(t, slices.Concat(ids[2:], ids[:2]), heir.got())
		b.e.Finish(pb)

		slow := &benchMailer{takes: time.Minute}
		pa := a.courier(slow)
		a.e.Start(pa)
		ids = a.queue(2)
		time.Sleep(10 * time.Second)
		a.e.Finish(pa)
		pb = b.courier(heir)
		b.e.Start(pb)
		synctest.Wait()
		require.Empty(t, slow.got())
		require.Equal(t, ids, heir.got()[3:])
		b.e.Finish(pb)
	})
}

// A worker that was cut off from the store for longer than its lease leaves the
// message to the one that took it.
func TestALostLeaseCutsTheMailOff(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		slow := &benchMailer{takes: 100 * time.Second}
		pa := a.courier(slow)
		ids := a.queue(1)
		a.e.Start(pa)
		time.Sleep(10 * time.Second)
		_, _, err := b.store.ClaimMail(t.Context(), store.Claim{Worker: uuid.New(), Now: time.Now().Add(3 * time.Minute), Lease: outbox.MailLease, Limit: 1})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, slow.got())
		require.Equal(t, 1, slow.tried())
		require.Equal(t, 1, a.left(), "the row is untouched")
		time.Sleep(10 * time.Minute) // the other one dies
		require.Equal(t, ids, slow.got())
		a.e.Finish(pa)
	})
}
