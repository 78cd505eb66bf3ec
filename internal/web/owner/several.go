// several.go: what is done to several accounts at once: those that are ticked in a list.

package owner

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// What a list of accounts sends besides what its act needs.
const (
	paramDo        = "do"
	paramAccounts  = "accounts"
	paramConfirmed = "confirmed"
)

// A notDone is an account to which an act was refused.
type notDone struct {
	ID     uuid.UUID    `json:"id"`
	Code   refusal.Code `json:"code"`
	Detail string       `json:"detail"`
	name   string
}

// actsFor are the acts of a list's buttons, by their names.
func actsFor(names ...string) (list []*Act) {
	for _, name := range names {
		list = append(list, acts[slices.IndexFunc(acts, func(a *Act) bool { return a.Name == name })])
	}
	return list
}

// buttons are those of a list.
func (c *Call) buttons(acts []*Act) (list []Button) {
	for _, a := range acts {
		list = append(list, Button{Value: a.Name, Text: c.Loc.Text(a.Submit), Grave: a.Grave})
	}
	return list
}

// severalInputs describe what a list takes.
func severalInputs(acts []*Act) []web.InputDoc {
	names := make([]string, len(acts))
	list := []web.InputDoc{{}, web.NewInput(paramAccounts, true, web.NewObject("type", "array", "items", web.NewObject("type", "string", "format", "uuid"), "maxItems", maxPage, "description", "The ids of the accounts. A form sends the name once for each.", "examples", []any{[]string{web.ExampleID}}))}
	for i, a := range acts {
		names[i] = a.Name
		for _, in := range a.Body {
			in.Required = false
			list = append(list, in)
		}
	}
	list[0] = web.NewInput(paramDo, true, web.NewObject("type", "string", "enum", names, "examples", []any{names[0]}))
	return list
}

// severally does one of some acts to the accounts that were sent; each is an act of its
// own, and what is refused to one keeps none back from another. path is the page of the
// list.
func severally(path string, acts []*Act) func(*Call) (*Done, error) {
	return func(c *Call) (*Done, error) {
		var errs refusal.FieldErrors
		do := c.In.Required(paramDo, &errs)
		i := slices.IndexFunc(acts, func(a *Act) bool { return a.Name == do })
		if i < 0 && len(errs) == 0 {
			errs.Add(paramDo, refusal.CodeInvalidChoice, text.Params{"value": do})
		}
		users, err := c.ticked(&errs)
		if err != nil {
			return nil, err
		}
		if err := errs.Err(); err != nil {
			return nil, err
		}
		a := acts[i]
		warns, err := a.asks(c, users...)
		if err != nil {
			return nil, err
		}
		if c.HTML && (a.Grave || a.Inputs != nil || len(warns) > 0) && c.In.Text(paramConfirmed) == "" {
			return &Done{View: a.viewSeveral(c, path, users, warns...)}, nil
		}
		var done []uuid.UUID
		var names namesDone
		refused := []notDone{}
		for _, u := range users {
			_, err := a.Do(c, u)
			switch r := web.AsRefusal(err); {
			case err == nil:
				done = append(done, u.ID)
				names.add(a, u)
			case web.StatusOf(r.Code) >= 500, len(r.Fields) > 0: // for all of them the same
				if c.HTML && len(r.Fields) > 0 && len(done) == 0 {
					c.Refused = r
					return &Done{View: a.viewSeveral(c, path, users)}, nil
				}
				if len(done) == 0 {
					return nil, err
				}
				fallthrough
			default:
				refused = append(refused, notDone{u.ID, codeOf(r), c.Loc.Text(r.Phrase()), nameOf(u)})
			}
		}
		out := &Done{Note: named(a.noteOf(len(done), len(names.already)), names.told()), To: path, JSON: web.NewObject("done", orEmpty(done), "refused", refused)}
		if len(refused) > 0 {
			out.View = a.viewRefused(c, path, len(done), len(names.already), refused)
		}
		return c.next(out), nil
	}
}

// namesDone are those of accounts that an act was done to, and of those that were so already.
type namesDone struct{ changed, already []string }

func (n *namesDone) add(a *Act, u *store.User) {
	if a.already(u) > 0 {
		n.already = append(n.already, nameOf(u))
	} else {
		n.changed = append(n.changed, nameOf(u))
	}
}

// told are the names for a note: where nothing has changed, it says that of those that it leaves.
func (n *namesDone) told() []string {
	if len(n.changed) == 0 {
		return n.already
	}
	return n.changed
}

// maxNamed is how many accounts a note names, and maxName how many bytes of a name.
const (
	maxNamed = 5
	maxName  = 60
)

// named is a note with the accounts that it is about, the first of many.
func named(note text.Phrase, names []string) text.Phrase {
	if len(names) == 0 {
		return note
	}
	more := len(names) > maxNamed
	names = slices.Clone(names[:min(len(names), maxNamed)])
	for i, name := range names {
		if len(name) > maxName {
			names[i] = strings.ToValidUTF8(name[:maxName], "") + "…"
		}
	}
	if more {
		names = append(names, "…")
	}
	params := maps.Clone(note.Params)
	params["names"] = strings.Join(names, ", ")
	return text.Phrase{Id: note.Id, Params: params}
}

func orEmpty(ids []uuid.UUID) []uuid.UUID {
	if ids == nil {
		return []uuid.UUID{}
	}
	return ids
}

// codeOf is the code of a refusal, of one by fields the first's.
func codeOf(r *refusal.Error) refusal.Code {
	if len(r.Fields) > 0 {
		return r.Fields[0].Code
	}
	return r.Code
}

// ticked are the accounts that were sent; one that has gone meanwhile is left out.
func (c *Call) ticked(errs *refusal.FieldErrors) (users []*store.User, err error) {
	ids := c.Lists[paramAccounts]
	switch {
	case len(ids) == 0 && c.In[paramAccounts].Kind != field.ValueAbsent && !c.In.IsForm() && c.Lists[paramAccounts] == nil:
		errs.Add(paramAccounts, refusal.CodeInvalid)
	case len(ids) == 0:
		errs.Add(paramAccounts, refusal.CodeRequired)
		(*errs)[len(*errs)-1].Message = "error.nothing_selected"
	case len(ids) > maxPage:
		errs.Add(paramAccounts, refusal.CodeInvalid)
		return nil, nil
	}
	for _, id := range ids {
		u, err := c.LookupID(c.Req.Context(), id)
		switch {
		case err == nil:
			if !slices.ContainsFunc(users, func(have *store.User) bool { return have.ID == u.ID }) {
				users = append(users, u)
			}
		case web.AsRefusal(err).Code != refusal.CodeUserNotFound:
			return nil, err
		}
	}
	if len(users) == 0 && len(ids) > 0 && len(*errs) == 0 {
		return nil, refusal.New(refusal.CodeNotFound)
	}
	return users, nil
}

// viewSeveral asks before, or for what the act needs.
func (a *Act) viewSeveral(c *Call, path string, users []*store.User, warns ...string) *View {
	v := &View{Title: c.Loc.Text(a.Submit)}
	if a.Intro.Id != "" {
		v.Text = append(v.Text, c.Loc.Text(a.Intro))
	}
	v.Text = append(v.Text, warns...)
	f := a.form(c, nil, c.Address(path))
	f.Hidden = []web.PageHidden{{Name: paramDo, Value: a.Name}, confirmed}
	t := &Table{Label: c.Say("page.admin.selected"), Columns: []string{c.Say("field.username"), c.Say("field.email")}}
	for _, u := range users {
		f.Hidden = append(f.Hidden, web.PageHidden{Name: paramAccounts, Value: u.ID.String()})
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Text: nameOf(u)}, {Text: emailOf(u)}}})
	}
	v.Parts = []Part{{Table: t, Forms: []Form{f}}}
	v.Links = []web.PageLink{{Href: c.Address(path), Text: c.Say("link.admin_list")}}
	return v
}

// viewRefused says what was done to some accounts, and to which it was not.
func (a *Act) viewRefused(c *Call, path string, done, already int, refused []notDone) *View {
	v := &View{Title: c.Loc.Text(a.Submit)}
	if done > 0 {
		v.Text = []string{c.Loc.Text(a.noteOf(done, already))}
	}
	t := &Table{Label: c.Say("page.admin.not_done"), Columns: []string{c.Say("field.username"), c.Say("page.admin.why")}}
	for _, r := range refused {
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Text: r.name, Href: c.Address("accounts/" + r.ID.String())}, {Text: r.Detail}}})
	}
	v.Parts = []Part{{Heading: c.Say("page.admin.not_done"), Table: t}}
	v.Links = []web.PageLink{{Href: c.Address(path), Text: c.Say("link.admin_list")}}
	return v
}
