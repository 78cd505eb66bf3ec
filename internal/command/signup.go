// signup.go: the subcommands that say who may sign up.

package command

import (
	"github.com/spf13/cobra"
)

func (c *common) approve() *cobra.Command {
	return c.many(manyAct{
		use: "approve <account>…", short: "Lets accounts in that wait for approval", example: "  $ caddy registration list --state waiting\n  $ caddy registration approve ada grace",
		long:  "\nLets accounts in that wait for approval, and mails each where to sign in. On a\nterminal it asks first.\n",
		below: "approve", question: "Approve %s?", done: "{account} has been approved.",
	})
}

func (c *common) refuse() *cobra.Command {
	var message string
	cmd := c.many(manyAct{
		use: "refuse <account>…", short: "Removes accounts that wait for approval", example: "  $ caddy registration refuse mallory\n  $ caddy registration refuse -y ada grace --message \"We are full until spring.\"",
		long:  "\nRemoves accounts that wait for approval, and mails each that it was refused, with\nyour message if there is one. On a terminal it asks first.\n",
		below: "refuse", question: "Refuse and remove %s?", done: "{account} has been refused.",
		body: func(*cobra.Command, []string) any { return map[string]any{"message": message} },
	})
	cmd.Flags().StringVar(&message, "message", "", "A `text` for who is refused, in the mail")
	return cmd
}
