// dump.go: a realm as rows, and a file filled with them.

package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

var _ store.Moving = (*Store)(nil)

// rowBuckets are the buckets that rows come from, in the order of a dump.
var rowBuckets = []struct {
	kind   store.RowKind
	bucket string
	format byte // is left out of a row
}{
	{store.RowAccount, bucketUsers, 0},
	{store.RowSession, bucketSessions, 0},
	{store.RowMail, bucketOutbox, 0},
	{store.RowValue, bucketValues, valueFormat},
	{store.RowBudget, bucketBudgets, budgetFormat},
	{store.RowLeftName, bucketLeftNames, leftNameFormat},
	{store.RowInvitation, bucketInvitations, 0},
	{store.RowAudit, bucketAudit, 0},
}

// numbered are the kinds of which the store gives numbers away.
var numbered = []struct {
	kind   store.RowKind
	bucket string
}{{store.RowMail, bucketOutbox}, {store.RowAudit, bucketAudit}}

// Dump implements store.Moving.
func (s *Store) Dump(ctx context.Context, fn func(store.Row) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	var fnErr error
	if err := s.File.view(func(tx *bolt.Tx) { fnErr = dumpRealm(ctx, tx.Bucket(s.bucket), fn) }); err != nil {
		return s.File.failure(err)
	}
	return fnErr
}

func dumpRealm(ctx context.Context, realm *bolt.Bucket, fn func(store.Row) error) error {
	for _, n := range numbered {
		if b := realm.Bucket([]byte(n.bucket)); b != nil {
			if err := fn(store.Row{Kind: store.RowNumber, Key: []byte(n.kind), Data: seqBytes(b.Sequence())}); err != nil {
				return err
			}
		}
	}
	for _, of := range rowBuckets {
		b := realm.Bucket([]byte(of.bucket))
		if b == nil { // of a later version
			continue
		}
		if err := b.ForEach(func(k, v []byte) (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if of.format != 0 {
				if v, err = record.Body(string(of.kind), of.format, v); err != nil {
					return err
				}
			}
			return fn(store.Row{Kind: of.kind, Key: k, Data: v})
		}); err != nil {
			return err
		}
	}
	return nil
}

// DumpFile is Dump of a realm of a file that nobody has open to write, else it returns
// store.ErrStoreLocked. It leaves the file as it is, and nobody can write to it meanwhile.
func DumpFile(ctx context.Context, path, realm string, fn func(store.Row) error) error {
	if isMissing(path) {
		return fmt.Errorf("there is no account file %s", path)
	}
	if err := checkBoltFile(path); err != nil {
		return openError(path, err)
	}
	db, err := openBolt(path, &bolt.Options{ReadOnly: true, Timeout: time.Nanosecond})
	if err != nil {
		return openError(path, err)
	}
	var fnErr error
	err = noPanic(func() error {
		switch schema, err := readSchema(db, boltSchema); {
		case err != nil:
			return err
		case schema == 0:
			return errEmpty
		case schema < 2: // its records mean something else
			fnErr = fmt.Errorf("account file %s is of an older version; start this version of the server on it once", path)
			return nil
		}
		return db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(realmPrefix + realm))
			if b == nil {
				fnErr = fmt.Errorf("account file %s has no realm %s", path, realm)
				return nil
			}
			// fn's errors aren't those of this file.
			fnErr = dumpRealm(ctx, b, fn)
			return nil
		})
	})
	if err != nil {
		err = openError(path, err)
	}
	return errors.Join(err, fnErr, db.Close())
}

// loadBatch is how many rows one transaction takes: bbolt is slow where a page that is not
// written yet grows long.
const loadBatch = 2000

// Load implements store.Moving. It writes in several transactions: after an error the realm
// has a part of the rows. LoadFile has not.
func (s *Store) Load(ctx context.Context, fill func(put func(store.Row) error) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	empty := true
	if err := s.View(ctx, func(tx store.Tx) error {
		for _, of := range rowBuckets {
			k, _ := tx.(*boltTx).bucket(of.bucket).Cursor().First()
			empty = empty && k == nil
		}
		return nil
	}); err != nil {
		return err
	}
	if !empty {
		return store.ErrNotEmpty
	}
	var rows []store.Row
	write := func() error {
		err := s.File.Db.Update(func(tx *bolt.Tx) error {
			t := &boltTx{tx: tx, realm: tx.Bucket(s.bucket)}
			for _, row := range rows {
				if err := t.load(row); err != nil {
					return fmt.Errorf("%s: %w", row.Kind, err)
				}
			}
			return nil
		})
		rows = rows[:0]
		if err != nil {
			return s.File.failure(err)
		}
		return ctx.Err()
	}
	if err := fill(func(row store.Row) error {
		rows = append(rows, store.Row{Kind: row.Kind, Key: bytes.Clone(row.Key), Data: bytes.Clone(row.Data)})
		if len(rows) < loadBatch {
			return nil
		}
		return write()
	}); err != nil {
		return err
	}
	return write()
}

// load writes one row and what is found by it.
func (t *boltTx) load(row store.Row) error {
	if err := record.CheckKey(row); err != nil {
		return err
	}
	var raw [32]byte
	copy(raw[:], row.Key)
	id, seq := uuid.UUID(raw[:16]), binary.BigEndian.Uint64(raw[:8])
	switch row.Kind {
	case store.RowNumber:
		return t.loadNumber(row)
	case store.RowAccount:
		u, keys, err := record.DecodeUser(id, row.Data)
		if err != nil {
			return err
		}
		// The record itself stays as it was, byte by byte.
		return errors.Join(t.PutUser(u, keys), t.bucket(bucketUsers).Put(row.Key, row.Data))
	case store.RowSession:
		s, err := record.DecodeSession(store.TokenHash(row.Key), row.Data)
		if err != nil {
			return err
		}
		return errors.Join(t.PutSession(s), t.bucket(bucketSessions).Put(row.Key, row.Data))
	case store.RowMail:
		m, err := record.DecodeMail(seq, row.Data)
		if err != nil {
			return err
		}
		if err := t.linkMail(m); err != nil {
			return err
		}
		return t.bucket(bucketOutbox).Put(row.Key, row.Data)
	case store.RowValue:
		return t.PutValue(string(row.Key), row.Data)
	case store.RowBudget:
		value := append([]byte{budgetFormat}, row.Data...)
		if _, err := decodeBudget(row.Key, value); err != nil {
			return err
		}
		return t.bucket(bucketBudgets).Put(row.Key, value)
	case store.RowLeftName:
		return t.loadLeftName(row)
	case store.RowInvitation:
		i, err := record.DecodeInvitation(id, row.Data)
		if err != nil {
			return err
		}
		return errors.Join(t.PutInvitation(i), t.bucket(bucketInvitations).Put(row.Key, row.Data))
	case store.RowAudit:
		a, err := record.ReadAudit(seq, row.Data)
		if err != nil {
			return err
		}
		if a.Account == uuid.Nil {
			return t.bucket(bucketAudit).Put(row.Key, row.Data)
		}
		return errors.Join(t.bucket(bucketAuditAccount).Put(auditAccountKey(a.Account, seq), nil), t.bucket(bucketAudit).Put(row.Key, row.Data))
	}
	return errors.New("it is of a kind that this version doesn't know")
}

func (t *boltTx) loadLeftName(row store.Row) error {
	if len(row.Data) != leftNameSize-1 {
		return fmt.Errorf("a record of %d bytes: %w", len(row.Data), ErrDamaged)
	}
	until := int64(binary.BigEndian.Uint64(row.Data[16:])) //nolint:gosec // written as signed
	return t.PutLeftName(store.NameHash(row.Key), store.LeftName{User: uuid.UUID(row.Data[:16]), Until: time.Unix(until, 0).UTC()})
}

func (t *boltTx) loadNumber(row store.Row) error {
	for _, n := range numbered {
		if string(n.kind) == string(row.Key) && len(row.Data) == 8 {
			return t.realm.Bucket([]byte(n.bucket)).SetSequence(binary.BigEndian.Uint64(row.Data))
		}
	}
	return fmt.Errorf("of %s: %w", row.Key, ErrDamaged)
}

// LoadFile is Load of a realm of the file at path, which is made where it is missing. It is
// filled beside its place and put there whole: after an error, or a crash, the file is what
// it was. One that somebody has open is not replaced: store.ErrStoreLocked.
func LoadFile(ctx context.Context, path, realm string, fill func(put func(store.Row) error) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays
	}
	release, err := seize(path)
	if err != nil {
		return openError(path, err)
	}
	defer func() { release() }()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := wholefile.Create(path)
	if err != nil {
		return err
	}
	defer out.Abandon()
	missing := isMissing(path)
	if !missing { // it may have other realms
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := wholefile.Room(filepath.Dir(path), info.Size()+roomLeft); err != nil {
			return err
		}
		if err := copyFile(out.File, path, info.Size(), nil); err != nil {
			return err
		}
	}
	if err := loadInto(ctx, out.Name(), realm, fill); err != nil {
		return err
	}
	if _, err := Verify(out.Name()); err != nil {
		return fmt.Errorf("what was written could not be read back: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if missing {
		return place(out, path)
	}
	release() // Windows replaces no open file
	release = func() {}
	return out.Rename()
}

func loadInto(ctx context.Context, path, realm string, fill func(put func(store.Row) error) error) (err error) {
	f, err := Open(path, time.Second)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := f.Realm(realm)
	if err != nil {
		return err
	}
	return s.Load(ctx, fill)
}
