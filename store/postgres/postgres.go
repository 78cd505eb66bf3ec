//go:build !registration_nopostgres

// postgres.go: a database, opened and closed, with the realms in it.

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-928992b0/caddy-registration/store"
)

// patience is for how long anything waits for the database, so that whoever asks has an answer
// within 5 s.
const patience = 4 * time.Second

// Check says what is wrong with the options, without connecting. The error has nothing of
// the URL.
func (o *Options) Check() error {
	_, err := o.config()
	return err
}

// config is what the options say of a pool. It fills in the schema.
func (o *Options) config() (*pgxpool.Config, error) {
	switch {
	case strings.TrimSpace(o.URL) == "":
		return nil, errors.New("the database has no URL; write store postgres postgres://user:password@host/name, or {env.DATABASE_URL} with that variable set")
	case len(o.Schema) > 63 || strings.ContainsRune(o.Schema, 0):
		return nil, errors.New("the name of a schema has up to 63 bytes")
	case o.Pool != 0 && (o.Pool < 2 || o.Pool > 1000):
		return nil, errors.New("a pool has 2 to 1000 connections")
	case o.Grace < 0 || o.Grace > MaxGrace:
		return nil, fmt.Errorf("grace is 0 to %v", MaxGrace)
	}
	c, err := pgxpool.ParseConfig(o.URL)
	if err != nil { // it has parts of the URL, where a password may be in the wrong place
		return nil, errors.New("the URL of the database can't be read; it looks like postgres://user:password@host:5432/name?sslmode=verify-full, with what is special in a password percent-encoded")
	}
	if c.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("default_query_exec_mode=simple_protocol is unsafe; behind PgBouncer use exec")
	}
	if o.Schema == "" {
		o.Schema = DefaultSchema
	}
	c.MaxConns = DefaultPool
	if o.Pool > 0 {
		c.MaxConns = int32(o.Pool) //nolint:gosec // at most 1000
	}
	c.ConnConfig.ConnectTimeout = patience
	c.MaxConnIdleTime = 5 * time.Minute
	c.PingTimeout = time.Second // of one that has been idle: the next may live
	c.ConnConfig.RuntimeParams["application_name"] = "caddy-registration"
	return c, nil
}

// A DB is a database in which realms are. It may be used by several goroutines.
type DB struct {
	pool   *pgxpool.Pool
	name   string                   // of the schema
	schema string                   // as statements have it
	texts  sync.Map                 // of statements, with the schema filled in
	fields atomic.Pointer[[]string] // by which accounts are looked for
	cache  bool
	grace  time.Duration

	mu     sync.Mutex
	realms map[string]*shared
}

// Open connects to a database, and makes or brings up to date the tables. A schema of a later
// version is store.ErrNewerSchema.
func Open(ctx context.Context, o Options) (*DB, error) {
	c, err := o.config()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("the database: %w", err)
	}
	db := newDB(pool, o)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := db.migrate(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

func newDB(pool *pgxpool.Pool, o Options) *DB {
	db := &DB{pool: pool, name: o.Schema, schema: pgx.Identifier{o.Schema}.Sanitize(), realms: map[string]*shared{}, cache: !o.NoCache, grace: o.Grace}
	db.fields.Store(new([]string))
	return db
}

// noTables reports whether an error says that the tables, or their schema, are not there.
func noTables(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "42P01" || e.Code == "3F000")
}

// Look says, without writing anything, why a database can't be used. One whose tables are
// missing can.
func Look(ctx context.Context, o Options) error {
	_, err := IsThere(ctx, o)
	return err
}

// IsThere is Look, and reports whether there are tables.
func IsThere(ctx context.Context, o Options) (bool, error) {
	c, err := o.config()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return false, unreachable(err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	var version, oldest int
	err = conn.QueryRow(ctx, `SELECT version, oldest FROM `+pgx.Identifier{o.Schema, "schema"}.Sanitize()).Scan(&version, &oldest)
	switch {
	case noTables(err), errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("the database: %w", err)
	}
	return true, refuseNewer(version, oldest)
}

// unreachable tells a server that doesn't answer, or not yet, from one that refuses us.
func unreachable(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !strings.HasPrefix(refused.Code, "57P") { // 57P03: it is starting up
		return fmt.Errorf("the database: %w", err)
	}
	return fmt.Errorf("%w: the database: %w", store.ErrUnreachable, err)
}

// sql is a statement with the schema in place of each ~.
func (db *DB) sql(text string) string {
	if full, ok := db.texts.Load(text); ok {
		return full.(string)
	}
	full := strings.ReplaceAll(text, "~", db.schema+".")
	db.texts.Store(text, full)
	return full
}

// Store opens the store of a realm.
func (db *DB) Store(ctx context.Context, realm string) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var id int32
	// Not ON CONFLICT DO UPDATE: that would wait for whoever acts just now.
	_, err := db.pool.Exec(ctx, db.sql(`INSERT INTO ~realms (name) VALUES ($1) ON CONFLICT DO NOTHING`), realm)
	if err == nil {
		err = db.pool.QueryRow(ctx, db.sql(`SELECT id FROM ~realms WHERE name = $1`), realm).Scan(&id)
	}
	if err != nil {
		return nil, fmt.Errorf("the database: %w", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	sh := db.realms[realm]
	if sh == nil {
		sh = &shared{db: db, realm: id}
		db.realms[realm] = sh
	}
	return &Store{db: db, realm: id, shared: sh}, nil
}

// Close closes all connections. Its stores have to be closed before.
func (db *DB) Close() { db.pool.Close() }
