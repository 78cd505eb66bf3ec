// verify.go: whether a file that nobody has open is a whole account file.

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
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
				if err := c.count(b); err != nil {
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
func (c *Contents) count(realm *bolt.Bucket) error {
	if err := readAll(realm); err != nil {
		return err
	}
	users, keys, sessions := realm.Bucket([]byte(bucketUsers)), realm.Bucket([]byte(bucketKeys)), realm.Bucket([]byte(bucketSessions))
	if users == nil || keys == nil || sessions == nil {
		return fmt.Errorf("%w: %s, %s or %s is missing", ErrDamaged, bucketUsers, bucketKeys, bucketSessions)
	}
	if err := users.ForEach(func(k, v []byte) error {
		id, err := uuid.FromBytes(k)
		if err == nil {
			_, _, err = DecodeUser(id, v)
		}
		c.Accounts++
		return err
	}); err != nil {
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
		_, err := decodeSession(fromHashBytes(hash), v)
		return err
	})
}

// isMissing reports whether nothing stands at path.
func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
