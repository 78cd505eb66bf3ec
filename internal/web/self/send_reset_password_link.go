// send_reset_password_link.go: POST P/send-reset-password-link: the mail with the link that sets a new password.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointSendResetPasswordLink mails the link that sets a new password.
func EndpointSendResetPasswordLink(r *web.Realm) *web.Endpoint {
	s := r.Options
	names, login := append([]string{"login"}, s.LoginFields...), web.LoginField(s)
	device := func(c *web.Call) *store.User { return r.Named(c, c.In, s.LoginFields) }
	if s.ResetPassword.UseEmail {
		names, login = []string{field.Email}, web.EmailField(text.Say("field.email"))
		device = func(c *web.Call) *store.User { return r.Named(c, field.Input{field.Email: c.In[field.Email]}, names) }
	}
	e := &web.Endpoint{
		Name: "send-reset-password-link", Methods: web.Post, Off: !s.ResetPassword.Enabled, Act: actSendResetPasswordLink,
		Spends: web.Spends{Throttle: account.ThrottleReset, Target: web.ThrottleTarget(names...), Device: device, Mails: true},
		Doc:    web.EndpointDoc{Tag: web.TagPassword, Summary: "Mail a link to set a new password", Success: http.StatusOK, Answer: web.SchemaDetail},
		Form: &web.Form{
			Title: text.Say("page.send_reset_password_link.title"), Submit: text.Say("page.send_reset_password_link.submit"), Intro: text.Say("page.send_reset_password_link.intro"),
			Fields: []web.FormField{login}, Links: []web.FormLink{web.LinkToLogin}, Sent: "detail.reset_requested",
			After: func(c *web.Call, _ *web.Reply) web.AfterAct { return web.AskedFor(c, "send-reset-password-link") },
		},
	}
	if s.ConfirmsByMail() {
		e.Form.Links = append(e.Form.Links, web.LinkToResend)
	}
	if s.ResetPassword.UseEmail {
		e.Doc.Inputs = []web.InputDoc{web.EmailInput()}
	} else {
		e.Doc.Inputs, e.Doc.OneOf = web.AccountInputs(s.LoginFields...)
	}
	e.Doc.Inputs = append(e.Doc.Inputs, web.NextInput)
	if s.ResetPassword.FailWhenUserNotFound {
		e.Doc.Codes = []refusal.Code{refusal.CodeUserNotFound}
	} else {
		e.Doc.Description = "The answer does not tell whether there is such an account."
	}
	return e
}

func actSendResetPasswordLink(c *web.Call) (*web.Reply, error) {
	if err := c.SendResetPasswordLink(c.Req.Context(), c.In, c.Client); err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.reset_requested")}, nil
}
