// account_tokens.go: API tokens, access tokens and the refresh tokens that renew them.

package registration

import (
	"context"
	"errors"
	"strings"
	"time"
)

// addAccessToken completes what a sign-in hands out, after its transaction:
// signing may have to read the store.
func (a *Accounts) addAccessToken(ctx context.Context, u *User, g *Grant) (err error) {
	if g == nil || g.Family == nil {
		return nil
	}
	if g.Token, g.Expires, err = a.access.sign(ctx, a.now(), u, g.Family); err != nil {
		return storeError(err)
	}
	return nil
}

// byToken returns who an API token or access token belongs to, or ErrNotFound.
// A JWT alone is not enough: the sign-in that it names must still be there, so
// a revocation counts at the very next request.
func (a *Accounts) byToken(ctx context.Context, token string, now time.Time, idle time.Duration) (Principal, error) {
	if a.access == nil || strings.Count(token, ".") != 2 {
		return a.sessions.lookup(ctx, token, KindToken, now, idle)
	}
	user, session, err := a.access.verify(ctx, now, token)
	if err != nil {
		return Principal{}, err
	}
	p, err := a.sessions.lookupHash(ctx, session, KindRefresh, now, idle)
	if err == nil && p.User.ID != user {
		return Principal{}, ErrNotFound
	}
	return p, err
}

// refreshSeparator stands between the two halves of a refresh token: the secret
// name of the family, which stays, and that of the generation.
const refreshSeparator = "."

// refreshGrace is how long the token before the present one is refused without
// ending its family. Two tabs of one browser that refresh at once, or a request
// that a network repeats, are no theft; the one who comes second gets nothing
// either way. Whoever comes with it later has kept a token that its owner has
// exchanged, or its owner has lost it to somebody: the family ends.
const refreshGrace = 10 * time.Second

// Refresh exchanges a refresh token for the next one and a new access token.
// A token that was exchanged before ends the sign-in that it belongs to (RFC
// 9700, 4.14.2), with CodeTokenReused; within the grace it is
// CodeRefreshConflict. Of any number of callers with one token, one succeeds.
func (a *Accounts) Refresh(ctx context.Context, in Input) (*User, *Grant, error) {
	var errs fieldErrors
	text := in.required(paramRefreshToken, &errs)
	if err := errs.err(); err != nil {
		return nil, nil, err
	}
	family, generation, _ := strings.Cut(text, refreshSeparator)
	hash, ok := hashToken(family)
	given, ok2 := hashToken(generation)
	if !ok || !ok2 {
		return nil, nil, refuse(CodeTokenInvalid)
	}
	idle := a.policy.Session.Idle
	p, err := a.sessions.lookupHash(ctx, hash, KindRefresh, a.now(), idle)
	if err != nil {
		return nil, nil, tokenInvalid(err)
	}
	next, nextHash := newToken()
	var g *Grant
	var u *User
	reused := false
	err = a.update(ctx, func(t *txn) error {
		g, reused = nil, false
		s, err := t.Session(hash)
		if err != nil {
			return tokenInvalid(err)
		}
		if u, err = t.User(s.User); err != nil {
			return tokenInvalid(err)
		}
		now := a.time()
		switch {
		case !u.IsActive || !now.Before(s.Expires):
			return refuse(CodeTokenInvalid)
		case given == s.Refresh:
			s.Previous, s.Refresh, s.Rotated, s.LastUsed = s.Refresh, nextHash, now, now
			g = &Grant{Refresh: family + refreshSeparator + next, Family: s}
			return t.PutSession(s)
		case given == s.Previous && now.Sub(s.Rotated) < refreshGrace && s.Rotated.Sub(now) < maxClockSkew:
			return &Error{Code: CodeRefreshConflict, RetryAfter: refreshGrace}
		}
		reused = true
		return t.endSession(hash)
	})
	if err == nil && reused {
		err = refuse(CodeTokenReused)
	}
	if err == nil {
		err = a.addAccessToken(ctx, u, g)
	}
	if err != nil {
		return p.User, nil, err
	}
	return u, g, nil
}

// paramRefreshToken is the field of the refresh token, in and out.
const paramRefreshToken = "refresh_token"

func tokenInvalid(err error) error {
	if errors.Is(err, ErrNotFound) {
		return refuse(CodeTokenInvalid)
	}
	return storeError(err)
}
