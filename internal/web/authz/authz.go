// authz.go: forward authentication: another server asks about each request that it gets
// whether it may serve it, and for whom.

// Package authz answers other servers that ask about their visitors: nginx with its
// auth_request, Caddy's forward_auth, Traefik, HAProxy. It looks nobody up by itself and
// judges nothing: who a request comes from and what it lacks, package web says, to the
// guard as to these.
package authz

import (
	"errors"
	"html/template"
	"net/http"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/metrics"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointForwardAuth answers servers that pass on whatever is no 2xx.
func EndpointForwardAuth(r *web.Realm) *web.Endpoint {
	return endpoint(&server{realm: r, read: readForwarded}, "forward-auth", "getForwardAuth", "Whether a request to another server may be served, for servers that pass a redirect on")
}

// EndpointAuthRequest answers nginx, which knows 2xx, 401 and 403 alone: where a browser is
// to go, it has to take from Location.
func EndpointAuthRequest(r *web.Realm) *web.Endpoint {
	return endpoint(&server{realm: r, read: readOriginal, plain: true}, "auth-request", "getAuthRequest", "Whether a request to another server may be served, for nginx")
}

func endpoint(s *server, name, operation, summary string) *web.Endpoint {
	s.counts = s.realm.Guards(name)
	return &web.Endpoint{
		Name: web.AuthzPath + name, Methods: []string{http.MethodGet}, Off: !s.realm.Options.Authz.On, Whole: s.serve,
		Doc: s.doc(operation, summary),
	}
}

// A server answers at one of the endpoints.
type server struct {
	realm *web.Realm
	// read is what a server in front says of the request that it asks about.
	read func(*http.Request) asked
	// plain: no status but 200, 401 and 403 says anything.
	plain bool
	// counts is what became of the questions.
	counts metrics.Guarded
	// The log has been told of what only an owner can mend: once each.
	toldOfPeer, toldOfQuery, toldOfCircle atomic.Bool
}

// noStore is shared: headers are set, not appended to in place.
var noStore = []string{"no-store"}

// serve answers whether the request that another server asks about may be served. It costs
// one look-up among the live sessions, whoever asks, and no hash.
func (s *server) serve(w http.ResponseWriter, req *http.Request) {
	r := s.realm
	r.Heed(req)
	w.Header()["Cache-Control"] = noStore
	about := asked{method: req.Method}
	if r.FromProxy(req) {
		about = s.read(req)
	} else if said := s.read(req); said.target != "" && !s.toldOfPeer.Swap(true) {
		r.Logger.Warn("a server asks who is signed in, but is no trusted proxy, so it is not believed where its visitors want to go, and none is sent to the sign-in page; "+
			"if it is yours, name its address in the global options: servers { trusted_proxies static <address> }",
			zap.String("realm", r.Name), zap.String("remote_address", req.RemoteAddr), zap.String("path", req.URL.Path))
	}
	if about.hasSecret() {
		r.SkipLog(req)
	}
	gate, err := readGate(req.URL.RawQuery, about)
	if err != nil {
		if !s.toldOfQuery.Swap(true) {
			r.Logger.Warn("nobody is let through, because the address at which a server asks who is signed in can't be understood: "+err.Error(),
				zap.String("realm", r.Name), zap.String("path", req.URL.Path))
		}
		web.Untold.CountIn(&s.counts)
		s.refuse(w, req, about, nil, &refusal.Error{Code: refusal.CodeMalformed, Params: text.Params{refusal.ParamQuery: err.Error()}})
		return
	}
	who, err := s.who(req, about)
	verdict := r.Judge(&gate, &who, err)
	verdict.CountIn(&s.counts)
	switch verdict {
	case web.LetThrough:
		s.letThrough(w, who.User)
	case web.Nobody:
		s.askFor(w, req, about, nil, refusal.New(refusal.CodeNotAuthenticated), r.Options.BaseURL+r.Path+"/login/")
	case web.Untold:
		s.refuse(w, req, about, nil, err)
	case web.TooLittle:
		s.askFor(w, req, about, &who, gate.Refusal(verdict), gate.StepUp(r.Options.BaseURL+r.Path+"/step-up/"))
	default:
		s.refuse(w, req, about, &who, gate.Refusal(verdict))
	}
}

// who is who the request that is asked about comes from, as at the guard.
func (s *server) who(req *http.Request, about asked) (session.Principal, error) {
	if len(req.Header["Authorization"]) > 0 {
		req = web.About(req, about.method, about.target, about.header(req.Header, s.plain))
	}
	who, err := s.realm.Authenticate(req, false)
	if errors.Is(err, store.ErrNotFound) {
		return s.realm.ByBasic(req)
	}
	return who, err
}

// letThrough says who is signed in. All headers are there, empty if need be: what the
// client has sent under a name of which the answer has nothing, some servers would leave.
func (s *server) letThrough(w http.ResponseWriter, u *store.User) {
	h := w.Header()
	for _, name := range [...]string{identity.User, identity.ID, identity.Email, identity.Name, identity.Groups} {
		h[name] = empty
	}
	s.realm.CopyIdentity(h, u, false)
	h["Content-Length"] = zero
	w.WriteHeader(http.StatusOK)
}

var empty, zero = []string{""}, []string{"0"}

// askFor leads a browser to a page of ours that leads it back, and tells anything else what
// is missing.
func (s *server) askFor(w http.ResponseWriter, req *http.Request, about asked, who *session.Principal, refused error, page string) {
	next, ours := about.next(s.realm)
	if !ours || s.realm.Options.Pages.Off || !about.navigates(req) {
		s.refuse(w, req, about, who, refused)
		return
	}
	page, leads := web.OutOfCircle(page, about.target, about.host)
	if !leads {
		if !s.toldOfCircle.Swap(true) {
			s.realm.Logger.Warn("the server that asks who is signed in asks for the sign-in page too, so nobody can sign in there: leave "+s.realm.Path+"/* out of what it guards",
				zap.String("realm", s.realm.Name), zap.String("host", about.host))
		}
		s.refuse(w, req, about, who, refused)
		return
	}
	if next != "" {
		page = web.WithParam(page, sign.ParamNext, next)
	}
	w.Header().Set("Location", page)
	switch {
	case s.plain:
		s.refuse(w, req, about, who, refused)
	case about.reads():
		w.WriteHeader(http.StatusFound)
	default: // a form was sent: what it had is lost, its page is not
		w.WriteHeader(http.StatusSeeOther)
	}
}

// refuse answers with a refusal. Who is signed in, but not as somebody who may see the
// page, can sign in as another.
func (s *server) refuse(w http.ResponseWriter, req *http.Request, about asked, who *session.Principal, err error) {
	r := s.realm
	code := web.AsRefusal(err).Code
	if web.StatusOf(code) == http.StatusUnauthorized && code != refusal.CodeInsufficient && len(req.Header["Sec-Fetch-Mode"]) == 0 && !about.navigates(req) {
		// Programs that know nothing else wait for it; a browser would ask for a password. Who
		// has to show more can't do so by it.
		w = &basicWriter{w, `Basic realm="` + r.Name + `", charset="UTF-8"`}
	}
	next, ours := about.next(r)
	if !ours || r.Options.Pages.Off || !about.navigates(req) {
		r.RefuseProgram(w, req, err)
		return
	}
	status, detail := r.Announce(w, req, err)
	page := message{Lang: r.Language(req).Name, Text: detail}
	if status == http.StatusForbidden && who != nil {
		page.Href = r.Options.BaseURL + r.Path + "/logout/"
		if next != "" {
			page.Href = web.WithParam(page.Href, sign.ParamNext, next)
		}
		page.Link = r.Language(req).Text(text.Say("link.other_account"))
		if s.plain {
			w.Header().Set("Location", page.Href)
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = messagePage.Execute(w, page)
}

// A message is what a person reads on a host of another server, which has nothing of our
// pages: no style sheet, no link within the site.
type message struct{ Lang, Text, Href, Link string }

var messagePage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="{{.Lang}}"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Text}}</title>
<main><h1>{{.Text}}</h1>{{with .Href}}<p><a href="{{.}}">{{$.Link}}</a></p>{{end}}</main></html>
`))

// A basicWriter adds its challenge to a 401: to the others in one field, since the servers
// that ask pass on the first field alone.
type basicWriter struct {
	http.ResponseWriter
	challenge string
}

func (w *basicWriter) WriteHeader(status int) {
	h := w.Header()
	h.Set("WWW-Authenticate", strings.Join(append(h.Values("WWW-Authenticate"), w.challenge), ", "))
	w.ResponseWriter.WriteHeader(status)
}
