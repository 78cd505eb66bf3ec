//go:build linux || darwin

// free_statfs.go: the room on a disk.

package wholefile

import "golang.org/x/sys/unix"

// free is how many bytes whoever is not root can still write.
func free(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec,unconvert // its type differs among systems
}
