// authenticate.go: who a request comes from, by cookie or Authorization, and
// which origins may ask.

package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/metrics"
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
	if p, named, err := r.byHeader(req, a, strict); named {
		return p, err
	}
	if !r.Options.Login.Session {
		return session.Principal{}, store.ErrNotFound
	}
	token, sent := sentCookie(req, r.cookieName(req))
	if token == "" && sent {
		return r.amongRivals(req, a)
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
		if p, err = r.byProgram(req, a, []byte(strings.TrimSpace(token))); err == nil || !errors.Is(err, store.ErrNotFound) {
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

// A Gate is what somebody has to be, and what his sign-in has to have shown, to be let
// through.
type Gate struct {
	// Groups: the account has to be in one of these; none: any account will do.
	Groups []string
	account.Demand
}

// A Verdict is what a gate says of who sends a request.
type Verdict int

// The verdicts.
const (
	LetThrough Verdict = iota
	// NotTheirs: the account is in none of the groups.
	NotTheirs
	// TooLittle: its sign-in has shown less than is asked.
	TooLittle
	// Nobody is signed in.
	Nobody
	// Untold: it can't be told who is.
	Untold
)

// CountIn counts the request that was judged.
func (v Verdict) CountIn(g *metrics.Guarded) {
	switch v {
	case LetThrough:
		g.Passed.Inc()
	case NotTheirs:
		g.Forbidden.Inc()
	case TooLittle:
		g.StepUp.Inc()
	case Nobody:
		g.SignIn.Inc()
	default:
		g.Failed.Inc()
	}
}

// Lets reports whether an account is one that is let through.
func (g *Gate) Lets(u *store.User) bool {
	return len(g.Groups) == 0 || slices.ContainsFunc(g.Groups, func(group string) bool { return slices.Contains(u.Groups, group) })
}

// Judge says whether who sends a request is let through, and what he lacks; err is that of
// Authenticate. The account counts before more is asked for: nobody sets up a second step for
// a page that he may not see.
func (r *Realm) Judge(g *Gate, who *session.Principal, err error) Verdict {
	if err != nil {
		return without(err)
	}
	switch {
	case !g.Lets(who.User):
		return NotTheirs
	case g.Asks() && !g.Met(who.Session, r.Now()):
		return TooLittle
	}
	return LetThrough
}

// without is the verdict where nobody is known, for this reason.
func without(err error) Verdict {
	if errors.Is(err, store.ErrNotFound) {
		return Nobody
	}
	return Untold
}

// Refusal is what a verdict that lets nobody through is answered with.
func (g *Gate) Refusal(v Verdict) error {
	if v == NotTheirs {
		return refusal.New(refusal.CodePermissionDenied)
	}
	params := []string{`error="insufficient_user_authentication"`} // RFC 9470, 3
	if g.Factors > 1 {
		params = append(params, `acr_values="`+account.MethodMulti+`"`)
	}
	if g.MaxAge > 0 {
		params = append(params, `max_age="`+seconds(g.MaxAge)+`"`)
	}
	return &refusal.Error{Code: refusal.CodeInsufficient, Challenge: strings.Join(params, ", ")}
}

// StepUp is the address of our page for more, told what a sign-in has to show.
func (g *Gate) StepUp(page string) string {
	if g.MaxAge > 0 {
		page = WithParam(page, ParamMaxAge, seconds(g.MaxAge))
	}
	if g.Factors > 1 {
		page = WithParam(page, ParamFactors, strconv.Itoa(g.Factors))
	}
	return page
}

// seconds is a duration in whole seconds, rounded down: who keeps to it is let through.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// GroupsOf are an account's groups as the handlers behind a guard learn of them. A stored
// name that the rule of today refuses could forge another in the list of a header:
// it is left out, which the log says once.
func (r *Realm) GroupsOf(u *store.User) []string {
	groups, all := identity.ValidGroups(u.Groups)
	if !all && !r.ToldOfGroups.Swap(true) {
		r.Logger.Warn("a group has a name that is none any more, so it is left out of Remote-Groups and {http.auth.user.groups}; give the account groups of "+identity.GroupRule+" by the admin API",
			zap.String("user", u.ID.String()))
	}
	return groups
}

// CopyIdentity tells who reads a header who is signed in. It sets what has a value; the
// names have to be free of what a client sent. percent: in ASCII. A value with a control
// character, which no way into the store takes today, is left out.
func (r *Realm) CopyIdentity(h http.Header, u *store.User, percent bool) {
	set := func(name, value string) {
		if value == "" || !identity.Plain(value) {
			return
		}
		if percent {
			value = identity.Percent(value)
		}
		h[name] = []string{value}
	}
	user := u.Username
	if user == "" || !identity.Plain(user) {
		user = u.ID.String()
	}
	set(identity.User, user)
	set(identity.ID, u.ID.String())
	set(identity.Email, u.Email)
	set(identity.Name, strings.TrimSpace(u.FirstName+" "+u.LastName))
	set(identity.Groups, strings.Join(r.GroupsOf(u), ","))
}

// OriginPolicy says which other origins may send requests and be sent to.
type OriginPolicy struct {
	self    string // scheme://host of base_url, "" if none
	trusted origin.Set
	csrf    *http.CrossOriginProtection
	// siblings are known once the configuration has started.
	siblings atomic.Pointer[siblings]
	https    bool
	// domain is that of the cookie where other servers ask who is signed in: its hosts are
	// theirs. "": they don't.
	domain string
}

// NewOriginPolicy trusts the origin of base_url, if there is one, and those of
// trusted_origins. The error is the first that is no origin.
func NewOriginPolicy(s *Options) (*OriginPolicy, error) {
	p := &OriginPolicy{csrf: http.NewCrossOriginProtection()}
	if u, err := url.Parse(s.BaseURL); err == nil && u.Host != "" {
		p.self, p.https = origin.Of(u), u.Scheme == "https"
	}
	if s.Authz.On {
		p.domain = strings.ToLower(strings.TrimPrefix(s.Cookie.Domain, "."))
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

// Foreign reports whether a request comes from a page that may not send it.
func (r *Realm) Foreign(req *http.Request) bool { return r.Origins.foreign(req) }

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
	if (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && (to == p.self || p.trusted.Has(to) || p.guards(u) || p.inDomain(u)) {
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

// nameCaller says for the record who the acts of the request are done for, and has him
// answered in his language.
func (c *Call) nameCaller() {
	who := audit.Caller{Address: c.Client.Address, Agent: c.Client.UserAgent}
	if c.Who != nil {
		who.Actor = c.Who.User.ID.String()
	}
	c.Req = c.Req.WithContext(audit.WithCaller(c.Req.Context(), who))
	c.speak()
}
