// passkey_login.go: POST P/passkey-login-options and P/passkey-login: a sign-in by a
// passkey. As the second step it is answered at P/login-factor.

package signin

import (
	"net/http"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

// EndpointPasskeyLoginOptions says what a browser is to ask of a passkey.
func EndpointPasskeyLoginOptions(r *web.Realm) *web.Endpoint {
	return &web.Endpoint{
		Name: "passkey-login-options", Methods: web.Post, Off: r.Options.Factors.Passkeys == nil, Act: actPasskeyLoginOptions,
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "What to ask of a passkey", Success: http.StatusOK, Answer: web.SchemaPasskeyRequest,
			Description: "To sign in by it alone; with `challenge`, for the second step of that sign-in (`login-factor`); with `sudo`, for a change of the account of who is signed in. The answer is good for 5 minutes, in this browser where sessions are made.",
			Inputs: []web.InputDoc{
				web.NewInput(account.ParamChallenge, false, web.NewObject("type", "string", "description", "As the sign-in gave it that asks for a factor.")),
				web.NewInput(account.ParamSudo, false, web.NewObject("type", "boolean", "description", "For `passkey` in a change of the account.", "default", false)),
			},
			Codes: []refusal.Code{refusal.CodeNotAuthenticated, refusal.CodeChallengeExpired, refusal.CodeFactorNotFound},
		},
		Page: "login",
	}
}

func actPasskeyLoginOptions(c *web.Call) (*web.Reply, error) {
	browser, _ := c.KeptChallenge()
	device := c.NewPasskeyDevice()
	options, err := c.PasskeyRequest(c.Req.Context(), c.Who, c.In, browser, device)
	if err != nil {
		return nil, err
	}
	return &web.Reply{Status: http.StatusOK, Body: options, PasskeyDevice: device}, nil
}

// EndpointPasskeyLogin signs in by a passkey and nothing else. It has no page: a browser
// comes from the one of the sign-in, and goes back there.
func EndpointPasskeyLogin(r *web.Realm) *web.Endpoint {
	s := r.Options
	e := &web.Endpoint{
		Name: "passkey-login", Methods: web.Post, Off: s.Factors.Passkeys == nil, Act: actPasskeyLogin, GivesCookie: s.Login.Session,
		Spends: web.Spends{Throttle: account.ThrottleLogin},
		Doc: web.EndpointDoc{
			Tag: web.TagSignIn, Summary: "Sign in by a passkey", Success: http.StatusOK, Answer: web.SchemaSignIn,
			Description: "By a passkey that the browser has found by itself and that has asked who uses it. It is asked for no second step.",
			Inputs:      []web.InputDoc{web.PasskeyInput(true)},
			Codes:       []refusal.Code{refusal.CodeFactorInvalid, refusal.CodePasskeyUnknown, refusal.CodeNotVerified, refusal.CodeApprovalPending, refusal.CodeDisabled},
		},
		Form: &web.Form{
			Title: text.Say("page.login.title"),
			Instead: func(w http.ResponseWriter, c *web.Call) bool {
				web.SeeOther(w, http.StatusFound, c.Realm.WithNext("/login/", c.Next))
				return true
			},
			Refused: func(w http.ResponseWriter, c *web.Call, refused *refusal.Error) bool {
				switch {
				case refused.Code == refusal.CodePasskeyUnknown:
					c.BackToSignIn(w, "detail.passkey_unknown", c.SentPasskey())
				case len(refused.Fields) > 0:
					c.BackToSignIn(w, "detail.passkey_invalid", "")
				default:
					c.Realm.Refuse(w, c.Req, refused)
				}
				return true
			},
		},
	}
	if s.Register.Terms != "" {
		e.Doc.Or = web.SchemaChallenge
	}
	return e
}

func actPasskeyLogin(c *web.Call) (*web.Reply, error) {
	got, err := c.PasskeySignIn(c.Req.Context(), c.In, c.PasskeyDevice(), c.Client, web.OldSession(c))
	if err != nil {
		return &web.Reply{User: got.User}, err
	}
	return signedIn(c, got), nil
}

// offerPasskey gives the sign-in page the button that signs in by a passkey.
func offerPasskey(c *web.Call, d *web.PageData) {
	if f := c.Policy.Factors; !f.Passkey || f.Passkeys == nil {
		return
	}
	d.Passkey = &web.PageForm{Action: c.Realm.Address("/passkey-login/"), Hidden: d.Form.Hidden, Passkey: c.NewPagePasskey("page.login.passkey")}
	d.Passkey.Passkey.Autofill, d.Passkey.Passkey.Needed = true, ""
}
