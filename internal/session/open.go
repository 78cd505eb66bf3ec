// open.go: what stays open for long behind a guard (a WebSocket, an event stream, a
// download) ends with the session that opened it.

package session

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
)

// An Open is one request that a sign-in was let through with, for as long as it is
// served, and the context that this is served under. Being open is no use of the
// session: it ends with `idle` as with its lifetime, unless other requests use it.
// Who never asks whether the context is done pays nothing for it.
type Open struct {
	context.Context // of the request; set before Follow

	live   *Live
	hash   store.TokenHash
	kind   store.SessionKind
	idle   time.Duration
	groups []string
	since  time.Time // monotonic
	opened Opened

	prev, next *Open // in its shard, the youngest first; next is nil at the end
	listed     bool

	mu    sync.Mutex
	inner context.Context //nolint:containedctx // made of the one above when it is asked for
	stop  context.CancelFunc
	ended bool
}

// Opened is what a session has opened. CutOff ends it, and may take a while.
type Opened interface{ CutOff() }

// openShards keep the requests of a busy machine from waiting for each other.
type openShards [cacheShards]struct {
	sync.Mutex
	first, last *Open
}

// openGrace is how long a request is let be before anybody looks at its session: all
// ordinary ones are over by then.
const openGrace = 500 * time.Millisecond

// WatchEvery is how often what is open is looked at. With openGrace it is less than a
// second from the end of a session to the end of what it opened.
const WatchEvery = 250 * time.Millisecond

// Follow cancels o and has what was opened cut off, in a goroutine of its own and once
// at most, when the sign-in is no good any more or its account is in none of the groups
// (nil: any will do). Unfollow ends that. It costs two moments under a lock and no memory but o's.
func (s *Live) Follow(o *Open, p Principal, idle time.Duration, groups []string, opened Opened) {
	o.hash, o.kind, o.idle, o.groups, o.opened, o.since = p.Session.Hash, p.Session.Kind, idle, groups, opened, time.Now()
	o.live = s
	shard := &s.open[o.hash[1]%cacheShards]
	shard.Lock()
	o.next, o.listed = shard.first, true
	if shard.first = o; o.next != nil {
		o.next.prev = o
	} else {
		shard.last = o
	}
	shard.Unlock()
}

// Unfollow forgets what Follow was told. It may be called more than once.
func (o *Open) Unfollow() {
	shard := &o.live.open[o.hash[1]%cacheShards]
	shard.Lock()
	defer shard.Unlock()
	if !o.listed {
		return
	}
	o.listed = false
	if o.prev != nil {
		o.prev.next = o.next
	} else {
		shard.first = o.next
	}
	if o.next != nil {
		o.next.prev = o.prev
	} else {
		shard.last = o.prev
	}
	o.prev, o.next = nil, nil
}

// EndOpen ends what was opened by sign-ins that are no good any more, and returns how
// many that were. While the store fails nothing ends: nor can anybody sign out.
func (s *Live) EndOpen(ctx context.Context, now time.Time) (ended int) {
	for _, o := range s.lasting(openGrace) {
		_, u, err := s.find(ctx, o.hash, o.kind, now, o.idle)
		if err == nil && o.groups != nil && !slices.ContainsFunc(o.groups, func(g string) bool { return slices.Contains(u.Groups, g) }) {
			err = store.ErrNotFound
		}
		if errors.Is(err, store.ErrNotFound) {
			o.finish()
			ended++
		}
	}
	return ended
}

// EndAllOpen is for the end of the store: nobody could sign out any more.
func (s *Live) EndAllOpen() {
	for _, o := range s.lasting(0) {
		o.finish()
	}
}

// lasting are those that have been open for so long.
func (s *Live) lasting(long time.Duration) (all []*Open) {
	before := time.Now().Add(-long)
	for i := range s.open {
		shard := &s.open[i]
		shard.Lock()
		for o := shard.last; o != nil && !o.since.After(before); o = o.prev {
			all = append(all, o)
		}
		shard.Unlock()
	}
	return all
}

// WatchOpen calls EndOpen until ctx ends.
func (s *Live) WatchOpen(ctx context.Context, now func() time.Time) {
	tick := time.NewTicker(WatchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.EndOpen(ctx, now())
		}
	}
}

func (o *Open) finish() {
	o.Unfollow()
	o.Cancel()
	go o.opened.CutOff() // it may have to wait for a client that reads slowly
}

// made returns the cancellable context; nil where nobody has asked for it.
func (o *Open) made(asked bool) context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inner == nil && asked {
		if o.inner, o.stop = context.WithCancel(o.Context); o.ended {
			o.stop()
		}
	}
	return o.inner
}

// Cancel ends the context.
func (o *Open) Cancel() {
	o.mu.Lock()
	stop := o.stop
	o.ended = true
	o.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Done implements context.Context.
func (o *Open) Done() <-chan struct{} { return o.made(true).Done() }

// Err implements context.Context.
func (o *Open) Err() error { return o.made(true).Err() }

// Value implements context.Context. Once there is an inner context it answers, so that
// the library finds what it can be cancelled by.
func (o *Open) Value(key any) any {
	if inner := o.made(false); inner != nil {
		return inner.Value(key)
	}
	return o.Context.Value(key)
}

// Hold returns a connection that was taken over, followed until it is closed.
func (o *Open) Hold(conn net.Conn) net.Conn { return heldConn{conn, o} }

type heldConn struct {
	net.Conn
	o *Open
}

func (c heldConn) Close() error {
	c.o.Unfollow()
	return c.Conn.Close()
}

// CloseWrite ends one direction, where the connection can.
func (c heldConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ReadFrom keeps the fast path of the connection below.
func (c heldConn) ReadFrom(src io.Reader) (int64, error) { return io.Copy(c.Conn, src) }
