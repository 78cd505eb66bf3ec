// acts.go: the subcommands that make and change accounts.

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func (c *common) create() *cobra.Command {
	var groups []string
	var passwordFromStdin bool
	cmd := &cobra.Command{
		Use: "create <username> [<email>]", Short: "Makes an account and prints a link by which its owner sets a password", Args: cobra.RangeArgs(1, 2),
		Long: "Makes an account that can be used at once; its e-mail address counts as confirmed. Without\n--password-stdin it prints a link by which the person sets a password, once. No mail is sent.",
		Example: "  caddy registration create ada ada@example.com --group admins\n" +
			"  pass show site/ada | caddy registration create ada --password-stdin",
	}
	cmd.Flags().StringArrayVar(&groups, "group", nil, "A group of the account; may be repeated")
	cmd.Flags().BoolVar(&passwordFromStdin, "password-stdin", false, "Take the password from one line of the standard input")
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"username": args[0], "groups": groups}
		if len(args) > 1 {
			body["email"] = args[1]
		}
		if passwordFromStdin {
			password, err := readLine(cmd.InOrStdin())
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
		link, err := c.act(cmd, c.account(made.ID, "reset-link"), nil)
		if err != nil {
			return fmt.Errorf("%s has been created, but %w", made.Username, err)
		}
		made.Link = link.Link
		return c.done(cmd, made, "%s has been created. Whoever opens this link sets the password, once:\n%s", made.Username, link.Link)
	})
	return cmd
}

func (c *common) setPassword() *cobra.Command {
	return &cobra.Command{
		Use: "set-password <account>", Short: "Sets a password, and ends all sign-ins", Args: cobra.ExactArgs(1),
		Long:    "Sets the password that it asks for on a terminal, or that is the first line of the standard input,\nand ends all sign-ins of the account. The person is told by mail.",
		Example: "  caddy registration set-password ada",
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
	return &cobra.Command{
		Use: "reset-link <account>", Short: "Prints a link by which the person sets a new password, once", Args: cobra.ExactArgs(1),
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			answer, err := c.act(cmd, c.account(args[0], "reset-link"), nil)
			if err != nil {
				return err
			}
			return c.done(cmd, answer, "%s", answer.Link)
		}),
	}
}

// setText makes `set-email` and `set-username`.
func (c *common) setText(what, argument, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: "set-" + what + " <account> <" + argument + ">", Short: short, Args: cobra.ExactArgs(2),
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			u, err := c.act(cmd, c.account(args[0], "set-"+what), map[string]any{what: args[1]})
			if err != nil {
				return err
			}
			return c.done(cmd, u, done, u.Username, u.Email)
		}),
	}
}

func (c *common) group() *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "Adds accounts to a group, or takes them out of it"}
	for _, verb := range []struct{ name, short, done string }{
		{"add", "Adds accounts to a group", "%s is in %s."}, {"remove", "Takes accounts out of a group", "%s is no longer in %s."},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: verb.name + " <group> <account>…", Short: verb.short, Args: cobra.MinimumNArgs(2), Example: "  caddy registration group " + verb.name + " members ada grace",
			RunE: c.run(func(cmd *cobra.Command, args []string) error {
				return c.each(args[1:], func(account string) error {
					u, err := c.act(cmd, c.account(account, "groups"), map[string]any{verb.name: args[:1]})
					if err != nil {
						return err
					}
					return c.done(cmd, u, verb.done, u.Username, args[0])
				})
			}),
		})
	}
	return cmd
}

// many makes a subcommand that does one act with several accounts.
func (c *common) many(name, short, question, done string) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: name + " <account>…", Short: short, Args: cobra.MinimumNArgs(1)}
	if question != "" {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Don't ask")
	}
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		if question != "" && !yes {
			if err := confirm(cmd, fmt.Sprintf(question, len(args))); err != nil {
				return err
			}
		}
		return c.each(args, func(account string) error {
			method, below := http.MethodPost, name
			if name == "delete" {
				method, below = http.MethodDelete, ""
			}
			u, err := c.do(cmd, method, c.account(account, below), nil)
			if err != nil {
				return err
			}
			if u.Username == "" {
				u.Username = account
			}
			return c.done(cmd, u, done, u.Username)
		})
	})
	return cmd
}

// each goes on after a failure, and says all failures at the end.
func (c *common) each(accounts []string, act func(string) error) error {
	var errs []error
	for _, account := range accounts {
		if err := act(account); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", account, err))
		}
	}
	return errors.Join(errs...)
}

// acted is what a command says of the answer of an act.
type acted struct {
	ID       string `json:"id,omitempty"`
	Username string `json:"username,omitempty"`
	Email    string `json:"email,omitempty"`
	Link     string `json:"link,omitempty"`
}

func (c *common) act(cmd *cobra.Command, path string, body any) (acted, error) {
	return c.do(cmd, http.MethodPost, path, body)
}

func (c *common) do(cmd *cobra.Command, method, path string, body any) (out acted, err error) {
	res, err := c.ask(cmd.Context(), method, path, body)
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
func (c *common) done(cmd *cobra.Command, answer acted, sentence string, args ...any) error {
	if c.flags.JSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), sentence+"\n", args...)
	return err
}
