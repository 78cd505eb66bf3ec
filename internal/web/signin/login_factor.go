// login_factor.go: POST P/login-factor: what a sign-in asks for besides the password.

package signin

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// paramWith says by which factor a browser's form asks: one of Challenge.Factors.
const paramWith = "with"

// EndpointLoginFactor ends a sign-in that was answered with a challenge.
func EndpointLoginFactor(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "login-factor", Methods: web.Post, Act: actLoginFactor, GivesCookie: s.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleLogin, Device: askedUser},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Finish a sign-in that asks for more than the password", Success: http.StatusOK, Answer: web.SchemaSignIn,
			Description: "By what the challenge asks for: one of its `factors`, the `terms`, and, where it says `closing`, `keep_account`. After five wrong factors the password is asked for again. After ten of an account in an hour no code of an app is taken, but by a browser that has signed in before; passkeys and recovery codes are.",
			Inputs:      []web.InputDoc{web.ChallengeInput, web.TOTPInput, web.PasskeyInput(false), web.RecoveryInput, web.KeepInput},
			Codes:       []refusal.Code{refusal.CodeChallengeExpired, refusal.CodeFactorInvalid, refusal.CodeFactorRequired, refusal.CodeAccountClosing, refusal.CodeThrottled},
		},
		Form: &web.Form{
			Title: text.Say("page.login_factor.title"), Submit: text.Say("page.login_factor.submit"),
			Fields: []web.FormField{web.TOTPField(account.ParamTOTP), web.RecoveryField()},
			Hidden: []string{account.ParamChallenge, paramWith, account.ParamKeep},
			Links:  []web.FormLink{web.LinkTo("/login/", text.Say("link.other_account"))},
			Value: func(c *web.Call, name string) string {
				switch name { // no box is ticked already
				case account.ParamChallenge:
					_, token := c.KeptChallenge()
					return token
				case paramWith:
					return c.In.Text(name)
				case account.ParamKeep:
					if u := askedUser(c); u != nil && account.StateOf(u) == account.StateClosing {
						return "true" // the button says so
					}
				}
				return ""
			},
			Complete: tellWhatIsAsked, After: afterLoginFactor,
			Instead: notAsked,
			Refused: func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
				switch refused.Code {
				case refusal.CodeChallengeExpired:
					c.SignInAgain(w, http.StatusSeeOther, true)
				case refusal.CodeFactorRequired:
					web.SeeOther(w, http.StatusSeeOther, c.Realm.ToEnrolment(c))
				default:
					return false
				}
				return true
			},
		},
	}
	if s.Factors.Trusted > 0 {
		e.Doc.Inputs = append(e.Doc.Inputs, web.TrustInput)
		e.Form.Fields = append(e.Form.Fields, web.TrustField(s))
	}
	web.AskForTerms(s, e, false)
	return e
}

// notAsked answers in place of the page where nothing is asked for that it has.
func notAsked(w http.ResponseWriter, c *web.Call) bool {
	browser, token := c.KeptChallenge()
	_, asked, err := c.Asked(c.Req.Context(), token, browser)
	switch {
	case err == nil && asked.Enrol:
		web.SeeOther(w, http.StatusFound, c.Realm.ToEnrolment(c))
	case err == nil:
		return false
	case web.AsRefusal(err).Code == refusal.CodeChallengeExpired:
		c.SignInAgain(w, http.StatusFound, token != "")
	default:
		c.Realm.Refuse(w, c.Req, err)
	}
	return true
}

// tellWhatIsAsked leaves of the form what the challenge asks for, and says what that is.
func tellWhatIsAsked(c *web.Call, d *web.PageData, _ *store.User) error {
	browser, kept := c.KeptChallenge()
	token := kept
	if sent := c.In.Text(account.ParamChallenge); sent != "" {
		token = sent
	}
	u, asked, err := c.Asked(c.Req.Context(), token, browser)
	if err != nil {
		return err
	}
	say := func(id string, params ...text.Params) { d.Text = append(d.Text, c.Loc.Text(text.Say(id, params...))) }
	if asked.Terms == "" {
		web.WithoutField(d, account.ParamTerms)
	} else {
		if u.Terms != "" {
			say("page.login_factor.changed", text.Params{"version": asked.Terms})
		}
		say("page.login_factor.intro")
	}
	way := ""
	if asked.Factors != nil {
		way = account.ParamTOTP
		if len(asked.Factors) > 0 {
			way = asked.Factors[0]
		}
		if with := c.In.Text(paramWith); slices.Contains(asked.Factors, with) {
			way = with
		}
		if asked.Terms == "" {
			d.Title, d.Form.Submit = c.Loc.Text(text.Say("page.second_step.title")), c.Loc.Text(text.Say("page.second_step.submit"))
		}
		say(secondSteps[way])
		if way == account.ParamRecovery {
			say("page.second_step.lost")
		}
		d.Links = append(d.Links, c.Realm.LinkToContact(c.Loc)...)
	}
	if way == "" || way == account.ParamRecovery {
		web.WithoutField(d, account.ParamTrustDevice)
	}
	if !asked.Leaves.IsZero() {
		d.Title, d.Form.Submit = c.Loc.Text(text.Say("page.keep_account.title")), c.Loc.Text(text.Say("page.keep_account.submit"))
		d.Text = append([]string{c.Loc.Text(text.Say("page.keep_account.text", text.Params{"date": c.Loc.Moment(asked.Leaves.Format(time.RFC3339))}))}, d.Text...)
	}
	if slices.Contains(asked.Factors, account.ParamPasskey) {
		d.Form.Passkey = c.NewPagePasskey("page.second_step.use_passkey")
		if d.Form.Passkey.Alone = way == account.ParamPasskey; !d.Form.Passkey.Alone {
			d.Form.Passkey.Needed = ""
		}
	}
	for _, name := range []string{account.ParamTOTP, account.ParamPasskey, account.ParamRecovery} {
		if name != way {
			web.WithoutField(d, name)
		}
		if name != way && slices.Contains(asked.Factors, name) {
			href := web.WithParam(c.Realm.WithNext("/login-factor/", c.Next), paramWith, name)
			d.Links = append([]web.PageLink{{Href: href, Text: c.Loc.Text(otherWays[name])}}, d.Links...)
		}
	}
	return nil
}

// secondSteps say what is asked for, otherWays lead to what can be shown in its place.
var (
	secondSteps = map[string]string{account.ParamTOTP: "page.second_step.totp", account.ParamPasskey: "page.second_step.passkey", account.ParamRecovery: "page.second_step.recovery_code"}
	otherWays   = map[string]text.Phrase{account.ParamTOTP: text.Say("link.with_totp"), account.ParamPasskey: text.Say("link.with_passkey"), account.ParamRecovery: text.Say("link.with_recovery_code")}
)

// afterLoginFactor leads who has signed in by a recovery code to his factors: his own is lost.
func afterLoginFactor(_ *web.Call, rep *web.Reply) web.AfterAct {
	if rep.Detail.Id == recovered {
		return web.AfterAct{Page: "factors"}
	}
	return web.AfterAct{}
}

// recovered is the detail of a sign-in by a recovery code.
const recovered = "detail.logged_in_recovery"

// askedUser is the account that a good challenge is for, nil without one.
func askedUser(c *web.Call) *store.User {
	browser, kept := c.KeptChallenge()
	u, _, err := c.Asked(c.Req.Context(), cmp.Or(c.In.Text(account.ParamChallenge), kept), browser)
	if err != nil {
		return nil
	}
	return u
}

func actLoginFactor(c *web.Call) (*web.Reply, error) {
	browser, _ := c.KeptChallenge()
	got, err := c.AnswerChallenge(c.Req.Context(), c.In, browser, c.Client, web.OldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	rep := signedIn(c, got)
	if g := got.Grant; g != nil && g.Session != nil && !g.Clashes && slices.Contains(g.Session.AMR, account.MethodRecovery) {
		rep.Detail = text.Say(recovered)
		if c.Next == "" {
			rep.SeeOther = ""
		}
	} else if g != nil && got.Kept && !g.Clashes {
		if rep.Detail = text.Say("detail.account_kept"); c.Next == "" {
			rep.SeeOther = "" // the profile says so
		}
	}
	return rep, nil
}
