//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly)

// system_other.go: systems without owners and folders that can be synced.

package wholefile

import "os"

// giveToOwnerOf does nothing: a new file has the rights of its folder.
func giveToOwnerOf(string, *os.File) error { return nil }

// SyncFolder does nothing: a rename is on the disk, as far as one can ask for it.
func SyncFolder(string) error { return nil }

// lock does nothing: where there are no locks of this kind, a file that is open can't
// be removed.
func lock(*os.File) {}

func isLocked(*os.File) bool { return false }
