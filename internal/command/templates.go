// templates.go: `caddy registration templates`.

package command

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/templates"
)

func (c *common) templates() *cobra.Command {
	return &cobra.Command{
		Use: "templates <folder> [<name>...]", Short: "Writes the built-in mails, pages and catalogues into a folder, to be changed", Args: cobra.MinimumNArgs(1),
		Long: `
Writes the built-in templates into a folder: each mail in a folder of its own, the
pages in pages, the texts of each language in locales. With names, such as register
or pages/page.html, only those. Files that are there already stay as they are.

What the setting 'templates' names is such a folder. Keep in it only what you have
changed: all else comes from the program, and goes with its updates. Caddy reads the
files at a start, and at 'caddy reload --force'.
`,
		Example: "  $ caddy registration templates /etc/caddy/templates register pages/style.css\n  $ caddy registration templates /tmp/all",
		RunE: func(cmd *cobra.Command, args []string) error {
			wrote, kept, err := writeTemplates(args[0], args[1:])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files were written into %s, and %d that were there have stayed.\n", wrote, args[0], kept)
			return err
		},
	}
}

// writeTemplates writes what is named of the built-in templates, without names all.
func writeTemplates(folder string, names []string) (wrote, kept int, err error) {
	used := make([]bool, len(names))
	err = fs.WalkDir(templates.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		wanted := len(names) == 0
		for i, n := range names {
			if n = path.Clean(filepath.ToSlash(n)); n == name || strings.HasPrefix(name, n+"/") {
				wanted, used[i] = true, true
			}
		}
		if !wanted {
			return nil
		}
		to := filepath.Join(folder, filepath.FromSlash(name))
		if _, err := os.Lstat(to); err == nil {
			kept++
			return nil
		}
		contents, err := templates.FS.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // they are no secret, and Caddy may be another user
			return err
		}
		wrote++
		return os.WriteFile(to, contents, 0o644) //nolint:gosec // as above
	})
	if i := slices.Index(used, false); err == nil && i >= 0 {
		err = fmt.Errorf("there is no built-in template %q; without names, all are written", names[i])
	}
	return wrote, kept, err
}
