// file.go: what is asked of the account file itself: how large it is, how soon it is open,
// and how long a backup of it takes.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// disk measures the pages in use. The rest of the file is room for what comes next.
func (b *bench) disk(s *seeded) error {
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var used int64
	if err := db.View(func(tx *bbolt.Tx) error {
		used = tx.Size()
		return nil
	}); err != nil {
		return err
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	used -= int64(db.Stats().FreePageN) * int64(db.Info().PageSize)
	indexes, err := pagesOf(db, "members_")
	if err != nil {
		return err
	}
	record, err := pagesOf(db, "audit")
	if err != nil {
		return err
	}
	// What an account is, what its owner's list costs besides, and what the record of acts does are goals of
	// their own: who has no names pays nothing for the second, and who keeps no record nothing for the third.
	n := float64(s.n)
	each, names, acts := float64(used)/n, float64(indexes)/n, float64(record)/n
	b.judge("disk a user with one session, without what names and the record of acts cost, bytes", "≤ 700", "%.0f", each-names-acts, "pages in use", each-names-acts <= 700)
	b.judge("the indexes of names, groups and states for the owner's list, bytes a user", "≤ 200", "%.0f", names, "every user has the same first and last name; who has none costs nothing", names <= 200)
	b.inform("the record of acts, bytes a user", "%.0f", acts, fmt.Sprintf("%.2f rows a user: the last sign-in of each, and the sign-up of who came within %d days", float64(s.audits)/n, int(auditKept.Hours())/24))
	whole := float64(info.Size()) / n
	b.judge(fmt.Sprintf("the file of %d users with all of it and its free pages, bytes a user", s.n), "≤ 900: 9 GB of ten million", "%.0f", whole,
		fmt.Sprintf("%.2f GB; %.0f in use", float64(info.Size())/1e9, each), whole <= 900)
	return nil
}

// pagesOf are the bytes that the tables whose names begin so take of the disk.
func pagesOf(db *bbolt.DB, prefix string) (used int, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		realm := tx.Bucket([]byte("realm/default"))
		return realm.ForEachBucket(func(name []byte) error {
			if strings.HasPrefix(string(name), prefix) {
				s := realm.Bucket(name).Stats()
				used += s.BranchAlloc + s.LeafAlloc
			}
			return nil
		})
	})
	return used, err
}

// openOnce opens a store in a fresh process, looks an account up, and prints the microseconds from the first to
// the last; "": none is there.
func openOnce(ctx context.Context, path, username string) error {
	began := time.Now()
	file, err := bolt.Open(path, time.Second)
	if err != nil {
		return err
	}
	db, err := file.Realm("default")
	if err != nil {
		return err
	}
	err = db.View(ctx, func(tx store.Tx) error {
		_, err := tx.UserByKey("username", username)
		if username == "" && errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	fmt.Println(time.Since(began).Microseconds())
	return errors.Join(err, file.Close())
}

// opens measures from the opening of a file to the first account that is found in it, each time in a new
// process; the pages that are read are in the kernel's memory.
func (b *bench) opens(ctx context.Context, large, empty *seeded) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	took := map[*seeded][]float64{}
	for round := range max(b.rounds, 8) + 1 {
		for _, s := range []*seeded{empty, large} {
			name := ""
			if s.n > 0 {
				name = s.name(round * 7919 % s.n)
			}
			words := append(b.pinned(b.serverCPU), self, "-open", s.path, "-name", name)
			out, err := exec.CommandContext(ctx, words[0], words[1:]...).Output() //nolint:gosec // our own words
			if err != nil {
				return fmt.Errorf("opening: %w: %s", err, out)
			}
			micros, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
			if err != nil {
				return err
			}
			if round > 0 { // the first one reads the pages from the disk
				took[s] = append(took[s], micros/1e3)
			}
		}
	}
	b.inform("opening an empty store, to the first look-up, ms", "%.2f", median(took[empty]), middle("%.2f", took[empty]))
	b.judge(fmt.Sprintf("opening one of %d users, to the first account found, ms", large.n), "≤ 100", "%.2f", median(took[large]), middle("%.2f", took[large]), median(took[large]) <= 100)
	return nil
}

// backups compares a backup as the server makes it with a plain copy of the file, each synced. Beside the
// store there are never more than the two files that a backup needs: its copy of the pages, and
// that without the free ones.
func (b *bench) backups(ctx context.Context, large *seeded) error {
	info, err := os.Stat(large.path)
	if err != nil {
		return err
	}
	const gib = 1 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(large.path), &fs); err != nil {
		return err
	}
	if room := int64(fs.Bavail) * fs.Bsize; room < 2*info.Size()+gib { //nolint:gosec // a disk
		b.notes = append(b.notes, fmt.Sprintf("No backup of %d users was measured: it needs twice the file's %.1f GB beside it, and the disk has %.1f.", large.n, float64(info.Size())/1e9, float64(room)/1e9))
		return nil
	}
	file, err := bolt.Open(large.path, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var plain, backup []float64
	target := large.path + ".copy"
	defer func() { _ = os.Remove(target) }()
	for round := range 4 {
		began := time.Now()
		if err := copyFile(target, large.path); err != nil {
			return err
		}
		copied := time.Since(began).Seconds()
		if err := os.Remove(target); err != nil {
			return err
		}
		began = time.Now()
		made, err := file.Backup(ctx)
		if err != nil {
			return err
		}
		backedUp := time.Since(began).Seconds()
		if err := made.Close(); err != nil {
			return err
		}
		if round > 0 { // the first one reads the file into memory
			plain, backup = append(plain, copied), append(backup, backedUp)
		}
	}
	ratio := ratios(backup, plain)
	b.inform(fmt.Sprintf("a plain copy of the file of %d users, synced, MB/s", large.n), "%.0f", float64(info.Size())/1e6/median(plain), middle("%.1f s", plain))
	b.judge("a backup of it against that, in time", "≤ 2: it is written twice", "%.2f", median(ratio), middle("%.2f", ratio), median(ratio) <= 2)
	return nil
}
