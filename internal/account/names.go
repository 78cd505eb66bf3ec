// names.go: what people may choose as the name by which they sign in, and what an
// account may do whose name another answers to. The rules of choice are for sign-up
// and the profile: a name that is stored stays good, and an owner may give away what
// nobody can choose. A name that its account has left is nobody's for a while: an app
// behind the guard that knows people by their names would give its rights to the next
// who takes it. And so is an address that its account has left, at the end of the file.

package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
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
		return field.TextOf(f.Get(u)) != "" && !errs.Has(f.Name) && (before == nil || field.TextOf(f.Get(before)) != field.TextOf(f.Get(u)))
	}
	if f := a.Policy.Fields.ByName[field.Username]; changed(f) {
		switch {
		case names.BadStart(u.Username):
			errs.AddInvalid(f.Name, "invalid.username_start")
		case a.ReservedName(u.Username):
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

// ReservedName reports whether a username is kept back: by the built-in list, by
// the owner's, or because it can be read as an account's id.
func (a *Accounts) ReservedName(username string) bool {
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
	if IsFurther(u, strings.TrimSpace(name)) {
		return false
	}
	confirmed := u.EmailVerified || !a.Policy.Register.Verification
	return !confirmed || field.EmailKey(strings.TrimSpace(name)) != field.EmailKey(u.Email)
}

// NewLoginClash refuses a value of a login field that is another account's value of
// another login field, in any configuration that runs: whoever took somebody's
// address as his username would be found instead of him. Values that the account
// has in the store already are left alone: a field may have become a login field
// since, and every act would fail that has nothing to do with it.
func (a *Accounts) NewLoginClash(tx store.Tx, before, u *store.User) error {
	var errs refusal.FieldErrors
	for _, login := range *a.KeyIndex.Logins.Load() {
		for _, f := range login {
			if text := field.TextOf(f.Get(u)); text != "" && !field.HeldBack(u, f) && isNew(f, before, u) {
				if err := clashOf(tx, login, f, text, u, &errs); err != nil {
					return err
				}
			}
			if f.Name != field.Email {
				continue
			}
			for _, email := range u.FurtherEmails {
				if before != nil && ownEmail(before, email) != "" {
					continue
				}
				if err := clashOf(tx, login, f, email, u, &errs); err != nil {
					return err
				}
			}
		}
	}
	return errs.Err()
}

// clashOf adds that a value of a login field is another account's value of another one.
func clashOf(tx store.Tx, login []*field.Field, f *field.Field, text string, u *store.User, errs *refusal.FieldErrors) error {
	for _, other := range login {
		if other == f || errs.Has(f.Name) {
			continue
		}
		holder, err := tx.UserByKey(other.Keyspace(), other.KeyOf(text))
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case holder.ID != u.ID && !field.HeldBack(holder, other):
			errs.Add(f.Name, refusal.CodeUnique)
		}
	}
	return nil
}

const (
	// NameReserved is how long a left name is nobody's but its last holder's.
	NameReserved = 90 * 24 * time.Hour
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

// Ahead is what the act that makes an account asks for.
func (a *Accounts) Ahead(u *store.User) *store.Ahead {
	ahead := &store.Ahead{Users: []uuid.UUID{u.ID}, Values: []string{waitingClockValue}}
	for _, f := range a.Policy.Fields.Unique { // what one field has is looked for in the others, too
		for _, other := range a.Policy.Fields.Unique {
			ahead.Keys = append(ahead.Keys, store.Key{Field: other.Keyspace(), Value: f.Key(u)})
		}
		if f.Name == field.Email {
			ahead.Keys = append(ahead.Keys, store.Key{Field: field.FormerEmail, Value: f.Key(u)})
		}
	}
	if u.Username != "" {
		ahead.LeftNames = a.NameKeys.NameHashes(field.UniqueKey(u.Username))
	}
	return ahead
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
	u.NamesLeft = slices.DeleteFunc(u.NamesLeft, func(at time.Time) bool { return !now.Before(at.Add(NameReserved)) })
	if len(u.NamesLeft) >= maxLeftNames {
		wait := slices.MinFunc(u.NamesLeft, time.Time.Compare).Add(NameReserved).Sub(now)
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
	return t.PutLeftName(a.NameKeys.NameHashes(field.UniqueKey(name))[0], store.LeftName{User: u.ID, Until: a.Time().Add(NameReserved)})
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

// emailTaken reports whether an address of an account was another's until a
// short while ago, so that it can't have it. Who has it keeps it: a reservation
// that was over and is not any more, for the clock was set back, comes too late.
func (a *Accounts) emailTaken(tx store.Tx, u *store.User, email string) (bool, error) {
	if email == "" || u.EmailPending {
		return false, nil
	}
	holder, err := a.FormerHolder(tx, email)
	if errors.Is(err, store.ErrNotFound) || err == nil && holder.ID == u.ID {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	owner, err := tx.UserByKey(field.Email, field.EmailKey(email))
	if err == nil && owner.ID == u.ID {
		return false, nil
	}
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return true, err
}

// release ends other accounts' reservations of the addresses that u has now.
func (a *Accounts) release(t *Txn, u *store.User) error {
	if u.Email != "" && !u.EmailPending {
		if err := a.releaseOne(t, u, u.Email); err != nil {
			return err
		}
	}
	for _, email := range u.FurtherEmails {
		if err := a.releaseOne(t, u, email); err != nil {
			return err
		}
	}
	return nil
}

func (a *Accounts) releaseOne(t *Txn, u *store.User, email string) error {
	key := field.EmailKey(email)
	other, err := t.UserByKey(field.FormerEmail, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && other.ID == u.ID {
		return nil
	}
	if err != nil {
		return err
	}
	other.Former = slices.DeleteFunc(other.Former, func(f store.FormerEmail) bool { return field.EmailKey(f.Email) == key })
	return a.putReserved(t, other)
}

// putReserved writes another account whose reservations alone have changed.
func (a *Accounts) putReserved(t *Txn, other *store.User) error {
	theirs, err := a.reserve(t, other)
	if err != nil {
		return err
	}
	return t.PutUser(other, append(a.KeyIndex.KeysOf(other), theirs...))
}

// reserve returns the keys that keep an account's former addresses for it. What
// is over is forgotten, in this account and in another that had the key.
func (a *Accounts) reserve(t *Txn, u *store.User) ([]store.Key, error) {
	u.Former = slices.DeleteFunc(u.Former, func(f store.FormerEmail) bool { return !a.Now().Before(f.Until) })
	latest := a.Time().Add(UndoReserved)
	for i := range u.Former {
		if u.Former[i].Until.After(latest) { // made under a clock that was ahead
			u.Former[i].Until = latest
		}
	}
	keys := make([]store.Key, len(u.Former))
	for i, f := range u.Former {
		keys[i] = store.Key{Field: field.FormerEmail, Value: field.EmailKey(f.Email)}
		other, err := t.UserByKey(field.FormerEmail, keys[i].Value)
		if errors.Is(err, store.ErrNotFound) || err == nil && other.ID == u.ID {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := a.putReserved(t, other); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
