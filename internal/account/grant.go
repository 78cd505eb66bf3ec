// grant.go: what a sign-in hands out.

package account

import (
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

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
