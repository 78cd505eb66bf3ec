// check.go: opening a bbolt file with errors instead of panics, and with
// words for an administrator.

package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/seed-928992b0/caddy-registration/store"
)

var (
	errForeign = errors.New("it is a bbolt file of another program")
	// ErrTruncated says that the end of the file is missing.
	ErrTruncated  = errors.New("it is shorter than its own header says")
	errBadPage    = errors.New("a page is not what its header says")
	errNotRegular = errors.New("it is not a regular file")
)

// openError says what is wrong with the file at path and what fixes it.
func openError(path string, err error) error {
	remedy := "check the path and the disk"
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("account file %s is locked: is another Caddy running on this file? "+
			"Stop it, or change the configuration of the running one with `caddy reload`: %w (%w)", path, store.ErrStoreLocked, err)
	case errors.Is(err, errNotRegular), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		remedy = "name a file, not a folder, in a folder of its own"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		remedy = "give the user that Caddy runs as write access to the file and its folder"
	case errors.Is(err, syscall.ENOSPC):
		remedy = "the disk is full, free some space"
	case errors.Is(err, errForeign):
		remedy = "choose another path"
	case errors.Is(err, ErrTruncated), errors.Is(err, errBadPage), errors.Is(err, bolterrors.ErrChecksum):
		remedy = "the file is damaged, restore it from a backup"
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		remedy = "it is not an account file; choose another path, or restore it from a backup"
	case errors.Is(err, store.ErrNewerSchema):
		return fmt.Errorf("account file %s: %w", path, err) // has its own remedy
	}
	return fmt.Errorf("account file %s cannot be opened (%s): %w", path, remedy, err)
}

// backupError says what is wrong with the file at path, which was to be put back, and
// what to do.
func backupError(path string, err error) error {
	remedy := "check the path and the disk"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no backup %s; name a file that `caddy registration backup` wrote: %w", path, err)
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("another process has %s open, so it is a store and no backup; name a file that `caddy registration backup` wrote: %w (%w)", path, store.ErrStoreLocked, err)
	case errors.Is(err, errNotRegular), errors.Is(err, syscall.ENOTDIR):
		remedy = "name a file, not a folder"
	case errors.Is(err, fs.ErrPermission):
		remedy = "let the user who runs this read it"
	case errors.Is(err, ErrTruncated), errors.Is(err, errBadPage), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, ErrDamaged):
		remedy = "it is damaged; take another one"
	case errors.Is(err, errForeign), errors.Is(err, errEmpty), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		remedy = "it is no backup of accounts; name a file that `caddy registration backup` wrote"
	case errors.Is(err, store.ErrNewerSchema):
		return fmt.Errorf("backup %s: %w", path, err) // has its own remedy
	}
	return fmt.Errorf("backup %s cannot be restored (%s): %w", path, remedy, err)
}

// noPanic runs fn, which reads the file, with a panic of bbolt as an error.
func noPanic(fn func() error) (err error) {
	// Reading a map behind the end of its file is a fault, not an error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errBadPage, p)
		}
	}()
	return fn()
}

// openBolt opens a database. If bbolt panics in it, the file stays locked by
// this process (bbolt's map holds the lock), which checkBoltFile makes most
// unlikely.
func openBolt(path string, options *bolt.Options) (db *bolt.DB, err error) {
	err = noPanic(func() (err error) {
		db, err = bolt.Open(path, 0o600, options)
		return err
	})
	return db, err
}

// The parts of a bbolt file that are looked at before bbolt maps it. Numbers
// are in the byte order of the machine.
const (
	pageHeaderSize = 16 // id 8, flags 2, count 2, overflow 4
	metaSize       = 64 // see bbolt's internal/common/meta.go
	boltMagic      = 0xED0CDAED
	noFreelist     = ^uint64(0)

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10
)

// checkBoltFile finds the damage that bbolt would answer with a panic or a
// fault: a file shorter than its pages, and a freelist or root that is none.
// A missing, empty or foreign file is left to bbolt.
func checkBoltFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errNotRegular
	}
	file, err := os.Open(path) //nolint:gosec // the owner names the file
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()

	for range 100 {
		m, ok := readMeta(file)
		if !ok {
			return nil
		}
		err := checkPages(file, m)
		if again, ok := readMeta(file); err == nil || ok && again.txid == m.txid {
			return err
		}
		// Another process is writing, and what was read is no snapshot. If this
		// goes on, bbolt will report its lock.
	}
	return nil
}

// isEmpty reports whether there is a file without a byte in it, which bbolt takes
// for a new one.
func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

func checkPages(file *os.File, m boltMeta) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if need := m.pages * m.pageSize; uint64(info.Size()) < need { //nolint:gosec // a size is not negative
		return fmt.Errorf("%w: %d bytes of %d", ErrTruncated, info.Size(), need)
	}
	if m.freelist != noFreelist {
		if err := checkPage(file, m, m.freelist, pageFreelist); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
	}
	if err := checkPage(file, m, m.root, pageLeaf|pageBranch); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	return nil
}

type boltMeta struct {
	pageSize, root, freelist, pages, txid uint64
}

// readMeta returns the newer valid one of the two meta pages. The second one
// begins at the page size, of which only the first one tells; so all that
// bbolt knows are tried.
func readMeta(file io.ReaderAt) (newest boltMeta, ok bool) {
	for pos := int64(0); pos <= 1024<<14; pos = max(1024, pos*2) {
		buf := make([]byte, pageHeaderSize+metaSize)
		if _, err := file.ReadAt(buf, pos); err != nil {
			break
		}
		b, order := buf[pageHeaderSize:], binary.NativeEndian
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSize-8])
		if order.Uint32(b) != boltMagic || order.Uint64(b[56:]) != sum.Sum64() {
			continue
		}
		m := boltMeta{
			pageSize: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]),
			freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
		}
		switch {
		case !ok:
			newest, ok = m, true
		case uint64(pos) == newest.pageSize && m.txid > newest.txid:
			return m, true
		}
	}
	return newest, ok
}

// checkPage looks whether the page with this id says so itself and is of one of
// the kinds.
func checkPage(file io.ReaderAt, m boltMeta, id uint64, kinds uint16) error {
	buf := make([]byte, pageHeaderSize)
	if id < m.pages {
		if _, err := file.ReadAt(buf, int64(id*m.pageSize)); err != nil { //nolint:gosec // id is below pages, and these fit the file
			return err
		}
		if binary.NativeEndian.Uint64(buf) == id && binary.NativeEndian.Uint16(buf[8:])&kinds != 0 {
			return nil
		}
	}
	return fmt.Errorf("%w (page %d)", errBadPage, id)
}
