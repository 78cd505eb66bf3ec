// programs.go: what is kept of the tokens for programs of an account.

package store

import (
	"slices"
	"time"
)

// A ProgramToken lets a program in where its account's owner would be let in, and nowhere
// near the account itself. It stands in the account's record, so it ends with that, and
// in the act that ends it. Times are UTC with a resolution of one second in the store.
type ProgramToken struct {
	// Hash is the SHA-256 of the token. The token itself is never stored.
	Hash TokenHash
	// Name is the owner's own.
	Name    string
	Created time.Time
	// LastUsed is true to an hour; zero: never.
	LastUsed time.Time
	// Expires is when it ends; zero: never.
	Expires time.Time
	// Path is where it is good, with all below; "": everywhere.
	Path string
	// Groups are those that count for it, of the account's; nil: all.
	Groups []string
}

// ProgramKey is the field of the unique keys by which the account of a token for programs
// is found; the value is TokenHash.Text of its hash.
const ProgramKey = "program"

// ProgramToken returns the token for programs with this hash, nil for none.
func (u *User) ProgramToken(hash TokenHash) *ProgramToken {
	if i := slices.IndexFunc(u.ProgramTokens, func(t ProgramToken) bool { return t.Hash == hash }); i >= 0 {
		return &u.ProgramTokens[i]
	}
	return nil
}
