// reserve.go: free pages that are put aside. bbolt writes the list of all free
// pages with every commit, so a sweep of half a million sessions made each later
// write several times as dear, for good. What is beyond a thousand pages is kept
// as runs, each a value of zeros in a bucket of its own, which is one page in no
// list; it is given back before the file would have to grow.
//
// The alternatives were measured: without the list in the file (NoFreelistSync), a
// start after a crash and every failed commit read the whole file, in a goroutine of
// bbolt that ends the process where a page is damaged; and a compact copy at the
// start helps only whoever restarts.

package bolt

import (
	"encoding/binary"
	"math"

	bolt "go.etcd.io/bbolt"
)

// bucketReserve is the top-level bucket of what is put aside: number → bucket with
// one value. A plugin that doesn't know it loses the space and nothing else.
const bucketReserve = "reserve"

// Limits of the free pages in bbolt's list. The list has 8 bytes a page.
const (
	maxFreePages = 1024
	minFreePages = 256
	// reservedRun is how many pages are put aside in one piece, if there are as many
	// in one; else a smaller piece is tried.
	reservedRun    = 256
	minReservedRun = 16
)

var reserveValue = []byte("pages")

// tidy puts free pages aside where there are too many, and gives some back where
// they got few. What counts is the fewest since the last time: what a burst of
// writes needs is free again a moment later, and would be missed at the next one.
// Each step is a short transaction of its own.
func (f *File) tidy(goOn func() bool) error {
	free := int(min(f.commits.fewest.Swap(math.MaxInt64), int64(f.Db.Stats().FreePageN)))
	for run := reservedRun; run >= minReservedRun && goOn(); {
		switch {
		case free > maxFreePages+run:
			put, err := f.putAside(run)
			if err != nil {
				return err
			}
			if put {
				free -= run
			} else {
				run /= 4
			}
		case free < minFreePages:
			back, err := f.giveBack()
			if err != nil || !back {
				return err
			}
			free += reservedRun
		default:
			return nil
		}
	}
	return nil
}

// putAside takes a run of free pages out of the list, and reports whether there was
// one in one piece: where the file had to grow for it, it is none.
func (f *File) putAside(run int) (put bool, err error) {
	before, err := f.pages()
	if err != nil {
		return false, err
	}
	var key []byte
	_, err = f.commits.do(func(tx *bolt.Tx, u *undo) error {
		u.lost = true
		reserve, err := tx.CreateBucketIfNotExists([]byte(bucketReserve))
		if err != nil {
			return err
		}
		n, err := reserve.NextSequence()
		if err != nil {
			return err
		}
		key = binary.BigEndian.AppendUint64(nil, n)
		one, err := reserve.CreateBucket(key)
		if err != nil {
			return err
		}
		// With the headers of page and value it fills its pages.
		return one.Put(reserveValue, make([]byte, run*f.pageSize-128))
	})
	if err != nil {
		return false, f.failure(err)
	}
	after, err := f.pages()
	if err != nil || after-before < run/2 {
		return true, err
	}
	_, err = f.commits.do(func(tx *bolt.Tx, u *undo) error {
		u.lost = true
		return tx.Bucket([]byte(bucketReserve)).DeleteBucket(key)
	})
	return false, f.failureOf(err)
}

// giveBack makes the run that was put aside last free pages again, and reports
// whether there was one.
func (f *File) giveBack() (back bool, err error) {
	some := false
	if err := f.view(func(tx *bolt.Tx) {
		if reserve := tx.Bucket([]byte(bucketReserve)); reserve != nil {
			k, _ := reserve.Cursor().Last()
			some = k != nil
		}
	}); err != nil || !some {
		return false, f.failureOf(err)
	}
	_, err = f.commits.do(func(tx *bolt.Tx, u *undo) error {
		u.lost = true
		reserve := tx.Bucket([]byte(bucketReserve))
		if back = false; reserve == nil {
			return nil
		}
		k, _ := reserve.Cursor().Last()
		if back = k != nil; !back {
			return nil
		}
		return reserve.DeleteBucket(k)
	})
	return back, f.failureOf(err)
}

func (f *File) failureOf(err error) error {
	if err == nil {
		return nil
	}
	return f.failure(err)
}

// pages is how many pages the file has in use or free.
func (f *File) pages() (n int, err error) {
	err = f.view(func(tx *bolt.Tx) { n = int(tx.Size() / int64(f.pageSize)) })
	return n, f.failureOf(err)
}

// Tidy keeps later writes cheap after much was removed. It is for the background:
// it takes its turn with other acts, in steps of some milliseconds, until goOn says
// no or nothing is left to do.
func (s *Store) Tidy(goOn func() bool) error {
	if s.closed.Load() {
		return nil
	}
	return s.File.tidy(goOn)
}
