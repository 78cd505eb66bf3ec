// command_test.go: the command line, as Caddy's own main has it, and the variable
// that keeps hashes in the server.

package registration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/command"
)

func TestCommandOfTheHashingProcess(t *testing.T) {
	t.Setenv(hashingVariable, hashingOff) // a test's program is no Caddy that could be started once more
	registered, ok := caddycmd.Commands()[commandName]
	require.True(t, ok)
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	sub := &cobra.Command{Use: commandName}
	registered.CobraFunc(sub)
	root.AddCommand(sub)
	root.SetArgs([]string{commandName, hashCommand})
	require.ErrorContains(t, root.Execute(), "starts it by itself", "by hand it says what it is")
	hidden, _, err := sub.Find([]string{hashCommand})
	require.NoError(t, err)
	require.True(t, hidden.Hidden)
}

func TestHashingVariable(t *testing.T) {
	for value, good := range map[string]bool{"": true, "off": true, "1": false, "on": false, "OFF": false} {
		t.Setenv(hashingVariable, value)
		err := checkHashing()
		require.Equal(t, good, err == nil, value)
		if !good {
			require.ErrorContains(t, err, "write off")
		}
	}
}

func TestExitCodesOfCommands(t *testing.T) {
	parent := &cobra.Command{Use: "parent"}
	parent.AddCommand(
		&cobra.Command{Use: "fine", RunE: func(*cobra.Command, []string) error { return nil }},
		&cobra.Command{Use: "faulty", RunE: func(*cobra.Command, []string) error { return fmt.Errorf("wrapped: %w", command.ExitError(2)) }},
		&cobra.Command{Use: "failing", RunE: func(*cobra.Command, []string) error { return errors.New("no such file") }},
	)
	giveExitCodes(parent)
	for name, says := range map[string]string{"fine": "", "faulty": "exiting with status 2", "failing": "no such file"} {
		var errs strings.Builder
		parent.SetErr(&errs)
		parent.SetArgs([]string{name})
		err := parent.Execute()
		if says == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, says, "this is how Caddy's own main is told")
		require.Equal(t, name != "faulty", strings.Contains(errs.String(), "Error: "), "a code of its own: all has been said")
	}
}
