// backup_internal_test.go: backups of the embedded store: under load, with a disk
// that stalls, broken off; and their restoring.

package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

func openForBackup(t *testing.T) (*File, *Store) {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "accounts.db"), time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	s, err := f.Realm("default")
	require.NoError(t, err)
	return f, s
}

// openWithSmallMap has a map as large as the file, as it is on Windows and where the
// address space is limited.
func openWithSmallMap(t *testing.T) (*File, *Store) {
	t.Helper()
	f, s := openForBackup(t)
	require.NoError(t, f.Db.Close())
	db, err := bolt.Open(f.Path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistArrayType})
	require.NoError(t, err)
	f.Db, f.commits.db = db, db
	return f, s
}

func putAccount(ctx context.Context, s *Store, name string, weight int) error {
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: name, Extra: map[string]any{"weight": string(make([]byte, weight))}}
	return s.Update(ctx, func(tx store.Tx) error {
		return tx.PutUser(u, []store.Key{{Field: "username", Value: name}})
	})
}

func requireNothingLeftBeside(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "%v", entries)
}

// A copy that stalls in its transaction would hold up a writer who needs a larger one, and with
// him everybody.
func TestBackupGivesWayWhereTheMapHasToMove(t *testing.T) {
	f, s := openWithSmallMap(t)
	require.NoError(t, putAccount(t.Context(), s, "first", 1<<20))

	stalled, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var pieces atomic.Int64
	f.backups.wrote = func(ctx context.Context) {
		if pieces.Add(1) > metaPieces {
			once.Do(func() { close(stalled); <-goOn })
		}
	}
	type result struct {
		b   *store.Backup
		err error
	}
	made := make(chan result, 1)
	go func() {
		b, err := f.Backup(context.Background())
		made <- result{b, err}
	}()
	<-stalled
	wrote := make(chan error, 1)
	go func() {
		for i := range 8 { // far past the map
			if err := putAccount(context.Background(), s, fmt.Sprint("user", i), 1<<20); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	select {
	case err := <-wrote: // while the copy still stalls
		require.NoError(t, err)
	case <-time.After(time.Minute):
		close(goOn)
		require.Fail(t, "a writer waits for the copy")
	}
	close(goOn)
	r := <-made
	require.NoError(t, r.err)
	defer func() { _ = r.b.Close() }()
	path := filepath.Join(t.TempDir(), "backup.db")
	out, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(out, r.b)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	contents, err := Verify(path)
	require.NoError(t, err)
	require.Equal(t, 9, contents.Accounts, "it began again after the writer")
}

// writersLatencies has 50 accounts a second written for some time, whatever becomes of
// those before, and returns how long each took from when it was due, and how often the
// map was moved.
func writersLatencies(t *testing.T, f *File, s *Store, seconds int) (took []time.Duration, moved int) {
	t.Helper()
	const perSecond, weight = 50, 40 << 10
	where := func() (at uintptr) {
		require.NoError(t, f.Db.View(func(*bolt.Tx) error { at = f.Db.Info().Data; return nil }))
		return at
	}
	took = make([]time.Duration, seconds*perSecond)
	var writers sync.WaitGroup
	begin, last := time.Now(), where()
	for i := range took {
		due := begin.Add(time.Duration(i) * time.Second / perSecond)
		time.Sleep(time.Until(due))
		writers.Go(func() {
			assert.NoError(t, putAccount(context.Background(), s, uuid.NewString(), weight))
			took[i] = time.Since(due)
		})
		if i%perSecond == 0 {
			if now := where(); now != last {
				moved, last = moved+1, now
			}
		}
	}
	writers.Wait()
	slices.Sort(took)
	return took, moved
}

// Fifty accounts a second, a disk so slow that copies stand in the way nearly always, and
// a map that the file outgrows again and again: beside backups nobody waits 100 ms
// longer than without them. Held against each other on one machine, in the long form
// alone: the short one has TestBackupGivesWayWhereTheMapHasToMove.
func TestFaultWritersBesideABackup(t *testing.T) {
	if os.Getenv("REGISTRATION_FAULTS") != "long" {
		t.Skip("measures how long things take; set REGISTRATION_FAULTS=long")
	}
	const seconds = 15
	f, s := openWithSmallMap(t)
	alone, movedAlone := writersLatencies(t, f, s, seconds)

	f, s = openWithSmallMap(t)
	f.backups.wrote = func(context.Context) { time.Sleep(time.Millisecond) }
	done, copies := make(chan struct{}), 0
	ctx, end := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; copies++ {
			b, err := f.Backup(ctx)
			if ctx.Err() == nil {
				assert.NoError(t, err)
			}
			if err == nil {
				_ = b.Close()
			}
		}
	}()
	beside, moved := writersLatencies(t, f, s, seconds)
	end()
	<-done
	at := func(took []time.Duration, part float64) time.Duration {
		return took[int(part*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	for _, c := range []struct {
		name  string
		took  []time.Duration
		moved int
	}{{"alone", alone, movedAlone}, {"beside backups", beside, moved}} {
		t.Logf("%s: %d writes, the map moved %d times; median %v, 99 %% %v, slowest %v", c.name, len(c.took), c.moved, at(c.took, 0.5), at(c.took, 0.99), at(c.took, 1))
	}
	t.Logf("%d copies", copies)
	require.Positive(t, moved)
	require.Less(t, at(beside, 0.99)-at(alone, 0.99), 100*time.Millisecond)
}

func TestBackupIsCompacted(t *testing.T) {
	f, s := openForBackup(t)
	for i := range 20 {
		require.NoError(t, putAccount(t.Context(), s, fmt.Sprint("user", i), 1<<20))
	}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		users, err := tx.Users(uuid.Nil, 19)
		for _, u := range users {
			err = errors.Join(err, tx.DeleteUser(u.ID))
		}
		return err
	}))
	require.NoError(t, putAccount(t.Context(), s, "late", 1))
	require.NoError(t, s.Tidy(func() bool { return true })) // puts free pages aside
	path := filepath.Join(filepath.Dir(f.Path), "backup.db")
	contents, err := f.BackupTo(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, 2, contents.Accounts)
	require.Equal(t, []string{"default"}, contents.Realms)
	require.Less(t, contents.Size, int64(2<<20))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.Remove(path))
	requireNothingLeftBeside(t, f.Path)
}

func TestOneBackupAtATime(t *testing.T) {
	f, s := openForBackup(t)
	require.NoError(t, putAccount(t.Context(), s, "ada", 1))
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.backups.wrote = func(context.Context) { once.Do(func() { close(begun); <-goOn }) }
	done := make(chan error, 1)
	go func() {
		_, err := f.BackupTo(context.Background(), f.Path+".bak")
		done <- err
	}()
	<-begun
	_, err := f.Backup(t.Context())
	require.ErrorIs(t, err, store.ErrBackupRunning)
	close(goOn)
	require.NoError(t, <-done)
}

func TestClosingTheStoreEndsABackup(t *testing.T) {
	f, s := openForBackup(t)
	require.NoError(t, putAccount(t.Context(), s, "ada", 1<<20))
	begun, closing := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	f.backups.wrote = func(ctx context.Context) {
		once.Do(func() {
			close(begun)
			<-ctx.Done()
		})
	}
	old := f.Path + ".bak"
	require.NoError(t, os.WriteFile(old, []byte("the last one"), 0o600))
	done := make(chan error, 1)
	go func() {
		_, err := f.BackupTo(context.Background(), old)
		done <- err
	}()
	<-begun
	go func() { closing <- f.Close() }()
	require.ErrorIs(t, <-done, os.ErrClosed)
	require.NoError(t, <-closing)
	kept, err := os.ReadFile(old)
	require.NoError(t, err)
	require.Equal(t, "the last one", string(kept))
	require.NoError(t, os.Remove(old))
	requireNothingLeftBeside(t, f.Path)
}

func TestOpeningRemovesWhatABrokenOffBackupHasLeft(t *testing.T) {
	f, _ := openForBackup(t)
	require.NoError(t, f.Close())
	dir := filepath.Dir(f.Path)
	for _, left := range []string{".accounts.db.spool.unfinished-1", ".accounts.db.unfinished-2"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, left), nil, 0o600))
	}
	own := filepath.Join(dir, "accounts.db.spool")
	require.NoError(t, os.WriteFile(own, nil, 0o600))
	again, err := Open(f.Path, time.Second)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.FileExists(t, own)
	require.NoError(t, os.Remove(own))
	requireNothingLeftBeside(t, f.Path)
}

func TestVerifyFindsDamage(t *testing.T) {
	f, s := openForBackup(t)
	for i := range 50 {
		require.NoError(t, putAccount(t.Context(), s, fmt.Sprint("user", i), 3000))
	}
	_, err := Verify(f.Path)
	require.ErrorIs(t, err, store.ErrStoreLocked)
	good := filepath.Join(t.TempDir(), "good.db")
	_, err = f.BackupTo(t.Context(), good)
	require.NoError(t, err)
	raw, err := os.ReadFile(good)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("not a store, but long enough to be read as one"),
		"cut": raw[:len(raw)/2], "zeros": append(append([]byte{}, raw[:4*4096]...), make([]byte, len(raw)-4*4096)...),
	} {
		path := filepath.Join(t.TempDir(), "bad.db")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		_, err := Verify(path)
		require.Error(t, err, name)
		require.ErrorContains(t, err, path)
	}
	_, err = Verify(filepath.Join(t.TempDir(), "missing.db"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRestore(t *testing.T) {
	f, s := openForBackup(t)
	require.NoError(t, putAccount(t.Context(), s, "ada", 1))
	backup := filepath.Join(t.TempDir(), "backup.db")
	_, err := f.BackupTo(t.Context(), backup)
	require.NoError(t, err)
	require.NoError(t, putAccount(t.Context(), s, "grace", 1))
	now := time.Date(2026, 11, 26, 21, 15, 0, 0, time.UTC)

	_, err = Restore(f.Path, backup, now, nil)
	require.ErrorIs(t, err, store.ErrStoreLocked, "it is in use")
	require.NoError(t, f.Close())
	bad := filepath.Join(t.TempDir(), "bad.db")
	require.NoError(t, os.WriteFile(bad, []byte("bad"), 0o600))
	_, err = Restore(f.Path, bad, now, nil)
	require.ErrorContains(t, err, bad)
	_, err = Restore(f.Path, f.Path, now, nil)
	require.ErrorContains(t, err, "itself")
	requireNothingLeftBeside(t, f.Path)

	var told int64
	r, err := Restore(f.Path, backup, now, func(done, _ int64) { told = done })
	require.NoError(t, err)
	require.Equal(t, 1, r.Accounts)
	require.Equal(t, r.Size, told)
	require.Equal(t, f.Path+".before-restore-20261126T211500Z", r.Kept)
	kept, err := Verify(r.Kept)
	require.NoError(t, err)
	require.Equal(t, 2, kept.Accounts)
	now1, err := Verify(f.Path)
	require.NoError(t, err)
	require.Equal(t, 1, now1.Accounts)
	_, err = Restore(f.Path, backup, now, nil)
	require.ErrorContains(t, err, "there already", "the kept one is not overwritten")

	fresh := filepath.Join(t.TempDir(), "new", "accounts.db")
	r, err = Restore(fresh, backup, now, nil)
	require.NoError(t, err)
	require.Empty(t, r.Kept)
	requireNothingLeftBeside(t, fresh)
	require.NoError(t, os.WriteFile(fresh, []byte("damaged"), 0o600))
	r, err = Restore(fresh, backup, now, nil)
	require.NoError(t, err, "over a damaged one")
	damaged, err := os.ReadFile(r.Kept)
	require.NoError(t, err)
	require.Equal(t, "damaged", string(damaged))
}

// A server that waited for the lock while a restore went on gets the new file.
func TestOpenFollowsAFileThatWasReplaced(t *testing.T) {
	f, _ := openForBackup(t)
	opened := make(chan *File, 1)
	go func() {
		other, err := Open(f.Path, time.Minute)
		if err != nil {
			close(opened)
			return
		}
		opened <- other
	}()
	backup := filepath.Join(t.TempDir(), "backup.db")
	_, err := f.BackupTo(t.Context(), backup)
	require.NoError(t, err)
	require.NoError(t, os.Rename(backup, f.Path))
	require.NoError(t, f.Close())
	other := <-opened
	require.NotNil(t, other)
	s, err := other.Realm("default")
	require.NoError(t, err)
	require.NoError(t, putAccount(t.Context(), s, "ada", 1))
	require.NoError(t, other.Close())
	contents, err := Verify(f.Path)
	require.NoError(t, err)
	require.Equal(t, 1, contents.Accounts)
}
