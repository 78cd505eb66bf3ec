// openapi_schemas.go: JSON Schema (2020-12) of what goes in and comes out: fields
// with their constraints, and the bodies of answers.

package registration

import (
	"slices"
	"strings"
)

// An object is a JSON object whose members keep their order.
type object = shownFields

// with returns a copy in which a member has another value.
func (o shownFields) with(name string, value any) shownFields {
	o = slices.Clone(o)
	for i := range o {
		if o[i].Name == name {
			o[i].Value = value
			return o
		}
	}
	return append(o, Shown{name, value})
}

// at returns the value of a member, nil if there is none.
func (o shownFields) at(name string) any {
	for _, member := range o {
		if member.Name == name {
			return member.Value
		}
	}
	return nil
}

// The component schemas.
const (
	schemaDetail        = "Detail"
	schemaProfile       = "Profile"
	schemaSignIn        = "SignIn"
	schemaTokens        = "Tokens"
	schemaSessions      = "Sessions"
	schemaJWKS          = "JWKS"
	schemaOpenAPI       = "OpenAPI"
	schemaMessages      = "Messages"
	schemaProblem       = "Problem"
	schemaNonFieldError = "NonFieldErrors"
)

func ref(schema string) object { return object{{"$ref", "#/components/schemas/" + schema}} }

const exampleID = "0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7"

// exampleText is a value for a text that people type.
func exampleText(name string) any {
	switch name {
	case fieldUsername, "login":
		return "ada"
	case fieldEmail:
		return "ada@example.com"
	case fieldFirstName:
		return "Ada"
	case fieldLastName:
		return "Lovelace"
	case "old_password":
		return "an old passphrase of mine"
	case "password", "password_confirm":
		return "correct horse battery staple"
	}
	return nil
}

// example is a value that the field takes, nil where none is known.
func (f *field) example() any {
	if text := exampleText(f.name); text != nil && !f.extra {
		return text
	}
	switch f.kind {
	case kindUUID:
		return exampleID
	case kindTime:
		return "2026-11-25T12:00:00Z"
	case kindList:
		return []string{"staff"}
	case kindBoolean:
		return true
	case kindChoice:
		return f.choices[0]
	case kindInteger, kindNumber, kindDate:
		switch {
		case f.min != nil:
			return f.min
		case f.max != nil:
			return f.max
		case f.kind == kindDate:
			return "1815-12-10"
		}
		return 42
	case kindEmail:
		if f.pattern == "" && f.minLength <= 15 && f.maxLength >= 15 {
			return "ada@example.com"
		}
	case kindURL:
		if f.pattern == "" && f.minLength <= 23 && f.maxLength >= 23 {
			return "https://www.example.com"
		}
	case kindText:
		if f.pattern == "" && f.maxLength > 0 {
			return strings.Repeat("Text", (f.minLength+3)/4+1)[:min(max(f.minLength, 4), f.maxLength)]
		}
	}
	return nil
}

// schema is what the kind looks like in JSON, with null where a value may be missing.
func (f *field) schema(nullable bool) object {
	name, format := "string", ""
	switch f.kind {
	case kindUUID:
		format = "uuid"
	case kindTime:
		format = "date-time"
	case kindDate:
		format = "date"
	case kindInteger:
		name = "integer"
	case kindNumber:
		name = "number"
	case kindBoolean:
		name = "boolean"
	case kindList:
		return object{{"type", "array"}, {"items", object{{"type", "string"}}}}
	}
	out := object{{"type", name}}
	if nullable {
		out[0].Value = []string{name, "null"}
	}
	if format != "" {
		out = append(out, Shown{"format", format})
	}
	return out
}

// outputSchema is the field in an answer. It has no constraints: an account may
// be older than they are.
func (f *field) outputSchema() object {
	out := f.schema(f.kind.nullable() && f.kind != kindUUID && f.kind != kindList)
	if f.label != "" {
		out = append(out, Shown{"title", f.label})
	}
	if example := f.example(); example != nil {
		out = append(out, Shown{"examples", []any{example}})
	}
	return out
}

// inputSchema is the field in a body, with the constraints that are checked.
func (f *field) inputSchema(required bool) object {
	out := f.schema(!required && f.kind.nullable())
	add := func(name string, value any) { out = append(out, Shown{name, value}) }
	if f.label != "" {
		add("title", f.label)
	}
	if f.kind.textual() && required {
		add("minLength", max(1, f.minLength))
	}
	if f.kind.textual() && f.maxLength > 0 {
		add("maxLength", f.maxLength)
	}
	switch {
	case f.kind == kindEmail && required:
		add("format", "email")
	case f.kind == kindURL && required:
		add("format", "uri")
	case f.kind == kindChoice:
		values := make([]any, 0, len(f.choices)+1)
		for _, c := range f.choices {
			values = append(values, c)
		}
		if !required {
			values = append(values, nil)
		}
		add("enum", values)
	case f.kind == kindInteger || f.kind == kindNumber:
		if f.min != nil {
			add("minimum", f.min)
		}
		if f.max != nil {
			add("maximum", f.max)
		}
	}
	if notes := f.constraintsInWords(required); notes != "" {
		add("description", notes)
	}
	if f.pattern != "" && required && ecmaPattern(f.pattern) {
		add("pattern", "^(?:"+f.pattern+")$")
	}
	if f.fallback != nil {
		add("default", f.fallback)
	}
	if example := f.example(); example != nil {
		add("examples", []any{example})
	}
	return out
}

// constraintsInWords tells what JSON Schema can't: an optional text may be empty,
// whatever is asked of one that is not.
func (f *field) constraintsInWords(required bool) string {
	var notes []string
	if f.unique {
		notes = append(notes, "No two accounts have the same value.")
	}
	if !required && f.minLength > 0 {
		notes = append(notes, "At least "+textOf(int64(f.minLength))+" characters, unless empty.")
	}
	if f.pattern != "" && (!required || !ecmaPattern(f.pattern)) {
		notes = append(notes, "Matches `"+f.pattern+"` (RE2) as a whole, unless empty.")
	}
	if f.kind == kindDate && f.min != nil {
		notes = append(notes, "Not before "+textOf(f.min)+".")
	}
	if f.kind == kindDate && f.max != nil {
		notes = append(notes, "Not after "+textOf(f.max)+".")
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
func (r *realm) schemas() object {
	s := r.settings
	text := func(description string, examples ...any) object {
		out := object{{"type", "string"}}
		if description != "" {
			out = append(out, Shown{"description", description})
		}
		if len(examples) > 0 {
			out = append(out, Shown{"examples", examples})
		}
		return out
	}
	closed := func(properties object, required ...string) object {
		return object{{"type", "object"}, {"properties", properties}, {"required", required}, {"additionalProperties", false}}
	}
	all := func(properties object) object {
		names := make([]string, len(properties))
		for i, p := range properties {
			names[i] = p.Name
		}
		return closed(properties, names...)
	}
	detail := object{{"detail", text("One sentence for a person, in the language of the request.", "You are signed in.")}}
	tokens := slices.Clone(detail)
	if *s.Login.Token {
		token := text("An opaque token, for `Authorization: Token …` or `Bearer …`.", "b1zsQ1n7Wq0xYc3J0k2mB4f6h8lPpRrTtVvXxZzAa12")
		if s.Login.JWT != nil {
			token = text("A JWT (EdDSA), for `Authorization: Bearer …`.")
		}
		tokens = append(tokens, Shown{"token", token})
	}
	if s.Login.JWT != nil {
		tokens = append(tokens,
			Shown{"expires", object{{"type", "string"}, {"format", "date-time"}, {"description", "When `token` ends."}}},
			Shown{paramRefreshToken, text("For `refresh-token`, once.")})
	}
	profile := object{}
	for _, f := range s.fields.public {
		profile = append(profile, Shown{f.name, f.outputSchema()})
	}
	var kinds []any
	for _, kind := range []SessionKind{KindSession, KindToken, KindRefresh} {
		kinds = append(kinds, sessionKinds[kind])
	}
	stamp := object{{"type", "string"}, {"format", "date-time"}}
	session := all(object{
		{"id", text("For `revoke-session`. It signs nobody in.", "kPq3mX0bSx2yCkAQo1sI7w")},
		{"kind", object{{"type", "string"}, {"enum", kinds}}},
		{"created", stamp}, {"last_used", stamp}, {"expires", stamp},
		{"address", text("The client's IP address at sign-in.")},
		{"user_agent", text("The client's User-Agent at sign-in.")},
		{"current", object{{"type", "boolean"}, {"description", "Whether it is the one that asks."}}},
	})
	codes := make([]any, 0, 40)
	for _, code := range allCodes(r.languages.named(defaultLanguage)) {
		codes = append(codes, code)
	}
	code := object{{"type", "string"}, {"enum", codes}}
	out := object{
		{schemaDetail, all(detail)},
		{schemaProfile, all(profile)},
		{schemaSignIn, all(tokens)},
		{schemaSessions, object{{"type", "array"}, {"items", session}}},
		{schemaOpenAPI, object{{"type", "object"}, {"required", []string{"openapi"}}, {"properties", object{{"openapi", object{{"type", "string"}}}}}}},
		{schemaMessages, object{{"type", "array"}, {"minItems", 1}, {"items", object{{"type", "string"}}}}},
		{schemaProblem, closed(object{
			{"type", text("", "about:blank")}, {"title", text("")}, {"status", object{{"type", "integer"}}}, {"detail", text("")}, {"code", code},
			{"errors", object{{"type", "object"}, {"description", "By field."}, {"additionalProperties", object{
				{"type", "array"}, {"minItems", 1}, {"items", all(object{{"code", code}, {"message", text("")}})},
			}}}},
		}, "type", "title", "status", "detail", "code")},
	}
	if *s.NonFieldErrorsKey {
		out = append(out, Shown{schemaNonFieldError, all(object{{fieldNonField, ref(schemaMessages)}})})
	}
	if s.Login.JWT != nil {
		out = append(out, Shown{schemaTokens, all(tokens)}, Shown{schemaJWKS, all(object{{"keys", object{{"type", "array"}, {"items", object{
			{"type", "object"}, {"required", []string{"kty", "crv", "x", "kid", "alg", "use"}}, {"properties", object{
				{"kty", object{{"const", "OKP"}}}, {"crv", object{{"const", "Ed25519"}}}, {"alg", object{{"const", "EdDSA"}}}, {"use", object{{"const", "sig"}}},
				{"x", text("")}, {"kid", text("")},
			}}, {"additionalProperties", false},
		}}}}})})
	}
	return out
}

// allCodes are the codes of all refusals, sorted: those that the catalogue has
// a text for.
func allCodes(l *locale) []string {
	var codes []string
	for id := range l.texts {
		if code, ok := strings.CutPrefix(id, "error."); ok && code != "see_errors" {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}
