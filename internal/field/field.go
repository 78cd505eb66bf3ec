// field.go: the fields of an account: their names, order, constraints, and how
// they are read, checked and written. Uniqueness keys are made here too.

package field

import (
	"encoding/hex"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The names of the built-in fields.
const (
	ID         = "id"
	Username   = "username"
	Email      = "email"
	FirstName  = "first_name"
	LastName   = "last_name"
	IsActive   = "is_active"
	IsStaff    = "is_staff"
	Groups     = "groups"
	DateJoined = "date_joined"
	LastLogin  = "last_login"
	// Language is how its owner is written to (language.go).
	Language = "language"
)

// A Field describes one field of an account. It never changes once a
// configuration is loaded.
type Field struct {
	Name  string
	Kind  Kind
	Label string // "": the catalogue has it
	// Extra: it was added by the owner and is kept in User.Extra.
	Extra bool
	// Unique fields have a key and can be login fields.
	Unique bool
	// Required: sign-up and a full update of the profile need it (login fields
	// besides).
	Required bool
	// Hidden: it is shown to nobody, whatever the lists say.
	Hidden bool
	// ReadOnly fields are ignored in every input: an account's owner never
	// writes them, however the lists are configured.
	ReadOnly bool
	// Once: an account's owner can't change it any more once it has a value (Settled).
	Once bool
	// MinLength and MaxLength are in characters; of textual kinds alone.
	MinLength, MaxLength int
	// Min and max bound an ordered kind: int64, float64, a date's text; nil: none.
	Min, Max any
	// Pattern is what the whole text must match, matches its compiled form.
	Pattern string
	matches *regexp.Regexp
	// Choices are the values of a choice, in the order in which they are shown; Called is what
	// people call them, nil: what they are.
	Choices []string
	Called  map[string]string
	// Fallback is what an added field reads as while unset; nil: the kind's own.
	Fallback any
	// Get returns the value as it stands in JSON.
	Get func(*store.User) any
	// Parse brings a trimmed text of a built-in field into its canonical form or
	// refuses it; set stores it.
	Parse func(string) (string, bool)
	set   func(*store.User, string)
}

// tooLong reports whether a trimmed text is longer than the field takes. It comes
// before everything that costs more than a look at each byte: normal forms grow
// a text up to 18 times, and the ASCII form of a domain takes the square of its
// length.
func (f *Field) tooLong(text string) bool {
	return len(text) > f.MaxLength*utf8.UTFMax || f.Kind == KindEmail && len(text) > MaxEmailBytes || utf8.RuneCountInString(text) > f.MaxLength
}

// MaxEmailBytes bounds an address (RFC 5321, 4.5.3.1.3), as it is typed and as it
// is kept.
const MaxEmailBytes = 254

// maxUsername is in characters.
const maxUsername = 150

// Builtins in the order in which they are shown.
var Builtins = []*Field{
	{Name: ID, Kind: KindUUID, ReadOnly: true, Get: func(u *store.User) any { return u.ID.String() }},
	{
		Name: Username, Kind: KindText, Unique: true, MaxLength: maxUsername, Parse: ParseUsername,
		Get: func(u *store.User) any { return u.Username }, set: func(u *store.User, v string) { u.Username = v },
	},
	{
		Name: Email, Kind: KindEmail, Unique: true, MaxLength: MaxEmailBytes, Parse: parseEmail,
		Get: func(u *store.User) any { return u.Email }, set: func(u *store.User, v string) { u.Email = v },
	},
	{
		Name: FirstName, Kind: KindText, MaxLength: 150, Parse: parseText,
		Get: func(u *store.User) any { return u.FirstName }, set: func(u *store.User, v string) { u.FirstName = v },
	},
	{
		Name: LastName, Kind: KindText, MaxLength: 150, Parse: parseText,
		Get: func(u *store.User) any { return u.LastName }, set: func(u *store.User, v string) { u.LastName = v },
	},
	{Name: IsActive, Kind: KindBoolean, ReadOnly: true, Get: func(u *store.User) any { return u.IsActive }},
	{Name: IsStaff, Kind: KindBoolean, ReadOnly: true, Get: func(u *store.User) any { return u.IsStaff }},
	{Name: Groups, Kind: KindList, ReadOnly: true, Get: func(u *store.User) any { return append([]string{}, u.Groups...) }},
	{Name: DateJoined, Kind: KindTime, ReadOnly: true, Get: func(u *store.User) any { return TimeValue(u.DateJoined) }},
	{Name: LastLogin, Kind: KindTime, ReadOnly: true, Get: func(u *store.User) any { return TimeValue(u.LastLogin) }},
	language,
}

// Builtin returns a built-in field by name.
func Builtin(name string) (*Field, bool) {
	for _, f := range Builtins {
		if f.Name == name {
			return f, true
		}
	}
	return nil, false
}

// TimeValue is RFC 3339 in UTC, or null for never.
func TimeValue(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// ParseUsername accepts letters, digits and combining marks of any script and
// @ . + - _, in normal form NFKC, so that look-alikes by encoding are one name.
// Letters and marks that are never seen (Hangul fillers, variation selectors)
// are refused: they would let two names look alike to the last pixel. So are
// names that mix scripts, as a Latin one with one Cyrillic letter.
func ParseUsername(v string) (string, bool) {
	if len(v) > maxUsername*utf8.UTFMax {
		return "", false
	}
	v = norm.NFKC.String(v)
	for i, r := range v {
		switch {
		case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return "", false
		case unicode.IsLetter(r), unicode.IsDigit(r), strings.ContainsRune("@.+-_", r):
		case unicode.IsMark(r) && i > 0: // vowel signs: Hindi or Thai have no names without
		default:
			return "", false
		}
	}
	if mixesScripts(v) {
		return "", false
	}
	return v, true
}

// scriptMixes are the scripts that people do write together: Japanese, Chinese
// and Korean names, each with Latin ("highly restrictive", UTS 39, 5.2).
var scriptMixes = [][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Latin, unicode.Han, unicode.Bopomofo},
	{unicode.Latin, unicode.Han, unicode.Hangul},
}

// mixesScripts reports whether a name has letters of scripts that are not
// written together. A whole name of look-alikes in one other script (Cyrillic
// "асе") passes: telling those apart takes tables that differ by font.
func mixesScripts(v string) bool {
	var first *unicode.RangeTable
	several := false
	for _, r := range v {
		if unicode.In(r, unicode.Common, unicode.Inherited) || first != nil && unicode.Is(first, r) {
			continue
		}
		if first != nil {
			several = true
			break
		}
		for _, table := range unicode.Scripts {
			if unicode.Is(table, r) {
				first = table
				break
			}
		}
	}
	if !several {
		return false
	}
	return !slices.ContainsFunc(scriptMixes, func(mix []*unicode.RangeTable) bool {
		return !strings.ContainsFunc(v, func(r rune) bool {
			return !unicode.In(r, unicode.Common, unicode.Inherited) && !unicode.In(r, mix...)
		})
	})
}

// parseText refuses control characters: they have no place in a name, and in a
// header or a log they do harm. So do what separates lines, and what turns the
// direction of the text that stands behind it (UAX 9, 2: embeddings, overrides,
// isolates); the marks of one place that Arabic and Hebrew are written with do not.
func parseText(v string) (string, bool) {
	return v, !strings.ContainsFunc(v, func(r rune) bool {
		return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}

// parseEmail accepts an RFC 5321 mailbox with a domain name (no address
// literal, no quoted or non-ASCII local part, which few servers deliver) and
// brings the domain into lower-case ASCII (RFC 5891).
func parseEmail(v string) (string, bool) {
	if len(v) > MaxEmailBytes {
		return "", false
	}
	at := strings.LastIndexByte(v, '@')
	if strings.ContainsRune(v, utf8.RuneError) { // what is not UTF-8 would become part of the domain
		return "", false
	}
	if at < 1 || at > 64 || strings.ContainsFunc(v[:at], func(r rune) bool { return r >= utf8.RuneSelf || unicode.IsControl(r) || unicode.IsSpace(r) || r == '"' }) {
		return "", false
	}
	domain, err := hostname.Domain(v[at+1:])
	if err != nil || !isMailDomain(domain) {
		return "", false
	}
	v = v[:at] + "@" + domain
	addr, err := mail.ParseAddress(v)
	return v, err == nil && addr.Address == v && len(v) <= MaxEmailBytes
}

// isMailDomain reports whether a lower-case text is a host name (RFC 1123, 2.1) of
// several labels, or localhost.
func isMailDomain(domain string) bool {
	if len(domain) > 253 || domain != "localhost" && !strings.Contains(domain, ".") {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) {
			return false
		}
	}
	return true
}

// MaxKeyText bounds what is normalised to a key, in bytes: what a unique field
// can hold at most.
const MaxKeyText = maxUniqueLength * utf8.UTFMax

// UniqueKey is the form in which a value is compared: case-folded NFKC. A text that
// is too long for any unique field is compared as it stands, by its hash.
func UniqueKey(v string) string {
	if len(v) > MaxKeyText {
		return "\x00" + hex.EncodeToString(sign.StateOf("key", v))
	}
	return store.Fold(v)
}

// EmailKey is the key of an address that someone typed, which may have an
// upper-case or Unicode domain.
func EmailKey(v string) string {
	if parsed, ok := parseEmail(v); ok {
		v = parsed
	}
	return UniqueKey(v)
}
