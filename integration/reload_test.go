// reload_test.go: a new configuration keeps sessions, store and mail; one that
// fails, or a second Caddy, disturbs nobody.

package integration

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReloadKeepsSessionsAndTakesSettings(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.member("ada")
	mark := s.log.mark()
	changed := strings.NewReplacer(
		"[[dir]]/mail", "[[dir]]/mail2",
		"registration {", "registration {\n\t\tregister {\n\t\t\tenabled off\n\t\t}",
		"for members:", "for members, newly:",
	).Replace(plainSite)
	s.configure(changed)
	out, err := s.command("reload", "--config", s.configFile()).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "for members, newly: ada", c.get("/members/").body)
	c.post(http.StatusNotFound, "register", newcomer("bob"))
	c.post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(s.dir, "mail2", "*.eml"))
		return err == nil && len(found) == 1
	}, patience, 5*time.Millisecond, "the new mailer works")
	require.Len(t, s.mails(""), 1, "the old mailer works on")
	// And back again, to be sure that the first was no one-way street.
	res := s.load(plainSite)
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	c.requireMember()
	c.post(http.StatusCreated, "register", newcomer("bob"))
	s.mail("bob@example.org", 1)
	require.Empty(t, s.log.line(mark, `"level":"error"`))
}

func TestFailedReloadLeavesTheOldAtWork(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.member("ada")
	broken := filepath.Join(s.dir, "broken", "register")
	require.NoError(t, os.MkdirAll(broken, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "subject.txt"), []byte("{{.Nonsense}}"), 0o600))
	// A listener that shares its port with nobody, unlike Caddy's own.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	_, s.values["taken"], err = net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	for i, tt := range []struct{ name, old, with, says string }{
		{"a typing error", "base_url", "base_ulr", "base_ulr"},
		{"a wrong value", "from no-reply@example.com", "from nobody", "from"},
		{"an unset variable, found at Provision", "from no-reply@example.com", "from {env.REGISTRATION_UNSET}", "REGISTRATION_UNSET"},
		{"a broken template, found at Provision", "registration {", "registration {\n\t\ttemplates [[dir]]/broken", "Nonsense"},
		{"a file that is no store, found at Provision", "registration {", "registration {\n\t\tstore bbolt [[dir]]/Caddyfile", "Caddyfile"},
		{"a guard of a realm that nobody defined, found at Start", "require_login /members/*", "require_login /members/* {\n\t\trealm nobody\n\t}", `\"nobody\"`},
		{"an address that is taken, found at Start", "http://127.0.0.1:[[port]] {", "http://127.0.0.1:[[taken]] {", "[[taken]]"},
		{"another module fails after ours", "respond ", "templates {\n\t\tmime\n\t}\n\trespond ", "mime"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := s.in(t), c.in(t)
			res := s.load(strings.Replace(plainSite, tt.old, tt.with, 1))
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.body)
			require.Contains(t, res.body, s.fill(tt.says))
			c.requireMember()
			name := fmt.Sprintf("user%d", i)
			c.post(http.StatusCreated, "register", newcomer(name))
			c.post(http.StatusOK, "verify-registration", s.mail(name+"@example.org", 1).link(t))
		})
	}
	// After all of them the way is still free for a good one, and for a restart.
	require.Equal(t, http.StatusOK, s.load(strings.Replace(plainSite, "for members:", "for members, newly:", 1)).StatusCode)
	var body string // asked again if cut off: see TestReloadsUnderLoad
	require.True(t, eventually(func() bool {
		res, err := c.http.Do(c.request(http.MethodGet, "/members/", nil))
		if err == nil {
			body = readAnswer(t, res).body
		}
		return err == nil
	}, 20*time.Millisecond))
	require.Equal(t, "for members, newly: ada", body)
	s.stop()
	s.start()
	c.requireMember()
}

// TestReloadsUnderLoad: 10 reloads while signed-in people read.
//
// Caddy opens its port anew with each reload (SO_REUSEPORT), and whoever
// connects to the old one in its last moment is cut off, with this plugin or
// without. Browsers and proxies then ask again, and so do the readers here; an
// answer that is not the page fails the test at once.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.member("ada")
	var served atomic.Int64
	stop := make(chan struct{})
	var readers group
	for range 4 {
		reader := s.client()
		reader.http.Jar = c.http.Jar
		readers.Go(func() error {
			for cutOff := 0; ; {
				select {
				case <-stop:
					return nil
				default:
				}
				res, err := reader.http.Do(reader.request(http.MethodGet, "/members/", nil))
				if err != nil {
					if cutOff++; cutOff == 5 {
						return fmt.Errorf("cut off five times in a row: %w", err)
					}
					continue
				}
				cutOff = 0
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "for members") {
					return fmt.Errorf("%s %q %v", res.Status, body, err)
				}
				served.Add(1)
			}
		})
	}
	for i := range 10 {
		before := served.Load()
		res := s.load(strings.Replace(plainSite, "for members:", fmt.Sprintf("for members, version %d:", i), 1))
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		require.Eventually(t, func() bool { return served.Load() > before+50 }, patience, time.Millisecond, "the readers go on")
	}
	close(stop)
	require.NoError(t, readers.Wait())
	require.Contains(t, c.get("/members/").body, "version 9")
}

func TestValidateBesideTheRunningServer(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.member("ada")
	out, err := s.command("validate", "--config", s.configFile(), "--adapter", "caddyfile").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "the store is in use by another process")
	require.Contains(t, string(out), "Valid configuration")
	c.requireMember()
	c.post(http.StatusCreated, "register", newcomer("bob"))
	s.mail("bob@example.org", 1)
}

// Looking at a configuration leaves the store as it is: an old one isn't migrated, and
// none is made.
func TestValidateLeavesTheStoreAsItIs(t *testing.T) {
	t.Parallel()
	packed, err := os.Open(filepath.Join(repoRoot, "testdata", "stores", "schema1.db.gz"))
	require.NoError(t, err)
	defer func() { _ = packed.Close() }()
	unpacked, err := gzip.NewReader(packed)
	require.NoError(t, err)
	old, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	s := newServer(t)
	s.configure(plainSite)
	path := filepath.Join(s.dataDir(), "registration.db")
	for _, command := range [][]string{{"validate"}, {"adapt", "--validate"}} {
		command = append(command, "--config", s.configFile(), "--adapter", "caddyfile")
		out, err := s.command(command...).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NoFileExists(t, path, command)

		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, old, 0o640)) //nolint:gosec // its mode is left alone, too
		out, err = s.command(command...).CombinedOutput()
		require.NoError(t, err, string(out))
		after, err := os.ReadFile(path) //nolint:gosec // our own
		require.NoError(t, err)
		require.True(t, bytes.Equal(old, after), command)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
		require.NoError(t, os.Remove(path))
	}
	// The start migrates it, and nobody who asks meanwhile is turned away.
	require.NoError(t, os.WriteFile(path, old, 0o600))
	s.start()
	s.client().signIn("fay")
}

func TestSecondCaddyOnTheSameFile(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.member("ada")
	second := newServer(t)
	second.configure(strings.Replace(plainSite, "registration {", "registration {\n\t\tstore bbolt "+filepath.Join(s.dataDir(), "registration.db"), 1))
	out, err := second.command("run", "--config", second.configFile(), "--adapter", "caddyfile").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	require.Contains(t, string(out), "is another Caddy running")
	require.Contains(t, string(out), "caddy reload")
	require.Contains(t, string(out), "registration.db")
	c.requireMember()
	c.post(http.StatusCreated, "register", newcomer("bob"))
	s.mail("bob@example.org", 1)
	// Once the first has gone, the second starts on the same file.
	s.stop()
	second.start()
	second.client().signIn("ada")
}
