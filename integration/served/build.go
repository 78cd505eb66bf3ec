// build.go: Caddy is built once for all packages of these tests.

package served

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ModulePath is the plugin's module.
const ModulePath = "github.com/seed-928992b0/caddy-registration"

var (
	// RepoRoot is the folder of the module, absolute.
	RepoRoot string
	caddyBin string
	// coverDir is where a Caddy built for coverage leaves its counters; "": none.
	coverDir string
)

// Main builds Caddy and runs the tests; it is what TestMain of each package calls.
// The packages share the binary, in dist/served: the first builds it, and the others
// find that it is up to date.
func Main(m *testing.M) int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	return m.Run()
}

// Binary is the Caddy under test.
func Binary() string { return caddyBin }

func prepare() (err error) {
	if RepoRoot, err = findRoot(); err != nil {
		return err
	}
	if caddyBin = os.Getenv("REGISTRATION_CADDY"); caddyBin != "" {
		return nil
	}
	caddyBin = filepath.Join(RepoRoot, "dist", "served", "caddy")
	args := []string{"build"}
	if coverDir = os.Getenv("REGISTRATION_COVERDIR"); coverDir != "" {
		if !filepath.IsAbs(coverDir) {
			return errors.New("REGISTRATION_COVERDIR must be absolute: each package has its own working directory")
		}
		if err := os.MkdirAll(coverDir, 0o755); err != nil {
			return err
		}
		caddyBin += "-cover"
		// Atomic, as the tests' own counters are under the race detector: else the
		// two can't be merged.
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg="+ModulePath+"/...")
	}
	if err := os.MkdirAll(filepath.Dir(caddyBin), 0o755); err != nil {
		return err
	}
	unlock, err := lock(caddyBin + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	build := exec.Command("go", append(args, "-o", caddyBin, "./cmd/caddy")...)
	build.Dir = RepoRoot
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return nil
}

// findRoot looks for our go.mod in the working directory and above it; a module of tests
// alone has one of its own.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && bytes.HasPrefix(mod, []byte("module "+ModulePath+"\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = parent
	}
}
