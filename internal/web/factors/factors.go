// Package factors has the endpoints and pages of an account's second step: which factors
// there are, how one is added, named and taken away, and the codes for the day on which
// it is lost. How a factor is asked for at the sign-in stands in internal/web/signin.
package factors

import (
	"net/http"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointFactors lists the factors of who asks.
func EndpointFactors(r *web.Realm) *web.Endpoint {
	e := &web.Endpoint{
		Name: "factors", Methods: []string{http.MethodGet, http.MethodHead}, SignedIn: true, Act: actFactors,
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "The factors of the account", Success: http.StatusOK, Answer: web.SchemaFactors,
			Description: "What a sign-in asks for besides the password, the oldest first.",
		},
		Form: &web.Form{Title: text.Say("page.factors.title"), Intro: text.Say("page.factors.intro"), Complete: showFactors},
	}
	if r.Options.Factors.TOTP {
		e.Form.Links = append(e.Form.Links, web.LinkTo("/enrol-totp/", text.Say("link.enrol_totp")))
	}
	if !noPasskeys(r.Options) {
		e.Form.Links = append(e.Form.Links, web.LinkTo("/add-passkey/", text.Say("link.add_passkey")))
	}
	e.Form.Links = append(e.Form.Links, web.LinkToProfile)
	return e
}

// factorShown is a factor in an answer.
type factorShown struct {
	ID       string           `json:"id"`
	Type     store.FactorType `json:"type"`
	Name     string           `json:"name"`
	Created  any              `json:"created"`
	LastUsed any              `json:"last_used"`
}

func actFactors(c *web.Call) (*web.Reply, error) {
	u, err := c.ListFactors(c.Req.Context(), *c.Who)
	if err != nil {
		return nil, err
	}
	list := make([]factorShown, len(u.Factors))
	for i, f := range u.Factors {
		list[i] = factorShown{ID: f.ID.String(), Type: f.Type, Name: nameOf(c.Loc, &f), Created: field.TimeValue(f.Created), LastUsed: field.TimeValue(f.LastUsed)}
	}
	return &web.Reply{Status: http.StatusOK, Body: list, User: u}, nil
}

// nameOf is what a factor is called: by its owner, else by its type.
func nameOf(l *text.Locale, f *store.Factor) string {
	if f.Name != "" {
		return f.Name
	}
	return l.Text(typeNames[f.Type])
}

// typeNames are what the types of factors are called.
var typeNames = map[store.FactorType]text.Phrase{store.FactorTOTP: text.Say("factor.totp"), store.FactorPasskey: text.Say("factor.passkey")}

func showFactors(c *web.Call, d *web.PageData, _ *store.User) error {
	u, err := c.ListFactors(c.Req.Context(), *c.Who)
	if err != nil {
		return err
	}
	d.Form = nil
	for _, f := range u.Factors {
		created, _ := field.TimeValue(f.Created).(string)
		used, _ := field.TimeValue(f.LastUsed).(string)
		d.Factors = append(d.Factors, web.PageFactor{ID: f.ID.String(), Name: nameOf(c.Loc, &f), Kind: c.Loc.Text(typeNames[f.Type]), Created: created, LastUsed: used})
	}
	for _, b := range c.TrustedDevices(u, c.Client) {
		d.Trusted = append(d.Trusted, pageTrusted(trustedShownOf(b)))
	}
	for i := range u.LinkedAccounts {
		l := &u.LinkedAccounts[i]
		created, _ := field.TimeValue(l.Created).(string)
		used, _ := field.TimeValue(l.LastUsed).(string)
		d.Linked = append(d.Linked, web.PageLinked{ID: l.ID.String(), Provider: web.LinkedName(c.Policy, l), Name: l.Name, Created: created, LastUsed: used})
	}
	for _, p := range c.Policy.Login.Providers {
		d.Links = append([]web.PageLink{{Href: web.WithParam(c.Realm.Address("/link-oidc/"), account.ParamProvider, p.Name), Text: c.Loc.Text(text.Say("link.link_oidc", text.Params{"provider": p.Title}))}}, d.Links...)
	}
	if len(u.Factors) == 0 && u.PasswordHash == "" && len(u.LinkedAccounts) > 0 {
		return nil
	}
	if len(u.Factors) == 0 {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.factors.none")))
		return nil
	}
	d.Text = append(d.Text, c.Loc.Text(text.Say("page.factors.codes_left", text.Params{"left": len(u.RecoveryCodes)})))
	d.Links = append([]web.PageLink{{Href: c.Realm.Address("/recovery-codes/"), Text: c.Loc.Text(text.Say("link.recovery_codes"))}}, d.Links...)
	return nil
}

// enroller is who sets up a factor: who has been told at a sign-in that he has to, else
// who is signed in.
func enroller(c *web.Call) account.Enroller {
	browser, kept := c.KeptChallenge()
	e := account.Enroller{Who: c.Who, Browser: browser, Challenge: c.In.Text(account.ParamChallenge)}
	if e.Challenge == "" && kept != "" {
		if _, asked, err := c.Asked(c.Req.Context(), kept, browser); err == nil && asked.Enrol {
			e.Challenge = kept
		}
	}
	return e
}

// enrolling is the page of a form that sets up a factor, for who may.
func enrolling(title, intro, submit text.Phrase, fields ...web.FormField) *web.Form {
	return &web.Form{
		Title: title, Intro: intro, Submit: submit, Fields: fields, Hidden: []string{account.ParamChallenge},
		Value: func(c *web.Call, name string) string {
			if name == account.ParamChallenge {
				return enroller(c).Challenge
			}
			return ""
		},
		Instead: func(w http.ResponseWriter, c *web.Call) bool {
			if enroller(c).Challenge != "" || c.Who != nil {
				return false
			}
			_, token := c.KeptChallenge()
			c.SignInAgain(w, http.StatusFound, token != "")
			return true
		},
		Refused: func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
			if refused.Code != refusal.CodeChallengeExpired {
				return false
			}
			c.SignInAgain(w, http.StatusSeeOther, true)
			return true
		},
	}
}

// asAnother leads who is kept from going on without a factor back to the sign-in.
var asAnother = web.LinkTo("/login/", text.Say("link.other_account"))

// forcedToEnrol says on a page that sets up a factor why, to who gets no further without, and
// leaves the links that he can't follow; more leads on.
func forcedToEnrol(more ...web.FormLink) func(*web.Call, *web.PageData, *store.User) error {
	return func(c *web.Call, d *web.PageData, _ *store.User) error {
		if enroller(c).Challenge == "" {
			return nil
		}
		d.Text = append([]string{c.Loc.Text(text.Say("page.enrol.required"))}, d.Text...)
		d.Links = append(c.LinksTo(append(slices.Clip(more), asAnother)), c.Realm.LinkToContact(c.Loc)...)
		return nil
	}
}

// challengeInput is what who has to set up a factor sends in place of being signed in.
var challengeInput = web.NewInput(account.ParamChallenge, false, web.NewObject("type", "string", "description", "As the sign-in gave it that asks to enrol; in place of being signed in."))

// nameInput is what a factor is to be called.
func nameInput(required bool) web.InputDoc {
	return web.NewInput(account.ParamName, required, web.NewObject("type", "string", "maxLength", account.MaxFactorName, "description", "What the factor is to be called.", "examples", []any{"My phone"}))
}

// idInput names a factor.
var idInput = web.NewInput(account.ParamFactor, true, web.NewObject("type", "string", "format", "uuid", "description", "Of a factor in the list.", "examples", []any{web.ExampleID}))
