//go:build !registration_nopostgres

// migrate.go: the tables, and how they become those of a later version while nodes of the one
// before go on.

package postgres

import (
	"context"
	_ "embed" // for the tables
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-928992b0/caddy-registration/store"
)

//go:embed schema.sql
var schema string

// A migration makes the tables of one version of those of the version before.
type migration struct {
	// statements are separated by a semicolon at the end of a line; ~ stands for the schema. They
	// add: nodes of the version before are at work meanwhile, and afterwards, until each has been
	// replaced. What is no longer needed goes in the version after, when nobody looks for it.
	statements string
	// oldest is the earliest version whose nodes can work with these tables.
	oldest int
}

// migrations lead from nothing to the tables of today; the version is how many there are.
var migrations = []migration{{schema, 1}}

// refuseNewer is store.ErrNewerSchema where tables are of no use to this version any more.
func refuseNewer(version, oldest int) error {
	if oldest <= len(migrations) {
		return nil
	}
	return fmt.Errorf("the tables have version %d, for plugins that know %d or later; this plugin knows up to %d: %w", version, oldest, len(migrations), store.ErrNewerSchema)
}

// migrate makes the tables, or those of this version, once, whichever node comes first. Tables of
// a later version that still serve this one stay as they are.
func (db *DB) migrate(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "caddy-registration "+db.name); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM information_schema.tables WHERE table_schema = $1 AND table_name = 'schema')`, db.name).Scan(&there); err != nil {
			return err
		}
		version, oldest := 0, 0
		if there {
			if err := tx.QueryRow(ctx, db.sql(`SELECT version, oldest FROM ~schema`)).Scan(&version, &oldest); err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		if err := refuseNewer(version, oldest); err != nil || version >= len(migrations) {
			return err
		}
		steps := []string{`CREATE SCHEMA IF NOT EXISTS ` + db.schema, `CREATE TABLE IF NOT EXISTS ~schema (version integer NOT NULL, oldest integer NOT NULL)`}
		if version > 0 {
			steps = nil // the user may have no right to make a schema
		}
		for _, m := range migrations[version:] {
			steps = append(steps, strings.Split(m.statements, ";\n")...)
			oldest = m.oldest
		}
		steps = append(steps, `DELETE FROM ~schema`, fmt.Sprintf(`INSERT INTO ~schema (version, oldest) VALUES (%d, %d)`, len(migrations), oldest))
		for _, step := range steps {
			if strings.TrimSpace(step) == "" {
				continue
			}
			if _, err := tx.Exec(ctx, db.sql(step)); err != nil {
				return err
			}
		}
		return nil
	})
	var refused *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, store.ErrNewerSchema):
		return err
	case errors.As(err, &refused) && refused.Code == "42501":
		return fmt.Errorf("the tables of the database can't be made: %w; make the schema %s and give it to this user: CREATE SCHEMA %s AUTHORIZATION <user>", err, db.schema, db.schema)
	case errors.As(err, &refused):
		return fmt.Errorf("the tables of the database: %w", err)
	}
	return unreachable(err)
}
