// node.go: programs of npm that tests ask for a second opinion. They are
// in integration/web; nothing of it is in the product.

package served

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// WebDir is where npm has installed what integration/web/package.json names. A
// machine without Node or without it skips the test; CI must not.
func WebDir(t testing.TB, module string) string {
	t.Helper()
	dir := filepath.Join(RepoRoot, "integration", "web")
	_, nodeErr := exec.LookPath("node")
	_, moduleErr := os.Stat(filepath.Join(dir, "node_modules", filepath.FromSlash(module)))
	if nodeErr != nil || moduleErr != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("node, or %s in integration/web/node_modules, is missing, and CI must not go without (npm ci --prefix integration/web)", module)
		}
		t.Skipf("node, or %s in integration/web/node_modules, is missing: npm ci --prefix integration/web", module)
	}
	return dir
}

// Node runs a program of integration/web and returns what it writes.
func Node(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("node", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "node %v:\n%s", args, out)
	return string(out)
}
