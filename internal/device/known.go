// known.go: which devices an account has been signed in on before. A browser is known by
// a random name that it keeps in a cookie; a program that keeps none, by what it calls
// itself and the network it comes from, once the owner of the account was told of it.

package device

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// most is how many devices an account knows. Of one more, the one that was used least
// recently makes room.
const most = 10

// hour is how long nobody is told of another device after he was of one.
const hour = time.Hour

// Seen is what a client shows of the device that it is on.
type Seen struct {
	// Kept is the random name that the browser keeps for us, or is to keep from now on; "":
	// no cookie is set here.
	Kept string
	// Program is what is known of a client that may keep nothing (Program); "": it is a
	// browser, which would.
	Program string
}

// nameLength is the length of Seen.Kept: 128 bits.
const nameLength = 22

// NewName returns a random name for a browser to keep.
func NewName() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// IsName reports whether a text can be one of NewName.
func IsName(text string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(text) == nameLength && len(raw) == 16
}

// Program is what a program is known by that keeps no cookie: its name, and the network of
// its address (/24; /48). A script that runs where it ran before is no news.
func Program(userAgent, address string) string {
	bits := 24
	ip, err := netip.ParseAddr(address)
	if ip = ip.Unmap(); ip.Is6() {
		bits = 48
	}
	if network, wrong := ip.WithZone("").Prefix(bits); err == nil && wrong == nil {
		address = network.String()
	}
	return "program " + Name(userAgent) + " " + address
}

// hash is what is kept of one. Of two accounts it tells nobody that they share a device.
func hash(user uuid.UUID, what string) (name [16]byte) {
	sum := sha256.Sum256(append(user[:], "device\x00"+what...))
	copy(name[:], sum[:])
	return name
}

func (s Seen) hashes(user uuid.UUID) (names [][16]byte) {
	if s.Kept != "" {
		names = append(names, hash(user, "kept "+s.Kept))
	}
	if s.Program != "" {
		names = append(names, hash(user, s.Program))
	}
	return names
}

// Surely is the best of what a device shows: its random name, if it may have one.
func (s Seen) Surely() Seen {
	if s.Kept != "" {
		s.Program = ""
	}
	return s
}

// Find returns which of an account's devices this is, nil for none.
func Find(u *store.User, s Seen) *store.KnownDevice {
	for _, name := range s.hashes(u.ID) {
		if i := slices.IndexFunc(u.KnownDevices, func(d store.KnownDevice) bool { return d.Name == name }); i >= 0 {
			return &u.KnownDevices[i]
		}
	}
	return nil
}

// Learn has an account know a device from now on. The caller writes u.
func Learn(u *store.User, s Seen, as store.KnownDevice) {
	names := s.hashes(u.ID)
	if len(names) == 0 {
		return
	}
	for _, name := range names {
		as.Name = name
		u.KnownDevices = append(slices.DeleteFunc(u.KnownDevices, func(d store.KnownDevice) bool { return d.Name == name }), as)
	}
	told := toldLast(u)
	for len(u.KnownDevices) > most {
		oldest := slices.MinFunc(u.KnownDevices, func(a, b store.KnownDevice) int { return a.LastUsed.Compare(b.LastUsed) })
		i := slices.IndexFunc(u.KnownDevices, func(d store.KnownDevice) bool { return d.Name == oldest.Name })
		u.KnownDevices = slices.Delete(u.KnownDevices, i, i+1)
	}
	if last := &u.KnownDevices[len(u.KnownDevices)-1]; toldLast(u).Before(told) { // it was that of the one that went
		last.Told = told
	}
}

// toldLast is when the owner of an account was last told of a device.
func toldLast(u *store.User) (last time.Time) {
	for _, d := range u.KnownDevices {
		if d.Told.After(last) {
			last = d.Told
		}
	}
	return last
}

// ToldLately reports whether the owner of an account was told of a device within the hour.
// What a clock that was ahead has written doesn't count.
func ToldLately(u *store.User, now time.Time) bool {
	return slices.ContainsFunc(u.KnownDevices, func(d store.KnownDevice) bool {
		return !d.Told.IsZero() && !d.Told.After(now) && now.Sub(d.Told) < hour
	})
}

// Of returns the device by which a sign-in came that the owner was told of, nil where it is
// forgotten.
func Of(u *store.User, signIn uuid.UUID) *store.KnownDevice {
	if i := slices.IndexFunc(u.KnownDevices, func(d store.KnownDevice) bool { return d.SignIn == signIn }); i >= 0 && signIn != uuid.Nil {
		return &u.KnownDevices[i]
	}
	return nil
}

// Forget has an account know the device of a sign-in no more: it is news the next time. The
// caller writes u.
func Forget(u *store.User, signIn uuid.UUID) {
	forget(u, func(d store.KnownDevice) bool { return d.SignIn == signIn })
}

// ForgetAll has an account know no device. It stays one that was signed in to: the next
// device is news. The caller writes u.
func ForgetAll(u *store.User) {
	forget(u, func(store.KnownDevice) bool { return true })
}

// forget leaves one entry for all that are forgotten, so that the list is not like that of an
// account that nobody has signed in to, and the hour goes on.
func forget(u *store.User, which func(store.KnownDevice) bool) {
	gone := store.KnownDevice{}
	left := slices.DeleteFunc(slices.Clone(u.KnownDevices), func(d store.KnownDevice) bool {
		if d.Name != [16]byte{} && !which(d) {
			return false
		}
		if d.Told.After(gone.Told) {
			gone.Told = d.Told
		}
		if d.LastUsed.After(gone.LastUsed) {
			gone.LastUsed = d.LastUsed
		}
		return true
	})
	if len(left) < len(u.KnownDevices) {
		left = append(left, gone)
	}
	u.KnownDevices = left
}
