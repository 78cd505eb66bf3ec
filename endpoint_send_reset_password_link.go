// endpoint_send_reset_password_link.go: POST P/send-reset-password-link: the mail with the link that sets a new password.

package registration

import (
	"net/http"
)

func endpointSendResetPasswordLink(r *webRealm) *endpoint {
	s := r.options
	names, login := append([]string{"login"}, s.LoginFields...), loginField(s)
	device := func(c *call) *User { return r.named(c, c.in, s.LoginFields) }
	if s.ResetPassword.UseEmail {
		names, login = []string{fieldEmail}, emailField(say("field.email"))
		device = func(c *call) *User { return r.named(c, Input{fieldEmail: c.in[fieldEmail]}, names) }
	}
	e := &endpoint{
		name: "send-reset-password-link", methods: post, off: !s.ResetPassword.Enabled, act: actSendResetPasswordLink,
		spends: spends{throttle: throttleReset, target: throttleTarget(names...), device: device, mails: true},
		doc:    endpointDoc{tag: tagPassword, summary: "Mail a link to set a new password", success: http.StatusOK, answer: schemaDetail},
		form: &form{
			title: say("page.send_reset_password_link.title"), submit: say("page.send_reset_password_link.submit"), intro: say("page.send_reset_password_link.intro"),
			fields: []formField{login}, links: []formLink{linkToLogin}, sent: "detail.reset_requested",
			after: func(c *call, _ *reply) afterAct { return askedFor(c, "send-reset-password-link") },
		},
	}
	if s.Register.Verification {
		e.form.links = append(e.form.links, linkToResend)
	}
	if s.ResetPassword.UseEmail {
		e.doc.inputs = []inputDoc{emailInput()}
	} else {
		e.doc.inputs, e.doc.oneOf = accountInputs(s.LoginFields...)
	}
	e.doc.inputs = append(e.doc.inputs, nextInput)
	if s.ResetPassword.FailWhenUserNotFound {
		e.doc.codes = []Code{CodeUserNotFound}
	} else {
		e.doc.description = "The answer does not tell whether there is such an account."
	}
	return e
}

func actSendResetPasswordLink(c *call) (*reply, error) {
	if err := c.SendResetPasswordLink(c.req.Context(), c.in, c.client); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, detail: say("detail.reset_requested")}, nil
}
