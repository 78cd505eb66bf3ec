// list.go: `caddy registration list` and `show`: accounts, to read.

package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (c *common) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the accounts", Args: cobra.NoArgs,
		RunE: c.run(func(cmd *cobra.Command, _ []string) (err error) {
			res, err := c.ask(cmd.Context(), http.MethodGet, c.path("users"), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			out := cmd.OutOrStdout()
			if c.flags.JSON {
				_, err = io.Copy(out, res.Body)
				return err
			}
			table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "USERNAME\tE-MAIL\tGROUPS\tJOINED")
			lines := bufio.NewScanner(res.Body)
			lines.Buffer(nil, 16<<20)
			for lines.Scan() {
				var u listed
				if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", u.Username, u.Email, strings.Join(u.Groups, " "), u.DateJoined)
			}
			if err := lines.Err(); err != nil {
				return fmt.Errorf("the list broke off: %w", err)
			}
			return table.Flush()
		}),
	}
}

// listed is what the table shows of an account.
type listed struct {
	Username, Email string
	Groups          []string
	DateJoined      string `json:"date_joined"`
}

func (c *common) show() *cobra.Command {
	return &cobra.Command{
		Use: "show <account>", Short: "Shows one account, by its username, e-mail address or id", Args: cobra.ExactArgs(1),
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			res, err := c.ask(cmd.Context(), http.MethodGet, c.account(args[0], ""), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			_, err = io.Copy(cmd.OutOrStdout(), res.Body)
			return err
		}),
	}
}

func (c *common) signIns() *cobra.Command {
	return &cobra.Command{
		Use: "sessions <account>", Short: "Lists the sign-ins of an account", Args: cobra.ExactArgs(1),
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			res, err := c.ask(cmd.Context(), http.MethodGet, c.account(args[0], "sessions"), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			_, err = io.Copy(cmd.OutOrStdout(), res.Body)
			return err
		}),
	}
}
