// aside_linux_test.go: the second process that hashes, with real processes: what
// it computes, and what happens when it dies, hangs or cannot be started.

package password

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
)

var anOrder = order{Password: []byte("correct horse"), Salt: []byte("0123456789abcdef"), Passes: 2, Memory: 64, Lanes: 1, Length: 32}

func rightKey() []byte {
	return argon2.IDKey(anOrder.Password, anOrder.Salt, anOrder.Passes, anOrder.Memory, anOrder.Lanes, anOrder.Length)
}

// running starts a process and returns it when it is in use.
func (a *aside) inUse(t *testing.T) *asideProcess {
	t.Helper()
	a.crowd()
	require.Eventually(t, func() bool { return a.process.Load() != nil }, time.Minute, time.Millisecond)
	return a.process.Load()
}

func TestAsideComputesWhatWeDo(t *testing.T) {
	t.Parallel()
	var starts atomic.Int32
	a := &aside{rest: time.Hour, start: func() (*asideProcess, error) { starts.Add(1); return startAside() }}
	require.Equal(t, rightKey(), a.compute(anOrder), "without a process")
	require.Zero(t, starts.Load())
	p := a.inUse(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			o := anOrder
			o.Length = uint32(16 + i%48)
			a.crowd()
			key, ok := p.compute(o)
			if want := argon2.IDKey(o.Password, o.Salt, o.Passes, o.Memory, o.Lanes, o.Length); !ok || string(key) != string(want) {
				t.Errorf("order %d: %v %x, want %x", i, ok, key, want)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, starts.Load())
	_ = p.orders.Close()
	<-p.ended
}

// TestAsideThatIsComing: a hash waits for the process that is being started, but
// not for long.
func TestAsideThatIsComing(t *testing.T) {
	t.Parallel()
	begin, began := make(chan struct{}), make(chan struct{})
	var computed atomic.Int32
	a := &aside{rest: time.Hour, start: func() (*asideProcess, error) {
		close(began)
		<-begin
		ordersOut, ordersIn := io.Pipe()
		resultsOut, resultsIn := io.Pipe()
		counted := &countingWriter{resultsIn, &computed}
		go func() { _ = serveOrders(ordersOut, counted); _ = resultsIn.Close() }()
		return newAsideProcess(ordersIn, resultsOut, func() {}, func() {})
	}}
	a.crowd()
	<-began
	require.Equal(t, rightKey(), a.compute(anOrder), "it took too long to come")
	require.Zero(t, computed.Load())
	key := make(chan []byte)
	go func() { key <- a.compute(anOrder) }()
	close(begin)
	require.Equal(t, rightKey(), <-key)
	require.Equal(t, rightKey(), a.compute(anOrder))
	require.GreaterOrEqual(t, computed.Load(), int32(2), "it came")
	_ = a.process.Load().orders.Close()
}

// countingWriter counts the writes.
type countingWriter struct {
	io.Writer
	n *atomic.Int32
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n.Add(1)
	return w.Writer.Write(b)
}

// TestAsideEndsByItself: nobody waits any more, so it finishes what it has, and ends.
func TestAsideEndsByItself(t *testing.T) {
	t.Parallel()
	a := &aside{rest: 300 * time.Millisecond, start: startAside}
	p := a.inUse(t)
	long := anOrder
	long.Memory, long.Passes = 64<<10, 20 // longer than the rest
	key, ok := p.compute(long)
	require.True(t, ok, "it ended with a hash under way")
	require.Len(t, key, 32)
	<-p.ended
	require.Eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.running }, time.Minute, time.Millisecond)
	require.Nil(t, a.process.Load())
	require.Equal(t, rightKey(), a.compute(anOrder))
	again := a.inUse(t)
	require.NotSame(t, p, again, "the next crowd has another one at once")
	again.kill()
	<-again.ended
}

func TestAsideThatDiesIsMadeUpFor(t *testing.T) {
	t.Parallel()
	a := &aside{rest: time.Hour, start: startAside}
	p := a.inUse(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			long := anOrder
			long.Memory = 8 << 10
			if key := a.compute(long); len(key) != 32 {
				t.Errorf("a key of %d bytes", len(key))
			}
		})
	}
	p.kill()
	all.Wait()
	<-p.ended
	_, ok := p.compute(anOrder)
	require.False(t, ok)
	require.Eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.running }, time.Minute, time.Millisecond)
	a.crowd()
	a.mu.Lock()
	running := a.running
	a.mu.Unlock()
	require.False(t, running, "no second try right after")
	require.Equal(t, rightKey(), a.compute(anOrder))
}

// TestAsideThatHangs: a process that reads orders and gives no results.
func TestAsideThatHangs(t *testing.T) {
	t.Parallel()
	ordersOut, ordersIn := io.Pipe()
	resultsOut, resultsIn := io.Pipe()
	go func() { _ = serveOrders(strings.NewReader(""), resultsIn); _, _ = io.Copy(io.Discard, ordersOut) }()
	killed := make(chan struct{})
	p, err := newAsideProcess(ordersIn, resultsOut, sync.OnceFunc(func() { close(killed); _ = resultsIn.Close() }), func() {})
	require.NoError(t, err)
	p.patience = 50 * time.Millisecond
	a := new(aside)
	a.process.Store(p)
	require.Equal(t, rightKey(), a.compute(anOrder))
	<-killed
	<-p.ended
}

func TestAsideThatCannotStart(t *testing.T) {
	t.Parallel()
	starts := 0
	a := &aside{rest: time.Hour, start: func() (*asideProcess, error) { starts++; return nil, errors.New("no more processes") }}
	for range 3 {
		a.crowd()
		require.Eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.running }, time.Minute, time.Millisecond)
	}
	require.Equal(t, 1, starts)
	require.Equal(t, rightKey(), a.compute(anOrder))

	// Not ready: it ends at once, as a program without this plugin would.
	read, write := io.Pipe()
	go func() { _ = write.Close() }()
	_, err := newAsideProcess(nopCloser{io.Discard}, read, func() {}, func() {})
	require.ErrorIs(t, err, errAside)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestAsideWithoutOrders: whoever sets the mark by hand gets a process that ends.
func TestAsideWithoutOrders(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asideMark + "=1"}
	require.Error(t, cmd.Run())
	require.Error(t, serveOrders(strings.NewReader("no gob"), io.Discard))
}
