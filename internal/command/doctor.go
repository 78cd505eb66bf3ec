// doctor.go: `caddy registration doctor`.

package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// finding is one thing that the doctor has looked at.
type finding struct {
	Level   string `json:"level"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
}

// levels of findings, the worst first, as they are told.
var levels = []string{"fault", "advice", "fine"}

// errFault is the exit code where something is wrong.
const errFault = ExitError(2)

func (c *common) doctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Says what is wrong or unwise, and what to write", Args: cobra.NoArgs,
		Long: `
Looks at where the accounts are and what guards them, at the settings, the store,
the mail, the clock and the proxies before the server, and says what is wrong or
unwise, each with the line to write into the Caddyfile or the command to run.

The exit code is 0 where nothing is wrong (there may be advice), 1 where it could
not look, and 2 where it found a fault.
`,
		Example: "  $ caddy registration doctor\n  $ caddy registration doctor --json | jq 'select(.level == \"fault\")'",
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			res, err := c.ask(cmd.Context(), http.MethodGet, c.path("doctor"), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			var answer struct{ Findings []finding }
			if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
				return fmt.Errorf("the answer can't be read: %w", err)
			}
			slices.SortStableFunc(answer.Findings, func(a, b finding) int {
				return slices.Index(levels, a.Level) - slices.Index(levels, b.Level)
			})
			for _, f := range answer.Findings {
				if err := c.sayFinding(cmd, f); err != nil {
					return err
				}
			}
			if len(answer.Findings) > 0 && answer.Findings[0].Level == levels[0] {
				return errFault
			}
			return nil
		}),
	}
}

// sayFinding prints one: on a terminal what to write stands below it.
func (c *common) sayFinding(cmd *cobra.Command, f finding) error {
	out := cmd.OutOrStdout()
	if c.flags.JSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false) // a line to write has <name> in it
		return enc.Encode(f)
	}
	_, columns := terminal(out)
	return f.print(out, columns)
}

func (f *finding) print(out io.Writer, columns bool) error {
	message, mend := printable(f.Message), printable(f.Mend)
	if !columns {
		_, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", f.Level, f.Code, message, mend)
		return err
	}
	_, err := fmt.Fprintf(out, "%-6s  %s\n", f.Level, message)
	if err == nil && mend != "" {
		for i, line := range strings.Split(strings.ReplaceAll(f.Mend, "\t", "  "), "\n") {
			if _, err = fmt.Fprintf(out, "%-6s  %s %s\n", "", cmp.Or(map[int]string{0: "->"}[i], "  "), printable(line)); err != nil {
				break
			}
		}
	}
	return err
}
