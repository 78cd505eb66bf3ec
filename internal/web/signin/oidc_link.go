// oidc_link.go: POST P/link-oidc and P/unlink-oidc, GET P/linked-accounts: which accounts
// elsewhere sign in to one here.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/oidc"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// toFactors is where the pages about one's accounts elsewhere lead.
func toFactors(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "factors"} }

// EndpointLinkOIDC links an account elsewhere to that of who asks: with the name of a
// provider it sends him there, without it links what he has brought back.
func EndpointLinkOIDC(r *web.Realm) *web.Endpoint {
	provider := providerInput
	provider.Required = false
	return &web.Endpoint{
		Name: "link-oidc", Methods: web.Post, SignedIn: true, Off: len(r.Options.Login.Providers) == 0, Act: actLinkOIDC,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Link an account elsewhere", Success: http.StatusOK, Answer: web.SchemaDetail, Or: web.SchemaLocation,
			Description: "With `provider` the answer says where the browser goes, as that of `oidc-login`; it comes back with the account linked. Without, what the browser has brought back is linked that came from a provider as somebody whose address is that of an account here. The owner is mailed a link that takes it back.",
			Inputs:      append([]web.InputDoc{provider}, web.SudoInputs()...),
			Codes:       []refusal.Code{refusal.CodeOIDCUnavailable, refusal.CodeOIDCExpired, refusal.CodeLinkedTaken, refusal.CodeLinkedLimit},
		},
		Form: &web.Form{
			Title: text.Say("page.link_oidc.title"), Submit: text.Say("page.link_oidc.submit"), Fields: web.SudoFields(false), Hidden: []string{account.ParamProvider},
			Links: []web.FormLink{web.LinkTo("/factors/", text.Say("link.factors"))},
			Value: func(c *web.Call, name string) string {
				if name == account.ParamProvider {
					return c.In.Text(name)
				}
				return ""
			},
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				b, _ := c.Brought()
				if c.Who == nil || b != nil || c.Policy.Provider(c.In.Text(account.ParamProvider)) != nil {
					return false
				}
				c.Realm.LeaveNote(w, c.Req, "factors", text.Say("error."+string(refusal.CodeOIDCExpired)))
				web.SeeOther(w, http.StatusFound, c.Realm.WithNext("/factors/", c.Next))
				return true
			},
			Complete: tellWhatIsLinked, After: toFactors,
		},
	}
}

// tellWhatIsLinked says which account is linked to which.
func tellWhatIsLinked(c *web.Call, d *web.PageData, _ *store.User) error {
	p := c.Policy.Provider(c.In.Text(account.ParamProvider))
	b, of := c.Brought()
	switch {
	case p != nil:
		d.LeadsElsewhere()
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.link_oidc.intro", text.Params{"provider": p.Title})))
	case b != nil:
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.link_oidc.brought", text.Params{"provider": of.Title})))
		d.Facts = append(d.Facts, web.FactOf(c.Loc, c.Policy.Fields.ByName[field.Email], b.Who.Email))
	default:
		return refusal.New(refusal.CodeOIDCExpired)
	}
	return nil
}

func actLinkOIDC(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	if c.In[account.ParamProvider].Kind != field.ValueAbsent {
		p, err := providerNamed(c)
		if err != nil {
			return nil, err
		}
		if _, err := c.BeginLink(c.Req.Context(), *c.Who, c.In, c.Client); err != nil {
			return nil, err
		}
		f := c.NewOIDCFlow(p)
		f.Links = c.Who.Session.Hash.PublicID()
		return toProvider(c, p, f)
	}
	b, _ := c.Brought()
	if b == nil {
		return nil, refusal.New(refusal.CodeOIDCExpired)
	}
	u, err := c.Link(c.Req.Context(), *c.Who, &b.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.oidc_linked"), User: u}
	if c.Next != "" {
		rep.SeeOther = c.Next
	}
	c.KeepBrought(rep, nil)
	return rep, nil
}

// linkBegun is the end of what actLinkOIDC began: for who was signed in then.
func linkBegun(c *web.Call, f *web.OIDCFlow, who *oidc.Identity) (*web.Reply, error) {
	if c.Who == nil || c.Who.Session.Hash.PublicID() != f.Links {
		return nil, refusal.New(refusal.CodeNotAuthenticated)
	}
	u, err := c.LinkBegun(c.Req.Context(), *c.Who, who, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.oidc_linked"), User: u, SeeOther: c.Realm.WithNext("/factors/", c.Next)}, nil
}

// EndpointUnlinkOIDC takes an account elsewhere away.
func EndpointUnlinkOIDC(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "unlink-oidc", Methods: web.Post, SignedIn: true, Act: actUnlinkOIDC, Off: len(r.Options.Login.Providers) == 0,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Unlink an account elsewhere", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "The last way in stays. The owner is mailed a link that brings it back.",
			Inputs:      append([]web.InputDoc{web.NewInput(account.ParamFactor, true, web.NewObject("type", "string", "format", "uuid", "description", "Of one of `linked-accounts`.", "examples", []any{web.ExampleID}))}, web.SudoInputs()...),
			Codes:       []refusal.Code{refusal.CodeLinkedNotFound, refusal.CodeLastWayIn},
		},
		Form: &web.Form{
			Title: text.Say("page.unlink_oidc.title"), Intro: text.Say("page.unlink_oidc.intro"), Submit: text.Say("page.unlink_oidc.submit"), Fields: web.SudoFields(false), Hidden: []string{account.ParamFactor},
			Links: []web.FormLink{web.LinkTo("/factors/", text.Say("link.factors"))},
			Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
				id, ok := store.ParseID(c.In.Text(account.ParamFactor))
				if !ok || c.Who == nil || c.Who.User.Linked(id) == nil {
					return refusal.New(refusal.CodeLinkedNotFound)
				}
				l := c.Who.User.Linked(id)
				d.Facts = append(d.Facts, web.PageFact{Label: web.LinkedName(c.Policy, l), Value: l.Name})
				return nil
			},
			After: toFactors,
		},
	}
}

func actUnlinkOIDC(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, err := c.Unlink(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.oidc_unlinked"), User: u}, nil
}

// EndpointLinkedAccounts lists the accounts elsewhere of who asks.
func EndpointLinkedAccounts(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "linked-accounts", Methods: []string{http.MethodGet, http.MethodHead}, SignedIn: true, Act: actLinkedAccounts, Off: len(r.Options.Login.Providers) == 0, Page: "factors",
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "The accounts elsewhere by which one signs in", Success: http.StatusOK, Answer: web.SchemaLinkedAccounts,
			Description: "The oldest first. `provider` is null where the configuration has none any more that it is of.",
		},
	}
}

func actLinkedAccounts(c *web.Call) (*web.Reply, error) {
	u, err := c.ListFactors(c.Req.Context(), *c.Who)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Body: web.LinkedShown(c.Policy, u), User: u}, nil
}
