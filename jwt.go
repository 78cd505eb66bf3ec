// jwt.go: access tokens: short-lived JWTs that backends verify by themselves
// against the published keys, and that the guard checks against the live
// sign-in besides.

package registration

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

// accessAlgorithms is the only algorithm that counts, whatever a token's header
// says: neither `none` nor an HMAC with the public key gets any further.
var accessAlgorithms = []jose.SignatureAlgorithm{jose.EdDSA}

// Bounds of access tokens, in bytes. What is issued has at most wideAccessToken
// with its groups, which every server takes in a header; without them it is well
// below maxAccessToken, which bounds what is parsed, whatever an account and the
// configuration (maxTokenAddress) say.
const (
	wideAccessToken = 4096
	maxAccessToken  = 8192
	// maxTokenAddress bounds issuer and audience together, as JSON.
	maxTokenAddress = 2048
)

// accessClaims is what an access token says. It has no `nbf`: with `iat` it
// would say nothing new, and a backend whose clock is a second behind would
// refuse a fresh token.
type accessClaims struct {
	jwt.Claims
	// SessionID names the sign-in: the hash under which the store has it, from
	// which no token can be made.
	SessionID string   `json:"sid"`
	Username  string   `json:"username,omitempty"`
	Email     string   `json:"email,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	// GroupsOmitted says that the account has groups, and that the token would be
	// too long with them.
	GroupsOmitted bool `json:"groups_omitted,omitempty"`
}

// accessTokens signs and verifies the access tokens of one realm. It is safe
// for concurrent use.
type accessTokens struct {
	keyring
	issuer   string
	audience []string
	lifetime time.Duration
}

func newAccessTokens(store Store, signer *Signer, s *JWTSettings) *accessTokens {
	a := &accessTokens{issuer: s.Issuer, audience: s.Audience, lifetime: time.Duration(s.Lifetime)}
	a.keyring = keyring{store: store, signer: signer, keyLifetime: time.Duration(s.KeyLifetime), tokenLifetime: a.lifetime}
	return a
}

// sign makes the access token of a sign-in, good for the configured lifetime
// but not beyond the end of the sign-in.
func (a *accessTokens) sign(ctx context.Context, now time.Time, u *User, s *Session) (token string, expires time.Time, err error) {
	key, err := a.signingKey(ctx, now)
	if err != nil {
		return "", time.Time{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key.private, KeyID: key.ID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", time.Time{}, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", time.Time{}, err
	}
	expires = now.Add(a.lifetime)
	if s.Expires.Before(expires) {
		expires = s.Expires
	}
	claims := accessClaims{
		Claims: jwt.Claims{
			Issuer: a.issuer, Subject: u.ID.String(), Audience: a.audience, ID: id.String(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
		},
		SessionID: s.Hash.text(), Username: u.Username, Email: u.Email, Groups: u.Groups,
	}
	token, err = jwt.Signed(signer).Claims(claims).Serialize()
	if err == nil && len(token) > wideAccessToken && len(u.Groups) > 0 {
		claims.Groups, claims.GroupsOmitted = nil, true
		token, err = jwt.Signed(signer).Claims(claims).Serialize()
	}
	return token, expires, err
}

// verify returns the account and the sign-in that a token names, or ErrNotFound
// for one that is not ours or not good now. What the header says of keys but
// their id (`jku`, `jwk`, `x5u`) is never looked at.
func (a *accessTokens) verify(ctx context.Context, now time.Time, token string) (user uuid.UUID, session TokenHash, err error) {
	if len(token) > maxAccessToken {
		return user, session, ErrNotFound
	}
	parsed, err := jwt.ParseSigned(token, accessAlgorithms)
	if err != nil || len(parsed.Headers) != 1 || !strings.EqualFold(headerType(parsed.Headers[0]), "JWT") {
		return user, session, ErrNotFound
	}
	key, err := a.verificationKey(ctx, now, parsed.Headers[0].KeyID)
	if err != nil {
		return user, session, err
	}
	var claims accessClaims
	if err := parsed.Claims(key, &claims); err != nil {
		return user, session, ErrNotFound
	}
	// Our own clock wrote these times, so there is no leeway. The library takes
	// a missing `exp` for no end and the second of `exp` itself as good.
	if claims.Expiry == nil || claims.IssuedAt == nil || !now.Before(claims.Expiry.Time()) ||
		claims.ValidateWithLeeway(jwt.Expected{Issuer: a.issuer, AnyAudience: a.audience, Time: now}, 0) != nil {
		return user, session, ErrNotFound
	}
	user, ok := parseID(claims.Subject)
	session, ok2 := parseTokenHash(claims.SessionID)
	if !ok || !ok2 {
		return user, session, ErrNotFound
	}
	return user, session, nil
}

func headerType(h jose.Header) string {
	text, _ := h.ExtraHeaders[jose.HeaderType].(string)
	return text
}

// published is the JWK set (RFC 7517) of the keys that verify now or will soon.
func (a *accessTokens) published(ctx context.Context, now time.Time) (jose.JSONWebKeySet, error) {
	if _, err := a.signingKey(ctx, now); err != nil {
		return jose.JSONWebKeySet{}, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range a.current() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.ID, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	return set, nil
}

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
	idle := time.Duration(a.settings.Session.Idle)
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
