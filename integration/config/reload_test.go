// reload_test.go: a new configuration keeps sessions, store and mail; one that
// fails, or a second Caddy, disturbs nobody.

package config_test

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

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestReloadKeepsSessionsAndTakesSettings(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Member("ada")
	mark := s.Log.Mark()
	changed := strings.NewReplacer(
		"[[dir]]/mail", "[[dir]]/mail2",
		"registration {", "registration {\n\t\tregister {\n\t\t\tenabled off\n\t\t}",
		"for members:", "for members, newly:",
	).Replace(served.PlainSite)
	s.Configure(changed)
	out, err := s.Command("reload", "--config", s.ConfigFile()).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "for members, newly: ada", c.Get("/members/").Text)
	c.Post(http.StatusNotFound, "register", served.Newcomer("bob"))
	c.Post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(s.Dir, "mail2", "*.eml"))
		return err == nil && len(found) == 1
	}, served.Patience, 5*time.Millisecond, "the new mailer works")
	require.Len(t, s.Mails(""), 1, "the old mailer works on")
	// And back again, to be sure that the first was no one-way street.
	res := s.Load(served.PlainSite)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	c.RequireMember()
	c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	s.Mail("bob@example.org", 1)
	require.Empty(t, s.Log.Line(mark, `"level":"error"`))
}

func TestFailedReloadLeavesTheOldAtWork(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Member("ada")
	broken := filepath.Join(s.Dir, "broken", "register")
	require.NoError(t, os.MkdirAll(broken, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "subject.txt"), []byte("{{.Nonsense}}"), 0o600))
	// A listener that shares its port with nobody, unlike Caddy's own.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	_, s.Values["taken"], err = net.SplitHostPort(taken.Addr().String())
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
			s, c := s.In(t), c.In(t)
			res := s.Load(strings.Replace(served.PlainSite, tt.old, tt.with, 1))
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
			require.Contains(t, res.Text, s.Fill(tt.says))
			c.RequireMember()
			name := fmt.Sprintf("user%d", i)
			c.Post(http.StatusCreated, "register", served.Newcomer(name))
			c.Post(http.StatusOK, "verify-registration", s.Mail(name+"@example.org", 1).Link(t))
		})
	}
	// After all of them the way is still free for a good one, and for a restart.
	require.Equal(t, http.StatusOK, s.Load(strings.Replace(served.PlainSite, "for members:", "for members, newly:", 1)).StatusCode)
	var body string // asked again if cut off: see TestReloadsUnderLoad
	require.True(t, served.Eventually(func() bool {
		res, err := c.HTTP.Do(c.Request(http.MethodGet, "/members/", nil))
		if err == nil {
			body = served.ReadAnswer(t, res).Text
		}
		return err == nil
	}, 20*time.Millisecond))
	require.Equal(t, "for members, newly: ada", body)
	s.Stop()
	s.Start()
	c.RequireMember()
}

// TestReloadsUnderLoad: 10 reloads while signed-in people read.
//
// Caddy opens its port anew with each reload (SO_REUSEPORT), and whoever
// connects to the old one in its last moment is cut off, with this plugin or
// without. Browsers and proxies then ask again, and so do the readers here; an
// answer that is not the page fails the test at once.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Member("ada")
	var pages atomic.Int64
	stop := make(chan struct{})
	var readers served.Group
	for range 4 {
		reader := s.Client()
		reader.HTTP.Jar = c.HTTP.Jar
		readers.Go(func() error {
			for cutOff := 0; ; {
				select {
				case <-stop:
					return nil
				default:
				}
				res, err := reader.HTTP.Do(reader.Request(http.MethodGet, "/members/", nil))
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
				pages.Add(1)
			}
		})
	}
	for i := range 10 {
		before := pages.Load()
		res := s.Load(strings.Replace(served.PlainSite, "for members:", fmt.Sprintf("for members, version %d:", i), 1))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		require.Eventually(t, func() bool { return pages.Load() > before+50 }, served.Patience, time.Millisecond, "the readers go on")
	}
	close(stop)
	require.NoError(t, readers.Wait())
	require.Contains(t, c.Get("/members/").Text, "version 9")
}

func TestValidateBesideTheRunningServer(t *testing.T) {
	served.Embedded(t)
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Member("ada")
	out, err := s.Command("validate", "--config", s.ConfigFile(), "--adapter", "caddyfile").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "the store is in use by another process")
	require.Contains(t, string(out), "Valid configuration")
	c.RequireMember()
	c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	s.Mail("bob@example.org", 1)
}

// Looking at a configuration leaves the store as it is: an old one isn't migrated, and
// none is made.
func TestValidateLeavesTheStoreAsItIs(t *testing.T) {
	served.Embedded(t)
	t.Parallel()
	packed, err := os.Open(filepath.Join(served.RepoRoot, "testdata", "stores", "schema1.db.gz"))
	require.NoError(t, err)
	defer func() { _ = packed.Close() }()
	unpacked, err := gzip.NewReader(packed)
	require.NoError(t, err)
	old, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	s := served.NewServer(t)
	s.Configure(served.PlainSite)
	path := filepath.Join(s.DataDir(), "registration.db")
	for _, command := range [][]string{{"validate"}, {"adapt", "--validate"}} {
		command = append(command, "--config", s.ConfigFile(), "--adapter", "caddyfile")
		out, err := s.Command(command...).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NoFileExists(t, path, command)

		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, old, 0o640)) //nolint:gosec // its mode is left alone, too
		out, err = s.Command(command...).CombinedOutput()
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
	s.Start()
	s.Client().SignIn("fay")
}

func TestSecondCaddyOnTheSameFile(t *testing.T) {
	served.Embedded(t)
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Member("ada")
	second := served.NewServer(t)
	second.Configure(strings.Replace(served.PlainSite, "registration {", "registration {\n\t\tstore bbolt "+filepath.Join(s.DataDir(), "registration.db"), 1))
	out, err := second.Command("run", "--config", second.ConfigFile(), "--adapter", "caddyfile").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	require.Contains(t, string(out), "is another Caddy running")
	require.Contains(t, string(out), "caddy reload")
	require.Contains(t, string(out), "registration.db")
	c.RequireMember()
	c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	s.Mail("bob@example.org", 1)
	// Once the first has gone, the second starts on the same file.
	s.Stop()
	second.Start()
	second.Client().SignIn("ada")
}
