// transfer.go: `caddy registration export` and `import`.

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
)

// exported is what `export` says.
type exported struct {
	File     string `json:"file,omitempty"`
	Accounts int    `json:"accounts"`
	Size     int64  `json:"size"`
}

var exportFormats = []string{"ndjson", "csv", "django"}

func (c *common) export() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export [<file>]", Short: "Writes all accounts of a realm into a file, for a program to read", Args: cobra.MaximumNArgs(1),
		Long: `
Writes all accounts into a file that its owner alone can read, or, without one, to
the standard output: as they are at one moment, while the server goes on.

With --format ndjson, a JSON object a line, everything is in it that is kept of an
account; 'import' takes it into another realm. It needs --with-hashes so that people
can sign in there, and the same 'secret' so that what was mailed to them goes on to
work. --format csv is a table, and --format django what Django's loaddata takes;
both have what their fields say, and no more.
`,
		Example: "  $ caddy registration export --with-hashes accounts.ndjson\n" +
			"  $ caddy registration export --format csv > accounts.csv\n" +
			"  $ caddy registration export --format django --with-hashes accounts.json",
	}
	f := cmd.Flags()
	f.String("format", exportFormats[0], "The `format`: ndjson, csv or django")
	f.Bool("with-hashes", false, "With the hashes of the passwords: who has them can try out passwords")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		if format, err := cmd.Flags().GetString("format"); err == nil {
			query.Set("format", format)
		}
		if with, err := cmd.Flags().GetBool("with-hashes"); err == nil && with {
			query.Set("with_hashes", "1")
		}
		progress := newProgress(cmd.ErrOrStderr(), time.Now)
		if len(args) == 0 {
			_, err := c.fetchExport(cmd.Context(), progress, query, cmd.OutOrStdout(), func(int64) error { return nil })
			return err
		}
		got, err := c.exportInto(cmd.Context(), progress, query, args[0])
		if err != nil {
			return fmt.Errorf("%w; nothing was written", err)
		}
		return c.done(cmd, got, "%s has %s.", got.File, english(got.Accounts, "account"))
	})
	return cmd
}

// exportInto writes an export to a file, which is there as a whole or not at all.
func (c *common) exportInto(ctx context.Context, progress *progress, query url.Values, path string) (got exported, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return got, fmt.Errorf("%s is not a file; name one", path)
	}
	if err := wholefile.Sweep(path); err != nil { // of one that was killed
		return got, err
	}
	out, err := wholefile.Create(path)
	if err != nil {
		return got, err
	}
	defer out.Abandon()
	out.Lock()
	got, err = c.fetchExport(ctx, progress, query, out, func(size int64) error { return wholefile.Room(filepath.Dir(path), size) })
	if err != nil {
		return got, err
	}
	got.File = path
	return got, out.Commit()
}

// fetchExport copies an export to out, once room has said that it may begin.
func (c *common) fetchExport(ctx context.Context, progress *progress, query url.Values, out io.Writer, room func(size int64) error) (got exported, err error) {
	res, err := c.ask(ctx, http.MethodGet, c.path("export")+"?"+query.Encode(), nil)
	if err != nil {
		return got, err
	}
	defer func() { _ = res.Body.Close() }()
	got.Size, err = strconv.ParseInt(res.Header.Get("Content-Length"), 10, 64)
	if err != nil {
		return got, fmt.Errorf("the server doesn't say how long the export is: %w", err)
	}
	got.Accounts, _ = strconv.Atoi(res.Header.Get("Accounts"))
	if err := room(got.Size); err != nil {
		return got, err
	}
	defer progress.end()
	done := int64(0)
	for err == nil {
		var n int64
		n, err = io.CopyN(out, res.Body, 256<<10)
		done += n
		progress.at(done, got.Size)
	}
	switch {
	case ctx.Err() != nil:
		return got, errInterrupted
	case !errors.Is(err, io.EOF):
		return got, fmt.Errorf("the export broke off: %w", err)
	case done != got.Size:
		return got, fmt.Errorf("the export broke off after %d of %d bytes", done, got.Size)
	}
	return got, nil
}
