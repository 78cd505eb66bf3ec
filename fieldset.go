// fieldset.go: all fields of a realm's accounts, built once when a configuration
// loads: the built-in ones and those that the owner added, by name and by use.

package registration

import (
	"slices"
)

// A fieldSet is the fields of a realm. It never changes once built, so it is
// read without locks.
type fieldSet struct {
	// all fields in the order in which they are shown: built-in, then as configured.
	all    []*field
	byName map[string]*field
	// public are those that an account's owner sees, in the same order.
	public    []*field
	publicSet map[string]*field
	// unique are those that have keys; login those by which people sign in, in
	// the order in which they are tried.
	unique, login []*field
	// register and profile are what sign-up and the profile take; the maps have
	// what must be there.
	register, profile                 []*field
	registerRequired, profileRequired map[string]bool
}

// fieldUse says which fields of a realm are for what, by their names.
type fieldUse struct {
	// public are shown to an account's owner unless they are hidden; editable, those that
	// he changes; login, those by which he signs in.
	public, hidden, editable, login []string
	// email: a sign-up takes an address whoever sees it, to confirm the account by it.
	email bool
}

func newFieldSet(all []*field, use fieldUse) *fieldSet {
	set := &fieldSet{
		all: all, byName: make(map[string]*field, len(all)), publicSet: map[string]*field{},
		registerRequired: map[string]bool{}, profileRequired: map[string]bool{},
	}
	for _, f := range all {
		set.byName[f.name] = f
		if f.unique {
			set.unique = append(set.unique, f)
		}
		if slices.Contains(use.public, f.name) && !slices.Contains(use.hidden, f.name) && !f.hidden {
			set.public = append(set.public, f)
			set.publicSet[f.name] = f
		}
	}
	for _, name := range use.login {
		if f, ok := set.byName[name]; ok && f.unique {
			set.login = append(set.login, f)
		}
	}
	for _, f := range all {
		login := slices.Contains(set.login, f)
		required := f.required || login && (f.name == fieldUsername || len(set.login) == 1)
		if f.readOnly {
			continue
		}
		if set.isPublic(f.name) || login || f.name == fieldEmail && use.email {
			set.register = append(set.register, f)
			set.registerRequired[f.name] = required
		}
		if set.isPublic(f.name) && slices.Contains(use.editable, f.name) {
			set.profile = append(set.profile, f)
			set.profileRequired[f.name] = required
		}
	}
	return set
}

// isPublic reports whether a field is shown to the account's owner.
func (set *fieldSet) isPublic(name string) bool {
	_, ok := set.publicSet[name]
	return ok
}

// isLogin reports whether people sign in by a field.
func (set *fieldSet) isLogin(name string) bool {
	return slices.ContainsFunc(set.login, func(f *field) bool { return f.name == name })
}

func (set *fieldSet) names() []string {
	names := make([]string, len(set.all))
	for i, f := range set.all {
		names[i] = f.name
	}
	return names
}

func (set *fieldSet) uniqueNames() []string {
	names := make([]string, len(set.unique))
	for i, f := range set.unique {
		names[i] = f.name
	}
	return names
}

// extraValues are the added fields of an account by name. A null is the empty
// text: templates would write it as <no value>.
func (set *fieldSet) extraValues(u *User) map[string]any {
	values := map[string]any{}
	for _, f := range set.all {
		if !f.extra {
			continue
		}
		if values[f.name] = f.get(u); values[f.name] == nil {
			values[f.name] = ""
		}
	}
	return values
}

// guarded reports whether a field changes only with the password or soon after
// the sign-in.
func (set *fieldSet) guarded(f *field) bool { return f.name == fieldEmail || set.isLogin(f.name) }

// Shown is one field of an account as its owner sees it.
type Shown struct {
	Name  string
	Value any
}
