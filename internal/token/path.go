// path.go: where a token that is limited to a path is good. Whatever a client writes
// must not be under the path for us and elsewhere for the server behind us.

package token

import (
	"net/url"
	"path"
	"strings"
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

// A Request is what of one says where it goes: the target of its request line, the path of
// that as a URL has it in escapes, and its header.
type Request struct {
	Target, EscapedPath string
	Header              map[string][]string
}

// Good reports whether a request is for the path of a limit or for something below it, by
// whole segments. asked is the path that the client asked for, unescaped; "" is not known,
// and nowhere. A path is told apart by case. One that some server could read as another (an
// escaped slash or dot, a backslash, ".." or a parameter behind it) is under no limit, nor
// is a request that names a second path which is not.
func Good(limit, asked string, req Request) bool {
	if limit == "" {
		return true
	}
	if !under(limit, asked) {
		return false
	}
	h := req.Header
	for _, header := range []string{"X-Original-Url", "X-Rewrite-Url"} { // some servers go there instead
		if len(h[header]) > 0 {
			return false
		}
	}
	for _, to := range h["Destination"] { // COPY and MOVE of WebDAV (RFC 4918, 10.3)
		u, err := url.Parse(to)
		if err != nil || !under(limit, u.Path) || encoded(u.EscapedPath()) {
			return false
		}
	}
	target, _, _ := strings.Cut(req.Target, "?")
	return !encoded(target) && !encoded(req.EscapedPath)
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
	if !strings.HasPrefix(asked, "/") || !plain(asked) || strings.Contains(asked, "%") && encoded(asked) {
		return false
	}
	asked = path.Clean(asked)
	return limit == "/" || asked == limit || strings.HasPrefix(asked, limit) && asked[len(limit)] == '/'
}

// plain reports whether a path has no segment that leads upwards, by any reading, and no
// backslash or control character.
func plain(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		name, _, _ := strings.Cut(segment, ";") // a parameter, which some servers take off
		if name = strings.TrimRight(name, " "); name == "." || name == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == 0xfffd })
}
