//go:build unix

// cluster_test.go: the example of examples/cluster, as its script brings it up: what the other
// tests of this package run against.

package cluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(served.Main(m)) }

// A cluster is what up.sh has started.
type cluster struct {
	t     testing.TB
	dir   string
	port  int
	nodes int
	cmd   *exec.Cmd
	done  chan struct{}
}

// up runs the script with some of its settings, and returns when all nodes answer.
func up(t testing.TB, nodes int, settings ...string) *cluster {
	t.Helper()
	pgtest.Need(t)
	dir, err := os.MkdirTemp("", "cluster") // not t.TempDir: the user postgres can't reach that one
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // as above
	c := &cluster{t: t, dir: dir, port: served.FreePorts(t, nodes+1), nodes: nodes, done: make(chan struct{})}
	out := &bytes.Buffer{}
	c.cmd = exec.Command(filepath.Join(served.RepoRoot, "examples", "cluster", "up.sh"))
	c.cmd.Dir = served.RepoRoot
	c.cmd.Env = append(os.Environ(), append([]string{
		"CADDY=" + served.Binary(), "DIR=" + dir, "PORT=" + strconv.Itoa(c.port), "NODES=" + strconv.Itoa(nodes), "HOME=" + dir,
	}, settings...)...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	c.cmd.Stdout, c.cmd.Stderr = writer, writer
	require.NoError(t, c.cmd.Start())
	require.NoError(t, writer.Close())
	answers := make(chan struct{})
	go func() {
		buf := make([]byte, 4096)
		for told := false; ; {
			n, err := reader.Read(buf)
			out.Write(buf[:n])
			if !told && (err != nil || strings.Contains(out.String(), "answer at")) {
				told = true
				close(answers)
			}
			if err != nil {
				_ = c.cmd.Wait()
				close(c.done)
				return
			}
		}
	}()
	t.Cleanup(func() {
		c.end()
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, name := range logs {
				raw, _ := os.ReadFile(name)
				t.Logf("%s:\n%s", filepath.Base(name), raw[max(0, len(raw)-4000):])
			}
		}
		_ = os.RemoveAll(dir)
	})
	select {
	case <-answers:
	case <-time.After(served.Patience):
	}
	require.Contains(t, out.String(), "answer at", "the cluster does not come up")
	return c
}

// end ends the script as Ctrl-C would.
func (c *cluster) end() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(served.Patience):
		c.t.Error("the script does not end what it has started")
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// signal sends one to a part: a node, postgres, the pooler. The script starts it again.
func (c *cluster) signal(part string, sig syscall.Signal) {
	raw, err := os.ReadFile(filepath.Join(c.dir, part+".pid"))
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
		_ = syscall.Kill(pid, sig) // it may just be gone
	}
}

// base is the address of a node, of the balancer where n is 0.
func (c *cluster) base(n int) string { return fmt.Sprintf("http://localhost:%d", c.port+n) }

// client is that of somebody who comes by the balancer.
func (c *cluster) client() *served.Client {
	transport := &http.Transport{}
	c.t.Cleanup(transport.CloseIdleConnections)
	return served.NewClient(c.t, c.base(0), transport)
}

// The two commands of the example, as they stand: somebody signs up at one node, is let in by
// the other, and a node that dies changes nothing.
func TestExample(t *testing.T) {
	t.Parallel()
	c := up(t, 2)
	ada := c.client()
	require.Equal(t, http.StatusUnauthorized, ada.Get("/members/").StatusCode)
	ada.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	mails := &served.Server{T: t, Dir: c.dir}
	require.NoError(t, os.Symlink("mails", filepath.Join(c.dir, "mail")))
	ada.Post(http.StatusOK, "verify-registration", mails.Mail("ada@example.org", 1).Link(t))
	ada.SignIn("ada")
	for n := range 2 {
		ada.Base = c.base(n + 1)
		require.Equal(t, http.StatusOK, ada.Get("/members/").StatusCode, "node %d", n+1)
	}
	ada.Base = c.base(0)
	c.signal("node1", syscall.SIGKILL)
	for range 20 {
		require.Equal(t, http.StatusOK, ada.Get("/members/").StatusCode)
	}
	ada.Post(http.StatusOK, "logout", nil)
	cookie := ada.Cookie()
	for n := range 2 {
		require.True(t, served.Eventually(func() bool {
			req, err := http.NewRequest(http.MethodGet, c.base(n+1)+"/members/", nil)
			require.NoError(t, err)
			req.Header.Set("Cookie", "registration="+cookie)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return false // it is on its way back
			}
			_ = res.Body.Close()
			return res.StatusCode == http.StatusUnauthorized
		}, 20*time.Millisecond))
	}
}

// Nodes that start at the same time on a database with nothing in it all come up at once.
func TestNodesOfAFreshDatabase(t *testing.T) {
	t.Parallel()
	const nodes = 5
	for range 3 {
		c := up(t, nodes)
		for n := range nodes {
			raw, err := os.ReadFile(filepath.Join(c.dir, fmt.Sprintf("node%d.log", n+1)))
			require.NoError(t, err)
			require.NotContains(t, string(raw), `"level":"error"`, "node %d", n+1)
		}
		c.end()
	}
}

// What one client may ask for, and what is tried at one account, is counted over all nodes, in
// PostgreSQL as the example has it.
func TestOneThrottle(t *testing.T) {
	t.Parallel()
	c := up(t, 2)
	// ask asks the nodes in turn, from an address that the balancer would tell.
	ask := func(n int, endpoint string, address func(i int) string, body func(i int) map[string]any) map[int]int {
		counts := map[int]int{}
		for i := range n {
			raw, err := json.Marshal(body(i))
			require.NoError(t, err)
			req, err := http.NewRequest(http.MethodPost, c.base(1+i%2)+"/accounts/"+endpoint, bytes.NewReader(raw))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Forwarded-For", address(i))
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusTooManyRequests {
				require.NotEmpty(t, res.Header.Get("Retry-After"))
			}
			counts[res.StatusCode]++
		}
		return counts
	}
	alone := func(int) string { return "198.51.100.7" }
	everywhere := func(i int) string { return fmt.Sprintf("203.0.%d.7", i) }
	name := func(i int) map[string]any { return map[string]any{"login": fmt.Sprint("nobody", i)} }
	require.Equal(t, map[int]int{201: 20, 429: 6}, ask(26, "register", alone, func(i int) map[string]any {
		return served.Newcomer(fmt.Sprint("guest", i))
	}), "sign-ups of a client")
	require.Equal(t, map[int]int{200: 5, 429: 5}, ask(10, "send-reset-password-link", alone, name), "resets of a client")
	require.Equal(t, map[int]int{200: 5, 429: 5}, ask(10, "send-reset-password-link", everywhere, func(int) map[string]any { return name(77) }), "resets of an account")
	began := time.Now()
	counts := ask(20, "login", everywhere, func(int) map[string]any { return map[string]any{"login": "guest1", "password": "wrong"} })
	require.GreaterOrEqual(t, counts[400], 10, "%v", counts)
	require.LessOrEqual(t, counts[400], 10+int(time.Since(began)/(6*time.Second))+1, "wrong passwords, and one more every six seconds: %v", counts)
	require.Equal(t, 20, counts[400]+counts[429])
}
