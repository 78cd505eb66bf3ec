// step_up.go: POST P/step-up: who is signed in shows once more that it is he, because a
// page asks for more than his sign-in has shown.

package signin

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointStepUp raises the sign-in of who asks. It goes on under a new token.
func EndpointStepUp(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "step-up", Methods: web.Post, SignedIn: true, Act: actStepUp,
		Spends: web.Spends{Throttle: account.ThrottleLogin, Account: web.WhoAsks, Device: web.WhoAsks},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Show more to a page that asks for it", Success: http.StatusOK, Answer: web.SchemaDetail, SetsCookie: s.Login.Session,
			Description: "By a factor of the account or, where it has none, by its password. The sign-in goes on under a new cookie or token; the old one is void. " +
				"What it has shown since is in its `amr`, and when in its `auth_time`.",
			Inputs: web.SudoInputs(),
			Codes:  []refusal.Code{refusal.CodeFactorInvalid, refusal.CodePasswordIncorrect, refusal.CodeReauthenticate, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.step_up.title"), Submit: text.Say("page.step_up.submit"),
			Fields: []web.FormField{web.CurrentPassword(account.ParamPassword, text.Say("field.password")), web.TOTPField(account.ParamTOTP)},
			Hidden: []string{web.ParamFactors, web.ParamMaxAge, paramWith},
			Links:  []web.FormLink{web.LinkTo("/logout/", text.Say("link.other_account"))},
			Value: func(c *web.Call, name string) string {
				if name == web.ParamFactors || name == web.ParamMaxAge || name == paramWith {
					return c.In.Text(name)
				}
				return ""
			},
			Instead:  skipStepUp,
			Complete: tellWhyStepUp,
		},
	}
	if s.Login.Token {
		e.Doc.Or = web.SchemaSignIn
	}
	return e
}

// demandOf is what the page asks for that has led here, as its guard said; the guard asks
// again, so that nobody gets further by what he writes here.
func demandOf(c *web.Call) account.Demand {
	factors, _ := strconv.Atoi(c.In.Text(web.ParamFactors))
	seconds, err := strconv.ParseInt(c.In.Text(web.ParamMaxAge), 10, 32)
	if err != nil || seconds < 0 {
		seconds = 0
	}
	return account.Demand{Factors: factors, MaxAge: time.Duration(seconds) * time.Second}
}

// skipStepUp answers in place of the page where it has nothing to ask: nobody is signed
// in, nothing is missing, or what is missing is shown elsewhere.
func skipStepUp(w http.ResponseWriter, c *web.Call) bool {
	if c.Who == nil {
		web.SeeOther(w, http.StatusFound, c.Realm.WithNext("/login/", c.Next))
		return true
	}
	d := demandOf(c)
	factor, again := d.Missing(c.Who.Session, c.Realm.Now())
	ways := c.StepUpWays(c.Who.User)
	switch {
	case d.Asks() && !factor && !again:
		if !c.Realm.SentBack(w, c) {
			c.Realm.Pages.Unseen(w, c, "step-up")
			return true
		}
		web.SeeOther(w, http.StatusFound, c.Realm.AfterSignIn(c.Next))
	case factor && (!c.Who.User.HasFactor() || len(ways) == 0 && slices.Contains(c.Who.Session.Methods(), account.MethodRecovery)): // or his can't be shown here
		web.SeeOther(w, http.StatusFound, c.Realm.WithNext(c.Realm.EnrolmentPage(), c.Next))
	case len(ways) == 0:
		web.SeeOther(w, http.StatusFound, web.WithParam(c.Realm.WithNext("/login/", c.Next), web.ParamReauth, "1"))
	default:
		return false
	}
	return true
}

// tellWhyStepUp leaves of the form what is asked, and says why.
func tellWhyStepUp(c *web.Call, d *web.PageData, _ *store.User) error {
	ways := c.StepUpWays(c.Who.User)
	d.Form.Username = web.AccountName(c.Who.User)
	for _, name := range []string{account.ParamPassword, account.ParamTOTP} {
		if len(ways) == 0 || name != ways[0] {
			web.WithoutField(d, name)
		}
	}
	if c.SudoByPasskey(c.Who.User) {
		d.Form.Passkey = c.NewPagePasskey("page.passkey.sudo")
		d.Form.Passkey.Sudo = d.Form.Passkey.Options
		d.Form.Passkey.Alone = len(ways) > 0 && ways[0] == account.ParamPasskey
	}
	if factor, _ := demandOf(c).Missing(c.Who.Session, c.Realm.Now()); factor {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.step_up.factor")))
	} else {
		d.Text = append(d.Text, c.Loc.Text(text.Say("page.step_up.again")))
	}
	if c.Who.User.HasFactor() {
		d.Links = append(d.Links, c.Realm.LinkToContact(c.Loc)...)
	}
	if slices.Contains(c.Who.Session.Methods(), account.MethodRecovery) { // his factor is lost
		d.Links = append([]web.PageLink{{Href: c.Realm.WithNext("/enrol-totp/", c.Next), Text: c.Loc.Text(text.Say("link.enrol_totp"))}}, d.Links...)
	}
	return nil
}

func actStepUp(c *web.Call) (*web.Reply, error) {
	u, grant, err := c.StepUp(c.Req.Context(), *c.Who, c.In, c.Client)
	if err != nil {
		return &web.Reply{User: c.Who.User}, err
	}
	rep := &web.Reply{Status: http.StatusOK, Detail: text.Say("detail.stepped_up"), User: u, Cookie: grant.Cookie}
	if c.Next != "" {
		rep.SeeOther = c.Next
	}
	rep.Grants(grant)
	return rep, nil
}
