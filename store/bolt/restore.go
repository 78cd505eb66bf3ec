// restore.go: an account file in the place of another, and the copy by which an older version
// can be gone back to.

package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
)

// Restored is what Restore has done.
type Restored struct {
	Contents
	// Kept is where the former file is now; empty: there was none.
	Kept string
}

// Restore puts a copy of the backup file from at path, with mode 0600 and the owner of
// its folder, and keeps what was there beside it, under its name and the time now.
// The copy is read back before. At each moment the former or the new file stands
// whole at path; after an error it is the former one.
//
// A file that somebody has open is not replaced: store.ErrStoreLocked. Who waits to
// open it meanwhile gets the new one. tell is told how many bytes are written of how
// many; it may be nil.
func Restore(path, from string, now time.Time, tell func(done, of int64)) (Restored, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays
	}
	return restore(path, from, now, tell)
}

func restore(path, from string, now time.Time, tell func(done, of int64)) (r Restored, err error) {
	if sameFile(path, from) {
		return r, fmt.Errorf("%s is the account file itself", from)
	}
	there, err := verify(from)
	if err != nil {
		return r, backupError(from, err)
	}
	release, err := seize(path)
	if err != nil {
		return r, openError(path, err)
	}
	defer func() { release() }()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return r, err
	}
	out, err := copied(path, from, there.Size, tell)
	if err != nil {
		return r, err
	}
	defer out.Abandon()
	if r.Contents, err = Verify(out.Name()); err != nil {
		return r, fmt.Errorf("what was written could not be read back: %w", err)
	}
	if runtime.GOOS == "windows" { // where an open file can't be replaced
		release()
	}
	if isMissing(path) {
		return r, place(out, path)
	}
	if r.Kept, err = keep(path, now); err != nil {
		return r, err
	}
	if err = out.Rename(); err != nil && isMissing(path) {
		err = errors.Join(err, os.Rename(r.Kept, path))
	}
	return r, err
}

// place puts the file where none is. If one is there by now, somebody has opened it.
func place(out *wholefile.File, path string) error {
	switch err := os.Link(out.Name(), path); {
	case err == nil:
		return wholefile.SyncFolder(filepath.Dir(path)) // its other name goes
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%s has been made meanwhile: is a server starting on it? Stop it first", path)
	}
	return out.Rename() // a file system without links
}

// keep gives a file a second name beside it, and returns that.
func keep(path string, now time.Time) (string, error) {
	kept := path + ".before-restore-" + now.UTC().Format("20060102T150405Z")
	if !isMissing(kept) {
		return "", fmt.Errorf("%s is there already", kept)
	}
	err := os.Link(path, kept)
	if err != nil && !errors.Is(err, os.ErrExist) {
		// A file system without links. If it ends here, nothing stands at path, and the
		// name says what it is.
		err = os.Rename(path, kept)
	}
	return kept, err
}

// leaveOlder leaves the file as it is, beside it, before it gets a newer schema, and a warning that
// says so. The file is open here, and nobody else's.
func (f *File) leaveOlder(schema uint64) {
	kept := fmt.Sprintf("%s.schema-%d", f.Path, schema)
	then := fmt.Sprintf("as it was it stands beside it, as %s, which you may remove once you won't go back", kept)
	if err := copyBeside(kept, f.Path); err != nil {
		then = fmt.Sprintf("it could not be left beside it as it was, so that the way back is a backup: %v", err)
	}
	f.warnings = append(f.warnings, fmt.Sprintf("account file %s had schema %d and has %d from now on, which an older version of the plugin refuses; %s",
		f.Path, schema, boltSchema, then))
}

func copyBeside(to, from string) error {
	if err := wholefile.Sweep(to); err != nil { // of a start that was broken off
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	out, err := copied(to, from, info.Size(), nil)
	if err != nil {
		return err
	}
	defer out.Abandon()
	return out.Rename()
}

// copied is a whole copy of from, which is to stand at path and doesn't yet.
func copied(path, from string, size int64, tell func(done, of int64)) (*wholefile.File, error) {
	if err := wholefile.Room(filepath.Dir(path), size+roomLeft); err != nil {
		return nil, err
	}
	out, err := wholefile.Create(path)
	if err != nil {
		return nil, err
	}
	out.Lock()
	if err := copyFile(out.File, from, size, tell); err != nil {
		out.Abandon()
		return nil, err
	}
	return out, nil
}

// seize makes sure that nobody has the file open, nor opens it until release. A file
// that is damaged can't be held; it can't be opened either.
func seize(path string) (release func(), err error) {
	if isMissing(path) || isEmpty(path) {
		return func() {}, nil
	}
	db, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: time.Nanosecond})
	if errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, os.ErrPermission) {
		return nil, err
	}
	return func() {
		if db != nil && err == nil {
			_ = db.Close()
		}
	}, nil
}

func copyFile(to *os.File, from string, size int64, tell func(done, of int64)) error {
	in, err := os.Open(from) //nolint:gosec // the owner names the file
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	for done := int64(0); ; {
		n, err := io.CopyN(to, in, 1<<20)
		if done += n; tell != nil {
			tell(done, size)
		}
		if errors.Is(err, io.EOF) {
			return to.Sync()
		}
		if err != nil {
			return err
		}
	}
}

func sameFile(a, b string) bool {
	one, errOne := os.Stat(a)
	two, errTwo := os.Stat(b)
	return errOne == nil && errTwo == nil && os.SameFile(one, two)
}
