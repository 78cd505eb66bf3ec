// outbox.go: the queue of mails in the embedded store.

package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// The bucket outbox_due lists, of each recipient, the oldest mail only; the
// others wait behind it. So ClaimMail reads as many rows as it returns, however
// long the queue behind one slow recipient is.

// PutMail implements Tx. Times are kept to the millisecond.
func (t *boltTx) PutMail(m *store.Mail) error {
	if err := t.writable(); err != nil {
		return err
	}
	if key := mailToKey(m); len(key) > bolt.MaxKeySize {
		return fmt.Errorf("the recipient of a mail is too long (%d bytes)", len(m.To))
	}
	data, err := record.EncodeMail(m)
	if err != nil {
		return err
	}
	outbox := t.bucket(bucketOutbox)
	if m.Seq == 0 {
		seq, err := outbox.NextSequence()
		if err != nil {
			return err
		}
		m.Seq = seq
		t.done.queued = append(t.done.queued, m)
	} else {
		old, err := t.mail(m.Seq)
		if err != nil {
			return err
		}
		if err := t.unlinkMail(old); err != nil {
			return err
		}
	}
	if err := t.linkMail(m); err != nil {
		return err
	}
	return outbox.Put(seqBytes(m.Seq), data)
}

// Mails implements Tx.
func (t *boltTx) Mails(after uint64, limit int) ([]*store.Mail, error) {
	var mails []*store.Mail
	c := t.bucket(bucketOutbox).Cursor()
	k, v := c.Seek(seqBytes(after))
	if bytes.Equal(k, seqBytes(after)) {
		k, v = c.Next()
	}
	for ; k != nil && len(mails) < limit; k, v = c.Next() {
		if len(k) != 8 {
			return nil, fmt.Errorf("outbox: %w", ErrDamaged)
		}
		m, err := record.DecodeMail(binary.BigEndian.Uint64(k), v)
		if err != nil {
			return nil, err
		}
		mails = append(mails, m)
	}
	return mails, nil
}

// DeleteMail implements Tx.
func (t *boltTx) DeleteMail(seq uint64) error {
	if err := t.writable(); err != nil {
		return err
	}
	m, err := t.mail(seq)
	if err != nil {
		return err
	}
	if err := t.unlinkMail(m); err != nil {
		return err
	}
	return t.bucket(bucketOutbox).Delete(seqBytes(seq))
}

func (t *boltTx) mail(seq uint64) (*store.Mail, error) {
	data := t.bucket(bucketOutbox).Get(seqBytes(seq))
	if data == nil {
		return nil, store.ErrNotFound
	}
	return record.DecodeMail(seq, data)
}

// indexedMail returns a mail that an index names, so it must exist.
func (t *boltTx) indexedMail(seq uint64) (*store.Mail, error) {
	m, err := t.mail(seq)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("outbox index without its mail: %w", ErrDamaged)
	}
	return m, err
}

// oldestMail returns the mail that is sent to this recipient next, or nil.
func (t *boltTx) oldestMail(to string) (*store.Mail, error) {
	prefix := mailToPrefix(to)
	c := t.bucket(bucketOutboxTo).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		// A longer key belongs to a recipient with a NUL in his address.
		if seq := k[len(prefix):]; len(seq) == 8 {
			return t.indexedMail(binary.BigEndian.Uint64(seq))
		}
	}
	return nil, nil
}

// linkMail enters m into the indexes; if it is now its recipient's oldest, it
// takes the place of the one that was.
func (t *boltTx) linkMail(m *store.Mail) error {
	oldest, err := t.oldestMail(m.To)
	if err != nil {
		return err
	}
	due := t.bucket(bucketOutboxDue)
	if oldest == nil || m.Seq < oldest.Seq {
		if oldest != nil {
			err = due.Delete(mailDueKey(oldest))
		}
		err = errors.Join(err, due.Put(mailDueKey(m), nil))
	}
	return errors.Join(err, t.bucket(bucketOutboxTo).Put(mailToKey(m), nil))
}

// unlinkMail takes m out of the indexes and lets the next one of its recipient
// come forward.
func (t *boltTx) unlinkMail(m *store.Mail) error {
	due := t.bucket(bucketOutboxDue)
	err := errors.Join(due.Delete(mailDueKey(m)), t.bucket(bucketOutboxTo).Delete(mailToKey(m)))
	if err != nil {
		return err
	}
	next, err := t.oldestMail(m.To)
	if err != nil || next == nil {
		return err
	}
	return due.Put(mailDueKey(next), nil)
}
