// languages.go: the language of an answer: what its address asks for, what somebody has chosen
// by hand in this browser, what his account has, what the browser asks for; and how he chooses
// at the foot of a page.

package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// paramLang asks for an answer in a language, whatever a browser asks for.
const paramLang = "lang"

// Language is the one in which a request is answered, of those that the realm speaks: what
// its address asks for, what has been chosen in this browser, what the account of who is
// signed in has, what the browser asks for.
func (r *Realm) Language(req *http.Request) *text.Locale {
	if chosen := r.byHand(req); chosen != nil {
		return chosen
	}
	if tag, _ := req.Context().Value(languageKey{}).(string); tag != "" {
		return r.Languages.Named(tag)
	}
	return r.browserLanguage(req)
}

// languageKey is the context's of the language of an account.
type languageKey struct{}

// speak has who is signed in answered in the language of his account, unless this browser has
// another by hand.
func (c *Call) speak() {
	if c.Who == nil {
		return
	}
	own := c.Realm.Languages.Spoken(c.Who.User.Language)
	if own == nil || c.Realm.byHand(c.Req) != nil {
		return
	}
	c.Loc, c.Client.Language = own, own.Name
	c.Req = c.Req.WithContext(context.WithValue(c.Req.Context(), languageKey{}, own.Name))
}

// languageOf is Language for who is signed in, or for nobody (nil).
func (r *Realm) languageOf(req *http.Request, who *session.Principal) *text.Locale {
	if who != nil && r.byHand(req) == nil {
		if own := r.Languages.Spoken(who.User.Language); own != nil {
			return own
		}
	}
	return r.Language(req)
}

// byHand is the language that a person has chosen at the foot of a page; nil: none.
func (r *Realm) byHand(req *http.Request) *text.Locale {
	if asked := r.askedLanguage(req); asked != nil {
		return asked
	}
	if kept, _ := sentCookie(req, r.languageCookie()); kept != "" {
		return r.Languages.Spoken(kept)
	}
	return nil
}

// askedLanguage is the one that a request's address names; nil: none that is spoken.
func (r *Realm) askedLanguage(req *http.Request) *text.Locale {
	if !strings.Contains(req.URL.RawQuery, paramLang+"=") {
		return nil
	}
	return r.Languages.Spoken(QueryOf(req).Get(paramLang))
}

// languageCookie is the name of the cookie that keeps the language. It is for the pages of
// this mount alone, which the prefix __Host- doesn't allow.
func (r *Realm) languageCookie() string {
	return strings.TrimPrefix(r.CookiePlain, "__Host-") + "_lang"
}

// languageKept is for how long a browser keeps it: what browsers allow at most.
const languageKept = 400 * 24 * time.Hour

// KeepLanguage leaves the language that a person has chosen with his browser; "" takes it
// away. Nobody has the cookie who has chosen none.
func (r *Realm) KeepLanguage(w http.ResponseWriter, req *http.Request, tag string) {
	kept, sent := sentCookie(req, r.languageCookie())
	if kept == tag && (sent || tag == "") {
		return
	}
	seconds := int(languageKept / time.Second)
	if tag == "" {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the browser speaks HTTPS
		Name: r.languageCookie(), Value: tag, Path: cmp.Or(r.Address(""), "/"), MaxAge: seconds, Secure: r.Secure(req), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// keepChosen has the browser keep the language that an act was about.
func (r *Realm) keepChosen(w http.ResponseWriter, c *Call, rep *Reply) {
	if rep == nil || rep.Language == nil {
		return
	}
	if _, sent := sentCookie(c.Req, r.languageCookie()); sent || rep.KeepLanguage {
		r.KeepLanguage(w, c.Req, *rep.Language)
	}
}

// keepAsked keeps the language that the address of a page asks for, where the page is shown
// by itself and not within another site's.
func (r *Realm) keepAsked(w http.ResponseWriter, req *http.Request) {
	if dest := req.Header.Get("Sec-Fetch-Dest"); !isRead(req) || dest != "" && dest != "document" {
		return
	}
	if asked := r.askedLanguage(req); asked != nil {
		r.KeepLanguage(w, req, asked.Name)
	}
}

// browserLanguage is the one that a browser asks for.
func (r *Realm) browserLanguage(req *http.Request) *text.Locale {
	lines := req.Header["Accept-Language"]
	size := 0
	for _, line := range lines {
		if size += len(line) + 1; size > text.MaxAcceptLanguage {
			return r.Languages.Choose("")
		}
	}
	return r.Languages.Choose(strings.Join(lines, ","))
}

// PageLanguage is a language of the page, by its own name. Href is the page in it.
type PageLanguage struct {
	Tag, Name, Href string
	Current         bool
}

// LanguageName is the name of the endpoint by which who is signed in chooses his language.
const LanguageName = "language"

// offerLanguages puts the languages at the foot of a page that can be had again: not what is
// told once, nor the answer to an act without a page of its own.
func (p *pages) offerLanguages(c *Call, d *PageData, status int) {
	name, _ := p.realm.Endpoint(c.Req)
	query, again := p.again(c, d, name, status)
	all := p.realm.Languages.Listed()
	if !again || len(all) < 2 {
		return
	}
	query.Del(paramLang)
	if e := p.realm.Endpoints[LanguageName]; c.Who != nil && !e.Off {
		d.Here = p.realm.Address("/" + strings.TrimSuffix(name+"/", "//"))
		if len(query) > 0 {
			d.Here += "?" + query.Encode()
		}
	}
	for _, in := range all {
		query.Set(paramLang, in.Name)
		d.Languages = append(d.Languages, PageLanguage{in.Name, in.Called, "?" + query.Encode(), in == c.Loc})
	}
}

// again is the query with which a GET gives the page of a request once more.
func (p *pages) again(c *Call, d *PageData, name string, status int) (query url.Values, ok bool) {
	e := p.realm.Endpoints[name]
	switch {
	case isRead(c.Req):
		if query = QueryOf(c.Req); query == nil {
			return nil, false
		}
		if d.Form == nil { // a link that opens nothing here isn't repeated
			if query.Has(sign.ParamSignature) {
				return nil, false
			}
			query.Del(sign.ParamInvitation)
		}
		if query.Del(sign.ParamNext); c.Next != "" { // checked, which the query is not
			query.Set(sign.ParamNext, c.Next)
		}
		return query, true
	case status == http.StatusOK || e == nil || e.Form == nil:
		return nil, false
	}
	query = url.Values{}
	if c.Next != "" {
		query.Set(sign.ParamNext, c.Next)
	}
	if d.Form == nil {
		return query, true
	}
	for _, h := range d.Form.Hidden {
		if e.Mailed.Purpose != "" || h.Name == sign.ParamInvitation {
			query.Set(h.Name, h.Value)
		}
	}
	return query, true
}
