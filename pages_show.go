// pages_show.go: which page a browser sees when: a form, the form again with
// what is wrong, where it goes after an act, a link that no longer works.

package registration

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parameters of pages' own addresses.
const (
	// paramReauth: whoever is signed in is asked to sign in again.
	paramReauth = "reauth"
	// paramSent: a mail has just been asked for.
	paramSent = "sent"
)

// data fills in a form with what was typed or what the account has.
func (p *pages) data(c *call, e *endpoint, value func(name string) string, refusal *Error) PageData {
	f, l := e.form, c.loc
	d := PageData{Page: e.name, Title: l.text(f.title), Form: &PageForm{Action: p.realm.path + "/" + e.name + "/", Submit: l.text(f.submit)}}
	if f.intro.id != "" {
		d.Text = []string{l.text(phrase{id: f.intro.id, params: Params{"email": value(paramEmail)}})}
	}
	errs := map[string][]string{}
	if refusal != nil {
		for _, fe := range refusal.Fields {
			errs[fe.Field] = append(errs[fe.Field], l.text(fe.phrase()))
		}
	}
	for _, ff := range f.fields {
		if ff.stale && (c.who == nil || !c.staleSignIn(c.who.Session)) || ff.foreign && !c.mustProve {
			continue
		}
		field := ff.show(l, value(ff.name))
		field.Errors = errs[ff.name]
		for _, text := range field.Errors {
			d.Errors = append(d.Errors, PageError{ff.name, l.text(say("page.field_error", Params{"field": field.Label, "error": text}))})
		}
		delete(errs, ff.name)
		d.Form.Fields = append(d.Form.Fields, field)
	}
	if refusal != nil {
		d.Errors = append(d.Errors, otherErrors(d.Form.Fields, errs, refusal, l)...)
	}
	for _, name := range append(slices.Clip(f.hidden), paramNext) {
		if v := value(name); v != "" {
			d.Form.Hidden = append(d.Form.Hidden, PageHidden{name, v})
		}
	}
	if e.mailed.purpose == "" {
		for _, link := range f.links {
			d.Links = append(d.Links, PageLink{p.realm.withNext(link.href, c.next), l.text(link.text)})
		}
	}
	return d
}

// show is an input with its value. A password's never comes back.
func (ff formField) show(l *locale, value string) PageField {
	field := PageField{
		Name: ff.name, Label: l.text(ff.label), Kind: ff.kind, Autocomplete: ff.autocomplete, InputMode: ff.inputMode, Hint: l.text(ff.hint),
		Required: ff.required, Verbatim: ff.verbatim, MinLength: ff.minLength, Min: ff.min, Max: ff.max, Step: ff.step,
	}
	if !ff.required && ff.kind != kindInputCheckbox {
		field.Optional = l.text(say("page.optional"))
	}
	switch ff.kind {
	case kindInputPassword:
	case kindInputCheckbox:
		field.Checked = value == "true"
	case kindInputSelect:
		for _, o := range ff.options {
			field.Options = append(field.Options, PageOption{o.value, l.text(o.label), o.value == value})
		}
	default:
		field.Value = value
	}
	return field
}

// otherErrors are those of no input that the form shows: of the whole act, and
// of what a browser can't have sent.
func otherErrors(fields []PageField, left map[string][]string, refusal *Error, l *locale) []PageError {
	if len(refusal.Fields) > 0 {
		var out []PageError
		for _, name := range slices.Sorted(maps.Keys(left)) {
			for _, text := range left[name] {
				out = append(out, PageError{Text: text})
			}
		}
		return out
	}
	about := ""
	switch refusal.Code {
	case CodeLoginInvalid, CodeUserNotFound, CodeNotVerified, CodeDisabled:
		about = "login"
	case CodeEmailRequired, CodeEmailAlreadyRegistered:
		about = fieldEmail
	}
	if !slices.ContainsFunc(fields, func(f PageField) bool { return f.Name == about }) {
		about = ""
	}
	return []PageError{{about, refusalText(l, refusal.Code, refusal.Params)}}
}

// facts are the public fields that the profile's form has no input for. The id
// is left out: it means nothing to a person.
func facts(c *call, f *form) []PageFact {
	var facts []PageFact
	for _, shown := range c.Profile(c.who.User) {
		if shown.Name == fieldID || slices.ContainsFunc(f.fields, func(ff formField) bool { return ff.name == shown.Name }) {
			continue
		}
		facts = append(facts, PageFact{c.loc.text(labelPhrase(c.policy.Fields.byName[shown.Name])), factText(c.loc, shown.Value)})
	}
	return facts
}

// factText writes a value for a person.
func factText(l *locale, v any) string {
	text := ""
	switch v := v.(type) {
	case bool:
		if v {
			return l.text(say("value.yes"))
		}
		return l.text(say("value.no"))
	case []string:
		text = strings.Join(v, ", ")
	case string:
		text = l.moment(v)
	default:
		text = textOf(v)
	}
	if text == "" {
		return "–"
	}
	return text
}

// profileValue is what the account has in a field, as an input has it.
func profileValue(c *call, u *User, name string) string {
	if f, ok := c.realm.options.Fields.byName[name]; ok {
		return textOf(f.get(u))
	}
	return ""
}

// get shows an endpoint's form. It changes nothing, however often a mail
// scanner asks.
func (p *pages) get(w http.ResponseWriter, c *call, e *endpoint) {
	// One reading of the query for all that follows: what was checked is what the
	// form sends.
	c.in = queryInput(c.req)
	if e.form.kept && c.in[paramSignature].kind == valueAbsent {
		c.in = p.realm.keptLink(c.req)
	}
	c.next = p.realm.origins.safeNext(c.in.text(paramNext))
	switch {
	case e.form.instead != nil && e.form.instead(w, c):
		return
	case e.signedIn && c.who == nil && e.mailed.purpose == "":
		seeOther(w, http.StatusFound, p.realm.withNext("/login/", p.realm.withNext("/"+e.name+"/", c.next)))
		return
	}
	var owner *User
	if e.mailed.purpose != "" {
		var err error
		if owner, err = c.LinkOwner(c.req.Context(), c.in, e.mailed.purpose); err != nil {
			p.dead(w, c, e, asRefusal(err))
			return
		}
		if e.form.owned != nil && e.form.owned(w, c, owner) {
			return
		}
	}
	value := func(name string) string {
		switch {
		case name == paramNext:
			return c.next
		case e.form.value != nil:
			return e.form.value(c, name)
		case slices.Contains(e.form.hidden, name):
			return c.in.text(name)
		}
		return ""
	}
	d := p.data(c, e, value, nil)
	if e.form.complete != nil {
		if err := e.form.complete(c, &d, owner); err != nil {
			p.refusal(w, c.req, c.who, asRefusal(err))
			return
		}
	}
	sent := c.in[paramSent].kind != valueAbsent
	flash := p.realm.takeFlash(w, c.req, !sent)
	switch {
	case sent && e.form.sent != "":
		p.sent(c, e, flash, &d)
	case flash.detail != "":
		d.Note = c.loc.text(flash.phrase())
	}
	p.write(w, c, http.StatusOK, d)
}

// sent turns the page that asks for a mail into the one that says it is on its
// way, with a button that sends it again.
func (p *pages) sent(c *call, e *endpoint, f flash, d *PageData) {
	if f.detail == "" {
		f.detail = e.form.sent
	}
	d.Title = c.loc.text(say("page.check_mail.title"))
	d.Text = []string{c.loc.text(f.phrase()), c.loc.text(say("page.check_mail.hint"))}
	d.Form.Submit, d.Form.Again = c.loc.text(say("page.check_mail.submit")), true
	d.Links = append(d.Links, p.links(c, e.form.asked)...)
	if f.value != "" {
		d.Form.Fields, d.Form.Hidden = nil, append(d.Form.Hidden, PageHidden{f.name, f.value})
	}
}

// links are links of a form as its page has them.
func (p *pages) links(c *call, of []formLink) (out []PageLink) {
	for _, link := range of {
		out = append(out, PageLink{p.realm.withNext(link.href, c.next), c.loc.text(link.text)})
	}
	return out
}

// signedOut says that nobody is signed in any more.
func (p *pages) signedOut(w http.ResponseWriter, c *call) {
	d := PageData{
		Page: "logout", Title: c.loc.text(say("page.logout.done")),
		Action: &PageLink{p.realm.withNext("/login/", c.next), c.loc.text(say("link.login_again"))},
		Links:  []PageLink{{"/", c.loc.text(say("link.home"))}},
	}
	p.write(w, c, http.StatusOK, d)
}

// failed shows the form again, with the errors next to their fields and what
// was typed, but never a password.
func (p *pages) failed(w http.ResponseWriter, c *call, e *endpoint, refusal *Error) {
	if e.form.refused != nil && e.form.refused(w, c, refusal) {
		return
	}
	asks := slices.ContainsFunc(e.form.fields, func(f formField) bool { return !f.foreign || c.mustProve })
	if e.mailed.purpose != "" && statusOf(refusal.Code) == http.StatusBadRequest && (!asks || aboutLink(refusal)) {
		p.dead(w, c, e, refusal)
		return
	}
	status := p.realm.errorHeaders(w, c.req, refusal)
	value := func(name string) string {
		if name == paramNext {
			return c.next
		}
		return p.typed(c.in, name)
	}
	d := p.data(c, e, value, refusal)
	if e.form.complete != nil {
		var owner *User
		if e.mailed.purpose != "" {
			owner, _ = c.LinkOwner(c.req.Context(), c.in, e.mailed.purpose) // nil if it has just been used
		}
		if err := e.form.complete(c, &d, owner); err != nil {
			p.refusal(w, c.req, c.who, asRefusal(err))
			return
		}
	}
	d.Links = append(d.Links, p.links(c, e.form.retry)...)
	p.write(w, c, status, d)
}

// typed is what was typed into a field, to be shown again; of what is far too long
// nothing, because no person has typed that.
func (p *pages) typed(in Input, name string) string {
	limit := maxKeyText
	if f, ok := p.realm.options.Fields.byName[name]; ok {
		limit = max(limit, f.maxLength*utf8.UTFMax)
	}
	if text := in.text(name); len(text) <= limit {
		return text
	}
	return ""
}

// dead is the page of a mailed link that no longer works: its button would only
// fail, so there are the ways on instead.
func (p *pages) dead(w http.ResponseWriter, c *call, e *endpoint, refusal *Error) {
	if statusOf(refusal.Code) != http.StatusBadRequest {
		p.refusal(w, c.req, c.who, refusal)
		return
	}
	status := p.realm.errorHeaders(w, c.req, refusal)
	code, params := refusal.Code, refusal.Params
	if len(refusal.Fields) > 0 {
		code, params = CodeSignatureInvalid, nil
	}
	if e.form.kept {
		p.realm.forgetLink(w, c.req)
	}
	d := PageData{Page: e.name, Title: c.loc.text(say("page.dead_link.title")), Text: []string{refusalText(c.loc, code, params)}}
	for i, link := range e.form.links {
		to := PageLink{p.realm.withNext(link.href, c.next), c.loc.text(link.text)}
		if i == 0 {
			d.Action = &to
		} else {
			d.Links = append(d.Links, to)
		}
	}
	p.write(w, c, status, d)
}

// done sends a browser on after an act, so that a reload repeats nothing.
func (p *pages) done(w http.ResponseWriter, c *call, e *endpoint, rep *reply) {
	if rep.seeOther != "" {
		seeOther(w, http.StatusSeeOther, rep.seeOther)
		return
	}
	after := afterAct{}
	if e.after != nil {
		after = e.after(c, rep)
	}
	if e.form != nil && e.form.kept {
		p.realm.forgetLink(w, c.req)
	}
	after.page = cmp.Or(after.page, "profile")
	next := c.next
	next = cmp.Or(next, after.next)
	target := p.realm.withNext("/"+after.page+"/", next)
	if after.asked {
		target = withQuery(target, paramSent, "1")
	}
	if !after.silent {
		f := flash{detail: rep.detail.id, name: after.input, value: after.value}
		f.email, _ = rep.detail.params["email"].(string)
		p.realm.setFlash(w, c.req, f)
	}
	seeOther(w, http.StatusSeeOther, target)
}

// refusal shows an error that belongs to no form. who may be nil.
func (p *pages) refusal(w http.ResponseWriter, req *http.Request, who *Principal, e *Error) {
	status := p.realm.errorHeaders(w, req, e)
	l := p.realm.language(req)
	title, known := errorTitles[status]
	if !known {
		title = say("page.error.other")
	}
	d := PageData{Page: errorPage, Title: l.text(title), Text: []string{refusalText(l, e.Code, e.Params)}, Links: []PageLink{{"/", l.text(say("link.home"))}}}
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	name := "" // of the endpoint
	if rest, ok := strings.CutPrefix(req.URL.Path, p.realm.path+"/"); ok {
		name = strings.TrimSuffix(rest, "/")
	}
	switch {
	case status == http.StatusUnauthorized:
		d.Action = &PageLink{p.realm.path + "/login/", l.text(say("link.login"))}
		if p.realm.endpoints[name] != nil {
			d.Action.Href = p.realm.withNext("/login/", p.realm.path+"/"+name+"/")
		}
	case e.Code == CodePermissionDenied:
		d.Action = &PageLink{p.realm.path + "/logout/", l.text(say("link.other_account"))}
		if read {
			d.Action.Href = p.realm.withNext("/logout/", p.realm.originalURI(req))
		}
	case !read:
		if e := p.realm.endpoints[name]; e != nil && e.page != "" {
			name = e.page
		}
		if e := p.realm.endpoints[name]; e != nil && e.form != nil {
			d.Action = &PageLink{p.realm.path + "/" + name + "/", l.text(say("link.back"))}
		}
	}
	p.write(w, &call{realm: p.realm, req: req, loc: l, who: who}, status, d)
}

var errorTitles = map[int]phrase{
	http.StatusUnauthorized:       say("page.error.401"),
	http.StatusForbidden:          say("page.error.403"),
	http.StatusNotFound:           say("page.error.404"),
	http.StatusTooManyRequests:    say("page.error.429"),
	http.StatusServiceUnavailable: say("page.error.503"),
}

// seeOther sends a browser to another page.
func seeOther(w http.ResponseWriter, status int, target string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", target)
	w.WriteHeader(status)
}

// withNext is the address of a page below the realm's path that remembers where
// the person wanted to go.
func (r *webRealm) withNext(page, next string) string {
	if next == "" {
		return r.path + page
	}
	return r.path + page + "?" + paramNext + "=" + url.QueryEscape(next)
}

// afterSignIn is where a browser goes once signed in.
func (r *webRealm) afterSignIn(next string) string {
	if next != "" {
		return next
	}
	return r.path + "/profile/"
}
