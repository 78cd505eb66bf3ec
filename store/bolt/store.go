// store.go: the embedded store, the default. One bbolt file holds the
// accounts of all realms of a Caddy process; its layout is in tx.go.

package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store"
)

// boltSchema is the version of the layout of buckets. A change that an older
// plugin would misread raises it and adds a step to boltMigrations.
const boltSchema = 4

// Schema is the version of the layout that a store has once it is open.
const Schema = boltSchema

// boltMigrations holds the steps from schema n (the key) to n+1. They run on
// opening, in one transaction together with the new number.
var boltMigrations = map[uint64]func(*bolt.Tx) error{1: migrateWaiting, 2: migrateMembers, 3: migrateSessions}

// The top level of the file: one bucket about the file and one per realm. The
// prefix lets a realm have any name, "meta" too.
const (
	bucketMeta  = "meta"
	keySchema   = "schema"
	realmPrefix = "realm/"
)

const (
	// growStep is by how much the (sparse) file grows; every step costs one
	// more fsync.
	growStep = 4 << 20
)

// File is one open bbolt file that holds the accounts of one or more
// realms. Only one File at a time can have a file open, in this process or
// another one; share it. It is safe for concurrent use.
type File struct {
	Db       *bolt.DB
	Path     string
	Health   Health
	commits  committer
	pageSize int
	warnings []string
	closed   atomic.Bool
	// realms has what the stores of one realm share, by its bucket.
	realms  sync.Map
	backups backups
}

// Open opens the account file at path. A missing one is created with
// mode 0600, missing parent folders with 0700. A file that others may read is
// tightened to 0600, see Warnings.
//
// If another process holds the file, it waits at most wait and gives
// ErrStoreLocked. A file of a newer plugin gives ErrNewerSchema. All errors
// name the path and the remedy.
func Open(path string, wait time.Duration) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, openError(path, err)
	}
	if err := checkBoltFile(path); err != nil {
		return nil, openError(path, err)
	}
	wasEmpty := isEmpty(path)
	db, err := openAt(path, wait)
	if err != nil {
		return nil, openError(path, err)
	}
	db.AllocSize = growStep
	f := &File{Db: db, Path: path, pageSize: db.Info().PageSize}
	f.commits.db, f.commits.health = db, &f.Health
	f.commits.fewest.Store(math.MaxInt64)
	f.backups.life, f.backups.end = context.WithCancel(context.Background())
	// The lock on the file is ours: nobody else is at work on these.
	if err := errors.Join(wholefile.Sweep(path), wholefile.Sweep(f.spoolPath())); err != nil {
		f.warnings = append(f.warnings, fmt.Sprintf("what a broken-off backup or restore has left beside the account file %s could not be removed: %v", path, err))
	}
	if wasEmpty {
		f.warnings = append(f.warnings, fmt.Sprintf("account file %s was empty and begins without accounts; if it had some, restore it from a backup", path))
	}
	if err := f.tighten(); err != nil {
		f.warnings = append(f.warnings, err.Error())
	}
	if err := noPanic(func() error {
		if err := setSchema(db, boltSchema, boltMigrations, f.leaveOlder); err != nil {
			return err
		}
		return buildMembers(db, memberBatch)
	}); err != nil {
		return nil, errors.Join(openError(path, err), db.Close())
	}
	if err := f.Health.Watch(path); err != nil {
		return nil, errors.Join(openError(path, err), db.Close())
	}
	return f, nil
}

// openAt opens the file that stands at path once it is ours: while we waited for its
// lock, another one may have been put in its place (Restore).
func openAt(path string, wait time.Duration) (db *bolt.DB, err error) {
	for range 3 {
		var opened *os.File
		options := bolt.Options{
			Timeout: wait,
			// The map type sorts all free pages at every commit: measured, four times
			// the CPU of a small act once a sweep has left some thousand of them.
			FreelistType: bolt.FreelistArrayType,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(name, flag, mode) //nolint:gosec // the owner names the file
				if opened == nil {
					opened = f
				}
				return f, err
			},
		}
		for _, options.InitialMmapSize = range initialMmapSizes(runtime.GOOS, strconv.IntSize) {
			opened = nil
			if db, err = openBolt(path, &options); !errors.Is(err, syscall.ENOMEM) {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		ours, err := opened.Stat()
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(ours, there) {
			return db, nil
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the file was replaced while it was opened")
}

// initialMmapSizes are the sizes of the map to begin with, in the order in which they
// are tried. They reserve address space, not memory: moving the map when the file
// outgrows it waits for all readers, a backup among them. 16 GiB is about 24 million
// users; who limits the address space of the process (ulimit -v) gets less. On
// Windows the file itself would get that size.
func initialMmapSizes(goos string, intSize int) []int {
	if goos == "windows" || intSize < 64 {
		return []int{0}
	}
	return []int{16 << 30, 1 << 30, 0}
}

// tighten takes the rights of group and others away. Password hashes and mail
// addresses are in the file.
func (f *File) tighten() error {
	info, err := os.Stat(f.Path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	if err := os.Chmod(f.Path, 0o600); err != nil {
		return fmt.Errorf("account file %s has mode %04o, so other users of this machine may read it; set it to 0600: %w",
			f.Path, info.Mode().Perm(), err)
	}
	return fmt.Errorf("account file %s had mode %04o, so other users of this machine may have read it; it is 0600 now",
		f.Path, info.Mode().Perm())
}

// Warnings returns what the administrator should know about opening the file,
// one sentence each: it was readable by others, or empty.
func (f *File) Warnings() []string { return f.warnings }

// Close waits for running acts and closes the file. Later calls of the file and
// of its realms' stores fail with an error that matches fs.ErrClosed. It may be
// called twice, but not within an act.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	f.backups.end()
	f.backups.making.Lock() // one that is being made gives up
	defer f.backups.making.Unlock()
	if err := f.Health.closeWithin(time.Second, f.Db.Close); err != nil {
		return fmt.Errorf("account file %s: %w", f.Path, err)
	}
	return nil
}

// Realm returns the store of one realm, which it creates if the file does not
// have it yet. The data of two realms never meet. Calling it twice with one
// name gives two stores of the same data.
func (f *File) Realm(name string) (*Store, error) {
	if name == "" {
		return nil, errors.New("a realm needs a name")
	}
	common, _ := f.realms.LoadOrStore(name, new(shared))
	s := &Store{File: f, bucket: []byte(realmPrefix + name), shared: common.(*shared)}
	if f.hasRealm(s.bucket) {
		return s, nil
	}
	_, err := f.commits.do(func(tx *bolt.Tx, u *undo) error {
		u.lost = true
		realm, err := tx.CreateBucketIfNotExists(s.bucket)
		if err != nil {
			return err
		}
		for _, b := range realmBuckets {
			if _, err := realm.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, f.failure(err)
	}
	return s, nil
}

// hasRealm saves the write transaction of every start but the first, and the first
// of a version with a new bucket.
func (f *File) hasRealm(bucket []byte) (found bool) {
	_ = f.view(func(tx *bolt.Tx) {
		realm := tx.Bucket(bucket)
		found = realm != nil && !slices.ContainsFunc(realmBuckets, func(b string) bool { return realm.Bucket([]byte(b)) == nil })
	})
	return found
}

// view runs fn in a read transaction.
func (f *File) view(fn func(*bolt.Tx)) error {
	began := false
	return f.Health.read(&began, func() error {
		return f.Db.View(func(tx *bolt.Tx) error {
			began = true
			fn(tx)
			return nil
		})
	})
}

// failure names the file in an error of the storage itself.
func (f *File) failure(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("account file %s: %w", f.Path, fs.ErrClosed)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("account file %s: the disk is full; nothing of this act was written, free some space: %w", f.Path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("account file %s: it can't be written any more; nothing of this act was, give Caddy's user write access again: %w", f.Path, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("account file %s: its file system is read-only now; nothing of this act was written, see why (often a failing disk) and mount it writable: %w", f.Path, err)
	}
	return fmt.Errorf("account file %s: %w", f.Path, err)
}

// Store is the Store of one realm in a File.
//
// Updates that wait at the same time share one commit. Reads neither wait for
// writes nor hold them up.
type Store struct {
	File   *File
	bucket []byte
	shared *shared
	closed atomic.Bool
}

// Interface guards
var (
	_ store.Store     = (*Store)(nil)
	_ store.BackingUp = (*Store)(nil)
)

// Exclusive reports that only one process at a time can have the store: whoever held
// something in it from another one has ended.
func (*Store) Exclusive() bool { return true }

// Close ends this view of the file: later calls fail with an error that matches
// fs.ErrClosed. The file and its other stores stay open, see File.Close.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// View implements Store.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	var fnErr error
	if err := s.File.view(func(tx *bolt.Tx) { fnErr = s.run(tx, nil, nil, fn) }); err != nil {
		return s.File.failure(err)
	}
	if errors.Is(fnErr, ErrDamaged) {
		return s.File.failure(fnErr)
	}
	return fnErr
}

// Update implements Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	// A Seq that was assigned in a run that came to nothing must not survive
	// it: the next run would take it for that of a mail in the queue, and
	// overwrite somebody else's.
	var done written
	reset := func() {
		for _, m := range done.queued {
			m.Seq = 0
		}
		done = written{}
	}
	defer func() { reset() }()
	fromFn, err := s.File.commits.do(func(tx *bolt.Tx, u *undo) error {
		reset()
		return s.run(tx, &done, u, fn)
	})
	if err != nil && fromFn {
		return err
	}
	// Of a commit that failed nobody knows what of it is on the disk.
	s.shared.tell(&done.change)
	if err != nil {
		return s.File.failure(err)
	}
	done.queued = nil
	return nil
}

func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return fmt.Errorf("account store in %s: %w", s.File.Path, fs.ErrClosed)
	}
	return ctx.Err()
}

func (s *Store) run(tx *bolt.Tx, done *written, u *undo, fn func(store.Tx) error) error {
	t := &boltTx{tx: tx, realm: tx.Bucket(s.bucket), done: done, undo: u}
	defer t.end()
	return fn(t)
}

// setSchema reads the schema version, refuses a newer one, and brings an older
// one up to date, all steps in one transaction. older is called before that.
func setSchema(db *bolt.DB, current uint64, migrations map[uint64]func(*bolt.Tx) error, older func(schema uint64)) error {
	found, err := readSchema(db, current)
	if err != nil || found == current {
		return err
	}
	if found != 0 {
		older(found)
	}
	return db.Update(func(tx *bolt.Tx) error {
		// A new file has no schema and needs no steps.
		for v := found; v != 0 && v < current; v++ {
			step := migrations[v]
			if step == nil {
				return fmt.Errorf("there is no migration from schema %d to %d", v, v+1)
			}
			if err := step(tx); err != nil {
				return fmt.Errorf("migrating from schema %d to %d (nothing was changed): %w", v, v+1, err)
			}
		}
		meta, err := tx.CreateBucketIfNotExists([]byte(bucketMeta))
		if err != nil {
			return err
		}
		return meta.Put([]byte(keySchema), binary.BigEndian.AppendUint64(nil, current))
	})
}

// readSchema returns the schema version, 0 for a new file. It refuses a newer one
// and a file of another program.
func readSchema(db *bolt.DB, current uint64) (found uint64, err error) {
	var foreign bool
	err = db.View(func(tx *bolt.Tx) error {
		if meta := tx.Bucket([]byte(bucketMeta)); meta != nil {
			if v := meta.Get([]byte(keySchema)); len(v) == 8 {
				found = binary.BigEndian.Uint64(v)
			}
		}
		if found == 0 {
			name, _ := tx.Cursor().First()
			foreign = name != nil
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case foreign:
		return 0, errForeign
	case found > current:
		return 0, fmt.Errorf("%w: it has schema %d, this plugin knows up to %d; run the newer plugin, or restore the backup from before its first start",
			store.ErrNewerSchema, found, current)
	}
	return found, nil
}
