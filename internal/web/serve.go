// serve.go: what an endpoint is, and the way of a request through one: decoded
// input -> act -> reply.

package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// An Endpoint is one row of the contract.
type Endpoint struct {
	Name    string
	Methods []string
	// SignedIn: it answers 401 to anybody else.
	SignedIn bool
	// GivesCookie: it may sign a browser in, so a foreign page must not post to
	// it even without a cookie (login CSRF).
	GivesCookie bool
	// Off: it answers 404 to everything.
	Off bool
	// Invited: to who has a good invitation it answers all the same.
	Invited bool
	// spends is what a call is counted against.
	Spends
	Act func(*Call) (*Reply, error)
	// Anonymous: who asks doesn't count, so that a client may send along a token
	// that has expired.
	Anonymous bool
	// Programs: a token for programs is good here, for reading.
	Programs bool
	// Document serves a file that everybody may read, in place of Act.
	Document func(http.ResponseWriter, *http.Request, *Realm)
	// Whole answers requests of any method, in place of Act: it is asked by servers, not by
	// browsers, and changes nothing.
	Whole func(http.ResponseWriter, *http.Request)
	// Mailed is the mailed link that leads here; zero: none does.
	Mailed MailedLink
	// Form is the page that GET shows to a browser; nil: none.
	Form *Form
	// Page names the endpoint whose page has this one's button, where it has no
	// page of its own.
	Page string
	// After is where a browser goes after the act; nil: to the profile.
	After func(*Call, *Reply) AfterAct
	// Doc is what the OpenAPI document says besides.
	Doc EndpointDoc
	// Redirect is where redirect mode sends a browser after the act; zero: off.
	Redirect Redirect
	// linkActs: in redirect mode a GET acts, with what its query says.
	linkActs bool
	// returned answers a browser that has come back from elsewhere with nothing good; nil:
	// none comes (Returns).
	returned func(http.ResponseWriter, *Call, *refusal.Error)
}

// A MailedLink is the link in a mail whose act is an endpoint's.
type MailedLink struct {
	Purpose sign.Purpose
	// URL is where the link leads; "": to the endpoint's own page.
	URL    string
	Period time.Duration
}

// A Call is one request to an endpoint, decoded.
type Call struct {
	*account.Accounts
	Realm  *Realm
	Req    *http.Request
	In     field.Input
	Who    *session.Principal // nil: nobody is signed in
	Client account.Client
	Loc    *text.Locale // the language of the answer, and of mail that it causes
	Next   string       // checked
	// AsksOnPage: a built-in page behind a mailed link sent this.
	AsksOnPage bool
	signedUp   func() (*store.User, error) // SignedUpHere
	// MustProve: this browser confirms an account that it did not sign up for.
	MustProve bool
}

// A Reply is what an endpoint did: JSON shows the profile where there is one,
// else the detail; a page shows the detail.
type Reply struct {
	Status  int
	Detail  text.Phrase
	Profile []field.Shown
	// Body is shown in place of both where it is not nil.
	Body  any
	token string
	// refresh is the refresh token; expires, the end of the access token.
	refresh string
	expires time.Time
	// Cookie is a new session's token for the browser; SignedOut takes it away.
	Cookie    string
	SignedOut bool
	// Members are added to the detail in JSON.
	Members Object
	// Page is shown to a browser in place of being sent on: what is told once. Its status is
	// 200.
	Page *PageData
	// Picture is an SVG of ours, the answer whatever the client takes; nil: none.
	Picture []byte
	// File is JSON that a person saves under FileName, the answer whatever the client takes;
	// nil: none.
	File     []byte
	FileName string
	// Challenge is asked of the browser, which is to keep what binds it; nil: none is.
	Challenge *account.Challenge
	// PasskeyDevice is kept by the browser that is asked for a passkey; "": nothing is.
	PasskeyDevice string
	// AskedCode is kept by the browser that has asked for a code to sign in by; a zero one
	// takes it away; nil: nothing changes.
	AskedCode *account.AskedCode
	// Trusted is kept by a browser that is not to be asked for a factor; "": nothing is.
	Trusted string
	// KnownDevice gives the browser a device cookie, though it may not be signed in.
	KnownDevice bool
	// Kept are cookies of an account elsewhere. Reload has a browser ask once more that has
	// just come from another site (FromElsewhere).
	Kept   []*http.Cookie
	Reload bool
	// SignedUp gives the browser the marker of the account that it asked for.
	SignedUp bool
	// User is the account that acted or was acted on, for the log.
	User *store.User
	// Language is kept by a browser that has chosen another, or any with KeepLanguage; nil: it
	// keeps what it has. "" takes it away.
	Language     *string
	KeepLanguage bool
	// SeeOther is where a browser goes next; "": to a page that tells the detail. Note names
	// the page there that tells it all the same; "": none does.
	SeeOther, Note string
}

// Grants takes the tokens of a sign-in into the reply.
func (rep *Reply) Grants(g *session.Grant) {
	rep.token, rep.refresh, rep.expires = g.Token, g.Refresh, g.Expires
}

// Post are the methods of an endpoint that acts alone.
var Post = []string{http.MethodPost}

// Routes makes the endpoints that this configuration serves, by name.
func (r *Realm) Routes(endpoints []func(*Realm) *Endpoint) map[string]*Endpoint {
	routes := make(map[string]*Endpoint, len(endpoints))
	for _, make := range endpoints {
		e := make(r)
		if e.Form != nil && e.After == nil {
			e.After = e.Form.After
		}
		routes[e.Name] = e
	}
	return routes
}

// MailedLinks are the links in mails, each with where it leads.
func (r *Realm) MailedLinks() map[sign.Purpose]MailedLink {
	links := map[sign.Purpose]MailedLink{}
	for name, e := range r.Endpoints {
		if e.Mailed.Purpose != "" {
			e.Mailed.URL = cmp.Or(e.Mailed.URL, r.Options.BaseURL+r.Path+"/"+name+"/")
			links[e.Mailed.Purpose] = e.Mailed
		}
	}
	return links
}

// RedirectActs makes a GET act where the owner has chosen redirect mode.
func (e *Endpoint) RedirectActs(s Redirect) {
	if e.Redirect = s; s.on() {
		e.linkActs, e.Methods = true, []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
}

// Serve answers a request below the realm's path. The order of the refusals is
// part of the contract: 404, 405, 403, 401, 415, 413 and 400 by the body.
func (r *Realm) Serve(w http.ResponseWriter, req *http.Request, name string) {
	defer r.keepSecrets(w, req)()
	html := !r.Options.Pages.Off && WantsPage(req.Header)
	read := isRead(req)
	e, ok := r.Endpoints[name]
	if r.serveWhole(w, req, name, e) {
		return
	}
	page := ok && read && r.showsForm(req, e, html)
	if !ok || e.Off && !e.mayBeInvited(req, page) {
		r.notThere(w, req, e, html)
		return
	}
	if !page && !slices.Contains(e.Methods, req.Method) {
		w.Header().Set("Allow", strings.Join(e.Methods, ", "))
		r.Refuse(w, req, refusal.New(refusal.CodeMethodNotAllowed))
		return
	}
	if e.Document != nil {
		e.Document(w, req, r)
		return
	}
	_, hasCookie := sentCookie(req, r.cookieName(req))
	if (hasCookie || e.GivesCookie) && r.Origins.foreign(req) {
		r.turnAway(w, req, e, html, refusal.New(refusal.CodeCrossOrigin))
		return
	}
	r.Heed(req)
	r.call(w, req, e, html, page)
}

// serveWhole answers what is none of the ordinary way of an endpoint, e is nil where there
// is none, and reports whether it has.
func (r *Realm) serveWhole(w http.ResponseWriter, req *http.Request, name string, e *Endpoint) bool {
	if !r.Options.Pages.Off && isRead(req) && r.serveFile(w, req, name) {
		return true
	}
	if e != nil && e.Whole != nil && !e.Off {
		e.Whole(w, req)
		return true
	}
	return r.Origins.cors(w, req, e) || e == nil && r.Owner != nil && r.Owner.Serve(w, req, name)
}

// serveFile answers with what belongs to all pages: the way to the first one, the style
// sheet, the script. It reports whether name is one of these.
func (r *Realm) serveFile(w http.ResponseWriter, req *http.Request, name string) bool {
	if name == "" {
		http.Redirect(w, req, r.Address("/profile/"), http.StatusFound)
		return true
	}
	return r.Pages.file(w, req, name)
}

// mayBeInvited reports whether a request to an endpoint that is off may bring an
// invitation. Whether that is a good one, the act and the page say.
func (e *Endpoint) mayBeInvited(req *http.Request, page bool) bool {
	if page {
		return e.Invited && QueryOf(req).Get(sign.ParamInvitation) != ""
	}
	return e.Invited && slices.Contains(e.Methods, req.Method)
}

// notThere answers that there is no such endpoint, or that it is off: e is nil, or one
// whose page says why.
func (r *Realm) notThere(w http.ResponseWriter, req *http.Request, e *Endpoint, html bool) {
	refused := refusal.New(refusal.CodeNotFound)
	if html && e != nil && e.Form != nil && e.Form.Closed.Id != "" {
		c := &Call{Realm: r, Req: req, Loc: r.Language(req), Next: r.Origins.SafeNext(QueryOf(req).Get(sign.ParamNext))}
		r.Pages.Blocked(w, c, e, refused, e.Form.Closed)
		return
	}
	r.Refuse(w, req, refused)
}

// turnAway refuses a request before its act. An endpoint that is off is as if there were
// none: who has an invitation sends nothing that is refused here.
func (r *Realm) turnAway(w http.ResponseWriter, req *http.Request, e *Endpoint, html bool, err error) {
	if e.Off {
		r.notThere(w, req, e, html)
		return
	}
	r.Refuse(w, req, err)
}

// showsForm reports whether a GET is answered with the page of an endpoint's form. html:
// the client likes that best.
func (r *Realm) showsForm(req *http.Request, e *Endpoint, html bool) bool {
	if e.Form == nil || e.linkActs {
		return false
	}
	return html || !r.Options.Pages.Off && !slices.Contains(e.Methods, http.MethodGet) && takesPage(req.Header)
}

// keepSecrets keeps a request out of the access log if its address names a secret,
// or its answer's does: the log has the answer's headers too. That is what the
// function looks for that it returns.
func (r *Realm) keepSecrets(w http.ResponseWriter, req *http.Request) (after func()) {
	if HasSecret(req.URL.RawQuery) || strings.Contains(req.URL.Path, "/oidc-callback/") {
		r.skipAccessLog(req)
		return func() {}
	}
	return func() {
		if HasSecret(w.Header().Get("Location")) {
			r.skipAccessLog(req)
		}
	}
}

// call is a request that an endpoint, or its page, takes: who asks, with what.
func (r *Realm) call(w http.ResponseWriter, req *http.Request, e *Endpoint, html, page bool) {
	read := isRead(req)
	c := &Call{Accounts: r.Ready(req.Context()), Realm: r, Req: req, Client: r.client(req)}
	if c.Accounts == nil {
		r.Refuse(w, req, refusal.Unavailable(errors.New("the store is not open")))
		return
	}
	c.Loc = r.Languages.Named(c.Client.Language)
	c.Client.Trusted = r.keptTrust(req)
	if e.Anonymous {
		// nobody is asked who it is
	} else if who, err := r.asker(req, e, page); err == nil {
		c.Who = &who
	} else if !errors.Is(err, store.ErrNotFound) {
		r.turnAway(w, req, e, html, err)
		return
	}
	c.nameCaller()
	req = c.Req
	switch {
	case page:
		r.Pages.get(w, c, e)
		return
	case e.actsOnGet(req):
		c.In = queryInput(req)
	case e.linkActs && read:
		r.declineToAct(w, req)
		return
	}
	if e.SignedIn && c.Who == nil && (!html || e.Mailed.Purpose == "") { // the page of a link leads to the sign-in
		r.Refuse(w, req, refusal.New(refusal.CodeNotAuthenticated))
		return
	}
	leave, busy := r.line(w, c, e, html)
	defer leave()
	if !read && (busy == nil || html) { // a page shows what was typed
		var err error
		if c.In, err = decodeBody(w, req); err != nil {
			r.misspelt(c, e, err)
			r.turnAway(w, req, e, html, err)
			return
		}
	}
	c.Next = r.Origins.SafeNext(c.In.Text(sign.ParamNext))
	if len(c.Next) <= maxMailedNext {
		c.Client.Next = c.Next
	}
	c.Client.Page = html && c.In.IsForm()
	c.AsksOnPage = html && r.asksOnPage(c, e)
	r.finish(w, c, e, html, busy)
}

// NewCall is a request before its body is read: who asks, and from where. Who is nil
// where nobody is signed in; a token that is no good is an error.
func (r *Realm) NewCall(req *http.Request) (*Call, error) {
	c := &Call{Accounts: r.Ready(req.Context()), Realm: r, Req: req, Client: r.client(req)}
	if c.Accounts == nil {
		return nil, refusal.Unavailable(errors.New("the store is not open"))
	}
	c.Loc = r.Languages.Named(c.Client.Language)
	who, err := r.Authenticate(req, true)
	switch {
	case err == nil:
		c.Who = &who
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	c.nameCaller()
	return c, nil
}

// finish does the act, unless it is refused before, writes its log line and answers.
func (r *Realm) finish(w http.ResponseWriter, c *Call, e *Endpoint, html bool, err error) {
	var rep *Reply
	var pays *toll
	if err == nil {
		pays, err = r.newToll(c, e)
	}
	if err == nil {
		c.Client.Spend = pays.pay
		c.Client.Browser, _ = c.KeptChallenge()
		c.Client.Seen = sync.OnceValue(func() device.Seen { return r.seen(c) })
		if pays.device != nil {
			c.Client.Device = pays.device.account
		}
		rep, err = e.Act(c)
		pays.settle(err)
	}
	if e.linkActs || c.Req.Method != http.MethodGet && c.Req.Method != http.MethodHead {
		r.logAct(c, e, rep, err)
	}
	r.keepCookies(w, c, rep, err)
	if r.comesBack(w, c, e, rep, err, html) || r.sendOn(w, c, e, err, html) {
		return
	}
	if err != nil {
		switch {
		case html && e.Form != nil:
			r.Pages.failed(w, c, e, AsRefusal(err))
		case html:
			r.Pages.refusal(w, c.Req, nil, AsRefusal(err), c.Next)
		default:
			r.Refuse(w, c.Req, err)
		}
		return
	}
	switch {
	case rep.Picture != nil:
		writePicture(w, c, rep)
	case rep.File != nil:
		writeFile(w, c, rep)
	case html:
		r.Pages.done(w, c, e, rep)
	default:
		r.writeReply(w, c.Loc, rep)
	}
}

// keepCookies has the browser keep, or forget, what an act has come to.
func (r *Realm) keepCookies(w http.ResponseWriter, c *Call, rep *Reply, err error) {
	if r.leavesPages(c, rep, err) {
		forgetPages(w)
	}
	if rep != nil && (rep.Cookie != "" || rep.SignedOut) {
		r.setCookie(w, c.Req, rep.Cookie)
	}
	r.keepChallenge(w, c, rep)
	r.keepPasskeyDevice(w, c, rep)
	r.keepCode(w, c, rep)
	r.keepTrust(w, c, rep)
	if rep != nil && (rep.Cookie != "" || rep.KnownDevice) {
		r.rememberDevice(w, c, rep.User)
	}
	r.keepName(w, c, rep)
	if rep != nil && rep.SignedUp {
		r.markSignUp(w, c, rep.User)
	}
	r.keepChosen(w, c, rep)
	if rep != nil {
		for _, cookie := range rep.Kept {
			http.SetCookie(w, cookie)
		}
	}
}

// GoOnUnder has the browser go on under the new token of its sign-in to u.
func (c *Call) GoOnUnder(w http.ResponseWriter, u *store.User, g *session.Grant) {
	c.Realm.keepCookies(w, c, &Reply{User: u, Cookie: g.Cookie}, nil)
}

// Waiting is how many accounts wait for approval. ok is false where there is none, and
// where the store can't say.
func (c *Call) Waiting() (n int, ok bool) {
	waiting, err := c.Count(c.Req.Context(), account.StateWaiting)
	return waiting.N, err == nil && waiting.N > 0
}

// LogAct writes the log line of an act that is no endpoint's, on the account of who asks
// or on user.
func (r *Realm) LogAct(c *Call, act string, user *store.User, err error) {
	r.logAct(c, &Endpoint{Name: act}, &Reply{User: user}, err)
}

// logAct writes one line for an act: what, with which outcome, on which account,
// from where. What was typed stays out of it. What a throttle refuses has a line
// an incident (throttled).
func (r *Realm) logAct(c *Call, e *Endpoint, rep *Reply, err error) {
	fields := []zap.Field{zap.String("realm", r.Name), zap.String("act", e.Name), zap.String("client_ip", c.Client.Address)}
	if rep != nil && rep.User != nil {
		fields = append(fields, zap.Stringer("user", rep.User.ID))
	} else if c.Who != nil {
		fields = append(fields, zap.Stringer("user", c.Who.User.ID))
	}
	if err == nil {
		r.Logger.Info("act done", fields...)
		return
	}
	refusal := AsRefusal(err)
	if refusal.Counted { // a flood would be as many lines
		return
	}
	codes := []string{string(refusal.Code)}
	for _, f := range refusal.Fields {
		codes = append(codes, f.Field+":"+string(f.Code))
	}
	r.Logger.Info("act refused", append(fields, zap.Strings("codes", codes))...)
}

// skipAccessLog keeps a request out of Caddy's access log: its address carries a
// secret, and the log would keep it.
func (r *Realm) skipAccessLog(req *http.Request) {
	r.SkipLog(req)
	r.Logger.Info("the request is left out of the access log, because its address has a secret, such as the signature of a mailed link",
		zap.String("realm", r.Name), zap.String("path", req.URL.Path), zap.String("client_ip", r.client(req).Address))
}
