// layers_test.go: the walls of the house, kept by what `go list` says: who imports
// whom, and how large a package, a file and a function may be.

package registration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// floors has every package of the module, the lowest floor first. A package imports
// only from floors below its own. The table is the plan: it changes in a commit of
// its own.
var floors = [][]string{
	{"templates", "store", "mail", "internal/password", "internal/breach", "internal/setting", "internal/identity", "internal/names", "internal/hostname", "internal/origin", "internal/siting", "internal/boundconn", "internal/steady", "internal/apicheck", "internal/softkey", "internal/again", "internal/jsonpaths", "internal/wholefile"},
	{"store/bolt", "store/storetest", "mail/smtp", "internal/text", "internal/sign", "internal/budget", "internal/audit", "internal/langtest", "internal/backup", "internal/moving"},
	{"internal/refusal", "internal/outbox", "internal/command"},
	{"internal/field", "internal/session", "internal/doctor", "internal/factor"},
	{"internal/account"},
	{"internal/letter", "internal/web", "internal/transfer"},
	{"internal/web/signup", "internal/web/signin", "internal/web/self", "internal/web/factors", "internal/web/owner", "internal/web/adminapi", "internal/inside"},
	{""},
	{"internal/sitetest", "cmd/caddy", "bench", "integration/served"},
	{"integration/accounts", "integration/browsers", "integration/config", "integration/faults", "integration/guarded", "integration/mailing", "docs"},
}

// Bounds of the house.
const (
	maxFiles         = 24 // of a package, and again of its tests
	maxLines         = 500
	maxFunctionLines = 80
)

// alone names the packages that may import what stays behind a wall, and all below them.
var alone = map[string][]string{
	"github.com/caddyserver/caddy/v2": {"", "internal/sitetest", "cmd/caddy", "bench"},
	"go.etcd.io/bbolt":                {"store/bolt", "bench"},
}

type listedPackage struct {
	Dir, ImportPath                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string
}

func TestHouse(t *testing.T) {
	const module = "github.com/seed-928992b0/caddy-registration"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,GoFiles,TestGoFiles,XTestGoFiles,Imports", "./...").Output()
	require.NoError(t, err)
	name := func(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }
	floorOf := func(pkg string) int {
		return slices.IndexFunc(floors, func(floor []string) bool { return slices.Contains(floor, pkg) })
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		pkg := name(p.ImportPath)
		floor := floorOf(pkg)
		assert.GreaterOrEqual(t, floor, 0, "%s stands on no floor", p.ImportPath)
		for _, path := range p.Imports {
			if path == module || strings.HasPrefix(path, module+"/") {
				assert.Less(t, floorOf(name(path)), floor, "%q imports %q, which is not below it", pkg, name(path))
			}
			for behind, allowed := range alone {
				if path == behind || strings.HasPrefix(path, behind+"/") {
					assert.Contains(t, allowed, pkg, "%q imports %s", pkg, path)
				}
			}
		}
		assert.LessOrEqual(t, len(p.GoFiles), maxFiles, "files of %q", pkg)
		assert.LessOrEqual(t, len(p.TestGoFiles)+len(p.XTestGoFiles), maxFiles, "test files of %q", pkg)
		if pkg == "internal/langtest" { // a test that several packages run
			continue
		}
		for _, file := range p.GoFiles {
			checkFile(t, filepath.Join(p.Dir, file))
		}
	}
}

func checkFile(t *testing.T, path string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	lines := fset.File(f.FileStart).LineCount()
	assert.LessOrEqual(t, lines, maxLines, "lines of %s", path)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
			assert.LessOrEqual(t, lines, maxFunctionLines, "lines of %s in %s", fn.Name.Name, path)
		}
	}
}
