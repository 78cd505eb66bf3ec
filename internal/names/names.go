// Package names is which names nobody may choose for his account: those that mean
// something to a file system, a shell, a mail server or a program, and those that
// people would take for the site's own.
package names

import (
	"strings"

	"github.com/google/uuid"
)

// BadStart reports whether a name begins with a dot or a hyphen: a folder of that
// name would be hidden or be the one above, an argument would be an option. A name
// of dots alone is one of them.
func BadStart(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-")
}

// IsUUID reports whether a name can be read as a UUID, which an account's id is.
func IsUUID(name string) bool {
	_, err := uuid.Parse(name)
	return err == nil
}

// reserved are the names of RFC 2142 and of those who run a machine, and the words
// by which programs say that there is nobody.
var reserved = set(`
	abuse hostmaster mailer-daemon noc postmaster security webmaster
	admin administrator admins daemon moderator operator owner root staff sudo superuser sysadmin system toor www-data
	anonymous anybody anyone default everybody everyone false guest me myself nan nil nobody none null
	self somebody someone true undefined unknown void
`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// Reserved reports whether a name, case-folded and in normal form NFKC, is on the
// built-in list.
func Reserved(folded string) bool { return reserved[folded] }
