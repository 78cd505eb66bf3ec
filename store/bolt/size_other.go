//go:build !unix

// size_other.go: the size of an open file.

package bolt

import "os"

// FileSize is the size of an open file, in bytes.
func FileSize(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
