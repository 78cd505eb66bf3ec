// wholefile.go: a file that is there as a whole, or not at all.

// Package wholefile writes files that must not be half there: beside their place,
// onto the disk, and then into it in one step. It knows how much room a disk has,
// and whose a new file is to be.
package wholefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
)

// ErrNoRoom says that a disk has no room for what is to be written.
var ErrNoRoom = errors.New("there is no room")

// A File is being written. Until Commit nothing stands at its path but what stood
// there before.
type File struct {
	*os.File
	path string
	done bool
}

// Create begins a file that is to stand at path: in the same folder, hidden, with
// mode 0600, and the folder's owner's where we may give files away.
func Create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporary(path)+"*")
	if err != nil {
		return nil, fmt.Errorf("%s can't be written: %w", path, err)
	}
	if err := giveToOwnerOf(filepath.Dir(path), f); err != nil {
		_ = f.Close()
		return nil, errors.Join(fmt.Errorf("%s can't be written: %w", path, err), os.Remove(f.Name()))
	}
	return &File{File: f, path: path}, nil
}

// temporary is how the names of unfinished files begin that are to stand at path.
func temporary(path string) string { return "." + filepath.Base(path) + unfinishedMark }

const unfinishedMark = ".unfinished-"

// Sweep removes unfinished files that a crash has left of those that were to stand
// at path. Those that a living process has locked (Lock) stay; for others it is
// called where no process can be writing one.
func Sweep(path string) error {
	name := filepath.Base(path)
	return SweepFolder(filepath.Dir(path), func(of string) bool { return of == name })
}

// SweepFolder is Sweep for all paths in a folder whose last part is wanted.
func SweepFolder(dir string, wanted func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		name, unfinished := strings.CutPrefix(e.Name(), ".")
		if i := strings.LastIndex(name, unfinishedMark); unfinished && i >= 0 && e.Type().IsRegular() && wanted(name[:i]) {
			err = errors.Join(err, sweepOne(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// sweepOne removes an unfinished file unless somebody has locked it.
func sweepOne(path string) error {
	if f, err := os.Open(path); err == nil { //nolint:gosec // named by us
		defer func() { _ = f.Close() }()
		if isLocked(f) {
			return nil
		}
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock keeps Sweep of other processes away from the file until it is closed, where the
// system can do that.
func (f *File) Lock() { lock(f.File) }

// Commit puts the file, with all that was written to it, at its path, in the place
// of what was there. After an error that is still there.
func (f *File) Commit() error {
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Rename()
}

// Rename is Commit for a file whose content is on the disk already; it may have been
// closed.
func (f *File) Rename() error {
	if err := f.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return err
	}
	f.done = true
	return SyncFolder(filepath.Dir(f.path))
}

// Abandon removes the file, unless it stands at its path. It may be called after
// Commit and more than once.
func (f *File) Abandon() {
	_ = f.Close()
	if !f.done {
		f.done = true
		_ = os.Remove(f.Name())
	}
}

// Room returns an error that matches ErrNoRoom where the disk of a folder has not
// need bytes free for us. Of a disk that doesn't tell it knows nothing.
func Room(dir string, need int64) error {
	free, err := free(dir)
	if err != nil || free >= uint64(max(need, 0)) { //nolint:nilerr // see there
		return nil
	}
	return fmt.Errorf("%w on the disk of %s: %s are needed, and %s free", ErrNoRoom, dir, humanize.IBytes(uint64(max(need, 0))), humanize.IBytes(free))
}
