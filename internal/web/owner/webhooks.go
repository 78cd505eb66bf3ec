// webhooks.go: P/admin/webhooks: how the endpoints of webhooks do, and what to do about
// one that fails.

package owner

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/internal/webhook"
	"github.com/seed-928992b0/caddy-registration/mail"
)

const pathWebhooks = "webhooks"

// Webhooks are those of a site.
type Webhooks interface {
	// Statuses says how the endpoints do, and Ill whether one of them is told nothing.
	Statuses(context.Context) ([]webhook.Status, error)
	Ill(context.Context) bool
	// Do does something with one of them.
	Do(ctx context.Context, act webhook.Act, id string) (webhook.Status, error)
}

var (
	sayRetry, sayEnable, saySkip = text.Say("page.admin.webhook_retry"), text.Say("page.admin.webhook_enable"), text.Say("page.admin.webhook_skip")

	webhookPages = []*Page{
		{Path: pathWebhooks, Tab: pathWebhooks, Get: showWebhooks, Doc: Doc{Get: "The endpoints of webhooks: how each does, what it is still to be told, and why it has not taken something", Shows: schemaWebhooks}},
		webhookAct(webhook.Retry, sayRetry, "detail.admin_webhook_retried", "Has an endpoint tried at once, whatever it waits for"),
		webhookAct(webhook.Enable, sayEnable, "detail.admin_webhook_enabled", "Has an endpoint told again that has said it wants no more (410), from now on"),
		webhookAct(webhook.Skip, saySkip, "detail.admin_webhook_skipped", "Has an endpoint never told what waits for it now"),
	}
)

// webhookAct is the page of an act. What can't be undone asks before.
func webhookAct(act webhook.Act, say text.Phrase, done, summary string) *Page {
	p := &Page{Path: pathWebhooks + "/{id}/" + string(act), Tab: pathWebhooks, Acts: say, Doc: Doc{Post: summary, Codes: []refusal.Code{refusal.CodeNotFound}}}
	p.Post = func(c *Call) (*Done, error) {
		_, err := c.site.Webhooks.Do(c.Req.Context(), act, c.ID)
		switch {
		case errors.Is(err, webhook.ErrUnknown), errors.Is(err, webhook.ErrOff), errors.Is(err, webhook.ErrWorks): // there is nothing of the kind to do
			return nil, refusal.New(refusal.CodeNotFound)
		case err != nil:
			return nil, refusal.Unavailable(err)
		}
		return &Done{Note: text.Say(done), To: pathWebhooks}, nil
	}
	if act == webhook.Skip {
		p.ForPeople, p.Get = true, askSkip
	}
	return p
}

func askSkip(c *Call) (*Shown, error) {
	all, err := c.webhooks()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(s webhook.Status) bool { return s.ID == c.ID })
	if i < 0 {
		return nil, refusal.New(refusal.CodeNotFound)
	}
	form := Form{Action: c.Address(c.webhookPath(all[i], webhook.Skip)), Submit: c.Loc.Text(saySkip), Grave: true}
	return &Shown{View: &View{Title: c.Loc.Text(saySkip), Text: []string{all[i].URL, c.Say("page.admin.webhook_skip_text")}, Parts: []Part{{Forms: []Form{form}}}}}, nil
}

func (c *Call) webhookPath(s webhook.Status, act webhook.Act) string {
	return pathWebhooks + "/" + s.ID + "/" + string(act)
}

func (c *Call) webhooks() ([]webhook.Status, error) {
	all, err := c.site.Webhooks.Statuses(c.Req.Context())
	if err != nil {
		return nil, refusal.Unavailable(err)
	}
	return all, nil
}

func showWebhooks(c *Call) (*Shown, error) {
	all, err := c.webhooks()
	if err != nil {
		return nil, err
	}
	if !c.HTML {
		out := make([]web.Object, len(all))
		for i, s := range all {
			out[i] = web.NewObject(
				"id", s.ID, "url", s.URL, "state", s.State, "since", field.TimeValue(s.Since), "waiting", s.Waiting, "more", s.More, "refused", s.Refused,
				"oldest", field.TimeValue(s.Oldest), "next_try", field.TimeValue(s.NextTry), "told", field.TimeValue(s.Told), "missed", field.TimeValue(s.Missed), "error", mail.Printable(s.Words),
			)
		}
		return &Shown{JSON: web.NewObject("webhooks", out)}, nil
	}
	v := &View{Title: c.Say("page.admin.webhooks")}
	if len(all) == 0 {
		v.Text = []string{c.Say("page.admin.no_webhooks")}
	}
	for _, s := range all {
		v.Parts = append(v.Parts, c.webhookPart(s))
	}
	return &Shown{View: v}, nil
}

// webhookTries is how long a message is tried, for a text.
var webhookTries = text.InWords(webhook.GiveUp)

// webhookPart is an endpoint: what is the matter with it, and what can be done.
func (c *Call) webhookPart(s webhook.Status) Part {
	p := Part{Heading: s.URL}
	since := text.Params{"since": text.OnDate(s.Since), "period": webhookTries}
	switch {
	case s.State == webhook.StateOff:
		p.Text = []string{c.Say("page.admin.webhook_off", since)}
	case s.State == webhook.StateFailing:
		p.Text = []string{c.Say("page.admin.webhook_failing", since)}
	case s.Refused > 0:
		p.Text = []string{c.Say("page.admin.webhook_refused", text.Params{"count": s.Refused, "period": webhookTries})}
	default:
		p.Text = []string{c.Say("page.admin.webhook_works")}
	}
	waiting := strconv.Itoa(s.Waiting)
	if s.More {
		waiting = c.Say("page.admin.webhook_more", text.Params{"number": waiting})
	}
	p.Facts = []web.PageFact{{Label: c.Say("page.admin.webhook_id"), Value: s.ID}, {Label: c.Say("page.admin.webhook_waiting"), Value: waiting}}
	for _, f := range []struct {
		label string
		at    time.Time
	}{{"page.admin.webhook_oldest", s.Oldest}, {"page.admin.mail_next", s.NextTry}, {"page.admin.webhook_told", s.Told}, {"page.admin.webhook_missed", s.Missed}} {
		if !f.at.IsZero() {
			p.Facts = append(p.Facts, web.PageFact{Label: c.Say(f.label), Time: moment(f.at)})
		}
	}
	if s.Words != "" {
		p.Facts = append(p.Facts, web.PageFact{Label: c.Say("page.admin.mail_why"), Value: mail.Printable(s.Words)})
	}
	form := func(act webhook.Act, say text.Phrase) {
		p.Forms = append(p.Forms, Form{Action: c.Address(c.webhookPath(s, act)), Submit: c.Loc.Text(say), Inline: true})
	}
	switch {
	case s.State == webhook.StateOff:
		form(webhook.Enable, sayEnable)
	case s.State == webhook.StateFailing, s.Refused > 0:
		form(webhook.Retry, sayRetry)
		p.GraveButtons = []web.PageLink{{Href: c.Address(c.webhookPath(s, webhook.Skip)), Text: c.Loc.Text(saySkip)}}
	}
	return p
}
