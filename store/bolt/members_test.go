// members_test.go: how the indexes of accounts come into an older file, and what
// becomes of damaged ones.

package bolt

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
)

// unpacked is one of the stores in testdata, in a file of its own.
func unpacked(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(filepath.Join("../../testdata/stores", name))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	from, err := gzip.NewReader(file)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "registration.db")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = io.Copy(out, from) //nolint:gosec // our own file
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return path
}

// dumpIndexes has all indexes of members of a file, and what is counted.
func dumpIndexes(t *testing.T, db *bolt.DB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		return eachRealm(tx, func(name []byte, realm *bolt.Bucket) error {
			for _, b := range append([]string{bucketUsers}, memberBuckets...) {
				at := string(name) + "/" + b
				all[at] = append(all[at], fmt.Sprint(realm.Bucket([]byte(b)).Sequence()))
				require.NoError(t, realm.Bucket([]byte(b)).ForEach(func(k, _ []byte) error {
					all[at] = append(all[at], string(k))
					return nil
				}))
			}
			return nil
		})
	}))
	return all
}

func found(t *testing.T, f *File, realm string, q store.MemberQuery) (names []string) {
	t.Helper()
	s, err := f.Realm(realm)
	require.NoError(t, err)
	q.Limit = 100
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		page, err := tx.Members(q)
		names = nil
		for _, u := range page.Users {
			names = append(names, u.Username)
		}
		return err
	}))
	return names
}

func TestMembersOfOlderStoresAreFound(t *testing.T) {
	for _, name := range []string{"schema1.db.gz", "schema2.db.gz"} {
		t.Run(name, func(t *testing.T) {
			path := unpacked(t, name)
			for range 2 { // and opens again afterwards
				f, err := Open(path, testLockWait)
				require.NoError(t, err)
				require.Equal(t, uint64(boltSchema), schemaNumber(t, f.Db))
				s, err := f.Realm("default")
				require.NoError(t, err)
				var users []*store.User
				require.NoError(t, s.View(t.Context(), func(tx store.Tx) (err error) { users, err = tx.Users(uuid.Nil, 1000); return err }))
				require.NotEmpty(t, users)
				for _, u := range users {
					require.Contains(t, found(t, f, "default", store.MemberQuery{Search: u.Username}), u.Username)
					require.Contains(t, found(t, f, "default", store.MemberQuery{State: u.State()}), u.Username)
					require.Contains(t, found(t, f, "default", store.MemberQuery{Search: u.Email, State: u.State()}), u.Username)
				}
				require.NoError(t, f.Close())
				_, err = Verify(path)
				require.NoError(t, err)
			}
		})
	}
}

// fillRealms puts accounts of all kinds into two realms.
func fillRealms(t *testing.T, f *File) {
	t.Helper()
	for _, name := range []string{"default", "other"} {
		s, err := f.Realm(name)
		require.NoError(t, err)
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
			for i := range 25 {
				u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: fmt.Sprint("user", i), FirstName: "Ada", LastName: fmt.Sprint("L", i), IsActive: i%5 == 0, AwaitsVerification: i%5 == 1, AwaitsApproval: i%5 == 2, Groups: []string{"a", fmt.Sprint("g", i%3)}}
				if err := tx.PutUser(u, []store.Key{{Field: "username", Value: u.Username}}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// The build of the indexes that is broken off anywhere goes on where it was, and comes to
// what writing the accounts one by one has come to.
func TestBuildOfMembersGoesOn(t *testing.T) {
	f := testFile(t)
	fillRealms(t, f)
	want := dumpIndexes(t, f.Db)
	require.Len(t, want, 14)
	crash := errors.New("crash")
	for _, batch := range []int{1, 7, 25, 50, 1000} {
		require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyMembers), []byte("0/of/before"))
		}))
		steps := 0
		for done := false; !done; steps++ {
			// One batch comes to nothing, the next one to something.
			require.ErrorIs(t, f.Db.Update(func(tx *bolt.Tx) error {
				_, err := buildMembersBatch(tx, batch)
				return errors.Join(err, crash)
			}), crash)
			require.NoError(t, f.Db.Update(func(tx *bolt.Tx) (err error) {
				done, err = buildMembersBatch(tx, batch)
				return err
			}))
			require.LessOrEqual(t, steps, 50/batch+1)
		}
		require.Equal(t, want, dumpIndexes(t, f.Db), batch)
	}
	// One that had begun for another version begins anew.
	require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		return errors.Join(meta.Delete([]byte(keyMembers)), meta.Put([]byte(keyMembersBuilt), []byte("0/of/before\x00realm/other\x00")))
	}))
	require.NoError(t, buildMembers(f.Db, 10))
	require.Equal(t, want, dumpIndexes(t, f.Db))
	require.NoError(t, f.Close())
	_, err := Verify(f.Path)
	require.NoError(t, err)
}

// A file of schema 2, as the version before has left it, in the middle of its accounts.
func TestBuildOfMembersTellsOfDamage(t *testing.T) {
	f := testFile(t)
	fillRealms(t, f)
	s, err := f.Realm("other")
	require.NoError(t, err)
	for name, c := range map[string]struct{ key, value []byte }{
		"an id of another length": {[]byte("x"), []byte("x")},
		"no account":              {append(make([]byte, 15), 1), []byte{0}},
	} {
		raw(t, s, bucketUsers, func(b *bolt.Bucket) error { return b.Put(c.key, c.value) })
		setSchemaNumber(t, f.Db, 2)
		require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error {
			return errors.Join(tx.Bucket([]byte(bucketMeta)).Delete([]byte(keyMembers)), tx.Bucket([]byte(bucketMeta)).Delete([]byte(keyMembersBuilt)))
		}))
		require.ErrorIs(t, buildMembers(f.Db, 10), ErrDamaged, name)
		raw(t, s, bucketUsers, func(b *bolt.Bucket) error { return b.Delete(c.key) })
	}
}

func TestDamagedMemberIndexes(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	members := func(q store.MemberQuery) func(store.Tx) error {
		q.Limit = 3
		return func(tx store.Tx) error { _, err := tx.Members(q); return err }
	}
	for name, c := range map[string]struct {
		bucket     string
		key, value []byte
		act        func(store.Tx) error
	}{
		"state without its account":  {bucketDisabled, id[:], nil, members(store.MemberQuery{State: store.StateDisabled})},
		"state of another length":    {bucketDisabled, []byte("x"), nil, members(store.MemberQuery{State: store.StateDisabled})},
		"group without its account":  {bucketMemberGroups, waitingKey("a", id), nil, members(store.MemberQuery{Group: "a"})},
		"text without its account":   {bucketMemberTexts, waitingKey("ab", id), nil, members(store.MemberQuery{Search: "a"})},
		"text of another length":     {bucketMemberTexts, []byte("ab"), nil, members(store.MemberQuery{Search: "a"})},
		"name without its account":   {bucketKeys, indexKey("username", "ab"), id[:], members(store.MemberQuery{Search: "a"})},
		"name with half an id":       {bucketKeys, indexKey("email", "ab"), id[:4], members(store.MemberQuery{Search: "a"})},
		"name with half an id after": {bucketKeys, indexKey("username", "ab"), id[:4], members(store.MemberQuery{Search: "a", After: "YQAAAAAAAAAAAAAAAAAAAAAAAA"})},
	} {
		t.Run(name, func(t *testing.T) {
			s := testRealm(t)
			raw(t, s, c.bucket, func(b *bolt.Bucket) error { return b.Put(c.key, c.value) })
			err := s.View(t.Context(), c.act)
			require.ErrorIs(t, err, ErrDamaged)
			require.NotErrorIs(t, err, store.ErrNotFound)
		})
	}
}

// A group whose name begins like another's, with a NUL behind it, is another group.
func TestGroupsMayHoldANUL(t *testing.T) {
	s := testRealm(t)
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		for i, g := range []string{"a", "a\x00b", "a\x00bcdefghijklmno\x00"} {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: fmt.Sprint("u", i), Groups: []string{g}}
			if err := tx.PutUser(u, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	for i, g := range []string{"a", "a\x00b", "a\x00bcdefghijklmno\x00"} {
		for _, newest := range []bool{false, true} {
			require.Equal(t, []string{fmt.Sprint("u", i)}, found(t, s.File, "default", store.MemberQuery{Group: g, Newest: newest}))
		}
	}
}

func TestVerifySeesDamagedMemberIndexes(t *testing.T) {
	for name, change := range map[string]func(*bolt.Bucket) error{
		"a state too many": func(r *bolt.Bucket) error { return r.Bucket([]byte(bucketDisabled)).Put(make([]byte, 16), nil) },
		"no states": func(r *bolt.Bucket) error {
			return errors.Join(r.DeleteBucket([]byte(bucketAwaiting)), create(r, bucketAwaiting))
		},
		"no texts": func(r *bolt.Bucket) error {
			return errors.Join(r.DeleteBucket([]byte(bucketMemberTexts)), create(r, bucketMemberTexts))
		},
		"a group too many":   func(r *bolt.Bucket) error { return r.Bucket([]byte(bucketMemberGroups)).Put([]byte("x"), nil) },
		"an index missing":   func(r *bolt.Bucket) error { return r.DeleteBucket([]byte(bucketMemberGroups)) },
		"a state miscounted": func(r *bolt.Bucket) error { return r.Bucket([]byte(bucketUnconfirmed)).SetSequence(3) },
		"all miscounted":     func(r *bolt.Bucket) error { return r.Bucket([]byte(bucketUsers)).SetSequence(3) },
	} {
		t.Run(name, func(t *testing.T) {
			f := testFile(t)
			fillRealms(t, f)
			require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket([]byte(realmPrefix + "other"))) }))
			require.NoError(t, f.Close())
			_, err := Verify(f.Path)
			require.ErrorIs(t, err, ErrDamaged)
		})
	}
	// While they are still to be built, they are not looked at.
	f := testFile(t)
	fillRealms(t, f)
	require.NoError(t, f.Db.Update(func(tx *bolt.Tx) error {
		return errors.Join(tx.Bucket([]byte(realmPrefix+"other")).DeleteBucket([]byte(bucketMemberGroups)), tx.Bucket([]byte(bucketMeta)).Delete([]byte(keyMembers)))
	}))
	require.NoError(t, f.Close())
	_, err := Verify(f.Path)
	require.NoError(t, err)
}

func create(r *bolt.Bucket, name string) error {
	_, err := r.CreateBucket([]byte(name))
	return err
}
