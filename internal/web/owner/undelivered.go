// undelivered.go: mail that did not arrive: what waits and why, and what was given up;
// for the page of the queue, and for that of the person who should have had it.

package owner

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// givenUpFor is for how long mail that was given up is shown, the latest givenUpShown;
// the record has all of it.
const (
	givenUpFor   = 30 * 24 * time.Hour
	givenUpShown = 10
)

// givenUpWhy are the reasons for which mail is given up, in words. noRecipient is another
// where the account has another address by now, or it isn't known which one it was.
var (
	givenUpWhy = map[string]text.Phrase{
		outbox.NoRecipient: text.Say("page.admin.reason_recipient"), outbox.Unsendable: text.Say("page.admin.reason_refused"),
		outbox.Delayed: text.Say("page.admin.reason_delayed", threeDays), outbox.NoServer: text.Say("page.admin.reason_no_server", threeDays),
	}
	noRecipient = text.Say("page.admin.reason_recipient_then")
)

// threeDays is how long a mail is tried, for a text.
var threeDays = text.Params{"period": text.InWords(outbox.MailGiveUp)}

// A lostMail is one that was given up, as the record has it.
type lostMail struct {
	*store.Audit
	// to is the address that it went to, as it is shown, "" where it isn't known any
	// more; present: whom it was for has that address now.
	to      string
	present bool
	// known: its account is there.
	known bool
}

// why is why it was given up; a reason of another version, as it is.
func (m lostMail) why() text.Phrase {
	reason := m.Details["reason"]
	if reason == outbox.NoRecipient && !m.present {
		return noRecipient
	}
	if why, ok := givenUpWhy[reason]; ok {
		return why
	}
	return text.Phrase{Words: reason}
}

// givenUp are the rows of the record about mail that was given up lately, to an account or
// to anybody, the latest first.
func (c *Call) givenUp(id uuid.UUID) (list []lostMail, err error) {
	_, _, err = c.audits(store.AuditQuery{
		Account: id, Event: string(audit.MailFailed), Since: c.Realm.Now().Add(-givenUpFor), Newest: true, Limit: givenUpShown,
	}, func(tx store.Tx, rows []*store.Audit, _ map[string]string) (err error) {
		list = make([]lostMail, len(rows))
		for i, a := range rows {
			if list[i], err = readLost(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// readLost finds to what address a mail of the record went: the row has none.
func readLost(tx store.Tx, a *store.Audit) (lostMail, error) {
	m := lostMail{Audit: a}
	if invited, ok := store.ParseID(a.Details["invitation"]); ok {
		i, err := tx.Invitation(invited)
		if err == nil {
			m.to, m.present = hostname.DisplayAddress(i.Email), true
		}
		return m, gone(err)
	}
	if a.Account == uuid.Nil {
		return m, nil
	}
	u, err := tx.User(a.Account)
	if err != nil {
		return m, gone(err)
	}
	m.known = true
	m.to, m.present = addressOf(u, a)
	return m, nil
}

// gone is an error but that of a record that isn't there.
func gone(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// addressOf is the address of an account that a mail went to which was given up, "" where
// the account doesn't know it any more, and whether it has it now.
func addressOf(u *store.User, a *store.Audit) (to string, present bool) {
	number, err := strconv.ParseUint(a.Details[outbox.AddressNumber], 10, 32)
	at := u.Unreachable
	switch {
	case err == nil && number == uint64(u.EmailChanges):
		return hostname.DisplayAddress(u.Email), true
	case err == nil:
		for _, f := range u.Former {
			if uint64(f.Serial) == number+1 {
				return hostname.DisplayAddress(f.Email), false
			}
		}
	}
	if a.Details["reason"] == outbox.NoRecipient && at.Email != "" && at.Since.Equal(a.At) {
		return hostname.DisplayAddress(at.Email), at.Email == u.Email
	}
	return "", false
}

// givenUpPart is the part of the page of the queue about mail that was given up, nil where
// none was.
func (c *Call) givenUpPart() (*Part, error) {
	rows, err := c.givenUp(uuid.Nil)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	t := &Table{
		Label:   c.Say("page.admin.mail_given_up"),
		Columns: []string{c.Say("page.admin.when"), c.Say("page.admin.mail_to"), c.Say("page.admin.mail_kind"), c.Say("page.admin.mail_why")},
	}
	for _, m := range rows {
		to := Cell{Text: orDash(m.to)}
		if m.known {
			to = Cell{Text: cmp.Or(m.to, c.Say("page.admin.mail_to_former")), Href: c.Address("accounts/" + m.Account.String())}
		}
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Time: moment(m.At)}, to, c.kind(store.MailKind(m.Details["kind"])), {Text: c.Loc.Text(m.why())}}})
	}
	all := web.PageLink{Href: withQuery(c.Address(pathAudit), "event="+string(audit.MailFailed)), Text: c.Say("page.admin.mail_all_given_up")}
	return &Part{Heading: t.Label, Table: t, Pager: []web.PageLink{all}}, nil
}

// why is why a mail waits.
func (c *Call) why(m *store.Mail, health outbox.Health) string {
	switch {
	case outbox.Held(m, c.Realm.Now()):
		return c.Say("page.admin.mail_held", text.Params{"until": text.OnDate(m.Due)})
	case !health.Failed.IsZero():
		return c.Say("page.admin.mail_no_server")
	case m.Failed != "":
		return c.Say("page.admin.mail_delayed", text.Params{"words": mail.Printable(m.Failed)})
	}
	return c.Say("page.admin.mail_coming")
}

// invitationMail is why the mails of invitations have not arrived, by their ids: of those
// that nobody has used. Of the record the latest maxPage rows about mail that was given up
// are looked at, of the queue the first ones.
func (c *Call) invitationMail(list []*store.Invitation) (map[uuid.UUID]string, error) {
	why, mailed := map[uuid.UUID]string{}, map[uuid.UUID]bool{}
	for _, i := range list {
		if i.Email != "" && i.Used == 0 {
			mailed[i.ID] = true
		}
	}
	if len(mailed) == 0 {
		return nil, nil
	}
	_, _, err := c.audits(store.AuditQuery{Event: string(audit.MailFailed), Since: c.Realm.Now().Add(-account.MaxInvitationLifetime), Newest: true, Limit: maxPage},
		func(_ store.Tx, rows []*store.Audit, _ map[string]string) error {
			for _, a := range rows {
				if id, ok := store.ParseID(a.Details["invitation"]); ok && mailed[id] {
					why[id] = c.Loc.Text(lostMail{Audit: a, present: true}.why())
				}
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	health, err := outbox.HealthOf(c.Req.Context(), c.Store)
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	waits, _, err := c.queue(0, maxPage, health)
	for _, m := range waits {
		if mailed[m.Invitation] && m.why != "" {
			why[m.Invitation] = c.why(m.Mail, health)
		}
	}
	return why, err
}

// mailProblems is the part of an account's page about mail to it that did not arrive, nil
// where nothing is known of any. Of the queue the first maxPage are looked at: it has no
// index by account, and its page shows the rest.
func (c *Call) mailProblems(u *store.User) (*Part, error) {
	part := &Part{Heading: c.Say("page.admin.mail_problems")}
	if at := u.Unreachable; at.Email != "" && at.Email == u.Email {
		part.Text = []string{c.Say("page.admin.unreachable_text", text.Params{"email": emailOf(u)})}
		part.Facts = []web.PageFact{
			{Label: c.Say("page.admin.server_words"), Value: mail.Printable(at.Words)}, {Label: c.Say("page.admin.when"), Time: moment(at.Since)},
		}
	}
	health, err := outbox.HealthOf(c.Req.Context(), c.Store)
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	waits, _, err := c.queue(0, maxPage, health)
	if err != nil {
		return nil, err
	}
	waits = slices.DeleteFunc(waits, func(m waiting) bool { return m.User != u.ID })
	rows, err := c.givenUp(u.ID)
	if err != nil || len(waits) == 0 && len(rows) == 0 && part.Text == nil {
		return nil, err
	}
	if len(waits) == 0 && len(rows) == 0 {
		return part, nil
	}
	part.Table = &Table{Label: part.Heading, Columns: []string{c.Say("page.admin.when"), c.Say("page.admin.mail_to"), c.Say("page.admin.mail_kind"), c.Say("page.admin.mail_why")}}
	for _, m := range waits {
		part.Table.Rows = append(part.Table.Rows, Row{ID: strconv.FormatUint(m.Seq, 10), Cells: []Cell{{Time: moment(m.Queued)}, {Text: hostname.DisplayAddress(m.To)}, c.kind(m.Kind), {Text: c.why(m.Mail, health)}}})
	}
	for _, m := range rows {
		part.Table.Rows = append(part.Table.Rows, Row{Cells: []Cell{
			{Time: moment(m.At)}, {Text: cmp.Or(m.to, c.Say("page.admin.mail_to_former"))}, c.kind(store.MailKind(m.Details["kind"])), {Text: c.Loc.Text(m.why())},
		}})
	}
	return part, nil
}
