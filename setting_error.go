// setting_error.go: what is wrong with a setting.

package registration

import (
	"fmt"
)

// A SettingError is one wrong setting: which, what is wrong, and the mend.
type SettingError struct {
	// Setting is the path of the setting, such as `register.verification_url`.
	Setting string
	// Problem says what is wrong and how to mend it.
	Problem string
}

// Error implements error.
func (e *SettingError) Error() string { return fmt.Sprintf("%s: %s", e.Setting, e.Problem) }

func settingErrorf(setting, format string, args ...any) *SettingError {
	return &SettingError{Setting: setting, Problem: fmt.Sprintf(format, args...)}
}
