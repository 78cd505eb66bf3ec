// pages_forms.go: what each page asks for: its title, inputs, button and links,
// by the configuration.

package web

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Form is the page that an endpoint shows to a browser.
type Form struct {
	Title, Intro, Submit text.Phrase
	Fields               []FormField
	// Hidden are taken from the query into hidden inputs: a mailed link.
	Hidden []string
	// Links lead on; from a mailed link's page only where it no longer works (see waysOn).
	Links []FormLink
	// Retry lead on besides from the page of a refused act, whatever the reason;
	// asked, from the page that says that a mail was asked for.
	Retry, Asked []FormLink
	// Instead answers in place of the page and returns true; nil: never.
	Instead func(http.ResponseWriter, *Call) bool
	// Owned answers in place of the page of a good mailed link and returns true;
	// nil: never. owner is whose link it is.
	Owned func(w http.ResponseWriter, c *Call, owner *store.User) bool
	// Refused does so where the act was refused.
	Refused func(w http.ResponseWriter, c *Call, refusal *refusal.Error) bool
	// Used says what a mailed link has done that is opened or pressed again, and leads
	// on besides the sign-in; nil: it can't be used up. owner is on whom it acted.
	Used func(c *Call, owner *store.User) (text.Phrase, []FormLink)
	// Kept: the mailed link may be in a cookie (keepLink).
	Kept bool
	// Value is what an input begins with; nil: nothing.
	Value func(c *Call, name string) string
	// Closed says why the endpoint is off; zero: it is like one that there is not.
	Closed text.Phrase
	// Complete adds what the page shows besides; nil: nothing. owner is whose
	// mailed link leads here, nil if none does.
	Complete func(c *Call, d *PageData, owner *store.User) error
	// ToItself: the form goes to the address of its page, whatever that is. So the
	// browser keeps the address's fragment, which it tells nobody, over the act and the
	// redirects after it.
	ToItself bool
	// After is where a browser goes after the act; nil: to the profile.
	After func(*Call, *Reply) AfterAct
	// Sent is the id of what a page that asks for a mail says once it has been
	// asked for; "": the page asks for none.
	Sent string
	// Confirms: that mail confirms an account. The browser that has signed up is told more.
	Confirms bool
}

// AfterAct is where a browser goes after an act, and what it is told there.
type AfterAct struct {
	// Page names the endpoint whose page it is; "": the profile.
	Page string
	// Silent: the page says by itself what has been done.
	Silent bool
	// Asked: a mail was asked for. The page says so, and its button asks once
	// more with value as the input.
	Asked        bool
	Input, Value string
	// Next is where the person goes from there, unless he has said it himself.
	Next string
}

// AskedFor stays on the page that asks for a mail.
func AskedFor(c *Call, page string) AfterAct {
	after := AfterAct{Page: page, Asked: true}
	for _, name := range append([]string{"login", field.Email}, c.Policy.LoginFields...) {
		if after.Value = c.In.Text(name); after.Value != "" {
			after.Input = name
			break
		}
	}
	return after
}

// FormField is one input of a form; PageField is what the template sees of it.
type FormField struct {
	Name, kind              string
	Autocomplete, inputMode string
	label, Hint             text.Phrase
	Required                bool
	// verbatim: nothing may correct what is typed (names, addresses).
	verbatim bool
	// sudo: only a sign-in has to fill it in that has not shown as much a short while ago
	// (account.SudoAsks); enrols: the form adds a factor. Foreign: only a browser that did
	// not sign up itself.
	sudo, enrols, Foreign bool
	// Rules are told besides Hint, before anything is typed.
	Rules []text.Phrase
	// rated: a new password, of which the page says whether it is long enough; digits alone
	// are refused where there is something to say of them.
	rated  bool
	digits text.Phrase
	// again: it repeats the password.
	again bool
	// once: what was typed is not shown again.
	once bool
	// linked: the label may have links.
	linked bool
	// Uninvited: who has a good invitation doesn't have to fill it in.
	Uninvited bool
	minLength int
	// sends is what a ticked box sends; "": true.
	sends string
	// more is a link that tells more than the label.
	more FormLink
	// options are the choices of a select.
	options []formOption
}

// formOption is one choice of a select.
type formOption struct {
	value string
	label text.Phrase
}

// FormLink is a link of a page; PageLink is what the template sees of it.
type FormLink struct {
	href string
	text text.Phrase
}

// LinkTo is a link to a page below the realm's path.
func LinkTo(page string, text text.Phrase) FormLink { return FormLink{page, text} }

// The kinds of inputs, as HTML names them.
const (
	kindInputText     = "text"
	kindInputEmail    = "email"
	kindInputURL      = "url"
	kindInputPassword = "password"
	kindInputCheckbox = "checkbox"
	kindInputSelect   = "select"
	kindInputLong     = "textarea"
	kindInputDate     = "date"
)

// AutocompleteUsername tells a browser which input its password manager knows people by.
const AutocompleteUsername = "username"

// Links that several pages have.
var (
	LinkToLogin   = FormLink{"/login/", text.Say("link.login")}
	LinkToProfile = FormLink{"/profile/", text.Say("link.profile")}
	LinkToResend  = FormLink{"/resend-verification/", text.Say("link.no_confirmation")}
)

// LinkParams are what a mailed link carries; EmailLinkParams, one about an address.
var (
	LinkParams      = []string{sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature}
	EmailLinkParams = append(slices.Clone(LinkParams), sign.ParamEmail)
)

// LoginField is the input that names an account.
func LoginField(s *Options) FormField {
	f := FormField{Name: "login", kind: kindInputText, Autocomplete: AutocompleteUsername, Required: true, verbatim: true}
	login := s.Fields.Login
	for i, fld := range login {
		switch label := labelPhrase(fld); {
		case i == 0:
			f.label = label
		case i == 1 && login[0].Name == field.Email && fld.Name == field.Username:
			f.label = text.Say("field.email_or_username")
		case i == 1 && login[0].Name == field.Username && fld.Name == field.Email:
			f.label = text.Say("field.username_or_email")
		default:
			f.label = text.Say("field.either", text.Params{"one": f.label, "other": label})
		}
		switch {
		case fld.Kind == field.KindEmail && len(login) == 1:
			f.kind = kindInputEmail
		case fld.Kind == field.KindEmail:
			f.inputMode = kindInputEmail
		}
	}
	return f
}

// labelPhrase is what pages call a field.
func labelPhrase(f *field.Field) text.Phrase {
	if f.Extra { // the owner's catalogue may have it in the reader's language
		return text.Phrase{Id: "field." + f.Name, Words: f.Label}
	}
	return fieldLabels[f.Name]
}

// EmailField asks for an address, which must not be missing.
func EmailField(label text.Phrase) FormField {
	return FormField{Name: field.Email, label: label, kind: kindInputEmail, Autocomplete: "email", Required: true, verbatim: true}
}

// CurrentPassword asks for the password that an account has; browsers fill it in.
func CurrentPassword(name string, label text.Phrase) FormField {
	return FormField{Name: name, label: label, kind: kindInputPassword, Autocomplete: "current-password", Required: true}
}

// codeField asks for a word that people were told.
func codeField(name string, label text.Phrase) FormField {
	return FormField{Name: name, label: label, kind: kindInputText, Autocomplete: "off", Required: true, verbatim: true}
}

// TermsField asks for the agreement to the terms, by a box that sends their version.
func TermsField(s *Options) FormField {
	return FormField{
		Name: account.ParamTerms, label: text.Say("field.terms"), kind: kindInputCheckbox, Required: true,
		sends: s.Register.Terms, more: FormLink{s.TermsPage, text.Say("link.terms")},
	}
}

// TrustField asks whether a browser is not to be asked for a factor again for a time.
func TrustField(s *Options) FormField {
	return FormField{
		Name: account.ParamTrustDevice, label: text.Say("field.trust_device", text.Params{"period": text.InWords(s.Factors.Trusted)}), kind: kindInputCheckbox,
	}
}

// TextField asks for a line of text.
func TextField(name string, label text.Phrase, required bool) FormField {
	return FormField{Name: name, label: label, kind: kindInputText, Autocomplete: "off", Required: required, verbatim: true}
}

// ChoiceField asks for one of some values, each with its label.
func ChoiceField(name string, label text.Phrase, values []string, labels []text.Phrase) FormField {
	f := FormField{Name: name, label: label, kind: kindInputSelect, Required: true}
	for i, value := range values {
		f.options = append(f.options, formOption{value, labels[i]})
	}
	return f
}

// NumberField asks for a whole number that is not negative.
func NumberField(name string, label text.Phrase) FormField {
	return FormField{Name: name, label: label, kind: kindInputText, inputMode: "numeric", Autocomplete: "off", Required: true, verbatim: true}
}

// BoxField asks for a yes.
func BoxField(name string, label text.Phrase) FormField {
	return FormField{Name: name, label: label, kind: kindInputCheckbox}
}

// RecoveryField asks for a recovery code.
func RecoveryField() FormField {
	f := codeField(account.ParamRecovery, text.Say("field.recovery_code"))
	f.once = true
	return f
}

// MailCodeField asks for a code that was mailed.
func MailCodeField() FormField {
	f := TOTPField(account.ParamMailCode)
	f.label = text.Say("field.login_code")
	return f
}

// LongField asks for some sentences.
func LongField(name string, label text.Phrase, required bool) FormField {
	return FormField{Name: name, label: label, kind: kindInputLong, Required: required}
}

// SudoFields ask who changes what the account hangs on to show once more who he is: by
// the password, or by a factor where there is one. enrols: the form adds a factor.
func SudoFields(enrols bool) []FormField {
	pass := CurrentPassword(account.ParamPassword, text.Say("field.old_password"))
	pass.Hint = text.Say("hint.reauthenticate")
	fields := []FormField{pass, SudoCode()}
	for i := range fields {
		fields[i].sudo, fields[i].enrols = true, enrols
	}
	return fields
}

// SudoCode is the one of SudoFields that asks for a factor, for a form in which the password
// is another matter.
func SudoCode() FormField {
	f := TOTPField(account.ParamTOTP)
	f.Hint, f.sudo = text.Say("hint.reauthenticate_totp"), true
	return f
}

// asksSudo reports whether a field of SudoFields is to be filled in.
func (c *Call) asksSudo(f FormField) bool {
	return c.Who != nil && c.SudoAsks(c.Who.User, c.Who.Session, f.enrols) == f.Name
}

// TOTPField asks for the code that an app shows.
func TOTPField(name string) FormField {
	return FormField{Name: name, label: text.Say("field.totp"), kind: kindInputText, Autocomplete: "one-time-code", inputMode: "numeric", Required: true, verbatim: true, once: true}
}

// DateField asks for a day.
func DateField(name string, label text.Phrase) FormField {
	return FormField{Name: name, label: label, kind: kindInputDate, Autocomplete: "off"}
}

// NameField asks what something is to be called.
func NameField(name string, label text.Phrase) FormField {
	return FormField{Name: name, label: label, kind: kindInputText, Autocomplete: "off"}
}

// NewPasswordFields are the inputs of a new password, twice where so configured.
func NewPasswordFields(s *Options, twice bool, label, again text.Phrase) []FormField {
	rules := s.Validators
	length := rules.MinLength
	first := FormField{Name: account.ParamPassword, label: label, kind: kindInputPassword, Autocomplete: "new-password", Required: true, minLength: length, rated: true}
	if length > 0 {
		first.Hint = text.Say("hint.password_length", text.Params{"min": length})
	}
	if rules.Numeric {
		first.Rules, first.digits = append(first.Rules, text.Say("hint.password_numeric")), text.Say("hint.password_numeric")
	}
	if rules.Common || rules.Similar {
		first.Rules = append(first.Rules, text.Say("hint.password_guess"))
	}
	fields := []FormField{first}
	if twice {
		fields = append(fields, FormField{Name: "password_confirm", again: true, label: again, kind: kindInputPassword, Autocomplete: "new-password", Required: true, minLength: length})
	}
	return fields
}

var fieldLabels = map[string]text.Phrase{
	field.Username: text.Say("field.username"), field.Email: text.Say("field.email"),
	field.FirstName: text.Say("field.first_name"), field.LastName: text.Say("field.last_name"),
	field.IsActive: text.Say("field.is_active"), field.IsStaff: text.Say("field.is_staff"), field.Groups: text.Say("field.groups"),
	field.DateJoined: text.Say("field.date_joined"), field.LastLogin: text.Say("field.last_login"), field.Language: text.Say("field.language"),
}

// ProfileField is the input of a field of an account.
func ProfileField(f *field.Field, required bool) FormField {
	out := FormField{Name: f.Name, label: labelPhrase(f), kind: kindInputText, Required: required}
	switch f.Name {
	case field.Email:
		out = EmailField(fieldLabels[field.Email])
		out.Required = required
	case field.Username:
		out.Autocomplete, out.verbatim, out.Hint = AutocompleteUsername, true, text.Say("hint.username")
	case field.FirstName:
		out.Autocomplete = "given-name"
	case field.LastName:
		out.Autocomplete = "family-name"
	case field.Language:
		out.languageField(f)
	default:
		out.addedField(f)
	}
	return out
}

// addedField sets the attributes for a field that the owner added. Its pattern
// is left out, because browsers read regular expressions of another kind, and
// so is its maximal length, beyond which they drop what is pasted.
func (ff *FormField) addedField(f *field.Field) {
	if f.Once {
		ff.Hint = text.Say("hint.once")
	}
	ff.minLength = f.MinLength
	switch f.Kind {
	case field.KindEmail, field.KindURL:
		ff.kind, ff.verbatim = string(f.Kind), true
	// Of an input for numbers, a browser sends nothing where something else was typed.
	case field.KindInteger, field.KindNumber:
		ff.verbatim, ff.inputMode, ff.Autocomplete = true, inputModeOf(f), "off"
	case field.KindDate:
		ff.kind = kindInputDate
	case field.KindBoolean:
		ff.kind, ff.linked = kindInputCheckbox, true // required means ticked
		if f.Once {
			ff.Hint = text.Say("hint.once_box")
		}
	case field.KindChoice:
		ff.kind, ff.options = kindInputSelect, []formOption{{}}
		for _, choice := range f.Choices {
			ff.options = append(ff.options, formOption{choice, text.Phrase{Words: choice}})
		}
	case field.KindText, field.KindUUID, field.KindTime, field.KindList:
	}
}

// inputModeOf is the keyboard that a phone shows for a number. Not every one of digits has
// the sign.
func inputModeOf(f *field.Field) string {
	switch {
	case f.Min == nil || strings.HasPrefix(field.TextOf(f.Min), "-"):
		return kindInputText
	case f.Kind == field.KindNumber:
		return "decimal"
	}
	return "numeric"
}

// LetStay takes off the form what would keep a browser from sending back what the
// account has: rules may have come after it.
func LetStay(c *Call, d *PageData, u *store.User) {
	for i := range d.Form.Fields {
		ff := &d.Form.Fields[i]
		f, ok := c.Policy.Fields.ByName[ff.Name]
		if !ok {
			continue
		}
		have := field.TextOf(f.Get(u))
		if have == "" || f.Get(u) == false {
			ff.Required = false
			continue
		}
		if utf8.RuneCountInString(have) < ff.MinLength {
			ff.MinLength = 0
		}
		switch f.Kind {
		case field.KindEmail, field.KindURL:
			if !f.Owns(have) {
				ff.Kind = kindInputText
			}
		case field.KindChoice:
			if !slices.Contains(f.Choices, have) {
				chosen := slices.ContainsFunc(ff.Options, func(o PageOption) bool { return o.Selected })
				ff.Options = append(ff.Options, PageOption{have, have, !chosen})
			}
		default:
		}
	}
}

// Blocked is the page of an endpoint that has no form for who asks: it says why, and
// whom to ask.
func (p *pages) Blocked(w http.ResponseWriter, c *Call, e *Endpoint, refused *refusal.Error, why ...text.Phrase) {
	status := p.realm.errorHeaders(w, c.Req, refused)
	d := PageData{Page: e.Name, Title: c.Loc.Text(e.Form.Title), Links: p.realm.LinkToContact(c.Loc)}
	for _, phrase := range why {
		d.Text = append(d.Text, c.Loc.Text(phrase))
	}
	for _, link := range e.Form.Links {
		d.Links = append(d.Links, PageLink{p.realm.WithNext(link.href, c.Next), c.Loc.Text(link.text)})
	}
	if p.realm.Options.Contact != "" {
		d.Action, d.Links = &d.Links[0], d.Links[1:]
	}
	p.Write(w, c, status, d)
}

// noWayOn are refusals that nobody can fix who is refused.
var noWayOn = []refusal.Code{refusal.CodeDisabled, refusal.CodeApprovalPending, refusal.CodeOIDCFailed}

// LinksTo are links of a form as its page has them.
func (c *Call) LinksTo(of []FormLink) []PageLink { return c.Realm.Pages.links(c, of) }

// LinkToContact leads to whom people can ask, if there is somebody.
func (r *Realm) LinkToContact(l *text.Locale) []PageLink {
	if r.Options.Contact == "" {
		return nil
	}
	return []PageLink{{r.Options.Contact, l.Text(text.Say("link.contact"))}}
}

// waysOn are the links below an endpoint's form: below that of a mailed link one that leaves
// all as it is.
func (p *pages) waysOn(c *Call, e *Endpoint) []PageLink {
	switch {
	case e.Mailed.Purpose == "":
		return p.links(c, e.Form.Links)
	case c.Who != nil:
		return p.links(c, []FormLink{LinkToProfile})
	}
	return []PageLink{{p.realm.home(), c.Loc.Text(text.Say("link.home"))}}
}

// waysOut are links besides from the page of an act that was refused.
func (p *pages) waysOut(c *Call, e *Endpoint, refused *refusal.Error) []PageLink {
	out := p.links(c, e.Form.Retry)
	switch {
	case refused.Code == refusal.CodeLastAdmin: // there he makes another
		out = append(out, PageLink{p.realm.Address("/" + OwnerPath + "/"), c.Loc.Text(text.Say("link.admin"))})
	case slices.Contains(noWayOn, refused.Code) || slices.ContainsFunc(refused.Fields, notLetIn):
		out = append(out, p.realm.LinkToContact(c.Loc)...)
	}
	return out
}

// notLetIn reports a refusal of whom the owner may let in all the same.
func notLetIn(e refusal.FieldError) bool { return e.Code == refusal.CodeDomainNotAllowed }

// WithoutField takes an input off a page's form.
func WithoutField(d *PageData, name string) {
	d.Form.Fields = slices.DeleteFunc(d.Form.Fields, func(f PageField) bool { return f.Name == name })
}
