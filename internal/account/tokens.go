// tokens.go: API tokens, access tokens and the refresh tokens that renew them.

package account

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/audit"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// addAccessToken completes what a sign-in hands out, after its transaction:
// signing may have to read the store.
func (a *Accounts) addAccessToken(ctx context.Context, u *store.User, g *session.Grant) (err error) {
	if g == nil || g.Family == nil {
		return nil
	}
	if g.Token, g.Expires, err = a.Access.Sign(ctx, a.Now(), u, g.Family); err != nil {
		return StoreError(err)
	}
	return nil
}

// ByToken returns who an API token or access token belongs to, or ErrNotFound.
// A JWT alone is not enough: the sign-in that it names must still be there, so
// a revocation counts at the very next request.
func (a *Accounts) ByToken(ctx context.Context, token string, now time.Time, idle time.Duration) (session.Principal, error) {
	if a.Access == nil || strings.Count(token, ".") != 2 {
		return a.Sessions.Lookup(ctx, token, store.KindToken, now, idle)
	}
	user, sess, err := a.Access.Verify(ctx, now, token)
	if err != nil {
		return session.Principal{}, err
	}
	p, err := a.Sessions.LookupHash(ctx, sess, store.KindRefresh, now, idle)
	if err == nil && p.User.ID != user {
		return session.Principal{}, store.ErrNotFound
	}
	return p, err
}

// refreshSeparator stands between the two halves of a refresh token: the secret
// name of the family, which stays, and that of the generation.
const refreshSeparator = "."

// RefreshGrace is how long the token before the present one is refused without
// ending its family. Two tabs of one browser that refresh at once, or a request
// that a network repeats, are no theft; the one who comes second gets nothing
// either way. Whoever comes with it later has kept a token that its owner has
// exchanged, or its owner has lost it to somebody: the family ends.
const RefreshGrace = 10 * time.Second

// Refresh exchanges a refresh token for the next one and a new access token.
// A token that was exchanged before ends the sign-in that it belongs to (RFC
// 9700, 4.14.2), with CodeTokenReused; within the grace it is
// CodeRefreshConflict. Of any number of callers with one token, one succeeds.
func (a *Accounts) Refresh(ctx context.Context, in field.Input) (*store.User, *session.Grant, error) {
	var errs refusal.FieldErrors
	text := in.Required(ParamRefreshToken, &errs)
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	family, generation, _ := strings.Cut(text, refreshSeparator)
	hash, ok := session.HashToken(family)
	given, ok2 := session.HashToken(generation)
	if !ok || !ok2 {
		return nil, nil, refusal.New(refusal.CodeTokenInvalid)
	}
	idle := a.Policy.Session.Idle
	p, err := a.Sessions.LookupHash(ctx, hash, store.KindRefresh, a.Now(), idle)
	if err != nil {
		return nil, nil, tokenInvalid(err)
	}
	next, nextHash := session.NewToken()
	var g *session.Grant
	var u *store.User
	reused := false
	err = a.Update(ctx, func(t *Txn) error {
		g, reused = nil, false
		s, err := t.Session(hash)
		if err != nil {
			return tokenInvalid(err)
		}
		if u, err = t.User(s.User); err != nil {
			return tokenInvalid(err)
		}
		now := a.Time()
		switch {
		case !u.IsActive || !now.Before(s.Expires):
			return refusal.New(refusal.CodeTokenInvalid)
		case given == s.Refresh:
			s.Previous, s.Refresh, s.Rotated, s.LastUsed = s.Refresh, nextHash, now, now
			g = &session.Grant{Refresh: family + refreshSeparator + next, Family: s}
			return t.PutSession(s)
		case given == s.Previous && now.Sub(s.Rotated) < RefreshGrace && s.Rotated.Sub(now) < sign.MaxClockSkew:
			return &refusal.Error{Code: refusal.CodeRefreshConflict, RetryAfter: RefreshGrace}
		}
		reused = true
		return errors.Join(t.endSession(hash), t.Audit(audit.TokenReused, u.ID))
	})
	if err == nil && reused {
		err = refusal.New(refusal.CodeTokenReused)
	}
	if err == nil {
		err = a.addAccessToken(ctx, u, g)
	}
	if err != nil {
		return p.User, nil, err
	}
	return u, g, nil
}

// ParamRefreshToken is the field of the refresh token, in and out.
const ParamRefreshToken = "refresh_token"

func tokenInvalid(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return refusal.New(refusal.CodeTokenInvalid)
	}
	return StoreError(err)
}
