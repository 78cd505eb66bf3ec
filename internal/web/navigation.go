// navigation.go: who is answered with a page: a browser that goes somewhere, told
// by Fetch Metadata first and by Accept second.

package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/store"
)

// fetchMode is the Sec-Fetch-Mode of a request (Fetch Metadata), which scripts
// can't set; "" where the browser sends none: over plain HTTP, or an old one.
func fetchMode(h http.Header) string {
	if mode := h["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0]
	}
	return ""
}

// Navigates reports whether a browser goes to an address itself, so that it can be
// led to another: a GET or HEAD that navigates or, where Fetch Metadata says
// nothing, one that likes HTML better than JSON and that no script has marked.
func Navigates(req *http.Request) bool {
	if !isRead(req) {
		return false
	}
	if mode := fetchMode(req.Header); mode != "" {
		return mode == "navigate"
	}
	return acceptsHTML(req.Header) && len(req.Header["X-Requested-With"]) == 0
}

// WantsPage reports whether an answer is read by a person: it goes to a browser that
// navigates, by a form too, and doesn't ask for JSON, or to what likes HTML better.
func WantsPage(h http.Header) bool {
	if fetchMode(h) == "navigate" && acceptedQuality(h["Accept"], "application/json", "application/problem+json") < 0 {
		return true
	}
	return acceptsHTML(h)
}

// takesPage reports whether a page will do where an endpoint has no other answer: to
// what takes anything, as monitors and curl do, but to no script of a page.
func takesPage(h http.Header) bool {
	if mode := fetchMode(h); mode != "" && mode != "navigate" || len(h["X-Requested-With"]) > 0 {
		return false
	}
	accept := h["Accept"]
	return acceptedQuality(accept, "*/*", "text/*") > 0 && acceptedQuality(accept, "application/json", "application/problem+json") < 0 &&
		acceptedQuality(accept, "text/html") != 0
}

func isRead(req *http.Request) bool {
	return req.Method == http.MethodGet || req.Method == http.MethodHead
}

// leavesPages reports whether an act has ended what this browser was signed in by: it
// signed out, or signed in as somebody else, or the session that it came with is no
// good any more (a reset ends all). What the browser keeps of the pages of that
// session is to go. rep may be nil.
func (r *Realm) leavesPages(c *Call, rep *Reply, err error) bool {
	if rep == nil || err != nil && !rep.SignedOut {
		return false
	}
	if rep.SignedOut {
		return true
	}
	token, sent := sentCookie(c.Req, r.cookieName(c.Req))
	if !sent || rep.Cookie != "" && c.Who != nil && rep.User != nil && c.Who.User.ID == rep.User.ID {
		return false // nobody was signed in, or the same person still is
	}
	was, err := r.bySession(c.Req, token)
	if err != nil {
		return errors.Is(err, store.ErrNotFound)
	}
	return rep.Cookie != "" && rep.User != nil && was.User.ID != rep.User.ID
}

// forgetPages has a browser drop the copies that it keeps of this site's pages, those
// that it shows when somebody goes back among them. Browsers heed it over HTTPS and
// on localhost only.
func forgetPages(w http.ResponseWriter) {
	if h := w.Header(); !strings.Contains(h.Get("Clear-Site-Data"), "cache") {
		h.Add("Clear-Site-Data", `"cache"`)
	}
}

// GuardedCORS answers a preflight from a trusted origin to a guarded address, which has
// no cookie and would get no further, and returns true. trusted is the origin of a
// trusted frontend that asks, "" for any other request.
func (p *OriginPolicy) GuardedCORS(w http.ResponseWriter, req *http.Request) (trusted string, answered bool) {
	if len(p.trusted.Sources()) == 0 {
		return "", false
	}
	w.Header().Add("Vary", "Origin")
	from := req.Header["Origin"]
	if len(from) != 1 || !p.trusted.Has(from[0]) {
		return "", false
	}
	asked := req.Header.Get("Access-Control-Request-Method")
	if req.Method != http.MethodOptions || asked == "" {
		return from[0], false
	}
	h := w.Header()
	AllowOrigin(h, from[0])
	methods, headers := "GET, HEAD, POST, PUT, PATCH, DELETE", allowedHeaders
	// The app's own are not known here; whoever is trusted with the cookie is with them.
	if wanted := req.Header.Get("Access-Control-Request-Headers"); wanted != "" && len(wanted) <= maxAskedHeaders && isTokenList(wanted) {
		headers += ", " + wanted
	}
	if len(asked) <= 32 && isTokenList(asked) && !strings.Contains(methods, asked) {
		methods += ", " + asked
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", headers)
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return from[0], true
}

// maxAskedHeaders bounds what a preflight may ask for, in bytes.
const maxAskedHeaders = 1024

// isTokenList reports whether a text is names of headers or methods, with commas.
func isTokenList(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~, ", c)
	})
}

// AllowOrigin lets a trusted origin read an answer, unless that says by itself who may.
func AllowOrigin(h http.Header, origin string) {
	if !slices.Contains(h["Vary"], "Origin") {
		h.Add("Vary", "Origin")
	}
	if len(h["Access-Control-Allow-Origin"]) > 0 {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if len(h["Access-Control-Expose-Headers"]) == 0 {
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
	}
}

const (
	allowedHeaders = "Authorization, Content-Type, Accept, Accept-Language, X-CSRFToken, X-Requested-With"
	exposedHeaders = "Retry-After, WWW-Authenticate, Allow"
)

// SeeOther sends a browser to another page.
func SeeOther(w http.ResponseWriter, status int, target string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", target)
	w.WriteHeader(status)
}
