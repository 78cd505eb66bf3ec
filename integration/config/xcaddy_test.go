// xcaddy_test.go: the way in which owners build their Caddy works, and what they
// get has every module.

package config_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
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

// moduleProxy has everything but this module, as long as nobody has published it, and
// answers with a status where it is asked for that; 0: never.
func moduleProxy(t *testing.T, status int) string {
	out, err := exec.Command("go", "env", "GOPROXY").Output()
	require.NoError(t, err)
	upstream := strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(",|\n", r) })[0]
	owner := "/" + path.Dir(served.ModulePath)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case !strings.HasPrefix(req.URL.Path, owner):
			http.Redirect(w, req, strings.TrimSuffix(upstream, "/")+req.URL.EscapedPath(), http.StatusFound)
		case status == 0:
			<-req.Context().Done()
		default:
			w.WriteHeader(status)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// blockWith is the shell block of a page that has some text.
func blockWith(t *testing.T, page, text string) string {
	t.Helper()
	blocks := shellBlocks(t, page)
	i := slices.IndexFunc(blocks, func(b string) bool { return strings.Contains(b, text) })
	require.GreaterOrEqual(t, i, 0, "%s has no block with %q", page, text)
	return blocks[i]
}

// sh runs a script in the checkout as a shell would that has xcaddy and builds with one
// version of Caddy; what xcaddy builds is the file binary.
func sh(t *testing.T, script, binary string, env ...string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", "xcaddy() { "+strings.Join(xcaddy(), " ")+" \"$@\" --output '"+binary+"'; }\n"+script)
	cmd.Dir = served.RepoRoot
	cmd.Env = append(append(os.Environ(), "CADDY_VERSION="+caddyVersion), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestXcaddyWithoutUs: xcaddy makes a build of the checkout whatever the module proxy
// says of a module that nobody has published. Go asks it for the newest version of a
// module without one, also where a folder replaces it, and takes no answer but 404
// and 410 for "there is none".
func TestXcaddyWithoutUs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command many times")
	}
	_, checkout, _ := strings.Cut(blockWith(t, "README.md", "# from a checkout"), "\n")
	recipe := blockWith(t, "docs/recipes.md", "xcaddy build")
	nobody := blockWith(t, "docs/recipes.md", "GOVCS=")
	for _, c := range []struct {
		name, script string
		status       int
	}{
		{"not found", checkout, http.StatusNotFound},
		{"gone", checkout, http.StatusGone},
		{"forbidden", checkout, http.StatusForbidden},
		{"broken", recipe, http.StatusInternalServerError},
		{"silent", nobody, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh(t, c.script, filepath.Join(t.TempDir(), "caddy"), "XCADDY_SKIP_BUILD=1", "GOPROXY="+moduleProxy(t, c.status))
		})
	}
}

// buildCommand is the command of the Dockerfile that builds Caddy, in this checkout.
func buildCommand(t *testing.T, binary string) string {
	t.Helper()
	file := strings.ReplaceAll(string(served.ReadFile(t, filepath.Join(served.RepoRoot, "Dockerfile"))), "\\\n", " ")
	for line := range strings.Lines(file) {
		if command, is := strings.CutPrefix(line, "RUN go run "); is {
			require.Contains(t, command, "xcaddy@"+xcaddyVersion)
			command = strings.Replace(command, "=/src ", "=. ", 1)
			require.Contains(t, command, "--output /out/caddy")
			return strings.Replace("go run "+command, "/out/caddy", "'"+binary+"'", 1)
		}
	}
	require.Fail(t, "the Dockerfile builds nothing")
	return ""
}

// TestXcaddyBuild: what the Dockerfile builds has every module.
func TestXcaddyBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a whole Caddy")
	}
	binary := filepath.Join(t.TempDir(), "caddy")
	sh(t, buildCommand(t, binary), "", "GOPROXY="+moduleProxy(t, http.StatusForbidden))
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
