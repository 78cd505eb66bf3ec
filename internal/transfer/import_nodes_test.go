//go:build unix

// import_nodes_test.go: an import into accounts that are in PostgreSQL.

package transfer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// An import writes 500 accounts in one act. That waits for the database a few times, not for
// each account: everybody else's acts wait for it.
func TestImportWaitsForTheDatabaseAFewTimes(t *testing.T) {
	t.Setenv("REGISTRATION_STORE", pgtest.Start(t, "fsync=off").URL())
	s := sitetest.New(t)
	var file strings.Builder
	file.WriteString("username,email,first_name\n")
	for i := range 1000 {
		fmt.Fprintf(&file, "user%d,user%d@example.org,Ada\n", i, i)
	}
	for _, again := range []bool{false, true} {
		ctx, trips := postgres.CountTrips(t.Context())
		report, err := transfer.Import(ctx, s.Accounts, strings.NewReader(file.String()), transfer.Options{Options: arrival.Options{Format: "csv"}})
		require.NoError(t, err)
		require.Equal(t, map[bool]int{false: 1000}[again], report.Added, "%+v", report)
		t.Logf("again %t: %d of %d", again, trips.Most.Load(), trips.All.Load())
		require.LessOrEqual(t, trips.Most.Load(), int64(6))
	}
}
