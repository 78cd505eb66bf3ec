// aside.go: a second process that computes Argon2id while callers wait for a
// turn, so that a crowd of sign-ins leaves the server itself at its ease.

package password

import (
	"encoding/gob"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// An aside runs a second process of this very program while callers of a Pool
// have to wait, and for a while after; else hashes are computed where they are
// asked for. Each leaves 19 MiB of garbage, and a crowd of them has the server's
// collector stop all its work every few milliseconds, until threads that the
// kernel has put aside for others come round to stopping: in one process, no
// priority helps against that. The second process has a heap of its own, and
// the kernel gives it the time that nothing else wants.
//
// What cannot be computed there, is computed here: where no process can be
// started, where it ended, hangs or starves, and on other systems than Linux. Safe
// for concurrent use.
type aside struct {
	start   func() (*asideProcess, error) // nil: there is to be none; under mu
	rest    time.Duration                 // how long nobody must have waited before it ends
	grace   time.Duration                 // how long it may take to end
	process atomic.Pointer[asideProcess]
	wanted  atomic.Bool // since the last look
	mu      sync.Mutex
	running bool
	// starting is closed when the process that is being started can be used, or
	// not; nil: none is being started.
	starting chan struct{}
	retry    time.Time
	failures int // in a row
}

// theAside is for all pools: there is one machine. It starts nothing until
// UseSecondProcess has said how.
var theAside = &aside{rest: 30 * time.Second, grace: asidePatience}

// UseSecondProcess lets all pools hash in a second process while callers wait. It
// is this program once more, with these arguments, with which it must come to
// RunSecondProcess and do nothing else. On other systems than Linux nothing
// changes.
func UseSecondProcess(args ...string) {
	theAside.mu.Lock()
	defer theAside.mu.Unlock()
	theAside.start = func() (*asideProcess, error) { return startAside(args) }
}

const (
	// asideRetry is how long after a failure another process is tried; twice as
	// long after each further one in a row, up to asideLongRetry.
	asideRetry     = time.Minute
	asideLongRetry = time.Hour
	// asideComing is how long a hash waits for a process that is being started,
	// which takes some 30 ms: so much later, and 19 MiB less in the server.
	asideComing = 500 * time.Millisecond
	// asideReady bounds the start of the process, which reads the whole program.
	asideReady = 10 * time.Second
	// asidePatience bounds one hash, whatever it costs: an imported one of 1 GiB
	// takes some seconds.
	asidePatience = 30 * time.Second
	// Whoever waits for a hash holds a turn, and the process has the least priority:
	// where other programs take all of the machine, it gets a fiftieth of it or
	// less. So a hash has these 2 seconds and 50 ms for each MiB and pass, some fifty
	// times what it takes: 4 seconds with the default parameters. After that the
	// server computes it with its own priority.
	asidePatienceBase   = 2 * time.Second
	asidePatiencePerMiB = 50 * time.Millisecond
)

// patience is how long the process may take for an order.
func (o order) patience() time.Duration {
	return min(asidePatience, asidePatienceBase+time.Duration(uint64(o.Memory)*uint64(o.Passes)>>10)*asidePatiencePerMiB)
}

var errAside = errors.New("the hashing process did not get ready")

// An order is one Argon2id computation; a result with ID 0 says that the process
// is ready.
type order struct {
	ID             uint64
	Password, Salt []byte
	Passes, Memory uint32
	Lanes          uint8
	Length         uint32
}

type result struct {
	ID  uint64
	Key []byte
}

func (o order) compute() []byte {
	return argon2.IDKey(o.Password, o.Salt, o.Passes, o.Memory, o.Lanes, o.Length)
}

// compute computes an order in the other process, if there is one, or here.
func (a *aside) compute(o order) []byte {
	p := a.process.Load()
	if p == nil {
		p = a.coming()
	}
	if p != nil {
		if key, ok := p.compute(o); ok {
			return key
		}
		return o.compute()
	}
	key := o.compute()
	if a.process.Load() != nil { // it has come meanwhile
		go debug.FreeOSMemory()
	}
	return key
}

// coming is the process that is being started, once it is there; else nil.
func (a *aside) coming() *asideProcess {
	a.mu.Lock()
	starting := a.starting
	a.mu.Unlock()
	if starting == nil {
		return a.process.Load() // it may have come in between
	}
	timer := time.NewTimer(asideComing)
	defer timer.Stop()
	select {
	case <-starting:
	case <-timer.C:
	}
	return a.process.Load()
}

// crowd says that somebody waits. It costs next to nothing.
func (a *aside) crowd() {
	a.wanted.Store(true)
	if a.process.Load() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.start == nil || a.running || time.Now().Before(a.retry) {
		return
	}
	a.running, a.starting = true, make(chan struct{})
	go a.run()
}

// run is the life of one process.
func (a *aside) run() {
	err := a.serve()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = false
	if err == nil {
		a.failures = 0
		return
	}
	a.retry = time.Now().Add(min(asideRetry<<min(a.failures, 10), asideLongRetry))
	a.failures++
}

func (a *aside) serve() error {
	a.mu.Lock()
	start := a.start
	a.mu.Unlock()
	p, err := start()
	if err == nil {
		a.process.Store(p)
	}
	a.mu.Lock()
	close(a.starting)
	a.starting = nil
	a.mu.Unlock()
	if err != nil {
		return err
	}
	// What hashes have left here, and the room that the collector leaves for more
	// of it: there will be none for a while.
	debug.FreeOSMemory()
	look := time.NewTicker(a.rest)
	defer look.Stop()
	for {
		select {
		case <-p.ended:
			a.process.Store(nil)
			p.wait()
			return errAside
		case <-look.C:
			if a.wanted.Swap(false) {
				continue
			}
			a.process.Store(nil)
			return p.end(a.grace)
		}
	}
}

// end has the process finish what it has begun and end by itself, or ends it. It
// returns an error where that took force. What not even that ends (a process that
// hangs in the kernel) is left to itself.
func (p *asideProcess) end(grace time.Duration) error {
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
	return errAside
}

// An asideProcess is the near side of a running process.
type asideProcess struct {
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

// newAsideProcess speaks to a process, and returns once it is ready.
func newAsideProcess(orders io.WriteCloser, results io.Reader, kill, wait func()) (*asideProcess, error) {
	p := &asideProcess{
		orders: orders, wait: wait, kill: kill, patience: order.patience, ended: make(chan struct{}),
		out: gob.NewEncoder(orders), open: map[uint64]chan<- []byte{},
	}
	ready := make(chan []byte, 1)
	p.open[0] = ready
	go p.read(results)
	timer := time.AfterFunc(asideReady, kill)
	defer timer.Stop()
	if <-ready == nil {
		_ = orders.Close()
		kill()
		wait()
		return nil, errAside
	}
	return p, nil
}

// read hands the results out until there are no more.
func (p *asideProcess) read(results io.Reader) {
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
func (p *asideProcess) compute(o order) ([]byte, bool) {
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
			key := o.compute()
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(result{ID: o.ID, Key: key}) // who asked may be gone
		})
	}
}
