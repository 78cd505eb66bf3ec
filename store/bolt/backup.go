// backup.go: a copy of the file while it is written to.

package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A consistent copy needs one read transaction, and nothing may take long in one:
// bbolt can't move its map under it, so that a writer who needs that would wait for
// the reader, and everybody for the writer. So a backup has three parts.
//
//  1. The pages are copied as they are into a file beside the store (the spool), at the
//     disk's speed, in one transaction. The map is larger than the file will be, where
//     that costs nothing (initialMmapSizes); where it has to be moved nevertheless,
//     the copy gives way within some milliseconds and begins again.
//  2. The spool is rewritten without its free pages.
//  3. The result is read, by whom and as slowly as may be.
//
// Both files are synced every few MiB: else an act's own sync could have to wait
// until a gigabyte of the copy is on the disk.

const (
	// spoolSync is after how many bytes the copy is synced.
	spoolSync = 4 << 20
	// roomLeft is what a backup leaves of the disk that the store is on.
	roomLeft = 16 << 20
	// probeEvery and probeLimit: so often it is tried whether a transaction could
	// begin, and after so long something waits for the copy.
	probeEvery = 10 * time.Millisecond
	probeLimit = 20 * time.Millisecond
	// maxSpools is how often a copy begins again. The map at least doubles, or grows
	// by 1 GiB, each time it is moved; a machine so busy that it only looks like that
	// gets the last try in peace.
	maxSpools = 8
)

// errGaveWay says that the copy stood in somebody's way.
var errGaveWay = errors.New("the file grew past its map")

// errBackupCancelled says that the store was closed under a backup.
var errBackupCancelled = fmt.Errorf("the store was closed while it was backed up: %w", fs.ErrClosed)

// backups are those of one file: one at a time, and none after its closing.
type backups struct {
	making sync.Mutex
	life   context.Context
	end    context.CancelFunc
	// wrote is told of each piece of a copy; nil but in tests.
	wrote func(context.Context)
}

func (f *File) spoolPath() string { return f.Path + ".spool" }

// Backup implements store.BackingUp.
func (s *Store) Backup(ctx context.Context) (*store.Backup, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	return s.File.Backup(ctx)
}

// Backup is store.BackingUp's, for the whole file. The copy stands beside the file,
// without a name where the system can do that.
func (f *File) Backup(ctx context.Context) (*store.Backup, error) {
	out, err := wholefile.Create(f.spoolPath())
	if err != nil {
		return nil, err
	}
	if err := f.copyTo(ctx, out.Name()); err != nil {
		out.Abandon()
		return nil, err
	}
	if _, err := out.Seek(0, 0); err != nil {
		out.Abandon()
		return nil, err
	}
	info, err := out.Stat()
	if err != nil {
		out.Abandon()
		return nil, err
	}
	_ = os.Remove(out.Name()) // what is open stays, but for Windows
	return &store.Backup{ReadCloser: &spooled{out}, Size: info.Size()}, nil
}

// spooled is removed at the latest when it is closed.
type spooled struct{ *wholefile.File }

func (s *spooled) Close() error { s.Abandon(); return nil }

// BackupTo makes a backup file at path, in a folder that there is. It replaces what is
// there once the new one is whole and has been read back; after an error it is
// still there.
func (f *File) BackupTo(ctx context.Context, path string) (Contents, error) {
	out, err := wholefile.Create(path)
	if err != nil {
		return Contents{}, err
	}
	defer out.Abandon()
	if err := f.copyTo(ctx, out.Name()); err != nil {
		return Contents{}, err
	}
	contents, err := Verify(out.Name())
	if err != nil {
		return Contents{}, fmt.Errorf("what was written could not be read back: %w", err)
	}
	return contents, out.Rename()
}

// copyTo writes a compacted copy to dst, an empty file, and onto the disk.
func (f *File) copyTo(ctx context.Context, dst string) error {
	if !f.backups.making.TryLock() {
		return store.ErrBackupRunning
	}
	defer f.backups.making.Unlock()
	if f.closed.Load() {
		return f.failure(fs.ErrClosed)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.backups.life, func() { cancel(errBackupCancelled) })()
	spool, err := wholefile.Create(f.spoolPath())
	if err != nil {
		return err
	}
	defer spool.Abandon()
	if err := f.spool(ctx, spool.File); err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	info, err := spool.Stat()
	if err != nil {
		return err
	}
	if err := wholefile.Room(filepath.Dir(dst), info.Size()+roomLeft); err != nil {
		return err
	}
	if err := spool.Close(); err != nil {
		return err
	}
	if err := compact(ctx, spool.Name(), dst, f.backups.wrote); err != nil {
		return fmt.Errorf("compacting the copy of the store: %w", err)
	}
	return nil
}

// spool copies the pages of one state to a file.
func (f *File) spool(ctx context.Context, to *os.File) error {
	for try := 1; ; try++ {
		err := f.trySpool(ctx, to, try < maxSpools)
		if !errors.Is(err, errGaveWay) {
			return err
		}
		if _, err := to.Seek(0, 0); err != nil {
			return err
		}
		if err := to.Truncate(0); err != nil {
			return err
		}
	}
}

func (f *File) trySpool(ctx context.Context, to *os.File, polite bool) error {
	if err := f.Health.Check(); err != nil {
		return f.failure(err)
	}
	var tx *bolt.Tx
	if err := noPanic(func() (err error) { tx, err = f.Db.Begin(false); return err }); err != nil {
		return f.failure(err)
	}
	w := &spoolWriter{ctx: ctx, to: to, tx: tx, wrote: f.backups.wrote}
	defer func() { _ = w.end(nil) }()
	if err := wholefile.Room(filepath.Dir(f.Path), tx.Size()+roomLeft); err != nil {
		return err
	}
	if polite {
		done := make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() { f.giveWay(w, done) })
		defer watching.Wait()
		defer close(done)
	}
	_, err := tx.WriteTo(w)
	if gaveWay := w.end(nil); gaveWay != nil {
		return gaveWay
	}
	if w.failed != nil { // bbolt keeps only its text
		return w.failed
	}
	return err
}

// giveWay ends the transaction of a copy when others can't begin theirs. They wait for
// a writer who waits for all readers, us among them.
func (f *File) giveWay(w *spoolWriter, done <-chan struct{}) {
	every := time.NewTicker(probeEvery)
	defer every.Stop()
	for {
		select {
		case <-done:
			return
		case <-every.C:
		}
		began := make(chan struct{})
		go func() {
			defer close(began)
			_ = noPanic(func() error { return f.Db.View(func(*bolt.Tx) error { return nil }) })
		}()
		limit := time.NewTimer(probeLimit)
		select {
		case <-began:
		case <-limit.C:
			_ = w.end(errGaveWay)
			<-began
		}
		limit.Stop()
	}
}

// A spoolWriter takes the pages of a transaction, until it is ended.
type spoolWriter struct {
	ctx   context.Context
	to    *os.File
	wrote func(context.Context)

	pieces, unsynced int
	failed           error

	mu    sync.Mutex
	tx    *bolt.Tx // nil: it has ended
	begun bool     // it reads only the file from here on, and nothing of the transaction
	ended error
}

// metaPieces is how many writes come before the first of the file itself: the pages
// that say which state this is.
const metaPieces = 2

// Write implements io.Writer.
func (w *spoolWriter) Write(p []byte) (n int, err error) {
	defer func() { w.failed = err }()
	w.pieces++
	w.mu.Lock()
	w.begun = w.pieces > metaPieces
	err = w.ended
	w.mu.Unlock()
	if err == nil {
		err = context.Cause(w.ctx)
	}
	if err != nil {
		return 0, err
	}
	if w.wrote != nil {
		w.wrote(w.ctx)
	}
	n, err = w.to.Write(p)
	if w.unsynced += n; err == nil && w.unsynced >= spoolSync {
		w.unsynced = 0
		err = w.to.Sync()
	}
	return n, err
}

// end ends the transaction, at once where nothing of it is needed any more, and
// returns why it was ended before, if it was.
func (w *spoolWriter) end(why error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = why
	}
	if w.tx != nil && (w.begun || why == nil) {
		_ = w.tx.Rollback()
		w.tx = nil
	}
	return w.ended
}

// compactStep is how much of a compacted copy is in one transaction.
const compactStep = 4 << 20

// compact writes what is in src to dst, an empty file, without free pages, and onto
// the disk.
func compact(ctx context.Context, src, dst string, wrote func(context.Context)) error {
	if err := noPanic(func() error {
		from, err := bolt.Open(src, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
		if err != nil {
			return err
		}
		defer func() { _ = from.Close() }()
		to, err := bolt.Open(dst, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistArrayType, PageSize: from.Info().PageSize})
		if err != nil {
			return err
		}
		to.AllocSize = growStep
		defer func() { _ = to.Close() }()
		return from.View(func(tx *bolt.Tx) error {
			c := &compaction{ctx: ctx, to: to, wrote: wrote}
			err := c.all(tx)
			if c.tx != nil {
				_ = c.tx.Rollback()
			}
			return err
		})
	}); err != nil {
		return err
	}
	return trim(dst)
}

// trim cuts off what bbolt has put at the end of a file for its growth.
func trim(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // our own
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	m, ok := readMeta(f)
	if !ok || m.pages > math.MaxInt64/m.pageSize {
		return errBadPage
	}
	if err := f.Truncate(int64(m.pages * m.pageSize)); err != nil { //nolint:gosec // see above
		return err
	}
	return f.Sync()
}

// A compaction copies buckets, in transactions of bounded size.
type compaction struct {
	ctx   context.Context
	to    *bolt.DB
	tx    *bolt.Tx
	size  int
	wrote func(context.Context)
}

func (c *compaction) all(from *bolt.Tx) error {
	err := from.ForEach(func(name []byte, b *bolt.Bucket) error {
		if string(name) == bucketReserve { // free pages, put aside
			return nil
		}
		return c.bucket([][]byte{name}, b)
	})
	if err != nil || c.tx == nil {
		return err
	}
	err = c.tx.Commit()
	c.tx = nil
	return err
}

// open returns the bucket of a path in the running transaction.
func (c *compaction) open(path [][]byte) (b *bolt.Bucket, err error) {
	if c.tx == nil {
		if c.tx, err = c.to.Begin(true); err != nil {
			return nil, err
		}
	}
	if b, err = c.tx.CreateBucketIfNotExists(path[0]); err != nil {
		return nil, err
	}
	for _, name := range path[1:] {
		if b, err = b.CreateBucketIfNotExists(name); err != nil {
			return nil, err
		}
	}
	b.FillPercent = 1 // keys come in their order
	return b, nil
}

func (c *compaction) bucket(path [][]byte, from *bolt.Bucket) error {
	to, err := c.open(path)
	if err != nil {
		return err
	}
	if err := to.SetSequence(from.Sequence()); err != nil {
		return err
	}
	return from.ForEach(func(k, v []byte) error {
		if v == nil {
			if err := c.bucket(append(slices.Clip(path), k), from.Bucket(k)); err != nil {
				return err
			}
			to, err = c.open(path)
			return err
		}
		if c.size += len(k) + len(v); c.size > compactStep {
			c.size = 0
			if err := c.next(); err != nil {
				return err
			}
			if to, err = c.open(path); err != nil {
				return err
			}
		}
		return to.Put(k, v)
	})
}

// next ends a transaction.
func (c *compaction) next() error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	if c.wrote != nil {
		c.wrote(c.ctx)
	}
	err := c.tx.Commit()
	c.tx = nil
	return err
}
