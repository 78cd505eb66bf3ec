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
	deviceLifetime = 365 * day
	deviceRenewal  = 30 * day
	// deviceNonce is in bytes.
	deviceNonce = 16
)

// device returns what a good device cookie says: which account signed in there
// (Claim.User), which device it is (Claim.Email has its random name), and when.
// It signs nobody in: all that it gives is a budget.
func (r *realm) device(req *http.Request, signer *Signer) (Claim, bool) {
	cookie, err := req.Cookie(r.cookieName(req) + deviceSuffix)
	if err != nil || len(cookie.Value) > 256 {
		return Claim{}, false
	}
	parts := strings.Split(cookie.Value, ".")
	if len(parts) != 4 {
		return Claim{}, false
	}
	id, ok := parseID(parts[0])
	unix, err := strconv.ParseInt(parts[2], 10, 64)
	if !ok || err != nil || unix < 0 || unix > 1<<40 {
		return Claim{}, false
	}
	claim := Claim{Purpose: PurposeDevice, User: id, Email: parts[1], Time: time.Unix(unix, 0)}
	return claim, signer.Verify(claim, parts[3], r.now(), deviceLifetime) == nil
}

// rememberDevice gives a browser that has just signed in its device cookie,
// unless it has one for this account already.
func (r *realm) rememberDevice(w http.ResponseWriter, c *call, u *User) {
	now := r.now()
	claim, ok := r.device(c.req, c.signer)
	if ok && claim.User == u.ID && now.Sub(claim.Time) < deviceRenewal {
		return
	}
	var nonce [deviceNonce]byte
	_, _ = rand.Read(nonce[:]) // never fails
	claim = Claim{Purpose: PurposeDevice, User: u.ID, Email: base64.RawURLEncoding.EncodeToString(nonce[:]), Time: now}
	value := strings.Join([]string{u.ID.String(), claim.Email, strconv.FormatInt(now.Unix(), 10), c.signer.Sign(claim)}, ".")
	http.SetCookie(w, r.newCookie(c.req, deviceSuffix, value, int(deviceLifetime/time.Second)))
}

// deviceKey is the budget of the device, if the call names the account that
// signed in on it before.
func (r *realm) deviceKey(c *call) (throttleKey, bool) {
	claim, ok := r.device(c.req, c.signer)
	if !ok {
		return throttleKey{}, false
	}
	u, err := c.find(c.req.Context(), c.in, c.settings.User.LoginFields)
	if err != nil || u == nil || u.ID != claim.User {
		return throttleKey{}, false
	}
	return lastingKey(throttleLogin, "device", u.ID.String(), claim.Email), true
}
