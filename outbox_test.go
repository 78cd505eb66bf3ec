// outbox_test.go: the worker of the outbox against servers that fail in every
// scope; what is sent, kept, delayed, given up.

package registration

import (
	"context"
	"errors"
	"os"
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
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

func writeTestFile(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
}

// queued returns the rows that are due or will be.
func (s *site) queued() (rows []*store.Mail) {
	s.t.Helper()
	require.NoError(s.t, s.accounts.Store.View(s.t.Context(), func(tx store.Tx) (err error) {
		rows, err = tx.Mails(0, 100)
		return err
	}))
	return rows
}

func (s *site) failWith(fail func(*mail.Message) error) {
	s.mailer.mu.Lock()
	s.mailer.fail = fail
	s.mailer.mu.Unlock()
}

func TestOutboxTemporaryAndPermanent(t *testing.T) {
	s := newSite(t)
	var tried atomic.Int32
	var ids [2]string
	s.failWith(func(m *mail.Message) error {
		if n := tried.Add(1); n <= 2 {
			ids[n-1] = m.ID
			if n == 1 {
				return &mail.Error{Err: errors.New("451 later")}
			}
		}
		return nil
	})
	s.browser().post("/accounts/register", newcomer("ada"))
	require.Eventually(t, func() bool { rows := s.queued(); return len(rows) == 1 && rows[0].Attempts == 1 }, patience, time.Millisecond)
	row := s.queued()[0]
	require.True(t, row.Due.After(s.realm.Now()) && row.Due.Before(s.realm.Now().Add(outbox.MailFirstRetry+time.Second)))
	s.travel(outbox.MailFirstRetry)
	s.realm.engine.outbox.Notify()
	require.Equal(t, row.MessageID, s.mail().ID)
	require.Equal(t, ids[0], ids[1], "the same Message-ID")
	s.failWith(func(*mail.Message) error { return &mail.Error{Permanent: true, Err: errors.New("550 no")} })
	s.browser().post("/accounts/register", newcomer("bob"))
	require.Eventually(t, func() bool { return len(s.queued()) == 0 }, patience, time.Millisecond)
	require.Equal(t, 1, s.logs.FilterMessage("mail given up: it can't be sent").Len())
}

func TestOutboxServerDownTouchesNoRow(t *testing.T) {
	s := newSite(t)
	var tried atomic.Int32
	s.failWith(func(*mail.Message) error { tried.Add(1); return &mail.Error{Server: true, Err: errors.New("refused")} })
	for _, name := range []string{"ada", "bob", "cyd"} {
		s.browser().post("/accounts/register", newcomer(name))
	}
	require.Eventually(t, func() bool { return tried.Load() > 0 }, patience, time.Millisecond)
	require.Len(t, s.queued(), 3)
	require.Zero(t, s.queued()[0].Attempts)
	// A reload brings a new postman, who tries at once.
	s.failWith(nil)
	mended := *s.realm.postman
	s.realm.engine.start(&mended)
	for _, name := range []string{"ada", "bob", "cyd"} {
		require.Equal(t, name+"@example.org", s.mail().To, "in order")
	}
	s.noMail()
	s.realm.engine.finish(&mended)
}

func TestOutboxDropsWhatIsNoLongerWanted(t *testing.T) {
	s := newSite(t)
	s.failWith(func(*mail.Message) error { return &mail.Error{Err: errors.New("451 later")} })
	for _, name := range []string{"gone", "changed", "old"} {
		s.browser().post("/accounts/register", newcomer(name))
	}
	require.Eventually(t, func() bool {
		rows := s.queued()
		return len(rows) == 3 && rows[0].Attempts*rows[1].Attempts*rows[2].Attempts > 0
	}, patience, time.Millisecond)
	require.NoError(t, s.accounts.Delete(t.Context(), uuidOf(t, s, "gone")))
	_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, "changed"), account.AdminChange{IsActive: on()})
	require.NoError(t, err)
	rows := s.queued()
	rows[slices.IndexFunc(rows, func(m *store.Mail) bool { return m.To == "old@example.org" })].Tried = outbox.MailGiveUp
	require.NoError(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for _, m := range rows {
			if err := tx.PutMail(m); err != nil {
				return err
			}
		}
		return nil
	}))
	s.travel(time.Minute)
	s.realm.engine.outbox.Notify()
	require.Eventually(t, func() bool { return len(s.queued()) == 0 }, patience, time.Millisecond)
	require.Equal(t, 1, s.logs.FilterMessage("mail dropped: the account is gone").Len())
	require.Equal(t, 1, s.logs.FilterMessage("mail dropped: the account has changed since").Len())
	require.Equal(t, 1, s.logs.FilterMessage("mail given up: it could not be delivered for three days").Len())
}

func TestOutboxStopKeepsTheRow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := newSiteAt(t, path)
	s.failWith(func(*mail.Message) error { return &mail.Error{Server: true, Err: errors.New("down")} })
	s.browser().post("/accounts/register", newcomer("ada"))
	s.close()
	s = newSiteAt(t, path)
	require.Equal(t, "ada@example.org", s.mail().To)
	s.noMail()
}

func TestBackoff(t *testing.T) {
	for n := 1; n < 200; n++ {
		d := outbox.Backoff(n)
		require.GreaterOrEqual(t, d, outbox.MailFirstRetry/2)
		require.LessOrEqual(t, d, outbox.MailLastRetry)
	}
	require.GreaterOrEqual(t, outbox.Backoff(100), outbox.MailLastRetry/2)
	for d, want := range map[time.Duration]string{7 * day: "7 days", day: "24 hours", time.Hour: "1 hour", 90 * time.Minute: "90 minutes", 30 * time.Second: "30 seconds"} {
		require.Equal(t, want, english(t).Named("en").Text(text.InWords(d)))
	}
}

func TestOutboxFailingStore(t *testing.T) {
	s := newSite(t)
	s.realm.stop() // from here on the test is the worker
	s.browser().post("/accounts/register", newcomer("ada"))
	broken := &brokenStore{Store: s.accounts.Store}
	p := s.realm.postman
	o := outbox.NewWorker(broken, func() *outbox.Courier { return p })
	broken.broken.Store(true)
	_, ok := o.DeliverDue(t.Context(), p)
	require.False(t, ok, "sent, but not taken off the queue: the worker waits")
	require.Equal(t, "ada@example.org", s.mail().To)
	_, ok = o.DeliverDue(t.Context(), p)
	require.False(t, ok, "it still can't be taken off")
	require.Equal(t, 2, s.logs.FilterMessage("the outbox can't be written; trying again").Len())
	broken.broken.Store(false)
	_, ok = o.DeliverDue(t.Context(), p)
	require.True(t, ok)
	s.noMail() // it was not sent again
	require.Empty(t, s.queued())

	s.failWith(func(*mail.Message) error { return errors.New("a mailer that knows no scopes") })
	s.browser().post("/accounts/register", newcomer("bob"))
	broken.broken.Store(true)
	_, ok = o.DeliverDue(t.Context(), p)
	require.False(t, ok, "nor can a delay be written")
	require.True(t, o.StoreFails)
	broken.broken.Store(false)

	s.failWith(func(*mail.Message) error { panic("a bug in a mailer") })
	_, ok = o.Survive(t.Context(), p)
	require.False(t, ok, "it costs a try, not the process")
	s.failWith(nil)
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
	file, err := bolt.Open(filepath.Join(t.TempDir(), "r.db"), patience)
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
		pa, pb := a.postman(slow), b.postman(other)
		ids := a.queue(50)
		a.e.start(pa)
		b.e.start(pb)
		time.Sleep(3 * time.Hour)
		require.Zero(t, a.left())
		require.NotEmpty(t, other.got())
		require.Len(t, append(slow.got(), other.got()...), len(ids))
		require.ElementsMatch(t, ids, append(slow.got(), other.got()...))
		a.e.finish(pa)
		b.e.finish(pb)
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
		pb := b.postman(heir)
		b.e.start(pb)
		time.Sleep(outbox.MailLease - time.Second)
		require.Equal(t, ids[2:], heir.got())
		time.Sleep(2 * time.Second)
		require.Equal(t, slices.Concat(ids[2:], ids[:2]), heir.got())
		b.e.finish(pb)

		slow := &benchMailer{takes: time.Minute}
		pa := a.postman(slow)
		a.e.start(pa)
		ids = a.queue(2)
		time.Sleep(10 * time.Second)
		a.e.finish(pa)
		pb = b.postman(heir)
		b.e.start(pb)
		synctest.Wait()
		require.Empty(t, slow.got())
		require.Equal(t, ids, heir.got()[3:])
		b.e.finish(pb)
	})
}

// A worker that was cut off from the store for longer than its lease leaves the
// message to the one that took it.
func TestALostLeaseCutsTheMailOff(t *testing.T) {
	inBubbleOfTwo(t, func(t *testing.T, a, b *bench) {
		slow := &benchMailer{takes: 100 * time.Second}
		pa := a.postman(slow)
		ids := a.queue(1)
		a.e.start(pa)
		time.Sleep(10 * time.Second)
		_, _, err := b.store.ClaimMail(t.Context(), store.Claim{Worker: uuid.New(), Now: time.Now().Add(3 * time.Minute), Lease: outbox.MailLease, Limit: 1})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, slow.got())
		require.Equal(t, 1, slow.tried())
		require.Equal(t, 1, a.left(), "the row is untouched")
		time.Sleep(10 * time.Minute) // the other one dies
		require.Equal(t, ids, slow.got())
		a.e.finish(pa)
	})
}
