// openapi_schemas.go: JSON Schema (2020-12) of what goes in and comes out: fields
// with their constraints, and the bodies of answers.

package web

import (
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

// with returns a copy in which a member has another value.
func (o Object) with(name string, value any) Object {
	o = slices.Clone(o)
	for i := range o {
		if o[i].Name == name {
			o[i].Value = value
			return o
		}
	}
	return append(o, member{name, value})
}

// at returns the value of a member, nil if there is none.
func (o Object) at(name string) any {
	for _, member := range o {
		if member.Name == name {
			return member.Value
		}
	}
	return nil
}

// The component schemas.
const (
	SchemaDetail          = "Detail"
	SchemaProfile         = "Profile"
	SchemaSignIn          = "SignIn"
	SchemaChallenge       = "Challenge"
	SchemaTokens          = "Tokens"
	SchemaSessions        = "Sessions"
	SchemaPersonalData    = "PersonalData"
	SchemaJWKS            = "JWKS"
	SchemaFactors         = "Factors"
	SchemaLocation        = "Location"
	SchemaLinkedAccounts  = "LinkedAccounts"
	SchemaTOTP            = "TOTP"
	SchemaPicture         = "Picture"
	SchemaPasskeyRequest  = "PasskeyRequest"
	SchemaPasskeyCreation = "PasskeyCreation"
	SchemaTrustedDevices  = "TrustedDevices"
	SchemaFactorAdded     = "FactorAdded"
	SchemaRecoveryCodes   = "RecoveryCodes"
	SchemaSignInEnded     = "SignInEnded"
	SchemaEmails          = "Emails"
	SchemaProgramTokens   = "ProgramTokens"
	SchemaProgramToken    = "ProgramToken"
	schemaOpenAPI         = "OpenAPI"
	schemaMessages        = "Messages"
	schemaProblem         = "Problem"
	schemaNonFieldError   = "NonFieldErrors"
)

func ref(schema string) Object { return Object{{"$ref", "#/components/schemas/" + schema}} }

// ExampleID is the account of the examples; there is none of that id.
const ExampleID = "0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7"

// exampleText is a value for a text that people type.
func exampleText(name string) any {
	switch name {
	case field.Username, "login":
		return "ada"
	case field.Email:
		return "ada@example.com"
	case field.FirstName:
		return "Ada"
	case field.LastName:
		return "Lovelace"
	case "old_password":
		return "an old passphrase of mine"
	case "password", "password_confirm":
		return "correct horse battery staple"
	}
	return nil
}

// example is a value that the field takes, nil where none is known.
func fieldExample(f *field.Field) any {
	if text := exampleText(f.Name); text != nil && !f.Extra {
		return text
	}
	switch f.Kind {
	case field.KindUUID:
		return ExampleID
	case field.KindTime:
		return "2026-11-25T12:00:00Z"
	case field.KindList:
		return []string{"staff"}
	case field.KindBoolean:
		return true
	case field.KindChoice:
		return f.Choices[0]
	case field.KindInteger, field.KindNumber, field.KindDate:
		return orderedExample(f)
	case field.KindEmail:
		return fitting(f, "ada@example.com")
	case field.KindURL:
		return fitting(f, "https://www.example.com")
	case field.KindText:
		if f.Pattern == "" && f.MaxLength > 0 {
			return strings.Repeat("Text", (f.MinLength+3)/4+1)[:min(max(f.MinLength, 4), f.MaxLength)]
		}
	}
	return nil
}

// orderedExample is a value between the bounds of a number or a date.
func orderedExample(f *field.Field) any {
	switch {
	case f.Min != nil:
		return f.Min
	case f.Max != nil:
		return f.Max
	case f.Kind == field.KindDate:
		return "1815-12-10"
	}
	return 42
}

// fitting is the text if the field takes one of its length, whatever it is; else nil.
func fitting(f *field.Field, text string) any {
	if f.Pattern == "" && f.MinLength <= len(text) && f.MaxLength >= len(text) {
		return text
	}
	return nil
}

// schema is what the kind looks like in JSON, with null where a value may be missing.
func fieldSchema(f *field.Field, nullable bool) Object {
	name, format := "string", ""
	switch f.Kind {
	case field.KindUUID:
		format = "uuid"
	case field.KindTime:
		format = "date-time"
	case field.KindDate:
		format = "date"
	case field.KindInteger:
		name = "integer"
	case field.KindNumber:
		name = "number"
	case field.KindBoolean:
		name = "boolean"
	case field.KindText, field.KindEmail, field.KindURL, field.KindChoice: // a string of no format
	case field.KindList:
		return Object{{"type", "array"}, {"items", Object{{"type", "string"}}}}
	}
	out := Object{{"type", name}}
	if nullable {
		out[0].Value = []string{name, "null"}
	}
	if format != "" {
		out = append(out, member{"format", format})
	}
	return out
}

// outputSchema is the field in an answer. It has no constraints: an account may
// be older than they are.
func outputSchema(f *field.Field) Object {
	out := fieldSchema(f, f.Kind.Nullable() && f.Kind != field.KindUUID && f.Kind != field.KindList)
	if f.Label != "" {
		out = append(out, member{"title", f.Label})
	}
	if example := fieldExample(f); example != nil {
		out = append(out, member{"examples", []any{example}})
	}
	return out
}

// inputSchema is the field in a body, with the constraints that are checked.
func inputSchema(f *field.Field, required bool) Object {
	out := fieldSchema(f, !required && f.Kind.Nullable())
	add := func(name string, value any) { out = append(out, member{name, value}) }
	if f.Label != "" {
		add("title", f.Label)
	}
	out = append(out, inputBounds(f, required)...)
	if notes := constraintsInWords(f, required); notes != "" {
		add("description", notes)
	}
	if f.Pattern != "" && required && ecmaPattern(f.Pattern) {
		add("pattern", "^(?:"+f.Pattern+")$")
	}
	if f.Fallback != nil {
		add("default", f.Fallback)
	}
	if example := fieldExample(f); example != nil {
		add("examples", []any{example})
	}
	return out
}

// inputBounds are the constraints of a field's kind.
func inputBounds(f *field.Field, required bool) Object {
	var out Object
	add := func(name string, value any) { out = append(out, member{name, value}) }
	if f.Kind.Textual() && required {
		add("minLength", max(1, f.MinLength))
	}
	if f.Kind.Textual() && f.MaxLength > 0 {
		add("maxLength", f.MaxLength)
	}
	switch {
	case f.Kind == field.KindEmail && required:
		add("format", "email")
	case f.Kind == field.KindURL && required:
		add("format", "uri")
	case f.Kind == field.KindChoice:
		values := make([]any, 0, len(f.Choices)+1)
		for _, c := range f.Choices {
			values = append(values, c)
		}
		if !required {
			values = append(values, nil)
		}
		add("enum", values)
	case f.Kind == field.KindInteger || f.Kind == field.KindNumber:
		if f.Min != nil {
			add("minimum", f.Min)
		}
		if f.Max != nil {
			add("maximum", f.Max)
		}
	}
	return out
}

// constraintsInWords tells what JSON Schema can't: an optional text may be empty,
// whatever is asked of one that is not.
func constraintsInWords(f *field.Field, required bool) string {
	var notes []string
	if f.Unique {
		notes = append(notes, "No two accounts have the same value.")
	}
	if !required && f.MinLength > 0 {
		notes = append(notes, "At least "+field.TextOf(int64(f.MinLength))+" characters, unless empty.")
	}
	if f.Pattern != "" && (!required || !ecmaPattern(f.Pattern)) {
		notes = append(notes, "Matches `"+f.Pattern+"` (RE2) as a whole, unless empty.")
	}
	if f.Kind == field.KindDate && f.Min != nil {
		notes = append(notes, "Not before "+field.TextOf(f.Min)+".")
	}
	if f.Kind == field.KindDate && f.Max != nil {
		notes = append(notes, "Not after "+field.TextOf(f.Max)+".")
	}
	return strings.Join(notes, " ")
}

// ecmaPattern reports whether a pattern of Go means the same in JSON Schema,
// whose patterns are those of ECMA-262.
func ecmaPattern(pattern string) bool {
	for _, only := range []string{"(?", `\A`, `\z`, `\p`, `\P`, `\Q`, `\C`, `\a`, `\x{`, "[["} {
		if strings.Contains(strings.ReplaceAll(pattern, "(?:", "("), only) {
			return false
		}
	}
	return true
}

// schemas are the component schemas of this realm.
func (r *Realm) schemas() Object {
	s := r.Options
	txt := func(description string, examples ...any) Object {
		out := Object{{"type", "string"}}
		if description != "" {
			out = append(out, member{"description", description})
		}
		if len(examples) > 0 {
			out = append(out, member{"examples", examples})
		}
		return out
	}
	closed := func(properties Object, required ...string) Object {
		return Object{{"type", "object"}, {"properties", properties}, {"required", required}, {"additionalProperties", false}}
	}
	all := func(properties Object) Object {
		names := make([]string, len(properties))
		for i, p := range properties {
			names[i] = p.Name
		}
		return closed(properties, names...)
	}
	detail := Object{{"detail", txt("One sentence for a person, in the language of the request.", "You’re signed in.")}}
	tokens := slices.Clone(detail)
	if s.Login.Token {
		token := txt("An opaque token, for `Authorization: Token …` or `Bearer …`.", "b1zsQ1n7Wq0xYc3J0k2mB4f6h8lPpRrTtVvXxZzAa12")
		if s.JWT {
			token = txt("A JWT (EdDSA), for `Authorization: Bearer …`.")
		}
		tokens = append(tokens, member{"token", token})
	}
	if s.JWT {
		tokens = append(tokens,
			member{"expires", Object{{"type", "string"}, {"format", "date-time"}, {"description", "When `token` ends."}}},
			member{account.ParamRefreshToken, txt("For `refresh-token`, once.")})
	}
	profile := Object{}
	for _, f := range s.Fields.Public {
		profile = append(profile, member{f.Name, outputSchema(f)})
	}
	codes := make([]any, 0, 40)
	for _, code := range allCodes(r.Languages.Named(text.DefaultLanguage)) {
		codes = append(codes, code)
	}
	code := Object{{"type", "string"}, {"enum", codes}}
	out := Object{
		{SchemaDetail, all(detail)},
		{SchemaProfile, all(profile)},
		{SchemaSignIn, all(tokens)},
		{SchemaSessions, Object{{"type", "array"}, {"items", all(sessionMembers(txt))}}},
		{SchemaPersonalData, personalData()},
		{schemaOpenAPI, Object{{"type", "object"}, {"required", []string{"openapi"}}, {"properties", Object{{"openapi", Object{{"type", "string"}}}}}}},
		{schemaMessages, Object{{"type", "array"}, {"minItems", 1}, {"items", Object{{"type", "string"}}}}},
		{schemaProblem, closed(Object{
			{"type", txt("", "about:blank")},
			{"title", txt("")},
			{"status", Object{{"type", "integer"}}},
			{"detail", txt("")},
			{"code", code},
			{"errors", Object{{"type", "object"}, {"description", "By field."}, {"additionalProperties", Object{
				{"type", "array"}, {"minItems", 1}, {"items", all(Object{{"code", code}, {"message", txt("")}})},
			}}}},
		}, "type", "title", "status", "detail", "code")},
	}
	if s.NonFieldErrorsKey {
		out = append(out, member{schemaNonFieldError, all(Object{{refusal.NonField, ref(schemaMessages)}})})
	}
	out = append(out, r.factorSchemas(tokens, txt)...)
	if s.JWT {
		out = append(out, member{SchemaTokens, all(tokens)}, member{SchemaJWKS, all(Object{{"keys", Object{{"type", "array"}, {"items", keySchema(txt(""))}}}})})
	}
	return out
}

// passkeyOptions are what a browser is asked by the Web Authentication API.
func passkeyOptions(name string) Object {
	return Object{
		{"type", "object"},
		{"required", []string{"publicKey"}},
		{"properties", Object{{"publicKey", Object{{"type", "object"}, {"description", "The JSON of the " + name + " of the Web Authentication API (level 3); in a browser, for `PublicKeyCredential.parse…OptionsFromJSON`."}}}}},
	}
}

// sessionMembers are those of a sign-in in the list; txt makes the schema of a text.
func sessionMembers(txt func(description string, examples ...any) Object) Object {
	var kinds []any
	for _, kind := range []store.SessionKind{store.KindSession, store.KindToken, store.KindRefresh} {
		kinds = append(kinds, account.SessionKinds[kind])
	}
	stamp := Object{{"type", "string"}, {"format", "date-time"}}
	return Object{
		{"id", txt("For `revoke-session`. It signs nobody in.", "kPq3mX0bSx2yCkAQo1sI7w")},
		{"kind", Object{{"type", "string"}, {"enum", kinds}}},
		{"created", stamp},
		{"last_used", stamp},
		{"expires", stamp},
		{"address", txt("The client's IP address at sign-in.")},
		{"user_agent", txt("The client's User-Agent at sign-in.")},
		{"amr", Object{{"type", "array"}, {"items", Object{{"type", "string"}}}, {"description", "How its owner has shown who he is (RFC 8176)."}, {"examples", []any{[]string{"pwd", "otp"}}}}},
		{"auth_time", stamp},
		{"current", Object{{"type", "boolean"}, {"description", "Whether it is the one that asks."}}},
	}
}

// factorSchemas are those of challenges and factors; tokens are what a sign-in answers.
func (r *Realm) factorSchemas(tokens Object, txt func(description string, examples ...any) Object) Object {
	s := r.Options
	closed := func(properties Object, required ...string) Object {
		return Object{{"type", "object"}, {"properties", properties}, {"required", required}, {"additionalProperties", false}}
	}
	all := func(properties Object) Object {
		names := make([]string, len(properties))
		for i, p := range properties {
			names[i] = p.Name
		}
		return closed(properties, names...)
	}
	challenge := Object{{account.ParamChallenge, txt("For `login-factor`, within 5 minutes, or 10 where it asks for no factor. Nobody is signed in yet.")}}
	if s.Register.Terms != "" {
		challenge = append(challenge, member{account.ParamTerms, txt("The version of the terms that the person has to agree to.", s.Register.Terms)})
	}
	challenge = append(challenge,
		member{ParamClosing, Object{{"type", "string"}, {"format", "date-time"}, {"description", "The account was closed by its owner, and will be gone then. To keep it, `login-factor` has to have `keep_account`."}}},
		member{"factors", Object{{"type", "array"}, {"items", txt("The member of `login-factor` that answers it.", account.ParamTOTP)}, {"description", "One of them is asked for."}}},
		member{"enrol", Object{{"const", true}, {"description", "A factor has to be set up first: the challenge opens `enrol-totp` and `confirm-totp`, and nothing else."}}})
	codes10 := Object{{"type", "array"}, {"items", txt("", "8K2M-4QXZ-71TD")}, {"description", "Shown this once."}}
	factorAdded := slices.Concat(tokens, Object{{"id", txt("Of the factor.", ExampleID)}, {"recovery_codes", codes10}})
	return Object{
		{SchemaChallenge, closed(challenge, account.ParamChallenge)},
		{SchemaFactors, Object{{"type", "array"}, {"items", all(factorMembers(txt))}}},
		{SchemaLocation, all(Object{{"location", txt("Where the browser goes.", "https://accounts.google.com/o/oauth2/v2/auth?…")}})},
		{SchemaLinkedAccounts, Object{{"type", "array"}, {"items", all(linkedMembers(txt))}}},
		{SchemaTrustedDevices, Object{{"type", "array"}, {"items", all(trustedMembers(txt))}}},
		{SchemaTOTP, all(Object{{"secret", txt("In base32, for people to type.", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")}, {"uri", txt("What the QR code says.")}, {"qr", txt("The path of the QR code, an SVG.")}})},
		{SchemaPicture, Object{{"type", "string"}}},
		{SchemaPasskeyRequest, passkeyOptions("CredentialRequestOptions")},
		{SchemaPasskeyCreation, passkeyOptions("CredentialCreationOptions")},
		{SchemaFactorAdded, closed(factorAdded, "detail", "id")},
		{SchemaSignInEnded, closed(append(slices.Clone(tokens[:1]), member{"reset_password", all(Object{{"user_id", txt("")}, {"timestamp", txt("")}, {"signature", txt("")}})}), "detail")},
		{SchemaRecoveryCodes, all(Object{{"recovery_codes", codes10}})},
		{SchemaEmails, Object{{"type", "array"}, {"items", all(Object{
			{"email", txt("", "ada@example.org")},
			{"primary", Object{{"type", "boolean"}, {"description", "Whether it is the one that the profile has."}}},
			{"confirmed", Object{{"type", "boolean"}, {"description", "One that isn't waits for the link that was mailed to it, unless it is the primary one."}}},
		})}}},
		{SchemaProgramTokens, Object{{"type", "array"}, {"items", all(programMembers(txt))}}},
		{SchemaProgramToken, all(Object{{"id", txt("For `revoke-token`.", "kPq3mX0bSx2yCkAQo1sI7w")}, {"token", txt("Shown this once. The pattern `"+token.Pattern+"` finds one in a text.", "crt_…")}})},
	}
}

// factorMembers are those of a factor in the list.
func factorMembers(txt func(description string, examples ...any) Object) Object {
	stamp := Object{{"type", "string"}, {"format", "date-time"}}
	return Object{
		{"id", txt("For `rename-factor` and `remove-factor`.", ExampleID)},
		{"type", Object{{"type", "string"}, {"enum", []any{string(store.FactorTOTP), string(store.FactorPasskey)}}}},
		{"name", txt("", "My phone")},
		{"created", stamp},
		{"last_used", stamp},
	}
}

// trustedMembers are those of a trusted browser in the list.
func trustedMembers(txt func(description string, examples ...any) Object) Object {
	stamp := Object{{"type", "string"}, {"format", "date-time"}}
	return Object{
		{"id", txt("For `revoke-trusted-device`.", "kPq3mX0bSx2yCkAQo1sI7w")},
		{"created", stamp},
		{"last_used", stamp},
		{"expires", Object{{"type", "string"}, {"format", "date-time"}, {"description", "When it is asked again, at the latest."}}},
		{"user_agent", txt("Its User-Agent when it was trusted.")},
		{"current", Object{{"type", "boolean"}, {"description", "Whether it is the one that asks."}}},
	}
}

// allCodes are the codes of all refusals, sorted: those that the catalogue has
// a text for.
func allCodes(l *text.Locale) []string {
	var codes []string
	for _, id := range l.Ids() {
		if code, ok := strings.CutPrefix(id, "error."); ok && code != "see_errors" {
			codes = append(codes, code)
		}
	}
	return codes
}

// keySchema is a public key of access tokens (RFC 8037).
func keySchema(text Object) Object {
	return Object{
		{"type", "object"}, {"required", []string{"kty", "crv", "x", "kid", "alg", "use"}}, {"properties", Object{
			{"kty", Object{{"const", "OKP"}}},
			{"crv", Object{{"const", "Ed25519"}}},
			{"alg", Object{{"const", "EdDSA"}}},
			{"use", Object{{"const", "sig"}}},
			{"x", text},
			{"kid", text},
		}}, {"additionalProperties", false},
	}
}

// personalData names what the file of a person has. It is to be kept, not to be read by a
// program: what is in the parts may become more.
func personalData() Object {
	part := func(kind, description string) Object { return Object{{"type", kind}, {"description", description}} }
	properties := Object{
		{"personal_data", part("integer", "The version of the document.")},
		{"at", Object{{"type", "string"}, {"format", "date-time"}}},
		{"account", part("object", "The account with all its fields, but nothing that proves who somebody is.")},
		{"second_step", part("object", "Factors, browsers that are trusted, how many recovery codes are left, wrong answers.")},
		{"former_passwords", part("array", "From when until when a former password is kept, by its hash.")},
		{"password_since", Object{{"type", "string"}, {"format", "date-time"}}},
		{"sessions", part("array", "Where the account is signed in.")},
		{"program_tokens", part("array", "Tokens for programs: what each is called and limited to.")},
		{"mail", part("array", "Mail about the account that waits to be sent.")},
		{"invitations", part("array", "Invitations to the account's address.")},
		{"record", part("array", "What the record of acts has about the account.")},
	}
	return Object{{"type", "object"}, {"required", []string{"personal_data", "at", "account", "second_step", "former_passwords", "sessions", "program_tokens", "mail", "invitations", "record"}}, {"properties", properties}}
}
