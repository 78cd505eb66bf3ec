// accounts.go: P/admin/accounts: all accounts, and those that are looked for.

package owner

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

var (
	limitInput = web.NewInput("limit", false, web.NewObject("type", "integer", "minimum", 1, "maximum", maxPage, "default", pageSize))
	afterInput = web.NewInput("after", false, web.NewObject("type", "string", "description", "Where to go on: the `next` of the page before."))
)

// listActs are the buttons of the list.
var listActs = actsFor("enable", "disable", "approve", "add-group", "delete")

var accountPages = []*Page{
	{
		Path: "accounts", Tab: "accounts", Get: showAccounts, Post: severally("accounts", listActs),
		Doc: Doc{
			Get: "Accounts, in order of id, or where they are searched for by what was found", Shows: schemaAccounts, Query: []web.InputDoc{
				web.NewInput("search", false, web.NewObject("type", "string", "description", "The beginning of a username, an e-mail address, a first or a last name, in any case.")),
				web.NewInput("state", false, web.NewObject("type", "string", "enum", account.States)),
				web.NewInput("group", false, web.NewObject("type", "string", "description", "Members of this group.")),
				limitInput, afterInput,
			},
			Post: "Does something to several accounts", Body: severalInputs(listActs), Does: schemaSeveral,
		},
	},
	{
		Path: "accounts/{id}", Tab: "accounts", Get: showAccount,
		Doc: Doc{Get: "One account", Shows: schemaAccount},
	},
	{
		Path: "accounts/{id}/sessions", Tab: "accounts", Post: endSignIns, Acts: text.Say("page.admin.end_sign_ins"),
		Doc: Doc{Post: "Ends sign-ins of an account", Body: []web.InputDoc{sessionsInput}, Codes: []refusal.Code{refusal.CodeSessionNotFound}},
	},
	{
		Path: "accounts/{id}/unlink", Tab: "accounts", Post: unlink, Acts: text.Say("page.admin.unlink"),
		Doc: Doc{Post: "Unlinks accounts elsewhere, ends all sign-ins, and mails that", Body: []web.InputDoc{linkedInput}, Codes: []refusal.Code{refusal.CodeLinkedNotFound}},
	},
}

const (
	// pageSize is how many rows a page of a list has, maxPage how many a program gets
	// at most.
	pageSize = 50
	maxPage  = 500
)

// stateNames are the states of an account in words.
var stateNames = map[string]text.Phrase{
	account.StateActive: text.Say("value.state_active"), account.StateUnconfirmed: text.Say("value.state_unconfirmed"),
	account.StateWaiting: text.Say("value.state_waiting"), account.StateDisabled: text.Say("value.state_disabled"),
	account.StateClosing: text.Say("value.state_closing"),
}

// A listing is what is asked of the list of accounts.
type listing struct {
	filter account.Filter
	limit  int
	after  string
}

// readListing reads the query. What programs misspell is refused; a browser that has an
// odd address sees the list from its beginning.
func (c *Call) readListing() (l listing, err error) {
	var errs refusal.FieldErrors
	l = listing{limit: pageSize, after: c.Query.Get("after"), filter: account.Filter{Search: c.Query.Get("search"), State: c.Query.Get("state"), Group: c.Query.Get("group")}}
	if l.filter.State != "" && !slices.Contains(account.States, l.filter.State) {
		errs.Add("state", refusal.CodeInvalid)
		l.filter.State = ""
	}
	if txt := c.Query.Get("limit"); txt != "" && !c.HTML {
		if l.limit, err = strconv.Atoi(txt); err != nil || l.limit < 1 || l.limit > maxPage {
			errs.Add("limit", refusal.CodeInvalid)
		}
	}
	if c.HTML {
		return l, nil
	}
	return l, errs.Err()
}

// list is a page of accounts.
func (c *Call) list(l listing) (page store.MemberPage, err error) {
	page, err = c.List(c.Req.Context(), l.filter, l.after, l.limit)
	if !errors.Is(err, store.ErrNotFound) {
		return page, err
	}
	if !c.HTML {
		return page, refusal.FieldErrors{{Field: "after", Code: refusal.CodeInvalid}}.Err()
	}
	c.Query.Del("after")
	return c.List(c.Req.Context(), l.filter, "", l.limit)
}

func showAccounts(c *Call) (*Shown, error) {
	l, err := c.readListing()
	if err != nil {
		return nil, err
	}
	page, err := c.list(l)
	if err != nil {
		return nil, err
	}
	if !c.HTML {
		return &Shown{JSON: c.accountsJSON(l, page)}, nil
	}
	v := &View{Title: c.Say("page.admin.accounts")}
	if l.filter.State == "" {
		v.Text = c.counted(l.filter, "page.admin.count_all")
	} else {
		v.Text = c.counted(l.filter, "page.admin.count_state")
	}
	if c.mailStopped() {
		v.Text = append(v.Text, c.Say("page.admin.mail_stopped_text"))
	}
	v.Parts = []Part{{Filter: c.filter(l.filter), Table: c.accountsTable(page.Users), Buttons: []web.PageLink{{Href: c.Address("accounts/new"), Text: c.Say("page.admin.create")}}}}
	v.Parts[0].Pager = c.pager("accounts", page.Next)
	return &Shown{View: v}, nil
}

// count is how many accounts a filter leaves over. That is known without a walk through
// them where it names a state, or nothing; else ok is false.
func (c *Call) count(f account.Filter) (n store.MemberCount, ok bool) {
	if f.Search != "" || f.Group != "" {
		return n, false
	}
	n, err := c.Count(c.Req.Context(), f.State)
	return n, err == nil // the list is of more use than its count
}

// counted is the sentence that says how many accounts a list has in all, if that is known.
func (c *Call) counted(f account.Filter, id string) []string {
	n, ok := c.count(f)
	switch {
	case !ok:
		return nil
	case n.More:
		id = "page.admin.count_more"
	}
	return []string{c.Say(id, text.Params{"count": n.N})}
}

func (c *Call) accountsJSON(l listing, page store.MemberPage) web.Object {
	list := make([]web.Object, len(page.Users))
	for i, u := range page.Users {
		list[i] = web.AccountShown(c.Accounts, u)
	}
	var count any
	if n, ok := c.count(l.filter); ok && !n.More {
		count = n.N
	}
	return web.NewObject("accounts", list, "next", cursor(page.Next), "count", count)
}

// cursor is where a list goes on, null where it doesn't.
func cursor(next string) any {
	if next == "" {
		return nil
	}
	return next
}

// filter is the form that chooses what the list shows.
func (c *Call) filter(f account.Filter) *Form {
	labels := []text.Phrase{text.Say("page.admin.any_state")}
	for _, state := range account.States {
		labels = append(labels, stateNames[state])
	}
	show := func(f web.FormField, value string) web.PageField {
		out := f.Show(c.Loc, value, nil)
		out.Optional, out.Required = "", false
		return out
	}
	return &Form{Action: c.Address("accounts"), Submit: c.Say("page.admin.search_submit"), Fields: []web.PageField{
		show(web.TextField("search", text.Say("page.admin.search"), false), f.Search),
		show(web.ChoiceField("state", text.Say("page.admin.state"), append([]string{""}, account.States...), labels), f.State),
		show(web.TextField("group", text.Say("page.admin.group"), false), f.Group),
	}}
}

// accountsTable lists accounts.
func (c *Call) accountsTable(page []*store.User) *Table {
	t := &Table{
		Label: c.Say("page.admin.accounts"), Empty: c.Say("page.admin.no_accounts"), Action: c.Address("accounts"), Input: paramAccounts,
		Legend: c.Say("page.admin.with_selected"), Acts: c.buttons(listActs),
		Columns: []string{c.Say("field.username"), c.Say("page.admin.name"), c.Say("field.email"), c.Say("page.admin.state"), c.Say("field.groups"), c.Say("page.admin.account_since")},
	}
	for _, u := range page {
		t.Rows = append(t.Rows, Row{ID: u.ID.String(), Select: c.Say("page.admin.select", text.Params{"name": nameOf(u)}), Cells: []Cell{
			{Text: nameOf(u), Href: c.Address("accounts/" + u.ID.String())},
			{Text: orDash(fullName(u))},
			{Text: emailOf(u)},
			{Text: c.Loc.Text(stateNames[account.StateOf(u)])},
			{Text: orDash(groupsOf(u))},
			{Time: moment(u.DateJoined)},
		}})
	}
	return t
}

// moment is a time as a table takes it, "" for none.
func moment(t time.Time) string {
	s, _ := field.TimeValue(t).(string)
	return s
}

func emailOf(u *store.User) string { return orDash(hostname.DisplayAddress(u.Email)) }

func groupsOf(u *store.User) string { return strings.Join(u.Groups, ", ") }

// fullName is what somebody is called beside his username.
func fullName(u *store.User) string { return strings.TrimSpace(u.FirstName + " " + u.LastName) }
