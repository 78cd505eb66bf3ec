// reserve_internal_test.go: a sweep of many leaves later writes as cheap as
// they were, and what it freed is used again.

package bolt

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// fill writes n sessions of as many accounts that end an hour after at.
func fill(t testing.TB, s *Store, n int, at time.Time) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
			for range min(1000, n-from) {
				_, hash := session.NewToken()
				one := benchSession(0, uuid.Must(uuid.NewV7()))
				one.Hash, one.Expires = hash, at.Add(time.Hour)
				if err := tx.PutSession(one); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func always() bool { return true }

func (f *File) reserved(t testing.TB) (n int) {
	t.Helper()
	require.NoError(t, f.Db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte(bucketReserve)); b != nil {
			return b.ForEachBucket(func([]byte) error { n++; return nil })
		}
		return nil
	}))
	return n
}

func TestASweepOfManyLeavesAShortFreelist(t *testing.T) {
	s := testRealm(t)
	f := s.File
	f.Db.NoSync = true
	const many = 60_000
	fill(t, s, many, testTime)
	require.NoError(t, s.Tidy(always))
	require.Zero(t, f.reserved(t), "there is nothing to put aside")
	full, err := f.pages()
	require.NoError(t, err)
	removed, err := session.NewLive(s).Sweep(t.Context(), testTime.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, many, removed)
	require.Greater(t, f.Db.Stats().FreePageN, 2*maxFreePages)

	require.NoError(t, s.Tidy(func() bool { return false }))
	require.Zero(t, f.reserved(t))
	require.NoError(t, s.Tidy(always))
	require.NoError(t, s.Tidy(always))
	require.Positive(t, f.reserved(t))
	require.LessOrEqual(t, f.Db.Stats().FreePageN, maxFreePages+2*reservedRun)
	after, err := f.pages()
	require.NoError(t, err)
	require.LessOrEqual(t, after, full+2*reservedRun, "the file has not grown for it")

	// What was put aside comes back before the file grows.
	// A burst that needs many for a moment is no reason to put them aside after it.
	calm := f.reserved(t)
	for range 20 {
		fill(t, s, 300, testTime)
		_, err := session.NewLive(s).Sweep(t.Context(), testTime.Add(24*time.Hour))
		require.NoError(t, err)
		require.NoError(t, s.Tidy(always))
	}
	steady, err := f.pages()
	require.NoError(t, err)
	require.LessOrEqual(t, steady, full+full/10)
	require.LessOrEqual(t, f.reserved(t), calm+2)
	had := f.reserved(t)
	for range 600 {
		fill(t, s, 50, testTime)
		require.NoError(t, s.Tidy(always))
	}
	require.Less(t, f.reserved(t), had)
	again, err := f.pages()
	require.NoError(t, err)
	require.LessOrEqual(t, again, full+full/10)
	require.NoError(t, f.Db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}))
	require.NoError(t, f.Close())
	f, err = Open(f.Path, testLockWait)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// The pages that are put aside are there for an older version too, and for one
// without a reserve.
func TestTheReserveIsGivenBackToTheLast(t *testing.T) {
	s := testRealm(t)
	back, err := s.File.giveBack()
	require.NoError(t, err)
	require.False(t, back)
	put, err := s.File.putAside(reservedRun)
	require.NoError(t, err)
	require.False(t, put, "there is no such run in a new file")
	require.Zero(t, s.File.reserved(t))
	put, err = s.File.putAside(reservedRun)
	require.NoError(t, err)
	require.True(t, put, "it is what the first try has left")
	require.Equal(t, 1, s.File.reserved(t))
	back, err = s.File.giveBack()
	require.NoError(t, err)
	require.True(t, back)
	require.Zero(t, s.File.reserved(t))
	require.NoError(t, s.Close())
	require.NoError(t, s.Tidy(always))
}

// BenchmarkWriteAfterSweep is one small act in a file with as many free pages as
// half a million swept sessions leave, as they are and put aside.
func BenchmarkWriteAfterSweep(b *testing.B) {
	for _, c := range []struct {
		name        string
		swept, tidy bool
	}{{"before", false, false}, {"swept", true, false}, {"swept and tidy", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			s := testRealm(b)
			s.File.Db.NoSync = true
			fill(b, s, 20_000, time.Now().Add(24*time.Hour))
			if c.swept {
				// One value of as many pages is the same to the list, and made at once.
				require.NoError(b, s.Update(b.Context(), func(tx store.Tx) error { return tx.PutValue("large", make([]byte, 74_000*4096)) }))
				require.NoError(b, s.Update(b.Context(), func(tx store.Tx) error { return tx.PutValue("large", nil) }))
				require.NoError(b, s.Update(b.Context(), func(store.Tx) error { return nil }))
			}
			if c.tidy {
				require.NoError(b, s.Tidy(always))
				require.NoError(b, s.Tidy(always))
			}
			var n uint64
			for b.Loop() {
				n++
				one := benchSession(0, uuid.Must(uuid.NewV7()))
				binary.BigEndian.PutUint64(one.Hash[:], n*0x9e3779b97f4a7c15)
				if err := s.Update(b.Context(), func(tx store.Tx) error { return tx.PutSession(one) }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.File.Db.Stats().FreePageN), "free-pages")
		})
	}
}
