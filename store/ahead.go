// ahead.go: what an act is going to read.

package store

import "github.com/google/uuid"

// Ahead names what an act is going to read, so that a store on a server asks for all of it in
// one round trip. It is a hint: what is not named is read as it is asked for, and a store that
// has nothing to gain does nothing.
type Ahead struct {
	Users     []uuid.UUID
	Sessions  []TokenHash
	Keys      []Key
	LeftNames []NameHash
	Values    []string
}

// In gives the hint to a transaction, at the beginning of its act.
func (a *Ahead) In(tx Tx) {
	if reader, ok := tx.(interface{ ReadAhead(*Ahead) }); ok {
		reader.ReadAhead(a)
	}
}
