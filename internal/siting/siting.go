// Package siting judges where a configuration has put the accounts, against what their
// settings say: mistakes that refuse nothing and that nobody sees until people complain.
package siting

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A Place is one `registration` in the routes of a server.
type Place struct {
	// Source is where it is configured: file and line.
	Source string
	// Server tells the servers apart, Realm the accounts.
	Server, Realm string
	// Path is where the endpoints are, BaseURL where people reach the site.
	Path, BaseURL string
	// Hosts are those that the routes around want, in lower case; nil: any.
	Hosts []string
	// Ports are the server's; TLS: it speaks HTTPS on them.
	Ports []string
	TLS   bool
	// Proxied: the configuration names proxies before it, so its own addresses say nothing.
	Proxied bool
	// Taken is what the routes before it take off the path, such as /app.
	Taken string
	// Within are the routes with conditions around it, the outermost first.
	Within []int
}

// Warnings are what is most likely wrong with the places, given in the order in which
// requests meet them. Each names its line and how to fix it.
func Warnings(places []Place) (out []string) {
	told := map[string]bool{}
	for i, p := range places {
		for _, before := range places[:i] {
			if before.hides(p) {
				out = append(out, fmt.Sprintf("%s: registration at %s is never reached, because the one of %s has that path of the site already. Give it another path: registration /other",
					p.Source, p.Path, before.Source))
				break
			}
		}
		base, err := url.Parse(p.BaseURL)
		if err != nil || base.Host == "" {
			continue
		}
		if p.Taken != "" && !strings.HasSuffix(strings.TrimSuffix(base.Path, "/"), p.Taken) {
			out = append(out, fmt.Sprintf("%s: %s is taken off the path before registration, and base_url doesn't have it: links, forms and mails lead past the accounts. "+
				"Write: base_url %s%s", p.Source, p.Taken, strings.TrimSuffix(p.BaseURL, "/"), p.Taken))
		}
		if told[p.Realm] || slices.ContainsFunc(places, func(o Place) bool { return o.Realm == p.Realm && (o.Proxied || o.isAt(base)) }) {
			continue
		}
		told[p.Realm] = true
		out = append(out, fmt.Sprintf("%s: base_url is %s, but these accounts are at %s: mails, redirects and cookies go by base_url. Write the address that browsers use. "+
			"Ignore this if a proxy before Caddy serves the accounts at base_url; the global option trusted_proxies, which names it, ends this warning", p.Source, p.BaseURL, p.address()))
	}
	return out
}

// isAt reports whether the place is where an address leads.
func (p Place) isAt(base *url.URL) bool {
	port := base.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[base.Scheme]
	}
	return (base.Scheme == "https") == p.TLS && (p.Ports == nil || slices.Contains(p.Ports, port)) &&
		(p.Hosts == nil || slices.ContainsFunc(p.Hosts, func(name string) bool { return Covers(name, base.Hostname()) }))
}

// address is how a person would write where the place is.
func (p Place) address() string {
	scheme, host, port := "http", "any host", ""
	if p.TLS {
		scheme = "https"
	}
	if len(p.Hosts) > 0 {
		host = p.Hosts[0]
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	if len(p.Ports) > 0 && p.Ports[0] != map[bool]string{true: "443", false: "80"}[p.TLS] {
		port = ":" + p.Ports[0]
	}
	return scheme + "://" + host + port
}

// hides reports whether a place that requests meet first takes all that are for another.
func (p Place) hides(o Place) bool {
	mine, other := strings.ToLower(p.Taken+p.Path), strings.ToLower(o.Taken+o.Path)
	if p.Server != o.Server || mine != other && !strings.HasPrefix(other, mine+"/") {
		return false
	}
	if len(p.Within) > len(o.Within) || !slices.Equal(p.Within, o.Within[:len(p.Within)]) {
		return false
	}
	return p.Hosts == nil || o.Hosts != nil && !slices.ContainsFunc(o.Hosts, func(host string) bool {
		return !slices.ContainsFunc(p.Hosts, func(name string) bool { return Covers(name, host) })
	})
}

// Covers reports whether a host is one that a matcher of Caddy's names: exactly, in any
// case, or with an asterisk for any one label. What has a placeholder may be any.
func Covers(name, host string) bool {
	if strings.Contains(name, "{") || strings.EqualFold(name, host) {
		return true
	}
	if !strings.Contains(name, "*") {
		return false
	}
	labels, of := strings.Split(strings.ToLower(name), "."), strings.Split(strings.ToLower(host), ".")
	if len(labels) != len(of) {
		return false
	}
	for i, label := range labels {
		if label != of[i] && (label != "*" || of[i] == "") {
			return false
		}
	}
	return true
}
