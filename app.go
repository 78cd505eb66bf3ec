// app.go: the "registration" app: the realms of ONE running configuration. The
// handlers register here; guards and the admin API ask here.

package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/seed-928992b0/caddy-registration/internal/field"
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
			place.Asked = h.realm.settings.Authz.On
			w.places = append(w.places, place)
		}
	}
	if conditional {
		return before
	}
	return at
}

// checkOpen warns of pages that a guard of the realm keeps from those whom they are for: who has
// no account yet, and who has signed out. A request for each goes through the routes of a server,
// as far as is known what they do. What can't be known is no mistake.
func (r *realm) checkOpen(server *caddyhttp.Server, way caddyhttp.Handler) {
	base := r.settings.BaseURL
	check := func(page string, warning func(realm, source, page string) siting.Warning) {
		if !strings.HasPrefix(page, "/") || base == "" {
			return
		}
		t := r.follow(server, way, base, page)
		if t == nil || t.guard == nil {
			return
		}
		found := warning(r.Name, orUnknown(t.guard.Source), t.page)
		if !slices.Contains(r.sites, found) {
			r.Logger.Warn(found.String())
			r.sites = append(r.sites, found)
		}
	}
	check(r.settings.Register.Terms.Page, siting.GuardedTerms)
	check(r.settings.Pages.Goodbye, siting.GuardedGoodbye)
	for _, link := range r.settings.Pages.Links {
		check(link.URL, siting.GuardedLink)
	}
	for _, f := range r.Options.Fields.Asked {
		if f.Kind != field.KindBoolean {
			continue
		}
		parts, _ := field.Label(f.Label)
		for _, part := range parts {
			check(part.Href, func(realm, source, page string) siting.Warning {
				return siting.GuardedLabel(realm, source, page, f.Name)
			})
		}
	}
}

// checkFrontPage finds out whether the site of the realm has a front page, by its routes: that
// is where people go after a sign-in.
func (r *realm) checkFrontPage(server *caddyhttp.Server, way caddyhttp.Handler, hosts []string) {
	base := r.settings.BaseURL
	if base == "" {
		base = "http://" + append(slices.Clip(hosts), "localhost")[0]
	}
	if t := r.follow(server, way, base, "/"); t != nil && t.met && !t.chosen {
		r.FrontPage.Store(true)
	}
}

// answers reports whether a handler that a request has come to has something for it, as far
// as that can be told: not if it makes errors, or serves files and has no index.
func answers(h caddyhttp.MiddlewareHandler, req *http.Request) bool {
	repl, _ := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	switch h := h.(type) {
	case *caddyhttp.StaticError:
		return false
	case *caddyhttp.StaticResponse:
		code, err := strconv.Atoi(string(h.StatusCode))
		return !h.Abort && (h.StatusCode == "" || err == nil && code < http.StatusBadRequest)
	case *fileserver.FileServer:
		if h.Browse != nil || h.FileSystem != "" && h.FileSystem != "{http.vars.fs}" || repl == nil {
			return true
		}
		folder := caddyhttp.SanitizedPathJoin(repl.ReplaceAll(h.Root, "."), req.URL.Path)
		return slices.ContainsFunc(h.IndexNames, func(name string) bool {
			info, err := os.Stat(filepath.Join(folder, repl.ReplaceAll(name, ""))) //nolint:gosec // the owner names both
			return err == nil && info.Mode().IsRegular()
		})
	}
	return true
}

// follow goes the way of a stranger's request for a page through the routes, as far as it is
// known what they do; nil: that can't be told.
func (r *realm) follow(server *caddyhttp.Server, way caddyhttp.Handler, base, page string) *trip {
	req, err := http.NewRequest(http.MethodGet, base, nil)
	if err == nil {
		req.URL, err = req.URL.Parse(page)
	}
	if err != nil {
		return nil
	}
	const stranger = "192.0.2.1" // RFC 5737: nobody's
	req.RequestURI, req.RemoteAddr = req.URL.RequestURI(), stranger+":1024"
	w := nobody{}
	req = caddyhttp.PrepareRequest(req, caddy.NewReplacer(), w, server)
	caddyhttp.SetVar(req.Context(), caddyhttp.ClientIPVarKey, stranger)
	t := &trip{realm: r, page: req.URL.Path, groups: map[string]bool{}, refuse: func(http.ResponseWriter, *http.Request) error { return nil }}
	defer func() {
		_ = recover() // a matcher of another plugin, which no server has asked
	}()
	if way.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), tripKey{}, t))) != nil {
		return nil
	}
	return t
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
