// export.go: GET and POST P/export: all that is kept about who asks.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointExport gives who asks all that is kept about him. By GET it takes a sign-in of a
// short while ago; an older one shows by POST who it is.
func EndpointExport(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "export", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, SignedIn: true, Act: actExport,
		Spends: web.Spends{Throttle: account.ThrottleProfile, Account: web.WhoAsks, Alone: true},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "All that is kept about who asks", Success: http.StatusOK, Answer: web.SchemaPersonalData,
			Description: "The account, where it is signed in, its second step, the mail to it that waits and the record of acts, as one JSON object, to be saved as a file. No password, secret or token is in it. A GET has nothing to show who asks with, so it takes a sign-in of a short while ago; by POST an older one shows it.",
			Inputs:      web.SudoInputs(), Codes: []refusal.Code{refusal.CodeThrottled},
			ReadCodes: []refusal.Code{refusal.CodeReauthenticate, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.export.title"), Intro: text.Say("page.export.intro"), Submit: text.Say("page.export.submit"), Links: []web.FormLink{web.LinkToProfile},
			Fields: web.SudoFields(false),
		},
	}
}

func actExport(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	if err := c.TakeOut(c.Req.Context(), *c.Who, c.In, c.Client); err != nil {
		return nil, err
	}
	file, err := transfer.Person(c.Req.Context(), c.Accounts, c.Who.User.ID)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, User: c.Who.User, File: file, FileName: "personal-data.json"}, nil
}
