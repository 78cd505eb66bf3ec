// navigation.go: who is answered with a page: a browser that goes somewhere, told
// by Fetch Metadata first and by Accept second.

package web

import (
	"errors"
	"net/http"
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
	return AcceptsHTML(req.Header) && len(req.Header["X-Requested-With"]) == 0
}

// WantsPage reports whether an answer is read by a person: it goes to a browser that
// navigates, by a form too, and doesn't ask for JSON, or to what likes HTML better.
func WantsPage(h http.Header) bool {
	if fetchMode(h) == "navigate" && acceptedQuality(h["Accept"], "application/json", "application/problem+json") < 0 {
		return true
	}
	return AcceptsHTML(h)
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
	token, sent := SentCookie(c.Req, r.cookieName(c.Req))
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
