// hardening_outbox_test.go: the outbox under wrong clocks, changed settings,
// reloads, hanging mailers and full disks: no mail is lost or sent twice, and no
// mailer is used after its end.

package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"github.com/seed-928992b0/caddy-registration/store"
)

func serverDown(*mail.Message) error { return &mail.Error{Server: true, Err: errors.New("down")} }

func refusedForNow(*mail.Message) error { return &mail.Error{Err: errors.New("451 later")} }

// waiting waits until n rows are queued and one was tried.
func waiting(s *sitetest.Site, n int, tried *atomic.Int64) {
	s.T.Helper()
	require.Eventually(s.T, func() bool { return tried.Load() > 0 && len(s.Queued()) == n }, sitetest.Patience, time.Millisecond)
}

// counting returns fail, counted.
func counting(fail func(*mail.Message) error) (counted func(*mail.Message) error, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return func(m *mail.Message) error { calls.Add(1); return fail(m) }, calls
}

func TestHardeningOutboxClockAhead(t *testing.T) {
	for name, fail := range map[string]func(*mail.Message) error{"the server was down": serverDown, "the message was delayed": refusedForNow} {
		for _, ahead := range []time.Duration{73 * time.Hour, 400 * sitetest.Day} {
			t.Run(fmt.Sprint(name, ", ", ahead), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "r.db")
				s := sitetest.NewAt(t, path)
				failing, tried := counting(fail)
				s.FailWith(failing)
				s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
				waiting(s, 1, tried)
				// The clock is ahead, or Caddy was off; the first try meanwhile fails too.
				tried.Store(0)
				s.Travel(ahead)
				again := *s.Realm.Courier // tried at once, as after a restart
				s.Realm.Resources.Start(&again)
				waiting(s, 1, tried)
				s.Travel(-ahead)
				s.FailWith(nil)
				s.Travel(outbox.MailLastRetry) // what was delayed meanwhile is due
				s.Realm.Resources.Finish(&again)
				require.Equal(t, "ada@example.org", s.Mail().To)
				s.NoMail()
			})
		}
	}
}

// The mail that takes an account back is not lost either, when the clock is
// beyond the end of its link for a moment.
func TestHardeningOutboxClockAheadOfAnUndo(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	failing, tried := counting(serverDown)
	require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	s.FailWith(failing)
	require.Equal(t, 200, s.Browser().Post("/accounts/verify-email", link).StatusCode)
	waiting(s, 1, tried)
	require.Equal(t, store.MailEmailChanged, s.Queued()[0].Kind)
	s.FailWith(nil)
	s.Travel(account.UndoReserved + sitetest.Day)
	again := *s.Realm.Courier
	s.Realm.Resources.Start(&again)
	require.Eventually(t, func() bool { rows := s.Queued(); return len(rows) == 1 && rows[0].Attempts > 0 }, sitetest.Patience, time.Millisecond)
	s.Travel(-account.UndoReserved - sitetest.Day + time.Minute)
	s.Realm.Resources.Outbox.Notify()
	m := s.Mail()
	require.Equal(t, "ada@example.org", m.To)
	require.Equal(t, 200, s.Browser().Post("/accounts/undo-email", sitetest.LinkOf(m, t)).StatusCode)
	s.Realm.Resources.Finish(&again)
}

// Whether a link can be used again is a setting; a mail that waits does not
// depend on it, in either direction, nor when an earlier version queued it.
func TestHardeningOutboxOneTimeUseChanges(t *testing.T) {
	once := func(on bool) func(*registration.Settings) {
		return func(s *registration.Settings) { s.Register.OneTimeUse, s.ResetPassword.OneTimeUse = &on, &on }
	}
	for _, before := range []bool{true, false} {
		for _, earlier := range []bool{true, false} {
			t.Run(fmt.Sprintf("one_time_use was %t, queued by an earlier version %t", before, earlier), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "r.db")
				s := sitetest.NewAt(t, path, once(before))
				s.Member("bob")
				failing, tried := counting(serverDown)
				s.FailWith(failing)
				s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
				s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "bob"})
				waiting(s, 2, tried)
				if earlier { // it wrote the state of the link
					require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
						rows, err := tx.Mails(0, 10)
						for _, m := range rows {
							u, userErr := tx.User(m.User)
							err = errors.Join(err, userErr)
							m.State = s.Accounts.State(account.Purposes[m.Kind], u, m.To)
							err = errors.Join(err, tx.PutMail(m))
						}
						return err
					}))
				}
				now := s.Now.Load()
				s.Close()
				s = sitetest.NewAt(t, path, once(!before))
				s.Now.Store(now)
				sent := map[string]map[string]any{}
				for range 2 {
					m := s.Mail()
					sent[m.To] = sitetest.LinkOf(m, t)
				}
				require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", sent["ada@example.org"]).StatusCode)
				require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(sent["bob@example.org"], sitetest.Data{"password": "an even longer passphrase"})).StatusCode)
			})
		}
	}
	t.Run("what has changed is still dropped where links are for every use", func(t *testing.T) {
		s := sitetest.New(t, once(false))
		s.Member("bob")
		failing, tried := counting(serverDown)
		s.FailWith(failing)
		s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "bob"})
		waiting(s, 1, tried)
		require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
			u, err := tx.User(sitetest.UUIDOf(t, s, "bob"))
			if err != nil {
				return err
			}
			u.Generation++
			return s.Accounts.PutUser(tx, u)
		}))
		s.FailWith(nil)
		again := *s.Realm.Courier
		s.Realm.Resources.Start(&again)
		require.Eventually(t, func() bool { return len(s.Queued()) == 0 }, sitetest.Patience, time.Millisecond)
		s.NoMail()
		s.Realm.Resources.Finish(&again)
	})
}

func TestHardeningMailIsGivenUpAfterThreeDaysOfTries(t *testing.T) {
	t.Run("one message", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bench) {
			m := &benchMailer{fail: func() error { return refusedForNow(nil) }}
			p := b.courier(m)
			b.e.Start(p)
			start := time.Now()
			b.queue(1)
			for b.left() > 0 {
				time.Sleep(time.Minute)
			}
			require.InDelta(t, outbox.MailGiveUp.Hours(), time.Since(start).Hours(), 0.5)
			require.Greater(t, m.tried(), 200)
			b.e.Finish(p)
		})
	})
	t.Run("a server that stays down", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bench) {
			m := &benchMailer{fail: func() error { return serverDown(nil) }}
			p := b.courier(m)
			b.e.Start(p)
			start := time.Now()
			b.queue(100)
			time.Sleep(sitetest.Day)
			b.queue(70)
			for b.left() > 70 {
				time.Sleep(time.Minute)
			}
			require.InDelta(t, outbox.MailGiveUp.Hours(), time.Since(start).Hours(), 0.5)
			require.Equal(t, 70, b.left())
			require.Equal(t, 100, b.logs.FilterMessage("mail given up: the mail server could not be used for three days").Len())
			m.mu.Lock()
			m.fail = nil
			m.mu.Unlock()
			time.Sleep(outbox.MailLastRetry)
			require.Len(t, m.got(), 70)
			b.e.Finish(p)
		})
	})
	t.Run("Caddy was off for four days with a server that was down", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bench) {
			down := &benchMailer{fail: func() error { return serverDown(nil) }}
			p := b.courier(down)
			b.e.Start(p)
			b.queue(3)
			time.Sleep(sitetest.Day)
			b.e.Finish(p)
			time.Sleep(4 * sitetest.Day)
			again := newBench(t, b.store)
			p = again.courier(down)
			again.e.Start(p)
			time.Sleep(sitetest.Day)
			require.Equal(t, 3, b.left(), "its three days begin anew")
			down.mu.Lock()
			down.fail = nil
			down.mu.Unlock()
			time.Sleep(outbox.MailLastRetry)
			require.Len(t, down.got(), 3)
			again.e.Finish(p)
		})
	})
}

// A mailer that panics has let go of its message all the same.
func TestHardeningReloadAfterAPanic(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		bad, next := &benchMailer{fail: func() error { panic("a bug") }}, &benchMailer{}
		p1, p2 := b.courier(bad), b.courier(next)
		b.e.Start(p1)
		ids := b.queue(2)
		time.Sleep(time.Minute)
		start := time.Now()
		b.e.Start(p2)
		b.e.Finish(p1)
		synctest.Wait()
		require.Zero(t, time.Since(start))
		require.Equal(t, ids, next.got())
		b.e.Finish(p2)
	})
}

// A mail that was sent and can't be taken off the queue (the disk is full) is not
// sent again, whatever the clock does to the order of the queue.
func TestHardeningSentButNotRemoved(t *testing.T) {
	db := sitetest.EmptyStore(t)
	broken := &sitetest.BrokenStore{Store: db}
	b := newBench(t, db)
	m := &benchMailer{}
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	p := b.courier(m)
	p.Now = func() time.Time { return time.Unix(0, now.Load()) }
	o := outbox.NewWorker(broken, func() *outbox.Courier { return p })
	put := func(to string, due time.Time) {
		require.NoError(t, db.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutMail(&store.Mail{MessageID: to, Kind: store.MailEmailInUse, To: to + "@example.org", Queued: due, Due: due})
		}))
	}
	put("first", p.Now())
	broken.Broken.Store(true)
	_, ok := o.DeliverDue(t.Context(), p)
	require.False(t, ok)
	now.Add(-int64(10 * time.Minute)) // first is due in ten minutes again
	put("second", p.Now())
	for range 3 {
		_, ok = o.DeliverDue(t.Context(), p)
		require.False(t, ok)
	}
	require.Equal(t, []string{"first"}, m.got(), "nothing is sent while nothing can be taken off the queue")
	now.Add(int64(20 * time.Minute))
	_, ok = o.DeliverDue(t.Context(), p)
	require.False(t, ok)
	broken.Broken.Store(false)
	for range 3 {
		_, ok = o.DeliverDue(t.Context(), p)
		require.True(t, ok)
	}
	require.Equal(t, []string{"first", "second"}, m.got())
	require.Zero(t, b.left())
}

// pretender counts what it is asked to.
type pretender struct {
	sitetest.MemoryMailer
	pretended chan *mail.Message
}

func (p *pretender) Pretend(_ context.Context, m *mail.Message) error {
	p.pretended <- m
	return errors.New("of no consequence")
}

// Where there is no account, the mailer does the work of a mail; else the disk
// that it keeps busy would tell, in the time of the next answer.
func TestHardeningOutboxDecoyDoesTheWorkOfAMail(t *testing.T) {
	s := sitetest.New(t)
	m := &pretender{MemoryMailer: sitetest.MemoryMailer{Sent: make(chan *mail.Message, 10)}, pretended: make(chan *mail.Message, 10)}
	p := *s.Realm.Courier
	p.Mailer = m
	s.Realm.Resources.Start(&p)
	s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "nobody"})
	select {
	case pretended := <-m.pretended:
		require.Contains(t, pretended.Text, "signature=", "as large as a mail")
	case <-time.After(sitetest.Patience):
		require.Fail(t, "nothing was pretended")
	}
	require.Eventually(t, func() bool { return len(s.Queued()) == 0 }, sitetest.Patience, time.Millisecond)
	require.Empty(t, m.Sent)
	require.Eventually(t, func() bool {
		return s.Logs.FilterMessage("no mail: an act that sends one met no account to send it to").Len() == 1
	}, sitetest.Patience, time.Millisecond)
	s.Realm.Resources.Finish(&p)
}

func TestHardeningMailersPretend(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		f := &registration.FileMailer{Directory: t.TempDir()}
		require.NoError(t, f.Provision(caddy.Context{}))
		require.NoError(t, f.Pretend(t.Context(), sitetest.AMail()))
		left, err := os.ReadDir(f.Directory)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	t.Run("log", func(t *testing.T) {
		require.NoError(t, new(registration.LogMailer).Pretend(t.Context(), sitetest.AMail()))
	})
	t.Run("smtp takes as long as a mail, and tells nobody", func(t *testing.T) {
		p := sitetest.NewPostOffice(t, smtp.NoTLS)
		m := p.Mailer(t)
		require.NoError(t, m.Pretend(t.Context(), sitetest.AMail()))
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		m.Took = 50 * time.Millisecond
		start := time.Now()
		require.NoError(t, m.Pretend(t.Context(), sitetest.AMail()))
		require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
		m.Took = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, m.Pretend(ctx, sitetest.AMail()), context.Canceled)
		p.Require(t, 1, 1)
	})
}

// A message over which the server takes long holds up nobody else's, and comes once,
// over a reload too.
func TestHardeningSlowMessageIsOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		m := &choosyMailer{takes: func(to string) time.Duration {
			if to == "u0@example.org" {
				return 9 * time.Minute
			}
			return 0
		}}
		p := b.courier(m)
		b.e.Start(p)
		b.queue(5)
		time.Sleep(outbox.MailPatience + time.Second)
		require.Equal(t, []string{"u1@example.org", "u2@example.org", "u3@example.org", "u4@example.org"}, m.got())
		require.Equal(t, 1, b.left())
		time.Sleep(9 * time.Minute)
		require.Len(t, m.got(), 5)
		require.EqualValues(t, 5, m.tried.Load(), "each was tried once")
		require.Zero(t, b.left())
		b.e.Finish(p)
	})
}

// One recipient that a server's policy refuses stops nobody's mail; three of
// different domains in a row stop the queue, which is probed once a minute and goes
// on as a whole when the server is fixed.
func TestHardeningRefusedRecipients(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		m := &choosyMailer{refuses: func(to string) bool { return !strings.HasSuffix(to, "@good.example") }}
		p := b.courier(m)
		b.e.Start(p)
		b.queueTo("a@one.example", "x@good.example", "b@two.example", "y@good.example", "c@one.example", "d@one.example", "z@good.example")
		synctest.Wait()
		require.Equal(t, []string{"x@good.example", "y@good.example", "z@good.example"}, m.got(), "four refused ones wait, and nobody with them")
		require.Equal(t, 4, b.left())
		b.e.Finish(p)
	})
	inBubble(t, func(t *testing.T, b *bench) {
		var fixed atomic.Bool
		m := &choosyMailer{refuses: func(string) bool { return !fixed.Load() }}
		p := b.courier(m)
		b.e.Start(p)
		b.queueTo("a@one.example", "b@two.example", "c@three.example", "d@four.example", "e@five.example")
		synctest.Wait()
		require.EqualValues(t, 3, m.tried.Load())
		time.Sleep(10*outbox.MailProbe + time.Second)
		require.InDelta(t, 13, m.tried.Load(), 1, "one a minute")
		require.Equal(t, 1, b.logs.FilterMessage("the mail server refuses all recipients; all mail waits, one is tried once a minute and all after a reload").Len())
		fixed.Store(true)
		time.Sleep(outbox.MailProbe)
		require.Len(t, m.got(), 5, "all at once, whatever each had been put off")
		require.Zero(t, b.left())
		b.e.Finish(p)
	})
	inBubble(t, func(t *testing.T, b *bench) {
		m := &choosyMailer{refuses: func(string) bool { return true }}
		p := b.courier(m)
		b.e.Start(p)
		b.queueTo("a@one.example", "b@two.example", "c@three.example", "d@four.example")
		time.Sleep(time.Hour)
		next := &choosyMailer{}
		p2 := b.courier(next)
		b.e.Start(p2)
		b.e.Finish(p)
		synctest.Wait() // no time passes
		require.Len(t, next.got(), 4, "at once after a reload")
		b.e.Finish(p2)
	})
}

func (b *bench) queueTo(recipients ...string) {
	b.t.Helper()
	require.NoError(b.t, b.store.Update(b.t.Context(), func(tx store.Tx) error {
		for _, to := range recipients {
			if err := tx.PutMail(&store.Mail{MessageID: uuid.NewString() + "@example.com", Kind: store.MailEmailInUse, To: to, Queued: time.Now(), Due: time.Now()}); err != nil {
				return err
			}
		}
		return nil
	}))
	b.e.Outbox.Notify()
}

// choosyMailer decides by the recipient.
type choosyMailer struct {
	takes   func(to string) time.Duration
	refuses func(to string) bool
	mu      sync.Mutex
	sent    []string
	tried   atomic.Int64
}

func (m *choosyMailer) Send(_ context.Context, msg *mail.Message) error {
	if m.takes != nil {
		time.Sleep(m.takes(msg.To))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried.Add(1)
	if m.refuses != nil && m.refuses(msg.To) {
		return &mail.Error{Refused: true, Err: errors.New("554 5.7.1 no")}
	}
	m.sent = append(m.sent, msg.To)
	return nil
}

func (m *choosyMailer) Close() error { return nil }

func (m *choosyMailer) got() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.sent...)
}
