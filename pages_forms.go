// pages_forms.go: what each page asks for: its title, inputs, button and links,
// by the configuration.

package registration

import (
	"slices"
)

// form is the page that an endpoint shows to a browser.
type form struct {
	title, intro, submit phrase
	fields               []formField
	// hidden are taken from the query into hidden inputs: a mailed link.
	hidden []string
	// purpose is that of the mailed link which leads here; "": none does.
	purpose Purpose
	// links lead on; from a mailed link's page only where it no longer works.
	links []formLink
}

// formField is one input of a form; PageField is what the template sees of it.
type formField struct {
	name, kind              string
	autocomplete, inputMode string
	label, hint             phrase
	required                bool
	// verbatim: nothing may correct what is typed (names, addresses).
	verbatim bool
	// stale: only a sign-in of some time ago has to fill it in.
	stale     bool
	minLength int
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

// The kinds of inputs, as HTML names them.
const (
	kindInputText     = "text"
	kindInputEmail    = "email"
	kindInputPassword = "password"
	kindInputCheckbox = "checkbox"
	kindInputSelect   = "select"
)

const autocompleteUsername = "username"

// form returns the page of an endpoint, nil if it has none.
func (p *pages) form(name string) *form {
	s := p.realm.settings
	toLogin, toProfile := formLink{"/login/", say("link.login")}, formLink{"/profile/", say("link.profile")}
	link := []string{paramUserID, paramTimestamp, paramSignature}
	switch name {
	case "login":
		f := &form{title: say("page.login.title"), submit: say("page.login.submit"), fields: []formField{p.loginField(), currentPassword(paramPassword, say("field.password"))}}
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
		if !slices.ContainsFunc(f.fields, func(f formField) bool { return f.autocomplete == autocompleteUsername }) {
			for i := range f.fields { // the address is what the password is kept under
				if f.fields[i].name == fieldEmail {
					f.fields[i].autocomplete = autocompleteUsername
				}
			}
		}
		f.fields = append(f.fields, p.newPassword(*s.Register.PasswordConfirm, say("field.password"), say("field.password_confirm"))...)
		return f
	case "verify-registration":
		return &form{
			title: say("page.verify_registration.title"), submit: say("page.verify_registration.submit"), intro: say("page.verify_registration.intro"),
			hidden: link, purpose: PurposeRegister, links: []formLink{{"/resend-verification/", say("link.resend_verification")}, toLogin},
		}
	case "resend-verification":
		return &form{title: say("page.resend_verification.title"), submit: say("page.resend_verification.submit"), fields: []formField{p.loginField()}, links: []formLink{toLogin}}
	case "send-reset-password-link":
		login := p.loginField()
		if *s.ResetPassword.UseEmail {
			login = emailField(say("field.email"))
		}
		return &form{title: say("page.send_reset_password_link.title"), submit: say("page.send_reset_password_link.submit"), intro: say("page.send_reset_password_link.intro"), fields: []formField{login}, links: []formLink{toLogin}}
	case "reset-password":
		return &form{
			title: say("page.reset_password.title"), submit: say("page.reset_password.submit"),
			fields: p.newPassword(*s.ResetPassword.PasswordConfirm, say("field.new_password"), say("field.new_password_confirm")),
			hidden: link, purpose: PurposeResetPassword, links: []formLink{{"/send-reset-password-link/", say("link.new_reset_link")}, toLogin},
		}
	case "profile":
		return p.profileForm()
	case "change-password":
		fields := []formField{currentPassword("old_password", say("field.old_password"))}
		return &form{
			title: say("page.change_password.title"), submit: say("page.change_password.submit"), links: []formLink{toProfile},
			fields: append(fields, p.newPassword(*s.ChangePassword.PasswordConfirm, say("field.new_password"), say("field.new_password_confirm"))...),
		}
	case "register-email":
		return &form{title: say("page.register_email.title"), submit: say("page.register_email.submit"), fields: []formField{emailField(say("field.new_email")), stalePassword()}, links: []formLink{toProfile}}
	case "verify-email":
		return &form{
			title: say("page.verify_email.title"), submit: say("page.verify_email.submit"), intro: say("page.verify_email.intro"),
			hidden: append(link, paramEmail), purpose: PurposeRegisterEmail, links: []formLink{{"/register-email/", say("link.change_email")}, toProfile},
		}
	case "undo-email":
		f := &form{
			title: say("page.undo_email.title"), submit: say("page.undo_email.submit"), intro: say("page.undo_email.intro"),
			hidden: append(link, paramEmail), purpose: PurposeUndoEmail, links: []formLink{toLogin},
		}
		if *s.ResetPassword.Enabled {
			f.links = append(f.links, formLink{"/send-reset-password-link/", say("link.forgot_password")})
		}
		return f
	case "sessions":
		return &form{title: say("page.sessions.title"), links: []formLink{toProfile}}
	case "logout":
		return &form{title: say("page.logout.title"), submit: say("page.logout.submit"), links: []formLink{toProfile}}
	}
	return nil
}

// profileForm has the editable fields; the page shows the other public ones as
// they are. There is no button where there is nothing to save.
func (p *pages) profileForm() *form {
	f := &form{title: say("page.profile.title"), submit: say("page.profile.submit"), links: []formLink{{"/change-password/", say("link.change_password")}}}
	a := Accounts{settings: p.realm.settings}
	fields, required := a.editableFields()
	for _, field := range fields {
		f.fields = append(f.fields, profileField(field, required[field.name]))
	}
	if slices.ContainsFunc(fields, a.guarded) {
		pass := stalePassword()
		pass.required, pass.hint = false, say("hint.password_for_login")
		f.fields = append(f.fields, pass)
	}
	if !slices.ContainsFunc(fields, func(f *field) bool { return f.name == fieldEmail }) {
		f.links = append(f.links, formLink{"/register-email/", say("link.change_email")})
	}
	f.links = append(f.links, formLink{"/sessions/", say("link.sessions")})
	return f
}

// loginField is the input that names an account.
func (p *pages) loginField() formField {
	f := formField{name: "login", kind: kindInputText, autocomplete: autocompleteUsername, required: true, verbatim: true}
	login := p.realm.settings.fields.login
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

// newPassword are the inputs of a new password, twice where so configured.
func (p *pages) newPassword(twice bool, label, again phrase) []formField {
	length := p.realm.settings.Password.MinLength
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
