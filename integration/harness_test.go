// harness_test.go: Caddy is built once, and each test runs its own: with a home,
// an admin endpoint and ports of its own, and its log at hand.

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/seed-928992b0/caddy-registration"

var (
	repoRoot string // absolute
	caddyBin string
	// coverDir is where a Caddy built for coverage leaves its counters; "": none.
	coverDir string
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	if code, is := beProbe(); is {
		return code
	}
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	var err error
	if repoRoot, err = filepath.Abs(".."); err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp("", "registration-integration-")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if caddyBin = os.Getenv("REGISTRATION_CADDY"); caddyBin != "" {
		return m.Run()
	}
	caddyBin = filepath.Join(dir, "caddy")
	args := []string{"build", "-o", caddyBin}
	if coverDir = os.Getenv("REGISTRATION_COVERDIR"); coverDir != "" {
		if coverDir, err = filepath.Abs(coverDir); err != nil {
			return fail(err)
		}
		if err := os.MkdirAll(coverDir, 0o755); err != nil {
			return fail(err)
		}
		// Atomic, as the tests' own counters are under the race detector: else the
		// two can't be merged.
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg="+modulePath+"/...")
	}
	build := exec.Command("go", append(args, "./cmd/caddy")...)
	build.Dir = repoRoot
	if out, err := build.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("building Caddy: %w\n%s", err, out))
	}
	return m.Run()
}

// patience bounds every wait. It is far beyond what any of them should take, so
// that a busy machine fails no test.
const patience = 30 * time.Second

// lastPort counts up from below the range that the kernel gives to outgoing
// connections, so that no client takes the port of a server that restarts.
var lastPort atomic.Int32

func freePort(t testing.TB) int {
	t.Helper()
	lastPort.CompareAndSwap(0, int32(12000+os.Getpid()%100*180))
	for range 500 {
		port := int(lastPort.Add(1))
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	require.FailNow(t, "no port is free")
	return 0
}

// server is one Caddy: its folder and ports, which stay over restarts, and the
// process that runs, if any.
type server struct {
	t           testing.TB
	dir         string
	port, admin int
	values      map[string]string // for [[name]] in configurations
	workDir     string
	env         []string // more of the environment
	log         *logBuffer
	cmd         *exec.Cmd
	done        chan struct{} // closed when the process has ended
}

// newServer prepares a Caddy; what it was still running at the end of the test
// is stopped, and its log is shown if the test failed.
func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), port: freePort(t), admin: freePort(t), log: newLogBuffer()}
	s.workDir = s.dir
	s.values = map[string]string{"port": strconv.Itoa(s.port), "admin": strconv.Itoa(s.admin), "dir": s.dir}
	t.Cleanup(func() {
		if s.running() {
			s.stop()
		}
		if t.Failed() {
			t.Logf("the log of Caddy:\n%s", s.log.tail(150))
		}
	})
	return s
}

// run starts a Caddy on a Caddyfile in which [[port]], [[admin]], [[dir]] and
// what values has are filled in.
func run(t testing.TB, caddyfile string, values ...string) *server {
	t.Helper()
	s := newServer(t)
	for i := 0; i+1 < len(values); i += 2 {
		s.values[values[i]] = values[i+1]
	}
	s.configure(caddyfile)
	s.start()
	return s
}

// in is the same server for a subtest.
func (s *server) in(t testing.TB) *server {
	other := *s
	other.t = t
	return &other
}

func (s *server) fill(config string) string {
	for name, value := range s.values {
		config = strings.ReplaceAll(config, "[["+name+"]]", value)
	}
	require.NotContains(s.t, config, "[[", "a value is missing")
	return config
}

func (s *server) configFile() string { return filepath.Join(s.dir, "Caddyfile") }

func (s *server) configure(caddyfile string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.configFile(), []byte(s.fill(caddyfile)), 0o600))
}

// command is a Caddy command in the server's own surroundings.
func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(caddyBin, args...)
	cmd.Dir = s.workDir
	cmd.Env = append(os.Environ(),
		"HOME="+s.dir, "XDG_DATA_HOME="+filepath.Join(s.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"))
	cmd.Env = append(cmd.Env, s.env...)
	if coverDir != "" {
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+coverDir)
	}
	return cmd
}

// dataDir is where Caddy keeps its data.
func (s *server) dataDir() string { return filepath.Join(s.dir, "data", "caddy") }

// start runs Caddy and returns when it serves.
func (s *server) start() {
	s.t.Helper()
	require.False(s.t, s.running(), "it runs already")
	from := s.log.mark()
	s.cmd = s.command("run", "--adapter", "caddyfile", "--config", s.configFile())
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	require.NoError(s.t, s.cmd.Start())
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(done)
	}(s.cmd)
	if !s.log.wait(from, done, "serving initial configuration") {
		require.FailNow(s.t, "Caddy does not serve")
	}
}

func (s *server) running() bool {
	if s.done == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// stop ends Caddy as a service manager does, and requires that it goes in peace.
func (s *server) stop() {
	s.t.Helper()
	require.True(s.t, s.running(), "it does not run any more")
	require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		require.FailNow(s.t, "Caddy did not end on SIGTERM")
	}
	require.Equal(s.t, 0, s.cmd.ProcessState.ExitCode(), "the exit code after SIGTERM")
}

// kill ends Caddy with no chance to tidy up.
func (s *server) kill() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Kill())
	<-s.done
}

// adminRequest asks the admin endpoint.
func (s *server) adminRequest(method, path, contentType, body string) *answer {
	s.t.Helper()
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", s.admin, path), strings.NewReader(body))
	require.NoError(s.t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	return readAnswer(s.t, res)
}

// load reloads the configuration from a Caddyfile, as `caddy reload` does.
func (s *server) load(caddyfile string) *answer {
	s.t.Helper()
	return s.adminRequest(http.MethodPost, "/load", "text/caddyfile", s.fill(caddyfile))
}

// logBuffer keeps what Caddy logs; tests wait for lines in it.
type logBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed and replaced with each write
}

func newLogBuffer() *logBuffer { return &logBuffer{changed: make(chan struct{})} }

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

// mark is the present end of the log.
func (l *logBuffer) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Len()
}

func (l *logBuffer) since(from int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf.Bytes()[from:])
}

// line returns the first whole line after from that contains all parts, "" if
// there is none.
func (l *logBuffer) line(from int, parts ...string) string {
	lines := strings.SplitAfter(l.since(from), "\n")
next:
	for _, line := range lines {
		if !strings.HasSuffix(line, "\n") {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		return line
	}
	return ""
}

// wait returns true once such a line is there, and false when Caddy has ended
// or patience has.
func (l *logBuffer) wait(from int, done <-chan struct{}, parts ...string) bool {
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if l.line(from, parts...) != "" {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return l.line(from, parts...) != ""
		case <-deadline:
			return false
		}
	}
}

func (l *logBuffer) tail(lines int) string {
	all := strings.Split(l.since(0), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// logged waits for a line of Caddy's log and returns it.
func (s *server) logged(from int, parts ...string) string {
	s.t.Helper()
	require.True(s.t, s.log.wait(from, s.done, parts...), "no such line was logged: %q", parts)
	return s.log.line(from, parts...)
}

// group runs functions side by side and keeps their errors, because only the
// test's own goroutine may end the test.
type group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *group) Go(fn func() error) {
	g.wg.Go(func() {
		if err := fn(); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
		}
	})
}

func (g *group) Wait() error {
	g.wg.Wait()
	return errors.Join(g.errs...)
}

// eventually asks again and again until it is so or patience has ended.
func eventually(is func() bool, every time.Duration) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for deadline := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}
