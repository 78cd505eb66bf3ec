// set.go: all fields of a realm's accounts, built once when a configuration
// loads: the built-in ones and those that the owner added, by name and by use.

package field

import (
	"slices"

	"github.com/seed-928992b0/caddy-registration/store"
)

// A Set is the fields of a realm. It never changes once built, so it is
// read without locks.
type Set struct {
	// All fields in the order in which they are shown: built-in, then as configured.
	All    []*Field
	ByName map[string]*Field
	// Public are those that an account's owner sees, in the same order.
	Public    []*Field
	PublicSet map[string]*Field
	// Unique are those that have keys; login those by which people sign in, in
	// the order in which they are tried.
	Unique, Login []*Field
	// Register and profile are what sign-up and the profile take; the maps have
	// what must be there.
	Register, Profile                 []*Field
	RegisterRequired, ProfileRequired map[string]bool
	// Language is the built-in field of that name, which an added one may have the name of; nil:
	// it is hidden.
	Language *Field
	// Asked are those of Register for which the page of the sign-up has an input.
	Asked []*Field
}

// Use says which fields of a realm are for what, by their names.
type Use struct {
	// Public are shown to an account's owner unless they are hidden, as is the
	// e-mail address; editable, those that
	// he changes; login, those by which he signs in.
	Public, Hidden, Editable, Login []string
	// Asked are what the page of the sign-up asks for, in this order; nil: all but the names
	// of a person, and his language, which is the page's.
	Asked []string
	// Email: a sign-up takes an address whoever sees it, to confirm the account by it.
	Email bool
}

// NewSet sorts all fields, built-in ones too, by what they are used for. A name
// that is no field's is left out.
func NewSet(all []*Field, use Use) *Set {
	set := &Set{
		All: all, ByName: make(map[string]*Field, len(all)), PublicSet: map[string]*Field{},
		RegisterRequired: map[string]bool{}, ProfileRequired: map[string]bool{},
	}
	own := *language // what is spoken is this realm's
	if !slices.Contains(use.Hidden, Language) {
		set.Language = &own
	}
	for i, f := range all {
		if f == language {
			f = &own
			all[i] = f
		}
		set.ByName[f.Name] = f
		if f.Unique {
			set.Unique = append(set.Unique, f)
		}
		// The address is its owner's business, whatever else he is shown.
		if (slices.Contains(use.Public, f.Name) || f.Name == Email) && !slices.Contains(use.Hidden, f.Name) && !f.Hidden {
			set.Public = append(set.Public, f)
			set.PublicSet[f.Name] = f
		}
	}
	for _, name := range use.Login {
		if f, ok := set.ByName[name]; ok && f.Unique {
			set.Login = append(set.Login, f)
		}
	}
	set.sortByForm(use)
	set.Asked = set.asked(use.Asked)
	return set
}

// sortByForm says which fields a sign-up and a profile take, and which they need.
func (set *Set) sortByForm(use Use) {
	for _, f := range set.All {
		login := slices.Contains(set.Login, f)
		required := f.Required || login && (f.Name == Username || len(set.Login) == 1)
		if f.ReadOnly {
			continue
		}
		if set.IsPublic(f.Name) || login || f.Name == Email && use.Email || f == set.Language {
			set.Register = append(set.Register, f)
			set.RegisterRequired[f.Name] = required
		}
		if set.IsPublic(f.Name) && slices.Contains(use.Editable, f.Name) || f == set.Language {
			set.Profile = append(set.Profile, f)
			set.ProfileRequired[f.Name] = required
		}
	}
}

// asked are the inputs of the page of the sign-up.
func (set *Set) asked(names []string) (asked []*Field) {
	if names == nil {
		return slices.DeleteFunc(slices.Clone(set.Register), func(f *Field) bool { return !f.Extra && ownersOwn[f.Name] })
	}
	for _, name := range names {
		if f, ok := set.ByName[name]; ok && slices.Contains(set.Register, f) {
			asked = append(asked, f)
		}
	}
	return asked
}

// IsPublic reports whether a field is shown to the account's owner.
func (set *Set) IsPublic(name string) bool {
	_, ok := set.PublicSet[name]
	return ok
}

// IsLogin reports whether people sign in by a field.
func (set *Set) IsLogin(name string) bool {
	return slices.ContainsFunc(set.Login, func(f *Field) bool { return f.Name == name })
}

// Names are those of all fields, in their order.
func (set *Set) Names() []string {
	names := make([]string, len(set.All))
	for i, f := range set.All {
		names[i] = f.Name
	}
	return names
}

// UniqueNames are those of the fields whose values no two accounts share.
func (set *Set) UniqueNames() []string {
	names := make([]string, len(set.Unique))
	for i, f := range set.Unique {
		names[i] = f.Name
	}
	return names
}

// ExtraValues are the added fields of an account by name. A null is the empty
// text: templates would write it as <no value>.
func (set *Set) ExtraValues(u *store.User) map[string]any {
	values := map[string]any{}
	for _, f := range set.All {
		if !f.Extra {
			continue
		}
		if values[f.Name] = f.Get(u); values[f.Name] == nil {
			values[f.Name] = ""
		}
	}
	return values
}

// Guarded reports whether a field changes only with the password or soon after
// the sign-in.
func (set *Set) Guarded(f *Field) bool { return f.Name == Email || set.IsLogin(f.Name) }

// Shown is one field of an account as its owner sees it.
type Shown struct {
	Name  string
	Value any
}
