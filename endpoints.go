// endpoints.go: what each endpoint takes and answers, for the OpenAPI document:
// the part of the contract that the row of an endpoint does not say already.

package registration

import (
	"net/http"
	"slices"
)

// An endpointDoc describes an endpoint to a developer.
type endpointDoc struct {
	tag, summary, description string
	// inputs are the members of the body.
	inputs []inputDoc
	// inQuery says that a GET takes them, as parameters.
	inQuery bool
	// oneOf names inputs of which the body needs one.
	oneOf []string
	// success is the status, answer the name of the schema of its body.
	success int
	answer  string
	// codes are refusals that neither the row nor an input implies.
	codes []Code
}

// An inputDoc is one member of a body.
type inputDoc struct {
	name     string
	required bool
	schema   object
}

// describe completes the row of an endpoint. Every endpoint needs a description;
// a test looks for it.
func (r *realm) describe(e *endpoint) {
	s := r.settings
	a := Accounts{settings: s}
	password := func(name, description string) inputDoc {
		return inputDoc{name, true, object{{"type", "string"}, {"format", "password"}, {"minLength", 1}, {"description", description}, {"examples", []any{exampleText(name)}}}}
	}
	newPassword := func(confirm bool) []inputDoc {
		p := password("password", "The new password.")
		p.schema = p.schema.with("minLength", s.Password.MinLength)
		if !confirm {
			return []inputDoc{p}
		}
		return []inputDoc{p, password("password_confirm", "The same once more.")}
	}
	current := inputDoc{paramPassword, false, password(paramPassword, "The current password; needed where the sign-in is older than `register_email.max_age`.").schema}
	next := inputDoc{paramNext, false, object{{"type", "string"}, {"description", "Where the person wanted to go; it travels in the mailed link. Ignored unless it leads to this site or a trusted origin."}}}
	link := func(names ...string) []inputDoc {
		list := make([]inputDoc, len(names))
		for i, name := range names {
			list[i] = inputDoc{name, true, linkSchemas[name]}
		}
		return list
	}
	fields := func(fields []*field, required map[string]bool) []inputDoc {
		list := make([]inputDoc, len(fields))
		for i, f := range fields {
			list[i] = inputDoc{f.name, required[f.name], f.inputSchema(required[f.name])}
		}
		return list
	}
	// identify takes an account by `login` or by the own name of a field.
	identify := func(names ...string) (list []inputDoc, oneOf []string) {
		list = []inputDoc{{"login", false, object{{"type", "string"}, {"description", "The value of one of the login fields."}, {"examples", []any{"ada"}}}}}
		for _, name := range names {
			list = append(list, inputDoc{name, false, object{{"type", "string"}, {"description", "In place of `login`."}}})
		}
		return list, append([]string{"login"}, names...)
	}
	d := endpointDoc{success: http.StatusOK, answer: schemaDetail}
	switch e.name {
	case "register":
		d.tag, d.summary, d.success, d.answer = tagAccount, "Create an account", http.StatusCreated, schemaProfile
		if *s.Register.Verification {
			d.description = "The account is inactive until the link in the mail to its address was followed."
			d.codes = []Code{CodeEmailRequired}
		}
		list, required := a.registerFields()
		d.inputs = append(append(fields(list, required), newPassword(*s.Register.PasswordConfirm)...), next)
		if *s.Register.Verification {
			for i := range d.inputs {
				d.inputs[i].required = d.inputs[i].required || d.inputs[i].name == fieldEmail
			}
		}
	case "verify-registration":
		d.tag, d.summary = tagAccount, "Confirm an account by what the mailed link carries"
		d.inputs = link(paramUserID, paramTimestamp, paramSignature)
		d.codes = []Code{CodeSignatureInvalid, CodeSignatureExpired}
		if *s.Register.AutoLogin {
			d.answer = schemaSignIn
		}
	case "resend-verification":
		d.tag, d.summary = tagAccount, "Send the mail that confirms an account again"
		d.description = "The answer does not tell whether there is such an account."
		names := append([]string{}, s.User.LoginFields...)
		if !slices.Contains(names, fieldEmail) {
			names = append(names, fieldEmail)
		}
		d.inputs, d.oneOf = identify(names...)
		d.inputs = append(d.inputs, next)
	case "login":
		d.tag, d.summary, d.answer = tagSignIn, "Sign in", schemaSignIn
		d.inputs, d.oneOf = identify(s.User.LoginFields...)
		d.inputs = append(d.inputs, password("password", "The account's password."))
		d.codes = []Code{CodeLoginInvalid}
	case "logout":
		d.tag, d.summary = tagSignIn, "Sign out"
		d.inputs = []inputDoc{{"revoke_token", false, object{{"type", "boolean"}, {"default", false}, {"description", "Ends the API token of this request or, by cookie, all tokens of the account."}}}}
		d.codes = []Code{CodeNoToken}
	case "profile":
		d.tag, d.summary, d.answer = tagAccount, "The account's profile", schemaProfile
		list, required := a.editableFields()
		d.inputs = fields(list, required)
		if slices.ContainsFunc(list, func(f *field) bool { return f.name == fieldEmail || required[f.name] && f.unique }) {
			d.inputs = append(d.inputs, current)
			d.codes = []Code{CodeThrottled}
		}
	case "change-password":
		d.tag, d.summary = tagPassword, "Change the password"
		d.description = "This session goes on under a new cookie; all others, and all other tokens, end."
		d.inputs = append([]inputDoc{password("old_password", "The current password.")}, newPassword(*s.ChangePassword.PasswordConfirm)...)
	case "send-reset-password-link":
		d.tag, d.summary = tagPassword, "Mail a link to set a new password"
		if *s.ResetPassword.UseEmail {
			email, _ := builtinField(fieldEmail)
			d.inputs = []inputDoc{{fieldEmail, true, email.inputSchema(true)}}
		} else {
			d.inputs, d.oneOf = identify(s.User.LoginFields...)
		}
		d.inputs = append(d.inputs, next)
		if *s.ResetPassword.FailWhenUserNotFound {
			d.codes = []Code{CodeUserNotFound}
		} else {
			d.description = "The answer does not tell whether there is such an account."
		}
	case "reset-password":
		d.tag, d.summary = tagPassword, "Set a new password by what the mailed link carries"
		d.description = "Every session and token of the account ends."
		d.inputs = append(link(paramUserID, paramTimestamp, paramSignature), newPassword(*s.ResetPassword.PasswordConfirm)...)
		d.codes = []Code{CodeSignatureInvalid, CodeSignatureExpired}
	case "register-email":
		d.tag, d.summary = tagEmail, "Change the e-mail address"
		email, _ := builtinField(fieldEmail)
		d.inputs = []inputDoc{{fieldEmail, true, email.inputSchema(true)}, current, next}
		if *s.RegisterEmail.Verification {
			d.description = "It changes once the link in the mail to the new address was followed."
		} else {
			d.codes = []Code{CodeEmailAlreadyRegistered, CodeThrottled}
		}
	case "verify-email":
		d.tag, d.summary = tagEmail, "Confirm the new e-mail address by what the mailed link carries"
		d.inputs = link(paramUserID, paramEmail, paramTimestamp, paramSignature)
		d.codes = []Code{CodeSignatureInvalid, CodeSignatureExpired, CodeEmailAlreadyRegistered, CodeThrottled}
	case "undo-email":
		d.tag, d.summary = tagEmail, "Take the old e-mail address back by what the mailed link carries"
		d.description = "Everybody is signed out of the account."
		d.inputs = link(paramUserID, paramEmail, paramTimestamp, paramSignature)
		d.codes = []Code{CodeSignatureInvalid, CodeSignatureExpired, CodeEmailAlreadyRegistered}
	case "sessions":
		d.tag, d.summary, d.answer = tagSignIn, "Where the account is signed in", schemaSessions
		d.description = "The latest used first, 50 a page. An account has a bounded number of sessions and tokens; beyond it the least recently used ends."
		d.inQuery, d.inputs = true, []inputDoc{{paramPage, false, object{{"type", "integer"}, {"minimum", 1}, {"default", 1}, {"description", "Behind the last page the list is empty."}}}}
	case "revoke-session":
		d.tag, d.summary = tagSignIn, "End one sign-in, or all others"
		d.inputs = []inputDoc{
			{paramSession, false, object{{"type", "string"}, {"description", "Of a sign-in in the list."}, {"examples", []any{"kPq3mX0bSx2yCkAQo1sI7w"}}}},
			{paramOthers, false, object{{"type", "boolean"}, {"description", "Ends all but the one that asks."}}},
		}
		d.oneOf = []string{paramSession, paramOthers}
		d.codes = []Code{CodeSessionNotFound}
	case "refresh-token":
		d.tag, d.summary, d.answer = tagSignIn, "Exchange a refresh token for the next pair of tokens", schemaTokens
		d.description = "Each refresh token is good once. A second use within 10 seconds is 409; a later one ends the sign-in."
		d.inputs = []inputDoc{{paramRefreshToken, true, object{{"type", "string"}, {"minLength", 1}}}}
		d.codes = []Code{CodeTokenInvalid, CodeTokenReused, CodeRefreshConflict}
	case jwksName:
		d.tag, d.summary, d.answer = tagDocuments, "The public keys of the access tokens (RFC 7517)", schemaJWKS
	case openAPIName:
		d.tag, d.summary, d.answer = tagDocuments, "This document", schemaOpenAPI
	default:
		d.success = 0
	}
	e.doc = d
}

// Tags of the operations.
const (
	tagAccount   = "account"
	tagSignIn    = "sign-in"
	tagPassword  = "password"
	tagEmail     = "e-mail"
	tagDocuments = "documents"
)

// linkSchemas are the parts of a mailed link.
var linkSchemas = map[string]object{
	paramUserID:    {{"type", "string"}, {"format", "uuid"}, {"examples", []any{exampleID}}},
	paramEmail:     {{"type", "string"}, {"format", "email"}, {"examples", []any{"ada@example.com"}}},
	paramTimestamp: {{"type", []string{"string", "integer"}}, {"description", "Unix seconds."}, {"examples", []any{"1764072000"}}},
	paramSignature: {{"type", "string"}, {"examples", []any{"3q2-7wOJ8sQ4m9yXcJt0p1bHk5uVnZaRfLgTeWiDoYs"}}},
}
