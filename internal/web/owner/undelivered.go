// undelivered.go: mail that did not arrive: what waits and why, and what was given up;
// for the page of the queue, and for that of the person who should have had it.

package owner

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

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

// givenUpWhy are the reasons for which mail is given up, in words.
var givenUpWhy = map[string]text.Phrase{
	outbox.NoRecipient: text.Say("page.admin.reason_recipient"), outbox.Unsendable: text.Say("page.admin.reason_refused"),
	outbox.Delayed: text.Say("page.admin.reason_delayed", threeDays), outbox.NoServer: text.Say("page.admin.reason_no_server", threeDays),
}

// threeDays is how long a mail is tried, for a text.
var threeDays = text.Params{"period": text.InWords(outbox.MailGiveUp)}

// whyGivenUp is why a mail was given up; a reason of another version, as it is.
func whyGivenUp(a *store.Audit) text.Phrase {
	reason := a.Details["reason"]
	if why, ok := givenUpWhy[reason]; ok {
		return why
	}
	return text.Phrase{Words: reason}
}

// givenUp are the rows of the record about mail that was given up lately, to an account or
// to anybody, the latest first; names are whom they are about, by id.
func (c *Call) givenUp(id uuid.UUID) (rows []*store.Audit, names map[string]string, err error) {
	page, names, err := c.audits(store.AuditQuery{
		Account: id, Event: string(audit.MailFailed), Since: c.Realm.Now().Add(-givenUpFor), Newest: true, Limit: givenUpShown,
	}, mailedNames)
	return page.Rows, names, err
}

// mailedNames is auditNames, with the addresses of those who are only invited, by the
// invitation's id.
func mailedNames(tx store.Tx, rows []*store.Audit, names map[string]string) error {
	for _, a := range rows {
		if invited, ok := store.ParseID(a.Details["invitation"]); ok {
			switch i, err := tx.Invitation(invited); {
			case err == nil:
				names[a.Details["invitation"]] = hostname.DisplayAddress(i.Email)
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
		}
	}
	return auditNames(tx, rows, names)
}

// givenUpPart is the part of the page of the queue about mail that was given up, nil where
// none was.
func (c *Call) givenUpPart() (*Part, error) {
	rows, names, err := c.givenUp(uuid.Nil)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	t := &Table{
		Label:   c.Say("page.admin.mail_given_up"),
		Columns: []string{c.Say("page.admin.when"), c.Say("page.admin.mail_to"), c.Say("page.admin.mail_kind"), c.Say("page.admin.mail_why")},
	}
	for _, a := range rows {
		to := Cell{Text: orDash(names[a.Details["invitation"]])}
		if id := a.Account.String(); a.Account != uuid.Nil && names[id] != "" {
			to = Cell{Text: names[id], Href: c.Address("accounts/" + id)}
		}
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Time: moment(a.At)}, to, c.kind(store.MailKind(a.Details["kind"])), {Text: c.Loc.Text(whyGivenUp(a))}}})
	}
	all := web.PageLink{Href: withQuery(c.Address(pathAudit), "event="+string(audit.MailFailed)), Text: c.Say("page.admin.mail_all_given_up")}
	return &Part{Heading: t.Label, Table: t, Pager: []web.PageLink{all}}, nil
}

// why is why a mail waits.
func (c *Call) why(m *store.Mail, health outbox.Health) string {
	switch {
	case !health.Failed.IsZero():
		return c.Say("page.admin.mail_no_server")
	case m.Failed != "":
		return c.Say("page.admin.mail_delayed", text.Params{"words": mail.Printable(m.Failed)})
	}
	return c.Say("page.admin.mail_coming")
}

// mailProblems is the part of an account's page about mail to it that did not arrive, nil
// where nothing is known of any. Of the queue the first maxPage are looked at: it has no
// index by account, and its page shows the rest.
func (c *Call) mailProblems(u *store.User) (*Part, error) {
	part := &Part{Heading: c.Say("page.admin.mail_problems")}
	if at := u.Unreachable; at.Email != "" && at.Email == u.Email {
		part.Text = []string{c.Say("page.admin.unreachable_text", text.Params{"email": emailOf(u)})}
		part.Facts = []web.PageFact{
			{Label: c.Say("page.admin.server_words"), Value: mail.Printable(at.Words)}, {Label: c.Say("page.admin.when"), Value: c.Loc.Moment(moment(at.Since))},
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
	rows, _, err := c.givenUp(u.ID)
	if err != nil || len(waits) == 0 && len(rows) == 0 && part.Text == nil {
		return nil, err
	}
	if len(waits) == 0 && len(rows) == 0 {
		return part, nil
	}
	part.Table = &Table{Label: part.Heading, Columns: []string{c.Say("page.admin.when"), c.Say("page.admin.mail_kind"), c.Say("page.admin.mail_why")}}
	for _, m := range waits {
		part.Table.Rows = append(part.Table.Rows, Row{ID: strconv.FormatUint(m.Seq, 10), Cells: []Cell{{Time: moment(m.Queued)}, c.kind(m.Kind), {Text: c.why(m.Mail, health)}}})
	}
	for _, a := range rows {
		part.Table.Rows = append(part.Table.Rows, Row{Cells: []Cell{{Time: moment(a.At)}, c.kind(store.MailKind(a.Details["kind"])), {Text: c.Loc.Text(whyGivenUp(a))}}})
	}
	return part, nil
}
