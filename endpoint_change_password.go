// endpoint_change_password.go: POST P/change-password: a new password by the old one.

package registration

import (
	"net/http"
)

func endpointChangePassword(r *webRealm) *endpoint {
	s := r.options
	return &endpoint{
		name: "change-password", methods: post, signedIn: true, act: actChangePassword,
		spends: spends{throttle: throttleLogin, account: whoAsks, device: whoAsks},
		doc: endpointDoc{
			tag: tagPassword, summary: "Change the password", success: http.StatusOK, answer: schemaDetail, setsCookie: true,
			description: "This session goes on under a new cookie; all others, and all other tokens, end.",
			inputs:      append([]inputDoc{passwordInput("old_password", "The current password.")}, newPasswordInputs(s, s.ChangePassword.PasswordConfirm)...),
		},
		form: &form{
			title: say("page.change_password.title"), submit: say("page.change_password.submit"), links: []formLink{linkToProfile},
			fields: append([]formField{currentPassword("old_password", say("field.old_password"))},
				newPasswordFields(s, s.ChangePassword.PasswordConfirm, say("field.new_password"), say("field.new_password_confirm"))...),
			complete: func(c *call, d *PageData, _ *User) error {
				d.Form.Username = accountName(c.who.User)
				return nil
			},
		},
	}
}

func actChangePassword(c *call) (*reply, error) {
	u, grant, err := c.ChangePassword(c.req.Context(), *c.who, c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.password_changed"), user: u}
	if grant != nil {
		rep.cookie = grant.Cookie
	}
	return rep, nil
}
