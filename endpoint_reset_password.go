// endpoint_reset_password.go: POST P/reset-password: a new password by the mailed link.

package registration

import (
	"net/http"
)

func endpointResetPassword(r *webRealm) *endpoint {
	s := r.options
	return &endpoint{
		name: "reset-password", methods: post, off: !s.ResetPassword.Enabled, act: actResetPassword, redirect: s.Mailed[PurposeResetPassword].Redirect,
		mailed: mailedLink{purpose: PurposeResetPassword, url: s.Mailed[PurposeResetPassword].URL, period: s.ResetPassword.VerificationPeriod},
		doc: endpointDoc{
			tag: tagPassword, summary: "Set a new password by what the mailed link carries", success: http.StatusOK, answer: schemaDetail,
			description: "Every session and token of the account ends.",
			inputs:      append(linkInputs(paramUserID, paramTimestamp, paramSignature), newPasswordInputs(s, s.ResetPassword.PasswordConfirm)...),
			codes:       []Code{CodeSignatureInvalid, CodeSignatureExpired},
		},
		form: &form{
			title: say("page.reset_password.title"), submit: say("page.reset_password.submit"),
			fields: newPasswordFields(s, s.ResetPassword.PasswordConfirm, say("field.new_password"), say("field.new_password_confirm")),
			hidden: linkParams, links: []formLink{linkTo("/send-reset-password-link/", say("link.new_reset_link")), linkToLogin},
			complete: func(_ *call, d *PageData, owner *User) error {
				if owner != nil {
					d.Form.Username = accountName(owner)
				}
				return nil
			},
			after: func(*call, *reply) afterAct { return afterAct{page: "login"} },
		},
	}
}

func actResetPassword(c *call) (*reply, error) {
	u, err := c.ResetPassword(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, detail: say("detail.password_reset"), user: u, knownDevice: true}, nil
}
