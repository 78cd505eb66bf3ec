// register_email.go: POST P/register-email: another e-mail address is asked for.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointRegisterEmail changes the address: at once, or, where addresses are verified,
// by a link that is mailed to the new one.
func EndpointRegisterEmail(r *web.Realm) *web.Endpoint {
	verify := r.Options.RegisterEmail.Verification
	e := &web.Endpoint{
		Name: "register-email", Methods: web.Post, SignedIn: true, Act: actRegisterEmail,
		Spends: web.Spends{Throttle: account.ThrottleEmail, Target: web.ThrottleTarget(field.Email), Mails: verify},
		Doc: web.EndpointDoc{
			Tag: web.TagEmail, Summary: "Change the e-mail address", Success: http.StatusOK, Answer: web.SchemaDetail,
			Inputs: append(append([]web.InputDoc{web.EmailInput()}, web.SudoInputs()...), web.NextInput),
		},
		Form: &web.Form{
			Title: text.Say("page.register_email.title"), Submit: text.Say("page.register_email.submit"),
			Fields: append([]web.FormField{web.EmailField(text.Say("field.new_email"))}, web.SudoFields(false)...), Links: []web.FormLink{web.LinkToProfile},
		},
	}
	if several := r.Options.MaxEmails > 1; several {
		e.Doc.Summary = "Add an e-mail address"
		e.Form.Title, e.Form.Submit = text.Say("page.add_email.title"), text.Say("page.add_email.submit")
		e.Form.Intro = text.Say("page.add_email.intro", text.Params{"max": r.Options.MaxEmails})
		e.Form.After = toEmails
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeEmailLimit, refusal.CodeEmailAlreadyRegistered)
		e.Doc.Description = "It is one of the account's once the link in the mail to it was followed. Any confirmed one signs in and can get the link that resets the password."
	} else if verify {
		e.Doc.Description = "It changes once the link in the mail to the new address was followed."
	} else {
		e.Doc.Codes = []refusal.Code{refusal.CodeEmailAlreadyRegistered, refusal.CodeThrottled}
	}
	if r.Options.LimitsDomains() {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeDomainNotAllowed)
	}
	return e
}

func actRegisterEmail(c *web.Call) (*web.Reply, error) {
	if err := c.Guess(); err != nil {
		return nil, err
	}
	if err := c.RegisterEmail(c.Req.Context(), *c.Who, c.In, c.Client); err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.email_changed"), User: c.Who.User}
	if c.Realm.Options.RegisterEmail.Verification {
		rep.Detail = text.Say("detail.confirm_email")
	}
	return rep, nil
}
