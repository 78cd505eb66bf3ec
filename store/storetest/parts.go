// parts.go: what an account has besides its fields: it is read without some of it, and each
// is kept by itself.

package storetest

import (
	"testing"

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
}
