// correct_email.go: POST P/correct-email: another address for a sign-up that waits for its confirmation.

package signup

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointCorrectEmail gives an account that has never been confirmed another address, for the
// browser that has signed up for it, as its cookie shows. It spends what a sign-up spends: it
// mails whom it likes. It is off where nobody delivers mail, and without pages, which
// give that cookie.
func EndpointCorrectEmail(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "correct-email", Methods: web.Post, Off: !s.ConfirmsByMail() || s.Pages.Off, Act: actCorrectEmail,
		Spends: web.Spends{Throttle: account.ThrottleRegister, Target: web.ThrottleTarget(field.Email), Mails: true},
		Doc: web.EndpointDoc{
			Tag: web.TagAccount, Summary: "Correct the address of a sign-up that waits for its confirmation", Success: http.StatusOK, Answer: web.SchemaDetail,
			Description: "Only in the browser that has signed up, within a day: its cookie shows that. The link that was mailed before ends.",
			Inputs:      web.FieldInputs([]*field.Field{s.Fields.ByName[field.Email]}, map[string]bool{field.Email: true}),
			Codes:       []refusal.Code{refusal.CodeNotAuthenticated},
		},
		Form: &web.Form{
			Title: text.Say("page.correct_email.title"), Submit: text.Say("page.correct_email.submit"),
			Fields: []web.FormField{web.EmailField(text.Say("field.email"))}, Complete: tellAddress,
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				if u, err := c.SignedUpHere(); u != nil || err != nil { // which the act tells
					return false
				}
				to := "/resend-verification/"
				if c.Who != nil { // whose address is confirmed, most likely
					to = "/profile/"
				}
				web.SeeOther(w, http.StatusFound, c.Realm.WithNext(to, c.Next))
				return true
			},
			Value: func(c *web.Call, _ string) string {
				if u, err := c.SignedUpHere(); err == nil && u != nil {
					return u.Email
				}
				return ""
			},
			Refused: func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
				if refused.Code != refusal.CodeNotAuthenticated {
					return false
				}
				web.SeeOther(w, http.StatusSeeOther, c.Realm.WithNext("/login/", c.Next)) // it has been confirmed, most likely
				return true
			},
			After: afterRegister,
		},
	}
	e.Doc.Inputs = append(e.Doc.Inputs, web.NextInput)
	if s.LimitsDomains() {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeDomainNotAllowed)
	}
	return e
}

// tellAddress says which address the account has so far.
func tellAddress(c *web.Call, d *web.PageData, _ *store.User) error {
	u, err := c.SignedUpHere()
	if err != nil {
		return err
	}
	if u != nil {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.correct_email.intro", text.Params{"email": hostname.DisplayAddress(u.Email)})))
	}
	d.Links = append(d.Links, c.CheckMail())
	return nil
}

func actCorrectEmail(c *web.Call) (*web.Reply, error) {
	u, err := c.SignedUpHere()
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		return nil, refusal.New(refusal.CodeNotAuthenticated)
	}
	u, err = c.CorrectEmail(c.Req.Context(), u, c.In, c.Client)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.email_corrected", text.Params{"email": u.Email}), User: u}, nil
}
