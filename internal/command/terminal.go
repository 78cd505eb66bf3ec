// terminal.go: what a command asks of whoever sits at it.

package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxLine bounds a line of the standard input: no password is longer than 4096 bytes.
const maxLine = 64 << 10

// readLine reads one line without its end. Spaces are part of a password. remedy says
// what to do where there is none.
func readLine(r io.Reader, remedy string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("the standard input has no line; " + remedy)
	}
	return line, nil
}

// interruptible waits for read, but no longer than ctx: a terminal that nobody types
// at is not to be waited for after Ctrl-C. What read goes on with is of no use then.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := read()
		lines <- line{text, err}
	}()
	select {
	case l := <-lines:
		return l.text, l.err
	case <-ctx.Done():
		return "", errUnchanged
	}
}

// errUnchanged is what a command returns where the answer to a question wasn't yes.
var errUnchanged = errors.New("nothing has been changed")

// newPassword asks for a new password, twice, on a terminal; else it is a line of the
// standard input. It is never an argument, which other users of the machine can see.
func newPassword(cmd *cobra.Command) (string, error) {
	fd, ok := terminal(cmd.InOrStdin())
	if !ok {
		line, err := interruptible(cmd.Context(), func() (string, error) { return readLine(cmd.InOrStdin(), "write the password into it") })
		return line, errors.Join(err, isText(line))
	}
	first, second, err := readHidden(cmd, fd, "New password: ", "Once more: ")
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", fmt.Errorf("no password was given; %w", errUnchanged)
	case first != second:
		return "", fmt.Errorf("the two differ; %w", errUnchanged)
	}
	if strings.ContainsRune(first, utf8.RuneError) { // what the terminal sent was something else
		return "", errNotText
	}
	return first, nil
}

// errNotText refuses a password that is not UTF-8.
var errNotText = fmt.Errorf("the password is not UTF-8, look at the terminal's encoding; %w", errUnchanged)

// isText refuses what is not UTF-8: on its way it would become another password, and
// nobody could type it in a browser.
func isText(password string) error {
	if utf8.ValidString(password) {
		return nil
	}
	return errNotText
}

// readHidden reads two lines that the terminal doesn't show, from before the first
// prompt stands there. Ctrl-C ends it, and leaves the terminal as it was.
func readHidden(cmd *cobra.Command, fd int, prompt, again string) (first, second string, err error) {
	state, err := term.MakeRaw(fd)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = term.Restore(fd, state) }()
	line := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{cmd.InOrStdin(), cmd.ErrOrStderr()}, "")
	read := func(prompt string) func() (string, error) {
		return func() (string, error) { return line.ReadPassword(prompt) }
	}
	if first, err = interruptible(cmd.Context(), read(prompt)); err == nil && first != "" {
		second, err = interruptible(cmd.Context(), read(again))
	}
	if errors.Is(err, io.EOF) { // Ctrl-C, which is no signal meanwhile, and Ctrl-D
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\r\n")
		err = errUnchanged
	}
	return first, second, err
}

// terminal returns the descriptor of a stream that is a terminal.
func terminal(stream any) (fd int, ok bool) {
	file, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	fd = int(file.Fd())
	return fd, term.IsTerminal(fd)
}

// asks gives a command the flag of confirm.
func asks(cmd *cobra.Command) {
	cmd.Flags().BoolP("yes", "y", false, "Don't ask")
}

// confirm asks whether to go on, unless the command was given -y. Without a terminal
// nobody could say so: it refuses.
func confirm(cmd *cobra.Command, question string) error {
	if yes, err := cmd.Flags().GetBool("yes"); err != nil || yes {
		return err
	}
	if _, ok := terminal(cmd.InOrStdin()); !ok {
		return errors.New("this asks on a terminal; in a script, write -y")
	}
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), printable(question)+" [y/N] ")
	answer, err := interruptible(cmd.Context(), func() (string, error) { return readLine(cmd.InOrStdin(), "") })
	if err != nil || !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		return errUnchanged
	}
	return nil
}
