// revoke_token.go: POST P/revoke-token: a token for a program ends.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointRevokeToken ends a token for programs. Its buttons are on the page of the tokens.
func EndpointRevokeToken(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "revoke-token", Methods: web.Post, SignedIn: true, Act: actRevokeToken,
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "End a token for a program", Success: http.StatusOK, Answer: web.SchemaDetail,
			Inputs: []web.InputDoc{web.NewInput(account.ParamToken, true, web.NewObject("type", "string", "description", "Of a token in the list.", "examples", []any{"kPq3mX0bSx2yCkAQo1sI7w"}))},
			Codes:  []refusal.Code{refusal.CodeTokenNotFound},
		},
		Page:  "tokens", // has its buttons
		After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "tokens"} },
	}
}

func actRevokeToken(c *web.Call) (*web.Reply, error) {
	u, err := c.RevokeProgramToken(c.Req.Context(), *c.Who, c.In)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.token_revoked"), User: u}, nil
}
