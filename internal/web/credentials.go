// credentials.go: what an app behind the guard must not see of a request: our
// cookies and our opaque token, with which it could act for its visitor.

package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/store"
)

// cookieSuffixes are those of all cookies that are ours: whatever newCookie is given
// stands here.
var cookieSuffixes = []string{"", DeviceSuffix, flashSuffix, SignUpSuffix, linkSuffix, keptSuffix, backSuffix, challengeSuffix, passkeySuffix, codeSuffix, trustedSuffix}

// Credentials are the headers of a request as they were before Take.
type Credentials struct {
	cookie, authorization []string
	rest                  [1]string // what is left of the usual one line
}

// Take removes from a request our cookies, by whichever of their names, and the
// Authorization that an opaque token, or one for programs, came in; kind is what the request was
// authenticated by. An access token stays: backends verify it themselves. The app's
// own cookies stay as they were, byte for byte and in their order. What was there is
// left in taken.
func (r *Realm) Take(req *http.Request, kind store.SessionKind, taken *Credentials) {
	h := req.Header
	lines := h["Cookie"]
	left := taken.rest[:0]
	for i, line := range lines {
		rest, ours := r.withoutOurs(line)
		if ours && taken.cookie == nil { // not in place: Give puts these back
			taken.cookie = lines
			left = append(left, lines[:i]...)
		}
		if taken.cookie != nil && rest != "" {
			left = append(left, rest)
		}
	}
	switch {
	case taken.cookie == nil:
	case len(left) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = left
	}
	if kind == store.KindToken || kind == store.KindProgram {
		taken.authorization = h["Authorization"]
		delete(h, "Authorization")
	}
}

// Give puts back what Take has taken.
func (taken *Credentials) Give(req *http.Request) {
	if taken.cookie != nil {
		req.Header["Cookie"] = taken.cookie
	}
	if taken.authorization != nil {
		req.Header["Authorization"] = taken.authorization
	}
}

// withoutOurs is a Cookie header without our pairs, and whether it had any. It takes
// time by the length of the header, whatever is in it, and copies only what it must.
func (r *Realm) withoutOurs(line string) (rest string, ours bool) {
	start, end := r.nextOurs(line, 0)
	if start < 0 {
		return line, false
	}
	if next, _ := r.nextOurs(line, end); next < 0 { // one, as browsers send it
		switch {
		case start == 0:
			return strings.TrimLeft(strings.TrimPrefix(line[end:], ";"), " \t"), true
		case end == len(line):
			return line[:start-1], true
		}
		return line[:start-1] + line[end:], true
	}
	var out strings.Builder
	out.Grow(len(line))
	for from := 0; from <= len(line); {
		if start < 0 {
			start, end = len(line)+1, len(line)+1
		}
		if start > from {
			kept := line[from : start-1]
			if out.Len() > 0 {
				out.WriteByte(';')
			} else if from > 0 {
				kept = strings.TrimLeft(kept, " \t")
			}
			out.WriteString(kept)
		}
		from = end + 1
		start, end = r.nextOurs(line, end)
	}
	return out.String(), true
}

// nextOurs finds the next of our pairs in a Cookie header: from is 0 or where a pair
// ends. start is -1 where there is none.
func (r *Realm) nextOurs(line string, from int) (start, end int) {
	if from > 0 {
		from++ // the semicolon
	}
	for from < len(line) {
		end = strings.IndexByte(line[from:], ';')
		if end < 0 {
			end = len(line)
		} else {
			end += from
		}
		if r.isOurs(line[from:end]) {
			return from, end
		}
		from = end + 1
	}
	return -1, -1
}

// isOurs reports whether a pair of a Cookie header is one of our cookies, read as
// sentCookie reads it.
func (r *Realm) isOurs(pair string) bool {
	for pair != "" && (pair[0] == ' ' || pair[0] == '\t') {
		pair = pair[1:]
	}
	rest, ok := strings.CutPrefix(pair, r.CookieTLS)
	if !ok {
		if rest, ok = strings.CutPrefix(pair, r.CookiePlain); !ok {
			return false
		}
	}
	if rest, _, ok = strings.Cut(rest, "="); !ok {
		return false
	}
	rest = strings.TrimRight(rest, " \t")
	if rest == "" {
		return true
	}
	return slices.Contains(cookieSuffixes, rest)
}
