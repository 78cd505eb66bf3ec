// recovery_codes.go: POST P/recovery-codes: new codes for the day on which the factor is lost.

package factors

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointRecoveryCodes makes new recovery codes. The old ones are void.
func EndpointRecoveryCodes(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "recovery-codes", Methods: web.Post, SignedIn: true, Act: actRecoveryCodes,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Make new recovery codes", Success: http.StatusCreated, Answer: web.SchemaRecoveryCodes,
			Description: "They are told this once. The old ones are void.",
			Inputs:      web.SudoInputs(), Codes: []refusal.Code{refusal.CodeFactorRequired},
		},
		Form: &web.Form{
			Title: text.Say("page.recovery_codes.title"), Intro: text.Say("page.recovery_codes.intro"), Submit: text.Say("page.recovery_codes.submit"),
			Fields: web.SudoFields(false), Links: []web.FormLink{web.LinkTo("/factors/", text.Say("link.factors"))},
		},
	}
}

func actRecoveryCodes(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, codes, err := c.NewRecoveryCodes(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusCreated, User: u, Body: web.NewObject("recovery_codes", codes), Page: codesPage(c, codes, "")}, nil
}

// codesPage shows recovery codes, once: to be printed, written down or downloaded.
func codesPage(c *web.Call, codes []string, next string) *web.PageData {
	say := func(id string) string { return c.Loc.Text(text.Say(id)) }
	file := c.Realm.SiteName + "\r\n" + strings.Join(codes, "\r\n") + "\r\n"
	on := web.PageLink{Href: c.Realm.Address("/factors/"), Text: say("link.codes_kept")}
	if next != "" {
		on.Href = next
	}
	return &web.PageData{
		Page: "recovery-codes", Title: say("page.codes.title"), Text: []string{say("page.codes.text"), say("page.codes.once")}, Codes: codes,
		Download: &web.PageURL{Href: template.URL("data:text/plain;charset=utf-8," + url.PathEscape(file)), Text: say("link.download_codes")}, //nolint:gosec // of our own making
		Action:   &on,
	}
}
