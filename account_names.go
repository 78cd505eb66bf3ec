// account_names.go: what people may choose as the name by which they sign in. The
// rules are for sign-up and the profile: a name that is stored stays good, and an
// owner may give away what nobody can choose.

package registration

import (
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/names"
)

// choose refuses the names that an account chooses and nobody may have. before is
// the account as it was, nil at sign-up: what stays as it is was allowed once.
func (a *Accounts) choose(before, u *User, errs *fieldErrors) {
	changed := func(f *field) bool {
		return textOf(f.get(u)) != "" && !hasField(*errs, f.name) && (before == nil || textOf(f.get(before)) != textOf(f.get(u)))
	}
	if f := a.policy.Fields.byName[fieldUsername]; changed(f) {
		switch {
		case names.BadStart(u.Username):
			errs.addInvalid(f.name, "invalid.username_start")
		case a.reservedName(u.Username):
			errs.addInvalid(f.name, "invalid.username_reserved")
		case a.foreignAddress(u, u.Username):
			errs.addInvalid(f.name, "invalid.foreign_address")
		}
	}
	for _, f := range a.comparedWithEmail() {
		if changed(f) && a.foreignAddress(u, textOf(f.get(u))) {
			errs.addInvalid(f.name, "invalid.foreign_address")
		}
	}
}

// comparedWithEmail returns the login fields whose values putUser compares with
// addresses: those of every configuration that runs, as newLoginClash does.
func (a *Accounts) comparedWithEmail() []*field {
	fields := a.besideEmail()
	for _, login := range *a.uniques.logins.Load() {
		if !slices.ContainsFunc(login, func(f *field) bool { return f.name == fieldEmail }) {
			continue
		}
		for _, f := range login {
			if f.name != fieldEmail && !slices.ContainsFunc(fields, func(have *field) bool { return have.name == f.name }) {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// reservedName reports whether a username is kept back: by the built-in list, by
// the owner's, or because it can be read as an account's id.
func (a *Accounts) reservedName(username string) bool {
	key := uniqueKey(username)
	return names.IsUUID(key) || names.Reserved(key) || a.policy.Reserved[key]
}

// foreignAddress reports whether a name is an address other than the account's own,
// confirmed one. Whether it is anybody's plays no part: "taken" would tell. Where
// addresses are not confirmed at sign-up, the account's own is as good as it gets.
func (a *Accounts) foreignAddress(u *User, name string) bool {
	if !meansAddress(name) {
		return false
	}
	confirmed := u.EmailVerified || !a.policy.Register.Verification
	return !confirmed || emailKey(strings.TrimSpace(name)) != emailKey(u.Email)
}
