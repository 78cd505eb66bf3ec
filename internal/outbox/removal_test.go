// removal_test.go: mails are sent while others, which were, are taken off the queue: none
// twice, none lost, and few at stake.

package outbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"github.com/seed-928992b0/caddy-registration/store"
)

// slowDisk is a store whose writes take a while, or fail.
type slowDisk struct {
	store.Store
	takes atomic.Int64
	full  atomic.Bool
}

// slowed is a mailer with which the disk becomes slow.
func (s *slowDisk) slowed(send, write time.Duration) *choosyMailer {
	return &choosyMailer{takes: func(string) time.Duration { s.takes.Store(int64(write)); return send }}
}

func (s *slowDisk) Update(ctx context.Context, fn func(store.Tx) error) error {
	time.Sleep(time.Duration(s.takes.Load()))
	if s.full.Load() {
		return errors.New("no space left on device")
	}
	return s.Store.Update(ctx, fn)
}

// onSlowDisk runs a test in a bubble, with a queue of 40 mails.
func onSlowDisk(t *testing.T, test func(t *testing.T, b *bench, disk *slowDisk)) {
	t.Helper()
	disk := &slowDisk{Store: sitetest.EmptyStore(t)}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, disk)
		b.store = disk.Store
		b.queue(40)
		test(t, b, disk)
	})
}

func TestMailIsSentWhileTheDiskWrites(t *testing.T) {
	onSlowDisk(t, func(t *testing.T, b *bench, disk *slowDisk) {
		m := disk.slowed(0, time.Minute)
		p := b.courier(m)
		b.e.Start(p)
		time.Sleep(time.Second)
		require.Len(t, m.got(), 1, "the first shows whether the disk works")
		time.Sleep(time.Minute)
		require.Len(t, m.got(), 2+outbox.MailUnremoved, "no more at stake")
		require.Equal(t, 39, b.left())
		time.Sleep(time.Hour)
		require.Len(t, m.got(), 40)
		require.ElementsMatch(t, m.got(), unique(m.got()), "none twice")
		require.Zero(t, b.left())
		b.e.Finish(p)
	})
}

func unique(of []string) (once []string) {
	seen := map[string]bool{}
	for _, v := range of {
		if !seen[v] {
			once = append(once, v)
		}
		seen[v] = true
	}
	return once
}

// What was sent and can't be taken off is not sent again, nor is anything else, until it can.
func TestDiskFullWhileMailIsSent(t *testing.T) {
	onSlowDisk(t, func(t *testing.T, b *bench, disk *slowDisk) {
		m := disk.slowed(100*time.Millisecond, time.Second)
		p := b.courier(m)
		b.e.Start(p)
		time.Sleep(5 * time.Second)
		sent := len(m.got())
		require.Greater(t, sent, 10)
		disk.full.Store(true)
		time.Sleep(time.Hour)
		stopped := len(m.got())
		require.LessOrEqual(t, stopped-b.sentAndGone(40), outbox.MailUnremoved+1)
		time.Sleep(time.Hour)
		require.Len(t, m.got(), stopped)
		disk.full.Store(false)
		time.Sleep(time.Hour)
		require.Len(t, m.got(), 40)
		require.ElementsMatch(t, m.got(), unique(m.got()), "none twice")
		require.Zero(t, b.left())
		b.e.Finish(p)
	})
}

func (b *bench) sentAndGone(of int) int { return of - b.left() }

// Where the process ends before the disk has it, what was at stake comes once more, and
// nothing else.
func TestEndWhileMailIsSent(t *testing.T) {
	onSlowDisk(t, func(t *testing.T, b *bench, disk *slowDisk) {
		m := disk.slowed(100*time.Millisecond, time.Second)
		p := b.courier(m)
		b.e.Start(p)
		time.Sleep(5 * time.Second)
		disk.full.Store(true)
		time.Sleep(time.Minute)
		b.e.Finish(p)
		sent, left := m.got(), b.left()
		require.LessOrEqual(t, len(sent)-b.sentAndGone(40), outbox.MailUnremoved+1)

		after := newBench(t, disk.Store)
		m2 := &choosyMailer{}
		p = after.courier(m2)
		after.e.Start(p)
		time.Sleep(outbox.MailLease + outbox.MailIdle)
		after.e.Finish(p)
		require.Len(t, m2.got(), left)
		all := append(sent, m2.got()...)
		require.Len(t, unique(all), 40)
		require.LessOrEqual(t, len(all)-40, outbox.MailUnremoved+1)
		require.Zero(t, after.left())
	})
}

// What fails in the transaction that takes mail off is no end of the process.
func TestPanicWhileMailIsSent(t *testing.T) {
	onSlowDisk(t, func(t *testing.T, b *bench, _ *slowDisk) {
		var took atomic.Int64
		b.e.Outbox.Done = func(store.Tx, *store.Mail, outbox.End) error {
			if took.Add(1) == 5 {
				panic("something")
			}
			return nil
		}
		m := &choosyMailer{}
		p := b.courier(m)
		b.e.Start(p)
		time.Sleep(time.Hour)
		require.Equal(t, 1, b.logs.FilterMessage("the outbox panicked; trying again").Len())
		require.Len(t, m.got(), 40)
		require.ElementsMatch(t, m.got(), unique(m.got()), "none twice")
		require.Zero(t, b.left())
		b.e.Finish(p)
	})
}

// office is a mail server that takes commands in groups. It knows no u3, and hangs up in
// the middle of every tenth group.
type office struct {
	mu     sync.Mutex
	got    map[string][]string // recipient to the numbers in order
	groups int
}

func (o *office) serve(conn net.Conn) {
	lines := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 hi")
	to, number := "", ""
	for {
		raw, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		word, rest, _ := strings.Cut(strings.TrimRight(raw, "\r\n"), " ")
		switch word {
		case "EHLO":
			say("250-mail.example.com\r\n250 PIPELINING")
		case "MAIL":
			say("250 ok")
		case "RCPT":
			to = strings.Trim(strings.TrimPrefix(rest, "TO:"), "<>")
			o.mu.Lock()
			o.groups++
			hangUp := o.groups%10 == 0
			o.mu.Unlock()
			if hangUp {
				return
			}
			if strings.HasPrefix(to, "u3@") {
				to = ""
				say("550 5.1.1 no such user")
				continue
			}
			say("250 ok")
		case "DATA":
			if to == "" {
				say("503 no valid recipients")
				continue
			}
			say("354 go on")
			for line := ""; line != ".\r\n"; {
				if line, err = lines.ReadString('\n'); err != nil {
					return
				}
				if n, ok := strings.CutPrefix(line, "Subject: "); ok {
					number = strings.TrimSpace(n)
				}
			}
			o.mu.Lock()
			o.got[to] = append(o.got[to], number)
			o.mu.Unlock()
			say("250 ok")
		default:
			say("250 ok")
		}
	}
}

// Refusals and ends in the middle of what is said in one go: each recipient gets his mail in
// order and once, and who is unknown keeps nobody from it.
func TestPipelinedQueueInOrder(t *testing.T) {
	const recipients, each = 12, 5
	o := &office{got: map[string][]string{}}
	address, _ := sitetest.ScriptedServer(t, o.serve)
	mailer := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS})
	db := sitetest.EmptyStore(t)
	synctest.Test(t, func(t *testing.T) {
		p := &outbox.Courier{
			Render: func(m *store.Mail, _ *store.User) (*mail.Message, error) {
				return &mail.Message{ID: m.MessageID, From: "no-reply@example.com", To: m.To, Subject: m.Next, Text: "x", Date: m.Queued}, nil
			},
			Wanted: func(*store.Mail, *store.User) bool { return true }, Mailer: mailer, Logger: zap.NewNop(), Now: time.Now,
		}
		require.NoError(t, db.Update(t.Context(), func(tx store.Tx) error {
			for i := range recipients * each {
				if err := tx.PutMail(&store.Mail{
					MessageID: uuid.NewString() + "@example.com", Kind: store.MailVerifyRegistration, Next: fmt.Sprint(i / recipients),
					To: fmt.Sprintf("u%d@example.org", i%recipients), Queued: time.Now(), Due: time.Now(),
				}); err != nil {
					return err
				}
			}
			return nil
		}))
		w := outbox.NewWorker(db, func() *outbox.Courier { return p })
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { w.Run(ctx) })
		left := 1
		for range 600 {
			time.Sleep(time.Second)
			require.NoError(t, db.View(ctx, func(tx store.Tx) error {
				rows, err := tx.Mails(0, 1000)
				left = len(rows)
				return err
			}))
			if left == 0 {
				break
			}
		}
		stop()
		worker.Wait()
		require.NoError(t, mailer.Close())
		require.Zero(t, left)
	})
	require.Len(t, o.got, recipients-1)
	for to, numbers := range o.got {
		require.Equal(t, []string{"0", "1", "2", "3", "4"}, numbers, to)
	}
	require.Greater(t, o.groups, recipients*each, "it hung up")
}
