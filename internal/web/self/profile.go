// profile.go: GET, POST, PUT and PATCH P/profile: what an account shows of itself.

package self

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

// EndpointProfile shows the account of who asks, and changes its editable fields.
func EndpointProfile(r *web.Realm) *web.Endpoint {
	set := r.Options.Fields
	list, required := set.Profile, set.ProfileRequired
	e := &web.Endpoint{
		Name: "profile", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch}, SignedIn: true, Programs: true, Act: actProfile,
		Spends: web.Spends{Throttle: account.ThrottleProfile, Account: web.WhoAsks, Alone: true},
		Doc:    web.EndpointDoc{Tag: web.TagAccount, Summary: "The account's profile", Success: http.StatusOK, Answer: web.SchemaProfile, Inputs: web.FieldInputs(list, required)},
		// The page shows the other public fields as they are. There is no button
		// where there is nothing to save.
		Form: &web.Form{
			Title: text.Say("page.profile.title"), Submit: text.Say("page.profile.submit"),
			Value: func(c *web.Call, name string) string { return web.ProfileValue(c, c.Who.User, name) },
		},
	}
	if slices.ContainsFunc(list, func(f *field.Field) bool { return f.Name == field.Email || required[f.Name] && f.Unique }) {
		e.Doc.Inputs = append(e.Doc.Inputs, web.SudoInputs()...)
		e.Doc.Codes = []refusal.Code{refusal.CodeThrottled}
	}
	if r.Options.LimitsDomains() && slices.ContainsFunc(list, func(f *field.Field) bool { return f.Name == field.Email }) {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeDomainNotAllowed)
	}
	if !r.Options.Login.Password {
		e.Form.Links = nil
	}
	for _, field := range list {
		e.Form.Fields = append(e.Form.Fields, web.ProfileField(field, required[field.Name]))
	}
	if slices.ContainsFunc(list, set.Guarded) {
		for _, f := range web.SudoFields(false) {
			f.Required = false
			if f.Name == account.ParamPassword {
				f.Hint = text.Say("hint.password_for_login")
			}
			e.Form.Fields = append(e.Form.Fields, f)
		}
	}
	e.Form.Complete = func(c *web.Call, d *web.PageData, _ *store.User) error {
		d.Facts = web.Facts(c, e.Form)
		if c.Policy.IsAdmin(c.Who.User) {
			d.Links = append(d.Links, web.PageLink{Href: c.Realm.Address("/" + web.OwnerPath + "/"), Text: c.Loc.Text(text.Say("link.admin"))})
			if n, ok := c.Waiting(); ok && c.AdminLacks(c.Who.User, c.Who.Session) == "" {
				d.Links = append(d.Links, web.PageLink{Href: c.Realm.Address("/" + web.OwnerPath + "/waiting/"), Text: c.Loc.Text(text.Say("link.admin_waiting", text.Params{"count": n}))})
			}
		}
		web.LetStay(c, d, c.Who.User)
		for _, f := range list {
			if f.Settled(c.Who.User) { // it is among the facts
				web.WithoutField(d, f.Name)
			}
		}
		if !slices.ContainsFunc(list, func(f *field.Field) bool { return !f.Settled(c.Who.User) }) {
			d.Form = nil
		}
		sections(c, d)
		return nil
	}
	return e
}

func actProfile(c *web.Call) (*web.Reply, error) {
	u := c.Who.User
	if c.Req.Method != http.MethodGet && c.Req.Method != http.MethodHead {
		if c.SetsLogin(*c.Who, c.In) {
			if err := c.Guess(); err != nil {
				return nil, err
			}
		}
		var err error
		if u, err = c.UpdateProfile(c.Req.Context(), *c.Who, c.In, c.Req.Method == http.MethodPatch, c.Client); err != nil {
			return nil, err
		}
	}
	rep := &web.Reply{Status: http.StatusOK, Profile: c.Profile(u), User: u, Detail: text.Say("detail.profile_saved")}
	if u.Language != c.Who.User.Language {
		rep.Language = &u.Language
	}
	return rep, nil
}
