// user.go: who is signed in, for the handlers behind a guard: as placeholders for
// those of Caddy, as a User for those of other plugins, and for Caddy's own
// `authentication` handler; and what a guard asks that he has shown.

package registration

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A User is the account that a request comes from, as it was when the guard looked.
type User struct {
	// Realm is the name of the accounts that it belongs to.
	Realm string
	// ID stays the same for as long as the account exists, and is nobody else's
	// ever. Keep what is somebody's under it: the names below can change.
	ID uuid.UUID
	// Username is "" where nobody has one.
	Username string
	// Email is "" where the account has none. Somebody has shown that he reads it
	// only if EmailVerified is true.
	Email         string
	EmailVerified bool
	// Groups are the names of the groups that an administrator has put it in.
	Groups []string
	// AMR is how he has shown who he is, as RFC 8176 names the methods, and besides mail
	// and rec (a recovery code); AuthTime is when he did so last. A token for programs shows
	// nothing: AMR is empty and AuthTime zero.
	AMR      []string
	AuthTime time.Time
	// Public has every field that the configuration calls public, by its name. The
	// values are as in JSON: string, bool, int64, float64, []string, or nil where
	// there is none.
	Public map[string]any
}

// UserFrom returns who is signed in, for handlers behind `require_login` (or behind
// `authentication` with our provider). ok is false where no guard has let the request
// through. Of several guards on the way of a request the last counts. The User is
// the caller's own, made anew by each call.
func UserFrom(req *http.Request) (user User, ok bool) {
	vars, _ := req.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	who, ok := vars[userVar].(*signedIn)
	if !ok {
		return User{}, false
	}
	u := who.user
	user = User{
		Realm: who.realm.Name, ID: u.ID, Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified,
		Groups: slices.Clone(who.realm.GroupsOf(u)), AMR: slices.Clone(who.session.Methods()), AuthTime: who.session.ShownAt(), Public: map[string]any{},
	}
	for name, f := range who.realm.settings.fields.PublicSet {
		user.Public[name] = f.Get(u)
	}
	return user, true
}

// userVar is the request variable that holds a *signedIn.
const userVar = "registration.user"

// signedIn is who a guard has let through, and whose accounts he is of.
type signedIn struct {
	realm   *realm
	user    *store.User
	session *store.Session
	// taken was on the request before the guard.
	taken web.Credentials
	// outer was let through before, by another guard on the way.
	outer *signedIn
}

// String is all that `{vars.registration.user}` shows.
func (who *signedIn) String() string { return who.user.ID.String() }

// latestFound is what the latest guard has found, nil where there was none. The
// variables are in the request's context, and that request's alone.
func latestFound(req *http.Request) *signedIn {
	vars, _ := req.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	who, _ := vars[userVar].(*signedIn)
	return who
}

// authenticate is Authenticate for who may stand behind a guard of the same accounts.
func (r *realm) authenticate(req *http.Request) (session.Principal, error) {
	for who := latestFound(req); who != nil; who = who.outer {
		if who.realm.Name == r.Name {
			return session.Principal{User: who.user, Session: who.session}, nil
		}
	}
	return r.Authenticate(req, false)
}

// giveBack gives an endpoint behind a guard the credentials that a browser sent to it.
func (r *realm) giveBack(req *http.Request) {
	for who := latestFound(req); who != nil; who = who.outer {
		if who.realm.Name == r.Name {
			who.taken.Give(req)
		}
	}
}

const userPlaceholder = "http.auth.user."

// publish tells the handlers behind who is signed in. Of several guards the latest
// counts. Placeholders are looked up only when asked for.
func publish(req *http.Request, who *signedIn) {
	repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	vars, ok := req.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if !ok {
		return
	}
	outer, again := vars[userVar]
	who.outer, _ = outer.(*signedIn)
	vars[userVar] = who
	// What an authentication before us has set would hide ours, and mix two
	// people. (Setting the id instead would make the replacer's map, per request.)
	repl.DeleteByPrefix(userPlaceholder)
	if again {
		return
	}
	repl.Map(func(key string) (any, bool) {
		name, ok := strings.CutPrefix(key, userPlaceholder)
		if !ok {
			return nil, false
		}
		who, ok := vars[userVar].(*signedIn)
		if !ok {
			return nil, false
		}
		return who.placeholder(name)
	})
}

// placeholder is the value of {http.auth.user.<name>}.
func (who *signedIn) placeholder(name string) (any, bool) {
	switch name {
	case placeholderAMR:
		return strings.Join(who.session.Methods(), ","), true
	case placeholderAuthTime:
		if who.session.Kind == store.KindProgram {
			return "", true
		}
		return strconv.FormatInt(who.session.ShownAt().Unix(), 10), true
	}
	return who.realm.placeholder(who.user, name)
}

// Placeholders of the sign-in; all others are of the account.
const (
	placeholderAMR      = "amr"
	placeholderAuthTime = "auth_time"
)

// placeholder is the value of those that are of the account.
func (r *realm) placeholder(u *store.User, name string) (any, bool) {
	v, ok := r.value(u, name)
	if text, isText := v.(string); isText && !identity.Plain(text) {
		return "", ok
	}
	return v, ok
}

// value is what stands behind a placeholder.
func (r *realm) value(u *store.User, name string) (any, bool) {
	switch name {
	case field.ID:
		return u.ID.String(), true
	case field.Username:
		return u.Username, true
	case field.Email:
		return u.Email, true
	case field.Groups:
		return strings.Join(r.GroupsOf(u), ","), true
	}
	f, ok := r.settings.fields.PublicSet[name]
	if !ok {
		return nil, false
	}
	if v := f.Get(u); v != nil {
		return v, true
	}
	return "", true
}

// byBasic lets a program in that nothing else has let in, and has what refuses it say that
// HTTP Basic would be taken. Not to a browser: it would ask for a password of its own.
func (g *Guard) byBasic(w http.ResponseWriter, req *http.Request, r *realm, p session.Principal, err error) (http.ResponseWriter, session.Principal, error) {
	if errors.Is(err, store.ErrNotFound) {
		p, err = r.ByBasic(req)
	}
	if err != nil && len(req.Header["Sec-Fetch-Mode"]) == 0 {
		w = &basicWriter{caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, `Basic realm="` + r.Name + `", charset="UTF-8"`}
	}
	return w, p, err
}

// A basicWriter adds its challenge to a 401 of ours.
type basicWriter struct {
	caddyhttp.ResponseWriterWrapper
	challenge string
}

func (w *basicWriter) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", w.challenge)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// checkDemand checks `factors` and `max_age`.
func (g *Guard) checkDemand() error {
	if g.Factors < 0 || g.Factors > 2 {
		return setting.Errorf("factors", "%d is no number of factors; write 2, or leave it out", g.Factors)
	}
	if g.MaxAge < 0 {
		return setting.Errorf("max_age", "must not be negative; write for example 10m")
	}
	return nil
}

// factorsOfGuard reads `factors 2`.
func factorsOfGuard(g *Guard) option {
	return func(p *parser, name string) error {
		text, err := p.arg(name, "2")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 2 {
			return p.Errf("%s: %q is no number of factors; write 2, or leave it out", name, text)
		}
		g.Factors = n
		return nil
	}
}

// stepUp is where a browser shows what its sign-in has not: with login_url that page, with
// what it needs to know, else ours.
func (g *Guard) stepUp(req *http.Request, r *realm, who *session.Principal) string {
	gate := g.gate()
	switch {
	case g.LoginURL != "":
		target := web.WithParam(g.LoginURL, web.ParamReauth, "1")
		if factor, _ := gate.Missing(who.Session, r.Now()); factor {
			target = web.WithParam(target, web.ParamFactors, strconv.Itoa(gate.Factors))
		}
		return target
	case r.settings.Pages.Off:
		return ""
	}
	return gate.StepUp(g.accountsPage(req, r, "/step-up/"))
}

// Provider is the same check as require_login for Caddy's `authentication`
// handler, which then answers 401 by itself.
type Provider struct {
	// The realm whose accounts count. Default: `default`.
	Realm string `json:"realm,omitempty"`
	// Leaves our cookies and our opaque token on the request, as at the guard.
	KeepCredentials bool `json:"keep_credentials,omitempty"`

	realmRef
}

// CaddyModule returns the Caddy module information.
func (*Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers.registration", New: func() caddy.Module { return new(Provider) }}
}

// Provision finds the app.
func (p *Provider) Provision(ctx caddy.Context) error {
	return p.provision(ctx, p.Realm, "an authentication provider", false)
}

// Authenticate implements caddyauth.Authenticator. The metadata has the
// username, e-mail, groups and every public field.
func (p *Provider) Authenticate(w http.ResponseWriter, req *http.Request) (caddyauth.User, bool, error) {
	identity.Strip(req)
	r := p.realm()
	if r == nil {
		return caddyauth.User{}, false, errors.New("the realm is not ready")
	}
	who, err := r.authenticate(req)
	if err != nil {
		w.Header().Set("WWW-Authenticate", r.Challenge())
		if refused := (*refusal.Error)(nil); errors.As(err, &refused) && refused.Code == refusal.CodeUnavailable {
			return caddyauth.User{}, false, err
		}
		return caddyauth.User{}, false, nil
	}
	found := &signedIn{realm: r, user: who.User, session: who.Session}
	publish(req, found)
	if !p.KeepCredentials {
		r.Take(req, who.Session.Kind, &found.taken)
	}
	meta := map[string]string{}
	for _, f := range r.settings.fields.All {
		if v, ok := r.placeholder(who.User, f.Name); ok && f.Name != field.ID {
			meta[f.Name] = caddy.ToString(v)
		}
	}
	for _, name := range []string{placeholderAMR, placeholderAuthTime} {
		v, _ := found.placeholder(name)
		meta[name] = caddy.ToString(v)
	}
	return caddyauth.User{ID: who.User.ID.String(), Metadata: meta}, true, nil
}

// Interface guard
var _ caddyauth.Authenticator = (*Provider)(nil)
