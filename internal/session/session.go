// session.go: sessions and API tokens: issued, looked up in under a
// microsecond, revoked at once.

package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The lengths of tokens, in unpadded base64url: of 32 random bytes, and of those behind the time
// at which they were made.
const (
	TokenLength = 43
	timedLength = 48
	timeLength  = 4 // bytes, seconds since 1970
)

// MaxUserAgent bounds what a sign-in stores of a header that the client chose.
const MaxUserAgent = 160

// NewToken returns 256 random bits as text, and the hash that is stored.
func NewToken() (string, store.TokenHash) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand since Go 1.24)
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	hash, _ := HashToken(token)
	return token, hash
}

// NewToken returns a token for a session that is made now, 256 random bits, and the hash that is
// stored. A store that nobody shares gets sessions that are made one after the other as
// neighbours: their tokens, and hashes, begin with the time. Other nodes may be of a version that
// knows no such token.
func (s *Live) NewToken(now time.Time) (string, store.TokenHash) {
	if s.Store.Shared() {
		return NewToken()
	}
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, timeLength+32), uint32(now.Unix())) //nolint:gosec // an order, which is in vain before 1970 and after 2106
	raw = raw[:cap(raw)]
	_, _ = rand.Read(raw[timeLength:]) // never fails
	token := base64.RawURLEncoding.EncodeToString(raw)
	hash, _ := HashToken(token)
	return token, hash
}

// HashToken returns what the store knows of a token: its SHA-256 or, where it begins with a time,
// that and the first 224 bits. ok is false for a text that can't be one. It does not allocate.
func HashToken(token string) (hash store.TokenHash, ok bool) {
	switch len(token) {
	case TokenLength:
		var buf [TokenLength]byte
		copy(buf[:], token)
		return sha256.Sum256(buf[:]), true
	case timedLength:
		var buf [timedLength]byte
		copy(buf[:], token)
		var head [6]byte // whole characters of base64
		if _, err := base64.RawURLEncoding.Decode(head[:], buf[:8]); err != nil {
			return hash, false
		}
		sum := sha256.Sum256(buf[:])
		copy(hash[:timeLength], head[:])
		copy(hash[timeLength:], sum[:])
		return hash, true
	}
	return hash, false
}

// A Principal is who a request comes from. Both records are shared: read only.
type Principal struct {
	User    *store.User
	Session *store.Session
	// Path is where a token for programs is good; "": everywhere, as a sign-in is.
	Path string
}

// A Grant is what a sign-in hands out. The tokens are shown this once.
type Grant struct {
	// Cookie is the token for the session cookie; empty where sessions are off.
	Cookie string
	// Session is the session behind Cookie; nil where sessions are off.
	Session *store.Session
	// Token is the API token, opaque or an access token; empty where tokens are off.
	Token string
	// Refresh is the refresh token, and Family the sign-in that it carries on;
	// empty where tokens are off or opaque.
	Refresh string
	Family  *store.Session
	// Expires is the end of Token where it is an access token; else zero.
	Expires time.Time
	// Clashes says that another account answers to one of the account's sign-in
	// names, so that it has to choose another.
	Clashes bool
}

// Shorten cuts a text to at most n bytes of whole, valid characters.
func Shorten(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	for len(text) > 0 && !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}

// Live answers who a token belongs to. It keeps the live sessions and
// their users in memory, exactly: what a transaction changes is forgotten between
// its commit and the answer (store.Store's Follow), so a revoked token fails at the very next
// request. All configurations that run on one store share one.
type Live struct {
	Store store.Store
	Live  *cache[store.TokenHash, *liveSession]
	users *cache[uuid.UUID, *store.User]
	// programs are tokens for programs; each names the account that it was read from.
	programs *cache[store.TokenHash, *program]

	// deaf: changes may be missed, so nothing is remembered.
	deaf atomic.Bool
	// doubt: others' changes have not been heard for a while, so the store is asked first.
	doubt atomic.Bool
	// away is until when a store that could not be reached is not asked again, Unix
	// nanoseconds; 0: it is there.
	away atomic.Int64

	open openShards
	// tick counts the times at which what is open was looked at.
	tick atomic.Uint32

	mu sync.Mutex
	// used collects the sessions whose last use is to be written back.
	used map[store.TokenHash]*liveSession
	// usedPrograms does so for the tokens for programs.
	usedPrograms map[store.TokenHash]*program
	// Left are the accounts whose ended sessions still have records.
	Left chan Leftover
}

// A liveSession is one in memory, with what a request may change of it.
type liveSession struct {
	session  store.Session
	latest   int64        // when its owner has shown last who he is, Unix seconds
	lastUsed atomic.Int64 // Unix seconds
	saved    atomic.Int64 // the LastUsed in the store, or on its way there
}

// Limits of the memory that live sessions take: about 300 bytes each.
const (
	maxLiveSessions = 1 << 15
	maxLiveUsers    = 1 << 15
)

// shardOf spreads hashes by a byte that is random in all of them.
func shardOf(h store.TokenHash) byte { return h[len(h)-1] }

// Count is how many sessions are in memory.
func (s *Live) Count() int { return s.Live.count() }

// NewLive has none in memory yet: each is read when its token is first sent. It
// follows the changes of the store for as long as that is open.
func NewLive(db store.Store) *Live {
	s := &Live{
		Store: db,
		Live:  newCache[store.TokenHash, *liveSession](maxLiveSessions, shardOf),
		users: newCache[uuid.UUID, *store.User](maxLiveUsers, func(id uuid.UUID) byte { return id[15] }),
		used:  map[store.TokenHash]*liveSession{},

		programs:     newCache[store.TokenHash, *program](maxPrograms, shardOf),
		usedPrograms: map[store.TokenHash]*program{},

		Left: make(chan Leftover, maxLeftovers),
	}
	db.Follow(s.heed)
	return s
}

// Lookup returns the active user and the unexpired session or token behind a
// token, ErrNotFound, or the failure of the store.
func (s *Live) Lookup(ctx context.Context, token string, kind store.SessionKind, now time.Time, idle time.Duration) (Principal, error) {
	hash, ok := HashToken(token)
	if !ok {
		return Principal{}, store.ErrNotFound
	}
	return s.LookupHash(ctx, hash, kind, now, idle)
}

// LookupHash is lookup for who knows the hash.
func (s *Live) LookupHash(ctx context.Context, hash store.TokenHash, kind store.SessionKind, now time.Time, idle time.Duration) (Principal, error) {
	ls, u, err := s.find(ctx, hash, kind, now, idle)
	if err != nil {
		return Principal{}, err
	}
	if unix, last := now.Unix(), ls.lastUsed.Load(); unix > last || last-unix > int64(sign.MaxClockSkew/time.Second) {
		ls.lastUsed.Store(unix)
		s.noteUse(ls, unix, idle)
	}
	return Principal{User: u, Session: &ls.session}, nil
}

// find is LookupHash for who doesn't use the session.
func (s *Live) find(ctx context.Context, hash store.TokenHash, kind store.SessionKind, now time.Time, idle time.Duration) (*liveSession, *store.User, error) {
	epoch := s.Live.epoch.Load() + s.users.epoch.Load()
	ls, ok := s.Live.Get(hash)
	var u *store.User
	if ok {
		u, ok = s.users.Get(ls.session.User)
	}
	var err error
	switch {
	case !ok:
		ls, u, err = s.load(ctx, hash, epoch)
	case s.asks():
		ls, u, err = s.ask(ctx, ls, u)
	}
	if err != nil {
		return nil, nil, err
	}
	unix := now.Unix()
	if ls.latest-unix > int64(sign.MaxClockSkew/time.Second) {
		ls = s.redate(ls, unix)
	}
	last := ls.lastUsed.Load()
	if ls.session.Kind != kind || !u.IsActive || ls.session.Epoch != u.Epoch(kind) || unix >= ls.session.Expires.Unix() || unix-last >= int64(idle/time.Second) {
		return nil, nil, store.ErrNotFound
	}
	return ls, u, nil
}

// LastUse returns the last use of a live session, zero where memory has none.
func (s *Live) LastUse(hash store.TokenHash) time.Time {
	ls, ok := s.Live.Get(hash)
	if !ok {
		return time.Time{}
	}
	return time.Unix(ls.lastUsed.Load(), 0).UTC()
}

// load reads a session and its user, and remembers them unless something was
// forgotten meanwhile: what was read may be older than that.
func (s *Live) load(ctx context.Context, hash store.TokenHash, epoch uint64) (*liveSession, *store.User, error) {
	session, u, err := s.read(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	fresh := newLiveSession(session)
	current := func() bool { return !s.deaf.Load() && s.Live.epoch.Load()+s.users.epoch.Load() == epoch }
	ls := s.Live.Put(hash, fresh, current)
	s.users.Put(u.ID, u, current)
	return ls, u, nil
}

func (s *Live) read(ctx context.Context, hash store.TokenHash) (session *store.Session, u *store.User, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) (err error) {
		if session, err = tx.Session(hash); err != nil {
			return err
		}
		u, err = tx.User(session.User)
		return err
	})
	return session, u, err
}

// How long a store is asked about what is remembered, and how long it is left alone when it
// can't be reached: then one request in that time waits for it, and the others don't.
const (
	askPatience = time.Second
	askAgain    = time.Second
)

// asks reports whether the store is to be asked about what is remembered.
func (s *Live) asks() bool {
	if !s.doubt.Load() {
		return false
	}
	now, away := time.Now().UnixNano(), s.away.Load()
	return away == 0 || now >= away && s.away.CompareAndSwap(away, now+int64(askPatience+askAgain))
}

// answered notes whether the store could be reached: it could where it has nothing.
func (s *Live) answered(err error) (reached bool) {
	if err == nil || errors.Is(err, store.ErrNotFound) {
		s.away.Store(0)
		return true
	}
	s.away.Store(time.Now().Add(askAgain).UnixNano())
	return false
}

// ask has the store say what became of a session and its account that are remembered, where
// it can be reached.
func (s *Live) ask(ctx context.Context, ls *liveSession, known *store.User) (*liveSession, *store.User, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	session, u, err := s.read(ctx, ls.session.Hash)
	if !s.answered(err) {
		return ls, known, nil
	}
	if err != nil {
		s.Live.Drop(ls.session.Hash)
		return nil, nil, err
	}
	if reflect.DeepEqual(u, known) {
		u = known
	} else {
		s.users.replace(u.ID, known, u)
	}
	have := ls.session
	if have.LastUsed = session.LastUsed; reflect.DeepEqual(*session, have) {
		return ls, u, nil
	}
	fresh := newLiveSession(session)
	fresh.lastUsed.Store(max(fresh.lastUsed.Load(), ls.lastUsed.Load())) // what is not written yet
	fresh.saved.Store(max(fresh.saved.Load(), ls.saved.Load()))
	s.Live.replace(session.Hash, ls, fresh)
	return fresh, u, nil
}

func newLiveSession(session *store.Session) *liveSession {
	ls := &liveSession{session: *session, latest: max(session.Created.Unix(), session.ShownAt().Unix())}
	ls.lastUsed.Store(session.LastUsed.Unix())
	ls.saved.Store(session.LastUsed.Unix())
	return ls
}

// redate makes a sign-in of the future one of now, with the lifetime that it was
// given: it was made under a clock that was ahead, and would be a fresh one, and
// live, until that time has come. So it does with what was shown in the future. The
// store learns of it with the next flush.
func (s *Live) redate(ls *liveSession, unix int64) *liveSession {
	session := ls.session
	now := time.Unix(unix, 0).UTC()
	session.LastUsed = time.Unix(ls.lastUsed.Load(), 0).UTC()
	if session.Created.After(now) {
		lifetime := session.Expires.Sub(session.Created)
		session.Created, session.LastUsed, session.Expires = now, now, now.Add(lifetime)
	}
	if session.AuthTime.After(now) {
		session.AuthTime = now
	}
	fresh := newLiveSession(&session)
	if s.Live.replace(session.Hash, ls, fresh) {
		s.mu.Lock()
		s.used[session.Hash] = fresh
		s.mu.Unlock()
	}
	return fresh
}

// heed drops what an act has changed. The store calls it between the commit and
// the answer.
func (s *Live) heed(change store.Change) {
	// In this order: what was read while changes were missed is not remembered
	// after that either.
	if wasDeaf := s.deaf.Swap(change.Lost); wasDeaf || change.Lost {
		s.users.Clear()
		s.Live.Clear()
	}
	for _, id := range change.Users {
		s.users.Drop(id)
	}
	for _, hash := range change.Sessions {
		s.Live.Drop(hash)
	}
	s.doubt.Store(change.Doubt) // last: what ends it has been dropped
	if !change.Doubt {
		s.away.Store(0)
	}
}

// noteUse remembers to write a use back, at most once every eighth of the idle
// time or five minutes: a restart then costs an idle session little, and a
// request costs no write.
func (s *Live) noteUse(ls *liveSession, unix int64, idle time.Duration) {
	saved := ls.saved.Load()
	ahead := saved-unix > int64(sign.MaxClockSkew/time.Second) // a use under a clock that was
	if !ahead && unix-saved < int64(min(idle/8, 5*time.Minute)/time.Second) || !ls.saved.CompareAndSwap(saved, unix) {
		return
	}
	s.mu.Lock()
	s.used[ls.session.Hash] = ls
	s.mu.Unlock()
}

// flushChunk bounds the transactions that write uses back.
const flushChunk = 256

// Flush writes the noted uses back. A session that was revoked stays revoked.
func (s *Live) Flush(ctx context.Context) error {
	s.mu.Lock()
	used := s.used
	s.used = map[store.TokenHash]*liveSession{}
	s.mu.Unlock()
	chunk := make([]*liveSession, 0, min(len(used), flushChunk))
	// What could not be written is noted again: a full disk must not make
	// sessions look idle after the next start.
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for hash, ls := range used {
			if _, ok := s.used[hash]; !ok && len(s.used) < maxLiveSessions {
				s.used[hash] = ls
			}
		}
	}()
	write := func() error {
		defer func() { chunk = chunk[:0] }()
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			ahead := store.Ahead{}
			for _, ls := range chunk {
				ahead.Sessions = append(ahead.Sessions, ls.session.Hash)
			}
			ahead.In(tx)
			for _, ls := range chunk {
				session, err := tx.Session(ls.session.Hash)
				if errors.Is(err, store.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				session.LastUsed = time.Unix(ls.lastUsed.Load(), 0).UTC()
				if ls.session.Created.Before(session.Created) { // see redate
					session.Created, session.Expires = ls.session.Created, ls.session.Expires
				}
				if ls.session.AuthTime.Before(session.AuthTime) {
					session.AuthTime = ls.session.AuthTime
				}
				if err := tx.PutSession(session); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			for _, ls := range chunk {
				delete(used, ls.session.Hash)
			}
		}
		return err
	}
	for _, ls := range used {
		if chunk = append(chunk, ls); len(chunk) == flushChunk {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if len(chunk) > 0 {
		return write()
	}
	return nil
}

// SweepChunk bounds the transactions of the sweep, so that nobody waits for it.
const SweepChunk = 256

// Sweep removes the expired sessions and tokens.
func (s *Live) Sweep(ctx context.Context, now time.Time) (total int, err error) {
	for {
		var removed []store.TokenHash
		err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
			removed, err = tx.DeleteExpiredSessions(now, SweepChunk)
			return err
		})
		if err != nil {
			return total, err
		}
		total += len(removed)
		if len(removed) < SweepChunk {
			return total, nil
		}
	}
}
