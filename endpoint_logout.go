// endpoint_logout.go: POST P/logout: a sign-out.

package registration

import (
	"net/http"
)

func endpointLogout(*webRealm) *endpoint {
	return &endpoint{
		name: "logout", methods: post, signedIn: true, act: actLogout,
		doc: endpointDoc{
			tag: tagSignIn, summary: "Sign out", success: http.StatusOK, answer: schemaDetail, setsCookie: true,
			inputs: []inputDoc{newInput("revoke_token", false, newObject("type", "boolean", "default", false, "description", "Ends the API token of this request or, by cookie, all tokens of the account."))},
			codes:  []Code{CodeNoToken},
		},
		form: &form{
			title: say("page.logout.title"), submit: say("page.logout.submit"), links: []formLink{linkToProfile},
			instead: func(w http.ResponseWriter, c *call) bool {
				if c.who != nil {
					return false
				}
				c.realm.pages.signedOut(w, c)
				return true
			},
			after: func(*call, *reply) afterAct { return afterAct{page: "logout", silent: true} },
		},
	}
}

func actLogout(c *call) (*reply, error) {
	err := c.SignOut(c.req.Context(), *c.who, c.in.truthy("revoke_token"))
	if err != nil && asRefusal(err).Code != CodeNoToken {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.logged_out"), user: c.who.User, signedOut: c.who.Session.Kind == KindSession}
	return rep, err
}
