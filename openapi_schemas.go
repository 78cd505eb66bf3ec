// openapi_schemas.go: JSON Schema (2020-12) of what goes in and comes out: fields
// with their constraints, and the bodies of answers.

package registration

import (
	"slices"
	"strings"
)

// with returns a copy in which a member has another value.
func (o object) with(name string, value any) object {
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
func (o object) at(name string) any {
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
func fieldExample(f *field) any {
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
func fieldSchema(f *field, nullable bool) object {
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
		out = append(out, member{"format", format})
	}
	return out
}

// outputSchema is the field in an answer. It has no constraints: an account may
// be older than they are.
func outputSchema(f *field) object {
	out := fieldSchema(f, f.kind.nullable() && f.kind != kindUUID && f.kind != kindList)
	if f.label != "" {
		out = append(out, member{"title", f.label})
	}
	if example := fieldExample(f); example != nil {
		out = append(out, member{"examples", []any{example}})
	}
	return out
}

// inputSchema is the field in a body, with the constraints that are checked.
func inputSchema(f *field, required bool) object {
	out := fieldSchema(f, !required && f.kind.nullable())
	add := func(name string, value any) { out = append(out, member{name, value}) }
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
	if notes := constraintsInWords(f, required); notes != "" {
		add("description", notes)
	}
	if f.pattern != "" && required && ecmaPattern(f.pattern) {
		add("pattern", "^(?:"+f.pattern+")$")
	}
	if f.fallback != nil {
		add("default", f.fallback)
	}
	if example := fieldExample(f); example != nil {
		add("examples", []any{example})
	}
	return out
}

// constraintsInWords tells what JSON Schema can't: an optional text may be empty,
// whatever is asked of one that is not.
func constraintsInWords(f *field, required bool) string {
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
func (r *webRealm) schemas() object {
	s := r.options
	text := func(description string, examples ...any) object {
		out := object{{"type", "string"}}
		if description != "" {
			out = append(out, member{"description", description})
		}
		if len(examples) > 0 {
			out = append(out, member{"examples", examples})
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
	if s.Login.Token {
		token := text("An opaque token, for `Authorization: Token …` or `Bearer …`.", "b1zsQ1n7Wq0xYc3J0k2mB4f6h8lPpRrTtVvXxZzAa12")
		if s.JWT {
			token = text("A JWT (EdDSA), for `Authorization: Bearer …`.")
		}
		tokens = append(tokens, member{"token", token})
	}
	if s.JWT {
		tokens = append(tokens,
			member{"expires", object{{"type", "string"}, {"format", "date-time"}, {"description", "When `token` ends."}}},
			member{paramRefreshToken, text("For `refresh-token`, once.")})
	}
	profile := object{}
	for _, f := range s.Fields.public {
		profile = append(profile, member{f.name, outputSchema(f)})
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
	if s.NonFieldErrorsKey {
		out = append(out, member{schemaNonFieldError, all(object{{fieldNonField, ref(schemaMessages)}})})
	}
	if s.JWT {
		out = append(out, member{schemaTokens, all(tokens)}, member{schemaJWKS, all(object{{"keys", object{{"type", "array"}, {"items", object{
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
