// pages_forms.go: what each page asks for: its title, inputs, button and links,
// by the configuration.

package registration

import (
	"net/http"
	"slices"
)

// form is the page that an endpoint shows to a browser.
type form struct {
	title, intro, submit phrase
	fields               []formField
	// hidden are taken from the query into hidden inputs: a mailed link.
	hidden []string
	// links lead on; from a mailed link's page only where it no longer works.
	links []formLink
	// retry lead on besides from the page of a refused act, whatever the reason;
	// asked, from the page that says that a mail was asked for.
	retry, asked []formLink
	// instead answers in place of the page and returns true; nil: never.
	instead func(http.ResponseWriter, *call) bool
	// owned answers in place of the page of a good mailed link and returns true;
	// nil: never. owner is whose link it is.
	owned func(w http.ResponseWriter, c *call, owner *User) bool
	// refused does so where the act was refused.
	refused func(w http.ResponseWriter, c *call, refusal *Error) bool
	// kept: the mailed link may be in a cookie (keepLink).
	kept bool
	// value is what an input begins with; nil: nothing.
	value func(c *call, name string) string
	// complete adds what the page shows besides; nil: nothing. owner is whose
	// mailed link leads here, nil if none does.
	complete func(c *call, d *PageData, owner *User) error
	// after is where a browser goes after the act; nil: to the profile.
	after func(*call, *reply) afterAct
	// sent is the id of what a page that asks for a mail says once it has been
	// asked for; "": the page asks for none.
	sent string
}

// afterAct is where a browser goes after an act, and what it is told there.
type afterAct struct {
	// page names the endpoint whose page it is; "": the profile.
	page string
	// silent: the page says by itself what has been done.
	silent bool
	// asked: a mail was asked for. The page says so, and its button asks once
	// more with value as the input.
	asked        bool
	input, value string
	// next is where the person goes from there, unless he has said it himself.
	next string
}

// askedFor stays on the page that asks for a mail.
func askedFor(c *call, page string) afterAct {
	after := afterAct{page: page, asked: true}
	for _, name := range append([]string{"login", fieldEmail}, c.policy.LoginFields...) {
		if after.value = c.in.text(name); after.value != "" {
			after.input = name
			break
		}
	}
	return after
}

// formField is one input of a form; PageField is what the template sees of it.
type formField struct {
	name, kind              string
	autocomplete, inputMode string
	label, hint             phrase
	required                bool
	// verbatim: nothing may correct what is typed (names, addresses).
	verbatim bool
	// stale: only a sign-in of some time ago has to fill it in; foreign: only a
	// browser that did not sign up itself.
	stale, foreign bool
	minLength      int
	// options are the choices of a select.
	options []formOption
	// min, max and step are those of a number or a date.
	min, max, step string
}

// formOption is one choice of a select.
type formOption struct {
	value string
	label phrase
}

// formLink is a link of a page; PageLink is what the template sees of it.
type formLink struct {
	href string
	text phrase
}

// linkTo is a link to a page below the realm's path.
func linkTo(page string, text phrase) formLink { return formLink{page, text} }

// The kinds of inputs, as HTML names them.
const (
	kindInputText     = "text"
	kindInputEmail    = "email"
	kindInputPassword = "password"
	kindInputCheckbox = "checkbox"
	kindInputSelect   = "select"
)

const autocompleteUsername = "username"

// Links that several pages have.
var (
	linkToLogin   = formLink{"/login/", say("link.login")}
	linkToProfile = formLink{"/profile/", say("link.profile")}
	linkToResend  = formLink{"/resend-verification/", say("link.no_confirmation")}
)

// linkParams are what a mailed link carries; emailLinkParams, one about an address.
var (
	linkParams      = []string{paramUserID, paramTimestamp, paramSignature}
	emailLinkParams = append(slices.Clone(linkParams), paramEmail)
)

// loginField is the input that names an account.
func loginField(s *webOptions) formField {
	f := formField{name: "login", kind: kindInputText, autocomplete: autocompleteUsername, required: true, verbatim: true}
	login := s.Fields.login
	for i, field := range login {
		switch label := labelPhrase(field); {
		case i == 0:
			f.label = label
		case i == 1 && login[0].name == fieldEmail && field.name == fieldUsername:
			f.label = say("field.email_or_username")
		case i == 1 && login[0].name == fieldUsername && field.name == fieldEmail:
			f.label = say("field.username_or_email")
		default:
			f.label = say("field.either", Params{"one": f.label, "other": label})
		}
		switch {
		case field.kind == kindEmail && len(login) == 1:
			f.kind = kindInputEmail
		case field.kind == kindEmail:
			f.inputMode = kindInputEmail
		}
	}
	return f
}

// labelPhrase is what pages call a field.
func labelPhrase(f *field) phrase {
	if f.extra { // the owner's catalogue may have it in the reader's language
		return phrase{id: "field." + f.name, words: f.label}
	}
	return fieldLabels[f.name]
}

func emailField(label phrase) formField {
	return formField{name: fieldEmail, label: label, kind: kindInputEmail, autocomplete: "email", required: true, verbatim: true}
}

func currentPassword(name string, label phrase) formField {
	return formField{name: name, label: label, kind: kindInputPassword, autocomplete: "current-password", required: true}
}

// stalePassword is asked for where the sign-in was some time ago.
func stalePassword() formField {
	f := currentPassword(paramPassword, say("field.old_password"))
	f.stale, f.hint = true, say("hint.reauthenticate")
	return f
}

// newPasswordFields are the inputs of a new password, twice where so configured.
func newPasswordFields(s *webOptions, twice bool, label, again phrase) []formField {
	length := s.Validators.MinLength
	fields := []formField{{
		name: paramPassword, label: label, kind: kindInputPassword, autocomplete: "new-password", required: true,
		minLength: length, hint: say("hint.password_length", Params{"min": length}),
	}}
	if twice {
		fields = append(fields, formField{name: "password_confirm", label: again, kind: kindInputPassword, autocomplete: "new-password", required: true, minLength: length})
	}
	return fields
}

var fieldLabels = map[string]phrase{
	fieldUsername: say("field.username"), fieldEmail: say("field.email"),
	fieldFirstName: say("field.first_name"), fieldLastName: say("field.last_name"),
	fieldIsActive: say("field.is_active"), fieldIsStaff: say("field.is_staff"), fieldGroups: say("field.groups"),
	fieldDateJoined: say("field.date_joined"), fieldLastLogin: say("field.last_login"),
}

// profileField is the input of a field of an account.
func profileField(f *field, required bool) formField {
	out := formField{name: f.name, label: labelPhrase(f), kind: kindInputText, required: required}
	switch f.name {
	case fieldEmail:
		out = emailField(fieldLabels[fieldEmail])
		out.required = required
	case fieldUsername:
		out.autocomplete, out.verbatim = autocompleteUsername, true
	case fieldFirstName:
		out.autocomplete = "given-name"
	case fieldLastName:
		out.autocomplete = "family-name"
	default:
		out.addedField(f)
	}
	return out
}

// addedField sets the attributes for a field that the owner added. Its pattern
// is left out, because browsers read regular expressions of another kind, and
// so is its maximal length, beyond which they drop what is pasted.
func (ff *formField) addedField(f *field) {
	ff.minLength, ff.min, ff.max = f.minLength, textOf(f.min), textOf(f.max)
	switch f.kind {
	case kindEmail, kindURL:
		ff.kind, ff.verbatim = string(f.kind), true
	case kindInteger:
		ff.kind, ff.step = "number", "1"
	case kindNumber:
		ff.kind, ff.step = "number", "any"
	case kindDate:
		ff.kind = "date"
	case kindBoolean:
		// required would mean ticked, where the field only needs an answer, and
		// an unticked box is one.
		ff.kind, ff.required = kindInputCheckbox, false
	case kindChoice:
		ff.kind, ff.options = kindInputSelect, []formOption{{}}
		for _, choice := range f.choices {
			ff.options = append(ff.options, formOption{choice, phrase{words: choice}})
		}
	case kindText, kindUUID, kindTime, kindList:
	}
}
