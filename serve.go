// serve.go: what an endpoint is, and the way of a request through one: decoded
// input -> act -> reply.

package registration

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// An endpoint is one row of the contract.
type endpoint struct {
	name    string
	methods []string
	// signedIn: it answers 401 to anybody else.
	signedIn bool
	// givesCookie: it may sign a browser in, so a foreign page must not post to
	// it even without a cookie (login CSRF).
	givesCookie bool
	// off: it answers 404 to everything.
	off bool
	// spends is what a call is counted against.
	spends
	act func(*call) (*reply, error)
	// anonymous: who asks doesn't count, so that a client may send along a token
	// that has expired.
	anonymous bool
	// document serves a file that is anybody's, in place of act.
	document func(http.ResponseWriter, *http.Request, *webRealm)
	// mailed is the mailed link that leads here; zero: none does.
	mailed mailedLink
	// form is the page that GET shows to a browser; nil: none.
	form *form
	// page names the endpoint whose page has this one's button, where it has no
	// page of its own.
	page string
	// after is where a browser goes after the act; nil: to the profile.
	after func(*call, *reply) afterAct
	// doc is what the OpenAPI document says besides.
	doc endpointDoc
	// redirect is where redirect mode sends a browser after the act; zero: off.
	redirect webRedirect
	// linkActs: in redirect mode a GET acts, with what its query says.
	linkActs bool
}

// A mailedLink is the link in a mail whose act is an endpoint's.
type mailedLink struct {
	purpose Purpose
	// url is where the link leads; "": to the endpoint's own page.
	url    string
	period time.Duration
}

// A call is one request to an endpoint, decoded.
type call struct {
	*Accounts
	realm  *webRealm
	req    *http.Request
	in     Input
	who    *Principal // nil: nobody is signed in
	client Client
	loc    *locale // the language of the answer, and of mail that it causes
	next   string  // checked
	// asksOnPage: a built-in page behind a mailed link sent this.
	asksOnPage bool
	// mustProve: this browser confirms an account that it did not sign up for.
	mustProve bool
}

// A reply is what an endpoint did: JSON shows the profile where there is one,
// else the detail; a page shows the detail.
type reply struct {
	status  int
	detail  phrase
	profile []Shown
	// body is shown in place of both where it is not nil.
	body  any
	token string
	// refresh is the refresh token; expires, the end of the access token.
	refresh string
	expires time.Time
	// cookie is a new session's token for the browser; signedOut takes it away.
	cookie    string
	signedOut bool
	// knownDevice gives the browser a device cookie, though it may not be signed in.
	knownDevice bool
	// signedUp gives the browser the marker of the account that it asked for.
	signedUp bool
	// user is the account that acted or was acted on, for the log.
	user *User
	// seeOther is where a browser goes next; "": to a page that tells the detail.
	seeOther string
}

// grants takes the tokens of a sign-in into the reply.
func (rep *reply) grants(g *Grant) {
	rep.token, rep.refresh, rep.expires = g.Token, g.Refresh, g.Expires
}

// post are the methods of an endpoint that acts alone.
var post = []string{http.MethodPost}

// routes makes the endpoints that this configuration serves, by name.
func (r *webRealm) routes(endpoints []func(*webRealm) *endpoint) map[string]*endpoint {
	routes := make(map[string]*endpoint, len(endpoints))
	for _, make := range endpoints {
		e := make(r)
		if e.form != nil && e.after == nil {
			e.after = e.form.after
		}
		routes[e.name] = e
	}
	return routes
}

// mailedLinks are the links in mails, each with where it leads.
func (r *webRealm) mailedLinks() map[Purpose]mailedLink {
	links := map[Purpose]mailedLink{}
	for name, e := range r.endpoints {
		if e.mailed.purpose != "" {
			e.mailed.url = cmp.Or(e.mailed.url, r.options.BaseURL+r.path+"/"+name+"/")
			links[e.mailed.purpose] = e.mailed
		}
	}
	return links
}

// redirectActs makes a GET act where the owner has chosen redirect mode.
func (e *endpoint) redirectActs(s webRedirect) {
	if e.redirect = s; s.on() {
		e.linkActs, e.methods = true, []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
}

// serve answers a request below the realm's path. The order of the refusals is
// part of the contract: 404, 405, 403, 401, 415, 413 and 400 by the body.
func (r *webRealm) serve(w http.ResponseWriter, req *http.Request, name string) {
	if hasSecret(req.URL.RawQuery) {
		r.skipAccessLog(req)
	} else {
		defer func() { // the log has the answer's headers too
			if hasSecret(w.Header().Get("Location")) {
				r.skipAccessLog(req)
			}
		}()
	}
	html := !r.options.Pages.Off && acceptsHTML(req.Header)
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	if !r.options.Pages.Off && read {
		if name == "" {
			http.Redirect(w, req, r.path+"/profile/", http.StatusFound)
			return
		}
		if r.pages.file(w, req, name) {
			return
		}
	}
	e, ok := r.endpoints[name]
	if r.origins.cors(w, req, e) {
		return
	}
	if !ok || e.off {
		r.refuse(w, req, refuse(CodeNotFound))
		return
	}
	page := html && read && e.form != nil && !e.linkActs
	if !page && !slices.Contains(e.methods, req.Method) {
		w.Header().Set("Allow", strings.Join(e.methods, ", "))
		r.refuse(w, req, refuse(CodeMethodNotAllowed))
		return
	}
	if e.document != nil {
		e.document(w, req, r)
		return
	}
	_, hasCookie := sentCookie(req, r.cookieName(req))
	if (hasCookie || e.givesCookie) && r.origins.csrf.Check(req) != nil {
		r.refuse(w, req, refuse(CodeCrossOrigin))
		return
	}
	r.heed(req)
	c := &call{Accounts: r.accounts.Load(), realm: r, req: req, client: r.client(req)}
	if c.Accounts == nil {
		r.refuse(w, req, unavailable(errors.New("the store is not open")))
		return
	}
	c.loc = r.languages.named(c.client.Language)
	if e.anonymous {
		// nobody is asked who it is
	} else if who, err := r.authenticate(req, true); err == nil {
		c.who = &who
	} else if !errors.Is(err, ErrNotFound) {
		r.refuse(w, req, err)
		return
	}
	switch {
	case page:
		r.pages.get(w, c, e)
		return
	case e.actsOnGet(req):
		c.in = queryInput(req)
	case e.linkActs && read:
		r.declineToAct(w, req)
		return
	}
	if e.signedIn && c.who == nil && !(html && e.mailed.purpose != "") { // the page of a link leads to the sign-in
		r.refuse(w, req, refuse(CodeNotAuthenticated))
		return
	}
	if !read {
		var err error
		if c.in, err = decodeBody(w, req); err != nil {
			r.misspelt(c, e, err)
			r.refuse(w, req, err)
			return
		}
	}
	c.next = r.origins.safeNext(c.in.text(paramNext))
	c.client.Next = c.next
	c.asksOnPage = html && r.asksOnPage(c, e)
	r.finish(w, c, e, html)
}

// finish does the act, writes its log line and answers.
func (r *webRealm) finish(w http.ResponseWriter, c *call, e *endpoint, html bool) {
	var rep *reply
	pays, err := r.newToll(c, e)
	if err == nil {
		c.client.spend = pays.pay
		if pays.device != nil {
			c.client.device = pays.device.account
		}
		rep, err = e.act(c)
		pays.settle(err)
	}
	if e.linkActs || c.req.Method != http.MethodGet && c.req.Method != http.MethodHead {
		r.logAct(c, e, rep, err)
	}
	if rep != nil && (rep.cookie != "" || rep.signedOut) {
		r.setCookie(w, c.req, rep.cookie)
	}
	if rep != nil && (rep.cookie != "" || rep.knownDevice) {
		r.rememberDevice(w, c, rep.user)
	}
	if rep != nil && rep.signedUp {
		r.markSignUp(w, c, rep.user)
	}
	if r.sendOn(w, c, e, err, html) {
		return
	}
	if err != nil {
		if html && e.form != nil {
			r.pages.failed(w, c, e, asRefusal(err))
		} else {
			r.refuse(w, c.req, err)
		}
		return
	}
	if html {
		r.pages.done(w, c, e, rep)
		return
	}
	r.writeReply(w, c.loc, rep)
}

// logAct writes one line for an act: what, with which outcome, on which account,
// from where. What was typed stays out of it. What a throttle refuses has a line
// an incident (throttled).
func (r *webRealm) logAct(c *call, e *endpoint, rep *reply, err error) {
	fields := []zap.Field{zap.String("realm", r.name), zap.String("act", e.name), zap.String("client_ip", c.client.Address)}
	if rep != nil && rep.user != nil {
		fields = append(fields, zap.Stringer("user", rep.user.ID))
	} else if c.who != nil {
		fields = append(fields, zap.Stringer("user", c.who.User.ID))
	}
	if err == nil {
		r.logger.Info("act done", fields...)
		return
	}
	refusal := asRefusal(err)
	if refusal.counted { // a flood would be as many lines
		return
	}
	codes := []string{string(refusal.Code)}
	for _, f := range refusal.Fields {
		codes = append(codes, f.Field+":"+string(f.Code))
	}
	r.logger.Info("act refused", append(fields, zap.Strings("codes", codes))...)
}

// skipAccessLog keeps a request out of Caddy's access log: its address carries a
// secret, and the log would keep it.
func (r *webRealm) skipAccessLog(req *http.Request) {
	r.skipLog(req)
	r.logger.Info("mailed link opened; the request is left out of the access log, because its address has a signature",
		zap.String("realm", r.name), zap.String("path", req.URL.Path), zap.String("client_ip", r.client(req).Address))
}
