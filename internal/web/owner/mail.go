// mail.go: P/admin/mail: the mail that waits, why, and another try of all of it.

package owner

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

const pathMail = "mail"

var mailPages = []*Page{{
	Path: pathMail, Tab: pathMail, Get: showMail, Post: retryMail, Acts: text.Say("page.admin.mail_retry"),
	Doc: Doc{
		Get: "The mail that waits, the oldest first: since when, when it is tried next, how often it failed by itself, and why it still waits", Shows: schemaMail,
		Query: pageInputs("The `next` of the page before."), Post: "Has all mail that waits tried at once",
	},
}}

// A waiting mail is one of the queue as it is shown: nothing of what it says, and no link.
type waiting struct {
	*store.Mail
	next time.Time
	why  string
}

func showMail(c *Call) (*Shown, error) {
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	after, err := strconv.ParseUint(c.Query.Get("after"), 10, 64)
	if c.Query.Get("after") != "" && err != nil && !c.HTML {
		return nil, refusal.FieldErrors{{Field: "after", Code: refusal.CodeInvalid}}.Err()
	}
	health, err := outbox.HealthOf(c.Req.Context(), c.Store)
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	list, next, err := c.queue(after, limit, health)
	if err != nil {
		return nil, err
	}
	if !c.HTML {
		return &Shown{JSON: c.mailShown(list, next, health)}, nil
	}
	t := &Table{
		Label: c.Say("page.admin.mail"), Empty: c.Say("page.admin.no_mail"),
		Columns: []string{c.Say("page.admin.mail_to"), c.Say("page.admin.mail_kind"), c.Say("page.admin.mail_since"), c.Say("page.admin.mail_next"), c.Say("page.admin.mail_failed"), c.Say("page.admin.mail_why")},
	}
	for _, m := range list {
		to := Cell{Text: hostname.DisplayAddress(m.To)}
		if m.User != uuid.Nil {
			to.Href = c.Address("accounts/" + m.User.String())
		}
		t.Rows = append(t.Rows, Row{ID: strconv.FormatUint(m.Seq, 10), Cells: []Cell{
			to, c.kind(m.Kind), {Time: moment(m.Queued)}, {Time: moment(m.next)}, {Text: strconv.Itoa(m.Attempts)}, {Text: c.why(m.Mail, health)},
		}})
	}
	part := Part{Table: t, Pager: c.pager(pathMail, next)}
	switch {
	case !c.Policy.SendsMail:
		part.Text = []string{c.Say("page.admin.no_mailer")}
	case !health.Failed.IsZero():
		part.Text = []string{c.Say("page.admin.mail_server_fails", text.Params{"words": mail.Printable(health.Words)}), c.Say("page.admin.mail_server_text")}
		if health.Line != "" {
			part.Facts = []web.PageFact{{Label: c.Say("page.admin.mail_line"), Value: health.Line}}
		}
	case slices.ContainsFunc(list, func(m waiting) bool { return m.Failed != "" }):
		part.Text = []string{c.Say("page.admin.mail_delayed_text", threeDays)}
	}
	if c.Policy.SendsMail && len(list) > 0 {
		part.Forms = []Form{{Action: c.Address(pathMail), Submit: c.Say("page.admin.mail_retry")}}
	}
	v := &View{Title: c.Say("page.admin.mail"), Parts: []Part{part}}
	lost, err := c.givenUpPart()
	if err != nil {
		return nil, err
	}
	if lost != nil {
		v.Parts[0].Heading = c.Say("page.admin.mail_waits")
		v.Parts = append(v.Parts, *lost)
	}
	return &Shown{View: v}, nil
}

// mailStopped reports whether no mail can be delivered, as far as that is known: what it
// stands on is of more use without it.
func (c *Call) mailStopped() bool {
	if !c.Policy.SendsMail {
		return false
	}
	health, err := outbox.HealthOf(c.Req.Context(), c.Store)
	return err == nil && !health.Failed.IsZero()
}

// kind is what a mail is, in words.
func (c *Call) kind(k store.MailKind) Cell {
	return Cell{Text: c.Loc.Text(text.Phrase{Id: "kind." + string(k), Words: string(k)}), Code: string(k)}
}

// queue reads a page of the queue, without decoys, and where the next one begins.
func (c *Call) queue(after uint64, limit int, health outbox.Health) (list []waiting, next string, err error) {
	var rows []*store.Mail
	err = c.View(c.Req.Context(), func(tx store.Tx) (err error) {
		rows, err = tx.Mails(after, limit+1)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = strconv.FormatUint(rows[limit-1].Seq, 10)
	}
	probe := c.site.NextTry()
	for _, m := range rows {
		if m.Kind == store.MailDecoy {
			continue
		}
		w := waiting{m, m.Due, mail.Printable(m.Failed)}
		if !health.Failed.IsZero() {
			w.why = mail.Printable(health.Words)
		}
		if probe.After(w.next) {
			w.next = probe
		}
		list = append(list, w)
	}
	return list, next, nil
}

func (c *Call) mailShown(list []waiting, next string, health outbox.Health) web.Object {
	out := make([]web.Object, len(list))
	for i, m := range list {
		out[i] = web.NewObject("seq", m.Seq, "kind", string(m.Kind), "to", m.To)
		if m.User != uuid.Nil {
			out[i] = append(out[i], web.NewObject("account", m.User)...)
		}
		out[i] = append(out[i], web.NewObject("queued", field.TimeValue(m.Queued), "next_try", field.TimeValue(m.next), "attempts", m.Attempts, "error", m.why)...)
	}
	return web.NewObject("mails", out, "next", cursor(next), "server_fails", !health.Failed.IsZero())
}

func retryMail(c *Call) (*Done, error) {
	if !c.Policy.SendsMail {
		return nil, refusal.New(refusal.CodeNotFound)
	}
	n, err := c.site.Retry(c.Req.Context())
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	return &Done{Note: text.Say("detail.admin_mail_retried", text.Params{"count": n}), To: pathMail}, nil
}
