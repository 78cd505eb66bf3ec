// siblings.go: what several hosts, or two configurations, mean for one cookie: where
// `next` may lead besides, and which of two cookies of one name counts.

package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Sibling is a host of the configuration that a guard of the realm stands on and
// that sees the session cookie. `*` stands for one label.
type Sibling struct {
	Host  string // lower-case
	Ports []string
}

// siblings are those of a realm; sources, how a Content-Security-Policy writes them.
type siblings struct {
	hosts   []Sibling
	sources string
}

// Guards tells the policy of the hosts that the realm guards: their guards' own `next`
// is followed. https: no other scheme is.
func (p *OriginPolicy) Guards(hosts []Sibling, https bool) {
	s := &siblings{hosts: hosts}
	schemes := []string{"https"}
	if !https {
		schemes = append(schemes, "http")
	}
	for _, h := range hosts {
		for _, scheme := range schemes {
			s.sources += " " + scheme + "://" + h.Host
			for _, port := range h.Ports {
				s.sources += " " + scheme + "://" + h.Host + ":" + port
			}
		}
	}
	p.https = https
	p.siblings.Store(s)
}

// guards reports whether an address is on a host that the realm guards.
func (p *OriginPolicy) guards(u *url.URL) bool {
	s := p.siblings.Load()
	if s == nil || u.Scheme != "https" && (p.https || u.Scheme != "http") {
		return false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	return slices.ContainsFunc(s.hosts, func(h Sibling) bool {
		if port != "" && !slices.Contains(h.Ports, port) {
			return false
		}
		if parent, ok := strings.CutPrefix(h.Host, "*."); ok {
			label, rest, _ := strings.Cut(host, ".")
			return label != "" && rest == parent
		}
		return h.Host == host
	})
}

// formActions adds the hosts that the realm guards to a Content-Security-Policy: the
// answer to a form may lead there.
func (p *OriginPolicy) formActions(csp string) string {
	if s := p.siblings.Load(); s != nil && s.sources != "" {
		return strings.Replace(csp, "form-action 'self'", "form-action 'self'"+s.sources, 1)
	}
	return csp
}

// maxRivals bounds how many cookies of one name are looked at.
const maxRivals = 8

// rivals are the different values of all cookies of a name.
func rivals(req *http.Request, name string) (out []string) {
	for _, line := range req.Header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			key, value, _ := strings.Cut(part, "=")
			value = strings.Trim(value, " \t\"")
			if strings.Trim(key, " \t") == name && value != "" && !slices.Contains(out, value) {
				if out = append(out, value); len(out) > maxRivals {
					return nil
				}
			}
		}
	}
	return out
}

// amongRivals is who several cookies of one name say that a request comes from, as a
// browser sends them once cookie_domain has changed: each is tried. One that is no
// sign-in (any more) is no rival. Sign-ins of two accounts mean that somebody planted
// one: then it is nobody.
func (r *Realm) amongRivals(req *http.Request, a *account.Accounts, now time.Time, idle time.Duration) (session.Principal, error) {
	var found session.Principal
	for _, token := range rivals(req, r.cookieName(req)) {
		p, err := a.Sessions.Lookup(req.Context(), token, store.KindSession, now, idle)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return session.Principal{}, account.StoreError(err)
		case found.User != nil && found.User.ID != p.User.ID:
			return session.Principal{}, store.ErrNotFound
		case found.User == nil || p.Session.Created.After(found.Session.Created):
			found = p
		}
	}
	if found.User == nil {
		return found, store.ErrNotFound
	}
	return found, nil
}

// clearRivals takes away what another cookie_domain has left in a browser, before the
// one cookie is set: RFC 6265 tells cookies of two domains apart.
func (r *Realm) clearRivals(w http.ResponseWriter, req *http.Request) {
	name := r.cookieName(req)
	if len(rivals(req, name)) < 2 || strings.HasPrefix(strings.ToLower(name), "__host-") {
		return
	}
	gone := r.newCookie(req, "", "", -1) //nolint:gosec // its attributes are those of the session cookie that it takes away
	own := strings.TrimPrefix(gone.Domain, ".")
	if gone.Domain = ""; own != "" {
		http.SetCookie(w, gone)
	}
	host := (&url.URL{Host: req.Host}).Hostname()
	for range maxRivals {
		if !strings.Contains(host, ".") {
			return
		}
		if !strings.EqualFold(host, own) {
			gone.Domain = host
			http.SetCookie(w, gone)
		}
		_, host, _ = strings.Cut(host, ".")
	}
}
