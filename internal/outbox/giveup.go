// giveup.go: mail that nobody gets, and the word of it in the record of acts.

package outbox

import (
	"context"

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
	err := o.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if err := o.takeOff(tx, m, end); err != nil {
			return err
		}
		return writeGivenUp(tx, p, m, reason)
	})
	if err != nil {
		log.Error("the outbox can't be written; trying again", zap.Error(err))
		o.StoreFails = true
		return false
	}
	p.Journal.Tell(givenUp(p, m, reason))
	return true
}

func writeGivenUp(tx store.Tx, p *Courier, m *store.Mail, reason string) error {
	if m.Kind == store.MailDecoy { // nobody was to get it
		return nil
	}
	row := givenUp(p, m, reason)
	return p.Journal.Write(tx, &row)
}

func givenUp(p *Courier, m *store.Mail, reason string) store.Audit {
	details := []string{"kind", string(m.Kind), "reason", reason}
	if m.Invitation != uuid.Nil {
		details = append(details, "invitation", m.Invitation.String())
	}
	return p.Journal.Row(audit.Caller{Actor: audit.ActorSystem}, audit.MailFailed, m.User, details...)
}
