// Package again knows a request that comes twice, as by a double click or from a
// client that got no answer: the second waits for the first, and does the same act, not
// another one. What it keeps is in memory alone, for a short while.
package again

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Key stands for all that a request says. It is made with a secret of the process, so
// that nobody who reads the memory of another time can try passwords against it.
type Key [sha256.Size]byte

// Requests are the latest requests that did their act. It is safe for concurrent use.
type Requests struct {
	secret   [32]byte
	lifetime time.Duration
	most     int

	mu sync.Mutex
	// known has the requests under way and those that were done less than a lifetime
	// ago; done has the keys of the latter, the oldest first.
	known map[Key]*request
	done  []doneKey
}

type request struct {
	id uuid.UUID
	// turn is held by the one that acts.
	turn chan struct{}
	// users counts those that act or wait, under the lock of Requests.
	users int
	// until is when it is forgotten; zero: it has not been done.
	until time.Time
}

type doneKey struct {
	key   Key
	until time.Time
}

// New returns a memory of this many requests at most, for a lifetime each.
func New(lifetime time.Duration, most int) *Requests {
	r := &Requests{lifetime: lifetime, most: most, known: map[Key]*request{}}
	_, _ = rand.Read(r.secret[:]) // never fails
	return r
}

// KeyOf is the key of a request that consists of these parts.
func (r *Requests) KeyOf(parts ...string) (key Key) {
	h := hmac.New(sha256.New, r.secret[:])
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	h.Sum(key[:0])
	return key
}

// Begin waits until no other request of this key is under way, and returns the id of
// what the act makes: the same for each of them, so that the act can see whether it is
// there already. before says that one has ended as done: what isn't there has gone
// since. End has to be called, with done unless the act has surely made nothing. The
// error is the context's.
func (r *Requests) Begin(ctx context.Context, key Key, now time.Time) (id uuid.UUID, before bool, end func(done bool), err error) {
	r.mu.Lock()
	r.forget(now)
	req := r.known[key]
	if req == nil {
		if id, err = uuid.NewV7(); err != nil {
			r.mu.Unlock()
			return uuid.Nil, false, nil, err
		}
		req = &request{id: id, turn: make(chan struct{}, 1)}
		r.known[key] = req
	}
	req.users++
	r.mu.Unlock()
	select {
	case req.turn <- struct{}{}:
	case <-ctx.Done():
		r.leave(key, req)
		return uuid.Nil, false, nil, ctx.Err()
	}
	r.mu.Lock()
	before = !req.until.IsZero()
	r.mu.Unlock()
	return req.id, before, func(done bool) {
		r.mu.Lock()
		if done && req.until.IsZero() {
			req.until = now.Add(r.lifetime)
			r.done = append(r.done, doneKey{key, req.until})
		}
		r.mu.Unlock()
		<-req.turn
		r.leave(key, req)
	}, nil
}

// leave forgets a request that was never done once nobody acts or waits.
func (r *Requests) leave(key Key, req *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.users--; req.users == 0 && req.until.IsZero() && r.known[key] == req {
		delete(r.known, key)
	}
}

// forget drops what is over and, beyond the most, what was done first. A clock that
// goes back keeps a request for longer, but no more of them.
func (r *Requests) forget(now time.Time) {
	n := 0
	for n < len(r.done) && (!now.Before(r.done[n].until) || len(r.done)-n > r.most) {
		delete(r.known, r.done[n].key)
		n++
	}
	r.done = append(r.done[:0], r.done[n:]...)
}
