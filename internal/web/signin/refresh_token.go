// refresh_token.go: POST P/refresh-token: the next pair of tokens.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointRefreshToken takes a refresh token for the next pair. It is off without JWT.
func EndpointRefreshToken(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "refresh-token", Methods: web.Post, Off: !r.Options.JWT, Anonymous: true, Act: actRefreshToken,
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Exchange a refresh token for the next pair of tokens", Success: http.StatusOK, Answer: web.SchemaTokens,
			Description: "Each refresh token is good once. A second use within 10 seconds is 409; a later one ends the sign-in.",
			Inputs:      []web.InputDoc{web.NewInput(account.ParamRefreshToken, true, web.NewObject("type", "string", "minLength", 1))},
			Codes:       []refusal.Code{refusal.CodeTokenInvalid, refusal.CodeTokenReused, refusal.CodeRefreshConflict},
		},
	}
}

func actRefreshToken(c *web.Call) (*web.Reply, error) {
	u, grant, err := c.Refresh(c.Req.Context(), c.In)
	if err != nil {
		return &web.Reply{User: u}, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.tokens_refreshed"), User: u}
	rep.Grants(grant)
	return rep, nil
}
