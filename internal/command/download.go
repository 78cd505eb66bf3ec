// download.go: what the server sends, into a file that is there as a whole or not at all.

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
)

// begin makes a file at path that takes its place once it is whole, and takes away what
// one that was killed has left.
func begin(path string) (*wholefile.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file; name one", path)
	}
	if err := wholefile.Sweep(path); err != nil {
		return nil, err
	}
	out, err := wholefile.Create(path)
	if err != nil {
		return nil, err
	}
	out.Lock()
	return out, nil
}

// copyAll copies what comes, of some size, until its end, and shows how far it is.
func copyAll(ctx context.Context, to io.Writer, from io.Reader, size int64, progress *progress) (done int64, err error) {
	for err == nil {
		var n int64
		n, err = io.CopyN(to, from, 256<<10)
		done += n
		progress.at(done, size)
	}
	switch {
	case ctx.Err() != nil:
		return done, errInterrupted
	case !errors.Is(err, io.EOF):
		return done, err
	}
	return done, nil
}

// brokeOff says of what the end did not come.
func brokeOff(what string, err error) error {
	if errors.Is(err, errInterrupted) {
		return err
	}
	return fmt.Errorf("the %s broke off: %w", what, err)
}
