// backup_schedule_test.go: the store is backed up by itself: over restarts and reloads,
// onto a full disk, and back.

package faults_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	accountfile "github.com/seed-928992b0/caddy-registration/store/bolt"
)

const backedUp = "the store has been backed up"

// scheduledSite keeps backups in [[backups]].
func scheduledSite(words string) string {
	return strings.Replace(served.PlainSite, "registration {", "registration {\n\t\tstore bbolt {\n\t\t\tbackup [[backups]] "+words+"\n\t\t}", 1)
}

func TestScheduledBackup(t *testing.T) {
	s := served.NewServer(t)
	folder := filepath.Join(s.Dir, "backups", "accounts")
	s.Values["backups"] = folder
	s.Configure(scheduledSite("every 1h keep 2"))
	made := func() []string {
		found, err := filepath.Glob(filepath.Join(folder, "*.db"))
		require.NoError(t, err)
		return found
	}
	s.Start()
	s.Logged(0, backedUp, folder)
	require.Len(t, made(), 1, "the first at once")
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))

	// What is there is an hour older now, as is another: at the next start one is due.
	named := func(ago time.Duration) string {
		return filepath.Join(folder, "registration-"+time.Now().Add(-ago).UTC().Format("20060102T150405Z")+".db")
	}
	s.Stop()
	older := named(2 * time.Hour)
	require.NoError(t, os.Rename(made()[0], older))
	raw := served.ReadFile(t, older)
	for _, path := range []string{named(3 * time.Hour), named(4 * time.Hour), filepath.Join(folder, "mine.db")} {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
	}
	killed := filepath.Join(folder, "."+filepath.Base(named(5*time.Hour))+".unfinished-12345")
	require.NoError(t, os.WriteFile(killed, raw[:100], 0o600))
	mark := s.Log.Mark()
	s.Start()
	s.Logged(mark, backedUp, folder)
	require.True(t, served.Eventually(func() bool { return len(made()) == 3 }, time.Millisecond), "two are kept beside a file of others: %v", made())
	require.FileExists(t, older)
	require.FileExists(t, filepath.Join(folder, "mine.db"))
	require.NoFileExists(t, killed)
	newest := made()[2]
	require.Equal(t, os.FileMode(0o600), mode(t, newest))
	require.Equal(t, os.FileMode(0o700), mode(t, folder))
	contents, err := accountfile.Verify(newest)
	require.NoError(t, err)
	require.Equal(t, 1, contents.Accounts)

	// A reload changes what is kept; nothing is due yet, so nothing goes.
	require.Equal(t, http.StatusOK, s.Load(scheduledSite("every 2h keep 1")).StatusCode)
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("grace"))
	require.Len(t, made(), 3)

	// And back.
	s.Stop()
	out, err := s.Command("registration", "restore", newest, "--config", s.ConfigFile()).CombinedOutput()
	require.NoError(t, err, string(out))
	s.Start()
	require.Equal(t, http.StatusOK, s.AdminRequest(http.MethodGet, "/registration/default/users/ada", "", "").StatusCode)
	require.Equal(t, http.StatusNotFound, s.AdminRequest(http.MethodGet, "/registration/default/users/grace", "", "").StatusCode)
	s.Stop()
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode().Perm()
}
