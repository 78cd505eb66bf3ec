// login_code.go: POST P/login-code: a sign-in by the code that was mailed, or by the link
// in the same mail.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointLoginCode signs in by a mailed code, in the browser that has asked for it.
func EndpointLoginCode(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "login-code", Methods: web.Post, Off: !s.Login.MailCode, Act: actLoginCode, GivesCookie: s.Login.Session,
		Spends: web.Spends{
			Throttle: account.ThrottleLogin, Target: web.ThrottleTarget(append([]string{"login"}, s.LoginFields...)...),
			Device: func(c *web.Call) *store.User { return r.Named(c, c.In, s.LoginFields) },
		},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Sign in by a mailed code", Success: http.StatusOK, Answer: web.SchemaSignIn, Or: web.SchemaChallenge,
			Description: "With the same `login` and in the same browser (it sends a cookie) as `send-login-code`. After five wrong codes it takes another one; an account takes ten in an hour. " +
				"Where the account has a factor, the answer is a challenge, and nobody is signed in.",
			Codes: []refusal.Code{refusal.CodeLoginCodeInvalid, refusal.CodeLoginCodeExpired, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.login_code.title"), Submit: text.Say("page.login_code.submit"),
			Fields: []web.FormField{web.MailCodeField()}, Hidden: []string{"login", sign.ParamSignature},
			Links: []web.FormLink{web.LinkTo("/send-login-code/", text.Say("link.another_code")), web.LinkTo("/login/", text.Say("link.by_password"))},
			Value: func(c *web.Call, name string) string {
				switch name {
				case "login":
					return web.KeptCode(c).Login
				case sign.ParamSignature:
					return c.In.Text(name)
				}
				return ""
			},
			Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
				say := "page.login_code.intro"
				if c.In.Text(sign.ParamSignature) != "" {
					say = "page.login_code.by_link"
					web.WithoutField(d, account.ParamMailCode)
				}
				d.Text = append(d.Text, c.Loc.Text(text.Say(say)))
				return nil
			},
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				if web.KeptCode(c).Login != "" {
					return false
				}
				askAnew(w, c, http.StatusFound, c.In.Text(sign.ParamSignature) != "")
				return true
			},
			Refused: func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
				if refused.Code != refusal.CodeLoginCodeExpired {
					return false
				}
				askAnew(w, c, http.StatusSeeOther, true)
				return true
			},
		},
	}
	e.Doc.Inputs, e.Doc.OneOf = web.AccountInputs(s.LoginFields...)
	e.Doc.Inputs = append(e.Doc.Inputs, web.NewInput(account.ParamMailCode, true, web.NewObject("type", "string", "description", "As the mail has it.", "examples", []any{"402193"})))
	return e
}

// askAnew leads to the page that asks for another code. told says why: the code, or the
// link, is no longer good, or of another browser.
func askAnew(w http.ResponseWriter, c *web.Call, status int, told bool) {
	if told {
		c.Realm.LeaveNote(w, c.Req, "send-login-code", text.Say("detail.ask_another_code"))
	}
	web.SeeOther(w, status, c.Realm.WithNext("/send-login-code/", c.Next))
}

func actLoginCode(c *web.Call) (*web.Reply, error) {
	kept := web.KeptCode(c)
	if c.In["login"].Kind == field.ValueAbsent && c.In.Text(sign.ParamSignature) != "" && kept.Login != "" { // the link has no name
		c.In["login"] = field.Value{Kind: field.ValueText, Text: kept.Login}
	}
	got, err := c.SignInByCode(c.Req.Context(), c.In, kept, c.Client, web.OldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	rep := signedIn(c, got)
	rep.AskedCode = &account.AskedCode{} // it is used up
	return rep, nil
}
