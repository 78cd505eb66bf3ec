// outbox.go: the durable queue of mail. An act writes a row; one worker a store
// renders, signs and sends it, and removes it after the server's 250.

package registration

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// Times of the outbox.
const (
	// mailGiveUp is how long a message is tried, and for how long a mail server
	// can be out of order until mail that is as old is given up.
	mailGiveUp = 72 * time.Hour
	// mailFirstRetry doubles with each failure, up to mailLastRetry.
	mailFirstRetry = 5 * time.Second
	mailLastRetry  = 15 * time.Minute
	// storeLastRetry is the longest wait for a store that fails: asking it costs
	// nobody anything.
	storeLastRetry = 30 * time.Second
	// mailIdle is the longest sleep: rows that another process wrote are found then.
	mailIdle = time.Minute
	// mailBatch is how many rows are read at once.
	mailBatch = 32
	// mailTimeout bounds one message, whatever the mailer's own limits.
	mailTimeout = 2 * time.Minute
)

// A postman is what the worker needs of the running configuration: it turns
// rows into messages and sends them.
type postman struct {
	render func(*Mail, *User) (*Message, error)
	// wanted reports whether the account is still as it was when the row was written.
	wanted func(*Mail, *User) bool
	mailer Mailer // nil: nothing is sent
	logger *zap.Logger
	now    func() time.Time
	// unconfirmed is how long an account waits for its confirmation.
	unconfirmed time.Duration
}

// outbox is the worker of one realm's queue. It outlives reloads: whose postman
// works is the engine's business. But for notify, takeOver and leave, its methods
// are the worker's own.
type outbox struct {
	store   Store
	wake    chan struct{}
	postman func() *postman
	// unremoved is a mail that was sent and could not be taken off the queue.
	// Before that is done, nothing else is sent.
	unremoved *Mail
	// down is for how long the mail server has been waited for, by no wall clock;
	// zero: it is in order.
	down time.Duration
	// removed is told of every row that leaves the queue, in the transaction in
	// which it does; nil: nobody is.
	removed func(Tx, *Mail) error
	// storeFails says that the last failure was the store's.
	storeFails bool

	mu  sync.Mutex
	job *mailJob // under way; nil: none
}

// mailJob is a message in a postman's hands.
type mailJob struct {
	by   *postman
	stop context.CancelFunc
	done chan struct{}
}

func newOutbox(store Store, current func() *postman) *outbox {
	return &outbox{store: store, wake: make(chan struct{}, 1), postman: current}
}

// notify says that a row was written. It never blocks.
func (o *outbox) notify() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// takeOver has the present postman work at once: a message that another one has
// under way is cut off, and whatever the worker waits for is over.
func (o *outbox) takeOver() {
	o.mu.Lock()
	if o.job != nil && o.job.by != o.postman() {
		o.job.stop()
	}
	o.mu.Unlock()
	o.notify()
}

// leave is takeOver where p is no longer among the postmen. The channel is closed
// when p's mailer is at rest for good.
func (o *outbox) leave(p *postman) <-chan struct{} {
	o.takeOver()
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
func (o *outbox) begin(ctx context.Context, p *postman) (sending context.Context, end func(), ok bool) {
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

// run sends what is due until ctx ends.
func (o *outbox) run(ctx context.Context) {
	failures := 0 // of the server as a whole, in a row
	var before *postman
	for ctx.Err() == nil {
		p := o.postman()
		if p == nil {
			return
		}
		if p != before { // a reload may have mended what failed
			before, failures = p, 0
		}
		wait, ok := o.survive(ctx, p)
		healthy := ok
		switch {
		case ok:
			failures = 0
		case o.storeFails:
			failures++
			wait, healthy = min(backoff(failures), storeLastRetry), true // a new row tells that it works again
		default:
			failures++
			wait = backoff(failures)
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
func (o *outbox) rest(ctx context.Context, p *postman, timer <-chan time.Time, healthy bool) {
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

// backoff is exponential with jitter: between half and the whole of it.
func backoff(failures int) time.Duration {
	d := mailLastRetry
	if failures < 16 {
		d = min(mailFirstRetry<<(failures-1), mailLastRetry)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter, not a secret
}

// survive is deliverDue with a panic as a failure like any other: no mail, and no
// bug in what a mail passes through, may end the process.
func (o *outbox) survive(ctx context.Context, p *postman) (wait time.Duration, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			p.logger.Error("the outbox panicked; trying again", zap.Any("panic", v), zap.Stack("stack"))
			wait, ok = 0, false
		}
	}()
	o.storeFails = false
	return o.deliverDue(ctx, p)
}

// deliverDue sends a batch. It returns how long to wait for the next, and
// false where the mail server or the store as a whole is out of order.
func (o *outbox) deliverDue(ctx context.Context, p *postman) (wait time.Duration, ok bool) {
	if p.mailer == nil {
		return mailIdle, true
	}
	if m := o.unremoved; m != nil && !o.remove(ctx, m, mailLog(p, m)) {
		return 0, false
	}
	var due []*Mail
	next := p.now().Add(mailIdle)
	err := o.store.View(ctx, func(tx Tx) (err error) {
		if due, err = tx.DueMail(p.now(), mailBatch); err != nil || len(due) > 0 {
			return err
		}
		first, err := tx.NextMail()
		if err == nil && first.Before(next) {
			next = first
		}
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			p.logger.Error("the outbox can't be read; trying again", zap.Error(err))
		}
		o.storeFails = true
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
			return o.deliver(ctx, sending, p, m)
		}()
		if !ok {
			o.expire(ctx, p)
			return 0, false
		}
	}
	if len(due) > 0 {
		return 0, true
	}
	return max(next.Sub(p.now()), time.Millisecond), true
}

func mailLog(p *postman, m *Mail) *zap.Logger {
	return p.logger.With(zap.String("message_id", m.MessageID), zap.String("kind", string(m.Kind)), zap.Stringer("user", m.User))
}

// deliver sends one row. It returns false where the server or the store failed
// as a whole and the row is untouched. The end of sending cuts off the message;
// what then is to be written is written, unless ctx has ended.
func (o *outbox) deliver(ctx, sending context.Context, p *postman, m *Mail) bool {
	log := mailLog(p, m)
	u, reason, err := o.addressee(ctx, p, m)
	if err != nil {
		log.Error("the outbox can't be read; trying again", zap.Error(err))
		o.storeFails = true
		return false
	}
	if reason != "" {
		log.Info("mail dropped: "+reason, zap.Time("queued", m.Queued))
		return o.remove(ctx, m, log)
	}
	message, err := p.render(m, u)
	if m.Kind == mailDecoy {
		if err == nil {
			if pretender, ok := p.mailer.(Pretender); ok {
				err = pretender.Pretend(sending, message)
			}
		}
		log.Info("no mail: an act that sends one met no account to send it to", zap.Bool("pretended", err == nil))
		return o.remove(ctx, m, log)
	}
	if err == nil {
		err = p.mailer.Send(sending, message)
	}
	if err == nil {
		log.Info("mail sent", zap.Int("attempts", m.Attempts+1))
		o.unremoved, o.down = m, 0
		return o.remove(ctx, m, log)
	}
	if ctx.Err() != nil || o.postman() != p {
		return true // cut off by the end of the worker or by a reload: the row stays as it is
	}
	return o.failed(ctx, p, m, err, log)
}

// addressee returns the account that a row is about, or why the row is no
// longer wanted: the account is gone, or the link would be dead on arrival.
func (o *outbox) addressee(ctx context.Context, p *postman, m *Mail) (u *User, reason string, err error) {
	decoy := m.Kind == mailDecoy
	err = o.store.View(ctx, func(tx Tx) (err error) {
		if m.User == uuid.Nil && !decoy {
			return nil
		}
		u, err = tx.User(m.User)
		return err
	})
	switch {
	case decoy && (err == nil || errors.Is(err, ErrNotFound)): // it is about nobody, and does the work of one that isn't
		p.wanted(m, &User{})
		return nil, "", nil
	case errors.Is(err, ErrNotFound):
		return nil, "the account is gone", nil
	case err != nil:
		return nil, "", err
	case u != nil && !p.wanted(m, u):
		return nil, "the account has changed since", nil
	}
	return u, "", nil
}

// failed reacts to a failure by its scope.
func (o *outbox) failed(ctx context.Context, p *postman, m *Mail, err error, log *zap.Logger) bool {
	var mailErr *MailError
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
	if m.Tried >= mailGiveUp {
		log.Error("mail given up: it could not be delivered for three days", zap.Error(err), zap.Time("queued", m.Queued), zap.Int("attempts", m.Attempts+1))
		return o.remove(ctx, m, log)
	}
	m.Attempts++
	wait := backoff(m.Attempts)
	m.Tried += wait
	m.Due = p.now().Add(wait)
	log.Warn("mail delayed", zap.Error(err), zap.Int("attempts", m.Attempts), zap.Duration("retry_in", wait))
	if err := o.store.Update(ctx, func(tx Tx) error { return tx.PutMail(m) }); err != nil && !errors.Is(err, ErrNotFound) {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.storeFails = true
		return false
	}
	return true
}

// expire bounds the queue of a mail server that stays out of order: once it has
// been tried in vain for three days, mail that waited as long is given up. Time
// in which nobody tried does not count.
func (o *outbox) expire(ctx context.Context, p *postman) {
	if o.storeFails || o.down < mailGiveUp {
		return
	}
	for ctx.Err() == nil && o.postman() == p {
		var old []*Mail
		whole := false
		err := o.store.View(ctx, func(tx Tx) error {
			due, err := tx.DueMail(p.now(), mailBatch)
			whole = len(due) == mailBatch
			old = slices.DeleteFunc(due, func(m *Mail) bool { return p.now().Sub(m.Queued) < mailGiveUp })
			whole = whole && len(old) == mailBatch
			return err
		})
		if err == nil && len(old) > 0 {
			err = o.store.Update(ctx, func(tx Tx) error {
				for _, m := range old {
					if err := o.takeOff(tx, m); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			p.logger.Error("the outbox can't be written; trying again", zap.Error(err))
			return
		}
		for _, m := range old {
			if m.Kind != mailDecoy {
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
func (o *outbox) takeOff(tx Tx, m *Mail) error {
	err := tx.DeleteMail(m.Seq)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil, o.removed == nil:
		return err
	}
	return o.removed(tx, m)
}

// remove takes a row off the queue. If that fails after the message was sent,
// only the removal is tried again; a message is sent twice only where the process
// ends in between, and then under the same Message-ID. The write is not cut off
// by the end of the worker.
func (o *outbox) remove(ctx context.Context, m *Mail, log *zap.Logger) bool {
	err := o.store.Update(context.WithoutCancel(ctx), func(tx Tx) error { return o.takeOff(tx, m) })
	if err != nil {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.storeFails = true
		return false
	}
	if o.unremoved == m {
		o.unremoved = nil
	}
	return true
}
