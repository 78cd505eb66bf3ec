// resend_verification.go: POST P/resend-verification: the mail that confirms an account once more.

package signup

import (
	"net/http"
	"slices"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointResendVerification mails the link of a sign-up again. Its answer is the same
// where nobody waits for one. It is off without verification, and where nobody delivers mail.
func EndpointResendVerification(r *web.Realm) *web.Endpoint {
	s := r.Options
	names := slices.Clone(s.LoginFields)
	if !slices.Contains(names, field.Email) {
		names = append(names, field.Email)
	}
	e := &web.Endpoint{
		Name: "resend-verification", Methods: web.Post, Off: !s.ConfirmsByMail(), Act: actResendVerification,
		// The order is that in which the act looks for the account: a second name
		// in the body must not be what is counted.
		Spends: web.Spends{Throttle: account.ThrottleEmail, Target: web.ThrottleTarget(append([]string{"login", field.Email}, s.LoginFields...)...), Mails: true},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "Send the mail that confirms an account again", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "The answer does not tell whether there is such an account.",
		},
		Form: &web.Form{
			Title: text.Say("page.resend_verification.title"), Submit: text.Say("page.resend_verification.submit"), Fields: []web.FormField{web.LoginField(s)},
			Links: []web.FormLink{web.LinkToLogin}, Asked: []web.FormLink{web.LinkToResend}, Sent: "detail.resend_requested", Confirms: true,
			After: func(c *web.Call, _ *web.Reply) web.AfterAct { return web.AskedFor(c, "resend-verification") },
		},
	}
	e.Doc.Inputs, e.Doc.OneOf = web.AccountInputs(names...)
	e.Doc.Inputs = append(e.Doc.Inputs, web.NextInput)
	return e
}

func actResendVerification(c *web.Call) (*web.Reply, error) {
	if err := c.ResendVerification(c.Req.Context(), c.In, c.Client); err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.resend_requested")}, nil
}
