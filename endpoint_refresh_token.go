// endpoint_refresh_token.go: POST P/refresh-token: the next pair of tokens.

package registration

import (
	"net/http"
)

func endpointRefreshToken(r *webRealm) *endpoint {
	return &endpoint{
		name: "refresh-token", methods: post, off: !r.options.JWT, anonymous: true, act: actRefreshToken,
		doc: endpointDoc{
			tag: tagSignIn, summary: "Exchange a refresh token for the next pair of tokens", success: http.StatusOK, answer: schemaTokens,
			description: "Each refresh token is good once. A second use within 10 seconds is 409; a later one ends the sign-in.",
			inputs:      []inputDoc{newInput(paramRefreshToken, true, newObject("type", "string", "minLength", 1))},
			codes:       []Code{CodeTokenInvalid, CodeTokenReused, CodeRefreshConflict},
		},
	}
}

func actRefreshToken(c *call) (*reply, error) {
	u, grant, err := c.Refresh(c.req.Context(), c.in)
	if err != nil {
		return &reply{user: u}, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.tokens_refreshed"), user: u}
	rep.grants(grant)
	return rep, nil
}
