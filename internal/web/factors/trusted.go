// trusted.go: GET P/trusted-devices and POST P/revoke-trusted-device: the browsers that are
// not asked for a factor.

package factors

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointTrustedDevices lists the trusted browsers of who asks. The page of the factors
// shows them.
func EndpointTrustedDevices(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "trusted-devices", Methods: []string{http.MethodGet, http.MethodHead}, SignedIn: true, Act: actTrustedDevices, Off: r.Options.Factors.Trusted == 0,
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "The trusted browsers of the account", Success: http.StatusOK, Answer: web.SchemaTrustedDevices,
			Description: "In these a sign-in by the password asks for no factor. The latest used first. A new password, another set of factors and a sign-out everywhere else end them all.",
		},
	}
}

// EndpointRevokeTrustedDevice has a trusted browser asked again.
func EndpointRevokeTrustedDevice(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "revoke-trusted-device", Methods: web.Post, SignedIn: true, Act: actRevokeTrustedDevice, Off: r.Options.Factors.Trusted == 0,
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "End the trust in a browser", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "From its next sign-in on it is asked for a factor. Where it is signed in, it stays so.",
			Inputs: []web.InputDoc{
				web.NewInput(account.ParamTrustedDevice, true, web.NewObject("type", "string", "description", "Of a browser in the list.", "examples", []any{"kPq3mX0bSx2yCkAQo1sI7w"})),
			},
			Codes: []refusal.Code{refusal.CodeDeviceNotFound},
		},
		Page:  "factors", // has its buttons
		After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "factors"} },
	}
}

// trustedShown is a trusted browser in an answer.
type trustedShown struct {
	ID        string `json:"id"`
	Created   any    `json:"created"`
	LastUsed  any    `json:"last_used"`
	Expires   any    `json:"expires"`
	UserAgent string `json:"user_agent"`
	Current   bool   `json:"current"`
}

func trustedShownOf(d account.TrustedDevice) trustedShown {
	return trustedShown{
		ID: d.ID, Created: field.TimeValue(d.Created), LastUsed: field.TimeValue(d.LastUsed), Expires: field.TimeValue(d.Expires),
		UserAgent: d.UserAgent, Current: d.Current,
	}
}

func pageTrusted(d trustedShown) web.PageTrusted {
	created, _ := d.Created.(string)
	used, _ := d.LastUsed.(string)
	expires, _ := d.Expires.(string)
	return web.PageTrusted{ID: d.ID, Device: device.Describe(d.UserAgent), Created: created, LastUsed: used, Expires: expires, Current: d.Current}
}

func actTrustedDevices(c *web.Call) (*web.Reply, error) {
	u, err := c.ListFactors(c.Req.Context(), *c.Who)
	if err != nil {
		return nil, err
	}
	list := []trustedShown{}
	for _, d := range c.TrustedDevices(u, c.Client) {
		list = append(list, trustedShownOf(d))
	}
	return &web.Reply{Status: http.StatusOK, Body: list, User: u}, nil
}

func actRevokeTrustedDevice(c *web.Call) (*web.Reply, error) {
	u, err := c.EndTrust(c.Req.Context(), *c.Who, c.In)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.device_trust_ended"), User: u}, nil
}
