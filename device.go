// device.go: the device cookie. A browser that signed in to an account before
// has a budget of its own for the next sign-in, so nobody who guesses at the
// account from elsewhere can keep its owner out.

package registration

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// deviceSuffix is added to the name of the session cookie.
	deviceSuffix = "_device"
	// deviceLifetime is how long a device is remembered; deviceRenewal is the
	// age at which a sign-in gives it a new cookie.
	deviceLifetime = 365 * 24 * time.Hour
	deviceRenewal  = 30 * 24 * time.Hour
	// deviceNonce is in bytes.
	deviceNonce = 16
	// maxCookieClaim bounds a signed cookie, in bytes.
	maxCookieClaim = 256
)

// device returns what a good device cookie of u's says: which device it is
// (Claim.Email has its random name), and since when. It signs nobody in: all
// that it gives is a budget. It ends with the generation of the account: who
// knew the old password has no budget left.
func (r *webRealm) device(req *http.Request, signer *Signer, u *User) (Claim, bool) {
	return r.cookieClaim(req, signer, deviceSuffix, PurposeDevice, u, deviceLifetime)
}

// rememberDevice gives a browser that has just signed in, or set the password,
// its device cookie, unless it has a good one for this account already.
func (r *webRealm) rememberDevice(w http.ResponseWriter, c *call, u *User) {
	claim, ok := r.device(c.req, c.signer, u)
	if ok && r.now().Sub(claim.Time) < deviceRenewal {
		return
	}
	var nonce [deviceNonce]byte
	_, _ = rand.Read(nonce[:]) // never fails
	r.setCookieClaim(w, c, deviceSuffix, Claim{
		Purpose: PurposeDevice, User: u.ID, Email: base64.RawURLEncoding.EncodeToString(nonce[:]), State: cookieState(u),
	}, deviceLifetime)
}

// cookieState is the state of an account that its signed cookies are bound to.
// The first generation has none: cookies of before there were generations stay good.
func cookieState(u *User) []byte {
	if part := generationOf(u); part != nil {
		return stateOf(part...)
	}
	return nil
}

// cookieClaim returns the claim in the signed cookie with this suffix, if it is
// good, for this purpose, and u's.
func (r *webRealm) cookieClaim(req *http.Request, signer *Signer, suffix string, purpose Purpose, u *User, lifetime time.Duration) (Claim, bool) {
	value, _ := sentCookie(req, r.cookieName(req)+suffix)
	if value == "" || len(value) > maxCookieClaim {
		return Claim{}, false
	}
	parts := strings.Split(value, ".")
	if len(parts) != 4 {
		return Claim{}, false
	}
	id, ok := parseID(parts[0])
	unix, err := strconv.ParseInt(parts[2], 10, 64)
	if !ok || id != u.ID || err != nil || unix < 0 || unix > 1<<40 {
		return Claim{}, false
	}
	claim := Claim{Purpose: purpose, User: id, Email: parts[1], Time: time.Unix(unix, 0), State: cookieState(u)}
	return claim, signer.Verify(claim, parts[3], r.now(), lifetime) == nil
}

// setCookieClaim signs a claim, as of now, into the cookie with this suffix.
func (r *webRealm) setCookieClaim(w http.ResponseWriter, c *call, suffix string, claim Claim, lifetime time.Duration) {
	claim.Time = r.now()
	value := strings.Join([]string{claim.User.String(), claim.Email, strconv.FormatInt(claim.Time.Unix(), 10), c.signer.Sign(claim)}, ".")
	http.SetCookie(w, r.newCookie(c.req, suffix, value, int(lifetime/time.Second)))
}

// knownDevice is the device that a call comes from, if u signed in on it before.
func (r *webRealm) knownDevice(c *call, u *User) *knownDevice {
	if u == nil {
		return nil
	}
	claim, ok := r.device(c.req, c.signer, u)
	if !ok {
		return nil
	}
	return &knownDevice{account: u.ID, name: claim.Email}
}

// named returns the account that an input names by one of these fields, nil for
// none. It looks only where there is a device cookie.
func (r *webRealm) named(c *call, in Input, names []string) *User {
	if _, sent := sentCookie(c.req, r.cookieName(c.req)+deviceSuffix); !sent {
		return nil
	}
	u, err := c.find(c.req.Context(), in, names)
	if err != nil {
		return nil
	}
	return u
}
