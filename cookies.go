// cookies.go: the cookies that a browser sends: one reader for the sign-in, the
// guard, the check of the origin, the device and what one page tells the next.

package registration

import (
	"net/http"
	"strings"
)

// sentCookie returns the value of a cookie without allocating, and whether there
// is one of this name at all, be it empty or no use. Two different values under one
// name mean that somebody (a sibling domain, a man in the middle of plain HTTP)
// planted one; which is not to be known, so there is no value. However many cookies
// there are, all are looked at (net/http stops at 3,000), and blanks are what RFC
// 6265bis (5.6) takes them to be: everybody who asks gets the same answer.
func sentCookie(req *http.Request, name string) (value string, sent bool) {
	for _, line := range req.Header["Cookie"] {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			key, v, ok := strings.Cut(part, "=")
			if !ok || strings.Trim(key, " \t") != name {
				continue
			}
			v = strings.Trim(v, " \t")
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			if v == "" { // signs nobody in, so it is no rival either, wherever it stands
				sent = true
				continue
			}
			if sent && value != "" && v != value {
				return "", true
			}
			value, sent = v, true
		}
	}
	return value, sent
}
