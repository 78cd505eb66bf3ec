// app.go: the "registration" app: the realms of ONE running configuration. The
// handlers register here; guards and the admin API ask here. And what is counted on
// Caddy's metrics registry.

package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-928992b0/caddy-registration/internal/siting"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App knows the realms of a configuration. It needs no configuration of its
// own: the `registration` handlers load it and fill it.
type App struct {
	mu     sync.RWMutex
	realms map[string]*realm
	guards []guardRef
	ctx    caddy.Context // of the configuration
}

// guardRef is a guard that needs a realm, where it was configured, and whether
// it copies identity headers.
type guardRef struct {
	realm, source string
	copies        bool
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "registration", New: func() caddy.Module { return &App{realms: map[string]*realm{}} }}
}

// Provision keeps the configuration's context: its routes are all there at the start.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	return nil
}

// registrationApp returns the app of the configuration that is being loaded.
func registrationApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("registration")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// define registers a realm. One realm may be defined by several handlers with
// the same settings (a site on two addresses), which then share it; different
// settings under one name are an error.
func (a *App) define(name, settings, source string, build func() (*realm, error)) (*realm, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if have, ok := a.realms[name]; ok {
		if have.fingerprint != settings {
			return nil, fmt.Errorf("the realm %q is defined twice with different settings (%s and %s); give one of them another name: realm <name>", name, orUnknown(have.settings.Source), orUnknown(source))
		}
		have.users++
		return have, nil
	}
	r, err := build()
	if err != nil {
		return nil, err
	}
	for _, other := range a.realms {
		if mine, ok := r.storeModule.(*BoltModule); ok {
			if err := mine.clashes(other.storeModule); err != nil {
				return nil, errors.Join(fmt.Errorf("%s: realm %q: %w", orUnknown(source), name, err), r.close())
			}
		}
	}
	r.fingerprint, r.users = settings, 1
	if slices.ContainsFunc(a.guards, func(g guardRef) bool { return g.realm == name && g.copies }) {
		r.CopiesIdentity.Store(true)
	}
	a.realms[name] = r
	return r, nil
}

// leave gives a realm back; the last one releases what it holds.
func (a *App) leave(r *realm) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.users--; r.users > 0 {
		return nil
	}
	if a.realms[r.Name] == r {
		delete(a.realms, r.Name)
	}
	return r.close()
}

// need remembers that a guard asks for a realm.
func (a *App) need(g guardRef) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.guards = append(a.guards, g)
	if r := a.realms[g.realm]; r != nil && g.copies {
		r.CopiesIdentity.Store(true)
	}
}

// realm returns a realm by name, nil if there is none.
func (a *App) realm(name string) *realm {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.realms[name]
}

// names returns the names of all realms, sorted.
func (a *App) names() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Sorted(maps.Keys(a.realms))
}

// Start refuses guards without a realm, and sets the realms to work.
func (a *App) Start() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var errs []error
	for _, g := range a.guards {
		if _, ok := a.realms[g.realm]; !ok {
			errs = append(errs, unknownRealm(g))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.surveyRoutes()
	var started []*realm
	for _, r := range a.realms {
		if err := r.start(); err != nil {
			for _, s := range started {
				s.stop()
			}
			return err
		}
		started = append(started, r)
	}
	return nil
}

// Stop ends the work of the realms. What they hold is released by the cleanup
// of their handlers.
func (a *App) Stop() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, r := range a.realms {
		r.stop()
	}
	return nil
}

func unknownRealm(g guardRef) error {
	return fmt.Errorf("%s: require_login guards with the realm %q, which no registration directive defines; add `registration` to a site, or name one that exists: write realm <name> in the block of require_login", orUnknown(g.source), g.realm)
}

// check refuses a guard whose realm is neither defined nor going to be, while the
// configuration is provisioned: `caddy validate` starts nothing. Caddy provisions the routes of an HTTP app one by one; the handlers that are still
// to come stand in the app as raw JSON. Where the guard sits elsewhere, the app's
// Start has the last word.
func (a *App) check(ctx caddy.Context, g guardRef) error {
	if a.realm(g.realm) != nil {
		return nil
	}
	for _, module := range ctx.Modules() {
		httpApp, ok := module.(*caddyhttp.App)
		if !ok {
			continue
		}
		ahead, err := json.Marshal(httpApp)
		var tree any
		if err != nil || json.Unmarshal(ahead, &tree) != nil || definesRealm(tree, g.realm) {
			return nil
		}
		return unknownRealm(g)
	}
	return nil
}

// definesRealm reports whether a registration handler of the realm stands
// anywhere in a JSON tree.
func definesRealm(tree any, realm string) bool {
	switch v := tree.(type) {
	case map[string]any:
		if v["handler"] == "registration" {
			name, _ := v["realm"].(string)
			setDefault(&name, defaultRealm)
			if name == realm {
				return true
			}
		}
		for _, inner := range v {
			if definesRealm(inner, realm) {
				return true
			}
		}
	case []any:
		for _, inner := range v {
			if definesRealm(inner, realm) {
				return true
			}
		}
	}
	return false
}

func orUnknown(source string) string {
	if source == "" {
		return "the configuration"
	}
	return source
}

// placesOf are the accounts of a configuration in the order of its routes.
func placesOf(app *caddyhttp.App) (out []siting.Place) {
	for name, server := range app.Servers {
		at := siting.Place{Server: name, Ports: portsOf(server.Listen), TLS: len(server.TLSConnPolicies) > 0, Proxied: behindProxy(server)}
		for usual, chosen := range map[string]int{"80": app.HTTPPort, "443": app.HTTPSPort} { // the outside has the usual ones
			if chosen != 0 && slices.Contains(at.Ports, strconv.Itoa(chosen)) {
				at.Ports = append(at.Ports, usual)
			}
		}
		w := inventory{server: server}
		w.routes(server.Routes, at)
		out = append(out, w.places...)
	}
	return out
}

// behindProxy reports whether the configuration names trusted proxies, or only a proxy
// can connect.
func behindProxy(server *caddyhttp.Server) bool {
	// Caddy keeps them to itself; a version that calls them otherwise has more warnings.
	if field := reflect.ValueOf(server).Elem().FieldByName("trustedProxies"); field.IsValid() && field.Kind() == reflect.Interface && !field.IsNil() {
		return true
	}
	return len(portsOf(server.Listen)) == 0
}

// inventory walks through the routes of a server as requests do.
type inventory struct {
	server  *caddyhttp.Server
	places  []siting.Place
	routed  int // routes with conditions so far
	invoked int // named routes around
}

// routes returns the place behind routes: with what they take off the path.
func (w *inventory) routes(routes caddyhttp.RouteList, at siting.Place) siting.Place {
	for _, route := range routes {
		at.Taken = w.route(route, at).Taken
	}
	return at
}

func (w *inventory) route(route caddyhttp.Route, at siting.Place) siting.Place {
	before := at
	if wanted := hostsOf(route.MatcherSets); wanted != nil {
		at.Hosts = wanted
	}
	conditional := slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool {
		return slices.ContainsFunc(set, func(m any) bool { _, ok := m.(*caddyhttp.MatchHost); return !ok })
	})
	if conditional {
		w.routed++
		at.Within = append(slices.Clip(at.Within), w.routed)
	}
	for _, h := range route.Handlers {
		switch h := h.(type) {
		case *rewrite.Rewrite:
			if prefix := strings.TrimSuffix(h.StripPathPrefix, "/"); !strings.Contains(prefix, "{") {
				at.Taken += prefix
			}
		case *caddyhttp.Subroute:
			at.Taken = w.routes(h.Routes, at).Taken
		case *caddyhttp.Invoke:
			if named := w.server.NamedRoutes[h.Name]; named != nil && w.invoked < maxInvoked {
				w.invoked++
				at.Taken = w.route(*named, at).Taken
				w.invoked--
			}
		case *Handler:
			place := at
			place.Source, place.Realm, place.Path, place.BaseURL = orUnknown(h.Source), h.realm.Name, h.realm.Path, h.realm.settings.BaseURL
			w.places = append(w.places, place)
		}
	}
	if conditional {
		return before
	}
	return at
}

// checkTerms warns of a page of the terms that a guard of the realm keeps from who has no
// account yet: a request for it goes through the routes of a server, as far as is known
// what they do. What can't be known is no mistake.
func (r *realm) checkTerms(server *caddyhttp.Server, way caddyhttp.Handler) {
	page, base := r.settings.Register.Terms.Page, r.settings.BaseURL
	if !strings.HasPrefix(page, "/") || base == "" || slices.ContainsFunc(r.sites, func(w siting.Warning) bool { return w.Code == siting.CodeTerms }) {
		return
	}
	req, err := http.NewRequest(http.MethodGet, base, nil)
	if err == nil {
		req.URL, err = req.URL.Parse(page)
	}
	if err != nil {
		return
	}
	const stranger = "192.0.2.1" // RFC 5737: nobody's
	req.RequestURI, req.RemoteAddr = req.URL.RequestURI(), stranger+":1024"
	w := nobody{}
	req = caddyhttp.PrepareRequest(req, caddy.NewReplacer(), w, server)
	caddyhttp.SetVar(req.Context(), caddyhttp.ClientIPVarKey, stranger)
	t := &trip{realm: r, groups: map[string]bool{}, refuse: func(http.ResponseWriter, *http.Request) error { return nil }}
	defer func() {
		_ = recover() // a matcher of another plugin, which no server has asked
	}()
	if way.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), tripKey{}, t))) == nil && t.guard != nil {
		warning := siting.GuardedTerms(r.Name, orUnknown(t.guard.Source), req.URL.Path)
		r.Logger.Warn(warning.String())
		r.sites = append(r.sites, warning)
	}
}

// nobody is who gets the answer to a request that nobody has made.
type nobody http.Header

func (w nobody) Header() http.Header       { return http.Header(w) }
func (nobody) Write(p []byte) (int, error) { return len(p), nil }
func (nobody) WriteHeader(int)             {}

// maxInvoked is how deep named routes may invoke one another; one may invoke itself.
const maxInvoked = 10

// Interface guards
var _ caddy.App = (*App)(nil)

// metrics are the counters of the realms. They carry a realm's name and
// nothing of its accounts.
type metrics struct {
	throttled *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "registration", Name: "throttled_total",
		Help: "Requests that a throttle answered with 429.",
	}, []string{"realm", "throttle"})}
}

// register enters the counters in a registry, or takes over those that another
// realm of the configuration has entered.
func (m *metrics) register(registry prometheus.Registerer) error {
	err := registry.Register(m.throttled)
	if have := (prometheus.AlreadyRegisteredError{}); errors.As(err, &have) {
		m.throttled = have.ExistingCollector.(*prometheus.CounterVec)
		return nil
	}
	return err
}
