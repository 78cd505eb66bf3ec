// endpoint_verify_registration.go: POST P/verify-registration: the mailed link that confirms an account.

package registration

import (
	"net/http"
)

func endpointVerifyRegistration(r *webRealm) *endpoint {
	s := r.options
	pass := currentPassword(paramPassword, say("field.password"))
	pass.foreign = true
	e := &endpoint{
		name: "verify-registration", methods: post, off: !s.Register.Verification, act: actVerifyRegistration,
		givesCookie: s.Register.AutoLogin && r.options.Login.Session,
		mailed:      mailedLink{purpose: PurposeRegister, url: s.Mailed[PurposeRegister].URL, period: s.Register.VerificationPeriod},
		doc: endpointDoc{
			tag: tagAccount, summary: "Confirm an account by what the mailed link carries", success: http.StatusOK, answer: schemaDetail,
			inputs: linkInputs(paramUserID, paramTimestamp, paramSignature), codes: []Code{CodeSignatureInvalid, CodeSignatureExpired},
		},
		form: &form{
			title: say("page.verify_registration.title"), submit: say("page.verify_registration.submit"), intro: say("page.verify_registration.intro"),
			hidden: linkParams, links: []formLink{linkTo("/resend-verification/", say("link.resend_verification")), linkToLogin},
			fields: []formField{pass}, complete: askForPassword,
			owned: func(_ http.ResponseWriter, c *call, owner *User) bool {
				c.mustProve = r.mustProve(c, owner)
				return false
			},
			after: func(*call, *reply) afterAct { return afterAct{page: "login"} },
		},
	}
	if s.Register.Enabled { // the account may be gone with its time
		e.form.links = append(e.form.links, linkTo("/register/", say("link.register")))
	}
	e.redirectActs(s.Mailed[PurposeRegister].Redirect)
	if s.Register.AutoLogin {
		e.doc.answer = schemaSignIn
	}
	return e
}

// askForPassword says why a browser that did not sign up needs the password, and
// leads on whoever did not choose it.
func askForPassword(c *call, d *PageData, owner *User) error {
	if !c.mustProve {
		return nil
	}
	d.Text = []string{c.loc.text(say("page.verify_registration.password"))}
	if owner != nil {
		d.Form.Username = accountName(owner)
	}
	if c.policy.ResetPassword.Enabled {
		d.Links = []PageLink{{c.realm.withNext("/send-reset-password-link/", c.next), c.loc.text(say("link.forgot_password"))}}
	}
	return nil
}

func actVerifyRegistration(c *call) (*reply, error) {
	if c.asksOnPage {
		if err := c.provePassword(); err != nil {
			return nil, err
		}
	}
	u, grant, err := c.VerifyRegistration(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.account_confirmed"), user: u}
	if grant != nil {
		rep.cookie = grant.Cookie
		rep.grants(grant)
		rep.seeOther = c.realm.afterSignIn(c.next)
	}
	return rep, nil
}
