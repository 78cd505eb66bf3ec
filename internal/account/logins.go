// logins.go: what an account whose sign-in name another answers to may do.

package account

import (
	"errors"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/store"
)

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
