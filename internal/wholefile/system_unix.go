//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

// system_unix.go: what is asked of the system, by its Unix names.

package wholefile

import (
	"errors"
	"os"
	"syscall"
)

// giveToOwnerOf makes a file that root has made that of the folder's owner: a server
// that runs as another user has to be able to read it. Anybody else's stays as it is.
func giveToOwnerOf(dir string, f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// SyncFolder writes the names in a folder to the disk.
func SyncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the owner names the folder
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// lock says that a living process has the file. The lock is shared: readers of a file
// of bbolt take one too.
func lock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) }

// isLocked reports whether another open file has a lock on this one.
func isLocked(f *os.File) bool {
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
