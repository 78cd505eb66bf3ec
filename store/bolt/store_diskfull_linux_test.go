// store_diskfull_linux_test.go: the embedded store on a disk that is full.

package bolt_test

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func TestBoltStoreHealsAfterAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a tmpfs here: ", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	f := openFile(t, filepath.Join(dir, "accounts.db"))
	s := openRealm(t, f, "default")
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 512<<10), 0o600))

	acknowledged := map[uuid.UUID]bool{}
	var full error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 { // full while others wait for the same commit
		wg.Go(func() {
			for {
				id, err := crashAct(s)
				mu.Lock()
				if err == nil {
					acknowledged[id] = true
				} else {
					full = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	require.ErrorIs(t, full, syscall.ENOSPC)
	require.ErrorContains(t, full, "the disk is full")
	require.ErrorContains(t, full, dir)
	require.NotEmpty(t, acknowledged)
	countUsers := func() (n int) {
		require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
			users, err := tx.Users(uuid.Nil, 1<<30)
			n = len(users)
			return err
		}))
		return n
	}
	require.Equal(t, len(acknowledged), countUsers(), "reads go on, and a refused act left nothing")

	require.NoError(t, os.Remove(ballast))
	for range 20 {
		id, err := crashAct(s)
		require.NoError(t, err)
		acknowledged[id] = true
	}
	require.Equal(t, len(acknowledged), countUsers())
	require.NoError(t, f.Close())
	checkAfterCrash(t, filepath.Join(dir, "accounts.db"), acknowledged)
}
