// hardening_store_test.go: what a close reading of the store proved: false alarms,
// sessions that come back, records that nobody can read.

package registration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that grows between two looks at its size is not a file that was cut
// short: whoever restores a backup on that word loses what came since.
func TestAGrowingFileIsNotDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	require.NoError(t, os.WriteFile(path, make([]byte, 4096), 0o600))
	h := &boltHealth{}
	require.NoError(t, h.watch(path))
	t.Cleanup(func() { _ = h.file.Close() })
	inner := false
	h.stat = func(f *os.File) (int64, error) {
		size, err := fileSize(f)
		if !inner { // the file grows behind this look, and another call sees it first
			inner = true
			require.NoError(t, os.Truncate(path, size+4096))
			require.NoError(t, h.check())
		}
		return size, err
	}
	require.NoError(t, h.check())
	require.Equal(t, int64(8192), h.size.Load(), "the larger of the two is kept")
	require.NoError(t, os.Truncate(path, 4096))
	require.ErrorIs(t, h.check(), errTruncated)
}
