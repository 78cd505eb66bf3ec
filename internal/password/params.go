// params.go: the cost of an Argon2id hash: its default and its limits.

package password

import "fmt"

// Params is the cost of an Argon2id hash (RFC 9106 section 3.1).
type Params struct {
	Memory uint32 // KiB held while hashing
	Passes uint32 // passes over that memory
	Lanes  uint8  // parallel lanes; each takes a goroutine while hashing
}

// DefaultParams is the minimum of the OWASP Password Storage Cheat Sheet for
// Argon2id: 19 MiB, 2 passes, 1 lane. RFC 9106 section 4 recommends more (64
// MiB, 3 passes, 4 lanes) where the machine can spare it.
var DefaultParams = Params{Memory: 19 * 1024, Passes: 2, Lanes: 1}

// The limits of an Argon2id hash, whether configured, stored or imported. They
// are one set, so whatever Hash may make Verify can read. The caps lie far over
// any sensible setting and exist against a slip of the keyboard or a hostile
// import, which could otherwise ask for 4 TiB.
const (
	maxMemory = 1 << 20 // KiB: 1 GiB, once per worker of a Pool
	maxPasses = 64
	maxLanes  = 64
	// KiB × passes, which is what time goes with: 4 to 10 s, as a core does 0.4 to
	// 1 GiB/s. Memory and passes each at their cap would take minutes.
	maxWork = 4 << 20
	// RFC 9106 section 3.1: at least 8 blocks of 1 KiB for each lane.
	minMemoryPerLane = 8
)

// Validate says what is wrong with p and how to fix it, or nil. Allowed are 1
// to 64 lanes, 1 to 64 passes, 8 KiB for each lane to 1 GiB of memory, and at
// most 4 GiB of memory times passes. The floor is what the algorithm needs, not
// what is safe: see DefaultParams for that.
func (p Params) Validate() error {
	if err := p.tooCostly(); err != nil {
		return err
	}
	return p.tooSmall()
}

// tooCostly says which cap p is over, or nil.
func (p Params) tooCostly() error {
	switch {
	case p.Memory > maxMemory:
		return fmt.Errorf("argon2id memory of %d KiB is over the limit; use at most %d KiB (1 GiB)", p.Memory, maxMemory)
	case p.Passes > maxPasses:
		return fmt.Errorf("%d argon2id passes are over the limit; use at most %d", p.Passes, maxPasses)
	case p.Lanes > maxLanes:
		return fmt.Errorf("%d argon2id lanes are over the limit; use at most %d", p.Lanes, maxLanes)
	case uint64(p.Memory)*uint64(p.Passes) > maxWork:
		return fmt.Errorf("%d argon2id passes over %d KiB are too much work; use at most %d passes, or less memory",
			p.Passes, p.Memory, maxWork/p.Memory)
	}
	return nil
}

// tooSmall says in what p is under the floor of RFC 9106, or nil.
func (p Params) tooSmall() error {
	least := minMemoryPerLane * uint32(p.Lanes)
	switch {
	case p.Passes < 1:
		return fmt.Errorf("argon2id passes are %d; use at least 1 (default: %d)", p.Passes, DefaultParams.Passes)
	case p.Lanes < 1:
		return fmt.Errorf("argon2id lanes are %d; use at least 1 (default: %d)", p.Lanes, DefaultParams.Lanes)
	case p.Memory < least:
		return fmt.Errorf("argon2id memory of %d KiB is too little for the lanes (%d); use at least %d KiB (default: %d KiB)",
			p.Memory, p.Lanes, least, DefaultParams.Memory)
	}
	return nil
}
