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

// Add names what another hint names, too.
func (a *Ahead) Add(more *Ahead) {
	a.Users = append(a.Users, more.Users...)
	a.Sessions = append(a.Sessions, more.Sessions...)
	a.Keys = append(a.Keys, more.Keys...)
	a.LeftNames = append(a.LeftNames, more.LeftNames...)
	a.Values = append(a.Values, more.Values...)
}

// In gives the hint to a transaction, at the beginning of its act.
func (a *Ahead) In(tx Tx) {
	if reader, ok := tx.(interface{ ReadAhead(*Ahead) }); ok {
		reader.ReadAhead(a)
	}
}
