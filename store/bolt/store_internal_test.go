// store_internal_test.go: the embedded store's inner promises: schema,
// formats, contradictions, group commit.

package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/seed-928992b0/caddy-registration/store"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testFile(t testing.TB) *File {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "accounts.db"), testLockWait)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func testRealm(t testing.TB) *Store {
	t.Helper()
	s, err := testFile(t).Realm("default")
	require.NoError(t, err)
	return s
}

// raw changes a bucket behind the store's back.
func raw(t *testing.T, s *Store, bucket string, fn func(*bolt.Bucket) error) {
	t.Helper()
	require.NoError(t, s.File.Db.Update(func(tx *bolt.Tx) error {
		return fn(tx.Bucket(s.bucket).Bucket([]byte(bucket)))
	}))
}

func setSchemaNumber(t *testing.T, db *bolt.DB, n uint64) {
	t.Helper()
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(keySchema), binary.BigEndian.AppendUint64(nil, n))
	}))
}

func schemaNumber(t *testing.T, db *bolt.DB) (n uint64) {
	t.Helper()
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		n = binary.BigEndian.Uint64(tx.Bucket([]byte(bucketMeta)).Get([]byte(keySchema)))
		return nil
	}))
	return n
}

func TestNewerSchemaIsRefused(t *testing.T) {
	f := testFile(t)
	require.Equal(t, uint64(boltSchema), schemaNumber(t, f.Db))
	setSchemaNumber(t, f.Db, 7)
	require.NoError(t, f.Close())
	_, err := Open(f.Path, testLockWait)
	require.ErrorIs(t, err, store.ErrNewerSchema)
	require.ErrorContains(t, err, f.Path)
	require.ErrorContains(t, err, "schema 7, this plugin knows up to 4")
	require.ErrorContains(t, err, "restore the backup")
	// The refusal has let go of the file and has not touched it.
	db, err := bolt.Open(f.Path, 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	require.Equal(t, uint64(7), schemaNumber(t, db))
	require.NoError(t, db.Close())
}

func TestMigrationsRunInOneTransaction(t *testing.T) {
	f := testFile(t)
	setSchemaNumber(t, f.Db, 1)
	mark := func(name string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte(name))
			return err
		}
	}
	failed := errors.New("failed")
	steps := map[uint64]func(*bolt.Tx) error{1: mark("first"), 2: func(*bolt.Tx) error { return failed }}
	err := setSchema(f.Db, 3, steps, func(uint64) {})
	require.ErrorIs(t, err, failed)
	require.ErrorContains(t, err, "from schema 2 to 3 (nothing was changed)")
	require.Equal(t, uint64(1), schemaNumber(t, f.Db))
	require.ErrorContains(t, setSchema(f.Db, 3, nil, func(uint64) {}), "no migration from schema 1 to 2")

	// That the bucket "first" can be made again shows that nothing was left.
	steps[2] = mark("second")
	require.NoError(t, setSchema(f.Db, 3, steps, func(uint64) {}))
	require.Equal(t, uint64(3), schemaNumber(t, f.Db))
	require.NoError(t, setSchema(f.Db, 3, steps, func(uint64) {}), "they run once")
}

func TestEverySchemaHasItsMigration(t *testing.T) {
	require.Len(t, boltMigrations, boltSchema-1)
	for v := uint64(1); v < boltSchema; v++ {
		require.Contains(t, boltMigrations, v)
	}
}

func TestLaterRecordFormatsAreRefused(t *testing.T) {
	s := testRealm(t)
	u := &store.User{ID: uuid.Must(uuid.NewV7())}
	session := &store.Session{Hash: store.TokenHash{1}, User: u.ID, Expires: testTime}
	mail := &store.Mail{To: "a@example.org", Due: testTime}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.PutUser(u, []store.Key{{Field: "username", Value: "anna"}}), tx.PutSession(session), tx.PutMail(mail), tx.PutValue("key", []byte("v")))
	}))
	acts := map[string]struct {
		bucket string
		key    []byte
		acts   map[string]func(store.Tx) error
	}{
		"user": {bucketUsers, u.ID[:], map[string]func(store.Tx) error{
			"User":       func(tx store.Tx) error { _, err := tx.User(u.ID); return err },
			"UserByKey":  func(tx store.Tx) error { _, err := tx.UserByKey("username", "anna"); return err },
			"Users":      func(tx store.Tx) error { _, err := tx.Users(uuid.Nil, 1); return err },
			"PutUser":    func(tx store.Tx) error { return tx.PutUser(u, nil) },
			"DeleteUser": func(tx store.Tx) error { return tx.DeleteUser(u.ID) },
		}},
		"session": {bucketSessions, session.Hash[:], map[string]func(store.Tx) error{
			"Session":               func(tx store.Tx) error { _, err := tx.Session(session.Hash); return err },
			"Sessions":              func(tx store.Tx) error { _, err := tx.Sessions(u.ID, 9); return err },
			"PutSession":            func(tx store.Tx) error { return tx.PutSession(session) },
			"DeleteSession":         func(tx store.Tx) error { return tx.DeleteSession(session.Hash) },
			"DeleteExpiredSessions": func(tx store.Tx) error { _, err := tx.DeleteExpiredSessions(testTime, 1); return err },
			"DeleteUser":            func(tx store.Tx) error { return tx.DeleteUser(u.ID) },
		}},
		"mail": {bucketOutbox, seqBytes(mail.Seq), map[string]func(store.Tx) error{
			"Mails":      func(tx store.Tx) error { _, err := tx.Mails(0, 1); return err },
			"ClaimMail":  claimable,
			"PutMail":    func(tx store.Tx) error { return tx.PutMail(mail) },
			"PutMail 2":  func(tx store.Tx) error { return tx.PutMail(&store.Mail{To: mail.To}) },
			"DeleteMail": func(tx store.Tx) error { return tx.DeleteMail(mail.Seq) },
		}},
		"value": {bucketValues, []byte("key"), map[string]func(store.Tx) error{
			"Value": func(tx store.Tx) error { _, err := tx.Value("key"); return err },
		}},
	}
	for kind, c := range acts {
		var good []byte
		raw(t, s, c.bucket, func(b *bolt.Bucket) error {
			good = append(good, b.Get(c.key)...)
			require.Equal(t, byte(1), good[0])
			return b.Put(c.key, append([]byte{9}, good[1:]...))
		})
		for name, act := range c.acts {
			err := s.Update(t.Context(), act)
			require.ErrorIs(t, err, store.ErrNewerSchema, name)
			require.ErrorContains(t, err, kind+" record has format 9", name)
		}
		for _, bad := range [][]byte{{}, {0, 1}, {1}, {1, 0xff}} {
			if kind == "value" && len(bad) > 0 && bad[0] == 1 {
				continue // a value may be any bytes
			}
			raw(t, s, c.bucket, func(b *bolt.Bucket) error { return b.Put(c.key, bad) })
			for name, act := range c.acts {
				require.ErrorIs(t, s.Update(t.Context(), act), ErrDamaged, name)
			}
		}
		raw(t, s, c.bucket, func(b *bolt.Bucket) error { return b.Put(c.key, good) })
	}
}

// claimable is what a claim reads.
func claimable(tx store.Tx) error {
	_, _, err := tx.(*boltTx).claimable(testClaim(1), &leases{})
	return err
}

var testWorker = uuid.New()

func testClaim(limit int) store.Claim {
	return store.Claim{Worker: testWorker, Now: testTime, Lease: time.Minute, Limit: limit}
}

// An index that names a missing record is damage, not absence: an answer
// ErrNotFound would hide it.
func TestContradictionsAreDamage(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	for name, c := range map[string]struct {
		bucket string
		key    []byte
		value  []byte
		act    func(store.Tx) error
	}{
		"key without user":    {bucketKeys, indexKey("f", "v"), id[:], func(tx store.Tx) error { _, err := tx.UserByKey("f", "v"); return err }},
		"key without id":      {bucketKeys, indexKey("f", "v"), []byte("x"), func(tx store.Tx) error { _, err := tx.UserByKey("f", "v"); return err }},
		"user with half key":  {bucketUsers, id[:], []byte("\x01\xa1\x0b\x81\x61a"), func(tx store.Tx) error { _, err := tx.User(id); return err }},
		"user with a bad id":  {bucketUsers, []byte("x"), []byte{1}, func(tx store.Tx) error { _, err := tx.Users(uuid.Nil, 1); return err }},
		"user's session":      {bucketUserSessions, userSessionKey(id, store.TokenHash{}), nil, func(tx store.Tx) error { _, err := tx.Sessions(id, 9); return err }},
		"user's bad session":  {bucketUserSessions, append(id[:], 1), nil, func(tx store.Tx) error { _, err := tx.Sessions(id, 9); return err }},
		"expiring session":    {bucketSessionExpiry, make([]byte, 40), nil, func(tx store.Tx) error { _, err := tx.DeleteExpiredSessions(testTime, 1); return err }},
		"bad expiry":          {bucketSessionExpiry, []byte("x"), nil, func(tx store.Tx) error { _, err := tx.DeleteExpiredSessions(testTime, 1); return err }},
		"due mail":            {bucketOutboxDue, make([]byte, 16), nil, claimable},
		"bad due":             {bucketOutboxDue, []byte("x"), nil, claimable},
		"bad mail number":     {bucketOutbox, []byte("x"), nil, func(tx store.Tx) error { _, err := tx.Mails(0, 1); return err }},
		"mail to a recipient": {bucketOutboxTo, []byte("a\x0012345678"), nil, func(tx store.Tx) error { return tx.PutMail(&store.Mail{To: "A"}) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := testRealm(t)
			raw(t, s, c.bucket, func(b *bolt.Bucket) error { return b.Put(c.key, c.value) })
			err := s.Update(t.Context(), c.act)
			require.ErrorIs(t, err, ErrDamaged)
			require.NotErrorIs(t, err, store.ErrNotFound)
		})
	}
}

func TestBadInputIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	s := testRealm(t)
	id := uuid.Must(uuid.NewV7())
	long := strings.Repeat("x", bolt.MaxKeySize)
	for name, c := range map[string]struct {
		act  func(store.Tx) error
		want string
	}{
		"no id": {func(tx store.Tx) error { return tx.PutUser(&store.User{}, nil) }, "needs an id"},
		"NUL in a field": {func(tx store.Tx) error {
			return tx.PutUser(&store.User{ID: id}, []store.Key{{Field: "a\x00", Value: "b"}})
		}, "contains a NUL"},
		"long key": {func(tx store.Tx) error {
			return tx.PutUser(&store.User{ID: id}, []store.Key{{Field: "a", Value: long}})
		}, "field a is too long"},
		"unknown type": {func(tx store.Tx) error {
			return tx.PutUser(&store.User{ID: id, Extra: map[string]any{"a": func() {}}}, nil)
		}, "encoding"},
		"long recipient": {func(tx store.Tx) error { return tx.PutMail(&store.Mail{To: long}) }, "recipient of a mail is too long"},
		"nameless value": {func(tx store.Tx) error { return tx.PutValue("", nil) }, "needs a name"},
	} {
		var got error
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
			got = c.act(tx)
			return nil
		}), name)
		require.ErrorContains(t, got, c.want, name)
	}
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		for _, b := range realmBuckets {
			require.Zero(t, tx.(*boltTx).bucket(b).Stats().KeyN, b)
		}
		_, err := tx.UserByKey("a\x00", "b")
		require.ErrorIs(t, err, store.ErrNotFound)
		return nil
	}))
}

func TestKeysMayHoldANUL(t *testing.T) {
	s := testRealm(t)
	a, b := &store.User{ID: uuid.Must(uuid.NewV7())}, &store.User{ID: uuid.Must(uuid.NewV7())}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(
			tx.PutUser(a, []store.Key{{Field: "f", Value: "x\x00y"}, {Field: "empty", Value: ""}}),
			tx.PutUser(b, []store.Key{{Field: "f", Value: "x"}, {Field: "empty", Value: ""}}), // an empty value is no key
			tx.PutMail(&store.Mail{To: "A", Due: testTime}), tx.PutMail(&store.Mail{To: "A\x0012345678", Due: testTime}),
			tx.PutMail(&store.Mail{To: "a", Due: testTime}), // the same recipient as A
		)
	}))
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		u, err := tx.UserByKey("f", "x\x00y")
		require.NoError(t, err)
		require.Equal(t, a.ID, u.ID)
		_, err = tx.UserByKey("empty", "")
		require.ErrorIs(t, err, store.ErrNotFound)
		return nil
	}))
	mails, _, err := s.ClaimMail(t.Context(), testClaim(9))
	require.NoError(t, err)
	require.Len(t, mails, 2)
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteMail(1) }))
	mails, _, err = s.ClaimMail(t.Context(), testClaim(9))
	require.NoError(t, err)
	require.Len(t, mails, 2)
	require.Equal(t, uint64(3), mails[1].Seq)
}

func TestRecordsKeepStringsThatAreNotUTF8(t *testing.T) {
	s := testRealm(t)
	session := &store.Session{Hash: store.TokenHash{1}, UserAgent: "\xff\xfe", Created: testTime, LastUsed: testTime, Expires: testTime, AMR: []string{"pwd"}, AuthTime: testTime}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutSession(session) }))
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		got, err := tx.Session(session.Hash)
		require.NoError(t, err)
		require.Equal(t, session, got)
		return nil
	}))
}

func TestATxIsDeadAfterItsAct(t *testing.T) {
	s := testRealm(t)
	for _, act := range []func(store.Tx) error{
		func(tx store.Tx) error { _, err := tx.User(uuid.Nil); return err },
		func(tx store.Tx) error { return tx.PutValue("a", nil) },
	} {
		var kept store.Tx
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { kept = tx; return nil }))
		require.PanicsWithValue(t, "registration: a store.Tx was used after its function had returned", func() { _ = act(kept) })
	}
}

// ClaimMail must not read rows that it does not return: neither those of later
// recipients nor those that wait behind an older one.
func TestClaimMailReadsOnlyWhatItReturns(t *testing.T) {
	s := testRealm(t)
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		for i := range 10_000 {
			m := &store.Mail{To: fmt.Sprintf("%d@example.org", i%100), Due: testTime.Add(-time.Duration(i) * time.Second)}
			if i < 50 {
				m.Due = testTime.Add(store.MailFarAhead) // half of the recipients have a head that is put off
			}
			if err := tx.PutMail(m); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		require.Equal(t, 100, tx.(*boltTx).bucket(bucketOutboxDue).Stats().KeyN)
		return nil
	}))
	mails, _, err := s.ClaimMail(t.Context(), testClaim(1000))
	require.NoError(t, err)
	require.Len(t, mails, 50)
}

// Followers share the leader's commit; a failing one leaves nothing in it, costs
// the others no second run, and the Seq it got does not survive.
func TestActsShareACommit(t *testing.T) {
	s := testRealm(t)
	c := &s.File.commits
	const followers = 20
	failed := errors.New("failed")
	mails := make([]*store.Mail, followers)
	errs := make([]error, followers)
	runs := make([]int, followers)
	before := lastCommit(t, s)
	var wg sync.WaitGroup
	require.NoError(t, s.Update(t.Context(), func(store.Tx) error {
		if c.queueLen() > 0 {
			return nil // a second run
		}
		for i := range followers {
			mails[i] = &store.Mail{To: fmt.Sprint(i)}
			wg.Go(func() {
				errs[i] = s.Update(t.Context(), func(tx store.Tx) error {
					runs[i]++
					if err := tx.PutMail(mails[i]); err != nil {
						return err
					}
					if i == 7 {
						return failed
					}
					return nil
				})
			})
		}
		for c.queueLen() < followers {
			runtime.Gosched() // until all of them wait for this act
		}
		return nil
	}))
	wg.Wait()
	require.Equal(t, 1, lastCommit(t, s)-before)
	seen := map[uint64]bool{}
	for i, err := range errs {
		if i == 7 {
			require.ErrorIs(t, err, failed)
			require.Equal(t, 1, runs[i])
			require.Zero(t, mails[i].Seq)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, runs[i])
		require.False(t, seen[mails[i].Seq], "two mails share a Seq")
		seen[mails[i].Seq] = true
	}
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		all, err := tx.Mails(0, 100)
		require.Len(t, all, followers-1)
		return err
	}))
}

// lastCommit returns the number of the last committed transaction.
func lastCommit(t *testing.T, s *Store) (id int) {
	t.Helper()
	require.NoError(t, s.File.Db.View(func(tx *bolt.Tx) error {
		id = tx.ID()
		return nil
	}))
	return id
}

func (c *committer) queueLen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// A group takes no more than its limit; the rest come next.
func TestGroupsAreBounded(t *testing.T) {
	c := &committer{}
	for range maxGroup + 10 {
		c.waiting = append(c.waiting, &act{})
	}
	c.waiting[3].alone = true
	require.Len(t, c.gather([]*act{{}}), maxGroup)
	require.Len(t, c.waiting, 11)
	require.True(t, c.waiting[0].alone)
}

func TestTheMapIsReservedOnlyWhereItCostsNothing(t *testing.T) {
	require.Equal(t, []int{16 << 30, 1 << 30, 0}, initialMmapSizes("linux", 64))
	require.Equal(t, []int{0}, initialMmapSizes("linux", 32))
	require.Equal(t, []int{0}, initialMmapSizes("windows", 64))
}

func TestSortableKeepsTheOrder(t *testing.T) {
	numbers := []int64{math.MinInt64, -62135596800, -1, 0, 1, 1 << 40, math.MaxInt64}
	for i, n := range numbers {
		require.Equal(t, n, fromSortable(sortable(n)))
		if i > 0 {
			require.Less(t, string(sortable(numbers[i-1])), string(sortable(n)))
		}
	}
}

// Damage and unreadable times must not be mistaken for files that are missing.
func TestFailuresNameTheFile(t *testing.T) {
	f := &File{Path: "/the/path"}
	for want, err := range map[string]error{
		"the disk is full": &fs.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC},
		"/the/path":        errors.New("other"),
		"closed":           bolterrors.ErrDatabaseNotOpen,
	} {
		got := f.failure(err)
		require.ErrorContains(t, got, want)
		require.ErrorContains(t, got, "/the/path")
	}
}
