// device.go: how an account's record has the devices that it was signed in on.

package record

import (
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
)

// knownRecord is a device. Most have been told of to nobody: what belongs to that is empty.
type knownRecord struct {
	_        struct{} `cbor:",toarray"`
	Name     []byte
	LastUsed int64  // unix seconds
	Told     *int64 // unix seconds
	SignIn   []byte
	Trust    []byte
}

// addKnown completes the record of an account.
func (r *userRecord) addKnown(u *store.User) {
	for i := range u.KnownDevices {
		d := &u.KnownDevices[i]
		r.Known = append(r.Known, knownRecord{Name: hashPart(d.Name), LastUsed: d.LastUsed.Unix(), Told: UnixSeconds(d.Told), SignIn: idBytes(d.SignIn), Trust: hashPart(d.Trust)})
	}
}

// readKnown gives an account what its record has.
func (r *userRecord) readKnown(u *store.User) {
	for _, rec := range r.Known {
		d := store.KnownDevice{LastUsed: time.Unix(rec.LastUsed, 0).UTC(), Told: fromUnixSeconds(rec.Told), SignIn: fromIDBytes(rec.SignIn)}
		copy(d.Name[:], rec.Name)
		copy(d.Trust[:], rec.Trust)
		u.KnownDevices = append(u.KnownDevices, d)
	}
}

// hashPart is nil for no hash.
func hashPart(h [16]byte) []byte {
	if h == [16]byte{} {
		return nil
	}
	return h[:]
}
