//go:build unix

// session_nodes_test.go: for how long a node honours what another one has ended.

package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/postgres"
)

func TestFaultNodesHonourWhatHasEnded(t *testing.T) {
	const grace = 3 * time.Second
	server := pgtest.Start(t, "fsync=off")
	proxy := pgtest.NewProxy(t, server)
	open := func(url string) store.Store {
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Grace: grace})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		s, err := db.Store(t.Context(), "default")
		require.NoError(t, err)
		return s
	}
	here, elsewhere := open(proxy.URL()), open(server.URL())
	live := session.NewLive(here)
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", IsActive: true}
	require.NoError(t, elsewhere.Update(t.Context(), func(tx store.Tx) error { return tx.PutUser(u, nil) }))
	signIn := func() (look func() error, end func()) {
		now := time.Now()
		token, hash := session.NewToken()
		require.NoError(t, elsewhere.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutSession(&store.Session{Hash: hash, User: u.ID, Created: now, LastUsed: now, Expires: now.Add(time.Hour)})
		}))
		look = func() error {
			_, err := live.Lookup(t.Context(), token, store.KindSession, time.Now(), time.Hour)
			return err
		}
		require.Eventually(t, func() bool { return look() == nil }, time.Minute, time.Millisecond)
		return look, func() {
			require.NoError(t, elsewhere.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteSession(hash) }))
		}
	}
	// until asks until a session is not honoured any more, and says why and after how long.
	until := func(look func() error) (time.Duration, error) {
		for begin := time.Now(); ; time.Sleep(time.Millisecond) {
			asked := time.Since(begin)
			if err := look(); err != nil {
				return asked, err
			}
			require.Less(t, asked, time.Minute)
		}
	}
	for name, c := range map[string]struct {
		fault func()
		most  time.Duration
		gone  bool // it is told that it can't be known
		may   bool // or may be: a busy machine takes longer than grace to notice
	}{
		"connected":                              {func() {}, time.Second, false, false}, // 100 ms are promised; a busy machine has more
		"half a second away":                     {func() { proxy.Delay(250 * time.Millisecond) }, 3 * time.Second, false, false},
		"half-open":                              {proxy.HalfOpen, grace + 4*time.Second, false, true},
		"cut off":                                {func() { proxy.Swallow(true) }, grace + 4*time.Second, true, false},
		"cut off, and its connections are reset": {func() { proxy.Reset(); proxy.Swallow(true) }, grace + 4*time.Second, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			look, end := signIn()
			still, _ := signIn()
			c.fault()
			end()
			took, err := until(look)
			sitetest.FaultResult(t, "a session is ended while another node of the same accounts is "+name+" (grace 3 s)", "not let through for longer than 100 ms connected, or grace; nobody else signed out",
				"honoured for "+took.Round(time.Millisecond).String())
			require.Less(t, took, c.most)
			if known := errors.Is(err, store.ErrNotFound); known || !c.may {
				require.Equal(t, !c.gone, known, "%v", err)
			}
			proxy.Delay(0)
			proxy.Swallow(false)
			require.Eventually(t, func() bool { return still() == nil }, time.Minute, time.Millisecond, "nobody else is signed out")
			require.Eventually(t, func() bool { return errors.Is(look(), store.ErrNotFound) }, time.Minute, time.Millisecond)
		})
	}
}

// What many sessions were used for is written in acts that wait for the database a few times
// each, however many sessions they have: other acts wait for them.
func TestUsesAreWrittenInAFewRoundTrips(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	db, err := postgres.Open(t.Context(), postgres.Options{URL: server.URL()})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	s, err := db.Store(t.Context(), "default")
	require.NoError(t, err)
	live := session.NewLive(s)
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: "ada", IsActive: true}
	now := time.Now()
	tokens := make([]string, 300)
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		for i := range tokens {
			token, hash := session.NewToken()
			tokens[i] = token
			if err := tx.PutSession(&store.Session{Hash: hash, User: u.ID, Created: now, LastUsed: now, Expires: now.Add(time.Hour)}); err != nil {
				return err
			}
		}
		return tx.PutUser(u, nil)
	}))
	later := now.Add(20 * time.Minute)
	for _, token := range tokens {
		_, err := live.Lookup(t.Context(), token, store.KindSession, later, time.Hour)
		require.NoError(t, err)
	}
	ctx, trips := postgres.CountTrips(t.Context())
	require.NoError(t, live.Flush(ctx))
	require.LessOrEqual(t, trips.Most.Load(), int64(2))
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		all, err := tx.Sessions(u.ID, 1000)
		require.Len(t, all, len(tokens))
		for _, one := range all {
			require.Equal(t, later.Unix(), one.LastUsed.Unix())
		}
		return err
	}))
}
