// account.go: P/admin/accounts/<id>: one account with its sign-ins and what was last
// done to it.

package owner

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// auditShown is how many of the last rows of the audit an account's page has.
const auditShown = 10

// user is the account that the path names, CodeNotFound where there is none.
func (c *Call) user() (*store.User, error) {
	u, err := c.LookupID(c.Req.Context(), c.ID)
	if err != nil && web.AsRefusal(err).Code == refusal.CodeUserNotFound {
		return nil, refusal.New(refusal.CodeNotFound)
	}
	return u, err
}

func showAccount(c *Call) (*Shown, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	signIns, err := c.SignInsOf(c.Req.Context(), u)
	if err != nil {
		return nil, err
	}
	if !c.HTML {
		return &Shown{JSON: append(web.AccountShown(c.Accounts, u), web.NewObject("second_step", shownFactors(u), "sessions", shownSignIns(signIns))...)}, nil
	}
	events, err := c.events(u)
	if err != nil {
		return nil, err
	}
	v := &View{
		Title: hostname.DisplayAddress(web.AccountName(u)),
		Parts: []Part{
			{Facts: c.facts(u), Buttons: c.actLinks(u, false), Forms: c.actForms(u, false), GraveButtons: c.actLinks(u, true)},
			{
				Heading: c.Say("page.admin.sign_ins_of", text.Params{"name": nameOf(u)}), Text: []string{c.Say("page.admin.sign_out_text")},
				Table: c.signIns(u, signIns), Forms: c.actForms(u, true),
			},
			{Heading: c.Say("page.factors.title"), Table: c.factors(u)},
			{Heading: c.Say("page.admin.last_events"), Table: events},
		},
		Links: []web.PageLink{{Href: c.Address("accounts"), Text: c.Say("link.admin_accounts")}},
	}
	if t := c.tokens(u); t != nil { // before the events
		v.Parts = slices.Insert(v.Parts, len(v.Parts)-1, Part{Heading: t.Label, Table: t})
	}
	if t := c.linked(u); t != nil {
		v.Parts = slices.Insert(v.Parts, 3, Part{Heading: t.Label, Text: []string{c.Say("page.admin.unlink_text")}, Table: t})
	}
	lost, err := c.mailProblems(u)
	if err != nil {
		return nil, err
	}
	if lost != nil {
		v.Parts = slices.Insert(v.Parts, 1, *lost)
	}
	return &Shown{View: v}, nil
}

// facts are the fields of an account and what stands behind its state.
func (c *Call) facts(u *store.User) []web.PageFact {
	facts := []web.PageFact{{Label: c.Say("page.admin.state"), Value: c.Loc.Text(stateNames[account.StateOf(u)])}}
	for _, f := range c.Policy.Fields.All {
		if f.Name == field.ID || f.Name == field.IsActive {
			continue
		}
		value := f.Get(u)
		if list, ok := value.([]string); ok {
			value = strings.Join(list, ", ")
		}
		fact := web.FactOf(c.Loc, f, value)
		if f.Name == field.DateJoined && (u.AwaitsVerification || u.AwaitsApproval) { // he is no member yet
			fact.Label = c.Say("page.admin.signed_up")
		}
		facts = append(facts, fact)
	}
	add := func(label, value string) { facts = append(facts, web.PageFact{Label: label, Value: value}) }
	if account.StateOf(u) == account.StateClosing {
		facts = append(facts, web.PageFact{Label: c.Say("page.admin.closing"), Time: moment(u.LeavesAt)})
	}
	if u.Email != "" {
		proven := text.Say("value.no")
		if u.EmailVerified {
			proven = text.Say("value.yes")
		}
		add(c.Say("page.admin.email_confirmed"), c.Loc.Text(proven))
	}
	for _, email := range u.FurtherEmails {
		add(c.Say("link.emails"), hostname.DisplayAddress(email))
	}
	if u.Reason != "" {
		add(c.Say("page.admin.reason"), u.Reason)
	}
	if u.Terms != "" {
		add(c.Say("page.admin.terms"), u.Terms)
	}
	add(c.Say("page.admin.id"), u.ID.String())
	return facts
}

// signIns is the table of where an account is signed in.
func (c *Call) signIns(u *store.User, list []*store.Session) *Table {
	t := &Table{
		Label: c.Say("page.admin.sign_ins"), Empty: c.Say("page.admin.no_sign_ins"), Action: c.Address("accounts/" + u.ID.String() + "/sessions"), Input: paramSessions,
		Legend: c.Say("page.admin.with_selected"), Acts: []Button{{Value: "end", Text: c.Say("page.admin.end_sign_ins")}},
		Columns: []string{c.Say("page.admin.program"), c.Say("page.admin.address"), c.Say("page.admin.signed_in"), c.Say("page.admin.last_used")},
	}
	for _, s := range list {
		program := device.Describe(s.UserAgent)
		if program == "" {
			program = c.Say("page.sessions.unknown")
		}
		t.Rows = append(t.Rows, Row{ID: s.Hash.PublicID(), Select: c.Say("page.admin.select", text.Params{"name": program}), Cells: []Cell{
			{Text: program}, {Text: orDash(s.Address)}, {Time: moment(s.Created)}, {Time: moment(s.LastUsed)},
		}})
	}
	return t
}

// factorTypes are what the types of factors are called.
var factorTypes = map[store.FactorType]text.Phrase{store.FactorTOTP: text.Say("factor.totp"), store.FactorPasskey: text.Say("factor.passkey")}

// factors is the table of what an account is asked for besides the password.
func (c *Call) factors(u *store.User) *Table {
	t := &Table{
		Label: c.Say("page.factors.title"), Empty: c.Say("page.admin.no_factors"),
		Columns: []string{c.Say("page.admin.factor_type"), c.Say("field.factor_name"), c.Say("page.admin.factor_created"), c.Say("page.admin.last_used")},
	}
	for i := range u.Factors {
		f := &u.Factors[i]
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Text: c.Loc.Text(factorTypes[f.Type])}, {Text: orDash(f.Name)}, {Time: moment(f.Created)}, {Time: moment(f.LastUsed)}}})
	}
	return t
}

// tokens is the table of the tokens for programs; nil: there is none. Signing out everywhere
// ends them.
func (c *Call) tokens(u *store.User) *Table {
	if len(u.ProgramTokens) == 0 {
		return nil
	}
	t := &Table{
		Label:   c.Say("page.tokens.title"),
		Columns: []string{c.Say("field.token_name"), c.Say("field.token_path"), c.Say("page.admin.factor_created"), c.Say("page.admin.last_used"), c.Say("field.token_expires")},
	}
	at := func(when time.Time) Cell {
		if when.IsZero() {
			return Cell{Text: orDash("")}
		}
		return Cell{Time: moment(when)}
	}
	for i := range u.ProgramTokens {
		p := &u.ProgramTokens[i]
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Text: p.Name}, {Text: orDash(p.Path)}, at(p.Created), at(p.LastUsed), at(p.Expires)}})
	}
	return t
}

// linked is the table of the accounts elsewhere that sign in to an account; nil: there is
// none, and none can come.
func (c *Call) linked(u *store.User) *Table {
	if len(u.LinkedAccounts) == 0 && len(c.Policy.Login.Providers) == 0 {
		return nil
	}
	t := &Table{
		Label: c.Say("page.factors.linked"), Empty: c.Say("page.admin.no_linked"), Action: c.Address("accounts/" + u.ID.String() + "/unlink"), Input: paramLinked,
		Legend: c.Say("page.admin.with_selected"), Acts: []Button{{Value: "unlink", Text: c.Say("page.admin.unlink")}},
		Columns: []string{c.Say("page.admin.provider"), c.Say("field.factor_name"), c.Say("page.admin.linked_at"), c.Say("page.admin.last_used")},
	}
	for i := range u.LinkedAccounts {
		l := &u.LinkedAccounts[i]
		name := web.LinkedName(c.Policy, l)
		t.Rows = append(t.Rows, Row{ID: l.ID.String(), Select: c.Say("page.admin.select", text.Params{"name": strings.TrimSpace(name + " " + l.Name)}), Cells: []Cell{
			{Text: name}, {Text: orDash(l.Name)}, {Time: moment(l.Created)}, {Time: moment(l.LastUsed)},
		}})
	}
	return t
}

// shownFactors are those of an account for programs, without what they are checked by.
func shownFactors(u *store.User) []web.Object {
	list := make([]web.Object, len(u.Factors))
	for i := range u.Factors {
		f := &u.Factors[i]
		list[i] = web.NewObject("id", f.ID.String(), "type", f.Type, "name", f.Name, "created", field.TimeValue(f.Created), "last_used", field.TimeValue(f.LastUsed))
	}
	return list
}

// actForms are the buttons of the acts that need no page, actLinks lead to those of the
// others: the grave ones, or all else; amongSignIns as the act has it.
func (c *Call) actForms(u *store.User, amongSignIns bool) (forms []Form) {
	for _, a := range acts {
		if a.Plain && a.AmongSignIns == amongSignIns && (a.Fits == nil || a.Fits(c, u)) {
			f := a.form(c, u, a.address(c, u))
			f.Inline = true
			forms = append(forms, f)
		}
	}
	return forms
}

func (c *Call) actLinks(u *store.User, grave bool) (links []web.PageLink) {
	for _, a := range acts {
		if !a.Plain && a.Grave == grave && (a.Fits == nil || a.Fits(c, u)) {
			links = append(links, web.PageLink{Href: a.address(c, u), Text: c.Loc.Text(a.heading())})
		}
	}
	return links
}

// paramSessions are the sign-ins that are to end.
const paramSessions = "sessions"

var sessionsInput = web.NewInput(paramSessions, true, web.NewObject("type", "array", "items", web.NewObject("type", "string"), "maxItems", maxPage, "description", "Their ids, as the account has them. A form sends the name once for each.", "examples", []any{[]string{"kPq3mX0bSx2yCkAQo1sI7w"}}))

// paramLinked are the accounts elsewhere that are to be unlinked.
const paramLinked = "linked"

var linkedInput = web.NewInput(paramLinked, true, web.NewObject("type", "array", "items", web.NewObject("type", "string", "format", "uuid"), "maxItems", maxPage, "description", "Their ids, as `linked_accounts` has them. A form sends the name once for each.", "examples", []any{[]string{web.ExampleID}}))

// eachOf does something to what is ticked in a table of an account's page, and returns to
// how much. What is gone already (gone) is no error, if anything is left.
func eachOf(c *Call, param string, gone refusal.Code, do func(u *store.User, id string) error) (u *store.User, done int, err error) {
	if u, err = c.user(); err != nil {
		return nil, 0, err
	}
	ids := c.Lists[param]
	if len(ids) == 0 || len(ids) > maxPage {
		return nil, 0, refusal.FieldErrors{{Field: param, Code: refusal.CodeRequired, Message: "error.nothing_selected"}}.Err()
	}
	for _, id := range ids {
		switch err := do(u, id); {
		case err == nil:
			done++
		case web.AsRefusal(err).Code != gone:
			return nil, 0, err
		}
	}
	if done == 0 {
		return nil, 0, refusal.New(gone)
	}
	return u, done, nil
}

// endSignIns ends some sign-ins of an account.
func endSignIns(c *Call) (*Done, error) {
	u, ended, err := eachOf(c, paramSessions, refusal.CodeSessionNotFound, func(u *store.User, id string) error {
		return c.EndSignIn(c.Req.Context(), u.ID, id)
	})
	if err != nil {
		return nil, err
	}
	return &Done{Note: text.Say("detail.admin_sign_ins_ended", text.Params{"count": ended}), To: "accounts/" + u.ID.String()}, nil
}

// unlink takes accounts elsewhere from one here.
func unlink(c *Call) (*Done, error) {
	u, gone, err := eachOf(c, paramLinked, refusal.CodeLinkedNotFound, func(u *store.User, id string) error {
		linked, ok := store.ParseID(id)
		if !ok {
			return refusal.New(refusal.CodeLinkedNotFound)
		}
		_, err := c.UnlinkFor(c.Req.Context(), u.ID, linked, account.Client{})
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.next(&Done{Note: text.Say("detail.admin_unlinked", text.Params{"count": gone}), To: "accounts/" + u.ID.String()}), nil
}

func shownSignIns(list []*store.Session) []web.Object {
	out := make([]web.Object, len(list))
	for i, s := range list {
		out[i] = web.NewObject(
			"id", s.Hash.PublicID(), "kind", account.SessionKinds[s.Kind], "created", field.TimeValue(s.Created), "last_used", field.TimeValue(s.LastUsed),
			"expires", field.TimeValue(s.Expires), "address", s.Address, "user_agent", s.UserAgent,
		)
	}
	return out
}

// events is the table of what was last done to an account.
func (c *Call) events(u *store.User) (*Table, error) {
	page, names, err := c.audits(store.AuditQuery{Account: u.ID, Limit: auditShown, Newest: true}, auditNames)
	t := &Table{
		Label: c.Say("page.admin.last_events"), Empty: c.Say("page.admin.no_events"),
		Columns: []string{c.Say("page.admin.when"), c.Say("page.admin.event"), c.Say("page.admin.actor"), c.Say("page.admin.address")},
	}
	for _, row := range page.Rows {
		t.Rows = append(t.Rows, Row{Cells: []Cell{{Time: moment(row.At)}, c.event(row), {Text: c.actor(row, names)}, {Text: orDash(row.Address)}}})
	}
	return t, err
}
