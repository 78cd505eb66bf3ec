// pages.go: the built-in HTML pages. One template shows them all: a title, a
// note, a form of an endpoint, links. Forms post to the endpoints themselves.

package registration

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const styleName = "style.css"

// pages renders the HTML of one realm.
type pages struct {
	realm    *realm
	template *template.Template
	style    []byte
	styleURL string
	csp      string
}

// form is the page that an endpoint shows to a browser.
type form struct {
	title, intro, submit phrase
	fields               []formField
	// hidden are taken from the query into hidden inputs: a mailed link.
	hidden []string
	links  []formLink
}

// formField is one input of a form; PageField is what the template sees of it.
type formField struct {
	name, kind, autocomplete string
	label, hint              phrase
	required                 bool
	// stale: only a sign-in of some time ago has to fill it in.
	stale bool
}

// formLink is a link of a page; pageLink is what the template sees of it.
type formLink struct {
	href string
	text phrase
}

type pageLink struct{ Href, Text string }

// PageData is what the page template can mention.
type PageData struct {
	Site, Title, Intro, Note, Style string
	// Path is the realm's path, for links.
	Path string
	// SignedInAs is the name of who is signed in, or empty.
	SignedInAs string
	// Errors are those of no one field.
	Errors []string
	Form   *PageForm
	// Sessions are the sign-ins of who is signed in, each with a button to end it.
	Sessions []PageSession
	Links    []pageLink

	loc *locale
}

// PageSession is a sign-in as the template sees it.
type PageSession struct {
	ID, Kind, Address, UserAgent string
	Created, LastUsed            string // RFC 3339
	Current                      bool
}

// T is the message of the catalogue with this id.
func (d PageData) T(id string) (string, error) { return d.loc.message(id, Params{"title": d.Title}) }

// Lang is the BCP 47 tag of the page's language.
func (d PageData) Lang() string { return d.loc.name }

// PageForm is a form as the template sees it.
type PageForm struct {
	Action, Submit string
	Hidden         []PageField
	Fields         []PageField
}

// PageField is an input as the template sees it.
type PageField struct {
	Name, Label, Kind, Autocomplete, Hint, Value string
	Required                                     bool
	Errors                                       []string
}

func newPages(r *realm) (*pages, error) {
	p := &pages{realm: r}
	read := func(name string) (string, error) { return readTemplate(r.settings.Templates, "pages/"+name, false) }
	style, err := read(styleName)
	if err != nil {
		return nil, err
	}
	text, err := read("page.html")
	if err != nil {
		return nil, err
	}
	if p.template, err = template.New("pages/page.html").Parse(text); err != nil {
		return nil, fmt.Errorf("page template: %w", err)
	}
	p.style = []byte(style)
	sum := sha256.Sum256(p.style)
	p.styleURL = r.path + "/" + styleName + "?v=" + base64.RawURLEncoding.EncodeToString(sum[:6])
	// form-action also governs where an answer to a form may redirect.
	p.csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action " +
		strings.Join(append([]string{"'self'"}, r.origins.trusted...), " ") + "; frame-ancestors 'none'; base-uri 'none'"
	sample := PageData{loc: r.languages.locales[0], Form: &PageForm{Fields: []PageField{{Errors: []string{""}}}, Hidden: []PageField{{}}}, Errors: []string{""}, Sessions: []PageSession{{}}, Links: []pageLink{{}}, SignedInAs: "x", Intro: "x", Note: "x"}
	if err := p.template.Execute(&bytes.Buffer{}, sample); err != nil {
		return nil, fmt.Errorf("page template: %w", err)
	}
	return p, nil
}

func (p *pages) serveStyle(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(p.style)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(p.style)
	}
}

// form returns the page of an endpoint, nil if it has none.
func (p *pages) form(name string) *form {
	s := p.realm.settings
	newPassword := formField{name: "password", label: say("field.new_password"), kind: "password", autocomplete: "new-password", required: true, hint: say("hint.password_length", Params{"min": s.Password.MinLength})}
	again := formField{name: "password_confirm", label: say("field.new_password_confirm"), kind: "password", autocomplete: "new-password", required: true}
	login := formField{name: "login", label: loginLabel(s.User.LoginFields), kind: "text", autocomplete: "username", required: true}
	current := formField{name: paramPassword, label: say("field.old_password"), kind: "password", autocomplete: "current-password", required: true, stale: true, hint: say("hint.reauthenticate")}
	withConfirm := func(on bool, fields ...formField) []formField {
		if on {
			fields = append(fields, again)
		}
		return fields
	}
	link := []string{paramUserID, paramTimestamp, paramSignature}
	switch name {
	case "login":
		f := &form{title: say("page.login.title"), submit: say("page.login.submit"), fields: []formField{login, {name: "password", label: say("field.password"), kind: "password", autocomplete: "current-password", required: true}}}
		if *s.Register.Enabled {
			f.links = append(f.links, formLink{"/register/", say("link.register")})
		}
		if *s.ResetPassword.Enabled {
			f.links = append(f.links, formLink{"/send-reset-password-link/", say("link.forgot_password")})
		}
		return f
	case "register":
		f := &form{title: say("page.register.title"), submit: say("page.register.submit"), links: []formLink{{"/login/", say("link.have_account")}}}
		a := Accounts{settings: s}
		fields, required := a.registerFields()
		for _, field := range fields {
			f.fields = append(f.fields, profileField(field, required[field.name] || field.name == fieldEmail && *s.Register.Verification))
		}
		pass := newPassword
		pass.label, again.label = say("field.password"), say("field.password_confirm")
		f.fields = append(f.fields, withConfirm(*s.Register.PasswordConfirm, pass)...)
		return f
	case "verify-registration":
		return &form{title: say("page.verify_registration.title"), submit: say("page.verify_registration.submit"), intro: say("page.verify_registration.intro"), hidden: link, links: []formLink{{"/resend-verification/", say("link.resend_verification")}}}
	case "resend-verification":
		return &form{title: say("page.resend_verification.title"), submit: say("page.resend_verification.submit"), fields: []formField{login}, links: []formLink{{"/login/", say("link.login")}}}
	case "send-reset-password-link":
		if *s.ResetPassword.UseEmail {
			login = formField{name: "email", label: say("field.email"), kind: "email", autocomplete: "email", required: true}
		}
		return &form{title: say("page.send_reset_password_link.title"), submit: say("page.send_reset_password_link.submit"), intro: say("page.send_reset_password_link.intro"), fields: []formField{login}, links: []formLink{{"/login/", say("link.login")}}}
	case "reset-password":
		return &form{title: say("page.reset_password.title"), submit: say("page.reset_password.submit"), hidden: link, fields: withConfirm(*s.ResetPassword.PasswordConfirm, newPassword), links: []formLink{{"/send-reset-password-link/", say("link.new_reset_link")}}}
	case "profile":
		f := &form{title: say("page.profile.title"), submit: say("page.profile.submit"), links: []formLink{{"/change-password/", say("link.change_password")}, {"/register-email/", say("link.change_email")}, {"/sessions/", say("link.sessions")}}}
		a := Accounts{settings: s}
		fields, required := a.editableFields()
		for _, field := range fields {
			f.fields = append(f.fields, profileField(field, required[field.name]))
		}
		if slices.ContainsFunc(fields, a.guarded) {
			current.required, current.hint = false, say("hint.password_for_login")
			f.fields = append(f.fields, current)
		}
		return f
	case "change-password":
		return &form{title: say("page.change_password.title"), submit: say("page.change_password.submit"), fields: withConfirm(*s.ChangePassword.PasswordConfirm, formField{name: "old_password", label: say("field.old_password"), kind: "password", autocomplete: "current-password", required: true}, newPassword), links: []formLink{{"/profile/", say("link.profile")}}}
	case "register-email":
		return &form{title: say("page.register_email.title"), submit: say("page.register_email.submit"), fields: []formField{{name: "email", label: say("field.new_email"), kind: "email", autocomplete: "email", required: true}, current}, links: []formLink{{"/profile/", say("link.profile")}}}
	case "verify-email":
		return &form{title: say("page.verify_email.title"), submit: say("page.verify_email.submit"), hidden: append(link, paramEmail), links: []formLink{{"/profile/", say("link.profile")}}}
	case "undo-email":
		return &form{title: say("page.undo_email.title"), submit: say("page.undo_email.submit"), intro: say("page.undo_email.intro"), hidden: append(link, paramEmail), links: []formLink{{"/login/", say("link.login")}}}
	case "sessions":
		return &form{title: say("page.sessions.title"), links: []formLink{{"/profile/", say("link.profile")}}}
	case "logout":
		return &form{title: say("page.logout.title"), submit: say("page.logout.submit")}
	}
	return nil
}

func loginLabel(fields []string) phrase {
	switch {
	case len(fields) == 1:
		return fieldLabels[fields[0]]
	case fields[0] == fieldEmail:
		return say("field.email_or_username")
	}
	return say("field.username_or_email")
}

var fieldLabels = map[string]phrase{
	fieldUsername: say("field.username"), fieldEmail: say("field.email"),
	fieldFirstName: say("field.first_name"), fieldLastName: say("field.last_name"),
}

func profileField(f field, required bool) formField {
	out := formField{name: f.name, label: fieldLabels[f.name], kind: "text", required: required}
	switch f.name {
	case fieldEmail:
		out.kind, out.autocomplete = "email", "email"
	case fieldUsername:
		out.autocomplete = "username"
	case fieldFirstName:
		out.autocomplete = "given-name"
	case fieldLastName:
		out.autocomplete = "family-name"
	}
	return out
}

// data fills in a form with what was typed or what the account has.
func (p *pages) data(c *call, e *endpoint, value func(name string) string, refusal *Error) PageData {
	f := e.form
	l := c.loc
	d := PageData{Title: l.text(f.title), Intro: l.text(f.intro), Form: &PageForm{Action: p.realm.path + "/" + e.name + "/", Submit: l.text(f.submit)}}
	errs := map[string][]string{}
	if refusal != nil {
		for _, fe := range refusal.Fields {
			errs[fe.Field] = append(errs[fe.Field], l.refusal(fe.Code, fe.Params))
		}
		if len(refusal.Fields) == 0 {
			d.Errors = append(d.Errors, l.refusal(refusal.Code, refusal.Params))
		}
	}
	for _, ff := range f.fields {
		if ff.stale && (c.who == nil || !c.staleSignIn(c.who.Session)) {
			continue
		}
		field := PageField{Name: ff.name, Label: l.text(ff.label), Kind: ff.kind, Autocomplete: ff.autocomplete, Hint: l.text(ff.hint), Required: ff.required, Errors: errs[ff.name]}
		delete(errs, ff.name)
		if ff.kind != "password" {
			field.Value = value(ff.name)
		}
		d.Form.Fields = append(d.Form.Fields, field)
	}
	hidden := f.hidden
	for _, name := range append(slices.Clip(hidden), paramNext) {
		if v := value(name); v != "" {
			d.Form.Hidden = append(d.Form.Hidden, PageField{Name: name, Value: v})
		}
	}
	for _, ff := range []string{fieldNonField, paramUserID, paramTimestamp, paramSignature, paramEmail} {
		if len(errs[ff]) > 0 {
			d.Errors = append(d.Errors, l.refusal(CodeSignatureInvalid, nil))
			break
		}
	}
	for _, link := range f.links {
		d.Links = append(d.Links, pageLink{p.realm.withNext(link.href, c.next), l.text(link.text)})
	}
	return d
}

// get shows an endpoint's form. It changes nothing, however often a mail
// scanner asks.
func (p *pages) get(w http.ResponseWriter, c *call, e *endpoint) {
	query := c.req.URL.Query()
	c.next = p.realm.origins.safeNext(query.Get(paramNext))
	if e.signedIn && c.who == nil {
		http.Redirect(w, c.req, p.realm.withNext("/login/", p.realm.path+"/"+e.name+"/"), http.StatusFound)
		return
	}
	value := func(name string) string {
		switch {
		case name == paramNext:
			return c.next
		case e.name == "profile":
			if f, ok := fieldByName(name); ok {
				text, _ := f.get(c.who.User).(string)
				return text
			}
		case slices.Contains(e.form.hidden, name):
			return query.Get(name)
		}
		return ""
	}
	d := p.data(c, e, value, nil)
	if e.name == "sessions" {
		list, err := c.shownSessions()
		if err != nil {
			p.refusal(w, c.req, asRefusal(err))
			return
		}
		d.Form, d.Sessions = nil, pageSessions(list)
	}
	p.write(w, c, http.StatusOK, d)
}

func pageSessions(list []sessionShown) []PageSession {
	out := make([]PageSession, len(list))
	for i, s := range list {
		created, _ := s.Created.(string)
		used, _ := s.LastUsed.(string)
		out[i] = PageSession{ID: s.ID, Kind: s.Kind, Address: s.Address, UserAgent: s.UserAgent, Created: created, LastUsed: used, Current: s.Current}
	}
	return out
}

// failed shows the form again, with the errors next to their fields and what
// was typed, but never a password.
func (p *pages) failed(w http.ResponseWriter, c *call, e *endpoint, refusal *Error) {
	status := p.realm.errorHeaders(w, c.req, refusal)
	value := func(name string) string {
		if name == paramNext {
			return c.next
		}
		return c.in.text(name)
	}
	d := p.data(c, e, value, refusal)
	if refusal.Code == CodeSignatureExpired || refusal.Code == CodeSignatureInvalid {
		d.Form = nil // the button would only fail again; the links lead on
	}
	p.write(w, c, status, d)
}

// done answers a browser after an act: by a redirect, or with a page that says so.
func (p *pages) done(w http.ResponseWriter, c *call, e *endpoint, rep *reply) {
	if rep.seeOther != "" {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", rep.seeOther)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if rep.signedOut {
		c.who = nil
	}
	if e.name == "profile" {
		who := Principal{User: rep.user, Session: c.who.Session}
		c.who = &who
		d := p.data(c, e, func(name string) string {
			f, ok := fieldByName(name)
			if !ok {
				return ""
			}
			text, _ := f.get(rep.user).(string)
			return text
		}, nil)
		d.Note = c.loc.text(rep.detail)
		p.write(w, c, rep.status, d)
		return
	}
	d := PageData{Title: http.StatusText(rep.status), Note: c.loc.text(rep.detail)}
	if e.form != nil {
		d.Title = c.loc.text(e.form.title)
	}
	for _, link := range rep.links {
		d.Links = append(d.Links, pageLink{link.href, c.loc.text(link.text)})
	}
	p.write(w, c, rep.status, d)
}

// refusal shows an error that belongs to no form.
func (p *pages) refusal(w http.ResponseWriter, req *http.Request, e *Error) {
	status := p.realm.errorHeaders(w, req, e)
	l := p.realm.language(req)
	d := PageData{Title: l.status(status), Errors: []string{l.refusal(e.Code, e.Params)}}
	if status == http.StatusUnauthorized {
		d.Links = []pageLink{{p.realm.path + "/login/", l.text(say("link.login"))}}
	}
	p.write(w, &call{realm: p.realm, req: req, loc: l}, status, d)
}

func (p *pages) write(w http.ResponseWriter, c *call, status int, d PageData) {
	d.loc, d.Site, d.Style, d.Path = c.loc, p.realm.site(), p.styleURL, p.realm.path
	if c.who != nil {
		if d.SignedInAs = c.who.User.Username; d.SignedInAs == "" {
			d.SignedInAs = c.who.User.Email
		}
	}
	var out bytes.Buffer
	if err := p.template.Execute(&out, d); err != nil {
		// The template was checked when it was loaded; what can still fail is an
		// owner's own logic.
		p.realm.writeError(w, c.req, &Error{Code: CodeInternal, Cause: err})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.csp)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// The origin alone: a link's signature stays out of the Referer, which logs
	// keep, and forms still carry the Origin that the CSRF check needs.
	h.Set("Referrer-Policy", "strict-origin")
	inLanguage(w, c.loc)
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(status)
	if c.req.Method != http.MethodHead {
		_, _ = w.Write(out.Bytes())
	}
}

// withNext is the address of a page below the realm's path that remembers where
// the person wanted to go.
func (r *realm) withNext(page, next string) string {
	if next == "" {
		return r.path + page
	}
	return r.path + page + "?" + paramNext + "=" + url.QueryEscape(next)
}

// afterSignIn is where a browser goes once signed in.
func (r *realm) afterSignIn(next string) string {
	if next != "" {
		return next
	}
	return r.path + "/profile/"
}
