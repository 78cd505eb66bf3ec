// undo_email.go: POST P/undo-email: the mailed link that brings the old address back.

package self

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointUndoEmail takes the address back by the link that was mailed to the old one,
// and signs everybody out. It is off where no mail is sent.
func EndpointUndoEmail(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "undo-email", Methods: web.Post, Off: !s.SendsMail, Act: actUndoEmail,
		Mailed: web.MailedLink{Purpose: sign.PurposeUndoEmail, URL: s.Mailed[sign.PurposeUndoEmail].URL, Period: account.UndoPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagEmail, Summary: "Take the old e-mail address back by what the mailed link carries", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "Everybody is signed out of the account.",
			Inputs:      append(web.LinkInputs(sign.ParamUserID, sign.ParamEmail, sign.ParamTimestamp, sign.ParamSignature), web.UndoProofInput),
			Codes:       []refusal.Code{refusal.CodeSignatureInvalid, refusal.CodeSignatureExpired, refusal.CodeEmailAlreadyRegistered, refusal.CodeReauthenticate, refusal.CodePasswordIncorrect, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Fields: []web.FormField{web.UndoProof()},
			Owned: func(_ http.ResponseWriter, c *web.Call, owner *store.User) bool {
				c.AsksForUndo(owner, sign.PurposeUndoEmail)
				return false
			},
			Complete: showUndo(s.MaxEmails > 1),
			Title:    text.Say("page.undo_email.title"), Submit: text.Say("page.undo_email.submit"), Intro: text.Say("page.undo_email.intro"),
			Hidden: web.EmailLinkParams, Links: []web.FormLink{web.LinkToLogin},
			Used:  usedUndo,
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
	if s.MaxEmails > 1 {
		e.Form.Intro = text.Say("page.undo_email.intro_several")
	}
	if s.ResetPassword.Enabled {
		e.Form.Links = append(e.Form.Links, web.LinkTo("/send-reset-password-link/", text.Say("link.forgot_password")))
	}
	return e
}

// showUndo completes the page where accounts can have several addresses: which of them there
// are then, and which go.
func showUndo(several bool) func(*web.Call, *web.PageData, *store.User) error {
	return func(c *web.Call, d *web.PageData, owner *store.User) error {
		if !several || owner == nil {
			return nil
		}
		tell := func(id, email string) {
			d.Facts = append(d.Facts, web.PageFact{Label: c.Loc.Text(text.Say(id)), Value: hostname.DisplayAddress(email)})
		}
		then, gone := c.UndoneEmails(owner, c.In.Text(sign.ParamEmail))
		for _, a := range then {
			if a.Primary {
				tell("page.undo_email.main", a.Email)
			} else {
				tell("page.undo_email.further", a.Email)
			}
		}
		for _, email := range gone {
			tell("page.undo_email.gone", email)
		}
		return nil
	}
}

// usedUndo says what the way back has done, and how the account is opened from there.
func usedUndo(c *web.Call, owner *store.User) (text.Phrase, []web.FormLink) {
	if email := c.In.Text(sign.ParamEmail); field.EmailKey(email) != field.EmailKey(owner.Email) && !account.IsFurther(owner, email) {
		return text.Say("detail.already_used"), nil // it was changed again
	}
	if !c.Policy.ResetPassword.Enabled {
		return text.Say("detail.already_restored"), nil
	}
	detail, links := text.Say("detail.already_restored"), []web.FormLink{web.LinkTo("/send-reset-password-link/", text.Say("link.forgot_password"))}
	if owner.PasswordHash == "" { // the mail for it is on its way, as it was the first time
		detail = text.Say("detail.email_restored")
	}
	return detail, links
}

func actUndoEmail(c *web.Call) (*web.Reply, error) {
	if err := c.GuessBehind(sign.PurposeUndoEmail); err != nil {
		return nil, err
	}
	u, err := c.UndoEmail(c.Req.Context(), c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	rep := &web.Reply{
		Status: http.StatusOK, User: u, SignedOut: c.Who != nil && c.Who.User.ID == u.ID && c.Who.Session.Kind == store.KindSession,
		Detail: text.Say("detail.email_restored"),
	}
	if !c.Realm.Options.ResetPassword.Enabled {
		rep.Detail = text.Say("detail.email_restored_change_password")
	}
	return rep, nil
}
