// view.go: what the template of the owner's pages (templates/pages/admin.html) can show,
// and the frame that all of them have.

package owner

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// A View is a page: its heading and what stands below it, part after part.
type View struct {
	Title string
	Text  []string
	Parts []Part
	// Links lead on, at the end of the page.
	Links []web.PageLink
}

// A Part of a page shows what of it is there, in this order.
type Part struct {
	// Heading is left out where the page has one part.
	Heading string
	Text    []string
	Facts   []web.PageFact
	// Copy is a text to be taken away.
	Copy *Copy
	// Buttons are links that lead to the pages of acts.
	Buttons []web.PageLink
	Filter  *Form
	Table   *Table
	Forms   []Form
	// GraveButtons are Buttons of what can't be undone.
	GraveButtons []web.PageLink
	// Pager leads on in a list.
	Pager []web.PageLink
}

// A Form is one: the button of an act, or the choice of what a list shows.
type Form struct {
	Action, Submit string
	Hidden         []web.PageHidden
	Fields         []web.PageField
	// Grave: what it does can't be undone.
	Grave bool
	// Inline: it stands beside others.
	Inline bool
}

// A Copy is shown once: a link that is secret.
type Copy struct{ Label, Value string }

// A Table is a list of things of one kind; on a narrow screen each is a card.
type Table struct {
	// Label says what it has, for who can't see it.
	Label   string
	Columns []string
	Rows    []Row
	// Empty is said where there are no rows.
	Empty string
	// Acts are buttons for all rows that are ticked: the boxes are called Input, the
	// buttons send `do`. Without them the rows have no boxes.
	Action, Input, Legend string
	Acts                  []Button
	Hidden                []web.PageHidden
}

// A Row is one thing of a table. ID is what its box sends; Select, the label of that.
type Row struct {
	ID, Select string
	Checked    bool
	Cells      []Cell
}

// A Cell is a text, which may lead somewhere. Time is in place of the text: a moment,
// given as in RFC 3339. Code is what programs call it, for who looks for that.
type Cell struct{ Text, Href, Time, Code string }

// A Button of a table is one of several: Value is what it sends.
type Button struct {
	Value, Text string
	Grave       bool
}

// shownFrame is what the template sees as Owner.
type shownFrame struct {
	Nav   []Tab
	Parts []Part
}

// A Tab is a page of the navigation.
type Tab struct {
	Href, Text string
	Current    bool
}

// tabs are the pages that lead to all others, in their order: path and name.
var tabs = []struct {
	path string
	name text.Phrase
}{
	{"accounts", text.Say("page.admin.accounts")},
	{pathWaiting, text.Say("page.admin.waiting")},
	{pathInvitations, text.Say("page.admin.invitations")},
	{pathAudit, text.Say("page.admin.audit")},
	{pathMail, text.Say("page.admin.mail")},
	{pathWebhooks, text.Say("page.admin.webhooks")},
	{pathSettings, text.Say("page.admin.settings")},
}

// write sends a page.
func (s *Server) write(c *Call, status int, v *View) {
	frame, stopped := shownFrame{Parts: v.Parts}, c.mailStopped()
	for _, tab := range tabs {
		name := tab.name
		switch tab.path {
		case pathWaiting:
			if n, ok := c.Waiting(); ok {
				name = text.Say("page.admin.waiting_some", text.Params{"count": n})
			}
		case pathMail:
			if stopped {
				name = text.Say("page.admin.mail_stopped")
			}
		case pathWebhooks:
			switch {
			case !c.site.HasWebhooks:
				continue
			case c.site.Webhooks.Ill(c.Req.Context()):
				name = text.Say("page.admin.webhooks_ill")
			}
		}
		frame.Nav = append(frame.Nav, Tab{c.Address(tab.path), c.Loc.Text(name), c.Page != nil && c.Page.Tab == tab.path})
	}
	for _, part := range v.Parts {
		for _, form := range part.Forms {
			web.Ease(form.Fields)
		}
	}
	d := web.PageData{Page: web.OwnerPath, Title: v.Title, Text: v.Text, Links: v.Links, Owner: frame}
	if c.Refused != nil {
		d.Errors = c.errors(v)
	} else if status == http.StatusOK && c.Req.Method == http.MethodGet {
		d.Note = s.realm.TakeNote(c.W, c.Call, web.OwnerPath)
	}
	s.realm.Pages.Write(c.W, c.Call, status, d)
}

// errors are what was wrong with the act whose page is shown again, in the order of its
// inputs.
func (c *Call) errors(v *View) (out []web.PageError) {
	if len(c.Refused.Fields) == 0 {
		return []web.PageError{{Text: refusal.Text(c.Loc, c.Refused.Code, c.Refused.Params)}}
	}
	left := c.errorsByField()
	for _, part := range v.Parts {
		for _, form := range part.Forms {
			for _, f := range form.Fields {
				for _, txt := range left[f.Name] {
					out = append(out, web.PageError{Field: f.Name, Text: c.Say("page.field_error", text.Params{"field": f.Label, "error": txt})})
				}
				delete(left, f.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		for _, txt := range left[name] {
			out = append(out, web.PageError{Text: txt})
		}
	}
	return out
}

func (c *Call) errorsByField() map[string][]string {
	errs := map[string][]string{}
	if c.Refused != nil {
		for _, f := range c.Refused.Fields {
			errs[f.Field] = append(errs[f.Field], c.Loc.Text(f.Phrase()))
		}
	}
	return errs
}

// Field is an input of a form: with what was typed, where that was refused, else with
// what it begins with.
func (c *Call) Field(f web.FormField, begin string) web.PageField {
	if c.Refused != nil {
		begin = c.In.Text(f.Name)
	}
	return f.Show(c.Loc, begin, c.errorsByField()[f.Name])
}

// pager leads on behind a page of a list: back to its first, and to the next, which
// begins behind a cursor. The query is that of the page.
func (c *Call) pager(path, next string) (links []web.PageLink) {
	with := func(after string) string {
		q := maps.Clone(c.Query)
		q.Del("after")
		if after != "" {
			q.Set("after", after)
		}
		return withQuery(c.Address(path), q.Encode())
	}
	if c.Query.Get("after") != "" {
		links = append(links, web.PageLink{Href: with(""), Text: c.Say("page.admin.first_page")})
	}
	if next != "" {
		links = append(links, web.PageLink{Href: with(next), Text: c.Say("page.admin.next_page")})
	}
	return links
}

// orDash is a text, or the sign for none.
func orDash(s string) string { return cmp.Or(s, "–") }

// Samples implements web.OwnerPages.
func (s *Server) Samples() []any {
	field := []web.PageField{{Name: "x", Kind: "text"}}
	form := Form{Action: "x", Submit: "x", Hidden: []web.PageHidden{{Name: "x", Value: "x"}}, Fields: field, Grave: true, Inline: true}
	link := []web.PageLink{{Href: "x", Text: "x"}}
	row := Row{ID: "x", Select: "x", Checked: true, Cells: []Cell{{Text: "x", Href: "x"}, {Time: "x"}, {Text: "x", Code: "x"}}}
	full := Part{
		Heading: "x", Text: []string{"x"}, Facts: []web.PageFact{{Label: "x", Value: "x"}, {Label: "x", Time: "x"}}, Copy: &Copy{"x", "x"}, Filter: &form,
		Table: &Table{Label: "x", Columns: []string{"x", "x", "x"}, Rows: []Row{row}, Action: "x", Input: "x", Legend: "x", Acts: []Button{{"x", "x", true}, {}}, Hidden: form.Hidden},
		Forms: []Form{form, {}}, Buttons: link, GraveButtons: link, Pager: link,
	}
	return []any{shownFrame{[]Tab{{"x", "x", true}, {}}, []Part{full, {Table: &Table{}}, {}}}, shownFrame{}}
}
