// room.go: threads for everything else while all of Go's are hashing.

package password

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// room raises GOMAXPROCS by as many as there are workers, while callers wait for
// their turn to hash, and lowers it again afterwards.
//
// A hash keeps one of Go's processors to itself for its 20 to 60 ms, save for a
// preemption every 10 ms. With as many workers as processors, whatever else the
// server has to do waits for that, and the network is polled no more often. With
// processors to spare, it is the kernel that shares out the cores, by the
// millisecond: measured in turns on two (busy) cores with 1 000 sign-ins under way,
// the median guarded page took 2 to 8 ms instead of 46 to 54, the slowest
// hundredth 18 to 120 ms instead of 250 to 540, and as many people got in.
//
// Fewer workers than cores would help the guard as much and halve the sign-ins.
// Where GOMAXPROCS is below the number of cores already, somebody has limited
// this process (a container's quota), and more threads would only run into that
// limit: then there is no room, and one worker fewer (see NewDefaultPool).
type room struct {
	extra   int
	crowded atomic.Bool // since the last look
	raised  atomic.Bool
	mu      sync.Mutex
	before  int
}

// roomCheck is how long nobody must have waited before the room is given back.
const roomCheck = 2 * time.Second

// wanted says that somebody waits. It costs nothing while there is room already.
func (r *room) wanted() {
	if r == nil {
		return
	}
	r.crowded.Store(true)
	if r.raised.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.raised.Load() {
		return
	}
	r.before = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(r.before + r.extra)
	r.raised.Store(true)
	time.AfterFunc(roomCheck, r.look)
}

// look gives the room back once nobody has waited for a while.
func (r *room) look() {
	if r.crowded.Swap(false) {
		time.AfterFunc(roomCheck, r.look)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if runtime.GOMAXPROCS(0) == r.before+r.extra { // nobody else has set it since
		runtime.GOMAXPROCS(r.before)
	}
	r.raised.Store(false)
}
