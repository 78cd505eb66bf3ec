// endpoint_undo_email.go: POST P/undo-email: the mailed link that brings the old address back.

package registration

import (
	"net/http"
)

func endpointUndoEmail(r *webRealm) *endpoint {
	s := r.options
	e := &endpoint{
		name: "undo-email", methods: post, off: !s.SendsMail, act: actUndoEmail,
		mailed: mailedLink{purpose: PurposeUndoEmail, url: s.Mailed[PurposeUndoEmail].URL, period: undoPeriod},
		doc: endpointDoc{
			tag: tagEmail, summary: "Take the old e-mail address back by what the mailed link carries", success: http.StatusOK, answer: schemaDetail,
			description: "Everybody is signed out of the account.",
			inputs:      linkInputs(paramUserID, paramEmail, paramTimestamp, paramSignature),
			codes:       []Code{CodeSignatureInvalid, CodeSignatureExpired, CodeEmailAlreadyRegistered},
		},
		form: &form{
			title: say("page.undo_email.title"), submit: say("page.undo_email.submit"), intro: say("page.undo_email.intro"),
			hidden: emailLinkParams, links: []formLink{linkToLogin},
			after: func(*call, *reply) afterAct { return afterAct{page: "login"} },
		},
	}
	if s.ResetPassword.Enabled {
		e.form.links = append(e.form.links, linkTo("/send-reset-password-link/", say("link.forgot_password")))
	}
	return e
}

func actUndoEmail(c *call) (*reply, error) {
	u, err := c.UndoEmail(c.req.Context(), c.in, c.client)
	if err != nil {
		return nil, err
	}
	rep := &reply{
		status: http.StatusOK, user: u, signedOut: c.who != nil && c.who.User.ID == u.ID && c.who.Session.Kind == KindSession,
		detail: say("detail.email_restored"),
	}
	if !c.realm.options.ResetPassword.Enabled {
		rep.detail = say("detail.email_restored_change_password")
	}
	return rep, nil
}
