// endpoint_verify_email.go: POST P/verify-email: the mailed link that changes the address.

package registration

import (
	"net/http"
)

func endpointVerifyEmail(r *webRealm) *endpoint {
	s := r.options
	e := &endpoint{
		name: "verify-email", methods: post, off: !s.RegisterEmail.Verification, act: actVerifyEmail, signedIn: s.RegisterEmail.SignedIn,
		mailed: mailedLink{purpose: PurposeRegisterEmail, url: s.Mailed[PurposeRegisterEmail].URL, period: s.RegisterEmail.VerificationPeriod},
		doc: endpointDoc{
			tag: tagEmail, summary: "Confirm the new e-mail address by what the mailed link carries", success: http.StatusOK, answer: schemaDetail,
			inputs: linkInputs(paramUserID, paramEmail, paramTimestamp, paramSignature),
			codes:  []Code{CodeSignatureInvalid, CodeSignatureExpired, CodeEmailAlreadyRegistered, CodeThrottled},
		},
		form: &form{
			title: say("page.verify_email.title"), submit: say("page.verify_email.submit"), intro: say("page.verify_email.intro"),
			hidden: emailLinkParams, links: []formLink{linkTo("/register-email/", say("link.change_email")), linkToProfile},
			kept: true, owned: ownerSignsIn, refused: ownerRefused,
			after: func(c *call, _ *reply) afterAct {
				if c.who == nil {
					return afterAct{page: "login", next: c.realm.path + "/profile/"}
				}
				return afterAct{}
			},
		},
	}
	e.redirectActs(s.Mailed[PurposeRegisterEmail].Redirect)
	if s.RegisterEmail.SignedIn {
		e.doc.description = "Only who is signed in to the account can do this."
		e.doc.codes = append(e.doc.codes, CodePermissionDenied)
	}
	return e
}

func actVerifyEmail(c *call) (*reply, error) {
	if c.asksOnPage || c.policy.RegisterEmail.SignedIn {
		if err := c.ownLink(); err != nil {
			return nil, err
		}
	}
	u, err := c.VerifyEmail(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, detail: say("detail.email_changed"), user: u}, nil
}
