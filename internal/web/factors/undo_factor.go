// undo_factor.go: POST P/undo-factor: the mailed link that takes back what was done to a factor.

package factors

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointUndoFactor removes a factor that was added, or brings one back that was removed,
// by the link that was mailed then, and signs everybody out. It is off where no mail is
// sent.
func EndpointUndoFactor(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "undo-factor", Methods: web.Post, Off: !s.SendsMail, Act: actUndoFactor,
		Mailed: web.MailedLink{Purpose: sign.PurposeUndoFactor, URL: r.Options.Mailed[sign.PurposeUndoFactor].URL, Period: account.UndoPeriod},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Take back that a factor was added or removed, by what the mailed link carries", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "Everybody is signed out of the account.",
			Inputs:      append(web.LinkInputs(sign.ParamUserID, sign.ParamFactor, sign.ParamTimestamp, sign.ParamSignature), web.UndoProofInput),
			Codes:       []refusal.Code{refusal.CodeSignatureInvalid, refusal.CodeSignatureExpired, refusal.CodeReauthenticate, refusal.CodePasswordIncorrect, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Fields: []web.FormField{web.UndoProof()},
			Owned: func(_ http.ResponseWriter, c *web.Call, owner *store.User) bool {
				c.AsksForUndo(owner, sign.PurposeUndoFactor)
				return false
			},
			Title: text.Say("page.undo_factor.title"), Submit: text.Say("page.undo_factor.submit"), Intro: text.Say("page.undo_factor.intro"),
			Hidden: append([]string{sign.ParamFactor}, web.LinkParams...), Links: []web.FormLink{web.LinkToLogin},
			Complete: tellLinkedUndone,
			Used: func(*web.Call, *store.User) (text.Phrase, []web.FormLink) {
				return text.Say("detail.already_used"), nil
			},
			After: func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "login"} },
		},
	}
	if s.ResetPassword.Enabled {
		e.Form.Links = append(e.Form.Links, web.LinkTo("/send-reset-password-link/", text.Say("link.forgot_password")))
	}
	return e
}

// tellLinkedUndone says which account elsewhere a link is about, where it is about one, and
// what becomes of it.
func tellLinkedUndone(c *web.Call, d *web.PageData, owner *store.User) error {
	id, ok := store.ParseID(c.In.Text(sign.ParamFactor))
	if owner == nil || !ok {
		return nil
	}
	l := c.LinkedOnce(owner, id)
	if l == nil {
		return nil
	}
	becomes := text.Say("page.undo_linked.comes_back")
	if owner.Linked(id) != nil {
		becomes = text.Say("page.undo_linked.goes")
	}
	d.Title = c.Loc.Text(text.Say("page.undo_linked.title"))
	if d.Form != nil {
		d.Form.Submit = c.Loc.Text(text.Say("page.undo_linked.submit"))
	}
	d.Text = []string{c.Loc.Text(becomes), c.Loc.Text(text.Say("page.undo_linked.intro"))}
	d.Facts = append(d.Facts, web.PageFact{Label: web.LinkedName(c.Policy, l), Value: l.Name})
	return nil
}

func actUndoFactor(c *web.Call) (*web.Reply, error) {
	if err := c.GuessBehind(sign.PurposeUndoFactor); err != nil {
		return nil, err
	}
	u, done, err := c.UndoFactor(c.Req.Context(), c.Who, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	detail := text.Say("detail.factor_undone_change_password")
	switch {
	case done.Linked && done.Mailed:
		detail = text.Say("detail.linked_undone")
	case done.Linked:
		detail = text.Say("detail.linked_undone_change_password")
	case done.Mailed:
		detail = text.Say("detail.factor_undone")
	}
	return &web.Reply{Status: http.StatusOK, User: u, SignedOut: c.Who != nil && c.Who.User.ID == u.ID && c.Who.Session.Kind == store.KindSession, Detail: detail}, nil
}
