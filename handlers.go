// handlers.go: the endpoints: which there are, what may be asked of them, and
// one function for each: decoded input -> account -> reply.

package registration

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
	// throttle names the budget that a call is counted against; "": none.
	throttle string
	// target is the account or recipient that has a budget of its own.
	target func(*call) string
	// device: a device that the account has signed in on has its own budget.
	device bool
	act    func(*call) (*reply, error)
	// anonymous: who asks doesn't count, so that a client may send along a token
	// that has expired.
	anonymous bool
	// document serves a file that is anybody's, in place of act.
	document func(http.ResponseWriter, *http.Request, *realm)
	// form is the page that GET shows to a browser; nil: none.
	form *form
	// doc is what the OpenAPI document says besides.
	doc endpointDoc
	// redirect is where redirect mode sends a browser after the act; zero: off.
	redirect RedirectSettings
	// linkActs: in redirect mode a GET acts, with what its query says.
	linkActs bool
}

// A call is one request to an endpoint, decoded.
type call struct {
	*Accounts
	realm  *realm
	req    *http.Request
	in     Input
	who    *Principal // nil: nobody is signed in
	client Client
	loc    *locale // the language of the answer, and of mail that it causes
	next   string  // checked
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
	// user is the account that acted or was acted on, for the log.
	user *User
	// seeOther is where a browser goes next; "": to a page that tells the detail.
	seeOther string
}

// routes lists the endpoints that this configuration serves.
func (r *realm) routes() map[string]*endpoint {
	s := r.settings
	post := []string{http.MethodPost}
	register := *s.Register.Enabled
	list := []*endpoint{
		{name: "register", methods: post, off: !register, act: actRegister},
		{name: "verify-registration", methods: post, off: !*s.Register.Verification, act: actVerifyRegistration, givesCookie: *s.Register.AutoLogin && *s.Login.Session},
		{name: "resend-verification", methods: post, off: !*s.Register.Verification, act: actResendVerification},
		{name: "login", methods: post, act: actLogin, givesCookie: *s.Login.Session},
		{name: "logout", methods: post, signedIn: true, act: actLogout},
		{name: "profile", methods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch}, signedIn: true, act: actProfile},
		{name: "change-password", methods: post, signedIn: true, act: actChangePassword},
		{name: "send-reset-password-link", methods: post, off: !*s.ResetPassword.Enabled, act: actSendResetPasswordLink},
		{name: "reset-password", methods: post, off: !*s.ResetPassword.Enabled, act: actResetPassword},
		{name: "register-email", methods: post, signedIn: true, act: actRegisterEmail},
		{name: "sessions", methods: []string{http.MethodGet, http.MethodHead}, signedIn: true, act: actSessions},
		{name: "revoke-session", methods: post, signedIn: true, act: actRevokeSession},
		{name: "refresh-token", methods: post, off: s.Login.JWT == nil, anonymous: true, act: actRefreshToken},
		{name: openAPIName, methods: []string{http.MethodGet, http.MethodHead}, document: serveOpenAPI},
		{name: jwksName, methods: []string{http.MethodGet, http.MethodHead}, off: s.Login.JWT == nil, document: serveJWKS},
		{name: "verify-email", methods: post, off: !*s.RegisterEmail.Verification, act: actVerifyEmail},
		{name: "undo-email", methods: post, off: !s.undoEnabled(), act: actUndoEmail},
	}
	// The order is that in which the acts look for the account: a second name in
	// the body must not be what is counted.
	logins := append([]string{"login"}, s.User.LoginFields...)
	resend := append([]string{"login", fieldEmail}, s.User.LoginFields...)
	reset := logins
	if *s.ResetPassword.UseEmail {
		reset = []string{fieldEmail}
	}
	budgets := map[string]struct {
		throttle string
		target   func(*call) string
	}{
		"register":                 {throttleRegister, throttleTarget(fieldEmail)},
		"resend-verification":      {throttleEmail, throttleTarget(resend...)},
		"login":                    {throttleLogin, throttleTarget(logins...)},
		"change-password":          {throttleLogin, func(c *call) string { return c.who.User.ID.String() }},
		"send-reset-password-link": {throttleReset, throttleTarget(reset...)},
		"register-email":           {throttleEmail, throttleTarget(fieldEmail)},
	}
	redirects := map[string]RedirectSettings{
		"verify-registration": s.Register.RedirectSettings, "verify-email": s.RegisterEmail.RedirectSettings,
		"reset-password": s.ResetPassword.RedirectSettings,
	}
	routes := make(map[string]*endpoint, len(list))
	for _, e := range list {
		if !s.Pages.Off {
			e.form = r.pages.form(e.name)
		}
		e.throttle, e.target = budgets[e.name].throttle, budgets[e.name].target
		e.device = e.name == "login"
		e.redirect = redirects[e.name]
		if e.linkActs = e.redirect.on() && e.name != "reset-password"; e.linkActs {
			e.methods = []string{http.MethodGet, http.MethodHead, http.MethodPost}
		}
		r.describe(e)
		routes[e.name] = e
	}
	return routes
}

// serve answers a request below the realm's path. The order of the refusals is
// part of the contract: 404, 405, 403, 401, 415, 413 and 400 by the body.
func (r *realm) serve(w http.ResponseWriter, req *http.Request, name string) {
	if strings.Contains(req.URL.RawQuery, paramSignature+"=") {
		r.skipAccessLog(req)
	}
	html := !r.settings.Pages.Off && acceptsHTML(req.Header)
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	if !r.settings.Pages.Off && read {
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
	_, cookieErr := req.Cookie(r.cookieName(req))
	if (cookieErr == nil || e.givesCookie) && r.origins.csrf.Check(req) != nil {
		r.refuse(w, req, refuse(CodeCrossOrigin))
		return
	}
	c := &call{Accounts: r.accounts.Load(), realm: r, req: req, client: r.client(req)}
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
	if e.signedIn && c.who == nil {
		r.refuse(w, req, refuse(CodeNotAuthenticated))
		return
	}
	if !read {
		var err error
		if c.in, err = decodeBody(w, req); err != nil {
			r.refuse(w, req, err)
			return
		}
	}
	c.next = r.origins.safeNext(c.in.text(paramNext))
	c.client.Next = c.next
	r.finish(w, c, e, html)
}

// finish does the act, writes its log line and answers.
func (r *realm) finish(w http.ResponseWriter, c *call, e *endpoint, html bool) {
	var rep *reply
	err := r.limit(c, e)
	if err == nil {
		rep, err = e.act(c)
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
	if r.sendOn(w, c, e, err) {
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
// from where. What was typed stays out of it.
func (r *realm) logAct(c *call, e *endpoint, rep *reply, err error) {
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
	codes := []string{string(refusal.Code)}
	for _, f := range refusal.Fields {
		codes = append(codes, f.Field+":"+string(f.Code))
	}
	r.logger.Info("act refused", append(fields, zap.Strings("codes", codes))...)
}

// skipAccessLog keeps a request out of Caddy's access log: its query carries a
// signature, and the log would keep it.
func (r *realm) skipAccessLog(req *http.Request) {
	caddyhttp.SetVar(req.Context(), caddyhttp.LogSkipVar, true)
	r.logger.Info("mailed link opened; the request is left out of the access log, because its address has a signature",
		zap.String("realm", r.name), zap.String("path", req.URL.Path), zap.String("client_ip", r.client(req).Address))
}

func actRegister(c *call) (*reply, error) {
	u, err := c.Register(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusCreated, profile: c.Profile(u), user: u}
	if u.AwaitsVerification {
		rep.detail = say("detail.confirm_account", Params{"email": u.Email})
	} else {
		rep.detail = say("detail.account_ready")
	}
	return rep, nil
}

func actVerifyRegistration(c *call) (*reply, error) {
	u, grant, err := c.VerifyRegistration(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.account_confirmed"), user: u}
	if grant != nil {
		rep.cookie = grant.Cookie
		rep.grants(grant)
		rep.seeOther = c.realm.afterSignIn(c.next)
	}
	return rep, nil
}

func actResendVerification(c *call) (*reply, error) {
	if err := c.ResendVerification(c.req.Context(), c.in, c.client); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, detail: say("detail.resend_requested")}, nil
}

func actLogin(c *call) (*reply, error) {
	var old *Session
	if c.who != nil {
		old = c.who.Session
	}
	u, grant, err := c.SignIn(c.req.Context(), c.in, c.client, old)
	if err != nil {
		return &reply{user: u}, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.logged_in"), user: u, cookie: grant.Cookie, seeOther: c.realm.afterSignIn(c.next)}
	rep.grants(grant)
	return rep, nil
}

func actLogout(c *call) (*reply, error) {
	err := c.SignOut(c.req.Context(), *c.who, c.in.truthy("revoke_token"))
	if err != nil && asRefusal(err).Code != CodeNoToken {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.logged_out"), user: c.who.User, signedOut: c.who.Session.Kind == KindSession}
	return rep, err
}

func actProfile(c *call) (*reply, error) {
	u := c.who.User
	if c.req.Method != http.MethodGet && c.req.Method != http.MethodHead {
		if c.setsLogin(*c.who, c.in) {
			if err := c.guess(); err != nil {
				return nil, err
			}
		}
		var err error
		if u, err = c.UpdateProfile(c.req.Context(), *c.who, c.in, c.req.Method == http.MethodPatch, c.client); err != nil {
			return nil, err
		}
	}
	return &reply{status: http.StatusOK, profile: c.Profile(u), user: u, detail: say("detail.profile_saved")}, nil
}

func actChangePassword(c *call) (*reply, error) {
	u, grant, err := c.ChangePassword(c.req.Context(), *c.who, c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.password_changed"), user: u}
	if grant != nil {
		rep.cookie = grant.Cookie
	}
	return rep, nil
}

func actSendResetPasswordLink(c *call) (*reply, error) {
	if err := c.SendResetPasswordLink(c.req.Context(), c.in, c.client); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, detail: say("detail.reset_requested")}, nil
}

func actResetPassword(c *call) (*reply, error) {
	u, err := c.ResetPassword(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	return &reply{
		status: http.StatusOK, detail: say("detail.password_reset"), user: u, knownDevice: true,
	}, nil
}

func actRegisterEmail(c *call) (*reply, error) {
	if err := c.guess(); err != nil {
		return nil, err
	}
	if err := c.RegisterEmail(c.req.Context(), *c.who, c.in, c.client); err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.email_changed"), user: c.who.User}
	if *c.realm.settings.RegisterEmail.Verification {
		rep.detail = say("detail.confirm_email")
	}
	return rep, nil
}

func actVerifyEmail(c *call) (*reply, error) {
	u, err := c.VerifyEmail(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	return &reply{
		status: http.StatusOK, detail: say("detail.email_changed"), user: u,
	}, nil
}

func actUndoEmail(c *call) (*reply, error) {
	u, err := c.UndoEmail(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{
		status: http.StatusOK, user: u, signedOut: c.who != nil && c.who.User.ID == u.ID && c.who.Session.Kind == KindSession,
		detail: say("detail.email_restored"),
	}
	if !*c.realm.settings.ResetPassword.Enabled {
		rep.detail = say("detail.email_restored_change_password")
	}
	return rep, nil
}
