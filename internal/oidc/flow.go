// flow.go: one sign-in: where the browser is sent, and who it is that comes back.

package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/seed-928992b0/caddy-registration/internal/pattern"
)

// A Flow is one sign-in under way. All of it but the address is known to nobody but us and
// the browser.
type Flow struct {
	// Redirect is the address that the provider sends the browser back to.
	Redirect string
	// State, Nonce and Verifier (RFC 7636: 43 characters or more) are random.
	State, Nonce, Verifier string
	// Anew: he is to show there who he is, though he may have done so; Began is when that
	// was asked.
	Anew  bool
	Began time.Time
}

// An Answer is what the browser brings back.
type Answer struct {
	Code string
	// Iss is the issuer that says it has answered (RFC 9207); "": none does.
	Iss string
}

// Begin returns the address at which the browser signs in at the provider, or
// ErrUnavailable.
func (p *Provider) Begin(ctx context.Context, f Flow) (string, error) {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier)}
	if p.isGitHub() {
		return p.github(f.Redirect).AuthCodeURL(f.State, options...), nil
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return "", err
	}
	options = append(options, goidc.Nonce(f.Nonce))
	switch {
	case f.Anew && p.Name == Google: // which knows no prompt=login
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	case f.Anew && p.kind.silent:
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	case f.Anew:
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return p.oauth(m, f.Redirect).AuthCodeURL(f.State, options...), nil
}

// Finish says who it is that has come back: ErrUnavailable, ErrRefused or ErrNotAnew if it
// can't.
func (p *Provider) Finish(ctx context.Context, f Flow, a Answer) (*Identity, error) {
	if a.Code == "" {
		return nil, fmt.Errorf("%w: it has no code", ErrRefused)
	}
	if p.isGitHub() {
		if a.Iss != "" && a.Iss != "https://github.com/login/oauth" && a.Iss != p.Issuer {
			return nil, fmt.Errorf("%w: it is another issuer's", ErrRefused)
		}
		return p.finishGitHub(ctx, f, a)
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	if a.Iss != "" && a.Iss != p.Issuer && !p.anyTenant() || a.Iss == "" && m.SaysIss {
		return nil, fmt.Errorf("%w: it is another issuer's, or doesn't say whose", ErrRefused)
	}
	token, err := p.exchange(ctx, p.oauth(m, f.Redirect), f, a)
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, fmt.Errorf("%w: it has no ID token", ErrRefused)
	}
	id, err := p.verify(ctx, m, raw, f, token.AccessToken)
	if err != nil {
		return nil, err
	}
	if p.anyTenant() && a.Iss != "" && a.Iss != id.Issuer {
		return nil, fmt.Errorf("%w: it is another issuer's", ErrRefused)
	}
	return p.identity(ctx, m, id, f, token)
}

// codeOf is the code of an error, if it looks like one: some echo what was sent, which is secret.
func codeOf(refused *oauth2.RetrieveError) string {
	code := refused.ErrorCode
	if len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "…"
	}
	return code
}

// exchange gives the code for tokens.
func (p *Provider) exchange(ctx context.Context, c *oauth2.Config, f Flow, a Answer) (*oauth2.Token, error) {
	token, err := c.Exchange(p.asks(ctx), a.Code, oauth2.VerifierOption(f.Verifier))
	refused := (*oauth2.RetrieveError)(nil)
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < http.StatusInternalServerError && refused.Response.StatusCode != http.StatusTooManyRequests:
		// What it says besides its code may have what was sent.
		return nil, fmt.Errorf("%w: the token endpoint says %d %q", ErrRefused, refused.Response.StatusCode, codeOf(refused))
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%w: the token endpoint says %d %q", ErrUnavailable, statusOf(refused.Response), codeOf(refused))
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return token, nil
}

func statusOf(res *http.Response) int {
	if res == nil {
		return 0
	}
	return res.StatusCode
}

// verify checks an ID token: signature, algorithm, issuer, audience, its time, and that it
// is of this sign-in.
func (p *Provider) verify(ctx context.Context, m *metadata, raw string, f Flow, access string) (*goidc.IDToken, error) {
	c := &goidc.Config{ClientID: p.ClientID, Now: func() time.Time { return p.now().Add(-clockSkew) }, SkipIssuerCheck: p.anyTenant()}
	// Its keys are kept as long as what it says about itself; one that is not among them has
	// them fetched once more, unless they were fetched a moment ago (keyring).
	id, err := m.provider.Verifier(c).Verify(p.asks(ctx), raw)
	switch {
	case err != nil && strings.Contains(err.Error(), "fetching keys"):
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var claims struct {
		AZP string `json:"azp"`
		TID string `json:"tid"`
	}
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1:
		return nil, fmt.Errorf("%w: the ID token has another nonce", ErrRefused)
	case claims.AZP != "" && claims.AZP != p.ClientID, claims.AZP == "" && len(id.Audience) > 1:
		return nil, fmt.Errorf("%w: the ID token was made for another client", ErrRefused)
	case id.IssuedAt.After(p.now().Add(2 * clockSkew)):
		return nil, fmt.Errorf("%w: the ID token is of the future", ErrRefused)
	case id.Subject == "" || len(id.Subject) > maxSubject:
		return nil, fmt.Errorf("%w: the ID token says nothing of use about whom it is of", ErrRefused)
	case p.anyTenant() && !tenantOf(id.Issuer, claims.TID):
		return nil, fmt.Errorf("%w: the ID token is of another issuer", ErrRefused)
	case id.AccessTokenHash != "" && id.VerifyAccessToken(access) != nil:
		return nil, fmt.Errorf("%w: the ID token came with another access token", ErrRefused)
	}
	return id, nil
}

var tenants = pattern.Of(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// tenantOf reports whether an issuer is that of a tenant of Microsoft's.
func tenantOf(issuer, tenant string) bool {
	return tenants().MatchString(tenant) && issuer == "https://login.microsoftonline.com/"+tenant+"/v2.0"
}

// claims are what an ID token or the UserInfo endpoint says about somebody.
type claims struct {
	Subject    string `json:"sub"`
	Email      string `json:"email"`
	Verified   flag   `json:"email_verified"`
	Name       string `json:"name"`
	GivenName  string `json:"given_name"`
	FamilyName string `json:"family_name"`
	Username   string `json:"preferred_username"`
}

// flag is a boolean that some providers write as a text.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(raw []byte) error {
	*f = string(raw) == "true" || string(raw) == `"true"`
	return nil
}

// identity is whom an ID token that was checked is of. A provider that keeps the address
// out of it is asked for that; if it doesn't answer, there is none.
func (p *Provider) identity(ctx context.Context, m *metadata, id *goidc.IDToken, f Flow, token *oauth2.Token) (*Identity, error) {
	var says struct {
		claims
		AMR      []string `json:"amr"`
		AuthTime int64    `json:"auth_time"`
	}
	if err := id.Claims(&says); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if says.Email == "" && m.UserInfo != "" {
		info, err := m.provider.UserInfo(p.asks(ctx), oauth2.StaticTokenSource(token))
		var more claims
		if err == nil && info.Subject == id.Subject && info.Claims(&more) == nil {
			says.claims = more
		}
	}
	who := &Identity{
		Issuer: p.Issuer, Subject: id.Subject, Email: says.Email, EmailVerified: bool(says.Verified) && says.Email != "" && !p.kind.distrusted,
		Name: says.Name, GivenName: says.GivenName, FamilyName: says.FamilyName, Username: says.Username, Multi: slices.Contains(says.AMR, "mfa"),
	}
	if p.anyTenant() {
		who.Issuer = id.Issuer // Google's can lack its scheme
	}
	if says.AuthTime > 0 {
		who.AuthTime = time.Unix(says.AuthTime, 0).UTC()
	}
	if f.Anew && !p.kind.silent && who.AuthTime.Before(f.Began.Add(-clockSkew)) {
		return nil, ErrNotAnew
	}
	return who, nil
}
