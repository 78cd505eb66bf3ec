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
	title, intro, submit string
	fields               []formField
	// hidden are taken from the query into hidden inputs: a mailed link.
	hidden []string
	links  []pageLink
}

// formField is one input of a form; PageField is what the template sees of it.
type formField struct {
	name, label, kind, autocomplete, hint string
	required                              bool
	// stale: only a sign-in of some time ago has to fill it in.
	stale bool
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
	Links  []pageLink
}

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
	sample := PageData{Form: &PageForm{Fields: []PageField{{Errors: []string{""}}}, Hidden: []PageField{{}}}, Errors: []string{""}, Links: []pageLink{{}}, SignedInAs: "x", Intro: "x", Note: "x"}
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
	newPassword := formField{name: "password", label: "New password", kind: "password", autocomplete: "new-password", required: true, hint: fmt.Sprintf("At least %d characters.", s.Password.MinLength)}
	again := formField{name: "password_confirm", label: "New password again", kind: "password", autocomplete: "new-password", required: true}
	login := formField{name: "login", label: loginLabel(s.User.LoginFields), kind: "text", autocomplete: "username", required: true}
	current := formField{name: paramPassword, label: "Current password", kind: "password", autocomplete: "current-password", required: true, stale: true, hint: "Because you signed in some time ago."}
	withConfirm := func(on bool, fields ...formField) []formField {
		if on {
			fields = append(fields, again)
		}
		return fields
	}
	link := []string{paramUserID, paramTimestamp, paramSignature}
	switch name {
	case "login":
		f := &form{title: "Sign in", submit: "Sign in", fields: []formField{login, {name: "password", label: "Password", kind: "password", autocomplete: "current-password", required: true}}}
		if *s.Register.Enabled {
			f.links = append(f.links, pageLink{"/register/", "Create an account"})
		}
		if *s.ResetPassword.Enabled {
			f.links = append(f.links, pageLink{"/send-reset-password-link/", "Forgot your password?"})
		}
		return f
	case "register":
		f := &form{title: "Create an account", submit: "Create account", links: []pageLink{{"/login/", "I have an account already"}}}
		a := Accounts{settings: s}
		fields, required := a.registerFields()
		for _, field := range fields {
			f.fields = append(f.fields, profileField(field, required[field.name] || field.name == fieldEmail && *s.Register.Verification))
		}
		pass := newPassword
		pass.label, again.label = "Password", "Password again"
		f.fields = append(f.fields, withConfirm(*s.Register.PasswordConfirm, pass)...)
		return f
	case "verify-registration":
		return &form{title: "Confirm your account", submit: "Confirm my account", intro: "One click, and your account is ready.", hidden: link, links: []pageLink{{"/resend-verification/", "Send the mail again"}}}
	case "resend-verification":
		return &form{title: "Send the mail again", submit: "Send the mail", fields: []formField{login}, links: []pageLink{{"/login/", "Sign in"}}}
	case "send-reset-password-link":
		if *s.ResetPassword.UseEmail {
			login = formField{name: "email", label: "E-mail address", kind: "email", autocomplete: "email", required: true}
		}
		return &form{title: "Forgot your password?", submit: "Send me a link", intro: "We send you a mail with a link to set a new one.", fields: []formField{login}, links: []pageLink{{"/login/", "Sign in"}}}
	case "reset-password":
		return &form{title: "Set a new password", submit: "Set the password", hidden: link, fields: withConfirm(*s.ResetPassword.PasswordConfirm, newPassword), links: []pageLink{{"/send-reset-password-link/", "Send me a new link"}}}
	case "profile":
		f := &form{title: "Your profile", submit: "Save", links: []pageLink{{"/change-password/", "Change the password"}, {"/register-email/", "Change the e-mail address"}}}
		a := Accounts{settings: s}
		fields, required := a.editableFields()
		for _, field := range fields {
			f.fields = append(f.fields, profileField(field, required[field.name]))
		}
		if slices.ContainsFunc(fields, func(f field) bool { return f.name == fieldEmail }) {
			current.required, current.hint = false, "Only needed to change the e-mail address."
			f.fields = append(f.fields, current)
		}
		return f
	case "change-password":
		return &form{title: "Change the password", submit: "Change the password", fields: withConfirm(*s.ChangePassword.PasswordConfirm, formField{name: "old_password", label: "Current password", kind: "password", autocomplete: "current-password", required: true}, newPassword), links: []pageLink{{"/profile/", "To your profile"}}}
	case "register-email":
		return &form{title: "Change the e-mail address", submit: "Change the address", fields: []formField{{name: "email", label: "New e-mail address", kind: "email", autocomplete: "email", required: true}, current}, links: []pageLink{{"/profile/", "To your profile"}}}
	case "verify-email":
		return &form{title: "Confirm your e-mail address", submit: "Confirm this address", hidden: append(link, paramEmail), links: []pageLink{{"/profile/", "To your profile"}}}
	case "logout":
		return &form{title: "Sign out", submit: "Sign out"}
	}
	return nil
}

func loginLabel(fields []string) string {
	var labels []string
	for _, name := range fields {
		labels = append(labels, fieldLabels[name])
	}
	return strings.Join(labels, " or ")
}

var fieldLabels = map[string]string{fieldUsername: "Username", fieldEmail: "E-mail address", fieldFirstName: "First name", fieldLastName: "Last name"}

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
	d := PageData{Title: f.title, Intro: f.intro, Form: &PageForm{Action: p.realm.path + "/" + e.name + "/", Submit: f.submit}}
	errs := map[string][]string{}
	if refusal != nil {
		for _, fe := range refusal.Fields {
			errs[fe.Field] = append(errs[fe.Field], message(fe.Code, fe.Params))
		}
		if len(refusal.Fields) == 0 {
			d.Errors = append(d.Errors, message(refusal.Code, refusal.Params))
		}
	}
	for _, ff := range f.fields {
		if ff.stale && (c.who == nil || !c.staleSignIn(c.who.Session)) {
			continue
		}
		field := PageField{Name: ff.name, Label: ff.label, Kind: ff.kind, Autocomplete: ff.autocomplete, Hint: ff.hint, Required: ff.required, Errors: errs[ff.name]}
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
			d.Errors = append(d.Errors, message(CodeSignatureInvalid, nil))
			break
		}
	}
	for _, l := range f.links {
		d.Links = append(d.Links, pageLink{p.realm.withNext(l.Href, c.next), l.Text})
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
	p.write(w, c, http.StatusOK, p.data(c, e, value, nil))
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
		d.Note = rep.detail
		p.write(w, c, rep.status, d)
		return
	}
	p.write(w, c, rep.status, PageData{Title: e.form.title, Note: rep.detail, Links: rep.links})
}

// refusal shows an error that belongs to no form.
func (p *pages) refusal(w http.ResponseWriter, req *http.Request, e *Error) {
	status := p.realm.errorHeaders(w, req, e)
	d := PageData{Title: http.StatusText(status), Errors: []string{message(e.Code, e.Params)}}
	if status == http.StatusUnauthorized {
		d.Links = []pageLink{{p.realm.path + "/login/", "Sign in"}}
	}
	p.write(w, &call{realm: p.realm, req: req}, status, d)
}

func (p *pages) write(w http.ResponseWriter, c *call, status int, d PageData) {
	d.Site, d.Style, d.Path = p.realm.site(), p.styleURL, p.realm.path
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
	h.Add("Vary", "Accept")
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
