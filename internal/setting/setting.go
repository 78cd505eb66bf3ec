// setting.go: what is wrong with a setting.

package setting

import (
	"fmt"
)

// A Error is one wrong setting: which, what is wrong, and the remedy.
type Error struct {
	// Setting is the path of the setting, such as `register.verification_url`.
	Setting string
	// Problem says what is wrong and how to fix it.
	Problem string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Setting, e.Problem) }

// Errorf is an Error about a setting, whose problem is worded as by fmt.Sprintf.
func Errorf(setting, format string, args ...any) *Error {
	return &Error{Setting: setting, Problem: fmt.Sprintf(format, args...)}
}
