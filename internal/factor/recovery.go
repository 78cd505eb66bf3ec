// recovery.go: the codes that stand in for a lost factor.

package factor

import (
	"crypto/rand"
	"strings"
)

// RecoveryCodes is how many an account has.
const RecoveryCodes = 10

// crockford are the characters of a code: no I, L, O and U, so that none is mistaken.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// A code has recoveryGroups groups of recoveryGroup characters of 5 bits: 60 bits.
const recoveryGroups, recoveryGroup = 3, 4

// NewRecoveryCodes returns fresh codes, as people write them down.
func NewRecoveryCodes() []string {
	codes := make([]string, RecoveryCodes)
	for i := range codes {
		var raw [recoveryGroups * recoveryGroup]byte
		_, _ = rand.Read(raw[:]) // never fails
		var b strings.Builder
		for j, r := range raw {
			if j > 0 && j%recoveryGroup == 0 {
				b.WriteByte('-')
			}
			b.WriteByte(crockford[r%32]) // 256 is a multiple of 32
		}
		codes[i] = b.String()
	}
	return codes
}

// misread are the characters that people take others for.
var misread = strings.NewReplacer("I", "1", "L", "1", "O", "0")

// NormalCode is a code without what people add to it or take it for; ok is false for
// what can't be one.
func NormalCode(code string) (normal string, ok bool) {
	if len(code) > 2*maxCode {
		return "", false
	}
	code = misread.Replace(strings.ToUpper(strings.Join(strings.FieldsFunc(code, func(r rune) bool {
		return r == ' ' || r == '-' || r == '\u00a0' || r == '\u2011' || r == '\u2013'
	}), "")))
	if len(code) != recoveryGroups*recoveryGroup {
		return "", false
	}
	for _, r := range code {
		if !strings.ContainsRune(crockford, r) {
			return "", false
		}
	}
	return code, true
}
