// verify_email.go: POST P/verify-email: the mailed link that changes the address.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointVerifyEmail confirms a new address by the link that was mailed to it.
func EndpointVerifyEmail(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "verify-email", Methods: web.Post, Off: !s.RegisterEmail.Verification, Act: actVerifyEmail, SignedIn: s.RegisterEmail.SignedIn,
		Mailed: web.MailedLink{Purpose: sign.PurposeRegisterEmail, URL: s.Mailed[sign.PurposeRegisterEmail].URL, Period: s.RegisterEmail.VerificationPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagEmail, Summary: "Confirm the new e-mail address by what the mailed link carries", Success: http.StatusOK, Answer: web.SchemaDetail,
			Inputs: web.LinkInputs(sign.ParamUserID, sign.ParamEmail, sign.ParamTimestamp, sign.ParamSignature),
			Codes:  []refusal.Code{refusal.CodeSignatureInvalid, refusal.CodeSignatureExpired, refusal.CodeEmailAlreadyRegistered, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.verify_email.title"), Submit: text.Say("page.verify_email.submit"), Intro: text.Say("page.verify_email.intro"),
			Hidden: web.EmailLinkParams, Links: []web.FormLink{web.LinkTo("/register-email/", text.Say("link.change_email")), web.LinkToProfile},
			Kept: true, Owned: web.OwnerSignsIn, Refused: web.OwnerRefused,
			Used: func(c *web.Call, owner *store.User) (text.Phrase, []web.FormLink) {
				if email := c.In.Text(sign.ParamEmail); owner.EmailVerified && field.EmailKey(email) == field.EmailKey(owner.Email) {
					return text.Say("detail.already_changed", text.Params{"email": hostname.DisplayAddress(owner.Email)}), nil
				}
				if account.IsFurther(owner, c.In.Text(sign.ParamEmail)) {
					return text.Say("detail.email_added"), nil
				}
				return text.Say("detail.already_used"), nil // the account has had another since
			},
			After: func(c *web.Call, _ *web.Reply) web.AfterAct {
				if c.Who == nil {
					return web.AfterAct{Page: "login", Next: c.Realm.Address("/profile/")}
				}
				if c.Policy.MaxEmails > 1 {
					return toEmails(c, nil)
				}
				return web.AfterAct{}
			},
		},
	}
	if s.MaxEmails > 1 {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeEmailLimit)
		e.Form.Intro = text.Say("page.verify_email.added")
		e.Form.Links[0] = web.LinkTo("/emails/", text.Say("link.emails"))
	}
	e.RedirectActs(s.Mailed[sign.PurposeRegisterEmail].Redirect)
	if s.LimitsDomains() {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeDomainNotAllowed)
	}
	if s.RegisterEmail.SignedIn {
		e.Doc.Description = "Only who is signed in to the account can do this."
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodePermissionDenied)
	}
	return e
}

func actVerifyEmail(c *web.Call) (*web.Reply, error) {
	if c.AsksOnPage || c.Policy.RegisterEmail.SignedIn {
		if err := c.OwnLink(); err != nil {
			return nil, err
		}
	}
	u, err := c.VerifyEmail(c.Req.Context(), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.email_changed"), User: u}
	if account.IsFurther(u, c.In.Text(sign.ParamEmail)) {
		rep.Detail = text.Say("detail.email_added")
	}
	return rep, nil
}
