// reference_test.go: docs/command-line.md has every command and every flag, as the
// help has them.

package command

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what the commands say of themselves into docs/command-line.md")

// tree is all of `caddy registration`.
func tree() *cobra.Command { return treeOf(nil, nil) }

func treeOf(connect Connect, storeFile StoreFile) *cobra.Command {
	root := &cobra.Command{Use: "caddy", SilenceUsage: true} // as Caddy's

	parent := &cobra.Command{Use: "registration ", Short: Short}
	root.AddCommand(parent)
	AddTo(parent, connect, storeFile, nil)
	return parent
}

const (
	referenceBegins = "<!-- The rest is what the commands say of themselves: go test ./internal/command -run Reference -update -->\n"
	referenceFile   = "../../docs/command-line.md"
)

func TestReferenceHasEveryCommand(t *testing.T) {
	raw, err := os.ReadFile(referenceFile)
	require.NoError(t, err)
	before, reference, ok := strings.Cut(string(raw), referenceBegins)
	require.True(t, ok)
	var want strings.Builder
	describe(&want, tree())
	if *update {
		require.NoError(t, os.WriteFile(referenceFile, []byte(before+referenceBegins+want.String()), 0o600))
		return
	}
	require.Equal(t, want.String(), reference, "go test ./internal/command -run Reference -update")
}

// describe writes the flags of a command and what is below it.
func describe(out *strings.Builder, cmd *cobra.Command) {
	if cmd.HasParent() && cmd.Parent().HasParent() && !cmd.HasSubCommands() {
		fmt.Fprintf(out, "\n### %s\n\n    %s\n", strings.TrimPrefix(cmd.CommandPath(), "caddy registration "), strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		fmt.Fprintf(out, "\n%s\n", strings.ReplaceAll(strings.TrimSpace(cmd.Long), "<", `\<`))
		if cmd.Example != "" {
			fmt.Fprintf(out, "\n```console\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
		}
		flags(out, cmd.LocalNonPersistentFlags())
		return
	}
	if cmd.HasPersistentFlags() {
		fmt.Fprintf(out, "\n## Every command\n")
		flags(out, cmd.PersistentFlags())
	}
	for _, group := range cmd.Groups() {
		fmt.Fprintf(out, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, below := range cmd.Commands() {
			if below.GroupID == group.ID {
				describe(out, below)
			}
		}
	}
	for _, below := range cmd.Commands() {
		if below.GroupID == "" && !below.Hidden && below.Name() != "help" {
			describe(out, below)
		}
	}
}

func flags(out *strings.Builder, set *pflag.FlagSet) {
	head := "\n| flag | meaning |\n|---|---|\n"
	set.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		value, meaning := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if value != "" {
			name += " <" + value + ">"
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			meaning += fmt.Sprintf(" (default `%s`)", f.DefValue)
		}
		fmt.Fprintf(out, "%s| %s` | %s |\n", head, name, meaning)
		head = ""
	})
}

// TestEveryCommandSaysWhatItDoes, in the way of Caddy's own.
func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Name() == "help" {
			return
		}
		require.NotEmpty(t, cmd.Short, path)
		require.NotContains(t, cmd.Short, "\n", path)
		require.NotEqual(t, ".", cmd.Short[len(cmd.Short)-1:], path)
		require.NotEmpty(t, cmd.Long, path)
		require.Equal(t, "\n", cmd.Long[len(cmd.Long)-1:], "%s: the usage follows after a line", path)
		for line := range strings.Lines(cmd.Long) {
			require.LessOrEqual(t, len([]rune(line)), 90, "%s: %s", path, line)
		}
		if cmd.HasSubCommands() {
			for _, below := range cmd.Commands() {
				walk(below)
			}
		} else {
			require.Contains(t, cmd.Example, "  $ caddy registration ", "%s has no example", path)
			require.NotNil(t, cmd.Args, path)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			value, meaning := pflag.UnquoteUsage(f)
			require.NotEmpty(t, meaning, "%s --%s", path, f.Name)
			require.NotContains(t, []string{"string", "strings", "stringArray"}, value, "%s --%s: a word in backquotes says what the value is", path, f.Name)
		})
	}
	walk(tree())
}
