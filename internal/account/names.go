// names.go: what people may choose as the name by which they sign in, and what an
// account may do whose name another answers to. The rules of choice are for sign-up
// and the profile: a name that is stored stays good, and an owner may give away what
// nobody can choose. A name that its account has left is nobody's for a while: an app
// behind the guard that knows people by their names would give its rights to the next
// who takes it.

package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/names"
	"github.com/seed-928992b0/caddy-registration/internal/outbox"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

// choose refuses the names that an account chooses and nobody may have. before is
// the account as it was, nil at sign-up: what stays as it is was allowed once.
func (a *Accounts) choose(before, u *store.User, errs *refusal.FieldErrors) {
	changed := func(f *field.Field) bool {
		return field.TextOf(f.Get(u)) != "" && !hasField(*errs, f.Name) && (before == nil || field.TextOf(f.Get(before)) != field.TextOf(f.Get(u)))
	}
	if f := a.Policy.Fields.ByName[field.Username]; changed(f) {
		switch {
		case names.BadStart(u.Username):
			errs.AddInvalid(f.Name, "invalid.username_start")
		case a.reservedName(u.Username):
			errs.AddInvalid(f.Name, "invalid.username_reserved")
		case a.foreignAddress(u, u.Username):
			errs.AddInvalid(f.Name, "invalid.foreign_address")
		}
	}
	for _, f := range a.comparedWithEmail() {
		if changed(f) && a.foreignAddress(u, field.TextOf(f.Get(u))) {
			errs.AddInvalid(f.Name, "invalid.foreign_address")
		}
	}
}

// comparedWithEmail returns the login fields whose values PutUser compares with
// addresses: those of every configuration that runs, as newLoginClash does.
func (a *Accounts) comparedWithEmail() []*field.Field {
	fields := a.besideEmail()
	for _, login := range *a.KeyIndex.Logins.Load() {
		if !slices.ContainsFunc(login, func(f *field.Field) bool { return f.Name == field.Email }) {
			continue
		}
		for _, f := range login {
			if f.Name != field.Email && !slices.ContainsFunc(fields, func(have *field.Field) bool { return have.Name == f.Name }) {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// reservedName reports whether a username is kept back: by the built-in list, by
// the owner's, or because it can be read as an account's id.
func (a *Accounts) reservedName(username string) bool {
	key := field.UniqueKey(username)
	return names.IsUUID(key) || names.Reserved(key) || a.Policy.Reserved[key]
}

// foreignAddress reports whether a name is an address other than the account's own,
// confirmed one. Whether it is anybody's plays no part: "taken" would tell. Where
// addresses are not confirmed at sign-up, the account's own is as good as it gets.
func (a *Accounts) foreignAddress(u *store.User, name string) bool {
	if !field.MeansAddress(name) {
		return false
	}
	confirmed := u.EmailVerified || !a.Policy.Register.Verification
	return !confirmed || field.EmailKey(strings.TrimSpace(name)) != field.EmailKey(u.Email)
}

// newLoginClash refuses a value of a login field that is another account's value of
// another login field, in any configuration that runs: whoever took somebody's
// address as his username would be found instead of him. Values that the account
// has in the store already are left alone: a field may have become a login field
// since, and every act would fail that has nothing to do with it.
func (a *Accounts) newLoginClash(tx store.Tx, before, u *store.User) error {
	var errs refusal.FieldErrors
	for _, login := range *a.KeyIndex.Logins.Load() {
		for _, f := range login {
			text := field.TextOf(f.Get(u))
			if text == "" || field.HeldBack(u, f) || !isNew(f, before, u) || hasField(errs, f.Name) {
				continue
			}
			for _, other := range login {
				if other == f {
					continue
				}
				holder, err := tx.UserByKey(other.Keyspace(), other.KeyOf(text))
				switch {
				case errors.Is(err, store.ErrNotFound):
				case err != nil:
					return err
				case holder.ID != u.ID && !field.HeldBack(holder, other) && !hasField(errs, f.Name):
					errs.Add(f.Name, refusal.CodeUnique)
				}
			}
		}
	}
	return errs.Err()
}

func hasField(errs refusal.FieldErrors, name string) bool {
	return slices.ContainsFunc(errs, func(e refusal.FieldError) bool { return e.Field == name })
}

const (
	// nameReserved is how long a left name is nobody's but its last holder's.
	nameReserved = 90 * 24 * time.Hour
	// maxLeftNames bounds the names that an account keeps from others. One more
	// change is refused until the oldest is over: if that made room for it, a thief
	// would change the name until the owner's is free.
	maxLeftNames = 8
)

// leftByAnother reports whether a name was another account's until a short while ago.
func (a *Accounts) leftByAnother(tx store.Tx, u *store.User) (bool, error) {
	if u.Username == "" {
		return false, nil
	}
	for _, hash := range a.NameKeys.NameHashes(field.UniqueKey(u.Username)) {
		switch left, err := tx.LeftName(hash); {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return false, err
		case left.User != u.ID && a.Now().Before(left.Until):
			return true, nil
		}
	}
	return false, nil
}

// claimName refuses a name that somebody else has left, as one that is taken.
func (a *Accounts) claimName(tx store.Tx, u *store.User) error {
	left, err := a.leftByAnother(tx, u)
	if err == nil && left {
		err = refusal.FieldErrors{{Field: field.Username, Code: refusal.CodeUnique}}.Err()
	}
	return err
}

// rename is part of a change of the username: the account keeps the old one from
// others.
func (a *Accounts) rename(t *Txn, u *store.User, old string) error {
	if old == "" || field.UniqueKey(old) == field.UniqueKey(u.Username) {
		return nil
	}
	now := a.Time()
	switch left, err := t.LeftName(a.NameKeys.NameHashes(field.UniqueKey(old))[0]); {
	case err == nil && left.User == u.ID && now.Before(left.Until):
		return a.leaveName(t, u, old) // it was left before and taken back
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	u.NamesLeft = slices.DeleteFunc(u.NamesLeft, func(at time.Time) bool { return !now.Before(at.Add(nameReserved)) })
	if len(u.NamesLeft) >= maxLeftNames {
		wait := slices.MinFunc(u.NamesLeft, time.Time.Compare).Add(nameReserved).Sub(now)
		return &refusal.Error{Code: refusal.CodeThrottled, RetryAfter: wait, Params: text.Params{"seconds": refusal.Seconds(wait)}}
	}
	u.NamesLeft = append(u.NamesLeft, now)
	return a.leaveName(t, u, old)
}

// leaveName reserves a name for the account that has had it. The name itself is
// not kept.
func (a *Accounts) leaveName(t *Txn, u *store.User, name string) error {
	if name == "" {
		return nil
	}
	return t.PutLeftName(a.NameKeys.NameHashes(field.UniqueKey(name))[0], store.LeftName{User: u.ID, Until: a.Time().Add(nameReserved)})
}

// SweepLeftNames forgets the names whose time is over, in batches.
func SweepLeftNames(ctx context.Context, p *outbox.Courier, db store.Store) {
	for {
		removed := 0
		err := db.Update(ctx, func(tx store.Tx) (err error) {
			removed, err = tx.DeleteLeftNames(p.Now(), session.SweepChunk)
			return err
		})
		if err != nil && ctx.Err() == nil {
			p.Logger.Error("names that were left long ago could not be forgotten", zap.Error(err))
		}
		if err != nil || removed < session.SweepChunk {
			return
		}
	}
}

// A HashedName is a name that was left, as our own export has it.
type HashedName struct {
	Hash store.NameHash
	Left store.LeftName
}

// TakeLeftNames takes names that were left in, and returns how many were not there. They
// mean something where the secret is that of the realm that they come from.
func (i *Import) TakeLeftNames(ctx context.Context, list []HashedName) (taken int, err error) {
	latest := i.a.Time().Add(nameReserved)
	err = i.do(ctx, func(tx store.Tx, write bool) error {
		taken = 0
		for _, name := range list {
			_, err := tx.LeftName(name.Hash)
			if err == nil {
				continue
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if name.Left.Until.After(latest) { // no name is kept for longer
				name.Left.Until = latest
			}
			if taken++; write {
				if err := tx.PutLeftName(name.Hash, name.Left); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return taken, err
}
