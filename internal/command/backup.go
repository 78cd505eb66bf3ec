// backup.go: `caddy registration backup` and `restore`.

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// StoreFile finds the bbolt file of a realm that no server runs. Where one does, it
// returns an error.
type StoreFile func(ctx context.Context, flags *Flags) (path string, err error)

// backedUp is what the two commands say.
type backedUp struct {
	File     string   `json:"file"`
	Realms   []string `json:"realms"`
	Accounts int      `json:"accounts"`
	Size     int64    `json:"size"`
	Kept     string   `json:"kept,omitempty"`
}

func (c *common) backup() *cobra.Command {
	return &cobra.Command{
		Use: "backup <file>", Short: "Writes a copy of all accounts, of all realms in the store, into a file", Args: cobra.ExactArgs(1),
		Long: `
Writes a copy of the store into a file that its owner alone can read, while the
server goes on. It has every account that was acknowledged before. The file is
written beside its place, read back and then put there; if anything fails, what
was there before stays.
`,
		Example: "  $ caddy registration backup /var/backups/registration.db",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			contents, err := c.fetchBackup(cmd.Context(), newProgress(cmd.ErrOrStderr(), time.Now), args[0])
			if err != nil {
				switch info, gone := os.Stat(args[0]); {
				case gone == nil && !info.Mode().IsRegular():
					return err // has said so
				case gone == nil:
					return fmt.Errorf("%w; %s is still the one from before", err, args[0])
				}
				return fmt.Errorf("%w; nothing was written", err)
			}
			return c.sayBackup(cmd, "{file} has {what}.", backedUp{args[0], contents.Realms, contents.Accounts, contents.Size, ""})
		}),
	}
}

func (c *common) fetchBackup(ctx context.Context, progress *progress, path string) (contents bolt.Contents, err error) {
	out, err := begin(path) // before the server is asked, which may be long at work
	if err != nil {
		return contents, err
	}
	defer out.Abandon()
	res, err := c.ask(ctx, http.MethodGet, c.path("backup"), nil)
	if err != nil {
		return contents, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := wholefile.Room(filepath.Dir(path), res.ContentLength); err != nil {
		return contents, err
	}
	defer progress.end()
	if _, err := copyAll(ctx, out, res.Body, res.ContentLength, progress); err != nil {
		return contents, brokeOff("backup", err)
	}
	if err := out.Sync(); err != nil {
		return contents, err
	}
	if contents, err = bolt.Verify(out.Name()); err != nil {
		return contents, fmt.Errorf("what was written could not be read back: %w", err)
	}
	return contents, out.Rename()
}

func (c *common) restore() *cobra.Command {
	return &cobra.Command{
		Use: "restore <file>", Short: "Puts a backup in the place of the store, while no server runs", Args: cobra.ExactArgs(1),
		Long: `
Reads a backup, all of it, and puts a copy in the place of the store, which is the
configuration's or the one that --store names. The former one stays beside it.
Stop the server first.
`,
		Example: "  $ caddy registration restore /var/backups/registration.db --config /etc/caddy/Caddyfile\n" +
			"  $ caddy registration restore backup.db --store /var/lib/caddy/registration.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			path, err := c.storeFile(cmd.Context(), &c.flags)
			if err != nil {
				return err
			}
			give := GiveToFolder(path)
			progress := newProgress(cmd.ErrOrStderr(), time.Now)
			restored, err := bolt.Restore(path, args[0], time.Now(), progress.at)
			progress.end()
			if err = errors.Join(err, give()); err != nil {
				return fmt.Errorf("nothing has been restored: %w", err)
			}
			sentence := "{file} has {what} now."
			if restored.Kept != "" {
				sentence += " What was there before is {kept}."
			}
			return c.sayBackup(cmd, sentence, backedUp{path, restored.Realms, restored.Accounts, restored.Size, restored.Kept})
		},
	}
}

func (c *common) sayBackup(cmd *cobra.Command, sentence string, b backedUp) error {
	if c.flags.JSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
	}
	what := fmt.Sprintf("%s in %s, %s", english(b.Accounts, "account"), english(len(b.Realms), "realm"), humanize.IBytes(uint64(b.Size))) //nolint:gosec // not negative
	_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.NewReplacer("{file}", b.File, "{what}", what, "{kept}", b.Kept).Replace(sentence))
	return err
}

// english counts things.
func english(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
