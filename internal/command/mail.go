// mail.go: `caddy registration mail test` and `mail queue`.

package command

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
)

func (c *common) mail() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mail", Short: "Sends a test mail, and shows the mail that waits",
		Long: "\nSends one mail to see whether mail gets out, and shows the mail that waits.\n",
	}
	cmd.AddCommand(c.mailTest(), c.mailQueue())
	return cmd
}

// mailStep is a line of a test: a step, or, with a result, the last one.
type mailStep struct {
	Step, Sent, Answer          string
	Result, Mailer, Error, Line string
	Later                       bool
}

func (c *common) mailTest() *cobra.Command {
	return &cobra.Command{
		Use: "test <address>", Short: "Sends one mail at once, and says what the mail server answers", Args: cobra.ExactArgs(1),
		Long: `
Sends one mail to an address, at once and past the queue, by the mailer of the
configuration, and prints each step: what was said to the mail server (>), what it
answered (<), and how the connection is encrypted. If it fails, it says what to
change. It works while no server runs, too.
`,
		Example: "  $ caddy registration mail test ada@example.com",
		RunE: c.run(func(cmd *cobra.Command, args []string) error {
			res, err := c.ask(cmd.Context(), http.MethodPost, c.path("mail", "test"), map[string]any{"to": args[0]})
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			lines := bufio.NewScanner(res.Body)
			lines.Buffer(nil, maxRecord)
			for lines.Scan() {
				var step mailStep
				if err := record(lines.Bytes(), &step); err != nil {
					return err
				}
				if c.flags.JSON {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), lines.Text())
				} else {
					err = sayStep(cmd.OutOrStdout(), step)
				}
				switch {
				case err != nil:
					return err
				case step.Result == "sent" && !c.flags.JSON && step.Mailer != "log" && step.Mailer != "file": // these have said what they do instead
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "Sent. Look whether it arrives at %s, among the spam too.\n", printable(args[0]))
					return err
				case step.Result == "sent":
					return nil
				case step.Result != "":
					return notSent(step)
				}
			}
			if cmd.Context().Err() != nil {
				return errInterrupted
			}
			return errors.Join(errors.New("the test broke off: nobody knows whether the mail was sent"), lines.Err())
		}),
	}
}

// sayStep prints a step as it is made.
func sayStep(out io.Writer, s mailStep) (err error) {
	if s.Sent != "" {
		_, err = fmt.Fprintf(out, "> %s\n", printable(s.Sent))
	}
	if s.Answer != "" && err == nil {
		mark := "<"
		switch s.Step {
		case "greeting", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message", "QUIT":
		default:
			mark = "*"
		}
		_, err = fmt.Fprintf(out, "%s %s\n", mark, printable(s.Answer))
	}
	return err
}

// notSent says why, and what to change.
func notSent(s mailStep) error {
	text := "the mail was not sent: " + printable(s.Error)
	switch {
	case s.Line != "":
		text += "\nWrite: " + printable(s.Line)
	case s.Later:
		text += "\nNothing is wrong with the configuration: the server wants the same mail once more, later, as the queue sends it. Test again in some minutes."
	}
	return errors.New(text)
}

// queuedMail is what is shown of a mail that waits.
type queuedMail struct {
	Kind, To, Queued string
	NextTry          string `json:"next_try"`
	Attempts         int
	Error            string
	// ServerFails says that the mail server as a whole fails, which counts for no mail.
	ServerFails bool `json:"server_fails"`
}

// tries is how often it was tried itself. While the server as a whole fails, it is not
// known whether it ever was: 0 would say that nothing was tried.
func (m *queuedMail) tries() string {
	if m.ServerFails && m.Attempts == 0 {
		return "-"
	}
	return strconv.Itoa(m.Attempts)
}

func (c *common) mailQueue() *cobra.Command {
	retry := false
	cmd := &cobra.Command{
		Use: "queue", Short: "Lists the mail that waits, or has all of it tried at once", Args: cobra.NoArgs,
		Long: `
Lists the mail that waits: since when, when it is tried next, how often it failed by
itself, and why it still waits. While the mail server as a whole can't be used, one
mail is tried for all of them, and that counts for none: where nothing else failed,
TRIES is "-". With --retry all of it is tried at once, for example after a mail
server was mended; a change of the configuration does that by itself.
`,
		Example: "  $ caddy registration mail queue\n  $ caddy registration mail queue --retry",
	}
	cmd.Flags().BoolVar(&retry, "retry", false, "Have all of it tried at once")
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		if !retry {
			return printLines(c, cmd, c.path("mail", "queue"), []string{"KIND", "TO", "SINCE", "NEXT TRY", "TRIES", "WHY"}, func(t *table, m *queuedMail) []string {
				return []string{m.Kind, m.To, t.time(m.Queued), t.time(m.NextTry), m.tries(), m.Error}
			})
		}
		res, err := c.ask(cmd.Context(), http.MethodPost, c.path("mail", "retry"), nil)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		var answer struct {
			Waiting int `json:"waiting"`
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			return fmt.Errorf("the answer can't be read: %w", err)
		}
		sentence := "%s tried at once."
		if c.conn.File() != "" {
			sentence = "%s tried when the server starts."
		}
		is := " are"
		if answer.Waiting == 1 {
			is = " is"
		}
		return c.done(cmd, answer, sentence, english(answer.Waiting, "mail")+is)
	})
	return cmd
}
