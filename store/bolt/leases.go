// leases.go: which worker has which mail in its hands.

package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// leases are those of one realm's queue, by Seq. They end with the process, as
// its workers do. There are no more of them than the last claims asked for.
type leases struct {
	mu   sync.Mutex
	rows map[uint64]mailLease
}

type mailLease struct {
	worker uuid.UUID
	until  time.Time
}

// of returns the lease of a row that keeps a worker from it.
func (l *leases) of(seq uint64, c store.Claim) (lease mailLease, held bool) {
	lease, held = l.rows[seq]
	return lease, held && lease.worker != c.Worker && lease.until.After(c.Now) && !lease.until.After(c.Now.Add(store.MaxLease))
}

// ClaimMail implements store.Store.
func (s *Store) ClaimMail(ctx context.Context, c store.Claim) (mails []*store.Mail, next time.Time, err error) {
	if c.Worker == uuid.Nil || c.Lease > store.MaxLease {
		return nil, next, fmt.Errorf("a claim needs a worker, and a lease of at most %v", store.MaxLease)
	}
	l := &s.shared.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	err = s.View(ctx, func(tx store.Tx) (err error) {
		mails, next, err = tx.(*boltTx).claimable(c, l)
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	for seq, lease := range l.rows {
		if lease.worker == c.Worker && slices.Contains(c.Keep, seq) {
			l.rows[seq] = mailLease{c.Worker, c.Now.Add(c.Lease)}
			continue
		}
		if _, held := l.of(seq, c); !held || lease.worker == c.Worker {
			delete(l.rows, seq)
		}
	}
	if l.rows == nil {
		l.rows = map[uint64]mailLease{}
	}
	for _, m := range mails {
		l.rows[m.Seq] = mailLease{c.Worker, c.Now.Add(c.Lease)}
	}
	return mails, next, nil
}

// claimable returns the mails that a worker may have, and when there will be some
// if there are none.
func (t *boltTx) claimable(c store.Claim, l *leases) (mails []*store.Mail, next time.Time, err error) {
	sooner := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	add := func(key []byte) error {
		seq := binary.BigEndian.Uint64(key[8:])
		if lease, held := l.of(seq, c); held {
			sooner(lease.until)
			return nil
		}
		if slices.Contains(c.Keep, seq) {
			return nil
		}
		m, err := t.indexedMail(seq)
		if err == nil {
			mails = append(mails, m)
		}
		return err
	}
	cursor := t.bucket(bucketOutboxDue).Cursor()
	for k, _ := cursor.First(); k != nil && len(mails) < c.Limit; k, _ = cursor.Next() {
		if len(k) != 16 {
			return nil, next, fmt.Errorf("outbox order: %w", ErrDamaged)
		}
		if ms := fromSortable(k[:8]); ms > c.Now.UnixMilli() {
			sooner(time.UnixMilli(ms).UTC())
			break
		}
		if err := add(k); err != nil {
			return nil, next, err
		}
	}
	far := c.Now.Add(store.MailFarAhead).UnixMilli()
	for k, _ := cursor.Last(); len(k) == 16 && len(mails) < c.Limit && fromSortable(k[:8]) > far; k, _ = cursor.Prev() {
		if err := add(k); err != nil {
			return nil, next, err
		}
	}
	if len(mails) > 0 {
		next = time.Time{}
	}
	return mails, next, nil
}

// RenewMail implements store.Store.
func (s *Store) RenewMail(ctx context.Context, c store.Claim, seq uint64) error {
	l := &s.shared.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	for row, lease := range l.rows {
		if lease.worker == c.Worker {
			l.rows[row] = mailLease{c.Worker, c.Now.Add(c.Lease)}
		}
	}
	if l.rows[seq].worker != c.Worker {
		return store.ErrNotFound
	}
	return s.View(ctx, func(tx store.Tx) error {
		_, err := tx.(*boltTx).mail(seq)
		return err
	})
}
