// signup.go: the subcommands that say who may sign up.

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

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

// invited is what a command says of an invitation, and what makes one.
type invited struct {
	ID      string   `json:"id,omitempty"`
	Email   string   `json:"email,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Uses    int      `json:"uses,omitempty"`
	Used    int      `json:"used,omitempty"`
	Expires string   `json:"expires,omitempty"`
	Note    string   `json:"note,omitempty"`
	Mail    bool     `json:"mail,omitempty"`
	Link    string   `json:"link,omitempty"`
}

func (c *common) invite() *cobra.Command {
	var wanted invited
	cmd := &cobra.Command{
		Use: "invite [<email>]", Short: "Makes an invitation and prints its link", Args: cobra.MaximumNArgs(1),
		Long: "\nMakes an invitation and prints its link, this once. One with an address is for that\naddress alone and confirms it; --mail sends it there, too. Who is invited needs no\napproval, no code and no reason, and may sign up where sign-up is closed.\n",
		Example: "  $ caddy registration invite ada@example.com --mail\n" +
			"  $ caddy registration invite --group choir --uses 30 --expires 14d --note \"after the concert\"",
	}
	f := cmd.Flags()
	f.StringArrayVar(&wanted.Groups, "group", nil, "The `name` of a group that who comes of it is in; may be repeated")
	f.IntVar(&wanted.Uses, "uses", 1, "The `number` of sign-ups that it is good for")
	f.StringVar(&wanted.Expires, "expires", "7d", "A `duration`: how long it is good")
	f.StringVar(&wanted.Note, "note", "", "A `text` for yourself")
	f.BoolVar(&wanted.Mail, "mail", false, "Mail the link to the address")
	cmd.RunE = c.making(func(cmd *cobra.Command, args []string) error {
		if wanted.Uses < 1 {
			return errors.New("--uses is a number from 1 on")
		}
		if len(args) > 0 {
			wanted.Email = args[0]
		} else if wanted.Mail {
			return errors.New("--mail needs an address to mail to")
		}
		if wanted.Email != "" && wanted.Uses > 1 {
			return errors.New("an invitation with an address is good for one sign-up; leave out --uses, or the address")
		}
		res, err := c.ask(cmd.Context(), http.MethodPost, c.path("invitations"), wanted)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		var raw bytes.Buffer
		var made invited
		if _, err = raw.ReadFrom(res.Body); err == nil {
			err = record(raw.Bytes(), &made)
		}
		if err != nil {
			return err
		}
		if c.flags.JSON {
			return c.done(cmd, json.RawMessage(raw.Bytes()), "")
		}
		sentence := "Whoever opens this link can sign up, until " + made.Expires
		if made.Email != "" {
			sentence = made.Email + " can sign up by this link, until " + made.Expires
		}
		if wanted.Mail {
			sentence += "; a mail with it is on its way"
		}
		return c.done(cmd, made, "%s:\n%s", sentence, made.Link)
	})
	return cmd
}

func (c *common) invitations() *cobra.Command {
	return &cobra.Command{
		Use: "invitations", Short: "Lists the invitations", Args: cobra.NoArgs,
		Long:    "\nLists the invitations whose time is not over, the oldest first. Their links can't be\ntold again.\n",
		Example: "  $ caddy registration invitations",
		RunE: c.run(func(cmd *cobra.Command, _ []string) error {
			return printLines(c, cmd, c.path("invitations"), []string{"ID", "E-MAIL", "GROUPS", "USED", "ENDS", "NOTE"}, func(t *table, i *invited) []string {
				return []string{i.ID, i.Email, strings.Join(i.Groups, " "), fmt.Sprintf("%d of %d", i.Used, i.Uses), t.time(i.Expires), i.Note}
			})
		}),
	}
}

func (c *common) revokeInvitation() *cobra.Command {
	return &cobra.Command{
		Use: "revoke-invitation <id>…", Short: "Ends invitations", Args: cobra.MinimumNArgs(1),
		Long:    "\nEnds invitations, by the ids that 'caddy registration invitations' lists. Who has\nsigned up by one stays; a mail with one that hasn't gone out yet doesn't.\n",
		Example: "  $ caddy registration revoke-invitation 0199f6a2-7c1e-7d3a-9b54-3f2a1c0de4b7",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			return c.each(cmd, args, func(ctx context.Context, id string) (acted, string, error) {
				_, err := c.do(ctx, http.MethodDelete, c.path("invitations", id), nil)
				return acted{ID: id}, "The invitation " + id + " has ended.", err
			})
		}),
	}
}
