// account_grant.go: what a sign-in hands out.

package registration

// grant writes what a sign-in of u hands out, and ends what is beyond the number
// of sign-ins that an account may have.
func (a *Accounts) grant(t *txn, u *User, client Client) (*Grant, error) {
	g := &Grant{}
	now := a.time()
	var issued []TokenHash
	issue := func(kind SessionKind) (string, *Session, error) {
		token, hash := newToken()
		s := &Session{
			Hash: hash, User: u.ID, Kind: kind, Created: now, LastUsed: now,
			Expires: now.Add(a.policy.Session.Lifetime),
			Address: client.Address, UserAgent: shorten(client.UserAgent, maxUserAgent), Epoch: u.epoch(kind),
		}
		issued = append(issued, hash)
		return token, s, t.PutSession(s)
	}
	var err error
	if a.policy.Login.Session {
		if g.Cookie, g.Session, err = issue(KindSession); err != nil {
			return nil, err
		}
	}
	if a.policy.Login.Token && a.access != nil {
		family, s, err := issue(KindRefresh)
		if err != nil {
			return nil, err
		}
		generation, hash := newToken()
		s.Refresh = hash
		g.Refresh, g.Family = family+refreshSeparator+generation, s
		if err := t.PutSession(s); err != nil {
			return nil, err
		}
	} else if a.policy.Login.Token {
		if g.Token, _, err = issue(KindToken); err != nil {
			return nil, err
		}
	}
	return g, a.makeRoom(t, u, issued)
}

// renewSession gives a session a new token; its lifetime goes on.
func (t *txn) renewSession(s *Session) (*Grant, error) {
	token, hash := newToken()
	renewed := *s
	renewed.Hash = hash
	if err := t.PutSession(&renewed); err != nil {
		return nil, err
	}
	return &Grant{Cookie: token, Session: &renewed}, t.endSession(s.Hash)
}
