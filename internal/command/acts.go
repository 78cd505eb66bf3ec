// acts.go: the subcommands that make an account and change one.

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func (c *common) create() *cobra.Command {
	var groups []string
	var passwordFromStdin, mail bool
	cmd := &cobra.Command{
		Use: "create <username> [<email>]", Short: "Makes an account and prints a link by which its owner sets a password", Args: cobra.RangeArgs(1, 2),
		Long: `
Makes an account that can be used at once; its e-mail address counts as
confirmed. It prints a link by which the person sets a password, once; with --mail
the link is mailed to the person, with --password-stdin there is none.

It works before the first start of the server too, and without a mail server:
this is how the first administrator comes to be.
`,
		Example: "  $ caddy registration create ada ada@example.com --group admins\n" +
			"  $ caddy registration create grace grace@example.com --mail\n" +
			"  $ pass show site/ada | caddy registration create ada --password-stdin",
	}
	cmd.Flags().StringArrayVar(&groups, "group", nil, "The `name` of a group of the account; may be repeated")
	cmd.Flags().BoolVar(&passwordFromStdin, "password-stdin", false, "Take the password from the first line of the standard input; on a terminal, ask for it")
	cmd.Flags().BoolVar(&mail, "mail", false, "Mail the link to the account's address, and don't print it")
	cmd.MarkFlagsMutuallyExclusive("mail", "password-stdin")
	cmd.RunE = c.making(func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"username": args[0], "groups": groups}
		if len(args) > 1 {
			body["email"] = args[1]
		} else if mail {
			return errors.New("--mail needs an address: name it behind the username, or leave --mail out for a link that you hand over")
		}
		if passwordFromStdin {
			password, err := newPassword(cmd)
			if err != nil {
				return err
			}
			body["password"] = password
		}
		made, err := c.act(cmd, c.path("users"), body)
		if err != nil {
			return err
		}
		if passwordFromStdin {
			return c.done(cmd, made, "%s has been created.", made.Username)
		}
		link, err := c.act(cmd, c.account(made.ID, "reset-link"), map[string]any{"mail": mail})
		if err != nil {
			return fmt.Errorf("%s has been created, but %w; 'caddy registration reset-link %[1]s' makes the link", made.Username, err)
		}
		if made.Link, made.MailedTo = link.Link, link.MailedTo; mail {
			return c.done(cmd, made, "%s has been created. %s", made.Username, c.onItsWay(made))
		}
		return c.done(cmd, made, "%s has been created. Whoever opens this link sets the password, once:\n%s", made.Username, made.Link)
	})
	return cmd
}

// onItsWay says when a link that is to be mailed goes out.
func (c *common) onItsWay(a acted) string {
	if c.conn.File() != "" {
		return "The link to set a password goes to " + a.MailedTo + " once the server runs."
	}
	return "The link to set a password is on its way to " + a.MailedTo + "."
}

func (c *common) setPassword() *cobra.Command {
	return &cobra.Command{
		Use: "set-password <account>", Short: "Sets a password, and ends all sign-ins", Args: cobra.ExactArgs(1),
		Long: `
Sets the password that it asks for on a terminal, twice, or that is the first line
of the standard input, and ends all sign-ins of the account. The person is told by
mail.
`,
		Example: "  $ caddy registration set-password ada\n  $ pass show site/ada | caddy registration set-password ada",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			password, err := newPassword(cmd)
			if err != nil {
				return err
			}
			u, err := c.act(cmd, c.account(args[0], "set-password"), map[string]any{"password": password})
			if err != nil {
				return err
			}
			return c.done(cmd, u, "%s has a new password, and is signed out everywhere.", u.Username)
		}),
	}
}

func (c *common) resetLink() *cobra.Command {
	var mail bool
	cmd := &cobra.Command{
		Use: "reset-link <account>", Short: "Prints a link by which the person sets a new password, once", Args: cobra.ExactArgs(1),
		Long: `
Prints a link by which the person sets a new password, once; with --mail the link
is mailed to the person and not printed. Give it to nobody else: whoever opens it
has the account. It ends by itself after a while, and where the password changes.
It works where reset_password is off, too.
`,
		Example: "  $ caddy registration reset-link ada\n  $ caddy registration reset-link ada --mail",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			answer, err := c.act(cmd, c.account(args[0], "reset-link"), map[string]any{"mail": mail})
			switch {
			case err != nil:
				return err
			case mail:
				return c.done(cmd, answer, "%s", c.onItsWay(answer))
			}
			return c.done(cmd, answer, "%s", answer.Link)
		}),
	}
	cmd.Flags().BoolVar(&mail, "mail", false, "Mail the link to the account's address, and don't print it")
	return cmd
}

func (c *common) setEmail() *cobra.Command {
	return &cobra.Command{
		Use: "set-email <account> <address>", Short: "Sets the e-mail address, and ends all sign-ins", Args: cobra.ExactArgs(2),
		Long: `
Sets the e-mail address, which counts as confirmed, and ends all sign-ins of the
account. A mail to the former address says so; with a link in it the person can
take that address back.
`,
		Example: "  $ caddy registration set-email ada ada@example.org",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			u, err := c.act(cmd, c.account(args[0], "set-email"), map[string]any{"email": args[1]})
			if err != nil {
				return err
			}
			return c.done(cmd, u, "%s has the address %s, and is signed out everywhere.", u.Username, u.Email)
		}),
	}
}

func (c *common) setUsername() *cobra.Command {
	return &cobra.Command{
		Use: "set-username <account> <username>", Short: "Renames an account", Args: cobra.ExactArgs(2),
		Long: `
Renames an account. Its sign-ins go on; the person is told by mail.
`,
		Example: "  $ caddy registration set-username ada countess",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			u, err := c.act(cmd, c.account(args[0], "set-username"), map[string]any{"username": args[1]})
			if err != nil {
				return err
			}
			return c.done(cmd, u, "The account is called %s.", u.Username)
		}),
	}
}

func (c *common) resetFactors() *cobra.Command {
	return &cobra.Command{
		Use: "reset-factors <account>", Short: "Removes the second step of an account, and ends all sign-ins", Args: cobra.ExactArgs(1),
		Long: `
Removes all factors and recovery codes of an account, for who has lost them, and
ends all its sign-ins. The person is told by mail. Until a new factor is set up,
the password alone signs in: be sure who asks.
`,
		Example: "  $ caddy registration reset-factors ada",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			u, err := c.act(cmd, c.account(args[0], "reset-factors"), nil)
			if err != nil {
				return err
			}
			return c.done(cmd, u, "%s has no second step any more, and is signed out everywhere.%s", u.Username, u.unmailed())
		}),
	}
}

func (c *common) unlink() *cobra.Command {
	return &cobra.Command{
		Use: "unlink <account> <id>", Short: "Unlinks an account elsewhere, and ends all sign-ins", Args: cobra.ExactArgs(2),
		Long: `
Takes an account at a provider (oidc) from an account here, for who has lost it, or
to somebody else, and ends all sign-ins. The id is that which 'show' has. The person
is mailed a link that takes it back for seven days. Who has no password, passkey or
other linked account then needs a link of yours (reset-link) to get in.
`,
		Example: "  $ caddy registration unlink ada 0197c2f4-6b2e-7d4a-9c41-5a5f3d1c7e20",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			u, err := c.act(cmd, c.account(args[0], "unlink"), map[string]any{"id": args[1]})
			if err != nil {
				return err
			}
			return c.done(cmd, u, "The account elsewhere is unlinked, and %s signed out everywhere.%s", u.Username, u.unmailed())
		}),
	}
}

// acted is what a command says of the answer of an act.
type acted struct {
	ID       string `json:"id,omitempty"`
	Username string `json:"username,omitempty"`
	Email    string `json:"email,omitempty"`
	Link     string `json:"link,omitempty"`
	MailedTo string `json:"mailed_to,omitempty"`
	// Mailed says whether the person gets a mail about it; nil: nobody does of such an act.
	Mailed *bool `json:"mailed,omitempty"`
}

// unmailed says that somebody gets no mail who should.
func (a acted) unmailed() string {
	if a.Mailed == nil || *a.Mailed {
		return ""
	}
	return " No mail says so, for want of an address or of a mailer: tell them yourself."
}

// act asks for an act that Ctrl-C doesn't break off: nobody would know whether it was
// done. A second Ctrl-C ends the process.
func (c *common) act(cmd *cobra.Command, path string, body any) (acted, error) {
	if cmd.Context().Err() != nil {
		return acted{}, errInterrupted
	}
	return c.do(context.WithoutCancel(cmd.Context()), http.MethodPost, path, body)
}

// do asks for an act and reads its answer.
func (c *common) do(ctx context.Context, method, path string, body any) (out acted, err error) {
	res, err := c.ask(ctx, method, path, body)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("the answer can't be read: %w", err)
	}
	return out, nil
}

// done says what has been done, as a sentence or as JSON.
func (c *common) done(cmd *cobra.Command, answer any, sentence string, args ...any) error {
	if c.flags.JSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), sentence+"\n", args...)
	return err
}
