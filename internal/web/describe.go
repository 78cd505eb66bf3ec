// describe.go: how an endpoint describes to the OpenAPI document what it takes
// and answers, and the inputs that several share.

package web

import (
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// An EndpointDoc describes an endpoint to a developer.
type EndpointDoc struct {
	Tag, Summary, Description string
	// Inputs are the members of the body.
	Inputs []InputDoc
	// InQuery says that a GET takes them, as parameters.
	InQuery bool
	// OneOf names inputs of which the body needs one.
	OneOf []string
	// Success is the status, answer the name of the schema of its body; Or, of another
	// that it can be, "": none.
	Success    int
	Answer, Or string
	// Codes are refusals that neither the row nor an input implies.
	Codes []refusal.Code
	// ReadCodes are such of a GET.
	ReadCodes []refusal.Code
	// Operation is the operationId; "": made of the name.
	Operation string
	// ContentType is that of the success; "": application/json.
	ContentType string
	// Hidden: to who may not, it is as if there were nothing.
	Hidden bool
	// SetsCookie: the answer sets or takes away the session cookie.
	SetsCookie bool
	// Answers, where it is not nil, are the answers but refusals, by their status.
	Answers func() Object
	// versioned: the answer has an ETag, and 304 to who has it already.
	versioned bool
}

// An InputDoc is one member of a body.
type InputDoc struct {
	Name     string
	Required bool
	schema   Object
}

// PasswordInput is a password, of a confirmation too.
func PasswordInput(name, description string) InputDoc {
	return InputDoc{name, true, Object{{"type", "string"}, {"format", "password"}, {"minLength", 1}, {"description", description}, {"examples", []any{exampleText(name)}}}}
}

// NewPasswordInputs are a new password, twice where it has to be confirmed.
func NewPasswordInputs(s *Options, confirm bool) []InputDoc {
	p := PasswordInput(account.ParamPassword, "The new password.")
	p.schema = p.schema.with("minLength", s.Validators.MinLength)
	if !confirm {
		return []InputDoc{p}
	}
	return []InputDoc{p, PasswordInput("password_confirm", "The same once more.")}
}

// SudoInputs are what a sign-in of some time ago brings besides, or one that has not
// shown the second step which the account has.
func SudoInputs() []InputDoc {
	return append([]InputDoc{
		{account.ParamPassword, false, PasswordInput(account.ParamPassword, "The current password; needed where the sign-in is older than `register_email.max_age`, and the account has no factor.").schema},
	}, FactorInputs()...)
}

// FactorInputs are those of SudoInputs that show a factor.
func FactorInputs() []InputDoc {
	return []InputDoc{
		{account.ParamTOTP, false, NewObject("type", "string", "description", "A code of the app; in place of `password` where the account has a factor.", "examples", []any{"287082"})},
		{account.ParamPasskey, false, PasskeyInput(false).schema},
	}
}

// The inputs of a challenge that asks for a factor.
var (
	TOTPInput     = InputDoc{account.ParamTOTP, false, NewObject("type", "string", "description", "The code that the app shows.", "examples", []any{"287082"})}
	TrustInput    = InputDoc{account.ParamTrustDevice, false, NewObject("type", "boolean", "description", "This browser, which keeps a cookie for it, is not asked for a factor again for a time, once a factor of the account was right (`trusted_device` in the settings). A recovery code trusts none.")}
	RecoveryInput = InputDoc{account.ParamRecovery, false, NewObject("type", "string", "description", "One of the recovery codes, in place of a factor. It is used up with that.", "examples", []any{"8K2M-4QXZ-71TD"})}
)

// PasskeyInput is a browser's answer to what a passkey was asked.
func PasskeyInput(required bool) InputDoc {
	return InputDoc{account.ParamPasskey, required, Object{
		{"type", []string{"object", "string"}},
		{"description", "The browser's answer: `toJSON()` of its PublicKeyCredential, or that as a text."},
		{"examples", []any{Object{{"id", "KEDetxZcUfinhVi6Za5nZQ"}, {"rawId", "KEDetxZcUfinhVi6Za5nZQ"}, {"type", "public-key"}, {"clientExtensionResults", Object{}}, {"response", Object{}}}}},
	}}
}

// InvitationInput is the token of an invitation.
var InvitationInput = InputDoc{sign.ParamInvitation, false, NewObject("type", "string", "description", "The token of an invitation, as its link has it. It gives the account its groups; one that names an address confirms it.")}

// ChallengeInput is the challenge that is answered.
var ChallengeInput = NewInput(account.ParamChallenge, true, NewObject("type", "string", "minLength", 1, "description", "As the sign-in gave it, within 5 minutes, or 10 where it asks for no factor; where a session is made, from the same browser, with the cookie that came with it."))

// ParamClosing is when an account will be gone, in a challenge for who has closed it.
const ParamClosing = "closing"

// KeepInput says that somebody keeps the account that he has closed.
var KeepInput = InputDoc{account.ParamKeep, false, NewObject("type", "boolean", "description", "`true` keeps the account, where the challenge says `closing`: its owner has closed it. Nobody signs in to it otherwise.")}

// TermsInput is the version of the terms to which somebody agrees. required: always.
func TermsInput(s *Options, required bool) InputDoc {
	return NewInput(account.ParamTerms, required, NewObject("type", "string", "const", s.Register.Terms, "description", "The version of the terms ("+s.TermsPage+"), once the person has agreed to it.", "examples", []any{s.Register.Terms}))
}

// NextInput is where the person wants to go in the end.
var NextInput = InputDoc{sign.ParamNext, false, Object{
	{"type", "string"}, {"description", "Where the person wanted to go; it travels in the mailed link. Ignored unless it leads to this site or a trusted origin."},
}}

// LinkInputs are parts of a mailed link.
func LinkInputs(names ...string) []InputDoc {
	list := make([]InputDoc, len(names))
	for i, name := range names {
		list[i] = InputDoc{name, true, linkSchemas[name]}
	}
	return list
}

// EmailInput is a new e-mail address.
func EmailInput() InputDoc {
	email, _ := field.Builtin(field.Email)
	return InputDoc{field.Email, true, inputSchema(email, true)}
}

// FieldInputs are fields of an account.
func FieldInputs(fields []*field.Field, required map[string]bool) []InputDoc {
	list := make([]InputDoc, len(fields))
	for i, f := range fields {
		list[i] = InputDoc{f.Name, required[f.Name], inputSchema(f, required[f.Name])}
	}
	return list
}

// AccountInputs take an account by `login` or by the own name of a field.
func AccountInputs(names ...string) (list []InputDoc, oneOf []string) {
	list = []InputDoc{{"login", false, Object{{"type", "string"}, {"maxLength", field.MaxLogin}, {"description", "The value of one of the login fields."}, {"examples", []any{"ada"}}}}}
	for _, name := range names {
		list = append(list, InputDoc{name, false, Object{{"type", "string"}, {"maxLength", field.MaxLogin}, {"description", "In place of `login`."}}})
	}
	return list, append([]string{"login"}, names...)
}

// Tags of the operations.
const (
	TagAccount   = "account"
	TagSignIn    = "sign-in"
	TagPassword  = "password"
	TagEmail     = "e-mail"
	TagFactors   = "factors"
	TagDocuments = "documents"
	TagOwner     = "owner"
)

// linkSchemas are the parts of a mailed link.
var linkSchemas = map[string]Object{
	sign.ParamUserID:    {{"type", "string"}, {"format", "uuid"}, {"examples", []any{ExampleID}}},
	sign.ParamEmail:     {{"type", "string"}, {"format", "email"}, {"examples", []any{"ada@example.com"}}},
	sign.ParamSignIn:    {{"type", "string"}, {"description", "What names the sign-in."}, {"examples", []any{ExampleID + "-0c5e8a1b7f20-0000000000000000"}}},
	sign.ParamFactor:    {{"type", "string"}, {"format", "uuid"}, {"description", "The id of the factor."}, {"examples", []any{ExampleID}}},
	sign.ParamTimestamp: {{"type", []string{"string", "integer"}}, {"description", "Unix seconds."}, {"examples", []any{"1764072000"}}},
	sign.ParamSignature: {{"type", "string"}, {"examples", []any{"3q2-7wOJ8sQ4m9yXcJt0p1bHk5uVnZaRfLgTeWiDoYs"}}},
}

// NewInput describes one member of a body.
func NewInput(name string, required bool, schema Object) InputDoc {
	return InputDoc{name, required, schema}
}

// ConfirmingCodes are the refusals of a mailed link that can confirm an account.
func ConfirmingCodes(o *Options) []refusal.Code {
	codes := []refusal.Code{refusal.CodeSignatureInvalid, refusal.CodeSignatureExpired}
	if o.LimitsDomains() {
		codes = append(codes, refusal.CodeDomainNotAllowed)
	}
	return codes
}

// AskForTerms adds the agreement to the terms, where the site has some. required: always.
func AskForTerms(s *Options, e *Endpoint, required bool) {
	if s.Register.Terms == "" {
		return
	}
	e.Doc.Codes = append(e.Doc.Codes, refusal.CodeTermsRequired)
	e.Doc.Inputs = append(e.Doc.Inputs, TermsInput(s, required))
	e.Form.Fields = append(e.Form.Fields, TermsField(s))
}

// AskForMore adds what the owner asks for besides the fields of an account.
func AskForMore(s *Options, e *Endpoint) {
	if s.LimitsDomains() {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeDomainNotAllowed)
		if len(s.Register.AllowDomains) > 0 && !s.Register.Verification { // with it the code is there
			e.Doc.Codes = append(e.Doc.Codes, refusal.CodeEmailRequired)
		}
	}
	if s.Register.Code != "" {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeSignUpCodeInvalid)
		e.Doc.Inputs = append(e.Doc.Inputs, NewInput(account.ParamCode, false, NewObject("type", "string", "minLength", 1, "description", "The word that the owner of the site tells people. Required, but with a good invitation.")))
		asked := codeField(account.ParamCode, text.Say("field.signup_code"))
		asked.Uninvited = true
		e.Form.Fields = append(e.Form.Fields, asked)
	}
	if why := s.Register.Reason; why != account.ReasonOff {
		required, says := why == account.ReasonRequired, "Why the person wants an account, for who approves it."
		if required {
			says += " Required, but with a good invitation."
		}
		e.Doc.Inputs = append(e.Doc.Inputs, NewInput(account.ParamReason, false, NewObject("type", "string", "maxLength", account.MaxReason, "description", says)))
		asked := LongField(account.ParamReason, text.Say("field.signup_reason"), required)
		asked.Uninvited = true
		e.Form.Fields = append(e.Form.Fields, asked)
	}
}
