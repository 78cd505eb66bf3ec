// transfer.go: `caddy registration export` and `import`.

package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
)

// importFormats are those of the server, which says so too.
var importFormats = []string{"ndjson", "csv", "htpasswd", "django", "authelia", "caddy-security", "wordpress", "firebase", "supabase", "keycloak"}

func (c *common) imports() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import <file>", Short: "Takes the accounts of a file in, which another system or 'export' has written", Args: cobra.ExactArgs(1),
		Long: `
Takes the accounts of a file in; - is the standard input. What is said of each account
stays as it is: the names, groups, dates and passwords, by which people sign in as
before. Nobody is mailed.

It says by line what could not be taken, and why, and then by reason how many. With
--dry-run it says just that and changes nothing: run it so first.

Accounts that are there already stay as they are, so that a second run changes
nothing, and one that was broken off goes on where it is run again. With --update
their names, groups, staff and added fields become those of the file, and whoever is
disabled there is disabled; what people sign in with stays.

docs/moving/README.md has what is kept, and a recipe for each system.
`,
		Example: "  $ caddy registration import --dry-run users.csv\n" +
			"  $ caddy registration import --format django --group members users.json\n" +
			"  $ caddy registration export --with-hashes | caddy registration import --format ndjson --config other.caddyfile -",
	}
	f := cmd.Flags()
	f.String("format", "", "The `format`: "+strings.Join(importFormats, ", ")+"; if it isn't given, what the file's name says")
	f.Bool("dry-run", false, "Say what would happen, and change nothing")
	f.Bool("update", false, "Change accounts that are there already")
	f.String("group", "", "The `name` of a group that all of them are added to")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(importFormats, cobra.ShellCompDirectiveNoFileComp)) // the flags are there
	_ = cmd.RegisterFlagCompletionFunc("group", cobra.NoFileCompletions)
	cmd.RunE = c.making(func(cmd *cobra.Command, args []string) error {
		query, err := importQuery(cmd, args[0])
		if err != nil {
			return err
		}
		in, size := cmd.InOrStdin(), int64(0)
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			info, err := file.Stat()
			if err != nil {
				return err
			}
			if info.IsDir() {
				return fmt.Errorf("%s is a folder; name a file", args[0])
			}
			in, size = file, info.Size()
		}
		return c.sendFile(cmd, query, in, size)
	})
	return cmd
}

// importQuery is what the flags ask for.
func importQuery(cmd *cobra.Command, file string) (url.Values, error) {
	flags, query := cmd.Flags(), url.Values{}
	format, _ := flags.GetString("format") // the flags are there
	if format == "" {
		if format = formatOf(file); format == "" {
			return nil, fmt.Errorf("the name of the file doesn't say what it is; write --format and one of %s", strings.Join(importFormats, ", "))
		}
	}
	query.Set("format", format)
	for _, name := range []string{"dry-run", "update"} {
		if on, _ := flags.GetBool(name); on {
			query.Set(strings.ReplaceAll(name, "-", "_"), "1")
		}
	}
	if group, _ := flags.GetString("group"); group != "" {
		query.Set("group", group)
	}
	return query, nil
}

// formatOf is the format that a file's name speaks of; empty: none.
func formatOf(file string) string {
	name := strings.ToLower(filepath.Base(file))
	switch ext := filepath.Ext(name); {
	case ext == ".ndjson", ext == ".jsonl":
		return "ndjson"
	case ext == ".csv", ext == ".tsv":
		return "csv"
	case strings.Contains(name, "htpasswd"):
		return "htpasswd"
	case name == "users_database.yml", name == "users_database.yaml":
		return "authelia"
	}
	return ""
}

// The lines that an import answers.
type (
	importLine struct {
		Progress *struct{ Done, Of, Accounts, Hashed int64 }
		Remark   *importRemark
		Report   *importReport
		Error    string
	}
	importRemark struct {
		Line                                int
		Account, Fate, Field, Code, Message string
	}
	importReport struct {
		DryRun                                                     bool `json:"dry_run"`
		Added, Updated, Unchanged, Different, Refused, Invitations int
		Audits, Mended                                             int
		LeftNames                                                  int `json:"left_names"`
		Reasons                                                    []importReason
		Notes                                                      []string
		Error                                                      string
	}
	importReason struct {
		Fate, Field, Code, Message string
		Count                      int
		Lines                      []int
		Accounts                   []string
	}
)

// sendFile sends a file to be imported, and says what the server says of it.
func (c *common) sendFile(cmd *cobra.Command, query url.Values, in io.Reader, size int64) error {
	progress := newProgress(cmd.ErrOrStderr(), time.Now)
	defer progress.end()
	sent := &sending{Reader: in, of: size, progress: progress}
	res, err := c.send(cmd.Context(), http.MethodPost, c.path("import")+"?"+query.Encode(), sent, "application/octet-stream")
	dry := query.Has("dry_run")
	if gone := (*url.Error)(nil); errors.As(err, &gone) { // it may have begun
		return goOn(cmd.Context(), 0, dry, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	c.wrote = !dry
	accounts := int64(0)
	progress.restart()
	var report *importReport
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	for report == nil {
		raw, err := lines.ReadBytes('\n')
		if err != nil {
			return goOn(cmd.Context(), accounts, dry, err)
		}
		var line importLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return fmt.Errorf("the answer can't be read: %w", err)
		}
		switch {
		case line.Error != "":
			return goOn(cmd.Context(), accounts, dry, errors.New(line.Error))
		case line.Progress != nil:
			accounts = line.Progress.Accounts
			progress.accounts(line.Progress.Done, line.Progress.Of, accounts, line.Progress.Hashed)
			continue
		}
		if report = line.Report; report != nil {
			progress.end()
		}
		if err := c.sayLine(cmd, raw, line.Remark, progress); err != nil {
			return err
		}
	}
	return c.sayReport(cmd, report)
}

// goOn says how far an import was that has broken off, and what to do.
func goOn(ctx context.Context, accounts int64, dry bool, err error) error {
	if ctx.Err() != nil {
		err = errInterrupted
	} else if errors.Is(err, io.EOF) {
		err = errors.New("the answer broke off; is the server still there?")
	}
	if dry {
		return fmt.Errorf("%w; nothing has been changed", err)
	}
	return fmt.Errorf("%w; the first %s have been seen to, and the same command goes on from there", err, english(int(accounts), "account"))
}

// sayLine prints what the server says of a line of the file: with --json as it came, in a
// pipe plainly. On a terminal the report has it.
func (c *common) sayLine(cmd *cobra.Command, raw []byte, r *importRemark, progress *progress) error {
	if c.flags.JSON {
		_, err := cmd.OutOrStdout().Write(raw)
		return err
	}
	if r == nil || progress.out != nil {
		return nil
	}
	what := r.Message
	if r.Field != "" {
		what = r.Field + ": " + what
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d\t%s\t%s\t%s\t%s\n", r.Line, printable(r.Account), r.Fate, r.Code, printable(what))
	return err
}

// sayReport says what became of the file. That something was refused is exit code 1.
func (c *common) sayReport(cmd *cobra.Command, r *importReport) error {
	failed := error(nil)
	switch {
	case r.Error != "" && r.Added+r.Updated+r.Unchanged+r.Different+r.Refused == 0:
		failed = fmt.Errorf("nobody was taken: %s", r.Error)
	case r.Error != "":
		failed = fmt.Errorf("the rest of the file could not be read: %s", r.Error)
	case r.Refused > 0:
		failed = fmt.Errorf("%s of the file could not be taken; correct them and run it again", english(r.Refused, "account"))
	}
	if c.flags.JSON {
		return failed
	}
	out := cmd.OutOrStdout()
	var last error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(out, format, args...)
		last = errors.Join(last, err)
	}
	for _, reason := range r.Reasons {
		field := ""
		if reason.Field != "" {
			field = printable(reason.Field) + ": "
		}
		say("%s, %s: %s%s (%s)\n", english(reason.Count, "account"), reason.Fate, field, printable(reason.Message), strings.Join(reason.numbers(), ", "))
	}
	verb := "have been"
	switch {
	case r.DryRun:
		verb = "would be"
	case r.Added == 1:
		verb = "has been"
	}
	say("%s %s added, %d changed; %d are there with the same, %d with other values; %d refused.\n", english(r.Added, "account"), verb, r.Updated, r.Unchanged, r.Different, r.Refused)
	if r.Invitations+r.LeftNames > 0 {
		if verb == "has been" {
			verb = "have been"
		}
		say("%s and %s that were left %s added.\n", english(r.Invitations, "invitation"), english(r.LeftNames, "name"), verb)
	}
	if r.Audits > 0 {
		say("%s of the record of acts %s added.\n", english(r.Audits, "row"), map[bool]string{true: "would be", false: "have been"}[r.DryRun])
	}
	if r.Mended > 0 {
		can := "can be checked from now on, as the file has their key"
		if r.DryRun {
			can = "could be checked then, as the file has their key"
		}
		say("The codes of %s that could not be checked %s.\n", english(r.Mended, "account"), can)
	}
	for _, note := range r.Notes {
		say("%s.\n", printable(note))
	}
	return errors.Join(last, failed)
}

// numbers are the lines of a reason in words, with the accounts where a line has several.
func (r *importReason) numbers() (words []string) {
	for i, line := range r.Lines {
		word := strconv.Itoa(line)
		if i < len(r.Accounts) && r.Accounts[i] != "" {
			word += " " + printable(r.Accounts[i])
		}
		if i == 0 {
			word = "line " + word
		}
		words = append(words, word)
	}
	if more := r.Count - len(r.Lines); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return words
}

// sending says how much of a file is sent.
type sending struct {
	io.Reader
	done, of int64
	progress *progress
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.done += int64(n)
	s.progress.at(s.done, s.of)
	return n, err
}

// exported is what `export` says.
type exported struct {
	File     string `json:"file,omitempty"`
	Accounts int    `json:"accounts"`
	Size     int64  `json:"size"`
	// SealedFactors are the accounts whose second step stays behind.
	SealedFactors int `json:"sealed_factors,omitempty"`
}

// note says what an export doesn't have, where one would expect it.
func (e *exported) note(to io.Writer) {
	if e.SealedFactors > 0 {
		_, _ = fmt.Fprintf(to, "The second step of %s opens in this store alone: the realm has no secret outside of it. Configure one, and export again to take them along.\n", english(e.SealedFactors, "account"))
	}
}

var exportFormats = []string{"ndjson", "csv", "django"}

func (c *common) export() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export [<file>]", Short: "Writes all accounts of a realm into a file, for a program to read", Args: cobra.MaximumNArgs(1),
		Long: `
Writes all accounts into a file that its owner alone can read, or, without one or with
-, to the standard output: as they are at one moment, while the server goes on.

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
	f.Bool("with-audit", false, "With the record of acts, in ndjson")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		if format, err := cmd.Flags().GetString("format"); err == nil {
			query.Set("format", format)
		}
		for _, name := range []string{"with-hashes", "with-audit"} {
			if with, err := cmd.Flags().GetBool(name); err == nil && with {
				query.Set(strings.ReplaceAll(name, "-", "_"), "1")
			}
		}
		progress := newProgress(cmd.ErrOrStderr(), time.Now)
		if len(args) == 0 || args[0] == "-" {
			got, err := c.fetchExport(cmd.Context(), progress, query, cmd.OutOrStdout(), func(int64) error { return nil })
			if err == nil {
				got.note(cmd.ErrOrStderr())
			}
			return err
		}
		got, err := c.exportInto(cmd.Context(), progress, query, args[0])
		if err != nil {
			return fmt.Errorf("%w; nothing was written", err)
		}
		got.note(cmd.ErrOrStderr())
		return c.done(cmd, got, "%s has %s.", got.File, english(got.Accounts, "account"))
	})
	return cmd
}

// exportInto writes an export to a file, which is there as a whole or not at all.
func (c *common) exportInto(ctx context.Context, progress *progress, query url.Values, path string) (got exported, err error) {
	out, err := begin(path)
	if err != nil {
		return got, err
	}
	defer out.Abandon()
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
	got.SealedFactors, _ = strconv.Atoi(res.Header.Get("Sealed-Factors")) // 0 where it isn't there
	if err := room(got.Size); err != nil {
		return got, err
	}
	defer progress.end()
	done, err := copyAll(ctx, out, res.Body, got.Size, progress)
	switch {
	case err != nil:
		return got, brokeOff("export", err)
	case done != got.Size:
		return got, fmt.Errorf("the export broke off after %d of %d bytes", done, got.Size)
	}
	return got, nil
}
