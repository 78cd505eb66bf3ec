// github.go: GitHub, which has no ID token: who somebody is there its API says.

package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/oauth2"
)

// github is the client of GitHub's endpoints, or of a server of one's own with GitHub
// Enterprise.
func (p *Provider) github(redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, RedirectURL: redirect, Scopes: []string{"read:user", "user:email"},
		Endpoint: oauth2.Endpoint{AuthURL: p.Issuer + "/login/oauth/authorize", TokenURL: p.Issuer + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// api is where GitHub's API is.
func (p *Provider) api() string {
	if p.Issuer == kinds[GitHub].issuer {
		return "https://api.github.com"
	}
	return p.Issuer + "/api/v3"
}

func (p *Provider) finishGitHub(ctx context.Context, f Flow, a Answer) (*Identity, error) {
	token, err := p.exchange(ctx, p.github(f.Redirect), f, a)
	if err != nil {
		return nil, err
	}
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if err := p.ask(ctx, token, "/user", &user); err != nil {
		return nil, err
	}
	if user.ID <= 0 { // logins are given to others once they are free
		return nil, fmt.Errorf("%w: GitHub doesn't say whose it is", ErrRefused)
	}
	who := &Identity{Issuer: p.Issuer, Subject: strconv.FormatInt(user.ID, 10), Name: user.Name, Username: user.Login}
	var emails []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	switch err := p.ask(ctx, token, "/user/emails", &emails); {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil: // he has not let us see them
		return who, nil
	}
	for _, e := range emails {
		if e.Primary && e.Verified {
			who.Email, who.EmailVerified = e.Email, true
		}
	}
	return who, nil
}

// ask asks GitHub's API.
func (p *Provider) ask(ctx context.Context, token *oauth2.Token, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.api()+path, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	token.SetAuthHeader(req)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("User-Agent", "caddy-registration")
	res, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode >= http.StatusInternalServerError, res.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w: GitHub answers %s", ErrUnavailable, res.Status)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: GitHub answers %s", ErrRefused, res.Status)
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}
