//go:build !linux

// secondprocess_other.go: elsewhere, all hashes are computed in the server.

package password

import "errors"

func startChild([]string) (*childProcess, error) { return nil, errors.ErrUnsupported }

// RunSecondProcess is what UseSecondProcess starts: on Linux.
func RunSecondProcess() error { return errors.ErrUnsupported }
