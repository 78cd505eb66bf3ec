// endsessions.go: how sign-ins end: one, all, or those beyond what an account may have.

package account

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// endSession ends a session or token; one that has ended already is no error.
func (t *Txn) endSession(hash store.TokenHash) error {
	t.ended++
	if err := t.DeleteSession(hash); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// EndSessions ends every session and token of an account, but keep's. Where they
// are too many for one transaction it raises the epochs of u, which ends them all
// the same: the caller has to put u then (raised), and the records go later.
func (t *Txn) EndSessions(u *store.User, keep *store.TokenHash) error {
	return t.endAll(u, keep, store.KindSession, store.KindToken, store.KindRefresh)
}

// endTokens ends the API tokens and refresh tokens of an account, and reports
// whether there were any. The caller has to put u where its epoch was raised.
func (t *Txn) endTokens(u *store.User) (found bool, err error) {
	before := t.ended
	err = t.endAll(u, nil, store.KindToken, store.KindRefresh)
	return t.raised() || t.ended > before, err
}

// raised reports whether the act has raised an epoch.
func (t *Txn) raised() bool { return len(t.left) > 0 }

func (t *Txn) endAll(u *store.User, keep *store.TokenHash, kinds ...store.SessionKind) error {
	all, err := t.Sessions(u.ID, session.SessionChunk)
	if err != nil {
		return err
	}
	for _, s := range all {
		if !slices.Contains(kinds, s.Kind) || keep != nil && s.Hash == *keep {
			continue
		}
		if err := t.endSession(s.Hash); err != nil {
			return err
		}
	}
	if len(all) < session.SessionChunk {
		return nil
	}
	if slices.Contains(kinds, store.KindSession) {
		u.SessionEpoch++
	}
	u.TokenEpoch++
	t.left = append(t.left, u.ID)
	if keep == nil {
		return nil
	}
	kept, err := t.Session(*keep)
	if err != nil {
		return err
	}
	kept.Epoch = u.Epoch(kept.Kind)
	return t.PutSession(kept)
}

// endMany ends the sign-ins of an account and removes them, in short
// transactions, if they are too many for one.
func (a *Accounts) endMany(ctx context.Context, id uuid.UUID) error {
	many := false
	err := a.View(ctx, func(tx store.Tx) error {
		some, err := tx.Sessions(id, session.SessionChunk)
		many = len(some) == session.SessionChunk
		return err
	})
	if err != nil || !many {
		return err
	}
	err = a.Update(ctx, func(t *Txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := t.EndSessions(u, nil); err != nil || !t.raised() {
			return err
		}
		return a.PutUser(t, u)
	})
	if err == nil {
		_, err = a.Sessions.EndLeft(ctx, session.Leftover{User: id}, a.Now)
	}
	return StoreError(err)
}

// makeRoom ends the sign-ins of an account beyond the number that it may have,
// the least recently used ones. issued are those of this very act, which stay.
func (a *Accounts) makeRoom(t *Txn, u *store.User, issued []store.TokenHash) error {
	limit := a.Policy.Session.Max
	chunk := 2*limit + session.SessionChunk
	all, err := t.Sessions(u.ID, chunk)
	if err != nil || len(all) <= limit {
		return err
	}
	for _, hash := range a.Sessions.Surplus(all, u, limit, issued, a.Now()) {
		if err := t.endSession(hash); err != nil {
			return err
		}
	}
	if len(all) == chunk { // an account from before there was a limit
		t.left = append(t.left, u.ID)
	}
	return nil
}
