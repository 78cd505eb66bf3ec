// status.go: how endpoints do, and what an owner does about it.

package webhook

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/store"
)

// States of an endpoint.
const (
	StateWorks   = "works"
	StateFailing = "failing"
	// StateOff: it has said that it wants nothing any more (410).
	StateOff = "off"
)

// A Status is how an endpoint does.
type Status struct {
	// ID names it: it is the same as long as its URL is.
	ID string `json:"id"`
	// Host is where it is; URL is that too, without what may be a secret.
	Host string `json:"-"`
	URL  string `json:"url"`
	// State is one of the states, Since when it came to it, unless it works.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Waiting is how many messages it is still to be told, More that there may be more of
	// them, Oldest when the first of them happened.
	Waiting int       `json:"waiting"`
	More    bool      `json:"more"`
	Oldest  time.Time `json:"oldest,omitzero"`
	// Refused is how many of them it has refused and gets again.
	Refused int `json:"refused"`
	// NextTry is when it is tried again, where it fails or has refused something.
	NextTry time.Time `json:"next_try,omitzero"`
	// Told is when it has taken a message last, Missed when it has not taken one last, and
	// Words why. Zero: never.
	Told   time.Time `json:"told,omitzero"`
	Missed time.Time `json:"missed,omitzero"`
	Words  string    `json:"error,omitempty"`
}

// maxLooked bounds the rows of the record that are looked at for what waits.
const maxLooked = 2000

// id is what people call an endpoint by.
func (e *Endpoint) id() string { return e.key()[:8] }

// shown is a URL without what may be a secret: its path and query.
func (e *Endpoint) shown() string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return ""
	}
	short := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
	if strings.Trim(u.Path, "/") == "" && u.RawQuery == "" {
		return short.String()
	}
	return short.String() + "…"
}

// status is that of an endpoint of which nothing is known yet.
func (e *Endpoint) status() Status {
	return Status{ID: e.id(), Host: e.Host(), URL: e.shown(), State: StateWorks}
}

// StatusOf says how endpoints do.
func StatusOf(ctx context.Context, db store.Store, endpoints []*Endpoint) (out []Status, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		out = nil
		all, err := readPlaces(tx)
		if err != nil {
			return err
		}
		for _, e := range endpoints {
			s := e.status()
			if p := all[e.key()]; p != nil {
				if err := s.read(tx, e, p); err != nil {
					return err
				}
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

func (s *Status) read(tx store.Tx, e *Endpoint, p *place) error {
	s.Told, s.Missed, s.Words = p.Told, p.Missed, p.Words
	switch {
	case !p.Gone.IsZero():
		s.State, s.Since = StateOff, p.Gone
		return nil
	case !p.Failing.IsZero():
		s.State, s.Since, s.NextTry = StateFailing, p.Failing, p.Due
	}
	s.Refused, s.Waiting = len(p.Held), len(p.Held)
	for _, h := range p.Held {
		if s.State == StateWorks && (s.NextTry.IsZero() || h.Due.Before(s.NextTry)) {
			s.NextTry = h.Due
		}
		s.oldest(h.Since)
	}
	for after, looked := p.After, 0; ; {
		page, err := tx.Audits(store.AuditQuery{After: after, Limit: batch})
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if e.wants(row) {
				s.Waiting++
				s.oldest(row.At)
			}
		}
		if !page.More {
			return nil
		}
		if looked += batch; looked >= maxLooked {
			s.More = true
			return nil
		}
		after = page.Next
	}
}

func (s *Status) oldest(at time.Time) {
	if s.Oldest.IsZero() || at.Before(s.Oldest) {
		s.Oldest = at
	}
}

// An Act is what an owner does with an endpoint.
type Act string

// The acts.
const (
	// Retry tries it now, whatever it waits for.
	Retry Act = "retry"
	// Enable has one that is off told again, from now on.
	Enable Act = "enable"
	// Skip has one not told what waits; what happens from now on, it is.
	Skip Act = "skip"
)

// acts are all, with their events in the record.
var acts = map[Act]audit.Event{Retry: audit.WebhookRetried, Enable: audit.WebhookEnabled, Skip: audit.WebhookSkipped}

// Why an act is refused.
var (
	ErrUnknown = errors.New("there is no such endpoint")
	ErrOff     = errors.New("the endpoint has said that it wants no more (410): it has to be enabled")
	ErrWorks   = errors.New("the endpoint is not off")
)

// Statuses says how the endpoints do.
func (s *Sender) Statuses(ctx context.Context) ([]Status, error) {
	return StatusOf(ctx, s.Store, s.Endpoints)
}

// Ill reports whether an endpoint is told nothing, because it fails or is off; as far as that
// is known.
func (s *Sender) Ill(ctx context.Context) (ill bool) {
	if len(s.Endpoints) == 0 {
		return false
	}
	_ = s.Store.View(ctx, func(tx store.Tx) error {
		all, err := readPlaces(tx)
		if err != nil {
			return err
		}
		ill = slices.ContainsFunc(s.Endpoints, func(e *Endpoint) bool {
			p := all[e.key()]
			return p != nil && (!p.Gone.IsZero() || !p.Failing.IsZero())
		})
		return nil
	})
	return ill
}

// Do does an act with the endpoint of an id, and says how it does then.
func (s *Sender) Do(ctx context.Context, act Act, id string) (status Status, err error) {
	var e *Endpoint
	var w *worker
	for i, known := range s.Endpoints {
		if known.id() == id {
			e, w = known, s.workers[i]
		}
	}
	if e == nil {
		return status, ErrUnknown
	}
	row := s.Journal.Row(audit.CallerOf(ctx), acts[act], uuid.Nil, "endpoint", e.Host(), "webhook", id)
	status = e.status()
	err = s.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		all, err := readPlaces(tx)
		if err != nil {
			return err
		}
		last, err := end(tx)
		if err != nil {
			return err
		}
		p := all[e.key()]
		if p == nil {
			p = &place{After: last}
			all[e.key()] = p
		}
		if err := p.turn(act, last); err != nil {
			return err
		}
		if err := status.read(tx, e, p); err != nil {
			return err
		}
		return errors.Join(all.put(tx), s.Journal.Write(tx, &row))
	})
	if err != nil {
		return status, err
	}
	w.turned.Store(true)
	select {
	case w.turns <- struct{}{}:
	default:
	}
	s.Journal.Tell(row)
	return status, nil
}

// turn changes the place as an act has it. last is the end of the record.
func (p *place) turn(act Act, last uint64) error {
	if off := !p.Gone.IsZero(); off != (act == Enable) {
		if off {
			return ErrOff
		}
		return ErrWorks
	}
	p.Turn++
	p.Due = time.Time{}
	switch act {
	case Retry:
		for i := range p.Held {
			p.Held[i].Due = time.Time{}
		}
	default:
		*p = place{After: last, Told: p.Told, Missed: p.Missed, Words: p.Words, Turn: p.Turn, Holder: p.Holder, Until: p.Until}
	}
	return nil
}

// keep writes what a worker knows of a place into it. What an owner did meanwhile goes
// before that.
func (p *place) keep(known place) {
	if p.Turn == known.Turn {
		*p = known
		return
	}
	p.After, p.Told = max(p.After, known.After), known.Told
}
