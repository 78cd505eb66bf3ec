// logout.go: POST P/logout: a sign-out.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointLogout ends the session that asks and, with revoke_token, API tokens.
func EndpointLogout(r *web.Realm) *web.Endpoint {
	e := &web.Endpoint{
		Name: "logout", Methods: web.Post, SignedIn: true, Act: actLogout,
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Sign out", Success: http.StatusOK, Answer: web.SchemaDetail, SetsCookie: true,
		},
		Form: &web.Form{
			Title: text.Say("page.logout.title"), Submit: text.Say("page.logout.submit"), Links: []web.FormLink{web.LinkToProfile},
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				if c.Who != nil {
					return false
				}
				c.Realm.Pages.SignedOut(w, c)
				return true
			},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "logout", Silent: true} },
		},
	}
	if r.Options.Login.Token {
		e.Doc.Inputs = []web.InputDoc{web.NewInput("revoke_token", false, web.NewObject("type", "boolean", "default", false, "description", "Ends the API token of this request or, by cookie, all tokens of the account."))}
		e.Doc.Codes = []refusal.Code{refusal.CodeNoToken}
	}
	return e
}

func actLogout(c *web.Call) (*web.Reply, error) {
	var errs refusal.FieldErrors
	// Without tokens it is a member that means nothing, like any unknown one.
	revoke := c.Realm.Options.Login.Token && c.In.Switch("revoke_token", &errs)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	err := c.SignOut(c.Req.Context(), *c.Who, revoke)
	if err != nil && web.AsRefusal(err).Code != refusal.CodeNoToken {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.logged_out"), User: c.Who.User, SignedOut: c.Who.Session.Kind == store.KindSession}
	if c.Next == "" { // else it is on the way to another sign-in
		rep.SeeOther = c.Realm.Options.Pages.Goodbye
	}
	return rep, err
}
