// Package apicheck holds answers of a server against its own OpenAPI document,
// so that tests notice when the two drift apart. Only tests use it.
package apicheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// documentURL is the name under which the schemas know the document.
const documentURL = "mem://openapi.json"

// Checker has one OpenAPI 3.1 document. It is safe for concurrent use.
type Checker struct {
	doc map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by pointer
}

// New reads a document.
func New(raw []byte) (*Checker, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("the document is no object")
	}
	c := &Checker{doc: object, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource(documentURL, doc)
}

// An Answer is what a server said to a request.
type Answer struct {
	// Method and Path (below the server's URL, without a trailing slash) of
	// the request.
	Method, Path string
	Status       int
	Header       http.Header
	Body         []byte
}

// Paths are the paths of the document with their methods in upper case.
func (c *Checker) Paths() map[string][]string {
	out := map[string][]string{}
	for path, item := range member(c.doc, "paths") {
		for method := range item.(map[string]any) {
			out[path] = append(out[path], strings.ToUpper(method))
		}
	}
	return out
}

// template is the path of the document that an address belongs to: itself, or one with
// {parts} in braces.
func (c *Checker) template(path string) string {
	paths := member(c.doc, "paths")
	if paths[path] != nil {
		return path
	}
	parts := strings.Split(path, "/")
	for template := range paths {
		pattern := strings.Split(template, "/")
		fits := len(pattern) == len(parts)
		for i := 0; fits && i < len(parts); i++ {
			fits = pattern[i] == parts[i] || strings.HasPrefix(pattern[i], "{")
		}
		if fits {
			return template
		}
	}
	return path
}

func member(object map[string]any, names ...string) map[string]any {
	for _, name := range names {
		object, _ = object[name].(map[string]any)
	}
	return object
}

// Check returns an error for an answer that the document does not promise: an
// unknown status or media type, a body that does not match, a path that is not
// there and yet answers.
func (c *Checker) Check(a Answer) error {
	a.Path = c.template(a.Path)
	item := member(c.doc, "paths", a.Path)
	if item == nil {
		return expect(a, http.StatusNotFound, "the path is not in the document")
	}
	method := strings.ToLower(a.Method)
	head := a.Method == http.MethodHead
	if head {
		method = "get"
	}
	operation := member(item, method)
	switch {
	case a.Method == http.MethodOptions && a.Status == http.StatusNoContent: // a preflight
		return nil
	case operation == nil && a.Status == http.StatusNotFound && hiddenFromSome(item):
		return nil
	case operation == nil:
		if err := expect(a, http.StatusMethodNotAllowed, "the method is not in the document"); err != nil {
			return err
		}
		return checkAllow(a, item)
	}
	response := member(operation, "responses", strconv.Itoa(a.Status))
	if response == nil {
		if head && a.Status == http.StatusOK {
			return nil
		}
		return fmt.Errorf("%s %s: the status %d is not in the document", a.Method, a.Path, a.Status)
	}
	if err := checkHeaders(a, response); err != nil {
		return err
	}
	if err := c.checkBody(a, method, member(response, "content")); err != nil {
		return err
	}
	return checkCodes(a, response)
}

// ofInputs are the codes of what can be wrong with an input of its kind. The document
// has them by the constraints of its schema, and names all others.
var ofInputs = []string{
	"invalid", "required", "blank", "null", "invalid_choice", "min_length", "max_length", "min_value", "max_value", "unique",
	"password_too_short", "password_too_common", "password_entirely_numeric", "password_too_similar", "password_breached", "password_refused", "passwords_do_not_match", "password_incorrect", "reauthentication_required",
}

// checkCodes wants each code of a refusal in the description of its status.
func checkCodes(a Answer, response map[string]any) error {
	if a.Status < http.StatusBadRequest || len(a.Body) == 0 || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") {
		return nil
	}
	var body struct {
		Code   string                             `json:"code"`
		Errors map[string][]struct{ Code string } `json:"errors"`
	}
	if err := json.Unmarshal(a.Body, &body); err != nil {
		return err
	}
	codes := []string{body.Code}
	for _, list := range body.Errors {
		for _, e := range list {
			codes = append(codes, e.Code)
		}
	}
	description, _ := response["description"].(string)
	for _, code := range codes {
		if !slices.Contains(ofInputs, code) && !strings.Contains(description, "`"+code+"`") {
			return fmt.Errorf("%s %s: the document has no %s among the answers with %d: %s", a.Method, a.Path, code, a.Status, description)
		}
	}
	return nil
}

// hiddenFromSome reports whether a path may be as if there were none.
func hiddenFromSome(item map[string]any) bool {
	for method := range item {
		if member(item, method, "responses", strconv.Itoa(http.StatusNotFound)) != nil {
			return true
		}
	}
	return false
}

// checkHeaders wants the headers that an answer of this status always has.
func checkHeaders(a Answer, response map[string]any) error {
	for name := range member(response, "headers") {
		required := name == "WWW-Authenticate" || name == "Location" || name == "ETag" || name == "Retry-After" && a.Status == http.StatusTooManyRequests
		if required && a.Header.Get(name) == "" {
			return fmt.Errorf("%s %s: %d without the header %s", a.Method, a.Path, a.Status, name)
		}
	}
	return nil
}

// checkBody holds the body of an answer against the content that the document has
// for it; nil: none. method is the operation's.
func (c *Checker) checkBody(a Answer, method string, content map[string]any) error {
	head := a.Method == http.MethodHead
	if content == nil || head {
		if len(a.Body) > 0 && !head {
			return fmt.Errorf("%s %s: %d with a body, which the document has not", a.Method, a.Path, a.Status)
		}
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || content[mediaType] == nil {
		return fmt.Errorf("%s %s: %d as %q, which is not in the document", a.Method, a.Path, a.Status, a.Header.Get("Content-Type"))
	}
	if mediaType == "image/svg+xml" { // a picture has no schema
		return nil
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.Body))
	if err != nil {
		return fmt.Errorf("%s %s: %d: the body is no JSON: %w", a.Method, a.Path, a.Status, err)
	}
	schema, err := c.schema(pointer("paths", a.Path, method, "responses", strconv.Itoa(a.Status), "content", mediaType, "schema"))
	if err != nil {
		return err
	}
	if err := schema.Validate(body); err != nil {
		return fmt.Errorf("%s %s: %d: the body does not match the document: %w\n%s", a.Method, a.Path, a.Status, err, a.Body)
	}
	return nil
}

// ValidateInput holds a JSON body against what an operation takes.
func (c *Checker) ValidateInput(method, path string, body any) error {
	schema, err := c.schema(pointer("paths", path, strings.ToLower(method), "requestBody", "content", "application/json", "schema"))
	if err != nil {
		return err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// Required are the members that the body of an operation must have.
func (c *Checker) Required(method, path string) []string {
	schema := member(c.doc, "paths", path, strings.ToLower(method), "requestBody", "content", "application/json", "schema")
	var names []string
	list, _ := schema["required"].([]any)
	for _, name := range list {
		names = append(names, name.(string))
	}
	return names
}

func expect(a Answer, status int, why string) error {
	if a.Status != status {
		return fmt.Errorf("%s %s: %d: %s, so the answer must be %d", a.Method, a.Path, a.Status, why, status)
	}
	return nil
}

// checkAllow compares Allow with the methods of the document.
func checkAllow(a Answer, item map[string]any) error {
	var allowed []string
	for part := range strings.SplitSeq(a.Header.Get("Allow"), ",") {
		if part = strings.ToLower(strings.TrimSpace(part)); part != "head" {
			allowed = append(allowed, part)
		}
	}
	var documented []string
	for method := range item {
		documented = append(documented, method)
	}
	slices.Sort(allowed)
	slices.Sort(documented)
	if !slices.Equal(allowed, documented) {
		return fmt.Errorf("%s %s: 405 allows %v, the document has %v", a.Method, a.Path, allowed, documented)
	}
	return nil
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// pointer is a JSON pointer (RFC 6901) as the fragment of a URL.
func pointer(parts ...string) string {
	var out strings.Builder
	for _, part := range parts {
		out.WriteString("/" + escape.Replace(part))
	}
	return out.String()
}

func (c *Checker) schema(pointer string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.schemas[pointer]; ok {
		return s, nil
	}
	s, err := c.compiler.Compile(documentURL + "#" + pointer)
	if err != nil {
		return nil, err
	}
	c.schemas[pointer] = s
	return s, nil
}
