// primary_email.go: POST P/primary-email: another of the account's addresses is the first.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointPrimaryEmail makes a confirmed address the one that the profile has.
func EndpointPrimaryEmail(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "primary-email", Methods: web.Post, SignedIn: true, Act: actPrimaryEmail, Off: r.Options.MaxEmails <= 1,
		Spends: web.Spends{Throttle: account.ThrottleEmail},
		Doc: web.EndpointDoc{
			Tag: web.TagEmail, Summary: "Make another address the primary one", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "All addresses of the account are mailed a link that takes it back.",
			Inputs:      append([]web.InputDoc{web.EmailInput()}, web.SudoInputs()...),
			Codes:       []refusal.Code{refusal.CodeEmailNotFound, refusal.CodeEmailUnconfirmed, refusal.CodeThrottled},
		},
		Form: ofEmail(text.Say("page.primary_email.title"), text.Say("page.primary_email.intro"), text.Say("page.emails.lead")),
	}
}

func actPrimaryEmail(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, err := c.SetPrimaryEmail(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.email_primary"), User: u}, nil
}
