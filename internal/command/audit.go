// audit.go: `caddy registration audit`: what was done, by whom, to whom.

package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// auditLast is how many rows are printed where nothing says how many.
	auditLast = 100
	// A follower that was cut off asks again, so often and after such pauses: a server
	// that has loaded a configuration answers at once, one that restarts soon.
	followTries = 40
	followPause = 250 * time.Millisecond
)

// audited is what is printed of a row.
type audited struct {
	Seq                      uint64
	At                       time.Time
	Event, Account, Username string
	Actor, Address           string
	Details                  map[string]string
}

func (c *common) audit() *cobra.Command {
	var account, event, since string
	var limit int
	var follow bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Shows what was done, by whom and to whom, the newest last", Args: cobra.NoArgs,
		Long: `
Shows the record of acts, the newest last: sign-ups and sign-ins, wrong passwords,
changes, and what an administrator did. Without --limit and --since it shows the
last 100. docs/audit.md lists the events.

On a terminal times are the machine's own; in a pipe they are UTC.

--follow goes on with what comes, over a reload of the configuration too, until
Ctrl-C.
`,
		Example: "  $ caddy registration audit --account ada --since 7d\n" +
			"  $ caddy registration audit --event sign_in_failed --follow\n" +
			"  $ caddy registration audit --since 2026-11-01 --json > november.ndjson",
	}
	cmd.Flags().StringVar(&account, "account", "", "Acts on this `account`: its username, e-mail address or id; also the id of one that is gone")
	cmd.Flags().StringVar(&event, "event", "", "This `event`, such as signed_in")
	cmd.Flags().StringVar(&since, "since", "", "From this `time` on: how long ago (24h, 7d), a date (2026-11-01) or a time (2026-11-01T12:00:00Z)")
	cmd.Flags().IntVar(&limit, "limit", auditLast, "How `many`, the last ones; 0: all. With --since all, unless it is given too")
	cmd.Flags().BoolVar(&follow, "follow", false, "Go on with what comes, until Ctrl-C")
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return fmt.Errorf("--limit is %d; write how many, or 0 for all", limit)
		}
		query := url.Values{}
		for name, value := range map[string]string{"account": account, "event": event, "since": since} {
			if value != "" {
				query.Set(name, value)
			}
		}
		chosen := cmd.Flags().Changed("limit")
		if limit > 0 && (chosen || since == "") {
			query.Set("limit", strconv.Itoa(limit))
		}
		t := &auditTable{out: bufio.NewWriter(cmd.OutOrStdout()), json: c.flags.JSON}
		_, t.columns = terminal(cmd.OutOrStdout())
		if follow {
			query.Set("follow", "1")
			return c.followAudit(cmd.Context(), query, t)
		}
		_, err := c.readAudit(cmd.Context(), query, t)
		if err == nil && !chosen && query.Has("limit") && t.rows == auditLast {
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "These are the last %d; --limit 0 shows all.\n", auditLast)
		}
		return err
	})
	return cmd
}

// readAudit prints the rows of one answer, each as it comes. answered is whether there
// was one.
func (c *common) readAudit(ctx context.Context, query url.Values, t *auditTable) (answered bool, err error) {
	res, err := c.ask(ctx, http.MethodGet, c.path("audit")+"?"+query.Encode(), nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := t.begin(); err != nil {
		return true, err
	}
	lines := bufio.NewReader(res.Body)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return true, t.out.Flush()
		case err != nil:
			return true, errors.Join(fmt.Errorf("%w: %w", errBrokeOff, err), t.out.Flush())
		}
		if err := t.print(line); err != nil {
			return true, err
		}
		if lines.Buffered() == 0 {
			if err := t.out.Flush(); err != nil {
				return true, err
			}
		}
	}
}

// errBrokeOff says that an answer has no end.
var errBrokeOff = errors.New("the list broke off")

// followAudit goes on until its context ends. A server that loads a configuration
// cuts it off; it is asked again for what has come since.
func (c *common) followAudit(ctx context.Context, query url.Values, t *auditTable) error {
	for tries := 0; ; {
		answered, err := c.readAudit(ctx, query, t)
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case answered && err != nil && !errors.Is(err, errBrokeOff):
			return err
		case answered:
			tries = followTries
			query.Del("limit")
			query.Set("after", strconv.FormatUint(t.seq, 10))
		case tries == 0: // the first time
			return err
		default:
			if tries--; tries == 0 {
				return fmt.Errorf("the server has stopped: %w", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

// auditTable prints rows of the record: in columns on a terminal, with tabs in a pipe,
// as they came with --json.
type auditTable struct {
	out           *bufio.Writer
	json, columns bool
	begun         bool // the titles are printed
	rows          int
	seq           uint64 // of the last one
}

var auditTitles = []string{"TIME", "EVENT", "ACCOUNT", "BY", "ADDRESS", "DETAILS"}

// auditWidths are those of all columns but the last one, on a terminal. They are not
// measured: a follower prints each row as it comes. Who did it is an id, or admin.
var auditWidths = []int{len(time.DateTime), 22, 16, 36, 15}

// begin prints the titles, once: a follower that is cut off goes on below them.
func (t *auditTable) begin() error {
	if !t.columns || t.json || t.begun {
		return nil
	}
	t.begun = true
	return errors.Join(t.columnsOf(auditTitles), t.out.Flush())
}

func (t *auditTable) print(line []byte) error {
	var row audited
	if err := json.Unmarshal(line, &row); err != nil {
		return fmt.Errorf("the answer can't be read: %w", err)
	}
	t.rows, t.seq = t.rows+1, row.Seq
	if t.json {
		_, err := t.out.Write(line)
		return err
	}
	cells := row.cells(t.columns)
	if !t.columns {
		_, err := t.out.WriteString(strings.Join(cells, "\t") + "\n")
		return err
	}
	return t.columnsOf(cells)
}

// columnsOf prints cells below each other; what follows the last width stands together.
func (t *auditTable) columnsOf(cells []string) error {
	var text strings.Builder
	for i, cell := range cells[:len(auditWidths)] {
		text.WriteString(cell + strings.Repeat(" ", max(auditWidths[i]-wide(cell), 0)+2))
	}
	text.WriteString(strings.Join(cells[len(auditWidths):], " "))
	_, err := t.out.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	return err
}

// cells are time, event, account, actor, address and details; on a terminal by its
// own clock.
func (a *audited) cells(local bool) []string {
	at, whom := a.At.UTC().Format(time.RFC3339), a.Username
	if local {
		at = a.At.Local().Format(time.DateTime)
	}
	if whom == "" {
		whom = a.Account
	}
	cells := []string{at, a.Event, whom, a.Actor, a.Address}
	for _, name := range slices.Sorted(maps.Keys(a.Details)) {
		cells = append(cells, name+"="+a.Details[name])
	}
	for i, cell := range cells {
		if cells[i] = printable(cell); cells[i] == "" && local {
			cells[i] = "-"
		}
	}
	return cells
}
