// job.go: a message in a mailer's hands. One that takes long is overtaken by
// others, and stays in its hands over a reload.

package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// mailAtOnce is how many messages a mailer has in its hands at most: fewer than
	// any mail server lets one client have connections.
	mailAtOnce = 4
	// mailPatience is how long a message is waited for until others overtake it.
	mailPatience = 5 * time.Second
	// lettingGo is how long a mailer has to let go of a message that is cut off,
	// until others overtake it: more than ours take to hear a server out.
	lettingGo = 3 * time.Second
)

// job is a message in a mailer's hands.
type job struct {
	by   *Courier
	mail *store.Mail
	ctx  context.Context //nolint:containedctx // it is the job's own: it ends with its time, or when another courier takes over
	stop context.CancelCauseFunc
	done chan struct{} // closed when the mailer has let go
	err  error         // of the mailer; to be read when done is closed
	// panicked is what the mailer did instead, and where; nil: it returned.
	panicked any
	stack    []byte
}

// begin puts a message into the hands of p's mailer, unless another courier works
// by now: then it returns nil.
func (o *Worker) begin(ctx context.Context, p *Courier, m *store.Mail, message *mail.Message) *job {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.courier() != p {
		return nil
	}
	timed, cancel := context.WithTimeout(ctx, mailTimeout)
	sending, stop := context.WithCancelCause(timed)
	mine, release := o.hold(sending, p, m)
	if mine == nil { // another worker has it by now
		stop(nil)
		cancel()
		return nil
	}
	j := &job{by: p, mail: m, ctx: mine, stop: stop, done: make(chan struct{})}
	o.inUse[j] = struct{}{}
	go func() {
		defer func() {
			if v := recover(); v != nil {
				j.panicked, j.stack = v, debug.Stack()
			}
			release()
			stop(nil)
			cancel()
			o.mu.Lock()
			delete(o.inUse, j)
			o.mu.Unlock()
			close(j.done)
			select {
			case o.finished <- struct{}{}:
			default:
			}
		}()
		if p.Sending != nil {
			done := p.Sending(mine, m.MessageID, string(m.Kind))
			defer func() { done(j.err) }()
		}
		j.err = p.Mailer.Send(mine, message)
	}()
	return j
}

// wait reports whether the mailer has let go in time.
func (j *job) wait() bool {
	patience := time.NewTimer(mailPatience)
	defer patience.Stop()
	select {
	case <-j.done:
		return true
	case <-patience.C:
		return j.isDone()
	case <-j.ctx.Done():
	}
	patience.Reset(lettingGo)
	select {
	case <-j.done:
	case <-patience.C:
	}
	return j.isDone()
}

func (j *job) isDone() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// TakeOver has the present courier work at once: messages that another one has
// under way are cut off, and whatever the worker waits for is over.
func (o *Worker) TakeOver() {
	o.mu.Lock()
	if p := o.courier(); p != nil {
		for j := range o.inUse {
			if j.by != p {
				j.stop(mail.ErrHandedOver)
			}
		}
	}
	o.mu.Unlock()
	o.Notify()
}

// Leave is TakeOver where p is no longer among the couriers. The channel is closed
// when p's mailer is at rest for good.
func (o *Worker) Leave(p *Courier) <-chan struct{} {
	o.TakeOver()
	o.mu.Lock()
	var busy []*job
	for j := range o.inUse {
		if j.by == p {
			busy = append(busy, j)
		}
	}
	o.mu.Unlock()
	atRest := make(chan struct{})
	if len(busy) == 0 {
		close(atRest)
		return atRest
	}
	go func() {
		defer close(atRest)
		for _, j := range busy {
			<-j.done
		}
	}()
	return atRest
}

// hands is how many messages p's mailer has in its hands.
func (o *Worker) hands(p *Courier) (n int) {
	for _, j := range o.slow {
		if j.by == p {
			n++
		}
	}
	return n
}

// anyTaken reports whether one of the slow messages was taken by the server.
func (o *Worker) anyTaken() bool {
	return slices.ContainsFunc(o.slow, func(j *job) bool { return j.isDone() && j.err == nil && j.panicked == nil })
}

// settleFinished settles the slow messages that are done. It returns false where
// the server or the store failed as a whole.
func (o *Worker) settleFinished(ctx context.Context) bool {
	ok := true
	for _, j := range slices.Clone(o.slow) {
		if j.isDone() {
			o.slow = slices.DeleteFunc(o.slow, func(s *job) bool { return s == j })
			ok = o.settle(ctx, j) && ok
		}
	}
	return ok
}

// settle does what is to be done about a message that its mailer has let go of.
// It returns false where the server or the store failed as a whole.
func (o *Worker) settle(ctx context.Context, j *job) bool {
	log := mailLog(j.by, j.mail)
	switch {
	case j.panicked != nil:
		log.Error("the mailer panicked; trying again", zap.Any("panic", j.panicked), zap.ByteString("stack", j.stack))
		failed := &mail.Error{Server: true, Err: fmt.Errorf("the mailer panicked: %v", j.panicked)}
		o.suspend(failed, log)
		o.noteFailure(ctx, j.by, failed)
		return false
	case j.err == nil:
		log.Info("mail sent", zap.Int("attempts", j.mail.Attempts+1))
		o.resume(log)
		return o.done(ctx, j.mail, End{Delivered: true}, log)
	case ctx.Err() != nil || o.courier() != j.by || errors.Is(context.Cause(j.ctx), errLeaseLost):
		return true // cut off by the end of the worker, by a reload or for another worker: the row stays as it is
	}
	return o.failed(ctx, j.by, j.mail, j.err, log)
}

// end waits a moment for the messages under way, which ctx has cut off: what a
// server has taken is taken off the queue.
func (o *Worker) end(ctx context.Context) {
	defer func() {
		if v := recover(); v != nil {
			if p := o.courier(); p != nil {
				p.Logger.Error("the outbox panicked at its end", zap.Any("panic", v), zap.Stack("stack"))
			}
		}
	}()
	patience := time.NewTimer(lettingGo)
	defer patience.Stop()
	for _, j := range slices.Clone(o.slow) {
		select {
		case <-j.done:
		case <-patience.C:
			patience.Reset(0) // for the others as well
		}
	}
	o.settleFinished(ctx)
	o.remove(ctx, 0)
	o.letGo(ctx)
}
