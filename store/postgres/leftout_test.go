//go:build !registration_nopostgres

// leftout_test.go: a Caddy without PostgreSQL, for who wants a smaller one, can be built, and links
// nothing of it.

package postgres_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeftOut(t *testing.T) {
	const tag, caddy = "registration_nopostgres", "github.com/seed-928992b0/caddy-registration"
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tag, caddy).CombinedOutput()
	require.NoError(t, err, "%s", out)
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tag+",nobadger,nomysql,nopgx", caddy+"/cmd/caddy").Output()
	require.NoError(t, err)
	require.False(t, strings.Contains(string(deps), "jackc/"), "PostgreSQL is linked by something else")
}
