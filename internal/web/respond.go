// respond.go: the only place that turns an act's outcome into bytes: content
// negotiation, the error shapes, and the table from error code to HTTP status.

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Statuses has the HTTP status of every single refusal. What is not in it is 400.
var Statuses = map[refusal.Code]int{
	refusal.CodeNotAuthenticated:     http.StatusUnauthorized,
	refusal.CodeInsufficient:         http.StatusUnauthorized,
	refusal.CodeTokenInvalid:         http.StatusUnauthorized,
	refusal.CodeTokenReused:          http.StatusUnauthorized,
	refusal.CodeRefreshConflict:      http.StatusConflict,
	refusal.CodeNotWaiting:           http.StatusConflict,
	refusal.CodeLastAdmin:            http.StatusConflict,
	refusal.CodeNoLink:               http.StatusConflict,
	refusal.CodeSessionNotFound:      http.StatusNotFound,
	refusal.CodeFactorNotFound:       http.StatusNotFound,
	refusal.CodeDeviceNotFound:       http.StatusNotFound,
	refusal.CodeFactorRequired:       http.StatusForbidden,
	refusal.CodeFactorLimit:          http.StatusConflict,
	refusal.CodeTokenNotFound:        http.StatusNotFound,
	refusal.CodeTokenLimit:           http.StatusConflict,
	refusal.CodeEmailNotFound:        http.StatusNotFound,
	refusal.CodeEmailUnconfirmed:     http.StatusConflict,
	refusal.CodeEmailPrimary:         http.StatusConflict,
	refusal.CodeEmailLimit:           http.StatusConflict,
	refusal.CodeLastWayIn:            http.StatusConflict,
	refusal.CodeOIDCDenied:           http.StatusForbidden,
	refusal.CodeOIDCAnother:          http.StatusForbidden,
	refusal.CodeOIDCUnavailable:      http.StatusServiceUnavailable,
	refusal.CodeLinkedKnown:          http.StatusConflict,
	refusal.CodeLinkedTaken:          http.StatusConflict,
	refusal.CodeLinkedLimit:          http.StatusConflict,
	refusal.CodeLinkedNotFound:       http.StatusNotFound,
	refusal.CodeInvitationInvalid:    http.StatusForbidden,
	refusal.CodeSignUpRefused:        http.StatusForbidden,
	refusal.CodePermissionDenied:     http.StatusForbidden,
	refusal.CodeInvitationRequired:   http.StatusForbidden,
	refusal.CodeCrossOrigin:          http.StatusForbidden,
	refusal.CodeNotFound:             http.StatusNotFound,
	refusal.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	refusal.CodeTooLarge:             http.StatusRequestEntityTooLarge,
	refusal.CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	refusal.CodeThrottled:            http.StatusTooManyRequests,
	refusal.CodeInternal:             http.StatusInternalServerError,
	refusal.CodeUnavailable:          http.StatusServiceUnavailable,
}

// StatusOf is the HTTP status of a refusal: 400 unless Statuses has another.
func StatusOf(code refusal.Code) int {
	if status, ok := Statuses[code]; ok {
		return status
	}
	return http.StatusBadRequest
}

// maxAccept bounds how much of an Accept header is looked at, in bytes. Browsers
// send some 150.
const maxAccept = 2 << 10

// acceptedQuality returns the quality of the best range in an Accept header
// that names the media type, and -1 where none does. Wildcards are left out:
// a client that takes anything gets JSON. No library is used, because those that
// choose among types (goautoneg) let wildcards choose too, and
// read a header of any length.
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

// acceptsProblem reports whether the client names application/problem+json and likes
// it no less than JSON.
func acceptsProblem(h http.Header) bool {
	accept := h["Accept"]
	problem := acceptedQuality(accept, "application/problem+json")
	return problem > 0 && problem >= acceptedQuality(accept, "application/json")
}

// WriteJSON sends a body that the caller has checked to be encodable.
func WriteJSON(w http.ResponseWriter, status int, contentType string, body any) {
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

// An Object marshals in the order of its members.
type Object []member

// objectOf is a profile as an answer has it.
func objectOf(profile []field.Shown) Object {
	o := make(Object, len(profile))
	for i, f := range profile {
		o[i] = member(f)
	}
	return o
}

// NewObject makes an object of names and values by turns.
func NewObject(namesAndValues ...any) Object {
	var o Object
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		name, _ := namesAndValues[i].(string)
		o = append(o, member{name, namesAndValues[i+1]})
	}
	return o
}

// MarshalJSON implements json.Marshaler.
func (fields Object) MarshalJSON() ([]byte, error) {
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

// AsRefusal makes any error one that can be sent.
func AsRefusal(err error) *refusal.Error {
	refused := (*refusal.Error)(nil)
	if errors.As(err, &refused) {
		return refused
	}
	if errors.Is(err, store.ErrNotFound) {
		return refusal.New(refusal.CodeNotAuthenticated)
	}
	return &refusal.Error{Code: refusal.CodeInternal, Cause: err}
}

// problem is an RFC 9457 body.
type problem struct {
	Type   string                      `json:"type"`
	Title  string                      `json:"title"`
	Status int                         `json:"status"`
	Detail string                      `json:"detail"`
	Code   refusal.Code                `json:"code"`
	Errors map[string][]problemMessage `json:"errors,omitempty"`
}

type problemMessage struct {
	Code    refusal.Code `json:"code"`
	Message string       `json:"message"`
}

// errorHeaders sets what every refusal carries, logs its cause once, and
// returns the status.
func (r *Realm) errorHeaders(w http.ResponseWriter, req *http.Request, e *refusal.Error) int {
	status := StatusOf(e.Code)
	if e.Cause != nil {
		log := r.Logger.Error
		switch {
		case errors.Is(e.Cause, context.Canceled): // the client hung up
			log = r.Logger.Debug
		case errors.Is(e.Cause, password.ErrBusy):
			r.tooMany(req)
			log = r.Logger.Debug
		case status < http.StatusInternalServerError:
			log = r.Logger.Warn
		}
		log("request failed", zap.String("path", req.URL.Path), zap.String("code", string(e.Code)), zap.Error(e.Cause))
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(refusal.Seconds(e.RetryAfter), 10))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", r.Challenge())
	}
	if e.Challenge != "" {
		h.Set("WWW-Authenticate", `Bearer realm="`+r.Name+`", `+e.Challenge)
	}
	return status
}

// Announce sets what a refusal carries besides its body, for who writes that, and
// returns its status and what it says.
func (r *Realm) Announce(w http.ResponseWriter, req *http.Request, err error) (status int, detail string) {
	e := AsRefusal(err)
	return r.errorHeaders(w, req, e), refusal.Text(r.Language(req), e.Code, e.Params)
}

// Challenge is the WWW-Authenticate of every 401 (RFC 9110, 11.6.1). Browsers
// know neither scheme and show no prompt.
func (r *Realm) Challenge() string {
	return `Bearer realm="` + r.Name + `", Token realm="` + r.Name + `"`
}

// Refuse answers with a refusal, in HTML for a browser.
func (r *Realm) Refuse(w http.ResponseWriter, req *http.Request, err error) {
	r.RefuseTo(w, req, nil, err)
}

// RefuseTo is Refuse for somebody who is signed in.
func (r *Realm) RefuseTo(w http.ResponseWriter, req *http.Request, who *session.Principal, err error) {
	e := AsRefusal(err)
	if !r.Options.Pages.Off && WantsPage(req.Header) {
		r.Pages.refusal(w, req, who, e, "")
		return
	}
	r.writeError(w, req, e)
}

// RefuseProgram is Refuse for who reads no page, whatever it says it takes.
func (r *Realm) RefuseProgram(w http.ResponseWriter, req *http.Request, err error) {
	r.writeError(w, req, AsRefusal(err))
}

// inLanguage says in the headers which language an answer is in, and that
// another request may get another.
func inLanguage(w http.ResponseWriter, l *text.Locale) {
	h := w.Header()
	h.Set("Content-Language", l.Name)
	h.Add("Vary", "Accept, Accept-Language")
}

// writeError sends a refusal in the DRF shape or, where asked for, as a problem.
func (r *Realm) writeError(w http.ResponseWriter, req *http.Request, e *refusal.Error) {
	status := r.errorHeaders(w, req, e)
	l := r.Language(req)
	inLanguage(w, l)
	if acceptsProblem(req.Header) {
		body := problem{Type: "about:blank", Title: l.Status(status), Status: status, Detail: refusal.Text(l, e.Code, e.Params), Code: e.Code}
		if len(e.Fields) > 0 {
			body.Detail, body.Errors = l.Text(text.Say("error.see_errors")), map[string][]problemMessage{}
		}
		for _, f := range e.Fields {
			body.Errors[f.Field] = append(body.Errors[f.Field], problemMessage{f.Code, l.Text(f.Phrase())})
		}
		WriteJSON(w, status, "application/problem+json", body)
		return
	}
	if len(e.Fields) > 0 {
		body := map[string][]string{}
		for _, f := range e.Fields {
			body[f.Field] = append(body[f.Field], l.Text(f.Phrase()))
		}
		WriteJSON(w, status, "application/json", body)
		return
	}
	text := refusal.Text(l, e.Code, e.Params)
	if r.Options.NonFieldErrorsKey && status == http.StatusBadRequest && e.Code != refusal.CodeMalformed {
		WriteJSON(w, status, "application/json", map[string][]string{refusal.NonField: {text}})
		return
	}
	WriteJSON(w, status, "application/json", map[string]string{"detail": text})
}

// AccountShown is an account as an owner sees it: every field, and what stands behind
// is_active. Its password's hash is not among it.
func AccountShown(a *account.Accounts, u *store.User) Object {
	var all Object
	for _, f := range a.Policy.Fields.All {
		all = append(all, member{f.Name, f.Get(u)})
	}
	all = append(all, NewObject("email_verified", u.EmailVerified, "awaits_verification", u.AwaitsVerification, "awaits_approval", u.AwaitsApproval)...)
	if account.StateOf(u) == account.StateClosing {
		all = append(all, member{"closing_at", u.LeavesAt})
	}
	if u.Reason != "" {
		all = append(all, member{"reason", u.Reason})
	}
	if u.Terms != "" {
		all = append(all, member{"terms", NewObject("version", u.Terms, "accepted", u.TermsAt)})
	}
	if len(u.Factors) > 0 {
		list := make([]string, len(u.Factors))
		for i, f := range u.Factors {
			list[i] = string(f.Type)
		}
		all = append(all, member{"factors", list}, member{"recovery_codes", len(u.RecoveryCodes)})
	}
	if len(u.LinkedAccounts) > 0 {
		all = append(all, member{"linked_accounts", LinkedShown(a.Policy, u)})
	}
	if len(u.FurtherEmails) > 0 {
		all = append(all, member{"further_emails", u.FurtherEmails})
	}
	var waiting []string
	for _, address := range a.Addresses(u) {
		if address.Waits {
			waiting = append(waiting, address.Email)
		}
	}
	if len(waiting) > 0 {
		all = append(all, member{"unconfirmed_emails", waiting})
	}
	if at := u.Unreachable; account.IsFurther(u, at.Email) {
		all = append(all, member{"email_unreachable", NewObject("email", at.Email, "since", at.Since, "server_says", at.Words)})
	} else if at.Email != "" && at.Email == u.Email {
		all = append(all, member{"email_unreachable", NewObject("since", at.Since, "server_says", at.Words)})
	}
	return all
}

// writePicture sends an SVG of ours that one person is to see.
func writePicture(w http.ResponseWriter, c *Call, rep *Reply) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "image/svg+xml")
	h.Set("Content-Length", strconv.Itoa(len(rep.Picture)))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(rep.Status)
	if c.Req.Method != http.MethodHead {
		_, _ = w.Write(rep.Picture)
	}
}

// writeFile sends what one person is to save.
func writeFile(w http.ResponseWriter, c *Call, rep *Reply) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="`+rep.FileName+`"`)
	h.Set("Content-Length", strconv.Itoa(len(rep.File)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(rep.Status)
	if c.Req.Method != http.MethodHead {
		_, _ = w.Write(rep.File)
	}
}

// writeReply sends a success as JSON.
func (r *Realm) writeReply(w http.ResponseWriter, l *text.Locale, rep *Reply) {
	w.Header().Set("Cache-Control", "no-store")
	var body any
	switch {
	case rep.Body != nil: // in no language, either
		w.Header().Add("Vary", "Accept")
		body = rep.Body
	case rep.Profile != nil: // in no language
		w.Header().Add("Vary", "Accept")
		body = objectOf(rep.Profile)
	default:
		inLanguage(w, l)
		fields := Object{{"detail", l.Text(rep.Detail)}}
		if rep.token != "" {
			fields = append(fields, member{"token", rep.token})
		}
		if rep.refresh != "" {
			fields = append(fields, member{"expires", field.TimeValue(rep.expires)}, member{account.ParamRefreshToken, rep.refresh})
		}
		body = append(fields, rep.Members...)
	}
	WriteJSON(w, rep.Status, "application/json", body)
}
