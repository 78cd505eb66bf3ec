// owner.go: what the superuser makes beside a server of another user is that user's.

package command

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Nearest is path, or the nearest folder above it that is there.
func Nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// GiveToFolder remembers what stands at path and beside it under names that begin
// with its own. The function that it returns gives what has come since, folders above
// it too, to the owner of the folder that was there. It does something for the
// superuser alone: nobody else makes files of another owner.
func GiveToFolder(path string) (give func() error) {
	folder := Nearest(filepath.Dir(path))
	uid, gid, ok := OwnerOf(folder)
	if !ok || os.Geteuid() != 0 || uid == 0 {
		return func() error { return nil }
	}
	there := beside(path)
	return func() error {
		var errs []error
		made := beside(path)
		for dir := filepath.Dir(path); dir != folder && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			made = append(made, dir)
		}
		for _, name := range made {
			info, err := os.Lstat(name)
			if err == nil && !slices.Contains(there, name) && giveable(info) {
				errs = append(errs, os.Lchown(name, uid, gid))
			}
		}
		return errors.Join(errs...)
	}
}

// beside lists the files whose names begin with that of path.
func beside(path string) (names []string) {
	entries, _ := os.ReadDir(filepath.Dir(path)) // none: nothing is there
	base := filepath.Base(path)
	for _, e := range entries {
		if len(e.Name()) >= len(base) && e.Name()[:len(base)] == base {
			names = append(names, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return names
}
