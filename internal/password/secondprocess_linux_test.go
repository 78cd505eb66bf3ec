// secondprocess_linux_test.go: the second process that hashes, with real processes: what
// it computes, and what happens when it dies, hangs or cannot be started.

package password

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
)

// hashArgs make the test's own program a hashing one.
var hashArgs = []string{"hash-passwords"}

func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], hashArgs) {
		if err := RunSecondProcess(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var anOrder = order{Password: []byte("correct horse"), Salt: []byte("0123456789abcdef"), Passes: 2, Memory: 64, Lanes: 1, Length: 32}

func rightKey() []byte {
	return argon2.IDKey(anOrder.Password, anOrder.Salt, anOrder.Passes, anOrder.Memory, anOrder.Lanes, anOrder.Length)
}

// running starts a process and returns it when it is in use.
func (s *secondProcess) inUse(t *testing.T) *childProcess {
	t.Helper()
	s.crowd()
	require.Eventually(t, func() bool { return s.process.Load() != nil }, time.Minute, time.Millisecond)
	return s.process.Load()
}

func TestSecondProcessComputesWhatWeDo(t *testing.T) {
	t.Parallel()
	var starts atomic.Int32
	s := &secondProcess{rest: time.Hour, start: func() (*childProcess, error) { starts.Add(1); return startChild(hashArgs) }}
	require.Equal(t, rightKey(), s.compute(anOrder), "without a process")
	require.Zero(t, starts.Load())
	p := s.inUse(t)
	p.patience = func(order) time.Duration { return time.Minute } // of a busy machine
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			o := anOrder
			o.Length = uint32(16 + i%48)
			s.crowd()
			key, ok := p.compute(o)
			if want := argon2.IDKey(o.Password, o.Salt, o.Passes, o.Memory, o.Lanes, o.Length); !ok || string(key) != string(want) {
				t.Errorf("order %d: %v %x, want %x", i, ok, key, want)
			}
		})
	}
	all.Wait()
	for _, kind := range []orderKind{orderArgon2i, orderScrypt} {
		o := anOrder
		o.Kind = kind
		key, ok := p.compute(o)
		require.True(t, ok)
		require.Equal(t, o.compute(), key)
		require.NotEqual(t, rightKey(), key)
	}
	require.EqualValues(t, 1, starts.Load())
	_ = p.orders.Close()
	<-p.ended
}

// TestSecondProcessThatIsComing: a hash waits for the process that is being started, but
// not for long.
func TestSecondProcessThatIsComing(t *testing.T) {
	t.Parallel()
	begin, began := make(chan struct{}), make(chan struct{})
	var computed atomic.Int32
	s := &secondProcess{rest: time.Hour, start: func() (*childProcess, error) {
		close(began)
		<-begin
		ordersOut, ordersIn := io.Pipe()
		resultsOut, resultsIn := io.Pipe()
		counted := &countingWriter{resultsIn, &computed}
		go func() { _ = serveOrders(ordersOut, counted); _ = resultsIn.Close() }()
		return newChildProcess(ordersIn, resultsOut, func() {}, func() {})
	}}
	s.crowd()
	<-began
	require.Equal(t, rightKey(), s.compute(anOrder), "it took too long to come")
	require.Zero(t, computed.Load())
	key := make(chan []byte)
	go func() { key <- s.compute(anOrder) }()
	close(begin)
	require.Equal(t, rightKey(), <-key)
	require.Equal(t, rightKey(), s.compute(anOrder))
	require.GreaterOrEqual(t, computed.Load(), int32(2), "it came")
	_ = s.process.Load().orders.Close()
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

// TestSecondProcessEndsByItself: nobody waits any more, so it finishes what it has, and ends.
func TestSecondProcessEndsByItself(t *testing.T) {
	t.Parallel()
	s := &secondProcess{rest: 300 * time.Millisecond, grace: time.Minute, start: func() (*childProcess, error) { return startChild(hashArgs) }}
	p := s.inUse(t)
	long := anOrder
	long.Memory, long.Passes = 64<<10, 20 // longer than the rest
	key, ok := p.compute(long)
	require.True(t, ok, "it ended with a hash under way")
	require.Len(t, key, 32)
	<-p.ended
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.running }, time.Minute, time.Millisecond)
	require.Nil(t, s.process.Load())
	require.Equal(t, rightKey(), s.compute(anOrder))
	again := s.inUse(t)
	require.NotSame(t, p, again, "the next crowd has another one at once")
	again.kill()
	<-again.ended
}

func TestSecondProcessThatDiesIsMadeUpFor(t *testing.T) {
	t.Parallel()
	s := &secondProcess{rest: time.Hour, grace: time.Minute, start: func() (*childProcess, error) { return startChild(hashArgs) }}
	p := s.inUse(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			long := anOrder
			long.Memory = 8 << 10
			if key := s.compute(long); len(key) != 32 {
				t.Errorf("a key of %d bytes", len(key))
			}
		})
	}
	p.kill()
	all.Wait()
	<-p.ended
	_, ok := p.compute(anOrder)
	require.False(t, ok)
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.running }, time.Minute, time.Millisecond)
	s.crowd()
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	require.False(t, running, "no second try right after")
	require.Equal(t, rightKey(), s.compute(anOrder))
}

// TestSecondProcessThatHangs: a process that reads orders and gives no results.
func TestSecondProcessThatHangs(t *testing.T) {
	t.Parallel()
	ordersOut, ordersIn := io.Pipe()
	resultsOut, resultsIn := io.Pipe()
	go func() { _ = serveOrders(strings.NewReader(""), resultsIn); _, _ = io.Copy(io.Discard, ordersOut) }()
	killed := make(chan struct{})
	p, err := newChildProcess(ordersIn, resultsOut, sync.OnceFunc(func() { close(killed); _ = resultsIn.Close() }), func() {})
	require.NoError(t, err)
	p.patience = func(order) time.Duration { return 50 * time.Millisecond }
	s := new(secondProcess)
	s.process.Store(p)
	require.Equal(t, rightKey(), s.compute(anOrder))
	<-killed
	<-p.ended
}

func TestSecondProcessThatCannotStart(t *testing.T) {
	t.Parallel()
	starts := 0
	s := &secondProcess{rest: time.Hour, start: func() (*childProcess, error) { starts++; return nil, errors.New("no more processes") }}
	for range 3 {
		s.crowd()
		require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.running }, time.Minute, time.Millisecond)
	}
	require.Equal(t, 1, starts)
	require.Equal(t, rightKey(), s.compute(anOrder))

	// Not ready: it ends at once, as a program without this plugin would.
	read, write := io.Pipe()
	go func() { _ = write.Close() }()
	_, err := newChildProcess(nopCloser{io.Discard}, read, func() {}, func() {})
	require.ErrorIs(t, err, errNotReady)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestSecondProcessWithoutOrders: whoever starts it by hand is told what it is.
func TestSecondProcessWithoutOrders(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(os.Args[0], hashArgs...).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "starts it by itself")
	require.Error(t, serveOrders(strings.NewReader("no gob"), io.Discard))
}

// withPid is a running process and its id.
func withPid(t *testing.T) (*childProcess, int) {
	t.Helper()
	before := children(t)
	p, err := startChild([]string{"hash-passwords"})
	require.NoError(t, err)
	for _, pid := range children(t) {
		if !slices.Contains(before, pid) {
			return p, pid
		}
	}
	require.FailNow(t, "there is no process")
	return nil, 0
}

// children are the processes that this one has started.
func children(t *testing.T) []int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	var list []int
	for _, task := range tasks {
		raw, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children") // the thread may be gone
		for _, text := range strings.Fields(string(raw)) {
			pid, err := strconv.Atoi(text)
			require.NoError(t, err)
			list = append(list, pid)
		}
	}
	return list
}

// TestSecondProcessHasNoRights: what the kernel says of a real process.
func TestSecondProcessHasNoRights(t *testing.T) {
	p, pid := withPid(t)
	proc := "/proc/" + strconv.Itoa(pid)
	raw, err := os.ReadFile(proc + "/status")
	require.NoError(t, err)
	status := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		name, v, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(v)
	}
	require.Equal(t, "1", status["NoNewPrivs"])
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		require.Equal(t, strings.Repeat("0", 16), status[set], set)
	}
	own, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	mayDrop := strings.Contains(string(own), "CapEff:\t000001") || strings.Contains(string(own), "CapEff:\t000003ff") // all: this is root
	if mayDrop {
		require.Equal(t, strings.Repeat("0", 16), status["CapBnd"])
	}
	require.Contains(t, string(own), "NoNewPrivs:\t0", "the server keeps its own")
	limits, err := os.ReadFile(proc + "/limits")
	require.NoError(t, err)
	require.Regexp(t, `Max core file size +0 +0 `, string(limits))
	info, err := os.Stat(proc + "/mem")
	require.NoError(t, err)
	if os.Getuid() != 0 { // not dumpable: it belongs to root
		require.EqualValues(t, 0, info.Sys().(*syscall.Stat_t).Uid)
	}
	tasks, err := os.ReadDir(proc + "/task")
	require.NoError(t, err)
	for _, task := range tasks {
		raw, err := os.ReadFile(proc + "/task/" + task.Name() + "/status")
		if err == nil {
			require.Contains(t, string(raw), "CapEff:\t0000000000000000", "every thread")
			require.Contains(t, string(raw), "NoNewPrivs:\t1")
		}
	}
	key, ok := p.compute(anOrder)
	require.True(t, ok)
	require.Equal(t, rightKey(), key)
	require.NoError(t, p.end(time.Minute))
}

// TestSecondProcessThatStarves: the process is there and gets no time, as where other
// programs take all of the machine. Callers get their hash here, soon, and for a
// while there is no other process.
func TestSecondProcessThatStarves(t *testing.T) {
	p, pid := withPid(t)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	s := &secondProcess{rest: time.Hour, grace: time.Minute, start: func() (*childProcess, error) { return p, nil }}
	s.inUse(t)
	require.Equal(t, 4*time.Second, order{Memory: 19 << 10, Passes: 2}.patience().Round(time.Second), "the default parameters")
	require.Equal(t, childPatience, order{Memory: 1 << 20, Passes: 4}.patience())
	require.Equal(t, 4*time.Second, order{Kind: orderScrypt, Memory: 1 << 14, Passes: 8, Lanes: 1}.patience().Round(time.Second), "Firebase's")
	require.Equal(t, 10*time.Second, order{Kind: orderScrypt, Memory: 1 << 14, Passes: 8, Lanes: 5}.patience(), "Django's")
	require.Equal(t, rightKey(), s.compute(anOrder))
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.running }, time.Minute, time.Millisecond)
	require.Nil(t, s.process.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, 1, s.failures)
	require.Greater(t, time.Until(s.retry), childRetry/2)
}

// TestSecondProcessThatDoesNotEnd: its orders are closed and it goes on. It is ended, and
// the next crowd has another one.
func TestSecondProcessThatDoesNotEnd(t *testing.T) {
	p, pid := withPid(t)
	s := &secondProcess{rest: time.Millisecond, grace: 10 * time.Millisecond, start: func() (*childProcess, error) { return p, nil }}
	s.inUse(t)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	<-p.ended
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.running }, time.Minute, time.Millisecond)
	require.Nil(t, s.process.Load())

	// One that not even force ends holds nobody up either.
	ordersOut, ordersIn := io.Pipe()
	resultsOut, resultsIn := io.Pipe()
	go func() { _ = serveOrders(strings.NewReader(""), resultsIn); _, _ = io.Copy(io.Discard, ordersOut) }()
	stuck, err := newChildProcess(ordersIn, resultsOut, func() {}, func() {})
	require.NoError(t, err)
	require.ErrorIs(t, stuck.end(time.Millisecond), errNotReady)
	_ = resultsIn.Close()
}

// TestSecondProcessIsOff: until somebody has said how, no process is started.
func TestSecondProcessIsOff(t *testing.T) {
	t.Parallel()
	s := new(secondProcess)
	s.crowd()
	require.False(t, s.running)
	require.Equal(t, rightKey(), s.compute(anOrder))
}
