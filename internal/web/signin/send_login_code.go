// send_login_code.go: POST P/send-login-code: the mail with a code by which one signs in.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointSendLoginCode mails a code, and a link, that are good in this browser alone.
func EndpointSendLoginCode(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "send-login-code", Methods: web.Post, Off: !s.Login.MailCode, Act: actSendLoginCode, GivesCookie: s.Login.Session,
		Spends: web.Spends{
			Throttle: account.ThrottleReset, Target: web.ThrottleTarget(append([]string{"login"}, s.LoginFields...)...), Mails: true,
			Device: func(c *web.Call) *store.User { return r.Named(c, c.In, s.LoginFields) },
		},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Mail a code to sign in by", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "To a confirmed address, with a link that does the same. The answer does not tell whether there is such an account. " +
				"It sets a cookie that `login-code` needs: the code is good in this browser alone, for 10 minutes.",
		},
		Form: &web.Form{
			Title: text.Say("page.send_login_code.title"), Intro: text.Say("page.send_login_code.intro"), Submit: text.Say("page.send_login_code.submit"),
			Fields: []web.FormField{web.LoginField(s)}, Links: []web.FormLink{web.LinkTo("/login/", text.Say("link.by_password"))},
		},
	}
	e.Doc.Inputs, e.Doc.OneOf = web.AccountInputs(s.LoginFields...)
	e.Doc.Inputs = append(e.Doc.Inputs, web.NextInput)
	return e
}

func actSendLoginCode(c *web.Call) (*web.Reply, error) {
	asked, err := c.SendLoginCode(c.Req.Context(), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.login_code_sent"), AskedCode: &asked, SeeOther: c.Realm.WithNext("/login-code/", c.Next)}, nil
}
