// sessions.go: the sign-ins of an account as its owner sees them, and how
// he ends one of them.

package account

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// SessionKinds are the names of the kinds in answers.
var SessionKinds = map[store.SessionKind]string{store.KindSession: "session", store.KindToken: "token", store.KindRefresh: "jwt"}

// SessionsShown is how many sign-ins a page of the list has.
const SessionsShown = 50

// ListSessions returns the live sessions, API tokens and families of refresh
// tokens of who asks, the latest used first. Of an account from before their
// number had a limit it may be a part.
func (a *Accounts) ListSessions(ctx context.Context, p session.Principal) ([]*store.Session, error) {
	var all []*store.Session
	var u *store.User
	err := a.View(ctx, func(tx store.Tx) (err error) {
		if u, err = tx.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		all, err = a.someSessions(tx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	now, idle := a.Time(), a.Policy.Session.Idle
	all = slices.DeleteFunc(all, func(s *store.Session) bool {
		if used := a.Sessions.LastUse(s.Hash); used.After(s.LastUsed) {
			s.LastUsed = used
		}
		if s.LastUsed.After(now) { // a clock was ahead
			s.LastUsed = now
		}
		return s.Epoch != u.Epoch(s.Kind) || !now.Before(s.Expires) || now.Sub(s.LastUsed) >= idle
	})
	slices.SortFunc(all, func(x, y *store.Session) int {
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
func (a *Accounts) someSessions(tx store.Tx, p session.Principal) ([]*store.Session, error) {
	chunk := 2*a.Policy.Session.Max + session.SessionChunk
	all, err := tx.Sessions(p.User.ID, chunk)
	if err != nil || len(all) < chunk {
		return all, err
	}
	a.Sessions.Leave(p.User.ID, a.Policy.Session.Max)
	if !slices.ContainsFunc(all, func(s *store.Session) bool { return s.Hash == p.Session.Hash }) {
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
	ParamSession = "id"
	ParamOthers  = "others"
)

// EndOtherSessions signs out everywhere else: every session, token and family but
// the one that asks ends, and so do links, pending changes and device cookies. It
// returns the account as it is then.
func (a *Accounts) EndOtherSessions(ctx context.Context, p session.Principal) (*store.User, error) {
	var u *store.User
	err := a.Update(ctx, func(t *Txn) (err error) {
		if _, err := t.Session(p.Session.Hash); err != nil {
			return notSignedIn(err)
		}
		if u, err = t.User(p.User.ID); err != nil {
			return notSignedIn(err)
		}
		if err := t.EndSessions(u, &p.Session.Hash); err != nil {
			return err
		}
		u.Generation++
		if err := t.Audit(audit.SessionsEnded, u.ID, "which", "others"); err != nil {
			return err
		}
		return a.PutUser(t, u)
	})
	return u, err
}

// EndSession ends the session, token or family that the input names by `id`.
// endedSelf reports whether it is the one that asks. An unknown id, somebody
// else's too, is CodeSessionNotFound.
func (a *Accounts) EndSession(ctx context.Context, p session.Principal, in field.Input) (endedSelf bool, err error) {
	var errs refusal.FieldErrors
	id := in.Required(ParamSession, &errs)
	if err := errs.Err(); err != nil {
		return false, err
	}
	// Looked up before: a wrong id is to cost those who write nothing.
	var hash store.TokenHash
	err = a.View(ctx, func(tx store.Tx) error {
		all, err := a.someSessions(tx, p)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Hash.PublicID() == id {
				hash = s.Hash
				return nil
			}
		}
		return refusal.New(refusal.CodeSessionNotFound)
	})
	if err != nil {
		return false, err
	}
	err = a.Update(ctx, func(t *Txn) error {
		if s, err := t.Session(hash); errors.Is(err, store.ErrNotFound) || err == nil && s.User != p.User.ID {
			return refusal.New(refusal.CodeSessionNotFound)
		} else if err != nil {
			return err
		}
		return errors.Join(t.endSession(hash), t.Audit(audit.SessionsEnded, p.User.ID, "which", "one"))
	})
	return hash == p.Session.Hash && err == nil, err
}

// Grant writes what a sign-in of u hands out, and ends what is beyond the number
// of sign-ins that an account may have.
func (a *Accounts) Grant(t *Txn, u *store.User, client Client) (*session.Grant, error) {
	g := &session.Grant{}
	now := a.Time()
	var issued []store.TokenHash
	issue := func(kind store.SessionKind) (string, *store.Session, error) {
		token, hash := session.NewToken()
		s := &store.Session{
			Hash: hash, User: u.ID, Kind: kind, Created: now, LastUsed: now,
			Expires: now.Add(a.Policy.Session.Lifetime),
			Address: client.Address, UserAgent: session.Shorten(client.UserAgent, session.MaxUserAgent), Epoch: u.Epoch(kind),
		}
		issued = append(issued, hash)
		return token, s, t.PutSession(s)
	}
	var err error
	if a.Policy.Login.Session {
		if g.Cookie, g.Session, err = issue(store.KindSession); err != nil {
			return nil, err
		}
	}
	if a.Policy.Login.Token && a.Access != nil {
		family, s, err := issue(store.KindRefresh)
		if err != nil {
			return nil, err
		}
		generation, hash := session.NewToken()
		s.Refresh = hash
		g.Refresh, g.Family = family+refreshSeparator+generation, s
		if err := t.PutSession(s); err != nil {
			return nil, err
		}
	} else if a.Policy.Login.Token {
		if g.Token, _, err = issue(store.KindToken); err != nil {
			return nil, err
		}
	}
	return g, a.makeRoom(t, u, issued)
}

// renewSession gives a session a new token; its lifetime goes on.
func (t *Txn) renewSession(s *store.Session) (*session.Grant, error) {
	token, hash := session.NewToken()
	renewed := *s
	renewed.Hash = hash
	if err := t.PutSession(&renewed); err != nil {
		return nil, err
	}
	return &session.Grant{Cookie: token, Session: &renewed}, t.endSession(s.Hash)
}
