// decode.go: from the bytes of a request's body to an Input, whatever its
// encoding. What can't be read is refused before any work is done.

package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// MaxBody bounds a request's body, in bytes.
const MaxBody = 64 << 10

// maxMembers bounds how many members a body has: several times the fields that an
// account can have, and few enough that they cost less than the bytes do.
const maxMembers = 500

// Bounds of what a Content-Type says, in bytes. RFC 2046 (5.1.1) allows no longer
// boundary.
const (
	maxContentType = 512
	maxBoundary    = 70
)

// bodyPatience is how long a body may take. Its 64 KiB come within it on any
// line; Caddy by itself waits for ever.
const bodyPatience = 30 * time.Second

// Malformed refuses a body for the reason with this message id.
func Malformed(id string) *refusal.Error {
	return &refusal.Error{Code: refusal.CodeMalformed, Params: text.Params{"reason": text.Say(id)}}
}

// decodeBody reads the body of a request. An empty one is an empty input.
func decodeBody(w http.ResponseWriter, req *http.Request) (field.Input, error) {
	in, _, err := decode(w, req, false)
	return in, err
}

// DecodeLists is decodeBody for who takes several values by one name, too: the lists of
// texts of a JSON object, and all that a form says by a name, in their order.
func DecodeLists(w http.ResponseWriter, req *http.Request) (field.Input, map[string][]string, error) {
	return decode(w, req, true)
}

func decode(w http.ResponseWriter, req *http.Request, lists bool) (field.Input, map[string][]string, error) {
	mediaType, params, body, err := readTyped(w, req)
	if err != nil {
		return nil, nil, err
	}
	var in field.Input
	var several map[string][]string
	switch mediaType {
	case "":
		in = field.Input{}
	case "application/json":
		var members map[string]json.RawMessage
		if members, err = jsonMembers(body); err == nil {
			in = jsonInput(members)
			if lists {
				several = jsonLists(members)
			}
		}
	case "multipart/form-data":
		in, err = decodeMultipart(body, params["boundary"])
	default:
		if in, err = decodeForm(body); err == nil && lists {
			several, err = url.ParseQuery(string(body))
		}
	}
	return in, several, err
}

// jsonLists are the members of an object that are lists of texts.
func jsonLists(members map[string]json.RawMessage) map[string][]string {
	several := map[string][]string{}
	for name, raw := range members {
		var list []string
		if json.Unmarshal(raw, &list) == nil && list != nil {
			several[name] = list
		}
	}
	return several
}

// readTyped reads the body of a request, and of which type it is: "" where it is empty
// and has none.
func readTyped(w http.ResponseWriter, req *http.Request) (mediaType string, params map[string]string, body []byte, err error) {
	header := req.Header.Get("Content-Type")
	mediaType, params, err = mime.ParseMediaType(header[:min(len(header), maxContentType)])
	known := err == nil && len(header) <= maxContentType && (mediaType == "application/json" || mediaType == "application/x-www-form-urlencoded" || mediaType == "multipart/form-data")
	if header != "" && !known {
		return "", nil, nil, refusal.New(refusal.CodeUnsupportedMediaType)
	}
	tooLarge := &refusal.Error{Code: refusal.CodeTooLarge, Params: text.Params{"max": MaxBody}}
	if req.ContentLength > MaxBody {
		return "", nil, nil, tooLarge
	}
	body, err = readBody(w, req, bodyPatience)
	if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) {
		return "", nil, nil, tooLarge
	}
	if err != nil {
		return "", nil, nil, Malformed("malformed.truncated")
	}
	if header == "" {
		if len(body) > 0 {
			return "", nil, nil, refusal.New(refusal.CodeUnsupportedMediaType)
		}
		return "", nil, nil, nil
	}
	if mediaType != "application/json" && !utf8.Valid(body) {
		return "", nil, nil, Malformed("malformed.utf8")
	}
	return mediaType, params, body, nil
}

// readBody reads at most MaxBody bytes within a time. A client that sends byte
// after byte holds a connection no longer than that.
func readBody(w http.ResponseWriter, req *http.Request, patience time.Duration) ([]byte, error) {
	if req.ContentLength == 0 {
		return nil, nil
	}
	conn := http.NewResponseController(w)
	limited := conn.SetReadDeadline(time.Now().Add(patience)) == nil // HTTP/3 has none: there quic-go's idle time counts
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxBody))
	if limited && err == nil {
		// The connection goes on, and may be watched for its end during the act.
		_ = conn.SetReadDeadline(time.Time{})
	}
	return body, err
}

// tooManyMembers refuses a body for how many members it has.
func tooManyMembers() *refusal.Error {
	return &refusal.Error{Code: refusal.CodeMalformed, Params: text.Params{"reason": text.Say("malformed.members", text.Params{"max": maxMembers})}}
}

// DecodeJSON takes one JSON object. Of a key given twice the last value counts.
// What stands in a list or an object is not decoded, only checked: no field takes
// one.
func DecodeJSON(body []byte) (field.Input, error) {
	members, err := jsonMembers(body)
	if err != nil {
		return nil, err
	}
	return jsonInput(members), nil
}

// jsonMembers are those of one JSON object; an empty body has none.
func jsonMembers(body []byte) (members map[string]json.RawMessage, err error) {
	switch {
	case !WholeCharacters(body):
		return nil, Malformed("malformed.utf8")
	case len(bytes.TrimSpace(body)) == 0:
		return nil, nil
	case bytes.Count(body, []byte(",")) >= maxMembers && hasTooMany(body):
		return nil, tooManyMembers()
	}
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, noObject(body)
	}
	return members, nil
}

// hasTooMany counts the members of an object, one that is given twice as two.
func hasTooMany(body []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return false
	}
	for members := 0; dec.More(); members++ {
		if members == maxMembers {
			return true
		}
		var value json.RawMessage
		if _, err := dec.Token(); err != nil || dec.Decode(&value) != nil {
			return false
		}
	}
	return false
}

func jsonInput(members map[string]json.RawMessage) field.Input {
	in := make(field.Input, len(members))
	for name, raw := range members {
		in[name] = rawValue(raw)
	}
	return in
}

// WholeCharacters reports whether a JSON text is made of characters alone: it is UTF-8,
// and none of its escapes is half a character.
func WholeCharacters(body []byte) bool { return utf8.Valid(body) && !loneSurrogate(body) }

// loneSurrogate reports whether an escape in a JSON text stands for half a
// character: there is no UTF-8 for that, and encoding/json would make the same
// U+FFFD of each, so that many passwords were one.
func loneSurrogate(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		i++ // what is escaped
		first, ok := escapedUnit(body[i:])
		if !ok {
			continue
		}
		i += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if i+1 >= len(body) || body[i+1] != '\\' {
			return true
		}
		second, ok := escapedUnit(body[i+2:])
		if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escapedUnit reads the uXXXX behind a backslash.
func escapedUnit(b []byte) (rune, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[1:5]), 16, 16)
	return rune(n), err == nil
}

// noObject says what is wrong with a body that is not one JSON object.
func noObject(body []byte) error {
	var raw json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&raw); err != nil {
		return Malformed("malformed.json")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Malformed("malformed.trailing")
	}
	return refusal.FieldErrors{{Field: refusal.NonField, Code: refusal.CodeNotAnObject}}.Err()
}

// rawValue is a JSON value that was checked, as an input has it.
func rawValue(raw json.RawMessage) field.Value {
	if len(raw) == 0 {
		return field.Value{Kind: field.ValueOther}
	}
	if raw[0] == '{' || raw[0] == '[' {
		return field.Value{Kind: field.ValueOther, Text: string(raw)}
	}
	var v any
	if raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9' {
		v = json.Number(raw)
	} else if err := json.Unmarshal(raw, &v); err != nil {
		return field.Value{Kind: field.ValueOther}
	}
	return field.JSONValue(v)
}

func decodeForm(body []byte) (field.Input, error) {
	if bytes.Count(body, []byte("&")) >= maxMembers {
		return nil, tooManyMembers()
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, Malformed("malformed.form")
	}
	in := make(field.Input, len(form)+1)
	in[field.FormMark] = field.Value{Kind: field.ValueForm}
	for name, values := range form {
		text := values[len(values)-1]
		if !utf8.ValidString(name) || !utf8.ValidString(text) {
			return nil, Malformed("malformed.utf8")
		}
		in[name] = field.Value{Kind: field.ValueText, Text: text}
	}
	return in, nil
}

func decodeMultipart(body []byte, boundary string) (field.Input, error) {
	if boundary == "" || len(boundary) > maxBoundary {
		return nil, Malformed("malformed.boundary")
	}
	if bytes.Count(body, []byte("--"+boundary)) > maxMembers+1 {
		return nil, tooManyMembers()
	}
	in := field.Input{field.FormMark: {Kind: field.ValueForm}}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) && bytes.Contains(body, []byte("--"+boundary)) {
			return in, nil
		}
		if err != nil {
			return nil, Malformed("malformed.multipart")
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, Malformed("malformed.multipart")
		}
		// The body was looked at as it came; a part may be encoded once more.
		if !utf8.Valid(text) || !utf8.ValidString(part.FormName()) {
			return nil, Malformed("malformed.utf8")
		}
		v := field.Value{Kind: field.ValueText, Text: string(text)}
		if part.FileName() != "" {
			v = field.Value{Kind: field.ValueOther}
		}
		in[part.FormName()] = v
	}
}

// maxQuery bounds a query that is looked at, in bytes: a mailed link with the
// longest address and the longest next, each of their bytes escaped.
const maxQuery = 4 * MaxNext

// QueryOf is a request's query; one that is too long for any of our links is none.
func QueryOf(req *http.Request) url.Values {
	if len(req.URL.RawQuery) > maxQuery {
		return nil
	}
	return req.URL.Query()
}

// queryInput is what a mailed link carries, as an input. Of a parameter given
// twice the last counts, as in a form. What its way did to the link is fixed.
func queryInput(req *http.Request) field.Input {
	if len(req.URL.RawQuery) > maxQuery {
		return nil
	}
	return valuesInput(sign.RepairQuery(req.URL.RawQuery))
}

func valuesInput(values url.Values) field.Input {
	in := make(field.Input, len(values))
	for name, all := range values {
		in[name] = field.Value{Kind: field.ValueText, Text: all[len(all)-1]}
	}
	return in
}
