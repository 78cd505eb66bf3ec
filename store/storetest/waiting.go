// waiting.go: what a store promises about accounts that await their
// verification: they share the keys of addresses, and stand in order of time.

package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// far is behind every time that an account waits since.
var far = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func newWaiting(name string, since time.Time) *store.User {
	u := newUser(name)
	u.IsActive, u.AwaitsVerification, u.EmailPending = false, true, true
	u.Email, u.WaitingFrom, u.WaitingSince = "ada@example.org", since, since
	return u
}

func waitingKeys(u *store.User) []store.Key {
	return []store.Key{{Field: "username", Value: u.Username}, {Field: store.WaitingKey, Value: u.Email}}
}

func putWaiting(t *testing.T, s store.Store, users ...*store.User) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, u := range users {
			if err := tx.PutUser(u, waitingKeys(u)); err != nil {
				return err
			}
		}
		return nil
	})
}

func names(users []*store.User) []string {
	out := []string{}
	for _, u := range users {
		out = append(out, u.Username)
	}
	return out
}

func waitingFor(t *testing.T, s store.Store, value string, limit int) []string {
	t.Helper()
	var users []*store.User
	view(t, s, func(tx store.Tx) (err error) {
		users, err = tx.Waiting(value, limit)
		return err
	})
	return names(users)
}

func waitingSince(t *testing.T, s store.Store, from, to time.Time, limit int) []string {
	t.Helper()
	var users []*store.User
	view(t, s, func(tx store.Tx) (err error) {
		users, err = tx.WaitingSince(from, to, limit)
		return err
	})
	return names(users)
}

var waitingPromises = []promise{
	{"several accounts wait for one address, the newest comes first", func(t *testing.T, open opener) {
		s := open(t)
		users := []*store.User{newWaiting("one", now), newWaiting("two", now), newWaiting("three", now)}
		putWaiting(t, s, users[1], users[0], users[2]) // the id is what counts
		other := newWaiting("other", now)
		other.Email = "ada@example.or"
		longer := newWaiting("longer", now)
		longer.Email = "ada@example.org.example.net"
		putWaiting(t, s, other, longer)
		require.Equal(t, []string{"three", "two", "one"}, waitingFor(t, s, "ada@example.org", 10))
		require.Equal(t, []string{"three"}, waitingFor(t, s, "ada@example.org", 1))
		require.Equal(t, []string{"other"}, waitingFor(t, s, "ada@example.or", 10))
		require.Equal(t, []string{"longer"}, waitingFor(t, s, "ada@example.org.example.net", 10))
		for _, none := range []string{"", "ada@example", "ada@example.org\x00", "zoe@example.org", "a"} {
			require.Empty(t, waitingFor(t, s, none, 10), "%q", none)
		}
		require.Empty(t, waitingFor(t, s, "ada@example.org", 0))
	}},
	{"a key to wait by is no unique key", func(t *testing.T, open opener) {
		s := open(t)
		putWaiting(t, s, newWaiting("one", now))
		_, err := userByKey(t, s, store.WaitingKey, "ada@example.org")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = userByKey(t, s, "email", "ada@example.org")
		require.ErrorIs(t, err, store.ErrNotFound)
		owner := newUser("ada")
		putUsers(t, s, owner) // with the unique key of the same address
		got, err := userByKey(t, s, "email", "ada@example.org")
		require.NoError(t, err)
		require.Equal(t, owner.ID, got.ID)
		require.Equal(t, []string{"one"}, waitingFor(t, s, "ada@example.org", 10))
		require.Empty(t, waitingFor(t, s, "ada", 10), "a unique key is none to wait by")
	}},
	{"who no longer waits is no longer found among them", func(t *testing.T, open opener) {
		s := open(t)
		one, two := newWaiting("one", now), newWaiting("two", now)
		putWaiting(t, s, one, two)
		two.IsActive, two.AwaitsVerification, two.EmailPending = true, false, false
		two.WaitingFrom, two.WaitingSince = time.Time{}, time.Time{}
		putUsers(t, s, two)
		require.Equal(t, []string{"one"}, waitingFor(t, s, one.Email, 10))
		require.Equal(t, []string{"one"}, waitingSince(t, s, time.Time{}, far, 10))
		update(t, s, func(tx store.Tx) error { return tx.DeleteUser(one.ID) })
		require.Empty(t, waitingFor(t, s, one.Email, 10))
		require.Empty(t, waitingSince(t, s, time.Time{}, far, 10))
		one.Email = "other@example.org"
		putWaiting(t, s, one)
		require.Equal(t, []string{"one"}, waitingFor(t, s, one.Email, 10))
		one.Email = "third@example.org"
		putWaiting(t, s, one)
		require.Empty(t, waitingFor(t, s, "other@example.org", 10))
		require.Equal(t, []string{"one"}, waitingFor(t, s, one.Email, 10))
	}},
	{"who waits stands in order of time", func(t *testing.T, open opener) {
		s := open(t)
		b, a, c := newWaiting("b", now.Add(time.Second)), newWaiting("a", now), newWaiting("c", now.Add(time.Second))
		never, before := newWaiting("never", time.Time{}), newWaiting("before", time.Unix(-5, 0))
		putWaiting(t, s, c, b, a, before, never)
		putUsers(t, s, newUser("active"))
		require.Equal(t, []string{"never", "before", "a", "b", "c"}, waitingSince(t, s, time.Time{}, far, 10))
		require.Equal(t, []string{"never", "before"}, waitingSince(t, s, time.Time{}, far, 2))
		require.Equal(t, []string{"a"}, waitingSince(t, s, now, now.Add(time.Second), 10), "from is among them, to is not")
		require.Equal(t, []string{"b", "c"}, waitingSince(t, s, now.Add(time.Second), far, 10))
		require.Empty(t, waitingSince(t, s, now.Add(2*time.Second), far, 10))
		require.Empty(t, waitingSince(t, s, time.Time{}, far, 0))
		a.WaitingSince = now.Add(time.Hour)
		putWaiting(t, s, a)
		require.Equal(t, []string{"b", "c", "a"}, waitingSince(t, s, now, far, 10))
	}},
	{"an account without an address waits too", func(t *testing.T, open opener) {
		s := open(t)
		u := newWaiting("one", now)
		u.Email, u.EmailPending = "", false
		putWaiting(t, s, u)
		require.Equal(t, []string{"one"}, waitingSince(t, s, time.Time{}, far, 10))
		require.Empty(t, waitingFor(t, s, "", 10))
	}},
	{"a failed act leaves the order of those who wait as it was", func(t *testing.T, open opener) {
		s := open(t)
		u := newWaiting("one", now)
		putWaiting(t, s, u)
		later := *u
		later.WaitingSince, later.Email = now.Add(time.Hour), "x@example.org"
		failed := fmt.Errorf("failed")
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			if err := tx.PutUser(&later, waitingKeys(&later)); err != nil {
				return err
			}
			found, err := tx.Waiting("x@example.org", 1)
			if err != nil || !slices.Equal(names(found), []string{"one"}) {
				return fmt.Errorf("an act doesn't see its own write: %v, %w", names(found), err)
			}
			if err := tx.DeleteUser(u.ID); err != nil {
				return err
			}
			return failed
		}), failed)
		require.Equal(t, []string{"one"}, waitingSince(t, s, now, now.Add(time.Second), 10))
		require.Equal(t, []string{"one"}, waitingFor(t, s, u.Email, 10))
	}},
	{"a mail remembers for whom it was asked", func(t *testing.T, open opener) {
		s := open(t)
		m := newMail("a@example.org", now)
		m.Waiting = uuid.Must(uuid.NewV7())
		putMail(t, s, m)
		var due []*store.Mail
		view(t, s, func(tx store.Tx) (err error) {
			due, err = tx.Mails(0, 1)
			return err
		})
		require.Len(t, due, 1)
		require.Equal(t, m.Waiting, due[0].Waiting)
	}},
}
