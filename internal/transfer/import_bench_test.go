// import_bench_test.go: what an account costs that needs no hashing.

package transfer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/arrival"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
)

func BenchmarkImport(b *testing.B) {
	for _, dry := range []bool{true, false} {
		b.Run(fmt.Sprintf("dry=%v", dry), func(b *testing.B) {
			s := sitetest.New(b)
			var file strings.Builder
			file.WriteString("username,email,first_name,groups,password_hash\n")
			for i := range b.N {
				fmt.Fprintf(&file, "user%d,user%d@example.org,First,members,$2b$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW\n", i, i)
			}
			b.ResetTimer()
			report, err := transfer.Import(b.Context(), s.Accounts, strings.NewReader(file.String()), transfer.Options{Options: arrival.Options{Format: "csv", DryRun: dry}})
			require.NoError(b, err)
			require.Equal(b, b.N, report.Added)
		})
	}
}
