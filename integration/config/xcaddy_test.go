// xcaddy_test.go: the way in which owners build their Caddy works, and what they
// get has every module.

package config_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

const (
	xcaddyVersion = "v0.4.5"
	caddyVersion  = "v2.11.9"
)

// xcaddy is the command: from the PATH, from Go's own folder, or run by version.
func xcaddy() []string {
	if path, err := exec.LookPath("xcaddy"); err == nil {
		return []string{path}
	}
	if home, err := os.UserHomeDir(); err == nil {
		if path, err := exec.LookPath(filepath.Join(home, "go", "bin", "xcaddy")); err == nil {
			return []string{path}
		}
	}
	return []string{"go", "run", "github.com/caddyserver/xcaddy/cmd/xcaddy@" + xcaddyVersion}
}

// proxyWithoutUs is a module proxy that has everything but this module, as long
// as nobody has published it: what is built is the tree, not a release.
func proxyWithoutUs(t *testing.T) string {
	out, err := exec.Command("go", "env", "GOPROXY").Output()
	require.NoError(t, err)
	upstream := strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(",|\n", r) })[0]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/"+served.ModulePath) {
			http.NotFound(w, req)
			return
		}
		http.Redirect(w, req, strings.TrimSuffix(upstream, "/")+req.URL.EscapedPath(), http.StatusFound)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestXcaddyBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a whole Caddy")
	}
	binary := filepath.Join(t.TempDir(), "caddy")
	args := append(xcaddy(), "build", caddyVersion, "--with", served.ModulePath+"="+served.RepoRoot, "--output", binary)
	build := exec.Command(args[0], args[1:]...)
	build.Dir = t.TempDir()
	build.Env = append(os.Environ(), "GOPROXY="+proxyWithoutUs(t))
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	list, err := exec.Command(binary, "list-modules", "--skip-standard").CombinedOutput()
	require.NoError(t, err, string(list))
	lines := strings.Split(string(list), "\n")
	for _, module := range []string{
		"admin.api.registration",
		"http.authentication.providers.registration",
		"http.handlers.registration",
		"http.handlers.require_login",
		"http.registration.mailers.file",
		"http.registration.mailers.log",
		"http.registration.mailers.smtp",
		"http.registration.stores.bbolt",
		"registration",
	} {
		require.Contains(t, lines, module)
	}
	version, err := exec.Command(binary, "version").CombinedOutput()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(version), caddyVersion), string(version))
}
