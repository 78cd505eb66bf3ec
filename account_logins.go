// account_logins.go: what an account whose sign-in name another answers to may do.

package registration

import (
	"errors"
	"slices"
)

// newLoginClash refuses a value of a login field that is another account's value of
// another login field, in any configuration that runs: whoever took somebody's
// address as his username would be found instead of him. Values that the account
// has in the store already are left alone: a field may have become a login field
// since, and every act would fail that has nothing to do with it.
func (a *Accounts) newLoginClash(tx Tx, before, u *User) error {
	var errs fieldErrors
	for _, login := range *a.uniques.logins.Load() {
		for _, f := range login {
			text := textOf(f.get(u))
			if text == "" || heldBack(u, f) || !isNew(f, before, u) || hasField(errs, f.name) {
				continue
			}
			for _, other := range login {
				if other == f {
					continue
				}
				holder, err := tx.UserByKey(other.keyspace(), other.keyOf(text))
				switch {
				case errors.Is(err, ErrNotFound):
				case err != nil:
					return err
				case holder.ID != u.ID && !heldBack(holder, other) && !hasField(errs, f.name):
					errs.add(f.name, CodeUnique)
				}
			}
		}
	}
	return errs.err()
}

// staysClashing adds an error for every login field that an input keeps at a value
// to which another account answers: who saves it has to choose another.
func (a *Accounts) staysClashing(tx Tx, in Input, u *User, errs *fieldErrors) error {
	clashes, err := loginClashes(tx, a.policy.Fields.login, u)
	for _, c := range clashes {
		if in[c.field.name].kind != valueAbsent && !hasField(*errs, c.field.name) {
			errs.add(c.field.name, CodeUnique)
		}
	}
	return err
}

func hasField(errs fieldErrors, name string) bool {
	return slices.ContainsFunc(errs, func(e FieldError) bool { return e.Field == name })
}
