// backup_linux_test.go: the account file is copied beside sign-ups, to a full disk, to
// nobody who reads, and by one who is killed.

package faults_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	accounts "github.com/seed-928992b0/caddy-registration/store"
	accountfile "github.com/seed-928992b0/caddy-registration/store/bolt"
)

// backupSite is a site whose store has weight: 20 000 accounts, some 60 MB.
func backupSite(t *testing.T) (s *served.Server, store string) {
	t.Helper()
	s = served.NewServer(t)
	s.Configure(strings.NewReplacer("field plan choice", "field weight text {\n max_length 4000\n hidden\n }\n field plan choice").Replace(served.AdminSite))
	store = filepath.Join(s.DataDir(), "registration.db")
	f, err := accountfile.Open(store, time.Second)
	require.NoError(t, err)
	realm, err := f.Realm("default")
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, realm.Update(t.Context(), func(tx accounts.Tx) error {
			for range 1000 {
				id := uuid.Must(uuid.NewV7())
				u := &accounts.User{ID: id, Username: id.String(), Extra: map[string]any{"weight": strings.Repeat("w", 2500)}}
				if err := tx.PutUser(u, []accounts.Key{{Field: "username", Value: id.String()}}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, f.Close())
	s.Start()
	return s, store
}

func backup(s *served.Server, file string) (string, error) {
	out, err := s.Command("registration", "backup", file, "--address", fmt.Sprintf("127.0.0.1:%d", s.Admin)).CombinedOutput()
	return string(out), err
}

// signUps signs people up, several at once, until stop is closed; how long each took
// and who had his answer is told.
func signUps(s *served.Server, prefix string, stop <-chan struct{}, acknowledged *sync.Map) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("%s-%d-%d", prefix, w, i)
				body, _ := json.Marshal(served.Newcomer(name))
				began := time.Now()
				res, err := http.Post(s.Base()+"/accounts/register", "application/json", bytes.NewReader(body))
				if err != nil {
					continue
				}
				_ = res.Body.Close()
				if res.StatusCode == http.StatusCreated {
					acknowledged.Store(name, true)
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(took)
	return took
}

// Sign-ups beside a backup are held against the same ones without it: the machine
// that runs the tests may be slow and busy.
func TestBackupBesideSignUpsAndRestore(t *testing.T) {
	served.Embedded(t)
	s, store := backupSite(t)
	var acknowledged sync.Map
	alone := make(chan struct{})
	time.AfterFunc(4*time.Second, func() { close(alone) })
	before := signUps(s, "alone", alone, &acknowledged)
	require.NotEmpty(t, before)

	beside := make(chan struct{})
	file := filepath.Join(s.Dir, "backup.db")
	var names []string
	var failed error
	var said string
	go func() {
		defer close(beside)
		for range 2 {
			names = nil
			acknowledged.Range(func(name, _ any) bool { names = append(names, name.(string)); return true })
			if said, failed = backup(s, file); failed != nil {
				return
			}
		}
	}()
	began := time.Now()
	during := signUps(s, "beside", beside, &acknowledged)
	took := time.Since(began) // of two backups
	require.NoError(t, failed, said)
	require.Contains(t, said, "1 realm")
	require.NotEmpty(t, during)
	t.Logf("alone %d: median %v, most %v; beside backups %d: median %v, most %v", len(before), before[len(before)/2], before[len(before)-1], len(during), during[len(during)/2], during[len(during)-1])
	// The few slowest tell of the machine; who stood behind a copy would be all, and wait
	// for all of it. Beside a backup, and on a busy machine, everything is slower.
	require.Less(t, during[len(during)/2], 5*before[len(before)/2]+250*time.Millisecond+took/4)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	restore := func(args ...string) (string, error) {
		out, err := s.Command(append([]string{"registration", "restore", file}, args...)...).CombinedOutput()
		return string(out), err
	}
	said, err = restore("--config", s.ConfigFile())
	require.Error(t, err)
	require.Contains(t, said, "a server runs at")
	said, err = restore("--store", store)
	require.Error(t, err)
	require.Contains(t, said, "is locked")
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("later"))
	s.Stop()
	said, err = restore("--config", s.ConfigFile(), "--adapter", "caddyfile")
	require.NoError(t, err, said)
	require.Contains(t, said, store+".before-restore-")
	s.Start()
	for _, name := range names {
		require.Equal(t, http.StatusOK, s.AdminRequest(http.MethodGet, "/registration/default/users/"+name, "", "").StatusCode, name)
	}
	require.Equal(t, http.StatusNotFound, s.AdminRequest(http.MethodGet, "/registration/default/users/later", "", "").StatusCode)
}

func TestBackupToAFullDiskAndASlowReader(t *testing.T) {
	served.Embedded(t)
	s, store := backupSite(t)
	disk := mount(t, "size=4m", 0)
	file := filepath.Join(disk, "backup.db")
	require.NoError(t, os.WriteFile(file, []byte("the last one"), 0o600))
	said, err := backup(s, file)
	require.Error(t, err)
	require.Contains(t, said, "there is no room")
	require.Contains(t, said, "is still the one from before")
	require.Equal(t, "the last one", string(served.ReadFile(t, file)))
	entries, err := os.ReadDir(disk)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	// Nobody reads this one.
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/registration/default/backup", s.Admin))
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("meanwhile"))
	said, err = backup(s, filepath.Join(s.Dir, "other.db"))
	require.NoError(t, err, said)
	require.Equal(t, http.StatusBadRequest, s.AdminRequest(http.MethodGet, "/registration/default/backup?path=/tmp/x", "", "").StatusCode)

	// Killed on the way, the last one is whole, and the next start tidies up.
	cmd := s.Command("registration", "backup", filepath.Join(s.Dir, "other.db"), "--address", fmt.Sprintf("127.0.0.1:%d", s.Admin))
	require.NoError(t, cmd.Start())
	beside := func() (found []string) {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(store), ".registration.db.*"))
		require.NoError(t, err)
		return found
	}
	for deadline := time.Now().Add(served.Patience); len(beside()) == 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	s.Kill()
	_ = cmd.Wait()
	_, err = accountfile.Verify(filepath.Join(s.Dir, "other.db"))
	require.NoError(t, err)
	s.Start()
	require.Empty(t, beside())
}
