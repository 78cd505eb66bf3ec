//go:build unix && !registration_nopostgres

package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
	"github.com/seed-928992b0/caddy-registration/store/storetest"
)

func openDB(t testing.TB, server *pgtest.Server, more string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Options{URL: server.URL() + more})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

var realms atomic.Int64

func openStore(t testing.TB, db *postgres.DB, realm string) store.Store {
	t.Helper()
	s, err := db.Store(context.Background(), realm)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	one, two := openDB(t, server, ""), openDB(t, server, "")
	storetest.RunNodes(t, func(t *testing.T) (a, b store.Store) {
		realm := fmt.Sprint("realm ", realms.Add(1))
		return openStore(t, one, realm), openStore(t, two, realm)
	})
}

// A pooler in transaction mode knows no prepared statements, so pgx has none then.
func TestContractWithoutPreparedStatements(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	db := openDB(t, server, "&default_query_exec_mode=exec")
	storetest.Run(t, func(t *testing.T) store.Store { return openStore(t, db, fmt.Sprint("realm ", realms.Add(1))) })
}
