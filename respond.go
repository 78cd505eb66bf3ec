// respond.go: the only place that turns an act's outcome into bytes: content
// negotiation, the error shapes, and the table from error code to HTTP status.

package registration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// statuses has the HTTP status of every single refusal. What is not in it is 400.
var statuses = map[Code]int{
	CodeNotAuthenticated:     http.StatusUnauthorized,
	CodeTokenInvalid:         http.StatusUnauthorized,
	CodeTokenReused:          http.StatusUnauthorized,
	CodeRefreshConflict:      http.StatusConflict,
	CodeSessionNotFound:      http.StatusNotFound,
	CodePermissionDenied:     http.StatusForbidden,
	CodeCrossOrigin:          http.StatusForbidden,
	CodeNotFound:             http.StatusNotFound,
	CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	CodeTooLarge:             http.StatusRequestEntityTooLarge,
	CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	CodeThrottled:            http.StatusTooManyRequests,
	CodeInternal:             http.StatusInternalServerError,
	CodeUnavailable:          http.StatusServiceUnavailable,
}

func statusOf(code Code) int {
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusBadRequest
}

// maxAccept bounds how much of an Accept header is looked at, in bytes. Browsers
// send some 150.
const maxAccept = 2 << 10

// acceptedQuality returns the quality of the best range in an Accept header
// that names the media type, and -1 where none does. Wildcards are left out:
// a client that takes anything gets JSON.
func acceptedQuality(accept []string, types ...string) float64 {
	best := -1.0
	left := maxAccept
	for _, line := range accept {
		line = line[:min(len(line), left)]
		left -= len(line)
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.TrimSpace(name)
			for _, t := range types {
				if strings.EqualFold(name, t) {
					best = max(best, quality(params))
				}
			}
		}
	}
	return best
}

func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// acceptsHTML reports whether the client names HTML and likes it better than
// JSON, as browsers do and API clients do not.
func acceptsHTML(h http.Header) bool {
	accept := h["Accept"]
	html := acceptedQuality(accept, "text/html", "application/xhtml+xml")
	return html > 0 && html > acceptedQuality(accept, "application/json", "application/problem+json")
}

func acceptsProblem(h http.Header) bool {
	accept := h["Accept"]
	problem := acceptedQuality(accept, "application/problem+json")
	return problem > 0 && problem >= acceptedQuality(accept, "application/json")
}

// writeJSON sends a body that the caller has checked to be encodable.
func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // maps and slices of strings: can't fail
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

// A member is one member of a JSON object.
type member struct {
	Name  string
	Value any
}

// An object marshals in the order of its members.
type object []member

// objectOf is a profile as an answer has it.
func objectOf(profile []Shown) object {
	o := make(object, len(profile))
	for i, f := range profile {
		o[i] = member(f)
	}
	return o
}

// newObject makes an object of names and values by turns.
func newObject(namesAndValues ...any) object {
	var o object
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		name, _ := namesAndValues[i].(string)
		o = append(o, member{name, namesAndValues[i+1]})
	}
	return o
}

// MarshalJSON implements json.Marshaler.
func (fields object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	for i, f := range fields {
		out.WriteByte("{,"[min(i, 1)])
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	if len(fields) == 0 {
		out.WriteByte('{')
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// asRefusal makes any error one that can be sent.
func asRefusal(err error) *Error {
	refusal := (*Error)(nil)
	if errors.As(err, &refusal) {
		return refusal
	}
	if errors.Is(err, ErrNotFound) {
		return refuse(CodeNotAuthenticated)
	}
	return &Error{Code: CodeInternal, Cause: err}
}

// problem is an RFC 9457 body.
type problem struct {
	Type   string                      `json:"type"`
	Title  string                      `json:"title"`
	Status int                         `json:"status"`
	Detail string                      `json:"detail"`
	Code   Code                        `json:"code"`
	Errors map[string][]problemMessage `json:"errors,omitempty"`
}

type problemMessage struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// errorHeaders sets what every refusal carries, logs its cause once, and
// returns the status.
func (r *webRealm) errorHeaders(w http.ResponseWriter, req *http.Request, e *Error) int {
	status := statusOf(e.Code)
	if e.Cause != nil {
		log := r.logger.Error
		switch {
		case errors.Is(e.Cause, context.Canceled): // the client hung up
			log = r.logger.Debug
		case status < http.StatusInternalServerError:
			log = r.logger.Warn
		}
		log("request failed", zap.String("path", req.URL.Path), zap.String("code", string(e.Code)), zap.Error(e.Cause))
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(seconds(e.RetryAfter), 10))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", r.challenge())
	}
	return status
}

// challenge is the WWW-Authenticate of every 401 (RFC 9110, 11.6.1). Browsers
// know neither scheme and show no prompt.
func (r *webRealm) challenge() string {
	return `Bearer realm="` + r.name + `", Token realm="` + r.name + `"`
}

// refuse answers with a refusal, in HTML for a browser.
func (r *webRealm) refuse(w http.ResponseWriter, req *http.Request, err error) {
	r.refuseTo(w, req, nil, err)
}

// refuseTo is refuse for somebody who is signed in.
func (r *webRealm) refuseTo(w http.ResponseWriter, req *http.Request, who *Principal, err error) {
	e := asRefusal(err)
	if !r.options.Pages.Off && acceptsHTML(req.Header) {
		r.pages.refusal(w, req, who, e)
		return
	}
	r.writeError(w, req, e)
}

// inLanguage says in the headers which language an answer is in, and that
// another request may get another.
func inLanguage(w http.ResponseWriter, l *locale) {
	h := w.Header()
	h.Set("Content-Language", l.name)
	h.Add("Vary", "Accept, Accept-Language")
}

// writeError sends a refusal in the DRF shape or, where asked for, as a problem.
func (r *webRealm) writeError(w http.ResponseWriter, req *http.Request, e *Error) {
	status := r.errorHeaders(w, req, e)
	l := r.language(req)
	inLanguage(w, l)
	if acceptsProblem(req.Header) {
		body := problem{Type: "about:blank", Title: l.status(status), Status: status, Detail: refusalText(l, e.Code, e.Params), Code: e.Code}
		if len(e.Fields) > 0 {
			body.Detail, body.Errors = l.text(say("error.see_errors")), map[string][]problemMessage{}
		}
		for _, f := range e.Fields {
			body.Errors[f.Field] = append(body.Errors[f.Field], problemMessage{f.Code, l.text(f.phrase())})
		}
		writeJSON(w, status, "application/problem+json", body)
		return
	}
	if len(e.Fields) > 0 {
		body := map[string][]string{}
		for _, f := range e.Fields {
			body[f.Field] = append(body[f.Field], l.text(f.phrase()))
		}
		writeJSON(w, status, "application/json", body)
		return
	}
	text := refusalText(l, e.Code, e.Params)
	if r.options.NonFieldErrorsKey && status == http.StatusBadRequest && e.Code != CodeMalformed {
		writeJSON(w, status, "application/json", map[string][]string{fieldNonField: {text}})
		return
	}
	writeJSON(w, status, "application/json", map[string]string{"detail": text})
}

// writeReply sends a success as JSON.
func (r *webRealm) writeReply(w http.ResponseWriter, l *locale, rep *reply) {
	w.Header().Set("Cache-Control", "no-store")
	var body any
	switch {
	case rep.body != nil: // in no language, either
		w.Header().Add("Vary", "Accept")
		body = rep.body
	case rep.profile != nil: // in no language
		w.Header().Add("Vary", "Accept")
		body = objectOf(rep.profile)
	default:
		inLanguage(w, l)
		fields := object{{"detail", l.text(rep.detail)}}
		if rep.token != "" {
			fields = append(fields, member{"token", rep.token})
		}
		if rep.refresh != "" {
			fields = append(fields, member{"expires", timeValue(rep.expires)}, member{paramRefreshToken, rep.refresh})
		}
		body = fields
	}
	writeJSON(w, rep.status, "application/json", body)
}
