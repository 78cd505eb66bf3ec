// endpoint_register.go: POST P/register: an account comes to be.

package registration

import (
	"net/http"
	"slices"
)

func endpointRegister(r *webRealm) *endpoint {
	s := r.options
	verify := s.Register.Verification
	e := &endpoint{
		name: "register", methods: post, off: !s.Register.Enabled, act: actRegister,
		spends: spends{throttle: throttleRegister, mails: verify},
	}
	if verify { // else nobody is written to
		e.target = throttleTarget(fieldEmail)
	}
	list, required := s.Fields.register, s.Fields.registerRequired
	e.doc = endpointDoc{
		tag: tagAccount, summary: "Create an account", success: http.StatusCreated, answer: schemaProfile,
		inputs: append(append(fieldInputs(list, required), newPasswordInputs(s, s.Register.PasswordConfirm)...), nextInput),
	}
	if verify {
		e.doc.description = "The account is inactive until the link in the mail to its address was followed."
		e.doc.codes = []Code{CodeEmailRequired}
		for i := range e.doc.inputs {
			e.doc.inputs[i].required = e.doc.inputs[i].required || e.doc.inputs[i].name == fieldEmail
		}
	}
	e.form = &form{
		title: say("page.register.title"), submit: say("page.register.submit"), links: []formLink{linkTo("/login/", say("link.have_account"))},
		value: func(c *call, name string) string { return profileValue(c, &User{}, name) }, // the defaults of added fields
		after: func(_ *call, rep *reply) afterAct {
			email, _ := rep.detail.params["email"].(string)
			if !rep.user.AwaitsVerification {
				return afterAct{page: "login"}
			}
			return afterAct{page: "resend-verification", asked: true, input: fieldEmail, value: email}
		},
	}
	for _, field := range list {
		e.form.fields = append(e.form.fields, profileField(field, required[field.name] || field.name == fieldEmail && verify))
	}
	if !slices.ContainsFunc(e.form.fields, func(f formField) bool { return f.autocomplete == autocompleteUsername }) {
		for i := range e.form.fields { // the address is what the password is kept under
			if e.form.fields[i].name == fieldEmail {
				e.form.fields[i].autocomplete = autocompleteUsername
			}
		}
	}
	e.form.fields = append(e.form.fields, newPasswordFields(s, s.Register.PasswordConfirm, say("field.password"), say("field.password_confirm"))...)
	return e
}

func actRegister(c *call) (*reply, error) {
	u, err := c.Register(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusCreated, profile: c.Profile(u), user: u}
	if u.AwaitsVerification {
		rep.signedUp = true
		rep.detail = say("detail.confirm_account", Params{"email": u.Email})
	} else {
		rep.detail = say("detail.account_ready")
	}
	return rep, nil
}
