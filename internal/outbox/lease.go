// lease.go: whose a row is: of several workers on one queue, on whatever nodes, one
// sends it.

package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/store"
)

// errLeaseLost cuts off a message that another worker has taken over.
var errLeaseLost = errors.New("the lease of the row is lost")

// claim is the worker's wish for up to limit rows, beside those that are in its
// mailers' hands or sent.
func (o *Worker) claim(p *Courier, limit int) store.Claim {
	c := store.Claim{Worker: o.id, Now: p.Now(), Lease: mailLease, Limit: limit}
	for _, j := range o.slow {
		c.Keep = append(c.Keep, j.mail.Seq)
	}
	for _, m := range o.unremoved {
		c.Keep = append(c.Keep, m.mail.Seq)
	}
	return c
}

// letGo gives the leases back, so that other workers need not wait for their end.
func (o *Worker) letGo(ctx context.Context) {
	p := o.courier()
	if p == nil {
		p = &Courier{Now: time.Now}
	}
	// If that fails, they run out.
	_, _, _ = o.store.ClaimMail(context.WithoutCancel(ctx), o.claim(p, 0))
}

// hold renews the leases of the worker, the one of m among them, until release is
// called, and then returns. The context ends when m's is lost; nil: it is already.
// While the store can't be asked, a lease counts for as long as it was given.
func (o *Worker) hold(ctx context.Context, p *Courier, m *store.Mail) (mine context.Context, release func()) {
	err := o.renew(ctx, p, m)
	if errors.Is(err, store.ErrNotFound) {
		return nil, func() {}
	}
	mine, cut := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		tick := time.NewTicker(mailLease / 4)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-mine.Done():
				return
			case <-tick.C:
			}
			err := o.renew(mine, p, m)
			switch {
			case err == nil:
				last = time.Now()
			case errors.Is(err, store.ErrNotFound), time.Since(last) >= mailLease*3/4:
				mailLog(p, m).Warn("mail left to another worker", zap.Error(err))
				cut(errLeaseLost)
			}
		}
	})
	return mine, func() {
		cut(context.Canceled)
		renewing.Wait()
	}
}

// renew asks the store; a panic is a failure like any other.
func (o *Worker) renew(ctx context.Context, p *Courier, m *store.Mail) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("the store panicked")
		}
	}()
	return o.store.RenewMail(ctx, store.Claim{Worker: o.id, Now: p.Now(), Lease: mailLease, Limit: mailBatch}, m.Seq)
}
