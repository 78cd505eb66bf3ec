//go:build unix && !registration_nopostgres

// dump_test.go: a realm from the file into the database and back.

package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
	"github.com/seed-928992b0/caddy-registration/store/storetest"
)

func openFile(t testing.TB, path string) (*bolt.Store, func()) {
	t.Helper()
	f, err := bolt.Open(path, time.Second)
	require.NoError(t, err)
	s, err := f.Realm("default")
	require.NoError(t, err)
	return s, func() { require.NoError(t, f.Close()) }
}

func TestMovingThereAndBack(t *testing.T) {
	accounts := 1000
	if os.Getenv("REGISTRATION_FAULTS") == "long" {
		accounts = 100_000
	}
	server := pgtest.Start(t, "fsync=off")
	dir := t.TempDir()
	from, back := filepath.Join(dir, "from.db"), filepath.Join(dir, "back.db")
	first, closeFirst := openFile(t, from)
	storetest.Fill(t, first, accounts)
	closeFirst()
	db := openDB(t, server, "&default_query_exec_mode=exec")
	there := openStore(t, db, "default").(*postgres.Store)
	begun := time.Now()
	require.NoError(t, there.Load(t.Context(), func(put func(store.Row) error) error { return bolt.DumpFile(t.Context(), from, "default", put) }))
	t.Logf("%d accounts into the database: %v", accounts, time.Since(begun).Round(time.Millisecond))
	begun = time.Now()
	require.NoError(t, bolt.LoadFile(t.Context(), back, "default", func(put func(store.Row) error) error {
		read, release, err := postgres.OpenToDump(t.Context(), postgres.Options{URL: server.URL()}, "default")
		require.NoError(t, err)
		defer release()
		return read.Dump(t.Context(), put)
	}))
	t.Logf("%d accounts into a file: %v", accounts, time.Since(begun).Round(time.Millisecond))
	first, closeFirst = openFile(t, from)
	defer closeFirst()
	storetest.RequireMoved(t, first, there)
	second, closeSecond := openFile(t, back)
	defer closeSecond()
	storetest.RequireMoved(t, first, second)
}

func TestMovingKeepsItsPromises(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	db := openDB(t, server, "")
	file := func(name string) store.Store {
		s, end := openFile(t, filepath.Join(t.TempDir(), name))
		t.Cleanup(end)
		return s
	}
	a := file("a.db")
	storetest.Fill(t, a, 60)
	storetest.Moves(t, a, openStore(t, db, "a"))
	storetest.Moves(t, openStore(t, db, "a"), openStore(t, db, "b"))
	b := file("b.db")
	storetest.Moves(t, openStore(t, db, "b"), b)
	storetest.Moves(t, b, file("c.db"))
}

// TestMovingBrokenOff: nothing of it is there, wherever it ends.
func TestMovingBrokenOff(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.db"), filepath.Join(dir, "to.db")
	first, end := openFile(t, from)
	storetest.Fill(t, first, 3000)
	end()
	errEnds := errors.New("it ends here")
	broken := func(ctx context.Context, after int, and error) func(put func(store.Row) error) error {
		return func(put func(store.Row) error) error {
			n := 0
			return bolt.DumpFile(ctx, from, "default", func(row store.Row) error {
				if n++; n == after {
					return and
				}
				return put(row)
			})
		}
	}
	there := openStore(t, openDB(t, server, ""), "default").(*postgres.Store)
	for _, after := range []int{1, 2, 5500, 12_001} {
		require.ErrorIs(t, there.Load(t.Context(), broken(t.Context(), after, errEnds)), errEnds)
		rows, _ := storetest.Dumped(t, there)
		require.Len(t, rows, 2, "the numbers")
		require.ErrorIs(t, bolt.LoadFile(t.Context(), to, "default", broken(t.Context(), after, errEnds)), errEnds)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, "the source alone")
	}
	// A file with another realm keeps it.
	f, err := bolt.Open(to, time.Second)
	require.NoError(t, err)
	other, err := f.Realm("other")
	require.NoError(t, err)
	storetest.Fill(t, other, 20)
	require.NoError(t, f.Close())
	before, err := os.ReadFile(to)
	require.NoError(t, err)
	require.ErrorIs(t, bolt.LoadFile(t.Context(), to, "default", broken(t.Context(), 9000, errEnds)), errEnds)
	after, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoError(t, bolt.LoadFile(t.Context(), to, "default", broken(t.Context(), -1, nil)))
	contents, err := bolt.Verify(to)
	require.NoError(t, err)
	require.Equal(t, []string{"default", "other"}, contents.Realms)
	require.Equal(t, 3020, contents.Accounts)
}

// A database is asked for changes for as long as somebody follows, and a closed store follows
// nothing: a reload that takes another store leaves no connection behind. Meanwhile a move from
// there is refused.
func TestAClosedStoreAsksForNothing(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	o := postgres.Options{URL: server.URL()}
	db, err := postgres.Open(t.Context(), o)
	require.NoError(t, err)
	s := openStore(t, db, "default")
	s.Follow(func(store.Change) {})
	_, _, err = postgres.OpenToDump(t.Context(), o, "default")
	require.ErrorIs(t, err, store.ErrStoreLocked)
	require.NoError(t, s.Close())
	db.Close()
	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // nothing is lost
	left := -1
	for range 600 {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'caddy-registration'`).Scan(&left))
		if left == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Zero(t, left, "connections stay")
	_, release, err := postgres.OpenToDump(t.Context(), o, "default")
	require.NoError(t, err)
	release()
}
