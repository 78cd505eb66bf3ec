// invitations.go: P/admin/invitations: who may sign up by an invitation; a new one, whose
// link is shown this once.

package owner

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	pathInvitations   = "invitations"
	pathNewInvitation = "invitations/new"
)

var invitationPages = []*Page{
	{
		Path: pathInvitations, Tab: pathInvitations, Get: showInvitations, Post: revokeInvitations, Acts: text.Say("page.admin.revoke"),
		Doc: Doc{
			Get: "Invitations whose time is not over, the oldest first", Shows: schemaInvitations, Query: pageInputs("An id: the `next` of the page before."),
			Post: "Ends invitations", Body: []web.InputDoc{idsInput}, Codes: []refusal.Code{refusal.CodeInvitationInvalid},
		},
	},
	{
		Path: pathNewInvitation, Tab: pathInvitations, Get: showNewInvitation, Post: invite, Acts: text.Say("page.admin.invite"),
		Doc: Doc{
			Get: "What an invitation can say", Shows: schemaObject,
			Post: "Makes an invitation; its link is told this once", Does: schemaInvitation,
			Body: []web.InputDoc{
				web.NewInput("email", false, web.NewObject("type", "string", "description", "Whom it is for, and whose address it confirms; without one it is for anybody who has it.")),
				web.NewInput("groups", false, web.NewObject("type", "array", "items", web.NewObject("type", "string"), "description", "The groups that who signs up by it is in.")),
				web.NewInput("uses", false, web.NewObject("type", "integer", "minimum", 1, "maximum", store.MaxInvitationUses, "default", 1)),
				web.NewInput("expires", false, web.NewObject("type", "string", "default", "7d", "description", "How long it is good, such as `7d` or `12h`; at most 366 days.")),
				web.NewInput("note", false, web.NewObject("type", "string", "description", "For the owner alone.")),
				web.NewInput("mail", false, web.NewObject("type", "boolean", "default", false, "description", "Whether it is mailed to the address.")),
			},
			Codes: []refusal.Code{refusal.CodeInvalid, refusal.CodeEmailAlreadyRegistered},
		},
	},
}

// idsInput names several things of a list.
var idsInput = web.NewInput("id", true, web.NewObject("type", "array", "items", web.NewObject("type", "string")))

// periods are for how long an invitation can be made on the page.
var periods = []string{"1d", "7d", "30d", "90d"}

// daysOf are the days of a period.
func daysOf(period string) int {
	days, _ := strconv.Atoi(strings.TrimSuffix(period, "d"))
	return days
}

// lifetimeOf reads for how long an invitation is to be good: Go's units, and days.
func lifetimeOf(txt string, errs *refusal.FieldErrors) time.Duration {
	if txt == "" {
		return 0
	}
	d, err := time.ParseDuration(txt)
	if days, ok := strings.CutSuffix(txt, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(max(-1, min(n, 10_000))) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d > account.MaxInvitationLifetime {
		errs.Add("expires", refusal.CodeInvalid)
	}
	return d
}

// invites reports whether an invitation can be made: there is a page that it leads to.
func (c *Call) invites() bool { return c.Links[sign.PurposeInvitation] != "" }

func showInvitations(c *Call) (*Shown, error) {
	after, _ := store.ParseID(c.Query.Get("after"))
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	list, err := c.Invitations(c.Req.Context(), after, limit+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID.String()
	}
	list = slices.DeleteFunc(list, func(i *store.Invitation) bool { return !c.Realm.Now().Before(i.Expires) })
	if !c.HTML {
		out := make([]web.Object, len(list))
		for n, i := range list {
			out[n] = invitationShown(i)
		}
		return &Shown{JSON: web.NewObject("invitations", out, "next", cursor(next))}, nil
	}
	t := &Table{
		Label: c.Say("page.admin.invitations"), Empty: c.Say("page.admin.no_invitations"), Action: c.Address(pathInvitations), Input: "id", Legend: c.Say("page.admin.selected_invitations"),
		Columns: []string{c.Say("page.admin.invited"), c.Say("field.groups"), c.Say("page.admin.used"), c.Say("page.admin.good_until"), c.Say("page.admin.note")},
		Acts:    []Button{{Value: "revoke", Text: c.Say("page.admin.revoke"), Grave: true}},
	}
	lost, err := c.invitationMail(list)
	if err != nil {
		return nil, err
	}
	if len(lost) > 0 {
		t.Columns = append(t.Columns, c.Say("page.admin.mail_problems"))
	}
	for _, i := range list {
		name := hostname.DisplayAddress(i.Email)
		if name == "" {
			name = c.Say("page.admin.anybody")
		}
		cells := []Cell{
			{Text: name}, {Text: orDash(strings.Join(i.Groups, ", "))}, {Text: c.Say("page.admin.used_of", text.Params{"used": i.Used, "uses": i.Uses})}, {Time: moment(i.Expires)}, {Text: orDash(i.Note)},
		}
		if len(lost) > 0 {
			cells = append(cells, Cell{Text: orDash(lost[i.ID])})
		}
		t.Rows = append(t.Rows, Row{ID: i.ID.String(), Select: c.Say("page.admin.select", text.Params{"name": name}), Cells: cells})
	}
	part := Part{Table: t, Pager: c.pager(pathInvitations, next)}
	if c.invites() {
		part.Buttons = []web.PageLink{{Href: c.Address(pathNewInvitation), Text: c.Say("page.admin.invite")}}
	}
	return &Shown{View: &View{Title: c.Say("page.admin.invitations"), Parts: []Part{part}}}, nil
}

// invitationShown is an invitation as programs see it. Its link can't be told again.
func invitationShown(i *store.Invitation) web.Object {
	groups := i.Groups
	if groups == nil {
		groups = []string{}
	}
	return web.NewObject("id", i.ID, "email", i.Email, "groups", groups, "uses", i.Uses, "used", i.Used, "created", field.TimeValue(i.Created), "expires", field.TimeValue(i.Expires), "note", i.Note)
}

// ids are the things of a list that the act names, at least one.
func (c *Call) ids() (list []uuid.UUID, err error) {
	texts := c.Lists["id"]
	if len(texts) == 0 && c.In.Text("id") != "" {
		texts = []string{c.In.Text("id")}
	}
	if len(texts) == 0 {
		return nil, refusal.FieldErrors{{Field: "id", Code: refusal.CodeRequired}}.Err()
	}
	if len(texts) > maxPage {
		return nil, refusal.FieldErrors{{Field: "id", Code: refusal.CodeInvalid}}.Err()
	}
	for _, txt := range texts {
		id, ok := store.ParseID(txt)
		if !ok {
			return nil, refusal.FieldErrors{{Field: "id", Code: refusal.CodeInvalid}}.Err()
		}
		list = append(list, id)
	}
	return list, nil
}

func revokeInvitations(c *Call) (*Done, error) {
	ids, err := c.ids()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := c.RevokeInvitation(c.Req.Context(), id); err != nil {
			return nil, err
		}
	}
	return &Done{Note: text.Say("detail.admin_invitations_revoked", text.Params{"count": len(ids)}), To: pathInvitations}, nil
}

func showNewInvitation(c *Call) (*Shown, error) {
	if !c.invites() {
		return nil, refusal.New(refusal.CodeNotFound)
	}
	if !c.HTML {
		return &Shown{JSON: web.NewObject("mail", c.Policy.SendsMail, "max_uses", store.MaxInvitationUses, "max_days", int(account.MaxInvitationLifetime.Hours()/24))}, nil
	}
	labels := make([]text.Phrase, len(periods))
	for i, p := range periods {
		labels[i] = text.Say("period.days", text.Params{"count": daysOf(p)})
	}
	form := Form{Action: c.Address(pathNewInvitation), Submit: c.Say("page.admin.invite_submit")}
	email := web.EmailField(text.Say("field.email"))
	email.Required, email.Hint = false, text.Say("hint.admin_invited")
	form.Fields = []web.PageField{c.Field(email, "")}
	if c.Policy.SendsMail {
		form.Fields = append(form.Fields, c.Field(web.BoxField("mail", text.Say("page.admin.mail_it")), ""))
	}
	form.Fields = append(form.Fields,
		c.Field(c.groupsField(), ""),
		c.Field(web.NumberField("uses", text.Say("page.admin.uses")), "1"),
		c.Field(web.ChoiceField("expires", text.Say("page.admin.good_for"), periods, labels), "7d"),
		c.Field(web.TextField("note", text.Say("page.admin.note"), false), ""),
	)
	v := &View{
		Title: c.Say("page.admin.invite"), Text: []string{c.Say("page.admin.invite_text")}, Parts: []Part{{Forms: []Form{form}}},
		Links: []web.PageLink{{Href: c.Address(pathInvitations), Text: c.Say("link.admin_invitations")}},
	}
	if err := c.tellWhoseAddress(v); err != nil {
		return nil, err
	}
	return &Shown{View: v}, nil
}

// tellWhoseAddress leads to the account that has the address for which an invitation was
// refused: it may only have to be approved.
func (c *Call) tellWhoseAddress(v *View) error {
	if c.Refused == nil || c.Refused.Code != refusal.CodeEmailAlreadyRegistered {
		return nil
	}
	u, err := c.Lookup(c.Req.Context(), c.In.Text(field.Email))
	if ambiguous := (*account.AmbiguousError)(nil); errors.As(err, &ambiguous) {
		return nil
	}
	if err != nil {
		if web.AsRefusal(err).Code == refusal.CodeUserNotFound { // gone meanwhile
			return nil
		}
		return err
	}
	if account.StateOf(u) == account.StateWaiting {
		v.Text = []string{c.Say("page.admin.invited_waits")}
	}
	v.Parts[0].Buttons = []web.PageLink{{Href: c.Address("accounts/" + u.ID.String()), Text: nameOf(u)}}
	return nil
}

// readInvitation reads what an invitation is to say. What it says wrongly is left to
// Accounts.Invite.
func (c *Call) readInvitation() (wanted account.NewInvitation, err error) {
	var errs refusal.FieldErrors
	wanted = account.NewInvitation{
		Email: c.In.Text("email"), Groups: c.words("groups"), Note: c.In.Text("note"),
		Lifetime: lifetimeOf(c.In.Text("expires"), &errs), Mail: c.In.Switch("mail", &errs),
	}
	if txt := c.In.Text("uses"); txt != "" {
		if wanted.Uses, err = strconv.Atoi(txt); err != nil || wanted.Uses < 1 {
			errs.Add("uses", refusal.CodeInvalid)
		}
	}
	for _, name := range []string{"email", "note", "expires", "uses"} {
		if v := c.In[name]; v.Kind != field.ValueAbsent && v.Kind != field.ValueText {
			errs.Add(name, refusal.CodeInvalid)
		}
	}
	if wanted.Mail && !c.Policy.SendsMail {
		errs.Add("mail", refusal.CodeInvalid)
	}
	return wanted, errs.Err()
}

// words are the values of a list: one by one, or in one text with spaces or commas between.
func (c *Call) words(name string) (list []string) {
	texts := c.Lists[name]
	if len(texts) == 0 {
		texts = []string{c.In.Text(name)}
	}
	for _, txt := range texts {
		list = append(list, strings.FieldsFunc(txt, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })...)
	}
	return list
}

func invite(c *Call) (*Done, error) {
	if !c.invites() {
		return nil, refusal.New(refusal.CodeNotFound)
	}
	wanted, err := c.readInvitation()
	if err != nil {
		return nil, err
	}
	i, link, err := c.Invite(c.Req.Context(), wanted)
	if errors.Is(err, account.ErrUnconfirmable) { // then it has to name an address
		err = refusal.FieldErrors{{Field: field.Email, Code: refusal.CodeRequired}}.Err()
	}
	if err != nil {
		return nil, err
	}
	if !c.HTML {
		return &Done{JSON: append(invitationShown(i), web.NewObject("link", link, "mailed", wanted.Mail)...)}, nil
	}
	once := Part{Text: []string{c.Say("page.admin.link_once")}, Facts: c.invitationFacts(i), Copy: &Copy{c.Say("page.admin.link"), link}}
	if wanted.Mail {
		once.Text = append(once.Text, c.Say("page.admin.link_mailed", text.Params{"email": hostname.DisplayAddress(i.Email)}))
	}
	return &Done{View: &View{
		Title: c.Say("page.admin.invitation_made"), Parts: []Part{once},
		Links: []web.PageLink{{Href: c.Address(pathNewInvitation), Text: c.Say("page.admin.invite")}, {Href: c.Address(pathInvitations), Text: c.Say("link.admin_invitations")}},
	}}, nil
}

// invitationFacts are what a new invitation is good for.
func (c *Call) invitationFacts(i *store.Invitation) []web.PageFact {
	facts := []web.PageFact{
		{Label: c.Say("page.admin.invited"), Value: cmp.Or(hostname.DisplayAddress(i.Email), c.Say("page.admin.anybody"))},
		{Label: c.Say("page.admin.uses"), Value: strconv.Itoa(i.Uses)},
		{Label: c.Say("page.admin.good_until"), Value: c.Loc.Moment(moment(i.Expires))},
	}
	if len(i.Groups) > 0 {
		facts = append(facts, web.PageFact{Label: c.Say("field.groups"), Value: strings.Join(i.Groups, ", ")})
	}
	return facts
}

// limit is how many rows are asked for; a page for people has its own.
func (c *Call) limit() (int, error) {
	txt := c.Query.Get("limit")
	if txt == "" || c.HTML {
		return pageSize, nil
	}
	n, err := strconv.Atoi(txt)
	if err != nil || n < 1 || n > maxPage {
		return 0, refusal.FieldErrors{{Field: "limit", Code: refusal.CodeInvalid}}.Err()
	}
	return n, nil
}

// pageInputs are the parameters of every list.
func pageInputs(after string) []web.InputDoc {
	return []web.InputDoc{
		web.NewInput("limit", false, web.NewObject("type", "integer", "minimum", 1, "maximum", maxPage, "default", pageSize)),
		web.NewInput("after", false, web.NewObject("type", "string", "description", after)),
	}
}
