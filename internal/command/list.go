// list.go: `caddy registration list` and `sessions`: many records, a page at a time.

package command

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// pageOf is how many accounts are asked for at once. A page is read to its end before
// it is printed, so that neither a million accounts are in memory nor the server waits
// for whoever reads them.
const pageOf = 1000

// states are what --state takes; the server says so too.
var states = []string{"active", "unconfirmed", "waiting", "closing", "disabled"}

func (c *common) list() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists the accounts", Args: cobra.NoArgs,
		Long: `
Lists all accounts, in the order in which they were made, or those that answer to
all the flags that are given; --search lists them in the order of what it finds. Who
signs up or changes meanwhile may be in the list or not.

Of those who wait for approval, which is --state waiting, it prints names and reasons.

An account is active; unconfirmed, while nobody has opened the link of the sign-up;
waiting, for somebody to approve it; closing, once its owner has closed it: it will be
gone, and "enable" keeps it; or disabled.
`,
		Example: "  $ caddy registration list --state waiting\n" +
			"  $ caddy registration list --group admins\n" +
			"  $ caddy registration list --json | jq -r .email",
	}
	filters := []string{"search", "state", "group", "hash-format"}
	f := cmd.Flags()
	f.String("search", "", "The `beginning` of a username, an e-mail address, a first or a last name")
	f.String("state", "", "In this `state`: "+strings.Join(states, ", "))
	f.String("group", "", "Members of the group of this `name`")
	f.String("hash-format", "", "With a password hashed in this `format`, such as argon2id, or none")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp)) // the flags are there
	for _, name := range []string{"search", "group", "hash-format"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		query := url.Values{"limit": {strconv.Itoa(pageOf)}}
		for _, name := range filters {
			if value, err := cmd.Flags().GetString(name); err == nil && cmd.Flags().Changed(name) {
				query.Set(strings.ReplaceAll(name, "-", "_"), value)
			}
		}
		return c.printAccounts(cmd, query)
	})
	return cmd
}

func (c *common) printAccounts(cmd *cobra.Command, query url.Values) error {
	titles := []string{"USERNAME", "E-MAIL", "STATE", "GROUPS", "JOINED", "LAST SIGN-IN"}
	waiting := query.Get("state") == "waiting"
	if waiting { // what one decides by
		titles = []string{"USERNAME", "E-MAIL", "NAME", "JOINED", "REASON"}
	}
	table := newTable(cmd, titles...)
	for {
		var page bytes.Buffer
		next, err := c.eachLine(cmd.Context(), c.path("users")+"?"+query.Encode(), func(line []byte) error {
			page.Write(append(bytes.Clone(line), '\n'))
			return nil
		})
		if err != nil {
			return err
		}
		if c.flags.JSON {
			_, err = page.WriteTo(cmd.OutOrStdout())
		} else {
			err = table.accounts(page.Bytes(), waiting)
		}
		if err != nil || next == "" {
			return err
		}
		query.Set("after", next)
	}
}

// accounts prints a page of them.
func (t *table) accounts(page []byte, waiting bool) error {
	for line := range bytes.Lines(page) {
		var u accountRecord
		if err := record(line, &u); err != nil {
			return err
		}
		cells := []string{u.Username, u.Email, u.state(), strings.Join(u.Groups, " "), t.time(u.DateJoined), t.time(u.LastLogin)}
		if waiting {
			cells = []string{u.Username, u.Email, strings.TrimSpace(u.FirstName + " " + u.LastName), t.time(u.DateJoined), u.Reason}
		}
		if err := t.row(cells...); err != nil {
			return err
		}
	}
	return t.flush()
}

// accountRecord is what the table shows of an account.
type accountRecord struct {
	ID                 string
	Username, Email    string
	Groups             []string
	IsActive           bool   `json:"is_active"`
	AwaitsVerification bool   `json:"awaits_verification"`
	AwaitsApproval     bool   `json:"awaits_approval"`
	FirstName          string `json:"first_name"`
	LastName           string `json:"last_name"`
	Reason             string `json:"reason"`
	DateJoined         string `json:"date_joined"`
	LastLogin          string `json:"last_login"`
	ClosingAt          string `json:"closing_at"`

	Linked []linked `json:"linked_accounts"`
}

// state is one of states.
func (u *accountRecord) state() string {
	switch {
	case u.AwaitsVerification:
		return "unconfirmed"
	case u.AwaitsApproval:
		return "waiting"
	case u.IsActive:
		return "active"
	case u.ClosingAt != "":
		return "closing"
	}
	return "disabled"
}

// time is how a table has a time: in a pipe as it came, on a terminal by the machine's
// own clock.
func (t *table) time(text string) string {
	if at, err := time.Parse(time.RFC3339, text); err == nil && t.columns {
		return at.Local().Format("2006-01-02 15:04")
	}
	return text
}

func (c *common) signIns() *cobra.Command {
	return &cobra.Command{
		Use: "sessions <account>", Short: "Lists the sign-ins of an account", Args: cobra.ExactArgs(1),
		Long: `
Lists the sign-ins of an account: sessions of browsers and tokens of programs, each
with the address and the program that it was last used from.
`,
		Example: "  $ caddy registration sessions ada",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			return printLines(c, cmd, c.account(args[0], "sessions"), signInTitles, signInCells)
		}),
	}
}

// signIn is what the table shows of a sign-in.
type signIn struct {
	Kind, Created, Expires, Address string
	LastUsed                        string `json:"last_used"`
	UserAgent                       string `json:"user_agent"`
}

var signInTitles = []string{"KIND", "BEGAN", "LAST USED", "ENDS", "ADDRESS", "PROGRAM"}

func signInCells(t *table, s *signIn) []string {
	return []string{s.Kind, t.time(s.Created), t.time(s.LastUsed), t.time(s.Expires), s.Address, s.UserAgent}
}
