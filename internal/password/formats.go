// formats.go: the names of the formats that a stored hash can have.

package password

import "strings"

// Formats are the names of the formats that Verify knows.
func Formats() []string { return []string{"argon2id", "bcrypt", "pbkdf2_sha256"} }

// FormatOf is the name of the format of a stored hash, "unknown" for one that Verify
// doesn't know, empty for none. It looks at its beginning alone.
func FormatOf(encoded string) string {
	switch {
	case encoded == "":
		return ""
	case strings.HasPrefix(encoded, argon2idPrefix):
		return "argon2id"
	case isBcrypt(encoded):
		return "bcrypt"
	case strings.HasPrefix(encoded, djangoPrefix):
		return "pbkdf2_sha256"
	}
	return "unknown"
}
