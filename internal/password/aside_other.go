//go:build !linux

// aside_other.go: elsewhere, all hashes are computed in the server.

package password

import "errors"

func startAside() (*asideProcess, error) { return nil, errors.ErrUnsupported }
