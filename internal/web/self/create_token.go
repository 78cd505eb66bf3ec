// create_token.go: POST P/create-token: a token for a program.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/token"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointCreateToken makes a token for a program.
func EndpointCreateToken(*web.Realm) *web.Endpoint {
	name := web.NameField(account.ParamName, text.Say("field.token_name"))
	name.Required, name.Hint = true, text.Say("hint.token_name")
	path := web.NameField(account.ParamTokenPath, text.Say("field.token_path"))
	path.Hint = text.Say("hint.token_path")
	groups := web.NameField(account.ParamTokenGroups, text.Say("field.token_groups"))
	groups.Hint = text.Say("hint.token_groups")
	expires := web.DateField(account.ParamTokenExpires, text.Say("field.token_expires"))
	expires.Hint = text.Say("hint.token_expires")
	return &web.Endpoint{
		Name: "create-token", Methods: web.Post, SignedIn: true, Act: actCreateToken,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "Make a token for a program", Success: http.StatusCreated, Answer: web.SchemaProgramToken,
			Description: "It is told this once, and can't be changed. It is good behind `require_login`, as `Authorization: Bearer` or, with `basic`, as the password of HTTP Basic; of these endpoints only for reading `profile`. " +
				"The owner is mailed a notice.",
			Inputs: append([]web.InputDoc{
				web.NewInput(account.ParamName, true, web.NewObject("type", "string", "maxLength", account.MaxFactorName, "description", "What it is for.", "examples", []any{"Calendar"})),
				web.NewInput(account.ParamTokenExpires, false, web.NewObject("type", "string", "description", "When it ends: a moment as in RFC 3339, or a day (UTC), to the end of which it is good. Never, if left out.", "examples", []any{"2999-12-31"})),
				web.NewInput(account.ParamTokenPath, false, web.NewObject("type", "string", "maxLength", token.MaxPath, "description", "Where it is good: at this path and at all below it. Everywhere, if left out.", "examples", []any{"/dav"})),
				web.NewInput(account.ParamTokenGroups, false, web.NewObject("type", []string{"array", "string"}, "items", web.NewObject("type", "string"), "description", "Those of the account's groups that count for it; in a text with blanks or commas between them. All, if left out.")),
			}, web.SudoInputs()...), Codes: []refusal.Code{refusal.CodeTokenLimit},
		},
		Form: &web.Form{
			Title: text.Say("page.create_token.title"), Intro: text.Say("page.create_token.intro"), Submit: text.Say("page.create_token.submit"),
			Fields: append([]web.FormField{name, path, groups, expires}, web.SudoFields(false)...), Links: []web.FormLink{web.LinkTo("/tokens/", text.Say("link.tokens"))},
			Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
				if c.In.Text(account.ParamTokenGroups) == "" && len(c.Who.User.Groups) == 0 {
					web.WithoutField(d, account.ParamTokenGroups)
				}
				return nil
			},
		},
	}
}

func actCreateToken(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, t, made, err := c.CreateProgramToken(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	say := func(id string) string { return c.Loc.Text(text.Say(id)) }
	texts := []string{say("page.token_made.text"), say("page.token_made.once")}
	if u.Username != "" { // what a program that asks for a name is given
		texts = append(texts, c.Loc.Text(text.Say("page.token_made.username", text.Params{"username": u.Username})))
	}
	return &web.Reply{Status: http.StatusCreated, User: u, Body: web.NewObject("id", t.Hash.PublicID(), "token", made), Page: &web.PageData{
		Page: "create-token", Title: say("page.token_made.title"), Text: texts, Token: made,
		Action: &web.PageLink{Href: c.Realm.Address("/tokens/"), Text: say("link.token_kept")},
	}}, nil
}
