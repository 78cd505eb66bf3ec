// guard.go: require_login: who is signed in goes through, and {http.auth.user.*} says
// who it is.

package registration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

func init() {
	caddy.RegisterModule(new(Guard))
	caddy.RegisterModule(new(Provider))
}

// Guard lets a request through only if somebody is signed in, by session cookie
// or token. It sets these placeholders for the handlers behind it:
//
// Placeholder | Description
// ------------|-------------
// `{http.auth.user.id}` | The account's id, a UUID
// `{http.auth.user.username}` | The username
// `{http.auth.user.email}` | The e-mail address
// `{http.auth.user.groups}` | The groups, separated by commas
// `{http.auth.user.amr}` | How the account's owner has shown who he is (RFC 8176: `pwd,otp`)
// `{http.auth.user.auth_time}` | When he did so last, in seconds since 1970
// `{http.auth.user.*}` | Every public field by its name
//
// Otherwise a browser's navigation is sent to the sign-in page with `?next=`, and
// anything else gets 401. A navigation is a GET or HEAD with `Sec-Fetch-Mode: navigate`
// or, without Fetch Metadata, one that accepts HTML and has no `X-Requested-With`.
type Guard struct {
	// The realm whose accounts count. Default: `default`.
	Realm string `json:"realm,omitempty"`
	// The account must be in one of these groups; 403 otherwise. Default: any account.
	Groups []string `json:"groups,omitempty"`
	// Sets `Remote-User` (the username, or the id where there is none),
	// `Remote-Id` (the account's id, which is nobody else's ever), `Remote-Email`,
	// `Remote-Name` and `Remote-Groups` for the handlers behind.
	// What a client sent under these names is removed whether set or not.
	CopyHeaders bool `json:"copy_headers,omitempty"`
	// How the values of these headers are written: `percent` makes ASCII of them, a
	// `%XX` for each other byte of their UTF-8 and for `%`. Default: UTF-8 as it is,
	// which not every app server reads as such.
	HeaderEncoding string `json:"header_encoding,omitempty"`
	// Where a browser is sent to sign in, with `next` (and `reauth=1` where somebody is
	// signed in, but too long ago for max_age) in its query, or in a fragment
	// that is an app's route (`#/login`). A path, or an http or https URL.
	// Default: the realm's own page.
	LoginURL string `json:"login_url,omitempty"`
	// How many different things the sign-in must have shown: 2 is the password, or what
	// stands for it, and a factor. A browser is sent to show what is missing, and to add
	// a factor where its account has none; anything else gets 401 that says so
	// (RFC 9470). Default: one.
	Factors int `json:"factors,omitempty"`
	// How long ago the account's owner may have shown last who he is. Default: as long
	// as the session lasts.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
	// Leaves our cookies and our opaque token on the request for the handlers behind,
	// where these are a second Caddy with a guard of the same accounts, or an app that
	// asks the endpoints for its visitor. Default: they are taken off, so that an app
	// that is broken into can't act for whoever visits it.
	KeepCredentials bool `json:"keep_credentials,omitempty"`
	// Takes a token for programs as the password of HTTP Basic too, with the account's
	// username or e-mail address: for clients of WebDAV, Git, calendars and podcasts, which
	// know nothing else. Who is refused is told so, but for browsers, which would ask for a
	// password of their own. Default: off.
	Basic bool `json:"basic,omitempty"`
	// Where this was configured; it only makes errors clearer.
	Source string `json:"source,omitempty"`

	realmRef
	logger *zap.Logger
	// behind are the accounts behind this guard, nil until the routes are known.
	behind atomic.Pointer[accountsBehind]
	// around is what the configuration has around it, nil until its routes are known.
	around atomic.Pointer[surroundings]
	// toldOfAccounts: the log has said that it stands before the accounts.
	toldOfAccounts atomic.Bool
}

// realmRef finds its realm in the app of the same configuration. Realms may be
// defined after their guards, so it looks at the first request.
type realmRef struct {
	app    *App
	name   string
	cached atomic.Pointer[realm]
}

func (ref *realmRef) realm() *realm {
	if r := ref.cached.Load(); r != nil {
		return r
	}
	r := ref.app.realm(ref.name)
	if r != nil {
		ref.cached.Store(r)
	}
	return r
}

func (ref *realmRef) provision(ctx caddy.Context, name, source string, copies bool) error {
	app, err := registrationApp(ctx)
	if err != nil {
		return err
	}
	setDefault(&name, defaultRealm)
	ref.app, ref.name = app, name
	g := guardRef{name, source, copies}
	app.need(g)
	return app.check(ctx, g)
}

// CaddyModule returns the Caddy module information.
func (*Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.require_login", New: func() caddy.Module { return new(Guard) }}
}

// Provision finds the app, and refuses a realm that nobody defines.
func (g *Guard) Provision(ctx caddy.Context) error {
	g.logger = ctx.Logger()
	g.LoginURL = hostname.URL(g.LoginURL)
	return g.provision(ctx, g.Realm, g.Source, g.CopyHeaders)
}

// Validate checks the settings.
func (g *Guard) Validate() error {
	if err := g.validate(); err != nil {
		return fmt.Errorf("%s: require_login: %w", orUnknown(g.Source), err)
	}
	return nil
}

func (g *Guard) validate() error {
	for _, name := range g.Groups {
		if !identity.IsGroup(name) {
			return setting.Errorf("group", "%q can't be a group's name: that is %s", name, identity.GroupRule)
		}
	}
	if g.HeaderEncoding != "" && g.HeaderEncoding != percentEncoding {
		return setting.Errorf("header_encoding", "%q is no encoding; write %s, or leave it out", g.HeaderEncoding, percentEncoding)
	}
	if u, err := url.Parse(g.LoginURL); g.LoginURL != "" && (err != nil || u.Opaque != "" || u.Host == "" && !strings.HasPrefix(g.LoginURL, "/") || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https") {
		return setting.Errorf("login_url", "%q leads nowhere; write a path that begins with a slash, or an http or https URL", g.LoginURL)
	}
	return g.checkDemand()
}

// ServeHTTP lets the request through, redirects it, or refuses it. All that finds out who it
// is has returned before the handlers behind are called: a goroutine's stack grows by being
// copied, and theirs is deep.
func (g *Guard) ServeHTTP(w http.ResponseWriter, req *http.Request, next caddyhttp.Handler) error {
	private, err := g.admit(w, req)
	if private == nil {
		return err
	}
	req = private.follow(req)
	defer private.over()
	err = next.ServeHTTP(private, req)
	if err != nil && !private.wroteHeader {
		private.ownHeaders() // Caddy's error routes answer, past this writer; a cache may keep a 404 too
	}
	return err
}

// admit returns the writer for the handlers behind; nil: it is answered, or err is the answer.
func (g *Guard) admit(w http.ResponseWriter, req *http.Request) (*privateWriter, error) {
	identity.Strip(req)
	r := g.realm()
	if r == nil { // between the start of two apps of one configuration, or never
		return nil, caddyhttp.Error(http.StatusServiceUnavailable, errors.New("the realm is not ready"))
	}
	origin, answered := r.Origins.GuardedCORS(w, req)
	if answered {
		return nil, nil
	}
	p, err := r.authenticate(req)
	if g.Basic {
		w, p, err = g.byBasic(w, req, r, p, err)
	}
	gate := g.gate()
	verdict := r.Judge(&gate, &p, err)
	if verdict != web.LetThrough {
		return nil, g.turnAway(w, req, r, p, err, verdict, origin)
	}
	verdict.CountIn(&r.metrics.Guarded)
	if g.CopyHeaders {
		r.CopyIdentity(req.Header, p.User, g.HeaderEncoding == percentEncoding)
	}
	private := &privateWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, guard: g, who: signedIn{realm: r, user: p.User, session: p.Session}, origin: origin}
	publish(req, &private.who)
	if !g.KeepCredentials {
		r.Take(req, p.Session.Kind, &private.who.taken)
	}
	return private, nil
}

// turnAway answers who is not let through; p and err are what is known of him.
func (g *Guard) turnAway(w http.ResponseWriter, req *http.Request, r *realm, p session.Principal, err error, verdict web.Verdict, origin string) error {
	if verdict == web.Untold {
		verdict.CountIn(&r.metrics.Guarded)
		return r.refuse(w, req, nil, err, origin)
	}
	var who *session.Principal
	if err == nil {
		who = &p
	}
	return g.toAccounts(w, req, r, func(w http.ResponseWriter, req *http.Request) error {
		verdict.CountIn(&r.metrics.Guarded)
		if verdict == web.NotTheirs {
			return r.refuse(w, req, who, refusal.New(refusal.CodePermissionDenied), origin)
		}
		return g.signInFirst(w, req, r, who, origin)
	})
}

// gate is whom the guard lets through.
func (g *Guard) gate() web.Gate {
	return web.Gate{Groups: g.Groups, Demand: account.Demand{Factors: g.Factors, MaxAge: time.Duration(g.MaxAge)}}
}

// lets reports whether an account is one that is let through.
func (g *Guard) lets(u *store.User) bool {
	gate := g.gate()
	return gate.Lets(u)
}

// signInFirst sends a browser to the sign-in page and tells anything else 401.
// who is signed in, but has not shown what the guard asks for; nil: nobody is.
func (g *Guard) signInFirst(w http.ResponseWriter, req *http.Request, r *realm, who *session.Principal, origin string) error {
	asked := originalURI(req)
	if token.Within(asked) { // it counts for nothing there, but the log would keep it
		r.SkipLog(req)
	}
	target, blind := g.LoginURL, g.around.Load().blind(req.Host)
	var refused error = refusal.New(refusal.CodeNotAuthenticated)
	switch {
	case who != nil:
		gate := g.gate()
		target, refused = g.stepUp(req, r, who), gate.Refusal(web.TooLittle)
	case target == "" && !r.settings.Pages.Off:
		target = g.accountsPage(req, r, "/login/")
	}
	why := ""
	if _, ours := r.Endpoint(req); ours && g.LoginURL == "" && !strings.Contains(target, "://") {
		why = "require_login stands before the accounts of its own realm and can't reach them, so nobody can sign in there: " +
			"put registration before it, or give it a matcher that leaves " + r.Path + "/* out"
	}
	if target != "" && why == "" {
		var leads bool
		if target, leads = web.OutOfCircle(target, asked, req.Host); !leads {
			why = "the sign-in page that require_login leads to is guarded itself, or sign-in pages lead to one another, so nobody can sign in there: " +
				"give require_login a matcher that leaves the page out, or another login_url"
		}
	}
	if why != "" {
		return g.standsBefore(w, req, r, origin, why)
	}
	if target == "" || !web.Navigates(req) {
		return r.refuse(w, req, who, refused, origin)
	}
	if blind { // it would be sent back and forth
		if g.LoginURL == "" {
			target = web.WithParam(target, web.ParamElsewhere, "1")
		}
	} else if wanted := r.wanted(req, asked, target); wanted != "" {
		target = web.WithParam(target, sign.ParamNext, wanted)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Location", target)
	w.WriteHeader(http.StatusFound)
	return nil
}

// standsBefore answers where the sign-in page would lead to itself for ever.
func (g *Guard) standsBefore(w http.ResponseWriter, req *http.Request, r *realm, origin, why string) error {
	if !g.toldOfAccounts.Swap(true) {
		r.Logger.Warn(orUnknown(g.Source) + ": " + why)
	}
	if !r.settings.Pages.Off && web.WantsPage(req.Header) {
		r.Pages.Misplaced(w, req)
		return nil
	}
	return r.refuse(w, req, nil, refusal.New(refusal.CodeNotAuthenticated), origin)
}

// wanted is the `next` that a sign-in page is given: where the person wanted to go, which is
// the address that he asked for.
// A page on another host needs it with its origin. That is the request's, if it is
// one that the realm sends anybody to: the request's Host alone decides nothing.
// Else, and where it is longer than one that is followed, it is left out.
func (r *realm) wanted(req *http.Request, asked, page string) string {
	uri := web.EscapeNext(asked)
	here := strings.HasPrefix(page, "/") && !strings.HasPrefix(page, "//") // as most are, which need not be read
	if !here {
		u, err := url.Parse(page)
		here = err == nil && u.Host == ""
	}
	if here {
		if len(uri) > web.MaxNext {
			return ""
		}
		return uri
	}
	if !strings.HasPrefix(uri, "/") { // the client named a host of its own in the request line
		return ""
	}
	scheme := "http://"
	if r.Secure(req) {
		scheme = "https://"
	}
	return r.Origins.SafeNext(scheme + req.Host + uri)
}

// originalURI is the address that the client asked for, before any rewrite.
func originalURI(req *http.Request) string {
	if original, ok := req.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.RequestURI
	}
	return req.RequestURI
}

// originalPath is the path of that address.
func originalPath(req *http.Request) string {
	if original, ok := req.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.Path
	}
	return ""
}

// percentEncoding is the HeaderEncoding that makes ASCII.
const percentEncoding = "percent"

// privateWriter sets Cache-Control and CORS, unless the handler decides by itself, and
// can be cut off.
type privateWriter struct {
	caddyhttp.ResponseWriterWrapper
	guard       *Guard
	req         *http.Request // as it came to the guard
	who         signedIn      // here, so that a guarded request makes one thing of all
	origin      string        // a trusted one that asks, or ""
	open        session.Open
	cancel      context.CancelFunc // nil where cutting off does that too
	wroteHeader bool

	mu       sync.Mutex
	served   bool // the writer below is no longer ours
	hijacked bool
}

// ownHeaders sets what an answer carries unless the handler has set its own.
func (w *privateWriter) ownHeaders() {
	h := w.Header()
	if len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = privateValue
	}
	if w.origin != "" {
		web.AllowOrigin(h, w.origin)
	}
}

func (w *privateWriter) WriteHeader(status int) {
	// 1xx goes out before the real header; 101 is the last word.
	if !w.wroteHeader && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.wroteHeader = true
		w.ownHeaders()
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *privateWriter) sessions() *session.Live { return w.who.realm.Accounts.Load().Sessions }

// follow has the request end with its session, and returns it for the handlers. With
// the connection of HTTP/1 and with the stream of HTTP/2, net/http ends the context of
// a request too. HTTP/3 has one of ours, which costs a copy of the request.
func (w *privateWriter) follow(req *http.Request) *http.Request {
	w.req = req
	w.sessions().Follow(&w.open, w.who.session, w)
	if req.ProtoMajor < 3 {
		return req
	}
	ctx, cancel := context.WithCancel(req.Context())
	w.mu.Lock() // it is being followed
	w.cancel = cancel
	w.mu.Unlock()
	return req.WithContext(ctx)
}

// Terms implements session.Opened.
func (w *privateWriter) Terms() (idle time.Duration, lets func(*store.User) bool) {
	return w.who.realm.Options.Session.Idle, w.guard.lets
}

// CutOff ends what its session has opened: the connection, or the stream of a newer
// HTTP, tells the browser, and the context the handlers. It implements session.Opened.
func (w *privateWriter) CutOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.served && !w.hijacked {
		return
	}
	if w.cancel != nil {
		w.cancel()
	}
	past := time.Unix(1, 0)
	if conn, ok := w.req.Context().Value(caddyhttp.ConnCtxKey).(net.Conn); ok && w.req.ProtoMajor == 1 {
		_ = conn.SetDeadline(past)
		_ = conn.Close()
		return
	}
	c := http.NewResponseController(w.ResponseWriter)
	_ = c.SetReadDeadline(past)
	_ = c.SetWriteDeadline(past)
}

// over is called when the handlers have returned. What they have hijacked may live on.
func (w *privateWriter) over() {
	if w.cancel != nil {
		w.cancel()
	}
	if w.hijacked || w.sessions().Unfollow(&w.open) {
		return
	}
	w.mu.Lock() // it is being cut off
	w.served = true
	w.mu.Unlock()
}

// Hijack implements http.Hijacker.
func (w *privateWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	w.hijacked = true
	w.mu.Unlock()
	return w.sessions().Hold(&w.open, conn), rw, nil
}

// privateValue keeps guarded answers from shared caches, and has the browser ask
// before it shows one again: after a sign-out it must not show its own copy.
// The slice is shared: headers are set, not appended to in place.
var privateValue = []string{"private, no-cache"}

func (w *privateWriter) Write(b []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(b)
}

// ReadFrom keeps the fast path (sendfile) of the writer below.
func (w *privateWriter) ReadFrom(src io.Reader) (int64, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.ReadFrom(src)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Guard)(nil)
	_ caddy.Validator             = (*Guard)(nil)
	_ caddyhttp.MiddlewareHandler = (*Guard)(nil)
)
