// redirect.go: redirect mode, which an owner may choose: the act behind a mailed
// link is done by the GET that opens it, and the browser is sent on.

package registration

import (
	"net/http"
	"net/url"
	"strings"
)

// actsOnGet reports whether this request is the opening of a mailed link that
// acts at once. A HEAD is none, nor is what a browser fetches ahead of a click.
func (e *endpoint) actsOnGet(req *http.Request) bool {
	return e.linkActs && req.Method == http.MethodGet && !fetchesAhead(req.Header)
}

// fetchesAhead reports whether nobody has asked for this yet (prefetch, preview).
func fetchesAhead(h http.Header) bool {
	return strings.Contains(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch" ||
		h.Get("X-Moz") == "prefetch" || h.Get("X-Purpose") == "preview"
}

// declineToAct answers a HEAD, or a browser that fetches ahead, where a GET
// would act: it changes nothing, and its answer is not one to keep for the click.
func (r *webRealm) declineToAct(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if req.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	r.refuse(w, req, refuse(CodeUnavailable))
}

// maxQuery bounds a query that is looked at, in bytes: a mailed link with the
// longest address and the longest next, each of their bytes escaped.
const maxQuery = 8 << 10

// queryOf is a request's query; one that is too long for any of our links is none.
func queryOf(req *http.Request) url.Values {
	if len(req.URL.RawQuery) > maxQuery {
		return nil
	}
	return req.URL.Query()
}

// queryInput is what a mailed link carries, as an input. Of a parameter given
// twice the last counts, as in a form.
func queryInput(req *http.Request) Input {
	return valuesInput(queryOf(req))
}

func valuesInput(values url.Values) Input {
	in := make(Input, len(values))
	for name, all := range values {
		in[name] = value{kind: valueText, text: all[len(all)-1]}
	}
	return in
}

// sendOn answers an act behind a mailed link in redirect mode, and returns false
// where the usual answer is due: outside of it, for a refused new password,
// which the person can mend, and for a failure that may pass.
func (r *webRealm) sendOn(w http.ResponseWriter, c *call, e *endpoint, err error, html bool) bool {
	if !e.redirect.on() || e.linkActs && c.req.Method != http.MethodGet {
		return false
	}
	target := e.redirect.Success
	if err != nil {
		refusal := asRefusal(err)
		switch statusOf(refusal.Code) {
		case http.StatusBadRequest:
			if !e.linkActs && !aboutLink(refusal) {
				return false
			}
		case http.StatusUnauthorized, http.StatusForbidden: // register_email.signed_in
			if !e.linkActs || !html {
				return false
			}
		default:
			return false
		}
		target = e.redirect.Failure
	} else if c.next != "" {
		target = withQuery(target, paramNext, c.next)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address has a signature
	h.Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// aboutLink reports whether the mailed link is what was refused.
func aboutLink(e *Error) bool {
	if len(e.Fields) == 0 {
		return e.Code == CodeSignatureInvalid || e.Code == CodeSignatureExpired
	}
	for _, f := range e.Fields {
		switch f.Field {
		case paramUserID, paramTimestamp, paramSignature:
			return true
		}
	}
	return false
}

// withQuery sets a parameter in the query of a URL that was checked before.
func withQuery(target, name, value string) string {
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}
