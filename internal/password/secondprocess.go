// secondprocess.go: a second process that computes Argon2 and scrypt while callers wait for a
// turn, so that a crowd of sign-ins leaves the server itself at its ease.

package password

import (
	"encoding/gob"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// A secondProcess runs a second process of this very program while callers of a Pool
// have to wait, and for a while after; else hashes are computed where they are
// asked for. Each leaves 19 MiB of garbage, and a crowd of them has the server's
// collector stop all its work every few milliseconds, until threads that the
// kernel has set back for others come round to stopping: in one process, no
// priority helps against that. The second process has a heap of its own, and
// the kernel gives it the time that nothing else wants.
//
// What cannot be computed there, is computed here: where no process can be
// started, where it ended, hangs or starves, and on other systems than Linux. Safe
// for concurrent use.
type secondProcess struct {
	start   func() (*childProcess, error) // nil: there is to be none; under mu
	rest    time.Duration                 // how long nobody must have waited before it ends
	grace   time.Duration                 // how long it may take to end
	process atomic.Pointer[childProcess]
	wanted  atomic.Bool // since the last look
	mu      sync.Mutex
	running bool
	// starting is closed when the process that is being started can be used, or
	// not; nil: none is being started.
	starting chan struct{}
	retry    time.Time
	failures int // in a row
}

// theSecondProcess is for all pools: there is one machine. It starts nothing until
// UseSecondProcess has said how.
var theSecondProcess = &secondProcess{rest: 30 * time.Second, grace: childPatience}

// UseSecondProcess lets all pools hash in a second process while callers wait. It
// is this program once more, with these arguments, with which it must come to
// RunSecondProcess and do nothing else. On other systems than Linux nothing
// changes.
func UseSecondProcess(args ...string) {
	theSecondProcess.mu.Lock()
	defer theSecondProcess.mu.Unlock()
	theSecondProcess.start = func() (*childProcess, error) { return startChild(args) }
}

const (
	// childRetry is how long after a failure another process is tried; twice as
	// long after each further one in a row, up to childLongRetry.
	childRetry     = time.Minute
	childLongRetry = time.Hour
	// childComing is how long a hash waits for a process that is being started,
	// which takes some 30 ms: so much later, and 19 MiB less in the server.
	childComing = 500 * time.Millisecond
	// childReady bounds the start of the process, which reads the whole program.
	childReady = 10 * time.Second
	// childPatience bounds one hash, whatever it costs: an imported one of 1 GiB
	// takes some seconds.
	childPatience = 30 * time.Second
	// Whoever waits for a hash holds a turn, and the process has the least priority:
	// where other programs take all of the machine, it gets a fiftieth of it or
	// less. So a hash has these 2 seconds and 50 ms for each MiB and pass, some fifty
	// times what it takes: 4 seconds with the default parameters. After that the
	// server computes it with its own priority.
	childPatienceBase   = 2 * time.Second
	childPatiencePerMiB = 50 * time.Millisecond
)

// patience is how long the process may take for an order.
func (o order) patience() time.Duration {
	work := uint64(o.Memory) * uint64(o.Passes) // KiB
	if o.Kind == orderScrypt {
		// It goes over its memory twice for each p.
		work = 2 * o.scrypt().work() / 8
	}
	return min(childPatience, childPatienceBase+time.Duration(work>>10)*childPatiencePerMiB)
}

var errNotReady = errors.New("the hashing process did not get ready")

// The kinds of an order: the functions that take much memory.
const (
	orderArgon2id orderKind = iota
	orderArgon2i
	orderScrypt
)

type orderKind uint8

// An order is one computation; a result with ID 0 says that the process is ready.
// Scrypt has its N in Memory, its r in Passes and its p in Lanes.
type order struct {
	ID             uint64
	Kind           orderKind
	Password, Salt []byte
	Passes, Memory uint32
	Lanes          uint8
	Length         uint32
}

// scrypt is the cost of an order of scrypt.
func (o order) scrypt() scryptCost { return scryptCost{n: o.Memory, r: o.Passes, p: o.Lanes} }

type result struct {
	ID  uint64
	Key []byte
}

func (o order) compute() []byte {
	switch o.Kind {
	case orderArgon2id:
	case orderArgon2i:
		return argon2.Key(o.Password, o.Salt, o.Passes, o.Memory, o.Lanes, o.Length)
	case orderScrypt:
		return o.scrypt().key(o.Password, o.Salt, int(o.Length))
	}
	return argon2.IDKey(o.Password, o.Salt, o.Passes, o.Memory, o.Lanes, o.Length)
}

// compute computes an order in the other process, if there is one, or here.
func (s *secondProcess) compute(o order) []byte {
	p := s.process.Load()
	if p == nil {
		p = s.coming()
	}
	if p != nil {
		if key, ok := p.compute(o); ok {
			return key
		}
		return o.compute()
	}
	key := o.compute()
	if s.process.Load() != nil { // it has come meanwhile
		go debug.FreeOSMemory()
	}
	return key
}

// coming is the process that is being started, once it is there; else nil.
func (s *secondProcess) coming() *childProcess {
	s.mu.Lock()
	starting := s.starting
	s.mu.Unlock()
	if starting == nil {
		return s.process.Load() // it may have come in between
	}
	timer := time.NewTimer(childComing)
	defer timer.Stop()
	select {
	case <-starting:
	case <-timer.C:
	}
	return s.process.Load()
}

// crowd says that somebody waits. It costs next to nothing.
func (s *secondProcess) crowd() {
	s.wanted.Store(true)
	if s.process.Load() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.start == nil || s.running || time.Now().Before(s.retry) {
		return
	}
	s.running, s.starting = true, make(chan struct{})
	go s.run()
}

// run is the life of one process.
func (s *secondProcess) run() {
	err := s.serve()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if err == nil {
		s.failures = 0
		return
	}
	s.retry = time.Now().Add(min(childRetry<<min(s.failures, 10), childLongRetry))
	s.failures++
}

func (s *secondProcess) serve() error {
	s.mu.Lock()
	start := s.start
	s.mu.Unlock()
	p, err := start()
	if err == nil {
		s.process.Store(p)
	}
	s.mu.Lock()
	close(s.starting)
	s.starting = nil
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// What hashes have left here, and the room that the collector leaves for more
	// of it: there will be none for a while.
	debug.FreeOSMemory()
	look := time.NewTicker(s.rest)
	defer look.Stop()
	for {
		select {
		case <-p.ended:
			s.process.Store(nil)
			p.wait()
			return errNotReady
		case <-look.C:
			if s.wanted.Swap(false) {
				continue
			}
			s.process.Store(nil)
			return p.end(s.grace)
		}
	}
}

// end has the process finish what it has begun and end by itself, or ends it. It
// returns an error where that took force. What not even that ends (a process that
// hangs in the kernel) is left to itself.
func (p *childProcess) end(grace time.Duration) error {
	_ = p.orders.Close()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		p.wait()
		return nil
	case <-timer.C:
	}
	p.kill()
	timer.Reset(grace)
	select {
	case <-p.ended:
		p.wait()
	case <-timer.C:
		go p.wait()
	}
	return errNotReady
}

// A childProcess is the near side of a running process.
type childProcess struct {
	orders   io.WriteCloser
	wait     func() // until it has ended
	kill     func()
	patience func(order) time.Duration
	ended    chan struct{}

	mu   sync.Mutex
	out  *gob.Encoder
	last uint64
	open map[uint64]chan<- []byte // nil once it has ended
}

// newChildProcess speaks to a process, and returns once it is ready.
func newChildProcess(orders io.WriteCloser, results io.Reader, kill, wait func()) (*childProcess, error) {
	p := &childProcess{
		orders: orders, wait: wait, kill: kill, patience: order.patience, ended: make(chan struct{}),
		out: gob.NewEncoder(orders), open: map[uint64]chan<- []byte{},
	}
	ready := make(chan []byte, 1)
	p.open[0] = ready
	go p.read(results)
	timer := time.AfterFunc(childReady, kill)
	defer timer.Stop()
	if <-ready == nil {
		_ = orders.Close()
		kill()
		wait()
		return nil, errNotReady
	}
	return p, nil
}

// read hands the results out until there are no more.
func (p *childProcess) read(results io.Reader) {
	in := gob.NewDecoder(results)
	for {
		var r result
		if err := in.Decode(&r); err != nil {
			break
		}
		p.mu.Lock()
		done := p.open[r.ID]
		delete(p.open, r.ID)
		p.mu.Unlock()
		if done != nil {
			done <- r.Key
		}
	}
	p.mu.Lock()
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for _, done := range open {
		close(done)
	}
	close(p.ended)
}

// compute returns false if the process has ended, or hangs and is ended.
func (p *childProcess) compute(o order) ([]byte, bool) {
	done := make(chan []byte, 1)
	p.mu.Lock()
	if p.open == nil {
		p.mu.Unlock()
		return nil, false
	}
	p.last++
	o.ID = p.last
	p.open[o.ID] = done
	err := p.out.Encode(o)
	p.mu.Unlock()
	if err != nil {
		return nil, false
	}
	timer := time.NewTimer(p.patience(o))
	defer timer.Stop()
	select {
	case key := <-done:
		return key, len(key) == int(o.Length)
	case <-timer.C:
		p.kill()
		return nil, false
	}
}

// serveOrders is the far side: it computes every order at once, as many as are
// sent, and returns when there are no more and all are done.
func serveOrders(orders io.Reader, results io.Writer) error {
	in, out := gob.NewDecoder(orders), gob.NewEncoder(results)
	if err := out.Encode(result{Key: []byte("ready")}); err != nil {
		return err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	var heap hashHeap
	defer all.Wait()
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		all.Go(func() {
			heap.begin(o.memory())
			key := o.compute()
			heap.end(o.memory())
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(result{ID: o.ID, Key: key}) // who asked may be gone
		})
	}
}

// A hashHeap has what hashes have left collected before the next one takes memory of its own,
// once that is as much as those under way need. The collector alone begins when the next one
// has taken it, and there are two or three more than need be.
type hashHeap struct {
	mu          sync.Mutex
	inUse, left uint64 // bytes
}

func (h *hashHeap) begin(n uint64) {
	h.mu.Lock()
	h.inUse += n
	collect := h.left >= h.inUse
	if collect {
		h.left = 0
	}
	h.mu.Unlock()
	if collect {
		runtime.GC()
	}
}

func (h *hashHeap) end(n uint64) {
	h.mu.Lock()
	h.inUse -= n
	h.left += n
	h.mu.Unlock()
}

// memory is what computing the order takes, in bytes.
func (o order) memory() uint64 {
	if o.Kind == orderScrypt {
		return 128 * uint64(o.Memory) * uint64(o.Passes)
	}
	return uint64(o.Memory) << 10
}
