// health.go: whether mail gets out, for an owner who asks: when the mail server has
// last taken one, and what it said when it could not be used.

package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// healthValue is the name of the store's value that keeps it over a restart.
const healthValue = "mail_health"

// A Health is how the mail server was last met. Times have a resolution of one second.
type Health struct {
	// Succeeded is when it has last taken a mail; zero: never.
	Succeeded time.Time `json:"succeeded,omitzero"`
	// Failed is when it first could not be used since then; zero: it could.
	Failed time.Time `json:"failed,omitzero"`
	// Words say why, and Line is the line of a Caddyfile that mends it, if one is known.
	Words string `json:"words,omitempty"`
	Line  string `json:"line,omitempty"`
}

// HealthOf reads it from a store.
func HealthOf(ctx context.Context, s store.Store) (h Health, err error) {
	err = s.View(ctx, func(tx store.Tx) error {
		h, err = readHealth(tx)
		return err
	})
	return h, err
}

func readHealth(tx store.Tx) (h Health, err error) {
	raw, err := tx.Value(healthValue)
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &h)
	}
	return h, err
}

// writeSuccess says, in the transaction that takes the row off, that the server has taken
// a mail. An owner who looks for the moment at which mail broke reads it: it is kept of
// each mail, not now and then.
func writeSuccess(tx store.Tx, now time.Time) error {
	h, err := readHealth(tx)
	if err != nil { // it can't be read: it is written anew
		h = Health{}
	}
	healthy := Health{Succeeded: now.UTC().Truncate(time.Second)}
	if h == healthy {
		return nil
	}
	return putHealth(tx, healthy)
}

// writeFailure says that the server can't be used.
func writeFailure(tx store.Tx, now time.Time, err error) error {
	h, readErr := readHealth(tx)
	if readErr != nil {
		h = Health{}
	}
	words, line := told(err)
	if !h.Failed.IsZero() && h.Words == words {
		return nil
	}
	if h.Failed.IsZero() {
		h.Failed = now.UTC().Truncate(time.Second)
	}
	h.Words, h.Line = words, line
	return putHealth(tx, h)
}

func putHealth(tx store.Tx, h Health) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return tx.PutValue(healthValue, raw)
}

// told is a failure as it is kept.
func told(err error) (words, line string) {
	if failed := (*mail.Error)(nil); errors.As(err, &failed) {
		line = failed.Line
	}
	words = strings.ToValidUTF8(err.Error(), "")
	if len(words) > store.MaxMailFailed {
		words = strings.ToValidUTF8(words[:store.MaxMailFailed-len("…")], "") + "…"
	}
	return words, line
}

// noteFailure keeps that the server can't be used. If the store can't be written, that
// is told by what comes next.
func (o *Worker) noteFailure(ctx context.Context, p *Courier, err error) {
	words, _ := told(err)
	if o.noted == words { // a probe a minute would be a write a minute
		return
	}
	if o.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error { return writeFailure(tx, p.Now(), err) }) == nil {
		o.noted = words
	}
}

// Testing records that an owner has a mail sent past the queue, to see whether mail gets
// out. It comes before the mail: none goes out without its row.
func Testing(ctx context.Context, s store.Store, p *Courier) error {
	_, err := recorded(ctx, s, p, audit.MailTested)
	return err
}

// recorded writes the row of an act on the queue, and counts what waits but for what is held (Held).
func recorded(ctx context.Context, s store.Store, p *Courier, event audit.Event) (waiting int, err error) {
	row, now := p.Journal.Row(audit.CallerOf(ctx), event, uuid.Nil), p.Now()
	err = s.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		waiting = 0
		err := eachMail(tx, func(m *store.Mail) {
			if !Held(m, now) {
				waiting++
			}
		})
		if err != nil {
			return err
		}
		return p.Journal.Write(tx, &row)
	})
	if err != nil {
		return 0, err
	}
	p.Journal.Tell(row)
	return waiting, nil
}

// Tried keeps how such a mail went. After a success the queue doesn't wait.
func (o *Worker) Tried(ctx context.Context, s store.Store, p *Courier, failure error) error {
	failed := (*mail.Error)(nil)
	if failure != nil && (!errors.As(failure, &failed) || !failed.Server) {
		return nil // it is about one mail
	}
	if failure == nil && !o.NextTry().IsZero() {
		o.hurry()
	}
	return s.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		if failure != nil {
			return writeFailure(tx, p.Now(), failure)
		}
		return writeSuccess(tx, p.Now())
	})
}

// Held reports whether a mail waits though nothing has failed: for its time, to tell of
// more than one thing. Nobody hastens it.
func Held(m *store.Mail, now time.Time) bool {
	return m.Kind == store.MailSignUps && m.Attempts == 0 && m.Due.After(now)
}

// Retry has all that waits in a store tried at once, whatever it waits for, by the worker
// that runs on it; where none does, the next one begins with all of it. It returns how
// many mails that are; what is held (Held) is none of them.
func (o *Worker) Retry(ctx context.Context, s store.Store, p *Courier) (waiting int, err error) {
	if waiting, err = recorded(ctx, s, p, audit.MailRetried); err == nil {
		o.hurry()
	}
	return waiting, err
}

// hurry has the worker forget what it waits for.
func (o *Worker) hurry() {
	o.asked.Store(true)
	o.Notify()
}

// eachMail calls fn for what waits to be sent to somebody.
func eachMail(tx store.Tx, fn func(*store.Mail)) error {
	for after := uint64(0); ; {
		rows, err := tx.Mails(after, mailBatch)
		if err != nil {
			return err
		}
		for _, m := range rows {
			if after = m.Seq; m.Kind != store.MailDecoy {
				fn(m)
			}
		}
		if len(rows) < mailBatch {
			return nil
		}
	}
}

// Backlog is how much mail waits, and since when the oldest does.
type Backlog struct {
	Count  int
	Oldest time.Time
}

// BacklogOf counts what waits in a store.
func BacklogOf(ctx context.Context, s store.Store) (b Backlog, err error) {
	err = s.View(ctx, func(tx store.Tx) error {
		b = Backlog{}
		return eachMail(tx, func(m *store.Mail) {
			if b.Count++; b.Oldest.IsZero() || m.Queued.Before(b.Oldest) {
				b.Oldest = m.Queued
			}
		})
	})
	return b, err
}

// probe is when the queue as a whole is tried again; it has a lock of its own.
type probe struct {
	mu sync.Mutex
	at time.Time
}

func (s *probe) set(at time.Time) {
	s.mu.Lock()
	s.at = at
	s.mu.Unlock()
}

// Running reports whether the worker is at work.
func (o *Worker) Running() bool { return o.running.Load() }

// NextTry is when the queue as a whole is tried again; zero where it doesn't wait, and
// where no worker runs.
func (o *Worker) NextTry() time.Time {
	o.probe.mu.Lock()
	defer o.probe.mu.Unlock()
	return o.probe.at
}
