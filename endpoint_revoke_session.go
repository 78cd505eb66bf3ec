// endpoint_revoke_session.go: POST P/revoke-session: one sign-in ends, or all others.

package registration

import (
	"net/http"
)

func endpointRevokeSession(*webRealm) *endpoint {
	return &endpoint{
		name: "revoke-session", methods: post, signedIn: true, act: actRevokeSession,
		doc: endpointDoc{
			tag: tagSignIn, summary: "End one sign-in, or all others", success: http.StatusOK, answer: schemaDetail,
			inputs: []inputDoc{
				newInput(paramSession, false, newObject("type", "string", "description", "Of a sign-in in the list.", "examples", []any{"kPq3mX0bSx2yCkAQo1sI7w"})),
				newInput(paramOthers, false, newObject("type", "boolean", "description", "Ends all but the one that asks.")),
			},
			oneOf: []string{paramSession, paramOthers}, codes: []Code{CodeSessionNotFound},
		},
		page: "sessions", // has its buttons
		after: func(_ *call, rep *reply) afterAct {
			if rep.signedOut {
				return afterAct{page: "logout", silent: true}
			}
			return afterAct{page: "sessions"}
		},
	}
}

func actRevokeSession(c *call) (*reply, error) {
	if c.in.truthy(paramOthers) {
		// A device that was known stays so: it is where the owner is.
		_, known := c.realm.device(c.req, c.signer, c.who.User)
		u, err := c.EndOtherSessions(c.req.Context(), *c.who)
		if err != nil {
			return nil, err
		}
		return &reply{status: http.StatusOK, detail: say("detail.other_sessions_ended"), user: u, knownDevice: known}, nil
	}
	self, err := c.EndSession(c.req.Context(), *c.who, c.in)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.session_ended"), user: c.who.User}
	if self {
		rep.detail, rep.signedOut = say("detail.logged_out"), c.who.Session.Kind == KindSession
	}
	return rep, nil
}
