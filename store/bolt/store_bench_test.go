// store_bench_test.go: what the embedded store costs in time and on disk.
// The million accounts need some 1.5 GB of disk and minutes to seed:
// go test -run '^$' -bench . (-short leaves them out).

package bolt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

// benchUser is of typical size: an argon2id hash, a name, two keys.
func benchUser(i int) (*store.User, []store.Key) {
	name := benchName(i)
	u := &store.User{
		ID: uuid.Must(uuid.NewV7()), Username: name, Email: name + "@example.org",
		FirstName: "Augusta", LastName: "Lovelace",
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 22) + "$" + strings.Repeat("B", 43),
		IsActive:     true, EmailVerified: true, DateJoined: time.Now(), LastLogin: time.Now(),
	}
	return u, []store.Key{{Field: "username", Value: u.Username}, {Field: "email", Value: u.Email}}
}

// benchName gives names in no order.
func benchName(i int) string { return fmt.Sprintf("user%07d", i*4871233%10_000_000) }

func benchHash(i int) store.TokenHash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func benchSession(i int, user uuid.UUID) *store.Session {
	// One sign-in a second.
	at := time.Unix(1_790_000_000+int64(i), 0)
	return &store.Session{
		Hash: benchHash(i), User: user, Created: at, LastUsed: at, Expires: at.Add(14 * 24 * time.Hour),
		Address:   "203.0.113.200",
		UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	}
}

// seed writes n accounts, then a session for each, in another order than that
// of the accounts, a second apart. The transactions are large, but small
// against the tree, so pages are as full as single writes would leave them.
func seed(b *testing.B, s *Store, n int) {
	b.Helper()
	s.File.Db.NoSync = true
	ids, order := make([]uuid.UUID, n), rand.New(rand.NewPCG(1, 2)).Perm(n)
	const step = 1000
	for first := 0; first < 2*n; first += step {
		require.NoError(b, s.Update(b.Context(), func(tx store.Tx) error {
			for i := first; i < first+step; i++ {
				if i >= n {
					if err := tx.PutSession(benchSession(i-n, ids[order[i-n]])); err != nil {
						return err
					}
					continue
				}
				u, keys := benchUser(i)
				ids[i] = u.ID
				if err := tx.PutUser(u, keys); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	s.File.Db.NoSync = false
	require.NoError(b, s.File.Db.Sync())
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		if n > 1_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprint("users=", n), func(b *testing.B) {
			s := testRealm(b)
			seed(b, s, n)
			b.Run("Session", func(b *testing.B) {
				i := 0
				for b.Loop() {
					i += 7919
					if err := s.View(context.Background(), func(tx store.Tx) error {
						_, err := tx.Session(benchHash(i % n))
						return err
					}); err != nil {
						b.Fatal(err)
					}
				}
				reportDisk(b, s, n)
			})
			b.Run("UserByKey", func(b *testing.B) {
				i := 0
				for b.Loop() {
					i += 7919
					if err := s.View(context.Background(), func(tx store.Tx) error {
						_, err := tx.UserByKey("username", benchName(i%n))
						return err
					}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("PutUser", func(b *testing.B) {
				i := n
				for b.Loop() {
					i++
					u, keys := benchUser(i)
					if err := s.Update(context.Background(), func(tx store.Tx) error { return tx.PutUser(u, keys) }); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// reportDisk reports the pages in use for a user with one session, and the
// part of each bucket.
func reportDisk(b *testing.B, s *Store, n int) {
	b.Helper()
	total := 0
	require.NoError(b, s.File.Db.View(func(tx *bolt.Tx) error {
		for _, name := range realmBuckets {
			st := tx.Bucket(s.bucket).Bucket([]byte(name)).Stats()
			total += st.BranchAlloc + st.LeafAlloc
			if st.KeyN > 0 {
				b.Logf("%-15s %5.0f B/user, in use %5.0f", name, float64(st.BranchAlloc+st.LeafAlloc)/float64(n), float64(st.BranchInuse+st.LeafInuse)/float64(n))
			}
		}
		return nil
	}))
	info, err := os.Stat(s.File.Path)
	require.NoError(b, err)
	b.ReportMetric(float64(total)/float64(n), "page-B/user")
	b.ReportMetric(float64(info.Size())/float64(n), "file-B/user")
}

// BenchmarkCommit compares ways to commit a small act: committer (the one in
// use), bbolt's Update, and its Batch; by one writer and by many.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		for _, way := range []string{"committer", "Update", "Batch 1ms", "Batch 10ms"} {
			b.Run(fmt.Sprintf("%s/writers=%d", way, writers), func(b *testing.B) {
				db, err := bolt.Open(filepath.Join(b.TempDir(), "bench.db"), 0o600, nil)
				require.NoError(b, err)
				defer func() { require.NoError(b, db.Close()) }()
				require.NoError(b, db.Update(func(tx *bolt.Tx) error {
					_, err := tx.CreateBucket([]byte("b"))
					return err
				}))
				c := &committer{db: db, health: new(Health)}
				commit := map[string]func(func(*bolt.Tx) error) error{
					"committer": func(fn func(*bolt.Tx) error) error {
						_, err := c.do(func(tx *bolt.Tx, _ *undo) error { return fn(tx) })
						return err
					},
					"Update":     db.Update,
					"Batch 1ms":  db.Batch,
					"Batch 10ms": db.Batch,
				}[way]
				if way == "Batch 1ms" {
					db.MaxBatchDelay = time.Millisecond
				}
				var n atomic.Uint64
				act := func() error {
					key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n.Add(1)))
					return commit(func(tx *bolt.Tx) error { return tx.Bucket([]byte("b")).Put(key[:], make([]byte, 200)) })
				}
				if writers == 1 {
					for b.Loop() {
						if err := act(); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.SetParallelism(writers / 2) // times GOMAXPROCS, two here
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := act(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// BenchmarkUpdateParallel registers accounts from many goroutines at once.
func BenchmarkUpdateParallel(b *testing.B) {
	s := testRealm(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u, keys := benchUser(int(n.Add(1)))
			if err := s.Update(context.Background(), func(tx store.Tx) error { return tx.PutUser(u, keys) }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkClaimMail claims a page of ten thousand queued mails.
func BenchmarkClaimMail(b *testing.B) {
	s := testRealm(b)
	at := time.Now()
	require.NoError(b, s.Update(b.Context(), func(tx store.Tx) error {
		for i := range 10_000 {
			if err := tx.PutMail(&store.Mail{To: fmt.Sprintf("user%d@example.org", i), Kind: store.MailResetPassword, Queued: at, Due: at}); err != nil {
				return err
			}
		}
		return nil
	}))
	c := store.Claim{Worker: uuid.New(), Now: at, Lease: time.Minute, Limit: 20}
	for b.Loop() {
		if mails, _, err := s.ClaimMail(context.Background(), c); err != nil || len(mails) != 20 {
			b.Fatal(len(mails), err)
		}
	}
}
