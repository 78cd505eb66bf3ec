// store.go: where the accounts of servers are that don't say where: in the file, or with
// REGISTRATION_STORE in PostgreSQL (.ci/postgres).

package served

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

var (
	// The directive with a block, of whatever realm, and in JSON.
	accounts       = regexp.MustCompile(`(?m)^[ \t]*registration( [\w-]+)? \{$`)
	accountsInJSON = regexp.MustCompile(`"handler": "registration",`)
	storeNamed     = regexp.MustCompile(`(?m)^[ \t]*store |"store":`)
)

// inDatabase is a configuration with the accounts in the database that REGISTRATION_STORE names,
// in a schema of this server's own, where it says nothing else.
func (s *Server) inDatabase(config string) string {
	if !InDatabase() || storeNamed.MatchString(config) {
		return config
	}
	config = accounts.ReplaceAllString(config, fmt.Sprintf("$0\n\t\tstore postgres {env.REGISTRATION_STORE} {\n\t\t\tschema %s\n\t\t\tpool 4\n\t\t}", s.schema()))
	return accountsInJSON.ReplaceAllString(config, fmt.Sprintf(`$0 "store": {"module": "postgres", "url": "{env.REGISTRATION_STORE}", "schema": %q, "pool": 4},`, s.schema()))
}

func (s *Server) schema() string {
	sum := sha256.Sum256([]byte(s.Dir))
	return fmt.Sprintf("served_%x", sum[:8])
}

// InDatabase reports whether accounts are in PostgreSQL where a configuration doesn't say
// where: with REGISTRATION_STORE, see .ci/postgres.
func InDatabase() bool { return os.Getenv("REGISTRATION_STORE") != "" }

// Store is where the accounts of a configuration are that doesn't say where, as the commands
// call it.
func (s *Server) Store() string {
	if InDatabase() {
		return "the schema " + s.schema() + " of the database"
	}
	return filepath.Join(s.DataDir(), "registration.db")
}

// Embedded skips a test of the embedded store where servers are tested on another one.
func Embedded(t testing.TB) {
	t.Helper()
	if InDatabase() {
		t.Skip("about the embedded store")
	}
}

// OpenStore opens the accounts of a server that doesn't run, for who writes many.
func (s *Server) OpenStore() (db store.Store, done func()) {
	s.T.Helper()
	if InDatabase() {
		opened, err := postgres.Open(context.Background(), postgres.Options{URL: os.Getenv("REGISTRATION_STORE"), Schema: s.schema(), Pool: 4})
		require.NoError(s.T, err)
		db, err := opened.Store(context.Background(), "default")
		require.NoError(s.T, err)
		return db, func() {
			require.NoError(s.T, db.Close())
			opened.Close()
		}
	}
	require.NoError(s.T, os.MkdirAll(filepath.Dir(s.Store()), 0o700))
	file, err := bolt.Open(s.Store(), time.Minute)
	require.NoError(s.T, err)
	db, err = file.Realm("default")
	require.NoError(s.T, err)
	return db, func() { require.NoError(s.T, file.Close()) }
}
