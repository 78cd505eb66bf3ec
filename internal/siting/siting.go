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
	// Asked: other servers ask who is signed in.
	Asked bool
	// Taken is what the routes before it take off the path, such as /app.
	Taken string
	// Within are the routes with conditions around it, the outermost first.
	Within []int
}

// A Warning is what is most likely wrong with where something stands. The log says it
// when a configuration is loaded, and an owner who asks is told the same.
type Warning struct {
	// Code names the mistake, Realm whose accounts it is about.
	Code, Realm string
	// Message is what is wrong, with its line of the configuration; Mend is what to write.
	Message, Mend string
}

// The codes of warnings.
const (
	codeHidden  = "registration_hidden"
	codePath    = "base_url_path"
	codeBaseURL = "base_url"
	codeGuard   = "guard_blind"
	codeProxies = "trusted_proxies"
	codeTerms   = "terms_guarded"
	codeLabel   = "label_guarded"
	codeGoodbye = "goodbye_guarded"
	codeLink    = "link_guarded"
	codeAsked   = "authz_proxies"
)

// String is the warning as the log has it.
func (w Warning) String() string { return w.Message + ". " + w.Mend }

// Warnings are what is most likely wrong with the places, given in the order in which
// requests meet them. Each names its line and how to fix it.
func Warnings(places []Place) (out []Warning) {
	told := map[string]bool{}
	for i, p := range places {
		for _, before := range places[:i] {
			if before.hides(p) {
				out = append(out, Warning{
					codeHidden, p.Realm,
					fmt.Sprintf("%s: registration at %s is never reached, because the one of %s has that path of the site already", p.Source, p.Path, before.Source),
					"Give it another path: registration /other",
				})
				break
			}
		}
		if p.Asked && !p.Proxied {
			out = append(out, Warning{
				codeAsked, p.Realm,
				p.Source + ": authz is on, but no trusted proxy is named, so no server that asks who is signed in is believed where its visitors want to go: none is sent to the sign-in page",
				"Name the servers in the global options: servers { trusted_proxies static <their addresses> }",
			})
		}
		base, err := url.Parse(p.BaseURL)
		if err != nil || base.Host == "" {
			continue
		}
		if p.Taken != "" && !strings.HasSuffix(strings.TrimSuffix(base.Path, "/"), p.Taken) {
			out = append(out, Warning{
				codePath, p.Realm,
				fmt.Sprintf("%s: %s is taken off the path before registration, and base_url doesn't have it: links, forms and mails lead past the accounts", p.Source, p.Taken),
				fmt.Sprintf("Write: base_url %s%s", strings.TrimSuffix(p.BaseURL, "/"), p.Taken),
			})
		}
		if told[p.Realm] || slices.ContainsFunc(places, func(o Place) bool { return o.Realm == p.Realm && (o.Proxied || o.isAt(base)) }) {
			continue
		}
		told[p.Realm] = true
		out = append(out, Warning{
			codeBaseURL, p.Realm,
			fmt.Sprintf("%s: base_url is %s, but these accounts are at %s: mails, redirects and cookies go by base_url", p.Source, p.BaseURL, p.address()),
			p.remedyForBase() + ". Ignore this if a proxy before Caddy serves the accounts at base_url; the global option trusted_proxies, which names it, ends this warning",
		})
	}
	return out
}

// remedyForBase is the line of base_url for where the place is.
func (p Place) remedyForBase() string {
	if len(p.Hosts) == 0 || strings.ContainsAny(p.Hosts[0], "*{") {
		return "Write the address that browsers use: base_url https://example.com"
	}
	return "Write the address that browsers use: base_url " + p.address()
}

// Blind is the warning of a guard on a host that browsers don't send the cookie to.
func Blind(realm, source, host, baseURL string) Warning {
	return Warning{
		codeGuard, realm,
		fmt.Sprintf("%s: require_login guards %s, but the sign-in at %s sets a cookie that browsers don't send there: nobody gets in", source, host, baseURL),
		"Add `registration` to that site, or let both have one domain: cookie_domain <domain>, in the block session of `registration`",
	}
}

// GuardedTerms is the warning of terms that nobody can read who has no account yet.
func GuardedTerms(realm, source, page string) Warning {
	return Warning{
		codeTerms, realm,
		fmt.Sprintf("%s: require_login guards %s, the page of the terms: who signs up has to agree to what he can't read", source, page),
		leaveOut(page),
	}
}

// GuardedLabel is the warning of a page that a label on the form of the sign-up leads to, and
// that nobody can read who has no account yet.
func GuardedLabel(realm, source, page, field string) Warning {
	return Warning{
		codeLabel, realm,
		fmt.Sprintf("%s: require_login guards %s, to which the label of the field %s leads: who signs up can't read it", source, page, field),
		leaveOut(page),
	}
}

// GuardedGoodbye is the warning of a page for who has signed out that wants him to sign in.
func GuardedGoodbye(realm, source, page string) Warning {
	return Warning{
		codeGoodbye, realm,
		fmt.Sprintf("%s: require_login guards %s, the page of goodbye: who signs out is asked to sign in again, and nothing says that he is out", source, page),
		leaveOut(page),
	}
}

// GuardedLink is the warning of a page that a link at the foot of all pages leads to, and that
// nobody can read who is not signed in.
func GuardedLink(realm, source, page string) Warning {
	return Warning{
		codeLink, realm,
		fmt.Sprintf("%s: require_login guards %s, to which a link at the foot of the pages leads: who isn't signed in can't read it", source, page),
		leaveOut(page),
	}
}

// leaveOut says how a page is left out of a guard.
func leaveOut(page string) string {
	return fmt.Sprintf("Leave it out of the guard: a matcher in a line of its own, @members not path %s, and then require_login @members", page)
}

// ChosenAddress is the warning of a trusted proxy that adds to what the client has written.
func ChosenAddress(realm string) Warning {
	return Warning{
		codeProxies, realm,
		"a trusted proxy adds to the header that names the client, and Caddy takes the first entry of it, which the client may have written itself: throttles and logs can't be relied on",
		"Write trusted_proxies_strict beside trusted_proxies, or let the proxy replace the header",
	}
}

// UnnamedProxy is the warning of requests that come through a proxy that Caddy doesn't know.
func UnnamedProxy(realm string) Warning {
	return Warning{
		codeProxies, realm,
		"requests name another client (X-Forwarded-For or the like), but come from an address that is no trusted proxy: if that is your proxy, everybody behind it is counted as one client",
		"Name it in the global options, in the block servers, in two lines: trusted_proxies static <its addresses>, and trusted_proxies_strict. If it isn't, somebody only claims to be one, and nothing is wrong",
	}
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
