// account_endsessions.go: how sign-ins end: one, all, or those beyond what an account may have.

package registration

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
)

// endSession ends a session or token; one that has ended already is no error.
func (t *txn) endSession(hash TokenHash) error {
	t.sessions = append(t.sessions, hash)
	if err := t.DeleteSession(hash); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// endSessions ends every session and token of an account, but keep's. Where they
// are too many for one transaction it raises the epochs of u, which ends them all
// the same: the caller has to put u then (raised), and the records go later.
func (t *txn) endSessions(u *User, keep *TokenHash) error {
	return t.endAll(u, keep, KindSession, KindToken, KindRefresh)
}

// endTokens ends the API tokens and refresh tokens of an account, and reports
// whether there were any. The caller has to put u where its epoch was raised.
func (t *txn) endTokens(u *User) (found bool, err error) {
	before := len(t.sessions)
	err = t.endAll(u, nil, KindToken, KindRefresh)
	return t.raised() || len(t.sessions) > before, err
}

// raised reports whether the act has raised an epoch.
func (t *txn) raised() bool { return len(t.left) > 0 }

func (t *txn) endAll(u *User, keep *TokenHash, kinds ...SessionKind) error {
	all, err := t.Sessions(u.ID, sessionChunk)
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
	if len(all) < sessionChunk {
		return nil
	}
	if slices.Contains(kinds, KindSession) {
		u.SessionEpoch++
	}
	u.TokenEpoch++
	t.users, t.left = append(t.users, u.ID), append(t.left, u.ID)
	if keep == nil {
		return nil
	}
	kept, err := t.Session(*keep)
	if err != nil {
		return err
	}
	kept.Epoch = u.epoch(kept.Kind)
	t.sessions = append(t.sessions, *keep)
	return t.PutSession(kept)
}

// endMany ends the sign-ins of an account and removes them, in short
// transactions, if they are too many for one.
func (a *Accounts) endMany(ctx context.Context, id uuid.UUID) error {
	many := false
	err := a.view(ctx, func(tx Tx) error {
		some, err := tx.Sessions(id, sessionChunk)
		many = len(some) == sessionChunk
		return err
	})
	if err != nil || !many {
		return err
	}
	err = a.update(ctx, func(t *txn) error {
		u, err := t.User(id)
		if err != nil {
			return userNotFound(err)
		}
		if err := t.endSessions(u, nil); err != nil || !t.raised() {
			return err
		}
		return a.putUser(t, u)
	})
	if err == nil {
		_, err = a.sessions.endLeft(ctx, leftover{user: id}, a.now)
	}
	return storeError(err)
}

// makeRoom ends the sign-ins of an account beyond the number that it may have,
// the least recently used ones. issued are those of this very act, which stay.
func (a *Accounts) makeRoom(t *txn, u *User, issued []TokenHash) error {
	limit := a.policy.Session.Max
	chunk := 2*limit + sessionChunk
	all, err := t.Sessions(u.ID, chunk)
	if err != nil || len(all) <= limit {
		return err
	}
	for _, hash := range a.sessions.surplus(all, u, limit, issued, a.now()) {
		if err := t.endSession(hash); err != nil {
			return err
		}
	}
	if len(all) == chunk { // an account from before there was a limit
		t.left = append(t.left, u.ID)
	}
	return nil
}
