// authenticate.go: who a request comes from, by cookie or Authorization, and
// which origins may ask.

package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/origin"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/store"
)

// Authenticate returns who the request comes from: ErrNotFound if nobody is
// signed in, *Error with CodeTokenInvalid for a token that is not good. strict
// is for our own endpoints. On guarded routes, the header may belong to the app
// behind, so an unknown token does not spoil a good cookie there.
func (r *Realm) Authenticate(req *http.Request, strict bool) (session.Principal, error) {
	a := r.Ready(req.Context())
	if a == nil {
		return session.Principal{}, refusal.Unavailable(errors.New("the store is not open"))
	}
	now, idle := r.Now(), r.Options.Session.Idle
	if p, named, err := r.byHeader(req, a, strict); named {
		return p, err
	}
	if !r.Options.Login.Session {
		return session.Principal{}, store.ErrNotFound
	}
	token, sent := sentCookie(req, r.cookieName(req))
	if token == "" && sent {
		return r.amongRivals(req, a, now, idle)
	}
	if token == "" {
		return session.Principal{}, store.ErrNotFound
	}
	return r.bySession(req, token)
}

// byHeader is who the Authorization header names; named is false where it leaves that to
// the cookie. See Authenticate.
func (r *Realm) byHeader(req *http.Request, a *account.Accounts, strict bool) (p session.Principal, named bool, err error) {
	header := req.Header["Authorization"]
	if len(header) == 0 {
		return p, false, nil
	}
	scheme, token, ok := strings.Cut(header[0], " ")
	if !ok {
		return p, false, nil
	}
	isToken, isBearer := strings.EqualFold(scheme, "Token"), strings.EqualFold(scheme, "Bearer")
	if (isToken || isBearer) && !strict {
		if p, err = r.byProgram(req, a, strings.TrimSpace(token)); err == nil || !errors.Is(err, store.ErrNotFound) {
			return p, true, err
		}
	}
	accept := r.Options.Login.Token && (isToken || isBearer)
	if accept {
		p, err = a.ByToken(req.Context(), strings.TrimSpace(token), r.Now(), r.Options.Session.Idle)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return p, true, account.StoreError(err)
		}
	}
	if strict && (isToken || accept) {
		return session.Principal{}, true, refusal.New(refusal.CodeTokenInvalid)
	}
	return session.Principal{}, false, nil
}

// bySession is who a session cookie's value belongs to.
func (r *Realm) bySession(req *http.Request, token string) (session.Principal, error) {
	p, err := r.Accounts.Load().Sessions.Lookup(req.Context(), token, store.KindSession, r.Now(), r.Options.Session.Idle)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		err = account.StoreError(err)
	}
	return p, err
}

// OriginPolicy says which other origins may send requests and be sent to.
type OriginPolicy struct {
	self    string // scheme://host of base_url, "" if none
	trusted origin.Set
	csrf    *http.CrossOriginProtection
	// siblings are known once the configuration has started.
	siblings atomic.Pointer[siblings]
	https    bool
}

// NewOriginPolicy trusts the origin of base_url, if there is one, and those of
// trusted_origins. The error is the first that is no origin.
func NewOriginPolicy(s *Options) (*OriginPolicy, error) {
	p := &OriginPolicy{csrf: http.NewCrossOriginProtection()}
	if u, err := url.Parse(s.BaseURL); err == nil && u.Host != "" {
		p.self = origin.Of(u)
	}
	var err error
	if p.trusted, err = origin.NewSet(s.TrustedOrigins); err != nil {
		return nil, setting.Errorf("trusted_origins", "%v", err)
	}
	if p.self != "" {
		// The page may be reached through a proxy that rewrites Host.
		if err := p.csrf.AddTrustedOrigin(p.self); err != nil {
			return nil, setting.Errorf("base_url", "%v", err)
		}
	}
	return p, nil
}

// foreign reports whether an unsafe request comes from a page that may not send it.
func (p *OriginPolicy) foreign(req *http.Request) bool {
	return p.csrf.Check(req) != nil && !p.trusted.Has(req.Header.Get("Origin"))
}

// cors lets a trusted frontend on another origin read the answer. It returns
// true where the request was a preflight and is answered.
// e is the endpoint, nil for an unknown path; everybody may read a document. No
// library is used, because the rule is an endpoint's: rs/cors would be one handler
// for each, with origins that are matched a second time beside csrf's.
func (p *OriginPolicy) cors(w http.ResponseWriter, req *http.Request, e *Endpoint) bool {
	h := w.Header()
	if e != nil && e.Document != nil && !e.Off {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "ETag")
		return p.preflight(w, req, e.Methods)
	}
	if len(p.trusted.Sources()) == 0 {
		return false
	}
	h.Add("Vary", "Origin")
	from := req.Header.Get("Origin")
	if !p.trusted.Has(from) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", from)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	return e != nil && (!e.Off || e.Invited) && p.preflight(w, req, e.Methods)
}

// Preflight answers the question of a browser for a page of a trusted origin, before it
// sends one of these methods, and returns true if this is one.
func (r *Realm) Preflight(w http.ResponseWriter, req *http.Request, methods []string) bool {
	return r.Origins.trusted.Has(req.Header.Get("Origin")) && r.Origins.preflight(w, req, methods)
}

// preflight answers the question of a browser before an unsafe request (Fetch,
// 3.2.2), and returns true if this is one.
func (p *OriginPolicy) preflight(w http.ResponseWriter, req *http.Request, methods []string) bool {
	if req.Method != http.MethodOptions || req.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// MaxNext bounds a `next` target, in bytes; maxMailedNext, one that a mail carries.
const (
	MaxNext       = 8 << 10
	maxMailedNext = 2 << 10
)

// EscapeNext writes an address as it came in a request line so that SafeNext takes
// it: what a URL doesn't have in the clear (backslashes, bytes of other scripts, as
// some clients send them) is escaped, which means the same to the server.
func EscapeNext(uri string) string {
	plain := func(b byte) bool { return b > ' ' && b < 0x7f && b != '\\' }
	odd := 0
	for i := range len(uri) {
		if !plain(uri[i]) {
			odd++
		}
	}
	if odd == 0 {
		return uri
	}
	var out strings.Builder
	out.Grow(len(uri) + 2*odd)
	for i := range len(uri) {
		if plain(uri[i]) {
			out.WriteByte(uri[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", uri[i])
		}
	}
	return out.String()
}

// escapeQuery escapes the backslashes behind the path, where no browser reads them
// as slashes.
func escapeQuery(next string) string {
	end := strings.IndexAny(next, "?#")
	if end < 0 {
		return next
	}
	return next[:end] + strings.ReplaceAll(next[end:], `\`, "%5C")
}

// parseNext reads a `next` target, nil for one that is never followed. A path is
// taken only in the one form that no browser reads as another host: one slash,
// then neither slash nor backslash; no control characters, which browsers drop
// before they parse.
func parseNext(next string) *url.URL {
	if next == "" || len(next) > MaxNext || strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd }) {
		return nil
	}
	u, err := url.Parse(next)
	if err != nil || u.User != nil || u.Opaque != "" {
		return nil
	}
	if u.Scheme == "" && u.Host == "" && (next[0] != '/' || strings.HasPrefix(next, "//")) {
		return nil
	}
	return u
}

// IsSitePath reports whether a `next` target is a path on this site.
func IsSitePath(next string) bool {
	u := parseNext(next)
	return u != nil && u.Scheme == "" && u.Host == ""
}

// SafeNext returns the target if it stays on this site or a trusted origin,
// else "".
func (p *OriginPolicy) SafeNext(next string) string {
	if len(next) > MaxNext {
		return ""
	}
	next = escapeQuery(next)
	u := parseNext(next)
	if u == nil {
		return ""
	}
	if u.Scheme == "" && u.Host == "" {
		return next
	}
	to := origin.Of(u)
	if (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && (to == p.self || p.trusted.Has(to) || p.guards(u)) {
		return next
	}
	return ""
}

// OldSession is the sign-in that a browser still carries, nil for none: it ends with a new
// one.
func OldSession(c *Call) *store.Session {
	if c.Who == nil {
		return nil
	}
	return c.Who.Session
}
