//go:build unix

// store_crash_test.go: what remains of the embedded store's file when the
// process is killed.

package bolt_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// crashChildEnv names the file that the re-executed test binary writes to.
const crashChildEnv = "REGISTRATION_TEST_CRASH_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashChildEnv); path != "" {
		fmt.Fprintln(os.Stderr, crashChild(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashChild writes accounts with a session and a mail each from eight
// goroutines until it is killed, and prints the id of every acknowledged one.
func crashChild(path string) error {
	f, err := bolt.Open(path, testLockWait)
	if err != nil {
		return err
	}
	s, err := f.Realm("default")
	if err != nil {
		return err
	}
	errs := make(chan error)
	var mu sync.Mutex
	for range 8 {
		go func() {
			for {
				id, err := crashAct(s)
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println(id) // one write each, not buffered
				mu.Unlock()
			}
		}()
	}
	return <-errs
}

func crashAct(s store.Store) (uuid.UUID, error) {
	at := time.Now()
	id := uuid.Must(uuid.NewV7())
	u := &store.User{ID: id, Username: id.String(), Email: id.String() + "@example.org", DateJoined: at}
	m := &store.Mail{To: u.Email, User: id, Kind: store.MailVerifyRegistration, Queued: at, Due: at}
	return id, s.Update(context.Background(), func(tx store.Tx) error {
		if err := tx.PutUser(u, []store.Key{{Field: "email", Value: u.Email}}); err != nil {
			return err
		}
		if err := tx.PutSession(&store.Session{Hash: sha256.Sum256(id[:]), User: id, Created: at, Expires: at}); err != nil {
			return err
		}
		return tx.PutMail(m)
	})
}

func TestBoltFileSurvivesBeingKilled(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	path := filepath.Join(t.TempDir(), "accounts.db")
	acknowledged := map[uuid.UUID]bool{}
	for round := range rounds {
		before := len(acknowledged)
		killAmidWrites(t, path, acknowledged)
		require.Greater(t, len(acknowledged), before, "round %d wrote nothing", round)
		checkAfterCrash(t, path, acknowledged)
	}
	t.Logf("%d acknowledged acts over %d kills", len(acknowledged), rounds)
}

// killAmidWrites runs a child, kills it some time after its first
// acknowledgement, and adds what it acknowledged.
func killAmidWrites(t *testing.T, path string, acknowledged map[uuid.UUID]bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashChildEnv+"="+path)
	var stderr strings.Builder
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(stdout)
	var kill *time.Timer
	for lines.Scan() {
		if kill == nil {
			// Between two fsyncs, within one, or in the write: anything may be hit.
			kill = time.AfterFunc(time.Duration(rand.Int64N(int64(300*time.Millisecond))), func() { _ = child.Process.Kill() })
		}
		// The last line may be cut off by the kill.
		if id, err := uuid.Parse(lines.Text()); err == nil {
			acknowledged[id] = true
		}
	}
	_ = child.Wait()
	require.NotNil(t, kill, "the child wrote nothing: %s", stderr.String())
	status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "the child ended by itself: %s", stderr.String())
}

func checkAfterCrash(t *testing.T, path string, acknowledged map[uuid.UUID]bool) {
	t.Helper()
	f, err := bolt.Open(path, testLockWait)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	s, err := f.Realm("default")
	require.NoError(t, err)
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		mails, err := tx.Mails(0, 1<<30)
		require.NoError(t, err)
		mailOf := make(map[uuid.UUID]bool, len(mails))
		for _, m := range mails {
			mailOf[m.User] = true
		}
		require.Len(t, mailOf, len(mails), "two mails of one account")
		users, err := tx.Users(uuid.Nil, 1<<30)
		require.NoError(t, err)
		require.Len(t, mails, len(users))
		found := make(map[uuid.UUID]bool, len(users))
		for _, u := range users {
			found[u.ID] = true
			if !mailOf[u.ID] {
				return fmt.Errorf("account %s without its mail", u.ID)
			}
			if byKey, err := tx.UserByKey("email", u.Email); err != nil || byKey.ID != u.ID {
				return fmt.Errorf("account %s without its key: %w", u.ID, err)
			}
			if sessions, err := tx.Sessions(u.ID, 9); err != nil || len(sessions) != 1 {
				return fmt.Errorf("account %s has %d sessions: %w", u.ID, len(sessions), err)
			}
		}
		for id := range acknowledged {
			if !found[id] {
				return fmt.Errorf("the acknowledged account %s is lost", id)
			}
		}
		return nil
	}))
}
