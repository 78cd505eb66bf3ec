// formats.go: which formats a stored hash can have, how they are told apart by their
// beginning, and what other systems write around them.

package password

import (
	"fmt"
	"strings"
)

// A format is one way in which hashes are stored.
type format struct {
	name string
	// begins are what its hashes begin with, one of them.
	begins []string
	parse  func(encoded string) (stored, error)
	// read is in place of parse for a hash that is a digest, which can be wrapped.
	read digestReader
	// fast says that all its hashes are too quick to be kept as they are (see Fast).
	fast bool
}

// digests are the formats that can be wrapped.
var digests = []format{
	{name: "pbkdf2_sha256", begins: []string{"pbkdf2_sha256$", "$pbkdf2-sha256$"}, read: readPBKDF2},
	{name: "pbkdf2_sha512", begins: []string{"$pbkdf2-sha512$"}, read: readPBKDF2},
	{name: "pbkdf2_sha1", begins: []string{"pbkdf2_sha1$", "$pbkdf2$"}, read: readPBKDF2},
	{name: "sha256crypt", begins: []string{"$5$"}, read: readSHACrypt},
	{name: "sha512crypt", begins: []string{"$6$"}, read: readSHACrypt},
	{name: "apr1", begins: []string{"$apr1$"}, read: readMD5Crypt, fast: true},
	{name: "md5crypt", begins: []string{"$1$"}, read: readMD5Crypt, fast: true},
	{name: "phpass", begins: []string{"$P$", "$H$"}, read: readPHPass, fast: true},
	{name: "md5", begins: []string{"md5$", "{MD5}", "{SMD5}"}, read: readSalted, fast: true},
	{name: "sha1", begins: []string{"sha1$", "{SHA}", "{SSHA}"}, read: readSalted, fast: true},
	{name: "sha256", begins: []string{"{SHA256}", "{SSHA256}"}, read: readSalted, fast: true},
	{name: "sha512", begins: []string{"{SHA512}", "{SSHA512}"}, read: readSalted, fast: true},
}

// known are all formats that Verify reads, the most frequent first.
var known = append([]format{
	{name: "argon2id", begins: []string{argon2idPrefix}, parse: parseArgon2id},
	{name: "bcrypt", begins: []string{"$2a$", "$2b$", "$2y$"}, parse: parseBcrypt},
	{name: "argon2i", begins: []string{argon2iPrefix}, parse: parseArgon2id},
	{name: "bcrypt_sha256", begins: []string{"bcrypt_sha256$", bcryptSHA256Prefix}, parse: parseBcryptSHA256},
	{name: "wp_bcrypt", begins: []string{"$wp$"}, parse: parseWordPressBcrypt},
	{name: "scrypt", begins: []string{"scrypt$", "$scrypt$"}, parse: parseScrypt},
	{name: "fbscrypt", begins: []string{"$fbscrypt$"}, parse: parseFirebase},
	{name: "wrapped", begins: []string{wrappedPrefix}, parse: parseWrapped},
}, digests...)

// formatIn is the format of a hash in our spelling, or nil.
func formatIn(formats []format, encoded string) *format {
	for i, f := range formats {
		for _, beginning := range f.begins {
			if strings.HasPrefix(encoded, beginning) {
				return &formats[i]
			}
		}
	}
	return nil
}

// Formats are the names of the formats that a kept hash can have. Those that an import
// wraps are all "wrapped".
func Formats() []string {
	var names []string
	for _, f := range known {
		if !f.fast {
			names = append(names, f.name)
		}
	}
	return names
}

// FormatOf is the name of the format of a stored hash, "unknown" for one that Verify
// doesn't know, empty for none. It looks at its beginning alone.
func FormatOf(encoded string) string {
	if encoded == "" {
		return ""
	}
	if f := formatIn(known, Respell(encoded)); f != nil {
		return f.name
	}
	return "unknown"
}

// Respell is a hash without what some systems write around it: Django's names before
// Argon2 and bcrypt, LDAP's {CRYPT}, caddy-security's "bcrypt:10:". Bare MD5 in
// hexadecimal, as Django and WordPress once had it, gets its name. What is none of
// these stays as it is.
func Respell(encoded string) string {
	for _, around := range []struct{ before, next string }{
		{"argon2", "$argon2"}, {"bcrypt$", "$2"}, {"{CRYPT}", "$"}, {"{crypt}", "$"},
	} {
		if rest, ok := strings.CutPrefix(encoded, around.before); ok && strings.HasPrefix(rest, around.next) {
			return rest
		}
	}
	if rest, ok := strings.CutPrefix(encoded, "bcrypt:"); ok {
		if _, hash, ok := strings.Cut(rest, ":"); ok && strings.HasPrefix(hash, "$2") {
			return hash
		}
	}
	if len(encoded) == 32 && strings.Trim(encoded, "0123456789abcdef") == "" {
		return "md5$$" + encoded
	}
	return encoded
}

// parse reads a hash of any supported format. The prefix is looked at first, so
// that what is no hash at all is ErrFormat and not ErrCost, however long.
func parse(encoded string) (stored, error) {
	encoded = Respell(encoded)
	f := formatIn(known, encoded)
	if f == nil {
		return nil, fmt.Errorf("%w: it begins as none of the formats that are read", ErrFormat)
	}
	if len(encoded) > maxEncoded {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrCost, len(encoded), maxEncoded)
	}
	if f.parse != nil {
		return f.parse(encoded)
	}
	d, err := f.read(encoded, false)
	if err != nil {
		return nil, err
	}
	return d, nil
}
