// invitations.go: the promises about invitations.

package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

func newInvitation(token string) *store.Invitation {
	return &store.Invitation{
		ID: uuid.Must(uuid.NewV7()), Hash: hash(token), Email: "ada@example.org", Groups: []string{"members", "staff"}, Note: "for the choir",
		Created: now, Expires: now.Add(time.Hour), Uses: 3, Used: 1,
	}
}

func putInvitations(t *testing.T, s store.Store, list ...*store.Invitation) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, i := range list {
			if err := tx.PutInvitation(i); err != nil {
				return err
			}
		}
		return nil
	})
}

func invitation(t *testing.T, s store.Store, token string) (i *store.Invitation, err error) {
	t.Helper()
	view(t, s, func(tx store.Tx) error { i, err = tx.InvitationByHash(hash(token)); return nil })
	return i, err
}

func invitationIDs(t *testing.T, s store.Store, after uuid.UUID, limit int) (ids []uuid.UUID) {
	t.Helper()
	view(t, s, func(tx store.Tx) error {
		ids = nil
		list, err := tx.Invitations(after, limit)
		for _, i := range list {
			ids = append(ids, i.ID)
		}
		return err
	})
	return ids
}

var invitationPromises = []promise{
	{"an invitation is read back, by its id and by the hash of its token, and replaced", func(t *testing.T, open opener) {
		s := open(t)
		_, err := invitation(t, s, "one")
		require.ErrorIs(t, err, store.ErrNotFound)
		want := newInvitation("one")
		putInvitations(t, s, want)
		want.Used, want.Expires = 2, now.Add(2*time.Hour)
		putInvitations(t, s, want)
		got, err := invitation(t, s, "one")
		require.NoError(t, err)
		require.Equal(t, want, got)
		got.Groups[0] = "changed"
		view(t, s, func(tx store.Tx) (err error) { got, err = tx.Invitation(want.ID); return err })
		require.Equal(t, want, got)
		bare := &store.Invitation{ID: uuid.Must(uuid.NewV7()), Hash: hash("bare")}
		putInvitations(t, s, bare)
		got, err = invitation(t, s, "bare")
		require.NoError(t, err)
		require.Equal(t, bare, got)
		want.Hash = hash("another")
		putInvitations(t, s, want)
		_, err = invitation(t, s, "one")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Len(t, invitationIDs(t, s, uuid.Nil, 10), 2)
	}},
	{"they are listed in order of id, so many at a time", func(t *testing.T, open opener) {
		s := open(t)
		var want []uuid.UUID
		for n := range 5 {
			i := newInvitation(fmt.Sprint(n))
			putInvitations(t, s, i)
			want = append(want, i.ID)
		}
		require.Equal(t, want, invitationIDs(t, s, uuid.Nil, 10))
		require.Equal(t, want[:2], invitationIDs(t, s, uuid.Nil, 2))
		require.Equal(t, want[3:], invitationIDs(t, s, want[2], 10))
		require.Empty(t, invitationIDs(t, s, want[4], 10))
		require.Empty(t, invitationIDs(t, s, uuid.Nil, 0))
	}},
	{"a hash is one invitation's, and is free once that is gone", func(t *testing.T, open opener) {
		s := open(t)
		first, second := newInvitation("one"), newInvitation("one")
		putInvitations(t, s, first)
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutInvitation(second) }), store.ErrTaken)
		update(t, s, func(tx store.Tx) error { return tx.DeleteInvitation(first.ID) })
		for _, err := range []error{
			s.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteInvitation(first.ID) }),
			s.View(t.Context(), func(tx store.Tx) error { _, err := tx.Invitation(first.ID); return err }),
		} {
			require.ErrorIs(t, err, store.ErrNotFound)
		}
		putInvitations(t, s, second)
		got, err := invitation(t, s, "one")
		require.NoError(t, err)
		require.Equal(t, second.ID, got.ID)
	}},
	{"those that are over can be deleted, the longest over first, so many at a time", func(t *testing.T, open opener) {
		s := open(t)
		for n, expires := range []time.Duration{0, -time.Hour, time.Second, -60 * 365 * 24 * time.Hour} {
			i := newInvitation(fmt.Sprint(n))
			i.Expires = now.Add(expires)
			putInvitations(t, s, i)
		}
		forget := func(at time.Time, limit int) (n int) {
			update(t, s, func(tx store.Tx) (err error) { n, err = tx.DeleteInvitations(at, limit); return err })
			return n
		}
		require.Zero(t, forget(now, 0))
		require.Equal(t, 2, forget(now, 2))
		for n, want := range []error{nil, store.ErrNotFound, nil, store.ErrNotFound} {
			_, err := invitation(t, s, fmt.Sprint(n))
			require.ErrorIs(t, err, want, n)
		}
		require.Equal(t, 1, forget(now, 2))
		require.Zero(t, forget(now, 2))
		require.Equal(t, 1, forget(now.Add(time.Second), 2))
	}},
	{"of two at once that use it up, one does", func(t *testing.T, open opener) {
		s := open(t)
		i := newInvitation("one")
		i.Uses, i.Used = 1, 0
		putInvitations(t, s, i)
		usedUp := errors.New("used up")
		errs := make([]error, 20)
		var wg sync.WaitGroup
		for n := range errs {
			wg.Go(func() {
				errs[n] = s.Update(t.Context(), func(tx store.Tx) error {
					got, err := tx.InvitationByHash(i.Hash)
					if err != nil {
						return err
					}
					if !got.Good(now) {
						return usedUp
					}
					got.Used++
					return tx.PutInvitation(got)
				})
			})
		}
		wg.Wait()
		done := 0
		for _, err := range errs {
			if err == nil {
				done++
				continue
			}
			require.ErrorIs(t, err, usedUp)
		}
		require.Equal(t, 1, done)
	}},
	{"a failed act leaves invitations as they were, and a View changes none", func(t *testing.T, open opener) {
		s := open(t)
		kept, failed := newInvitation("kept"), errors.New("failed")
		putInvitations(t, s, kept)
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(tx.DeleteInvitation(kept.ID), tx.PutInvitation(newInvitation("lost")), failed)
		}), failed)
		got, err := invitation(t, s, "kept")
		require.NoError(t, err)
		require.Equal(t, kept, got)
		require.Len(t, invitationIDs(t, s, uuid.Nil, 10), 1)
		for name, write := range map[string]func(store.Tx) error{
			"PutInvitation":    func(tx store.Tx) error { return tx.PutInvitation(newInvitation("two")) },
			"DeleteInvitation": func(tx store.Tx) error { return tx.DeleteInvitation(kept.ID) },
			"DeleteInvitations": func(tx store.Tx) error {
				_, err := tx.DeleteInvitations(now.AddDate(9, 0, 0), 10)
				return err
			},
		} {
			require.ErrorIs(t, s.View(t.Context(), write), store.ErrReadOnly, name)
		}
		large := newInvitation("large")
		large.Note = strings.Repeat("x", 10<<20)
		require.ErrorIs(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutInvitation(large) }), store.ErrTooLarge)
	}},
	{"a mail remembers what it invites to and what an owner has written", func(t *testing.T, open opener) {
		s := open(t)
		m := newMail("a@example.org", now)
		m.Invitation, m.Words = uuid.Must(uuid.NewV7()), "see you\nsoon"
		putMail(t, s, m)
		var got []*store.Mail
		view(t, s, func(tx store.Tx) (err error) { got, err = tx.Mails(0, 1); return err })
		require.Len(t, got, 1)
		require.Equal(t, m, got[0])
	}},
}
