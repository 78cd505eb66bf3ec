// revoke_session.go: POST P/revoke-session: one sign-in ends, or all others.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointRevokeSession ends one sign-in of who asks, or all others. Its buttons are on
// the page of the sessions.
func EndpointRevokeSession(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "revoke-session", Methods: web.Post, SignedIn: true, Act: actRevokeSession,
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "End one sign-in, or all others", Success: http.StatusOK, Answer: web.SchemaDetail,
			Inputs: []web.InputDoc{
				web.NewInput(account.ParamSession, false, web.NewObject("type", "string", "description", "Of a sign-in in the list.", "examples", []any{"kPq3mX0bSx2yCkAQo1sI7w"})),
				web.NewInput(account.ParamOthers, false, web.NewObject("type", "boolean", "description", "Ends all but the one that asks.")),
			},
			OneOf: []string{account.ParamSession, account.ParamOthers}, Codes: []refusal.Code{refusal.CodeSessionNotFound},
		},
		Page: "sessions", // has its buttons
		After: func(_ *web.Call, rep *web.Reply) web.AfterAct {
			if rep.SignedOut {
				return web.AfterAct{Page: "logout", Silent: true}
			}
			return web.AfterAct{Page: "sessions"}
		},
	}
}

func actRevokeSession(c *web.Call) (*web.Reply, error) {
	var errs refusal.FieldErrors
	others := c.In.Switch(account.ParamOthers, &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if others {
		// A device that was known stays so: it is where the owner is.
		_, known := c.Realm.Device(c.Req, c.Signer, c.Who.User)
		u, err := c.EndOtherSessions(c.Req.Context(), *c.Who)
		if err != nil {
			return nil, err
		}
		return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.other_sessions_ended"), User: u, KnownDevice: known}, nil
	}
	self, err := c.EndSession(c.Req.Context(), *c.Who, c.In)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.session_ended"), User: c.Who.User}
	if self {
		rep.Detail, rep.SignedOut = text.Say("detail.logged_out"), c.Who.Session.Kind == store.KindSession
	}
	return rep, nil
}
