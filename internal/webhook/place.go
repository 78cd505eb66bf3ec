// place.go: up to where an endpoint was told, and what it refused, in the store.

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
)

// placesValue is the name of the store's value with the places of all endpoints.
const placesValue = "webhooks"

// A place is where an endpoint is in the record of acts.
type place struct {
	// After is the Seq up to which rows were told, or passed.
	After uint64 `json:"after"`
	// Failing is since when the endpoint takes no message, zero: it does. Tries is how many
	// failed since, Due when the next one is.
	Failing time.Time `json:"failing,omitzero"`
	Tries   int       `json:"tries,omitempty"`
	Due     time.Time `json:"due,omitzero"`
	// Told is when it has taken a message last; Missed when it has not taken one last, and
	// Words why: both stay when it takes messages again.
	Told   time.Time `json:"told,omitzero"`
	Missed time.Time `json:"missed,omitzero"`
	Words  string    `json:"words,omitempty"`
	// Gone is when it has said that it wants no more (410).
	Gone time.Time `json:"gone,omitzero"`
	// Held are rows that it has refused, each to be tried again.
	Held []held `json:"held,omitempty"`
	// Holder has the place until then, and nobody else tells meanwhile.
	Holder uuid.UUID `json:"holder,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	// Turn counts what owners did with it: who tells goes on from there.
	Turn uint64 `json:"turn,omitempty"`
}

// held is a row that was refused by itself.
type held struct {
	Seq   uint64    `json:"seq"`
	Since time.Time `json:"since"`
	Tries int       `json:"tries"`
	Due   time.Time `json:"due"`
}

type places map[string]*place

func readPlaces(tx store.Tx) (places, error) {
	all := places{}
	raw, err := tx.Value(placesValue)
	if errors.Is(err, store.ErrNotFound) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("the places of the webhooks: %w", err)
	}
	return all, nil
}

func (p places) put(tx store.Tx) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return tx.PutValue(placesValue, raw)
}

// end is the Seq of the last row of the record; 0: there is none.
func end(tx store.Tx) (uint64, error) {
	page, err := tx.Audits(store.AuditQuery{Newest: true, Limit: 1})
	if err != nil || len(page.Rows) == 0 {
		return 0, err
	}
	return page.Rows[0].Seq, nil
}

// Enter gives endpoints that are new, and those that were gone, their place at the end of
// the record: they are told what happens from now on. Places of others are forgotten. Where
// nothing changes, nothing is written.
func Enter(ctx context.Context, db store.Store, endpoints []*Endpoint) error {
	enter := func(tx store.Tx) (all places, changed bool, err error) {
		if all, err = readPlaces(tx); err != nil {
			return nil, false, err
		}
		known := map[string]bool{}
		for _, e := range endpoints {
			known[e.key()] = true
			if p := all[e.key()]; p != nil && p.Gone.IsZero() {
				continue
			}
			last, err := end(tx)
			if err != nil {
				return nil, false, err
			}
			all[e.key()], changed = &place{After: last}, true
		}
		for _, key := range slices.Collect(maps.Keys(all)) {
			if !known[key] {
				delete(all, key)
				changed = true
			}
		}
		return all, changed, nil
	}
	changes := false
	if err := db.View(ctx, func(tx store.Tx) (err error) { _, changes, err = enter(tx); return err }); err != nil || !changes {
		return err
	}
	return db.Update(ctx, func(tx store.Tx) error {
		all, _, err := enter(tx)
		if err != nil {
			return err
		}
		return all.put(tx)
	})
}

// change changes the place in the store, unless another worker has it; then it returns
// false.
func (w *worker) change(ctx context.Context, fn func(*place)) (mine bool, err error) {
	var now place
	err = w.Store.Update(ctx, func(tx store.Tx) error {
		all, err := readPlaces(tx)
		if err != nil {
			return err
		}
		p := all[w.endpoint.key()]
		if p == nil {
			kept := w.place
			p = &kept
		}
		left := p.Until.Sub(w.Now())
		if mine = p.Holder == uuid.Nil || p.Holder == w.id || left <= 0 || left > 2*lease || w.dead(p.Holder); !mine {
			now = *p
			return nil
		}
		fn(p)
		now = *p
		all[w.endpoint.key()] = p
		return all.put(tx)
	})
	if err == nil {
		w.place = now
	}
	return mine, err
}

// process is the first half of the ids of all workers of this process.
var process = uuid.New()

// newID is an id for a worker.
func newID() uuid.UUID {
	id := uuid.New()
	copy(id[:8], process[:8])
	return id
}

// dead reports whether a worker has ended with its process, as far as that is known: no
// other process can have the store.
func (w *worker) dead(holder uuid.UUID) bool {
	db, ok := w.Store.(interface{ Exclusive() bool })
	return ok && db.Exclusive() && [8]byte(holder[:8]) != [8]byte(process[:8])
}
