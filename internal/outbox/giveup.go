// giveup.go: mail that nobody gets, and the word of it in the record of acts.

package outbox

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The reasons for which mail is given up, in its row of the record: nobody reads mail at
// the address; the server has refused it for good, or it can't be written; it was put off
// for MailGiveUp; for as long no server could be used.
const (
	NoRecipient = "no such recipient"
	Unsendable  = "it can't be sent"
	Delayed     = "not delivered for three days"
	NoServer    = "no mail server for three days"
)

// giveUp is remove for a mail that nobody gets.
func (o *Worker) giveUp(ctx context.Context, p *Courier, m *store.Mail, end End, reason string, log *zap.Logger) bool {
	var row *store.Audit
	err := o.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) (err error) {
		if err := o.takeOff(tx, m, end); err != nil {
			return err
		}
		row, err = writeGivenUp(tx, p, m, reason)
		return err
	})
	if err != nil {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	o.count(m, countGivenUp)
	if row != nil {
		p.Journal.Tell(*row)
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
	for ctx.Err() == nil && o.courier() == p {
		old, _, err := o.store.ClaimMail(ctx, o.claim(p, mailBatch))
		old = slices.DeleteFunc(old, func(m *store.Mail) bool { return p.Now().Sub(m.Queued) < MailGiveUp })
		whole := len(old) == mailBatch
		rows := make([]*store.Audit, len(old))
		if err == nil && len(old) > 0 {
			err = o.store.Update(ctx, func(tx store.Tx) (err error) {
				for i, m := range old {
					if err := o.takeOff(tx, m, End{}); err != nil {
						return err
					}
					if rows[i], err = writeGivenUp(tx, p, m, NoServer); err != nil {
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
		for i, m := range old {
			o.count(m, countGivenUp)
			if rows[i] != nil {
				p.Journal.Tell(*rows[i])
				mailLog(p, m).Error("mail given up: the mail server could not be used for three days", zap.Time("queued", m.Queued), zap.Int("attempts", m.Attempts))
			}
		}
		if !whole {
			return
		}
	}
}

// writeGivenUp writes the row, nil where nobody was to get the mail.
func writeGivenUp(tx store.Tx, p *Courier, m *store.Mail, reason string) (*store.Audit, error) {
	if m.Kind == store.MailDecoy {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	number, err := addressNumber(tx, m)
	if err != nil {
		return nil, err
	}
	details := []string{"kind", string(m.Kind), "reason", reason, AddressNumber, number}
	if m.Invitation != uuid.Nil {
		details = append(details, "invitation", m.Invitation.String())
	}
	row := p.Journal.Row(audit.Caller{Actor: audit.ActorSystem}, audit.MailFailed, m.User, details...)
	return &row, p.Journal.Write(tx, &row)
}

// AddressNumber is the detail of a row about mail that was given up which says to what
// address of the account it went: the record has no addresses. They are counted from 0 at
// the first that it had, as store.User.EmailChanges does; none: it was none of them, such
// as one that is to be confirmed first.
const AddressNumber = "address_number"

func addressNumber(tx store.Tx, m *store.Mail) (string, error) {
	if m.User == uuid.Nil {
		return "", nil
	}
	u, err := tx.User(m.User)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if u.Email == m.To {
		return strconv.FormatUint(uint64(u.EmailChanges), 10), nil
	}
	if i := slices.IndexFunc(u.Former, func(f store.FormerEmail) bool { return f.Email == m.To }); i >= 0 && u.Former[i].Serial > 0 {
		return strconv.FormatUint(uint64(u.Former[i].Serial-1), 10), nil
	}
	return "", nil
}
