// redirect.go: redirect mode, which an owner may choose: the act behind a mailed
// link is done by the GET that opens it, and the browser is sent on.

package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

// actsOnGet reports whether this request is the opening of a mailed link that
// acts at once. A HEAD is none, nor is what a browser fetches ahead of a click.
func (e *Endpoint) actsOnGet(req *http.Request) bool {
	return e.linkActs && req.Method == http.MethodGet && !fetchesAhead(req.Header)
}

// fetchesAhead reports whether nobody has asked for this yet (prefetch, preview).
func fetchesAhead(h http.Header) bool {
	return strings.Contains(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch" ||
		h.Get("X-Moz") == "prefetch" || h.Get("X-Purpose") == "preview"
}

// declineToAct answers a HEAD, or a browser that fetches ahead, where a GET
// would act: it changes nothing, and its answer is not one to keep for the click.
func (r *Realm) declineToAct(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if req.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	r.Refuse(w, req, refusal.New(refusal.CodeUnavailable))
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

// sendOn answers an act behind a mailed link in redirect mode, and returns false
// where the usual answer is due: outside of it, for a refused new password,
// which the person can correct on a page of ours, and for a failure that may pass.
func (r *Realm) sendOn(w http.ResponseWriter, c *Call, e *Endpoint, err error, html bool) bool {
	// Without pages, JSON is all that a person would see of a form's answer.
	bare := r.Options.Pages.Off && c.In.IsForm() && acceptsHTML(c.Req.Header)
	if !e.Redirect.on() || e.linkActs && c.Req.Method != http.MethodGet && !bare {
		return false
	}
	target := e.Redirect.Success
	if err != nil {
		refusal := AsRefusal(err)
		if !e.sendsOn(refusal, bare, html) {
			return false
		}
		target = e.Redirect.Failure
		if aboutLink(refusal) && e.linkActs && r.wasUsed(c, e) {
			target, err = e.Redirect.Success, nil // what it does is done
		}
	}
	if err == nil && c.Next != "" {
		target = withQuery(target, sign.ParamNext, c.Next)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address has a signature
	h.Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// sendsOn reports whether a refusal is for failure_redirect.
func (e *Endpoint) sendsOn(refused *refusal.Error, bare, html bool) bool {
	switch StatusOf(refused.Code) {
	case http.StatusBadRequest:
		return e.linkActs || bare || aboutLink(refused)
	case http.StatusUnauthorized, http.StatusForbidden: // register_email.signed_in
		return bare || e.linkActs && html
	}
	return false
}

// wasUsed reports whether the link of a call has done its act already.
func (r *Realm) wasUsed(c *Call, e *Endpoint) bool {
	_, err := c.UsedLink(c.Req.Context(), c.In, e.Mailed.Purpose)
	return err == nil
}

// aboutLink reports whether the mailed link is what was refused.
func aboutLink(e *refusal.Error) bool {
	if len(e.Fields) == 0 {
		return e.Code == refusal.CodeSignatureInvalid || e.Code == refusal.CodeSignatureExpired
	}
	for _, f := range e.Fields {
		switch f.Field {
		case sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature:
			return true
		}
	}
	return false
}

// withQuery sets a parameter in a URL that was checked before.
func withQuery(target, name, value string) string {
	if with, err := sign.WithParams(target, url.Values{name: {value}}); err == nil {
		return with
	}
	return target
}
