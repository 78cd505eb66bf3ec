// delete_account.go: POST P/delete-account: who leaves.

package self

import (
	"net/http"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointDeleteAccount closes the account of who asks, which is gone after a while.
func EndpointDeleteAccount(r *web.Realm) *web.Endpoint {
	s := r.Options
	grace := text.InWords(s.Leaving.Grace)
	return &web.Endpoint{
		Name: "delete-account", Methods: web.Post, SignedIn: true, Off: !s.Leaving.On, Act: actDeleteAccount,
		Spends: web.Spends{Throttle: account.ThrottleProfile},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "Delete the account", Success: http.StatusOK, Answer: web.SchemaDetail, SetsCookie: true,
			Description: "It is closed at once, and everybody is signed out of it. After the time of `delete_account { grace }` it is gone, with all that is kept about its owner; who signs in until then can keep it.",
			Inputs:      web.SudoInputs(), Codes: []refusal.Code{refusal.CodeLastAdmin, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.delete_account.title"), Submit: text.Say("page.delete_account.submit"), Links: []web.FormLink{web.LinkToProfile},
			Fields: web.SudoFields(false),
			Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
				d.Text = append(d.Text, c.Loc.Text(text.Say("page.delete_account.intro", text.Params{"period": c.Loc.Text(grace)})))
				if c.Who != nil && c.Who.User.Username != "" {
					d.Text = append(d.Text, c.Loc.Text(text.Say("page.delete_account.name", text.Params{"period": c.Loc.Text(text.InWords(account.NameReserved))})))
				}
				return nil
			},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
}

func actDeleteAccount(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	u, err := c.CloseAccount(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{
		Status: http.StatusOK, User: u, SignedOut: c.Who.Session.Kind == store.KindSession,
		Detail: text.Say("detail.account_closed", text.Params{"date": c.Loc.Moment(u.LeavesAt.Format(time.RFC3339))}),
	}, nil
}
