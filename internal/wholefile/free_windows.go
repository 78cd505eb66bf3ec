// free_windows.go: the room on a disk.

package wholefile

import "golang.org/x/sys/windows"

// free is how many bytes the user can still write.
func free(dir string) (bytes uint64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	err = windows.GetDiskFreeSpaceEx(name, &bytes, nil, nil)
	return bytes, err
}
