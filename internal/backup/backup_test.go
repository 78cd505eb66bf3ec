// backup_test.go: when backups are made, how many stay, and what is left alone.

package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-928992b0/caddy-registration/store"
)

// scheduled is a schedule whose copies are small files, by the bubble's clock.
type scheduled struct {
	*Schedule
	t    *testing.T
	logs *observer.ObservedLogs
	fail atomic.Pointer[error] // nil: it works
	end  func()
}

func schedule(t *testing.T, dir string) *scheduled {
	core, logs := observer.New(zap.InfoLevel)
	s := &scheduled{t: t, logs: logs}
	s.Schedule = &Schedule{
		Folder: Folder{Path: dir, Name: "registration", Keep: 3}, Every: 24 * time.Hour, Turn: new(sync.Mutex), Now: time.Now, Log: zap.New(core),
		Copy: func(_ context.Context, path string) (Made, error) {
			if err := s.fail.Load(); err != nil {
				return Made{}, *err
			}
			return Made{Accounts: 5, Size: 4}, os.WriteFile(path, []byte("copy"), 0o600)
		},
	}
	return s
}

// run runs it until end.
func (s *scheduled) run() {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	s.end = func() { cancel(); <-done }
	synctest.Wait()
}

// after lets time pass.
func (s *scheduled) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// has requires which files are in the folder.
func (s *scheduled) has(want ...string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.Path)
	require.NoError(s.t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.ElementsMatch(s.t, want, names)
}

func (s *scheduled) ago(d time.Duration) string { return filepath.Base(s.file(time.Now().Add(-d))) }

const day = 24 * time.Hour

func TestBackupsAreMadeByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t, filepath.Join(t.TempDir(), "a", "b"))
		s.run()
		s.has(s.ago(0))
		info, err := os.Stat(s.Path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		s.after(day - time.Second)
		s.has(s.ago(day - time.Second))
		s.after(time.Second)
		s.has(s.ago(0), s.ago(day))
		s.after(4 * day)
		s.has(s.ago(0), s.ago(day), s.ago(2*day))
		s.end()
		require.Equal(t, 6, s.logs.FilterMessage("the store has been backed up").Len())
		fields := s.logs.All()[0].ContextMap()
		require.EqualValues(t, 5, fields["accounts"])
		require.EqualValues(t, 4, fields["size"])
		require.Zero(t, s.logs.FilterLevelExact(zap.ErrorLevel).Len())
	})
}

// What is due the names say: no start and no reload makes one more, and none is left out.
func TestBackupsDontMindRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t, t.TempDir())
		for range 23 {
			s.run()
			s.end()
			s.after(time.Hour)
		}
		s.has(s.ago(23 * time.Hour))
		s.after(5 * day)
		s.run()
		s.has(s.ago(0), s.ago(5*day+23*time.Hour))
		// A configuration that wants them more often; the former one stops after it.
		other := schedule(t, s.Path)
		other.Every, other.Turn = time.Hour, s.Turn
		other.run()
		s.end()
		other.after(time.Hour)
		other.has(other.ago(0), other.ago(time.Hour), other.ago(5*day+24*time.Hour))
		other.end()
	})
}

// Of what is in the folder it removes what it has named itself, and no other.
func TestBackupsLeaveOtherFilesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t, t.TempDir())
		s.Keep = 1
		others := []string{
			"registration.db", "registration-20000101T000000Z.db.bak", "registration-20000101T000000Z", "registration-20001301T000000Z.db",
			"registration-2000-01-01.db", "other-19990101T000000Z.db", "registration-old.db", "registration-19990101T000000Z.DB", "registration-+9990101T000000Z.db",
			".registration.db.unfinished-1", ".other-19990101T000000Z.db.unfinished-2", "notes.txt",
		}
		for _, name := range append([]string{"registration-19980101T000000Z.db", ".registration-19980101T000000Z.db.unfinished-77"}, others...) {
			require.NoError(t, os.WriteFile(filepath.Join(s.Path, name), nil, 0o600))
		}
		others = append(others, "registration-19970101T000000Z.db", "registration-19960101T000000Z.db")
		require.NoError(t, os.Mkdir(filepath.Join(s.Path, "registration-19970101T000000Z.db"), 0o700))
		require.NoError(t, os.Symlink("notes.txt", filepath.Join(s.Path, "registration-19960101T000000Z.db")))
		s.run()
		s.has(append(others, s.ago(0))...)
		s.end()
	})
}

// A clock that was ahead neither puts off the next backup nor pushes out today's.
func TestBackupsUnderAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t, t.TempDir())
		s.Keep = 1
		var offset atomic.Int64 // nanoseconds
		const decade = 10 * 365 * day
		offset.Store(int64(decade))
		s.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		s.run()
		ahead := s.ago(-decade)
		s.has(ahead)
		offset.Store(0)
		s.after(lookEvery)
		s.has(ahead, s.ago(0))
		s.after(day)
		s.has(ahead, s.ago(0))
		offset.Store(int64(-2 * decade)) // and one that begins in the past
		s.after(lookEvery)
		s.has(ahead, s.ago(lookEvery), s.ago(2*decade))
		offset.Store(0)
		s.after(day)
		s.has(ahead, s.ago(10*time.Minute))
		s.end()
	})
}

func TestAFailedBackupIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t, t.TempDir())
		s.run()
		first := s.ago(0)
		s.fail.Store(new(errors.New("no space left on device")))
		s.after(day)
		s.after(2 * tryAgain)
		s.has(first)
		failures := s.logs.FilterLevelExact(zap.ErrorLevel).All()
		require.Len(t, failures, 3)
		require.Equal(t, "the store could not be backed up; backups that are there stay", failures[0].Message)
		fields := failures[0].ContextMap()
		require.Equal(t, s.Path, fields["folder"])
		require.Equal(t, filepath.Join(s.Path, first), fields["last"])
		require.Equal(t, "no space left on device", fields["error"])
		require.Equal(t, tryAgain, fields["try_again_in"])
		s.fail.Store(new(store.ErrBackupRunning)) // by a command: no failure
		s.after(tryAgain + turnEvery)
		s.fail.Store(nil)
		s.after(turnEvery)
		require.Len(t, s.logs.FilterLevelExact(zap.ErrorLevel).All(), 3)
		s.has(first, s.ago(0))
		s.fail.Store(new(fs.ErrClosed)) // its end is no failure
		s.after(2 * day)
		require.Len(t, s.logs.FilterLevelExact(zap.ErrorLevel).All(), 3)
		s.end()
	})
}

// A folder that can't be made or read is said, and a file that can't be removed.
func TestBackupsInAFolderThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		for _, path := range []string{file, filepath.Join(file, "below")} {
			s := schedule(t, path)
			s.run()
			s.end()
			require.Equal(t, 1, s.logs.FilterLevelExact(zap.ErrorLevel).Len(), path)
		}
		s := schedule(t, t.TempDir())
		s.Keep = 1
		s.Copy = func(_ context.Context, path string) (Made, error) {
			for i := range 2 { // what becomes of a backup between the look and the removal
				if err := os.MkdirAll(filepath.Join(s.file(time.Now().Add(-time.Duration(i+1)*day)), "x"), 0o700); err != nil {
					return Made{}, err
				}
			}
			return Made{}, os.WriteFile(path, nil, 0o600)
		}
		s.run()
		require.Equal(t, 1, s.logs.Len(), "folders are none of its files")
		s.end()
	})
}

// Two realms of one store back it up together: one of them is at work, and the other
// finds that it is done. A copy that takes long is finished, whatever is reloaded.
func TestSchedulesOfOneStoreTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := schedule(t, t.TempDir())
		two := schedule(t, one.Path)
		two.Turn = one.Turn
		copies := 0
		for _, s := range []*scheduled{one, two} {
			quick := s.Copy
			s.Copy = func(ctx context.Context, path string) (Made, error) {
				copies++
				time.Sleep(time.Hour)
				return quick(ctx, path)
			}
		}
		one.run()
		two.run()
		ended := make(chan struct{})
		go func() { one.end(); close(ended) }()
		two.after(30 * time.Minute)
		select {
		case <-ended:
			t.Fatal("Run returns after the copy")
		default:
		}
		two.after(31 * time.Minute)
		<-ended
		two.has(two.ago(61 * time.Minute))
		require.Equal(t, 1, copies)
		two.end()
	})
}

func TestNamesOfBackupsSortByTime(t *testing.T) {
	f := &Folder{Path: t.TempDir(), Name: "r"}
	at := time.Date(1999, 12, 31, 23, 59, 59, 999, time.FixedZone("", 3600))
	last := ""
	for range 500 {
		name := filepath.Base(f.file(at))
		require.Greater(t, name, last)
		got, ours := f.timeOf(name)
		require.True(t, ours, name)
		require.Equal(t, at.UTC().Truncate(time.Second), got)
		last, at = name, at.Add(77*time.Hour+time.Second)
	}
}
