// Package identity is the headers that tell an app behind the guard who is signed
// in: their names, and how what a client sends under them is kept from the app, as
// a header, as a trailer, or by having ours dropped on the way.
package identity

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The headers, in the form in which net/http keeps them.
const (
	User   = "Remote-User"
	Email  = "Remote-Email"
	Name   = "Remote-Name"
	Groups = "Remote-Groups"
	ID     = "Remote-Id"
)

// isIdentity reports whether an app server may read a header of this name as one of ours.
// CGI, WSGI and PHP make variables of the names and write one character for what
// is no letter or digit: Remote-User, Remote_User, Remote.User and remote~user are
// one variable there.
func isIdentity(name string) bool {
	if name == "" || name[0]|0x20 != 'r' {
		return false
	}
	switch len(name) {
	case len(User): // and Name, which is as long
		return same(name, User) || same(name, Name)
	case len(Email):
		return same(name, Email)
	case len(Groups):
		return same(name, Groups)
	case len(ID):
		return same(name, ID)
	}
	return false
}

// same compares a name with one of ours of the same length.
func same(name, ours string) bool {
	for i := range len(ours) {
		c := name[i]
		if ours[i] == '-' {
			if alphanumeric(c) {
				return false
			}
		} else if c|0x20 != ours[i]|0x20 || !alphanumeric(c) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// Strip removes from a request what a client sent under our names: headers,
// trailers, declared or not, and the members of Connection that would make the next
// proxy drop the headers that the guard sets. It also removes a wish to go on with another
// protocol than WebSocket: under one that carries requests (h2c), what comes next would pass
// nobody but the app.
func Strip(req *http.Request) {
	for name, values := range req.Header { // all in one walk: a look-up costs each request more than a step
		switch {
		case isIdentity(name):
			delete(req.Header, name)
		case name == "Connection":
			stripConnection(req.Header, values)
		case name == "Upgrade" && (len(values) > 1 || len(values) == 1 && !strings.EqualFold(values[0], "websocket")):
			delete(req.Header, name)
		}
	}
	stripTrailers(req)
}

func stripConnection(h http.Header, values []string) {
	if !slices.ContainsFunc(values, namesOurs) {
		return
	}
	var kept []string // not in place: others may share the slice
	for _, line := range values {
		tokens := slices.DeleteFunc(strings.Split(line, ","), func(token string) bool { return isIdentity(strings.Trim(token, " \t")) })
		if len(tokens) > 0 {
			kept = append(kept, strings.Join(tokens, ","))
		}
	}
	if kept == nil {
		delete(h, "Connection")
		return
	}
	h["Connection"] = kept
}

func namesOurs(line string) bool {
	for token := range strings.SplitSeq(line, ",") {
		if isIdentity(strings.Trim(token, " \t")) {
			return true
		}
	}
	return false
}

// stripTrailers removes our names from the trailers that are declared, and once
// more when the body has been read: a trailer of HTTP/1 comes declared or not.
func stripTrailers(req *http.Request) {
	if req.Trailer != nil {
		deleteOurs(req.Trailer)
	}
	if req.Body == nil || req.Body == http.NoBody || req.Trailer == nil && req.ContentLength >= 0 {
		return
	}
	req.Body = &body{ReadCloser: req.Body, req: req}
}

func deleteOurs(trailer http.Header) {
	for name := range trailer {
		if isIdentity(name) {
			delete(trailer, name)
		}
	}
}

// body removes our names from the trailers that its end has brought, before
// whoever reads it can look at them.
type body struct {
	io.ReadCloser
	req *http.Request
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		deleteOurs(b.req.Trailer)
	}
	return n, err
}

// Plain reports whether a text can be the value of a header: it has no control
// character (RFC 9110, 5.5), not even one of those beyond ASCII.
func Plain(value string) bool { return !strings.ContainsFunc(value, unicode.IsControl) }

// Percent is a text in ASCII: of its UTF-8, each byte that is none of ASCII's
// visible characters or a space, and each %, is written as %XX. What decodes URLs
// decodes it, if it leaves + alone.
func Percent(value string) string {
	asIs := func(c byte) bool { return c >= ' ' && c <= '~' && c != '%' }
	n := 0
	for i := range len(value) {
		if !asIs(value[i]) {
			n++
		}
	}
	if n == 0 {
		return value
	}
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(value)+2*n)
	for i := range len(value) {
		if c := value[i]; asIs(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// maxGroup is the length of a group's name in characters.
const maxGroup = 64

// GroupRule says what IsGroup takes, for messages.
const GroupRule = "1 to 64 letters, digits and - _ . : /"

// IsGroup reports whether a text can be the name of a group: 1 to 64 letters and
// digits of any script and - _ . : /. A comma would make two groups of one in a
// header.
func IsGroup(name string) bool {
	n := 0
	for i, r := range name {
		switch {
		case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', r == '-', r >= '.' && r <= ':', r == '_':
		case r < utf8.RuneSelf, r == utf8.RuneError:
			return false
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r) && i > 0:
		default:
			return false
		}
		n++
	}
	return n > 0 && n <= maxGroup
}

// ValidGroups are the groups of an account as the app learns of them. A name that is
// none by today's rule, which an older version may have stored, is left out, and all
// is false. Else the list is the one that it was given.
func ValidGroups(groups []string) (list []string, all bool) {
	all = true
	for _, g := range groups {
		all = all && IsGroup(g)
	}
	if !all {
		groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return !IsGroup(g) })
	}
	return groups, all
}
