// tokens.go: GET P/tokens: the account's tokens for programs.

package self

import (
	"net/http"
	"strings"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointTokens lists the tokens for programs of who asks.
func EndpointTokens(*web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "tokens", Methods: []string{http.MethodGet, http.MethodHead}, SignedIn: true, Act: actTokens,
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "The account's tokens for programs", Success: http.StatusOK, Answer: web.SchemaProgramTokens,
			Description: "The oldest first. The tokens themselves are told once, when they are made.",
		},
		Form: &web.Form{
			Title: text.Say("page.tokens.title"), Intro: text.Say("page.tokens.intro"), Complete: showTokens,
			Links: []web.FormLink{web.LinkTo("/create-token/", text.Say("link.create_token")), web.LinkToProfile},
		},
	}
}

// tokenShown is a token for programs in an answer.
type tokenShown struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Created  any      `json:"created"`
	LastUsed any      `json:"last_used"`
	Expires  any      `json:"expires"`
	Path     any      `json:"path"`
	Groups   []string `json:"groups"`
}

func shownTokens(c *web.Call) ([]tokenShown, *store.User, error) {
	u, err := c.ProgramTokens(c.Req.Context(), *c.Who)
	if err != nil {
		return nil, nil, err
	}
	list := make([]tokenShown, len(u.ProgramTokens))
	for i, t := range u.ProgramTokens {
		list[i] = tokenShown{ID: t.Hash.PublicID(), Name: t.Name, Created: field.TimeValue(t.Created), LastUsed: field.TimeValue(t.LastUsed), Expires: field.TimeValue(t.Expires), Groups: t.Groups}
		if t.Path != "" {
			list[i].Path = t.Path
		}
	}
	return list, u, nil
}

func actTokens(c *web.Call) (*web.Reply, error) {
	list, u, err := shownTokens(c)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Body: list, User: u}, nil
}

func showTokens(c *web.Call, d *web.PageData, _ *store.User) error {
	list, _, err := shownTokens(c)
	if err != nil {
		return err
	}
	d.Form = nil
	for _, t := range list {
		created, _ := t.Created.(string)
		used, _ := t.LastUsed.(string)
		expires, _ := t.Expires.(string)
		path, _ := t.Path.(string)
		limits := []string{path}
		if t.Groups != nil {
			limits = append(limits, c.Loc.Text(text.Say("page.tokens.groups", text.Params{"groups": strings.Join(t.Groups, ", ")})))
		}
		d.Tokens = append(d.Tokens, web.PageToken{ID: t.ID, Name: t.Name, Created: created, LastUsed: used, Expires: expires, Limits: strings.Trim(strings.Join(limits, " · "), " ·")})
	}
	if len(list) == 0 {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.tokens.none")))
	}
	if len(list) >= account.MaxProgramTokens {
		d.Links = d.Links[1:]
	}
	return nil
}
