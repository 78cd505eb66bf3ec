//go:build unix

// import_nodes_test.go: an import into accounts that are in PostgreSQL.

package transfer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// An import writes 500 accounts in one act. That waits for the database a few times, not for
// each account: everybody else's acts wait for it. Nor does finding out whose password is to
// be hashed.
func TestImportWaitsForTheDatabaseAFewTimes(t *testing.T) {
	t.Setenv("REGISTRATION_STORE", pgtest.Start(t, "fsync=off").URL())
	s := sitetest.New(t)
	for name, c := range map[string]struct {
		columns string
		row     func() string
		people  int
	}{
		"names":     {"", func() string { return "" }, 1000},
		"ids":       {",id", func() string { return "," + uuid.Must(uuid.NewV7()).String() }, 1000},
		"passwords": {",password", func() string { return ",a long passphrase" }, 100},
	} {
		t.Run(name, func(t *testing.T) {
			var file strings.Builder
			file.WriteString("username,email" + c.columns + "\n")
			for i := range c.people {
				fmt.Fprintf(&file, "%s%d,%s%d@example.org%s\n", name, i, name, i, c.row())
			}
			for _, again := range []bool{false, true} {
				ctx, trips := postgres.CountTrips(t.Context())
				report, err := transfer.Import(ctx, s.Accounts, strings.NewReader(file.String()), transfer.Options{Options: arrival.Options{Format: "csv"}})
				require.NoError(t, err)
				require.Equal(t, map[bool]int{false: c.people}[again], report.Added, "%+v", report)
				t.Logf("again %t: %d of %d", again, trips.Most.Load(), trips.All.Load())
				require.LessOrEqual(t, trips.Most.Load(), int64(6))
			}
		})
	}
}
