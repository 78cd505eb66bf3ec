// path.go: where a token that is limited to a path is good. Whatever a client writes
// must not be under the path for us and elsewhere for the server behind us.

package token

import (
	"net/url"
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// MaxPath is the longest path that a token is limited to, in bytes.
const MaxPath = 512

// Limit returns the form in which a path limits a token; ok is false for one that can't:
// it begins with a slash and has no other spelling.
func Limit(limit string) (clean string, ok bool) {
	if len(limit) > MaxPath || !strings.HasPrefix(limit, "/") || strings.ContainsAny(limit, "?#*%") || !plain(limit) {
		return "", false
	}
	return path.Clean(limit), true
}

// A Request is what of one says where it goes: its method, the target of its request line,
// the path of that as a URL has it in escapes, and its header.
type Request struct {
	Method, Target, EscapedPath string
	Header                      map[string][]string
}

// Good reports whether a request is for the path of a limit or for something below it, by
// whole segments. asked is the path that the client asked for, unescaped; "" is not known,
// and nowhere. A path is told apart by case. One that some server could read as another (an
// escaped slash or dot, a backslash, "..", a parameter behind it, or two slashes at its
// beginning, which some read as the name of a host) is under no limit, nor is a request that
// names a second path which is not.
func Good(limit, asked string, req Request) bool {
	if limit == "" {
		return true
	}
	if !under(limit, asked) || len(req.Method) > 3 && namesMore[req.Method] {
		return false
	}
	for name, values := range req.Header {
		switch secondPath(name) {
		case instead:
			return false
		case beside:
			for _, to := range values {
				u, err := url.Parse(to)
				if err != nil || !under(limit, u.Path) || encoded(u.EscapedPath()) {
					return false
				}
			}
		}
	}
	target, _, _ := strings.Cut(req.Target, "?")
	return !encoded(target) && !encoded(req.EscapedPath)
}

// namesMore are methods of WebDAV whose body says which paths they are for (RFC 5323, 5842).
var namesMore = map[string]bool{"SEARCH": true, "BIND": true, "REBIND": true}

// What a header may say of a second path: nothing, one that some servers go to instead, or
// one that an act of WebDAV goes to (RFC 4918, 10.3) or a proxy has written down.
const (
	none = iota
	instead
	beside
)

// secondPath looks at the name of a header, in the spellings that app servers read as one.
func secondPath(name string) int {
	if name == "Destination" {
		return beside
	}
	if len(name) < len("X-Rewrite-Url") || name[0]|0x20 != 'x' {
		return none
	}
	switch strings.Map(asVariable, name) {
	case "x_original_url", "x_rewrite_url", "x_override_url":
		return instead
	case "x_original_uri", "x_forwarded_uri", "x_forwarded_path":
		return beside
	}
	return none
}

// asVariable makes of a header's name what CGI, WSGI and PHP make of it, which tell no
// signs apart.
func asVariable(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
		return r
	}
	return '_'
}

// encoded reports whether an escaped path has what separates segments, or a dot, in
// escapes: some servers unescape first.
func encoded(escaped string) bool {
	low := strings.ToLower(escaped)
	for _, sign := range []string{"%2f", "%5c", "%2e", "%00", "%25"} {
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}

func under(limit, asked string) bool {
	if !strings.HasPrefix(asked, "/") || strings.HasPrefix(asked, "//") || !plain(asked) || strings.Contains(asked, "%") && encoded(asked) {
		return false
	}
	asked = path.Clean(asked)
	return limit == "/" || asked == limit || strings.HasPrefix(asked, limit) && asked[len(limit)] == '/'
}

// plain reports whether a path has no segment that leads upwards, by any reading, and no
// backslash or control character.
func plain(p string) bool {
	if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == 0xfffd }) {
		return false
	}
	if strings.ContainsFunc(p, func(r rune) bool { return r > 0x7f }) { // some servers make one letter of two that look alike
		if p = strings.Map(asASCII, norm.NFKC.String(p)); strings.ContainsFunc(p, func(r rune) bool { return r == '\\' || r == '%' }) {
			return false
		}
	}
	for segment := range strings.SplitSeq(p, "/") {
		name, _, _ := strings.Cut(segment, ";") // a parameter, which some servers take off
		if dots := strings.Trim(name, " \u00a0"); dots != "" && strings.Trim(dots, ". ") == "" {
			return false
		}
	}
	return true
}

// asASCII is what Windows makes of signs that its own letters have none for.
func asASCII(r rune) rune {
	switch r {
	case '\u2044', '\u2215', '\u29f8':
		return '/'
	case '\u2216', '\u29f5', '\u29f9':
		return '\\'
	}
	return r
}
