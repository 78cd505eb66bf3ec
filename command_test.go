// command_test.go: the command line, as Caddy's own main has it, and the variable
// that keeps hashes in the server.

package registration

import (
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestCommandOfTheHashingProcess(t *testing.T) {
	t.Setenv(hashingVariable, hashingOff) // a test's program is no Caddy that could be started once more
	command, ok := caddycmd.Commands()[commandName]
	require.True(t, ok)
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	sub := &cobra.Command{Use: commandName}
	command.CobraFunc(sub)
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
