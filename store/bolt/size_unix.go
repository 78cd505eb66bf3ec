//go:build unix

// size_unix.go: the size of an open file, without an allocation.

package bolt

import (
	"os"
	"syscall"
)

// FileSize is the size of an open file, in bytes.
func FileSize(f *os.File) (int64, error) {
	var stat syscall.Stat_t
	var err error
	conn, connErr := f.SyscallConn()
	if connErr != nil {
		return 0, connErr
	}
	if ctlErr := conn.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &stat) }); ctlErr != nil {
		return 0, ctlErr
	}
	return stat.Size, err
}
