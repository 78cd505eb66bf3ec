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
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// floors has every package of the module, the lowest floor first. A package imports
// only from floors below its own. The table is the plan: it changes in a commit of
// its own.
var floors = [][]string{
	{"internal/pattern"},
	{"templates", "store", "mail", "internal/password", "internal/breach", "internal/setting", "internal/identity", "internal/names", "internal/hostname", "internal/origin", "internal/siting", "internal/boundconn", "internal/steady", "internal/apicheck", "internal/softkey", "internal/again", "internal/jsonpaths", "internal/wholefile", "internal/token", "internal/pgtest", "internal/oidc", "internal/palette"},
	{"store/record", "store/storetest", "mail/smtp", "internal/text", "internal/sign", "internal/budget", "internal/audit", "internal/langtest", "internal/backup", "internal/moving", "internal/device"},
	{"store/bolt", "store/postgres", "internal/refusal", "internal/outbox", "internal/webhook", "internal/metrics"},
	{"internal/command"},
	{"internal/field", "internal/session", "internal/doctor", "internal/factor"},
	{"internal/account"},
	{"internal/arrival"},
	{"internal/letter", "internal/web", "internal/transfer"},
	{"internal/web/signup", "internal/web/signin", "internal/web/self", "internal/web/factors", "internal/web/owner", "internal/web/authz", "internal/web/adminapi", "internal/inside"},
	{""},
	{"internal/sitetest", "cmd/caddy", "bench", "integration/served"},
	{"integration/accounts", "integration/browsers", "integration/cluster", "integration/config", "integration/faults", "integration/guarded", "integration/mailing", "docs"},
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
	"github.com/jackc/pgx/v5":         {"store/postgres"},
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
			serves := pkg == "" || pkg == "internal/web" || strings.HasPrefix(pkg, "internal/web/") || slices.ContainsFunc(forTests, func(of string) bool { return pkg == of || strings.HasPrefix(pkg, of+"/") })
			checkFile(t, filepath.Join(p.Dir, file), serves)
		}
	}
}

// serving are the names of net/http that only who serves needs; requests and answers a
// client has too.
var serving = []string{"ResponseWriter", "Handler", "HandlerFunc", "Server", "ServeMux", "ListenAndServe", "Serve", "ErrAbortHandler"}

func checkFile(t *testing.T, path string, serves bool) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	lines := fset.File(f.FileStart).LineCount()
	assert.LessOrEqual(t, lines, maxLines, "lines of %s", path)
	ast.Inspect(f, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok && !serves {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == "http" {
				assert.NotContains(t, serving, selector.Sel.Name, "%s has the server's side of net/http", path)
			}
		}
		return true
	})
	checkPatterns(t, f)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
			assert.LessOrEqual(t, lines, maxFunctionLines, "lines of %s in %s", fn.Name.Name, path)
		}
	}
}

// checkPatterns compiles what is compiled when it is first used, by when nobody looks.
func checkPatterns(t *testing.T, f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		of, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, isName := of.X.(*ast.Ident); !isName || x.Name != "pattern" || of.Sel.Name != "Of" {
			return true
		}
		_, err := regexp.Compile(literal(t, call.Args[0]))
		assert.NoError(t, err)
		return true
	})
}

// literal is the text of literals that are added up.
func literal(t *testing.T, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return literal(t, e.X) + literal(t, e.Y)
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		require.NoError(t, err)
		return text
	}
	require.Fail(t, "a pattern is more than literals")
	return ""
}

// unusedOutside are exported names of internal packages that tests of other packages
// read, and nothing else: each with what it is for.
var unusedOutside = []string{
	"internal/account.MethodDeviceKey", "internal/account.RefreshGrace", "internal/session.AccessKeysValue", "internal/session.TokenLength",
	"internal/web.DeviceSuffix", "internal/web.SignUpSuffix", "internal/web.HasSecret", "internal/web.Malformed", "internal/web.Statuses", "internal/text.Shipped",
	// A test that plays the authenticator.
	"internal/factor.Code", "internal/factor.Step", "internal/factor.Period", "internal/factor.RecoveryCodes", "internal/factor.MaxPasskeyAnswer", "internal/factor.ErrSealed",
	"internal/factor.MaxTaken", "internal/factor.ErrTooMany", "internal/factor.MaxParcel", "internal/account.MaxTrustedDevices", "internal/account.MethodTrusted",
	"internal/breach.DefaultURL", "internal/breach.MaxAnswer",
	// What the pool is compared with; the codes are those of package refusal.
	"internal/password.Hash", "internal/password.Verify", "internal/password.NeedsRehash", "internal/password.NewPool", "internal/password.CodeTooShort",
}

// forTests are the packages that only tests use: what they use counts as a test's use.
var forTests = []string{"internal/pgtest", "internal/sitetest", "internal/inside", "internal/langtest", "internal/apicheck", "internal/softkey", "internal/jsonpaths", "bench", "integration", "store/storetest"}

// TestExportsAreUsed: a function, a variable or a constant of an internal package is
// exported for another package, not for its tests: those have an export_test.go, or stand
// beside what they test. A group of constants is exported as a whole.
func TestExportsAreUsed(t *testing.T) {
	const module = "github.com/seed-928992b0/caddy-registration/"
	isTests := func(pkg string) bool {
		return slices.ContainsFunc(forTests, func(of string) bool { return pkg == of || strings.HasPrefix(pkg, of+"/") })
	}
	used := map[string]bool{}
	var groups [][]string // of which one has to be used
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		pkg := filepath.ToSlash(filepath.Dir(path))
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || isTests(pkg) {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		imported := map[string]string{}
		for _, spec := range f.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			if at, ok := strings.CutPrefix(name, module); ok {
				imported[filepath.Base(at)] = at
				if spec.Name != nil {
					imported[spec.Name.Name] = at
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := selector.X.(*ast.Ident); ok {
					used[imported[x.Name]+"."+selector.Sel.Name] = true
				}
			}
			return true
		})
		if strings.HasPrefix(pkg, "internal/") {
			groups = append(groups, exported(f, pkg)...)
		}
		return nil
	}))
	require.NotEmpty(t, groups)
	for _, group := range groups {
		if !slices.ContainsFunc(group, func(name string) bool { return used[name] || slices.Contains(unusedOutside, name) }) {
			t.Errorf("%v: exported, and no other package uses it but for tests", group)
		}
	}
}

// exported are the functions, variables and constants that a file of a package exports,
// those of one group together.
func exported(f *ast.File, pkg string) (groups [][]string) {
	for _, d := range f.Decls {
		var group []string
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				group = append(group, pkg+"."+d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if value, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range value.Names {
						if name.IsExported() {
							group = append(group, pkg+"."+name.Name)
						}
					}
				}
			}
		}
		if len(group) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}
