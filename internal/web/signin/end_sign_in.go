// end_sign_in.go: POST P/end-sign-in: the link in the mail about a sign-in on a new device.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointEndSignIn ends one sign-in by the link in the mail that has told of it, and leads on
// to a new password. It is off where no mail is sent. What was mailed before `new_device` was
// turned off is good still.
func EndpointEndSignIn(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "end-sign-in", Methods: web.Post, Off: !s.SendsMail, Act: actEndSignIn,
		Mailed: web.MailedLink{Purpose: sign.PurposeEndSignIn, URL: s.Mailed[sign.PurposeEndSignIn].URL, Period: account.UndoPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "End one sign-in by what the mail about a new device carries", Success: http.StatusOK, Answer: web.SchemaSignInEnded,
			Description: "That sign-in ends and no other, and the device is not known any more. `reset_password` is there where a new password can be set at once: what it has goes to `reset-password`.",
			Inputs:      web.LinkInputs(sign.ParamUserID, sign.ParamSignIn, sign.ParamTimestamp, sign.ParamSignature),
			Codes:       []refusal.Code{refusal.CodeSignatureInvalid, refusal.CodeSignatureExpired},
		},
		Form: &web.Form{
			Title: text.Say("page.end_sign_in.title"), Submit: text.Say("page.end_sign_in.submit"), Intro: text.Say("page.end_sign_in.intro"),
			Hidden: append([]string{sign.ParamSignIn}, web.LinkParams...), Links: []web.FormLink{web.LinkToLogin},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
	var ways []web.FormLink
	if s.ResetPassword.Enabled {
		ways = append(ways, web.LinkTo("/send-reset-password-link/", text.Say("link.forgot_password")))
		e.Form.After = func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "send-reset-password-link"} }
	}
	e.Form.Links = append(e.Form.Links, ways...)
	e.Form.Used = func(*web.Call, *store.User) (text.Phrase, []web.FormLink) {
		return text.Say("detail.sign_in_over"), ways
	}
	return e
}

func actEndSignIn(c *web.Call) (*web.Reply, error) {
	u, reset, err := c.EndSignInByLink(c.Req.Context(), c.In)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, User: u, Detail: text.Say("detail.sign_in_ended")}
	if reset == nil {
		return rep, nil
	}
	rep.Members = web.NewObject("reset_password", web.NewObject(
		sign.ParamUserID, reset.Get(sign.ParamUserID), sign.ParamTimestamp, reset.Get(sign.ParamTimestamp), sign.ParamSignature, reset.Get(sign.ParamSignature)))
	page := c.Realm.Options.Mailed[sign.PurposeResetPassword].URL
	if page == "" {
		page = c.Realm.Address("/reset-password/")
	}
	rep.Note = "reset-password"
	rep.SeeOther, err = sign.WithParams(page, reset)
	return rep, err
}
