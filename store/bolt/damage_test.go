//go:build unix

// damage_test.go: the file of an open store is damaged behind its
// back; no act panics, none waits for ever, and the errors say what and where.

package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// damagedStore is a store with some hundred pages, and its file open for harm.
func damagedStore(t *testing.T) (*bolt.Store, *os.File) {
	t.Helper()
	s := sitetest.EmptyStore(t)
	for i := range 100 {
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
			id := uuid.Must(uuid.NewV7())
			name := fmt.Sprintf("user-%03d", i)
			err := tx.PutUser(&store.User{ID: id, Username: name, Email: name + "@example.org"}, []store.Key{{Field: field.Username, Value: name}})
			return errors.Join(err, tx.PutValue(name, make([]byte, 3000)))
		}))
	}
	file, err := os.OpenFile(s.File.Path, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return s, file
}

// within fails the test if fn hangs, so that a lock which nobody gives back is seen.
func within(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(sitetest.Patience):
		require.FailNow(t, "it hangs")
	}
}

func readAll(s *bolt.Store) error {
	return s.View(context.Background(), func(tx store.Tx) error {
		users, err := tx.Users(uuid.Nil, 1000)
		for i := range users {
			_, valueErr := tx.Value(fmt.Sprintf("user-%03d", i))
			err = errors.Join(err, valueErr)
		}
		return err
	})
}

func writeSome(s *bolt.Store) error {
	return s.Update(context.Background(), func(tx store.Tx) error { return tx.PutValue("user-050", []byte("new")) })
}

func TestOpenFileIsCutShort(t *testing.T) {
	for _, pages := range []int64{0, 2, 10} {
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			s, file := damagedStore(t)
			require.NoError(t, file.Truncate(pages*int64(os.Getpagesize())))
			within(t, func() {
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						for _, err := range []error{readAll(s), writeSome(s)} {
							if !errors.Is(err, bolt.ErrDamaged) {
								t.Errorf("%v", err)
							}
						}
					})
				}
				all.Wait()
				err := writeSome(s)
				require.ErrorContains(t, err, s.File.Path)
				require.ErrorContains(t, err, "restore its file from a backup")
				require.ErrorContains(t, err, "until Caddy is restarted")
				_ = s.File.Close()
			})
		})
	}
}

// TestFaultInTheMap: the size is right again, or was not looked at in time; the
// page is not there.
func TestFaultInTheMap(t *testing.T) {
	s, file := damagedStore(t)
	require.NoError(t, file.Truncate(10*int64(os.Getpagesize())))
	s.File.Health.Size.Store(0) // as if the file were cut just after the look
	within(t, func() {
		err := readAll(s)
		require.ErrorIs(t, err, bolt.ErrDamaged)
		require.ErrorContains(t, err, "can't be read")
		s.File.Health.Size.Store(0)
		require.ErrorIs(t, writeSome(s), bolt.ErrDamaged)
		require.ErrorContains(t, writeSome(s), "nothing is written to it any more")
		_ = s.File.Close()
	})
}

// TestFaultUnderALockOfBbolt: with both headers gone, bbolt panics holding a
// lock. One caller finds out; no later one may wait for it.
func TestFaultUnderALockOfBbolt(t *testing.T) {
	s, file := damagedStore(t)
	require.NoError(t, file.Truncate(0))
	s.File.Health.Size.Store(0)
	within(t, func() {
		require.ErrorIs(t, readAll(s), bolt.ErrDamaged)
		require.ErrorIs(t, readAll(s), bolt.ErrDamaged)
		require.ErrorIs(t, writeSome(s), bolt.ErrDamaged)
		err := s.File.Close()
		require.ErrorContains(t, err, "can't be closed")
	})
}

// TestOverwrittenPage: a page is overwritten. Acts that don't meet it go on,
// until a write meets it.
func TestOverwrittenPages(t *testing.T) {
	for name, junk := range map[string]byte{"zeroes": 0, "ones": 0xff, "rubbish": 0x5a} {
		t.Run(name, func(t *testing.T) {
			s, file := damagedStore(t)
			// The page of one value, by way of the tree.
			var page int64
			require.NoError(t, s.File.Db.View(func(tx *bbolt.Tx) error {
				info, err := tx.Page(0)
				require.NoError(t, err)
				require.Equal(t, "meta", info.Type)
				for id := 2; ; id++ {
					info, err := tx.Page(id)
					if err != nil || info == nil {
						return errors.Join(err, errors.New("no page of values was found"))
					}
					if info.Type == "leaf" && info.Count > 0 {
						raw := make([]byte, os.Getpagesize())
						_, err := file.ReadAt(raw, int64(id*os.Getpagesize()))
						require.NoError(t, err)
						if bytes.Contains(raw, []byte("user-050")) && !bytes.Contains(raw, []byte("username")) && !bytes.Contains(raw, []byte("@example.org")) {
							page = int64(id)
							return nil
						}
					}
				}
			}))
			harm := make([]byte, os.Getpagesize())
			for i := range harm {
				harm[i] = junk
			}
			_, err := file.WriteAt(harm, page*int64(os.Getpagesize()))
			require.NoError(t, err)
			within(t, func() {
				require.NoError(t, s.View(context.Background(), func(tx store.Tx) error {
					_, err := tx.UserByKey(field.Username, "user-007")
					return err
				}), "who does not meet it goes on")
				require.NoError(t, s.Update(context.Background(), func(tx store.Tx) error { return tx.PutSession(&store.Session{User: uuid.Must(uuid.NewV7())}) }))
				require.ErrorIs(t, readAll(s), bolt.ErrDamaged)
				err := writeSome(s)
				require.ErrorIs(t, err, bolt.ErrDamaged)
				require.ErrorContains(t, err, s.File.Path)
				require.ErrorIs(t, s.Update(context.Background(), func(store.Tx) error { return nil }), bolt.ErrDamaged, "a damaged file is not written to")
				require.NoError(t, s.View(context.Background(), func(tx store.Tx) error { _, err := tx.UserByKey(field.Username, "user-007"); return err }), "reads go on")
				_ = s.File.Close()
			})
		})
	}
}

// TestPanicsOfOthersPass: only damage becomes an error.
func TestPanicsOfOthersPass(t *testing.T) {
	s := sitetest.EmptyStore(t)
	boom := func(store.Tx) error { panic("boom") }
	require.PanicsWithValue(t, "boom", func() { _ = s.View(context.Background(), boom) })
	require.PanicsWithValue(t, "boom", func() { _ = s.Update(context.Background(), boom) })
	var nobody *store.User
	require.Panics(t, func() { _ = s.View(context.Background(), func(store.Tx) error { nobody.Email = ""; return nil }) })
	require.NoError(t, writeSome(s), "and nothing is broken by it")
	require.NoError(t, s.File.Close())
	require.ErrorIs(t, writeSome(s), fs.ErrClosed)
}
