// endpoint_register_email.go: POST P/register-email: another e-mail address is asked for.

package registration

import (
	"net/http"
)

func endpointRegisterEmail(r *webRealm) *endpoint {
	verify := r.options.RegisterEmail.Verification
	e := &endpoint{
		name: "register-email", methods: post, signedIn: true, act: actRegisterEmail,
		spends: spends{throttle: throttleEmail, target: throttleTarget(fieldEmail), mails: verify},
		doc: endpointDoc{
			tag: tagEmail, summary: "Change the e-mail address", success: http.StatusOK, answer: schemaDetail,
			inputs: []inputDoc{emailInput(), currentPasswordInput, nextInput},
		},
		form: &form{
			title: say("page.register_email.title"), submit: say("page.register_email.submit"),
			fields: []formField{emailField(say("field.new_email")), stalePassword()}, links: []formLink{linkToProfile},
		},
	}
	if verify {
		e.doc.description = "It changes once the link in the mail to the new address was followed."
	} else {
		e.doc.codes = []Code{CodeEmailAlreadyRegistered, CodeThrottled}
	}
	return e
}

func actRegisterEmail(c *call) (*reply, error) {
	if err := c.guess(); err != nil {
		return nil, err
	}
	if err := c.RegisterEmail(c.req.Context(), *c.who, c.in, c.client); err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.email_changed"), user: c.who.User}
	if c.realm.options.RegisterEmail.Verification {
		rep.detail = say("detail.confirm_email")
	}
	return rep, nil
}
