// dump.go: all that a store has of a realm, row by row, to carry it to another store.

package store

import (
	"context"
	"errors"
)

// ErrNotEmpty says that a realm that was to be filled has something in it.
var ErrNotEmpty = errors.New("the realm has something in it already")

// A RowKind says what a row is.
type RowKind string

// The kinds of rows. Records are those of package record, which all stores write; what an
// index has is no row. Numbers are eight bytes, big endian.
const (
	RowNumber     RowKind = "number"     // RowMail or RowAudit → the last number given away
	RowAccount    RowKind = "account"    // id → record
	RowSession    RowKind = "session"    // hash → record
	RowMail       RowKind = "mail"       // number → record
	RowValue      RowKind = "value"      // name → value
	RowBudget     RowKind = "budget"     // table, NUL and key → unix milliseconds
	RowLeftName   RowKind = "left name"  // hash → account, unix seconds
	RowInvitation RowKind = "invitation" // id → record
	RowAudit      RowKind = "audit"      // number → record
)

// Records are the kinds of rows of which people have an idea: all but numbers.
var Records = []RowKind{RowAccount, RowSession, RowMail, RowValue, RowBudget, RowLeftName, RowInvitation, RowAudit}

// A Row is one thing that a store has. It is valid until the function that it was given to
// has returned.
type Row struct {
	Kind      RowKind
	Key, Data []byte
}

// A Moving is a Store whose realm can be carried to another one. It is optional.
type Moving interface {
	// Dump calls fn with all rows of one state of the realm, kind by kind, those of a kind in
	// the order of their keys. Which mails are leased is no part of it.
	Dump(ctx context.Context, fn func(Row) error) error
	// Load fills a realm that has nothing in it, else it returns ErrNotEmpty, with what fill
	// puts. After an error nothing of it is there, or, where the store says so, the store is
	// of no use. What a Dump of it gives then is what was put.
	Load(ctx context.Context, fill func(put func(Row) error) error) error
}
