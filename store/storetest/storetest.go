// Package storetest is the conformance suite of registration.Store: what every
// store must do, one subtest per promise of the contract.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// now is a fixed moment, with a resolution that every store keeps.
var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// An opener returns an empty store and closes it when the test ends.
type opener func(t *testing.T) store.Store

// Run checks all promises of the contract. open returns a new, empty store for
// the given test and sees to its closing.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []promise
	}{
		{"act", actPromises},
		{"user", append(slices.Clip(userPromises), partPromises...)},
		{"waiting", waitingPromises},
		{"member", memberPromises},
		{"session", sessionPromises},
		{"mail", mailPromises},
		{"lease", leasePromises},
		{"change", changePromises},
		{"value", valuePromises},
		{"budget", budgetPromises},
		{"spending", spendPromises},
		{"left name", leftNamePromises},
		{"audit", auditPromises},
		{"invitation", invitationPromises},
		{"concurrency", concurrencyPromises},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, p := range group.tests {
				t.Run(p.name, func(t *testing.T) { p.test(t, open) })
			}
		})
	}
}

type promise struct {
	name string
	test func(t *testing.T, open opener)
}

// update and view run fn and expect it to succeed. Within fn, errors are
// returned and values captured: fn may run twice and on another goroutine, so
// it must not end the test.
func update(t *testing.T, s store.Store, fn func(store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), fn))
}

func view(t *testing.T, s store.Store, fn func(store.Tx) error) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), fn))
}

func newUser(name string) *store.User {
	return &store.User{
		ID: uuid.Must(uuid.NewV7()), Username: name, Email: name + "@example.org",
		IsActive: true, DateJoined: now,
	}
}

func keysOf(u *store.User) []store.Key {
	return []store.Key{{Field: "username", Value: u.Username}, {Field: "email", Value: u.Email}}
}

func putUsers(t *testing.T, s store.Store, users ...*store.User) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, u := range users {
			if err := tx.PutUser(u, keysOf(u)); err != nil {
				return err
			}
		}
		return nil
	})
}

// user reads an account; the error is for the caller to judge.
func user(t *testing.T, s store.Store, id uuid.UUID) (u *store.User, err error) {
	t.Helper()
	view(t, s, func(tx store.Tx) error {
		u, err = tx.User(id)
		return nil
	})
	return u, err
}

func userByKey(t *testing.T, s store.Store, field, key string) (u *store.User, err error) {
	t.Helper()
	view(t, s, func(tx store.Tx) error {
		u, err = tx.UserByKey(field, key)
		return nil
	})
	return u, err
}

var actPromises = []promise{
	{"an error of the function is returned unchanged", func(t *testing.T, open opener) {
		s := open(t)
		mine := &customError{"mine"}
		for name, act := range map[string]func(context.Context, func(store.Tx) error) error{
			"View": s.View, "Update": s.Update,
		} {
			err := act(t.Context(), func(store.Tx) error { return mine })
			var got *customError
			require.ErrorAs(t, err, &got, name)
			require.Same(t, mine, got, name)
			require.ErrorIs(t, act(t.Context(), func(store.Tx) error {
				return fmt.Errorf("wrapped: %w", context.DeadlineExceeded)
			}), context.DeadlineExceeded, name)
		}
	}},
	{"a failed Update leaves nothing behind", func(t *testing.T, open opener) {
		s := open(t)
		kept, lost := newUser("kept"), newUser("lost")
		putUsers(t, s, kept)
		putSession(t, s, newSession("kept", kept.ID))
		failed := errors.New("failed")
		m := newMail("a@example.org", now)
		err := s.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(
				tx.PutUser(lost, keysOf(lost)), tx.PutSession(newSession("lost", lost.ID)),
				tx.PutMail(m), tx.PutValue("lost", []byte("x")), tx.DeleteUser(kept.ID), failed)
		})
		require.ErrorIs(t, err, failed)
		require.Equal(t, failed.Error(), err.Error(), "a write failed")

		_, err = user(t, s, lost.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = userByKey(t, s, "username", "lost")
		require.ErrorIs(t, err, store.ErrNotFound)
		got, err := userByKey(t, s, "username", "kept")
		require.NoError(t, err)
		require.Equal(t, kept, got)
		require.Equal(t, []string{"kept"}, sessionNames(t, s, kept.ID))
		require.Empty(t, sessionNames(t, s, lost.ID))
		require.Empty(t, queue(t, s))
		view(t, s, func(tx store.Tx) error {
			_, err = tx.Value("lost")
			return nil
		})
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"a panic of the function leaves nothing behind and the store usable", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		require.PanicsWithValue(t, "oops", func() {
			_ = s.Update(t.Context(), func(tx store.Tx) error {
				_ = tx.PutUser(u, keysOf(u))
				panic("oops")
			})
		})
		require.PanicsWithValue(t, "oops", func() {
			_ = s.View(t.Context(), func(store.Tx) error { panic("oops") })
		})
		_, err := user(t, s, u.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		putUsers(t, s, u)
	}},
	{"an act sees its own writes", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		var got *store.User
		var freed error
		update(t, s, func(tx store.Tx) (err error) {
			if err = tx.PutUser(u, keysOf(u)); err != nil {
				return err
			}
			if got, err = tx.UserByKey("username", "anna"); err != nil {
				return err
			}
			if err = tx.DeleteUser(u.ID); err != nil {
				return err
			}
			_, freed = tx.UserByKey("username", "anna")
			return nil
		})
		require.Equal(t, u, got)
		require.ErrorIs(t, freed, store.ErrNotFound)
	}},
	{"writes in View fail with ErrReadOnly", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("anna")
		putUsers(t, s, u)
		putSession(t, s, newSession("one", u.ID))
		other := newUser("other")
		for name, write := range map[string]func(store.Tx) error{
			"PutUser":       func(tx store.Tx) error { return tx.PutUser(other, keysOf(other)) },
			"DeleteUser":    func(tx store.Tx) error { return tx.DeleteUser(u.ID) },
			"PutSession":    func(tx store.Tx) error { return tx.PutSession(newSession("two", u.ID)) },
			"DeleteSession": func(tx store.Tx) error { return tx.DeleteSession(hash("one")) },
			"DeleteExpiredSessions": func(tx store.Tx) error {
				_, err := tx.DeleteExpiredSessions(now.AddDate(9, 0, 0), 10)
				return err
			},
			"PutMail":    func(tx store.Tx) error { return tx.PutMail(newMail("a@example.org", now)) },
			"DeleteMail": func(tx store.Tx) error { return tx.DeleteMail(1) },
			"PutValue":   func(tx store.Tx) error { return tx.PutValue("name", nil) },
			"PutBudget":  func(tx store.Tx) error { return tx.PutBudget(budget("table", 1, time.Hour)) },
			"DeleteBudgets": func(tx store.Tx) error {
				_, err := tx.DeleteBudgets(now, 10)
				return err
			},
		} {
			require.ErrorIs(t, s.View(t.Context(), write), store.ErrReadOnly, name)
		}
		_, err := user(t, s, u.ID)
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, sessionNames(t, s, u.ID))
	}},
	{"a cancelled context starts nothing", func(t *testing.T, open opener) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ran := false
		fn := func(store.Tx) error { ran = true; return nil }
		require.ErrorIs(t, s.View(ctx, fn), context.Canceled)
		require.ErrorIs(t, s.Update(ctx, fn), context.Canceled)
		require.False(t, ran)
	}},
	{"use after Close fails, and Close may be called twice", func(t *testing.T, open opener) {
		s := open(t)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		ran := false
		fn := func(store.Tx) error { ran = true; return nil }
		require.Error(t, s.View(t.Context(), fn))
		require.Error(t, s.Update(t.Context(), fn))
		require.False(t, ran)
	}},
}

type customError struct{ text string }

func (e *customError) Error() string { return e.text }

var valuePromises = []promise{
	{"a value is read back and replaced", func(t *testing.T, open opener) {
		s := open(t)
		for _, want := range [][]byte{{1, 0, 255}, []byte("second"), make([]byte, 64<<10)} {
			update(t, s, func(tx store.Tx) error { return tx.PutValue("ключ", want) })
			require.Equal(t, want, value(t, s, "ключ"))
		}
	}},
	{"an unknown value is ErrNotFound", func(t *testing.T, open opener) {
		s := open(t)
		err := s.View(t.Context(), func(tx store.Tx) error {
			_, err := tx.Value("nothing")
			return err
		})
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"values are copies", func(t *testing.T, open opener) {
		s := open(t)
		// Large, so that it lies in pages of its own.
		want := bytes.Repeat([]byte("secret"), 10_000)
		update(t, s, func(tx store.Tx) error {
			given := bytes.Clone(want)
			if err := tx.PutValue("key", given); err != nil {
				return err
			}
			given[0] = 'X'
			got, err := tx.Value("key")
			if err != nil {
				return err
			}
			got[1] = 'X'
			return nil
		})
		got := value(t, s, "key")
		require.True(t, bytes.Equal(want, got))
		got[0] = 'Y'
		require.True(t, bytes.Equal(want, value(t, s, "key")))
	}},
}

func value(t *testing.T, s store.Store, name string) (v []byte) {
	t.Helper()
	view(t, s, func(tx store.Tx) (err error) {
		v, err = tx.Value(name)
		return err
	})
	return v
}
