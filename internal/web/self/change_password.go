// change_password.go: POST P/change-password: a new password by the old one.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointChangePassword sets a new password for who knows the old one, or shows a factor,
// and ends all other sign-ins.
func EndpointChangePassword(r *web.Realm) *web.Endpoint {
	s := r.Options
	return &web.Endpoint{
		Name: "change-password", Methods: web.Post, SignedIn: true, Off: !s.Login.Password, Act: actChangePassword,
		Spends: web.Spends{Throttle: account.ThrottleLogin, Account: web.WhoAsks, Device: web.WhoAsks},
		Doc: web.EndpointDoc{
			Tag: web.TagPassword, Summary: "Change the password", Success: http.StatusOK, Answer: web.SchemaDetail, SetsCookie: true,
			Description: "This session goes on under a new cookie; all others, and all other tokens, end. Where the account has a factor, `totp` or `passkey` stands in for `old_password`, " +
				"which is not enough without one, unless the sign-in has shown it within `register_email.max_age`. An account without a password gets its first without `old_password`.",
			Inputs: append(append([]web.InputDoc{oldPasswordInput()}, web.NewPasswordInputs(s, s.ChangePassword.PasswordConfirm)...), web.FactorInputs()...),
			Codes:  []refusal.Code{refusal.CodePasswordIncorrect, refusal.CodeFactorInvalid, refusal.CodeReauthenticate, refusal.CodeInsufficient, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.change_password.title"), Submit: text.Say("page.change_password.submit"), Links: []web.FormLink{web.LinkToProfile},
			Fields: append([]web.FormField{web.CurrentPassword("old_password", text.Say("field.old_password")), web.SudoCode()},
				web.NewPasswordFields(s, s.ChangePassword.PasswordConfirm, text.Say("field.new_password"), text.Say("field.new_password_confirm"))...),
			Complete: func(c *web.Call, d *web.PageData, _ *store.User) error {
				if d.Form.Username = web.AccountName(c.Who.User); c.Who.User.PasswordHash == "" {
					web.WithoutField(d, "old_password")
				}
				return nil
			},
		},
	}
}

// oldPasswordInput is the current password.
func oldPasswordInput() web.InputDoc {
	in := web.PasswordInput("old_password", "The current password.")
	in.Required = false
	return in
}

func actChangePassword(c *web.Call) (*web.Reply, error) {
	u, grant, err := c.ChangePassword(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.password_changed"), User: u}
	if len(u.ProgramTokens) > 0 {
		rep.Detail = text.Say("detail.password_changed_tokens")
	}
	if grant != nil {
		rep.Cookie = grant.Cookie
	}
	return rep, nil
}
