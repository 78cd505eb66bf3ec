// Package hostname knows the two forms of a host's name: the one for machines, in
// ASCII (RFC 5891), and the one for people, in their script.
package hostname

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// profile is that of a lookup, but takes "ab--cd", which is a good name: only
// "xn--" says something.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.StrictDomainName(true))

// ToASCII returns the form for machines, in lower case. It says nothing about
// whether there can be such a host: a name in ASCII, or an address, is taken as it is.
func ToASCII(host string) (string, error) {
	if isASCII(host) {
		return strings.ToLower(host), nil
	}
	return profile.ToASCII(host)
}

// Domain is ToASCII for what must be a domain name, xn-- labels too.
func Domain(name string) (string, error) { return profile.ToASCII(name) }

// Host returns the form for machines of a host with or without a port. What has none
// stays as it is, and so does what is in ASCII.
func Host(v string) string {
	if isASCII(v) {
		return v
	}
	name, port := v, ""
	if i := strings.LastIndexByte(v, ':'); i >= 0 {
		name, port = v[:i], v[i:]
	}
	if ascii, err := profile.ToASCII(name); err == nil && isASCII(port) {
		return ascii + port
	}
	return v
}

// Display returns the form for people, or the name as it is where it has none, or one
// that could be taken for another name (safe.go).
func Display(host string) string {
	if !strings.Contains(strings.ToLower(host), "xn--") {
		return host
	}
	shown, err := idna.Display.ToUnicode(host)
	if err != nil || !safe(shown) {
		return host
	}
	if back, err := profile.ToASCII(shown); err != nil || back != strings.ToLower(host) {
		return host
	}
	return shown
}

// DisplayAddress is an e-mail address with the form for people of its domain.
func DisplayAddress(address string) string {
	at := strings.LastIndexByte(address, '@')
	return address[:at+1] + Display(address[at+1:])
}

// DisplayURL is a URL with the form for people of its host. All else stays as it is
// written, and so does what is no URL.
func DisplayURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return raw
	}
	if shown := Display(u.Hostname()); shown != u.Hostname() {
		return strings.Replace(raw, u.Hostname(), shown, 1)
	}
	return raw
}

// URL returns a URL or an origin with the form for machines of its host. What has
// none, or is no URL, stays as it is.
func URL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || isASCII(u.Hostname()) {
		return raw
	}
	prefix, wild := "", u.Hostname()
	if rest, ok := strings.CutPrefix(wild, "*."); ok {
		prefix, wild = "*.", rest
	}
	host, err := ToASCII(wild)
	if err != nil {
		return raw
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	u.Host = prefix + host
	return u.String()
}

// Mailbox returns a mailbox, `a@example.com` or `Name <a@example.com>`, with the
// form for machines of its domain. What has none stays as it is.
func Mailbox(v string) string {
	at := strings.LastIndexByte(v, '@')
	if at < 0 || isASCII(v[at:]) {
		return v
	}
	domain, close := strings.CutSuffix(v[at+1:], ">")
	ascii, err := ToASCII(strings.TrimSpace(domain))
	if err != nil {
		return v
	}
	if close {
		ascii += ">"
	}
	return v[:at+1] + ascii
}

func isASCII(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r >= utf8.RuneSelf })
}
