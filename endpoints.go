// endpoints.go: how an endpoint describes to the OpenAPI document what it takes
// and answers, and the inputs that several share.

package registration

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
	// operation is the operationId; "": made of the name.
	operation string
	// contentType is that of the success; "": application/json.
	contentType string
	// setsCookie: the answer sets or takes away the session cookie.
	setsCookie bool
	// versioned: the answer has an ETag, and 304 to who has it already.
	versioned bool
}

// An inputDoc is one member of a body.
type inputDoc struct {
	name     string
	required bool
	schema   object
}

// passwordInput is a password, of a confirmation too.
func passwordInput(name, description string) inputDoc {
	return inputDoc{name, true, object{{"type", "string"}, {"format", "password"}, {"minLength", 1}, {"description", description}, {"examples", []any{exampleText(name)}}}}
}

// newPasswordInputs are a new password, twice where it has to be confirmed.
func newPasswordInputs(s *webOptions, confirm bool) []inputDoc {
	p := passwordInput(paramPassword, "The new password.")
	p.schema = p.schema.with("minLength", s.Validators.MinLength)
	if !confirm {
		return []inputDoc{p}
	}
	return []inputDoc{p, passwordInput("password_confirm", "The same once more.")}
}

// currentPasswordInput is what a sign-in of some time ago brings besides.
var currentPasswordInput = inputDoc{
	paramPassword, false, passwordInput(paramPassword, "The current password; needed where the sign-in is older than `register_email.max_age`.").schema,
}

// nextInput is where the person wants to go in the end.
var nextInput = inputDoc{paramNext, false, object{
	{"type", "string"}, {"description", "Where the person wanted to go; it travels in the mailed link. Ignored unless it leads to this site or a trusted origin."},
}}

// linkInputs are parts of a mailed link.
func linkInputs(names ...string) []inputDoc {
	list := make([]inputDoc, len(names))
	for i, name := range names {
		list[i] = inputDoc{name, true, linkSchemas[name]}
	}
	return list
}

// emailInput is a new e-mail address.
func emailInput() inputDoc {
	email, _ := builtinField(fieldEmail)
	return inputDoc{fieldEmail, true, inputSchema(email, true)}
}

// fieldInputs are fields of an account.
func fieldInputs(fields []*field, required map[string]bool) []inputDoc {
	list := make([]inputDoc, len(fields))
	for i, f := range fields {
		list[i] = inputDoc{f.name, required[f.name], inputSchema(f, required[f.name])}
	}
	return list
}

// accountInputs take an account by `login` or by the own name of a field.
func accountInputs(names ...string) (list []inputDoc, oneOf []string) {
	list = []inputDoc{{"login", false, object{{"type", "string"}, {"maxLength", maxLogin}, {"description", "The value of one of the login fields."}, {"examples", []any{"ada"}}}}}
	for _, name := range names {
		list = append(list, inputDoc{name, false, object{{"type", "string"}, {"maxLength", maxLogin}, {"description", "In place of `login`."}}})
	}
	return list, append([]string{"login"}, names...)
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

// newInput describes one member of a body.
func newInput(name string, required bool, schema object) inputDoc {
	return inputDoc{name, required, schema}
}
