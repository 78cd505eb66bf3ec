// parts.go: what an account has besides its fields: it is read without some of it, and each
// is kept by itself.

package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// partPromises belong to userPromises.
var partPromises = []promise{
	{"an account is read without its second step, and is not put then", func(t *testing.T, open opener) {
		s := open(t)
		full := fullUser()
		putUsers(t, s, full)
		want := *full
		store.Brief(&want)
		update(t, s, func(tx store.Tx) error {
			byID, err := tx.BriefUser(full.ID)
			require.NoError(t, err)
			require.Equal(t, &want, byID)
			byKey, err := tx.BriefUserByKey("username", full.Username)
			require.NoError(t, err)
			require.Equal(t, &want, byKey)
			require.Panics(t, func() { byKey.HasFactor() })
			require.Panics(t, func() { byKey.Factor(full.ID) })
			require.ErrorIs(t, tx.PutUser(byKey, keysOf(full)), store.ErrBrief)
			_, err = tx.BriefUser(uuid.Must(uuid.NewV7()))
			require.ErrorIs(t, err, store.ErrNotFound)
			_, err = tx.BriefUserByKey("username", "nobody")
			require.ErrorIs(t, err, store.ErrNotFound)
			_, err = tx.BriefUserByKey(store.WaitingKey, full.Email)
			require.ErrorIs(t, err, store.ErrNotFound)
			return nil
		})
		got, err := user(t, s, full.ID)
		require.NoError(t, err)
		require.Equal(t, full, got)
		require.False(t, got.Brief())
	}},
	{"tokens for programs are kept one by one", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("ada")
		for _, u.ProgramTokens = range [][]store.ProgramToken{fullUser().ProgramTokens, fullUser().ProgramTokens[1:2], nil} {
			putUsers(t, s, u)
			got, err := user(t, s, u.ID)
			require.NoError(t, err)
			require.Equal(t, u, got)
			for _, token := range u.ProgramTokens {
				require.Equal(t, &token, got.ProgramToken(token.Hash))
			}
			require.Nil(t, got.ProgramToken(store.TokenHash{9}))
		}
	}},
	{"accounts elsewhere are kept one by one, and those that were unlinked apart", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("ada")
		full := fullUser()
		for _, u.LinkedAccounts = range [][]store.LinkedAccount{full.LinkedAccounts, full.LinkedAccounts[1:], nil} {
			for _, u.FormerLinked = range [][]store.FormerLinked{full.FormerLinked, nil} {
				putUsers(t, s, u)
				got, err := user(t, s, u.ID)
				require.NoError(t, err)
				require.Equal(t, u, got)
				for _, l := range u.LinkedAccounts {
					require.Equal(t, &l, got.Linked(l.ID))
					require.Equal(t, &l, got.LinkedTo(l.Issuer, l.Subject))
				}
				require.Nil(t, got.Linked(full.FormerLinked[0].ID))
				require.Nil(t, got.LinkedTo("https://github.com", "2"))
			}
		}
	}},
	{"what was read ahead is as the act has made it since", func(t *testing.T, open opener) {
		s := open(t)
		ada, bob := newUser("ada"), newUser("bob")
		putUsers(t, s, ada)
		kept, fresh := store.NameHash{1}, store.NameHash{2}
		update(t, s, func(tx store.Tx) error {
			return errors.Join(tx.PutLeftName(kept, store.LeftName{User: ada.ID, Until: now}), tx.PutValue("kept", []byte("old")))
		})
		update(t, s, func(tx store.Tx) error {
			ahead := store.Ahead{
				Users:     []uuid.UUID{ada.ID, bob.ID},
				Keys:      []store.Key{{Field: "username", Value: "ada"}, {Field: "username", Value: "bob"}, {Field: "username", Value: "carl"}, {Field: "username"}},
				LeftNames: []store.NameHash{kept, fresh}, Values: []string{"kept", "fresh"},
			}
			ahead.In(tx)
			require.NoError(t, tx.PutUser(bob, keysOf(bob)))
			ada.Username = "carl"
			require.NoError(t, tx.PutUser(ada, keysOf(ada)))
			require.NoError(t, tx.PutValue("fresh", []byte("new")))
			require.NoError(t, tx.PutLeftName(fresh, store.LeftName{User: bob.ID, Until: now}))
			for name, id := range map[string]uuid.UUID{"bob": bob.ID, "carl": ada.ID} {
				u, err := tx.UserByKey("username", name)
				require.NoError(t, err)
				require.Equal(t, id, u.ID)
			}
			_, err := tx.UserByKey("username", "ada")
			require.ErrorIs(t, err, store.ErrNotFound)
			for name, want := range map[string]string{"kept": "old", "fresh": "new"} {
				value, err := tx.Value(name)
				require.NoError(t, err)
				require.Equal(t, want, string(value))
			}
			for hash, id := range map[store.NameHash]uuid.UUID{kept: ada.ID, fresh: bob.ID} {
				left, err := tx.LeftName(hash)
				require.NoError(t, err)
				require.Equal(t, store.LeftName{User: id, Until: now}, left)
			}
			ahead.In(tx) // again, behind the writes
			_, err = tx.LeftName(store.NameHash{3})
			require.ErrorIs(t, err, store.ErrNotFound)
			_, err = tx.Value("none")
			require.ErrorIs(t, err, store.ErrNotFound)
			return nil
		})
	}},
	{"a session that an act has not read is replaced all the same", func(t *testing.T, open opener) {
		s := open(t)
		u := newUser("ada")
		putUsers(t, s, u)
		x, other := newSession("one", u.ID), newSession("two", u.ID)
		putSession(t, s, x)
		x.UserAgent = "another"
		update(t, s, func(tx store.Tx) error {
			require.NoError(t, tx.PutSession(other))
			require.NoError(t, tx.PutSession(x))
			other.UserAgent = "another, too"
			require.NoError(t, tx.PutSession(other))
			return tx.PutValue("v", nil)
		})
		for _, want := range []*store.Session{x, other} {
			view(t, s, func(tx store.Tx) error {
				got, err := tx.Session(want.Hash)
				require.Equal(t, want, got)
				return err
			})
		}
		update(t, s, func(tx store.Tx) error {
			require.NoError(t, tx.DeleteSession(x.Hash))
			_, err := tx.Session(x.Hash)
			require.ErrorIs(t, err, store.ErrNotFound)
			require.ErrorIs(t, tx.DeleteSession(x.Hash), store.ErrNotFound)
			x.Expires = x.Expires.Add(time.Hour)
			return tx.PutSession(x)
		})
		view(t, s, func(tx store.Tx) error {
			got, err := tx.Session(x.Hash)
			require.Equal(t, x, got)
			return err
		})
	}},
}
