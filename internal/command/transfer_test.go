// transfer_test.go: `export` and `import`: what they ask for, what they say, and what
// they leave where something fails.

package command

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// sendsExport answers an export of so many bytes as it says.
func sendsExport(body io.Reader, size string) *scripted {
	return &scripted{answers: []func(*http.Request) (*http.Response, error){func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: req, Header: http.Header{"Content-Length": {size}, "Accounts": {"2"}}}, nil
	}}}
}

func TestExportWritesAFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "accounts.ndjson")
	m := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, "some\nlines\n" }}
	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"2"}}
	out, errs, err := m.run(t, "", "export", "--with-hashes", file)
	require.NoError(t, err, errs)
	require.Equal(t, file+" has 2 accounts.\n", out)
	require.Equal(t, []string{"GET default/export?format=ndjson&with_hashes=1"}, m.asked)
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "some\nlines\n", string(written))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	requireOnly(t, dir, "accounts.ndjson")

	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"1"}}
	out, errs, err = m.run(t, "", "export", "--format", "csv")
	require.NoError(t, err, errs)
	require.Equal(t, "some\nlines\n", out)
	require.Equal(t, "GET default/export?format=csv", m.asked[1])

	m.header = http.Header{"Content-Length": {"11"}, "Accounts": {"1"}}
	out, _, err = m.run(t, "", "export", "--json", file)
	require.NoError(t, err)
	require.JSONEq(t, `{"file": `+strconv.Quote(file)+`, "accounts": 1, "size": 11}`, out)
}

// A file that is there stays whole where an export fails.
func TestExportsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		body io.Reader
		size string
		says string
	}{
		"too few bytes": {strings.NewReader("some"), "11", "broke off after 4 of 11 bytes"},
		"a broken line": {io.MultiReader(strings.NewReader("some"), iotest.ErrReader(errors.New("gone"))), "11", "the export broke off: gone"},
		"no length":     {strings.NewReader("some"), "", "doesn't say how long"},
		"no room":       {strings.NewReader("some"), "9000000000000000000", "there is no room"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "accounts.ndjson")
			require.NoError(t, os.WriteFile(file, []byte("before"), 0o600))
			_, _, err := runs(t.Context(), sendsExport(c.body, c.size), "export", file)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "; nothing was written")
			requireOnly(t, dir, "accounts.ndjson")
			written, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, "before", string(written))
		})
	}
	_, _, err := runs(t.Context(), sendsExport(nil, "0"), "export", t.TempDir())
	require.ErrorContains(t, err, "is not a file")
	_, _, err = runs(t.Context(), sendsExport(nil, "0"), "export", "/nowhere/at/all/file")
	require.ErrorContains(t, err, "can't be written")
	refuses := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusBadRequest, `{"error": "no"}` }}
	_, _, err = refuses.run(t, "", "export", "--format", "xml")
	require.EqualError(t, err, "no")
}
