// backup_faults_linux_test.go: whatever a backup meets on its way, what was there before
// stays whole, nothing is left beside it, and the store goes on.

package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
)

// steps counts the pieces of a whole backup of a file.
func steps(t *testing.T, f *File) (n int) {
	t.Helper()
	f.backups.wrote = func(context.Context) { n++ }
	path := filepath.Join(t.TempDir(), "whole.db")
	_, err := f.BackupTo(t.Context(), path)
	require.NoError(t, err)
	return n
}

func TestABackupThatIsBrokenOffAnywhere(t *testing.T) {
	f, s := openForBackup(t)
	for i := range 10 {
		require.NoError(t, putAccount(t.Context(), s, fmt.Sprint("user", i), 1<<20))
	}
	last := filepath.Join(t.TempDir(), "last.db")
	require.NoError(t, os.WriteFile(last, []byte("the last one"), 0o600))
	total := steps(t, f)
	gone := errors.New("the client has gone")
	for _, at := range []int{1, 2, 3, 4, 5, total / 2, total - 3, total - 2, total - 1} {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		f.backups.wrote = func(context.Context) {
			if n++; n == at {
				cancel(gone)
			}
		}
		_, err := f.BackupTo(ctx, last)
		require.ErrorIs(t, err, gone, "at %d of %d", at, total)
		kept, err := os.ReadFile(last)
		require.NoError(t, err)
		require.Equal(t, "the last one", string(kept))
		requireNothingLeftBeside(t, last)
		requireNothingLeftBeside(t, f.Path)
		n = 0
		ctx, cancel = context.WithCancelCause(t.Context())
		_, err = f.Backup(ctx)
		require.ErrorIs(t, err, gone)
		requireNothingLeftBeside(t, f.Path)
		cancel(nil)
	}
	f.backups.wrote = nil
	require.NoError(t, putAccount(t.Context(), s, "late", 1))
	contents, err := f.BackupTo(t.Context(), last)
	require.NoError(t, err)
	require.Equal(t, 11, contents.Accounts)
}

// The disk fills while the copy is made, after it was asked how much room it has.
func TestABackupOntoADiskThatFills(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skip("cannot mount a tmpfs here: ", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	f, s := openForBackup(t)
	for i := range 12 {
		require.NoError(t, putAccount(t.Context(), s, fmt.Sprint("user", i), 1<<20))
	}
	last, ballast := filepath.Join(disk, "last.db"), filepath.Join(disk, "ballast")
	require.NoError(t, os.WriteFile(last, []byte("the last one"), 0o600))
	total := steps(t, f)
	n := 0
	f.backups.wrote = func(context.Context) {
		if n++; n != total-1 {
			return
		}
		file, err := os.Create(ballast)
		for chunk := make([]byte, 4096); err == nil; {
			_, err = file.Write(chunk)
		}
		_ = file.Close()
	}
	_, err := f.BackupTo(t.Context(), last)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, os.Remove(ballast))
	kept, err := os.ReadFile(last)
	require.NoError(t, err)
	require.Equal(t, "the last one", string(kept))
	requireNothingLeftBeside(t, last)
	requireNothingLeftBeside(t, f.Path)
	f.backups.wrote = nil

	require.NoError(t, os.WriteFile(ballast, make([]byte, 50<<20), 0o600))
	_, err = f.BackupTo(t.Context(), last)
	require.ErrorIs(t, err, wholefile.ErrNoRoom, "there it is known before")
	require.NoError(t, os.Remove(ballast))
	_, err = f.BackupTo(t.Context(), last)
	require.NoError(t, err)

	// A restore onto it says so too, before it begins.
	require.NoError(t, os.WriteFile(ballast, make([]byte, 40<<20), 0o600))
	_, err = Restore(filepath.Join(disk, "other.db"), last, time.Now(), nil)
	require.ErrorIs(t, err, wholefile.ErrNoRoom)
}

func TestABackupThatCantBegin(t *testing.T) {
	f, s := openForBackup(t)
	require.NoError(t, putAccount(t.Context(), s, "ada", 1))
	_, err := f.BackupTo(t.Context(), filepath.Join(t.TempDir(), "missing", "b.db"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Backup(ctx)
	require.ErrorIs(t, err, context.Canceled)
	b, err := s.Backup(t.Context())
	require.NoError(t, err)
	require.Positive(t, b.Size)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "as often as one likes")
	requireNothingLeftBeside(t, f.Path)
	require.NoError(t, f.Close())
	_, err = s.Backup(t.Context())
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = f.BackupTo(t.Context(), f.Path+".bak")
	require.ErrorIs(t, err, fs.ErrClosed)
	requireNothingLeftBeside(t, f.Path)

	require.Error(t, compact(t.Context(), f.Path, filepath.Join(t.TempDir(), "missing", "x.db"), nil))
	require.Error(t, compact(t.Context(), filepath.Join(t.TempDir(), "missing.db"), f.Path+".x", nil))
	require.ErrorIs(t, trim(filepath.Join(t.TempDir(), "missing.db")), fs.ErrNotExist)
	bad := filepath.Join(t.TempDir(), "bad.db")
	require.NoError(t, os.WriteFile(bad, make([]byte, 8192), 0o600))
	require.ErrorIs(t, trim(bad), errBadPage)
}
