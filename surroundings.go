// surroundings.go: what stands around the accounts in Caddy's configuration: the
// proxies before them, and the guards and hosts beside them.

package registration

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/doctor"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/siting"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// chosenAddress reports whether a request came through a trusted proxy that adds
// to the header in which Caddy looks for the client's address, while Caddy takes
// its first entry: the one that the client wrote itself. With
// trusted_proxies_strict it takes the last that is no trusted proxy's.
func chosenAddress(req *http.Request) bool {
	if !fromProxy(req) {
		return false
	}
	server, ok := req.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.TrustedProxiesStrict > 0 {
		return false
	}
	entries := 0
	for _, name := range server.ClientIPHeaders {
		for _, line := range req.Header.Values(name) {
			entries += 1 + strings.Count(line, ",")
		}
	}
	return entries > 1
}

// heed looks at what came through a proxy, for who asks the doctor, and says in the
// log, once a configuration, that clients can choose their address.
func (r *realm) heed(req *http.Request) {
	r.proxies.requests.Add(1)
	if unnamedProxy(req) {
		r.proxies.unnamed.Add(1)
		if req.RemoteAddr != "" {
			r.proxies.from.Store(&req.RemoteAddr)
		}
	}
	if r.proxies.chosen.Load() || !chosenAddress(req) || r.proxies.chosen.Swap(true) {
		return
	}
	r.Logger.Warn(siting.ChosenAddress(r.Name).String(), zap.String("realm", r.Name), zap.String("remote_address", req.RemoteAddr))
}

// proxiesSeen are what the requests for the accounts have shown of proxies.
type proxiesSeen struct {
	// chosen: the log has said that clients can choose their address.
	chosen            atomic.Bool
	requests, unnamed atomic.Uint64
	from              atomic.Pointer[string]
}

func (p *proxiesSeen) facts() doctor.ProxyFacts {
	out := doctor.ProxyFacts{Chosen: p.chosen.Load(), Unnamed: p.unnamed.Load(), Requests: p.requests.Load()}
	if from := p.from.Load(); from != nil {
		out.From = *from
		if address, err := netip.ParseAddrPort(*from); err == nil {
			out.From = address.Addr().String()
		}
	}
	return out
}

// harmless are the handlers that answer nothing by themselves and only pass on what
// they have changed: between a guard and the accounts they may be.
var harmless = []caddy.ModuleID{
	"http.handlers.headers", "http.handlers.encode", "http.handlers.vars", "http.handlers.map", "http.handlers.log_append",
	"http.handlers.tracing", "http.handlers.rewrite", "http.handlers.request_body",
}

// accountsBehind is what a guard knows of the routes behind it: the way from there to
// the accounts of its realm, and to nothing else. A guard that stands before
// the accounts (`route { require_login; registration }`) takes requests for them
// there, so that people can sign in. This is no exemption by path: every handler on
// the way that isn't known to be harmless, and the end of it, is the guard's
// refusal, so no app behind can ever be reached without a sign-in.
type accountsBehind struct {
	way    caddyhttp.Handler
	groups []string // of routes, taken before the guard
}

// trip is one request on that way.
type trip struct {
	realm  *realm
	groups map[string]bool
	refuse func(http.ResponseWriter, *http.Request) error
	guard  *Guard // that it came through last
	page   string // that it is for
	met    bool   // it has come to a handler that answers it
	chosen bool   // not everybody who is signed in gets there
}

type tripKey struct{}

// toAccounts serves a request that the guard doesn't let through if it is for the
// accounts of its realm and those are behind the guard; else it refuses.
func (g *Guard) toAccounts(w http.ResponseWriter, req *http.Request, r *realm, refuse func(http.ResponseWriter, *http.Request) error) error {
	behind := g.behind.Load()
	if _, ok := r.Endpoint(req); !ok || behind == nil {
		return refuse(w, req)
	}
	t := &trip{realm: r, groups: map[string]bool{}, refuse: refuse}
	for _, group := range behind.groups {
		t.groups[group] = true
	}
	return behind.way.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), tripKey{}, t)))
}

func tripOf(req *http.Request) *trip { return req.Context().Value(tripKey{}).(*trip) }

// refusal is the end of every way that doesn't lead to the accounts.
func tripEnds(w http.ResponseWriter, req *http.Request) error {
	return tripOf(req).refuse(w, req)
}

// survey walks through the routes of a server, the last first, so that what is
// behind a handler is known when it is met.
type survey struct {
	groups  []string // of the routes around
	ports   []string // of the server
	server  *caddyhttp.Server
	hosts   [][]string // that the routes around want; nil: any
	guards  []guardAt
	served  []servedAt
	invoked int // named routes around
}

// guardAt is a guard with the hosts that it guards, servedAt accounts with the hosts
// on which they are; none: any.
type guardAt struct {
	guard  *Guard
	hosts  []string
	ports  []string // of its server
	server *caddyhttp.Server
}

type servedAt struct {
	handler *Handler
	hosts   []string
	server  *caddyhttp.Server
}

func (s *survey) routes(routes caddyhttp.RouteList, next caddyhttp.Handler) caddyhttp.Handler {
	for _, route := range slices.Backward(routes) {
		next = s.route(route, next)
	}
	return next
}

func (s *survey) route(route caddyhttp.Route, rest caddyhttp.Handler) caddyhttp.Handler {
	groups, hosts := s.groups, s.hosts
	if route.Group != "" {
		s.groups = append(slices.Clip(groups), route.Group)
	}
	if wanted := hostsOf(route.MatcherSets); wanted != nil {
		s.hosts = append(slices.Clip(hosts), wanted)
	}
	inner := rest
	if route.Terminal {
		inner = caddyhttp.HandlerFunc(tripEnds)
	}
	for _, h := range slices.Backward(route.Handlers) {
		inner = s.handler(h, inner)
	}
	s.groups, s.hosts = groups, hosts
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
		t := tripOf(req)
		if t.groups[route.Group] {
			return rest.ServeHTTP(w, req)
		}
		if matches, err := route.MatcherSets.AnyMatchWithError(req); err != nil {
			return tripEnds(w, req)
		} else if !matches {
			return rest.ServeHTTP(w, req)
		}
		if route.Group != "" {
			t.groups[route.Group] = true
		}
		return inner.ServeHTTP(w, req)
	})
}

func (s *survey) handler(h caddyhttp.MiddlewareHandler, next caddyhttp.Handler) caddyhttp.Handler {
	switch h := h.(type) {
	case *Handler:
		s.served = append(s.served, servedAt{h, s.innermost(), s.server})
		return caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
			if _, ok := h.realm.Endpoint(req); !ok {
				return next.ServeHTTP(w, req)
			}
			if h.realm != tripOf(req).realm {
				return tripEnds(w, req)
			}
			return h.ServeHTTP(w, req, caddyhttp.HandlerFunc(tripEnds))
		})
	case *Guard:
		h.behind.Store(&accountsBehind{next, slices.Clone(s.groups)})
		s.guards = append(s.guards, guardAt{h, s.innermost(), s.ports, s.server})
		return caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
			t := tripOf(req)
			if h.realm() != t.realm {
				return tripEnds(w, req)
			}
			t.guard, t.chosen = h, t.chosen || len(h.Groups) > 0
			return next.ServeHTTP(w, req)
		})
	case *caddyhttp.Subroute:
		return s.routes(h.Routes, next)
	case *caddyhttp.Invoke:
		if named := s.server.NamedRoutes[h.Name]; named != nil && s.invoked < maxInvoked {
			s.invoked++
			defer func() { s.invoked-- }()
			return s.route(*named, next)
		}
	case caddy.Module:
		if slices.Contains(harmless, h.CaddyModule().ID) {
			handler := h.(caddyhttp.MiddlewareHandler)
			return caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error { return handler.ServeHTTP(w, req, next) })
		}
	}
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
		tripOf(req).met = answers(h, req)
		return tripEnds(w, req)
	})
}

// innermost are the hosts that the nearest route around asks for.
func (s *survey) innermost() []string {
	if len(s.hosts) == 0 {
		return nil
	}
	return s.hosts[len(s.hosts)-1]
}

// hostsOf are the hosts that matchers ask for, nil where one asks for none.
func hostsOf(sets caddyhttp.MatcherSets) []string {
	var out []string
	for _, set := range sets {
		var hosts []string
		for _, m := range set {
			if match, ok := m.(*caddyhttp.MatchHost); ok {
				hosts = append(hosts, *match...)
			}
		}
		if hosts == nil {
			return nil
		}
		out = append(out, hosts...)
	}
	return out
}

// surveyRoutes looks at all routes of the configuration once they are there: it shows
// the guards the accounts behind them, and warns of those that can't see a sign-in.
func (a *App) surveyRoutes() {
	if a.ctx.Context == nil { // made by hand
		return
	}
	app, err := a.ctx.AppIfConfigured("http")
	httpApp, ok := app.(*caddyhttp.App)
	if err != nil || !ok {
		return
	}
	var s survey
	for _, server := range httpApp.Servers {
		s.server, s.ports = server, portsOf(server.Listen)
		way := s.routes(server.Routes, caddyhttp.HandlerFunc(tripEnds))
		for _, at := range s.served {
			if r := at.handler.realm; at.server == server {
				r.checkOpen(server, way)
				r.checkFrontPage(server, way, at.hosts)
			}
		}
	}
	for _, warning := range siting.Warnings(placesOf(httpApp)) {
		a.ctx.Logger(a).Warn(warning.String())
		if r := a.realms[warning.Realm]; r != nil {
			r.sites = append(r.sites, warning)
		}
	}
	for _, at := range s.guards {
		if r := a.realms[at.guard.name]; r != nil {
			s.checkGuard(r, at)
		}
	}
	for _, r := range a.realms {
		r.Origins.Guards(s.siblings(r), r.Https)
	}
}

// siblings are the hosts beside base_url's that guards of a realm stand on and that
// see its cookie.
func (s *survey) siblings(r *realm) (out []web.Sibling) {
	for _, at := range s.guards {
		for _, host := range at.hosts {
			if at.guard.name == r.Name && r.cookieReaches(host) && !strings.ContainsAny(host, "{ ") {
				out = append(out, web.Sibling{Host: strings.ToLower(host), Ports: at.ports})
			}
		}
	}
	return out
}

// portsOf are the ports that a server listens on.
func portsOf(listen []string) (out []string) {
	for _, address := range listen {
		if a, err := caddy.ParseNetworkAddress(address); err == nil && !a.IsUnixNetwork() {
			out = append(out, strconv.FormatUint(uint64(a.StartPort), 10))
		}
	}
	return out
}

// surroundings are what a guard has around it by the configuration.
type surroundings struct {
	// served: where the accounts of its realm are on its server; anywhere: on any host.
	served   []string
	anywhere bool
	// unseen are hosts that it guards and to which browsers don't send the cookie.
	unseen []string
}

// blind reports whether browsers don't send the cookie to a guarded host.
func (s *surroundings) blind(host string) bool { return s != nil && hostIn(s.unseen, host) }

// accountsPage is the address of a page of the accounts for a guard without login_url: on
// this host if the accounts are served on it, else that of base_url.
func (g *Guard) accountsPage(req *http.Request, r *realm, page string) string {
	s := g.around.Load()
	elsewhere := s != nil && !s.anywhere && !hostIn(s.served, req.Host)
	if s == nil { // it stands where nobody looks: a handler of another plugin
		elsewhere = r.settings.Session.CookieDomain != "" && r.BaseHost != "" && !strings.EqualFold(req.Host, r.BaseHost)
	}
	if elsewhere && r.settings.BaseURL != "" {
		return r.settings.BaseURL + r.Path + page
	}
	return r.Address(page)
}

// hostIn reports whether a host, with or without a port, is one that matchers name.
func hostIn(named []string, host string) bool {
	host = strings.ToLower((&url.URL{Host: host}).Hostname())
	return slices.ContainsFunc(named, func(name string) bool { return siting.Covers(name, host) })
}

// checkGuard tells a guard what is around it, and warns of hosts that can't see the
// session cookie. The hosts are those of the configuration.
func (s *survey) checkGuard(r *realm, at guardAt) {
	around := &surroundings{}
	if before := at.guard.around.Load(); before != nil { // a named route, invoked once more
		*around = *before
	}
	for _, served := range s.served {
		if served.handler.realm == r && served.server == at.server {
			around.anywhere = around.anywhere || served.hosts == nil
			around.served = append(around.served, served.hosts...)
		}
	}
	for _, host := range at.hosts {
		if r.cookieReaches(host) || slices.ContainsFunc(s.served, func(served servedAt) bool {
			return served.handler.realm == r && (served.hosts == nil || slices.Contains(served.hosts, host))
		}) {
			continue
		}
		around.unseen = append(around.unseen, host)
		blind := siting.Blind(r.Name, orUnknown(at.guard.Source), host, orUnknown(r.settings.BaseURL))
		r.Logger.Warn(blind.String())
		r.sites = append(r.sites, blind)
	}
	at.guard.around.Store(around)
}

// cookieReaches reports whether browsers send the session cookie of base_url to a host.
func (r *realm) cookieReaches(host string) bool {
	host = strings.ToLower(host)
	if domain := strings.ToLower(strings.TrimPrefix(r.settings.Session.CookieDomain, ".")); domain != "" {
		return host == domain || strings.HasSuffix(host, "."+domain)
	}
	u, err := url.Parse(r.settings.BaseURL)
	return err == nil && strings.ToLower(u.Hostname()) == host
}

// refuse answers with a refusal: through handle_errors where the site has it for such
// an answer, else by itself. who is nil where nobody is signed in.
func (r *realm) refuse(w http.ResponseWriter, req *http.Request, who *session.Principal, err error, origin string) error {
	if origin != "" {
		web.AllowOrigin(w.Header(), origin)
	}
	server, _ := req.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || server.Errors == nil || len(server.Errors.Routes) == 0 {
		r.RefuseTo(w, req, who, err)
		return nil
	}
	failed := caddyhttp.Error(web.StatusOf(web.AsRefusal(err).Code), errors.New("refused by require_login"))
	asked := req.Clone(req.Context())
	if original, ok := req.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		asked.Method, asked.RequestURI, asked.URL = original.Method, original.RequestURI, original.URL
	}
	if !takesError(server.Errors.Routes, server.Errors.WithError(asked, failed)) {
		r.RefuseTo(w, req, who, err)
		return nil
	}
	if who != nil {
		r.Take(req, who.Session.Kind, new(web.Credentials)) // an app may make the page of the error
	}
	_, detail := r.Announce(w, req, err)
	failed.Err = errors.New(detail)
	return failed
}

// takesError reports whether a handler of these routes takes a request with an error.
func takesError(routes caddyhttp.RouteList, req *http.Request) bool {
	for _, route := range routes {
		match, err := route.MatcherSets.AnyMatchWithError(req)
		if err != nil {
			return true
		}
		if len(route.MatcherSets) > 0 && !match {
			continue
		}
		for _, handler := range route.Handlers {
			if inner, ok := handler.(*caddyhttp.Subroute); !ok || takesError(inner.Routes, req) {
				return true
			}
		}
	}
	return false
}

// unnamedEvery is how often the log says at most that a proxy is named nowhere.
const unnamedEvery = time.Hour

// warnOfUnnamedProxy says in the log, once in a while, that what a throttle has refused
// came through a proxy that Caddy doesn't know of: then everybody behind it has one
// budget, that of the proxy's address.
func (r *realm) warnOfUnnamedProxy(req *http.Request) {
	if !unnamedProxy(req) {
		return
	}
	now, last := r.Now().Unix(), r.warnedOfUnnamed.Load()
	if now-last < int64(unnamedEvery/time.Second) && now >= last || !r.warnedOfUnnamed.CompareAndSwap(last, now) {
		return
	}
	r.Logger.Warn("a throttle has refused a request: "+siting.UnnamedProxy(r.Name).String(), zap.String("realm", r.Name), zap.String("remote_address", req.RemoteAddr))
}

// unnamedProxy reports whether a request names another client and comes from an address
// that is no trusted proxy.
func unnamedProxy(req *http.Request) bool {
	if len(req.Header["X-Forwarded-For"]) == 0 && len(req.Header["Forwarded"]) == 0 && len(req.Header["X-Real-Ip"]) == 0 && len(req.Header["Cf-Connecting-Ip"]) == 0 {
		return false
	}
	return !fromProxy(req)
}
