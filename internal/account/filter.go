// filter.go: which accounts a list has.

package account

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/store"
)

// The states of an account.
const (
	StateActive      = "active"
	StateUnconfirmed = "unconfirmed"
	// StateWaiting is that of an account that awaits its approval, confirmed already
	// where that is asked for.
	StateWaiting  = "waiting"
	StateDisabled = "disabled"
)

// States are all of them.
var States = []string{StateActive, StateUnconfirmed, StateWaiting, StateDisabled}

// StateOf is the state of an account.
func StateOf(u *store.User) string {
	switch {
	case u.AwaitsVerification:
		return StateUnconfirmed
	case u.AwaitsApproval:
		return StateWaiting
	case u.IsActive:
		return StateActive
	}
	return StateDisabled
}

// A Filter says which accounts are wanted; what is empty asks for nothing.
type Filter struct {
	// Search is the beginning of a username, an address or a name, without regard to case.
	Search string
	State  string
	Group  string
	// HashFormat is one of password.Formats, or NoHash.
	HashFormat string
}

// NoHash asks for the accounts that have no password.
const NoHash = "none"

// Check refuses what no account can match.
func (f Filter) Check() error {
	if f.State != "" && !slices.Contains(States, f.State) {
		return fmt.Errorf("there is no state %q; the states are %s", f.State, strings.Join(States, ", "))
	}
	if formats := append(password.Formats(), NoHash); f.HashFormat != "" && !slices.Contains(formats, f.HashFormat) {
		return fmt.Errorf("there is no format %q; the formats are %s", f.HashFormat, strings.Join(formats, ", "))
	}
	return nil
}

// Matches returns what tells the wanted accounts from others.
func (f Filter) Matches() func(*store.User) bool {
	beginning := field.UniqueKey(f.Search)
	return func(u *store.User) bool {
		if f.State != "" && StateOf(u) != f.State || f.Group != "" && !slices.Contains(u.Groups, f.Group) {
			return false
		}
		if format := password.FormatOf(u.PasswordHash); f.HashFormat != "" && format != f.HashFormat && (format != "" || f.HashFormat != NoHash) {
			return false
		}
		return beginning == "" || slices.ContainsFunc([]string{u.Username, u.Email, u.FirstName, u.LastName}, func(text string) bool {
			return strings.HasPrefix(field.UniqueKey(text), beginning)
		})
	}
}
