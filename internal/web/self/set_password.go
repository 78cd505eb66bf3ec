// set_password.go: POST P/set-password: a password by a link that the owner of the site hands out,
// where nobody resets his by mail.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointSetPassword sets a password by the link that an owner makes for an account (account.ResetLink), and ends all
// sign-ins. Where reset_password is on, that link leads to reset-password, which frontends have already.
func EndpointSetPassword(r *web.Realm) *web.Endpoint {
	s := r.Options
	return &web.Endpoint{
		Name: "set-password", Methods: web.Post, Off: s.ResetPassword.Enabled || !s.Login.Password, Act: actSetPassword,
		Mailed: web.MailedLink{Purpose: sign.PurposeSetPassword, Period: s.ResetPassword.VerificationPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagPassword, Summary: "Set a password by the link that the owner of the site has made", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "Every session and token of the account ends.",
			Inputs:      append(web.LinkInputs(sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature), web.NewPasswordInputs(s, s.ResetPassword.PasswordConfirm)...),
			Codes:       web.ConfirmingCodes(s),
		},
		Form: &web.Form{
			Title: text.Say("page.reset_password.title"), Submit: text.Say("page.reset_password.submit"),
			Fields: web.NewPasswordFields(s, s.ResetPassword.PasswordConfirm, text.Say("field.new_password"), text.Say("field.new_password_confirm")),
			Hidden: web.LinkParams, Links: []web.FormLink{web.LinkToLogin},
			Complete: tellWhosePassword,
			Used: func(*web.Call, *store.User) (text.Phrase, []web.FormLink) {
				return text.Say("detail.already_reset"), nil
			},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
}

func actSetPassword(c *web.Call) (*web.Reply, error) {
	u, err := c.SetPasswordByLink(c.Req.Context(), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.password_reset"), User: u, KnownDevice: true}, nil
}
