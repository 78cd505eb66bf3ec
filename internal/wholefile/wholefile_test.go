// wholefile_test.go: a file is there as a whole or not at all, and what a crash has
// left of one goes, but not what somebody is writing.

package wholefile

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func unfinished(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestAFileIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := Create(path)
	require.NoError(t, err)
	_, err = f.WriteString("one")
	require.NoError(t, err)
	require.NoFileExists(t, path)
	require.NoError(t, f.Commit())
	f.Abandon()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one", string(raw))

	f, err = Create(path)
	require.NoError(t, err)
	f.Abandon()
	f.Abandon()
	require.Error(t, f.Commit())
	require.Error(t, f.Rename())
	raw, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one", string(raw), "after an error it is the former one")
	require.Empty(t, unfinished(t, dir))

	_, err = Create(filepath.Join(path, "below"))
	require.ErrorContains(t, err, "can't be written")
}

func TestSweepLeavesWhatIsBeingWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, name := range []string{".f.unfinished-1", ".g.unfinished-1", ".f.unfinished", "f.unfinished-1", ".f.unfinished-2.unfinished-3"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".f.unfinished-folder"), 0o700))
	written, err := Create(path)
	require.NoError(t, err)
	written.Lock()
	defer written.Abandon()
	require.NoError(t, Sweep(path))
	want := []string{".g.unfinished-1", ".f.unfinished", ".f.unfinished-2.unfinished-3", ".f.unfinished-folder"}
	if runtime.GOOS != "windows" {
		want = append(want, filepath.Base(written.Name()))
	}
	require.ElementsMatch(t, want, unfinished(t, dir))
	require.FileExists(t, filepath.Join(dir, "f.unfinished-1"))
	require.NoError(t, written.Close())
	require.NoError(t, SweepFolder(dir, func(name string) bool { return name != "g" }))
	require.ElementsMatch(t, []string{".g.unfinished-1", ".f.unfinished", ".f.unfinished-folder"}, unfinished(t, dir), "its writer has died")
	require.NoError(t, Sweep(filepath.Join(dir, "missing", "f")))
	require.Error(t, Sweep(filepath.Join(dir, "f.unfinished-1", "f")), "a file is no folder")
}

func TestRoom(t *testing.T) {
	require.NoError(t, Room(t.TempDir(), 1))
	require.NoError(t, Room(t.TempDir(), -1))
	require.ErrorIs(t, Room(t.TempDir(), math.MaxInt64), ErrNoRoom)
	require.NoError(t, Room(filepath.Join(t.TempDir(), "missing"), math.MaxInt64), "of what doesn't tell it knows nothing")
}
