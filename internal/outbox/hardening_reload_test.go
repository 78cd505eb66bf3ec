// hardening_reload_test.go: the outbox over reloads, and a worker whose mailers are the
// test's, in a bubble of its own time.

package outbox_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A bench is a worker whose mailers are the test's, in a bubble of its own time.
type bench struct {
	t     *testing.T
	e     *inside.Resources
	logs  *observer.ObservedLogs
	store store.Store
}

func newBench(t *testing.T, store store.Store) *bench {
	return &bench{t: t, e: inside.NewEngine(store), store: store}
}

func (b *bench) courier(m mail.Mailer) *outbox.Courier {
	core, logs := observer.New(zap.DebugLevel)
	b.logs = logs
	return &outbox.Courier{
		Render: func(m *store.Mail, _ *store.User) (*mail.Message, error) {
			return &mail.Message{ID: m.MessageID, From: "no-reply@example.com", To: m.To, Subject: m.Next, Text: "x", Date: m.Queued}, nil
		},
		Wanted: func(*store.Mail, *store.User) bool { return true }, Mailer: m, Logger: zap.New(core), Now: time.Now,
	}
}

func (b *bench) queue(n int) (ids []string) {
	b.t.Helper()
	require.NoError(b.t, b.store.Update(b.t.Context(), func(tx store.Tx) error {
		ids = nil
		for i := range n {
			m := &store.Mail{MessageID: uuid.NewString() + "@example.com", Kind: store.MailEmailInUse, To: fmt.Sprintf("u%d@example.org", i), Queued: time.Now(), Due: time.Now()}
			ids = append(ids, m.MessageID)
			if err := tx.PutMail(m); err != nil {
				return err
			}
		}
		return nil
	}))
	b.e.Outbox.Notify()
	return ids
}

func (b *bench) left() (n int) {
	b.t.Helper()
	require.NoError(b.t, b.store.View(context.Background(), func(tx store.Tx) error {
		rows, err := tx.Mails(0, 1000)
		n = len(rows)
		return err
	}))
	return n
}

// benchMailer takes its time, and tells whether it was used after its end.
type benchMailer struct {
	takes  time.Duration
	deaf   bool // to the end of its context
	fail   func() error
	mu     sync.Mutex
	sent   []string
	tries  []time.Time
	closed bool
	late   int
}

func (m *benchMailer) Send(ctx context.Context, msg *mail.Message) error {
	m.mu.Lock()
	if m.tries = append(m.tries, time.Now()); m.closed {
		m.late++
	}
	m.mu.Unlock()
	timer := time.NewTimer(m.takes)
	defer timer.Stop()
	done := ctx.Done()
	if m.deaf {
		done = nil
	}
	select {
	case <-timer.C:
	case <-done:
		return mail.Stopped(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return err
		}
	}
	m.sent = append(m.sent, msg.ID)
	return nil
}

func (m *benchMailer) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *benchMailer) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// tried is how many messages were begun.
func (m *benchMailer) tried() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tries)
}

// usedLate is how many were begun after the end.
func (m *benchMailer) usedLate() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.late
}

func (m *benchMailer) got() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.sent...)
}

// inBubble runs a test of the outbox on a clock of its own, over a real store.
func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	store := sitetest.EmptyStore(t)
	synctest.Test(t, func(t *testing.T) { test(t, newBench(t, store)) })
}

func TestHardeningReloadTakesOverAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		former, next := &benchMailer{takes: 4 * time.Second}, &benchMailer{}
		p1, p2 := b.courier(former), b.courier(next)
		b.e.Start(p1)
		ids := b.queue(23)
		time.Sleep(10 * time.Second) // two are sent, the third is under way
		require.Len(t, former.got(), 2)
		start := time.Now()
		b.e.Start(p2)
		b.e.Finish(p1)
		require.Zero(t, time.Since(start), "the reload waits for nothing")
		require.True(t, former.isClosed())
		synctest.Wait()
		require.Equal(t, ids, append(former.got(), next.got()...), "each once, in order: the one that was cut off is sent again")
		require.Zero(t, former.usedLate(), "used after its end")
		require.Zero(t, b.left())
		b.e.Finish(p2)
		require.True(t, next.isClosed())
	})
}

// A reload that fails half-way: the former configuration goes on at once, and not
// when the other's mail server would have been tried again.
func TestHardeningFailedReloadGoesOnAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		former, broken := &benchMailer{}, &benchMailer{fail: func() error { return serverDown(nil) }}
		p1, p2 := b.courier(former), b.courier(broken)
		b.e.Start(p1)
		b.e.Start(p2)
		ids := b.queue(3)
		time.Sleep(5 * time.Hour)
		require.Empty(t, former.got())
		tried := broken.tried()
		b.e.Finish(p2)
		synctest.Wait() // no time passes
		require.Equal(t, ids, former.got())
		require.Equal(t, tried, broken.tried())
		require.Zero(t, broken.usedLate())
		b.e.Finish(p1)
	})
}

// A mailer that hangs and doesn't heed its context blocks the reload for a
// while, and is not closed under its message.
func TestHardeningReloadWithADeafMailer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		deaf, next := &benchMailer{takes: time.Hour, deaf: true}, &benchMailer{}
		p1, p2 := b.courier(deaf), b.courier(next)
		b.e.Start(p1)
		ids := b.queue(2)
		time.Sleep(time.Second)
		start := time.Now()
		b.e.Start(p2)
		b.e.Finish(p1)
		require.Equal(t, 5*time.Second, time.Since(start))
		require.False(t, deaf.isClosed())
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.True(t, deaf.isClosed(), "closed once it is at rest")
		require.Zero(t, deaf.usedLate())
		require.Equal(t, ids, append(deaf.got(), next.got()...))
		b.e.Finish(p2)
	})
}

// A mail server that hangs, at whatever step, does not block the reload that
// would put it right; and where it has the whole message, it is heard out for a moment,
// so that the message doesn't come twice.
func TestHardeningReloadWithAHangingMailServer(t *testing.T) {
	for _, at := range []string{"", "EHLO", "MAIL", "RCPT", "DATA", ".", "a late answer"} {
		t.Run("at "+at, func(t *testing.T) {
			t.Parallel()
			hangs := make(chan struct{})
			answers := map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 ok"}
			address, open := sitetest.ScriptedServer(t, func(conn net.Conn) {
				lines := bufio.NewReader(conn)
				for word, inData := "", false; ; {
					if word == at || at == "a late answer" && word == "." {
						close(hangs)
						if at != "a late answer" {
							sitetest.Tarpit(conn)
							return
						}
						time.Sleep(200 * time.Millisecond)
					}
					if _, err := io.WriteString(conn, answers[word]+"\r\n"); err != nil {
						return
					}
					inData = word == "DATA"
					for next := ""; next == "" || inData && next != "."; {
						line, err := lines.ReadString('\n')
						if err != nil {
							return
						}
						next = strings.Fields(line + " -")[0]
						word = next
					}
				}
			})
			b := newBench(t, sitetest.EmptyStore(t))
			hanging, next := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout}), &benchMailer{}
			hanging.Server.Limits = smtp.DefaultLimits
			hanging.Server.Limits.DataEnd = time.Second
			p1, p2 := b.courier(hanging), b.courier(next)
			b.e.Start(p1)
			ids := b.queue(2)
			<-hangs
			start := time.Now()
			b.e.Start(p2)
			b.e.Finish(p1)
			require.Less(t, time.Since(start), 20*time.Second, "of its minute")
			require.Eventually(t, func() bool { return b.left() == 0 && open.Load() == 0 }, sitetest.Patience, time.Millisecond)
			if at == "a late answer" {
				ids = ids[1:]
			}
			require.ElementsMatch(t, ids, next.got())
			b.e.Finish(p2)
		})
	}
}
