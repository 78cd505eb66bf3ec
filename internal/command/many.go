// many.go: the subcommands that do one act with several accounts.

package command

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (c *common) enable() *cobra.Command {
	return c.many(manyAct{
		use: "enable <account>…", short: "Lets accounts sign in", example: "  $ caddy registration enable ada grace",
		long: "\nLets accounts sign in again that were disabled.\n", below: "enable", done: "{account} can sign in.",
	})
}

func (c *common) disable() *cobra.Command {
	return c.many(manyAct{
		use: "disable <account>…", short: "Ends all sign-ins of accounts, and lets nobody sign in to them", example: "  $ caddy registration disable ada grace",
		long:  "\nEnds all sign-ins of accounts, at once, and lets nobody sign in to them until they\nare enabled. On a terminal it asks first.\n",
		below: "disable", question: "Disable %s?", done: "{account} can't sign in any more.",
	})
}

func (c *common) signOut() *cobra.Command {
	return c.many(manyAct{
		use: "sign-out <account>…", short: "Ends all sign-ins of accounts, links and known devices too", example: "  $ caddy registration sign-out ada",
		long: "\nEnds all sign-ins of accounts, at once: in browsers and by tokens. The links that\nwere mailed to them and the devices that were known for them end too.\n", below: "sign-out", done: "{account} is signed out everywhere.",
	})
}

func (c *common) deleteAccounts() *cobra.Command {
	return c.many(manyAct{
		use: "delete <account>…", short: "Removes accounts for good", example: "  $ caddy registration delete ada\n  $ caddy registration delete -y ada grace",
		long:   "\nRemoves accounts with all that is kept of them. There is no way back. On a terminal\nit asks first.\n",
		method: http.MethodDelete, question: "Remove %s for good?", done: "{account} has been removed.",
	})
}

// A manyAct is what is done with each of several accounts.
type manyAct struct {
	use, short, long, example string
	// method and below are those of the operation; no method: POST.
	method, below string
	// body is what the operation takes, if anything. It is called once.
	body func(cmd *cobra.Command, args []string) any
	// question is asked on a terminal, of the accounts' names; empty: nothing is.
	question string
	// done is said of each {account}; {first} is the first argument.
	done string
	// skip is how many arguments come before the accounts.
	skip int
}

// many makes a subcommand that does one act with several accounts: each one a whole
// or not at all, with a line about it, and exit code 1 where one failed.
func (c *common) many(act manyAct) *cobra.Command {
	cmd := &cobra.Command{Use: act.use, Short: act.short, Long: act.long, Example: act.example, Args: cobra.MinimumNArgs(act.skip + 1)}
	if act.question != "" {
		asks(cmd)
	}
	method := act.method
	if method == "" {
		method = http.MethodPost
	}
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		accounts := args[act.skip:]
		if act.question != "" {
			if err := confirm(cmd, fmt.Sprintf(act.question, called(accounts))); err != nil {
				return err
			}
		}
		var body any
		if act.body != nil {
			body = act.body(cmd, args)
		}
		return c.each(cmd, accounts, func(ctx context.Context, account string) (acted, string, error) {
			u, err := c.do(ctx, method, c.account(account, act.below), body)
			if u.Username == "" {
				u.Username = account
			}
			return u, strings.NewReplacer("{account}", u.Username, "{first}", args[0]).Replace(act.done) + u.unmailed(), err
		})
	})
	return cmd
}

// named is how many accounts a question names.
const named = 5

// called names accounts in a question.
func called(accounts []string) string {
	if len(accounts) > named {
		return fmt.Sprintf("%s and %d more accounts", strings.Join(accounts[:named], ", "), len(accounts)-named)
	}
	return strings.Join(accounts, ", ")
}

// failed is the line of JSON about an account whose act failed.
type failed struct {
	Account string `json:"account"`
	Error   string `json:"error"`
}

// each does an act with one account after the other, and goes on after a failure. An
// act that has begun is not broken off by Ctrl-C; those that have not are named.
func (c *common) each(cmd *cobra.Command, accounts []string, act func(ctx context.Context, account string) (acted, string, error)) error {
	failures := 0
	for i, account := range accounts {
		if cmd.Context().Err() != nil {
			return fmt.Errorf("%w: not done for %s; run it again with these", errInterrupted, strings.Join(accounts[i:], " "))
		}
		u, sentence, err := act(context.WithoutCancel(cmd.Context()), account)
		switch {
		case err == nil:
			if err := c.done(cmd, u, "%s", sentence); err != nil {
				return err
			}
			continue
		case len(accounts) == 1 && !c.flags.JSON:
			return err
		case c.flags.JSON:
			if err := c.done(cmd, failed{account, err.Error()}, ""); err != nil {
				return err
			}
		default:
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", printable(account), err)
		}
		failures++
	}
	if failures > 0 {
		return fmt.Errorf("%d of %d not done", failures, len(accounts))
	}
	return nil
}

func (c *common) group() *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", Short: "Adds accounts to a group, or takes them out of it",
		Long: "\nAdds accounts to a group, or takes them out of it. A group needs no making: it is\nthere while an account is in it. It is in force at the account's very next request.\n",
	}
	for _, verb := range []struct{ name, short, long, done string }{
		{"add", "Adds accounts to a group", "Adds accounts to a group.", "{account} is in {first}."},
		{"remove", "Takes accounts out of a group", "Takes accounts out of a group.", "{account} is no longer in {first}."},
	} {
		sub := c.many(manyAct{
			use: verb.name + " <group> <account>…", short: verb.short, long: "\n" + verb.long + "\n", example: "  $ caddy registration group " + verb.name + " members ada grace",
			below: "groups", skip: 1, done: verb.done,
			body: func(_ *cobra.Command, args []string) any { return map[string]any{verb.name: args[:1]} },
		})
		cmd.AddCommand(sub)
	}
	return cmd
}
