// cookies.go: the cookies that a browser sends: one reader for the sign-in, the
// guard, the check of the origin, the device and what one page tells the next; and what several hosts, or two
// configurations, mean for one cookie: where `next` may lead besides, and which of two counts.

package web

import (
	"encoding/base64"
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

// sentCookie returns the value of a cookie without allocating, and whether there
// is one of this name at all, be it empty or no use. Two different values under one
// name mean that somebody (a sibling domain, a man in the middle of plain HTTP)
// planted one; which is not to be known, so there is no value. However many cookies
// there are, all are looked at (net/http stops at 3,000), and blanks are what RFC
// 6265bis (5.6) takes them to be: everybody who asks gets the same answer.
func sentCookie(req *http.Request, name string) (value string, sent bool) {
	for _, line := range req.Header["Cookie"] {
		if !strings.Contains(line, name) { // most often: several cookies are asked for
			continue
		}
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

// CookieNames sets how the cookies are called and guarded: __Host-registration over
// HTTPS and registration over HTTP, unless a name or a domain is configured.
func (r *Realm) CookieNames() {
	const base = "registration"
	s := r.Options.Cookie
	r.CookiePlain, r.CookieTLS = base, "__Host-"+base
	if s.Domain != "" {
		r.CookieTLS = base
	}
	if s.Name != "" {
		r.CookiePlain, r.CookieTLS = s.Name, s.Name
	}
	r.sameSite = map[string]http.SameSite{
		"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode,
	}[s.SameSite]
}

// Secure reports whether the browser speaks HTTPS, to Caddy or to what
// terminates TLS before it.
func (r *Realm) Secure(req *http.Request) bool { return req.TLS != nil || r.Https }

func (r *Realm) cookieName(req *http.Request) string {
	if r.Secure(req) {
		return r.CookieTLS
	}
	return r.CookiePlain
}

// setCookie carries a session's token to the browser, for as long as the
// session lasts; the empty token takes it away.
func (r *Realm) setCookie(w http.ResponseWriter, req *http.Request, token string) {
	r.clearRivals(w, req)
	seconds := int(r.Options.Session.Lifetime / time.Second)
	if token == "" {
		seconds = -1
	}
	http.SetCookie(w, r.newCookie(req, "", token, seconds))
}

// challengeSuffix is of the cookie that binds the challenge of a sign-in to the browser
// that is asked, and keeps it until the page that asks.
const challengeSuffix = "_challenge"

// keepChallenge leaves the challenge of a sign-in with the browser. Once somebody is
// signed in, it goes.
func (r *Realm) keepChallenge(w http.ResponseWriter, c *Call, rep *Reply) {
	_, sent := sentCookie(c.Req, r.cookieName(c.Req)+challengeSuffix)
	switch {
	case rep == nil:
	case rep.Challenge != nil && (rep.Challenge.Browser != "" || c.Client.Page):
		value := rep.Challenge.Browser + "~" + rep.Challenge.Token
		http.SetCookie(w, r.newCookie(c.Req, challengeSuffix, value, int(account.ChallengeLifetime/time.Second)))
	case sent && (rep.Cookie != "" || rep.token != ""):
		http.SetCookie(w, r.newCookie(c.Req, challengeSuffix, "", -1))
	}
}

// KeptChallenge is what keepChallenge has left: what binds the challenge to the browser,
// and the challenge itself.
func (c *Call) KeptChallenge() (browser, token string) {
	value, _ := sentCookie(c.Req, c.Realm.cookieName(c.Req)+challengeSuffix)
	browser, token, _ = strings.Cut(value, "~")
	return browser, token
}

// codeSuffix is of the cookie of a browser that has asked for a code to sign in by.
const codeSuffix = "_code"

// keepCode leaves with the browser what it needs to sign in by the code that was mailed.
func (r *Realm) keepCode(w http.ResponseWriter, c *Call, rep *Reply) {
	switch {
	case rep == nil || rep.AskedCode == nil:
	case rep.AskedCode.Proof == "":
		http.SetCookie(w, r.newCookie(c.Req, codeSuffix, "", -1))
	default:
		asked := rep.AskedCode
		value := asked.Browser + "~" + asked.Proof + "~" + base64.RawURLEncoding.EncodeToString([]byte(asked.Login))
		http.SetCookie(w, r.newCookie(c.Req, codeSuffix, value, int(account.CodeLifetime/time.Second)))
	}
}

// KeptCode is what keepCode has left; zero: nothing.
func KeptCode(c *Call) (asked account.AskedCode) {
	value, _ := sentCookie(c.Req, c.Realm.cookieName(c.Req)+codeSuffix)
	parts := strings.Split(value, "~")
	if len(parts) != 3 {
		return asked
	}
	login, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return asked
	}
	return account.AskedCode{Browser: parts[0], Proof: parts[1], Login: string(login)}
}

// trustedSuffix is of the cookie of a browser that is not asked for a factor. It has up to
// maxTrusts tokens, for one account each: several people use one browser.
const (
	trustedSuffix = "_trusted"
	maxTrusts     = 4
)

// keepTrust leaves with the browser what it is trusted by from now on.
func (r *Realm) keepTrust(w http.ResponseWriter, c *Call, rep *Reply) {
	if rep == nil || rep.Trusted == "" {
		return
	}
	tokens := append([]string{rep.Trusted}, c.Client.Trusted...)
	value := strings.Join(tokens[:min(len(tokens), maxTrusts)], "~")
	http.SetCookie(w, r.newCookie(c.Req, trustedSuffix, value, int(r.Options.Factors.Trusted/time.Second)))
}

// keptTrust is what keepTrust has left; nil: nothing, or it doesn't count.
func (r *Realm) keptTrust(req *http.Request) []string {
	if r.Options.Factors.Trusted == 0 {
		return nil
	}
	value, _ := sentCookie(req, r.cookieName(req)+trustedSuffix)
	if value == "" {
		return nil
	}
	tokens := strings.SplitN(value, "~", maxTrusts+1)
	return tokens[:min(len(tokens), maxTrusts)]
}

// newCookie is a cookie named after the session's, with the same attributes.
func (r *Realm) newCookie(req *http.Request, suffix, value string, seconds int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure wherever the browser speaks HTTPS; SameSite is a setting, lax unless set
		Name: r.cookieName(req) + suffix, Value: value, Path: "/", Domain: r.Options.Cookie.Domain,
		MaxAge: seconds, Secure: r.Secure(req), HttpOnly: true, SameSite: r.sameSite,
	}
}

// client says where a request came from.
func (r *Realm) client(req *http.Request) account.Client {
	c := account.Client{Address: r.ClientIP(req), UserAgent: req.UserAgent(), Language: r.Language(req).Name}
	if len(req.Header["Accept-Language"]) > 0 {
		c.Prefers = r.browserLanguage(req).Name
	}
	if c.Prefers != "" || r.byHand(req) != nil {
		c.Wanted = c.Language
	}
	return c
}

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

// inDomain reports whether an address is on a host of the cookie's domain, where other
// servers ask who is signed in. On which ports they listen is not known here, and the
// cookie goes to all.
func (p *OriginPolicy) inDomain(u *url.URL) bool {
	if p.domain == "" || u.Scheme != "https" && (p.https || u.Scheme != "http") {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return host == p.domain || strings.HasSuffix(host, "."+p.domain) && len(host) > len(p.domain)+1
}

// formActions adds the hosts that the realm guards to a Content-Security-Policy: the
// answer to a form may lead there.
func (p *OriginPolicy) formActions(csp string) string {
	sources := ""
	if s := p.siblings.Load(); s != nil {
		sources = s.sources
	}
	if p.domain != "" {
		sources += " https://" + p.domain + ":* https://*." + p.domain + ":*"
		if !p.https {
			sources += " http://" + p.domain + ":* http://*." + p.domain + ":*"
		}
	}
	return strings.Replace(csp, "form-action 'self'", "form-action 'self'"+sources, 1)
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
func (r *Realm) amongRivals(req *http.Request, a *account.Accounts) (session.Principal, error) {
	var found session.Principal
	now, idle := r.Now(), r.Options.Session.Idle
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
