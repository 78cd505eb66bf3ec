// removal.go: mails that were sent are taken off the queue, several at a time, while the
// next ones are sent.

package outbox

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/store"
)

// mailUnremoved is how many mails that were sent may be on the queue while others are
// sent. After a power failure so many come twice at worst. A disk takes as long over all
// of them as over one.
const mailUnremoved = 8

// removals are the mails that were sent and are still on the queue. If taking them off
// fails, only that is tried again, and nothing else is sent before it is done; a message
// is sent twice only where the process ends in between, and then under the same
// Message-ID.
type removals struct {
	unremoved []*removal
	// removing tells how the write under way ended; nil: there is none. It is about the
	// first so many of unremoved.
	removing chan removed
	// flowing: the last write succeeded, and the queue was not empty since, so the next
	// message need not wait for the next write.
	flowing bool
}

type removal struct {
	mail *store.Mail
	end  End
	log  *zap.Logger
}

type removed struct {
	mails    int
	err      error
	panicked any
}

// done has a row taken off the queue whose message is out. It returns false where the
// store failed.
func (o *Worker) done(ctx context.Context, m *store.Mail, end End, log *zap.Logger) bool {
	o.unremoved = append(o.unremoved, &removal{m, end, log})
	return o.removeSome(ctx)
}

// removeSome is remove that waits for no more than it must.
func (o *Worker) removeSome(ctx context.Context) bool {
	if o.flowing {
		return o.remove(ctx, mailUnremoved)
	}
	return o.remove(ctx, 0)
}

// remove takes what was sent off the queue, until at most so many are left, of which a
// write is under way. It returns false where the store failed. The writes are not cut off
// by the end of the worker.
func (o *Worker) remove(ctx context.Context, most int) bool {
	for len(o.unremoved) > 0 {
		if o.removing == nil {
			o.startRemoving(ctx)
		}
		var r removed
		if len(o.unremoved) > most {
			r = <-o.removing
		} else {
			select {
			case r = <-o.removing:
			default:
				return true
			}
		}
		o.removing = nil
		o.flowing = r.err == nil && r.panicked == nil
		if r.panicked != nil {
			panic(r.panicked)
		}
		if r.err != nil {
			o.unremoved[0].log.Error("the outbox can't be written; trying again", zap.Error(r.err))
			o.StoreFails = true
			return false
		}
		for _, m := range o.unremoved[:r.mails] {
			if m.end.Delivered {
				o.noted = ""
				o.count(m.mail, countDelivered)
			}
		}
		o.unremoved = slices.Delete(o.unremoved, 0, r.mails)
	}
	return true
}

func (o *Worker) startRemoving(ctx context.Context) {
	mails, over := slices.Clone(o.unremoved), make(chan removed, 1)
	o.removing = over
	go func() {
		r := removed{mails: len(mails)}
		defer func() {
			r.panicked = recover()
			over <- r
		}()
		r.err = o.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
			for _, m := range mails {
				if err := o.takeOff(tx, m.mail, m.end); err != nil {
					return err
				}
			}
			return nil
		})
	}()
}
