// backup_offline_linux_test.go: a backup by itself onto a full disk, and the command
// without a server: what it holds in memory, and what it leaves when it is killed.

package faults_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	accounts "github.com/seed-928992b0/caddy-registration/store"
	accountfile "github.com/seed-928992b0/caddy-registration/store/bolt"
)

func TestScheduledBackupToAFullDisk(t *testing.T) {
	served.Embedded(t)
	disk := mount(t, "size=64m", 0)
	s := served.NewServer(t)
	folder := filepath.Join(disk, "backups")
	s.Values["backups"] = folder
	s.Configure(scheduledSite("every 1h keep 1"))
	s.Start()
	s.Logged(0, backedUp, folder)
	s.Stop()
	made, err := filepath.Glob(filepath.Join(folder, "*.db"))
	require.NoError(t, err)
	require.Len(t, made, 1)
	last := filepath.Join(folder, "registration-"+time.Now().Add(-2*time.Hour).UTC().Format("20060102T150405Z")+".db")
	require.NoError(t, os.Rename(made[0], last))
	whole := served.ReadFile(t, last)
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	require.NoError(t, err)
	for chunk := make([]byte, 4096); err == nil; {
		_, err = ballast.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, ballast.Close())

	mark := s.Log.Mark()
	s.Start()
	line := s.Logged(mark, "could not be backed up", folder)
	require.Contains(t, line, last, "which one is the last good one")
	require.Contains(t, line, "there is no room")
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	s.Stop()
	require.Equal(t, whole, served.ReadFile(t, last))
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	mark = s.Log.Mark()
	require.NoError(t, os.Remove(ballast.Name()))
	s.Start()
	s.Logged(mark, backedUp, folder)
	s.Stop()
	require.NoFileExists(t, last, "one is kept")
}

// offlineSite has a store of so many MB that no server has open.
func offlineSite(t *testing.T, megabytes int) *served.Server {
	t.Helper()
	s := served.NewServer(t)
	s.Configure(served.PlainSite)
	f, err := accountfile.Open(filepath.Join(s.DataDir(), "registration.db"), time.Second)
	require.NoError(t, err)
	realm, err := f.Realm("default")
	require.NoError(t, err)
	for range megabytes {
		require.NoError(t, realm.Update(t.Context(), func(tx accounts.Tx) error {
			for range 16 {
				id := uuid.Must(uuid.NewV7())
				u := &accounts.User{ID: id, Username: id.String(), Extra: map[string]any{"weight": strings.Repeat("w", 60_000)}}
				if err := tx.PutUser(u, []accounts.Key{{Field: "username", Value: id.String()}}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, f.Close())
	s.Start() // which makes the index of the logins, once
	s.Stop()
	return s
}

// Without a server the command reads its own answer as it is written: a large store
// takes hardly more memory of its own than a small one.
func TestOfflineBackupIsNotHeldInMemory(t *testing.T) {
	served.Embedded(t)
	peak := func(megabytes int) int64 {
		s := offlineSite(t, megabytes)
		file := filepath.Join(s.Dir, "backup.db")
		cmd := s.Command("registration", "backup", file, "--config", s.ConfigFile())
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		most := int64(0)
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, stdout)
			done <- errors.Join(err, cmd.Wait())
		}()
		for {
			select {
			case err := <-done:
				require.NoError(t, err)
				contents, err := accountfile.Verify(file)
				require.NoError(t, err)
				require.Equal(t, megabytes*16, contents.Accounts)
				return most
			case <-time.After(time.Millisecond):
				most = max(most, anonymous(cmd.Process.Pid))
			}
		}
	}
	small, large := peak(2), peak(200)
	t.Logf("memory of its own: %d MB for 2 MB, %d MB for 200 MB", small>>20, large>>20)
	require.Less(t, large-small, int64(100<<20))
}

// anonymous is the memory that a process has beside its mapped files.
func anonymous(pid int) int64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// What a killed command leaves goes with the next backup, and the store is as it was.
func TestKilledBackupCommandLeavesAnUnfinishedFile(t *testing.T) {
	served.Embedded(t)
	s := offlineSite(t, 60)
	file := filepath.Join(s.Dir, "backup.db")
	unfinished := func() []string {
		found, err := filepath.Glob(filepath.Join(s.Dir, ".backup.db.unfinished-*"))
		require.NoError(t, err)
		return found
	}
	run := func() *exec.Cmd {
		return s.Command("registration", "backup", file, "--store", filepath.Join(s.DataDir(), "registration.db"))
	}
	cmd := run()
	require.NoError(t, cmd.Start())
	require.True(t, served.Eventually(func() bool { return len(unfinished()) == 1 }, 100*time.Microsecond))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Len(t, unfinished(), 1)
	require.NoFileExists(t, file)
	out, err := run().CombinedOutput()
	require.NoError(t, err, string(out))
	require.Empty(t, unfinished())
	contents, err := accountfile.Verify(file)
	require.NoError(t, err)
	require.Equal(t, 60*16, contents.Accounts)
}
