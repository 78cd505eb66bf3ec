//go:build !registration_nopostgres

// feed.go: what acts on all nodes have changed, for whoever remembers it on this one.

package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	// pollEvery is how often a node asks for what the others have changed.
	pollEvery = 50 * time.Millisecond
	// pollPatience is for how long a node waits for an answer. A network with half a second
	// each way gives one.
	pollPatience = 2 * time.Second
	// unheard is for how long a node may not have heard before it asks the database for each
	// session. Beyond that and Options.Grace it knows nothing.
	unheard = time.Second
	// changesKept is how long a change can be read.
	changesKept = time.Minute
)

// shared is what all stores of one realm on this node have in common.
type shared struct {
	db    *DB
	realm int32

	mu        sync.Mutex
	followers []*follower
	stop      context.CancelFunc // of the poll; nil: it isn't running
	// own are the numbers of changes of this node that the poll hasn't come to yet.
	own map[int64]bool
	// last is up to where the poll has come.
	last int64
	// heard is when the last poll was sent that was answered; lost and doubt, what the
	// followers have been told since.
	heard       time.Time
	lost, doubt bool
}

// A line is the poll's own connection: where acts hold all of the pool's, because they wait for
// one another, a node must still hear who was signed out. It is made when it is needed.
type line struct{ conn *pgx.Conn }

type follower struct {
	of *Store
	fn func(store.Change)
}

// tell hands a change of an act of this node to all who follow. It runs on the goroutine of
// the act, between its commit and its answer.
func (s *shared) tell(change *store.Change, seq int64) {
	if change.Empty() {
		return
	}
	s.mu.Lock()
	if s.stop != nil && seq > s.last {
		s.own[seq] = true
	}
	s.mu.Unlock()
	s.hand(*change)
}

func (s *shared) hand(change store.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handLocked(change)
}

// handLocked tells of a change, and always of how far the feed is to be trusted now: an act of
// this node's own says nothing about the others'.
func (s *shared) handLocked(change store.Change) {
	change.Lost = change.Lost || s.lost || !s.db.cache
	change.Doubt = change.Doubt || s.doubt
	for _, f := range s.followers {
		f.fn(change)
	}
}

// Follow implements store.Store. Where the database can't be asked from where on, whoever
// follows may remember nothing until it can.
func (s *Store) Follow(fn func(store.Change)) (stop func()) {
	sh, f := s.shared, &follower{s, fn}
	sh.mu.Lock()
	sh.followers = append(sh.followers, f)
	begin := sh.stop == nil
	var ctx context.Context
	if begin {
		ctx, sh.stop = context.WithCancel(context.Background())
		sh.own, sh.heard, sh.lost, sh.doubt = map[int64]bool{}, time.Now(), false, false
	}
	if sh.lost || sh.doubt || !sh.db.cache {
		fn(store.Change{Lost: sh.lost || !sh.db.cache, Doubt: sh.doubt})
	}
	sh.mu.Unlock()
	if begin {
		asked, cancel := context.WithTimeout(ctx, patience)
		own := &line{}
		_, last, err := sh.changes(asked, own, place{seq: -1})
		cancel()
		if err != nil {
			last = place{seq: -1}
			sh.mu.Lock()
			sh.lost = true
			sh.handLocked(store.Change{})
			sh.mu.Unlock()
		}
		go sh.poll(ctx, own, last)
		go sh.watch(ctx)
	}
	return func() { sh.leave(func(have *follower) bool { return have == f }) }
}

// leave ends the following of some. After the last one the database isn't asked any more.
func (s *shared) leave(gone func(*follower) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = slices.DeleteFunc(s.followers, gone)
	if len(s.followers) == 0 && s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// watch tells who follows when nothing has been heard for too long, until it is stopped. The
// poll can't: it waits for an answer.
func (s *shared) watch(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		silent := time.Since(s.heard)
		doubt, lost := s.doubt || silent > unheard, s.lost || silent > max(unheard, s.db.grace)
		if ctx.Err() == nil && (doubt != s.doubt || lost != s.lost) {
			s.doubt, s.lost = doubt, lost
			s.handLocked(store.Change{})
		}
		s.mu.Unlock()
	}
}

// poll asks for changes behind one, until it is stopped.
func (s *shared) poll(ctx context.Context, own *line, last place) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	defer own.hangUp()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at := time.Now()
		asked, cancel := context.WithTimeout(ctx, pollPatience)
		change, now, err := s.changes(asked, own, last)
		silent := asked.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil {
			if silent { // a network that says nothing is that of all connections
				s.db.pool.Reset()
			}
			continue
		}
		if !s.hear(ctx, at, change, last.seq < 0) {
			return
		}
		if last = now; n%600 == 0 {
			s.forget(ctx)
		}
	}
}

// hear tells of what a poll has brought that was sent at a time. It returns false where the
// poll has been stopped meanwhile.
func (s *shared) hear(ctx context.Context, at time.Time, change store.Change, first bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	s.heard = at
	missed := change.Lost || s.lost || first
	if missed {
		s.handLocked(store.Change{Lost: true})
	}
	if change.Lost = false; missed || s.doubt || !change.Empty() {
		s.lost, s.doubt = false, false // from here on it may be remembered again
		s.handLocked(change)
	}
	return true
}

// A place is up to where changes have been read: a number, -1: not known, and when the change
// that has it was made, in microseconds; 0: not known. A database that went back, and on again
// to the same number, has another one there.
type place struct{ seq, at int64 }

// changes are those behind a place, and the place of the last one. Lost: some can't be read any
// more, or the database has gone back.
func (s *shared) changes(ctx context.Context, own *line, last place) (change store.Change, now place, err error) {
	defer func() {
		if err != nil {
			own.hangUp()
		}
	}()
	rows, err := own.query(ctx, s.db, `SELECT r.change_seq, c.seq, (extract(epoch FROM c.at) * 1000000)::bigint, c.accounts, c.sessions FROM ~realms r
		LEFT JOIN ~changes c ON c.realm = r.id AND c.seq >= CASE WHEN $2::bigint < 0 THEN r.change_seq ELSE $2 END
		WHERE r.id = $1 ORDER BY c.seq`, s.realm, last.seq)
	if err != nil {
		return change, last, err
	}
	defer rows.Close()
	expected, same := last.seq+1, last.at == 0
	for rows.Next() {
		var n, at *int64
		var accounts, sessions [][]byte
		if err := rows.Scan(&now.seq, &n, &at, &accounts, &sessions); err != nil {
			return change, last, err
		}
		if n == nil {
			continue
		}
		if now.at = *at; *n == last.seq || last.seq < 0 {
			same = same || *at == last.at
			continue
		}
		change.Lost = change.Lost || *n != expected
		if expected = *n + 1; s.isOwn(*n) {
			continue
		}
		for _, id := range accounts {
			if len(id) == len(uuid.UUID{}) {
				change.Users = append(change.Users, uuid.UUID(id))
			}
		}
		for _, hash := range sessions {
			if len(hash) == len(store.TokenHash{}) {
				change.Sessions = append(change.Sessions, store.TokenHash(hash))
			}
		}
	}
	if err := rows.Err(); err != nil {
		return change, last, err
	}
	if last.seq >= 0 && (!same || now.seq != expected-1) {
		change.Lost = true
	}
	return change, now, nil
}

func (l *line) query(ctx context.Context, db *DB, text string, args ...any) (pgx.Rows, error) {
	if l.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig)
		if err != nil {
			return nil, err
		}
		l.conn = conn
	}
	return l.conn.Query(ctx, db.sql(text), args...)
}

// hangUp closes it, if it is there.
func (l *line) hangUp() {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), pollPatience)
	defer cancel()
	_ = l.conn.Close(ctx)
	l.conn = nil
}

// isOwn reports whether an act of this node has told a change already, and is asked once.
func (s *shared) isOwn(seq int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.own[seq]
	delete(s.own, seq)
	s.last = seq
	return own
}

// forget removes changes that every node has read, or has to forget all for; never the last
// one of a realm, by which nodes see that the database has not gone back.
func (s *shared) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = s.db.pool.Exec(ctx, s.db.sql(`DELETE FROM ~changes c USING ~realms r WHERE c.realm = r.id AND c.seq < r.change_seq
		AND c.at < clock_timestamp() - make_interval(secs => $1)`), changesKept.Seconds())
}
