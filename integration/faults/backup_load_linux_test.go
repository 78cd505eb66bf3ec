// backup_load_linux_test.go: fifty people a second sign up while the store is backed
// up and outgrows its map.

package faults_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// arrivals signs up fifty people a second, whatever becomes of those before, and
// returns how long each took from when he came, and who had his answer.
func arrivals(s *served.Server, prefix string, stop <-chan struct{}) (took []time.Duration, names []string) {
	const every = time.Second / 50
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var people sync.WaitGroup
	begin := time.Now()
	for i := 0; ; i++ {
		select {
		case <-stop:
			people.Wait()
			slices.Sort(took)
			return took, names
		default:
		}
		due := begin.Add(time.Duration(i) * every)
		time.Sleep(time.Until(due))
		people.Go(func() {
			name := fmt.Sprintf("%s-%d", prefix, i)
			body, _ := json.Marshal(served.Newcomer(name))
			res, err := client.Post(s.Base()+"/accounts/register", "application/json", bytes.NewReader(body))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(due))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusCreated {
				names = append(names, name)
			}
		})
	}
}

// weights is how many fields of 4000 bytes an account of that site may have.
const weights = 8

// writesBesides writes 20 large records a second until stop: new ones, which make the
// file grow, or one that is there.
func writesBesides(s *served.Server, stop <-chan struct{}, method, below string, name func(i int) string) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Second / 20):
			}
			fields := data{}
			for n := range weights {
				fields[fmt.Sprint("weight", n)] = strings.Repeat("v", 4000)
			}
			if method == http.MethodPost {
				fields = data{"username": name(i), "fields": fields}
			}
			body, _ := json.Marshal(fields)
			req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/registration/default/users%s", s.Admin, below), bytes.NewReader(body))
			if err != nil {
				return
			}
			req.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}
	}()
	return done
}

// TestFaultBackupBesideSignUps holds sign-ups beside backups against the same without
// them, on one machine. The address space of the server is limited, so that its map of
// the file is small and has to be moved, which otherwise happens beyond 16 GiB.
func TestFaultBackupBesideSignUps(t *testing.T) {
	served.Embedded(t)
	if !long {
		t.Skip("measures how long things take; set REGISTRATION_FAULTS=long")
	}
	s := served.NewServer(t)
	s.Env = append(s.Env, "CADDY_REGISTRATION_HASHING=off")
	var many strings.Builder
	for n := range weights {
		fmt.Fprintf(&many, "field weight%d text {\n max_length 4000\n hidden\n }\n ", n)
	}
	s.Configure(strings.NewReplacer("field plan choice", many.String()+"field plan choice", "from no-reply", "password {\n argon2id 8KiB 1 1\n }\n from no-reply").Replace(served.AdminSite))
	path := filepath.Join(s.DataDir(), "registration.db")
	heavy, first := 0, ""
	f, err := accountfile.Open(path, time.Second)
	require.NoError(t, err)
	realm, err := f.Realm("default")
	require.NoError(t, err)
	for info, err := os.Stat(path); err == nil && info.Size() < 56<<20; info, err = os.Stat(path) { // its map has 64 MB
		require.NoError(t, realm.Update(t.Context(), func(tx accounts.Tx) error {
			for range 250 {
				id := uuid.Must(uuid.NewV7())
				heavy, first = heavy+1, id.String()
				u := &accounts.User{ID: id, Username: id.String(), Extra: map[string]any{"weight0": strings.Repeat("w", 2500)}}
				if err := tx.PutUser(u, []accounts.Key{{Field: "username", Value: id.String()}}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, f.Close())

	// As large as it gets without the map, and less than a gigabyte for that.
	s.Start()
	limit := memory(s, "VmPeak") - 16<<30 + 768<<20
	s.Stop()
	plain := s.Command("run", "--adapter", "caddyfile", "--config", s.ConfigFile())
	s.Cmd = exec.Command("sh", append([]string{"-c", "ulimit -v " + strconv.FormatInt(limit>>10, 10) + ` && exec "$0" "$@"`}, plain.Args...)...)
	s.Cmd.Env, s.Cmd.Dir, s.Cmd.Stdout, s.Cmd.Stderr = plain.Env, plain.Dir, s.Log, s.Log
	done := make(chan struct{})
	s.Done = done
	mark := s.Log.Mark()
	require.NoError(t, s.Cmd.Start())
	go func() { _ = s.Cmd.Wait(); close(done) }()
	require.True(t, s.Log.Wait(mark, done, "serving initial configuration"))
	size := mapOf(t, s, path)
	require.Less(t, size, int64(256<<20), "the map is small")
	info, err := os.Stat(path)
	require.NoError(t, err)
	began := info.Size()
	t.Logf("the file has %d MB, the map %d", began>>20, size>>20)

	var alone, beside []time.Duration
	var acknowledged []string
	file := filepath.Join(s.Dir, "backup.db")
	moved := 0
	for round := range 5 {
		stop := make(chan struct{})
		time.AfterFunc(6*time.Second, func() { close(stop) })
		growing := writesBesides(s, stop, http.MethodPatch, "/"+first, nil)
		took, names := arrivals(s, fmt.Sprintf("alone%d", round), stop)
		<-growing
		alone, acknowledged = append(alone, took...), append(acknowledged, names...)
		before := len(acknowledged)

		stop = make(chan struct{})
		var said string
		var failed error
		go func() {
			defer close(stop)
			for range 4 {
				if said, failed = backup(s, file); failed != nil {
					return
				}
			}
		}()
		growing = writesBesides(s, stop, http.MethodPost, "", func(i int) string { return fmt.Sprintf("heavy%d-%d", round, i) })
		took, names = arrivals(s, fmt.Sprintf("beside%d", round), stop)
		<-growing
		require.NoError(t, failed, said)
		beside = append(beside, took...)
		contents, err := accountfile.Verify(file)
		require.NoError(t, err)
		require.GreaterOrEqual(t, contents.Accounts, heavy+before, "every account that was acknowledged before")
		acknowledged = append(acknowledged, names...)
		if now := mapOf(t, s, path); now != size {
			moved, size = moved+1, now
		}
	}
	slices.Sort(alone)
	slices.Sort(beside)
	at := func(took []time.Duration, part float64) time.Duration {
		return took[int(part*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	say := func(took []time.Duration) string {
		return fmt.Sprintf("%d sign-ups: median %v, 99 %% %v, slowest %v", len(took), at(took, 0.5), at(took, 0.99), at(took, 1))
	}
	info, err = os.Stat(path)
	require.NoError(t, err)
	seen := fmt.Sprintf("alone %s; beside %s; the map moved %d times, the file grew from %d to %d MB; %d of %d acknowledged", say(alone), say(beside), moved, began>>20, info.Size()>>20, len(acknowledged), len(alone)+len(beside))
	t.Log(seen)
	require.Len(t, acknowledged, len(alone)+len(beside), "nobody is refused")
	require.Less(t, at(beside, 0.99)-at(alone, 0.99), 100*time.Millisecond)
	faultResult(t, "50 sign-ups a second beside backups of a store that outgrows its map", "nobody waits 100 ms for the backup; it has every account acknowledged before", seen)
}

// mapOf is how large the server's map of a file is.
func mapOf(t *testing.T, s *served.Server, path string) (size int64) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.Cmd.Process.Pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), path) {
			var from, to int64
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			require.NoError(t, err)
			size += to - from
		}
	}
	require.Positive(t, size)
	return size
}
