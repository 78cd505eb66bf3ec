// outbox.go: the durable queue of mail. An act writes a row; one worker a store
// renders, signs and sends it, and removes it after the server's 250.

package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Times of the outbox.
const (
	// MailGiveUp is how long a message is tried, and for how long a mail server
	// can be out of order until mail that is as old is given up.
	MailGiveUp = 72 * time.Hour
	// MailFirstRetry doubles with each failure, up to MailLastRetry.
	MailFirstRetry = 5 * time.Second
	MailLastRetry  = 15 * time.Minute
	// storeLastRetry is the longest wait for a store that fails: asking it costs
	// nobody anything.
	storeLastRetry = 30 * time.Second
	// MailIdle is the longest sleep: rows that another process wrote are found then.
	MailIdle = time.Minute
	// mailBatch is how many rows are read at once.
	mailBatch = 32
	// mailTimeout bounds one message, whatever the mailer's own limits.
	mailTimeout = 2 * time.Minute
	// MailLease is for how long a row is the worker's alone; it is renewed while
	// the worker lives, so that is how long the rows of a dead one wait.
	MailLease = 2 * time.Minute
)

// A Courier is what the worker needs of the running configuration: it turns
// rows into messages and sends them.
type Courier struct {
	Render func(*store.Mail, *store.User) (*mail.Message, error)
	// Wanted reports whether the account is still as it was when the row was written.
	Wanted func(*store.Mail, *store.User) bool
	Mailer mail.Mailer // nil: nothing is sent
	Logger *zap.Logger
	Now    func() time.Time
	// Unconfirmed is how long an account waits for its confirmation.
	Unconfirmed time.Duration
}

// Worker is the worker of one realm's queue. It outlives reloads: whose postman
// works is the engine's business. But for notify, TakeOver and leave, its methods
// are the worker's own.
type Worker struct {
	store store.Store
	// id is the worker's, by which it leases what it sends.
	id      uuid.UUID
	wake    chan struct{}
	postman func() *Courier
	// unremoved is a mail that was sent and could not be taken off the queue.
	// Before that is done, nothing else is sent.
	unremoved *store.Mail
	// down is for how long the mail server has been waited for, by no wall clock;
	// zero: it is in order.
	down time.Duration
	// Removed is told of every row that leaves the queue, in the transaction in
	// which it does; nil: nobody is.
	Removed func(store.Tx, *store.Mail) error
	// StoreFails says that the last failure was the store's.
	StoreFails bool

	mu  sync.Mutex
	job *mailJob // under way; nil: none
}

// mailJob is a message in a postman's hands.
type mailJob struct {
	by   *Courier
	stop context.CancelFunc
	done chan struct{}
}

// NewWorker is a worker at rest. It asks current for the courier of every mail, as a
// reload brings another.
func NewWorker(store store.Store, current func() *Courier) *Worker {
	return &Worker{store: store, id: uuid.New(), wake: make(chan struct{}, 1), postman: current}
}

// Notify says that a row was written. It never blocks.
func (o *Worker) Notify() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// TakeOver has the present postman work at once: a message that another one has
// under way is cut off, and whatever the worker waits for is over.
func (o *Worker) TakeOver() {
	o.mu.Lock()
	if o.job != nil && o.job.by != o.postman() {
		o.job.stop()
	}
	o.mu.Unlock()
	o.Notify()
}

// Leave is TakeOver where p is no longer among the postmen. The channel is closed
// when p's mailer is at rest for good.
func (o *Worker) Leave(p *Courier) <-chan struct{} {
	o.TakeOver()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.job != nil && o.job.by == p {
		return o.job.done
	}
	atRest := make(chan struct{})
	close(atRest)
	return atRest
}

// begin puts a message into p's hands, unless another one works by now. ctx ends
// with the message's time, or when another takes over; end is to be called.
func (o *Worker) begin(ctx context.Context, p *Courier) (sending context.Context, end func(), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.postman() != p {
		return nil, nil, false
	}
	sending, stop := context.WithTimeout(ctx, mailTimeout)
	job := &mailJob{by: p, stop: stop, done: make(chan struct{})}
	o.job = job
	return sending, func() {
		stop()
		o.mu.Lock()
		o.job = nil
		o.mu.Unlock()
		close(job.done)
	}, true
}

// Run sends what is due until ctx ends.
func (o *Worker) Run(ctx context.Context) {
	defer o.letGo(ctx)
	failures := 0 // of the server as a whole, in a row
	var before *Courier
	for ctx.Err() == nil {
		p := o.postman()
		if p == nil {
			return
		}
		if p != before { // a reload may have mended what failed
			before, failures = p, 0
		}
		wait, ok := o.Survive(ctx, p)
		healthy := ok
		switch {
		case ok:
			failures = 0
		case o.StoreFails:
			failures++
			wait, healthy = min(Backoff(failures), storeLastRetry), true // a new row tells that it works again
		default:
			failures++
			wait = Backoff(failures)
		}
		if wait <= 0 {
			continue
		}
		timer, began := time.NewTimer(wait), time.Now()
		o.rest(ctx, p, timer.C, healthy)
		if timer.Stop(); !healthy {
			o.down += time.Since(began)
		}
	}
}

// rest waits for the timer or for work. While the server is out of order, a new
// row is no reason to try it again, but a new postman is.
func (o *Worker) rest(ctx context.Context, p *Courier, timer <-chan time.Time, healthy bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer:
			return
		case <-o.wake:
			if healthy || o.postman() != p {
				return
			}
		}
	}
}

// Backoff is exponential with jitter: between half and the whole of it.
func Backoff(failures int) time.Duration {
	d := MailLastRetry
	if failures < 16 {
		d = min(MailFirstRetry<<(failures-1), MailLastRetry)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter, not a secret
}

// Survive is DeliverDue with a panic as a failure like any other: no mail, and no
// bug in what a mail passes through, may end the process.
func (o *Worker) Survive(ctx context.Context, p *Courier) (wait time.Duration, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			p.Logger.Error("the outbox panicked; trying again", zap.Any("panic", v), zap.Stack("stack"))
			wait, ok = 0, false
		}
	}()
	o.StoreFails = false
	return o.DeliverDue(ctx, p)
}

// DeliverDue sends a batch. It returns how long to wait for the next, and
// false where the mail server or the store as a whole is out of order.
func (o *Worker) DeliverDue(ctx context.Context, p *Courier) (wait time.Duration, ok bool) {
	if p.Mailer == nil {
		return MailIdle, true
	}
	if m := o.unremoved; m != nil && !o.remove(ctx, m, mailLog(p, m)) {
		return 0, false
	}
	due, next, err := o.store.ClaimMail(ctx, o.claim(p, mailBatch))
	if latest := p.Now().Add(MailIdle); next.IsZero() || latest.Before(next) {
		next = latest
	}
	if err != nil {
		if ctx.Err() == nil {
			p.Logger.Error("the outbox can't be read; trying again", zap.Error(err))
		}
		o.StoreFails = true
		return 0, false
	}
	for _, m := range due {
		sending, end, ok := o.begin(ctx, p)
		if ctx.Err() != nil || !ok {
			if ok {
				end()
			}
			return 0, true
		}
		ok = func() bool {
			defer end() // whatever panics
			mine, release := o.hold(sending, p, m)
			defer release()
			if mine == nil {
				return true // another worker has it by now
			}
			return o.deliver(ctx, mine, p, m)
		}()
		if !ok {
			o.expire(ctx, p)
			o.letGo(ctx)
			return 0, false
		}
	}
	if len(due) > 0 {
		return 0, true
	}
	return max(next.Sub(p.Now()), time.Millisecond), true
}

func mailLog(p *Courier, m *store.Mail) *zap.Logger {
	return p.Logger.With(zap.String("message_id", m.MessageID), zap.String("kind", string(m.Kind)), zap.Stringer("user", m.User))
}

// deliver sends one row. It returns false where the server or the store failed
// as a whole and the row is untouched. The end of sending cuts off the message;
// what then is to be written is written, unless ctx has ended.
func (o *Worker) deliver(ctx, sending context.Context, p *Courier, m *store.Mail) bool {
	log := mailLog(p, m)
	u, reason, err := o.addressee(ctx, p, m)
	if err != nil {
		log.Error("the outbox can't be read; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	if reason != "" {
		log.Info("mail dropped: "+reason, zap.Time("queued", m.Queued))
		return o.remove(ctx, m, log)
	}
	message, err := p.Render(m, u)
	if m.Kind == store.MailDecoy {
		if err == nil {
			if pretender, ok := p.Mailer.(mail.Pretender); ok {
				err = pretender.Pretend(sending, message)
			}
		}
		log.Info("no mail: an act that sends one met no account to send it to", zap.Bool("pretended", err == nil))
		return o.remove(ctx, m, log)
	}
	if err == nil {
		err = p.Mailer.Send(sending, message)
	}
	if err == nil {
		log.Info("mail sent", zap.Int("attempts", m.Attempts+1))
		o.unremoved, o.down = m, 0
		return o.remove(ctx, m, log)
	}
	if ctx.Err() != nil || o.postman() != p || errors.Is(context.Cause(sending), errLeaseLost) {
		return true // cut off by the end of the worker, by a reload or for another worker: the row stays as it is
	}
	return o.failed(ctx, p, m, err, log)
}

// addressee returns the account that a row is about, or why the row is no
// longer wanted: the account is gone, or the link would be dead on arrival.
func (o *Worker) addressee(ctx context.Context, p *Courier, m *store.Mail) (u *store.User, reason string, err error) {
	decoy := m.Kind == store.MailDecoy
	err = o.store.View(ctx, func(tx store.Tx) (err error) {
		if m.User == uuid.Nil && !decoy {
			return nil
		}
		u, err = tx.User(m.User)
		return err
	})
	switch {
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
	var mailErr *mail.Error
	isMail := errors.As(err, &mailErr)
	if isMail && mailErr.Server {
		log.Error("the mail server can't be used; all mail waits", zap.Error(err))
		return false
	}
	if isMail {
		o.down = 0 // it talks about one message
	}
	if isMail && mailErr.Permanent {
		log.Error("mail given up: the server refused it for good", zap.Error(err))
		return o.remove(ctx, m, log)
	}
	if m.Tried >= MailGiveUp {
		log.Error("mail given up: it could not be delivered for three days", zap.Error(err), zap.Time("queued", m.Queued), zap.Int("attempts", m.Attempts+1))
		return o.remove(ctx, m, log)
	}
	m.Attempts++
	wait := Backoff(m.Attempts)
	m.Tried += wait
	m.Due = p.Now().Add(wait)
	log.Warn("mail delayed", zap.Error(err), zap.Int("attempts", m.Attempts), zap.Duration("retry_in", wait))
	if err := o.store.Update(ctx, func(tx store.Tx) error { return tx.PutMail(m) }); err != nil && !errors.Is(err, store.ErrNotFound) {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	return true
}

// expire bounds the queue of a mail server that stays out of order: once it has
// been tried in vain for three days, mail that waited as long is given up. Time
// in which nobody tried does not count.
func (o *Worker) expire(ctx context.Context, p *Courier) {
	if o.StoreFails || o.down < MailGiveUp {
		return
	}
	for ctx.Err() == nil && o.postman() == p {
		old, _, err := o.store.ClaimMail(ctx, o.claim(p, mailBatch))
		old = slices.DeleteFunc(old, func(m *store.Mail) bool { return p.Now().Sub(m.Queued) < MailGiveUp })
		whole := len(old) == mailBatch
		if err == nil && len(old) > 0 {
			err = o.store.Update(ctx, func(tx store.Tx) error {
				for _, m := range old {
					if err := o.takeOff(tx, m); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			p.Logger.Error("the outbox can't be written; trying again", zap.Error(err))
			return
		}
		for _, m := range old {
			if m.Kind != store.MailDecoy {
				mailLog(p, m).Error("mail given up: the mail server could not be used for three days", zap.Time("queued", m.Queued), zap.Int("attempts", m.Attempts))
			}
		}
		if !whole {
			return
		}
	}
}

// takeOff removes a row in a transaction and tells who wants to know. One that is
// gone already is no error.
func (o *Worker) takeOff(tx store.Tx, m *store.Mail) error {
	err := tx.DeleteMail(m.Seq)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil, o.Removed == nil:
		return err
	}
	return o.Removed(tx, m)
}

// remove takes a row off the queue. If that fails after the message was sent,
// only the removal is tried again; a message is sent twice only where the process
// ends in between, and then under the same Message-ID. The write is not cut off
// by the end of the worker.
func (o *Worker) remove(ctx context.Context, m *store.Mail, log *zap.Logger) bool {
	err := o.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error { return o.takeOff(tx, m) })
	if err != nil {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	if o.unremoved == m {
		o.unremoved = nil
	}
	return true
}
