// openapi_paths.go: the operations of the OpenAPI document: bodies in, answers out,
// and what each refusal looks like.

package registration

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bodyTypes are the media types that an endpoint reads.
var bodyTypes = []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}

// pathItem has an operation for each method of an endpoint; HEAD goes with GET.
func (r *webRealm) pathItem(e *endpoint) object {
	var out object
	for _, method := range e.methods {
		if method != http.MethodHead {
			out = append(out, member{strings.ToLower(method), r.operation(e, method)})
		}
	}
	return out
}

func operationID(e *endpoint, method string) string {
	if e.doc.operation != "" {
		return e.doc.operation
	}
	var id strings.Builder
	parts := strings.Split(e.name, "-")
	if len(e.methods) > 1 {
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

func (r *webRealm) operation(e *endpoint, method string) object {
	d := e.doc
	out := object{{"operationId", operationID(e, method)}, {"tags", []string{d.tag}}, {"summary", d.summary}}
	if d.description != "" {
		out = append(out, member{"description", d.description})
	}
	out = append(out, member{"security", r.security(e)})
	acts := method != http.MethodGet
	if (e.linkActs || d.inQuery) && !acts {
		var parameters []object
		for _, in := range d.inputs {
			parameters = append(parameters, object{{"name", in.name}, {"in", "query"}, {"required", in.required}, {"schema", in.schema}})
		}
		out = append(out, member{"parameters", parameters})
	}
	if acts && len(d.inputs) > 0 {
		schema, example := d.body(method == http.MethodPatch)
		var content object
		for _, t := range bodyTypes {
			media := object{{"schema", schema}}
			if t == bodyTypes[0] && len(example) > 0 {
				media = append(media, member{"example", example})
			}
			content = append(content, member{t, media})
		}
		out = append(out, member{"requestBody", object{{"required", schema.at("required") != nil || d.oneOf != nil}, {"content", content}}})
	}
	return append(out, member{"responses", r.responses(e, acts)})
}

// body is the schema of what an endpoint reads, and an example. Nothing is
// required of a partial one.
func (d endpointDoc) body(partial bool) (schema, example object) {
	properties, required := object{}, []string{}
	for _, in := range d.inputs {
		properties = append(properties, member{in.name, in.schema})
		if in.required && !partial {
			required = append(required, in.name)
		}
		examples, _ := in.schema.at("examples").([]any)
		if first := len(d.oneOf) > 0 && d.oneOf[0] == in.name; len(examples) > 0 && (in.required || first || d.answer == schemaProfile && in.name != paramPassword) {
			example = append(example, member{in.name, examples[0]})
		}
	}
	schema = object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		schema = append(schema, member{"required", required})
	}
	if len(d.oneOf) > 0 && !partial {
		var choices []object
		for _, name := range d.oneOf {
			choices = append(choices, object{{"required", []string{name}}})
		}
		schema = append(schema, member{"anyOf", choices})
	}
	return schema, example
}

// responses are all answers of an operation, by status.
func (r *webRealm) responses(e *endpoint, acts bool) object {
	d := e.doc
	codes := map[int][]Code{}
	add := func(list ...Code) {
		for _, code := range list {
			status := statusOf(code)
			codes[status] = append(codes[status], code)
		}
	}
	if e.document == nil {
		if acts {
			add(CodeMalformed, CodeNotAnObject, CodeCrossOrigin, CodeTooLarge, CodeUnsupportedMediaType)
			add(d.codes...)
		}
		if e.signedIn {
			add(CodeNotAuthenticated)
		}
		if r.options.Login.Token && !e.anonymous {
			add(CodeTokenInvalid)
		}
		throttled := e.throttle != "" || slices.ContainsFunc(d.inputs, func(in inputDoc) bool { return in.name == paramPassword && !in.required })
		if acts && throttled && !r.options.Unlimited && !slices.Contains(d.codes, CodeThrottled) {
			add(CodeThrottled)
		}
		add(CodeInternal, CodeUnavailable)
	} else {
		add(d.codes...)
	}
	out := object{}
	switch {
	case e.redirect.on() && (!acts || !e.linkActs):
		out = append(out, member{"303", object{{"description", "Redirect mode: on to the page that the owner has set."}, {"headers", object{header("Location", "Where to go.")}}}})
		if !acts {
			delete(codes, http.StatusBadRequest)
		}
	default:
		out = append(out, member{strconv.Itoa(d.success), r.success(e)})
	}
	if d.versioned {
		out = append(out, member{"304", object{{"description", "It has not changed since the one that `If-None-Match` names."}}})
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
	return member{name, object{{"description", description}, {"schema", object{{"type", "string"}}}}}
}

func (r *webRealm) success(e *endpoint) object {
	contentType := "application/json"
	out := object{{"description", http.StatusText(e.doc.success)}}
	var headers object
	if e.doc.contentType != "" {
		contentType = e.doc.contentType
	}
	if e.doc.versioned {
		headers = append(headers, header("ETag", "Of this version of the document."))
	}
	if e.givesCookie || e.doc.setsCookie {
		headers = append(headers, header("Set-Cookie", "The session cookie; taken away at the sign-out."))
	}
	if len(headers) > 0 {
		out = append(out, member{"headers", headers})
	}
	media := object{{"schema", ref(e.doc.answer)}}
	if e.doc.answer == schemaProfile {
		example := object{}
		for _, f := range r.options.Fields.public {
			v := fieldExample(f)
			if v == nil {
				v = f.kind.empty()
			}
			example = append(example, member{f.name, v})
		}
		media = append(media, member{"example", example})
	}
	return append(out, member{"content", object{{contentType, media}}})
}

// refusalDoc describes the answers with one status: the DRF shape and RFC 9457.
func (r *webRealm) refusalDoc(e *endpoint, status int, codes []Code) object {
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = "`" + string(code) + "`"
	}
	description := http.StatusText(status) + ": " + strings.Join(names, ", ")
	var headers object
	switch status {
	case http.StatusBadRequest:
		if len(e.doc.inputs) > 0 {
			description += ", or by field"
		}
	case http.StatusUnauthorized:
		headers = append(headers, header("WWW-Authenticate", "RFC 9110, 11.6.1."))
	case http.StatusTooManyRequests:
		name := e.throttle
		if name == "" {
			name = throttleLogin
		}
		if limit := r.options.Limits[name]; !r.options.Unlimited {
			whose := "an address, and again for an account"
			if e.alone {
				whose = "an account"
			}
			description += fmt.Sprintf("; at most %d in %v for %s", limit.Events, time.Duration(limit.Window), whose)
		}
		fallthrough
	case http.StatusServiceUnavailable, http.StatusConflict:
		headers = append(headers, header("Retry-After", "In seconds."))
	}
	english := r.languages.named(defaultLanguage)
	detail := object{{"detail", refusalText(english, codes[0], Params{"max": maxBody, "seconds": 6, "reason": "…"})}}
	schema := ref(schemaDetail)
	if status == http.StatusBadRequest {
		schema = r.badRequest(e.doc)
	}
	media := object{{"schema", schema}, {"example", detail}}
	out := object{{"description", description}}
	if len(headers) > 0 {
		out = append(out, member{"headers", headers})
	}
	return append(out, member{"content", object{
		{"application/json", media},
		{"application/problem+json", object{{"schema", ref(schemaProblem)}, {"example", object{
			{"type", "about:blank"}, {"title", english.status(status)}, {"status", status}, {"detail", detail[0].Value}, {"code", codes[0]},
		}}}},
	}})
}

// badRequest is either a single refusal or messages by field.
func (r *webRealm) badRequest(d endpointDoc) object {
	properties := object{{fieldNonField, ref(schemaMessages)}}
	for _, in := range d.inputs {
		properties = append(properties, member{in.name, ref(schemaMessages)})
	}
	choices := []object{ref(schemaDetail)}
	if r.options.NonFieldErrorsKey {
		choices = append(choices, ref(schemaNonFieldError))
	}
	return object{{"anyOf", append(choices, object{
		{"type", "object"}, {"description", "Messages by field."}, {"properties", properties}, {"additionalProperties", false}, {"minProperties", 1},
	})}}
}
