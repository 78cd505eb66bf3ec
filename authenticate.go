// authenticate.go: who a request comes from, by cookie or Authorization, and
// which origins may ask.

package registration

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// authenticate returns who the request comes from: ErrNotFound if nobody is
// signed in, *Error with CodeTokenInvalid for a token that is not good. strict
// is for our own endpoints. On guarded routes, the header may belong to the app
// behind, so an unknown token does not spoil a good cookie there.
func (r *webRealm) authenticate(req *http.Request, strict bool) (Principal, error) {
	a := r.accounts.Load()
	if a == nil {
		return Principal{}, unavailable(errors.New("the store is not open"))
	}
	now, idle := r.now(), r.options.Session.Idle
	if header := req.Header["Authorization"]; len(header) > 0 {
		if scheme, token, ok := strings.Cut(header[0], " "); ok {
			isToken, isBearer := strings.EqualFold(scheme, "Token"), strings.EqualFold(scheme, "Bearer")
			accept := r.options.Login.Token && (isToken || isBearer)
			if accept {
				p, err := a.byToken(req.Context(), strings.TrimSpace(token), now, idle)
				if err == nil || !errors.Is(err, ErrNotFound) {
					return p, storeError(err)
				}
			}
			if strict && (isToken || accept) {
				return Principal{}, refuse(CodeTokenInvalid)
			}
		}
	}
	if !r.options.Login.Session {
		return Principal{}, ErrNotFound
	}
	token, _ := sentCookie(req, r.cookieName(req))
	if token == "" {
		return Principal{}, ErrNotFound
	}
	p, err := a.sessions.lookup(req.Context(), token, KindSession, now, idle)
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = storeError(err)
	}
	return p, err
}

// originPolicy says which other origins may send requests and be sent to.
type originPolicy struct {
	self    string // scheme://host of base_url, "" if none
	trusted []string
	csrf    *http.CrossOriginProtection
}

func newOriginPolicy(s *webOptions) (*originPolicy, error) {
	p := &originPolicy{csrf: http.NewCrossOriginProtection()}
	if u, err := url.Parse(s.BaseURL); err == nil && u.Host != "" {
		p.self = strings.ToLower(u.Scheme + "://" + u.Host)
	}
	for _, origin := range s.TrustedOrigins {
		origin = strings.ToLower(strings.TrimSuffix(origin, "/"))
		if err := p.csrf.AddTrustedOrigin(origin); err != nil {
			return nil, settingErrorf("trusted_origins", "%v", err)
		}
		p.trusted = append(p.trusted, origin)
	}
	if p.self != "" {
		// The page may be reached through a proxy that rewrites Host.
		if err := p.csrf.AddTrustedOrigin(p.self); err != nil {
			return nil, settingErrorf("base_url", "%v", err)
		}
	}
	return p, nil
}

// cors lets a trusted frontend on another origin read the answer. It returns
// true where the request was a preflight and is answered.
// e is the endpoint, nil for an unknown path; a document is anybody's to read.
func (p *originPolicy) cors(w http.ResponseWriter, req *http.Request, e *endpoint) bool {
	h := w.Header()
	if e != nil && e.document != nil && !e.off {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "ETag")
		return p.preflight(w, req, e)
	}
	if len(p.trusted) == 0 {
		return false
	}
	h.Add("Vary", "Origin")
	origin := req.Header.Get("Origin")
	if !slices.Contains(p.trusted, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, Allow")
	return e != nil && !e.off && p.preflight(w, req, e)
}

// preflight answers the question of a browser before an unsafe request (Fetch,
// 3.2.2), and returns true if this is one.
func (p *originPolicy) preflight(w http.ResponseWriter, req *http.Request, e *endpoint) bool {
	if req.Method != http.MethodOptions || req.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", strings.Join(e.methods, ", "))
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Accept-Language")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// maxNext bounds a `next` target, in bytes.
const maxNext = 2048

// safeNext returns the target if it stays on this site or a trusted origin,
// else "". A path is taken only in the one form that no browser reads as
// another host: one slash, then neither slash nor backslash; no control
// characters, which browsers drop before they parse.
func (p *originPolicy) safeNext(next string) string {
	if next == "" || len(next) > maxNext || strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd }) {
		return ""
	}
	u, err := url.Parse(next)
	if err != nil || u.User != nil || u.Opaque != "" {
		return ""
	}
	if u.Scheme == "" && u.Host == "" {
		if next[0] != '/' || strings.HasPrefix(next, "//") {
			return ""
		}
		return next
	}
	origin := strings.ToLower(u.Scheme + "://" + u.Host)
	if (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && (origin == p.self || slices.Contains(p.trusted, origin)) {
		return next
	}
	return ""
}
