// pages_show.go: which page a browser sees when: a form, the form again with
// what is wrong, where it goes after an act, a link that no longer works.

package web

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Parameters of pages' own addresses.
const (
	// ParamReauth: whoever is signed in is asked to sign in again.
	ParamReauth = "reauth"
	// ParamFactors and ParamMaxAge are what a guard asks for of who is led to the page
	// that asks for more: a number of factors, and seconds.
	ParamFactors = "factors"
	ParamMaxAge  = "max_age"
	// ParamElsewhere: whoever signs in can't be led back to where he came from,
	// because that host doesn't see the sign-in.
	ParamElsewhere = "elsewhere"
	// paramSent: a mail has just been asked for.
	paramSent = "sent"
)

// Data fills in a form with what was typed or what the account has.
func (p *pages) Data(c *Call, e *Endpoint, value func(name string) string, refusal *refusal.Error) PageData {
	f, l := e.Form, c.Loc
	d := PageData{Page: e.Name, Title: l.Text(f.Title), Form: &PageForm{Action: p.realm.Address("/" + e.Name + "/"), Submit: l.Text(f.Submit)}}
	if f.ToItself {
		d.Form.Action = ""
	}
	if f.Intro.Id != "" {
		params := text.Params{"email": hostname.DisplayAddress(value(sign.ParamEmail))}
		maps.Copy(params, f.Intro.Params)
		d.Text = []string{l.Text(text.Say(f.Intro.Id, params))}
	}
	errs := map[string][]string{}
	if refusal != nil {
		for _, fe := range refusal.Fields {
			errs[fe.Field] = append(errs[fe.Field], l.Text(fe.Phrase()))
		}
	}
	wrongPassword := len(errs[account.ParamPassword]) > 0
	for _, ff := range f.Fields {
		if ff.sudo && !c.asksSudo(ff) || ff.Foreign && !c.MustProve || ff.Uninvited && c.invited() {
			continue
		}
		field := ff.show(l, value(ff.Name))
		p.realm.Options.leadOn(field.Linked)
		field.Errors = errs[ff.Name]
		for _, txt := range field.Errors {
			if ff.again && wrongPassword {
				break // what is wrong is told once; it may not even be seen
			}
			d.Errors = append(d.Errors, PageError{ff.Name, fieldError(l, field.Label, txt)})
		}
		delete(errs, ff.Name)
		d.Form.Fields = append(d.Form.Fields, field)
	}
	c.passkeySudo(&d, f)
	if refusal != nil {
		d.Errors = append(d.Errors, otherErrors(d.Form.Fields, errs, refusal, l)...)
	}
	for _, name := range append(slices.Clip(f.Hidden), sign.ParamNext) {
		if v := value(name); v != "" {
			d.Form.Hidden = append(d.Form.Hidden, PageHidden{name, v})
		}
	}
	d.Links = append(d.Links, p.waysOn(c, e)...)
	return d
}

// show is an input with its value. A password's never comes back.
func (ff FormField) show(l *text.Locale, value string) PageField {
	field := PageField{
		Name: ff.Name, Label: l.Text(ff.label), Kind: ff.kind, Autocomplete: ff.Autocomplete, InputMode: ff.inputMode, Hint: l.Text(ff.Hint),
		Required: ff.Required, Verbatim: ff.verbatim, MinLength: ff.minLength,
	}
	if ff.linked {
		field.Linked, field.Label = linksOf(field.Label)
	}
	for _, rule := range ff.Rules {
		field.Hint = strings.TrimSpace(field.Hint + " " + l.Text(rule))
	}
	if ff.more.href != "" {
		field.More = &PageLink{ff.more.href, l.Text(ff.more.text)}
	}
	if !ff.Required && ff.kind != kindInputCheckbox {
		field.Optional = l.Text(text.Say("page.optional"))
	}
	switch ff.kind {
	case kindInputPassword:
		field.Verbatim, field.Reveal = true, ff.reveal(l)
	case kindInputCheckbox:
		field.Value = cmp.Or(ff.sends, "true")
		field.Checked = value == field.Value
	case kindInputSelect:
		for _, o := range ff.options {
			field.Options = append(field.Options, PageOption{o.value, l.Text(o.label), o.value == value})
		}
	case kindInputURL:
		field.Value = hostname.DisplayURL(value)
	default:
		if !ff.once {
			field.Value = value
		}
	}
	return field
}

// reveal is the button of a password's input.
func (ff FormField) reveal(l *text.Locale) *PageReveal {
	say := func(id string) string { return l.Text(text.Say(id)) }
	r := &PageReveal{Show: say("page.password.show"), Hide: say("page.password.hide")}
	if ff.rated {
		r.Short, r.Min = l.Text(text.Say("hint.password_length", text.Params{"min": ff.minLength})), ff.minLength
		r.Digits, r.Enough, r.Long = l.Text(ff.digits), say("page.password.enough"), say("page.password.long")
	}
	return r
}

// Show is an input with its value and what is wrong with that.
func (ff FormField) Show(l *text.Locale, value string, errs []string) PageField {
	field := ff.show(l, value)
	field.Errors = errs
	return field
}

// otherErrors are those of no input that the form shows: of the whole act, and
// of what a browser can't have sent.
func otherErrors(fields []PageField, left map[string][]string, refused *refusal.Error, l *text.Locale) []PageError {
	if len(refused.Fields) > 0 {
		var out []PageError
		for _, name := range slices.Sorted(maps.Keys(left)) {
			for _, text := range left[name] {
				out = append(out, PageError{Text: text})
			}
		}
		return out
	}
	about := ""
	switch refused.Code {
	case refusal.CodeLoginInvalid, refusal.CodeUserNotFound, refusal.CodeNotVerified, refusal.CodeApprovalPending, refusal.CodeDisabled:
		about = "login"
	case refusal.CodeEmailRequired, refusal.CodeEmailAlreadyRegistered:
		about = field.Email
	default: // the whole form
	}
	if !slices.ContainsFunc(fields, func(f PageField) bool { return f.Name == about }) {
		about = ""
	}
	return []PageError{{about, refusal.Text(l, refused.Code, refused.Params)}}
}

// ProfileValue is what the account has in a field, as an input has it.
func ProfileValue(c *Call, u *store.User, name string) string {
	if f, ok := c.Realm.Options.Fields.ByName[name]; ok {
		return field.TextOf(f.Get(u))
	}
	return ""
}

// invited reports whether a call brings a good invitation.
func (c *Call) invited() bool {
	i, err := c.InvitationOf(c.Req.Context(), c.In)
	return err == nil && i != nil
}

// get shows an endpoint's form. It changes nothing, however often a mail
// scanner asks.
func (p *pages) get(w http.ResponseWriter, c *Call, e *Endpoint) {
	// One reading of the query for all that follows: what was checked is what the
	// form sends.
	c.In = queryInput(c.Req)
	if e.Form.Kept && c.In[sign.ParamSignature].Kind == field.ValueAbsent {
		c.In = p.realm.keptLink(c.Req)
	}
	c.Next = p.realm.Origins.SafeNext(c.In.Text(sign.ParamNext))
	if _, sent := sentCookie(c.Req, p.realm.cookieName(c.Req)); sent && c.Who == nil {
		forgetPages(w) // its session has ended elsewhere, or by time
	}
	switch {
	case e.Form.Instead != nil && e.Form.Instead(w, c):
		return
	case e.SignedIn && c.Who == nil && e.Mailed.Purpose == "":
		SeeOther(w, http.StatusFound, p.realm.WithNext("/login/", p.realm.WithNext("/"+e.Name+"/", c.Next)))
		return
	}
	var owner *store.User
	if e.Mailed.Purpose != "" {
		var err error
		if owner, err = c.LinkOwner(c.Req.Context(), c.In, e.Mailed.Purpose); err != nil {
			if !p.used(w, c, e, AsRefusal(err)) {
				p.dead(w, c, e, AsRefusal(err))
			}
			return
		}
		if e.Form.Owned != nil && e.Form.Owned(w, c, owner) {
			return
		}
	}
	d := p.Data(c, e, func(name string) string { return e.Form.begins(c, name) }, nil)
	if e.Form.Complete != nil {
		if err := e.Form.Complete(c, &d, owner); err != nil {
			p.refusal(w, c.Req, c.Who, AsRefusal(err), c.Next)
			return
		}
	}
	sent := c.In[paramSent].Kind != field.ValueAbsent
	sent = sent && e.Form.Sent != ""
	flash := p.realm.takeFlash(w, c.Req, e.Name, sent)
	switch {
	case sent:
		p.sent(c, e, flash, &d)
	case flash.detail != "":
		c.tell(&d, e, flash)
	}
	p.Write(w, c, http.StatusOK, d)
}

// begins is what an input of a form begins with.
func (f *Form) begins(c *Call, name string) string {
	switch {
	case name == sign.ParamNext:
		return c.Next
	case f.Value != nil:
		return f.Value(c, name)
	case slices.Contains(f.Hidden, name):
		return c.In.Text(name)
	}
	return ""
}

// sent turns the page that asks for a mail into the one that says it is on its
// way, with a button that sends it again.
func (p *pages) sent(c *Call, e *Endpoint, f flash, d *PageData) {
	mine := c.signUpOf(e, f.value)
	switch {
	case mine != nil:
		switch f.detail { // what has been done just now, besides the sign-up itself
		case e.Form.Sent:
			d.Note = c.Loc.Text(text.Say("detail.sent_again", text.Params{"email": hostname.DisplayAddress(mine.Email)}))
		case "detail.email_corrected":
			d.Note = c.Loc.Text(f.phrase())
		}
		f = flash{detail: "detail.confirm_account", words: map[string]string{sign.ParamEmail: mine.Email}, name: field.Email, value: mine.Email}
	case f.detail == "":
		f.detail = e.Form.Sent
	}
	d.Title = c.Loc.Text(text.Say("page.check_mail.title"))
	d.Text = []string{c.Loc.Text(f.phrase()), c.Loc.Text(text.Say("page.check_mail.hint"))}
	d.Form.Submit, d.Form.Again = c.Loc.Text(text.Say("page.check_mail.submit")), true
	if mine != nil {
		d.Links = append([]PageLink{{p.realm.WithNext("/correct-email/", c.Next), c.Loc.Text(text.Say("link.correct_email"))}}, d.Links...)
	} else {
		d.Links = append(d.Links, p.links(c, e.Form.Asked)...)
	}
	if name, address := hostname.Webmail(f.value); name != "" {
		d.Mailbox = &PageLink{address, c.Loc.Text(text.Say("page.check_mail.open", text.Params{"provider": name}))}
	}
	if f.value != "" {
		d.Form.Fields, d.Form.Hidden = nil, append(d.Form.Hidden, PageHidden{f.name, f.value})
	}
}

// links are links of a form as its page has them.
func (p *pages) links(c *Call, of []FormLink) (out []PageLink) {
	for _, link := range of {
		out = append(out, PageLink{p.realm.WithNext(link.href, c.Next), c.Loc.Text(link.text)})
	}
	return out
}

// SignedOut says that nobody is signed in any more.
func (p *pages) SignedOut(w http.ResponseWriter, c *Call) {
	d := PageData{
		Page: "logout", Title: c.Loc.Text(text.Say("page.logout.done")),
		Action: &PageLink{p.realm.WithNext("/login/", c.Next), c.Loc.Text(text.Say("link.login_again"))},
		Links:  []PageLink{{p.realm.home(), c.Loc.Text(text.Say("link.home"))}},
	}
	p.Write(w, c, http.StatusOK, d)
}

// failed shows the form again, with the errors next to their fields and what
// was typed, but never a password.
func (p *pages) failed(w http.ResponseWriter, c *Call, e *Endpoint, refusal *refusal.Error) {
	if e.Form.Refused != nil && e.Form.Refused(w, c, refusal) {
		return
	}
	if p.used(w, c, e, refusal) {
		return
	}
	asks := slices.ContainsFunc(e.Form.Fields, func(f FormField) bool { return !f.Foreign || c.MustProve })
	if e.Mailed.Purpose != "" && StatusOf(refusal.Code) == http.StatusBadRequest && (!asks || aboutLink(refusal)) {
		p.dead(w, c, e, refusal)
		return
	}
	status := p.realm.errorHeaders(w, c.Req, refusal)
	value := func(name string) string {
		if name == sign.ParamNext {
			return c.Next
		}
		return p.typed(c.In, name)
	}
	d := p.Data(c, e, value, refusal)
	p.stillSent(c, e, refusal, &d)
	if e.Form.Complete != nil {
		var owner *store.User
		if e.Mailed.Purpose != "" {
			owner, _ = c.LinkOwner(c.Req.Context(), c.In, e.Mailed.Purpose) // nil if it has just been used
		}
		if err := e.Form.Complete(c, &d, owner); err != nil {
			p.refusal(w, c.Req, c.Who, AsRefusal(err), c.Next)
			return
		}
	}
	d.Links = append(d.Links, p.waysOut(c, e, refusal)...)
	p.Write(w, c, status, d)
}

// typed is what was typed into a field, to be shown again; of what is far too long
// nothing, because no person has typed that.
func (p *pages) typed(in field.Input, name string) string {
	limit := field.MaxKeyText
	if f, ok := p.realm.Options.Fields.ByName[name]; ok {
		limit = max(limit, f.MaxLength*utf8.UTFMax)
	}
	if text := in.Text(name); len(text) <= limit {
		return text
	}
	return ""
}

// used answers for a mailed link that has acted already, and returns false where it
// hasn't: what it has done is true still, and what comes next is not another link.
func (p *pages) used(w http.ResponseWriter, c *Call, e *Endpoint, refused *refusal.Error) bool {
	if e.Form.Used == nil || len(refused.Fields) > 0 || refused.Code != refusal.CodeSignatureInvalid && refused.Code != refusal.CodeSignatureExpired {
		return false
	}
	owner, err := c.UsedLink(c.Req.Context(), c.In, e.Mailed.Purpose)
	if err != nil {
		return false
	}
	if e.Form.Kept {
		p.realm.forgetLink(w, c.Req)
	}
	detail, links := e.Form.Used(c, owner)
	page, label := "login", text.Say("link.login")
	if c.Who != nil {
		page, label = "profile", text.Say("link.profile")
	}
	if c.Req.Method != http.MethodGet && c.Req.Method != http.MethodHead { // pressed twice
		p.realm.LeaveNote(w, c.Req, page, detail)
		SeeOther(w, http.StatusSeeOther, p.realm.WithNext("/"+page+"/", c.Next))
		return true
	}
	p.Write(w, c, http.StatusOK, PageData{
		Page: e.Name, Title: c.Loc.Text(text.Say("page.used_link.title")), Text: []string{c.Loc.Text(detail)},
		Action: &PageLink{p.realm.WithNext("/"+page+"/", c.Next), c.Loc.Text(label)}, Links: p.links(c, links),
	})
	return true
}

// dead is the page of a mailed link that no longer works: its button would only
// fail, so there are the ways on instead.
func (p *pages) dead(w http.ResponseWriter, c *Call, e *Endpoint, refused *refusal.Error) {
	if StatusOf(refused.Code) != http.StatusBadRequest {
		p.refusal(w, c.Req, c.Who, refused, c.Next)
		return
	}
	status := p.realm.errorHeaders(w, c.Req, refused)
	if e.Form.Kept {
		p.realm.forgetLink(w, c.Req)
	}
	d := PageData{Page: e.Name, Title: c.Loc.Text(text.Say("page.dead_link.title")), Text: []string{whyDead(c, refused)}}
	for i, link := range e.Form.Links {
		to := PageLink{p.realm.WithNext(link.href, c.Next), c.Loc.Text(link.text)}
		if i == 0 {
			d.Action = &to
		} else {
			d.Links = append(d.Links, to)
		}
	}
	d.Links = append(d.Links, p.realm.LinkToContact(c.Loc)...)
	p.Write(w, c, status, d)
}

// done sends a browser on after an act, so that a reload repeats nothing.
func (p *pages) done(w http.ResponseWriter, c *Call, e *Endpoint, rep *Reply) {
	if rep.Page != nil {
		if rep.Cookie != "" { // it is a sign-in, too
			c.Who = &session.Principal{User: rep.User}
		}
		p.Write(w, c, http.StatusOK, *rep.Page)
		return
	}
	if rep.SeeOther != "" {
		p.realm.sendWithNote(w, c, rep)
		return
	}
	after := AfterAct{}
	if e.After != nil {
		after = e.After(c, rep)
	}
	if e.Form != nil && e.Form.Kept {
		p.realm.forgetLink(w, c.Req)
	}
	after.Page = cmp.Or(after.Page, "profile")
	next := c.Next
	next = cmp.Or(next, after.Next)
	target := p.realm.WithNext("/"+after.Page+"/", next)
	if after.Asked {
		target = withQuery(target, paramSent, "1")
	}
	if !after.Silent {
		f := newFlash(after.Page, rep.Detail)
		f.name, f.value = after.Input, after.Value
		p.realm.setFlash(w, c.Req, f)
	}
	SeeOther(w, http.StatusSeeOther, target)
}

// refusal shows an error that belongs to no form. who may be nil.
func (p *pages) refusal(w http.ResponseWriter, req *http.Request, who *session.Principal, e *refusal.Error, next string) {
	status := p.realm.errorHeaders(w, req, e)
	l := p.realm.languageOf(req, who)
	title, known := errorTitles[status]
	if !known {
		title = text.Say("page.error.other")
	}
	d := PageData{Page: errorPage, Title: l.Text(title), Text: []string{refusal.Text(l, e.Code, e.Params)}, Links: []PageLink{{p.realm.home(), l.Text(text.Say("link.home"))}}}
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	name, _ := p.realm.Endpoint(req)
	switch {
	case e.Code == refusal.CodeInsufficient:
		d.Action = &PageLink{p.realm.Address("/step-up/"), l.Text(text.Say("link.step_up"))}
	case status == http.StatusUnauthorized:
		d.Action = &PageLink{p.realm.Address("/login/"), l.Text(text.Say("link.login"))}
		if p.realm.Endpoints[name] != nil {
			d.Action.Href = p.realm.WithNext("/login/", p.realm.Address("/"+name+"/"))
		}
	case e.Code == refusal.CodePermissionDenied:
		d.Action = &PageLink{p.realm.Address("/logout/"), l.Text(text.Say("link.other_account"))}
		if read {
			d.Action.Href = p.realm.WithNext("/logout/", p.realm.OriginalURI(req))
		}
	case !read:
		if e := p.realm.Endpoints[name]; e != nil && e.Page != "" {
			name = e.Page
		}
		if e := p.realm.Endpoints[name]; e != nil && e.Form != nil {
			d.Action = &PageLink{p.realm.WithNext("/"+name+"/", next), l.Text(text.Say("link.back"))}
		}
	}
	d.Links = append(d.Links, p.realm.LinkToContact(l)...)
	p.Write(w, &Call{Realm: p.realm, Req: req, Loc: l, Who: who}, status, d)
}

// Misplaced says that the accounts stand behind their own guard.
func (p *pages) Misplaced(w http.ResponseWriter, req *http.Request) {
	status := p.realm.errorHeaders(w, req, refusal.New(refusal.CodeNotAuthenticated))
	l := p.realm.Language(req)
	p.Write(w, &Call{Realm: p.realm, Req: req, Loc: l}, status, PageData{
		Page: errorPage, Title: l.Text(errorTitles[status]), Text: []string{l.Text(text.Say("page.error.behind_guard"))}, Links: p.realm.LinkToContact(l),
	})
}

// Unseen says that the page that has led to this one doesn't see what was shown here.
func (p *pages) Unseen(w http.ResponseWriter, c *Call, page string) {
	say := func(id string) string { return c.Loc.Text(text.Say(id)) }
	p.Write(w, c, http.StatusOK, PageData{Page: page, Title: say("page.step_up.title"), Text: []string{say("page.login.unseen")}, Links: p.links(c, []FormLink{LinkToProfile})})
}

var errorTitles = map[int]text.Phrase{
	http.StatusUnauthorized:       text.Say("page.error.401"),
	http.StatusForbidden:          text.Say("page.error.403"),
	http.StatusNotFound:           text.Say("page.error.404"),
	http.StatusTooManyRequests:    text.Say("page.error.429"),
	http.StatusServiceUnavailable: text.Say("page.error.503"),
}
