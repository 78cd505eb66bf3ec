// check_internal_test.go: damaged files, and the words of the errors.

package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/seed-928992b0/caddy-registration/store"
)

// testLockWait is how long tests wait for a file that somebody has open.
const testLockWait = 100 * time.Millisecond

func TestDamagedPagesAreErrorsOnOpening(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(m boltMeta, data []byte) []byte
		want   error
	}{
		"truncated":      {func(m boltMeta, data []byte) []byte { return data[:m.pages*m.pageSize/2] }, ErrTruncated},
		"one byte short": {func(m boltMeta, data []byte) []byte { return data[:m.pages*m.pageSize-1] }, ErrTruncated},
		"free list":      {func(m boltMeta, data []byte) []byte { clear(data[m.freelist*m.pageSize:][:16]); return data }, errBadPage},
		"free list count": {func(m boltMeta, data []byte) []byte {
			data[m.freelist*m.pageSize+10], data[m.freelist*m.pageSize+11], data[m.freelist*m.pageSize+16+7] = 0xff, 0xff, 0xff
			return data
		}, errBadPage},
		"root": {func(m boltMeta, data []byte) []byte { clear(data[m.root*m.pageSize:][:16]); return data }, errBadPage},
		"root content": {func(m boltMeta, data []byte) []byte {
			for i := range 64 {
				data[m.root*m.pageSize+16+uint64(i)] = 0xff
			}
			return data
		}, errBadPage},
		"cut to headers": {func(m boltMeta, data []byte) []byte { return data[:2*m.pageSize] }, ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			s := testRealm(t)
			for i := range 50 {
				require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue(fmt.Sprint(i), make([]byte, 5000)) }))
			}
			require.NoError(t, s.File.Close())
			data, err := os.ReadFile(s.File.Path)
			require.NoError(t, err)
			file, err := os.Open(s.File.Path)
			require.NoError(t, err)
			m, ok := readMeta(file)
			require.NoError(t, file.Close())
			require.True(t, ok)
			path := filepath.Join(t.TempDir(), "damaged.db")
			require.NoError(t, os.WriteFile(path, c.damage(m, data), 0o600))
			f, err := Open(path, testLockWait)
			require.Nil(t, f)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, "damaged, restore it from a backup")
			require.ErrorContains(t, err, path)
		})
	}
}

// One header is torn when the machine stops in the middle of a commit.
func TestOneGoodHeaderIsEnough(t *testing.T) {
	for page := range 2 {
		s := testRealm(t)
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutValue("a", nil) }))
		require.NoError(t, s.File.Close())
		data, err := os.ReadFile(s.File.Path)
		require.NoError(t, err)
		data[page*4096+16+40]++
		require.NoError(t, os.WriteFile(s.File.Path, data, 0o600))
		f, err := Open(s.File.Path, testLockWait)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}

func TestOpenErrorsNameTheMend(t *testing.T) {
	for want, err := range map[string]error{
		"write access":      &fs.PathError{Op: "open", Path: "p", Err: syscall.EACCES},
		"give the user":     &fs.PathError{Op: "open", Path: "p", Err: syscall.EROFS},
		"free some space":   syscall.ENOSPC,
		"choose another":    bolterrors.ErrVersionMismatch,
		"check the path":    errors.New("other"),
		"restore it from":   bolterrors.ErrChecksum,
		"another Caddy run": bolterrors.ErrTimeout,
	} {
		got := openError("/the/path", err)
		require.ErrorIs(t, got, err)
		require.ErrorContains(t, got, want)
		require.ErrorContains(t, got, "/the/path")
	}
}

func TestOpeningWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may open everything")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	_, err := Open(filepath.Join(dir, "accounts.db"), testLockWait)
	require.ErrorContains(t, err, "write access")
}
