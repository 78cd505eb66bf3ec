// remove_email.go: POST P/remove-email: an address is taken away, or a pending one taken
// back.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointRemoveEmail takes an address away that is not the first one. What waits for its
// confirmation is taken back with it, where accounts have one address too.
func EndpointRemoveEmail(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "remove-email", Methods: web.Post, SignedIn: true, Act: actRemoveEmail,
		Spends: web.Spends{Throttle: account.ThrottleEmail},
		Doc: web.EndpointDoc{
			Tag: web.TagEmail, Summary: "Remove an e-mail address, or take back one that waits for its confirmation", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "The primary one can't be removed. Of one that waits the mailed link is void, and nothing more has to be shown; else all addresses of the account are mailed a link that takes it back.",
			Inputs:      append([]web.InputDoc{web.EmailInput()}, web.SudoInputs()...),
			Codes:       []refusal.Code{refusal.CodeEmailNotFound, refusal.CodeEmailPrimary, refusal.CodeThrottled},
		},
		Form: ofEmail(text.Say("page.remove_email.title"), text.Say("page.remove_email.intro"), text.Say("page.emails.remove")),
	}
}

func actRemoveEmail(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, err := c.RemoveEmail(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.email_removed"), User: u}, nil
}
