// mailedlink.go: what the built-in page of a mailed link asks of the browser that
// opens it: that it signed up itself or knows the password, that it is signed in.

package web

import (
	"cmp"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// SignUpSuffix is added to the name of the session cookie: the marker of a
	// browser that signed up, for SignUpLifetime.
	SignUpSuffix = "_signup"
	// SignUpLifetime is how long a browser has that marker.
	SignUpLifetime = 24 * time.Hour
	// linkSuffix is that of the cookie that keeps a mailed link while its owner
	// signs in, so that no further address has the signature.
	linkSuffix   = "_link"
	linkLifetime = 30 * time.Minute
	// maxLinkCookie is in bytes.
	maxLinkCookie = 3000
)

// markSignUp gives a browser the marker of the account that it has just asked
// for. It signs nobody in. A form on another site gets none: its owner would know
// the password.
func (r *Realm) markSignUp(w http.ResponseWriter, c *Call, u *store.User) {
	if !r.Options.Pages.Off && !r.Origins.foreign(c.Req) {
		r.setCookieClaim(w, c, SignUpSuffix, sign.Claim{Purpose: sign.PurposeSignUp, User: u.ID, State: cookieState(u)}, SignUpLifetime)
	}
}

// SignedUpHere is the account that this browser has signed up for and that has never been
// confirmed; nil: there is none.
func (c *Call) SignedUpHere() (*store.User, error) {
	if c.signedUp == nil { // a page asks thrice
		c.signedUp = sync.OnceValues(c.readSignUp)
	}
	return c.signedUp()
}

func (c *Call) readSignUp() (u *store.User, err error) {
	value, _ := sentCookie(c.Req, c.Realm.cookieName(c.Req)+SignUpSuffix)
	name, _, _ := strings.Cut(value, ".")
	id, ok := store.ParseID(name)
	if !ok || len(value) > maxCookieClaim {
		return nil, nil
	}
	err = c.View(c.Req.Context(), func(tx store.Tx) (err error) {
		u, err = tx.User(id)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !account.CanCorrectEmail(u):
		return nil, nil
	}
	if _, good := c.Realm.CookieClaim(c.Req, c.Signer, SignUpSuffix, sign.PurposeSignUp, u, SignUpLifetime); !good {
		return nil, nil
	}
	return u, nil
}

// signUpOf is SignedUpHere where the page is about that sign-up: it has asked for its mail, by
// what somebody typed; "": nothing.
func (c *Call) signUpOf(e *Endpoint, typed string) *store.User {
	if !e.Form.Confirms {
		return nil
	}
	u, err := c.SignedUpHere()
	if err != nil || u == nil || typed != "" && field.EmailKey(typed) != field.EmailKey(u.Email) && field.UniqueKey(typed) != field.UniqueKey(u.Username) {
		return nil
	}
	return u
}

// stillSent keeps the page that says a mail is on its way, where one more was asked for too
// soon: it still names the address, and leads to where that is corrected.
func (p *pages) stillSent(c *Call, e *Endpoint, refused *refusal.Error, d *PageData) {
	if e.Form.Sent == "" || refused.Code != refusal.CodeThrottled {
		return
	}
	if c.signUpOf(e, cmp.Or(c.In.Text("login"), c.In.Text(field.Email))) != nil {
		p.sent(c, e, flash{}, d)
	}
}

// CheckMail is the page that says that a mail is on its way.
func (c *Call) CheckMail() PageLink {
	return PageLink{withQuery(c.Realm.WithNext("/resend-verification/", c.Next), paramSent, "1"), c.Loc.Text(text.Say("page.check_mail.title"))}
}

// asksOnPage reports whether an act comes from a built-in page that a mailed link
// has led to. The API, a frontend's own page and redirect mode are no such page.
func (r *Realm) asksOnPage(c *Call, e *Endpoint) bool {
	url := strings.TrimSuffix(e.Mailed.URL, "/")
	return e.Mailed.Purpose != "" && c.In.IsForm() && !e.Redirect.on() && (url == "" || url == r.Options.BaseURL+r.Path+"/"+e.Name)
}

// MustProve reports whether a browser has to show that it knows the password of
// the account that it confirms: somebody else may have signed up with this
// address, and would keep his password.
func (r *Realm) MustProve(c *Call, owner *store.User) bool {
	_, marked := r.CookieClaim(c.Req, c.Signer, SignUpSuffix, sign.PurposeSignUp, owner, SignUpLifetime)
	return !marked
}

// ProvePassword refuses the confirmation of an account by its page unless the
// browser signed up for it or brings the password.
func (c *Call) ProvePassword() error {
	owner, err := c.LinkOwner(c.Req.Context(), c.In, sign.PurposeRegister)
	if err != nil {
		return err
	}
	c.MustProve = c.Realm.MustProve(c, owner) && (c.In[account.ParamPassword].Kind != field.ValueAbsent || fromBrowser(c.Req))
	if !c.MustProve {
		return nil
	}
	var errs refusal.FieldErrors
	pass := c.In.Password(account.ParamPassword, &errs)
	if err := errs.Err(); err != nil {
		return err
	}
	if err := c.guessAt(owner); err != nil {
		return err
	}
	ok, err := c.IsPassword(c.Req.Context(), owner, pass)
	if err == nil && !ok {
		err = refusal.FieldErrors{{Field: account.ParamPassword, Code: refusal.CodePasswordIncorrect, Message: "invalid.password_of_account"}}.Err()
	}
	return err
}

// AsksForUndo has the page of a link that takes a change back ask for the password where the
// link is not enough (account.UndoAsks); owner is whose link it is.
func (c *Call) AsksForUndo(owner *store.User, purpose sign.Purpose) {
	c.MustProve = c.UndoAsks(owner, c.In, purpose, c.Who)
}

// GuessBehind counts a try of a password that an account had, by who has a link that takes a
// change of it back, as one to sign in.
func (c *Call) GuessBehind(purpose sign.Purpose) error {
	owner, err := c.LinkOwner(c.Req.Context(), c.In, purpose)
	if err != nil {
		return err
	}
	if c.AsksForUndo(owner, purpose); !c.MustProve || c.In[account.ParamPassword].Kind == field.ValueAbsent {
		return nil
	}
	return c.guessAt(owner)
}

// UndoProof asks for a password from before a change, on the page of a link that takes the
// change back.
func UndoProof() FormField {
	f := CurrentPassword(account.ParamPassword, text.Say("field.password_before"))
	f.Hint, f.Foreign = text.Say("hint.password_before"), true
	return f
}

// UndoProofInput is that in the API.
var UndoProofInput = InputDoc{account.ParamPassword, false, PasswordInput(account.ParamPassword, "One that the account had when the change was made, or in the week before; needed where factors come or go by this, and nobody is signed in since before the change.").schema}

// fromBrowser reports whether a request to act says that a browser sends it. All
// that are in use do (Fetch, 3.2; Fetch Metadata). Those that don't, as w3m, still
// send the input for the password where the page has one; a form without it and
// from no browser is a program's, which meets the act as the API does.
func fromBrowser(req *http.Request) bool {
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"} {
		if len(req.Header[name]) > 0 {
			return true
		}
	}
	return false
}

// OwnLink refuses the confirmation of a new address unless the owner of the
// account is who asks.
func (c *Call) OwnLink() error {
	owner, err := c.LinkOwner(c.Req.Context(), c.In, sign.PurposeRegisterEmail)
	switch {
	case err != nil:
		return err
	case c.Who == nil:
		return refusal.New(refusal.CodeNotAuthenticated)
	case owner.ID != c.Who.User.ID:
		return refusal.New(refusal.CodePermissionDenied)
	}
	return nil
}

// keepLink remembers a mailed link for as long as its owner may take to sign in,
// and returns the address, without it, at which its page goes on.
func (c *Call) keepLink(w http.ResponseWriter) string {
	kept := url.Values{}
	for _, name := range EmailLinkParams {
		kept.Set(name, c.In.Text(name))
	}
	if c.Next != "" && len(c.Next) <= maxLinkCookie/2 {
		kept.Set(sign.ParamNext, c.Next)
	}
	if value := kept.Encode(); len(value) <= maxLinkCookie {
		http.SetCookie(w, c.Realm.newCookie(c.Req, linkSuffix, value, int(linkLifetime/time.Second)))
	}
	return c.Realm.Address("/verify-email/")
}

// keptLink returns the link that keepLink remembers, empty where there is none.
// Who could plant one could as well mail it: it is checked like any.
func (r *Realm) keptLink(req *http.Request) field.Input {
	cookie, err := req.Cookie(r.cookieName(req) + linkSuffix)
	if err != nil || len(cookie.Value) > maxLinkCookie {
		return nil
	}
	values, err := url.ParseQuery(cookie.Value)
	if err != nil {
		return nil
	}
	return valuesInput(values)
}

// forgetLink takes a kept link away.
func (r *Realm) forgetLink(w http.ResponseWriter, req *http.Request) {
	if _, err := req.Cookie(r.cookieName(req) + linkSuffix); err == nil {
		http.SetCookie(w, r.newCookie(req, linkSuffix, "", -1))
	}
}

// OwnerSignsIn answers in place of the page of a new address unless the account's
// owner is who opens it.
func OwnerSignsIn(w http.ResponseWriter, c *Call, owner *store.User) bool {
	switch {
	case c.Who == nil:
		c.signInFirst(w, http.StatusFound)
	case c.Who.User.ID != owner.ID:
		c.otherAccount(w)
	default:
		return false
	}
	return true
}

// OwnerRefused does so once the act was refused for that (OwnLink).
func OwnerRefused(w http.ResponseWriter, c *Call, refused *refusal.Error) bool {
	switch refused.Code {
	case refusal.CodeNotAuthenticated:
		c.signInFirst(w, http.StatusSeeOther)
	case refusal.CodePermissionDenied:
		c.otherAccount(w)
	default:
		return false
	}
	return true
}

// signInFirst leads the browser that opened a link to the sign-in and back.
func (c *Call) signInFirst(w http.ResponseWriter, status int) {
	back := c.keepLink(w)
	c.Realm.setFlash(w, c.Req, flash{page: "login", detail: "detail.sign_in_for_email"})
	SeeOther(w, status, c.Realm.WithNext("/login/", back))
}

// otherAccount tells whoever is signed in that the link is not his.
func (c *Call) otherAccount(w http.ResponseWriter) {
	back := c.keepLink(w)
	c.Realm.Pages.Write(w, c, http.StatusForbidden, PageData{
		Page: "verify-email", Title: c.Loc.Text(text.Say("page.verify_email.title")), Text: []string{c.Loc.Text(text.Say("page.verify_email.other_account"))},
		Action: &PageLink{c.Realm.WithNext("/logout/", back), c.Loc.Text(text.Say("link.other_account"))},
		Links:  c.Realm.LinkToContact(c.Loc),
	})
}

// Uninvited is the page of an invitation that is no longer good: its form would only
// fail.
func (p *pages) Uninvited(w http.ResponseWriter, c *Call, refused *refusal.Error) {
	status := p.realm.errorHeaders(w, c.Req, refused)
	d := PageData{
		Page: "register", Title: c.Loc.Text(text.Say("page.register.invitation_title")), Text: []string{refusal.Text(c.Loc, refused.Code, refused.Params)},
		Links: []PageLink{{p.realm.WithNext("/login/", c.Next), c.Loc.Text(text.Say("link.have_account"))}, {p.realm.home(), c.Loc.Text(text.Say("link.home"))}},
	}
	d.Links = append(p.realm.LinkToContact(c.Loc), d.Links...)
	switch { // the front page may be guarded, and is of no use then
	case p.realm.Options.Register.Mode.OpenToAll():
		d.Action = &PageLink{p.realm.WithNext("/register/", c.Next), c.Loc.Text(text.Say("link.register"))}
	case p.realm.Options.Contact != "":
		d.Action, d.Links = &d.Links[0], d.Links[1:]
	}
	p.Write(w, c, status, d)
}

// secretParams are the inputs that must not be in a log, whether or not we read
// them from an address.
var secretParams = []string{sign.ParamSignature, account.ParamPassword, "password_confirm", account.ParamRefreshToken, sign.ParamInvitation, "code_challenge"}

// HasSecret reports whether an address, or one within it (next), names a secret,
// however it is spelled.
func HasSecret(address string) bool {
	const depth = 5 // escapes of escapes
	for range depth {
		if token.Within(address) {
			return true
		}
		for _, name := range secretParams {
			if strings.Contains(address, name+"=") {
				return true
			}
		}
		plain := unescape(address)
		if plain == address {
			return false
		}
		address = plain
	}
	return true
}

// unescape decodes every %XX once and leaves what is none: a browser and a server
// disagree about malformed ones.
func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var out strings.Builder
	out.Grow(len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			var b [1]byte
			if _, err := hex.Decode(b[:], []byte(text[i+1:i+3])); err == nil {
				out.WriteByte(b[0])
				i += 2
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// whyDead is what a page says of a link that no longer works. What to do about it, the links
// below say.
func whyDead(c *Call, refused *refusal.Error) string {
	switch {
	case refused.Code == refusal.CodeSignatureExpired:
		return c.Loc.Text(text.Say("page.dead_link.expired"))
	case len(refused.Fields) > 0, refused.Code == refusal.CodeSignatureInvalid:
		return c.Loc.Text(text.Say("page.dead_link.invalid"))
	}
	return refusal.Text(c.Loc, refused.Code, refused.Params)
}

// Redirect mode, which an owner may choose: the act behind a mailed link is done by the GET
// that opens it, and the browser is sent on.

// actsOnGet reports whether this request is the opening of a mailed link that
// acts at once. A HEAD is none, nor is what a browser fetches ahead of a click.
func (e *Endpoint) actsOnGet(req *http.Request) bool {
	return e.linkActs && req.Method == http.MethodGet && !fetchesAhead(req.Header)
}

// fetchesAhead reports whether nobody has asked for this yet (prefetch, preview).
func fetchesAhead(h http.Header) bool {
	return strings.Contains(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch" ||
		h.Get("X-Moz") == "prefetch" || h.Get("X-Purpose") == "preview"
}

// declineToAct answers a HEAD, or a browser that fetches ahead, where a GET
// would act: it changes nothing, and its answer is not one to keep for the click.
func (r *Realm) declineToAct(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if req.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	r.Refuse(w, req, refusal.New(refusal.CodeUnavailable))
}

// sendOn answers an act behind a mailed link in redirect mode, and returns false
// where the usual answer is due: outside of it, for a refused new password,
// which the person can correct on a page of ours, and for a failure that may pass.
func (r *Realm) sendOn(w http.ResponseWriter, c *Call, e *Endpoint, err error, html bool) bool {
	// Without pages, JSON is all that a person would see of a form's answer.
	bare := r.Options.Pages.Off && c.In.IsForm() && acceptsHTML(c.Req.Header)
	if !e.Redirect.on() || e.linkActs && c.Req.Method != http.MethodGet && !bare {
		return false
	}
	target := e.Redirect.Success
	if err != nil {
		refusal := AsRefusal(err)
		if !e.sendsOn(refusal, bare, html) {
			return false
		}
		target = e.Redirect.Failure
		if aboutLink(refusal) && e.linkActs && r.wasUsed(c, e) {
			target, err = e.Redirect.Success, nil // what it does is done
		}
	}
	if err == nil && c.Next != "" {
		target = withQuery(target, sign.ParamNext, c.Next)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address has a signature
	h.Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// sendsOn reports whether a refusal is for failure_redirect.
func (e *Endpoint) sendsOn(refused *refusal.Error, bare, html bool) bool {
	switch StatusOf(refused.Code) {
	case http.StatusBadRequest:
		return e.linkActs || bare || aboutLink(refused)
	case http.StatusUnauthorized, http.StatusForbidden: // register_email.signed_in
		return bare || e.linkActs && html
	}
	return false
}

// wasUsed reports whether the link of a call has done its act already.
func (r *Realm) wasUsed(c *Call, e *Endpoint) bool {
	_, err := c.UsedLink(c.Req.Context(), c.In, e.Mailed.Purpose)
	return err == nil
}

// aboutLink reports whether the mailed link is what was refused.
func aboutLink(e *refusal.Error) bool {
	if len(e.Fields) == 0 {
		return e.Code == refusal.CodeSignatureInvalid || e.Code == refusal.CodeSignatureExpired
	}
	for _, f := range e.Fields {
		switch f.Field {
		case sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature:
			return true
		}
	}
	return false
}

// withQuery sets a parameter in a URL that was checked before.
func withQuery(target, name, value string) string {
	if with, err := sign.WithParams(target, url.Values{name: {value}}); err == nil {
		return with
	}
	return target
}
