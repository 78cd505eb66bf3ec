// device.go: what a browser keeps of having signed in: the device cookie, and the name by
// which its accounts know it again (internal/device).
//
// The device cookie: a browser that signed in to an account before
// has a budget of its own for the next sign-in, so nobody who guesses at the
// account from elsewhere can keep its owner out.

package web

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// DeviceSuffix is added to the name of the session cookie.
	DeviceSuffix = "_device"
	// knownSuffix is that of the cookie with the name by which accounts know the browser.
	knownSuffix = "_known"
	// knownLifetime is as long as browsers keep any cookie; each sign-in begins it anew.
	knownLifetime = 400 * 24 * time.Hour
	// deviceLifetime is how long a device is remembered; deviceRenewal is the
	// age at which a sign-in gives it a new cookie.
	deviceLifetime = 365 * 24 * time.Hour
	deviceRenewal  = 30 * 24 * time.Hour
	// deviceNonce is in bytes.
	deviceNonce = 16
	// maxCookieClaim bounds a signed cookie, in bytes.
	maxCookieClaim = 256
)

// Device returns what a good device cookie of u's says: which device it is
// (Claim.Email has its random name), and since when. It signs nobody in: all
// that it gives is a budget. It ends with the generation of the account: who
// knew the old password has no budget left.
func (r *Realm) Device(req *http.Request, signer *sign.Signer, u *store.User) (sign.Claim, bool) {
	return r.CookieClaim(req, signer, DeviceSuffix, sign.PurposeDevice, u, deviceLifetime)
}

// rememberDevice gives a browser that has just signed in, or set the password,
// its device cookie, unless it has a good one for this account already.
func (r *Realm) rememberDevice(w http.ResponseWriter, c *Call, u *store.User) {
	claim, ok := r.Device(c.Req, c.Signer, u)
	if ok && r.Now().Sub(claim.Time) < deviceRenewal {
		return
	}
	var nonce [deviceNonce]byte
	_, _ = rand.Read(nonce[:]) // never fails
	r.setCookieClaim(w, c, DeviceSuffix, sign.Claim{
		Purpose: sign.PurposeDevice, User: u.ID, Email: base64.RawURLEncoding.EncodeToString(nonce[:]), State: cookieState(u),
	}, deviceLifetime)
}

// seen says by what the device is known that a call comes from. A browser without a name gets
// one, which it keeps if it signs in (keepName).
func (r *Realm) seen(c *Call) device.Seen {
	if !c.Policy.Login.Session { // a site of tokens sets no cookie
		return device.Seen{Program: device.Program(c.Client.UserAgent, c.Client.Address)}
	}
	name, _ := sentCookie(c.Req, r.cookieName(c.Req)+knownSuffix)
	if !device.IsName(name) {
		name = device.NewName()
	}
	s := device.Seen{Kept: name}
	if !keepsCookies(c) {
		s.Program = device.Program(c.Client.UserAgent, c.Client.Address)
	}
	return s
}

// keepsCookies reports whether a call comes from a browser that would have a cookie of ours: a
// form, a page that is gone to, or a script that is of the same site. A program, and a script
// of another site, may keep none.
func keepsCookies(c *Call) bool {
	h := c.Req.Header
	return c.In.IsForm() || h.Get("Sec-Fetch-Mode") == "navigate" || fromBrowser(c.Req) && h.Get("Sec-Fetch-Site") != "cross-site"
}

// keepName has a browser that has signed in, or set the password, keep its name.
func (r *Realm) keepName(w http.ResponseWriter, c *Call, rep *Reply) {
	if rep == nil || c.Client.Seen == nil || rep.Cookie == "" && !rep.KnownDevice {
		return
	}
	if name := c.Client.Seen().Kept; name != "" {
		http.SetCookie(w, r.newCookie(c.Req, knownSuffix, name, int(knownLifetime/time.Second)))
	}
}

// cookieState is the state of an account that its signed cookies are bound to.
// The first generation has none: cookies of before there were generations stay good.
func cookieState(u *store.User) []byte {
	if part := account.GenerationOf(u); part != nil {
		return sign.StateOf(part...)
	}
	return nil
}

// CookieClaim returns the claim in the signed cookie with this suffix, if it is
// good, for this purpose, and u's.
func (r *Realm) CookieClaim(req *http.Request, signer *sign.Signer, suffix string, purpose sign.Purpose, u *store.User, lifetime time.Duration) (sign.Claim, bool) {
	value, _ := sentCookie(req, r.cookieName(req)+suffix)
	if value == "" || len(value) > maxCookieClaim {
		return sign.Claim{}, false
	}
	parts := strings.Split(value, ".")
	if len(parts) != 4 {
		return sign.Claim{}, false
	}
	id, ok := store.ParseID(parts[0])
	unix, err := strconv.ParseInt(parts[2], 10, 64)
	if !ok || id != u.ID || err != nil || unix < 0 || unix > 1<<40 {
		return sign.Claim{}, false
	}
	claim := sign.Claim{Purpose: purpose, User: id, Email: parts[1], Time: time.Unix(unix, 0), State: cookieState(u)}
	return claim, signer.Verify(claim, parts[3], r.Now(), lifetime) == nil
}

// setCookieClaim signs a claim, as of now, into the cookie with this suffix.
func (r *Realm) setCookieClaim(w http.ResponseWriter, c *Call, suffix string, claim sign.Claim, lifetime time.Duration) {
	claim.Time = r.Now()
	value := strings.Join([]string{claim.User.String(), claim.Email, strconv.FormatInt(claim.Time.Unix(), 10), c.Signer.Sign(claim)}, ".")
	http.SetCookie(w, r.newCookie(c.Req, suffix, value, int(lifetime/time.Second)))
}

// knownDevice is the device that a call comes from, if u signed in on it before.
func (r *Realm) knownDevice(c *Call, u *store.User) *knownDevice {
	if u == nil {
		return nil
	}
	claim, ok := r.Device(c.Req, c.Signer, u)
	if !ok {
		return nil
	}
	return &knownDevice{account: u.ID, name: claim.Email}
}

// sentDevice reports whether there is a device cookie, good or not.
func (r *Realm) sentDevice(req *http.Request) bool {
	_, sent := sentCookie(req, r.cookieName(req)+DeviceSuffix)
	return sent
}

// Named returns the account that an input names by one of these fields, nil for
// none. It looks only where there is a device cookie.
func (r *Realm) Named(c *Call, in field.Input, names []string) *store.User {
	if !r.sentDevice(c.Req) {
		return nil
	}
	u, err := c.Find(c.Req.Context(), in, names)
	if err != nil {
		return nil
	}
	return u
}
