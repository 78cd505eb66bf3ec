// terminal_test.go: `caddy registration` on a terminal, which is tmux: tables,
// questions, passwords that are not shown, and how far a long command is.

package accounts_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// A screen is a terminal with a shell in the surroundings of a server.
type screen struct {
	t      *testing.T
	s      *served.Server
	socket string
	runs   *int // marks the end of each
}

func newScreen(t *testing.T, s *served.Server) *screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("needs tmux (apt-get install tmux)")
	}
	// Not in t.TempDir, whose path may be longer than that of a socket can be.
	dir, err := os.MkdirTemp("", "tmux")
	require.NoError(t, err)
	sc := &screen{t: t, s: s, socket: filepath.Join(dir, "s"), runs: new(int)}
	t.Cleanup(func() {
		_, _ = sc.tmux("kill-server")
		require.NoError(t, os.RemoveAll(dir))
	})
	out, err := sc.tmux("-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "40", "PS1='$ ' exec sh")
	require.NoError(t, err, out)
	return sc
}

func (sc *screen) tmux(args ...string) (string, error) {
	around := sc.s.Command()
	cmd := exec.Command("tmux", append([]string{"-u", "-S", sc.socket}, args...)...)
	cmd.Dir, cmd.Env = around.Dir, append(around.Env, "TERM=xterm", "LC_ALL=C.UTF-8", "ENV=", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// press presses keys as tmux names them; what isn't a name is typed.
func (sc *screen) press(keys ...string) {
	sc.t.Helper()
	out, err := sc.tmux(append([]string{"send-keys"}, keys...)...)
	require.NoError(sc.t, err, out)
}

// run types `caddy registration …` on an empty screen.
func (sc *screen) run(args ...string) {
	sc.t.Helper()
	caddy := sc.s.Command(append([]string{"registration"}, args...)...).Args
	for i := range caddy {
		caddy[i] = "'" + caddy[i] + "'"
	}
	*sc.runs++
	sc.press("clear", "Enter")
	require.Eventually(sc.t, func() bool {
		seen, err := sc.tmux("capture-pane", "-p")
		return err == nil && strings.TrimSpace(seen) == "$"
	}, time.Minute, 20*time.Millisecond, "%s", sc)
	script := filepath.Join(sc.s.Dir, "typed")
	require.NoError(sc.t, os.WriteFile(script, []byte(strings.Join(caddy, " ")+fmt.Sprintf("\necho \"end of %d: exit $?\"\n", *sc.runs)), 0o600))
	sc.press(". "+script, "Enter")
}

// ends waits until the command has ended with this code and the screen has all of
// these, and returns it.
func (sc *screen) ends(code int, parts ...string) (seen string) {
	sc.t.Helper()
	return sc.shows(append(parts, fmt.Sprintf("end of %d: exit %d", *sc.runs, code))...)
}

// shows waits until the screen has all of these, and returns it.
func (sc *screen) shows(parts ...string) (seen string) {
	sc.t.Helper()
	require.Eventually(sc.t, func() bool {
		var err error
		if seen, err = sc.tmux("capture-pane", "-p"); err != nil {
			return false
		}
		for _, part := range parts {
			if !strings.Contains(seen, part) {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond, "%q is not on the screen:\n%s", parts, sc)
	return seen
}

// String is what stands on it.
func (sc *screen) String() string {
	out, err := sc.tmux("capture-pane", "-p")
	return fmt.Sprint(out, err)
}

func TestTerminal(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	s.Start()
	sc := newScreen(t, s)
	for _, args := range [][]string{{"create", "ada", "ada@example.com", "--group", "admins"}, {"create", "grace"}, {"create", "alan", "alan@example.com"}, {"disable", "-y", "alan"}} {
		_, errs, err := owner(s, args...)
		require.NoError(t, err, errs)
	}

	t.Run("a table", func(t *testing.T) {
		sc := sc.in(t)
		sc.run("list")
		seen := sc.ends(0)
		require.Regexp(t, `(?m)^(?:\$ )?USERNAME  E-MAIL            STATE     GROUPS  JOINED            LAST SIGN-IN$`, seen)
		require.Regexp(t, `(?m)^ada       ada@example\.com   active    admins  \d{4}-\d\d-\d\d \d\d:\d\d$`, seen)
		require.Regexp(t, `(?m)^alan      alan@example\.com  disabled          \d{4}`, seen)
		sc.run("show", "ada")
		seen = sc.ends(0)
		require.Regexp(t, `(?m)^state +active$`, seen)
		require.Regexp(t, `(?m)^Last acts:\nTIME +EVENT +BY +ADDRESS$`, seen)
	})
	t.Run("a password is not shown", func(t *testing.T) {
		sc := sc.in(t)
		sc.run("set-password", "ada")
		sc.shows("New password:")
		sc.press("-l", "correct horse battery")
		sc.press("Enter")
		sc.shows("Once more:")
		sc.press("-l", "another horse")
		sc.press("Enter")
		require.NotContains(t, sc.ends(1, "Error: the two differ; nothing has been changed"), "horse")
		sc.run("set-password", "ada")
		for _, prompt := range []string{"New password:", "Once more:"} {
			sc.shows(prompt)
			sc.press("-l", served.TestPassword)
			sc.press("Enter")
		}
		require.NotContains(t, sc.ends(0, "ada has a new password"), served.TestPassword)
		s.In(t).Client().SignIn("ada")
		sc.run("create", "eve", "--password-stdin")
		sc.shows("New password:")
		sc.press("Enter")
		sc.ends(1, "no password was given; nothing has been changed")
	})
	t.Run("Ctrl-C leaves the terminal as it was", func(t *testing.T) {
		sc := sc.in(t)
		sc.run("set-password", "ada")
		sc.shows("New password:")
		sc.press("-l", "half of a")
		sc.press("C-c")
		sc.ends(1, "Error: nothing has been changed")
		sc.press("stty -a | grep -o -w -e '-*echo'", "Enter")
		sc.shows("\necho\n")
		s.In(t).Client().SignIn("ada")
	})
	t.Run("a question", func(t *testing.T) {
		sc := sc.in(t)
		for _, no := range []string{"n", "Enter", "C-c", "C-d", "yellow"} {
			sc.run("delete", "grace", "alan")
			sc.shows("Remove grace, alan for good? [y/N]")
			if sc.press(no); len(no) == 1 || no == "yellow" {
				sc.press("Enter")
			}
			sc.ends(1, "Error: nothing has been changed")
		}
		require.Equal(t, http.StatusOK, s.Administer(http.MethodGet, "grace", "").StatusCode)
		sc.run("delete", "grace", "alan")
		sc.shows("[y/N]")
		sc.press("y", "Enter")
		sc.ends(0, "grace has been removed.", "alan has been removed.")
		require.Equal(t, http.StatusNotFound, s.Administer(http.MethodGet, "grace", "").StatusCode)
	})
	t.Run("how far it is", func(t *testing.T) {
		served.Embedded(t)
		sc.in(t).backups(s.In(t))
	})
}

func (sc *screen) in(t *testing.T) *screen { return &screen{t, sc.s, sc.socket, sc.runs} }

// backups takes one from a server that is slow, and breaks one off.
func (sc *screen) backups(s *served.Server) {
	// Some 2 MB of accounts: the bar is drawn where a piece of that comes.
	groups := make([]string, 50)
	for i := range groups {
		groups[i] = fmt.Sprintf("%060d", i)
	}
	for i := range 600 {
		raw, err := json.Marshal(map[string]any{"username": fmt.Sprintf("u%d", i), "groups": groups})
		require.NoError(sc.t, err)
		res := s.AdminRequest(http.MethodPost, "/registration/default/users", "application/json", string(raw))
		require.Equal(sc.t, http.StatusOK, res.StatusCode, res.Text)
	}
	goOn := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", s.Admin, req.URL.Path))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = res.Body.Close() }()
		w.Header().Set("Content-Length", res.Header.Get("Content-Length"))
		for range 2 {
			_, _ = io.CopyN(w, res.Body, 1<<19)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(1200 * time.Millisecond)
		}
		select {
		case <-goOn:
		case <-req.Context().Done():
			return
		}
		_, _ = io.Copy(w, res.Body)
	}))
	defer func() { slow.CloseClientConnections(); slow.Close() }()
	file := filepath.Join(s.Dir, "copy.db")
	address := strings.TrimPrefix(slow.URL, "http://")
	sc.run("backup", file, "--address", address)
	require.Regexp(sc.t, `\d+ % of [\d.]+ MiB, \d+s left; [\d.]+ [KM]iB, [\d.]+ [KM]iB a second`, sc.shows(" left; "))
	sc.press("C-c")
	seen := sc.ends(1, "Error: interrupted; nothing was written")
	require.NotContains(sc.t, seen, " left; ", "the bar goes")
	left, err := filepath.Glob(filepath.Join(s.Dir, "*copy.db*"))
	require.NoError(sc.t, err)
	require.Empty(sc.t, left)

	sc.run("backup", file, "--address", address)
	sc.shows(" left; ")
	close(goOn)
	seen = sc.ends(0, "copy.db has ")
	require.NotContains(sc.t, seen, " left; ")
}
