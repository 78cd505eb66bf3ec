// language.go: the language of an account: a built-in field whose values are the languages
// that the realm speaks. It is nobody's business but its owner's: answers have it where
// public_fields lists it, and he sets it all the same, unless hidden_fields does.

package field

import "github.com/seed-928992b0/caddy-registration/store"

// maxLanguage bounds the tag of a language, in bytes (RFC 5646, 4.4.1).
const maxLanguage = 35

// language is Language before it is known what is spoken.
var language = &Field{
	Name: Language, Kind: KindChoice, MaxLength: maxLanguage, Parse: parseText,
	Get: func(u *store.User) any {
		if u.Language == "" {
			return nil
		}
		return u.Language
	},
	set: func(u *store.User, v string) { u.Language = v },
}

// Speaks makes the languages of a realm the values of Language, each with what those who
// speak it call it. spoken is the one of these that who reads a tag reads; "": none.
func (set *Set) Speaks(tags []string, called map[string]string, spoken func(tag string) string) {
	for _, f := range []*Field{set.Language, set.ByName[Language]} {
		if f == nil || f.Extra {
			continue
		}
		f.Choices, f.Called = tags, called
		f.Parse = func(v string) (string, bool) {
			tag := spoken(v)
			return tag, tag != ""
		}
	}
}

// ownersOwn are the built-in fields besides what one signs in with to which an owner gives
// any value.
var ownersOwn = map[string]bool{FirstName: true, LastName: true, Language: true}

// OwnerSets reports whether an owner sets a field as he likes: one that he has added, or a
// built-in one that nothing hangs on.
func (f *Field) OwnerSets() bool { return f.Extra || ownersOwn[f.Name] }
