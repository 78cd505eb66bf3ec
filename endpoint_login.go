// endpoint_login.go: POST P/login: a sign-in.

package registration

import (
	"net/http"

	"go.uber.org/zap"
)

func endpointLogin(r *webRealm) *endpoint {
	s := r.options
	e := &endpoint{
		name: "login", methods: post, act: actLogin, givesCookie: s.Login.Session,
		spends: spends{
			throttle: throttleLogin, target: throttleTarget(append([]string{"login"}, s.LoginFields...)...),
			device: func(c *call) *User { return r.named(c, c.in, s.LoginFields) },
		},
		doc: endpointDoc{
			tag: tagSignIn, summary: "Sign in", success: http.StatusOK, answer: schemaSignIn, codes: []Code{CodeLoginInvalid, CodeNotVerified, CodeDisabled},
		},
		form: &form{
			title: say("page.login.title"), submit: say("page.login.submit"),
			fields:   []formField{loginField(s), currentPassword(paramPassword, say("field.password"))},
			instead:  skipSignIn,
			complete: askAgain,
			value: func(c *call, name string) string {
				if name == "login" && c.who != nil {
					return profileValue(c, c.who.User, s.LoginFields[0])
				}
				return ""
			},
		},
	}
	e.doc.inputs, e.doc.oneOf = accountInputs(s.LoginFields...)
	e.doc.inputs = append(e.doc.inputs, passwordInput(paramPassword, "The account's password."))
	if s.Register.Enabled {
		e.form.links = append(e.form.links, linkTo("/register/", say("link.register")))
	}
	if s.ResetPassword.Enabled {
		e.form.links = append(e.form.links, linkTo("/send-reset-password-link/", say("link.forgot_password")))
	}
	if s.Register.Verification { // whoever it is: a link only for those who wait would tell
		e.form.retry = []formLink{linkToResend}
	}
	return e
}

// skipSignIn sends on who is signed in already, unless he is asked to sign in anew.
func skipSignIn(w http.ResponseWriter, c *call) bool {
	if c.who == nil || c.who.Session.Kind != KindSession || c.in.text(paramReauth) != "" {
		return false
	}
	seeOther(w, http.StatusFound, c.realm.afterSignIn(c.next))
	return true
}

// askAgain tells who is signed in why he is asked to sign in.
func askAgain(c *call, d *PageData, _ *User) error {
	if c.who != nil {
		d.Text, d.Links = append(d.Text, c.loc.text(say("page.login.reauth"))), nil
	}
	return nil
}

func actLogin(c *call) (*reply, error) {
	var old *Session
	if c.who != nil {
		old = c.who.Session
	}
	u, grant, err := c.SignIn(c.req.Context(), c.in, c.client, old)
	if err != nil {
		return &reply{user: u}, err
	}
	rep := &reply{status: http.StatusOK, detail: say("detail.logged_in"), user: u, cookie: grant.Cookie, seeOther: c.realm.afterSignIn(c.next)}
	if grant.Clashes {
		c.realm.logger.Warn("signed in by an account to whose sign-in name another one answers; it has been asked to choose another", zap.String("user", u.ID.String()))
		rep.detail, rep.seeOther = say("detail.logged_in_clash"), "" // to the profile, which says so
	}
	rep.grants(grant)
	return rep, nil
}
