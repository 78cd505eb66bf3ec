// decode.go: from the bytes of a request's body to an Input, whatever its
// encoding. What can't be read is refused before any work is done.

package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

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

// malformed refuses a body for the reason with this message id.
func malformed(id string) *Error {
	return &Error{Code: CodeMalformed, Params: Params{"reason": say(id)}}
}

// decodeBody reads the body of a request. An empty one is an empty input.
func decodeBody(w http.ResponseWriter, req *http.Request) (Input, error) {
	header := req.Header.Get("Content-Type")
	mediaType, params, err := mime.ParseMediaType(header[:min(len(header), maxContentType)])
	known := err == nil && len(header) <= maxContentType && (mediaType == "application/json" || mediaType == "application/x-www-form-urlencoded" || mediaType == "multipart/form-data")
	if header != "" && !known {
		return nil, refuse(CodeUnsupportedMediaType)
	}
	tooLarge := &Error{Code: CodeTooLarge, Params: Params{"max": maxBody}}
	if req.ContentLength > maxBody {
		return nil, tooLarge
	}
	body, err := readBody(w, req, bodyPatience)
	if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) {
		return nil, tooLarge
	}
	if err != nil {
		return nil, malformed("malformed.truncated")
	}
	if header == "" {
		if len(body) > 0 {
			return nil, refuse(CodeUnsupportedMediaType)
		}
		return Input{}, nil
	}
	if !utf8.Valid(body) {
		return nil, malformed("malformed.utf8")
	}
	switch mediaType {
	case "application/json":
		return decodeJSON(body)
	case "multipart/form-data":
		return decodeMultipart(body, params["boundary"])
	}
	return decodeForm(body)
}

// readBody reads at most maxBody bytes within a time. A client that sends byte
// after byte holds a connection no longer than that.
func readBody(w http.ResponseWriter, req *http.Request, patience time.Duration) ([]byte, error) {
	if req.ContentLength == 0 {
		return nil, nil
	}
	conn := http.NewResponseController(w)
	limited := conn.SetReadDeadline(time.Now().Add(patience)) == nil // HTTP/3 has none: there quic-go's idle time counts
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if limited && err == nil {
		// The connection goes on, and may be watched for its end during the act.
		_ = conn.SetReadDeadline(time.Time{})
	}
	return body, err
}

// tooManyMembers refuses a body for how many members it has.
func tooManyMembers() *Error {
	return &Error{Code: CodeMalformed, Params: Params{"reason": say("malformed.members", Params{"max": maxMembers})}}
}

// decodeJSON takes one JSON object. Of a key given twice the last value counts.
// What stands in a list or an object is not decoded, only checked: no field takes
// one.
func decodeJSON(body []byte) (Input, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return Input{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	first, err := dec.Token()
	if err != nil {
		return nil, malformed("malformed.json")
	}
	if first != json.Delim('{') {
		return nil, noObject(body)
	}
	in := Input{}
	for members := 0; dec.More(); members++ {
		if members == maxMembers {
			return nil, tooManyMembers()
		}
		name, err := dec.Token()
		if err != nil {
			return nil, malformed("malformed.json")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, malformed("malformed.json")
		}
		text, _ := name.(string) // the decoder takes nothing else here
		in[text] = rawValue(raw)
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, malformed("malformed.json")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("malformed.trailing")
	}
	return in, nil
}

// noObject says what is wrong with a body that begins with no brace.
func noObject(body []byte) error {
	var raw json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&raw); err != nil {
		return malformed("malformed.json")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return malformed("malformed.trailing")
	}
	return fieldErrors{{Field: fieldNonField, Code: CodeNotAnObject}}.err()
}

// rawValue is a JSON value that was checked, as an input has it.
func rawValue(raw json.RawMessage) value {
	if len(raw) == 0 || raw[0] == '[' || raw[0] == '{' {
		return value{kind: valueOther}
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return value{kind: valueOther}
	}
	return jsonValue(v)
}

func decodeForm(body []byte) (Input, error) {
	if bytes.Count(body, []byte("&")) >= maxMembers {
		return nil, tooManyMembers()
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, malformed("malformed.form")
	}
	in := make(Input, len(form)+1)
	in[formMark] = value{kind: valueForm}
	for name, values := range form {
		text := values[len(values)-1]
		if !utf8.ValidString(name) || !utf8.ValidString(text) {
			return nil, malformed("malformed.utf8")
		}
		in[name] = value{kind: valueText, text: text}
	}
	return in, nil
}

func decodeMultipart(body []byte, boundary string) (Input, error) {
	if boundary == "" || len(boundary) > maxBoundary {
		return nil, malformed("malformed.boundary")
	}
	if bytes.Count(body, []byte("--"+boundary)) > maxMembers+1 {
		return nil, tooManyMembers()
	}
	in := Input{formMark: {kind: valueForm}}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) && bytes.Contains(body, []byte("--"+boundary)) {
			return in, nil
		}
		if err != nil {
			return nil, malformed("malformed.multipart")
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, malformed("malformed.multipart")
		}
		// The body was looked at as it came; a part may be encoded once more.
		if !utf8.Valid(text) || !utf8.ValidString(part.FormName()) {
			return nil, malformed("malformed.utf8")
		}
		v := value{kind: valueText, text: string(text)}
		if part.FileName() != "" {
			v = value{kind: valueOther}
		}
		in[part.FormName()] = v
	}
}
