// language.go: POST P/language: the language of an account, as the foot of its pages asks for
// it. A link could be on anybody's page, and security notices are in that language: so it is
// a form's, which only our own pages can send.

package self

import (
	"cmp"
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointLanguage sets the language of an account and of the browser that asks.
func EndpointLanguage(r *web.Realm) *web.Endpoint {
	e := &web.Endpoint{
		Name: web.LanguageName, Methods: web.Post, SignedIn: true, Act: actLanguage, Off: r.Options.Fields.Language == nil,
		Spends: web.Spends{Throttle: account.ThrottleProfile, Account: web.WhoAsks, Alone: true},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "The account's language", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "Pages and mails are in it from now on. Empty or null: pages are as the browser asks, and mails as it did at the latest sign-in.",
		},
	}
	if !e.Off {
		e.Doc.Inputs = web.FieldInputs([]*field.Field{r.Options.Fields.Language}, nil)
	}
	return e
}

func actLanguage(c *web.Call) (*web.Reply, error) {
	u, err := c.SetLanguage(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{
		Status: http.StatusOK, Detail: text.Say("detail.profile_saved"), User: u, Language: &u.Language, KeepLanguage: true,
		SeeOther: cmp.Or(c.Next, c.Realm.Address("/profile/")),
	}, nil
}
