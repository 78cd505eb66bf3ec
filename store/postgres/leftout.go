//go:build registration_nopostgres

// leftout.go: this package in a Caddy that is built without it: what opens a database says so.

package postgres

import (
	"context"
	"errors"

	"github.com/seed-928992b0/caddy-registration/store"
)

var errLeftOut = errors.New("this Caddy is built without PostgreSQL, with the tag registration_nopostgres; build it without that tag, or write store bbolt")

// Store is never made here.
type Store struct{ store.Store }

// Dump is never called.
func (*Store) Dump(context.Context, func(store.Row) error) error { return errLeftOut }

// Load is never called.
func (*Store) Load(context.Context, func(put func(store.Row) error) error) error { return errLeftOut }

// DB is never made here.
type DB struct{}

// Check refuses every database.
func (o *Options) Check() error { return errLeftOut }

// Open refuses.
func Open(context.Context, Options) (*DB, error) { return nil, errLeftOut }

// OpenToDump refuses.
func OpenToDump(context.Context, Options, string) (*Store, func(), error) {
	return nil, nil, errLeftOut
}

// Look refuses.
func Look(context.Context, Options) error { return errLeftOut }

// IsThere refuses.
func IsThere(context.Context, Options) (bool, error) { return false, errLeftOut }

// Store is never called.
func (*DB) Store(context.Context, string) (*Store, error) { return nil, errLeftOut }

// Close is never called.
func (*DB) Close() {}
