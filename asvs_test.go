// asvs_test.go: what docs/asvs.md and SECURITY.md cite as a proof is there.

package registration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCitedTestsExist(t *testing.T) {
	have := map[string]bool{}
	defined := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, m := range defined.FindAllStringSubmatch(string(raw), -1) {
			have[m[1]] = true
		}
		return err
	}))
	cited := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+)[`/]")
	for _, page := range []string{"docs/asvs.md", "SECURITY.md"} {
		raw, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range cited.FindAllStringSubmatch(string(raw), -1) {
			require.True(t, have[m[1]], "%s cites %s, which is not there", page, m[1])
		}
		require.NotContains(t, string(raw), "TODO")
	}
	require.Greater(t, len(have), 100)
}

func TestCapabilitiesTableIsThatOfTheTest(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	table, err := os.ReadFile("testdata/capabilities.md")
	require.NoError(t, err)
	require.Contains(t, string(page), "\n\n"+string(table)+"\n", "SECURITY.md, What ends what: it is to be testdata/capabilities.md")
}

// TestEveryCookieIsDescribed: SECURITY.md, Cookies, has all that the code can set.
func TestEveryCookieIsDescribed(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	files, err := filepath.Glob("internal/web/*.go")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`(?m)[Ss]uffix\s*= "(_[a-z]+)"`).FindAllSubmatch(raw, -1) {
			require.Contains(t, string(page), "| `<session>"+string(match[1])+"` |", file)
			found++
		}
	}
	require.GreaterOrEqual(t, found, 10)
}
