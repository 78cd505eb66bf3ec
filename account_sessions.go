// account_sessions.go: the sign-ins of an account as its owner sees them, and how
// he ends one of them.

package registration

import (
	"context"
	"errors"
	"slices"
)

// sessionKinds are the names of the kinds in answers.
var sessionKinds = map[SessionKind]string{KindSession: "session", KindToken: "token", KindRefresh: "jwt"}

// sessionsShown is how many sign-ins a page of the list has.
const sessionsShown = 50

// ListSessions returns the live sessions, API tokens and families of refresh
// tokens of who asks, the latest used first. Of an account from before their
// number had a limit it may be a part.
func (a *Accounts) ListSessions(ctx context.Context, p Principal) ([]*Session, error) {
	var all []*Session
	var u *User
	err := a.view(ctx, func(tx Tx) (err error) {
		if u, err = tx.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		all, err = a.someSessions(tx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	now, idle := a.time(), a.policy.Session.Idle
	all = slices.DeleteFunc(all, func(s *Session) bool {
		if used := a.sessions.lastUse(s.Hash); used.After(s.LastUsed) {
			s.LastUsed = used
		}
		if s.LastUsed.After(now) { // a clock was ahead
			s.LastUsed = now
		}
		return s.Epoch != u.epoch(s.Kind) || !now.Before(s.Expires) || now.Sub(s.LastUsed) >= idle
	})
	slices.SortFunc(all, func(x, y *Session) int {
		if c := y.LastUsed.Compare(x.LastUsed); c != 0 {
			return c
		}
		return y.Created.Compare(x.Created)
	})
	return all, nil
}

// someSessions returns the sign-ins of an account as far as it may have them; of
// one from before there was a limit, a part with the one that asks. The rest is
// then on its way out.
func (a *Accounts) someSessions(tx Tx, p Principal) ([]*Session, error) {
	chunk := 2*a.policy.Session.Max + sessionChunk
	all, err := tx.Sessions(p.User.ID, chunk)
	if err != nil || len(all) < chunk {
		return all, err
	}
	a.sessions.leave(p.User.ID, a.policy.Session.Max)
	if !slices.ContainsFunc(all, func(s *Session) bool { return s.Hash == p.Session.Hash }) {
		asking, err := tx.Session(p.Session.Hash)
		if err != nil {
			return nil, notSignedIn(err)
		}
		all = append(all, asking)
	}
	return all, nil
}

// Inputs of the endpoint that ends sign-ins.
const (
	paramSession = "id"
	paramOthers  = "others"
)

// EndOtherSessions signs out everywhere else: every session, token and family but
// the one that asks ends, and so do links, pending changes and device cookies. It
// returns the account as it is then.
func (a *Accounts) EndOtherSessions(ctx context.Context, p Principal) (*User, error) {
	var u *User
	err := a.update(ctx, func(t *txn) (err error) {
		if _, err := t.Session(p.Session.Hash); err != nil {
			return notSignedIn(err)
		}
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := t.endSessions(u, &p.Session.Hash); err != nil {
			return err
		}
		u.Generation++
		return a.putUser(t, u)
	})
	return u, err
}

// EndSession ends the session, token or family that the input names by `id`.
// endedSelf reports whether it is the one that asks. An unknown id, somebody
// else's too, is CodeSessionNotFound.
func (a *Accounts) EndSession(ctx context.Context, p Principal, in Input) (endedSelf bool, err error) {
	var errs fieldErrors
	id := in.required(paramSession, &errs)
	if err := errs.err(); err != nil {
		return false, err
	}
	// Looked up before: a wrong id is to cost those who write nothing.
	var hash TokenHash
	err = a.view(ctx, func(tx Tx) error {
		all, err := a.someSessions(tx, p)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Hash.publicID() == id {
				hash = s.Hash
				return nil
			}
		}
		return refuse(CodeSessionNotFound)
	})
	if err != nil {
		return false, err
	}
	err = a.update(ctx, func(t *txn) error {
		if s, err := t.Session(hash); errors.Is(err, ErrNotFound) || err == nil && s.User != p.User.ID {
			return refuse(CodeSessionNotFound)
		} else if err != nil {
			return err
		}
		return t.endSession(hash)
	})
	return hash == p.Session.Hash && err == nil, err
}
