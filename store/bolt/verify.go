// verify.go: whether a file is a whole account file, and a look at one that leaves it as
// it is.

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
	bolt "go.etcd.io/bbolt"
)

// Contents is what an account file has.
type Contents struct {
	// Realms are the names of the realms, sorted.
	Realms []string
	// Accounts and Sessions are counted over all realms.
	Accounts, Sessions int
	// Size is the file's, in bytes.
	Size int64
}

// Verify reads a whole account file, each of its pages and accounts, and returns what
// is in it. It changes nothing. A file that Open would refuse, or in which something
// is missing or contradicts something else, gives an error; so does one that
// somebody has open to write (store.ErrStoreLocked), and a missing or empty one.
func Verify(path string) (c Contents, err error) {
	c, err = verify(path)
	if err != nil {
		return Contents{}, openError(path, err)
	}
	return c, nil
}

var errEmpty = errors.New("it has no accounts in it, not even the place for them")

func verify(path string) (c Contents, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return c, err
	}
	if err := checkBoltFile(path); err != nil {
		return c, err
	}
	if c.Size = info.Size(); c.Size == 0 {
		return c, errEmpty
	}
	db, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: time.Nanosecond})
	if err != nil {
		return c, err
	}
	return c, errors.Join(noPanic(func() error {
		if schema, err := readSchema(db, boltSchema); err != nil || schema == 0 {
			return errors.Join(err, errIf(schema == 0, errEmpty))
		}
		return db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
				realm, ok := strings.CutPrefix(string(name), realmPrefix)
				if !ok {
					return readAll(b)
				}
				c.Realms = append(c.Realms, realm)
				if err := c.count(tx, b); err != nil {
					return fmt.Errorf("realm %s: %w", realm, err)
				}
				return nil
			})
		})
	}), db.Close())
}

func errIf(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// readAll reads all pages of a bucket and looks whether its keys are in their order.
func readAll(b *bolt.Bucket) error {
	var last []byte
	return b.ForEach(func(k, v []byte) error {
		if last != nil && bytes.Compare(last, k) >= 0 {
			return fmt.Errorf("%w: keys are not in their order", ErrDamaged)
		}
		if last = k; v == nil {
			return readAll(b.Bucket(k))
		}
		return nil
	})
}

// count reads a realm: all of it, its accounts and sessions decoded, and each key with
// the account that it is of.
func (c *Contents) count(tx *bolt.Tx, realm *bolt.Bucket) error {
	if err := readAll(realm); err != nil {
		return err
	}
	users, keys, sessions := realm.Bucket([]byte(bucketUsers)), realm.Bucket([]byte(bucketKeys)), realm.Bucket([]byte(bucketSessions))
	if users == nil || keys == nil || sessions == nil {
		return fmt.Errorf("%w: %s, %s or %s is missing", ErrDamaged, bucketUsers, bucketKeys, bucketSessions)
	}
	index, err := newMemberCheck(tx, realm)
	if err != nil {
		return err
	}
	if err := users.ForEach(func(k, v []byte) error {
		c.Accounts++
		id, err := uuid.FromBytes(k)
		if err != nil {
			return err
		}
		u, keys, err := record.DecodeUser(id, v)
		if err != nil {
			return err
		}
		return index.account(member{u, keys})
	}); err != nil {
		return err
	}
	if err := index.end(); err != nil {
		return err
	}
	if err := keys.ForEach(func(_, id []byte) error {
		if users.Get(id) == nil {
			return fmt.Errorf("%w: a name is of an account that is not there", ErrDamaged)
		}
		return nil
	}); err != nil {
		return err
	}
	return sessions.ForEach(func(hash, v []byte) error {
		c.Sessions++
		var h store.TokenHash
		copy(h[:], hash)
		_, err := record.DecodeSession(h, v)
		return err
	})
}

// isMissing reports whether nothing stands at path.
func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// A memberCheck compares the indexes of a realm with its accounts.
type memberCheck struct {
	t    *boltTx
	want map[string]int // entries by bucket
	all  int
}

// newMemberCheck is nil where the indexes are still to be built.
func newMemberCheck(tx *bolt.Tx, realm *bolt.Bucket) (*memberCheck, error) {
	if !membersWhole(tx) {
		return nil, nil
	}
	for _, name := range memberBuckets {
		if realm.Bucket([]byte(name)) == nil {
			return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, name)
		}
	}
	return &memberCheck{t: &boltTx{tx: tx, realm: realm}, want: map[string]int{}}, nil
}

// account looks whether an account is in the indexes.
func (c *memberCheck) account(m member) error {
	if c == nil {
		return nil
	}
	c.all++
	entries := map[string][][]byte{}
	if b, ok := stateBuckets[m.state()]; ok {
		entries[b] = [][]byte{m.user.ID[:]}
	}
	for b, texts := range map[string][]string{bucketMemberGroups: m.groups(), bucketMemberTexts: m.texts()} {
		for _, text := range texts {
			entries[b] = append(entries[b], waitingKey(text, m.user.ID))
		}
	}
	for b, keys := range entries {
		for _, key := range keys {
			if k, _ := c.t.bucket(b).Cursor().Seek(key); !bytes.Equal(k, key) {
				return fmt.Errorf("%w: %s is without an account", ErrDamaged, b)
			}
			c.want[b]++
		}
	}
	return nil
}

// end looks whether they have anything else, and whether all is counted.
func (c *memberCheck) end() error {
	if c == nil {
		return nil
	}
	if n := c.t.bucket(bucketUsers).Counted(); n != uint64(c.all) { //nolint:gosec // not negative
		return fmt.Errorf("%w: %d accounts are counted as %d", ErrDamaged, c.all, n)
	}
	for _, b := range memberBuckets {
		n := 0
		if err := c.t.realm.Bucket([]byte(b)).ForEach(func(_, _ []byte) error { n++; return nil }); err != nil {
			return err
		}
		if n != c.want[b] || b != bucketMemberGroups && b != bucketMemberTexts && c.t.bucket(b).Counted() != uint64(n) {
			return fmt.Errorf("%w: %s has more or other accounts than there are", ErrDamaged, b)
		}
	}
	return nil
}

// Look returns why the file at path can't be opened, as far as reading tells: the
// errors of Open, but for those of writing and those of a migration. It makes and
// changes nothing. A missing file is in order; of one that somebody has open it
// learns nothing more, and returns an error that matches store.ErrStoreLocked.
func Look(path string) error {
	if err := look(path); err != nil {
		return openError(path, err)
	}
	return nil
}

func look(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lookAtFolder(filepath.Dir(path))
	case err == nil && info.Mode().IsRegular() && info.Size() == 0:
		return nil // taken for a new one
	}
	if err := checkBoltFile(path); err != nil {
		return err
	}
	// No wait: whoever has it open will see to it.
	db, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: time.Nanosecond})
	if err != nil {
		return err
	}
	return errors.Join(noPanic(func() error {
		_, err := readSchema(db, boltSchema)
		return err
	}), db.Close())
}

// lookAtFolder says whether a missing folder could be made: the next one above it
// that there is must be one.
func lookAtFolder(dir string) error {
	for {
		info, err := os.Stat(dir)
		above := filepath.Dir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && above != dir:
			dir = above
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
}
