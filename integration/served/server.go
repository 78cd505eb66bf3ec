// server.go: each test runs a Caddy of its own: with a home,
// an admin endpoint and ports of its own, and its log at hand.

package served

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
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience bounds every wait. It is far beyond what any of them should take, so
// that a busy machine fails no test.
const Patience = 2 * time.Minute

// lastPort counts up from below the range that the kernel gives to outgoing
// connections, so that no client takes the port of a server that restarts.
var (
	lastPort int
	ports    sync.Mutex
)

func FreePort(t testing.TB) int {
	t.Helper()
	return FreePorts(t, 1)
}

// FreePorts returns the first of n ports that follow one another. They are given out once: two
// Caddys on one port would both start, and each be given some of the connections.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if lastPort == 0 {
		lastPort = 12000 + os.Getpid()%100*180
	}
	for free, tries := 0, 0; tries < 500; tries++ {
		lastPort++
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(lastPort))
		if err != nil {
			free = 0
			continue
		}
		require.NoError(t, l.Close())
		if free++; free == n {
			return lastPort - n + 1
		}
	}
	require.FailNow(t, "no ports are free")
	return 0
}

// Server is one Caddy: its folder and ports, which stay over restarts, and the
// process that runs, if any.
type Server struct {
	T           testing.TB
	Dir         string
	Port, Admin int
	Values      map[string]string // for [[name]] in configurations
	WorkDir     string
	Env         []string // more of the environment
	Program     string   // another Caddy than the one that was built; "": that
	Log         *logBuffer
	Cmd         *exec.Cmd
	Done        chan struct{} // closed when the process has ended
}

// NewServer prepares a Caddy; what it was still running at the end of the test
// is stopped, and its log is shown if the test failed.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{T: t, Dir: t.TempDir(), Port: FreePort(t), Admin: FreePort(t), Log: newLogBuffer()}
	s.WorkDir = s.Dir
	s.Values = map[string]string{"port": strconv.Itoa(s.Port), "admin": strconv.Itoa(s.Admin), "dir": s.Dir}
	t.Cleanup(func() {
		if s.Running() {
			s.Stop()
		}
		if t.Failed() {
			t.Logf("the log of Caddy:\n%s", s.Log.tail(150))
		}
	})
	return s
}

// Run starts a Caddy on a Caddyfile in which [[port]], [[admin]], [[dir]] and
// what values has are filled in.
func Run(t testing.TB, caddyfile string, values ...string) *Server {
	t.Helper()
	s := NewServer(t)
	for i := 0; i+1 < len(values); i += 2 {
		s.Values[values[i]] = values[i+1]
	}
	s.Configure(caddyfile)
	s.Start()
	return s
}

// In is the same server for a subtest.
func (s *Server) In(t testing.TB) *Server {
	other := *s
	other.T = t
	return &other
}

func (s *Server) Fill(config string) string {
	for name, value := range s.Values {
		config = strings.ReplaceAll(config, "[["+name+"]]", value)
	}
	require.NotContains(s.T, config, "[[", "a value is missing")
	return s.inDatabase(config)
}

func (s *Server) ConfigFile() string { return filepath.Join(s.Dir, "Caddyfile") }

func (s *Server) Configure(caddyfile string) {
	s.T.Helper()
	require.NoError(s.T, os.WriteFile(s.ConfigFile(), []byte(s.Fill(caddyfile)), 0o600))
}

// Command is a Caddy command in the server's own surroundings.
func (s *Server) Command(args ...string) *exec.Cmd {
	program := caddyBin
	if s.Program != "" {
		program = s.Program
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = s.WorkDir
	cmd.Env = append(os.Environ(),
		"HOME="+s.Dir, "XDG_DATA_HOME="+filepath.Join(s.Dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(s.Dir, "config"))
	cmd.Env = append(cmd.Env, s.Env...)
	if coverDir != "" {
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+coverDir)
	}
	return cmd
}

// DataDir is where Caddy keeps its data.
func (s *Server) DataDir() string { return filepath.Join(s.Dir, "data", "caddy") }

// Start runs Caddy and returns when it serves.
func (s *Server) Start() {
	s.T.Helper()
	require.False(s.T, s.Running(), "it runs already")
	from := s.Log.Mark()
	s.Cmd = s.Command("run", "--adapter", "caddyfile", "--config", s.ConfigFile())
	s.Cmd.Stdout, s.Cmd.Stderr = s.Log, s.Log
	require.NoError(s.T, s.Cmd.Start())
	done := make(chan struct{})
	s.Done = done
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(done)
	}(s.Cmd)
	if !s.Log.Wait(from, done, "serving initial configuration") {
		require.FailNow(s.T, "Caddy does not serve")
	}
}

func (s *Server) Running() bool {
	if s.Done == nil {
		return false
	}
	select {
	case <-s.Done:
		return false
	default:
		return true
	}
}

// Stop ends Caddy as a service manager does, and requires that it goes in peace.
func (s *Server) Stop() {
	s.T.Helper()
	require.True(s.T, s.Running(), "it does not run any more")
	require.NoError(s.T, s.Cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-s.Done:
	case <-time.After(Patience):
		_ = s.Cmd.Process.Kill()
		<-s.Done
		require.FailNow(s.T, "Caddy did not end on SIGTERM")
	}
	require.Equal(s.T, 0, s.Cmd.ProcessState.ExitCode(), "the exit code after SIGTERM")
}

// Kill ends Caddy with no chance to tidy up.
func (s *Server) Kill() {
	s.T.Helper()
	require.NoError(s.T, s.Cmd.Process.Kill())
	<-s.Done
}

// AdminRequest asks the admin endpoint.
func (s *Server) AdminRequest(method, path, contentType, body string) *Answer {
	s.T.Helper()
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", s.Admin, path), strings.NewReader(body))
	require.NoError(s.T, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.T, err)
	return ReadAnswer(s.T, res)
}

// Load reloads the configuration from a Caddyfile, as `caddy reload` does.
func (s *Server) Load(caddyfile string) *Answer {
	s.T.Helper()
	return s.AdminRequest(http.MethodPost, "/load", "text/caddyfile", s.Fill(caddyfile))
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

// Mark is the present end of the log.
func (l *logBuffer) Mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Len()
}

func (l *logBuffer) Since(from int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf.Bytes()[from:])
}

// Line returns the first whole line after from that contains all parts, "" if
// there is none.
func (l *logBuffer) Line(from int, parts ...string) string {
	lines := strings.SplitAfter(l.Since(from), "\n")
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

// Wait returns true once such a line is there, and false when Caddy has ended
// or patience has.
func (l *logBuffer) Wait(from int, done <-chan struct{}, parts ...string) bool {
	deadline := time.After(Patience)
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if l.Line(from, parts...) != "" {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return l.Line(from, parts...) != ""
		case <-deadline:
			return false
		}
	}
}

func (l *logBuffer) tail(lines int) string {
	all := strings.Split(l.Since(0), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Logged waits for a line of Caddy's log and returns it.
func (s *Server) Logged(from int, parts ...string) string {
	s.T.Helper()
	require.True(s.T, s.Log.Wait(from, s.Done, parts...), "no such line was logged: %q", parts)
	return s.Log.Line(from, parts...)
}

// Group runs functions side by side and keeps their errors, because only the
// test's own goroutine may end the test.
type Group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *Group) Go(fn func() error) {
	g.wg.Go(func() {
		if err := fn(); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
		}
	})
}

func (g *Group) Wait() error {
	g.wg.Wait()
	return errors.Join(g.errs...)
}

// Eventually asks again and again until it is so or patience has ended.
func Eventually(is func() bool, every time.Duration) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for deadline := time.After(Patience); !is(); {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

func (s *Server) Administer(method, name, body string) *Answer {
	s.T.Helper()
	return s.AdminRequest(method, "/registration/default/users/"+name, "application/json", body)
}
