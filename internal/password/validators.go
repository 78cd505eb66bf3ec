// validators.go: which passwords are refused, and with what code.

package password

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Codes of a Failure.
const (
	CodeTooShort        = "password_too_short" // parameter "min": the least length
	CodeEntirelyNumeric = "password_entirely_numeric"
	CodeTooCommon       = "password_too_common"
	CodeTooSimilar      = "password_too_similar"
)

// Failure is one reason why a password is refused: a code that does not change
// between versions, and the values its message needs, nil where there are none.
type Failure struct {
	Code   string
	Params map[string]any
}

// Validators says which passwords are refused. The zero value refuses none.
type Validators struct {
	// MinLength is the least length in Unicode code points, as NIST SP 800-63B
	// counts. 0 allows any. The greatest length, MaxLength, is not checked
	// here: it holds whatever the settings.
	MinLength int
	// Numeric refuses passwords of digits only.
	Numeric bool
	// Common refuses the common passwords of COMMON.md.
	Common bool
	// Similar refuses passwords much like one of the user's own values.
	Similar bool
}

// Validate returns every reason to refuse password, in a fixed order, or nil. It
// judges the normal form, which is what is hashed.
// userValues are the user's own field values, such as username, e-mail address
// and names; empty ones count for nothing. The work is linear in the length of
// all that is given. Safe for concurrent use. The first use with Common on
// loads the list.
func (v Validators) Validate(password string, userValues []string) []Failure {
	password = Normal(password)
	var failures []Failure
	if utf8.RuneCountInString(password) < v.MinLength {
		failures = append(failures, Failure{CodeTooShort, map[string]any{"min": v.MinLength}})
	}
	if v.Numeric && entirelyNumeric(password) {
		failures = append(failures, Failure{Code: CodeEntirelyNumeric})
	}
	if v.Common && isCommon(password) {
		failures = append(failures, Failure{Code: CodeTooCommon})
	}
	if v.Similar && (Context{UserValues: userValues}).resembles(password) {
		failures = append(failures, Failure{Code: CodeTooSimilar})
	}
	return failures
}

// entirelyNumeric counts the digits of every script.
func entirelyNumeric(password string) bool {
	return password != "" && !strings.ContainsFunc(password, func(r rune) bool { return !unicode.IsDigit(r) })
}
