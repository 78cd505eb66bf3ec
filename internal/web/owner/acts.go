// acts.go: what an owner does with one account: each act is one value, with a page that
// asks for what it needs, and a button or a link on the page of the account.

package owner

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// An Act is what can be done with an account.
type Act struct {
	// Name is the last part of its path, and what `do` of the lists sends.
	Name string
	// Submit is its button; Title, if it has another, the heading of its page. Intro says
	// what it comes to.
	Submit, Title, Intro text.Phrase
	// Note says that it has been done, to so many accounts (count).
	Note text.Phrase
	// Already reports that an account is as the act would make it: nothing is done to it
	// then, and AlreadyNote says so; nil: never.
	Already     func(*store.User) bool
	AlreadyNote text.Phrase
	// AmongSignIns: its button stands below the sign-ins, with its Intro.
	AmongSignIns bool
	// Plain acts need no page: the button does them. Grave ones can't be undone.
	Plain, Grave bool
	// Several: the lists have a button for all accounts that are ticked.
	Several bool
	// Fits reports whether it is offered for an account; nil: always. It may be tried all
	// the same, and is refused then.
	Fits func(*Call, *store.User) bool
	// Asks is what it comes to for some accounts that has to be said before a browser does
	// it, though the act is no grave one; nil: never anything.
	Asks func(*Call, []*store.User) ([]text.Phrase, error)
	// Beside is another act that the page offers that says so.
	Beside string
	// Inputs are what it needs; u is nil where it is for several accounts.
	Inputs func(c *Call, u *store.User) []input
	// Do does it. Where it returns no Done, that is the note.
	Do func(c *Call, u *store.User) (*Done, error)
	// Removes: the account is gone then.
	Removes bool
	// Summary, Body, Codes and Answer describe it to programs.
	Summary string
	Body    []web.InputDoc
	Codes   []refusal.Code
	Answer  string
}

// An input is one of a form, with what it begins with.
type input struct {
	field web.FormField
	begin string
}

var (
	groupsSchema = web.NewObject("type", "array", "items", web.NewObject("type", "string"), "description", "All its groups. A form has them in one text, with blanks between.", "examples", []any{[]string{"members"}})
	groupsInput  = web.NewInput(field.Groups, true, groupsSchema)
	messageInput = web.NewInput("message", false, web.NewObject("type", "string", "maxLength", account.MaxWords, "description", "What the person is told besides, by mail."))
)

var acts = []*Act{
	{
		Name: "approve", Submit: text.Say("page.admin.approve"), Note: text.Say("detail.admin_approved"), Plain: true, Several: true,
		Fits: inState(account.StateWaiting), Summary: "Lets an account in that waits for that, and mails it where to sign in", Codes: []refusal.Code{refusal.CodeNotWaiting, refusal.CodeEmailAlreadyRegistered},
		Do: func(c *Call, u *store.User) (*Done, error) {
			_, _, err := c.Approve(c.Req.Context(), u.ID)
			return nil, err
		},
	},
	{
		Name: "refuse", Submit: text.Say("page.admin.refuse"), Intro: text.Say("page.admin.refuse_text"), Note: text.Say("detail.admin_refused"), Grave: true, Several: true, Removes: true,
		Fits: inState(account.StateWaiting), Summary: "Removes an account that waits, and mails that", Codes: []refusal.Code{refusal.CodeNotWaiting}, Body: []web.InputDoc{messageInput},
		Inputs: func(*Call, *store.User) []input {
			return []input{{web.LongField("message", text.Say("page.admin.message"), false), ""}}
		},
		Do: func(c *Call, u *store.User) (*Done, error) {
			_, err := c.Refuse(c.Req.Context(), u.ID, c.In.Text("message"))
			return nil, err
		},
	},
	{
		Name: "edit", Submit: text.Say("page.profile.submit"), Title: text.Say("page.admin.edit"), Note: text.Say("detail.admin_saved"),
		Summary: "Changes the names, `is_staff`, and fields that the configuration has added; what is left out stays, but for the boxes of a form", Inputs: editInputs, Do: edit,
	},
	{
		Name: "groups", Submit: text.Say("page.profile.submit"), Title: text.Say("page.admin.groups"), Note: text.Say("detail.admin_saved"),
		Summary: "Sets the groups", Body: []web.InputDoc{groupsInput}, Codes: []refusal.Code{refusal.CodeLastAdmin},
		Inputs: func(c *Call, u *store.User) []input {
			return []input{{c.groupsField(), strings.Join(u.Groups, " ")}}
		},
		Asks: own("page.admin.self_groups", leavesAdmins), Do: setGroups,
	},
	{
		Name: "set-username", Submit: text.Say("page.admin.set_username"), Intro: text.Say("page.admin.set_username_text"), Note: text.Say("detail.admin_saved"),
		Summary: "Renames an account, and tells it by mail", Body: []web.InputDoc{web.NewInput(field.Username, true, web.NewObject("type", "string", "examples", []any{"ada"}))},
		Inputs: func(c *Call, u *store.User) []input {
			return []input{{web.ProfileField(c.Policy.Fields.ByName[field.Username], false), u.Username}}
		},
		Do: func(c *Call, u *store.User) (*Done, error) {
			name, err := c.required(field.Username)
			if err == nil {
				_, err = c.SetUsername(c.Req.Context(), u.ID, name, account.Client{})
			}
			return nil, err
		},
	},
	{
		Name: "set-email", Submit: text.Say("page.admin.set_email"), Intro: text.Say("page.admin.set_email_text"), Note: text.Say("detail.admin_saved"),
		Summary: "Sets the e-mail address, which counts as confirmed, and ends all sign-ins; the old one is told", Body: []web.InputDoc{web.NewInput(field.Email, true, web.NewObject("type", "string", "description", "Empty: none."))},
		Codes: []refusal.Code{refusal.CodeEmailAlreadyRegistered},
		Inputs: func(_ *Call, u *store.User) []input {
			f := web.EmailField(text.Say("field.email"))
			f.Required = false
			return []input{{f, hostname.DisplayAddress(u.Email)}}
		},
		Do: func(c *Call, u *store.User) (*Done, error) {
			address, err := c.required(field.Email)
			if err == nil {
				_, err = c.SetEmail(c.Req.Context(), u.ID, address, account.Client{})
			}
			return nil, err
		},
	},
	{
		Name: "mail-link", Submit: text.Say("page.admin.mail_link"), Note: text.Say("detail.admin_link_mailed"), Plain: true,
		Fits: func(c *Call, u *store.User) bool {
			return u.IsActive && u.Email != "" && !u.EmailPending && c.Policy.SendsMail
		},
		Summary: "Mails a link by which the person sets a new password", Codes: []refusal.Code{refusal.CodeNoLink},
		Do: func(c *Call, u *store.User) (*Done, error) { return nil, noLink(c.MailResetLink(c.Req.Context(), u)) },
	},
	{
		Name: "make-link", Submit: text.Say("page.admin.make_link"), Plain: true, Fits: func(_ *Call, u *store.User) bool { return u.IsActive },
		Summary: "Makes such a link, to be handed out; it works once", Codes: []refusal.Code{refusal.CodeNoLink}, Answer: schemaLink, Do: makeLink,
	},
	{
		Name: actMailConfirmation, Submit: text.Say("page.admin.mail_confirmation"), Note: text.Say("detail.admin_confirmation_mailed"), Plain: true,
		Fits:    func(c *Call, u *store.User) bool { return c.CanMailConfirmation(u) },
		Summary: "Mails the link once more by which an account is confirmed that waits for that", Codes: []refusal.Code{refusal.CodeNoLink, refusal.CodeEmailAlreadyRegistered},
		Do: func(c *Call, u *store.User) (*Done, error) { return nil, c.MailConfirmation(c.Req.Context(), u.ID) },
	},
	{
		Name: "sign-out", Submit: text.Say("page.admin.sign_out"), Intro: text.Say("page.admin.sign_out_text"), Note: text.Say("detail.admin_signed_out"), Plain: true, AmongSignIns: true,
		Summary: "Ends all sign-ins, links and known devices",
		Do: func(c *Call, u *store.User) (*Done, error) {
			_, err := c.EndSignIns(c.Req.Context(), u.ID)
			return nil, err
		},
	},
	{
		Name: "reset-factors", Submit: text.Say("page.admin.reset_factors"), Intro: text.Say("page.admin.reset_factors_text"), Note: text.Say("detail.admin_factors_reset"), Grave: true,
		Fits: func(_ *Call, u *store.User) bool { return u.HasFactor() }, Summary: "Removes the second step with its recovery codes, ends all sign-ins, and mails that",
		Do: func(c *Call, u *store.User) (*Done, error) {
			_, err := c.ResetFactors(c.Req.Context(), u.ID, account.Client{})
			return nil, err
		},
	},
	{
		Name: "enable", Submit: text.Say("page.admin.enable"), Note: text.Say("detail.admin_enabled"), Plain: true, Several: true,
		Fits: func(_ *Call, u *store.User) bool { return !u.IsActive && account.StateOf(u) != account.StateWaiting }, Summary: "Lets an account sign in", Codes: []refusal.Code{refusal.CodeEmailAlreadyRegistered},
		Asks: enabling, Beside: actMailConfirmation, Do: setActive(true),
		Already: isState(account.StateActive), AlreadyNote: text.Say("detail.admin_enabled_already"),
	},
	{
		Name: "disable", Submit: text.Say("page.admin.disable"), Note: text.Say("detail.admin_disabled"), Plain: true, Several: true,
		Fits: func(_ *Call, u *store.User) bool { return u.IsActive }, Summary: "Ends all sign-ins, and lets nobody sign in", Codes: []refusal.Code{refusal.CodeLastAdmin}, Asks: own("page.admin.self_disable", nil), Do: setActive(false),
		Already: isState(account.StateDisabled), AlreadyNote: text.Say("detail.admin_disabled_already"),
	},
	{
		Name: "add-group", Submit: text.Say("page.admin.add_group"), Note: text.Say("detail.admin_group_added"), Several: true,
		Fits:    func(*Call, *store.User) bool { return false }, // the account's page has groups
		Summary: "Adds an account to a group", Body: []web.InputDoc{web.NewInput("group", true, web.NewObject("type", "string", "examples", []any{"members"}))},
		Inputs: func(*Call, *store.User) []input {
			return []input{{web.TextField("group", text.Say("page.admin.group"), true), ""}}
		},
		Do: func(c *Call, u *store.User) (*Done, error) {
			group, err := c.required("group")
			if err == nil {
				_, err = c.SetGroups(c.Req.Context(), u.ID, []string{group}, nil)
			}
			return nil, renamed(err, field.Groups, "group")
		},
	},
	{
		Name: "delete", Submit: text.Say("page.admin.delete"), Intro: text.Say("page.admin.delete_text"), Note: text.Say("detail.admin_deleted"), Grave: true, Several: true, Removes: true,
		Summary: "Removes an account for good", Codes: []refusal.Code{refusal.CodeLastAdmin}, Asks: own("page.admin.self_delete", nil),
		Do: func(c *Call, u *store.User) (*Done, error) { return nil, c.Delete(c.Req.Context(), u.ID) },
	},
}

const actMailConfirmation = "mail-confirmation"

func inState(state string) func(*Call, *store.User) bool {
	return func(_ *Call, u *store.User) bool { return account.StateOf(u) == state }
}

func isState(state string) func(*store.User) bool {
	return func(u *store.User) bool { return account.StateOf(u) == state }
}

func setActive(active bool) func(*Call, *store.User) (*Done, error) {
	return func(c *Call, u *store.User) (*Done, error) {
		_, err := c.Administer(c.Req.Context(), u.ID, account.AdminChange{IsActive: &active})
		return nil, err
	}
}

// required is a text that has to be sent, though it may be empty.
func (c *Call) required(name string) (string, error) {
	if v := c.In[name]; v.Kind != field.ValueText {
		code := refusal.CodeInvalid
		if v.Kind == field.ValueAbsent {
			code = refusal.CodeRequired
		}
		return "", refusal.FieldErrors{{Field: name, Code: code}}.Err()
	}
	return c.In.Text(name), nil
}

// renamed is a refusal of a field about the input that it came by.
func renamed(err error, from, to string) error {
	refused := (*refusal.Error)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	fields := slices.Clone(refused.Fields)
	for i := range fields {
		if fields[i].Field == from {
			fields[i].Field = to
		}
	}
	out := *refused
	out.Fields = fields
	return &out
}

// editable are the fields that edit sets: not those that have an act of their own.
func (c *Call) editable() (fields []*field.Field) {
	for _, f := range c.Policy.Fields.All {
		if f.OwnerSets() {
			fields = append(fields, f)
		}
	}
	return fields
}

// groupsField asks for groups, and names that of the admins.
func (c *Call) groupsField() web.FormField {
	f := web.TextField(field.Groups, text.Say("field.groups"), false)
	f.Hint = text.Say("hint.admin_groups", text.Params{"group": c.Policy.Admin.Group})
	return f
}

func editInputs(c *Call, u *store.User) (list []input) {
	for _, f := range c.editable() {
		list = append(list, input{web.ProfileField(f, false), field.TextOf(f.Get(u))})
	}
	staff := web.BoxField(field.IsStaff, text.Say("field.is_staff"))
	staff.Hint = text.Say("hint.admin_staff")
	return append(list, input{staff, field.TextOf(u.IsStaff)})
}

func edit(c *Call, u *store.User) (*Done, error) {
	change := account.AdminChange{Fields: field.Input{}}
	unticked := func(name string) field.Value {
		v := c.In[name]
		if v.Kind == field.ValueAbsent && c.In.IsForm() {
			v = field.Value{Kind: field.ValueText, Text: "false"}
		}
		return v
	}
	for _, f := range c.editable() {
		v := c.In[f.Name]
		if f.Kind == field.KindBoolean {
			v = unticked(f.Name)
		}
		if v.Kind != field.ValueAbsent {
			change.Fields[f.Name] = v
		}
	}
	if v := unticked(field.IsStaff); v.Kind != field.ValueAbsent {
		var errs refusal.FieldErrors
		staff := field.Input{field.IsStaff: v}.Switch(field.IsStaff, &errs)
		if err := errs.Err(); err != nil {
			return nil, err
		}
		change.IsStaff = &staff
	}
	_, err := c.Administer(c.Req.Context(), u.ID, change)
	return nil, err
}

func setGroups(c *Call, u *store.User) (*Done, error) {
	switch {
	case c.In[field.Groups].Kind == field.ValueAbsent:
		return nil, refusal.FieldErrors{{Field: field.Groups, Code: refusal.CodeRequired}}.Err()
	case !c.In.IsForm() && c.Lists[field.Groups] == nil:
		return nil, refusal.FieldErrors{{Field: field.Groups, Code: refusal.CodeInvalid}}.Err()
	}
	wanted := c.words(field.Groups)
	gone := slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return slices.Contains(wanted, g) })
	_, err := c.SetGroups(c.Req.Context(), u.ID, wanted, gone)
	return nil, err
}

// noLink says of an account for which there is no link that this is so; why, the refusal
// of the command line says in English, and the log has it.
func noLink(err error) error {
	if refused := (*refusal.Error)(nil); err == nil || errors.As(err, &refused) {
		return err
	}
	return &refusal.Error{Code: refusal.CodeNoLink, Cause: err}
}

func makeLink(c *Call, u *store.User) (*Done, error) {
	link, err := c.ResetLink(c.Req.Context(), u)
	if err != nil {
		return nil, noLink(err)
	}
	return c.linkMade(u, link, ""), nil
}

// linkMade shows a link, once; said is what has been done besides.
func (c *Call) linkMade(u *store.User, link, said string) *Done {
	name := hostname.DisplayAddress(web.AccountName(u))
	v := &View{Title: c.Say("page.admin.link_title", text.Params{"name": name}), Text: []string{c.Say("page.admin.link_text")}}
	if said != "" {
		v.Text = append([]string{said}, v.Text...)
	}
	v.Parts = []Part{{Copy: &Copy{c.Say("page.admin.link"), link}}}
	v.Links = []web.PageLink{{Href: c.Address("accounts/" + u.ID.String()), Text: c.Say("link.admin_account")}}
	return &Done{View: v, JSON: web.NewObject("link", link)}
}

// page is the page of an act on one account.
func (a *Act) page() *Page {
	return &Page{
		Path: "accounts/{id}/" + a.Name, Tab: "accounts", ForPeople: true, Acts: a.heading(),
		Get: func(c *Call) (*Shown, error) {
			u, err := c.user()
			if err != nil {
				return nil, err
			}
			v, err := a.view(c, u)
			return &Shown{View: v}, err
		},
		Post: func(c *Call) (*Done, error) {
			u, err := c.user()
			if err != nil {
				return nil, err
			}
			if warns, err := a.asks(c, u); err != nil || len(warns) > 0 {
				return &Done{View: a.viewAsks(c, u, warns)}, err
			}
			done, err := a.Do(c, u)
			if err != nil || done != nil {
				return done, err
			}
			done = &Done{Note: a.noteOf(1, a.already(u)), To: "accounts/" + u.ID.String()}
			if a.Removes {
				done.To = "accounts"
			}
			return c.next(done), nil
		},
		Doc: Doc{Post: a.Summary, Body: a.Body, Codes: a.Codes, Does: a.Answer},
	}
}

// noteOf says that an act has been done to so many accounts, or where it was done already
// to all of them, that.
func (a *Act) noteOf(count, already int) text.Phrase {
	if count > 0 && count == already {
		return text.Say(a.AlreadyNote.Id, text.Params{"count": count})
	}
	return text.Say(a.Note.Id, text.Params{"count": count - already})
}

// already is how many of some accounts are as the act would make them.
func (a *Act) already(users ...*store.User) (n int) {
	for _, u := range users {
		if a.Already != nil && a.Already(u) {
			n++
		}
	}
	return n
}

// heading is what the page of an act is called.
func (a *Act) heading() text.Phrase {
	if a.Title.Id != "" {
		return a.Title
	}
	return a.Submit
}

// address is where an act on an account is done.
func (a *Act) address(c *Call, u *store.User) string {
	return c.Address("accounts/" + u.ID.String() + "/" + a.Name)
}

// frame is what all pages of an act on one account have.
func (a *Act) frame(c *Call, u *store.User) *View {
	v := &View{Title: c.Loc.Text(a.heading()), Text: []string{hostname.DisplayAddress(web.AccountName(u))}}
	if a.Grave && u.Email != "" && u.Username != "" {
		v.Text = append(v.Text, emailOf(u))
	}
	if a.Intro.Id != "" {
		v.Text = append(v.Text, c.Loc.Text(a.Intro))
	}
	v.Links = []web.PageLink{{Href: c.Address("accounts/" + u.ID.String()), Text: c.Say("link.admin_account")}}
	return v
}

// view is the form of an act.
func (a *Act) view(c *Call, u *store.User) (*View, error) {
	v, form := a.frame(c, u), a.form(c, u, a.address(c, u))
	warns, err := a.asks(c, u)
	if len(warns) > 0 {
		v.Text, form.Hidden = append(v.Text, warns...), []web.PageHidden{confirmed}
	}
	v.Parts = []Part{{Forms: []Form{form}}}
	return v, err
}

func (a *Act) form(c *Call, u *store.User, address string) Form {
	f := Form{Action: address, Submit: c.Loc.Text(a.Submit), Grave: a.Grave}
	if a.Inputs != nil {
		for _, in := range a.Inputs(c, u) {
			f.Fields = append(f.Fields, c.Field(in.field, in.begin))
		}
	}
	return f
}

// extraInputs are the fields that edit takes, for its document.
func extraInputs(fields *field.Set) (list []web.InputDoc) {
	var editable []*field.Field
	for _, f := range fields.All {
		if f.OwnerSets() {
			editable = append(editable, f)
		}
	}
	list = web.FieldInputs(editable, nil)
	return append(list, web.NewInput(field.IsStaff, false, web.NewObject("type", "boolean")))
}

// nameOf is what an account is called on the pages.
func nameOf(u *store.User) string {
	return cmp.Or(hostname.DisplayAddress(web.AccountName(u)), u.ID.String())
}
