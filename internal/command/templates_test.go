// templates_test.go: `templates`: what it writes, and what it leaves.

package command

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/templates"
)

func TestTemplatesAreWritten(t *testing.T) {
	all := 0
	require.NoError(t, fs.WalkDir(templates.FS, ".", func(_ string, entry fs.DirEntry, err error) error {
		if !entry.IsDir() {
			all++
		}
		return err
	}))
	folder := filepath.Join(t.TempDir(), "new", "templates")
	mine := filepath.Join(folder, "register", "body.txt")
	require.NoError(t, os.MkdirAll(filepath.Dir(mine), 0o755))
	require.NoError(t, os.WriteFile(mine, []byte("mine"), 0o600))

	wrote, kept, err := writeTemplates(folder, []string{"register/", "pages/style.css"})
	require.NoError(t, err)
	require.Equal(t, []int{3, 1}, []int{wrote, kept})
	contents, err := os.ReadFile(mine)
	require.NoError(t, err)
	require.Equal(t, "mine", string(contents))
	require.NoFileExists(t, filepath.Join(folder, "pages", "page.html"))

	wrote, kept, err = writeTemplates(folder, nil)
	require.NoError(t, err)
	require.Equal(t, []int{all - 4, 4}, []int{wrote, kept})
	require.FileExists(t, filepath.Join(folder, "locales", "en.json"))

	_, _, err = writeTemplates(t.TempDir(), []string{"regsiter"})
	require.ErrorContains(t, err, `no built-in template "regsiter"`)
	_, _, err = writeTemplates(mine, []string{"register"})
	require.Error(t, err, "a file is no folder")
}
