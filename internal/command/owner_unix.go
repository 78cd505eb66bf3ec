//go:build unix

// owner_unix.go: whose a file is.

package command

import (
	"io/fs"
	"os"
	"syscall"
)

// OwnerOf returns the user and the group that a file belongs to; ok is false where
// there is none, or the system has no such numbers. A link is followed.
func OwnerOf(path string) (uid, gid int, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), true
}

// giveable says whether a file is root's, of one name and no link: what root may
// give away in a folder of somebody else without giving away another file.
func giveable(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == 0 && (info.IsDir() || info.Mode().IsRegular() && stat.Nlink == 1)
}
