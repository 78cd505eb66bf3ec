// login_factor.go: POST P/login-factor: what a sign-in asks for besides the password.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointLoginFactor ends a sign-in that was answered with a challenge. It is off where
// none is ever asked for.
func EndpointLoginFactor(r *web.Realm) *web.Endpoint {
	s := r.Options
	return &web.Endpoint{
		Name: "login-factor", Methods: web.Post, Off: s.Register.Terms == "", Act: actLoginFactor, GivesCookie: s.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleLogin, Device: askedUser},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Finish a sign-in that asks for more than the password", Success: http.StatusOK, Answer: web.SchemaSignIn,
			Inputs: []web.InputDoc{web.ChallengeInput, web.TermsInput(s)}, Codes: []refusal.Code{refusal.CodeChallengeExpired, refusal.CodeTermsRequired},
		},
		Form: &web.Form{
			Title: text.Say("page.login_factor.title"), Intro: text.Say("page.login_factor.intro"), Submit: text.Say("page.login_factor.submit"),
			Fields: []web.FormField{web.TermsField(s)}, Hidden: []string{account.ParamChallenge},
			Links:    []web.FormLink{web.LinkTo("/login/", text.Say("link.other_account"))},
			Complete: tellOfNewTerms,
			Value: func(c *web.Call, name string) string {
				if name != account.ParamChallenge { // no box is ticked already
					return ""
				}
				_, token := c.KeptChallenge()
				return token
			},
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				browser, token := c.KeptChallenge()
				_, _, err := c.Asked(c.Req.Context(), token, browser)
				switch {
				case err == nil:
					return false
				case web.AsRefusal(err).Code == refusal.CodeChallengeExpired:
					c.SignInAgain(w, http.StatusFound, token != "")
				default:
					c.Realm.Refuse(w, c.Req, err)
				}
				return true
			},
			Refused: func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
				if refused.Code != refusal.CodeChallengeExpired {
					return false
				}
				c.SignInAgain(w, http.StatusSeeOther, true)
				return true
			},
		},
	}
}

// tellOfNewTerms says to whom has agreed to other terms before that they have changed.
func tellOfNewTerms(c *web.Call, d *web.PageData, _ *store.User) error {
	browser, token := c.KeptChallenge()
	if u, asked, err := c.Asked(c.Req.Context(), token, browser); err == nil && u.Terms != "" && asked.Terms != "" {
		d.Text = append([]string{c.Loc.Text(text.Say("page.login_factor.changed", text.Params{"version": asked.Terms}))}, d.Text...)
	}
	return nil
}

// askedUser is the account that a good challenge is for, nil without one.
func askedUser(c *web.Call) *store.User {
	browser, _ := c.KeptChallenge()
	u, _, err := c.Asked(c.Req.Context(), c.In.Text(account.ParamChallenge), browser)
	if err != nil {
		return nil
	}
	return u
}

func actLoginFactor(c *web.Call) (*web.Reply, error) {
	browser, _ := c.KeptChallenge()
	got, err := c.AnswerChallenge(c.Req.Context(), c.In, browser, c.Client, oldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	return signedIn(c, got), nil
}
