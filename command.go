// command.go: what the program takes on its command line: `caddy registration …`.

package registration

import (
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/setting"
)

const (
	commandName = "registration"
	// hashCommand is for the server alone, which starts it.
	hashCommand = "hash-passwords"
)

// hashingVariable is the environment variable that keeps hashes in the server.
const hashingVariable = "CADDY_REGISTRATION_HASHING"

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name: commandName, Short: "Works with the accounts of the registration plugin",
		// Called where Caddy's own command line runs, and nowhere else: a program
		// that embeds Caddy, or a test, would not know what to make of our arguments.
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Hidden = true // until it has commands for people
			cmd.AddCommand(&cobra.Command{
				Use: hashCommand, Short: "Hashes passwords for the server, which starts this by itself", Hidden: true, Args: cobra.NoArgs,
				RunE: func(cmd *cobra.Command, _ []string) error {
					cmd.SilenceUsage = true
					return password.RunSecondProcess()
				},
			})
			if os.Getenv(hashingVariable) != hashingOff {
				password.UseSecondProcess(commandName, hashCommand)
			}
		},
	})
}

// hashingOff is the only value that the variable has.
const hashingOff = "off"

// checkHashing refuses a value that means nothing.
func checkHashing() error {
	if v := os.Getenv(hashingVariable); v != "" && v != hashingOff {
		return setting.Errorf(hashingVariable, "the environment has the value %q, which means nothing; write off, so that passwords are hashed in the server alone, or remove it", v)
	}
	return nil
}
