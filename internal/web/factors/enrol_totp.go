// enrol_totp.go: POST P/enrol-totp: an app is set up that shows codes.

package factors

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointEnrolTOTP begins to set up an app. What it makes counts once it is confirmed.
func EndpointEnrolTOTP(r *web.Realm) *web.Endpoint {
	form := enrolling(text.Say("page.enrol_totp.title"), text.Say("page.enrol_totp.intro"), text.Say("page.enrol_totp.submit"), web.SudoFields(true)...)
	form.Links = []web.FormLink{web.LinkTo("/factors/", text.Say("link.factors"))}
	form.Complete = forcedToEnrol()
	if !noPasskeys(r.Options) {
		passkey := web.LinkTo("/add-passkey/", text.Say("link.add_passkey"))
		form.Links, form.Complete = append(form.Links, passkey), forcedToEnrol(passkey)
	}
	form.After = func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "confirm-totp", Silent: true} }
	return &web.Endpoint{
		Name: "enrol-totp", Methods: web.Post, Off: !r.Options.Factors.TOTP, Act: actEnrolTOTP,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Set up an app that shows codes (TOTP)", Success: http.StatusOK, Answer: web.SchemaTOTP,
			Description: "It counts once `confirm-totp` got a code of it, within 15 minutes. What was set up before and not confirmed is void.",
			Inputs:      append([]web.InputDoc{challengeInput}, web.SudoInputs()...),
			Codes:       []refusal.Code{refusal.CodeNotAuthenticated, refusal.CodeChallengeExpired, refusal.CodeFactorLimit},
		},
		Form: form,
	}
}

func actEnrolTOTP(c *web.Call) (*web.Reply, error) {
	if c.Who != nil {
		if err := c.Guess(); err != nil {
			return nil, err
		}
	}
	u, totp, err := c.EnrolTOTP(c.Req.Context(), enroller(c), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{
		Status: http.StatusOK, User: u,
		Body: web.NewObject("secret", totp.Secret, "uri", totp.URI, "qr", c.Realm.Address("/totp-qr")),
	}, nil
}
