// endpoint_resend_verification.go: POST P/resend-verification: the mail that confirms an account once more.

package registration

import (
	"net/http"
	"slices"
)

func endpointResendVerification(r *webRealm) *endpoint {
	s := r.options
	names := slices.Clone(s.LoginFields)
	if !slices.Contains(names, fieldEmail) {
		names = append(names, fieldEmail)
	}
	e := &endpoint{
		name: "resend-verification", methods: post, off: !s.Register.Verification, act: actResendVerification,
		// The order is that in which the act looks for the account: a second name
		// in the body must not be what is counted.
		spends: spends{throttle: throttleEmail, target: throttleTarget(append([]string{"login", fieldEmail}, s.LoginFields...)...), mails: true},
		doc: endpointDoc{
			tag: tagAccount, summary: "Send the mail that confirms an account again", success: http.StatusOK, answer: schemaDetail,
			description: "The answer does not tell whether there is such an account.",
		},
		form: &form{
			title: say("page.resend_verification.title"), submit: say("page.resend_verification.submit"), fields: []formField{loginField(s)},
			links: []formLink{linkToLogin}, asked: []formLink{linkToResend}, sent: "detail.resend_requested",
			after: func(c *call, _ *reply) afterAct { return askedFor(c, "resend-verification") },
		},
	}
	e.doc.inputs, e.doc.oneOf = accountInputs(names...)
	e.doc.inputs = append(e.doc.inputs, nextInput)
	return e
}

func actResendVerification(c *call) (*reply, error) {
	if err := c.ResendVerification(c.req.Context(), c.in, c.client); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, detail: say("detail.resend_requested")}, nil
}
