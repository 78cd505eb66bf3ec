// label.go: the label of a boolean, which may hold links; and what can be set once alone.

package field

import (
	"net/url"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Settled reports whether who has an account can't change a field of it any more: it is set
// once, and has a value.
func (f *Field) Settled(u *store.User) bool {
	v, ok := u.Extra[f.Name]
	return f.Once && ok && v != nil && v != "" && v != false
}

// A LabelPart is a piece of a label: a text, with where it leads; "": nowhere.
type LabelPart struct{ Text, Href string }

// labelLink is a link in a label: [text](address).
var labelLink = pattern.Of(`\[([^\[\]]+)\]\(([^()\s]+)\)`)

// Label takes a label with links apart. plain is what it says without them. An address that
// no label may lead to is left out: its text stays.
func Label(label string) (parts []LabelPart, plain string) {
	at := 0
	add := func(text, href string) {
		if text != "" {
			parts = append(parts, LabelPart{text, href})
			plain += text
		}
	}
	for _, m := range labelLink().FindAllStringSubmatchIndex(label, -1) {
		add(label[at:m[0]], "")
		href := label[m[4]:m[5]]
		if !isLink(href) {
			href = ""
		}
		add(label[m[2]:m[3]], href)
		at = m[1]
	}
	add(label[at:], "")
	return parts, plain
}

// linksIn are the addresses in a label.
func linksIn(label string) (hrefs []string) {
	for _, m := range labelLink().FindAllStringSubmatch(label, -1) {
		hrefs = append(hrefs, m[2])
	}
	return hrefs
}

// isLink reports whether a label may lead to an address: a path on this site that no browser
// takes for a host, or an http or https URL.
func isLink(href string) bool {
	u, err := url.Parse(href)
	if err != nil || strings.ContainsAny(href, "\\\t\n\r") || u.User != nil {
		return false
	}
	if strings.HasPrefix(href, "/") {
		return !strings.HasPrefix(href, "//") && u.Host == "" && u.Scheme == ""
	}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
