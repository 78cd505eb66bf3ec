// Package origin is the origins (RFC 6454) that are trusted besides the site's own:
// one by one, or all that have one more label before a domain.
package origin

import (
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A Set is a list of origins. It never changes once made; the zero Set is empty.
type Set struct {
	all   []string
	exact map[string]bool
	// wild has what stands before and behind the label that may be any.
	wild []wild
}

type wild struct{ before, behind string }

// anyLabel stands for one label in a host's name.
const anyLabel = "*."

// NewSet makes a set of origins as they are configured: https://app.example.com, or
// https://*.example.com for every name with one label before example.com. The error
// is of the first that is none.
func NewSet(origins []string) (Set, error) {
	s := Set{exact: make(map[string]bool, len(origins))}
	for _, raw := range origins {
		u, any, err := parse(raw)
		if err != nil {
			return Set{}, err
		}
		origin := Of(u)
		if any {
			host := strings.TrimPrefix(origin, u.Scheme+"://")
			s.wild = append(s.wild, wild{u.Scheme + "://", "." + host})
			s.all = append(s.all, u.Scheme+"://"+anyLabel+host)
			continue
		}
		s.exact[origin] = true
		s.all = append(s.all, origin)
	}
	return s, nil
}

// Check says what is wrong with an origin as it is configured, or nil.
func Check(raw string) error {
	_, _, err := parse(raw)
	return err
}

// parse reads one, less the label that may be any.
func parse(raw string) (u *url.URL, any bool, err error) {
	wrong := func(why string) (*url.URL, bool, error) { return nil, false, fmt.Errorf("%q %s", raw, why) }
	scheme, host, _ := strings.Cut(strings.ToLower(strings.TrimSuffix(raw, "/")), "://")
	host, any = strings.CutPrefix(host, anyLabel)
	u, err = url.Parse(scheme + "://" + host)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return wrong("is not an absolute http or https URL; write for example https://example.com")
	}
	if u.Path != "" {
		return wrong("is not an origin; write it without a path, for example https://app.example.com")
	}
	if strings.Contains(host, "*") {
		return wrong("has an asterisk where none can be; it stands for the whole first label alone: https://*.example.com")
	}
	if any {
		suffix, icann := publicsuffix.PublicSuffix(u.Hostname())
		if suffix == u.Hostname() && (icann || strings.Contains(suffix, ".")) {
			return wrong("would trust strangers: anybody can have a name below " + suffix + "; write a domain of your own")
		}
	}
	return u, any, nil
}

// Of is the origin of an absolute URL as browsers write it: in lower case, without
// the port that the scheme has by itself.
func Of(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && scheme == "https" || port == "80" && scheme == "http" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return scheme + "://" + host
}

// Sources are the origins of the set, in their order, as a Content-Security-Policy
// has them. There, an asterisk is any number of labels.
func (s Set) Sources() []string { return s.all }

// Has reports whether an origin, as browsers send it, is one of the set.
func (s Set) Has(origin string) bool {
	if s.exact[origin] {
		return true
	}
	for _, w := range s.wild {
		rest, before := strings.CutPrefix(origin, w.before)
		label, behind := strings.CutSuffix(rest, w.behind)
		if before && behind && isLabel(label) {
			return true
		}
	}
	return false
}

// isLabel reports whether a text is one label of a host's name in ASCII: nothing
// that a browser and a server could read in two ways.
func isLabel(text string) bool {
	return text != "" && len(text) <= 63 && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
