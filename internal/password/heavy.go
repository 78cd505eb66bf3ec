// heavy.go: which stored hashes cost so much that one at a time is verified: they came with
// accounts from elsewhere, just within the bounds.

package password

// What a hash may cost to be verified beside all others: some second of a core, and 256 MiB.
// What other systems make by default is far below.
const (
	easyMemory     = 256 << 10 // KiB
	easyWork       = 1 << 20   // KiB times passes
	easyBcryptCost = "13"      // as a hash spells it
	easyScrypt     = 1 << 22   // N times r times p
	easyIterations = 3_000_000
	easySHARounds  = 700_000
)

// heavy reports whether a hash costs more.
func heavy(s stored) bool {
	switch s := s.(type) {
	case argon2id:
		return s.params.Memory > easyMemory || uint64(s.params.Memory)*uint64(s.params.Passes) > easyWork
	case bcryptHash:
		return s.encoded[4:6] > easyBcryptCost
	case scryptHash:
		return s.cost.work() > easyScrypt
	case digested:
		return s.heavy
	case wrapped:
		return s.inner.heavy || heavy(s.outer)
	}
	return false
}

// heavyLimits are those of the turn that heavy hashes have: a single one, for which few
// wait. It is beside those of all others, which they would hold for seconds each.
func heavyLimits(l Limits) Limits {
	return Limits{Workers: 1, Queue: min(l.Queue, 64), Turn: l.Wait, Hold: l.Hold, Wait: l.Wait}
}
