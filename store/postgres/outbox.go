//go:build !registration_nopostgres

// outbox.go: the queue of mails, and who has which in his hands.

package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/record"
)

// Of each recipient the oldest mail alone is a head; the others wait behind it. So a claim reads
// as many rows as it returns, however long the queue behind one slow recipient is.

// recipient is to whom a mail goes, as the order knows him: mail systems do not tell the case of
// an address apart.
func recipient(to string) []byte { return keyBytes(strings.ToLower(to)) }

// PutMail implements store.Tx.
func (t *tx) PutMail(m *store.Mail) error {
	if err := t.writable(); err != nil {
		return err
	}
	data, err := record.EncodeMail(m)
	if err != nil {
		return err
	}
	to, due := recipient(m.To), m.Due.UnixMilli()
	if m.Seq == 0 {
		if err := t.begin(); err != nil {
			return err
		}
		t.more.mail++
		m.Seq = uint64(t.at.mail + t.more.mail) //nolint:gosec // it counts from 1
		t.queued = append(t.queued, m)
		t.exec(`INSERT INTO ~mails (realm, seq, recipient, head, due, data) VALUES ($1, $2, $3,
			NOT EXISTS (SELECT FROM ~mails WHERE realm = $1 AND recipient = $3), $4, $5)`, t.s.realm, int64(m.Seq), to, due, data)
		return nil
	}
	var was []byte
	err = t.read(row(&was), `SELECT recipient FROM ~mails WHERE realm = $1 AND seq = $2`, t.s.realm, int64(m.Seq)) //nolint:gosec // as above
	if err != nil {
		return err
	}
	if was == nil {
		return store.ErrNotFound
	}
	t.exec(`UPDATE ~mails SET recipient = $3, due = $4, data = $5 WHERE realm = $1 AND seq = $2`, t.s.realm, int64(m.Seq), to, due, data) //nolint:gosec // as above
	if string(was) != string(to) {
		t.lineUp(was)
		t.lineUp(to)
	}
	return nil
}

// lineUp finds out anew which mail of a recipient is the oldest.
func (t *tx) lineUp(to []byte) {
	t.exec(`UPDATE ~mails SET head = seq = (SELECT min(seq) FROM ~mails WHERE realm = $1 AND recipient = $2) WHERE realm = $1 AND recipient = $2
		AND head <> (seq = (SELECT min(seq) FROM ~mails WHERE realm = $1 AND recipient = $2))`, t.s.realm, to)
}

// DeleteMail implements store.Tx.
func (t *tx) DeleteMail(seq uint64) error {
	if err := t.writable(); err != nil {
		return err
	}
	var to []byte
	err := t.read(row(&to), `DELETE FROM ~mails WHERE realm = $1 AND seq = $2 RETURNING recipient`, t.s.realm, int64(seq)) //nolint:gosec // no larger one was given away
	if err != nil {
		return err
	}
	if to == nil {
		return store.ErrNotFound
	}
	t.wrote = true
	t.exec(`UPDATE ~mails SET head = true WHERE realm = $1 AND seq = (SELECT min(seq) FROM ~mails WHERE realm = $1 AND recipient = $2) AND NOT head`, t.s.realm, to)
	return nil
}

// mails reads mails: number and record are the columns.
func (t *tx) mails(text string, args ...any) (mails []*store.Mail, err error) {
	err = t.read(func(rows pgx.Rows) error {
		for rows.Next() {
			var seq int64
			var data []byte
			if err := rows.Scan(&seq, &data); err != nil {
				return err
			}
			m, err := record.DecodeMail(uint64(seq), data) //nolint:gosec // it counts from 1
			if err != nil {
				return err
			}
			mails = append(mails, m)
		}
		return nil
	}, text, args...)
	return mails, err
}

// Mails implements store.Tx.
func (t *tx) Mails(after uint64, limit int) ([]*store.Mail, error) {
	return t.mails(`SELECT seq, data FROM ~mails WHERE realm = $1 AND seq > $2 ORDER BY seq LIMIT $3`, t.s.realm, int64(min(after, 1<<63-1)), limit)
}

// ClaimMail implements store.Store. Claims follow one another as acts do.
func (s *Store) ClaimMail(ctx context.Context, c store.Claim) (mails []*store.Mail, next time.Time, err error) {
	if c.Worker == uuid.Nil || c.Lease > store.MaxLease {
		return nil, next, fmt.Errorf("a claim needs a worker, and a lease of at most %v", store.MaxLease)
	}
	err = s.run(ctx, true, func(t *tx) (err error) {
		mails, next, err = t.claim(c)
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return mails, next, nil
}

// free is the condition that no other worker has a head; $2 is the worker, $3 now and $4 beyond
// what a lease lasts.
const free = `realm = $1 AND head AND (worker IS NULL OR worker = $2 OR leased <= $3 OR leased > $4)`

func (t *tx) claim(c store.Claim) (mails []*store.Mail, next time.Time, err error) {
	now, until := c.Now.UnixMilli(), c.Now.Add(c.Lease).UnixMilli()
	latest, far := c.Now.Add(store.MaxLease).UnixMilli(), c.Now.Add(store.MailFarAhead).UnixMilli()
	keep := make([]int64, len(c.Keep))
	for i, seq := range c.Keep {
		keep[i] = int64(seq) //nolint:gosec // it was given away
	}
	worker := c.Worker[:]
	mails, err = t.mails(`SELECT seq, data FROM ~mails WHERE `+free+` AND seq <> ALL($5) AND due <= $3 ORDER BY due, seq LIMIT $6`,
		t.s.realm, worker, now, latest, keep, c.Limit)
	if err == nil && len(mails) < c.Limit {
		var more []*store.Mail
		more, err = t.mails(`SELECT seq, data FROM ~mails WHERE `+free+` AND seq <> ALL($5) AND due > $6 ORDER BY due DESC, seq DESC LIMIT $7`,
			t.s.realm, worker, now, latest, keep, far, c.Limit-len(mails))
		mails = append(mails, more...)
	}
	if err != nil {
		return nil, next, err
	}
	if len(mails) == 0 && c.Limit > 0 {
		var soonest *int64
		err = t.read(func(rows pgx.Rows) error { return one(rows, &soonest) }, `SELECT least(
			(SELECT min(due) FROM ~mails WHERE realm = $1 AND head AND due > $3 AND due <= $5),
			(SELECT min(leased) FROM ~mails WHERE realm = $1 AND head AND worker <> $2 AND leased > $3 AND leased <= $4 AND (due <= $3 OR due > $5)))`,
			t.s.realm, worker, now, latest, far)
		if err != nil {
			return nil, next, err
		}
		if soonest != nil {
			next = time.UnixMilli(*soonest).UTC()
		}
	}
	taken := make([]int64, len(mails))
	for i, m := range mails {
		taken[i] = int64(m.Seq) //nolint:gosec // as above
	}
	t.exec(`UPDATE ~mails SET worker = NULL, leased = NULL WHERE realm = $1 AND worker = $2 AND seq <> ALL($3) AND seq <> ALL($4)`, t.s.realm, worker, keep, taken)
	t.exec(`UPDATE ~mails SET leased = $3 WHERE realm = $1 AND worker = $2 AND seq = ANY($4)`, t.s.realm, worker, until, keep)
	t.exec(`UPDATE ~mails SET worker = $2, leased = $3 WHERE realm = $1 AND seq = ANY($4)`, t.s.realm, worker, until, taken)
	return mails, next, nil
}

// RenewMail implements store.Store.
func (s *Store) RenewMail(ctx context.Context, c store.Claim, seq uint64) error {
	found := false
	err := s.run(ctx, true, func(t *tx) error {
		found = false
		err := t.read(func(rows pgx.Rows) error {
			for rows.Next() {
				var have int64
				if err := rows.Scan(&have); err != nil {
					return err
				}
				found = found || uint64(have) == seq //nolint:gosec // it counts from 1
			}
			return nil
		}, `UPDATE ~mails SET leased = $3 WHERE realm = $1 AND worker = $2 RETURNING seq`, t.s.realm, c.Worker[:], c.Now.Add(c.Lease).UnixMilli())
		t.wrote = true
		return err
	})
	if err == nil && !found {
		return store.ErrNotFound
	}
	return err
}
