// backup.go: copies of a store that are made by themselves.

// Package backup makes copies of a store by itself: each so long after the last one,
// so many in one folder. When the next one is due, the names in the folder say: it
// doesn't matter how often the program starts or loads a configuration meanwhile.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A Folder is where the backups of one store are. Others of other names may be in it
// too; they are neither counted nor removed.
type Folder struct {
	Path string
	// Name is how the names of the files begin; the time follows, in UTC.
	Name string
	// Keep is how many are kept.
	Keep int
}

const (
	layout    = "20060102T150405Z"
	extension = ".db"
)

// file is the path of the backup of a time.
func (f *Folder) file(at time.Time) string {
	return filepath.Join(f.Path, f.Name+"-"+at.UTC().Format(layout)+extension)
}

// timeOf is the time in the name of a file that file has named.
func (f *Folder) timeOf(name string) (time.Time, bool) {
	text, ours := strings.CutPrefix(name, f.Name+"-")
	text, whole := strings.CutSuffix(text, extension)
	at, err := time.Parse(layout, text)
	return at, ours && whole && err == nil && filepath.Base(f.file(at)) == name
}

// times are those of the backups, the oldest first. Those of the future are left out: a
// clock was wrong when they were made, and what it said must neither put off the next
// one for years nor push out those of today.
func (f *Folder) times(now time.Time) (times []time.Time, err error) {
	entries, err := os.ReadDir(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if at, ours := f.timeOf(e.Name()); ours && e.Type().IsRegular() && !at.After(now) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times, err
}

// thin removes the oldest backups beyond those that are kept.
func (f *Folder) thin(now time.Time) error {
	times, err := f.times(now)
	for _, at := range times[:max(0, len(times)-f.Keep)] {
		err = errors.Join(err, os.Remove(f.file(at)))
	}
	return err
}

// sweep removes what a crash has left of backups that were never whole.
func (f *Folder) sweep() error {
	return wholefile.SweepFolder(f.Path, func(name string) bool {
		_, ours := f.timeOf(name)
		return ours
	})
}

// Made is what a backup has.
type Made struct {
	Accounts int
	Size     int64
}

// A Schedule makes backups. Its fields are set before Run.
type Schedule struct {
	Folder
	// Every is how long after one the next is due.
	Every time.Duration
	// Copy makes a backup at a path, whole or not at all.
	Copy func(ctx context.Context, path string) (Made, error)
	// Turn is shared by the schedules of one store, of several realms and over a reload:
	// one of them is at work.
	Turn *sync.Mutex
	Now  func() time.Time
	Log  *zap.Logger
}

const (
	// lookEvery is how often the folder is looked at, at least: a machine that sleeps has
	// its timers asleep too.
	lookEvery = 10 * time.Minute
	// tryAgain is how long after a failure it is tried again, at most.
	tryAgain = 10 * time.Minute
	// turnEvery is how often it is tried to have the turn.
	turnEvery = 10 * time.Second
)

// Run makes backups until ctx ends. One that is being made then is finished, and Run
// returns after it.
func (s *Schedule) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(s.step(context.WithoutCancel(ctx)))
		}
	}
}

// step makes a backup if one is due, and returns when to look again.
func (s *Schedule) step(ctx context.Context) time.Duration {
	if !s.Turn.TryLock() {
		return turnEvery
	}
	defer s.Turn.Unlock()
	now := s.Now()
	times, err := s.times(now)
	last := ""
	if n := len(times); n > 0 {
		last = s.file(times[n-1])
		if wait := times[n-1].Add(s.Every).Sub(now); err == nil && wait > 0 {
			return min(wait, lookEvery)
		}
	}
	path := s.file(now)
	made := Made{}
	if err == nil {
		made, err = s.make(ctx, path)
	}
	switch {
	case errors.Is(err, store.ErrBackupRunning): // by somebody's command
		return turnEvery
	case errors.Is(err, fs.ErrClosed): // the store was closed under it: this is the end
		return tryAgain
	}
	if err != nil {
		wait := min(s.Every, tryAgain)
		s.Log.Error("the store could not be backed up; backups that are there stay", zap.String("folder", s.Path), zap.String("last", last), zap.Duration("try_again_in", wait), zap.Error(err))
		return wait
	}
	s.Log.Info("the store has been backed up", zap.String("file", path), zap.Int("accounts", made.Accounts), zap.Int64("size", made.Size))
	if err := s.thin(now); err != nil {
		s.Log.Error("old backups could not be removed", zap.String("folder", s.Path), zap.Error(err))
	}
	return min(s.Every, lookEvery)
}

func (s *Schedule) make(ctx context.Context, path string) (Made, error) {
	if err := os.MkdirAll(s.Path, 0o700); err != nil {
		return Made{}, fmt.Errorf("making the folder: %w", err)
	}
	if err := s.sweep(); err != nil {
		return Made{}, err
	}
	return s.Copy(ctx, path)
}
