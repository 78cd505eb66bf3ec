// store_test.go: the embedded store against the conformance suite, and what
// it promises as a file.

package bolt_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bbolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/storetest"
)

// testLockWait is how long tests wait for a file that somebody has open.
const testLockWait = 100 * time.Millisecond

func openFile(t *testing.T, path string) *bolt.File {
	t.Helper()
	f, err := bolt.Open(path, testLockWait)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func openRealm(t *testing.T, f *bolt.File, name string) *bolt.Store {
	t.Helper()
	s, err := f.Realm(name)
	require.NoError(t, err)
	return s
}

func TestBoltStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return openRealm(t, openFile(t, filepath.Join(t.TempDir(), "accounts.db")), "default")
	})
}

// A realm in a file with others must do the same.
func TestBoltStoreKeepsTheContractInASharedFile(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "accounts.db"))
	n := 0
	storetest.Run(t, func(t *testing.T) store.Store {
		n++
		return openRealm(t, f, fmt.Sprint("realm ", n))
	})
}

func TestBoltStoreKeepsTheContractOfNodes(t *testing.T) {
	storetest.RunNodes(t, func(t *testing.T) (a, b store.Store) {
		f := openFile(t, filepath.Join(t.TempDir(), "accounts.db"))
		return openRealm(t, f, "default"), openRealm(t, f, "default")
	})
}

func TestBoltFileCreatesPrivateFileAndFolders(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "deep", "accounts.db")
	f := openFile(t, path)
	require.Empty(t, f.Warnings())
	for path, want := range map[string]fs.FileMode{
		path: 0o600, filepath.Dir(path): 0o700, filepath.Join(dir, "new"): 0o700,
	} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), path)
	}
}

func TestBoltFileTightensWidePermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	require.NoError(t, openFile(t, path).Close())
	require.NoError(t, os.Chmod(path, 0o644))
	f := openFile(t, path)
	require.Len(t, f.Warnings(), 1)
	require.Contains(t, f.Warnings()[0], path)
	require.Contains(t, f.Warnings()[0], "0644")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
}

func TestBoltFileReopenKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "anna", DateJoined: at, Extra: map[string]any{"n": int64(1)}}
	session := &store.Session{Hash: store.TokenHash{1}, User: u.ID, Created: at, LastUsed: at, Expires: at, AMR: []string{"pwd"}, AuthTime: at}
	// The outbox keeps milliseconds.
	mail := &store.Mail{To: "a@example.org", Kind: store.MailResetPassword, Queued: at, Due: at.Add(7 * time.Millisecond)}

	f := openFile(t, path)
	require.NoError(t, openRealm(t, f, "default").Update(t.Context(), func(tx store.Tx) error {
		if err := tx.PutUser(u, []store.Key{{Field: "username", Value: "anna"}}); err != nil {
			return err
		}
		if err := tx.PutSession(session); err != nil {
			return err
		}
		if err := tx.PutMail(mail); err != nil {
			return err
		}
		return tx.PutValue("key", []byte("secret"))
	}))
	require.NoError(t, f.Close())

	s := openRealm(t, openFile(t, path), "default")
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		gotUser, err := tx.UserByKey("username", "anna")
		require.NoError(t, err)
		require.Equal(t, u, gotUser)
		gotSession, err := tx.Session(session.Hash)
		require.NoError(t, err)
		require.Equal(t, session, gotSession)
		value, err := tx.Value("key")
		require.NoError(t, err)
		require.Equal(t, "secret", string(value))
		return nil
	}))
	c := store.Claim{Worker: uuid.New(), Now: at.Add(6 * time.Millisecond), Lease: time.Minute, Limit: 10}
	mails, _, err := s.ClaimMail(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, mails)
	c.Now = at.Add(7 * time.Millisecond)
	mails, _, err = s.ClaimMail(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []*store.Mail{mail}, mails)
}

func TestBoltFileKeepsRealmsApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	f := openFile(t, path)
	names := []string{"one", "two", "meta", "één/\x00"}
	users := map[string]*store.User{}
	for _, name := range names {
		u := &store.User{ID: uuid.Must(uuid.NewV7()), FirstName: name}
		users[name] = u
		require.NoError(t, openRealm(t, f, name).Update(t.Context(), func(tx store.Tx) error {
			if err := tx.PutValue("name", []byte(name)); err != nil {
				return err
			}
			if err := tx.PutMail(&store.Mail{To: "same@example.org"}); err != nil {
				return err
			}
			return tx.PutUser(u, []store.Key{{Field: "username", Value: "same"}})
		}), "the same key in each realm")
	}
	require.NoError(t, f.Close())
	f = openFile(t, path)
	for _, name := range names {
		require.NoError(t, openRealm(t, f, name).View(t.Context(), func(tx store.Tx) error {
			u, err := tx.UserByKey("username", "same")
			require.NoError(t, err)
			require.Equal(t, users[name].ID, u.ID)
			all, err := tx.Users(uuid.Nil, 10)
			require.NoError(t, err)
			require.Len(t, all, 1)
			mails, err := tx.Mails(0, 10)
			require.NoError(t, err)
			require.Len(t, mails, 1)
			require.Equal(t, uint64(1), mails[0].Seq)
			v, err := tx.Value("name")
			require.NoError(t, err)
			require.Equal(t, name, string(v))
			return nil
		}))
	}
	_, err := f.Realm("")
	require.ErrorContains(t, err, "needs a name")
}

func TestBoltStoreCloseEndsItsViewOnly(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "accounts.db"))
	a, again, b := openRealm(t, f, "a"), openRealm(t, f, "a"), openRealm(t, f, "b")
	ok := func(store.Tx) error { return nil }
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.View(t.Context(), ok), fs.ErrClosed)
	require.ErrorIs(t, a.Update(t.Context(), ok), fs.ErrClosed)
	for _, s := range []*bolt.Store{again, b} {
		require.NoError(t, s.View(t.Context(), ok))
		require.NoError(t, s.Update(t.Context(), ok))
	}
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	require.ErrorIs(t, b.View(t.Context(), ok), fs.ErrClosed)
	require.ErrorIs(t, b.Update(t.Context(), ok), fs.ErrClosed)
	_, err := f.Realm("a")
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = f.Realm("new")
	require.ErrorIs(t, err, fs.ErrClosed)
}

func TestBoltFileClosesAmidActs(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "accounts.db"))
	s := openRealm(t, f, "default")
	const workers = 8
	ended, started := make(chan error, 2*workers), make(chan struct{}, 2*workers)
	for w := range 2 * workers {
		act := s.View
		if w < workers {
			act = s.Update
		}
		go func() {
			for i := 0; ; i++ {
				if err := act(t.Context(), func(store.Tx) error { return nil }); err != nil {
					ended <- err
					return
				}
				if i == 0 {
					started <- struct{}{}
				}
			}
		}()
	}
	for range 2 * workers {
		<-started
	}
	require.NoError(t, f.Close())
	for range 2 * workers {
		require.ErrorIs(t, <-ended, fs.ErrClosed)
	}
}

func TestBoltFileRefusesWhatIsNoAccountFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	foreign := filepath.Join(dir, "foreign.db")
	db, err := bbolt.Open(foreign, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	}))
	require.NoError(t, db.Close())

	text := make([]byte, 20<<10)
	for i := range text {
		text[i] = 'x'
	}
	good, err := os.ReadFile(foreign)
	require.NoError(t, err)
	damaged := append([]byte(nil), good...)
	damaged[16+40], damaged[4096+16+40] = 0x77, 0x77 // both headers

	for name, c := range map[string]struct{ path, want string }{
		"a folder":               {dir, "not a folder"},
		"a file as a folder":     {filepath.Join(write("file", nil), "accounts.db"), "not a folder"},
		"a file as grandfather":  {filepath.Join(dir, "file", "deep", "accounts.db"), "not a folder"},
		"a device":               {"/dev/null", "not a folder"},
		"text":                   {write("text", text), "not an account file"},
		"a short text":           {write("short", []byte("hello")), "not an account file"},
		"another program's file": {foreign, "another program"},
		"two damaged headers":    {write("damaged", damaged), "damaged"},
		"a header only":          {write("header", good[:8192]), "damaged"},
		"half a header":          {write("half", good[:4096]), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := bolt.Open(c.path, testLockWait)
			require.Nil(t, f)
			require.ErrorContains(t, err, c.path)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestBoltFileSaysThatItIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	f := openFile(t, path)
	start := time.Now()
	_, err := bolt.Open(path, testLockWait)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "is another Caddy running on this file?")
	require.ErrorContains(t, err, "caddy reload")
	require.Less(t, time.Since(start), 10*time.Second)
	require.NoError(t, f.Close())
	openFile(t, path)
}

func TestBoltStoreKeepsTheContractOfBackups(t *testing.T) {
	storetest.RunBackups(t, func(t *testing.T) store.Store {
		return openRealm(t, openFile(t, filepath.Join(t.TempDir(), "accounts.db")), "default")
	}, func(t *testing.T, backup io.Reader) store.Store {
		path := filepath.Join(t.TempDir(), "accounts.db")
		out, err := os.Create(path)
		require.NoError(t, err)
		_, err = io.Copy(out, backup)
		require.NoError(t, err)
		require.NoError(t, out.Close())
		return openRealm(t, openFile(t, path), "default")
	})
}
