// terminal.go: what a command asks of whoever sits at it.

package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxLine bounds a line of the standard input: no password is longer than 4096 bytes.
const maxLine = 64 << 10

// readLine reads one line without its end. Spaces are part of a password.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("the standard input has no line; write the password into it")
	}
	return line, nil
}

// newPassword asks for a new password, twice, on a terminal; else it is a line of the
// standard input. It is never an argument, which other users of the machine can see.
func newPassword(cmd *cobra.Command) (string, error) {
	fd, ok := terminal(cmd.InOrStdin())
	if !ok {
		return readLine(cmd.InOrStdin())
	}
	first, err := readHidden(cmd, fd, "New password: ")
	if err != nil {
		return "", err
	}
	second, err := readHidden(cmd, fd, "Once more: ")
	if err == nil && first != second {
		err = errors.New("the two differ; nothing has been changed")
	}
	return first, err
}

// readHidden reads a line that the terminal doesn't show. Ctrl-C leaves the terminal
// as it was.
func readHidden(cmd *cobra.Command, fd int, prompt string) (string, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-interrupted:
			_ = term.Restore(fd, state)
			os.Exit(1)
		case <-done:
		}
	}()
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), prompt)
	line, err := term.ReadPassword(fd)
	_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	return string(line), err
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

// confirm asks whether to go on. Without a terminal nobody could say so: it refuses.
func confirm(cmd *cobra.Command, question string) error {
	if _, ok := terminal(cmd.InOrStdin()); !ok {
		return errors.New("this asks on a terminal; in a script, write -y")
	}
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), question+" [y/N] ")
	answer, err := readLine(cmd.InOrStdin())
	if err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
		return errors.New("nothing has been changed")
	}
	return nil
}
