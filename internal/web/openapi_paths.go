// openapi_paths.go: the operations of the OpenAPI document: bodies in, answers out,
// and what each refusal looks like.

package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// bodyTypes are the media types that an endpoint reads.
var bodyTypes = []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}

// pathItem has an operation for each method of an endpoint; HEAD goes with GET.
func (r *Realm) pathItem(e *Endpoint) Object {
	var out Object
	for _, method := range e.Methods {
		if method != http.MethodHead {
			out = append(out, member{strings.ToLower(method), r.operation(e, method)})
		}
	}
	return out
}

func operationID(e *Endpoint, method string) string {
	if e.Doc.Operation != "" {
		return e.Doc.Operation
	}
	var id strings.Builder
	parts := strings.Split(e.Name, "-")
	if len(e.Methods) > 1 {
		parts = append([]string{strings.ToLower(method)}, parts...)
	}
	for i, part := range parts {
		if i > 0 {
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		id.WriteString(part)
	}
	return id.String()
}

func (r *Realm) operation(e *Endpoint, method string) Object {
	d := e.Doc
	out := Object{{"operationId", operationID(e, method)}, {"tags", []string{d.Tag}}, {"summary", d.Summary}}
	if d.Description != "" {
		out = append(out, member{"description", d.Description})
	}
	out = append(out, member{"security", r.security(e)})
	acts := method != http.MethodGet
	var parameters []Object
	if strings.Contains(e.Name, "{id}") {
		parameters = append(parameters, Object{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", Object{{"type", "string"}}}})
	}
	if (e.linkActs || d.InQuery) && !acts {
		for _, in := range d.Inputs {
			parameters = append(parameters, Object{{"name", in.Name}, {"in", "query"}, {"required", in.Required}, {"schema", in.schema}})
		}
	}
	if len(parameters) > 0 {
		out = append(out, member{"parameters", parameters})
	}
	if acts && len(d.Inputs) > 0 {
		schema, example := d.body(method == http.MethodPatch)
		var content Object
		for _, t := range bodyTypes {
			media := Object{{"schema", schema}}
			if t == bodyTypes[0] && len(example) > 0 {
				media = append(media, member{"example", example})
			}
			content = append(content, member{t, media})
		}
		out = append(out, member{"requestBody", Object{{"required", schema.at("required") != nil || d.OneOf != nil}, {"content", content}}})
	}
	return append(out, member{"responses", r.responses(e, acts || e.returned != nil)})
}

// body is the schema of what an endpoint reads, and an example. Nothing is
// required of a partial one.
func (d EndpointDoc) body(partial bool) (schema, example Object) {
	properties, required := Object{}, []string{}
	for _, in := range d.Inputs {
		properties = append(properties, member{in.Name, in.schema})
		if in.Required && !partial {
			required = append(required, in.Name)
		}
		examples, _ := in.schema.at("examples").([]any)
		if first := len(d.OneOf) > 0 && d.OneOf[0] == in.Name; len(examples) > 0 && (in.Required || first || d.Answer == SchemaProfile && in.Name != account.ParamPassword) {
			example = append(example, member{in.Name, examples[0]})
		}
	}
	schema = Object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		schema = append(schema, member{"required", required})
	}
	if len(d.OneOf) > 0 && !partial {
		var choices []Object
		for _, name := range d.OneOf {
			choices = append(choices, Object{{"required", []string{name}}})
		}
		schema = append(schema, member{"anyOf", choices})
	}
	return schema, example
}

// refusalsOf are the codes with which an operation can refuse, by status.
func (r *Realm) refusalsOf(e *Endpoint, acts bool) map[int][]refusal.Code {
	d := e.Doc
	codes := map[int][]refusal.Code{}
	add := func(list ...refusal.Code) {
		for _, code := range list {
			status := StatusOf(code)
			codes[status] = append(codes[status], code)
		}
	}
	if e.Document != nil || e.Whole != nil {
		add(d.Codes...)
		return codes
	}
	if acts {
		add(refusal.CodeMalformed, refusal.CodeNotAnObject, refusal.CodeCrossOrigin, refusal.CodeTooLarge, refusal.CodeUnsupportedMediaType)
		add(d.Codes...)
	}
	if !acts {
		add(d.ReadCodes...)
	}
	if e.SignedIn {
		add(refusal.CodeNotAuthenticated)
	}
	if d.Hidden {
		add(refusal.CodeNotFound)
		if !acts {
			add(d.Codes...)
		}
	}
	if r.Options.Login.Token && !e.Anonymous {
		add(refusal.CodeTokenInvalid)
	}
	if acts {
		add(r.refusalsOfSudo(e)...)
	}
	add(refusal.CodeInternal, refusal.CodeUnavailable)
	return codes
}

// refusalsOfSudo are the codes of an act that is counted, or asks once more who is there.
func (r *Realm) refusalsOfSudo(e *Endpoint) (codes []refusal.Code) {
	d := e.Doc
	optional := func(name string) bool {
		return slices.ContainsFunc(d.Inputs, func(in InputDoc) bool { return in.Name == name && !in.Required })
	}
	add := func(code refusal.Code) {
		if !slices.Contains(d.Codes, code) {
			codes = append(codes, code)
		}
	}
	throttled := (e.Throttle != "" || optional(account.ParamPassword)) && !r.Options.Unlimited
	// Wrong factors are counted in the account, whatever the throttles are.
	if throttled || optional(account.ParamTOTP) {
		add(refusal.CodeThrottled)
	}
	if optional(account.ParamTOTP) {
		add(refusal.CodeFactorInvalid)
		if len(r.Options.Login.Providers) > 0 {
			add(refusal.CodeInsufficient) // of who has no password
		}
	}
	return codes
}

// responses are all answers of an operation, by status.
func (r *Realm) responses(e *Endpoint, acts bool) Object {
	codes := r.refusalsOf(e, acts)
	out := Object{}
	switch {
	case e.Doc.Answers != nil:
		out = e.Doc.Answers()
	case e.Redirect.on() && (!acts || !e.linkActs):
		out = append(out, member{"303", Object{{"description", "Redirect mode: on to the page that the owner has set."}, {"headers", Object{header("Location", "Where to go.")}}}})
		if !acts {
			delete(codes, http.StatusBadRequest)
		}
	default:
		out = append(out, member{strconv.Itoa(e.Doc.Success), r.success(e)})
	}
	if e.Doc.versioned {
		out = append(out, member{"304", Object{{"description", "It has not changed since the one that `If-None-Match` names."}}})
	}
	statuses := make([]int, 0, len(codes))
	for status := range codes {
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	for _, status := range statuses {
		out = append(out, member{strconv.Itoa(status), r.refusalDoc(e, status, codes[status])})
	}
	return out
}

func header(name, description string) member {
	return member{name, Object{{"description", description}, {"schema", Object{{"type", "string"}}}}}
}

func (r *Realm) success(e *Endpoint) Object {
	contentType := "application/json"
	out := Object{{"description", http.StatusText(e.Doc.Success)}}
	var headers Object
	if e.Doc.ContentType != "" {
		contentType = e.Doc.ContentType
	}
	if e.Doc.versioned {
		headers = append(headers, header("ETag", "Of this version of the document."))
	}
	if e.GivesCookie || e.Doc.SetsCookie {
		headers = append(headers, header("Set-Cookie", "The session cookie; taken away at the sign-out."))
	}
	if len(headers) > 0 {
		out = append(out, member{"headers", headers})
	}
	schema := ref(e.Doc.Answer)
	if e.Doc.Or != "" {
		schema = Object{{"oneOf", []Object{schema, ref(e.Doc.Or)}}}
	}
	media := Object{{"schema", schema}}
	if e.Doc.Answer == SchemaProfile {
		example := Object{}
		for _, f := range r.Options.Fields.Public {
			v := fieldExample(f)
			if v == nil {
				v = f.Kind.Empty()
			}
			example = append(example, member{f.Name, v})
		}
		media = append(media, member{"example", example})
	}
	return append(out, member{"content", Object{{contentType, media}}})
}

// refusalDoc describes the answers with one status: the DRF shape and RFC 9457.
func (r *Realm) refusalDoc(e *Endpoint, status int, codes []refusal.Code) Object {
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = "`" + string(code) + "`"
	}
	description := http.StatusText(status) + ": " + strings.Join(names, ", ")
	var headers Object
	switch status {
	case http.StatusBadRequest:
		if len(e.Doc.Inputs) > 0 {
			description += ", or by field"
		}
	case http.StatusUnauthorized:
		headers = append(headers, header("WWW-Authenticate", "RFC 9110, 11.6.1."))
	case http.StatusTooManyRequests:
		name := e.Throttle
		if name == "" {
			name = account.ThrottleLogin
		}
		if limit := r.Options.Limits[name]; !r.Options.Unlimited {
			whose := "an address, and again for an account"
			if e.Alone {
				whose = "an account"
			}
			description += fmt.Sprintf("; at most %d in %v for %s", limit.Events, time.Duration(limit.Window), whose)
		}
		fallthrough
	case http.StatusServiceUnavailable, http.StatusConflict:
		headers = append(headers, header("Retry-After", "In seconds."))
	}
	english := r.Languages.Named(text.DefaultLanguage)
	detail := Object{{"detail", refusal.Text(english, codes[0], text.Params{"max": MaxBody, "seconds": 6, "reason": "…"})}}
	schema := ref(SchemaDetail)
	if status == http.StatusBadRequest {
		schema = r.badRequest(e.Doc)
	}
	media := Object{{"schema", schema}, {"example", detail}}
	out := Object{{"description", description}}
	if len(headers) > 0 {
		out = append(out, member{"headers", headers})
	}
	return append(out, member{"content", Object{
		{"application/json", media},
		{"application/problem+json", Object{{"schema", ref(schemaProblem)}, {"example", Object{
			{"type", "about:blank"}, {"title", english.Status(status)}, {"status", status}, {"detail", detail[0].Value}, {"code", codes[0]},
		}}}},
	}})
}

// badRequest is either a single refusal or messages by field.
func (r *Realm) badRequest(d EndpointDoc) Object {
	properties := Object{{refusal.NonField, ref(schemaMessages)}}
	for _, in := range d.Inputs {
		properties = append(properties, member{in.Name, ref(schemaMessages)})
	}
	choices := []Object{ref(SchemaDetail)}
	if r.Options.NonFieldErrorsKey {
		choices = append(choices, ref(schemaNonFieldError))
	}
	return Object{{"anyOf", append(choices, Object{
		{"type", "object"}, {"description", "Messages by field."}, {"properties", properties}, {"additionalProperties", false}, {"minProperties", 1},
	})}}
}
