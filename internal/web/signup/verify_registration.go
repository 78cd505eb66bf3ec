// verify_registration.go: POST P/verify-registration: the mailed link that confirms an account.

package signup

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointVerifyRegistration makes an account active by its mailed link. It is off without
// verification.
func EndpointVerifyRegistration(r *web.Realm) *web.Endpoint {
	s := r.Options
	pass := web.CurrentPassword(account.ParamPassword, text.Say("field.password"))
	pass.Foreign = true
	e := &web.Endpoint{
		Name: "verify-registration", Methods: web.Post, Off: !s.Register.Verification, Act: actVerifyRegistration,
		GivesCookie: s.Register.AutoLogin && r.Options.Login.Session,
		Mailed:      web.MailedLink{Purpose: sign.PurposeRegister, URL: s.Mailed[sign.PurposeRegister].URL, Period: s.Register.VerificationPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "Confirm an account by what the mailed link carries", Success: http.StatusOK, Answer: web.SchemaDetail,
			Inputs: web.LinkInputs(sign.ParamUserID, sign.ParamTimestamp, sign.ParamSignature), Codes: web.ConfirmingCodes(s),
		},
		Form: &web.Form{
			Title: text.Say("page.verify_registration.title"), Submit: text.Say("page.verify_registration.submit"), Intro: text.Say("page.verify_registration.intro"),
			Hidden: web.LinkParams, Links: []web.FormLink{web.LinkToLogin},
			Fields: []web.FormField{pass}, Complete: askForPassword,
			Owned: func(_ http.ResponseWriter, c *web.Call, owner *store.User) bool {
				c.MustProve = r.MustProve(c, owner)
				return false
			},
			Used: func(_ *web.Call, owner *store.User) (text.Phrase, []web.FormLink) {
				if owner.AwaitsApproval {
					return text.Say("detail.account_confirmed_awaits_approval"), nil
				}
				return text.Say("detail.already_confirmed"), nil
			},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
	if s.ConfirmsByMail() {
		e.Form.Links = append([]web.FormLink{web.LinkTo("/resend-verification/", text.Say("link.resend_verification"))}, e.Form.Links...)
	}
	if s.Register.Mode.OpenToAll() { // the account may be gone with its time
		e.Form.Links = append(e.Form.Links, web.LinkTo("/register/", text.Say("link.register")))
	}
	e.RedirectActs(s.Mailed[sign.PurposeRegister].Redirect)
	if s.Register.AutoLogin {
		e.Doc.Answer = web.SchemaSignIn
		if s.Login.Token { // who is asked for more signs in by his password
			e.Doc.Or = web.SchemaDetail
		}
	}
	return e
}

// askForPassword says what is still to come, and why a browser that did not sign up needs the password, and
// leads on whoever did not choose it. Who has signed up by an account elsewhere has none:
// he goes to the browser in which he did.
func askForPassword(c *web.Call, d *web.PageData, owner *store.User) error {
	if owner != nil && c.Policy.Register.Mode == account.ModeApprove && owner.Invitation == uuid.Nil {
		d.Text = []string{c.Loc.Text(text.Say("page.verify_registration.intro_approve"))}
	}
	if !c.MustProve {
		return nil
	}
	d.Text = []string{c.Loc.Text(text.Say("page.verify_registration.password"))}
	if owner != nil && owner.PasswordHash == "" && len(owner.LinkedAccounts) > 0 { // by which he has signed up
		d.Text, d.Form = []string{c.Loc.Text(text.Say("page.verify_registration.elsewhere"))}, nil
	} else if owner != nil {
		d.Form.Username = web.AccountName(owner)
	}
	if c.Policy.ResetPassword.Enabled {
		d.Links = []web.PageLink{{Href: c.Realm.WithNext("/send-reset-password-link/", c.Next), Text: c.Loc.Text(text.Say("link.forgot_password"))}}
	}
	return nil
}

func actVerifyRegistration(c *web.Call) (*web.Reply, error) {
	if c.AsksOnPage {
		if err := c.ProvePassword(); err != nil {
			return nil, err
		}
	}
	u, grant, err := c.VerifyRegistration(c.Req.Context(), c.In, c.Client)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.account_confirmed"), User: u}
	if u.AwaitsApproval {
		rep.Detail = text.Say("detail.account_confirmed_awaits_approval")
	}
	if grant != nil {
		rep.Cookie = grant.Cookie
		rep.Grants(grant)
		rep.SeeOther = c.Realm.AfterSignIn(c.Next)
	}
	return rep, nil
}
