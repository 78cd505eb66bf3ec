// confirm_totp.go: POST P/confirm-totp: a code shows that the app works, and it counts.

package factors

import (
	"html/template"
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// enrolAgain leads to another key.
var enrolAgain = web.LinkTo("/enrol-totp/", text.Say("link.enrol_again"))

// EndpointConfirmTOTP makes the app count that is being set up. A sign-in that waited for
// it ends with it.
func EndpointConfirmTOTP(r *web.Realm) *web.Endpoint {
	s := r.Options
	fields := []web.FormField{web.TOTPField(account.ParamFactorCode), web.NameField(account.ParamName, text.Say("field.factor_name"))}
	if s.Register.Terms != "" {
		fields = append(fields, web.TermsField(s))
	}
	form := enrolling(text.Say("page.confirm_totp.title"), text.Say("page.confirm_totp.intro"), text.Say("page.confirm_totp.submit"), fields...)
	form.Links = []web.FormLink{enrolAgain, web.LinkTo("/factors/", text.Say("link.factors"))}
	form.Complete = showEnrolment
	form.After = func(*web.Call, *web.Reply) web.AfterAct { return web.AfterAct{Page: "factors"} }
	e := &web.Endpoint{
		Name: "confirm-totp", Methods: web.Post, Off: !s.Factors.TOTP, Act: actConfirmTOTP, GivesCookie: s.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleLogin},
		Doc: web.EndpointDoc{
			Tag: web.TagFactors, Summary: "Make the app count that is being set up", Success: http.StatusCreated, Answer: web.SchemaFactorAdded,
			Description: "The code is used up. With the first factor come the recovery codes, which are told this once; who had to enrol is signed in. A sign-in goes on under a new cookie or token; the old one is void.",
			Inputs: []web.InputDoc{
				web.NewInput(account.ParamFactorCode, true, web.NewObject("type", "string", "description", "What the app shows.", "examples", []any{"287082"})),
				nameInput(false), challengeInput,
			},
			Codes: []refusal.Code{refusal.CodeNotAuthenticated, refusal.CodeChallengeExpired, refusal.CodeEnrolmentExpired, refusal.CodeFactorInvalid, refusal.CodeFactorLimit},
		},
		Form: form,
	}
	if s.Register.Terms != "" {
		e.Doc.Inputs = append(e.Doc.Inputs, web.TermsInput(s, false))
	}
	return e
}

// showEnrolment shows what the app has to know. Who has nothing to confirm begins anew.
func showEnrolment(c *web.Call, d *web.PageData, _ *store.User) error {
	who := enroller(c)
	u, totp, err := c.Enrolment(c.Req.Context(), who)
	if err != nil {
		return err
	}
	if who.Challenge == "" || u.Terms == c.Policy.Register.Terms {
		web.WithoutField(d, account.ParamTerms)
	}
	if who.Challenge != "" {
		d.Links = c.LinksTo([]web.FormLink{enrolAgain, asAnother})
	}
	d.Picture = c.Realm.Address("/totp-qr")
	d.Facts = append(d.Facts, web.PageFact{Label: c.Loc.Text(text.Say("field.totp_secret")), Value: grouped(totp.Secret)})
	d.App = &web.PageURL{Href: template.URL(totp.URI), Text: c.Loc.Text(text.Say("link.open_app"))} //nolint:gosec // of our own making
	return nil
}

// grouped is a secret as people can copy it.
func grouped(secret string) string {
	var out []byte
	for i := range len(secret) {
		if i > 0 && i%4 == 0 {
			out = append(out, ' ')
		}
		out = append(out, secret[i])
	}
	return string(out)
}

func actConfirmTOTP(c *web.Call) (*web.Reply, error) {
	got, err := c.ConfirmTOTP(c.Req.Context(), enroller(c), c.In, c.Client, web.OldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	return added(c, got), nil
}

// added answers the addition of a factor.
func added(c *web.Call, got account.Added) *web.Reply {
	rep := &web.Reply{Status: http.StatusCreated, User: got.User, Detail: text.Say("detail.factor_added")}
	rep.Members = web.NewObject("id", got.Factor.ID.String())
	if got.RecoveryCodes != nil {
		rep.Members = append(rep.Members, web.NewObject("recovery_codes", got.RecoveryCodes)...)
		rep.Page = codesPage(c, got.RecoveryCodes, c.Next)
	}
	if got.Grant != nil {
		rep.Cookie = got.Grant.Cookie
		rep.Grants(got.Grant)
		if got.Begun && rep.Page == nil {
			rep.SeeOther = c.Realm.AfterSignIn(c.Next)
		}
	}
	return rep
}
