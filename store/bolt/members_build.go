// members_build.go: how the indexes of Members come to be in a file that has none, or old
// ones.

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// The build of the indexes. The bucket about the file says for which version of folding
// they are whole, or how far the build has come: a file of an older schema, or of a
// build with other tables of Unicode, is gone through once, in batches, and a build that
// was broken off goes on where it was.
const (
	keyMembers      = "members"       // the version
	keyMembersBuilt = "members_built" // version NUL realm's bucket NUL id behind which to go on
)

// membersVersion changes when the entries of an account would be others.
const membersVersion = "1/" + store.FoldVersion

// memberBatch is how many accounts are indexed in one transaction.
const memberBatch = 2000

// migrateMembers is the step from schema 2, which has no indexes of Members; they are built
// behind it (buildMembers).
func migrateMembers(tx *bolt.Tx) error { return clearMembers(tx) }

// clearMembers empties the indexes of all realms, and what they count.
func clearMembers(tx *bolt.Tx) error {
	return eachRealm(tx, func(_ []byte, realm *bolt.Bucket) error {
		for _, name := range memberBuckets {
			if err := realm.DeleteBucket([]byte(name)); err != nil && realm.Bucket([]byte(name)) != nil {
				return err
			}
			if _, err := realm.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return realm.Bucket([]byte(bucketUsers)).SetSequence(0)
	})
}

// eachRealm calls fn with the realms' buckets, in their order; fn may write to them.
func eachRealm(tx *bolt.Tx, fn func(name []byte, realm *bolt.Bucket) error) error {
	var names [][]byte
	c := tx.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if strings.HasPrefix(string(k), realmPrefix) {
			names = append(names, bytes.Clone(k))
		}
	}
	for _, name := range names {
		if err := fn(name, tx.Bucket(name)); err != nil {
			return err
		}
	}
	return nil
}

// buildMembers builds the indexes where they aren't whole.
func buildMembers(db *bolt.DB, batch int) error {
	whole := false
	if err := db.View(func(tx *bolt.Tx) error {
		whole = membersWhole(tx)
		return nil
	}); err != nil || whole {
		return err
	}
	for done := false; !done; {
		if err := db.Update(func(tx *bolt.Tx) (err error) {
			done, err = buildMembersBatch(tx, batch)
			return err
		}); err != nil {
			return fmt.Errorf("building the indexes of accounts: %w", err)
		}
	}
	return nil
}

func membersWhole(tx *bolt.Tx) bool {
	meta := tx.Bucket([]byte(bucketMeta))
	return meta != nil && string(meta.Get([]byte(keyMembers))) == membersVersion
}

// buildMembersBatch indexes the next accounts, and says whether it were the last ones.
func buildMembersBatch(tx *bolt.Tx, batch int) (done bool, err error) {
	meta := tx.Bucket([]byte(bucketMeta))
	version, at, begun := bytes.Cut(meta.Get([]byte(keyMembersBuilt)), []byte{0})
	if !begun || string(version) != membersVersion {
		at = nil
		if err := errors.Join(clearMembers(tx), meta.Delete([]byte(keyMembers))); err != nil {
			return false, err
		}
	}
	at = bytes.Clone(at)
	left := batch
	if err := eachRealm(tx, func(name []byte, realm *bolt.Bucket) error {
		prefix, after := append(bytes.Clone(name), 0), uuid.Nil
		switch within := bytes.HasPrefix(at, prefix) && len(at) == len(prefix)+len(after); {
		case left == 0 || !within && bytes.Compare(prefix, at) < 0:
			return nil
		case within:
			after = uuid.UUID(at[len(prefix):])
		}
		t := &boltTx{tx: tx, realm: realm}
		c := realm.Bucket([]byte(bucketUsers)).Cursor()
		k, v := c.Seek(after[:])
		if bytes.Equal(k, after[:]) {
			k, v = c.Next()
		}
		for ; k != nil && left > 0; k, v = c.Next() {
			id, err := uuid.FromBytes(k)
			if err != nil {
				return fmt.Errorf("user id: %w: %w", ErrDamaged, err)
			}
			u, keys, err := record.DecodeUser(id, v)
			if err != nil {
				return err
			}
			if err := t.indexMember(member{}, member{u, keys}); err != nil {
				return err
			}
			left--
			at = append(bytes.Clone(prefix), id[:]...)
		}
		return nil
	}); err != nil {
		return false, err
	}
	if left > 0 {
		return true, errors.Join(meta.Put([]byte(keyMembers), []byte(membersVersion)), meta.Delete([]byte(keyMembersBuilt)))
	}
	return false, meta.Put([]byte(keyMembersBuilt), slices.Concat([]byte(membersVersion), []byte{0}, at))
}
