// reset_password.go: POST P/reset-password: a new password by the mailed link.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointResetPassword sets a new password by the mailed link, and ends all sign-ins.
func EndpointResetPassword(r *web.Realm) *web.Endpoint {
	s := r.Options
	return &web.Endpoint{
		Name: "reset-password", Methods: web.Post, Off: !s.ResetPassword.Enabled, Act: actResetPassword, Redirect: s.Mailed[sign.PurposeResetPassword].Redirect,
		Mailed: web.MailedLink{Purpose: sign.PurposeResetPassword, URL: s.Mailed[sign.PurposeResetPassword].URL, Period: s.ResetPassword.VerificationPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagPassword, Summary: "Set a new password by what the mailed link carries", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "Every session and token of the account ends.",
			Inputs:      append(web.LinkInputs(sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature), web.NewPasswordInputs(s, s.ResetPassword.PasswordConfirm)...),
			Codes:       web.ConfirmingCodes(s),
		},
		Form: &web.Form{
			Title: text.Say("page.reset_password.title"), Submit: text.Say("page.reset_password.submit"),
			Fields: web.NewPasswordFields(s, s.ResetPassword.PasswordConfirm, text.Say("field.new_password"), text.Say("field.new_password_confirm")),
			Hidden: web.LinkParams, Links: []web.FormLink{web.LinkTo("/send-reset-password-link/", text.Say("link.new_reset_link")), web.LinkToLogin},
			Complete: tellWhosePassword,
			Used: func(*web.Call, *store.User) (text.Phrase, []web.FormLink) {
				return text.Say("detail.already_reset"), []web.FormLink{web.LinkTo("/send-reset-password-link/", text.Say("link.new_reset_link"))}
			},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
}

func actResetPassword(c *web.Call) (*web.Reply, error) {
	u, err := c.ResetPassword(c.Req.Context(), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.password_reset"), User: u, KnownDevice: true}, nil
}

// tellWhosePassword has the page of a mailed link name the account, for who keeps passwords, and
// speak of a password, and of no new one, to who has none so far: he has signed up elsewhere, or
// signs in with a passkey alone.
func tellWhosePassword(c *web.Call, d *web.PageData, owner *store.User) error {
	if owner == nil {
		return nil
	}
	d.Form.Username = web.AccountName(owner)
	if owner.NeverHadPassword() {
		d.Title = c.Loc.Text(text.Say("page.reset_password.submit"))
	}
	return nil
}
