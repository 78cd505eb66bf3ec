// change.go: POST P/remove-factor and P/rename-factor: what becomes of a factor that
// there is.

package factors

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointRemoveFactor takes a factor away.
func EndpointRemoveFactor(*web.Realm) *web.Endpoint {
	form := ofFactor(text.Say("page.remove_factor.title"), text.Say("page.remove_factor.intro"), text.Say("page.remove_factor.submit"), web.SudoFields(false)...)
	names := form.Complete
	form.Complete = func(c *web.Call, d *web.PageData, u *store.User) error {
		switch {
		case c.OwesWithoutLast(c.Who.User):
			d.Text = []string{c.Loc.Text(text.Say("page.remove_factor.required"))}
		case len(c.Who.User.Factors) > 1:
			d.Text = nil
		}
		return names(c, d, u)
	}
	return &web.Endpoint{
		Name: "remove-factor", Methods: web.Post, SignedIn: true, Act: actRemoveFactor,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Remove a factor", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "With the last one the recovery codes go. The owner is mailed a link that brings it back.",
			Inputs:      append([]web.InputDoc{idInput}, web.SudoInputs()...), Codes: []refusal.Code{refusal.CodeFactorNotFound, refusal.CodeLastWayIn},
		},
		Form: form,
	}
}

// EndpointRenameFactor names a factor.
func EndpointRenameFactor(*web.Realm) *web.Endpoint {
	name := web.NameField(account.ParamName, text.Say("field.factor_name"))
	name.Required = true
	return &web.Endpoint{
		Name: "rename-factor", Methods: web.Post, SignedIn: true, Act: actRenameFactor,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Rename a factor", Success: http.StatusOK, Answer: web.SchemaDetail,
			Inputs: []web.InputDoc{idInput, nameInput(true)}, Codes: []refusal.Code{refusal.CodeFactorNotFound},
		},
		Form: ofFactor(text.Say("page.rename_factor.title"), text.Phrase{}, text.Say("page.rename_factor.submit"), name),
	}
}

// ofFactor is the page of a form about one factor.
func ofFactor(title, intro, submit text.Phrase, fields ...web.FormField) *web.Form {
	return &web.Form{
		Title: title, Intro: intro, Submit: submit, Fields: fields, Hidden: []string{account.ParamFactor}, Links: []web.FormLink{web.LinkTo("/factors/", text.Say("link.factors"))},
		Value: func(c *web.Call, name string) string {
			f := factorOf(c)
			switch {
			case name == account.ParamFactor:
				return c.In.Text(name)
			case name == account.ParamName && f != nil:
				return nameOf(c.Loc, f)
			}
			return ""
		},
		Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
			f := factorOf(c)
			if f == nil {
				return refusal.New(refusal.CodeFactorNotFound)
			}
			kind, name := c.Loc.Text(typeNames[f.Type]), nameOf(c.Loc, f)
			if name == kind { // it has none of its own
				kind = c.Loc.Text(text.Say("page.admin.factor_type"))
			}
			d.Facts = append(d.Facts, web.PageFact{Label: kind, Value: name})
			return nil
		},
		After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "factors"} },
	}
}

// factorOf is the factor that a call names, nil for none.
func factorOf(c *web.Call) *store.Factor {
	id, ok := store.ParseID(c.In.Text(account.ParamFactor))
	if !ok || c.Who == nil {
		return nil
	}
	return c.Who.User.Factor(id)
}

func actRemoveFactor(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, err := c.RemoveFactor(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.factor_removed"), User: u}, nil
}

func actRenameFactor(c *web.Call) (*web.Reply, error) {
	u, err := c.RenameFactor(c.Req.Context(), *c.Who, c.In)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.factor_renamed"), User: u}, nil
}
