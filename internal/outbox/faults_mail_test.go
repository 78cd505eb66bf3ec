// faults_mail_test.go: the fault of the mail server, in the process, because an
// hour of it passes on the clock of a bubble (testing/synctest). Store, outbox,
// mailer and mail server are the real ones. The other faults are in integration/.

package outbox_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"github.com/seed-928992b0/caddy-registration/store"
)

// sorter is a mail server that keeps of each mail who got it and its number.
type sorter struct {
	mu    sync.Mutex
	got   map[string][]string // recipient to the numbers in order
	total int
	heap  uint64 // the most that was in use, of some samples
}

func (s *sorter) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	return &sorterSession{sorter: s}, nil
}

type sorterSession struct {
	*sorter
	to string
}

func (s *sorterSession) Reset()                                      {}
func (s *sorterSession) Logout() error                               { return nil }
func (s *sorterSession) Mail(string, *gosmtp.MailOptions) error      { return nil }
func (s *sorterSession) Rcpt(to string, _ *gosmtp.RcptOptions) error { s.to = to; return nil }

var numberInMail = regexp.MustCompile(`Subject: number (\d+)`)

func (s *sorterSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	number := numberInMail.FindSubmatch(raw)
	if number == nil {
		return fmt.Errorf("no number in %s", raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[s.to] = append(s.got[s.to], string(number[1]))
	if s.total++; s.total%500 == 0 {
		s.heap = max(s.heap, heapInUse())
	}
	return nil
}

func heapInUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// serveLater serves on an address that refuses connections until up is closed.
// Its goroutines are outside of the bubble, or their waiting for the network
// would stop its clock.
func (s *sorter) serveLater(t *testing.T, up <-chan struct{}) (address string, listens <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = listener.Addr().String()
	require.NoError(t, listener.Close())
	server := gosmtp.NewServer(s)
	server.Domain, server.ErrorLog = "mail.example.com", log.New(io.Discard, "", 0)
	ready := make(chan struct{})
	go func() {
		<-up
		if listener, err := net.Listen("tcp", address); err == nil {
			close(ready)
			_ = server.Serve(listener)
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
	return address, ready
}

func TestFaultMailServerOutForAnHour(t *testing.T) {
	mails := 1000
	if testing.Short() {
		mails = 300
	}
	if os.Getenv("REGISTRATION_FAULTS") == "long" {
		mails = 10000
	}
	recipients := mails / 4
	office := &sorter{got: map[string][]string{}}
	up := make(chan struct{})
	address, listens := office.serveLater(t, up)
	mailer := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS})
	core, logs := observer.New(zap.ErrorLevel)
	db := sitetest.EmptyStore(t)
	var before, queued uint64
	var drained, fetched time.Duration
	synctest.Test(t, func(t *testing.T) {
		p := &outbox.Courier{
			Render: func(m *store.Mail, _ *store.User) (*mail.Message, error) {
				return &mail.Message{ID: m.MessageID, From: "no-reply@example.com", To: m.To, Subject: "number " + m.Next, Text: "x", Date: m.Queued}, nil
			},
			Wanted: func(*store.Mail, *store.User) bool { return true }, Mailer: mailer, Logger: zap.New(core), Now: time.Now,
		}
		o := outbox.NewWorker(db, func() *outbox.Courier { return p })
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { o.Run(ctx) })
		before = heapInUse()
		begin := time.Now()
		const batches = 60 // one a minute
		for batch := range batches {
			require.NoError(t, db.Update(ctx, func(tx store.Tx) error {
				for i := batch * mails / batches; i < (batch+1)*mails/batches; i++ {
					now := time.Now()
					if err := tx.PutMail(&store.Mail{
						MessageID: uuid.NewString() + "@example.com", Kind: store.MailVerifyRegistration, Next: fmt.Sprint(i),
						To: fmt.Sprintf("user-%d@example.org", i%recipients), Queued: now, Due: now,
					}); err != nil {
						return err
					}
				}
				return nil
			}))
			o.Notify()
			time.Sleep(time.Minute)
		}
		require.Equal(t, time.Hour, time.Since(begin))
		queued = heapInUse()
		tried := logs.FilterMessage("the mail server can't be used; all mail waits").Len()
		require.Equal(t, 1, tried, "the log says it once")
		require.Equal(t, tried, logs.Len(), "and nothing else went wrong")

		close(up)
		<-listens // in real time: the bubble's would fly meanwhile
		back := time.Now()
		for {
			time.Sleep(time.Second)
			office.mu.Lock()
			total := office.total
			office.mu.Unlock()
			if total > 0 && fetched == 0 {
				fetched = time.Since(back)
			}
			if total >= mails {
				break
			}
			require.Less(t, time.Since(back), outbox.MailLastRetry+time.Minute, "only %d of %d came", total, mails)
		}
		drained = time.Since(back)
		stop()
		worker.Wait()
		require.NoError(t, mailer.Close())
	})
	require.NoError(t, db.View(context.Background(), func(tx store.Tx) error {
		due, err := tx.Mails(0, 1)
		require.Empty(t, due)
		return err
	}))
	require.Equal(t, mails, office.total, "a mail was sent twice")
	require.Len(t, office.got, recipients)
	for i := range recipients {
		var want []string
		for n := i; n < mails; n += recipients {
			want = append(want, fmt.Sprint(n))
		}
		require.Equal(t, want, office.got[fmt.Sprintf("user-%d@example.org", i)], "in order")
	}
	// Neither queueing nor draining may take memory by the length of the queue:
	// 10 000 rows with their messages would be 20 MB.
	const flat = 4 << 20
	require.Less(t, queued, before+flat, "a waiting queue takes memory")
	require.Less(t, office.heap, before+flat, "draining takes memory")
	kib := func(n uint64) int64 { return (int64(n) - int64(before)) >> 10 }
	sitetest.FaultResult(t, fmt.Sprintf("mail server out for an hour of simulated time, %d mails queued meanwhile", mails), "drained in order once it is back, none twice; memory flat",
		fmt.Sprintf("said %d time in the hour; first mail %s after its return (a try a minute), all %s after, each recipient's in order, none twice; heap %+d KB with the queue full, %+d KB while it drained",
			logs.FilterMessage("the mail server can't be used; all mail waits").Len(), fetched.Round(time.Second), drained.Round(time.Second), kib(queued), kib(office.heap)))
}
