// mailedlink.go: what the built-in page of a mailed link asks of the browser that
// opens it: that it signed up itself or knows the password, that it is signed in.

package registration

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// signUpSuffix is added to the name of the session cookie: the marker of a
	// browser that signed up, for signUpLifetime.
	signUpSuffix   = "_signup"
	signUpLifetime = 24 * time.Hour
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
func (r *webRealm) markSignUp(w http.ResponseWriter, c *call, u *User) {
	if !r.options.Pages.Off && r.origins.csrf.Check(c.req) == nil {
		r.setCookieClaim(w, c, signUpSuffix, Claim{Purpose: PurposeSignUp, User: u.ID, State: cookieState(u)}, signUpLifetime)
	}
}

// asksOnPage reports whether an act comes from a built-in page that a mailed link
// has led to. The API, a frontend's own page and redirect mode are no such page.
func (r *webRealm) asksOnPage(c *call, e *endpoint) bool {
	url := strings.TrimSuffix(e.mailed.url, "/")
	return e.mailed.purpose != "" && c.in.isForm() && !e.redirect.on() && (url == "" || url == r.options.BaseURL+r.path+"/"+e.name)
}

// mustProve reports whether a browser has to show that it knows the password of
// the account that it confirms: somebody else may have signed up with this
// address, and would keep his password.
func (r *webRealm) mustProve(c *call, owner *User) bool {
	_, marked := r.cookieClaim(c.req, c.signer, signUpSuffix, PurposeSignUp, owner, signUpLifetime)
	return !marked
}

// provePassword refuses the confirmation of an account by its page unless the
// browser signed up for it or brings the password.
func (c *call) provePassword() error {
	owner, err := c.LinkOwner(c.req.Context(), c.in, PurposeRegister)
	if err != nil {
		return err
	}
	if c.mustProve = c.realm.mustProve(c, owner); !c.mustProve {
		return nil
	}
	var errs fieldErrors
	pass := c.in.password(paramPassword, &errs)
	if err := errs.err(); err != nil {
		return err
	}
	if err := c.guessAt(owner); err != nil {
		return err
	}
	ok, err := c.isPassword(c.req.Context(), owner, pass)
	if err == nil && !ok {
		err = fieldErrors{{Field: paramPassword, Code: CodePasswordIncorrect}}.err()
	}
	return err
}

// ownLink refuses the confirmation of a new address unless the owner of the
// account is who asks.
func (c *call) ownLink() error {
	owner, err := c.LinkOwner(c.req.Context(), c.in, PurposeRegisterEmail)
	switch {
	case err != nil:
		return err
	case c.who == nil:
		return refuse(CodeNotAuthenticated)
	case owner.ID != c.who.User.ID:
		return refuse(CodePermissionDenied)
	}
	return nil
}

// keepLink remembers a mailed link for as long as its owner may take to sign in,
// and returns the address, without it, at which its page goes on.
func (c *call) keepLink(w http.ResponseWriter) string {
	kept := url.Values{}
	for _, name := range emailLinkParams {
		kept.Set(name, c.in.text(name))
	}
	if c.next != "" && len(c.next) <= maxLinkCookie/2 {
		kept.Set(paramNext, c.next)
	}
	if value := kept.Encode(); len(value) <= maxLinkCookie {
		http.SetCookie(w, c.realm.newCookie(c.req, linkSuffix, value, int(linkLifetime/time.Second)))
	}
	return c.realm.path + "/verify-email/"
}

// keptLink returns the link that keepLink remembers, empty where there is none.
// Who could plant one could as well mail it: it is checked like any.
func (r *webRealm) keptLink(req *http.Request) Input {
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
func (r *webRealm) forgetLink(w http.ResponseWriter, req *http.Request) {
	if _, err := req.Cookie(r.cookieName(req) + linkSuffix); err == nil {
		http.SetCookie(w, r.newCookie(req, linkSuffix, "", -1))
	}
}

// ownerSignsIn answers in place of the page of a new address unless the account's
// owner is who opens it.
func ownerSignsIn(w http.ResponseWriter, c *call, owner *User) bool {
	switch {
	case c.who == nil:
		c.signInFirst(w, http.StatusFound)
	case c.who.User.ID != owner.ID:
		c.otherAccount(w)
	default:
		return false
	}
	return true
}

// ownerRefused does so once the act was refused for that (ownLink).
func ownerRefused(w http.ResponseWriter, c *call, refusal *Error) bool {
	switch refusal.Code { //nolint:exhaustive // the others are the page's
	case CodeNotAuthenticated:
		c.signInFirst(w, http.StatusSeeOther)
	case CodePermissionDenied:
		c.otherAccount(w)
	default:
		return false
	}
	return true
}

// signInFirst leads the browser that opened a link to the sign-in and back.
func (c *call) signInFirst(w http.ResponseWriter, status int) {
	back := c.keepLink(w)
	c.realm.setFlash(w, c.req, flash{detail: "detail.sign_in_for_email"})
	seeOther(w, status, c.realm.withNext("/login/", back))
}

// otherAccount tells whoever is signed in that the link is not his.
func (c *call) otherAccount(w http.ResponseWriter) {
	back := c.keepLink(w)
	c.realm.pages.write(w, c, http.StatusForbidden, PageData{
		Page: "verify-email", Title: c.loc.text(say("page.verify_email.title")), Text: []string{c.loc.text(say("page.verify_email.other_account"))},
		Action: &PageLink{c.realm.withNext("/logout/", back), c.loc.text(say("link.other_account"))},
	})
}

// secretParams are the inputs that must not be in a log, whether or not we read
// them from an address.
var secretParams = []string{paramSignature, paramPassword, "password_confirm", paramRefreshToken}

// hasSecret reports whether an address, or one within it (next), names a secret,
// however it is spelled.
func hasSecret(address string) bool {
	const depth = 5 // escapes of escapes
	for range depth {
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
