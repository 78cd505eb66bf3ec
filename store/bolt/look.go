// look.go: a look at an account file that leaves it as it is.

package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Look returns why the file at path can't be opened, as far as reading tells: the
// errors of Open, but for those of writing and those of a migration. It makes and
// changes nothing. A missing file is in order; of one that somebody has open it
// learns nothing more, and returns an error that matches store.ErrStoreLocked.
func Look(path string) error {
	if err := look(path); err != nil {
		return openError(path, err)
	}
	return nil
}

func look(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lookAtFolder(filepath.Dir(path))
	case err == nil && info.Mode().IsRegular() && info.Size() == 0:
		return nil // taken for a new one
	}
	if err := checkBoltFile(path); err != nil {
		return err
	}
	// No wait: whoever has it open will see to it.
	db, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: time.Nanosecond})
	if err != nil {
		return err
	}
	return errors.Join(noPanic(func() error {
		_, err := readSchema(db, boltSchema)
		return err
	}), db.Close())
}

// lookAtFolder says whether a missing folder could be made: the next one above it
// that there is must be one.
func lookAtFolder(dir string) error {
	for {
		info, err := os.Stat(dir)
		above := filepath.Dir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && above != dir:
			dir = above
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
}
