// backup.go: the promises of a store that can be backed up.

package storetest

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// RunBackups checks what store.BackingUp promises. open returns a new, empty store, and
// restore opens one that has what a backup has; both see to the closing.
func RunBackups(t *testing.T, open func(t *testing.T) store.Store, restore func(t *testing.T, backup io.Reader) store.Store) {
	backUp := func(t *testing.T, s store.Store) *store.Backup {
		t.Helper()
		b, err := s.(store.BackingUp).Backup(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	t.Run("a backup has every act that was acknowledged before, while others go on", func(t *testing.T) {
		s := open(t)
		var acknowledged atomic.Int64
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				u := newUser(fmt.Sprint("user", i))
				if s.Update(context.Background(), func(tx store.Tx) error { return tx.PutUser(u, keysOf(u)) }) != nil {
					return
				}
				acknowledged.Store(int64(i + 1))
			}
		}()
		for acknowledged.Load() < 20 {
			putUsers(t, s, newUser(fmt.Sprint("other", acknowledged.Load(), "-", newUser("").ID)))
		}
		before := acknowledged.Load()
		b := backUp(t, s)
		close(stop)
		<-done
		copied := restore(t, b)
		for i := range before {
			_, err := userByKey(t, copied, "username", fmt.Sprint("user", i))
			require.NoError(t, err, "user%d of %d", i, before)
		}
	})
	t.Run("a backup that is not read holds nobody up", func(t *testing.T) {
		s := open(t)
		putUsers(t, s, newUser("ada"))
		_, other := backUp(t, s), backUp(t, s)
		putUsers(t, s, newUser("grace"))
		_, err := userByKey(t, restore(t, other), "username", "ada")
		require.NoError(t, err)
	})
	t.Run("a backup has as many bytes as it says", func(t *testing.T) {
		b := backUp(t, open(t))
		n, err := io.Copy(io.Discard, b)
		require.NoError(t, err)
		require.Equal(t, b.Size, n)
	})
	t.Run("a restored store can be written to", func(t *testing.T) {
		s := open(t)
		putUsers(t, s, newUser("ada"))
		copied := restore(t, backUp(t, s))
		putUsers(t, copied, newUser("grace"))
		_, err := userByKey(t, s, "username", "grace")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
	t.Run("a cancelled backup and one of a closed store fail", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.(store.BackingUp).Backup(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, s.Close())
		_, err = s.(store.BackingUp).Backup(t.Context())
		require.Error(t, err)
	})
}
