// damage.go: an account file that goes bad while it is open: cut short,
// unreadable, overwritten. It costs the acts that meet it, never the process.

package bolt

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// bbolt reads its file through a memory map, trusts what it reads, and panics
// where that makes no sense. A page behind the end of the file, or one that the
// disk can't read, is a SIGBUS, which ends a Go process unless the goroutine
// asked for a panic (debug.SetPanicOnFault). Both become errors here.
//
// What can't be survived: a page that was overwritten by another sound-looking
// page, or with lengths that make bbolt ask for more memory than there is.

// Health knows whether an open file can still be used.
type Health struct {
	File *os.File // of its own, for its size alone
	Stat func(*os.File) (int64, error)
	// Size is what the file has had; bbolt never shrinks one.
	Size atomic.Int64
	// frozen is why nothing more is written: a write met damage, so what bbolt
	// keeps in memory about free pages can't be trusted any more.
	frozen atomic.Pointer[error]
	// stuck: bbolt panicked with its locks held, so every call would wait for ever.
	stuck atomic.Bool
}

// Watch begins to watch the open file at path.
func (h *Health) Watch(path string) (err error) {
	if h.File, err = os.Open(path); err != nil { //nolint:gosec // the owner names the file
		return err
	}
	h.Stat = FileSize
	return h.Check()
}

// Check returns an error if the file is shorter than it was. It costs a
// microsecond, and spares the map most faults, among them those under a lock.
func (h *Health) Check() error {
	if h.stuck.Load() {
		return fmt.Errorf("%w (restart Caddy after that)", ErrDamaged)
	}
	if h.File == nil {
		return nil
	}
	// What it had comes first: between the two the file may grow, and another call
	// learn of it. A file that only grows is never smaller than it was before.
	had := h.Size.Load()
	now, err := h.Stat(h.File)
	if err != nil { //nolint:nilerr // see there
		return nil // closed meanwhile: bbolt says so
	}
	if now < had {
		return fmt.Errorf("%w: %w: %d bytes of %d", ErrDamaged, ErrTruncated, now, had)
	}
	for now > had && !h.Size.CompareAndSwap(had, now) {
		had = h.Size.Load()
	}
	return nil
}

func (h *Health) freeze(err error) {
	err = fmt.Errorf("nothing is written to it any more until Caddy is restarted on a sound file: %w", err)
	h.frozen.CompareAndSwap(nil, &err)
}

// writable returns why nothing is to be written, nil if nothing is in the way.
func (h *Health) writable() error {
	if err := h.frozen.Load(); err != nil {
		return *err
	}
	err := h.Check()
	if errors.Is(err, ErrTruncated) {
		h.freeze(err)
	}
	return err
}

// read runs fn, a read transaction. began says that bbolt has begun it, after
// which a panic leaves no lock behind.
func (h *Health) read(began *bool, fn func() error) (err error) {
	if err := h.Check(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damageOrPanic(p)
			if !*began {
				h.stuck.Store(true)
			}
		}
	}()
	return fn()
}

// write runs fn, a write transaction, and freezes the file if it met damage.
func (h *Health) write(fn func() error) (err error) {
	if err := h.writable(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damageOrPanic(p)
			h.freeze(err)
		}
	}()
	return fn()
}

// part runs fn, which is one act's part in another's write transaction.
func (h *Health) part(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damageOrPanic(p)
		}
	}()
	return fn()
}

// closeWithin runs bbolt's Close. After a panic it may wait for a lock that
// nobody gives back; then the file stays open until the process ends.
func (h *Health) closeWithin(limit time.Duration, closeDB func() error) error {
	if h.File != nil {
		_ = h.File.Close()
	}
	if !h.stuck.Load() && h.frozen.Load() == nil {
		return closeDB()
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("%w: %v", errBadPage, p)
			}
		}()
		done <- closeDB()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errors.New("it was damaged and can't be closed; the end of the process will")
	}
}

// damageOrPanic returns the error for a recovered panic if it came from bbolt or
// was a fault of the memory map, and panics again with any other. It is called
// by the deferred function that recovered.
func damageOrPanic(p any) error {
	// Only a fault outside of the first page has an address (runtime.Error's
	// documentation of SetPanicOnFault), so this is no nil pointer.
	if fault, ok := p.(interface{ Addr() uintptr }); ok {
		return fmt.Errorf("%w: a part of it can't be read (fault at %#x)", ErrDamaged, fault.Addr())
	}
	if panickedIn("go.etcd.io/bbolt") {
		return fmt.Errorf("%w: %w: %v", ErrDamaged, errBadPage, p)
	}
	panic(p)
}

// panickedIn reports whether the function that panicked is in a package.
func panickedIn(pkg string) bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	panicking := false
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if frame.Function == "runtime.gopanic" {
			panicking = true
			continue
		}
		if panicking && !strings.HasPrefix(frame.Function, "runtime.") {
			return strings.HasPrefix(frame.Function, pkg)
		}
	}
	return false
}
