// account_names.go: what people may choose as the name by which they sign in. The
// rules are for sign-up and the profile: a name that is stored stays good, and an
// owner may give away what nobody can choose.

package registration

import (
	"github.com/seed-928992b0/caddy-registration/internal/names"
)

// choose refuses the names that an account chooses and nobody may have. before is
// the account as it was, nil at sign-up: what stays as it is was allowed once.
func (a *Accounts) choose(before, u *User, errs *fieldErrors) {
	changed := func(f *field) bool {
		return textOf(f.get(u)) != "" && !hasField(*errs, f.name) && (before == nil || textOf(f.get(before)) != textOf(f.get(u)))
	}
	if f := a.settings.fields.byName[fieldUsername]; changed(f) {
		switch {
		case names.BadStart(u.Username):
			errs.addInvalid(f.name, "invalid.username_start")
		case a.reservedName(u.Username):
			errs.addInvalid(f.name, "invalid.username_reserved")
		case a.foreignAddress(u, u.Username):
			errs.addInvalid(f.name, "invalid.foreign_address")
		}
	}
	for _, f := range a.besideEmail() {
		if changed(f) && a.foreignAddress(u, textOf(f.get(u))) {
			errs.addInvalid(f.name, "invalid.foreign_address")
		}
	}
}

// reservedName reports whether a username is kept back: by the built-in list, by
// the owner's, or because it can be read as an account's id.
func (a *Accounts) reservedName(username string) bool {
	key := uniqueKey(username)
	return names.IsUUID(key) || names.Reserved(key) || a.settings.reserved[key]
}

// foreignAddress reports whether a name is an address other than the account's own,
// confirmed one. Whether it is anybody's plays no part: "taken" would tell. Where
// addresses are not confirmed at sign-up, the account's own is as good as it gets.
func (a *Accounts) foreignAddress(u *User, name string) bool {
	if _, ok := parseEmail(name); !ok {
		return false
	}
	confirmed := u.EmailVerified || !*a.settings.Register.Verification
	return !confirmed || emailKey(name) != emailKey(u.Email)
}
