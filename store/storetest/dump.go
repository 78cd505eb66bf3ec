// dump.go: a realm that is carried from one store to another.

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/store"
)

// Fill puts so many accounts, with sign-ins, tokens for programs and factors, queued mail and
// all else that a store keeps, into a store.
func Fill(t testing.TB, s store.Store, accounts int) {
	t.Helper()
	const batch = 500
	for first := 0; first < accounts; first += batch {
		require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
			for i := first; i < min(first+batch, accounts); i++ {
				if err := fillOne(tx, i); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, s.Update(t.Context(), func(tx store.Tx) error {
		mails, err := tx.Mails(0, 1_000_000)
		if err != nil || len(mails) == 0 {
			return err
		}
		// The last number was given away, and its mail is gone.
		return errors.Join(tx.DeleteMail(mails[len(mails)-1].Seq), tx.PutValue("key", []byte{0, 1}), tx.PutValue("empty", nil))
	}))
}

func fillOne(tx store.Tx, i int) error {
	name := fmt.Sprint("member-", i)
	u := newUser(name)
	keys := keysOf(u)
	switch i % 5 {
	case 0:
		full := fullUser()
		full.Username, full.Email = name, u.Email
		u, keys = full, []store.Key{{Field: "username", Value: name}, {Field: store.WaitingKey, Value: fmt.Sprint("shared-", i/10, "@example.org")}}
		keys = append(keys, store.Key{Field: store.ProgramKey, Value: name})
	case 1:
		u.IsActive = false
	case 2:
		u.Groups = []string{"editors", fmt.Sprint("group ", i%7)}
	}
	session, refresh := newSession(name, u.ID), newSession("refresh "+name, u.ID)
	refresh.Kind, refresh.Refresh, refresh.Rotated = store.KindRefresh, hash("half"+name), now
	mail := newMail(fmt.Sprint("To-", i/2, "@example.org"), now.Add(time.Duration(i)*time.Millisecond))
	mail.Seq, mail.User = 0, u.ID
	errs := []error{
		tx.PutUser(u, keys), tx.PutSession(session), tx.PutSession(refresh), tx.PutMail(mail),
		tx.AddAudit(&store.Audit{At: now, Event: "sign_in", Account: u.ID, Address: "2001:db8::1", Details: map[string]string{"a": name}}),
		tx.PutLeftName(store.NameHash(hash("left "+name)), store.LeftName{User: u.ID, Until: now.Add(time.Hour)}),
		tx.PutBudget(&store.Budget{Table: "sign-in", Key: [16]byte(u.ID), Whole: now.Add(time.Hour)}),
	}
	if i%10 == 0 {
		errs = append(errs, tx.AddAudit(&store.Audit{At: now, Event: "failures"}), tx.PutInvitation(&store.Invitation{
			ID: uuid.Must(uuid.NewV7()), Hash: hash("invite " + name), Email: name + "@example.net", Created: now, Expires: now.Add(time.Hour), Uses: 3, Used: 1,
		}))
	}
	return errors.Join(errs...)
}

// Dumped is all that a store dumps, and how many rows of each kind.
func Dumped(t testing.TB, s store.Store) (rows []store.Row, counts map[store.RowKind]int) {
	t.Helper()
	counts = map[store.RowKind]int{}
	require.NoError(t, s.(store.Moving).Dump(t.Context(), func(row store.Row) error {
		rows = append(rows, store.Row{Kind: row.Kind, Key: bytes.Clone(row.Key), Data: append([]byte{}, row.Data...)})
		counts[row.Kind]++
		return nil
	}))
	return rows, counts
}

// RequireMoved says whether a store has all that another one has: the rows, and what is found
// by them.
func RequireMoved(t testing.TB, from, to store.Store) {
	t.Helper()
	want, counts := Dumped(t, from)
	for _, kind := range append([]store.RowKind{store.RowNumber}, store.Records...) {
		require.NotZero(t, counts[kind], kind)
	}
	got, _ := Dumped(t, to)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i], got[i])
	}
	require.Equal(t, found(t, from), found(t, to))
}

// found is what a store finds by what is no row.
func found(t testing.TB, s store.Store) (all []any) {
	t.Helper()
	see := func(v any, err error) {
		require.NoError(t, err)
		all = append(all, v)
	}
	require.NoError(t, s.View(t.Context(), func(tx store.Tx) error {
		all = nil
		see(tx.UserByKey("username", "member-0"))
		see(tx.UserByKey("email", "member-1@example.org"))
		see(tx.UserByKey(store.ProgramKey, "member-5"))
		see(tx.Waiting("shared-0@example.org", 10))
		see(tx.WaitingSince(now.Add(-time.Hour), now.Add(time.Hour), 10))
		see(tx.InvitationByHash(hash("invite member-0")))
		for _, state := range []string{"", store.StateActive, store.StateUnconfirmed, store.StateWaiting, store.StateDisabled, store.StateClosing} {
			see(tx.CountMembers(state))
			page, err := tx.Members(store.MemberQuery{State: state, Group: "editors", Limit: 20})
			see(page.Users, err)
		}
		page, err := tx.Members(store.MemberQuery{Search: "member-1", Limit: 20})
		see(len(page.Users), err)
		u, err := tx.UserByKey("username", "member-2")
		require.NoError(t, err)
		see(tx.Sessions(u.ID, 10))
		see(tx.Audits(store.AuditQuery{Account: u.ID, Limit: 10}))
		return nil
	}))
	worker := store.Claim{Worker: uuid.Must(uuid.NewV7()), Now: now.Add(time.Hour), Lease: time.Minute, Limit: 1_000}
	mails, _, err := s.ClaimMail(t.Context(), worker)
	see(mails, err)
	worker.Limit = 0 // they are free again
	_, _, err = s.ClaimMail(t.Context(), worker)
	require.NoError(t, err)
	return all
}

// Moves checks that all of a store with something in it comes into an empty one, whichever
// they are, and into no other.
func Moves(t *testing.T, from, to store.Store) {
	t.Helper()
	fill := func(put func(store.Row) error) error { return from.(store.Moving).Dump(t.Context(), put) }
	require.NoError(t, to.(store.Moving).Load(t.Context(), fill))
	RequireMoved(t, from, to)
	require.ErrorIs(t, to.(store.Moving).Load(t.Context(), fill), store.ErrNotEmpty)
	RequireMoved(t, from, to)
	// Numbers go on where they were.
	one, two := newMail("next@example.org", now), newMail("next@example.org", now)
	putMail(t, to, one)
	putMail(t, from, two)
	require.Equal(t, two.Seq, one.Seq)
	update(t, from, func(tx store.Tx) error { return tx.DeleteMail(two.Seq) })
}
