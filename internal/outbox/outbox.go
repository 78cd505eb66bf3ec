// outbox.go: the durable queue of mail. An act writes a row; one worker a store
// renders, signs and sends it, and removes it after the server's 250.

package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Times of the outbox.
const (
	// MailGiveUp is how long a message is tried, and for how long a mail server
	// can be out of order until mail that is as old is given up.
	MailGiveUp = 72 * time.Hour
	// mailFirstRetry doubles with each failure, up to mailLastRetry.
	mailFirstRetry = 5 * time.Second
	mailLastRetry  = 15 * time.Minute
	// mailProbe is the longest that a mail server that can't be used is left in peace.
	mailProbe = time.Minute
	// storeLastRetry is the longest wait for a store that fails: asking it costs
	// nobody anything.
	storeLastRetry = 30 * time.Second
	// mailIdle is the longest sleep: rows that another process wrote are found then.
	mailIdle = time.Minute
	// mailBatch is how many rows are read at once.
	mailBatch = 32
	// mailTimeout bounds one message, whatever the mailer's own limits. It is more
	// than all minutes of RFC 5321, 4.5.3.2 together.
	mailTimeout = time.Hour
	// mailLease is for how long a row is the worker's alone; it is renewed while
	// the worker lives, so that is how long the rows of a dead one wait.
	mailLease = 2 * time.Minute
)

// A Courier is what the worker needs of the running configuration: it turns
// rows into messages and sends them.
type Courier struct {
	Render func(*store.Mail, *store.User) (*mail.Message, error)
	// Wanted reports whether the account is still as it was when the row was written.
	Wanted func(*store.Mail, *store.User) bool
	// Prepare fills in what a row says only when it is sent, or says why it is no longer
	// wanted; nil: nothing does.
	Prepare func(store.Tx, *store.Mail) (reason string, err error)
	Mailer  mail.Mailer // nil: nothing is sent
	Logger  *zap.Logger
	Now     func() time.Time
	// Unconfirmed is how long an account waits for its confirmation.
	Unconfirmed time.Duration
	Grace       time.Duration                      // of the accounts that their owners have closed
	RemoveLeft  func(context.Context) (int, error) // removes those that were closed longer ago
	// Journal takes what was given up; nil: nothing does.
	Journal *audit.Journal
	// Count is told how a mail has left the queue: delivered, given_up or dropped;
	// nil: nobody is.
	Count func(kind store.MailKind, result string)
	// Sending is called when a message is handed to the mailer, and what it returns when that
	// has let go of it; nil: nobody looks.
	Sending func(ctx context.Context, id, kind string) (done func(error))
}

// Worker is the worker of one realm's queue. It outlives reloads: whose courier
// works is the business of who owns it. But for Notify, TakeOver and Leave, its methods
// are the worker's own.
type Worker struct {
	store store.Store
	// id is the worker's, by which it leases what it sends.
	id      uuid.UUID
	wake    chan struct{}
	courier func() *Courier
	removals
	// hasten says that what was put off is to be tried at once.
	hasten bool
	pause
	// asked says that somebody wants all of it tried at once.
	asked   atomic.Bool
	running atomic.Bool
	// noted is the failure of the server that is in the store.
	noted string
	probe probe
	// Done is told of every row that leaves the queue, in the transaction in
	// which it does, and how it ended; nil: nobody is.
	Done func(store.Tx, *store.Mail, End) error
	// StoreFails says that the last failure was the store's.
	StoreFails bool
	storeFails int // in a row

	slow     []*job        // that others overtake
	finished chan struct{} // one of slow is

	mu    sync.Mutex
	inUse map[*job]struct{} // whose mailer has not let go of them
}

// End is how a mail left the queue. The zero End: nobody was asked to take it, or
// it waited for too long.
type End struct {
	// Delivered: the server has taken it.
	Delivered bool
	// Unreachable is what the server said where nobody reads mail at the
	// recipient's address; else empty.
	Unreachable string
}

// NewWorker is a worker at rest. It asks current for the courier of every mail, as a
// reload brings another.
func NewWorker(store store.Store, current func() *Courier) *Worker {
	return &Worker{store: store, id: uuid.New(), wake: make(chan struct{}, 1), courier: current, finished: make(chan struct{}, 1), inUse: map[*job]struct{}{}}
}

// Notify says that a row was written. It never blocks.
func (o *Worker) Notify() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run sends what is due until ctx ends.
func (o *Worker) Run(ctx context.Context) {
	o.running.Store(true)
	defer o.running.Store(false)
	defer o.end(ctx)
	var before *Courier
	for ctx.Err() == nil {
		p := o.courier()
		if p == nil {
			return
		}
		if asked := o.asked.Swap(false); asked || p != before { // a reload may have fixed what failed
			before, o.storeFails, o.hasten = p, 0, true
			o.again()
		}
		wait, ok := o.Survive(ctx, p)
		healthy := ok
		switch {
		case ok:
			o.storeFails = 0
		case o.StoreFails:
			o.storeFails++
			wait, healthy = min(backoff(o.storeFails), storeLastRetry), true // a new row tells that it works again
		default:
			wait = o.untilProbe()
		}
		if wait <= 0 {
			continue
		}
		if o.suspended() {
			o.probe.set(p.Now().Add(wait))
		} else {
			o.probe.set(time.Time{})
		}
		timer, began := time.NewTimer(wait), time.Now()
		o.rest(ctx, p, timer.C, healthy)
		if timer.Stop(); o.suspended() {
			o.down += time.Since(began)
		}
	}
}

// rest waits for the timer or for work. While the server is out of order, a new
// row is no reason to try it again, but a new courier is, and a message that is
// taken after all.
func (o *Worker) rest(ctx context.Context, p *Courier, timer <-chan time.Time, healthy bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer:
			return
		case <-o.finished:
			o.Notify() // settled in the next round; here it is only looked at
			if healthy || o.anyTaken() {
				return
			}
		case <-o.wake:
			if healthy || o.courier() != p || o.asked.Load() {
				return
			}
		}
	}
}

// backoff is exponential with jitter: between half and the whole of it.
func backoff(failures int) time.Duration {
	d := mailLastRetry
	if failures < 16 {
		d = min(mailFirstRetry<<(failures-1), mailLastRetry)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter, not a secret
}

// Survive is DeliverDue with a panic as a failure like any other: no mail, and no
// bug in what a mail passes through, may end the process.
func (o *Worker) Survive(ctx context.Context, p *Courier) (wait time.Duration, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			p.Logger.Error("the outbox panicked; trying again", zap.Any("panic", v), zap.Stack("stack"))
			o.failures++
			wait, ok = 0, false
		}
	}()
	o.StoreFails = false
	return o.DeliverDue(ctx, p)
}

// DeliverDue sends a batch, or one message where the queue waits for the server.
// It returns how long to wait for the next, and false where the mail server or
// the store as a whole is out of order.
func (o *Worker) DeliverDue(ctx context.Context, p *Courier) (wait time.Duration, ok bool) {
	wait, ok = o.deliverDue(ctx, p)
	if (wait > 0 || !ok) && !o.StoreFails && !o.remove(ctx, 0) { // before it rests
		return 0, false
	}
	return wait, ok
}

func (o *Worker) deliverDue(ctx context.Context, p *Courier) (wait time.Duration, ok bool) {
	if !o.settleFinished(ctx) {
		return 0, false
	}
	if p.Mailer == nil {
		return mailIdle, true
	}
	if !o.removeSome(ctx) {
		return 0, false
	}
	err := o.hastened(ctx, p)
	var due []*store.Mail
	var next time.Time
	if err == nil {
		due, next, err = o.store.ClaimMail(ctx, o.claim(p, mailBatch))
	}
	if latest := p.Now().Add(mailIdle); next.IsZero() || latest.Before(next) {
		next = latest
	}
	if err != nil {
		if ctx.Err() == nil {
			p.Logger.Error("the outbox can't be read; trying again", zap.Error(err))
		}
		o.StoreFails = true
		return 0, false
	}
	switch {
	case len(due) > 0:
	case len(o.unremoved) > 0: // what they keep back is due after them
		return 0, o.remove(ctx, 0)
	default:
		o.flowing = false
		return max(next.Sub(p.Now()), time.Millisecond), true
	}
	for _, m := range o.probeOf(due) {
		if o.hands(p) >= mailAtOnce {
			return mailIdle, true // until one of them is done
		}
		if ctx.Err() != nil || o.courier() != p {
			return 0, true
		}
		if !o.deliver(ctx, p, m) {
			o.expire(ctx, p)
			o.letGo(ctx)
			return 0, false
		}
	}
	return 0, true
}

// hastened makes what was put off due at once, where that is to be done.
func (o *Worker) hastened(ctx context.Context, p *Courier) error {
	for after, more := uint64(0), o.hasten; more; {
		err := o.store.Update(ctx, func(tx store.Tx) error {
			rows, err := tx.Mails(after, mailBatch)
			if more = len(rows) == mailBatch; more {
				after = rows[mailBatch-1].Seq
			}
			for _, m := range rows {
				if Held(m, p.Now()) {
					continue
				}
				if wait := m.Due.Sub(p.Now()); err == nil && wait > 0 {
					m.Due, m.Tried = p.Now(), max(0, m.Tried-wait)
					err = tx.PutMail(m)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	o.hasten = false
	return nil
}

func mailLog(p *Courier, m *store.Mail) *zap.Logger {
	return p.Logger.With(zap.String("message_id", m.MessageID), zap.String("kind", string(m.Kind)), zap.Stringer("user", m.User))
}

// deliver sends one row, and leaves it in its mailer's hands where that takes
// long. It returns false where the server or the store failed as a whole.
func (o *Worker) deliver(ctx context.Context, p *Courier, m *store.Mail) bool {
	log := mailLog(p, m)
	u, reason, err := o.addressee(ctx, p, m)
	if err != nil {
		log.Error("the outbox can't be read; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	if reason != "" {
		log.Info("mail dropped: "+reason, zap.Time("queued", m.Queued))
		return o.drop(ctx, m, log)
	}
	message, err := p.Render(m, u)
	if m.Kind == store.MailDecoy {
		if err == nil {
			if pretender, ok := p.Mailer.(mail.Pretender); ok {
				err = pretender.Pretend(ctx, message)
			}
		}
		log.Info("no mail: an act that sends one met no account to send it to", zap.Bool("pretended", err == nil))
		return o.done(ctx, m, End{}, log)
	}
	if err != nil {
		return o.failed(ctx, p, m, err, log)
	}
	job := o.begin(ctx, p, m, message)
	if job == nil {
		return true
	}
	if !job.wait() {
		log.Warn("the mail server takes long over this mail; others go on meanwhile")
		o.slow = append(o.slow, job)
		return true
	}
	return o.settle(ctx, job)
}

// addressee returns the account that a row is about, or why the row is no
// longer wanted: the account is gone, or the link would be dead on arrival.
func (o *Worker) addressee(ctx context.Context, p *Courier, m *store.Mail) (u *store.User, reason string, err error) {
	decoy := m.Kind == store.MailDecoy
	err = o.store.View(ctx, func(tx store.Tx) (err error) {
		if p.Prepare != nil {
			if reason, err = p.Prepare(tx, m); err != nil || reason != "" {
				return err
			}
		}
		if m.User == uuid.Nil && !decoy {
			return nil
		}
		u, err = tx.User(m.User)
		return err
	})
	switch {
	case reason != "" && err == nil:
		return nil, reason, nil
	case decoy && (err == nil || errors.Is(err, store.ErrNotFound)): // it is about nobody, and does the work of one that isn't
		p.Wanted(m, &store.User{})
		return nil, "", nil
	case errors.Is(err, store.ErrNotFound):
		return nil, "the account is gone", nil
	case err != nil:
		return nil, "", err
	case u != nil && !p.Wanted(m, u):
		return nil, "the account has changed since", nil
	}
	return u, "", nil
}

// failed reacts to a failure by its scope.
func (o *Worker) failed(ctx context.Context, p *Courier, m *store.Mail, err error, log *zap.Logger) bool {
	mailErr := &mail.Error{}
	isMail := errors.As(err, &mailErr)
	if mailErr.Server {
		o.suspend(mailErr, log)
		o.noteFailure(ctx, p, err)
		return false
	}
	if isMail && !mailErr.Permanent && !o.everybody { // it talks about one message
		domains := o.domains
		o.resume(log)
		o.domains = domains
	}
	if mailErr.Permanent {
		end, reason := End{}, Unsendable
		if mailErr.Recipient {
			end.Unreachable, reason = err.Error(), NoRecipient
			o.resume(log) // it knows whose mail it takes
			log.Error("mail given up: the server knows no such recipient", zap.Error(err))
		} else {
			log.Error("mail given up: it can't be sent", zap.Error(err))
		}
		return o.giveUp(ctx, p, m, end, reason, log)
	}
	if m.Tried >= MailGiveUp {
		log.Error("mail given up: it could not be delivered for three days", zap.Error(err), zap.Time("queued", m.Queued), zap.Int("attempts", m.Attempts+1))
		return o.giveUp(ctx, p, m, End{}, Delayed, log)
	}
	fresh := m.Attempts == 0
	m.Attempts++
	wait := backoff(m.Attempts)
	m.Tried += wait
	m.Due = p.Now().Add(wait)
	m.Failed, _ = told(err)
	log.Warn("mail delayed", zap.Error(err), zap.Int("attempts", m.Attempts), zap.Duration("retry_in", wait))
	if err := o.store.Update(ctx, func(tx store.Tx) error { return tx.PutMail(m) }); err != nil && !errors.Is(err, store.ErrNotFound) {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	if !mailErr.Refused || !o.refuses(m.To, fresh, err, log) {
		return true
	}
	o.noteFailure(ctx, p, err)
	return false
}

// takeOff removes a row in a transaction and tells who wants to know. One that is
// gone already is no error.
func (o *Worker) takeOff(tx store.Tx, m *store.Mail, end End) error {
	err := tx.DeleteMail(m.Seq)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if end.Delivered {
		if err := writeSuccess(tx, o.now()); err != nil {
			return err
		}
	}
	if o.Done == nil {
		return nil
	}
	return o.Done(tx, m, end)
}

// How mails leave the queue, as Courier.Count has it.
const (
	countDelivered = "delivered"
	countGivenUp   = "given_up"
	countDropped   = "dropped"
)

// count counts a mail that has left the queue; the work of one that isn't there counts not.
func (o *Worker) count(m *store.Mail, result string) {
	if p := o.courier(); p != nil && p.Count != nil && m.Kind != store.MailDecoy {
		p.Count(m.Kind, result)
	}
}

// now is the time by the clock of the courier that works.
func (o *Worker) now() time.Time {
	if p := o.courier(); p != nil {
		return p.Now()
	}
	return time.Now()
}

// drop takes a row off the queue that nobody wants sent any more. The write is not cut
// off by the end of the worker.
func (o *Worker) drop(ctx context.Context, m *store.Mail, log *zap.Logger) bool {
	err := o.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error { return o.takeOff(tx, m, End{}) })
	if err != nil {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	o.count(m, countDropped)
	return true
}
