// passkey_party.go: which domain passkeys belong to, and where they are off.

package factor

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/seed-928992b0/caddy-registration/internal/origin"
)

// A Party is the relying party of passkeys: whose they are.
type Party struct {
	// ID is the domain; "": there are no passkeys here, and Off says why.
	ID, Off string
	// Origin is the one of the site itself.
	Origin string
}

// PartyOf finds the domain that a site's passkeys belong to: the one that is chosen,
// else that of the cookies, else the host of base_url. The error is of a chosen domain
// that no browser would take on this site.
func PartyOf(baseURL, cookieDomain, chosen string) (Party, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Hostname() == "" {
		if chosen != "" {
			return Party{}, fmt.Errorf("%s can't be used without base_url, the address at which browsers reach the site; write it too: base_url https://%s", chosen, chosen)
		}
		return Party{Off: "there is no base_url, so the domain that they belong to is not known"}, nil
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	p := Party{Origin: origin.Of(u)}
	switch local := isLocal(host); {
	case net.ParseIP(host) != nil:
		p.Off = "base_url has the address " + host + " in place of a name, and browsers keep passkeys for names alone"
	case u.Scheme != "https" && !local:
		p.Off = "base_url is plain HTTP, where browsers make none; only on localhost do they"
	case !local && !strings.Contains(host, "."):
		p.Off = "base_url has the host " + host + ", and browsers keep passkeys for domains and localhost alone"
	}
	id := strings.ToLower(strings.TrimPrefix(cookieDomain, "."))
	if chosen != "" {
		id = strings.TrimSuffix(strings.ToLower(chosen), ".")
	}
	switch {
	case chosen != "" && p.Off != "":
		return Party{}, fmt.Errorf("%s can't be used: %s", chosen, p.Off)
	case p.Off != "":
		return p, nil
	case id == "":
		p.ID = host
		return p, nil
	case !within(host, id):
		if chosen == "" { // cookies for another domain are another setting's error
			p.ID = host
			return p, nil
		}
		return Party{}, fmt.Errorf("%s is neither the host of base_url, %s, nor a domain above it; browsers would refuse it", chosen, host)
	}
	if suffix, icann := publicsuffix.PublicSuffix(id); suffix == id && (icann || strings.Contains(suffix, ".")) {
		if chosen == "" { // as above
			p.ID = host
			return p, nil
		}
		return Party{}, fmt.Errorf("%s belongs to strangers too: anybody can have a name below it, and browsers refuse it; write %s", id, host)
	}
	p.ID = id
	return p, nil
}

// isLocal reports whether a host is this machine for whoever asks, so that browsers
// trust it over plain HTTP.
func isLocal(host string) bool { return host == "localhost" || strings.HasSuffix(host, ".localhost") }

// within reports whether a host is a domain or below it.
func within(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// trusts reports whether what a browser on a page of this origin was told may count:
// it is the site's own, or one that the owner trusts and that is of the domain.
func (p Party) trusts(of string, trusted origin.Set) bool {
	if of == p.Origin {
		return true
	}
	u, err := url.Parse(of)
	return err == nil && trusted.Has(of) && within(u.Hostname(), p.ID) && (u.Scheme == "https" || isLocal(u.Hostname()))
}
