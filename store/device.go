// device.go: what is kept of the devices on which an account signs in.

package store

import (
	"time"

	"github.com/google/uuid"
)

// A KnownDevice is one that an account has been signed in on, so that its owner is told of
// those that come new. Times are UTC with a resolution of one second in the store.
type KnownDevice struct {
	// Name is a hash, over the account too, of what the device is known by (internal/device);
	// zero: the device is forgotten, and only Told stays of it.
	Name     [16]byte
	LastUsed time.Time
	// Told is when the owner was mailed that it is new; zero: he was not.
	Told time.Time
	// SignIn is the Session.SignIn of the sign-in by which it came, where he was told of it.
	SignIn uuid.UUID
	// Trust is the beginning of the hash of the trusted browser that it was made
	// (TrustedDevice.Hash); zero: it was not.
	Trust [16]byte
}
