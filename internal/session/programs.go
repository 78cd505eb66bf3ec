// programs.go: tokens for programs: whose one is, in memory as the live sessions are.
// They stand in the records of their accounts, so what is remembered of one is good as
// long as the account in memory is the one that it was read from.

package session

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/store"
)

// maxPrograms bounds the tokens for programs in memory.
const maxPrograms = 1 << 13

// usesWritten is how often the last use of a token is written.
const usesWritten = time.Hour

// A program is a token for programs in memory.
type program struct {
	user     *store.User // that it was read from
	who      Principal
	expires  int64        // Unix seconds; 0: never
	lastUsed atomic.Int64 // Unix seconds
	saved    atomic.Int64 // the LastUsed in the store, or on its way there
}

// LookupProgram returns who a token for programs belongs to, or ErrNotFound: the account
// has the groups that count for the token, and the session is of KindProgram, with the path
// that it is limited to in Principal.Path.
func (s *Live) LookupProgram(ctx context.Context, text []byte, now time.Time) (Principal, error) {
	hash, ok := token.Sum(text)
	if !ok {
		return Principal{}, store.ErrNotFound
	}
	p, err := s.program(ctx, text, hash, now)
	if err != nil {
		return Principal{}, err
	}
	unix := now.Unix()
	p.lastUsed.Store(unix)
	if saved := p.saved.Load(); (unix-saved >= int64(usesWritten/time.Second) || unix < saved) && p.saved.CompareAndSwap(saved, unix) {
		s.mu.Lock()
		if len(s.usedPrograms) < maxPrograms {
			s.usedPrograms[hash] = p
		}
		s.mu.Unlock()
	}
	return p.who, nil
}

// program is a token that is good at now. Of one that is not in memory the checksum is looked
// at before the store is. text is nil where it has been.
func (s *Live) program(ctx context.Context, text []byte, hash store.TokenHash, now time.Time) (*program, error) {
	p, ok := s.programs.Get(hash)
	if ok {
		u, remembered := s.users.Get(p.user.ID)
		ok = remembered && u == p.user
	}
	switch {
	case !ok && text != nil && !token.Whole(text):
		return nil, store.ErrNotFound
	case !ok:
		var err error
		if p, err = s.loadProgram(ctx, hash, p); err != nil {
			return nil, err
		}
	case s.asks():
		fresh, err := s.askForProgram(ctx, hash, p)
		if err != nil {
			return nil, err
		}
		p = fresh
	}
	if !p.user.IsActive || p.expires != 0 && now.Unix() >= p.expires {
		return nil, store.ErrNotFound
	}
	return p, nil
}

// loadProgram reads a token's account, and remembers both. old is what was remembered of
// it; nil: nothing.
func (s *Live) loadProgram(ctx context.Context, hash store.TokenHash, old *program) (*program, error) {
	epoch := s.users.epoch.Load()
	u, err := s.readProgram(ctx, hash)
	if err != nil {
		return nil, err
	}
	u = s.users.Put(u.ID, u, func() bool { return !s.deaf.Load() && s.users.epoch.Load() == epoch })
	return s.rememberProgram(u, hash, old)
}

func (s *Live) readProgram(ctx context.Context, hash store.TokenHash) (u *store.User, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) (err error) {
		u, err = tx.UserByKey(store.ProgramKey, hash.Text())
		return err
	})
	return u, err
}

// rememberProgram remembers a token of an account.
func (s *Live) rememberProgram(u *store.User, hash store.TokenHash, old *program) (*program, error) {
	t := u.ProgramToken(hash)
	if t == nil {
		return nil, store.ErrNotFound
	}
	p := newProgram(u, t)
	if old == nil {
		return s.programs.Put(hash, p, func() bool { return true }), nil
	}
	// Its uses since the last write are in memory alone.
	p.lastUsed.Store(max(p.lastUsed.Load(), old.lastUsed.Load()))
	p.saved.Store(max(p.saved.Load(), old.saved.Load()))
	s.programs.replace(hash, old, p)
	return p, nil
}

// askForProgram has the store say what became of a token that is remembered, where it can be
// reached.
func (s *Live) askForProgram(ctx context.Context, hash store.TokenHash, p *program) (*program, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	u, err := s.readProgram(ctx, hash)
	if !s.answered(err) {
		return p, nil
	}
	if err != nil {
		s.users.Drop(p.user.ID)
		return nil, err
	}
	if reflect.DeepEqual(u, p.user) {
		return p, nil
	}
	s.users.replace(u.ID, p.user, u)
	return s.rememberProgram(u, hash, p)
}

func newProgram(u *store.User, t *store.ProgramToken) *program {
	p := &program{user: u, who: Principal{
		User: u, Path: t.Path,
		Session: &store.Session{Hash: t.Hash, User: u.ID, Kind: store.KindProgram, Created: t.Created, LastUsed: t.LastUsed, Expires: t.Expires},
	}}
	if t.Groups != nil {
		limited := *u
		limited.IsStaff = false
		limited.Groups = slices.DeleteFunc(slices.Clone(u.Groups), func(group string) bool { return !slices.Contains(t.Groups, group) })
		p.who.User = &limited
	}
	if !t.Expires.IsZero() {
		p.expires = t.Expires.Unix()
	}
	if !t.LastUsed.IsZero() {
		p.lastUsed.Store(t.LastUsed.Unix())
		p.saved.Store(t.LastUsed.Unix())
	}
	return p
}

// ProgramLastUse returns the last use of a token for programs, zero where memory has none.
func (s *Live) ProgramLastUse(hash store.TokenHash) time.Time {
	p, ok := s.programs.Get(hash)
	if !ok || p.lastUsed.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(p.lastUsed.Load(), 0).UTC()
}

// FlushPrograms writes the noted uses of tokens for programs back. keysOf are the unique
// keys of an account. A token that was ended stays so.
func (s *Live) FlushPrograms(ctx context.Context, keysOf func(*store.User) []store.Key) error {
	s.mu.Lock()
	used := s.usedPrograms
	s.usedPrograms = map[store.TokenHash]*program{}
	s.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		ahead := store.Ahead{}
		for _, p := range used {
			ahead.Users = append(ahead.Users, p.user.ID)
		}
		ahead.In(tx)
		for hash, p := range used {
			u, err := tx.User(p.user.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			t := u.ProgramToken(hash)
			if t == nil {
				continue
			}
			t.LastUsed = time.Unix(p.lastUsed.Load(), 0).UTC()
			if err := tx.PutUser(u, keysOf(u)); err != nil && !errors.Is(err, store.ErrTaken) {
				return err
			}
		}
		return nil
	})
	if err != nil { // they are noted again with their next use
		for _, p := range used {
			p.saved.Store(0)
		}
	}
	return err
}
