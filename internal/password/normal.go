// normal.go: the form in which a password is hashed, so that it is the same
// password on a keyboard that writes its letters otherwise.

package password

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// Normal is a password as it is hashed and judged: the OpaqueString of RFC 8265
// (every space is U+0020, letters and their marks in NFC). What that refuses,
// such as control characters or code points that Unicode has not assigned, and
// what would be longer than MaxLength then, stays the bytes that came.
func Normal(password string) string {
	plain := !strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r > '~' })
	if plain || len(password) > MaxLength || !utf8.ValidString(password) { // precis would replace bytes
		return password
	}
	normal, err := precis.OpaqueString.String(password)
	if err != nil || len(normal) > MaxLength {
		return password
	}
	return normal
}

// candidates are what a password is compared as: its normal form and, where that
// differs, the bytes as they came, of which an older version or the system that a
// hash is imported from has made it.
func candidates(password string) []string {
	if normal := Normal(password); normal != password {
		return []string{normal, password}
	}
	return []string{password}
}
