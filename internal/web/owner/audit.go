// audit.go: P/admin/audit: what was done, to whom and by whom, the latest first.

package owner

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

const pathAudit = "audit"

var auditPages = []*Page{{
	Path: pathAudit, Tab: pathAudit, Get: showAudit,
	Doc: Doc{Get: "The record of what was done, the latest first", Shows: schemaAudit, Query: append([]web.InputDoc{
		web.NewInput("account", false, web.NewObject("type", "string", "description", "Rows of this account: its id, also where it is gone, or a login.")),
		web.NewInput("event", false, web.NewObject("type", "string", "enum", eventNames())),
	}, pageInputs("The `next` of the page before.")...)},
}}

func eventNames() (names []string) {
	for _, e := range audit.Events {
		names = append(names, string(e.Event))
	}
	return names
}

// readAudit reads the query, as readListing does. found: somebody goes by the account's
// name.
func (c *Call) readAudit() (q store.AuditQuery, found bool, err error) {
	var errs refusal.FieldErrors
	q = store.AuditQuery{Newest: true}
	if q.Limit, err = c.limit(); err != nil {
		return q, false, err
	}
	if q.Event = c.Query.Get("event"); q.Event != "" && !slices.Contains(eventNames(), q.Event) {
		errs.Add("event", refusal.CodeInvalid)
		q.Event = ""
	}
	if txt := c.Query.Get("after"); txt != "" {
		if q.After, err = strconv.ParseUint(txt, 10, 64); err != nil {
			errs.Add("after", refusal.CodeInvalid)
			q.After = 0
		}
	}
	found = true
	if txt := c.Query.Get("account"); txt != "" {
		q.Account, err = c.auditedAccount(txt)
		switch {
		case err == nil:
		case web.AsRefusal(err).Code == refusal.CodeUserNotFound:
			errs.Add("account", refusal.CodeInvalid)
			found = false
		default:
			return q, false, err
		}
	}
	if c.HTML {
		return q, found, nil
	}
	return q, found, errs.Err()
}

// auditedAccount is the id of an account that may be gone. What several answer to is
// nobody's name.
func (c *Call) auditedAccount(txt string) (uuid.UUID, error) {
	if id, ok := store.ParseID(txt); ok {
		return id, nil
	}
	u, err := c.Lookup(c.Req.Context(), txt)
	if ambiguous := (*account.AmbiguousError)(nil); errors.As(err, &ambiguous) {
		return uuid.Nil, refusal.New(refusal.CodeUserNotFound)
	}
	if err != nil {
		return uuid.Nil, err
	}
	return u.ID, nil
}

func showAudit(c *Call) (*Shown, error) {
	q, found, err := c.readAudit()
	if err != nil {
		return nil, err
	}
	var page store.AuditPage
	var names map[string]string
	if found {
		if page, names, err = c.audits(q, auditNames); err != nil {
			return nil, err
		}
	}
	next := ""
	if page.More {
		next = strconv.FormatUint(page.Next, 10)
	}
	if !c.HTML {
		list := make([]web.Object, len(page.Rows))
		for i, a := range page.Rows {
			list[i] = auditRow(a, names)
		}
		return &Shown{JSON: web.NewObject("events", list, "next", cursor(next))}, nil
	}
	return &Shown{View: &View{Title: c.Say("page.admin.audit"), Parts: []Part{{Filter: c.auditFilter(q), Table: c.auditTable(page.Rows, names), Pager: c.pager(pathAudit, next)}}}}, nil
}

// audits is a page of the record, with what naming finds of those who are in it.
func (c *Call) audits(q store.AuditQuery, naming func(tx store.Tx, rows []*store.Audit, names map[string]string) error) (page store.AuditPage, names map[string]string, err error) {
	names = map[string]string{}
	err = c.View(c.Req.Context(), func(tx store.Tx) (err error) {
		if page, err = tx.Audits(q); err == nil {
			err = naming(tx, page.Rows, names)
		}
		return err
	})
	return page, names, err
}

// auditNames finds what those are called now who are in rows.
func auditNames(tx store.Tx, rows []*store.Audit, names map[string]string) error {
	for _, a := range rows {
		for _, text := range []string{a.Account.String(), a.Actor} {
			id, ok := store.ParseID(text)
			if _, known := names[text]; known || !ok || id == uuid.Nil {
				continue
			}
			u, err := tx.User(id)
			switch {
			case err == nil:
				names[text] = hostname.DisplayAddress(web.AccountName(u))
			case errors.Is(err, store.ErrNotFound):
				names[text] = ""
			default:
				return err
			}
		}
	}
	return nil
}

// auditRow is a row as programs see it.
func auditRow(a *store.Audit, names map[string]string) web.Object {
	row := web.NewObject("seq", a.Seq, "at", field.TimeValue(a.At), "event", a.Event)
	if a.Account != uuid.Nil {
		row = append(row, web.NewObject("account", a.Account)...)
		if name := names[a.Account.String()]; name != "" {
			row = append(row, web.NewObject("username", name)...)
		}
	}
	details := a.Details
	if details == nil {
		details = map[string]string{}
	}
	return append(row, web.NewObject("actor", a.Actor, "address", a.Address, "agent", a.Agent, "details", details)...)
}

func (c *Call) auditFilter(q store.AuditQuery) *Form {
	labels := []text.Phrase{text.Say("page.admin.any_event")}
	for _, name := range eventNames() {
		labels = append(labels, nameOfEvent(name))
	}
	return &Form{Action: c.Address(pathAudit), Submit: c.Say("page.admin.search_submit"), Fields: []web.PageField{
		c.choice(web.TextField("account", text.Say("page.admin.audit_account"), false), c.Query.Get("account")),
		c.choice(web.ChoiceField("event", text.Say("page.admin.event"), append([]string{""}, eventNames()...), labels), q.Event),
	}}
}

// choice is an input of what a list shows: it may always be left empty.
func (c *Call) choice(f web.FormField, value string) web.PageField {
	out := f.Show(c.Loc, value, nil)
	out.Optional, out.Required = "", false
	return out
}

func (c *Call) auditTable(rows []*store.Audit, names map[string]string) *Table {
	t := &Table{
		Label: c.Say("page.admin.audit"), Empty: c.Say("page.admin.no_events"),
		Columns: []string{c.Say("page.admin.when"), c.Say("page.admin.event"), c.Say("page.admin.audit_account"), c.Say("page.admin.actor"), c.Say("page.admin.address"), c.Say("page.admin.program"), c.Say("page.admin.details")},
	}
	for _, a := range rows {
		who := Cell{Text: orDash("")}
		if a.Account != uuid.Nil {
			id := a.Account.String()
			if who = (Cell{Text: names[id], Href: c.Address("accounts/" + id)}); who.Text == "" { // it is gone
				who = Cell{Text: id}
			}
		}
		t.Rows = append(t.Rows, Row{ID: strconv.FormatUint(a.Seq, 10), Cells: []Cell{
			{Time: moment(a.At)}, c.event(a), who, {Text: c.actor(a, names)}, {Text: orDash(a.Address)}, {Text: orDash(device.Describe(a.Agent))}, {Text: orDash(detailsOf(a))},
		}})
	}
	return t
}

// nameOfEvent is what an event is called; one that this version doesn't know, by its code.
func nameOfEvent(event string) text.Phrase {
	return text.Phrase{Id: "event." + event, Words: event}
}

func (c *Call) event(a *store.Audit) Cell {
	return Cell{Text: c.Loc.Text(nameOfEvent(a.Event)), Code: a.Event}
}

// actor is who did something, in words.
func (c *Call) actor(a *store.Audit, names map[string]string) string {
	switch {
	case a.Actor == audit.ActorAdmin:
		return c.Say("page.admin.actor_admin")
	case a.Actor == audit.ActorSystem:
		return c.Say("page.admin.actor_system")
	case a.Actor == "":
		return c.Say("page.admin.actor_none")
	case names[a.Actor] != "":
		return names[a.Actor]
	}
	return a.Actor
}

func detailsOf(a *store.Audit) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a.Details)) {
		parts = append(parts, name+"="+a.Details[name])
	}
	return strings.Join(parts, " ")
}
