// sessions.go: what a store promises about sessions and API tokens.

package storetest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func hash(name string) store.TokenHash { return sha256.Sum256([]byte(name)) }

// newSession makes a session whose UserAgent is its name.
func newSession(name string, user uuid.UUID) *store.Session {
	return &store.Session{
		Hash: hash(name), User: user, Created: now, LastUsed: now.Add(time.Minute),
		Expires: now.Add(time.Hour), Address: "2001:db8::1", UserAgent: name, AMR: []string{"pwd", "otp"}, AuthTime: now.Add(time.Second), SignIn: uuid.Must(uuid.NewV7()),
	}
}

func putSession(t *testing.T, s store.Store, session *store.Session) {
	t.Helper()
	update(t, s, func(tx store.Tx) error { return tx.PutSession(session) })
}

func session(t *testing.T, s store.Store, name string) (got *store.Session, err error) {
	t.Helper()
	view(t, s, func(tx store.Tx) error {
		got, err = tx.Session(hash(name))
		return nil
	})
	return got, err
}

// sessionNames returns the sorted names of an account's sessions.
func sessionNames(t *testing.T, s store.Store, user uuid.UUID) (names []string) {
	t.Helper()
	var all []*store.Session
	view(t, s, func(tx store.Tx) (err error) {
		all, err = tx.Sessions(user, 1000)
		return err
	})
	for _, one := range all {
		require.Equal(t, user, one.User)
		require.Equal(t, hash(one.UserAgent), one.Hash)
		names = append(names, one.UserAgent)
	}
	slices.Sort(names)
	return names
}

func deleteExpired(t *testing.T, s store.Store, at time.Time, limit int) int {
	t.Helper()
	return len(deleteExpiredHashes(t, s, at, limit))
}

func deleteExpiredHashes(t *testing.T, s store.Store, at time.Time, limit int) (hashes []store.TokenHash) {
	t.Helper()
	update(t, s, func(tx store.Tx) (err error) {
		hashes, err = tx.DeleteExpiredSessions(at, limit)
		return err
	})
	return hashes
}

var sessionPromises = []promise{
	{"every field is read back", func(t *testing.T, open opener) {
		s := open(t)
		one := newSession("Mozilla/5.0 \xff not UTF-8"[:12], uuid.Must(uuid.NewV7()))
		two := newSession("token", one.User)
		two.Kind, two.Address = store.KindToken, ""
		three := newSession("family", one.User)
		three.Kind, three.Refresh, three.Previous, three.Rotated = store.KindRefresh, hash("now"), hash("before"), now
		three.Epoch = 1<<32 - 1
		four := newSession("password", one.User)
		four.AMR, four.AuthTime = []string{"pwd"}, four.Created
		for _, want := range []*store.Session{one, two, three, four} {
			putSession(t, s, want)
			got, err := session(t, s, want.UserAgent)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}},
	{"a sign-in from before its methods were kept is one by the password", func(t *testing.T, open opener) {
		s := open(t)
		before := newSession("before", uuid.Must(uuid.NewV7()))
		before.AMR, before.AuthTime = nil, time.Time{}
		putSession(t, s, before)
		got, err := session(t, s, "before")
		require.NoError(t, err)
		require.Equal(t, []string{"pwd"}, got.Methods())
		require.Equal(t, before.Created, got.ShownAt())
	}},
	{"times are UTC with a resolution of a second", func(t *testing.T, open opener) {
		s := open(t)
		given := newSession("one", uuid.Must(uuid.NewV7()))
		east := time.FixedZone("east", 3600)
		given.Created, given.LastUsed, given.Expires, given.AuthTime = now.Add(1e8).In(east), now.Add(2e8).In(east), now.Add(9e8).In(east), now.Add(5e8).In(east)
		putSession(t, s, given)
		got, err := session(t, s, "one")
		require.NoError(t, err)
		for _, at := range []time.Time{got.Created, got.LastUsed, got.Expires, got.AuthTime} {
			require.Equal(t, now, at)
		}
	}},
	{"expired sessions are returned until they are swept", func(t *testing.T, open opener) {
		s := open(t)
		u := uuid.Must(uuid.NewV7())
		old := newSession("old", u)
		old.Expires = now.AddDate(-1, 0, 0)
		putSession(t, s, old)
		got, err := session(t, s, "old")
		require.NoError(t, err)
		require.Equal(t, old, got)
		require.Equal(t, []string{"old"}, sessionNames(t, s, u))
	}},
	{"unknown hashes are ErrNotFound", func(t *testing.T, open opener) {
		s := open(t)
		_, err := session(t, s, "nothing")
		require.ErrorIs(t, err, store.ErrNotFound)
		err = s.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteSession(hash("nothing")) })
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"records are copies", func(t *testing.T, open opener) {
		s := open(t)
		want := newSession("one", uuid.Must(uuid.NewV7()))
		given := *want
		putSession(t, s, &given)
		given.Address = "changed"
		got, err := session(t, s, "one")
		require.NoError(t, err)
		require.Equal(t, want, got)
		got.Address = "changed"
		got, err = session(t, s, "one")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}},
	{"sessions are found by their account", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		for i := range 3 {
			putSession(t, s, newSession(fmt.Sprint("anna", i), anna))
		}
		putSession(t, s, newSession("bert", bert))
		require.Equal(t, []string{"anna0", "anna1", "anna2"}, sessionNames(t, s, anna))
		require.Equal(t, []string{"bert"}, sessionNames(t, s, bert))
		require.Empty(t, sessionNames(t, s, uuid.Must(uuid.NewV7())))
	}},
	{"a part of an account's sessions is always the same part", func(t *testing.T, open opener) {
		s := open(t)
		u := uuid.Must(uuid.NewV7())
		for i := range 20 {
			putSession(t, s, newSession(fmt.Sprint("s", i), u))
		}
		first := func(limit int) (names []string) {
			view(t, s, func(tx store.Tx) error {
				some, err := tx.Sessions(u, limit)
				for _, one := range some {
					names = append(names, one.UserAgent)
				}
				return err
			})
			return names
		}
		require.Empty(t, first(0))
		require.Len(t, first(100), 20)
		five := first(5)
		require.Len(t, five, 5)
		require.Equal(t, five, first(5))
		require.Equal(t, five, first(7)[:5])
		// What comes in the place of those that are gone was behind them.
		update(t, s, func(tx store.Tx) error { return tx.DeleteSession(hash(five[1])) })
		require.Equal(t, slices.Delete(slices.Clone(five), 1, 2), first(5)[:4])
	}},
	{"PutSession replaces, also the account and the end", func(t *testing.T, open opener) {
		s := open(t)
		anna, bert := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		one := newSession("one", anna)
		putSession(t, s, one)
		one.LastUsed = now.Add(time.Minute * 2)
		putSession(t, s, one)
		got, err := session(t, s, "one")
		require.NoError(t, err)
		require.Equal(t, one, got)

		one.User = bert
		putSession(t, s, one)
		require.Empty(t, sessionNames(t, s, anna))
		require.Equal(t, []string{"one"}, sessionNames(t, s, bert))
		one.Expires = now.Add(48 * time.Hour)
		putSession(t, s, one)
		require.Equal(t, []string{"one"}, sessionNames(t, s, bert))
		require.Equal(t, 0, deleteExpired(t, s, now.Add(47*time.Hour), 10), "the old end counts no more")
		require.Equal(t, 1, deleteExpired(t, s, now.Add(48*time.Hour), 10))
	}},
	{"DeleteSession removes this session only", func(t *testing.T, open opener) {
		s := open(t)
		u := uuid.Must(uuid.NewV7())
		putSession(t, s, newSession("one", u))
		putSession(t, s, newSession("two", u))
		update(t, s, func(tx store.Tx) error { return tx.DeleteSession(hash("one")) })
		_, err := session(t, s, "one")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Equal(t, []string{"two"}, sessionNames(t, s, u))
		require.Equal(t, 1, deleteExpired(t, s, now.AddDate(1, 0, 0), 10))
	}},
	{"the sweep removes what has expired, up to its limit", func(t *testing.T, open opener) {
		s := open(t)
		u := uuid.Must(uuid.NewV7())
		for i := range 10 {
			one := newSession(fmt.Sprint("s", i), u)
			one.Expires = now.Add(time.Duration(i) * time.Second)
			putSession(t, s, one)
		}
		before := newSession("before", u)
		before.Expires = time.Unix(-5, 0)
		putSession(t, s, before)
		require.Equal(t, 0, deleteExpired(t, s, now.AddDate(1, 0, 0), 0))
		require.Equal(t, 1, deleteExpired(t, s, now.Add(-time.Second), 100), "a time before 1970 is the first to go")
		require.Equal(t, 0, deleteExpired(t, s, now.Add(-time.Second), 100))
		// s0 to s4: the end itself counts as expired.
		at := now.Add(4 * time.Second)
		swept := deleteExpiredHashes(t, s, at, 3)
		require.Len(t, swept, 3)
		require.Subset(t, []store.TokenHash{hash("s0"), hash("s1"), hash("s2"), hash("s3"), hash("s4")}, swept)
		for _, h := range swept {
			require.ErrorIs(t, s.View(t.Context(), func(tx store.Tx) error { _, err := tx.Session(h); return err }), store.ErrNotFound)
		}
		require.Len(t, sessionNames(t, s, u), 7)
		require.Equal(t, 2, deleteExpired(t, s, at, 100))
		require.Equal(t, []string{"s5", "s6", "s7", "s8", "s9"}, sessionNames(t, s, u))
		_, err := session(t, s, "s4")
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
}
