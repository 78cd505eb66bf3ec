// backup.go: a store that can give a copy of itself.

package store

import (
	"context"
	"errors"
	"io"
)

// ErrBackupRunning says that another backup of the store is being made.
var ErrBackupRunning = errors.New("another backup of this store is being made; try again when it is done")

// A BackingUp is a Store that can be copied as a whole while it is used. It is
// optional.
type BackingUp interface {
	// Backup makes a copy of all that the store keeps, of other realms too that it
	// keeps them with, in its own format: one state, with every act in it that was
	// acknowledged before the call. When it returns, the copy is done, and neither
	// reading it slowly nor not at all holds up anybody. Acts go on meanwhile; none
	// waits for it longer than a fraction of a second.
	//
	// It returns ErrBackupRunning while another copy is being made. What it has put
	// aside for the copy is gone after the reader's Close, and at the latest when the
	// store is opened again.
	Backup(ctx context.Context) (*Backup, error)
}

// A Backup is a copy of a store, to read once and to close.
type Backup struct {
	io.ReadCloser
	// Size is how many bytes it has.
	Size int64
}
