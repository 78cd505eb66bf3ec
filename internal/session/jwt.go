// jwt.go: access tokens: short-lived JWTs that backends verify by themselves
// against the published keys, and that the guard checks against the live
// sign-in besides.

package session

import (
	"context"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/store"
)

// accessAlgorithms is the only algorithm that counts, whatever a token's header
// says: neither `none` nor an HMAC with the public key gets any further.
var accessAlgorithms = []jose.SignatureAlgorithm{jose.EdDSA}

// Bounds of access tokens, in bytes. What is issued has at most wideAccessToken
// with its groups, which every server takes in a header; without them it is well
// below maxAccessToken, which bounds what is parsed, whatever an account and the
// configuration (MaxTokenAddress) say.
const (
	wideAccessToken = 4096
	maxAccessToken  = 8192
	// MaxTokenAddress bounds issuer and audience together, as JSON.
	MaxTokenAddress = 2048
)

// AccessClaims is what an access token says. It has no `nbf`: with `iat` it
// would say nothing new, and a backend whose clock is a second behind would
// refuse a fresh token.
type AccessClaims struct {
	jwt.Claims
	// SessionID names the sign-in: the hash under which the store has it, from
	// which no token can be made.
	SessionID string `json:"sid"`
	// AMR and AuthTime are those of the sign-in: how its owner has shown who he is, and
	// when he did so last (OpenID Connect Core 1.0, section 2).
	AMR      []string         `json:"amr"`
	AuthTime *jwt.NumericDate `json:"auth_time"`
	Username string           `json:"username,omitempty"`
	Email    string           `json:"email,omitempty"`
	Groups   []string         `json:"groups,omitempty"`
	// GroupsOmitted says that the account has groups, and that the token would be
	// too long with them.
	GroupsOmitted bool `json:"groups_omitted,omitempty"`
}

// AccessTokens signs and verifies the access tokens of one realm. It is safe
// for concurrent use.
type AccessTokens struct {
	keyring
	issuer   string
	audience []string
	lifetime time.Duration
}

// TokenPolicy is what an owner has decided about access tokens.
type TokenPolicy struct {
	// Issuer and Audience are the claims `iss` and `aud`.
	Issuer   string
	Audience []string
	// Lifetime is how long a token is good; KeyLifetime, how long a key signs.
	Lifetime, KeyLifetime time.Duration
}

// NewAccessTokens makes tokens by a policy. The store has the list of
// their keys, which are derived from the secrets of signer.
func NewAccessTokens(store store.Store, signer *sign.Signer, p TokenPolicy) *AccessTokens {
	a := &AccessTokens{issuer: p.Issuer, audience: p.Audience, lifetime: p.Lifetime}
	a.keyring = keyring{Store: store, signer: signer, keyLifetime: p.KeyLifetime, tokenLifetime: a.lifetime}
	return a
}

// Sign makes the access token of a sign-in, good for the configured lifetime
// but not beyond the end of the sign-in.
func (a *AccessTokens) Sign(ctx context.Context, now time.Time, u *store.User, s *store.Session) (token string, expires time.Time, err error) {
	key, err := a.signingKey(ctx, now)
	if err != nil {
		return "", time.Time{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key.Private, KeyID: key.ID}},
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
	claims := AccessClaims{
		Claims: jwt.Claims{
			Issuer: a.issuer, Subject: u.ID.String(), Audience: a.audience, ID: id.String(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
		},
		SessionID: s.Hash.Text(), AMR: s.Methods(), AuthTime: jwt.NewNumericDate(s.ShownAt()), Username: u.Username, Email: u.Email, Groups: u.Groups,
	}
	token, err = jwt.Signed(signer).Claims(claims).Serialize()
	if err == nil && len(token) > wideAccessToken && len(u.Groups) > 0 {
		claims.Groups, claims.GroupsOmitted = nil, true
		token, err = jwt.Signed(signer).Claims(claims).Serialize()
	}
	return token, expires, err
}

// Verify returns the account and the sign-in that a token names, or ErrNotFound
// for one that is not ours or not good now. What the header says of keys but
// their id (`jku`, `jwk`, `x5u`) is never looked at.
func (a *AccessTokens) Verify(ctx context.Context, now time.Time, token string) (user uuid.UUID, session store.TokenHash, err error) {
	if len(token) > maxAccessToken {
		return user, session, store.ErrNotFound
	}
	parsed, err := jwt.ParseSigned(token, accessAlgorithms)
	if err != nil || len(parsed.Headers) != 1 || !strings.EqualFold(headerType(parsed.Headers[0]), "JWT") {
		return user, session, store.ErrNotFound
	}
	key, err := a.VerificationKey(ctx, now, parsed.Headers[0].KeyID)
	if err != nil {
		return user, session, err
	}
	var claims AccessClaims
	if err := parsed.Claims(key, &claims); err != nil {
		return user, session, store.ErrNotFound
	}
	// Our own clock wrote these times, so there is no leeway. The library takes
	// a missing `exp` for no end and the second of `exp` itself as good.
	if claims.Expiry == nil || claims.IssuedAt == nil || !now.Before(claims.Expiry.Time()) ||
		claims.ValidateWithLeeway(jwt.Expected{Issuer: a.issuer, AnyAudience: a.audience, Time: now}, 0) != nil {
		return user, session, store.ErrNotFound
	}
	user, ok := store.ParseID(claims.Subject)
	session, ok2 := store.ParseTokenHash(claims.SessionID)
	if !ok || !ok2 {
		return user, session, store.ErrNotFound
	}
	return user, session, nil
}

func headerType(h jose.Header) string {
	text, _ := h.ExtraHeaders[jose.HeaderType].(string)
	return text
}

// Published is the JWK set (RFC 7517) of the keys that verify now or will soon.
func (a *AccessTokens) Published(ctx context.Context, now time.Time) (jose.JSONWebKeySet, error) {
	if _, err := a.signingKey(ctx, now); err != nil {
		return jose.JSONWebKeySet{}, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range a.Current() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	return set, nil
}
