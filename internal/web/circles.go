// circles.go: what would lead a browser round for ever, told before it does: a sign-in
// page behind the guard that leads to it, a page that never sees the sign-in, and a
// browser that keeps no cookie.

package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
)

// Parameters of sign-in pages.
const (
	// paramHop: a guard has sent this request for a sign-in page to that of another host.
	paramHop = "hop"
	// ParamKept, in the form: the page has set a cookie that is to come back. In the
	// address: the browser has just signed in, and is asked whether it kept that.
	ParamKept = "kept"
)

const (
	// keptSuffix is of the cookie that shows that a browser keeps any.
	keptSuffix = "_kept"
	// backSuffix is of the one that counts how often a browser was sent back to a page.
	backSuffix = "_back"
	// maxBack is how often within backSeconds, without a word: a circle takes a second,
	// and people press a link twice.
	maxBack, backSeconds = 2, 10
	// maxNested is how many sign-in pages an address may lead back through.
	maxNested = 3
)

// WithParam sets a parameter in the address of a sign-in page: in its query, or where
// its fragment is a route of an app (#/login), in that, where the app looks for it.
// All else stays as it is written.
func WithParam(address, name, value string) string {
	page, fragment, has := strings.Cut(address, "#")
	if has && (strings.HasPrefix(fragment, "/") || strings.HasPrefix(fragment, "!")) {
		return page + "#" + withPair(fragment, name, value)
	}
	page = withPair(page, name, value)
	if has {
		page += "#" + fragment
	}
	return page
}

// withPair sets a parameter behind the question mark of a text.
func withPair(text, name, value string) string {
	path, query, _ := strings.Cut(text, "?")
	separator := "?"
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); pair == "" || key == name {
			continue
		}
		path += separator + pair
		separator = "&"
	}
	return path + separator + name + "=" + url.QueryEscape(value)
}

// OutOfCircle is the address of a sign-in page with what keeps a guard from leading
// there for ever, and false where it would: the request is for that very page, or its
// address leads back through several of them. uri is what the client asked for.
func OutOfCircle(page, uri, host string) (string, bool) {
	to, err := url.Parse(page)
	from, fromErr := url.ParseRequestURI(uri)
	if err != nil || fromErr != nil {
		return page, true
	}
	if strings.EqualFold(strings.TrimSuffix(to.Path, "/"), strings.TrimSuffix(from.Path, "/")) && to.Fragment == "" {
		if to.Host == "" || strings.EqualFold(to.Host, host) || from.Query().Has(paramHop) {
			return "", false
		}
		page = WithParam(page, paramHop, "1") // the other host's, most likely; but a proxy may have changed ours
	}
	nested := 0
	for u := from; u != nil && nested < maxNested; nested++ {
		next := u.Query().Get(sign.ParamNext)
		if next == "" || len(next) > MaxNext {
			break
		}
		u, _ = url.Parse(next)
	}
	if nested == maxNested {
		return "", false
	}
	return page, true
}

// SentBack counts one more return of who is signed in to the page that led to the
// sign-in, and returns false where that is a circle: it doesn't see the sign-in.
func (r *Realm) SentBack(w http.ResponseWriter, c *Call) bool {
	if c.Next == "" || c.In.Text(ParamKept) != "" {
		return true
	}
	if r.Unseen(c) {
		http.SetCookie(w, r.newCookie(c.Req, backSuffix, "", -1))
		if u, err := url.Parse(c.Next); err == nil && !r.toldOfCircle.Swap(true) {
			r.Logger.Warn("a page leads who is signed in to the sign-in again and again: it doesn't see the sign-in of this realm. Is its require_login " +
				"of another realm or Caddy, or does it read other cookies? host: " + u.Host + ", realm: " + r.Name)
		}
		return false
	}
	_, n := r.back(c)
	http.SetCookie(w, r.newCookie(c.Req, backSuffix, nameOfNext(c.Next)+"."+strconv.Itoa(n+1), backSeconds))
	return true
}

// Unseen reports whether who is signed in has been sent back to the page that he came
// from as often as helps.
func (r *Realm) Unseen(c *Call) bool {
	mine, n := r.back(c)
	return mine && n >= maxBack
}

// back is how often a browser has been sent back to its next just now.
func (r *Realm) back(c *Call) (mine bool, n int) {
	value, _ := sentCookie(c.Req, r.cookieName(c.Req)+backSuffix)
	name, count, _ := strings.Cut(value, ".")
	if c.Next == "" || name != nameOfNext(c.Next) {
		return false, 0
	}
	n, _ = strconv.Atoi(count)
	return true, max(n, 0)
}

func nameOfNext(next string) string {
	sum := sha256.Sum256([]byte(next))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// ProbesCookies reports whether the sign-in page is to find out if this browser keeps
// cookies: it has sent none of ours.
func (r *Realm) ProbesCookies(c *Call) bool {
	if !r.Options.Login.Session {
		return false
	}
	name := r.cookieName(c.Req)
	for _, suffix := range cookieSuffixes {
		if _, sent := sentCookie(c.Req, name+suffix); sent {
			return false
		}
	}
	return true
}

// Probe sets the cookie that is to come back with the form.
func (r *Realm) Probe(w http.ResponseWriter, c *Call) {
	if r.ProbesCookies(c) {
		http.SetCookie(w, r.newCookie(c.Req, keptSuffix, "1", 0))
	}
}

// ToChallenge is where a browser goes that is asked for more than the password.
func (r *Realm) ToChallenge(c *Call, page string) string {
	target := r.WithNext(page, c.Next)
	if r.CheckKept(c, target) != target {
		target = WithParam(target, ParamKept, "1")
	}
	return target
}

// ToEnrolment is where a browser goes whose owner has to set up a factor first.
func (r *Realm) ToEnrolment(c *Call) string { return r.ToChallenge(c, r.EnrolmentPage()) }

// EnrolmentPage is where somebody sets up a factor who has none.
func (r *Realm) EnrolmentPage() string {
	if !r.Options.Factors.TOTP {
		return "/add-passkey/"
	}
	return "/enrol-totp/"
}

// CheckKept is where a browser goes after a sign-in: where the cookie of the form's page
// hasn't come back, over the sign-in page, which sends it on, or says that it
// keeps none. Without that the form would come again without a word.
func (r *Realm) CheckKept(c *Call, target string) string {
	if !c.Client.Page || c.In.Text(ParamKept) == "" || !r.ProbesCookies(c) {
		return target
	}
	return WithParam(r.WithNext("/login/", c.Next), ParamKept, "1")
}
