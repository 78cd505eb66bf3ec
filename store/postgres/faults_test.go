//go:build unix && !registration_nopostgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

// asAdmin does something on the server beside the store.
func asAdmin(t *testing.T, server *pgtest.Server, text string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // nothing is lost
	_, err = conn.Exec(t.Context(), text, args...)
	require.NoError(t, err)
}

func counted(tx store.Tx) (int, error) {
	v, err := tx.Value("n")
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(v))
}

// countUp is an act: one more.
func countUp(tx store.Tx) error {
	n, err := counted(tx)
	if err != nil {
		return err
	}
	return tx.PutValue("n", []byte(strconv.Itoa(n+1)))
}

func TestAServerThatDiesLosesNoActThatWasAcknowledged(t *testing.T) {
	server := pgtest.Start(t) // with fsync
	db := openDB(t, server, "")
	s := openStore(t, db, "default")
	rounds, workers := 3, 4
	if os.Getenv("REGISTRATION_FAULTS") == "long" {
		rounds = 30
	}
	least, most := 0, 0 // acts that were acknowledged; those besides of which nobody knows
	for range rounds {
		var mu sync.Mutex
		var wg sync.WaitGroup
		stop := make(chan struct{})
		begun := make(chan struct{}, 1000)
		for range workers {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					err := s.Update(t.Context(), countUp)
					mu.Lock()
					if err == nil {
						least++
					}
					most++
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 50 { // in the middle of work
			<-begun
		}
		server.Kill()
		close(stop)
		wg.Wait()
		server.Run()
		var n int
		require.Eventually(t, func() bool {
			return s.View(t.Context(), func(tx store.Tx) (err error) { n, err = counted(tx); return err }) == nil
		}, time.Minute, 10*time.Millisecond, "the pool heals by itself")
		require.GreaterOrEqual(t, n, least)
		require.LessOrEqual(t, n, most)
		least, most = n, n
	}
}

func TestNothingHangsWhileTheServerIsGone(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	db, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL(), Grace: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	s := openStore(t, db, "default")
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada"}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, nil) }))
	var mu sync.Mutex
	var heard []bool
	defer s.Follow(func(c store.Change) { mu.Lock(); heard = append(heard, c.Lost); mu.Unlock() })()
	last := func() (lost bool, n int) {
		mu.Lock()
		defer mu.Unlock()
		if n = len(heard); n > 0 {
			lost = heard[n-1]
		}
		return lost, n
	}
	server.Stop()
	begin := time.Now()
	for name, act := range map[string]func(context.Context, func(store.Tx) error) error{"View": s.View, "Update": s.Update} {
		err := act(t.Context(), func(tx store.Tx) error { _, err := tx.User(u.ID); return err })
		require.Error(t, err, name)
		require.NotErrorIs(t, err, store.ErrNotFound, name)
	}
	require.Less(t, time.Since(begin), 30*time.Second)
	require.Eventually(t, func() bool { lost, _ := last(); return lost }, time.Minute, 10*time.Millisecond, "beyond grace nothing that is remembered counts")
	server.Run()
	require.Eventually(t, func() bool { lost, _ := last(); return !lost }, time.Minute, 10*time.Millisecond, "and does again")
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error { _, err := tx.User(u.ID); return err }))
}

func TestConnectionsThatAreEndedHeal(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	db := openDB(t, server, "")
	s := openStore(t, db, "default")
	for i := range 20 {
		require.NoError(t, s.Update(t.Context(), countUp))
		asAdmin(t, server, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'caddy-registration'`)
		require.Eventually(t, func() bool { return s.View(t.Context(), func(store.Tx) error { return nil }) == nil }, time.Minute, time.Millisecond)
		var n int
		require.Eventually(t, func() bool {
			return s.View(t.Context(), func(tx store.Tx) (err error) { n, err = counted(tx); return err }) == nil
		}, time.Minute, time.Millisecond)
		require.Equal(t, i+1, n)
	}
}

// A node that stops in the middle of an act lets the others act again by itself.
func TestANodeThatHangsLetsGoOfTheRealm(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	one, two := openDB(t, server, ""), openDB(t, server, "")
	a, b := openStore(t, one, "default"), openStore(t, two, "default")
	locked, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		first := true
		done <- a.Update(context.Background(), func(tx store.Tx) error {
			_, err := counted(tx)
			if first {
				first = false
				close(locked)
				<-free
			}
			return errors.Join(err, tx.PutValue("of a", nil))
		})
	}()
	<-locked
	require.Eventually(t, func() bool { return b.Update(t.Context(), countUp) == nil }, time.Minute, time.Millisecond)
	close(free)
	require.Error(t, <-done, "its transaction was ended")
	require.NoError(t, b.View(t.Context(), func(tx store.Tx) error {
		_, err := tx.Value("of a")
		require.ErrorIs(t, err, store.ErrNotFound)
		return nil
	}))
}

func TestANewerSchemaIsRefused(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	o := postgres.Options{URL: server.URL(), Schema: `odd "name`}
	require.NoError(t, postgres.Look(t.Context(), o), "there is nothing yet")
	db, err := postgres.Open(t.Context(), o)
	require.NoError(t, err)
	db.Close()
	require.NoError(t, postgres.Look(t.Context(), o))
	asAdmin(t, server, `UPDATE "odd ""name".schema SET version = 99, oldest = 99`)
	require.ErrorIs(t, postgres.Look(t.Context(), o), store.ErrNewerSchema)
	_, err = postgres.Open(t.Context(), o)
	require.ErrorIs(t, err, store.ErrNewerSchema)
}

// A node of a later version changes the tables while one of this is at work: no act of either
// fails or is lost, this one may be started anew, until a later version that it can't follow.
func TestFaultNodesOfTwoVersions(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	older := openStore(t, openDB(t, server, ""), "default")
	var acts atomic.Int64
	busy := func(s store.Store, until chan struct{}, wg *sync.WaitGroup) {
		wg.Go(func() {
			for {
				select {
				case <-until:
					return
				default:
				}
				if !assert.NoError(t, s.Update(t.Context(), countUp)) {
					return
				}
				acts.Add(1)
				assert.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
					_, err := tx.UserByKey("username", "nobody")
					if errors.Is(err, store.ErrNotFound) {
						return nil
					}
					return err
				}))
			}
		})
	}
	until, wg := make(chan struct{}), new(sync.WaitGroup)
	for range 4 {
		busy(older, until, wg)
	}
	reach := func(n int64) {
		from := acts.Load()
		require.Eventually(t, func() bool { return acts.Load() >= from+n || t.Failed() }, time.Minute, time.Millisecond)
	}
	reach(50)
	end := postgres.Later(t, "ALTER TABLE ~users ADD COLUMN later text NOT NULL DEFAULT 'x';\nCREATE TABLE ~later (n integer);\n", 1)
	newer := openStore(t, openDB(t, server, ""), "default")
	for range 4 {
		busy(newer, until, wg)
	}
	reach(50)
	end()
	busy(openStore(t, openDB(t, server, ""), "default"), until, wg) // the older one, started anew
	reach(50)
	close(until)
	wg.Wait()
	require.NoError(t, newer.View(t.Context(), func(tx store.Tx) error {
		n, err := counted(tx)
		require.Equal(t, acts.Load(), int64(n), "an act is lost, or was done twice")
		return err
	}))
	postgres.Later(t, "", 1) // as above
	end = postgres.Later(t, "ALTER TABLE ~users DROP COLUMN later;\n", 3)
	openDB(t, server, "")
	end()
	_, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL()})
	require.ErrorIs(t, err, store.ErrNewerSchema, "that of the version before still looks for what has gone")
}

// Of many nodes that start at once on an empty database, one makes the tables.
func TestManyNodesMakeTheTablesOnce(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			db, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL(), Pool: 2})
			if err == nil {
				var s *postgres.Store
				if s, err = db.Store(t.Context(), "default"); err == nil {
					err = s.Update(t.Context(), countUp)
				}
				db.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, openStore(t, openDB(t, server, ""), "default").View(t.Context(), func(tx store.Tx) error {
		n, err := counted(tx)
		require.Equal(t, len(errs), n)
		return err
	}))
}

func TestOptionsThatAreWrongSayWhatAndNoPassword(t *testing.T) {
	const secret = "hunter2secret"
	for name, c := range map[string]struct {
		o    postgres.Options
		want string
	}{
		"no URL":          {postgres.Options{}, "has no URL"},
		"no URL at all":   {postgres.Options{URL: "postgres://u:" + secret + "@h:x y/db"}, "can't be read"},
		"password with #": {postgres.Options{URL: "postgres://u:" + secret + "#%zz@h/db"}, "can't be read"},
		"simple protocol": {postgres.Options{URL: "postgres://u:" + secret + "@h/db?default_query_exec_mode=simple_protocol"}, "unsafe"},
		"schema":          {postgres.Options{URL: "postgres://h/db", Schema: strings.Repeat("x", 64)}, "63 bytes"},
		"pool":            {postgres.Options{URL: "postgres://h/db", Pool: 1}, "2 to 1000"},
		"grace":           {postgres.Options{URL: "postgres://h/db", Grace: time.Hour}, "grace is 0 to 10m"},
	} {
		err := c.o.Check()
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), secret, name)
		require.Error(t, postgres.Look(t.Context(), c.o), name)
		_, err = postgres.Open(t.Context(), c.o)
		require.Error(t, err, name)
	}
	// Nobody listens there.
	o := postgres.Options{URL: fmt.Sprintf("postgres://u:%s@/db?host=%s", secret, t.TempDir())}
	err := postgres.Look(t.Context(), o)
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
	_, err = postgres.Open(t.Context(), o)
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
}

func TestNothingMayBeRememberedWithoutCache(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	db, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL(), NoCache: true})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	s := openStore(t, db, "default")
	var mu sync.Mutex
	var all []bool
	defer s.Follow(func(c store.Change) { mu.Lock(); all = append(all, c.Lost); mu.Unlock() })()
	u := &store.User{ID: uuid.Must(uuid.NewV7())}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, nil) }))
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, all)
	require.NotContains(t, all, false)
}
