// caddyfile_test.go: properties of what reads a Caddyfile. The others stand beside what
// they try.

package registration_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
)

// A Caddyfile is refused, with the line, or becomes settings that JSON keeps.
func FuzzCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"registration", "registration /a {\n realm x\n}", "registration {\n throttle login 10 1m\n throttle off\n}", "registration {\n register {\n  enabled off\n }\n}",
		"registration {\n password {\n  argon2id 19MiB 2 1\n }\n secret {env.X} 0123456789abcdef\n}", "registration {\n mailer smtp a:25 {\n  tls none\n }\n from a@example.com\n base_url https://example.com\n}",
		"registration /a /b", "registration {\n session {\n  lifetime 7d\n", "registration {\n user {\n  login_fields email\n }\n}", "registration {\n pages off\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Contains(text, "import") { // reads files
			t.Skip()
		}
		tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		h := new(registration.Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			require.Contains(t, err.Error(), "Caddyfile:")
			return
		}
		raw, err := json.Marshal(h.Settings)
		require.NoError(t, err)
		var back registration.Settings
		require.NoError(t, json.Unmarshal(raw, &back))
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.JSONEq(t, string(raw), string(again))
		checked := back
		checked.SetDefaults()
		require.NoError(t, checked.Check(), "what the Caddyfile's check lets through, JSON's does")
	})
}

// The password of a database is in no configuration that is shown: not in the Caddyfile, so not
// in what caddy adapt makes of it.
func TestPasswordOfADatabaseIsNotWritten(t *testing.T) {
	for _, url := range []string{
		"postgres://caddy:s3cret@db/accounts", "postgresql://:s3cret@/x?host=/run/postgresql", "postgres://db/x?user=a&password=s3cret", "postgres:///x?sslpassword=s3cret",
		`"host=db user=caddy password=s3cret"`, `"password = 's3cret' host=db"`,
	} {
		err := new(registration.PostgresModule).UnmarshalCaddyfile(caddyfile.NewTestDispenser("postgres " + url))
		require.ErrorContains(t, err, "write {env.DATABASE_URL}", url)
		require.NotContains(t, err.Error(), "s3cret")
	}
	for _, url := range []string{
		"{env.DATABASE_URL}", "{file./run/secrets/db}", "postgres://caddy:{env.DB_PASSWORD}@db/accounts", "postgres://caddy@db/accounts?passfile=/run/pass", "postgres://caddy:@db/x",
		"postgres:///x?host=/run/postgresql", `"host=db password={env.DB_PASSWORD}"`, `"host=db passfile=/a:b@c"`, "postgres://db:5432/x?user=a@b",
	} {
		require.NoError(t, new(registration.PostgresModule).UnmarshalCaddyfile(caddyfile.NewTestDispenser("postgres "+url)), url)
	}
}
