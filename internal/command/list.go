// list.go: `caddy registration list`, `show` and `sessions`: accounts, to read.

package command

import (
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (c *common) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Lists the accounts", Args: cobra.NoArgs,
		Long: "\nLists all accounts, in the order in which they were made.\n", Example: "  $ caddy registration list\n  $ caddy registration list --json | jq -r .email",
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			return printLines(c, cmd, c.path("users"), []string{"USERNAME", "E-MAIL", "GROUPS", "JOINED"}, func(u *listed) []string {
				return []string{u.Username, u.Email, strings.Join(u.Groups, " "), u.DateJoined}
			})
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
		Long: "\nShows one account, by its username, its e-mail address or its id.\n", Example: "  $ caddy registration show ada",
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
		Long: "\nLists the sign-ins of an account: sessions of browsers and tokens of programs, each\nwith the address and the program that it was last used from.\n", Example: "  $ caddy registration sessions ada",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			return printLines(c, cmd, c.account(args[0], "sessions"), []string{"KIND", "BEGAN", "LAST USED", "ENDS", "ADDRESS", "PROGRAM"}, func(s *signIn) []string {
				return []string{s.Kind, s.Created, s.LastUsed, s.Expires, s.Address, s.UserAgent}
			})
		}),
	}
}

// signIn is what the table shows of a sign-in.
type signIn struct {
	Kind, Created, Expires, Address string
	LastUsed                        string `json:"last_used"`
	UserAgent                       string `json:"user_agent"`
}
