// login.go: POST P/login: a sign-in.

package signin

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// EndpointLogin signs in by a login field and the password: with a cookie, a token or
// a pair of tokens, as configured.
func EndpointLogin(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "login", Methods: web.Post, Act: actLogin, GivesCookie: s.Login.Session,
		Spends: web.Spends{
			Throttle: account.ThrottleLogin, Target: web.ThrottleTarget(append([]string{"login"}, s.LoginFields...)...),
			Device: func(c *web.Call) *store.User { return r.Named(c, c.In, s.LoginFields) }, Crowds: true,
		},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Sign in", Success: http.StatusOK, Answer: web.SchemaSignIn, Codes: []refusal.Code{refusal.CodeLoginInvalid, refusal.CodeNotVerified, refusal.CodeApprovalPending, refusal.CodeDisabled},
		},
		Form: &web.Form{
			Title: text.Say("page.login.title"), Submit: text.Say("page.login.submit"),
			Fields:   []web.FormField{web.LoginField(s), web.CurrentPassword(account.ParamPassword, text.Say("field.password"))},
			Hidden:   []string{web.ParamKept},
			ToItself: true,
			Instead:  skipSignIn,
			Complete: askAgain,
			Value: func(c *web.Call, name string) string {
				if name == web.ParamKept && r.ProbesCookies(c) {
					return "?"
				}
				if name == "login" && c.Who != nil {
					return web.ProfileValue(c, c.Who.User, s.LoginFields[0])
				}
				return ""
			},
		},
	}
	if !s.Login.Password {
		e.Doc.Codes = append(e.Doc.Codes, refusal.CodeNotFound)
	}
	if s.Factors.Passkey && s.Factors.Passkeys != nil {
		e.Form.Fields[0].Autocomplete = web.AutocompleteUsername + " webauthn"
	}
	e.Doc.Or, e.Doc.Description = web.SchemaChallenge, "Where more is asked for, such as a factor of the account, or whether its owner keeps the account that he has closed, the answer is a challenge, and nobody is signed in."
	e.Doc.Inputs, e.Doc.OneOf = web.AccountInputs(s.LoginFields...)
	e.Doc.Inputs = append(e.Doc.Inputs, web.PasswordInput(account.ParamPassword, "The account's password."))
	join := text.Say("link.no_account") // the page says how one gets an account, and whom to ask
	if s.Register.Mode.OpenToAll() {
		join = text.Say("link.register")
	}
	e.Form.Links = append(e.Form.Links, web.LinkTo("/register/", join))
	if s.Login.MailCode {
		e.Form.Links = append(e.Form.Links, web.LinkTo("/send-login-code/", text.Say("link.by_code")))
	}
	if s.ResetPassword.Enabled {
		e.Form.Links = append(e.Form.Links, web.LinkTo("/send-reset-password-link/", text.Say("link.forgot_password")))
	}
	if s.ConfirmsByMail() { // whoever it is: a link only for those who wait would tell
		e.Form.Retry = []web.FormLink{web.LinkToResend}
	}
	return e
}

// skipSignIn sends on who is signed in already, unless he is asked to sign in anew or
// the page that he came from doesn't see it.
func skipSignIn(w http.ResponseWriter, c *web.Call) bool {
	c.Realm.Probe(w, c)
	return c.In.Text(web.ParamReauth) == "" && c.In.Text(web.ParamElsewhere) == "" && c.Realm.SendOn(w, c)
}

// askAgain tells why somebody is asked to sign in who has done so.
func askAgain(c *web.Call, d *web.PageData, _ *store.User) error {
	say := func(id string) { d.Text = append(d.Text, c.Loc.Text(text.Say(id))) }
	switch {
	case c.In.Text(web.ParamElsewhere) != "":
		say("page.login.elsewhere")
	case c.Who != nil && c.Realm.Unseen(c):
		say("page.login.unseen")
	case c.Who != nil:
		say("page.login.reauth")
		d.Links = nil
	case c.In.Text(web.ParamKept) == "1":
		say("page.login.not_kept")
	}
	offerPasskey(c, d)
	c.OfferProviders(d, "page.login.provider")
	if !c.Policy.Login.Password {
		d.Form = nil
	}
	return nil
}

func actLogin(c *web.Call) (*web.Reply, error) {
	if !c.Policy.Login.Password { // the page is there for the other ways
		return nil, refusal.New(refusal.CodeNotFound)
	}
	got, err := c.SignIn(c.Req.Context(), c.In, c.Client, web.OldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	return signedIn(c, got), nil
}

// signedIn answers a sign-in, whichever step was its last.
func signedIn(c *web.Call, got account.SignedIn) *web.Reply {
	rep := &web.Reply{Status: http.StatusOK, User: got.User, Trusted: got.Trusted}
	switch grant, asked := got.Grant, got.Challenge; {
	case asked != nil:
		body := web.NewObject(account.ParamChallenge, asked.Token)
		rep.Challenge, rep.SeeOther = asked, c.Realm.ToChallenge(c, "/login-factor/")
		if asked.Terms != "" {
			body = append(body, web.NewObject(account.ParamTerms, asked.Terms)...)
		}
		if !asked.Leaves.IsZero() {
			body = append(body, web.NewObject(web.ParamClosing, asked.Leaves.Format(time.RFC3339))...)
		}
		switch {
		case asked.Enrol:
			body = append(body, web.NewObject("factors", []string{}, "enrol", true)...)
			rep.SeeOther = c.Realm.ToEnrolment(c)
		case asked.Factors != nil:
			body = append(body, web.NewObject("factors", asked.Factors)...)
		}
		rep.Body = body
	case grant != nil:
		rep.Detail, rep.Cookie, rep.SeeOther = text.Say("detail.logged_in"), grant.Cookie, c.Realm.CheckKept(c, c.Realm.AfterSignIn(c.Next))
		if grant.Clashes {
			c.Realm.Logger.Warn("signed in by an account to whose sign-in name another one answers; it has been asked to choose another", zap.String("user", got.User.ID.String()))
			rep.Detail, rep.SeeOther = text.Say("detail.logged_in_clash"), "" // to the profile, which says so
		}
		rep.Grants(grant)
	}
	return rep
}
