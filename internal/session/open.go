// open.go: what stays open for long behind a guard (a WebSocket, an event stream, a
// download) ends with the session that opened it.

package session

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seed-928992b0/caddy-registration/store"
)

// An Open is one request that a sign-in was let through with, for as long as it is
// served. Being open is no use of the session: it ends with `idle` as with its
// lifetime, unless other requests use it. The zero value is ready for Follow.
type Open struct {
	session *store.Session
	opened  Opened

	prev, next *Open  // in its shard, the youngest first; next is nil at the end
	since      uint32 // the tick of Live at which it was opened
	listed     bool
}

// Opened is what a session has opened.
type Opened interface {
	// Terms are how long its session may be idle, and what an account that is let
	// through is like.
	Terms() (idle time.Duration, lets func(*store.User) bool)
	// CutOff ends it, and may take a while. It may be called after Unfollow has
	// returned false.
	CutOff()
}

// openShards keep the requests of a busy machine from waiting for each other.
type openShards [cacheShards]struct {
	sync.Mutex
	first, last *Open
	_           [40]byte // each on a cache line of its own
}

// watchEvery is how often what is open is looked at.
const watchEvery = 250 * time.Millisecond

// openGrace is the tick after its own at which a request is looked at for the first
// time: all ordinary ones are over by then, half a second later at least. From the end
// of a session to the end of what it opened it is less than a second.
const openGrace = 3

// Follow has what was opened cut off, in a goroutine of its own and once at most, when
// the sign-in is no good any more, or its account is none that is let through.
// Unfollow ends that. It costs a moment under a lock, and no memory but o's.
func (s *Live) Follow(o *Open, by *store.Session, opened Opened) {
	o.session, o.opened, o.since, o.listed = by, opened, s.tick.Load(), true
	shard := &s.open[shardOf(by.Hash)%cacheShards]
	shard.Lock()
	if o.next = shard.first; o.next != nil {
		o.next.prev = o
	} else {
		shard.last = o
	}
	shard.first = o
	shard.Unlock()
}

// Unfollow forgets what Follow was told, and reports whether nothing came between: if
// not, it has been forgotten already, or is being cut off.
func (s *Live) Unfollow(o *Open) bool {
	shard := &s.open[shardOf(o.session.Hash)%cacheShards]
	shard.Lock()
	was := o.listed
	if was {
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
	shard.Unlock()
	return was
}

// EndOpen ends what was opened by sign-ins that are no good any more, and returns how
// many that were. While the store fails nothing ends: nor can anybody sign out.
func (s *Live) EndOpen(ctx context.Context, now time.Time) (ended int) {
	for _, o := range s.lasting(openGrace) {
		idle, lets := o.opened.Terms()
		u, err := s.whose(ctx, o.session, now, idle)
		if err == nil && !lets(u) {
			err = store.ErrNotFound
		}
		if errors.Is(err, store.ErrNotFound) && s.finish(o) {
			ended++
		}
	}
	return ended
}

// whose is the account of a sign-in that is still good.
func (s *Live) whose(ctx context.Context, by *store.Session, now time.Time, idle time.Duration) (*store.User, error) {
	if by.Kind == store.KindProgram {
		p, err := s.program(ctx, nil, by.Hash, now)
		if err != nil {
			return nil, err
		}
		return p.who.User, nil
	}
	_, u, err := s.find(ctx, by.Hash, by.Kind, now, idle)
	return u, err
}

// EndAllOpen is for the end of the store: nobody could sign out any more.
func (s *Live) EndAllOpen() {
	for _, o := range s.lasting(0) {
		s.finish(o)
	}
}

// lasting are those that have been open for so many ticks.
func (s *Live) lasting(ticks uint32) (all []*Open) {
	now := s.tick.Load()
	for i := range s.open {
		shard := &s.open[i]
		shard.Lock()
		for o := shard.last; o != nil && now-o.since >= ticks; o = o.prev {
			all = append(all, o)
		}
		shard.Unlock()
	}
	return all
}

// WatchOpen calls EndOpen until ctx ends.
func (s *Live) WatchOpen(ctx context.Context, now func() time.Time) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.tick.Add(1)
			s.EndOpen(ctx, now())
		}
	}
}

// finish cuts off what is still open.
func (s *Live) finish(o *Open) bool {
	if !s.Unfollow(o) {
		return false
	}
	go o.opened.CutOff() // it may have to wait for a client that reads slowly
	return true
}

// Hold returns a connection that was taken over, followed until it is closed.
func (s *Live) Hold(o *Open, conn net.Conn) net.Conn { return heldConn{conn, s, o} }

type heldConn struct {
	net.Conn
	live *Live
	open *Open
}

func (c heldConn) Close() error {
	c.live.Unfollow(c.open)
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
